/*
 * recover_scan.c: which entries behind the slots are part of the stream, and whether something is missing.
 *
 * The rules are those of section 7 of docs/format/stream.md; each of them fell over without it in a model. A power cut
 * leaves a dense run of timestamps and then anything; the task is to end the run neither early (an acknowledged entry
 * is lost) nor late (an entry that an earlier recovery dropped comes back), and to tell the end of the log from a hole
 * in it.
 */
#include "stream/recover.h"

#include "base/error.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

struct reader {
	struct recovery *recovery;
	struct region *region;
	uint64_t end_off;
};

static struct reader reader_of(struct recovery *recovery, size_t index)
{
	struct region *region = recovery->regions[index].region;

	return (struct reader){.recovery = recovery, .region = region, .end_off = region->end_off};
}

static bool read_header(const struct reader *reader, uint64_t off, struct format_entry *entry)
{
	return format_entry_decode(stream_at(reader->recovery->stream, off), reader->region->seed, off,
				   reader->end_off - off, entry);
}

static bool data_check(const struct reader *reader, uint64_t off, const struct format_entry *entry)
{
	const char *data = stream_at(reader->recovery->stream, off + FORMAT_ENTRY_HEADER_BYTES);

	return (entry->flags & (FORMAT_FILLER | FORMAT_LOST)) || format_data_crc(data, entry->size) == entry->data_crc;
}

static void note_watermark(struct recovery *recovery, uint64_t off, const struct format_entry *entry)
{
	uint64_t watermark = format_entry_watermark(entry);

	if (watermark > recovery->watermark) {
		recovery->watermark = watermark;
		recovery->watermark_off = off;
	}
}

static int add_candidate(struct recovery *recovery, size_t region, uint64_t off, const struct format_entry *entry)
{
	if (recovery->candidate_count == recovery->candidate_room) {
		size_t room = recovery->candidate_room * 2 + 1024;
		struct candidate *more = realloc(recovery->candidates, room * sizeof(*more));
		if (!more)
			return error_set(ENOMEM, "no memory for %zu entries that no checkpoint covers", room);
		recovery->candidates = more;
		recovery->candidate_room = room;
	}
	recovery->candidates[recovery->candidate_count++] = (struct candidate){
		.timestamp = entry->timestamp,
		.off = off,
		.bytes = FORMAT_ENTRY_HEADER_BYTES + entry->size,
		.epoch = entry->epoch,
		.region = (uint32_t)region,
		.more = entry->flags & FORMAT_MORE,
	};
	return 0;
}

static int check_epoch(struct recovery *recovery, uint64_t off, const struct format_entry *entry)
{
	if (entry->epoch <= recovery->slot.epoch)
		return 0;
	return recover_damage("entry at %zu is of epoch %u, but the stream is in epoch %u", (size_t)off, entry->epoch,
			      recovery->slot.epoch);
}

/* A slot that does not check may have been torn by a cut, or damaged later: then what it covered is still there. */
static int check_torn_slot(struct recovery *recovery, const struct reader *reader, const struct found_region *found)
{
	struct format_entry entry;
	uint64_t off = reader->region->off + found->slot.tail_off;

	if (!found->torn || !read_header(reader, off, &entry) || !data_check(reader, off, &entry) ||
	    entry.timestamp > recovery->slot.persisted)
		return 0;
	return recover_damage("region at %zu: a slot does not check, and the entry at %zu shows that it was needed",
			      (size_t)reader->region->off, (size_t)off);
}

static int scan_region(struct recovery *recovery, size_t index)
{
	struct found_region *found = &recovery->regions[index];
	struct reader reader = reader_of(recovery, index);
	uint64_t alignment = recovery->stream->alignment;
	uint64_t limit_off = reader.region->limit_off;
	uint64_t off = reader.region->off + found->slot.tail_off;
	struct format_entry entry;

	if (check_torn_slot(recovery, &reader, found))
		return -1;
	while (read_header(&reader, off, &entry)) {
		if (check_epoch(recovery, off, &entry))
			return -1;
		if (data_check(&reader, off, &entry)) {
			note_watermark(recovery, off, &entry);
			if (entry.timestamp > recovery->slot.persisted && add_candidate(recovery, index, off, &entry))
				return -1;
		} else if (!found->unchecked_off) {
			found->unchecked_off = off;
		}
		off += format_entry_space(entry.size, alignment);
	}
	found->scan_end_off = off;
	/* Evidence: what is valid behind the end, and stands on what is missing. It is never kept. */
	recovery->budget.searched += reader.end_off - off;
	for (; off < limit_off && !recovery->live; off += alignment) {
		if (!read_header(&reader, off, &entry))
			continue;
		if (check_epoch(recovery, off, &entry))
			return -1;
		if (format_entry_watermark(&entry) <= recovery->watermark)
			continue;
		budget_spend(&recovery->budget, entry.size);
		if (budget_is_spent(&recovery->budget))
			return recover_damage(
				"region at %zu: entries behind its end, up to %zu, lie inside one another",
				(size_t)reader.region->off, (size_t)off);
		if (data_check(&reader, off, &entry))
			note_watermark(recovery, off, &entry);
	}
	return 0;
}

