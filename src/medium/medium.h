/*
 * medium.h: a mapped file and the few operations by which bytes reach it.
 *
 * Every store to a mapped file goes through the table below, and nothing else calls libpmem2's copy and flush
 * functions. That is what lets the power-cut simulator of the tests take the table's place (tests/cut), and what
 * lets a reader find every store.
 *
 * What makes a store durable, by granularity:
 *   BYTE        the thread's next fence (the caches are inside the power-fail domain)
 *   CACHE_LINE  a flush of its lines and then a fence, both by the same thread; the fence alone after medium_stream
 *   PAGE        a successful sync of its pages; flush and fence do nothing durable there
 * medium_persist picks the right one. A fence never covers what another thread stored or flushed.
 *
 * No more than 8 aligned bytes are old or new together after a power cut, whatever the operation.
 */
#ifndef MEDIUM_MEDIUM_H
#define MEDIUM_MEDIUM_H

#include "base/crc64.h"
#include "base/thread_slot.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { MEDIUM_LINE_BYTES = 64, MEDIUM_PAGE_BYTES = 4096 };

enum medium_granularity { MEDIUM_BYTE, MEDIUM_CACHE_LINE, MEDIUM_PAGE };

struct medium;
struct pmem2_map;

struct medium_ops {
	/* Ordinary stores. */
	void (*copy)(struct medium *medium, void *to, const void *from, size_t bytes);
	/* Head (a line at most), then data, then zeros to the line's end, as one run from a line-aligned place, without
	 * leaving lines in the cache: durable at the thread's next fence, no flush needed (PAGE: ordinary stores). */
	void (*stream)(struct medium *medium, void *to, const void *head, size_t head_bytes, const void *data,
		       size_t data_bytes);
	/* Only where one_pass is set: see medium_stream_checked. */
	uint64_t (*stream_checked)(struct medium *medium, void *to, const void *data, size_t bytes);
	/* Head, then data, by ordinary stores, as one run from any place. */
	void (*record)(struct medium *medium, void *to, const void *head, size_t head_bytes, const void *data,
		       size_t data_bytes);
	/* One aligned 8-byte store, atomic, with release order. */
	void (*store8)(struct medium *medium, uint64_t *to, uint64_t value);
	/* The same without release order and without leaving the line in the cache: durable at the thread's next fence,
	 * no flush needed (PAGE: store8). For words that are written often and seldom read. */
	void (*stream8)(struct medium *medium, uint64_t *to, uint64_t value);
	/* One aligned 4-byte exchange on the medium, sequentially consistent: for words that processes share. */
	uint32_t (*exchange4)(struct medium *medium, uint32_t *at, uint32_t value);
	/* Raises an aligned little-endian 8-byte word to a value, unless it is higher, atomically: for words that
	 * processes share. */
	void (*raise8)(struct medium *medium, uint64_t *at, uint64_t value);
	/* Starts to write back the lines of a range; the thread's next fence waits for it. */
	void (*flush)(struct medium *medium, const void *at, size_t bytes);
	void (*fence)(struct medium *medium);
	/* Writes the pages of a range back and waits; 0, or -1 with errno: then nothing of them may be believed. */
	int (*sync)(struct medium *medium, const void *at, size_t bytes);
	/* Says that the caller, or a data mover of his, stored to this range himself, by ordinary stores. */
	void (*written)(struct medium *medium, const void *at, size_t bytes);
	/* Stores one byte of each page of a range with its own value, so that the next sync writes the page. */
	void (*redirty)(struct medium *medium, const void *at, size_t bytes);
};

/* What the medium was asked to do; one line for each thread slot. */
struct medium_counters {
	_Alignas(MEDIUM_LINE_BYTES) _Atomic uint64_t stored_bytes;
	_Atomic uint64_t flushed_lines;
	_Atomic uint64_t fences;
	_Atomic uint64_t syncs;
};

struct medium_counts {
	uint64_t stored_bytes, flushed_lines, fences, syncs;
};

