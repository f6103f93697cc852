/*
 * window.c: which timestamps are taken, copied and durable.
 *
 * Invariant  persisted <= committed < next <= persisted + window + 1. No slot above persisted is reused.
 * Order      place, in the thread's note or in the slot -> next -> tail, under the order lock. So who sees a tail knows
 *            of all timestamps in front and finds where each lies, or that persisted has passed it (window_find). Who
 *            only asks how far everything is finished stops at a slot that is not filled as at one that is TAKEN.
 * Commit     who wants committed looks at the slots above it and above persisted, and raises it by compare-and-swap.
 *            The thread of timestamp committed + 1 stores it plainly while its slot still says TAKEN, since nobody else
 *            passes it then.
 * Persist    persisted goes from p to q by compare-and-swap, by a thread that found p + 1 .. q durable or flushed and
 *            fenced them itself. The thread of timestamp p + 1 may store p + 1 plainly as long as its slot says TAKEN,
 *            or nothing, since nobody else passes it then; so a lone appender pays no locked instruction for it.
 * Tell       other processes see no slots, so whoever finishes a timestamp tells them of those behind it, too, that
 *            were finished before. Of two who finish at once each looks behind a full fence, so one sees the other; a
 *            thread that has no others beside it does without. A synchronous append looks only if a later timestamp
 *            was taken by then: one that is marked in the moment until its last two stores are seen may be told of
 *            late, with the next one.
 * Crash      nothing here is on media but the limit; recovery finds the same order in the entries.
 */
#include "stream/window.h"

#include "stream/progress.h"

#include <linux/membarrier.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <unistd.h>

void window_raise_limit(struct pmemstream *stream, struct region *region, uint64_t entry_off)
{
	uint64_t off = atomic_load_explicit(&region->off, memory_order_relaxed);
	uint64_t end_off = atomic_load_explicit(&region->end_off, memory_order_relaxed);
	uint64_t limit_off = (entry_off & ~(uint64_t)(FORMAT_LIMIT_UNIT - 1)) + FORMAT_LIMIT_STEP;
	uint64_t generation = atomic_load_explicit(&region->generation, memory_order_relaxed);

	if (limit_off > end_off || end_off - limit_off < FORMAT_LIMIT_UNIT)
		limit_off = end_off;
	region->limit_off = limit_off;
	medium_store8(
		&stream->medium, stream_at(stream, off + FORMAT_REGION_LIMIT_OFF),
		htole64(format_checked_encode(stream->header.salt, generation, (limit_off - off) / FORMAT_LIMIT_UNIT)));
}

/* The word of a timestamp's slot, or 0 if the slot does not hold it: not handed out, not filled, or long persisted. */
static uint64_t word_of(struct pmemstream *stream, uint64_t timestamp)
{
	uint64_t word = atomic_load_explicit(&window_slot(stream, timestamp)->word, memory_order_acquire);

	return slot_timestamp(word) == timestamp ? word : 0;
}

void window_settle(struct pmemstream *stream, struct window_note *note)
{
	struct ticket ticket = {
		.region = atomic_load_explicit(&note->region, memory_order_relaxed),
		.timestamp = atomic_load_explicit(&note->timestamp, memory_order_relaxed),
		.off = atomic_load_explicit(&note->off, memory_order_relaxed),
	};

	ticket.slot = window_slot(stream, ticket.timestamp);
	/* Nobody uses the slot for another timestamp: that would be above persisted, and be given here. */
	if (stream_persisted(stream) < ticket.timestamp && !word_of(stream, ticket.timestamp))
		window_fill(&ticket, false);
	window_end(note);
}

static bool find_noted(struct pmemstream *stream, uint64_t timestamp, struct window_place *place)
{
	for (unsigned i = 0; stream->notes && i < THREAD_SLOT_SHARED; i++) {
		const struct window_note *note = &stream->notes[i];
		if (atomic_load_explicit(&note->timestamp, memory_order_acquire) != timestamp)
			continue;
		place->off = atomic_load_explicit(&note->off, memory_order_acquire);
		place->region = atomic_load_explicit(&note->region, memory_order_acquire);
		place->taken = true;
		return atomic_load_explicit(&note->timestamp, memory_order_relaxed) == timestamp;
	}
	return false;
}

