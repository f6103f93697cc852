/*
 * test_model.c: the rules of words, cache lines and threads (cut.h), one by one.
 */
#include "cut/test_words.h"

static void a_stored_word_is_old_or_any_value_since(void **state)
{
	(void)state;
	for (int g = 0; g < 3; g++) {
		struct cut *cut = cut_new(BYTES, (enum medium_granularity)g);

		store(cut, 0, 1);
		store(cut, 0, 2);
		assert_int_equal(*word(cut, 0), 2);
		assert_int_equal(values(cut, 0), VALUES_3(0, 1, 2));
		assert_int_equal(cut_combinations(cut), 3);
		assert_int_equal(cut_undurable_words(cut), 1);
		store(cut, 0, 0);
		assert_int_equal(values(cut, 0), VALUES_3(0, 1, 2));
		assert_int_equal(((const uint64_t *)cut_durable(cut))[0], 0);
		cut_delete(cut);
	}
}

static void a_line_needs_a_flush_and_then_a_fence(void **state)
{
	(void)state;
	struct cut *cut = cut_new(BYTES, MEDIUM_CACHE_LINE);

	store(cut, 0, 1);
	fence(cut);
	assert_int_equal(values(cut, 0), VALUES_2(0, 1));
	flush(cut, 0);
	assert_int_equal(values(cut, 0), VALUES_2(0, 1));
	fence(cut);
	assert_int_equal(values(cut, 0), VALUES_1(1));
	assert_true(cut_is_durable(cut, word(cut, 0), 8));
	cut_delete(cut);
}

static void a_flush_takes_its_whole_lines_and_no_other(void **state)
{
	(void)state;
	struct cut *cut = cut_new(BYTES, MEDIUM_CACHE_LINE);

	for (size_t i = 0; i < 32; i++)
		store(cut, i, 1);
	medium_flush(cut_medium(cut), (char *)word(cut, 8) + 63, 2);
	fence(cut);
	for (size_t i = 0; i < 32; i++)
		assert_int_equal(cut_is_durable(cut, word(cut, i), 8), i >= 8 && i < 24);
	medium_flush(cut_medium(cut), word(cut, 0), 0);
	fence(cut);
	assert_false(cut_is_durable(cut, word(cut, 0), 8));
	cut_delete(cut);
}

static void a_flush_takes_what_the_line_holds_then(void **state)
{
	(void)state;
	struct cut *cut = cut_new(BYTES, MEDIUM_CACHE_LINE);

	store(cut, 0, 1);
	flush(cut, 0);
	store(cut, 0, 2);
	store(cut, 1, 3);
	fence(cut);
	assert_int_equal(values(cut, 0), VALUES_2(1, 2));
	assert_int_equal(values(cut, 1), VALUES_2(0, 3));
	fence(cut);
	assert_int_equal(values(cut, 0), VALUES_2(1, 2));
	flush(cut, 0);
	fence(cut);
	assert_int_equal(values(cut, 0), VALUES_1(2));
	assert_int_equal(values(cut, 1), VALUES_1(3));
	cut_delete(cut);
}

static void a_fence_does_not_cover_another_threads_flush(void **state)
{
	(void)state;
	struct cut *cut = cut_new(BYTES, MEDIUM_CACHE_LINE);

	store(cut, 0, 1);
	flush(cut, 0);
	in_another_thread(cut, fence_only);
	assert_int_equal(values(cut, 0), VALUES_2(0, 1));
	fence(cut);
	assert_int_equal(values(cut, 0), VALUES_1(1));
	cut_delete(cut);
}

static void a_flush_covers_another_threads_ordinary_store(void **state)
{
	(void)state;
	struct cut *cut = cut_new(BYTES, MEDIUM_CACHE_LINE);

	store(cut, 0, 1);
	in_another_thread(cut, flush_and_fence);
	assert_int_equal(values(cut, 0), VALUES_1(1));
	cut_delete(cut);
}

static void a_streamed_store_needs_its_own_threads_fence_and_no_flush(void **state)
{
	(void)state;
	static const enum medium_granularity both[] = {MEDIUM_CACHE_LINE, MEDIUM_BYTE};

	for (int i = 0; i < 2; i++) {
		struct cut *cut = cut_new(BYTES, both[i]);

		stream(cut, 0, 1);
		in_another_thread(cut, flush_and_fence);
		assert_int_equal(values(cut, 0), VALUES_2(0, 1));
		fence(cut);
		assert_int_equal(values(cut, 0), VALUES_1(1));
		in_another_thread(cut, stream_1);
		stream(cut, 8, 1);
		fence(cut);
		assert_int_equal(values(cut, 8), VALUES_1(1));
		cut_delete(cut);
	}
}

static void a_flush_takes_what_lies_under_another_threads_streamed_store(void **state)
{
	(void)state;
	struct cut *cut = cut_new(BYTES, MEDIUM_CACHE_LINE);

	store(cut, 0, 2);
	in_another_thread(cut, stream_1);
	flush(cut, 0);
	fence(cut);
	assert_int_equal(values(cut, 0), VALUES_2(1, 2));
	/* The same value by an ordinary store is in the cache. */
	store(cut, 0, 1);
	flush(cut, 0);
	fence(cut);
	assert_int_equal(values(cut, 0), VALUES_1(1));
	cut_delete(cut);
}