struct medium {
	const struct medium_ops *ops;
	char *base;
	size_t size;
	enum medium_granularity granularity;
	bool writable;
	bool one_pass; /* its table can check data while it streams them */
	void *(*copy_fn)(void *to, const void *from, size_t bytes, unsigned flags); /* libpmem2's, for map.c */
	void (*flush_fn)(const void *at, size_t bytes);
	void (*drain_fn)(void);
	struct medium_counters *counters; /* THREAD_SLOT_COUNT of them */
	int fd;                           /* of the file behind a medium_write_by_file */
	_Atomic int write_error;          /* errno of its first write that failed */
};

/*
 * Describes a mapping of libpmem2 that stays the caller's and must outlive the medium.
 * 0, or -1 with ENOMEM. medium_close frees what the description holds, not the mapping.
 */
int medium_from_map(struct medium *medium, struct pmem2_map *map, bool writable);
void medium_close(struct medium *medium);

/*
 * Describes a range of memory that the caller mapped, from one file or several, and that is to be treated as
 * granularity says. The rest is as with medium_from_map.
 */
int medium_from_range(struct medium *medium, void *base, size_t size, enum medium_granularity granularity,
		      bool writable);

/*
 * PAGE: from now on copies and streams are written with pwrite to the file that is mapped from its beginning, and the
 * medium stays readable through the mapping. A store through the mapping makes the kernel write back the whole folio it
 * lies in, up to 2 MiB, and costs a page fault after each sync; a write dirties the blocks that it touches. A write
 * that failed is told by the next sync, and by all behind it. fd stays the caller's, open as long as the medium. Does
 * nothing where stores are needed: other granularities, and a limit on file sizes below this file's.
 */
void medium_write_by_file(struct medium *medium, int fd);

/* For other implementations of the table: allocates the counters; 0, or -1 with ENOMEM. */
int medium_prepare(struct medium *medium, const struct medium_ops *ops, void *base, size_t size,
		   enum medium_granularity granularity, bool writable);

/* The sum over all threads since the medium was opened. */
struct medium_counts medium_counts(const struct medium *medium);

/* Touches every page, so that no later access takes a page fault. */
void medium_prefault(const struct medium *medium);

static inline void medium_count(const struct medium *medium, _Atomic uint64_t *own, unsigned slot, uint64_t n)
{
	(void)medium;
	if (slot != THREAD_SLOT_SHARED)
		atomic_store_explicit(own, atomic_load_explicit(own, memory_order_relaxed) + n, memory_order_relaxed);
	else
		atomic_fetch_add_explicit(own, n, memory_order_relaxed);
}

#define MEDIUM_COUNT(medium, field, n)                                                                                 \
	do {                                                                                                           \
		unsigned slot_ = thread_slot();                                                                        \
		medium_count((medium), &(medium)->counters[slot_].field, slot_, (n));                                  \
	} while (0)

/*
 * Orderings are inlined and never become a jump at the end of a function, so that the address they return to is a place
 * in the function that asks for them: that is how the simulator tells one fence of the source from another. The empty
 * statement is no instruction.
 */
#define MEDIUM_ORDERING static inline __attribute__((always_inline))
#define MEDIUM_STAY()   __asm__ volatile("")

static inline void medium_copy(struct medium *medium, void *to, const void *from, size_t bytes)
{
	MEDIUM_COUNT(medium, stored_bytes, bytes);
	medium->ops->copy(medium, to, from, bytes);
}

static inline void medium_stream(struct medium *medium, void *to, const void *head, size_t head_bytes, const void *data,
				 size_t data_bytes)
{
	MEDIUM_COUNT(medium, stored_bytes, head_bytes + data_bytes);
	medium->ops->stream(medium, to, head, head_bytes, data, data_bytes);
}

/* All but the first line of what medium_stream stores of a head of half a line and these data, and the CRC-64
 * (base/crc64.h) of all of them: the first line is to be streamed behind, with a head that may depend on that. */
