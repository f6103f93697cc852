/*
 * images.c: the possible contents of the medium after a power cut at this moment (order and kinds: cut.h).
 *
 * An image is the durable image plus one version of each undurable word. The iterator owns a copy of both, so it stays
 * valid whatever happens to the cut. Image number i depends on the plan, the seed and i alone.
 */
#include "cut/images.h"

#include <stdlib.h>
#include <string.h>

enum { ALL_BELOW = 256, SAMPLES = 64 };

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
	uint64_t units = 0, subsets = 0;

	for (uint32_t level = 0; level < images->level_count; level++) {
		units += images->levels[level].units;
		subsets += level_subsets(&images->levels[level]);
	}
	switch (phase) {
	case ALL:
		return images->combinations <= plan->all_below ? images->combinations : 0;
	case OLDEST:
	case NEWEST:
		return 1;
	case UNIT_ALONE:
	case UNIT_MISSING:
		return units;
	case UNIT_SUBSETS:
		return subsets;
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
	images_pick(images, images->at++);
	memcpy(out, images->durable, images->size);
	for (uint32_t i = 0; i < images->choice_count; i++) {
		const struct choice *choice = &images->choices[i];
		memcpy(out + (size_t)choice->index * CUT_WORD_BYTES,
		       &images->versions[choice->first + images->pick[i]].value, CUT_WORD_BYTES);
	}
	for (uint32_t i = 0; i < images->scratch_count; i++) {
		const struct choice *choice = &images->scratch[i];
		memcpy(out + (size_t)choice->index * CUT_WORD_BYTES,
		       &images->versions[choice->first + images_random(images, choice->count)].value, CUT_WORD_BYTES);
	}
	return true;
}

const char *cut_images_text(struct cut_images *images)
{
	return images->text;
}
