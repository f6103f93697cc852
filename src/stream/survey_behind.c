/*
 * survey_behind.c: the entries behind the slots: which are there, which of them count, and whether something is
 * missing.
 *
 * Two choices are made. The run is that of an opening (recover_scan.c): dense, from the chains of headers alone; where
 * it falls short of what was vouched for, an opening is refused, and only then the second one matters. What a repair
 * keeps is everything valid, also behind holes: in timestamp order, of two with one timestamp the higher epoch, the
 * epoch never falling. An entry that an earlier recovery dropped is kept out by its epoch, or because its timestamp
 * stands in front of the slots too. An incomplete batch at the end is not kept, unless it was vouched for.
 */
#include "stream/survey.h"

#include "base/error.h"

#include <stdlib.h>

static const struct format_stream_slot *slot_in_use(const struct survey *survey)
{
	return &survey->slots[survey->current];
}

static void note(struct survey *survey, uint64_t off, const struct format_entry *entry)
{
	uint64_t watermark = format_entry_watermark(entry);

	if (watermark <= survey->vouched)
		return;
	survey->vouched = watermark;
	survey->vouched_off = off;
}

static int note_epoch(struct survey *survey, size_t region, uint64_t off, const struct format_entry *entry)
{
	uint32_t stream_epoch = slot_in_use(survey)->epoch;

	if (entry->epoch > survey->epoch)
		survey->epoch = entry->epoch;
	if (entry->epoch <= stream_epoch || survey->epoch_reported)
		return 0;
	survey->broken = survey->epoch_reported = true;
	struct pmemstream_problem problem = {
		.kind = PMEMSTREAM_PROBLEM_EPOCH,
		.severity = PMEMSTREAM_DAMAGE,
		.repairable = 1,
		.offset = off,
		.bytes = FORMAT_ENTRY_HEADER_BYTES,
		.region = survey->regions[region].off,
		.timestamp = entry->timestamp,
		.consequence = "the stream's newest checkpoint is lost",
	};
	return survey_report(survey, problem, "the entry at %zu is of epoch %u, but the stream is in epoch %u",
			     (size_t)off, entry->epoch, stream_epoch);
}

