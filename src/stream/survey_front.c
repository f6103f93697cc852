/*
 * survey_front.c: every entry in front of the slots: headers, data, order, and as far as it can be known density.
 *
 * All of them were durable. A header that cannot be trusted begins a hole, which ends at the next valid entry with a
 * higher timestamp, or at the slot's place; readers go the same way. Timestamps of a freed region are gone, so gaps
 * mean something only in a stream that never freed one.
 */
#include "stream/survey.h"

#include <stdlib.h>

struct front {
	struct survey *survey;
	uint32_t index;
	uint64_t timestamp; /* of the last trustworthy header */
	uint32_t epoch;
};

static struct pmemstream_problem problem_at(const struct front *front, enum pmemstream_problem_kind kind, uint64_t off,
					    uint64_t bytes, uint64_t timestamp)
{
	return (struct pmemstream_problem){
		.kind = kind,
		.severity = PMEMSTREAM_DAMAGE,
		.repairable = 1,
		.offset = off,
		.bytes = bytes,
		.region = front->survey->regions[front->index].off,
		.timestamp = timestamp,
	};
}

static int add_hole(struct survey *survey, const struct survey_hole *hole)
{
	if (survey_grow((void **)&survey->holes, survey->hole_count, &survey->hole_room, sizeof(*hole)))
		return -1;
	survey->holes[survey->hole_count++] = *hole;
	survey->lost_seen = true;
	return 0;
}

/* An entry behind the slots whose timestamp stands here too was dropped by a recovery. */
static void strike(struct survey *survey, uint64_t timestamp)
{
	size_t at = survey_find_entry(survey, timestamp);

	/* Where the first is struck out, all are. */
	for (; at < survey->entry_count && survey->entries[at].timestamp == timestamp && !survey->entries[at].stale;
	     at++)
		survey->entries[at].stale = true;
}

static int read_trustworthy(struct front *front, uint64_t off, const struct format_entry *entry)
{
	struct survey *survey = front->survey;
	uint64_t space = format_entry_space(entry->size, survey->header.alignment);
	bool in_order = entry->timestamp > front->timestamp;
	bool below = !survey->slot_known || entry->timestamp <= survey->slots[survey->current].persisted;

	if (entry->flags & FORMAT_LOST) {
		struct pmemstream_problem lost =
			problem_at(front, PMEMSTREAM_PROBLEM_LOST, off, space, entry->timestamp);
		lost.severity = PMEMSTREAM_KNOWN;
		lost.repairable = 0;
		lost.consequence = "readers report it and go on behind it";
		survey->lost_seen = true;
		return survey_report(survey, lost, "a repair gave up %zu bytes at %zu", (size_t)space, (size_t)off);
	}
	survey->front_count++;
	if (survey->covered_count)
		strike(survey, entry->timestamp);
	if (!in_order || !below) {
		struct pmemstream_problem order =
			problem_at(front, PMEMSTREAM_PROBLEM_ORDER, off, space, entry->timestamp);
		order.repairable = 0;
		order.consequence = "the stream can be opened and read, but not in the order of its timestamps";
		if (survey_report(survey, order,
				  in_order ? "the entry at %zu has timestamp %zu, which no checkpoint covers"
					   : "the entry at %zu has timestamp %zu, not above that of the one before it",
				  (size_t)off, (size_t)entry->timestamp))
			return -1;
	}
	if (survey_data_check(survey, off, entry))
		return 0;
	struct survey_hole hole = {
		.off = off,
		.bytes = space,
		.timestamp = entry->timestamp,
		.last_timestamp = entry->timestamp,
		.epoch = entry->epoch,
		.region = front->index,
		.kind = PMEMSTREAM_PROBLEM_ENTRY_DATA,
	};
	struct pmemstream_problem data = problem_at(front, PMEMSTREAM_PROBLEM_ENTRY_DATA, off, space, entry->timestamp);
	data.consequence = "its data are lost";
	if (survey_report(survey, data, "the data of the entry at %zu do not check", (size_t)off))
		return -1;
	return add_hole(survey, &hole);
}

/* Where a valid entry begins behind a header that cannot be trusted; end_off if nowhere. */
static int search(struct front *front, uint64_t off, uint64_t end_off, struct format_entry *entry, uint64_t *found_off)
{
	struct survey *survey = front->survey;

	*found_off = end_off;
	for (off += survey->header.alignment; off < end_off && !survey->overspent; off += survey->header.alignment) {
		if (!survey_header(survey, &survey->regions[front->index], off, end_off, entry) ||
		    entry->timestamp <= front->timestamp ||
		    (survey->slot_known &&
		     (entry->timestamp > survey->slots[survey->current].persisted || entry->epoch > survey->epoch)))
			continue;
		if (survey_spend(survey, off, entry->size))
			return -1;
		if (!survey->overspent && survey_data_check(survey, off, entry)) {
			*found_off = off;
			return 0;
		}
	}
	return 0;
}

