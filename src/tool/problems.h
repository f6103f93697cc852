/*
 * problems.h: what pmemstream_check and pmemstream_repair find, for people and as JSON.
 */
#ifndef TOOL_PROBLEMS_H
#define TOOL_PROBLEMS_H

#include "tool/progress.h"

#include <libpmemstream.h>
#include <stdbool.h>

struct problems {
	const char *path;
	bool json;
	uint64_t count, damage, known, harmless, unrepairable;
	struct progress bar;
};

/* Prints one problem to standard output and counts it. */
void problems_print(struct problems *problems, const struct pmemstream_problem *problem);

/* Draws the bar. */
void problems_progress(struct problems *problems, const struct pmemstream_event *event);

#endif
