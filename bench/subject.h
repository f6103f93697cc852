/*
 * subject.h: logs that appends are measured on: ours, the machine's floor, and what a user would take instead.
 *
 * All of them are driven by compare.c. An append is durable when it has returned, unless a kind says otherwise.
 */
#ifndef BENCH_SUBJECT_H
#define BENCH_SUBJECT_H

#include "bench.h"

#include <pthread.h>

enum { SUBJECT_THREADS_MAX = 64, SUBJECT_CONFIGURATION_BYTES = 512 };

struct subject_setup {
	bool disk;
	const char *folder;
	size_t room_bytes; /* for the entries of one round, with 128 bytes for each entry's header and padding */
	bool own_regions;  /* each thread has a place of its own, where there is such a thing */
	unsigned batch;    /* entries that are started before one waits for them */
	unsigned fence_every;
};

struct subject_costs {
	uint64_t fences, flushed_lines, syncs;
};

struct subject_kind {
	const char *name;
	const char *missing; /* why it cannot be measured: not built; or NULL */
	bool slow;           /* gets fewer entries a round where files are in memory */
	void *(*open)(const struct subject_setup *setup, char *configuration);
	/* Makes room for a round of so many threads; not timed. */
	void (*begin)(void *state, unsigned threads);
	/* Appends count entries from one thread; samples_ns: NULL, or gets the time of each. */
	void (*append)(void *state, unsigned thread, const void *data, size_t size, unsigned count,
		       uint32_t *samples_ns);
	void (*costs)(void *state, struct subject_costs *costs); /* since it was opened; NULL: not counted */
	void (*close)(void *state);
};

extern const struct subject_kind subject_stream, subject_stream_async, subject_floor, subject_floor_checks,
	subject_floor_counted, subject_floor_ordered, subject_store, subject_libpmemlog, subject_our_libpmemlog,
	subject_sqlite, subject_lmdb, subject_rocksdb;

/* By name, or the program ends. */
const struct subject_kind *subject_find(const char *name, size_t length);

/* Runs a call so many times, and notes how long each took if samples are wanted. */
#define SUBJECT_REPEAT(count, samples_ns, call)                                                                        \
	do {                                                                                                           \
		for (unsigned i_ = 0; !(samples_ns) && i_ < (count); i_++)                                             \
			call;                                                                                          \
		for (unsigned i_ = 0; (samples_ns) && i_ < (count); i_++) {                                            \
			uint64_t begin_ns_ = bench_now_ns();                                                           \
			call;                                                                                          \
			uint64_t passed_ns_ = bench_now_ns() - begin_ns_;                                              \
			(samples_ns)[i_] = passed_ns_ < UINT32_MAX ? (uint32_t)passed_ns_ : UINT32_MAX;                \
		}                                                                                                      \
	} while (0)

static inline size_t subject_round_up(size_t value, size_t unit)
{
	return (value + unit - 1) / unit * unit;
}

#endif
