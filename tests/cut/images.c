/*
 * images.c: the possible contents of the medium after a power cut at this moment (order and kinds: cut.h).
 *
 * An image is the durable image plus one version of each undurable word. The iterator owns a copy of both, so it stays
 * valid whatever happens to the cut. Image number i depends on the plan, the seed and i alone.
 */
#include "cut/internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ALL_BELOW = 256, SAMPLES = 64, LEVELS = 2, FLIPS = 3 };

/* A word and its versions in images->versions; its different values are versions too, in images->different. */
struct choice {
	uint32_t index, first, count, first_different, different;
	uint32_t unit[LEVELS];
};

/* One value of one word. */
struct single {
	uint32_t choice, version;
};

enum phase {
	ALL,
	OLDEST,
	NEWEST,
	UNIT_ALONE,
	UNIT_MISSING,
	WORD_ALONE,
	WORD_MISSING,
	MOMENTS,
	SAMPLED,
	PHASES,
};

struct images_level {
	uint32_t units;
	uint32_t *start; /* first word of each unit */
	size_t unit_words;
	const char *name;
};

struct cut_images {
	struct cut_plan plan;
	size_t size;
	char *durable;
	struct choice *choices, *scratch;
	uint32_t choice_count, scratch_count;
	struct version *versions;
	uint32_t *different;
	uint64_t combinations;
	struct images_level levels[LEVELS];
	uint32_t level_count;
	struct single *alone, *missing;
	uint32_t alone_count, missing_count;
	uint64_t *stamps;
	uint32_t stamp_count;
	enum phase phase;
	uint64_t at, phase_count;
	uint32_t *pick; /* for each choice a version, counted from its first */
	uint64_t random;
	char text[160];
};

static uint64_t next_random(struct cut_images *images)
{
	/* splitmix64 (Steele, Lea, Flood, OOPSLA 2014). */
	uint64_t z = images->random += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return z ^ z >> 31;
}

static uint32_t below(struct cut_images *images, uint64_t limit)
{
	return (uint32_t)(next_random(images) % limit);
}

static int by_index(const void *left, const void *right)
{
	const struct word *a = *(struct word *const *)left, *b = *(struct word *const *)right;

	return a->index < b->index ? -1 : a->index > b->index;
}

static uint32_t count_different(const struct version *versions, uint32_t count, uint32_t *different)
{
	uint32_t found = 0;

	for (uint32_t v = 0; v < count; v++) {
		uint32_t seen = 0;
		while (seen < found && versions[different[seen]].value != versions[v].value)
			seen++;
		if (seen == found)
			different[found++] = v;
	}
	return found;
}

static uint64_t multiply_saturated(uint64_t a, uint64_t b)
{
	uint64_t product;

	return __builtin_mul_overflow(a, b, &product) ? UINT64_MAX : product;
}

static void count_undurable(struct cut *cut, uint64_t *words, uint64_t *combinations)
{
	uint32_t different[VERSIONS_MAX];

	*words = 0;
	*combinations = 1;
	cut_lock(cut);
	model_absorb_direct(cut);
	for (uint32_t i = 0; i < cut->undurable_count; i++) {
		struct word *word = &cut->undurable[i];
		uint32_t found = count_different(word_versions(word), word->count, different);
		if (found < 2 || ranges_hold(&cut->scratch, (size_t)word->index * CUT_WORD_BYTES))
			continue;
		++*words;
		*combinations = multiply_saturated(*combinations, found);
	}
	cut_unlock(cut);
}

uint64_t cut_undurable_words(struct cut *cut)
{
	uint64_t words, combinations;

	count_undurable(cut, &words, &combinations);
	return words;
}

uint64_t cut_combinations(struct cut *cut)
{
	uint64_t words, combinations;

	count_undurable(cut, &words, &combinations);
	return combinations;
}

