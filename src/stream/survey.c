/*
 * survey.c: begins a survey: header copies, stream slots, the allocator's words; and reports.
 *
 * Each structure is reported at its own place. What an opening would put right by itself is harmless; what it would
 * refuse is damage.
 */
#include "stream/survey.h"

#include "base/error.h"
#include "stream/create.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PROGRESS_STEPS = 512 };

int survey_grow(void **array, size_t count, size_t *room, size_t bytes)
{
	if (count < *room)
		return 0;
	size_t larger = *room * 2 + 64;
	void *more = reallocarray(*array, larger, bytes);
	if (!more)
		return error_set(ENOMEM, "no memory for %zu elements of %zu bytes", larger, bytes);
	*array = more;
	*room = larger;
	return 0;
}

static int tell(struct survey *survey, const struct pmemstream_event *event)
{
	if (survey->callback && survey->callback(event, survey->arg))
		return error_set(ECANCELED, "the callback ended it");
	return 0;
}

int survey_report(struct survey *survey, struct pmemstream_problem problem, const char *cause, ...)
{
	char text[384];
	va_list arguments;

	va_start(arguments, cause);
	vsnprintf(text, sizeof(text), cause, arguments);
	va_end(arguments);
	problem.cause = text;
	if (problem.severity == PMEMSTREAM_DAMAGE && !survey->damages++)
		snprintf(survey->first, sizeof(survey->first), "%s; %s", text, problem.consequence);
	if (problem.severity == PMEMSTREAM_DAMAGE && !problem.repairable && !survey->refusals++)
		snprintf(survey->first_refusal, sizeof(survey->first_refusal), "%s; %s", text, problem.consequence);
	return tell(survey, &(struct pmemstream_event){.kind = PMEMSTREAM_EVENT_PROBLEM, .problem = problem});
}

int survey_progress(struct survey *survey, uint64_t bytes)
{
	survey->done += bytes;
	if (survey->done > survey->total)
		survey->done = survey->total;
	if (survey->done < survey->told + survey->total / PROGRESS_STEPS)
		return 0;
	survey->told = survey->done;
	return tell(survey, &(struct pmemstream_event){
				    .kind = PMEMSTREAM_EVENT_PROGRESS,
				    .done = survey->done,
				    .total = survey->total,
			    });
}

void survey_note(struct survey *survey, uint64_t off, uint64_t persisted, uint32_t epoch)
{
	if (persisted > survey->vouched) {
		survey->vouched = persisted;
		survey->vouched_off = off;
	}
	if (epoch > survey->epoch) {
		survey->epoch = epoch;
		survey->epoch_off = off;
	}
}

int survey_spend(struct survey *survey, uint64_t off, uint64_t bytes)
{
	struct pmemstream_problem problem = {
		.kind = PMEMSTREAM_PROBLEM_OTHER,
		.severity = PMEMSTREAM_DAMAGE,
		.offset = off,
		.bytes = bytes,
		.region = SURVEY_NOWHERE,
		.consequence = "somebody made this file up: it is not worth reading all of it",
	};

	budget_spend(&survey->budget, bytes);
	if (survey->overspent || !budget_is_spent(&survey->budget))
		return 0;
	survey->overspent = true;
	return survey_report(survey, problem, "entries up to the one at %zu lie inside one another", (size_t)off);
}

static int report_header(struct survey *survey, uint64_t off, bool repairable, const char *consequence,
			 const char *cause)
{
	struct pmemstream_problem problem = {
		.kind = PMEMSTREAM_PROBLEM_HEADER_COPY,
		.severity = repairable ? PMEMSTREAM_HARMLESS : PMEMSTREAM_DAMAGE,
		.repairable = repairable,
		.offset = off,
		.bytes = FORMAT_HEADER_BYTES,
		.region = SURVEY_NOWHERE,
		.consequence = consequence,
	};

	return survey_report(survey, problem, "%s", cause);
}

