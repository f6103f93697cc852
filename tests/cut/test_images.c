/*
 * test_images.c: which crash images there are, in what order, and the hooks and watches that ask for them.
 */
#include "base/crc32c.h"
#include "base/error.h"
#include "cut/cut.h"
#include "cut/faults.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { BYTES = 4 * MEDIUM_PAGE_BYTES, WORDS = BYTES / 8, STRIDE = WORDS + 1 };

static uint64_t *word(struct cut *cut, size_t index)
{
	return (uint64_t *)cut_medium(cut)->base + index;
}

static void store(struct cut *cut, size_t index, uint64_t value)
{
	medium_store8(cut_medium(cut), word(cut, index), value);
}

/* All images of the moment, each followed by its checksum: comparing all bytes is slow under the sanitizers. */
static size_t take_all(struct cut *cut, const struct cut_plan *plan, uint64_t **images)
{
	struct cut_images *iterator = cut_images_begin(cut, plan);
	size_t count = 0, room = 0;

	*images = NULL;
	for (;;) {
		if (count == room) {
			room = room ? room * 2 : 64;
			*images = realloc(*images, room * STRIDE * sizeof(**images));
			assert_non_null(*images);
		}
		uint64_t *image = *images + count * STRIDE;
		if (!cut_images_next(iterator, image))
			break;
		image[WORDS] = crc32c(0, image, BYTES);
		assert_true(strlen(cut_images_text(iterator)) > 0);
		count++;
	}
	cut_images_end(iterator);
	return count;
}

static bool is_among(const uint64_t *images, size_t count, const uint64_t *image)
{
	uint32_t sum = crc32c(0, image, BYTES);

	for (size_t i = 0; i < count; i++, images += STRIDE)
		if (images[WORDS] == sum && !memcmp(images, image, BYTES))
			return true;
	return false;
}

static void a_medium_that_is_all_durable_has_one_image(void **state)
{
	(void)state;
	struct cut *cut = cut_new(BYTES, MEDIUM_CACHE_LINE);
	uint64_t *images;

	store(cut, 3, 5);
	medium_persist(cut_medium(cut), word(cut, 3), 8);
	assert_int_equal(take_all(cut, NULL, &images), 1);
	assert_memory_equal(images, cut_medium(cut)->base, BYTES);
	free(images);
	cut_delete(cut);
}

static void few_combinations_are_all_there_once(void **state)
{
	(void)state;
	for (int g = 0; g < 3; g++) {
		struct cut *cut = cut_new(BYTES, (enum medium_granularity)g);
		uint64_t *images, seen[2] = {0};

		/* 2 values, 3 values, 4 values of which 3 differ, 2 values far away. */
		store(cut, 0, 1);
		store(cut, 1, 1);
		store(cut, 1, 2);
		store(cut, 2, 1);
		store(cut, 2, 2);
		store(cut, 2, 1);
		store(cut, WORDS - 1, 1);
		assert_int_equal(cut_combinations(cut), 2 * 3 * 3 * 2);
		assert_int_equal(take_all(cut, NULL, &images), 36);
		for (size_t i = 0; i < 36; i++) {
			const uint64_t *image = images + i * STRIDE;
			uint64_t number = image[0] + 2 * image[1] + 6 * image[2] + 18 * image[WORDS - 1];
			assert_true(number < 36);
			assert_false(seen[0] >> number & 1);
			seen[0] |= UINT64_C(1) << number;
			for (size_t w = 3; w < WORDS - 1; w++)
				assert_int_equal(image[w], 0);
		}
		free(images);
		cut_delete(cut);
	}
}