bool window_find(struct pmemstream *stream, uint64_t timestamp, struct window_place *place)
{
	const struct window_slot *slot = window_slot(stream, timestamp);

	/* A note ends when the slot is filled or persisted has come, so the second turn finds one of them. */
	while (stream_persisted(stream) < timestamp) {
		uint64_t word = word_of(stream, timestamp);
		if (!word && find_noted(stream, timestamp, place))
			return true;
		if (!word)
			continue;
		place->off = atomic_load_explicit(&slot->off, memory_order_acquire);
		place->region = atomic_load_explicit(&slot->region, memory_order_acquire);
		place->taken = slot_state(word) == SLOT_TAKEN;
		/* A slot is used again only when its timestamp is durable: until then what was read belongs to it. */
		return stream_persisted(stream) < timestamp;
	}
	return false;
}

static bool is_finished(struct pmemstream *stream, uint64_t timestamp)
{
	uint64_t word = word_of(stream, timestamp);

	return word && slot_state(word) != SLOT_TAKEN;
}

/*
 * Whether no other thread has ever marked a slot of this stream, or will before what this one stored is seen by all.
 * The second one that comes says so and makes all processors execute a barrier: from then on the first one finds that
 * said, or what it stored before it looked is seen.
 */
static bool is_only_marker(struct pmemstream *stream)
{
	uintptr_t thread = thread_address(), marker = atomic_load_explicit(&stream->marker, memory_order_relaxed);

	if (marker == thread)
		return true;
	if (marker == MARKERS_MANY)
		return false;
	if (!marker && progress_has_membarrier && atomic_compare_exchange_strong(&stream->marker, &marker, thread))
		return true;
	atomic_store(&stream->marker, MARKERS_MANY);
	syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0);
	return false;
}

void window_tell_marked(struct pmemstream *stream, uint64_t timestamp, bool lone)
{
	if (!is_only_marker(stream))
		atomic_thread_fence(memory_order_seq_cst);
	if (!lone || (atomic_load_explicit(&stream->next, memory_order_relaxed) != timestamp + 1 &&
		      is_finished(stream, timestamp + 1)))
		area_publish_committed(stream);
}

void window_tell_behind(struct pmemstream *stream, uint64_t timestamp)
{
	atomic_thread_fence(memory_order_seq_cst);
	if (is_finished(stream, timestamp + 1))
		area_publish_committed(stream);
}

static uint64_t raise_to(_Atomic uint64_t *mark, uint64_t value)
{
	uint64_t seen = atomic_load_explicit(mark, memory_order_acquire);

	while (seen < value &&
	       !atomic_compare_exchange_weak_explicit(mark, &seen, value, memory_order_acq_rel, memory_order_acquire))
		;
	return seen > value ? seen : value;
}

uint64_t window_committed(struct pmemstream *stream)
{
	uint64_t persisted = stream_persisted(stream);
	uint64_t known = atomic_load_explicit(&stream->committed, memory_order_acquire);
	uint64_t committed = known > persisted ? known : persisted;

	for (uint64_t timestamp = committed + 1;; timestamp++) {
		uint64_t word = word_of(stream, timestamp);
		if (!word || slot_state(word) == SLOT_TAKEN)
			break;
		if (!(word & SLOT_MORE))
			committed = timestamp;
	}
	/* Who was overtaken by persisted reports what that says. */
	persisted = stream_persisted(stream);
	if (persisted > committed)
		committed = persisted;
	return committed > known ? raise_to(&stream->committed, committed) : committed;
}

uint64_t window_safe_off(struct pmemstream *stream, struct region *region)
{
	uint64_t safe_off = atomic_load_explicit(&region->tail_off, memory_order_acquire);
	if (stream->follower)
		return safe_off; /* as far as somebody looked: follow_safe_off, follow_walk */
	uint64_t committed = window_committed(stream);
	uint64_t next = atomic_load_explicit(&stream->next, memory_order_acquire);

	for (uint64_t timestamp = committed + 1; timestamp < next; timestamp++) {
		struct window_place place;
		if (window_find(stream, timestamp, &place) && place.region == region && place.off < safe_off)
			safe_off = place.off;
	}
	return safe_off;
}