static int read_hole(struct front *front, uint64_t off, uint64_t *next_off)
{
	struct survey *survey = front->survey;
	const struct survey_region *region = &survey->regions[front->index];
	struct format_entry next = {.epoch = front->epoch};
	uint64_t behind = survey->slot_known ? survey->slots[survey->current].persisted : UINT64_MAX;
	uint64_t end_off;
	if (search(front, off, region->tail_off, &next, &end_off))
		return -1;
	struct pmemstream_problem problem =
		problem_at(front, PMEMSTREAM_PROBLEM_ENTRY_HEADER, off, end_off - off, front->timestamp + 1);
	struct survey_hole hole = {
		.off = off,
		.bytes = end_off - off,
		.timestamp = front->timestamp + 1,
		.last_timestamp = end_off < region->tail_off ? next.timestamp - 1 : behind,
		.epoch = end_off < region->tail_off ? next.epoch : front->epoch,
		.region = front->index,
		.kind = PMEMSTREAM_PROBLEM_ENTRY_HEADER,
	};

	if (hole.timestamp > hole.last_timestamp && hole.last_timestamp)
		hole.timestamp = hole.last_timestamp;
	problem.consequence = "the entries in this stretch are lost";
	problem.repairable = hole.bytes >= FORMAT_ENTRY_HEADER_BYTES;
	if (survey_report(survey, problem, "the entry at %zu has a header that does not check", (size_t)off) ||
	    (problem.repairable && add_hole(survey, &hole)))
		return -1;
	*next_off = end_off;
	return 0;
}

static int report_limit(struct front *front, uint64_t off)
{
	struct survey_region *region = &front->survey->regions[front->index];
	struct pmemstream_problem problem =
		problem_at(front, PMEMSTREAM_PROBLEM_REGION_LIMIT, region->off + FORMAT_REGION_LIMIT_OFF, 8, 0);

	region->raise_off = off;
	problem.severity = PMEMSTREAM_HARMLESS;
	problem.consequence = "damage behind the last checkpoint might not be noticed; appending puts it right";
	return survey_report(front->survey, problem, "the limit of the region at %zu is below its entry at %zu",
			     (size_t)region->off, (size_t)off);
}

static int read_region(struct survey *survey, uint32_t index)
{
	struct survey_region *region = &survey->regions[index];
	struct front front = {.survey = survey, .index = index, .epoch = 1};
	uint64_t off = region->off + FORMAT_REGION_HEADER_BYTES;
	struct format_entry entry;

	while (off < region->tail_off) {
		uint64_t begin_off = off;
		if (off >= region->limit_off && !region->raise_off && report_limit(&front, off))
			return -1;
		if (survey_header(survey, region, off, region->tail_off, &entry) &&
		    (!survey->slot_known || entry.epoch <= survey->epoch)) {
			if (read_trustworthy(&front, off, &entry))
				return -1;
			off += format_entry_space(entry.size, survey->header.alignment);
			/* The entry behind a stretch that was given up may have its timestamp. */
			uint64_t passed = entry.timestamp - (entry.flags & FORMAT_LOST ? 1 : 0);
			if (passed > front.timestamp)
				front.timestamp = passed;
			front.epoch = entry.epoch;
		} else if (read_hole(&front, off, &off)) {
			return -1;
		}
		if (survey_progress(survey, off - begin_off))
			return -1;
	}
	return 0;
}

/* Without a freed region every timestamp up to P is in front of some slot. */
static int check_density(struct survey *survey)
{
	uint64_t persisted = survey->slots[survey->current].persisted;
	struct pmemstream_problem problem = {
		.kind = PMEMSTREAM_PROBLEM_MISSING,
		.severity = PMEMSTREAM_DAMAGE,
		.offset = SURVEY_NOWHERE,
		.region = SURVEY_NOWHERE,
		.timestamp = 1,
		.consequence = "entries vanished, or came twice, without leaving a trace",
	};
	bool freed = !survey->applied_known || !survey->next_generation_known ||
		     survey->applied + survey->pending != survey->next_generation - 1;

	if (!survey->slot_known || freed || survey->lost_seen || survey->refusals || survey->covered_count ||
	    survey->front_count == persisted)
		return 0;
	return survey_report(survey, problem, "%zu entries lie in front of the checkpoints, but timestamps go to %zu",
			     (size_t)survey->front_count, (size_t)persisted);
}

int survey_front(struct survey *survey)
{
	for (size_t i = 0; i < survey->region_count; i++)
		if (survey->regions[i].usable && read_region(survey, (uint32_t)i))
			return -1;
	return check_density(survey);
}
