/*
 * selection.h: the options by which cat and tail choose regions and a format.
 */
#ifndef TOOL_SELECTION_H
#define TOOL_SELECTION_H

#include "tool/show.h"
#include "tool/tool.h"

enum { SELECTION_MAX = 1024 };

struct selection {
	const char *names[SELECTION_MAX];
	struct pmemstream_region regions[SELECTION_MAX];
	size_t count;
	int format;
	bool labels; /* text: in front of each entry */
};

/* Adds a --region. TOOL_DONE, or what was reported. */
int selection_add(struct selection *selection, const struct command *command, const char *name);

/* Finds the regions that were named. TOOL_DONE, or what was reported. */
int selection_find(struct selection *selection, struct pmemstream *stream, const char *path);

#endif
