/*
 * stream_append.c: a durable append beside the floor of the same machine, round by round in turn.
 *
 * Usage: bench_stream_append [FOLDER]   (default: the current one; 2 files of 64 MiB are written there and removed)
 *
 * Memory: CACHE_LINE on whatever FOLDER is; the floor is one streamed record with its checksum, and one fence. Disk:
 * PAGE; the floor is pwrite and fdatasync into space that was written before. ratio is the median over the rounds of
 * ours / floor; syncs and fences are counted. Threads append to one region; their ratio is that of the time an entry to
 * one thread's.
 */
#include "base/crc32c.h"
#include "medium/medium.h"

#include <fcntl.h>
#include <libpmemstream.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

enum {
	FILE_BYTES = 64 << 20,
	ROUNDS = 9,
	MEMORY_APPENDS = 10000,
	DISK_APPENDS = 100,
	HEAD_BYTES = 32,
	THREADS_MAX = 16
};

static char payload[4096];
static const size_t sizes[] = {64, 256, 1024, 4096};

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

static double median(double *values)
{
	qsort(values, ROUNDS, sizeof(*values), compare_doubles);
	return values[ROUNDS / 2];
}

static void die(const char *what)
{
	fprintf(stderr, "stream_append: %s: %s\n", what, pmemstream_errormsg());
	exit(1);
}

/* ---- the floors ---- */

struct floor {
	int fd;
	struct medium medium; /* CACHE_LINE */
	bool disk;
};

static void open_floor(struct floor *floor, const char *folder, bool disk)
{
	char path[4096];

	snprintf(path, sizeof(path), "%s/floor.XXXXXX", folder);
	floor->disk = disk;
	floor->fd = mkstemp(path);
	if (floor->fd < 0 || unlink(path))
		die(path);
	for (size_t off = 0; off < FILE_BYTES; off += sizeof(payload))
		if (pwrite(floor->fd, payload, sizeof(payload), (off_t)off) != sizeof(payload))
			die("writing the floor's file");
	if (fsync(floor->fd))
		die("fsync");
	char *base = mmap(NULL, FILE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, floor->fd, 0);
	if (base == MAP_FAILED || medium_from_range(&floor->medium, base, FILE_BYTES, MEDIUM_CACHE_LINE, true))
		die("mapping the floor's file");
	if (!disk)
		memset(base, 1, FILE_BYTES);
}

static double run_floor(struct floor *floor, size_t size, int count)
{
	static size_t off;
	size_t stride = (HEAD_BYTES + size + 63) / 64 * 64;
	char record[HEAD_BYTES + sizeof(payload)];
	double begin = now_ns();

	memcpy(record + HEAD_BYTES, payload, size);
	for (int i = 0; i < count; i++, off += stride) {
		uint64_t head[4] = {size, (uint64_t)i, crc32c(0, payload, size), 0};
		if (off + stride > FILE_BYTES)
			off = 0;
		if (!floor->disk) {
			medium_stream(&floor->medium, floor->medium.base + off, head, sizeof(head), payload, size);
			medium_fence(&floor->medium);
			continue;
		}
		memcpy(record, head, sizeof(head));
		if (pwrite(floor->fd, record, HEAD_BYTES + size, (off_t)off) != (ssize_t)(HEAD_BYTES + size) ||
		    fdatasync(floor->fd))
			die("pwrite and fdatasync");
	}
	return (now_ns() - begin) / count;
}

/* ---- ours ---- */

struct ours {
	char path[4096];
	struct pmemstream *stream;
	struct pmemstream_region region;
	struct pmemstream_region_runtime *runtime;
};

static void open_ours(struct ours *ours, const char *folder)
{
	const struct pmemstream_config config = {.size = FILE_BYTES, .flags = PMEMSTREAM_PREFAULT};

	snprintf(ours->path, sizeof(ours->path), "%s/append.%d.stream", folder, (int)getpid());
	if (pmemstream_create(&ours->stream, ours->path, &config))
		die(ours->path);
}

/* A fresh region, so that no round runs out of room. */
static void fresh_region(struct ours *ours)
{
	if (ours->runtime && pmemstream_region_free(ours->stream, ours->region))
		die("freeing the region");
	if (pmemstream_region_allocate(ours->stream, FILE_BYTES - (1 << 20), &ours->region) ||
	    pmemstream_region_runtime_initialize(ours->stream, ours->region, &ours->runtime))
		die("allocating a region");
}

struct worker {
	struct ours *ours;
	size_t size;
	int count;
};

static void *append(void *argument)
{
	struct worker *worker = argument;
	struct ours *ours = worker->ours;

	for (int i = 0; i < worker->count; i++)
		if (pmemstream_append(ours->stream, ours->region, ours->runtime, payload, worker->size, NULL))
			die("append");
	return NULL;
}