/* Takes the words out of the cut, in the order of their places. */
static void take_words(struct cut_images *images, struct cut *cut)
{
	uint32_t count = cut->undurable_count, version_count = 0, different_count = 0;
	struct word **sorted = cut_allocate(NULL, (count + 1) * sizeof(struct word *));

	for (uint32_t i = 0; i < count; i++) {
		sorted[i] = &cut->undurable[i];
		version_count += cut->undurable[i].count;
	}
	qsort(sorted, count, sizeof(struct word *), by_index);
	images->choices = cut_allocate(NULL, (count + 1) * sizeof(*images->choices));
	images->scratch = cut_allocate(NULL, (count + 1) * sizeof(*images->scratch));
	images->pick = cut_allocate(NULL, (count + 1) * sizeof(*images->pick));
	images->versions = cut_allocate(NULL, (version_count + 1) * sizeof(*images->versions));
	images->different = cut_allocate(NULL, (version_count + 1) * sizeof(*images->different));
	images->combinations = 1;
	version_count = 0;
	for (uint32_t i = 0; i < count; i++) {
		struct choice choice = {.index = sorted[i]->index,
					.first = version_count,
					.count = sorted[i]->count,
					.first_different = different_count};
		struct version *versions = images->versions + choice.first;
		memcpy(versions, word_versions(sorted[i]), choice.count * sizeof(*versions));
		choice.different = count_different(versions, choice.count, images->different + different_count);
		if (choice.different < 2)
			continue;
		version_count += choice.count;
		different_count += choice.different;
		if (ranges_hold(&cut->scratch, (size_t)choice.index * CUT_WORD_BYTES)) {
			images->scratch[images->scratch_count++] = choice;
			continue;
		}
		images->choices[images->choice_count++] = choice;
		images->combinations = multiply_saturated(images->combinations, choice.different);
	}
	free(sorted);
}

static void find_units(struct cut_images *images, uint32_t level, size_t unit_bytes, const char *name)
{
	struct images_level *of = &images->levels[level];

	of->start = cut_allocate(NULL, (images->choice_count + 1) * sizeof(*of->start));
	of->unit_words = unit_bytes / CUT_WORD_BYTES;
	of->name = name;
	of->units = 0;
	for (uint32_t i = 0; i < images->choice_count; i++) {
		struct choice *choice = &images->choices[i];
		if (!i || choice->index / of->unit_words != choice[-1].index / of->unit_words)
			of->start[of->units++] = i;
		choice->unit[level] = of->units - 1;
	}
	images->level_count = level + 1;
}

static void find_singles(struct cut_images *images)
{
	uint32_t total = 0;

	for (uint32_t i = 0; i < images->choice_count; i++)
		total += images->choices[i].different;
	images->alone = cut_allocate(NULL, (total + 1) * sizeof(*images->alone));
	images->missing = cut_allocate(NULL, (total + 1) * sizeof(*images->missing));
	for (uint32_t i = 0; i < images->choice_count; i++) {
		const struct choice *choice = &images->choices[i];
		const struct version *versions = images->versions + choice->first;
		uint64_t oldest = versions[0].value, newest = versions[choice->count - 1].value;
		for (uint32_t d = 0; d < choice->different; d++) {
			uint32_t version = images->different[choice->first_different + d];
			struct single single = {.choice = i, .version = version};
			if (versions[version].value != oldest)
				images->alone[images->alone_count++] = single;
			if (versions[version].value != newest)
				images->missing[images->missing_count++] = single;
		}
	}
}

static int by_value(const void *left, const void *right)
{
	uint64_t a = *(const uint64_t *)left, b = *(const uint64_t *)right;

	return a < b ? -1 : a > b;
}

static void find_stamps(struct cut_images *images)
{
	uint32_t total = 0, kept = 0;

	for (uint32_t i = 0; i < images->choice_count; i++)
		total += images->choices[i].count - 1;
	images->stamps = cut_allocate(NULL, (total + 1) * sizeof(*images->stamps));
	for (uint32_t i = 0; i < images->choice_count; i++)
		for (uint32_t v = 1; v < images->choices[i].count; v++)
			images->stamps[images->stamp_count++] = images->versions[images->choices[i].first + v].stamp;
	qsort(images->stamps, images->stamp_count, sizeof(*images->stamps), by_value);
	for (uint32_t i = 0; i < images->stamp_count; i++)
		if (!kept || images->stamps[i] != images->stamps[kept - 1])
			images->stamps[kept++] = images->stamps[i];
	images->stamp_count = kept;
}

uint64_t plan_seed(const struct cut_plan *plan)
{
	const char *text = getenv("CUT_SEED");

	if (text)
		return strtoull(text, NULL, 0);
	return plan && plan->seed ? plan->seed : 1;
}

static uint64_t phase_size(const struct cut_images *images, enum phase phase)
{
	const struct cut_plan *plan = &images->plan;
	uint64_t units = 0;

	for (uint32_t level = 0; level < images->level_count; level++)
		units += images->levels[level].units;
	switch (phase) {
	case ALL:
		return images->combinations <= plan->all_below ? images->combinations : 0;
	case OLDEST:
	case NEWEST:
		return 1;
	case UNIT_ALONE:
	case UNIT_MISSING:
		return units;
	case WORD_ALONE:
		return plan->single_max && images->alone_count > plan->single_max ? plan->single_max
										  : images->alone_count;
	case WORD_MISSING:
		return plan->single_max && images->missing_count > plan->single_max ? plan->single_max
										    : images->missing_count;
	case MOMENTS:
		return images->stamp_count > plan->samples ? plan->samples : images->stamp_count;
	case SAMPLED:
		return plan->samples;
	default:
		return 0;
	}
}