/* By timestamp; of two with one timestamp the higher epoch first. */
static int compare_candidates(const void *a, const void *b)
{
	const struct candidate *left = a, *right = b;

	if (left->timestamp != right->timestamp)
		return left->timestamp < right->timestamp ? -1 : 1;
	if (left->epoch != right->epoch)
		return left->epoch > right->epoch ? -1 : 1;
	return 0;
}

static uint32_t highest_slot_epoch(const struct recovery *recovery)
{
	uint32_t epoch = 0;

	for (size_t r = 0; r < recovery->region_count; r++)
		if (recovery->regions[r].slot.epoch > epoch)
			epoch = recovery->regions[r].slot.epoch;
	return epoch;
}

/* Chooses the run and moves it to the front of the candidates. */
static void choose_run(struct recovery *recovery)
{
	const struct format_stream_slot *slot = &recovery->slot;
	struct candidate *candidates = recovery->candidates;
	uint64_t timestamp = slot->persisted;
	uint32_t epoch;
	size_t i = 0, whole_count = 0;

	if (recovery->candidate_count)
		qsort(candidates, recovery->candidate_count, sizeof(*candidates), compare_candidates);
	/* Every region's slot has a P below the timestamps looked at here, so each one's epoch binds them all. */
	epoch = highest_slot_epoch(recovery);
	recovery->run_count = 0;
	while (i < recovery->candidate_count && candidates[i].timestamp == timestamp + 1) {
		struct candidate chosen = candidates[i];
		uint32_t lowest = chosen.timestamp > slot->kept && slot->epoch > epoch ? slot->epoch : epoch;
		if (chosen.epoch < lowest)
			break;
		epoch = chosen.epoch;
		timestamp = chosen.timestamp;
		while (i < recovery->candidate_count && candidates[i].timestamp == timestamp)
			i++;
		candidates[recovery->run_count++] = chosen;
		if (!chosen.more)
			whole_count = recovery->run_count;
	}
	recovery->run_count = whole_count;
	if (recovery->live && slot->persisted + whole_count > recovery->live_limit)
		recovery->run_count =
			recovery->live_limit > slot->persisted ? recovery->live_limit - slot->persisted : 0;
	recovery->kept = slot->persisted + recovery->run_count;
}

/* The digest of the run up to a timestamp. */
static uint32_t digest_of(const struct recovery *recovery, uint64_t last)
{
	const struct candidate *run = recovery->candidates;
	uint32_t digest = 0;

	for (size_t i = 0; i < recovery->run_count && run[i].timestamp <= last;) {
		size_t end = i;
		while (end < recovery->run_count && run[end].timestamp <= last && run[end].epoch == run[i].epoch)
			end++;
		digest = format_digest(digest, run[i].timestamp, run[end - 1].timestamp, run[i].epoch);
		i = end;
	}
	return digest;
}

/* Where the missing timestamp may have been: the entry with its header but without its data, or the place in front of
 * the evidence. */
static uint64_t missing_place(struct recovery *recovery, uint64_t timestamp)
{
	uint64_t place = 0;

	for (size_t i = 0; i < recovery->region_count; i++) {
		struct reader reader = reader_of(recovery, i);
		struct found_region *found = &recovery->regions[i];
		struct format_entry entry;
		uint64_t off = reader.region->off + found->slot.tail_off;
		while (off < found->scan_end_off && read_header(&reader, off, &entry)) {
			if (entry.timestamp == timestamp && !data_check(&reader, off, &entry))
				return off;
			off += format_entry_space(entry.size, recovery->stream->alignment);
		}
		if (recovery->watermark_off > found->scan_end_off && recovery->watermark_off < reader.end_off)
			place = found->scan_end_off;
	}
	return place;
}

static int missing(struct recovery *recovery, const char *why, uint64_t last)
{
	uint64_t timestamp = recovery->kept + 1;
	uint64_t place = missing_place(recovery, timestamp);
	char where[64] = "no trace of it is left";

	if (place)
		snprintf(where, sizeof(where), "at %zu", (size_t)place);
	return recover_damage("the entry with timestamp %zu is missing or does not check (%s), though %s %zu",
			      (size_t)timestamp, where, why, (size_t)last);
}

