/*
 * measure.h: what bench measures: durable appends to a stream, and the device's own floor.
 */
#ifndef TOOL_MEASURE_H
#define TOOL_MEASURE_H

#include <libpmemstream.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum measure_what { MEASURE_EACH, MEASURE_BATCH, MEASURE_FLOOR };

/* Appends of a batch: so many are made durable together. */
enum { MEASURE_BATCH_COUNT = 64, MEASURE_THREADS_MAX = 64 };

struct measure_case {
	enum measure_what what;
	size_t bytes;     /* of an entry's data */
	unsigned threads; /* that append at once, to the same region */
	uint64_t run_ns;  /* how long, unless the region is full before */
};

struct measure_result {
	struct measure_case of;
	uint64_t *latencies_ns; /* sorted: of each append, or each batch, until it was durable; the caller frees them */
	size_t count;
	uint64_t appended, elapsed_ns, fences, syncs;
};

/* Appends to the region from several threads. 0, or -1, reported. */
int measure_stream(struct pmemstream *stream, struct pmemstream_region region, const struct measure_case *of,
		   struct measure_result *result);

/* What a device can do at the least. */
struct measure_floor {
	struct medium *medium; /* NULL: page media */
	struct pmem2_map *map;
	int descriptor;
	uint64_t bytes;
	const char *how; /* for people */
};

/* Makes a file of so many bytes, whose name goes at once. 0, or -1, reported. */
int measure_floor_open(struct measure_floor *floor, const char *path, uint64_t bytes);
void measure_floor_close(struct measure_floor *floor);

/* Writes as many bytes as an entry has, one behind the other: pwrite and fdatasync, or stores and a fence. 0, or -1,
 * reported. */
int measure_floor(struct measure_floor *floor, const struct measure_case *of, struct measure_result *result);

/* Sorts the latencies. */
void measure_sort(struct measure_result *result);

/* The latency below which so many of a thousand are. */
uint64_t measure_percentile(const struct measure_result *result, unsigned of_thousand);

#endif
