/*
 * compare.h: appends to several subjects in turn, and prints a result for each subject, size and number of threads.
 */
#ifndef BENCH_COMPARE_H
#define BENCH_COMPARE_H

#include "subject.h"

struct compare {
	const char *work;
	const char *medium;   /* memory or disk */
	const char *folder;   /* NULL: the medium's usual place */
	const char *subjects; /* names, with commas between */
	struct bench_list sizes, threads;
	uint64_t rounds, count; /* count: entries a round; 0: by medium and size */
	uint64_t seed;
	unsigned batch, fence_every;
	bool own_regions, latencies, json;
};

void compare_run(const struct compare *compare);

#endif