static int check_run(struct recovery *recovery)
{
	const struct format_stream_slot *slot = &recovery->slot;

	if (recovery->live)
		return recovery->kept >= recovery->live_limit
			       ? 0
			       : missing(recovery, "the writer published timestamp", recovery->kept + 1);

	if (recovery->highest_epoch > slot->epoch)
		return recover_damage(
			"a region's slot or the allocator's record is of epoch %u, but the stream is in epoch %u",
			recovery->highest_epoch, slot->epoch);
	if (recovery->kept < slot->kept)
		return missing(recovery, "the last recovery kept all up to", slot->kept);
	if (slot->kept > slot->persisted && digest_of(recovery, slot->kept) != slot->digest)
		return recover_damage(
			"of timestamps %zu to %zu an entry is missing, and an older one stands in its place",
			(size_t)slot->persisted + 1, (size_t)slot->kept);
	if (recovery->watermark > recovery->kept)
		return missing(recovery, "a later entry, a slot or the record says that all were durable up to",
			       recovery->watermark);
	return 0;
}

static void set_tails(struct recovery *recovery)
{
	for (size_t i = 0; i < recovery->run_count; i++) {
		const struct candidate *entry = &recovery->candidates[i];
		struct region *region = recovery->regions[entry->region].region;
		uint64_t alignment = recovery->stream->alignment;
		uint64_t end_off = entry->off + ((entry->bytes + alignment - 1) & ~(alignment - 1));
		if (end_off > region->tail_off)
			region->tail_off = end_off;
		if (recovery->live)
			region->last_timestamp = entry->timestamp;
	}
}

int recover_scan(struct recovery *recovery)
{
	if (recovery->clean)
		return 0;
	for (size_t i = 0; i < recovery->region_count; i++)
		if (scan_region(recovery, i))
			return -1;
	choose_run(recovery);
	if (check_run(recovery))
		return -1;
	recovery->digest = digest_of(recovery, recovery->kept);
	set_tails(recovery);
	for (size_t i = 0; i < recovery->region_count; i++) {
		/* What was scanned was checked, from the slot's tail on; that it did check is another matter where two
		 * things are damaged. */
		struct found_region *found = &recovery->regions[i];
		if (!found->unchecked_off || found->unchecked_off >= found->region->tail_off)
			found->region->trusted_off = found->region->off + found->slot.tail_off;
		else
			found->region->trusted_off = found->region->tail_off;
	}
	return 0;
}

/* All that is valid behind the slots, whatever its timestamp and wherever it stands. */
static int gather_everything(struct recovery *recovery)
{
	uint64_t alignment = recovery->stream->alignment;
	struct budget budget = {0};

	recovery->candidate_count = 0;
	for (size_t i = 0; i < recovery->region_count; i++) {
		struct reader reader = reader_of(recovery, i);
		uint64_t off = reader.region->off + recovery->regions[i].slot.tail_off;
		struct format_entry entry;
		budget.searched += reader.end_off - off;
		while (off < reader.end_off) {
			bool header = read_header(&reader, off, &entry);
			budget_spend(&budget, header ? entry.size : 0);
			if (!header || budget_is_spent(&budget) || !data_check(&reader, off, &entry)) {
				if (off >= reader.region->limit_off)
					break;
				off += alignment;
				continue;
			}
			note_watermark(recovery, off, &entry);
			if (add_candidate(recovery, i, off, &entry))
				return -1;
			off += format_entry_space(entry.size, alignment);
		}
	}
	return 0;
}

/* Takes those that the rules of the run allow, gaps aside; gives the highest timestamp that is in a gap, or 0. */
static uint64_t choose_with_gaps(struct recovery *recovery)
{
	struct candidate *candidates = recovery->candidates;
	uint64_t last = recovery->slot.persisted, gap = 0;
	uint32_t epoch = 0, slots_epoch = highest_slot_epoch(recovery);

	if (recovery->candidate_count)
		qsort(candidates, recovery->candidate_count, sizeof(*candidates), compare_candidates);
	recovery->run_count = 0;
	for (size_t i = 0; i < recovery->candidate_count; i++) {
		struct candidate entry = candidates[i];
		bool again = recovery->run_count && candidates[recovery->run_count - 1].timestamp == entry.timestamp;
		bool above = entry.timestamp > recovery->slot.persisted;
		bool dropped = (entry.timestamp > recovery->slot.kept && entry.epoch < recovery->slot.epoch) ||
			       entry.epoch < (above ? slots_epoch : recovery->regions[entry.region].slot.epoch);
		if (again || dropped || entry.epoch < epoch)
			continue;
		if (entry.timestamp > last + 1)
			gap = entry.timestamp - 1;
		if (entry.timestamp > last)
			last = entry.timestamp;
		epoch = entry.epoch;
		candidates[recovery->run_count++] = entry;
	}
	recovery->kept = last;
	if (recovery->slot.kept > last || recovery->watermark > last)
		gap = recovery->slot.kept > recovery->watermark ? recovery->slot.kept : recovery->watermark;
	return gap;
}