static int read_header(struct survey *survey)
{
	struct format_header other;

	switch (create_recognise(survey->medium, &survey->header, survey->copy_valid)) {
	case FOUND_STREAM:
		break;
	case FOUND_EMPTY:
		return error_set(EINVAL, "no stream: it is empty, or its creation was cut off");
	default:
		if (errno == EBADMSG && !report_header(survey, 0, false, "nothing can be read",
						       "neither copy of the stream's header checks"))
			errno = EBADMSG;
		return -1;
	}
	uint64_t offs[2] = {0, format_second_copy_off(survey->header.block_size)};
	for (unsigned i = 0; i < 2; i++) {
		if (survey->copy_valid[i])
			continue;
		bool another = offs[i] + FORMAT_HEADER_BYTES <= survey->medium->size &&
			       format_header_decode(survey_at(survey, offs[i]), &other);
		if (report_header(survey, offs[i], true, "the other copy is used",
				  another ? "a copy of the stream's header says something else, or another size"
					  : "a copy of the stream's header does not check"))
			return -1;
	}
	if (survey->header.size <= survey->medium->size)
		return 0;
	struct pmemstream_problem problem = {
		.kind = PMEMSTREAM_PROBLEM_SIZE,
		.severity = PMEMSTREAM_DAMAGE,
		.offset = survey->medium->size,
		.bytes = survey->header.size - survey->medium->size,
		.region = SURVEY_NOWHERE,
		.consequence = "what lay behind the end of the file is lost, and the stream cannot be opened",
	};
	if (survey_report(survey, problem, "the stream has %zu bytes, but its file only %zu",
			  (size_t)survey->header.size, survey->medium->size))
		return -1;
	return error_set(EBADMSG, "%s", survey->first);
}

static int read_stream_slots(struct survey *survey)
{
	struct pmemstream_problem problem = {
		.kind = PMEMSTREAM_PROBLEM_STREAM_SLOT,
		.severity = PMEMSTREAM_HARMLESS,
		.repairable = 1,
		.bytes = FORMAT_SLOT_BYTES,
		.region = SURVEY_NOWHERE,
		.consequence = "the other checkpoint is used",
	};

	for (unsigned i = 0; i < 2; i++) {
		uint64_t off = FORMAT_STREAM_SLOT_OFF + (uint64_t)i * FORMAT_STREAM_SLOT_STRIDE;
		survey->slot_valid[i] =
			format_stream_slot_decode(survey_at(survey, off), survey->header.salt, off, &survey->slots[i]);
		if (survey->slot_valid[i] && survey->slots[i].round > survey->highest_round)
			survey->highest_round = survey->slots[i].round;
	}
	survey->slot_known = survey->slot_valid[0] || survey->slot_valid[1];
	if (!survey->slot_known) {
		problem.severity = PMEMSTREAM_DAMAGE;
		problem.repairable = 0;
		problem.consequence = "which entries belong to the stream cannot be known";
	}
	for (unsigned i = 0; i < 2; i++) {
		problem.offset = FORMAT_STREAM_SLOT_OFF + (uint64_t)i * FORMAT_STREAM_SLOT_STRIDE;
		if (!survey->slot_valid[i] &&
		    survey_report(survey, problem, "the stream's checkpoint at %zu does not check",
				  (size_t)problem.offset))
			return -1;
	}
	survey->current = !survey->slot_valid[0] ||
			  (survey->slot_valid[1] && survey->slots[1].sequence > survey->slots[0].sequence);
	if (survey->slot_known)
		survey->epoch = survey->slots[survey->current].epoch;
	return 0;
}

/* Whether the words of a record can be: places and checks. */
static bool record_words_check(const struct survey *survey)
{
	uint64_t arena_off = format_arena_off(survey->header.block_size);

	for (uint32_t i = 0; i < survey->record.count; i++) {
		uint64_t value, off = survey->record.words[i].off;
		bool in_arena = off >= arena_off &&
				off < format_arena_end(survey->header.size, survey->header.block_size) &&
				off % survey->header.block_size == 0;
		if ((off != FORMAT_NEXT_GENERATION_OFF && !in_arena) ||
		    !format_checked_decode(survey->record.words[i].word, survey->header.salt, off, &value))
			return false;
	}
	return true;
}

static int read_allocator(struct survey *survey)
{
	uint64_t salt = survey->header.salt;

	survey->applied_known = format_checked_decode(le64_load(survey_at(survey, FORMAT_APPLIED_OFF)), salt,
						      FORMAT_APPLIED_OFF, &survey->applied);
	survey->next_generation_known =
		format_checked_decode(le64_load(survey_at(survey, FORMAT_NEXT_GENERATION_OFF)), salt,
				      FORMAT_NEXT_GENERATION_OFF, &survey->next_generation);
	survey->record_valid = format_record_decode(survey_at(survey, FORMAT_RECORD_OFF), salt, &survey->record);
	if (survey->record_valid)
		survey_note(survey, FORMAT_RECORD_OFF, survey->record.persisted, survey->record.epoch);
	survey->pending = survey->record_valid && survey->applied_known && survey->slot_known &&
			  survey->record.number == survey->applied + 1 &&
			  survey->record.epoch == survey->slots[survey->current].epoch;
	if (!survey->record_valid || record_words_check(survey))
		return 0;
	survey->record_valid = false;
	if (!survey->pending)
		return 0;
	survey->pending = false;
	struct pmemstream_problem problem = {
		.kind = PMEMSTREAM_PROBLEM_ALLOCATOR,
		.severity = PMEMSTREAM_DAMAGE,
		.offset = FORMAT_RECORD_OFF,
		.bytes = FORMAT_RECORD_BYTES,
		.region = SURVEY_NOWHERE,
		.consequence = "an allocation that was begun can be neither finished nor taken back",
	};
	return survey_report(survey, problem, "the allocator's record has a word that cannot be");
}

