/*
 * subject_floor.c: the least that a durable record with a checksum costs on this machine.
 *
 * Memory  32 bytes of head and the data go past the cache into whole lines, with the CRC32C of the data in the head;
 *         then one fence, or one for several records. No lock, no order, nothing else is known.
 * Disk    the same record by pwrite into a file whose blocks were all written before, then fdatasync.
 *
 * "store" is the same record by ordinary stores to the map: flushed and fenced, or synced by msync.
 *
 * Between the floor and a stream, in memory, lie three more, by which the price of what a stream adds can be told:
 * "floor_checks" has the checks of a stream's entries: CRC-64 of the data, CRC32C of the head; "floor_counted" also
 * takes its numbers from a counter that all threads share, by one fetch-and-add: the least of any common order;
 * "floor_ordered" moreover is done with a record only when all with smaller numbers are durable, too: the least of any
 * log whose appends are acknowledged in that order.
 */
#include "subject.h"

#include "base/crc32c.h"
#include "base/crc64.h"
#include "base/spinlock.h"
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

enum { HEAD_BYTES = 32, DISK_ALIGNMENT = 8, PAUSES_MAX = 8 };

struct place {
	_Alignas(MEDIUM_LINE_BYTES) size_t off;
	size_t begin, end;
	uint64_t number;
	char *record; /* disk: head and data as one piece */
};

enum variant { PLAIN, STORES, CHECKS, COUNTED, ORDERED };

struct floor {
	char *base;
	size_t bytes;
	int fd;
	bool disk, wide;
	enum variant variant;
	unsigned fence_every;
	struct medium medium;
	struct place places[SUBJECT_THREADS_MAX];
	_Alignas(MEDIUM_LINE_BYTES) _Atomic uint64_t counter;
	_Alignas(MEDIUM_LINE_BYTES) _Atomic uint64_t acknowledged;
};

static void *open_variant(const struct subject_setup *setup, char *configuration, enum variant variant)
{
	struct floor *floor = aligned_alloc(MEDIUM_LINE_BYTES, sizeof(*floor));
	char path[BENCH_PATH_BYTES];

	if (!floor)
		bench_die("floor", "no memory");
	if (setup->disk && variant >= CHECKS)
		bench_die("floor_checks, floor_counted, floor_ordered", "only in memory");
	*floor = (struct floor){
		.disk = setup->disk, .variant = variant, .fence_every = setup->fence_every ? setup->fence_every : 1};
	floor->bytes = subject_round_up(setup->room_bytes + (1 << 20), MEDIUM_PAGE_BYTES);
	snprintf(path, sizeof(path), "%s/floor.%d", setup->folder, variant);
	floor->base = bench_map_written(path, floor->bytes, &floor->fd);
	if (medium_from_range(&floor->medium, floor->base, floor->bytes, setup->disk ? MEDIUM_PAGE : MEDIUM_CACHE_LINE,
			      true))
		bench_die(path, "no memory");
#if defined(__x86_64__)
	floor->wide = __builtin_cpu_supports("avx2");
#endif
	for (unsigned i = 0; setup->disk && i < SUBJECT_THREADS_MAX; i++)
		floor->places[i].record = calloc(1, HEAD_BYTES + (1 << 20));
	if (variant == STORES)
		snprintf(configuration, SUBJECT_CONFIGURATION_BYTES,
			 "ordinary stores of head, CRC32C and data to a map, then %s",
			 setup->disk ? "msync" : "flush and fence");
	else if (setup->disk)
		snprintf(configuration, SUBJECT_CONFIGURATION_BYTES,
			 "pwrite of head, CRC32C and data into written blocks, fdatasync");
	else
		snprintf(configuration, SUBJECT_CONFIGURATION_BYTES,
			 "%s stores past the cache of head, %s and data in whole lines, 1 fence for %u%s",
			 floor->wide ? "32-byte" : "libpmem2's", variant == PLAIN ? "CRC32C" : "a stream's checks",
			 floor->fence_every,
			 variant == ORDERED   ? ", numbers from one counter, acknowledged in their order"
			 : variant == COUNTED ? ", numbers from one counter"
					      : "");
	return floor;
}

