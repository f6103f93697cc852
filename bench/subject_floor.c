/*
 * subject_floor.c: the least that a durable record with a checksum costs on this machine.
 *
 * Memory  32 bytes of head and the data go past the cache into whole lines, with the CRC32C of the data in the head;
 *         then one fence, or one for several records. No lock, no order, nothing else is known.
 * Disk    the same record by pwrite into a file whose blocks were all written before, then fdatasync.
 *
 * "store" is the same record by ordinary stores to the map: flushed and fenced, or synced by msync.
 */
#include "subject.h"

#include "base/crc32c.h"
#include "medium/medium.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

enum { HEAD_BYTES = 32, DISK_ALIGNMENT = 8 };

struct place {
	_Alignas(MEDIUM_LINE_BYTES) size_t off;
	size_t begin, end;
	uint64_t number;
	char *record; /* disk: head and data as one piece */
};

struct floor {
	char *base;
	size_t bytes;
	int fd;
	bool disk, wide, stores;
	unsigned fence_every;
	struct medium medium;
	struct place places[SUBJECT_THREADS_MAX];
};

static void *open_place(const struct subject_setup *setup, char *configuration, bool stores)
{
	struct floor *floor = aligned_alloc(MEDIUM_LINE_BYTES, sizeof(*floor));
	char path[BENCH_PATH_BYTES];

	if (!floor)
		bench_die("floor", "no memory");
	*floor = (struct floor){
		.disk = setup->disk, .stores = stores, .fence_every = setup->fence_every ? setup->fence_every : 1};
	floor->bytes = subject_round_up(setup->room_bytes + (1 << 20), MEDIUM_PAGE_BYTES);
	snprintf(path, sizeof(path), "%s/%s", setup->folder, stores ? "store" : "floor");
	floor->base = bench_map_written(path, floor->bytes, &floor->fd);
	if (medium_from_range(&floor->medium, floor->base, floor->bytes, setup->disk ? MEDIUM_PAGE : MEDIUM_CACHE_LINE,
			      true))
		bench_die(path, "no memory");
#if defined(__x86_64__)
	floor->wide = __builtin_cpu_supports("avx2");
#endif
	for (unsigned i = 0; setup->disk && i < SUBJECT_THREADS_MAX; i++)
		floor->places[i].record = calloc(1, HEAD_BYTES + (1 << 20));
	if (stores)
		snprintf(configuration, SUBJECT_CONFIGURATION_BYTES,
			 "ordinary stores of head, CRC32C and data to a map, then %s",
			 setup->disk ? "msync" : "flush and fence");
	else if (setup->disk)
		snprintf(configuration, SUBJECT_CONFIGURATION_BYTES,
			 "pwrite of head, CRC32C and data into written blocks, fdatasync");
	else
		snprintf(configuration, SUBJECT_CONFIGURATION_BYTES,
			 "%s stores past the cache of head, CRC32C and data in whole lines, 1 fence for %u",
			 floor->wide ? "32-byte" : "libpmem2's", floor->fence_every);
	return floor;
}

static void *open_floor(const struct subject_setup *setup, char *configuration)
{
	return open_place(setup, configuration, false);
}

static void *open_store(const struct subject_setup *setup, char *configuration)
{
	return open_place(setup, configuration, true);
}

static void begin_floor(void *state, unsigned threads)
{
	struct floor *floor = state;
	size_t share = floor->bytes / threads / MEDIUM_LINE_BYTES * MEDIUM_LINE_BYTES;

	for (unsigned i = 0; i < threads; i++) {
		floor->places[i].begin = floor->places[i].off = share * i;
		floor->places[i].end = share * (i + 1);
	}
}