static void many_combinations_always_include_the_plain_ones(void **state)
{
	(void)state;
	for (int g = 0; g < 3; g++) {
		struct cut *cut = cut_new(BYTES, (enum medium_granularity)g);
		size_t unit = g == MEDIUM_PAGE ? CUT_SECTOR_BYTES / 8 : MEDIUM_LINE_BYTES / 8;
		uint64_t *images, old[WORDS] = {0}, new[WORDS] = {0}, expected[WORDS];

		/* From the middle of a unit into the third page. */
		for (size_t w = 5; w < 1100; w += 3) {
			store(cut, w, w + 1);
			new[w] = w + 1;
		}
		assert_int_equal(cut_combinations(cut), UINT64_MAX);
		size_t count = take_all(cut, NULL, &images);
		assert_memory_equal(images, old, BYTES);
		assert_memory_equal(images + STRIDE, new, BYTES);
		for (size_t w = 5; w < 1100; w += 3) {
			memcpy(expected, old, sizeof(old));
			expected[w] = new[w];
			assert_true(is_among(images, count, expected));
			memcpy(expected, new, sizeof(new));
			expected[w] = old[w];
			assert_true(is_among(images, count, expected));
		}
		for (; unit <= 512; unit = g == MEDIUM_PAGE ? unit * 8 : 1024) {
			for (size_t w = 0; w < 1100; w += unit) {
				memcpy(expected, old, sizeof(old));
				memcpy(expected + w, new + w, unit * 8);
				assert_true(is_among(images, count, expected));
				memcpy(expected, new, sizeof(new));
				memcpy(expected + w, old + w, unit * 8);
				assert_true(is_among(images, count, expected));
			}
		}
		free(images);
		cut_delete(cut);
	}
}

static void each_value_of_a_word_is_once_alone_there_and_once_alone_missing(void **state)
{
	(void)state;
	struct cut *cut = cut_new(BYTES, MEDIUM_CACHE_LINE);
	uint64_t *images, expected[WORDS];

	for (uint64_t round = 1; round <= 4; round++)
		for (size_t w = 0; w < 20; w++)
			store(cut, w, round);
	size_t count = take_all(cut, NULL, &images);
	for (size_t w = 0; w < 20; w++)
		for (uint64_t value = 0; value <= 4; value++) {
			memset(expected, 0, sizeof(expected));
			expected[w] = value;
			assert_true(is_among(images, count, expected));
			for (size_t other = 0; other < 20; other++)
				expected[other] = other == w ? value : 4;
			assert_true(is_among(images, count, expected));
		}
	free(images);
	cut_delete(cut);
}

static void few_sectors_and_pages_are_there_in_every_combination(void **state)
{
	(void)state;
	struct cut *cut = cut_new(BYTES, MEDIUM_PAGE);
	uint64_t *images, expected[WORDS];
	static const size_t sectors[] = {0, 3, 8, 31}; /* of three pages */

	for (size_t s = 0; s < 4; s++)
		for (size_t w = 0; w < 64; w++)
			store(cut, sectors[s] * 64 + w, 1);
	size_t count = take_all(cut, NULL, &images);
	for (size_t set = 0; set < 16; set++) {
		memset(expected, 0, sizeof(expected));
		for (size_t s = 0; s < 4; s++)
			for (size_t w = 0; w < 64; w++)
				expected[sectors[s] * 64 + w] = set >> s & 1;
		assert_true(is_among(images, count, expected));
	}
	free(images);
	cut_delete(cut);
}

static void the_moments_between_stores_are_among_the_images(void **state)
{
	(void)state;
	struct cut *cut = cut_new(BYTES, MEDIUM_PAGE);
	uint64_t *images, expected[WORDS] = {0};

	for (uint64_t i = 0; i < 30; i++)
		store(cut, i % 7 * 100, i + 1);
	size_t count = take_all(cut, &(struct cut_plan){.all_below = 10}, &images);
	for (uint64_t i = 0; i < 30; i++) {
		assert_true(is_among(images, count, expected));
		expected[i % 7 * 100] = i + 1;
	}
	assert_true(is_among(images, count, expected));
	free(images);
	cut_delete(cut);
}

