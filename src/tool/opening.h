/*
 * opening.h: streams and regions as the command line names them.
 */
#ifndef TOOL_OPENING_H
#define TOOL_OPENING_H

#include <libpmemstream.h>
#include <stdbool.h>

enum opening { OPENING_TO_READ, OPENING_TO_WRITE };

/* Opens the stream of a file. TOOL_DONE, or what was reported. */
int opening_stream(const char *path, enum opening how, struct pmemstream **stream);

/* The region with a label, or, for one without, "@OFFSET". TOOL_DONE, or what was reported. */
int opening_region(struct pmemstream *stream, const char *path, const char *name, struct pmemstream_region *region);

/* Makes a region. TOOL_DONE, or what was reported. */
int opening_new_region(struct pmemstream *stream, const char *path, const char *label, uint64_t bytes,
		       struct pmemstream_region *region);

/* A region's name: its label, or "@OFFSET". name: room for as many bytes. False if the region is gone or damaged. */
enum { OPENING_NAME_BYTES = 64 };
bool opening_name(struct pmemstream *stream, struct pmemstream_region region, char *name);

/* What is known of a region as a JSON object on standard output. */
void opening_region_json(struct pmemstream_region region, const struct pmemstream_region_info *info);

#endif