struct cut_images *images_begin(struct cut *cut, const struct cut_plan *plan, uint64_t seed)
{
	struct cut_images *images = cut_allocate(NULL, sizeof(*images));

	memset(images, 0, sizeof(*images));
	if (plan)
		images->plan = *plan;
	images->plan.seed = seed;
	images->plan.all_below = images->plan.all_below ? images->plan.all_below : ALL_BELOW;
	images->plan.samples = images->plan.samples ? images->plan.samples : SAMPLES;
	images->random = images->plan.seed;
	images->size = cut->medium.size;

	cut_lock(cut);
	model_absorb_direct(cut);
	images->durable = cut_allocate(NULL, images->size);
	memcpy(images->durable, cut->durable, images->size);
	take_words(images, cut);
	bool page = cut->medium.granularity == MEDIUM_PAGE;
	cut_unlock(cut);

	images->phase_count = phase_size(images, ALL);
	if (images->phase_count)
		return images;
	find_units(images, 0, page ? CUT_SECTOR_BYTES : MEDIUM_LINE_BYTES, page ? "sector" : "line");
	if (page)
		find_units(images, 1, MEDIUM_PAGE_BYTES, "page");
	find_singles(images);
	find_stamps(images);
	return images;
}

struct cut_images *cut_images_begin(struct cut *cut, const struct cut_plan *plan)
{
	return images_begin(cut, plan, plan_seed(plan));
}

void cut_images_end(struct cut_images *images)
{
	if (!images)
		return;
	for (uint32_t level = 0; level < LEVELS; level++)
		free(images->levels[level].start);
	free(images->durable);
	free(images->choices);
	free(images->scratch);
	free(images->pick);
	free(images->versions);
	free(images->different);
	free(images->alone);
	free(images->missing);
	free(images->stamps);
	free(images);
}

static void pick_all(struct cut_images *images, bool newest)
{
	for (uint32_t i = 0; i < images->choice_count; i++)
		images->pick[i] = newest ? images->choices[i].count - 1 : 0;
}

static void pick_combination(struct cut_images *images, uint64_t number)
{
	snprintf(images->text, sizeof(images->text), "combination %" PRIu64 " of %" PRIu64, number + 1,
		 images->combinations);
	for (uint32_t i = 0; i < images->choice_count; i++) {
		const struct choice *choice = &images->choices[i];
		images->pick[i] = images->different[choice->first_different + number % choice->different];
		number /= choice->different;
	}
}

static void pick_unit(struct cut_images *images, uint64_t number, bool missing)
{
	uint32_t level = 0;

	while (number >= images->levels[level].units)
		number -= images->levels[level++].units;
	const struct images_level *of = &images->levels[level];
	uint32_t start = of->start[number];
	uint32_t end = number + 1 < of->units ? of->start[number + 1] : images->choice_count;
	pick_all(images, missing);
	for (uint32_t i = start; i < end; i++)
		images->pick[i] = missing ? 0 : images->choices[i].count - 1;
	snprintf(images->text, sizeof(images->text), "%s the %s at offset %zu", missing ? "all but" : "only", of->name,
		 images->choices[start].index / of->unit_words * of->unit_words * CUT_WORD_BYTES);
}

static void pick_single(struct cut_images *images, uint64_t number, bool missing)
{
	uint32_t count = missing ? images->missing_count : images->alone_count;

	if (images->plan.single_max && count > images->plan.single_max)
		number = below(images, count);
	struct single single = missing ? images->missing[number] : images->alone[number];
	const struct choice *choice = &images->choices[single.choice];
	pick_all(images, missing);
	images->pick[single.choice] = single.version;
	snprintf(images->text, sizeof(images->text),
		 "all %s but the word at offset %zu: its value %" PRIu32 " of %" PRIu32, missing ? "new" : "old",
		 (size_t)choice->index * CUT_WORD_BYTES, single.version + 1, choice->count);
}

static uint32_t version_at(const struct cut_images *images, const struct choice *choice, uint64_t stamp)
{
	uint32_t version = choice->count - 1;

	while (version && images->versions[choice->first + version].stamp > stamp)
		version--;
	return version;
}

