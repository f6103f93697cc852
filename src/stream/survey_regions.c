/*
 * survey_regions.c: the headers, limits and slots of the regions.
 *
 * Generation  is the key to a region's entries: the checksums of both slots, of the limit and of each entry depend on
 * it. So where the header's own checksum fails, a slot that checks with the generation that stands there proves it;
 * length is told by the extent. Label and time of allocation are then kept as they stand, if they can be so.
 */
#include "stream/survey.h"

#include <stdlib.h>
#include <string.h>

static struct pmemstream_problem problem_at(const struct survey_region *region, enum pmemstream_problem_kind kind,
					    uint64_t off, uint64_t bytes)
{
	return (struct pmemstream_problem){
		.kind = kind,
		.severity = PMEMSTREAM_DAMAGE,
		.offset = off,
		.bytes = bytes,
		.region = region->off,
	};
}

static bool slot_checks(const struct survey *survey, const struct survey_region *region, unsigned index,
			uint64_t generation, struct format_region_slot *slot)
{
	uint64_t off = region->off + FORMAT_REGION_SLOT_OFF + (uint64_t)index * FORMAT_SLOT_BYTES;

	return format_region_slot_decode(survey_at(survey, off), survey->header.salt, generation, off, slot) &&
	       slot->tail_off >= FORMAT_REGION_HEADER_BYTES && slot->tail_off <= region->end_off - region->off &&
	       slot->tail_off % survey->header.alignment == 0;
}

/* What is to be written in the place of a header that does not check. */
static bool rebuild_header(const struct survey *survey, struct survey_region *region)
{
	const unsigned char *header = survey_at(survey, region->off);
	unsigned char exact[FORMAT_REGION_HEADER_BYTES];
	struct format_region_slot slot;
	uint64_t generation = le64_load(header + 16);

	if (!generation ||
	    (!slot_checks(survey, region, 0, generation, &slot) && !slot_checks(survey, region, 1, generation, &slot)))
		return false;
	/* Where only the length is wrong, the checksum proves the rest. */
	memcpy(exact, header, sizeof(exact));
	le64_store(exact + 24, region->end_off - region->off);
	if (format_region_decode(exact, survey->header.salt, region->off, &region->fields))
		return true;
	region->fields = (struct format_region){
		.generation = generation,
		.extent_bytes = region->end_off - region->off,
		.created_ns = le64_load(header + 32),
	};
	memcpy(region->fields.label, header + FORMAT_REGION_LABEL_OFF, FORMAT_LABEL_BYTES);
	size_t length = strnlen(region->fields.label, FORMAT_LABEL_BYTES);
	for (size_t i = length; i < FORMAT_LABEL_BYTES; i++)
		if (region->fields.label[i])
			length = FORMAT_LABEL_BYTES;
	if (length == FORMAT_LABEL_BYTES)
		memset(region->fields.label, 0, sizeof(region->fields.label));
	return true;
}

static int read_header(struct survey *survey, struct survey_region *region, bool *known)
{
	struct pmemstream_problem problem =
		problem_at(region, PMEMSTREAM_PROBLEM_REGION_HEADER, region->off, FORMAT_REGION_SLOT_OFF);
	uint64_t bytes = region->end_off - region->off;

	*known = false;
	if (bytes < FORMAT_REGION_HEADER_BYTES) {
		problem.consequence = "its entries cannot be found, and the stream cannot be opened";
		return survey_report(survey, problem, "the region at %zu is smaller than its header",
				     (size_t)region->off);
	}
	bool valid = format_region_decode(survey_at(survey, region->off), survey->header.salt, region->off,
					  &region->fields) &&
		     region->fields.extent_bytes == bytes;
	if (!valid)
		region->header_rebuilt = rebuild_header(survey, region);
	bool below = !survey->next_generation_known || region->fields.generation < survey->next_generation;
	*known = (valid || region->header_rebuilt) && below;
	if (valid && below)
		return 0;
	problem.repairable = *known;
	problem.consequence = *known ? "a checkpoint of the region proves its generation; its label may have changed"
				     : "its entries cannot be told from what stood there before, and the stream cannot "
				       "be opened";
	return survey_report(survey, problem,
			     valid ? "the region at %zu has a generation that was not given out yet"
				   : "the header of the region at %zu does not check",
			     (size_t)region->off);
}

static int read_limit(struct survey *survey, struct survey_region *region)
{
	struct pmemstream_problem problem = problem_at(region, PMEMSTREAM_PROBLEM_REGION_LIMIT,
						       region->off + FORMAT_REGION_LIMIT_OFF, sizeof(uint64_t));
	uint64_t limit, word = le64_load(survey_at(survey, region->off + FORMAT_REGION_LIMIT_OFF));

	if (format_checked_decode(word, survey->header.salt, region->fields.generation, &limit) &&
	    limit * FORMAT_LIMIT_UNIT >= FORMAT_REGION_HEADER_BYTES &&
	    limit * FORMAT_LIMIT_UNIT <= region->end_off - region->off) {
		region->limit_off = region->off + limit * FORMAT_LIMIT_UNIT;
		return 0;
	}
	/* The highest limit is always right; it only makes a search longer. */
	region->limit_off = region->end_off;
	region->limit_rebuilt = true;
	problem.repairable = 1;
	problem.consequence = "the stream cannot be opened; the end of the region can stand for it";
	return survey_report(survey, problem, "the limit of the region at %zu does not check", (size_t)region->off);
}

