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
	struct window_note *note; /* NULL: the slot was filled when the timestamp was taken */
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

/* Writes down in an entry's slot where it lies. */
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

/* Ends a note whose timestamp others may have to find on: where persisted has not reached that and the slot is not
 * filled, it is filled. By the note's thread: before it leaves the timestamp to others; or under the order lock, if it
 * left an append in the middle, by a jump out of a signal handler. */
void window_settle(struct pmemstream *stream, struct window_note *note);

/* Notes where an entry lies until window_end. Each store releases, so that who finds a part of this one in the place of
 * an older note sees that one ended. */
static inline void window_note(struct pmemstream *stream, const struct ticket *ticket)
{
	struct window_note *note = ticket->note;

	if (__builtin_expect(atomic_load_explicit(&note->timestamp, memory_order_relaxed) != 0, 0))
		window_settle(stream, note);
	atomic_store_explicit(&note->off, ticket->off, memory_order_release);
	atomic_store_explicit(&note->region, ticket->region, memory_order_release);
	atomic_store_explicit(&note->timestamp, ticket->timestamp, memory_order_release);
}

/* When persisted has reached the timestamp, or the slot is filled. */
static inline void window_end(struct window_note *note)
{
	if (note)
		atomic_store_explicit(&note->timestamp, 0, memory_order_release);
}

/* The calling thread's note, or NULL: it has none, or entries are made durable by sync and the slots do not matter. */
static inline struct window_note *window_own_note(struct pmemstream *stream)
{
	unsigned number = stream->lines ? thread_slot() : THREAD_SLOT_SHARED;

	return number != THREAD_SLOT_SHARED ? &stream->notes[number] : NULL;
}

/*
 * Under the order lock, after everything that can fail: gives the entry the next timestamp and the region's tail.
 * Raises the region's limit where the entry begins at or behind it. persisted: as it was before the lock was taken.
 * Where the entry lies stands in the note, or, if that is NULL, in the slot. more: the next timestamp belongs to the
 * same batch, which takes no notes.
 */
static inline void window_take(struct pmemstream *stream, struct region *region, uint64_t size, uint64_t persisted,
			       struct window_note *note, bool more, struct ticket *ticket)
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
		.note = note,
		.limit_raised = off >= region->limit_off,
	};
	if (ticket->limit_raised)
		window_raise_limit(stream, region, off);
	/* In front of the timestamp: who knows of that finds the place. */
	if (note)
		window_note(stream, ticket);
	else
		window_fill(ticket, more);
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

/* Where an entry lies that is not durable yet. */
struct window_place {
	struct region *region;
	uint64_t off;
	bool taken; /* somebody is at work on it */
};

/* Finds that of a timestamp that was handed out; false once persisted has reached it. */
bool window_find(struct pmemstream *stream, uint64_t timestamp, struct window_place *place);

/* No thread's address. */
#define MARKERS_MANY ((uintptr_t)1)

/* Tells other processes what became committed with an entry that was just marked; lone: that itself they know. */
void window_tell_marked(struct pmemstream *stream, uint64_t timestamp, bool lone);

/* Says that the entry is whole, by ordinary stores. Its slot was filled when it was taken. */
static inline void window_mark_copied(struct pmemstream *stream, const struct ticket *ticket)
{
	uint64_t word = atomic_load_explicit(&ticket->slot->word, memory_order_relaxed);
	bool lone = atomic_load_explicit(&stream->committed, memory_order_acquire) == ticket->timestamp - 1 &&
		    !(word & SLOT_MORE);

	/* Until the word says so, nobody else can raise the marks over this one, but for the owner of the next
	 * timestamp once committed says so: what other processes read is stored in front of that. */
	if (lone) {
		area_store_committed(stream, ticket->timestamp);
		atomic_store_explicit(&stream->committed, ticket->timestamp, memory_order_release);
	}
	atomic_store_explicit(&ticket->slot->word, (word & ~(uint64_t)SLOT_STATES) | SLOT_COPIED, memory_order_release);
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