int recover_everything(struct recovery *recovery)
{
	struct pmemstream *stream = recovery->stream;

	if (gather_everything(recovery))
		return -1;
	uint64_t gap = choose_with_gaps(recovery);
	set_tails(recovery);
	for (size_t i = 0; i < recovery->region_count; i++)
		recovery->regions[i].last_timestamp = 0;
	for (size_t i = 0; i < recovery->run_count; i++) {
		const struct candidate *entry = &recovery->candidates[i];
		recovery->regions[entry->region].last_timestamp = entry->timestamp;
		/* An entry of a later epoch shows that it is the stream slot which is lost. */
		if (entry->epoch > stream->epoch)
			stream->epoch = entry->epoch;
	}
	/* What is missing may have been the end of any region that ends in front of it: readers are to stop there and
	 * be told, so the place counts as part of the region. */
	for (size_t i = 0; i < recovery->region_count; i++) {
		struct region *region = recovery->regions[i].region;
		region->trusted_off = region->tail_off;
		if (recovery->regions[i].last_timestamp < gap &&
		    region->end_off - region->tail_off >= format_entry_space(0, stream->alignment))
			region->tail_off += stream->alignment;
	}
	return 0;
}

/* All behind the slots that the writer published, with data that check or not. */
static int gather_published(struct recovery *recovery)
{
	uint64_t alignment = recovery->stream->alignment;

	recovery->candidate_count = 0;
	for (size_t i = 0; i < recovery->region_count; i++) {
		struct reader reader = reader_of(recovery, i);
		uint64_t off = reader.region->off + recovery->regions[i].slot.tail_off;
		struct format_entry entry;
		while (off < reader.end_off) {
			if (!read_header(&reader, off, &entry)) {
				if (off >= reader.region->limit_off)
					break;
				off += alignment;
				continue;
			}
			if (entry.timestamp > recovery->slot.persisted && entry.timestamp <= recovery->live_limit &&
			    entry.epoch <= recovery->slot.epoch && add_candidate(recovery, i, off, &entry))
				return -1;
			off += format_entry_space(entry.size, alignment);
		}
	}
	return 0;
}

/* The lowest timestamp that is missing from the run, or 0. */
static uint64_t lowest_missing(const struct recovery *recovery)
{
	uint64_t expected = recovery->slot.persisted + 1;

	for (size_t i = 0; i < recovery->run_count && recovery->candidates[i].timestamp == expected; i++)
		expected++;
	return expected <= recovery->live_limit ? expected : 0;
}

/* Sets the tails, and says whether some region has a stretch without entries where all that is missing may have been:
 * who reads that region is told there. */
static bool set_published_tails(struct recovery *recovery, uint64_t lowest, uint64_t highest)
{
	uint64_t alignment = recovery->stream->alignment;
	bool explained = false;

	for (size_t i = 0; i < recovery->run_count; i++) {
		const struct candidate *entry = &recovery->candidates[i];
		struct region *region = recovery->regions[entry->region].region;
		if (entry->off > region->tail_off && region->last_timestamp < lowest && entry->timestamp > highest)
			explained = true;
		uint64_t end_off = entry->off + ((entry->bytes + alignment - 1) & ~(alignment - 1));
		if (end_off > region->tail_off)
			region->tail_off = end_off;
		region->last_timestamp = entry->timestamp;
	}
	return explained;
}

int recover_published(struct recovery *recovery)
{
	struct pmemstream *stream = recovery->stream;

	if (gather_published(recovery))
		return -1;
	uint64_t highest = choose_with_gaps(recovery);
	if (recovery->kept < recovery->live_limit)
		highest = recovery->live_limit;
	uint64_t lowest = lowest_missing(recovery);
	bool explained = set_published_tails(recovery, lowest, highest);
	for (size_t i = 0; i < recovery->region_count; i++)
		recovery->regions[i].region->trusted_off = UINT64_MAX;
	if (lowest && !explained) {
		stream->missing = lowest;
		recovery->kept = lowest - 1;
		missing(recovery, "the writer published timestamp", lowest);
	}
	recovery->kept = recovery->live_limit;
	return 0;
}