static void a_streamed_word_needs_the_fence_of_its_thread_or_a_sync(void **state)
{
	(void)state;
	for (int g = 0; g < 3; g++) {
		struct cut *cut = cut_new(BYTES, (enum medium_granularity)g);

		medium_stream8(cut_medium(cut), word(cut, 0), 1);
		assert_int_equal(*word(cut, 0), 1);
		in_another_thread(cut, flush_and_fence);
		assert_int_equal(values(cut, 0), VALUES_2(0, 1));
		fence(cut);
		assert_int_equal(values(cut, 0), g == MEDIUM_PAGE ? VALUES_2(0, 1) : VALUES_1(1));
		assert_int_equal(sync_word(cut, 0), 0);
		assert_int_equal(values(cut, 0), VALUES_1(1));
		cut_delete(cut);
	}
}

static void a_sync_of_lines_is_a_flush_and_a_fence(void **state)
{
	(void)state;
	struct cut *cut = cut_new(BYTES, MEDIUM_CACHE_LINE);

	store(cut, 0, 1);
	store(cut, 8, 1);
	assert_int_equal(sync_word(cut, 0), 0);
	assert_int_equal(values(cut, 0), VALUES_1(1));
	assert_int_equal(values(cut, 8), VALUES_2(0, 1));
	cut_fail_sync(cut, 1, EIO, false);
	assert_int_equal(sync_word(cut, 8), -1);
	assert_int_equal(values(cut, 8), VALUES_2(0, 1));
	cut_delete(cut);
}

static void words_become_durable_each_by_itself(void **state)
{
	(void)state;
	struct cut *cut = cut_new(BYTES, MEDIUM_CACHE_LINE);

	for (size_t i = 0; i < 20; i++)
		store(cut, i * 8, i + 1);
	for (size_t i = 0; i < 20; i++) {
		size_t next = i * 7 % 20;
		medium_persist(cut_medium(cut), word(cut, next * 8), 8);
		assert_int_equal(values(cut, next * 8), VALUES_1(next + 1));
		assert_int_equal(cut_undurable_words(cut), 19 - i);
		store(cut, next * 8, 40);
		assert_int_equal(values(cut, next * 8), VALUES_2(next + 1, 40));
		medium_persist(cut_medium(cut), word(cut, next * 8), 8);
	}
	cut_delete(cut);
}

static void a_fence_covers_the_newest_of_many_stores_to_a_word(void **state)
{
	(void)state;
	struct cut *cut = cut_new(BYTES, MEDIUM_BYTE);

	for (uint64_t i = 1; i < 1000; i++)
		store(cut, 0, i % 50 + 1);
	for (size_t i = 0; i < 1000; i++)
		store(cut, 8 + i, 1);
	fence(cut);
	assert_int_equal(cut_combinations(cut), 1);
	assert_int_equal(values(cut, 0), VALUES_1(50));
	cut_delete(cut);
}

static void a_streamed_record_is_padded_with_zeros_but_for_pages(void **state)
{
	(void)state;
	for (int g = 0; g < 3; g++) {
		struct cut *cut = cut_new(BYTES, (enum medium_granularity)g);
		char head[32], data[100], expected[192];

		memset(head, 'h', sizeof(head));
		memset(data, 'd', sizeof(data));
		for (size_t i = 0; i < 24; i++)
			store(cut, i, UINT64_MAX);
		medium_stream(cut_medium(cut), word(cut, 0), head, sizeof(head), data, sizeof(data));
		memset(expected, g == MEDIUM_PAGE ? 0xff : 0, sizeof(expected));
		memcpy(expected, head, sizeof(head));
		memcpy(expected + sizeof(head), data, sizeof(data));
		assert_memory_equal(cut_medium(cut)->base, expected, sizeof(expected));
		medium_stream(cut_medium(cut), word(cut, 0), head, sizeof(head), NULL, 0);
		assert_int_equal(cut_verify_no_bypass(cut), 0);
		cut_delete(cut);
	}
}

static void byte_granularity_needs_the_storing_threads_fence(void **state)
{
	(void)state;
	struct cut *cut = cut_new(BYTES, MEDIUM_BYTE);

	store(cut, 0, 1);
	in_another_thread(cut, fence_only);
	assert_int_equal(values(cut, 0), VALUES_2(0, 1));
	fence(cut);
	assert_int_equal(values(cut, 0), VALUES_1(1));
	assert_int_equal(cut_counts(cut).flushes, 0);
	cut_delete(cut);
}

static void seen_stores_are_covered_when_asked_for_but_streamed_ones_are_not(void **state)
{
	(void)state;
	struct cut *cut = cut_new(BYTES, MEDIUM_BYTE);

	cut_set_seen_stores(cut, true);
	in_another_thread(cut, store_1);
	fence(cut);
	assert_int_equal(values(cut, 0), VALUES_1(1));
	in_another_thread(cut, stream_1);
	fence(cut);
	assert_int_equal(values(cut, 1), VALUES_2(0, 1));
	cut_delete(cut);
}