static int read_slots(struct survey *survey, struct survey_region *region)
{
	struct pmemstream_problem problem = problem_at(region, PMEMSTREAM_PROBLEM_REGION_SLOT, 0, FORMAT_SLOT_BYTES);
	uint64_t round = survey->slot_known ? survey->slots[survey->current].round : UINT64_MAX;
	int current = -1;

	for (unsigned i = 0; i < 2; i++) {
		struct format_region_slot *slot = &region->slots[i];
		region->slot_valid[i] = slot_checks(survey, region, i, region->fields.generation, slot);
		if (!region->slot_valid[i])
			continue;
		if (slot->round > survey->highest_round)
			survey->highest_round = slot->round;
		survey_note(survey, region->off + FORMAT_REGION_SLOT_OFF + (uint64_t)i * FORMAT_SLOT_BYTES,
			    slot->persisted, slot->epoch);
		if (slot->round <= round && (current < 0 || slot->round > region->slots[current].round))
			current = (int)i;
	}
	region->usable = current >= 0;
	region->current = current > 0;
	region->tail_off =
		region->off + (region->usable ? region->slots[current].tail_off : (uint64_t)FORMAT_REGION_HEADER_BYTES);
	for (unsigned i = 0; i < 2; i++) {
		if (region->slot_valid[i])
			continue;
		problem.offset = region->off + FORMAT_REGION_SLOT_OFF + (uint64_t)i * FORMAT_SLOT_BYTES;
		problem.severity = region->usable ? PMEMSTREAM_HARMLESS : PMEMSTREAM_DAMAGE;
		problem.repairable = region->usable;
		problem.consequence = region->usable ? "the region's other checkpoint is used"
						     : "where the region's entries end cannot be known, and the stream "
						       "cannot be opened";
		if (survey_report(survey, problem, "a checkpoint of the region at %zu does not check",
				  (size_t)region->off))
			return -1;
	}
	if (region->usable || (!region->slot_valid[0] && !region->slot_valid[1]))
		return 0;
	problem.offset = region->off + FORMAT_REGION_SLOT_OFF;
	return survey_report(survey, problem, "the region at %zu has no checkpoint of a round that was completed",
			     (size_t)region->off);
}

static int compare_generations(const void *a, const void *b)
{
	const struct survey_region *left = *(const struct survey_region *const *)a,
				   *right = *(const struct survey_region *const *)b;

	if (left->fields.generation != right->fields.generation)
		return left->fields.generation < right->fields.generation ? -1 : 1;
	return 0;
}

static int check_generations(struct survey *survey)
{
	const struct survey_region **sorted = NULL;
	size_t room = 0, count = 0;
	int err = 0;

	for (size_t i = 0; i < survey->region_count && !err; i++) {
		err = survey_grow((void **)&sorted, count, &room, sizeof(*sorted));
		if (!err && survey->regions[i].usable)
			sorted[count++] = &survey->regions[i];
	}
	if (!err && count)
		qsort(sorted, count, sizeof(*sorted), compare_generations);
	for (size_t i = 1; i < count && !err; i++) {
		struct pmemstream_problem problem =
			problem_at(sorted[i], PMEMSTREAM_PROBLEM_REGION_HEADER, sorted[i]->off, FORMAT_REGION_SLOT_OFF);
		problem.consequence = "one of them was freed, and the stream cannot be opened";
		if (sorted[i]->fields.generation == sorted[i - 1]->fields.generation)
			err = survey_report(survey, problem, "the regions at %zu and %zu have one generation",
					    (size_t)sorted[i - 1]->off, (size_t)sorted[i]->off);
	}
	free(sorted);
	return err;
}

int survey_regions(struct survey *survey)
{
	bool torn = !survey->slot_valid[0] || !survey->slot_valid[1];

	for (size_t i = 0; i < survey->extent_count; i++) {
		const struct survey_extent *extent = &survey->extents[i];
		if (!extent->is_region)
			continue;
		if (survey_grow((void **)&survey->regions, survey->region_count, &survey->region_room,
				sizeof(*survey->regions)))
			return -1;
		struct survey_region *region = &survey->regions[survey->region_count++];
		bool known;
		*region = (struct survey_region){.off = extent->off, .end_off = extent->off + extent->bytes};
		if (read_header(survey, region, &known))
			return -1;
		if (!known)
			continue;
		region->seed = format_entry_seed(survey->header.salt, region->fields.generation);
		if (read_limit(survey, region) || read_slots(survey, region))
			return -1;
		region->scan_end_off = region->kept_off = region->tail_off;
		torn = torn || !region->slot_valid[0] || !region->slot_valid[1];
	}
	const struct format_stream_slot *slot = &survey->slots[survey->current];
	bool behind = survey->vouched > slot->persisted || survey->epoch > slot->epoch;
	survey->clean = survey->slot_known && (slot->flags & FORMAT_CLEAN) && !torn && !behind;
	return check_generations(survey);
}