/* Of the map; end_off 0: nothing yet. No entry begins in the first line, so the first one is never taken for one that
 * goes on there. */
struct range {
	uint64_t off, end_off;
};

/* Whether what was read in slots above persisted belongs to the timestamps it was asked for: none is used again before
 * persisted moves. Otherwise one entry's place and another's length may reach out of the map. */
static bool is_current(struct pmemstream *stream, const struct window_scan *scan)
{
	return stream_persisted(stream) == scan->from;
}

static bool flush_range(struct pmemstream *stream, struct range range, struct window_scan *scan)
{
	if (!range.end_off)
		return true;
	if (!is_current(stream, scan))
		return false;
	medium_flush(&stream->medium, stream_at(stream, range.off), range.end_off - range.off);
	scan->flushed = true;
	return true;
}

static void include(struct range *span, uint64_t off, uint64_t bytes)
{
	if (!span->end_off || off < span->off)
		span->off = off;
	if (off + bytes > span->end_off)
		span->end_off = off + bytes;
}

static struct range limit_of(const struct window_slot *slot)
{
	const struct region *region = atomic_load_explicit(&slot->region, memory_order_acquire);
	uint64_t off = atomic_load_explicit(&region->off, memory_order_relaxed) + FORMAT_REGION_LIMIT_OFF;

	return (struct range){off, off + sizeof(uint64_t)};
}

/* Adds a copied entry, and the limit that it raised, to the range: lines are flushed neighbours together, as most
 * entries are, pages are one span. */
static inline bool add_copied(struct pmemstream *stream, const struct window_slot *slot, bool flush,
			      struct range *range, struct window_scan *scan)
{
	uint64_t off = atomic_load_explicit(&slot->off, memory_order_acquire);
	uint64_t bytes = atomic_load_explicit(&slot->bytes, memory_order_acquire);

	if (__builtin_expect(atomic_load_explicit(&slot->limit_raised, memory_order_acquire), 0)) {
		struct range limit = limit_of(slot);
		if (!flush)
			include(range, limit.off, sizeof(uint64_t));
		else if (!flush_range(stream, limit, scan))
			return false;
	}
	if (!flush) {
		include(range, off, bytes);
		return true;
	}
	if (__builtin_expect(off - range->end_off >= LINE_BYTES, 0)) {
		if (!flush_range(stream, *range, scan))
			return false;
		range->off = off;
	}
	range->end_off = off + bytes;
	return true;
}

void window_scan(struct pmemstream *stream, uint64_t timestamp, bool flush, struct window_scan *scan)
{
	struct range range = {0};
	bool inside_batch = false, current = true;
	uint64_t from = stream_persisted(stream), to = from;

	*scan = (struct window_scan){.from = from};
	for (uint64_t t = from + 1; current && (t <= timestamp || inside_batch); t++) {
		const struct window_slot *slot = window_slot(stream, t);
		uint64_t word = atomic_load_explicit(&slot->word, memory_order_acquire);
		if (slot_timestamp(word) != t || slot_state(word) == SLOT_TAKEN)
			break;
		if (slot_state(word) == SLOT_COPIED)
			current = add_copied(stream, slot, flush, &range, scan);
		inside_batch = word & SLOT_MORE;
		if (!inside_batch)
			to = t;
	}
	if (flush)
		current = current && flush_range(stream, range, scan);
	else
		current = is_current(stream, scan);
	scan->to = current ? to : from;
	scan->span_off = range.off;
	scan->span_bytes = range.end_off - range.off;
}

void window_advance(struct pmemstream *stream, const struct window_scan *scan)
{
	uint64_t from = scan->from;

	if (scan->to > from && atomic_compare_exchange_strong_explicit(&stream->persisted, &from, scan->to,
								       memory_order_acq_rel, memory_order_relaxed))
		area_raise_persisted(stream, scan->to);
}
