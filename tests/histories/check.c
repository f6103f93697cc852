/*
 * check.c: what can be read is what the shadow knows: nothing missing, nothing invented, nothing in another order.
 *
 * A stream that was just opened may show more than was acknowledged, as long as it is a run of what was submitted; what
 * it shows then counts. A living stream shows exactly what it says is committed.
 */
#include "histories/history.h"

#include "walks.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static bool check_entry(struct history *history, const struct shadow_entry *expected, uint64_t timestamp,
			struct pmemstream_entry entry)
{
	struct pmemstream *stream = history->stream;

	if (entry.offset != expected->off)
		history_violation(history, "timestamp %zu: an entry at %zu is shown instead of the one at %zu",
				  (size_t)timestamp, (size_t)entry.offset, (size_t)expected->off);
	else if (pmemstream_entry_timestamp(stream, entry) != timestamp)
		history_violation(history, "the entry at %zu has timestamp %zu, not %zu", (size_t)entry.offset,
				  (size_t)pmemstream_entry_timestamp(stream, entry), (size_t)timestamp);
	else if (pmemstream_entry_size(stream, entry) != expected->size)
		history_violation(history, "timestamp %zu at %zu: %zu bytes, not %u", (size_t)timestamp,
				  (size_t)entry.offset, pmemstream_entry_size(stream, entry), expected->size);
	else if (!pmemstream_entry_data(stream, entry) ||
		 memcmp(pmemstream_entry_data(stream, entry), expected->data, expected->size) != 0)
		history_violation(history, "timestamp %zu at %zu: other data than were appended", (size_t)timestamp,
				  (size_t)entry.offset);
	return !history_failed(history);
}

/* The damaged entry is reported where it stands. False: nothing behind it is looked at. */
static bool check_damaged(struct history *history, struct pmemstream_entry_iterator *iterator)
{
	if (!pmemstream_entry_iterator_is_valid(iterator) || errno != EBADMSG) {
		history_violation(history, "timestamp %zu was damaged on the medium, and nobody says so",
				  (size_t)history->damage.timestamp);
		return false;
	}
	/* With its header went the knowledge of where the next one begins: what is found there is found by search. */
	if (history->damage.in_header)
		return false;
	pmemstream_entry_iterator_next(iterator);
	return true;
}

/* True: a filler, which is not shown. One whose fate was open is what it turns out to be. */
static bool is_filler(struct shadow_entry *expected, struct pmemstream_entry_iterator *iterator, bool alive)
{
	if (!expected->may_be_filler || alive)
		return expected->may_be_filler;
	bool shown = pmemstream_entry_iterator_get(iterator).offset == expected->off;
	expected->may_be_filler = !shown || !expected->may_be_user;
	expected->may_be_user = !expected->may_be_filler;
	return expected->may_be_filler;
}

static void walk(struct history *history, unsigned index, uint64_t last, bool alive,
		 struct pmemstream_entry_iterator *iterator)
{
	pmemstream_entry_iterator_seek_first(iterator);
	for (uint64_t t = 1; t <= last; t++) {
		struct shadow_entry *expected = shadow_at(&history->shadow, t);
		if (expected->region != index)
			continue;
		if (t == history->damage.timestamp) {
			if (!check_damaged(history, iterator))
				return;
			continue;
		}
		history->statistics.entries_checked++;
		if (is_filler(expected, iterator, alive)) {
			history->statistics.fillers_checked++;
			continue;
		}
		if (pmemstream_entry_iterator_is_valid(iterator)) {
			history_violation(history, "timestamp %zu at %zu is missing: %s", (size_t)t,
					  (size_t)expected->off, pmemstream_errormsg());
			return;
		}
		if (!check_entry(history, expected, t, pmemstream_entry_iterator_get(iterator)))
			return;
		pmemstream_entry_iterator_next(iterator);
	}
	if (!pmemstream_entry_iterator_is_valid(iterator))
		history_violation(history, "region at %zu: an entry at %zu that nobody appended",
				  (size_t)history->shadow.regions[index].off,
				  (size_t)pmemstream_entry_iterator_get(iterator).offset);
	else if (errno != ENODATA)
		history_violation(history, "region at %zu does not end in peace: %s",
				  (size_t)history->shadow.regions[index].off, pmemstream_errormsg());
}

