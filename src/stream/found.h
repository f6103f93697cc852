/*
 * found.h: the valid entry that each thread found last, which it is likely to be asked for next.
 *
 * Threads  each thread has the line of its number (base/thread_slot.h), which nobody else reads or writes. A thread
 *          without a number of its own looks everything up.
 * Trust    an entry stays what it is until its region is freed, and then its stream gets a new serial number, which no
 *          other stream of this process had or will have. So a line outlives whatever it tells of, without harm, and
 *          the thread that it was written by.
 */
#ifndef STREAM_FOUND_H
#define STREAM_FOUND_H

#include "base/thread_slot.h"
#include "stream/stream.h"

struct found {
	uint64_t serial; /* of the stream when the entry was valid; 0: none was found */
	uint64_t off, size, timestamp;
};

_Static_assert(sizeof(struct found) <= sizeof(thread_slots->own), "a line");

/* The thread's line where it is looked for first, or NULL. */
static inline struct found *found_first_choice(void)
{
	uintptr_t thread = thread_address();
	unsigned number = thread_slot_first_choice(thread);

	return thread_slot_owns(number, thread) ? (struct found *)thread_slots[number].own : NULL;
}

/* The thread's line, or NULL. */
static inline struct found *found_line(void)
{
	unsigned number = thread_slot();

	return number != THREAD_SLOT_SHARED ? (struct found *)thread_slots[number].own : NULL;
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

#endif