static inline uint64_t medium_stream_checked(struct medium *medium, void *to, const void *data, size_t bytes)
{
	const size_t first = MEDIUM_LINE_BYTES / 2;

	if (bytes <= first)
		return crc64(0, data, bytes);
	MEDIUM_COUNT(medium, stored_bytes, bytes - first);
	if (medium->one_pass)
		return medium->ops->stream_checked(medium, to, data, bytes);
	uint64_t crc = crc64(0, data, bytes);
	medium->ops->stream(medium, (char *)to + MEDIUM_LINE_BYTES, NULL, 0, (const char *)data + first, bytes - first);
	return crc;
}

static inline void medium_record(struct medium *medium, void *to, const void *head, size_t head_bytes, const void *data,
				 size_t data_bytes)
{
	MEDIUM_COUNT(medium, stored_bytes, head_bytes + data_bytes);
	medium->ops->record(medium, to, head, head_bytes, data, data_bytes);
}

static inline void medium_store8(struct medium *medium, uint64_t *to, uint64_t value)
{
	MEDIUM_COUNT(medium, stored_bytes, sizeof(value));
	medium->ops->store8(medium, to, value);
}

/* A word that other processes look at and nothing depends on: not counted. */
static inline void medium_tell8(struct medium *medium, uint64_t *to, uint64_t value)
{
	medium->ops->store8(medium, to, value);
}

static inline void medium_stream8(struct medium *medium, uint64_t *to, uint64_t value)
{
	MEDIUM_COUNT(medium, stored_bytes, sizeof(value));
	medium->ops->stream8(medium, to, value);
}

/* Like medium_tell8. */
static inline void medium_raise8(struct medium *medium, uint64_t *at, uint64_t value)
{
	medium->ops->raise8(medium, at, value);
}

static inline uint32_t medium_exchange4(struct medium *medium, uint32_t *at, uint32_t value)
{
	MEDIUM_COUNT(medium, stored_bytes, sizeof(value));
	return medium->ops->exchange4(medium, at, value);
}

static inline size_t medium_lines(const void *at, size_t bytes)
{
	uintptr_t first = (uintptr_t)at / MEDIUM_LINE_BYTES;

	return bytes ? ((uintptr_t)at + bytes - 1) / MEDIUM_LINE_BYTES - first + 1 : 0;
}

MEDIUM_ORDERING void medium_flush(struct medium *medium, const void *at, size_t bytes)
{
	if (medium->granularity != MEDIUM_CACHE_LINE)
		return;
	MEDIUM_COUNT(medium, flushed_lines, medium_lines(at, bytes));
	medium->ops->flush(medium, at, bytes);
	MEDIUM_STAY();
}

MEDIUM_ORDERING void medium_fence(struct medium *medium)
{
	MEDIUM_COUNT(medium, fences, 1);
	medium->ops->fence(medium);
	MEDIUM_STAY();
}

MEDIUM_ORDERING int medium_sync(struct medium *medium, const void *at, size_t bytes)
{
	MEDIUM_COUNT(medium, syncs, 1);
	int err = medium->ops->sync(medium, at, bytes);
	MEDIUM_STAY();
	return err;
}

/* Makes a range durable that this thread stored, the granularity's way; 0, or -1 with errno on PAGE. */
MEDIUM_ORDERING int medium_persist(struct medium *medium, const void *at, size_t bytes)
{
	if (medium->granularity == MEDIUM_PAGE)
		return medium_sync(medium, at, bytes);
	medium_flush(medium, at, bytes);
	medium_fence(medium);
	return 0;
}

static inline void medium_written(struct medium *medium, const void *at, size_t bytes)
{
	MEDIUM_COUNT(medium, stored_bytes, bytes);
	medium->ops->written(medium, at, bytes);
}

MEDIUM_ORDERING void medium_redirty(struct medium *medium, const void *at, size_t bytes)
{
	if (medium->granularity != MEDIUM_PAGE)
		return;
	medium->ops->redirty(medium, at, bytes);
	MEDIUM_STAY();
}

#endif
