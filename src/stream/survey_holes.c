/*
 * survey_holes.c: what is lost behind the slots of a damaged stream, and where each region ends after a repair.
 *
 * A region keeps its chosen entries; what lies between them, and headers whose data do not check where their timestamp
 * was vouched for, are holes. A missing timestamp that no hole can have held gets a marker of its own at the end of a
 * region whose entries are all older: so that no loss goes unreported. Among several such regions the one counts in
 * which something stands at that place.
 */
#include "stream/survey.h"

#include <stdlib.h>

static int compare_places(const void *a, const void *b)
{
	const struct survey_entry *left = a, *right = b;

	return left->off < right->off ? -1 : left->off > right->off;
}

static int compare_hole_places(const void *a, const void *b)
{
	const struct survey_hole *left = a, *right = b;

	return left->off < right->off ? -1 : left->off > right->off;
}

static int compare_timestamps(const void *a, const void *b)
{
	const struct survey_entry *left = a, *right = b;

	if (left->timestamp != right->timestamp)
		return left->timestamp < right->timestamp ? -1 : 1;
	return (int)right->chosen - (int)left->chosen;
}

static int report_hole(struct survey *survey, const struct survey_hole *hole)
{
	struct pmemstream_problem problem = {
		.kind = hole->kind,
		.severity = PMEMSTREAM_DAMAGE,
		.repairable = 1,
		.offset = hole->off,
		.bytes = hole->bytes,
		.region = survey->regions[hole->region].off,
		.timestamp = hole->timestamp,
	};

	switch (hole->kind) {
	case PMEMSTREAM_PROBLEM_ENTRY_DATA:
		problem.consequence = "its data are lost";
		return survey_report(survey, problem, "the data of the entry at %zu do not check", (size_t)hole->off);
	case PMEMSTREAM_PROBLEM_ENTRY_HEADER:
		problem.consequence = "the entries in this stretch are lost";
		return survey_report(survey, problem, "the entry at %zu has a header that does not check",
				     (size_t)hole->off);
	default:
		problem.consequence = "this is where it may have been; it is lost";
		return survey_report(survey, problem,
				     "the entry with timestamp %zu is missing, though what stands at %zu says that all "
				     "were durable up to %zu",
				     (size_t)hole->timestamp, (size_t)survey->vouched_off, (size_t)survey->vouched);
	}
}

static int add_hole(struct survey *survey, const struct survey_hole *hole)
{
	if (survey_grow((void **)&survey->holes, survey->hole_count, &survey->hole_room, sizeof(*hole)))
		return -1;
	survey->holes[survey->hole_count++] = *hole;
	return report_hole(survey, hole);
}

/* The header at a place whose data do not check, if its timestamp is in a range. */
static bool torn_at(const struct survey *survey, uint32_t region, uint64_t off, uint64_t end_off, uint64_t above,
		    uint64_t up_to, struct survey_hole *hole)
{
	struct format_entry entry;

	if (!survey_header(survey, &survey->regions[region], off, end_off, &entry) || entry.timestamp <= above ||
	    entry.timestamp > up_to || entry.flags & FORMAT_LOST || survey_data_check(survey, off, &entry))
		return false;
	*hole = (struct survey_hole){
		.off = off,
		.bytes = format_entry_space(entry.size, survey->header.alignment),
		.timestamp = entry.timestamp,
		.last_timestamp = entry.timestamp,
		.epoch = entry.epoch,
		.region = region,
		.kind = PMEMSTREAM_PROBLEM_ENTRY_DATA,
	};
	return true;
}

