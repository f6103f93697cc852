/*
 * survey_extents.c: the tiling of the arena, also over words that do not check.
 *
 * Proof     each change of the arena allocates one region or frees one, so there are
 *           2 x (next generation - 1) - applied number regions. A tiling that is completed over a bad word, by the
 *           region header that stands at its place or by the next word behind it from which the rest tiles, is believed
 *           only if it has that many regions, and no other completion has. The region header alone proves nothing: that
 *           of a freed region stays where it was.
 * In reverse the number of regions of a complete tiling gives a number of the allocator that does not check.
 */
#include "stream/survey.h"

#include "base/error.h"

enum { WORDS_TIMES = 16, WORDS_LEAST = 1 << 20 };

struct tiling {
	uint64_t end_off; /* where it stopped: the end of the arena, or a word that does not check */
	uint64_t regions;
	uint64_t mark; /* tells apart tilings with other regions */
};

static uint64_t arena_end(const struct survey *survey)
{
	return format_arena_end(survey->header.size, survey->header.block_size);
}

/* The word at a place, as it is or as the record will make it. */
static bool read_word(const struct survey *survey, uint64_t off, bool with_record, uint64_t *value)
{
	uint64_t word = le64_load(survey_at(survey, off));

	for (uint32_t i = 0; with_record && i < survey->record.count; i++)
		if (survey->record.words[i].off == off)
			word = survey->record.words[i].word;
	return format_checked_decode(word, survey->header.salt, off, value);
}

static bool read_extent(const struct survey *survey, uint64_t off, bool with_record, struct survey_extent *extent)
{
	uint64_t value;

	if (!read_word(survey, off, with_record, &value))
		return false;
	uint64_t blocks = value & ~FORMAT_EXTENT_USED;
	if (!blocks || blocks > (arena_end(survey) - off) / survey->header.block_size)
		return false;
	*extent = (struct survey_extent){
		.off = off,
		.bytes = blocks * survey->header.block_size,
		.is_region = value & FORMAT_EXTENT_USED,
	};
	return true;
}

static void count(struct tiling *tiling, const struct survey_extent *extent)
{
	if (extent->is_region) {
		tiling->regions++;
		tiling->mark = (tiling->mark ^ extent->off) * UINT64_C(0x100000001b3);
	}
	tiling->end_off = extent->off + extent->bytes;
}

/* Completing a tiling tries the rest of the arena from each place. Where the words that nobody wrote there check too,
 * that is the square of them: after so many reads nothing is proven. */
static bool may_read_on(const struct survey *survey)
{
	uint64_t blocks = (arena_end(survey) - format_arena_off(survey->header.block_size)) / survey->header.block_size;

	return survey->words <= blocks * WORDS_TIMES + WORDS_LEAST;
}

static struct tiling tile(struct survey *survey, uint64_t off, bool with_record)
{
	struct tiling tiling = {.end_off = off};
	struct survey_extent extent;

	while (tiling.end_off < arena_end(survey) && may_read_on(survey) &&
	       read_extent(survey, tiling.end_off, with_record, &extent)) {
		count(&tiling, &extent);
		survey->words++;
	}
	return tiling;
}

/* How many regions there are, by the allocator's numbers. */
static bool regions_promised(const struct survey *survey, bool with_record, uint64_t *regions)
{
	uint64_t applied = survey->applied, next = survey->next_generation;

	if (!survey->applied_known)
		return false;
	bool known = survey->next_generation_known;
	for (uint32_t i = 0; with_record && i < survey->record.count; i++)
		if (survey->record.words[i].off == FORMAT_NEXT_GENERATION_OFF) {
			next = survey->record.words[i].word & FORMAT_CHECKED_MAX;
			known = true;
		}
	applied += with_record;
	if (!known || next < 1 || 2 * (next - 1) < applied || applied < next - 1)
		return false;
	*regions = 2 * (next - 1) - applied;
	return true;
}

/*
 * The newest stream slot may be the one that does not check: then the record's epoch tells nothing. It counts if only
 * with its words the arena is in order.
 */
static int judge_record(struct survey *survey)
{
	struct pmemstream_problem problem = {
		.kind = PMEMSTREAM_PROBLEM_ALLOCATOR,
		.severity = PMEMSTREAM_DAMAGE,
		.repairable = 1,
		.offset = FORMAT_RECORD_OFF,
		.bytes = FORMAT_RECORD_BYTES,
		.region = SURVEY_NOWHERE,
		.consequence =
			"it has to be carried out, but the checkpoint that says so is the one that does not check",
	};
	uint64_t regions;

	if (survey->pending || !survey->record_valid || !survey->applied_known ||
	    survey->record.number != survey->applied + 1 || (survey->slot_valid[0] && survey->slot_valid[1]) ||
	    !survey->slot_known || survey->record.epoch < survey->slots[survey->current].epoch)
		return 0;
	struct tiling without = tile(survey, format_arena_off(survey->header.block_size), false);
	if (without.end_off == arena_end(survey) && regions_promised(survey, false, &regions) &&
	    without.regions == regions)
		return 0;
	struct tiling with = tile(survey, format_arena_off(survey->header.block_size), true);
	survey->pending = with.end_off == arena_end(survey) && regions_promised(survey, true, &regions) &&
			  with.regions == regions;
	return survey->pending ? survey_report(survey, problem, "an allocation was begun and not finished") : 0;
}