static double run_ours(struct ours *ours, size_t size, int count, int thread_count)
{
	struct worker worker = {ours, size, count / thread_count};
	pthread_t threads[THREADS_MAX];

	fresh_region(ours);
	double begin = now_ns();
	if (thread_count == 1) {
		append(&worker);
	} else {
		for (int i = 0; i < thread_count; i++)
			if (pthread_create(&threads[i], NULL, append, &worker))
				die("starting a thread");
		for (int i = 0; i < thread_count; i++)
			pthread_join(threads[i], NULL);
	}
	return (now_ns() - begin) / (worker.count * thread_count);
}

/* ---- the tables ---- */

static void compare_with_floor(struct ours *ours, struct floor *floor, size_t size, int count)
{
	double ours_ns[ROUNDS], floor_ns[ROUNDS], ratio[ROUNDS];
	struct pmemstream_statistics before, after;

	run_floor(floor, size, count);
	run_ours(ours, size, count, 1);
	for (int round = 0; round < ROUNDS; round++) {
		floor_ns[round] = run_floor(floor, size, count);
		ours_ns[round] = run_ours(ours, size, count, 1);
		ratio[round] = ours_ns[round] / floor_ns[round];
	}
	/* A few entries, between which no checkpoint falls. */
	struct worker few = {ours, size, 50};
	fresh_region(ours);
	pmemstream_get_statistics(ours->stream, &before);
	append(&few);
	pmemstream_get_statistics(ours->stream, &after);
	printf("%s\t%zu\t1\t%.0f\t%.0f\t%.2f\t%.2f\t%.2f\n", floor->disk ? "disk" : "memory", size, median(ours_ns),
	       median(floor_ns), median(ratio), (double)(after.fences - before.fences) / 50,
	       (double)(after.syncs - before.syncs) / 50);
	fflush(stdout);
}

static void compare_threads(struct ours *ours, bool disk, size_t size, int count, int thread_count)
{
	double many_ns[ROUNDS], one_ns[ROUNDS], ratio[ROUNDS];
	struct pmemstream_statistics before, after;

	run_ours(ours, size, count * thread_count, thread_count);
	pmemstream_get_statistics(ours->stream, &before);
	for (int round = 0; round < ROUNDS; round++) {
		one_ns[round] = run_ours(ours, size, count, 1);
		many_ns[round] = run_ours(ours, size, count * thread_count, thread_count);
		ratio[round] = many_ns[round] / one_ns[round];
	}
	pmemstream_get_statistics(ours->stream, &after);
	double entries = (double)(after.appended - before.appended);
	printf("%s\t%zu\t%d\t%.0f\t%.0f\t%.2f\t%.2f\t%.2f\n", disk ? "disk" : "memory", size, thread_count,
	       median(many_ns), median(one_ns), median(ratio), (double)(after.fences - before.fences) / entries,
	       (double)(after.syncs - before.syncs) / entries);
	fflush(stdout);
}

/* As many as fit a region, for so many threads. */
static int fitting(int count, size_t size, int thread_count)
{
	size_t fit = (FILE_BYTES - (2 << 20)) / ((HEAD_BYTES + size + 63) / 64 * 64) / (size_t)thread_count;

	return (size_t)count < fit ? count : (int)fit;
}

static void measure(const char *folder, bool disk)
{
	static struct ours ours;
	struct floor floor;
	int count = disk ? DISK_APPENDS : MEMORY_APPENDS;

	setenv("PMEM2_FORCE_GRANULARITY", disk ? "PAGE" : "CACHE_LINE", 1);
	ours = (struct ours){0};
	open_ours(&ours, folder);
	open_floor(&floor, folder, disk);
	for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++)
		compare_with_floor(&ours, &floor, sizes[i], fitting(count, sizes[i], 1));
	for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++)
		compare_threads(&ours, disk, sizes[i], fitting(count, sizes[i], 2), 2);
	if (disk)
		compare_threads(&ours, disk, 256, count, THREADS_MAX);
	pmemstream_delete(&ours.stream);
	unlink(ours.path);
	munmap(floor.medium.base, FILE_BYTES);
	medium_close(&floor.medium);
	close(floor.fd);
}

int main(int argc, char **argv)
{
	const char *folder = argc > 1 ? argv[1] : ".";

	memset(payload, 'p', sizeof(payload));
	printf("medium\tbytes\tthreads\tours_ns\tother_ns\tratio\tfences\tsyncs\n");
	/* Memory first on the file system of shared memory: that is where the caches decide, as with DAX. */
	measure(access("/dev/shm", W_OK) ? folder : "/dev/shm", false);
	measure(folder, true);
	return 0;
}
