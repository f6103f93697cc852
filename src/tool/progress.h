/*
 * progress.h: a bar on standard error for long work, where that is a terminal; nothing elsewhere.
 */
#ifndef TOOL_PROGRESS_H
#define TOOL_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

struct progress {
	const char *what;
	bool shown;
	uint64_t begin_ns, drawn_ns;
};

/* what: a word or two in front of the bar; it must live as long as the bar. */
void progress_begin(struct progress *progress, const char *what);

/* Draws, at most ten times a second and not in the first half of one. total 0: not known. detail: behind the bar. */
void progress_draw(struct progress *progress, uint64_t done, uint64_t total, const char *detail);

/* Wipes the line; before anything else is written. */
void progress_wipe(struct progress *progress);

/* Monotonic time in nanoseconds. */
uint64_t progress_now_ns(void);

#endif