/* What lies between the end of what is kept and the next entry that is. */
static int fill(struct survey *survey, const struct survey_entry *next)
{
	struct survey_region *region = &survey->regions[next->region];
	struct survey_hole hole;

	while (region->kept_off < next->off) {
		if (!torn_at(survey, next->region, region->kept_off, next->off, region->kept_timestamp,
			     next->timestamp - 1, &hole))
			hole = (struct survey_hole){
				.off = region->kept_off,
				.bytes = next->off - region->kept_off,
				.timestamp = region->kept_timestamp + 1 < next->timestamp ? region->kept_timestamp + 1
											  : next->timestamp - 1,
				.last_timestamp = next->timestamp - 1,
				.epoch = next->epoch,
				.region = next->region,
				.kind = PMEMSTREAM_PROBLEM_ENTRY_HEADER,
			};
		/* The rest has to hold a header too. */
		uint64_t rest = next->off - region->kept_off - hole.bytes;
		if (rest && rest < FORMAT_ENTRY_HEADER_BYTES)
			hole.bytes += rest;
		if (!hole.timestamp)
			hole.timestamp = 1;
		if (add_hole(survey, &hole))
			return -1;
		region->kept_off += hole.bytes;
		if (hole.kind == PMEMSTREAM_PROBLEM_ENTRY_DATA)
			region->kept_timestamp = hole.timestamp;
	}
	return 0;
}

static bool fits(const struct survey_region *region, const struct survey_entry *entry)
{
	if (entry->timestamp <= region->kept_timestamp || entry->off < region->kept_off)
		return false;
	return entry->off == region->kept_off || entry->off - region->kept_off >= FORMAT_ENTRY_HEADER_BYTES;
}

/* Chosen entries in order of place; those that cannot stand there are not kept. */
static int keep_in_place(struct survey *survey)
{
	for (size_t i = 0; i < survey->region_count; i++) {
		struct survey_region *region = &survey->regions[i];
		if (!region->usable)
			continue;
		bool torn = !region->slot_valid[1 - region->current];
		region->kept_timestamp =
			torn ? region->slots[region->current].persisted : survey->slots[survey->current].persisted;
	}
	if (survey->entry_count)
		qsort(survey->entries, survey->entry_count, sizeof(*survey->entries), compare_places);
	for (size_t i = 0; i < survey->entry_count; i++) {
		struct survey_entry *entry = &survey->entries[i];
		struct survey_region *region = &survey->regions[entry->region];
		if (!entry->chosen)
			continue;
		entry->chosen = fits(region, entry);
		if (!entry->chosen)
			continue;
		if (fill(survey, entry))
			return -1;
		region->kept_off = entry->off + entry->bytes;
		region->kept_timestamp = entry->timestamp;
	}
	if (survey->entry_count)
		qsort(survey->entries, survey->entry_count, sizeof(*survey->entries), compare_timestamps);
	return 0;
}

/* Entries are in order of timestamp; of those with one timestamp at most one is chosen, and comes first. */
static bool is_kept(const struct survey *survey, uint64_t timestamp)
{
	size_t at = survey_find_entry(survey, timestamp);

	return at < survey->entry_count && survey->entries[at].timestamp == timestamp && survey->entries[at].chosen;
}

/* Headers directly behind what a region keeps, whose data do not check and whose timestamps were vouched for. */
static int keep_torn_ends(struct survey *survey)
{
	for (size_t i = 0; i < survey->torn_count; i++) {
		const struct survey_torn *torn = &survey->torn[i];
		struct survey_region *region = &survey->regions[torn->region];
		struct survey_hole hole;
		if (torn->off != region->kept_off ||
		    !torn_at(survey, torn->region, torn->off, region->end_off, region->kept_timestamp, survey->vouched,
			     &hole) ||
		    is_kept(survey, torn->timestamp))
			continue;
		if (add_hole(survey, &hole))
			return -1;
		region->kept_off += hole.bytes;
		region->kept_timestamp = hole.timestamp;
	}
	return 0;
}

static int compare_holes(const void *a, const void *b)
{
	const struct survey_hole *left = a, *right = b;

	if (left->timestamp != right->timestamp)
		return left->timestamp < right->timestamp ? -1 : 1;
	return left->off < right->off ? -1 : left->off > right->off;
}

/* Timestamps are asked for in rising order: holes in order of theirs, and the highest that those looked at may hold. */
struct holding {
	size_t looked_at, count;
	uint64_t last;
};

/* The highest timestamp of those from one on that some hole may have held; 0: none did. */
static uint64_t held_by_hole(const struct survey *survey, struct holding *holding, uint64_t timestamp)
{
	while (holding->looked_at < holding->count && survey->holes[holding->looked_at].timestamp <= timestamp) {
		uint64_t last = survey->holes[holding->looked_at++].last_timestamp;
		if (last > holding->last)
			holding->last = last;
	}
	return holding->last >= timestamp ? holding->last : 0;
}

