/*
 * found.h: the valid entry that each thread found last, which it is likely to be asked for next.
 *
 * Threads  each thread that finds entries owns one line of a table, found by its thread pointer: a hidden thread-local
 *          variable of a library that may be loaded at any time costs a call for each access. Only the owner reads and
 *          writes what is in a line; others read its owner at most. A thread that gets none looks everything up.
 * Trust    an entry stays what it is until its region is freed, and then its stream gets a new serial number, which no
 *          other stream of this process had or will have. So a line outlives whatever it tells of, without harm.
 */
#ifndef STREAM_FOUND_H
#define STREAM_FOUND_H

#include "stream/stream.h"

#include <pthread.h>

enum { FOUND_LINES_SHIFT = 8, FOUND_LINES = 1 << FOUND_LINES_SHIFT };

struct found {
	_Alignas(LINE_BYTES) _Atomic uintptr_t owner; /* 0: nobody */
	uint64_t serial;                              /* of the stream when the entry was valid */
	uint64_t off, size, timestamp;
};

extern struct found found_lines[FOUND_LINES];
/* The line of a thread that does not own its first choice; made if take; or NULL. */
struct found *found_line_elsewhere(uintptr_t thread, bool take);

/* Differs between living threads. */
static inline uintptr_t found_thread(void)
{
#if defined(__x86_64__)
	/* The address of the thread's control block, at its own beginning, as the ABI wants it. */
	uintptr_t thread;
	__asm__("mov %%fs:0, %0" : "=r"(thread));
	return thread;
#else
	return (uintptr_t)pthread_self();
#endif
}

static inline struct found *found_first_choice(uintptr_t thread)
{
	return &found_lines[(uint32_t)thread * UINT32_C(0x9e3779b1) >> (32 - FOUND_LINES_SHIFT)];
}

/* Word by word: pairs of words that were stored just now one by one would have to wait for both. */
static inline void found_fill(struct found *line, uint64_t serial, uint64_t off, uint64_t size, uint64_t timestamp)
{
	__atomic_store_n(&line->serial, serial, __ATOMIC_RELAXED);
	__atomic_store_n(&line->off, off, __ATOMIC_RELAXED);
	__atomic_store_n(&line->size, size, __ATOMIC_RELAXED);
	__atomic_store_n(&line->timestamp, timestamp, __ATOMIC_RELAXED);
}

/* To be asked for before the region's generation. */
static inline uint64_t found_serial(const struct pmemstream *stream)
{
	return atomic_load_explicit(&stream->serial, memory_order_acquire);
}

/* Whether the thread's line tells of the entry that begins at an offset of the stream. */
static inline bool found_tells(const struct found *line, const struct pmemstream *stream, uint64_t off)
{
	return found_serial(stream) == line->serial && off == line->off;
}

static inline bool found_owns(const struct found *line, uintptr_t thread)
{
	return atomic_load_explicit(&line->owner, memory_order_relaxed) == thread;
}

#endif
