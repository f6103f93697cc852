/*
 * filled.h: streams of a given amount of data, made quickly.
 */
#ifndef BENCH_FILLED_H
#define BENCH_FILLED_H

#include "bench.h"

struct filled {
	const char *path;
	uint64_t data_bytes; /* in entries of 1 MiB, covered by checkpoints */
	uint64_t rest_bytes; /* in entries of 1 KiB and their headers, behind the last checkpoint; below 4 MiB */
	uint64_t regions;    /* at least 1; data and rest go to all of them in turn */
	bool end_clean;      /* else the process that wrote ends without closing */
};

/* Makes the file, in a process of its own. The data of the covered entries are zeros that no block is written for, so
 * that gigabytes cost neither time nor space; all the rest is real. */
void filled_make(const struct filled *filled);

/* Runs in a process of its own; numbers that it puts in shared memory are the caller's. */
struct filled_report {
	uint64_t ns, pages, page_faults, syncs, fences, stored_bytes, anonymous_bytes, entries;
};

/* fn must leave by returning; the process ends without closing anything. */
struct filled_report filled_in_child(void (*fn)(const void *context, struct filled_report *report),
				     const void *context);

#endif