/* More than anybody can have counted to. */
static int check_counts(struct survey *survey)
{
	const struct format_stream_slot *slot = &survey->slots[survey->current];
	uint64_t off = FORMAT_STREAM_SLOT_OFF + (uint64_t)survey->current * FORMAT_STREAM_SLOT_STRIDE;
	struct pmemstream_problem problem = {
		.kind = PMEMSTREAM_PROBLEM_STREAM_SLOT,
		.severity = PMEMSTREAM_DAMAGE,
		.offset = off,
		.bytes = FORMAT_SLOT_BYTES,
		.region = SURVEY_NOWHERE,
		.consequence = "the stream cannot go on from there",
	};

	if (!survey->slot_known || (slot->sequence <= FORMAT_COUNT_MAX && slot->persisted <= FORMAT_COUNT_MAX &&
				    slot->kept <= FORMAT_COUNT_MAX && survey->highest_round <= FORMAT_COUNT_MAX))
		return 0;
	return survey_report(survey, problem, "a checkpoint says that the stream counted to more than %zu",
			     (size_t)FORMAT_COUNT_MAX);
}

int survey_begin(struct survey *survey, struct medium *medium, bool deep, survey_callback *callback, void *arg)
{
	*survey = (struct survey){.medium = medium, .deep = deep, .callback = callback, .arg = arg};
	if (read_header(survey) || read_stream_slots(survey) || read_allocator(survey) || survey_extents(survey) ||
	    survey_regions(survey) || check_counts(survey))
		return -1;
	return 0;
}

void survey_end(struct survey *survey)
{
	free(survey->extents);
	free(survey->regions);
	free(survey->entries);
	free(survey->torn);
	free(survey->holes);
	survey->extents = NULL;
	survey->regions = NULL;
	survey->entries = NULL;
	survey->torn = NULL;
	survey->holes = NULL;
}

/* What will be read, for the progress; and what may be. */
static uint64_t bytes_to_read(struct survey *survey)
{
	uint64_t bytes = 0;

	for (size_t i = 0; i < survey->region_count; i++) {
		const struct survey_region *region = &survey->regions[i];
		if (!region->usable)
			continue;
		survey->budget.searched += region->end_off - region->off;
		if (survey->deep)
			bytes += region->tail_off - region->off - FORMAT_REGION_HEADER_BYTES;
		if (!survey->clean && survey->slot_known && region->limit_off > region->tail_off)
			bytes += region->limit_off - region->tail_off;
	}
	return bytes;
}

int survey_all(struct survey *survey)
{
	survey->total = bytes_to_read(survey);
	if (survey_scan(survey) || (survey->deep && survey_front(survey)) || survey_choose(survey) ||
	    survey_holes(survey))
		return -1;
	survey->done = survey->told = survey->total;
	return tell(survey, &(struct pmemstream_event){
				    .kind = PMEMSTREAM_EVENT_PROGRESS,
				    .done = survey->total,
				    .total = survey->total,
			    });
}

bool survey_data_check(const struct survey *survey, uint64_t off, const struct format_entry *entry)
{
	return (entry->flags & (FORMAT_FILLER | FORMAT_LOST)) ||
	       format_data_crc(survey_at(survey, off + FORMAT_ENTRY_HEADER_BYTES), entry->size) == entry->data_crc;
}

bool survey_header(const struct survey *survey, const struct survey_region *region, uint64_t off, uint64_t end_off,
		   struct format_entry *entry)
{
	if (off >= end_off || !format_entry_decode(survey_at(survey, off), region->seed, off, end_off - off, entry))
		return false;
	/* The padding belongs to it. */
	return format_entry_space(entry->size, survey->header.alignment) <= end_off - off;
}