struct completion {
	unsigned found, region_marks; /* completions that fit; of them, with other regions than the first */
	struct survey_extent extent;
	uint64_t mark;
};

static void consider(struct survey *survey, struct completion *completion, uint64_t regions_before, uint64_t promised,
		     const struct survey_extent *extent)
{
	struct tiling rest = tile(survey, extent->off + extent->bytes, survey->pending);

	if (rest.end_off != arena_end(survey) || regions_before + extent->is_region + rest.regions != promised)
		return;
	uint64_t mark = rest.mark + extent->is_region;
	if (!completion->found++) {
		completion->extent = *extent;
		completion->mark = mark;
	} else if (mark != completion->mark) {
		completion->region_marks++;
	}
}

/* What stands at a place whose word does not check, if that can be proven. */
static bool complete(struct survey *survey, uint64_t off, uint64_t regions_before, struct survey_extent *extent)
{
	struct completion completion = {0};
	struct format_region fields;
	uint64_t promised, block_size = survey->header.block_size, end_off = arena_end(survey);

	if (!regions_promised(survey, survey->pending, &promised))
		return false;
	if (end_off - off >= FORMAT_REGION_HEADER_BYTES &&
	    format_region_decode(survey_at(survey, off), survey->header.salt, off, &fields) && fields.extent_bytes &&
	    fields.extent_bytes <= end_off - off && fields.extent_bytes % block_size == 0) {
		struct survey_extent region = {.off = off, .bytes = fields.extent_bytes, .is_region = true};
		consider(survey, &completion, regions_before, promised, &region);
	}
	for (uint64_t next = off + block_size; next <= end_off; next += block_size) {
		struct survey_extent first, space = {.off = off, .bytes = next - off};
		if (next == end_off || read_extent(survey, next, survey->pending, &first))
			consider(survey, &completion, regions_before, promised, &space);
	}
	*extent = completion.extent;
	extent->rebuilt = true;
	return completion.found && !completion.region_marks && may_read_on(survey);
}

/* The next place from which the rest of the arena tiles; its end if there is none. */
static uint64_t resume(struct survey *survey, uint64_t off)
{
	uint64_t end_off = arena_end(survey);

	for (off += survey->header.block_size; off < end_off && may_read_on(survey); off += survey->header.block_size) {
		struct survey_extent extent;
		if (read_extent(survey, off, survey->pending, &extent) &&
		    tile(survey, off, survey->pending).end_off == end_off)
			return off;
	}
	return end_off;
}

/* A region that may stand at a place, for a check to go on with: nothing is repaired then. */
static bool guess(const struct survey *survey, uint64_t off, struct survey_extent *extent)
{
	struct format_region fields;
	uint64_t bytes = arena_end(survey) - off;

	if (bytes < FORMAT_REGION_HEADER_BYTES ||
	    !format_region_decode(survey_at(survey, off), survey->header.salt, off, &fields) || !fields.extent_bytes ||
	    fields.extent_bytes > bytes || fields.extent_bytes % survey->header.block_size)
		return false;
	*extent = (struct survey_extent){.off = off, .bytes = fields.extent_bytes, .is_region = true};
	return true;
}

static int report_word(struct survey *survey, uint64_t off, bool proven, bool is_region)
{
	struct pmemstream_problem problem = {
		.kind = PMEMSTREAM_PROBLEM_EXTENT,
		.severity = PMEMSTREAM_DAMAGE,
		.repairable = proven,
		.offset = off,
		.bytes = sizeof(uint64_t),
		.region = is_region ? off : SURVEY_NOWHERE,
		.consequence = !proven     ? "what is stored here cannot be known for sure"
			       : is_region ? "the region's own header tells its length"
					   : "the extents around it tell that it is free, and how long it is",
	};

	return survey_report(survey, problem, "the extent at %zu does not check", (size_t)off);
}

static int add_extent(struct survey *survey, const struct survey_extent *extent)
{
	if (survey_grow((void **)&survey->extents, survey->extent_count, &survey->extent_room, sizeof(*extent)))
		return -1;
	survey->extents[survey->extent_count++] = *extent;
	return 0;
}

