/*
 * repair_plan.c: what a repair writes.
 *
 * A round is needed only where an opening would be refused for what is behind the slots. It takes all that is kept in
 * front of new slots: k above every one seen, P the highest timestamp that is kept or was vouched for, an epoch above
 * every one seen.
 *
 * A cut in front of the announcement leaves all the evidence of the damage there; from the announcement on its K, which
 * is that P, vouches for the rest, since the slots of a round that was never completed may have done so before and are
 * overwritten. Entries that were dropped would be let in by that K when the repair is done again: therefore their
 * checksums are destroyed in front of it. Of entries that the last round covered only the bad slot in front of them
 * tells: it is written last, when they are covered by the new round as well. A slot that does not check is never put
 * right while CLEAN stands in a slot of the stream: CLEAN would be believed again.
 */
#include "stream/repair.h"

#include "base/error.h"
#include "stream/stream.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct planner {
	struct repair_plan *plan;
	const struct survey *survey;
	enum repair_phase phase;
	uint64_t time_ns;
};

static int change(struct planner *planner, uint64_t off, const void *to, uint64_t bytes, const char *text)
{
	struct repair_plan *plan = planner->plan;

	if (!memcmp(survey_at(planner->survey, off), to, bytes))
		return 0;
	if (survey_grow((void **)&plan->changes, plan->count, &plan->room, sizeof(*plan->changes)))
		return -1;
	struct repair_change *added = &plan->changes[plan->count++];
	*added = (struct repair_change){.phase = planner->phase, .off = off, .bytes = bytes, .text = text};
	memcpy(added->to, to, bytes);
	return 0;
}

static int change_word(struct planner *planner, uint64_t off, uint64_t seed, uint64_t value, const char *text)
{
	uint64_t word = htole64(format_checked_encode(planner->survey->header.salt, seed, value));

	return change(planner, off, &word, sizeof(word), text);
}

static int plan_headers(struct planner *planner)
{
	const struct survey *survey = planner->survey;
	uint64_t offs[2] = {0, format_second_copy_off(survey->header.block_size)};
	unsigned char encoded[FORMAT_HEADER_BYTES];

	format_header_encode(encoded, &survey->header);
	for (unsigned i = 0; i < 2; i++)
		if (!survey->copy_valid[i] &&
		    change(planner, offs[i], encoded, sizeof(encoded), "restores a copy of the stream's header"))
			return -1;
	return 0;
}

static int plan_allocator(struct planner *planner)
{
	static const char carries_out[] = "carries out an allocation that was begun";
	const struct survey *survey = planner->survey;

	for (size_t i = 0; i < survey->extent_count; i++) {
		const struct survey_extent *extent = &survey->extents[i];
		uint64_t value =
			extent->bytes / survey->header.block_size | (extent->is_region ? FORMAT_EXTENT_USED : 0);
		if (extent->rebuilt &&
		    change_word(planner, extent->off, extent->off, value, "restores the word of an extent"))
			return -1;
	}
	for (uint32_t i = 0; survey->pending && i < survey->record.count; i++) {
		uint64_t word = htole64(survey->record.words[i].word);
		if (change(planner, survey->record.words[i].off, &word, sizeof(word), carries_out))
			return -1;
	}
	if (survey->next_generation_rebuilt &&
	    change_word(planner, FORMAT_NEXT_GENERATION_OFF, FORMAT_NEXT_GENERATION_OFF, survey->next_generation,
			"restores the allocator's next generation"))
		return -1;
	planner->phase = REPAIR_APPLIED;
	if (survey->applied_rebuilt || survey->pending)
		return change_word(planner, FORMAT_APPLIED_OFF, FORMAT_APPLIED_OFF, survey->applied + survey->pending,
				   "restores the allocator's applied number");
	return 0;
}

/* A limit at or behind an offset, with what an append would add. */
static int plan_limit(struct planner *planner, const struct survey_region *region, uint64_t off)
{
	uint64_t bytes = region->end_off - region->off;
	uint64_t limit = off - region->off + FORMAT_LIMIT_STEP;

	limit = limit < bytes ? (limit + FORMAT_LIMIT_UNIT - 1) / FORMAT_LIMIT_UNIT : bytes / FORMAT_LIMIT_UNIT;
	return change_word(planner, region->off + FORMAT_REGION_LIMIT_OFF, region->fields.generation, limit,
			   "sets the limit of a region");
}

