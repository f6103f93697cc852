/*
 * medium_floor.c: what one durable record costs at the least on this machine, by way of src/medium and nothing above
 * it.
 *
 * Usage: bench_medium_floor [FOLDER]    (default: the current one; 64 MiB are written there and removed)
 *
 * A record is a 32-byte head and a payload. "store" copies and flushes its lines, "stream" goes past the cache; each
 * line of the table is the median of rounds, in nanoseconds a record, with the fastest and the slowest round beside it.
 * CACHE_LINE treats the mapping as persistent memory whatever the file is: a limit to compare with, durable only where
 * FOLDER is on such memory. PAGE is durable on any file system that keeps its word.
 */
#include "base/error.h"
#include "medium/medium.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

enum { FILE_BYTES = 64 << 20, HEAD_BYTES = 32, PAYLOAD_MAX_BYTES = 4096, ROUNDS = 9 };
enum { LINE_RECORDS = 32768, PAGE_RECORDS = 256 };

struct series {
	bool stream;
	size_t payload_bytes;
	unsigned batch; /* records a fence or a sync */
};

static double now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

static int compare_doubles(const void *a, const void *b)
{
	double left = *(const double *)a, right = *(const double *)b;

	return (left > right) - (left < right);
}

static void put_record(struct medium *medium, char *to, const struct series *series, uint64_t number)
{
	static const char payload[PAYLOAD_MAX_BYTES] = "payload";
	char head[HEAD_BYTES] = {0};

	memcpy(head, &number, sizeof(number));
	if (series->stream) {
		medium_stream(medium, to, head, sizeof(head), payload, series->payload_bytes);
		return;
	}
	medium_copy(medium, to, head, sizeof(head));
	medium_copy(medium, to + sizeof(head), payload, series->payload_bytes);
	medium_flush(medium, to, sizeof(head) + series->payload_bytes);
}

/* Makes durable what was put into [from, to). */
static int settle(struct medium *medium, const char *from, const char *to)
{
	if (medium->granularity == MEDIUM_PAGE)
		return medium_sync(medium, from, (size_t)(to - from));
	medium_fence(medium);
	return 0;
}

/* Nanoseconds a record in one round, or -1. */
static double run_round(struct medium *medium, const struct series *series, unsigned records)
{
	size_t stride =
		(HEAD_BYTES + series->payload_bytes + MEDIUM_LINE_BYTES - 1) / MEDIUM_LINE_BYTES * MEDIUM_LINE_BYTES;
	size_t batch_bytes = stride * series->batch, off = 0;
	double begin = now_ns();

	for (unsigned number = 0; number < records; number += series->batch) {
		if (off + batch_bytes > medium->size)
			off = 0;
		for (unsigned i = 0; i < series->batch; i++)
			put_record(medium, medium->base + off + i * stride, series, number + i);
		if (settle(medium, medium->base + off, medium->base + off + batch_bytes))
			return -1;
		off += batch_bytes;
	}
	return (now_ns() - begin) / records;
}

static int measure(struct medium *medium, const struct series *series)
{
	bool page = medium->granularity == MEDIUM_PAGE;
	double rounds[ROUNDS];

	for (int round = -1; round < ROUNDS; round++) { /* the first warms up */
		double ns = run_round(medium, series, page ? PAGE_RECORDS : LINE_RECORDS);

		if (ns < 0)
			return -1;
		if (round >= 0)
			rounds[round] = ns;
	}
	qsort(rounds, ROUNDS, sizeof(*rounds), compare_doubles);
	printf("%s\t%s\t%zu\t%u\t%.0f\t%.0f\t%.0f\n", page ? "PAGE" : "CACHE_LINE", series->stream ? "stream" : "store",
	       series->payload_bytes, series->batch, rounds[ROUNDS / 2], rounds[0], rounds[ROUNDS - 1]);
	fflush(stdout);
	return 0;
}

static int measure_granularity(char *base, enum medium_granularity granularity)
{
	static const size_t payloads[] = {64, 256, 1024, 4096};
	struct medium medium;
	int status = 0;

	if (medium_from_range(&medium, base, FILE_BYTES, granularity, true))
		return -1;
	medium_prefault(&medium);
	for (size_t p = 0; p < sizeof(payloads) / sizeof(*payloads); p++)
		for (unsigned batch = 1; batch <= 64 && !status; batch *= 64)
			for (int stream = 0; stream < (granularity == MEDIUM_PAGE ? 1 : 2) && !status; stream++)
				status = measure(&medium, &(struct series){stream, payloads[p], batch});
	medium_close(&medium);
	return status;
}

static char *map_file(const char *folder)
{
	char path[4096];
	char *base = MAP_FAILED;

	if ((size_t)snprintf(path, sizeof(path), "%s/medium_floor.XXXXXX", folder) >= sizeof(path))
		return NULL;
	int fd = mkstemp(path);
	if (fd >= 0) {
		unlink(path);
		if (!posix_fallocate(fd, 0, FILE_BYTES))
			base = mmap(NULL, FILE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		close(fd);
	}
	return base == MAP_FAILED ? NULL : base;
}

int main(int argc, char **argv)
{
	const char *folder = argc > 1 ? argv[1] : ".";
	char *base = map_file(folder);

	if (!base) {
		perror(folder);
		return 1;
	}
	printf("granularity\tkind\tpayload_bytes\tbatch\tmedian_ns\tfastest_ns\tslowest_ns\n");
	memset(base, 1, FILE_BYTES);
	if (measure_granularity(base, MEDIUM_CACHE_LINE) || measure_granularity(base, MEDIUM_PAGE)) {
		fprintf(stderr, "medium_floor: %s\n", error_message());
		return 1;
	}
	return 0;
}