static void an_image_holds_only_values_that_were_stored(void **state)
{
	(void)state;
	struct cut *cut = cut_new(BYTES, MEDIUM_CACHE_LINE);
	uint64_t *images, zeros[WORDS] = {0};

	for (uint64_t round = 0; round < 5; round++)
		for (size_t w = 0; w < 100; w++)
			store(cut, w, w * 10 + round);
	size_t count = take_all(cut, NULL, &images);
	for (size_t i = 0; i < count; i++) {
		const uint64_t *image = images + i * STRIDE;
		for (size_t w = 0; w < 100; w++)
			assert_true(image[w] == 0 || (image[w] / 10 == w && image[w] % 10 < 5));
		assert_memory_equal(image + 100, zeros, BYTES - 800);
	}
	free(images);
	cut_delete(cut);
}

static void a_seed_gives_its_images_again_and_another_gives_others(void **state)
{
	(void)state;
	struct cut *cut = cut_new(BYTES, MEDIUM_CACHE_LINE);
	uint64_t *images[3];
	size_t count[3];

	for (size_t w = 0; w < 100; w++)
		store(cut, w, w + 1);
	for (uint64_t i = 0; i < 3; i++)
		count[i] = take_all(cut, &(struct cut_plan){.seed = 5 + i / 2}, &images[i]);
	assert_int_equal(count[0], count[1]);
	assert_memory_equal(images[0], images[1], count[0] * STRIDE * 8);
	assert_int_equal(count[0], count[2]);
	if (!getenv("CUT_SEED"))
		assert_int_not_equal(memcmp(images[0], images[2], count[0] * STRIDE * 8), 0);
	for (int i = 0; i < 3; i++)
		free(images[i]);
	cut_delete(cut);
}

static void single_words_can_be_limited(void **state)
{
	(void)state;
	struct cut *cut = cut_new(BYTES, MEDIUM_CACHE_LINE);
	uint64_t *images;

	for (size_t w = 0; w < 512; w++)
		store(cut, w, w + 1);
	size_t all = take_all(cut, &(struct cut_plan){.samples = 10}, &images);
	free(images);
	size_t limited = take_all(cut, &(struct cut_plan){.samples = 10, .single_max = 20}, &images);
	free(images);
	assert_int_equal(all - limited, 2 * (512 - 20));
	cut_delete(cut);
}

static void images_stay_as_they_were_when_the_cut_goes_on(void **state)
{
	(void)state;
	struct cut *cut = cut_new(BYTES, MEDIUM_CACHE_LINE);
	uint64_t image[WORDS];

	store(cut, 0, 1);
	struct cut_images *images = cut_images_begin(cut, NULL);
	store(cut, 0, 2);
	medium_persist(cut_medium(cut), word(cut, 0), 8);
	assert_true(cut_images_next(images, image));
	assert_int_equal(image[0], 0);
	assert_true(cut_images_next(images, image));
	assert_int_equal(image[0], 1);
	assert_false(cut_images_next(images, image));
	assert_false(cut_images_next(images, image));
	cut_images_end(images);
	cut_delete(cut);
}

struct seen {
	char text[400];
	struct cut *clone;
};

static void note_event(struct cut *cut, const struct cut_event *event, void *context)
{
	struct seen *seen = context;
	size_t length = strlen(seen->text);

	snprintf(seen->text + length, sizeof(seen->text) - length, "%s%d:%lu:%zu+%zu ", event->after ? "a" : "b",
		 event->kind, event->number, event->off, event->bytes);
	if (event->kind == CUT_FENCE && !event->after)
		seen->clone = cut_clone(cut);
	free(malloc(1));
	error_set(EIO, "a hook's");
}

