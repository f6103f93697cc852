/*
 * window.h: timestamps in flight: handing them out, and finding how far they are committed and persisted.
 */
#ifndef STREAM_WINDOW_H
#define STREAM_WINDOW_H

#include "base/thread_slot.h"
#include "stream/area.h"
#include "stream/stream.h"

/* An entry whose place and timestamp are taken. */
struct ticket {
	struct region *region;
	uint64_t timestamp, off;
	uint64_t bytes;     /* header and data */
	uint64_t persisted; /* when the append began */
	struct window_slot *slot;
	bool limit_raised;
	bool round_due;
};

static inline struct window_slot *window_slot(struct pmemstream *stream, uint64_t timestamp)
{
	return &stream->slots[timestamp & (stream->window - 1)];
}

static inline uint64_t slot_timestamp(uint64_t word)
{
	return word >> SLOT_TIMESTAMP_SHIFT;
}

static inline unsigned slot_state(uint64_t word)
{
	return (unsigned)(word & SLOT_STATES);
}

/* Under the order lock: so many timestamps from next on have slots. */
static inline bool window_has_room(struct pmemstream *stream, uint64_t count)
{
	uint64_t last = atomic_load_explicit(&stream->next, memory_order_relaxed) + count - 1;

	/* persisted is written by every append: its line is not asked for while others wait for the lock. */
	if (__builtin_expect(last > stream->room_until, 0))
		stream->room_until = stream_persisted(stream) + stream->window;
	return last <= stream->room_until;
}

/* Raises the limit over an entry that begins at entry_off. Under the order lock, so that a higher one is never
 * overwritten by a lower one, or in recovery. */
void window_raise_limit(struct pmemstream *stream, struct region *region, uint64_t entry_off);

/*
 * Under the order lock, after everything that can fail: gives the entry the next timestamp and the region's tail.
 * Raises the region's limit where the entry begins at or behind it. persisted: as it was before the lock was taken.
 * Right after it is left, window_fill has to say what the timestamp is for.
 */
static inline void window_take(struct pmemstream *stream, struct region *region, uint64_t size, uint64_t persisted,
			       struct ticket *ticket)
{
	uint64_t timestamp = atomic_load_explicit(&stream->next, memory_order_relaxed);
	uint64_t off = atomic_load_explicit(&region->tail_off, memory_order_relaxed);
	uint64_t space = format_entry_space(size, stream->alignment);

	*ticket = (struct ticket){
		.region = region,
		.timestamp = timestamp,
		.off = off,
		.bytes = FORMAT_ENTRY_HEADER_BYTES + size,
		.persisted = persisted,
		.slot = window_slot(stream, timestamp),
		.limit_raised = off >= region->limit_off,
	};
	if (ticket->limit_raised)
		window_raise_limit(stream, region, off);
	atomic_store_explicit(&stream->next, timestamp + 1, memory_order_release);
	atomic_store_explicit(&region->tail_off, off + space, memory_order_release);
	region->last_timestamp = timestamp;
	if (!region->grew) {
		region->grew = true;
		region->next_grown = stream->grown;
		stream->grown = region;
	}
	stream->appended_bytes += space;
	ticket->round_due = stream->appended_bytes >= stream->round_bytes;
}

/*
 * Fills the slot of a timestamp that was taken, for others to see. more: the next timestamp belongs to the same batch.
 * Not under the order lock: another thread wrote the slot's line last, as a rule, and the lock would be held until it
 * has come.
 */
static inline void window_fill(const struct ticket *ticket, bool more)
{
	struct window_slot *slot = ticket->slot;
	uint64_t word = ticket->timestamp << SLOT_TIMESTAMP_SHIFT | (more ? SLOT_MORE : 0) | SLOT_TAKEN;

	/* Release, so that who reads what is filled in here also sees that persisted passed what stood here before. */
	atomic_store_explicit(&slot->off, ticket->off, memory_order_release);
	atomic_store_explicit(&slot->bytes, ticket->bytes, memory_order_release);
	atomic_store_explicit(&slot->region, ticket->region, memory_order_release);
	atomic_store_explicit(&slot->limit_raised, ticket->limit_raised, memory_order_relaxed);
	atomic_store_explicit(&slot->word, word, memory_order_release);
}

