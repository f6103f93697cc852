/*
 * records.h: cuts an input into records: by a delimiter, by length prefixes, or as a whole.
 */
#ifndef TOOL_RECORDS_H
#define TOOL_RECORDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum records_framing { RECORDS_DELIMITED, RECORDS_LENGTH_PREFIXED, RECORDS_WHOLE };

struct command;

struct records {
	enum records_framing framing;
	unsigned char delimiter;
	int descriptor;
	const char *name; /* for messages */
	uint64_t number;  /* of records taken */
	char *buffer;
	size_t begin, searched, end, room; /* begin: what was not taken yet; searched: no delimiter in front of it */
	bool at_end;                       /* the input has no more bytes */
	bool owns;                         /* the descriptor is closed at the end */
};

enum { RECORDS_PREFIX_BYTES = 8 };

/* Takes one of the options --delimiter C ('d'), --length-prefixed ('l') and --whole ('w'); count: of those so far.
 * TOOL_DONE, or TOOL_USAGE, reported. */
int records_option(const struct command *command, struct records *records, int option, int *count);

/* The records in bytes that are in memory, and stay there; without records_fill and records_close. */
void records_of_memory(struct records *records, const char *name, const void *data, size_t bytes);

/* Opens a file, or standard input as "-". framing and delimiter are those of the caller. TOOL_DONE, or what was
 * reported. */
int records_open(struct records *records, const char *name);
void records_close(struct records *records);

/*
 * Takes the next record out of what was read. 1: data and bytes are it, good until records_fill. 0: none is complete
 * before more is read; or, at the end, none is left. -1, reported: a length prefix, or the last record, is cut off, or
 * a prefix is above limit.
 */
int records_take(struct records *records, uint64_t limit, const char **data, size_t *bytes);

/* Reads more; may wait for it. 1; 0 at the end; -1, reported: it cannot be read, or a record is longer than limit
 * already. */
int records_fill(struct records *records, uint64_t limit);

#endif