static void a_hook_sees_each_event_before_and_after_and_leaves_no_trace(void **state)
{
	(void)state;
	struct cut *cut = cut_new(BYTES, MEDIUM_CACHE_LINE);
	struct seen seen = {.text = ""};

	cut_hook(cut, CUT_STORE | CUT_FLUSH | CUT_FENCE, note_event, &seen);
	error_set(ENOENT, "ours");
	faults_fail_allocation(1);
	store(cut, 2, 1);
	medium_persist(cut_medium(cut), word(cut, 2), 8);
	assert_int_equal(errno, ENOENT);
	assert_string_equal(error_message(), "ours");
	assert_int_equal(faults_stop(), 0);
	assert_string_equal(seen.text, "b1:1:16+8 a1:1:16+8 b2:2:16+8 a2:2:16+8 b4:3:0+0 a4:3:0+0 ");
	cut_hook(cut, 0, NULL, NULL);
	store(cut, 2, 1);
	assert_true(cut_is_durable(cut, word(cut, 2), 8));
	/* The clone still has the flush under way, in the same thread. */
	assert_false(cut_is_durable(seen.clone, word(seen.clone, 2), 8));
	medium_fence(cut_medium(seen.clone));
	assert_true(cut_is_durable(seen.clone, word(seen.clone, 2), 8));
	cut_delete(seen.clone);
	cut_delete(cut);
}

static void *fence_only(void *cut)
{
	medium_fence(cut_medium(cut));
	return NULL;
}

struct watched {
	unsigned images, kills;
	uint64_t fail_at_value;
};

static int check_words(struct cut *after, const struct cut_moment *moment, void *context)
{
	struct watched *watched = context;

	*(moment->killed ? &watched->kills : &watched->images) += 1;
	if (!moment->killed && cut_combinations(after) != 1)
		return error_set(EINVAL, "undurable after a power cut");
	if (watched->fail_at_value && *word(after, 0) == watched->fail_at_value)
		return error_set(EINVAL, "the word is %lu", watched->fail_at_value);
	/* What the check does to its cut is gone at the next one. */
	store(after, 9, 9);
	return 0;
}

static void a_watch_checks_every_image_at_every_moment(void **state)
{
	(void)state;
	struct cut *cut = cut_new(BYTES, MEDIUM_CACHE_LINE);
	struct watched watched = {0};
	struct cut_watch watch = {.check = check_words, .context = &watched, .kills = true};

	cut_watch(cut, &watch);
	store(cut, 0, 1);
	store(cut, 1, 1);
	medium_persist(cut_medium(cut), word(cut, 0), 16); /* 4 images before the fence, 1 after */
	store(cut, 0, 2);
	assert_int_equal(cut_check_now(cut), 0); /* 2 images */
	assert_null(cut_failure(cut));
	assert_int_equal(watched.images, 7);
	assert_int_equal(watched.kills, 3);
	assert_int_equal(cut_images_checked(cut), 10);
	cut_delete(cut);
}

static void a_watch_keeps_the_first_failure_and_stops(void **state)
{
	(void)state;
	struct cut *cut = cut_new(BYTES, MEDIUM_CACHE_LINE);
	struct watched watched = {.fail_at_value = 3};
	struct cut_watch watch = {.check = check_words, .context = &watched, .kinds = CUT_STORE, .plan = {.seed = 77}};

	cut_watch(cut, &watch);
	store(cut, 0, 1);
	store(cut, 0, 3);
	store(cut, 0, 4);
	const char *failure = cut_failure(cut);
	assert_non_null(failure);
	assert_non_null(strstr(failure, "power cut after event 2, a store at offset 0 by "));
	assert_non_null(strstr(failure, "image 3, combination 3 of 3: the word is 3"));
	if (!getenv("CUT_SEED"))
		assert_non_null(strstr(failure, "CUT_SEED=77"));
	/* 1 and 2 around the first store, 2 and 3 around the second, the last of which failed. */
	assert_int_equal(watched.images, 8);
	assert_int_equal(cut_check_now(cut), -1);
	assert_int_equal(errno, EIO);
	cut_delete(cut);
}

static int check_after(struct cut *after, const struct cut_moment *moment, void *context)
{
	(void)context;
	if (!moment->killed)
		return 0;
	/* The dead process's flush is worth nothing; its store is seen; scratch words are known as such. */
	medium_fence(cut_medium(after));
	if (cut_medium(after)->granularity == MEDIUM_BYTE)
		return cut_combinations(after) == 1 ? 0 : error_set(EINVAL, "the fence covers not what is seen");
	return cut_undurable_words(after) == 1 ? 0 : error_set(EINVAL, "%lu undurable", cut_undurable_words(after));
}