/* The word of the slot of a timestamp that was taken, once it is filled; 0 where it holds a later one, since persisted
 * passed this one. Not under the order lock. */
uint64_t window_filled(struct pmemstream *stream, uint64_t timestamp);

/* Takes the order lock at a moment in which the slots of all timestamps that were taken are filled. */
void window_take_order(struct pmemstream *stream);

/* No thread's address. */
#define MARKERS_MANY ((uintptr_t)1)

/* Tells other processes what became committed with an entry that was just marked; lone: that itself they know. */
void window_tell_marked(struct pmemstream *stream, uint64_t timestamp, bool lone);

/* Says that the entry is whole, by ordinary stores. */
static inline void window_mark_copied(struct pmemstream *stream, const struct ticket *ticket)
{
	uint64_t word = atomic_load_explicit(&ticket->slot->word, memory_order_relaxed);
	uint64_t copied = (word & ~(uint64_t)SLOT_STATES) | SLOT_COPIED;
	bool lone = atomic_load_explicit(&stream->committed, memory_order_acquire) == ticket->timestamp - 1 &&
		    !(word & SLOT_MORE);

	/* Until the word says so, nobody else can raise the marks over this one, but for the owner of the next
	 * timestamp once committed says so: what other processes read is stored in front of that. */
	if (lone) {
		area_store_committed(stream, ticket->timestamp);
		atomic_store_explicit(&stream->committed, ticket->timestamp, memory_order_release);
	}
	atomic_store_explicit(&ticket->slot->word, copied, memory_order_release);
	if (!stream->published) {
		if (__builtin_expect(!atomic_load_explicit(&stream->marker, memory_order_relaxed), 0))
			atomic_store_explicit(&stream->marker, MARKERS_MANY, memory_order_relaxed);
		return;
	}
	atomic_signal_fence(memory_order_seq_cst);
	/* Most threads are alone (is_only_marker), and nothing lies behind. */
	if (!lone || atomic_load_explicit(&stream->marker, memory_order_relaxed) != thread_address() ||
	    atomic_load_explicit(&stream->next, memory_order_relaxed) != ticket->timestamp + 1)
		window_tell_marked(stream, ticket->timestamp, lone);
}

/* Tells other processes of what was finished behind a timestamp before persisted passed that. Where nothing was ever
 * marked copied there is no such thing, and appenders do not ask for the line that the others write. */
void window_tell_behind(struct pmemstream *stream, uint64_t timestamp);

static inline void window_passed(struct pmemstream *stream, uint64_t timestamp)
{
	if (__builtin_expect(atomic_load_explicit(&stream->marker, memory_order_relaxed) != 0, 0) &&
	    stream->published && atomic_load_explicit(&stream->next, memory_order_relaxed) != timestamp + 1)
		window_tell_behind(stream, timestamp);
}

/* The committed timestamp, looked up anew. */
uint64_t window_committed(struct pmemstream *stream);

/* Entries of the region in front of the result are committed and whole; region and generation are checked by the
 * caller. */
uint64_t window_safe_off(struct pmemstream *stream, struct region *region);

/* What a scan of the window found. */
struct window_scan {
	uint64_t from; /* persisted when the scan began */
	uint64_t to;   /* every timestamp from from + 1 to here is copied or durable, and no batch is cut; from, too,
			* where somebody else raised persisted meanwhile */
	bool flushed;  /* lines were flushed: fence before believing it */
	uint64_t span_off, span_bytes; /* not flushed: all bytes of those entries and the limits they raised */
};

/* Looks at the timestamps above persisted, to the given one or the end of its batch. flush: flushes the lines of those
 * that are copied, and not durable. */
void window_scan(struct pmemstream *stream, uint64_t timestamp, bool flush, struct window_scan *scan);

/* Raises persisted from scan->from to scan->to, if it is still there. */
void window_advance(struct pmemstream *stream, const struct window_scan *scan);

#endif
