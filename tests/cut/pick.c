/*
 * pick.c: which version of each word goes into image number so and so of a phase (images.h).
 */
#include "cut/images.h"

#include <inttypes.h>
#include <stdio.h>

enum { FLIPS = 3 };

static uint64_t next_random(struct cut_images *images)
{
	/* splitmix64 (Steele, Lea, Flood, OOPSLA 2014). */
	uint64_t z = images->random += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return z ^ z >> 31;
}

uint32_t images_random(struct cut_images *images, uint64_t limit)
{
	return (uint32_t)(next_random(images) % limit);
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

static void pick_subset(struct cut_images *images, uint64_t number)
{
	uint32_t level = 0;

	while (number >= level_subsets(&images->levels[level]))
		number -= level_subsets(&images->levels[level++]);
	for (uint32_t i = 0; i < images->choice_count; i++) {
		const struct choice *choice = &images->choices[i];
		images->pick[i] = number >> choice->unit[level] & 1 ? choice->count - 1 : 0;
	}
	snprintf(images->text, sizeof(images->text), "the %ss of set 0x%" PRIx64, images->levels[level].name, number);
}

static void pick_single(struct cut_images *images, uint64_t number, bool missing)
{
	uint32_t count = missing ? images->missing_count : images->alone_count;

	if (images->plan.single_max && count > images->plan.single_max)
		number = images_random(images, count);
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
		images->pick[i] = images_random(images, images->choices[i].count);
}

/* Mostly old or mostly new: a few words decide most failures. */
static void sample_mostly(struct cut_images *images, bool newest)
{
	uint32_t one_in = 2 + images_random(images, 14);

	pick_all(images, newest);
	for (uint32_t i = 0; i < images->choice_count; i++)
		if (!images_random(images, one_in))
			images->pick[i] = images_random(images, images->choices[i].count);
}

/* Each unit as it was at some moment of its own. */
static void sample_units(struct cut_images *images, uint32_t level)
{
	uint64_t stamp = 0;
	uint32_t unit = UINT32_MAX;

	for (uint32_t i = 0; i < images->choice_count; i++) {
		const struct choice *choice = &images->choices[i];
		if (choice->unit[level] != unit) {
			uint32_t moment = images_random(images, images->stamp_count + 1);
			stamp = moment ? images->stamps[moment - 1] : 0;
			unit = choice->unit[level];
		}
		images->pick[i] = version_at(images, choice, stamp);
	}
}

static void sample_around_moment(struct cut_images *images)
{
	pick_moment(images, images->stamps[images_random(images, images->stamp_count)]);
	for (uint32_t flips = 1 + images_random(images, FLIPS); flips--;) {
		uint32_t i = images_random(images, images->choice_count);
		images->pick[i] = images_random(images, images->choices[i].count);
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

void images_pick(struct cut_images *images, uint64_t number)
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
	case UNIT_SUBSETS:
		pick_subset(images, number);
		break;
	case WORD_ALONE:
	case WORD_MISSING:
		pick_single(images, number, images->phase == WORD_MISSING);
		break;
	case MOMENTS:
		if (images->stamp_count > images->plan.samples)
			number = images_random(images, images->stamp_count);
		pick_moment(images, images->stamps[number]);
		break;
	default:
		pick_sample(images, number);
		break;
	}
}