static int check_scratch_and_seen(struct cut *after, const struct cut_moment *moment, void *context)
{
	pthread_t thread;

	(void)moment;
	(void)context;
	store(after, 16, 1);
	if (cut_combinations(after) != 1)
		return error_set(EINVAL, "the scratch range is forgotten");
	store(after, 0, 9);
	if (pthread_create(&thread, NULL, fence_only, after) || pthread_join(thread, NULL))
		abort();
	return cut_is_durable(after, word(after, 0), 8) ? 0 : error_set(EINVAL, "the rule of seen stores is forgotten");
}

static void a_watch_hands_on_kills_scratch_ranges_and_rules(void **state)
{
	(void)state;
	for (int g = MEDIUM_BYTE; g <= MEDIUM_CACHE_LINE; g++) {
		struct cut *cut = cut_new(BYTES, (enum medium_granularity)g);
		struct cut_watch watch = {.check = check_after, .kills = true};

		cut_watch(cut, &watch);
		cut_scratch(cut, word(cut, 16), 8);
		store(cut, 0, 1);
		store(cut, 16, 1);
		medium_flush(cut_medium(cut), word(cut, 0), 8);
		if (cut_check_now(cut))
			fail_msg("%s", cut_failure(cut));
		cut_delete(cut);
	}
	struct cut *cut = cut_new(BYTES, MEDIUM_BYTE);
	struct cut_watch watch = {.check = check_scratch_and_seen};

	cut_watch(cut, &watch);
	cut_scratch(cut, word(cut, 16), 8);
	cut_set_seen_stores(cut, true);
	if (cut_check_now(cut))
		fail_msg("%s", cut_failure(cut));
	cut_delete(cut);
}

static void a_watch_can_look_at_every_nth_moment_only(void **state)
{
	(void)state;
	struct cut *cut = cut_new(BYTES, MEDIUM_CACHE_LINE);
	struct watched watched = {0};
	struct cut_watch watch = {.check = check_words, .context = &watched, .kinds = CUT_FENCE, .every = 3};

	cut_watch(cut, &watch);
	for (int i = 0; i < 9; i++)
		medium_fence(cut_medium(cut));
	assert_int_equal(watched.images, 6);
	cut_delete(cut);
}

/* Each thread streams and fences lines of its own; at the end all that it fenced must be durable. */
enum { ROUNDS = 30 };

struct worker {
	struct cut *cut;
	size_t first;
};

static void *work(void *argument)
{
	struct worker *worker = argument;

	for (uint64_t i = 1; i <= ROUNDS; i++) {
		uint64_t line[8] = {i, i, i, i, i, i, i, i};
		size_t at = worker->first + i % 8 * 8;
		medium_stream(cut_medium(worker->cut), word(worker->cut, at), line, 64, NULL, 0);
		medium_fence(cut_medium(worker->cut));
		if (!cut_is_durable(worker->cut, word(worker->cut, at), 64))
			return "not durable";
	}
	return NULL;
}

static int count_images(struct cut *after, const struct cut_moment *moment, void *context)
{
	(void)after;
	(void)moment;
	++*(unsigned *)context;
	return 0;
}

static void several_threads_may_use_one_cut(void **state)
{
	(void)state;
	struct cut *cut = cut_new(BYTES, MEDIUM_CACHE_LINE);
	pthread_t threads[4];
	struct worker workers[4];
	unsigned images = 0;
	struct cut_watch watch = {.check = count_images, .context = &images, .plan = {.samples = 2, .single_max = 2}};

	cut_watch(cut, &watch);
	for (size_t i = 0; i < 4; i++) {
		workers[i] = (struct worker){.cut = cut, .first = i * 64};
		assert_int_equal(pthread_create(&threads[i], NULL, work, &workers[i]), 0);
	}
	for (size_t i = 0; i < 4; i++) {
		void *failure;
		assert_int_equal(pthread_join(threads[i], &failure), 0);
		assert_null(failure);
	}
	assert_null(cut_failure(cut));
	assert_int_equal(cut_counts(cut).fences, 4 * ROUNDS);
	assert_int_equal(medium_counts(cut_medium(cut)).fences, 4 * ROUNDS);
	assert_true(images >= 4 * ROUNDS * 2);
	assert_int_equal(cut_combinations(cut), 1);
	assert_int_equal(cut_verify_no_bypass(cut), 0);
	cut_delete(cut);
}

