/*
 * stream_known.h: streams in memory whose every entry is known, and what is left of them after damage and repair.
 */
#ifndef TESTS_STREAM_KNOWN_H
#define TESTS_STREAM_KNOWN_H

#include "stream/check.h"
#include "stream/stream.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

enum { DAMAGE_REGIONS = 3, DAMAGE_ENTRIES_MAX = 400, DAMAGE_PROBLEMS_MAX = 200 };

struct known_entry {
	uint64_t off, bytes, timestamp; /* bytes: header and data */
	unsigned region;
};

struct history {
	struct medium medium; /* its memory is whole lines */
	struct pmemstream *stream;
	uint64_t block_size;
	uint32_t alignment;
	struct pmemstream_region regions[DAMAGE_REGIONS];
	struct known_entry entries[DAMAGE_ENTRIES_MAX];
	unsigned entry_count;
	unsigned char *image; /* what history_stop left */
	uint64_t first_seed, seed;
};

void history_begin(struct history *history, enum medium_granularity granularity, uint64_t block_size,
		   uint32_t alignment, uint64_t seed);
/* Appends so many entries of random sizes to random regions, some as batches. */
void history_append(struct history *history, unsigned count);
void history_open(struct history *history);
void history_close(struct history *history);
/* As a killed process leaves it. */
void history_kill(struct history *history);
/* Keeps the medium as it is now, closed or killed; history_restore brings it back. */
void history_stop(struct history *history);
void history_restore(struct history *history);
void history_end(struct history *history);

/* Places in the closed stream. */
uint64_t slot_in_use_off(const struct history *history);
uint64_t region_slot_in_use_off(const struct history *history, unsigned region);
uint64_t region_tail_off(const struct history *history, unsigned region);
void flip(struct history *history, uint64_t off, uint64_t bytes);

/* What check or repair told. */
struct told {
	struct pmemstream_problem problems[DAMAGE_PROBLEMS_MAX];
	unsigned problem_count, damages, known, changes;
	uint64_t done, total;
	unsigned stop_after; /* changes; 0: never */
	const struct history *history;
};

int told_event(const struct pmemstream_event *event, void *arg);
/* The problem of that kind at that place; fails the test if there is none. */
const struct pmemstream_problem *told_find(const struct told *told, enum pmemstream_problem_kind kind, uint64_t off);

/* Runs them on the history's medium. */
int history_check(struct history *history, bool deep, struct told *told);
int history_repair(struct history *history, bool dry_run, struct told *told);

/* Opens the stream, walks over all regions: how many entries are shown, and at how many places damage is. Each shown
 * entry must be a known one. shown[i] tells of entry i. */
struct shown {
	bool shown[DAMAGE_ENTRIES_MAX];
	unsigned count, damaged;
};
void history_show(struct history *history, struct shown *shown);

uint64_t damage_random(uint64_t *seed);

#endif