#if defined(__x86_64__)
__attribute__((target("avx2"))) static inline void put_wide(char *to, const void *head, const char *data, size_t size)
{
	_mm256_stream_si256((__m256i *)to, _mm256_loadu_si256(head));
	to += HEAD_BYTES;
	for (; size >= 32; size -= 32, to += 32, data += 32)
		_mm256_stream_si256((__m256i *)to, _mm256_loadu_si256((const __m256i *)data));
	if (size) {
		char rest[32] = {0};
		memcpy(rest, data, size);
		_mm256_stream_si256((__m256i *)to, _mm256_loadu_si256((const __m256i *)rest));
		to += 32;
	}
	if ((uintptr_t)to % MEDIUM_LINE_BYTES)
		_mm256_stream_si256((__m256i *)to, _mm256_setzero_si256());
}
#endif

static void put_line_record(struct floor *floor, struct place *place, const void *data, size_t size)
{
	uint64_t head[HEAD_BYTES / 8] = {size, ++place->number, 1, crc32c(0, data, size)};
	char *to = floor->base + place->off;

#if defined(__x86_64__)
	if (floor->wide)
		put_wide(to, head, data, size);
	else
#endif
		medium_stream(&floor->medium, to, head, sizeof(head), data, size);
	if (place->number % floor->fence_every == 0) {
#if defined(__x86_64__)
		_mm_sfence();
#else
		medium_fence(&floor->medium);
#endif
	}
}

static void put_disk_record(struct floor *floor, struct place *place, const void *data, size_t size)
{
	uint64_t head[HEAD_BYTES / 8] = {size, ++place->number, 1, crc32c(0, data, size)};
	ssize_t bytes = (ssize_t)(HEAD_BYTES + size);

	memcpy(place->record, head, sizeof(head));
	memcpy(place->record + HEAD_BYTES, data, size);
	if (pwrite(floor->fd, place->record, (size_t)bytes, (off_t)place->off) != bytes || fdatasync(floor->fd))
		bench_die("floor", strerror(errno));
}

static void store_record(struct floor *floor, struct place *place, const void *data, size_t size)
{
	uint64_t head[HEAD_BYTES / 8] = {size, ++place->number, 1, crc32c(0, data, size)};
	char *to = floor->base + place->off;

	medium_copy(&floor->medium, to, head, sizeof(head));
	medium_copy(&floor->medium, to + sizeof(head), data, size);
	if (place->number % floor->fence_every)
		medium_flush(&floor->medium, to, HEAD_BYTES + size);
	else if (medium_persist(&floor->medium, to, HEAD_BYTES + size))
		bench_die("store", strerror(errno));
}

static inline void put_record(struct floor *floor, struct place *place, const void *data, size_t size, size_t stride)
{
	if (place->off + stride > place->end)
		place->off = place->begin;
	if (floor->stores)
		store_record(floor, place, data, size);
	else if (floor->disk)
		put_disk_record(floor, place, data, size);
	else
		put_line_record(floor, place, data, size);
	place->off += stride;
}

static void append_floor(void *state, unsigned thread, const void *data, size_t size, unsigned count,
			 uint32_t *samples_ns)
{
	struct floor *floor = state;
	struct place *place = &floor->places[thread];
	size_t stride = subject_round_up(HEAD_BYTES + size, floor->disk ? DISK_ALIGNMENT : MEDIUM_LINE_BYTES);

	SUBJECT_REPEAT(count, samples_ns, put_record(floor, place, data, size, stride));
}

static void close_floor(void *state)
{
	struct floor *floor = state;

	for (unsigned i = 0; i < SUBJECT_THREADS_MAX; i++)
		free(floor->places[i].record);
	medium_close(&floor->medium);
	munmap(floor->base, floor->bytes);
	close(floor->fd);
	free(floor);
}

const struct subject_kind subject_floor = {
	.name = "floor",
	.open = open_floor,
	.begin = begin_floor,
	.append = append_floor,
	.close = close_floor,
};

const struct subject_kind subject_store = {
	.name = "store",
	.open = open_store,
	.begin = begin_floor,
	.append = append_floor,
	.close = close_floor,
};
