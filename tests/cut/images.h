/*
 * images.h: an iterator over crash images, shared by images.c (takes the words, orders the phases, writes the images)
 * and pick.c (picks the versions of one image).
 */
#ifndef CUT_IMAGES_H
#define CUT_IMAGES_H

#include "cut/internal.h"

enum { LEVELS = 2, SUBSETS_UNITS = 6 };

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
	UNIT_SUBSETS,
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

/* All new or old units of a level, in every combination, when they are few: 2^units; else 0. */
static inline uint64_t level_subsets(const struct images_level *level)
{
	return level->units <= SUBSETS_UNITS ? UINT64_C(1) << level->units : 0;
}

/* Picks a version of each choice, and says in `text` what the image is. */
void images_pick(struct cut_images *images, uint64_t number);
/* Below the limit. */
uint32_t images_random(struct cut_images *images, uint64_t limit);

#endif
