/*
 * test_power.c: a power cut by chance gives every possible image, and no other.
 */
#include "cut/cut.h"

// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
// clang-format on

enum { SEEDS = 4000, WORDS = 3, VALUES = 3 };

static uint64_t *words(struct cut *cut)
{
	return (uint64_t *)cut_medium(cut)->base;
}

/* Word i holds 1, durable, then 2 and 3, which are not; word 16 holds 7, durable. */
static void prepare(struct cut *cut)
{
	struct medium *medium = cut_medium(cut);
	static const char zeros[MEDIUM_PAGE_BYTES];

	cut_restart(cut, zeros);
	for (unsigned value = 1; value <= VALUES; value++) {
		for (unsigned i = 0; i < WORDS; i++)
			medium_store8(medium, words(cut) + i, value);
		if (value > 1)
			continue;
		medium_store8(medium, words(cut) + 16, 7);
		assert_int_equal(medium_persist(medium, words(cut), 256), 0);
	}
	assert_int_equal(cut_undurable_words(cut), WORDS);
}

static void every_possible_image_comes_and_no_other(void **state)
{
	enum medium_granularity granularity = (enum medium_granularity)(uintptr_t)*state;
	struct cut *cut = cut_new(MEDIUM_PAGE_BYTES, granularity);
	bool seen[VALUES * VALUES * VALUES] = {false};

	for (uint64_t seed = 1; seed <= SEEDS; seed++) {
		unsigned image = 0;
		prepare(cut);
		cut_power(cut, seed);
		for (unsigned i = 0; i < WORDS; i++) {
			assert_in_range(words(cut)[i], 1, VALUES);
			image = image * VALUES + (unsigned)words(cut)[i] - 1;
		}
		seen[image] = true;
		assert_int_equal(words(cut)[16], 7);
		assert_int_equal(words(cut)[17], 0);
		assert_int_equal(cut_undurable_words(cut), 0);
		assert_memory_equal(cut_durable(cut), words(cut), MEDIUM_PAGE_BYTES);
		assert_false(cut_page_is_dirty(cut, words(cut)));
		assert_int_equal(cut_verify_no_bypass(cut), 0);
	}
	for (unsigned image = 0; image < sizeof(seen); image++)
		assert_true(seen[image]);
	cut_delete(cut);
}

static void a_seed_gives_its_image_again(void **state)
{
	struct cut *cut = cut_new(MEDIUM_PAGE_BYTES, MEDIUM_CACHE_LINE);

	(void)state;
	for (uint64_t seed = 1; seed <= 100; seed++) {
		uint64_t first[WORDS];
		prepare(cut);
		cut_power(cut, seed);
		for (unsigned i = 0; i < WORDS; i++)
			first[i] = words(cut)[i];
		prepare(cut);
		cut_power(cut, seed);
		assert_memory_equal(first, words(cut), sizeof(first));
	}
	cut_delete(cut);
}

static void a_direct_range_of_no_bytes_is_no_range(void **state)
{
	struct cut *cut = cut_new(MEDIUM_PAGE_BYTES, MEDIUM_PAGE);

	(void)state;
	cut_allow_direct(cut, words(cut) + 8, 0);
	assert_int_equal(cut_verify_no_bypass(cut), 0);
	cut_delete(cut);
}

#define ON(test, granularity)                                                                                          \
	{                                                                                                              \
#test " (" #granularity ")", test, NULL, NULL, (void *)(uintptr_t)(granularity)                        \
	}

int main(void)
{
	const struct CMUnitTest tests[] = {
		ON(every_possible_image_comes_and_no_other, MEDIUM_BYTE),
		ON(every_possible_image_comes_and_no_other, MEDIUM_CACHE_LINE),
		ON(every_possible_image_comes_and_no_other, MEDIUM_PAGE),
		cmocka_unit_test(a_seed_gives_its_image_again),
		cmocka_unit_test(a_direct_range_of_no_bytes_is_no_range),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