static bool something_at(const struct survey *survey, uint64_t off)
{
	for (uint64_t i = 0; i < FORMAT_ENTRY_HEADER_BYTES; i++)
		if (*survey_at(survey, off + i))
			return true;
	return false;
}

/* The region at whose end a timestamp may have stood; NULL if there is none. */
static struct survey_region *find_end(struct survey *survey, uint64_t timestamp)
{
	uint64_t space = format_entry_space(0, survey->header.alignment);
	struct survey_region *best = NULL;
	bool best_has = false;

	if (timestamp <= survey->no_end_up_to)
		return NULL;
	survey->no_end_up_to = UINT64_MAX;
	for (size_t i = 0; i < survey->region_count; i++) {
		struct survey_region *region = &survey->regions[i];
		if (!region->usable || region->end_off - region->kept_off < space)
			continue;
		/* Nothing changes before a region is found. */
		if (region->kept_timestamp < survey->no_end_up_to)
			survey->no_end_up_to = region->kept_timestamp;
		if (region->kept_timestamp >= timestamp)
			continue;
		bool has = something_at(survey, region->kept_off);
		if (best && (best_has > has || (best_has == has && best->kept_timestamp >= region->kept_timestamp)))
			continue;
		best = region;
		best_has = has;
	}
	return best;
}

/* A marker for timestamps from one to another, of which no trace is left. */
static int mark_missing(struct survey *survey, uint64_t timestamp, uint64_t last)
{
	struct survey_region *region = find_end(survey, timestamp);

	if (!region) {
		struct pmemstream_problem problem = {
			.kind = PMEMSTREAM_PROBLEM_MISSING,
			.severity = PMEMSTREAM_DAMAGE,
			.repairable = 1,
			.offset = SURVEY_NOWHERE,
			.region = SURVEY_NOWHERE,
			.timestamp = timestamp,
			.consequence = "no region has room where they may have been",
		};
		return survey_report(survey, problem, "timestamps %zu to %zu are missing", (size_t)timestamp,
				     (size_t)last);
	}
	struct survey_hole hole = {
		.off = region->kept_off,
		.bytes = format_entry_space(0, survey->header.alignment),
		.timestamp = timestamp,
		.last_timestamp = UINT64_MAX,
		.epoch = survey->epoch,
		.region = (uint32_t)(region - survey->regions),
		.kind = PMEMSTREAM_PROBLEM_MISSING,
	};
	if (add_hole(survey, &hole))
		return -1;
	region->kept_off += hole.bytes;
	region->kept_timestamp = timestamp;
	return 0;
}

/* Timestamps from one up to another of which none is kept. A marker stands for all that come later. */
static int account(struct survey *survey, struct holding *holding, uint64_t from, uint64_t to)
{
	while (from <= to) {
		uint64_t last = held_by_hole(survey, holding, from);
		if (!last) {
			size_t count = survey->hole_count;
			if (mark_missing(survey, from, to))
				return -1;
			if (survey->hole_count > count)
				holding->last = UINT64_MAX;
			return 0;
		}
		if (last >= to)
			return 0;
		from = last + 1;
	}
	return 0;
}

int survey_holes(struct survey *survey)
{
	if (!survey->broken)
		return 0;
	if (keep_in_place(survey) || keep_torn_ends(survey))
		return -1;
	uint64_t timestamp = survey->slots[survey->current].persisted;
	struct holding holding = {.count = survey->hole_count};
	if (survey->hole_count)
		qsort(survey->holes, survey->hole_count, sizeof(*survey->holes), compare_holes);
	for (size_t i = 0; i < survey->entry_count; i++) {
		const struct survey_entry *entry = &survey->entries[i];
		if (!entry->chosen || entry->timestamp <= timestamp)
			continue;
		if (account(survey, &holding, timestamp + 1, entry->timestamp - 1))
			return -1;
		timestamp = entry->timestamp;
	}
	if (timestamp < survey->last && account(survey, &holding, timestamp + 1, survey->last))
		return -1;
	if (survey->hole_count)
		qsort(survey->holes, survey->hole_count, sizeof(*survey->holes), compare_hole_places);
	return 0;
}