static void __attribute__((noinline)) persist_first_way(struct cut *cut)
{
	medium_persist(cut_medium(cut), word(cut, 0), 8);
}

/* Not word for word the first, or the compiler makes one function of both. */
static void __attribute__((noinline)) persist_second_way(struct cut *cut)
{
	medium_persist(cut_medium(cut), word(cut, 0), 16);
}

/* The first site of a kind in the function, or the count of sites. */
static unsigned find_site(enum cut_kind kind, const char *function)
{
	unsigned i = 0;

	for (; i < cut_site_count(); i++)
		if (cut_site(i).kind == kind &&
		    !strncmp(cut_site_text(cut_site(i).address), function, strlen(function)))
			break;
	return i;
}

static void the_calls_of_one_place_can_be_muted(void **state)
{
	(void)state;
	struct cut *cut = cut_new(BYTES, MEDIUM_CACHE_LINE);
	static const enum cut_kind kinds[] = {CUT_FLUSH, CUT_FENCE};

	persist_first_way(cut);
	persist_second_way(cut);
	if (!strstr(cut_site_text(cut_site(0).address), " at "))
		skip(); /* no debugging information, or no addr2line */
	for (int i = 0; i < 2; i++) {
		unsigned site = find_site(kinds[i], "persist_first_way at test_images.c:");
		assert_true(site < cut_site_count());
		assert_true(find_site(kinds[i], "persist_second_way at test_images.c:") < cut_site_count());
		uint64_t calls = cut_site(site).calls;
		cut_site_mute(site, true);
		store(cut, 0, *word(cut, 0) + 1);
		persist_first_way(cut);
		assert_false(cut_is_durable(cut, word(cut, 0), 8));
		persist_second_way(cut);
		assert_true(cut_is_durable(cut, word(cut, 0), 8));
		cut_site_mute(site, false);
		store(cut, 0, *word(cut, 0) + 1);
		persist_first_way(cut);
		assert_true(cut_is_durable(cut, word(cut, 0), 8));
		assert_int_equal(cut_site(site).calls, calls + 2);
	}
	cut_delete(cut);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_medium_that_is_all_durable_has_one_image),
		cmocka_unit_test(few_combinations_are_all_there_once),
		cmocka_unit_test(many_combinations_always_include_the_plain_ones),
		cmocka_unit_test(each_value_of_a_word_is_once_alone_there_and_once_alone_missing),
		cmocka_unit_test(few_sectors_and_pages_are_there_in_every_combination),
		cmocka_unit_test(the_moments_between_stores_are_among_the_images),
		cmocka_unit_test(an_image_holds_only_values_that_were_stored),
		cmocka_unit_test(a_seed_gives_its_images_again_and_another_gives_others),
		cmocka_unit_test(single_words_can_be_limited),
		cmocka_unit_test(images_stay_as_they_were_when_the_cut_goes_on),
		cmocka_unit_test(a_hook_sees_each_event_before_and_after_and_leaves_no_trace),
		cmocka_unit_test(a_watch_checks_every_image_at_every_moment),
		cmocka_unit_test(a_watch_keeps_the_first_failure_and_stops),
		cmocka_unit_test(a_watch_hands_on_kills_scratch_ranges_and_rules),
		cmocka_unit_test(a_watch_can_look_at_every_nth_moment_only),
		cmocka_unit_test(several_threads_may_use_one_cut),
		cmocka_unit_test(the_calls_of_one_place_can_be_muted),
	};

	return cmocka_run_group_tests_name("cut_images", tests, NULL, NULL);
}