static void check_entries(struct history *history, unsigned index, uint64_t last, bool alive)
{
	struct pmemstream_entry_iterator *iterator;
	struct pmemstream_region region = {.offset = history->shadow.regions[index].off};

	if (pmemstream_entry_iterator_new(&iterator, history->stream, region)) {
		history_violation(history, "no iterator over the region at %zu: %s", (size_t)region.offset,
				  pmemstream_errormsg());
		return;
	}
	walk(history, index, last, alive, iterator);
	pmemstream_entry_iterator_delete(&iterator);
	const char *different = history_failed(history) ? NULL : walks_differ(history->stream, region, last % 2);
	if (different)
		history_violation(history, "region at %zu: %s", (size_t)region.offset, different);
}

/* What the region iterator shows, against the shadow from index on; gives the index behind the match. */
static unsigned match_region(struct history *history, unsigned index, uint64_t off, uint64_t kept)
{
	struct shadow *shadow = &history->shadow;

	for (; index < shadow->region_count; index++) {
		struct shadow_region *region = &shadow->regions[index];
		if (region->state == REGION_GONE)
			continue;
		if (region->state == REGION_BEING_MADE)
			region->off = off;
		if (region->off == off) {
			region->state = REGION_LIVE;
			return index + 1;
		}
		if (region->state == REGION_LIVE)
			break;
		region->state = REGION_GONE;
		if (kept < region->last_timestamp)
			history_violation(history,
					  "region at %zu is gone, but its timestamp %zu is not yet in the past",
					  (size_t)region->off, (size_t)region->last_timestamp);
	}
	history_violation(history, "a region at %zu that should not be there, or out of order", (size_t)off);
	return index;
}

static void settle_rest(struct history *history, unsigned index, uint64_t kept)
{
	for (; index < history->shadow.region_count; index++) {
		struct shadow_region *region = &history->shadow.regions[index];
		if (region->state == REGION_LIVE)
			history_violation(history, "the region at %zu is missing", (size_t)region->off);
		if (region->state == REGION_BEING_FREED && kept < region->last_timestamp)
			history_violation(history,
					  "region at %zu is gone, but its timestamp %zu is not yet in the past",
					  (size_t)region->off, (size_t)region->last_timestamp);
		region->state = REGION_GONE;
	}
}

static void check_regions(struct history *history, uint64_t kept)
{
	struct pmemstream_region_iterator *iterator;
	unsigned index = 0;

	if (pmemstream_region_iterator_new(&iterator, history->stream)) {
		history_violation(history, "no iterator over regions: %s", pmemstream_errormsg());
		return;
	}
	pmemstream_region_iterator_seek_first(iterator);
	while (!history_failed(history) && !pmemstream_region_iterator_is_valid(iterator)) {
		index = match_region(history, index, pmemstream_region_iterator_get(iterator).offset, kept);
		pmemstream_region_iterator_next(iterator);
	}
	pmemstream_region_iterator_delete(&iterator);
	if (!history_failed(history))
		settle_rest(history, index, kept);
}

static void check_sizes(struct history *history)
{
	for (unsigned i = 0; i < history->shadow.region_count && !history_failed(history); i++) {
		const struct shadow_region *expected = &history->shadow.regions[i];
		struct pmemstream_region region = {.offset = expected->off};
		if (expected->state != REGION_LIVE)
			continue;
		uint64_t size = pmemstream_region_size(history->stream, region);
		uint64_t usable = pmemstream_region_usable_size(history->stream, region);
		if (size != expected->bytes - FORMAT_REGION_HEADER_BYTES)
			history_violation(history, "region at %zu has %zu bytes, not %zu", (size_t)expected->off,
					  (size_t)size, (size_t)(expected->bytes - FORMAT_REGION_HEADER_BYTES));
		else if (usable != expected->off + expected->bytes - expected->tail_off)
			history_violation(history, "region at %zu: the next entry will begin at %zu, not at %zu",
					  (size_t)expected->off, (size_t)(expected->off + expected->bytes - usable),
					  (size_t)expected->tail_off);
	}
}