static int walk(struct survey *survey)
{
	uint64_t end_off = arena_end(survey);
	struct tiling tiling = {.end_off = format_arena_off(survey->header.block_size)};

	survey->tiled = true;
	while (tiling.end_off < end_off) {
		struct survey_extent extent;
		uint64_t off = tiling.end_off;
		if (!read_extent(survey, off, survey->pending, &extent)) {
			bool proven = survey->tiled && complete(survey, off, tiling.regions, &extent);
			if (report_word(survey, off, proven, proven && extent.is_region))
				return -1;
			survey->tiled = survey->tiled && proven;
			if (!proven && !guess(survey, off, &extent)) {
				tiling.end_off = resume(survey, off);
				continue;
			}
		}
		if (add_extent(survey, &extent))
			return -1;
		count(&tiling, &extent);
	}
	survey->region_count_live = tiling.regions;
	return 0;
}

static int report_number(struct survey *survey, uint64_t off, bool known, const char *name)
{
	struct pmemstream_problem problem = {
		.kind = PMEMSTREAM_PROBLEM_ALLOCATOR,
		.severity = PMEMSTREAM_DAMAGE,
		.repairable = known,
		.offset = off,
		.bytes = sizeof(uint64_t),
		.region = SURVEY_NOWHERE,
		.consequence = known ? "it follows from the other number and the regions that are there"
				     : "whether an allocation was finished cannot be known",
	};

	return survey_report(survey, problem, "the allocator's %s does not check", name);
}

/* The applied number from the next generation and the regions; the record's number has to agree. */
static void rebuild_applied(struct survey *survey)
{
	uint64_t regions = survey->region_count_live, next = survey->next_generation;

	if (!survey->tiled || !survey->next_generation_known || next < 1 || 2 * (next - 1) < regions)
		return;
	uint64_t applied = 2 * (next - 1) - regions;
	bool agrees = !survey->record_valid || survey->record.number == applied ||
		      (survey->record.number == applied + 1 && survey->slot_known && survey->slot_valid[0] &&
		       survey->slot_valid[1] && survey->record.epoch == survey->slots[survey->current].epoch);
	if (regions > next - 1 || !agrees)
		return;
	survey->applied = applied;
	survey->applied_known = survey->applied_rebuilt = true;
	survey->pending = survey->record_valid && survey->record.number == applied + 1;
}

static void rebuild_next_generation(struct survey *survey)
{
	uint64_t regions = survey->region_count_live;

	if (!survey->tiled || !survey->applied_known || (regions + survey->applied) % 2 || regions > survey->applied)
		return;
	survey->next_generation = (regions + survey->applied) / 2 + 1;
	survey->next_generation_known = survey->next_generation_rebuilt = true;
}

/* The next generation that the record brings, where it counts. */
static void take_from_record(struct survey *survey)
{
	for (uint32_t i = 0; survey->pending && i < survey->record.count; i++)
		if (survey->record.words[i].off == FORMAT_NEXT_GENERATION_OFF) {
			survey->next_generation = survey->record.words[i].word & FORMAT_CHECKED_MAX;
			survey->next_generation_known = true;
		}
}

/* A word that the record would put where no extent begins, be it into somebody's entries. */
static int check_record(struct survey *survey)
{
	struct pmemstream_problem problem = {
		.kind = PMEMSTREAM_PROBLEM_ALLOCATOR,
		.severity = PMEMSTREAM_DAMAGE,
		.offset = FORMAT_RECORD_OFF,
		.bytes = FORMAT_RECORD_BYTES,
		.region = SURVEY_NOWHERE,
		.consequence = "an allocation that was begun can be neither finished nor taken back",
	};

	for (uint32_t i = 0; survey->pending && survey->tiled && i < survey->record.count; i++) {
		uint64_t off = survey->record.words[i].off;
		bool begins = off == FORMAT_NEXT_GENERATION_OFF;
		for (size_t e = 0; e < survey->extent_count && !begins; e++)
			begins = survey->extents[e].off == off;
		if (!begins)
			return survey_report(survey, problem,
					     "the allocator's record has a word for %zu, where no extent begins",
					     (size_t)off);
	}
	return 0;
}

int survey_extents(struct survey *survey)
{
	if (judge_record(survey) || walk(survey))
		return -1;
	if (!survey->applied_known) {
		rebuild_applied(survey);
		if (report_number(survey, FORMAT_APPLIED_OFF, survey->applied_known, "applied number"))
			return -1;
		if (survey->pending) {
			/* The record counts after all: what was read without it is read again. */
			survey->extent_count = 0;
			if (walk(survey))
				return -1;
		}
	}
	take_from_record(survey);
	if (check_record(survey))
		return -1;
	if (!survey->next_generation_known) {
		rebuild_next_generation(survey);
		return report_number(survey, FORMAT_NEXT_GENERATION_OFF, survey->next_generation_known,
				     "next generation");
	}
	return 0;
}