static int plan_region_headers(struct planner *planner)
{
	const struct survey *survey = planner->survey;
	unsigned char encoded[FORMAT_REGION_HEADER_BYTES];

	for (size_t i = 0; i < survey->region_count; i++) {
		const struct survey_region *region = &survey->regions[i];
		if (region->header_rebuilt) {
			format_region_encode(encoded, survey->header.salt, region->off, &region->fields);
			if (change(planner, region->off + FORMAT_REGION_CONSTANT_OFF,
				   encoded + FORMAT_REGION_CONSTANT_OFF,
				   FORMAT_REGION_SLOT_OFF - FORMAT_REGION_CONSTANT_OFF, "restores a region's header"))
				return -1;
		}
		uint64_t needed_off = region->raise_off > region->kept_off ? region->raise_off : region->kept_off;
		bool low = region->raise_off || (survey->broken && region->kept_off > region->limit_off);
		if ((region->limit_rebuilt || low) &&
		    plan_limit(planner, region, region->limit_rebuilt ? region->end_off : needed_off))
			return -1;
	}
	return 0;
}

static int plan_holes(struct planner *planner, bool data)
{
	const struct survey *survey = planner->survey;

	for (size_t i = 0; i < survey->hole_count; i++) {
		const struct survey_hole *hole = &survey->holes[i];
		unsigned char encoded[FORMAT_ENTRY_HEADER_BYTES];
		if (data != (hole->kind == PMEMSTREAM_PROBLEM_ENTRY_DATA))
			continue;
		struct format_entry lost = {
			.size = hole->bytes - FORMAT_ENTRY_HEADER_BYTES,
			.timestamp = hole->timestamp,
			.epoch = hole->epoch,
			.lag = FORMAT_LAG_NONE,
			.flags = FORMAT_LOST,
		};
		format_entry_encode(encoded, survey->regions[hole->region].seed, hole->off, &lost);
		if (change(planner, hole->off, encoded, sizeof(encoded), "marks a stretch as lost"))
			return -1;
	}
	return 0;
}

/* Whether a dropped entry's header can be destroyed: it is behind all that is kept, or inside a hole. */
static bool is_free(const struct survey *survey, const struct survey_entry *entry)
{
	size_t low = 0, high = survey->hole_count;

	if (entry->off >= survey->regions[entry->region].kept_off)
		return true;
	/* The last hole that begins in front of it. */
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		if (survey->holes[middle].off + FORMAT_ENTRY_HEADER_BYTES <= entry->off)
			low = middle + 1;
		else
			high = middle;
	}
	return low &&
	       entry->off + FORMAT_ENTRY_HEADER_BYTES <= survey->holes[low - 1].off + survey->holes[low - 1].bytes;
}

static int plan_dropped(struct planner *planner)
{
	static const unsigned char zeros[8];
	const struct survey *survey = planner->survey;

	for (size_t i = 0; i < survey->entry_count; i++) {
		const struct survey_entry *entry = &survey->entries[i];
		if (!entry->chosen && is_free(survey, entry) &&
		    change(planner, entry->off + FORMAT_ENTRY_HEADER_BYTES - sizeof(zeros), zeros, sizeof(zeros),
			   "destroys an entry that was dropped before"))
			return -1;
	}
	return 0;
}

/* Part of a later write could otherwise make the old slot valid again, when it is too old. */
static int plan_clearing(struct planner *planner)
{
	static const unsigned char zeros[FORMAT_SLOT_BYTES];
	const struct survey *survey = planner->survey;

	for (size_t i = 0; i < survey->region_count; i++) {
		const struct survey_region *region = &survey->regions[i];
		uint64_t off = region->off + FORMAT_REGION_SLOT_OFF + (1U - region->current) * FORMAT_SLOT_BYTES;
		if (region->covered && change(planner, off, zeros, sizeof(zeros), "clears a checkpoint of a region"))
			return -1;
	}
	return 0;
}

static int put_stream_slot(struct planner *planner, unsigned index, const struct format_stream_slot *slot,
			   const char *text)
{
	unsigned char encoded[FORMAT_SLOT_BYTES];
	uint64_t off = FORMAT_STREAM_SLOT_OFF + (uint64_t)index * FORMAT_STREAM_SLOT_STRIDE;

	format_stream_slot_encode(encoded, planner->survey->header.salt, off, slot);
	return change(planner, off, encoded, sizeof(encoded), text);
}

static int plan_region_slot(struct planner *planner, const struct survey_region *region,
			    const struct format_region_slot *slot, const char *text)
{
	unsigned char encoded[FORMAT_SLOT_BYTES];
	uint64_t off = region->off + FORMAT_REGION_SLOT_OFF + (1U - region->current) * FORMAT_SLOT_BYTES;

	format_region_slot_encode(encoded, planner->survey->header.salt, region->fields.generation, off, slot);
	return change(planner, off, encoded, sizeof(encoded), text);
}