void check_reopened(struct history *history)
{
	struct shadow *shadow = &history->shadow;
	uint64_t kept = pmemstream_committed_timestamp(history->stream);
	uint64_t persisted = pmemstream_persisted_timestamp(history->stream);

	if (kept < shadow->acknowledged)
		history_violation(history, "the stream ends at timestamp %zu, but all up to %zu was acknowledged",
				  (size_t)kept, (size_t)shadow->acknowledged);
	else if (kept > shadow->count)
		history_violation(history, "the stream ends at timestamp %zu, but only %zu were given out",
				  (size_t)kept, (size_t)shadow->count);
	else if (history->read_only_end != UINT64_MAX && kept != history->read_only_end)
		history_violation(history, "the stream ends at timestamp %zu, for a reader it ended at %zu",
				  (size_t)kept, (size_t)history->read_only_end);
	else if (persisted != kept)
		history_violation(history, "after opening, persisted is %zu and committed %zu", (size_t)persisted,
				  (size_t)kept);
	else if (kept && shadow_at(shadow, kept)->more)
		history_violation(history, "the stream ends inside a batch, at timestamp %zu", (size_t)kept);
	if (!history_failed(history))
		check_regions(history, kept);
	for (unsigned i = 0; i < shadow->region_count && !history_failed(history); i++)
		if (shadow->regions[i].state == REGION_LIVE)
			check_entries(history, i, kept, false);
	if (history_failed(history))
		return;
	history->statistics.entries_dropped += shadow->count - kept;
	shadow_reopened(shadow, kept);
	check_sizes(history);
}

void check_alive(struct history *history)
{
	uint64_t committed = pmemstream_committed_timestamp(history->stream);

	for (unsigned i = 0; i < history->shadow.region_count && !history_failed(history); i++)
		if (history->shadow.regions[i].state == REGION_LIVE)
			check_entries(history, i, committed, true);
	if (!history_failed(history))
		check_sizes(history);
}

/* Reads all there is, whatever it is. */
static void walk_everything(struct pmemstream *stream)
{
	struct pmemstream_region_iterator *regions;
	struct pmemstream_entry_iterator *entries;

	if (pmemstream_region_iterator_new(&regions, stream))
		return;
	for (pmemstream_region_iterator_seek_first(regions); !pmemstream_region_iterator_is_valid(regions);
	     pmemstream_region_iterator_next(regions)) {
		if (pmemstream_entry_iterator_new(&entries, stream, pmemstream_region_iterator_get(regions)))
			continue;
		pmemstream_entry_iterator_seek_first(entries);
		while (!pmemstream_entry_iterator_is_valid(entries) || errno == EBADMSG) {
			pmemstream_entry_data(stream, pmemstream_entry_iterator_get(entries));
			pmemstream_entry_iterator_next(entries);
		}
		pmemstream_entry_iterator_delete(&entries);
	}
	pmemstream_region_iterator_delete(&regions);
}

void check_read_only(struct history *history)
{
	bool damaged = history->damage.timestamp || history->damage.own_off;
	struct pmemstream *stream;
	struct medium medium;

	history_trace(history, "open for reading");
	history->statistics.read_only_openings++;
	cut_set_writable(history->machine.now, false);
	if (cut_attach(history->machine.now, &medium))
		abort();
	if (!stream_open(&stream, &medium, &history->options)) {
		uint64_t committed = pmemstream_committed_timestamp(stream);
		if (!damaged)
			history->read_only_end = committed;
		if (stream->damaged && !damaged)
			history_violation(history, "damage, for a reader, that nobody did");
		if (pmemstream_persisted_timestamp(stream) > committed)
			history_violation(history, "for a reader persisted is %zu and committed %zu",
					  (size_t)pmemstream_persisted_timestamp(stream), (size_t)committed);
		walk_everything(stream);
		pmemstream_delete(&stream);
	} else {
		int err = errno;
		medium_close(&medium);
		/* EROFS: not created yet. */
		if (!(err == EBADMSG && damaged) && !(err == EROFS && !history->shadow.region_count))
			history_violation(history, "opening for reading fails: errno %d: %s", err,
					  pmemstream_errormsg());
	}
	cut_set_writable(history->machine.now, true);
}