static void pick_moment(struct cut_images *images, uint64_t stamp)
{
	for (uint32_t i = 0; i < images->choice_count; i++)
		images->pick[i] = version_at(images, &images->choices[i], stamp);
	snprintf(images->text, sizeof(images->text), "as of store %" PRIu64, stamp);
}

static void sample_words(struct cut_images *images)
{
	for (uint32_t i = 0; i < images->choice_count; i++)
		images->pick[i] = below(images, images->choices[i].count);
}

/* Mostly old or mostly new: a few words decide most failures. */
static void sample_mostly(struct cut_images *images, bool newest)
{
	uint32_t one_in = 2 + below(images, 14);

	pick_all(images, newest);
	for (uint32_t i = 0; i < images->choice_count; i++)
		if (!below(images, one_in))
			images->pick[i] = below(images, images->choices[i].count);
}

/* Each unit as it was at some moment of its own. */
static void sample_units(struct cut_images *images, uint32_t level)
{
	uint64_t stamp = 0;
	uint32_t unit = UINT32_MAX;

	for (uint32_t i = 0; i < images->choice_count; i++) {
		const struct choice *choice = &images->choices[i];
		if (choice->unit[level] != unit) {
			uint32_t moment = below(images, images->stamp_count + 1);
			stamp = moment ? images->stamps[moment - 1] : 0;
			unit = choice->unit[level];
		}
		images->pick[i] = version_at(images, choice, stamp);
	}
}

static void sample_around_moment(struct cut_images *images)
{
	pick_moment(images, images->stamps[below(images, images->stamp_count)]);
	for (uint32_t flips = 1 + below(images, FLIPS); flips--;) {
		uint32_t i = below(images, images->choice_count);
		images->pick[i] = below(images, images->choices[i].count);
	}
}

static void pick_sample(struct cut_images *images, uint64_t number)
{
	uint32_t level = (uint32_t)(number / 5 % images->level_count);
	const char *how = "by words";

	switch (number % 5) {
	case 0:
		sample_words(images);
		break;
	case 1:
		how = images->levels[level].name;
		sample_units(images, level);
		break;
	case 2:
		how = "around a moment";
		sample_around_moment(images);
		break;
	case 3:
		how = "mostly new";
		sample_mostly(images, true);
		break;
	default:
		how = "mostly old";
		sample_mostly(images, false);
		break;
	}
	snprintf(images->text, sizeof(images->text), "sample %" PRIu64 " (%s)", number + 1, how);
}

static void pick(struct cut_images *images, uint64_t number)
{
	switch (images->phase) {
	case ALL:
		pick_combination(images, number);
		break;
	case OLDEST:
	case NEWEST:
		pick_all(images, images->phase == NEWEST);
		snprintf(images->text, sizeof(images->text),
			 images->phase == NEWEST ? "everything that was stored" : "nothing more than durable");
		break;
	case UNIT_ALONE:
	case UNIT_MISSING:
		pick_unit(images, number, images->phase == UNIT_MISSING);
		break;
	case WORD_ALONE:
	case WORD_MISSING:
		pick_single(images, number, images->phase == WORD_MISSING);
		break;
	case MOMENTS:
		if (images->stamp_count > images->plan.samples)
			number = below(images, images->stamp_count);
		pick_moment(images, images->stamps[number]);
		break;
	default:
		pick_sample(images, number);
		break;
	}
}

bool cut_images_next(struct cut_images *images, void *image)
{
	char *out = image;

	while (images->at == images->phase_count) {
		if (images->phase == PHASES || (images->phase == ALL && images->phase_count))
			return false;
		images->phase++;
		images->at = 0;
		images->phase_count = phase_size(images, images->phase);
	}
	pick(images, images->at++);
	memcpy(out, images->durable, images->size);
	for (uint32_t i = 0; i < images->choice_count; i++) {
		const struct choice *choice = &images->choices[i];
		memcpy(out + (size_t)choice->index * CUT_WORD_BYTES,
		       &images->versions[choice->first + images->pick[i]].value, CUT_WORD_BYTES);
	}
	for (uint32_t i = 0; i < images->scratch_count; i++) {
		const struct choice *choice = &images->scratch[i];
		memcpy(out + (size_t)choice->index * CUT_WORD_BYTES,
		       &images->versions[choice->first + below(images, choice->count)].value, CUT_WORD_BYTES);
	}
	return true;
}

const char *cut_images_text(struct cut_images *images)
{
	return images->text;
}