/* Slots that do not check become copies of the other ones; first CLEAN goes. */
static int plan_torn_slots(struct planner *planner)
{
	const struct survey *survey = planner->survey;
	struct format_stream_slot slot = survey->slots[survey->current];
	bool stream_torn = !survey->slot_valid[1 - survey->current], torn = stream_torn;

	for (size_t i = 0; i < survey->region_count; i++)
		torn = torn || !survey->regions[i].slot_valid[1 - survey->regions[i].current];
	slot.sequence++;
	planner->phase = REPAIR_ANNOUNCED;
	if ((stream_torn || (torn && slot.flags & FORMAT_CLEAN))) {
		slot.flags &= ~(uint32_t)FORMAT_CLEAN;
		if (put_stream_slot(planner, 1 - survey->current, &slot, "restores a checkpoint of the stream"))
			return -1;
	}
	planner->phase = REPAIR_SLOTS;
	for (size_t i = 0; i < survey->region_count; i++) {
		const struct survey_region *region = &survey->regions[i];
		if (!region->slot_valid[1 - region->current] &&
		    plan_region_slot(planner, region, &region->slots[region->current],
				     "restores a checkpoint of a region"))
			return -1;
	}
	return 0;
}

static int plan_region_slots(struct planner *planner, bool covered)
{
	const struct survey *survey = planner->survey;
	uint64_t round = survey->slots[survey->current].round;

	for (size_t i = 0; i < survey->region_count; i++) {
		const struct survey_region *region = &survey->regions[i];
		struct format_region_slot slot = {
			.round = survey->highest_round + 1,
			.tail_off = region->kept_off - region->off,
			.persisted = survey->last,
			.epoch = survey->epoch + 1,
			.time_ns = planner->time_ns,
		};
		bool torn = !region->slot_valid[1 - region->current];
		bool ahead = !torn && region->slots[1 - region->current].round > round;
		if (region->covered == covered && (torn || ahead || region->kept_off != region->tail_off) &&
		    plan_region_slot(planner, region, &slot, "writes a checkpoint of a region"))
			return -1;
	}
	return 0;
}

static int plan_round(struct planner *planner)
{
	const struct survey *survey = planner->survey;
	struct format_stream_slot slot = survey->slots[survey->current];

	if (survey->epoch >= UINT32_MAX - 1)
		return error_set(EOVERFLOW, "no epoch is left to repair the stream in: copy what can be read of it");
	if (survey->highest_round >= FORMAT_COUNT_MAX || slot.sequence > FORMAT_COUNT_MAX - 2)
		return error_set(EOVERFLOW, "no number is left for another checkpoint: copy what can be read of it");
	slot.sequence++;
	slot.kept = survey->last;
	slot.digest = 0;
	slot.flags = 0;
	slot.time_ns = planner->time_ns;
	planner->phase = REPAIR_ANNOUNCED;
	if (put_stream_slot(planner, 1 - survey->current, &slot, "says how far the stream went"))
		return -1;
	planner->phase = REPAIR_SLOTS;
	if (plan_region_slots(planner, false))
		return -1;
	planner->phase = REPAIR_ROUND;
	slot.sequence++;
	slot.round = survey->highest_round + 1;
	slot.persisted = survey->last;
	slot.epoch = survey->epoch + 1;
	if (put_stream_slot(planner, survey->current, &slot, "completes the checkpoint, in a new epoch"))
		return -1;
	planner->phase = REPAIR_COVERED;
	return plan_region_slots(planner, true);
}

int repair_plan(struct repair_plan *plan, const struct survey *survey)
{
	struct planner planner = {.plan = plan, .survey = survey, .phase = REPAIR_REDUNDANT};

	planner.time_ns = stream_time_ns();
	*plan = (struct repair_plan){0};
	if (plan_headers(&planner) || plan_region_headers(&planner) || plan_allocator(&planner))
		return -1;
	planner.phase = REPAIR_LOST;
	if (plan_holes(&planner, false) || (survey->broken && (plan_dropped(&planner) || plan_clearing(&planner))))
		return -1;
	if (survey->broken ? plan_round(&planner) : plan_torn_slots(&planner))
		return -1;
	planner.phase = REPAIR_MARKED;
	return plan_holes(&planner, true);
}

void repair_plan_free(struct repair_plan *plan)
{
	free(plan->changes);
	*plan = (struct repair_plan){0};
}