static void an_identical_record_after_a_cut_makes_only_missing_words_undurable(void **state)
{
	(void)state;
	for (int g = 0; g < 3; g++) {
		struct cut *cut = cut_new(BYTES, (enum medium_granularity)g);
		uint64_t record[4] = {1, 2, 3, 4}, image[BYTES / 8] = {1, 0, 3, 0};

		medium_copy(cut_medium(cut), word(cut, 0), record, sizeof(record));
		cut_restart(cut, image);
		assert_memory_equal(cut_medium(cut)->base, image, sizeof(image));
		assert_int_equal(cut_combinations(cut), 1);
		medium_copy(cut_medium(cut), word(cut, 0), record, sizeof(record));
		assert_int_equal(cut_undurable_words(cut), 2);
		assert_int_equal(values(cut, 0), VALUES_1(1));
		assert_int_equal(values(cut, 1), VALUES_2(0, 2));
		assert_int_equal(medium_persist(cut_medium(cut), word(cut, 0), sizeof(record)), 0);
		assert_int_equal(cut_combinations(cut), 1);
		assert_int_equal(values(cut, 1), VALUES_1(2));
		cut_delete(cut);
	}
}

static void parts_of_words_are_merged_with_what_was_there(void **state)
{
	(void)state;
	struct cut *cut = cut_new(BYTES, MEDIUM_CACHE_LINE);

	medium_copy(cut_medium(cut), cut_medium(cut)->base + 6, "abcd", 4);
	assert_int_equal(cut_undurable_words(cut), 2);
	assert_int_equal(medium_exchange4(cut_medium(cut), (uint32_t *)word(cut, 2) + 1, 7), 0);
	assert_int_equal(medium_exchange4(cut_medium(cut), (uint32_t *)word(cut, 2) + 1, 8), 7);
	assert_int_equal(*word(cut, 2), UINT64_C(8) << 32);
	assert_int_equal(cut_combinations(cut), 2 * 2 * 3);
	assert_int_equal(cut_verify_no_bypass(cut), 0);
	medium_persist(cut_medium(cut), word(cut, 0), 24);
	assert_memory_equal((const char *)cut_durable(cut) + 6, "abcd", 4);
	cut_delete(cut);
}

static void a_word_that_is_stored_for_ever_keeps_its_first_and_last_values(void **state)
{
	(void)state;
	for (int g = 0; g < 3; g++) {
		struct cut *cut = cut_new(BYTES, (enum medium_granularity)g);
		uint64_t image[BYTES / 8];

		for (uint64_t i = 1; i <= 100000; i++)
			store(cut, 8, i);
		assert_in_range(cut_combinations(cut), 60, 64);
		struct cut_images *images = cut_images_begin(cut, NULL);
		assert_true(cut_images_next(images, image));
		assert_int_equal(image[8], 0);
		while (cut_images_next(images, image))
			;
		assert_int_equal(image[8], 100000);
		cut_images_end(images);
		assert_int_equal(medium_persist(cut_medium(cut), word(cut, 8), 8), 0);
		assert_int_equal(cut_combinations(cut), 1);
		cut_delete(cut);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_stored_word_is_old_or_any_value_since),
		cmocka_unit_test(a_line_needs_a_flush_and_then_a_fence),
		cmocka_unit_test(a_flush_takes_its_whole_lines_and_no_other),
		cmocka_unit_test(a_flush_takes_what_the_line_holds_then),
		cmocka_unit_test(a_fence_does_not_cover_another_threads_flush),
		cmocka_unit_test(a_flush_covers_another_threads_ordinary_store),
		cmocka_unit_test(a_streamed_store_needs_its_own_threads_fence_and_no_flush),
		cmocka_unit_test(a_flush_takes_what_lies_under_another_threads_streamed_store),
		cmocka_unit_test(a_streamed_word_needs_the_fence_of_its_thread_or_a_sync),
		cmocka_unit_test(a_sync_of_lines_is_a_flush_and_a_fence),
		cmocka_unit_test(words_become_durable_each_by_itself),
		cmocka_unit_test(a_fence_covers_the_newest_of_many_stores_to_a_word),
		cmocka_unit_test(a_streamed_record_is_padded_with_zeros_but_for_pages),
		cmocka_unit_test(byte_granularity_needs_the_storing_threads_fence),
		cmocka_unit_test(seen_stores_are_covered_when_asked_for_but_streamed_ones_are_not),
		cmocka_unit_test(an_identical_record_after_a_cut_makes_only_missing_words_undurable),
		cmocka_unit_test(parts_of_words_are_merged_with_what_was_there),
		cmocka_unit_test(a_word_that_is_stored_for_ever_keeps_its_first_and_last_values),
	};

	return cmocka_run_group_tests_name("cut_model", tests, NULL, NULL);
}