static void *open_floor(const struct subject_setup *setup, char *configuration)
{
	return open_variant(setup, configuration, PLAIN);
}

static void *open_store(const struct subject_setup *setup, char *configuration)
{
	return open_variant(setup, configuration, STORES);
}

static void *open_checks(const struct subject_setup *setup, char *configuration)
{
	return open_variant(setup, configuration, CHECKS);
}

static void *open_counted(const struct subject_setup *setup, char *configuration)
{
	return open_variant(setup, configuration, COUNTED);
}

static void *open_ordered(const struct subject_setup *setup, char *configuration)
{
	return open_variant(setup, configuration, ORDERED);
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

static void put_line_record(struct floor *floor, char *to, const uint64_t *head, const void *data, size_t size,
			    bool fence)
{
#if defined(__x86_64__)
	if (floor->wide)
		put_wide(to, head, data, size);
	else
#endif
		medium_stream(&floor->medium, to, head, HEAD_BYTES, data, size);
	if (!fence)
		return;
#if defined(__x86_64__)
	_mm_sfence();
#else
	medium_fence(&floor->medium);
#endif
}

static void put_plain_record(struct floor *floor, struct place *place, const void *data, size_t size)
{
	uint64_t head[HEAD_BYTES / 8] = {size, ++place->number, 1, crc32c(0, data, size)};

	put_line_record(floor, floor->base + place->off, head, data, size, place->number % floor->fence_every == 0);
}

/* The seed that goes first, the place, and the head up to its check. */
static uint32_t head_check(const uint64_t *head, uint64_t off)
{
	uint32_t crc = crc32c(0x5eed, &off, sizeof(off));

	return crc32c(crc, head, HEAD_BYTES - sizeof(uint32_t));
}

/* Waits until all records in front of a number are durable, as that one is. The longer, the more seldom it looks: who
 * is to say so needs the line. */
static void acknowledge(struct floor *floor, uint64_t number)
{
#if defined(__x86_64__)
	if (atomic_load_explicit(&floor->acknowledged, memory_order_relaxed) != number - 1)
		_mm_lfence(); /* or the next look would come before the fence is done */
#endif
	for (unsigned turn = 0; atomic_load_explicit(&floor->acknowledged, memory_order_acquire) != number - 1; turn++)
		for (unsigned i = 0; i <= turn && i < PAUSES_MAX; i++)
			spinlock_backoff(turn);
	atomic_store_explicit(&floor->acknowledged, number, memory_order_release);
}

static void put_checked_record(struct floor *floor, struct place *place, const void *data, size_t size, size_t stride)
{
	uint64_t check = crc64(0, data, size);
	uint64_t off = place->off;
	uint64_t number = floor->variant == CHECKS ? ++place->number : atomic_fetch_add(&floor->counter, 1) + 1;
	place->off += stride;
	if (place->off + stride > place->end)
		place->off = place->begin;

	uint64_t head[HEAD_BYTES / 8] = {size, number, 1, (uint32_t)(check ^ check >> 32)};
	head[3] |= (uint64_t)head_check(head, off) << 32;
	put_line_record(floor, floor->base + off, head, data, size, number % floor->fence_every == 0);
	if (floor->variant == ORDERED)
		acknowledge(floor, number);
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
	if (floor->variant >= CHECKS) {
		put_checked_record(floor, place, data, size, stride);
		return;
	}
	if (place->off + stride > place->end)
		place->off = place->begin;
	if (floor->variant == STORES)
		store_record(floor, place, data, size);
	else if (floor->disk)
		put_disk_record(floor, place, data, size);
	else
		put_plain_record(floor, place, data, size);
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

const struct subject_kind subject_floor_checks = {
	.name = "floor_checks",
	.open = open_checks,
	.begin = begin_floor,
	.append = append_floor,
	.close = close_floor,
};

const struct subject_kind subject_floor_counted = {
	.name = "floor_counted",
	.open = open_counted,
	.begin = begin_floor,
	.append = append_floor,
	.close = close_floor,
};

const struct subject_kind subject_floor_ordered = {
	.name = "floor_ordered",
	.open = open_ordered,
	.begin = begin_floor,
	.append = append_floor,
	.close = close_floor,
};