size_t survey_find_entry(const struct survey *survey, uint64_t timestamp)
{
	size_t low = 0, high = survey->entry_count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		if (survey->entries[middle].timestamp < timestamp)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static int add_entry(struct survey *survey, const struct survey_entry *entry)
{
	if (survey_grow((void **)&survey->entries, survey->entry_count, &survey->entry_room, sizeof(*entry)))
		return -1;
	survey->entries[survey->entry_count++] = *entry;
	survey->covered_count += entry->covered;
	return 0;
}

static int add_torn(struct survey *survey, const struct survey_torn *torn)
{
	if (survey_grow((void **)&survey->torn, survey->torn_count, &survey->torn_room, sizeof(*torn)))
		return -1;
	survey->torn[survey->torn_count++] = *torn;
	return 0;
}

/* One trustworthy header. covered: so far all have timestamps <= P, behind a slot that does not check. */
static int take(struct survey *survey, uint32_t index, uint64_t off, const struct format_entry *entry, bool in_chain,
		bool *covered)
{
	uint64_t persisted = slot_in_use(survey)->persisted;
	struct survey_entry found = {
		.timestamp = entry->timestamp,
		.off = off,
		.bytes = format_entry_space(entry->size, survey->header.alignment),
		.epoch = entry->epoch,
		.region = index,
		.more = entry->flags & FORMAT_MORE,
		.lost = entry->flags & FORMAT_LOST,
		.in_chain = in_chain,
	};
	struct survey_torn torn = {
		.timestamp = entry->timestamp,
		.off = off,
		.bytes = found.bytes,
		.epoch = entry->epoch,
		.region = index,
	};

	if (note_epoch(survey, index, off, entry))
		return -1;
	*covered = *covered && entry->timestamp <= persisted;
	found.covered = *covered;
	if (!in_chain && survey_spend(survey, off, entry->size))
		return -1;
	if (!in_chain && survey->overspent)
		return 0;
	if (!survey_data_check(survey, off, entry))
		return in_chain ? add_torn(survey, &torn) : 0;
	note(survey, off, entry);
	if (entry->timestamp <= persisted && !*covered)
		return 0;
	return add_entry(survey, &found);
}

static int report_slot_needed(struct survey *survey, const struct survey_region *region, uint64_t off)
{
	struct pmemstream_problem problem = {
		.kind = PMEMSTREAM_PROBLEM_REGION_SLOT,
		.severity = PMEMSTREAM_DAMAGE,
		.repairable = 1,
		.offset = region->off + FORMAT_REGION_SLOT_OFF + (1U - region->current) * FORMAT_SLOT_BYTES,
		.bytes = FORMAT_SLOT_BYTES,
		.region = region->off,
		.consequence = "where the region's entries end was lost",
	};

	survey->broken = true;
	return survey_report(survey, problem,
			     "a checkpoint of the region at %zu does not check, and the entry at %zu shows that it was "
			     "needed",
			     (size_t)region->off, (size_t)off);
}

static int scan_region(struct survey *survey, uint32_t index)
{
	struct survey_region *region = &survey->regions[index];
	uint64_t off = region->tail_off, alignment = survey->header.alignment;
	bool covered = !region->slot_valid[1 - region->current];
	struct format_entry entry;

	if (covered && survey_header(survey, region, off, region->end_off, &entry)) {
		covered = entry.timestamp <= slot_in_use(survey)->persisted;
		region->covered = covered && survey_data_check(survey, off, &entry);
		if (region->covered && report_slot_needed(survey, region, off))
			return -1;
	}
	while (survey_header(survey, region, off, region->end_off, &entry)) {
		uint64_t space = format_entry_space(entry.size, alignment);
		if (take(survey, index, off, &entry, true, &covered) || survey_progress(survey, space))
			return -1;
		off += space;
	}
	region->scan_end_off = off;
	for (; off < region->limit_off && !survey->overspent; off += alignment)
		if (survey_header(survey, region, off, region->end_off, &entry) &&
		    take(survey, index, off, &entry, false, &covered))
			return -1;
	return 0;
}

/* By timestamp; of two with one timestamp the higher epoch first. */
static int compare_entries(const void *a, const void *b)
{
	const struct survey_entry *left = a, *right = b;

	if (left->timestamp != right->timestamp)
		return left->timestamp < right->timestamp ? -1 : 1;
	if (left->epoch != right->epoch)
		return left->epoch > right->epoch ? -1 : 1;
	return left->off < right->off ? -1 : left->off > right->off;
}

static int check_slot_epochs(struct survey *survey)
{
	uint32_t stream_epoch = slot_in_use(survey)->epoch;
	struct pmemstream_problem problem = {
		.kind = PMEMSTREAM_PROBLEM_EPOCH,
		.severity = PMEMSTREAM_DAMAGE,
		.repairable = 1,
		.offset = survey->epoch_off,
		.bytes = FORMAT_SLOT_BYTES,
		.region = SURVEY_NOWHERE,
		.consequence = "the stream's newest checkpoint is lost",
	};

	if (survey->epoch <= stream_epoch)
		return 0;
	survey->broken = survey->epoch_reported = true;
	return survey_report(survey, problem, "what stands at %zu is of epoch %u, but the stream is in epoch %u",
			     (size_t)survey->epoch_off, survey->epoch, stream_epoch);
}

int survey_scan(struct survey *survey)
{
	if (survey->clean || !survey->slot_known)
		return 0;
	if (check_slot_epochs(survey))
		return -1;
	if (slot_in_use(survey)->kept > survey->vouched) {
		survey->vouched = slot_in_use(survey)->kept;
		survey->vouched_off = FORMAT_STREAM_SLOT_OFF + survey->current * FORMAT_STREAM_SLOT_STRIDE;
	}
	for (size_t i = 0; i < survey->region_count; i++)
		if (survey->regions[i].usable && scan_region(survey, (uint32_t)i))
			return -1;
	if (survey->entry_count)
		qsort(survey->entries, survey->entry_count, sizeof(*survey->entries), compare_entries);
	return 0;
}

static uint32_t highest_slot_epoch(const struct survey *survey)
{
	uint32_t epoch = 0;

	for (size_t i = 0; i < survey->region_count; i++) {
		const struct survey_region *region = &survey->regions[i];
		if (region->usable && region->slots[region->current].epoch > epoch)
			epoch = region->slots[region->current].epoch;
	}
	return epoch;
}

/* The run of an opening: its end, and the digest up to K. */
static uint32_t find_run(struct survey *survey)
{
	const struct format_stream_slot *slot = slot_in_use(survey);
	uint64_t timestamp = slot->persisted, first = timestamp + 1, digested = timestamp;
	uint32_t epoch = highest_slot_epoch(survey), digest = 0, of = 0;

	survey->kept = timestamp;
	for (size_t i = 0; i < survey->entry_count; i++) {
		const struct survey_entry *entry = &survey->entries[i];
		if (!entry->in_chain || entry->timestamp <= timestamp)
			continue;
		uint32_t lowest = entry->timestamp > slot->kept && slot->epoch > epoch ? slot->epoch : epoch;
		if (entry->timestamp != timestamp + 1 || entry->epoch < lowest)
			break;
		timestamp = entry->timestamp;
		epoch = entry->epoch;
		if (!entry->more)
			survey->kept = timestamp;
		if (timestamp > slot->kept)
			continue;
		if (epoch != of && digested >= first)
			digest = format_digest(digest, first, digested, of);
		first = epoch != of ? timestamp : first;
		of = epoch;
		digested = timestamp;
	}
	return digested >= first ? format_digest(digest, first, digested, of) : digest;
}

/* Everything valid that can be of the stream, also behind holes. */
static void keep_all(struct survey *survey)
{
	const struct format_stream_slot *slot = slot_in_use(survey);
	uint32_t epoch = 0, slots_epoch = highest_slot_epoch(survey);
	uint64_t timestamp = 0;

	for (size_t i = 0; i < survey->entry_count; i++) {
		struct survey_entry *entry = &survey->entries[i];
		const struct survey_region *region = &survey->regions[entry->region];
		uint32_t lowest = region->slots[region->current].epoch;
		if (entry->timestamp > slot->persisted && slots_epoch > lowest)
			lowest = slots_epoch;
		if (entry->timestamp > slot->kept && slot->epoch > lowest)
			lowest = slot->epoch;
		/* LOST behind the slots is of a repair that was cut off: it is worked out anew, but where its round was
		 * completed. */
		if (entry->lost) {
			entry->chosen = entry->covered;
			continue;
		}
		if (entry->timestamp == timestamp || entry->stale || entry->epoch < lowest || entry->epoch < epoch)
			continue;
		entry->chosen = true;
		survey->regions[entry->region].covered = survey->regions[entry->region].covered || entry->covered;
		timestamp = entry->timestamp;
		epoch = entry->epoch;
	}
	/* A batch whose end is missing was never promised to anyone, unless somebody says so. */
	for (size_t i = survey->entry_count; i-- > 0;) {
		struct survey_entry *entry = &survey->entries[i];
		if (!entry->chosen)
			continue;
		if (!entry->more || entry->timestamp <= survey->vouched)
			break;
		entry->chosen = false;
	}
}

/* Of a repair that was cut off when all that it missed was marked: an opening takes the marks for entries. */
static int report_lost(struct survey *survey)
{
	for (size_t i = 0; i < survey->entry_count; i++) {
		const struct survey_entry *entry = &survey->entries[i];
		struct pmemstream_problem problem = {
			.kind = PMEMSTREAM_PROBLEM_LOST,
			.severity = PMEMSTREAM_KNOWN,
			.offset = entry->off,
			.bytes = entry->bytes,
			.region = survey->regions[entry->region].off,
			.timestamp = entry->timestamp,
			.consequence = "readers report it and go on behind it",
		};
		if (entry->lost && entry->in_chain && entry->timestamp <= survey->kept &&
		    survey_report(survey, problem, "a repair gave up %zu bytes at %zu", (size_t)entry->bytes,
				  (size_t)entry->off))
			return -1;
	}
	return 0;
}

/* More than anybody can have counted to: no round can be written that goes so far. */
static int check_last(struct survey *survey)
{
	struct pmemstream_problem problem = {
		.kind = PMEMSTREAM_PROBLEM_ORDER,
		.severity = PMEMSTREAM_DAMAGE,
		.offset = survey->last == survey->vouched ? survey->vouched_off : SURVEY_NOWHERE,
		.region = SURVEY_NOWHERE,
		.timestamp = survey->last,
		.consequence = "the stream cannot go on from there",
	};

	if (survey->last <= FORMAT_COUNT_MAX)
		return 0;
	return survey_report(survey, problem, "something says that the stream counted to %zu", (size_t)survey->last);
}

int survey_choose(struct survey *survey)
{
	const struct format_stream_slot *slot = slot_in_use(survey);
	struct pmemstream_problem problem = {
		.kind = PMEMSTREAM_PROBLEM_MISSING,
		.severity = PMEMSTREAM_DAMAGE,
		.repairable = 1,
		.offset = FORMAT_STREAM_SLOT_OFF + (uint64_t)survey->current * FORMAT_STREAM_SLOT_STRIDE,
		.bytes = FORMAT_SLOT_BYTES,
		.region = SURVEY_NOWHERE,
		.consequence = "an entry is missing, and one that was dropped stands in its place",
	};

	if (!survey->slot_known)
		return 0;
	survey->last = survey->kept = slot->persisted;
	if (survey->clean)
		return 0;
	uint32_t digest = find_run(survey);
	bool wrong = survey->kept >= slot->kept && slot->kept > slot->persisted && digest != slot->digest;
	if (survey->kept < slot->kept || survey->kept < survey->vouched || wrong)
		survey->broken = true;
	survey->last = survey->kept;
	if (!survey->broken)
		return report_lost(survey);
	keep_all(survey);
	for (size_t i = 0; i < survey->entry_count; i++)
		if (survey->entries[i].chosen && survey->entries[i].timestamp > survey->last)
			survey->last = survey->entries[i].timestamp;
	if (survey->vouched > survey->last)
		survey->last = survey->vouched;
	problem.timestamp = slot->persisted + 1;
	if (wrong && survey_report(survey, problem, "timestamps %zu to %zu are not those that the last recovery kept",
				   (size_t)slot->persisted + 1, (size_t)slot->kept))
		return -1;
	return check_last(survey);
}
