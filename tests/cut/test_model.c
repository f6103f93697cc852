/*
 * test_model.c: each rule of the crash model (cut.h), one by one.
 *
 * The stores go through the functions of medium.h, as those of the code under test do. `values` asks for the set of
 * values that one word may have after a power cut.
 */
#include "base/error.h"
#include "cut/cut.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { BYTES = 16 * MEDIUM_PAGE_BYTES };

static uint64_t *word(struct cut *cut, size_t index)
{
	return (uint64_t *)cut_medium(cut)->base + index;
}

static void store(struct cut *cut, size_t index, uint64_t value)
{
	medium_store8(cut_medium(cut), word(cut, index), value);
}

static void stream(struct cut *cut, size_t index, uint64_t value)
{
	uint64_t line[8] = {value, value, value, value, value, value, value, value};

	medium_stream(cut_medium(cut), word(cut, index), line, 8, line + 1, 56);
}

static void flush(struct cut *cut, size_t index)
{
	medium_flush(cut_medium(cut), word(cut, index), 8);
}

static void fence(struct cut *cut)
{
	medium_fence(cut_medium(cut));
}

static int sync_word(struct cut *cut, size_t index)
{
	return medium_sync(cut_medium(cut), word(cut, index), 8);
}

/* The bits of the values (below 64) that the word has in any image. */
static uint64_t values(struct cut *cut, size_t index)
{
	uint64_t seen = 0, *image = malloc(BYTES);
	struct cut_images *images = cut_images_begin(cut, &(struct cut_plan){.samples = 8});

	while (cut_images_next(images, image)) {
		assert_true(image[index] < 64);
		seen |= UINT64_C(1) << image[index];
	}
	cut_images_end(images);
	free(image);
	return seen;
}

#define VALUES_2(a, b)    (UINT64_C(1) << (a) | UINT64_C(1) << (b))
#define VALUES_3(a, b, c) (VALUES_2(a, b) | UINT64_C(1) << (c))
#define VALUES_1(a)       (UINT64_C(1) << (a))

static void in_another_thread(struct cut *cut, void *(*run)(void *))
{
	pthread_t thread;

	assert_int_equal(pthread_create(&thread, NULL, run, cut), 0);
	assert_int_equal(pthread_join(thread, NULL), 0);
}

static void *fence_only(void *cut)
{
	fence(cut);
	return NULL;
}

static void *flush_and_fence(void *cut)
{
	flush(cut, 0);
	fence(cut);
	return NULL;
}

static void *store_1(void *cut)
{
	store(cut, 0, 1);
	return NULL;
}

static void *stream_1(void *cut)
{
	stream(cut, 0, 1);
	return NULL;
}

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

static void a_page_needs_a_sync_and_fences_do_nothing(void **state)
{
	(void)state;
	struct cut *cut = cut_new(BYTES, MEDIUM_PAGE);

	store(cut, 0, 1);
	store(cut, 511, 2);
	store(cut, 512, 3);
	medium_flush(cut_medium(cut), word(cut, 0), 8);
	fence(cut);
	assert_int_equal(values(cut, 0), VALUES_2(0, 1));
	assert_int_equal(sync_word(cut, 100), 0);
	assert_int_equal(values(cut, 0), VALUES_1(1));
	assert_int_equal(values(cut, 511), VALUES_1(2));
	assert_int_equal(values(cut, 512), VALUES_2(0, 3));
	assert_false(cut_page_is_dirty(cut, word(cut, 0)));
	assert_true(cut_page_is_dirty(cut, word(cut, 512)));
	cut_delete(cut);
}

static void a_sync_covers_the_stores_of_all_threads(void **state)
{
	(void)state;
	struct cut *cut = cut_new(BYTES, MEDIUM_PAGE);

	in_another_thread(cut, store_1);
	assert_int_equal(sync_word(cut, 0), 0);
	assert_int_equal(values(cut, 0), VALUES_1(1));
	assert_int_equal(cut_counts(cut).pages_written, 1);
	assert_int_equal(sync_word(cut, 0), 0);
	assert_int_equal(cut_counts(cut).pages_written, 1);
	assert_int_equal(cut_counts(cut).syncs, 2);
	cut_delete(cut);
}

static void syncs_and_redirties_reach_all_pages_of_their_range(void **state)
{
	(void)state;
	struct cut *cut = cut_new(BYTES, MEDIUM_PAGE);

	for (size_t page = 0; page < 5; page++)
		store(cut, page * 512, 1);
	cut_fail_sync(cut, 1, EIO, false);
	assert_int_equal(medium_sync(cut_medium(cut), word(cut, 1000), 2 * MEDIUM_PAGE_BYTES), -1);
	for (size_t page = 0; page < 5; page++)
		assert_int_equal(cut_page_is_dirty(cut, word(cut, page * 512)), page < 1 || page > 3);
	medium_redirty(cut_medium(cut), word(cut, 512), 2 * MEDIUM_PAGE_BYTES);
	medium_redirty(cut_medium(cut), word(cut, 3 * 512), 0);
	assert_int_equal(medium_sync(cut_medium(cut), cut_medium(cut)->base, BYTES), 0);
	for (size_t page = 0; page < 5; page++)
		assert_int_equal(cut_is_durable(cut, word(cut, page * 512), 8), page != 3);
	cut_delete(cut);
}

static void a_failed_sync_leaves_clean_pages_with_unknown_words(void **state)
{
	(void)state;
	static const int errors[] = {EIO, ENOSPC};

	for (int i = 0; i < 2; i++) {
		struct cut *cut = cut_new(BYTES, MEDIUM_PAGE);

		store(cut, 0, 1);
		cut_fail_sync(cut, 1, errors[i], false);
		errno = 0;
		assert_int_equal(sync_word(cut, 0), -1);
		assert_int_equal(errno, errors[i]);
		assert_string_equal(error_message(), "injected failure of a sync of 8 bytes at offset 0");
		/* The page looks clean: nothing writes it. */
		assert_false(cut_page_is_dirty(cut, word(cut, 0)));
		assert_int_equal(sync_word(cut, 0), 0);
		assert_int_equal(values(cut, 0), VALUES_2(0, 1));
		/* Storing to any word of it makes the next sync write all of it. */
		store(cut, 5, 4);
		assert_int_equal(sync_word(cut, 5), 0);
		assert_int_equal(values(cut, 0), VALUES_1(1));
		assert_int_equal(values(cut, 5), VALUES_1(4));
		cut_delete(cut);
	}
}

static void the_nth_sync_fails_once_or_for_ever(void **state)
{
	(void)state;
	struct cut *cut = cut_new(BYTES, MEDIUM_PAGE);

	cut_fail_sync(cut, 3, EIO, false);
	for (int i = 1; i <= 5; i++)
		assert_int_equal(sync_word(cut, 0), i == 3 ? -1 : 0);
	cut_fail_sync(cut, 2, ENOSPC, true);
	for (int i = 1; i <= 5; i++)
		assert_int_equal(sync_word(cut, 0), i >= 2 ? -1 : 0);
	cut_fail_sync(cut, 0, 0, false);
	assert_int_equal(sync_word(cut, 0), 0);
	cut_delete(cut);
}

static void redirty_makes_the_next_sync_write_the_page(void **state)
{
	(void)state;
	struct cut *cut = cut_new(BYTES, MEDIUM_PAGE);

	store(cut, 0, 1);
	cut_fail_sync(cut, 1, EIO, false);
	assert_int_equal(sync_word(cut, 0), -1);
	cut_kill(cut);
	assert_int_equal(sync_word(cut, 0), 0);
	assert_int_equal(values(cut, 0), VALUES_2(0, 1));
	medium_redirty(cut_medium(cut), word(cut, 3), 8);
	assert_int_equal(sync_word(cut, 0), 0);
	assert_int_equal(values(cut, 0), VALUES_1(1));
	cut_delete(cut);
}

static void an_unseen_write_back_failure_is_reported_once_by_any_sync(void **state)
{
	(void)state;
	struct cut *cut = cut_new(BYTES, MEDIUM_PAGE);

	store(cut, 0, 1);
	cut_fail_writeback(cut, word(cut, 0), 8, EIO);
	assert_false(cut_page_is_dirty(cut, word(cut, 0)));
	assert_int_equal(sync_word(cut, 1000), -1);
	assert_int_equal(errno, EIO);
	assert_int_equal(sync_word(cut, 0), 0);
	assert_int_equal(values(cut, 0), VALUES_2(0, 1));
	cut_delete(cut);
}

static void a_killed_process_leaves_undurable_words_that_no_later_fence_covers(void **state)
{
	(void)state;
	struct cut *cut = cut_new(BYTES, MEDIUM_CACHE_LINE);

	store(cut, 0, 1);
	flush(cut, 0);
	stream(cut, 8, 2);
	cut_kill(cut);
	assert_int_equal(*word(cut, 0), 1);
	assert_int_equal(*word(cut, 8), 2);
	fence(cut);
	assert_int_equal(values(cut, 0), VALUES_2(0, 1));
	assert_int_equal(values(cut, 8), VALUES_2(0, 2));
	/* The next process reads both through the cache, so it can flush both. */
	flush(cut, 0);
	flush(cut, 8);
	fence(cut);
	assert_int_equal(values(cut, 0), VALUES_1(1));
	assert_int_equal(values(cut, 8), VALUES_1(2));
	cut_delete(cut);
}

static void byte_granularity_needs_any_fence_after_a_kill(void **state)
{
	(void)state;
	struct cut *cut = cut_new(BYTES, MEDIUM_BYTE);

	store(cut, 0, 1);
	stream(cut, 8, 2);
	cut_kill(cut);
	assert_int_equal(values(cut, 0), VALUES_2(0, 1));
	store(cut, 0, 3);
	in_another_thread(cut, fence_only);
	assert_int_equal(values(cut, 0), VALUES_2(1, 3));
	assert_int_equal(values(cut, 8), VALUES_1(2));
	cut_delete(cut);
}

static void direct_stores_survive_a_kill(void **state)
{
	(void)state;
	struct cut *cut = cut_new(BYTES, MEDIUM_BYTE);

	cut_allow_direct(cut, word(cut, 0), 64);
	*word(cut, 0) = 1;
	cut_kill(cut);
	assert_int_equal(values(cut, 0), VALUES_2(0, 1));
	fence(cut);
	assert_int_equal(values(cut, 0), VALUES_1(1));
	cut_delete(cut);
}

static void a_restart_disarms_every_fault(void **state)
{
	(void)state;
	struct cut *cut = cut_new(BYTES, MEDIUM_PAGE);
	char *image = calloc(1, BYTES);

	cut_fail_sync(cut, 1, EIO, true);
	cut_fail_writeback(cut, word(cut, 0), 8, EIO);
	cut_drop(cut, CUT_SYNC, 2);
	cut_allow_direct(cut, word(cut, 0), 64);
	cut_set_writable(cut, false);
	cut_restart(cut, image);
	store(cut, 0, 1);
	assert_int_equal(sync_word(cut, 0), 0);
	store(cut, 0, 2);
	assert_int_equal(sync_word(cut, 0), 0);
	assert_int_equal(values(cut, 0), VALUES_1(2));
	*word(cut, 0) = 3;
	assert_int_equal(cut_verify_no_bypass(cut), -1);
	free(image);
	cut_delete(cut);
}

static void a_killed_process_leaves_dirty_pages_dirty(void **state)
{
	(void)state;
	struct cut *cut = cut_new(BYTES, MEDIUM_PAGE);

	store(cut, 0, 1);
	cut_kill(cut);
	assert_int_equal(values(cut, 0), VALUES_2(0, 1));
	assert_int_equal(sync_word(cut, 0), 0);
	assert_int_equal(values(cut, 0), VALUES_1(1));
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

static void a_store_beside_the_table_is_found(void **state)
{
	(void)state;
	struct cut *cut = cut_new(10240, MEDIUM_PAGE);

	store(cut, 3, 1);
	assert_int_equal(cut_verify_no_bypass(cut), 0);
	*((char *)word(cut, 4) + 5) = 'x';
	assert_int_equal(cut_verify_no_bypass(cut), -1);
	assert_string_equal(error_message(), "byte at offset 37 was stored without the medium's table");
	medium_written(cut_medium(cut), word(cut, 4), 8);
	assert_int_equal(cut_verify_no_bypass(cut), 0);
	/* Behind the medium, in its last page. */
	cut_medium(cut)->base[10240] = 'x';
	assert_int_equal(cut_verify_no_bypass(cut), -1);
	cut_medium(cut)->base[10240] = 0;
	cut_allow_direct(cut, word(cut, 8), 64);
	*word(cut, 8) = *word(cut, 15) = 1;
	assert_int_equal(cut_verify_no_bypass(cut), 0);
	*word(cut, 16) = 1;
	assert_int_equal(cut_verify_no_bypass(cut), -1);
	*word(cut, 16) = 0;
	cut_allow_none(cut);
	assert_int_equal(cut_verify_no_bypass(cut), -1);
	cut_delete(cut);
}

static void direct_stores_may_reach_the_medium_before_they_are_declared(void **state)
{
	(void)state;
	for (int g = 0; g < 3; g++) {
		struct cut *cut = cut_new(BYTES, (enum medium_granularity)g);

		cut_allow_direct(cut, word(cut, 8), 64);
		*word(cut, 8) = 5;
		assert_int_equal(values(cut, 8), VALUES_2(0, 5));
		medium_fence(cut_medium(cut));
		assert_int_equal(values(cut, 8), VALUES_2(0, 5));
		medium_written(cut_medium(cut), word(cut, 8), 64);
		assert_int_equal(medium_persist(cut_medium(cut), word(cut, 8), 64), 0);
		assert_int_equal(values(cut, 8), VALUES_1(5));
		cut_delete(cut);
	}
}

static void scratch_words_are_neither_counted_nor_fixed(void **state)
{
	(void)state;
	struct cut *cut = cut_new(BYTES, MEDIUM_CACHE_LINE);

	cut_scratch(cut, word(cut, 8), 64);
	for (uint64_t i = 0; i < 1000; i++)
		store(cut, 8, i % 60);
	store(cut, 0, 1);
	assert_int_equal(cut_undurable_words(cut), 1);
	assert_int_equal(cut_combinations(cut), 2);
	assert_int_equal(values(cut, 0), VALUES_2(0, 1));
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

static void a_clone_goes_its_own_way(void **state)
{
	(void)state;
	struct cut *cut = cut_new(BYTES, MEDIUM_CACHE_LINE);

	for (uint64_t i = 1; i <= 5; i++)
		store(cut, 0, i);
	flush(cut, 0);
	struct cut *clone = cut_clone(cut);
	store(clone, 0, 9);
	assert_int_equal(*word(cut, 0), 5);
	fence(clone);
	assert_int_equal(values(clone, 0), VALUES_2(5, 9));
	assert_int_equal(values(cut, 0), 0x3f);
	fence(cut);
	assert_int_equal(values(cut, 0), VALUES_1(5));
	cut_delete(clone);
	cut_delete(cut);
}

static void a_clone_has_the_dirty_pages_ranges_and_faults(void **state)
{
	(void)state;
	struct cut *cut = cut_new(BYTES, MEDIUM_PAGE);

	store(cut, 0, 1);
	store(cut, 512, 1);
	cut_fail_writeback(cut, word(cut, 512), 8, ENOSPC);
	cut_scratch(cut, word(cut, 0), 8);
	cut_allow_direct(cut, word(cut, 1024), 8);
	cut_fail_sync(cut, 2, EIO, true);
	struct cut *clone = cut_clone(cut);
	cut_delete(cut);
	assert_int_equal(cut_undurable_words(clone), 1);
	assert_true(cut_page_is_dirty(clone, word(clone, 0)));
	assert_false(cut_page_is_dirty(clone, word(clone, 512)));
	*word(clone, 1024) = 1;
	assert_int_equal(cut_verify_no_bypass(clone), 0);
	assert_int_equal(sync_word(clone, 600), -1);
	assert_int_equal(errno, ENOSPC);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(sync_word(clone, 600), -1);
		assert_int_equal(errno, EIO);
	}
	cut_delete(clone);
}

static void fences_and_syncs_of_an_operation_are_counted(void **state)
{
	(void)state;
	struct cut *cut = cut_new(BYTES, MEDIUM_CACHE_LINE);
	_Atomic uint64_t exchanged = 0;

	store(cut, 0, 1);
	cut_counts_reset(cut);
	store(cut, 0, 2);
	medium_persist(cut_medium(cut), word(cut, 0), 8);
	medium_fence_exchange(cut_medium(cut), &exchanged, 1);
	struct cut_counts counts = cut_counts(cut);
	assert_int_equal(counts.stores, 1);
	assert_int_equal(counts.flushes, 1);
	assert_int_equal(counts.fences, 2);
	assert_int_equal(counts.syncs, 0);
	assert_int_equal(medium_counts(cut_medium(cut)).fences, 2);
	cut_delete(cut);
}

static void a_dropped_operation_does_nothing(void **state)
{
	(void)state;
	struct cut *cut = cut_new(BYTES, MEDIUM_CACHE_LINE);

	cut_drop(cut, CUT_FENCE, 2);
	for (size_t i = 0; i < 3; i++) {
		store(cut, 8 * i, 1);
		medium_persist(cut_medium(cut), word(cut, 8 * i), 8);
		/* The third fence covers the flush before it. */
		assert_int_equal(cut_is_durable(cut, word(cut, 8 * i), 8), i != 1);
	}
	assert_int_equal(cut_combinations(cut), 1);
	cut_drop(cut, CUT_FLUSH, 1);
	store(cut, 0, 2);
	medium_persist(cut_medium(cut), word(cut, 0), 8);
	fence(cut);
	assert_int_equal(values(cut, 0), VALUES_2(1, 2));
	cut_delete(cut);

	cut = cut_new(BYTES, MEDIUM_PAGE);
	store(cut, 0, 1);
	cut_drop(cut, CUT_SYNC, 1);
	assert_int_equal(sync_word(cut, 0), 0);
	assert_int_equal(values(cut, 0), VALUES_2(0, 1));
	assert_true(cut_page_is_dirty(cut, word(cut, 0)));
	cut_delete(cut);
}

static void a_copied_medium_still_finds_its_cut(void **state)
{
	(void)state;
	struct cut *cut = cut_new(BYTES, MEDIUM_CACHE_LINE);
	struct medium own;

	assert_int_equal(cut_attach(cut, &own), 0);
	medium_store8(&own, word(cut, 0), 1);
	assert_int_equal(values(cut, 0), VALUES_2(0, 1));
	medium_close(&own);
	cut_delete(cut);
}

/* Runs it in a child; true if the child died of a signal. */
static bool dies(void (*run)(struct cut *), struct cut *cut)
{
	int status;
	pid_t child = fork();

	assert_true(child >= 0);
	if (!child) {
		/* The sanitizers would turn the signal into an exit with a report. */
		if (!freopen("/dev/null", "w", stderr))
			_exit(0);
		for (int number = 1; number < 32; number++)
			signal(number, SIG_DFL);
		run(cut);
		_exit(0);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	return WIFSIGNALED(status);
}

static void store_behind(struct cut *cut)
{
	((volatile char *)cut_medium(cut)->base)[BYTES] = 1;
}

static void store_before(struct cut *cut)
{
	((volatile char *)cut_medium(cut)->base)[-1] = 1;
}

static void store_inside(struct cut *cut)
{
	((volatile char *)cut_medium(cut)->base)[5] = 1;
}

static void copy_across_the_end(struct cut *cut)
{
	medium_copy(cut_medium(cut), cut_medium(cut)->base + BYTES - 4, "12345", 5);
}

static void copy_inside(struct cut *cut)
{
	medium_copy(cut_medium(cut), cut_medium(cut)->base, "12345", 5);
}

static void stores_outside_or_to_a_read_only_medium_end_the_program(void **state)
{
	(void)state;
	struct cut *cut = cut_new(BYTES, MEDIUM_PAGE);

	assert_true(dies(store_behind, cut));
	assert_true(dies(store_before, cut));
	assert_true(dies(copy_across_the_end, cut));
	assert_false(dies(store_inside, cut));
	assert_false(dies(copy_inside, cut));
	cut_set_writable(cut, false);
	assert_true(dies(store_inside, cut));
	assert_true(dies(copy_inside, cut));
	cut_delete(cut);
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
		cmocka_unit_test(a_page_needs_a_sync_and_fences_do_nothing),
		cmocka_unit_test(a_sync_covers_the_stores_of_all_threads),
		cmocka_unit_test(syncs_and_redirties_reach_all_pages_of_their_range),
		cmocka_unit_test(a_failed_sync_leaves_clean_pages_with_unknown_words),
		cmocka_unit_test(the_nth_sync_fails_once_or_for_ever),
		cmocka_unit_test(redirty_makes_the_next_sync_write_the_page),
		cmocka_unit_test(an_unseen_write_back_failure_is_reported_once_by_any_sync),
		cmocka_unit_test(a_killed_process_leaves_undurable_words_that_no_later_fence_covers),
		cmocka_unit_test(byte_granularity_needs_any_fence_after_a_kill),
		cmocka_unit_test(direct_stores_survive_a_kill),
		cmocka_unit_test(a_restart_disarms_every_fault),
		cmocka_unit_test(a_killed_process_leaves_dirty_pages_dirty),
		cmocka_unit_test(an_identical_record_after_a_cut_makes_only_missing_words_undurable),
		cmocka_unit_test(parts_of_words_are_merged_with_what_was_there),
		cmocka_unit_test(a_store_beside_the_table_is_found),
		cmocka_unit_test(direct_stores_may_reach_the_medium_before_they_are_declared),
		cmocka_unit_test(scratch_words_are_neither_counted_nor_fixed),
		cmocka_unit_test(a_word_that_is_stored_for_ever_keeps_its_first_and_last_values),
		cmocka_unit_test(a_clone_goes_its_own_way),
		cmocka_unit_test(a_clone_has_the_dirty_pages_ranges_and_faults),
		cmocka_unit_test(fences_and_syncs_of_an_operation_are_counted),
		cmocka_unit_test(a_dropped_operation_does_nothing),
		cmocka_unit_test(a_copied_medium_still_finds_its_cut),
		cmocka_unit_test(stores_outside_or_to_a_read_only_medium_end_the_program),
	};

	return cmocka_run_group_tests_name("cut_model", tests, NULL, NULL);
}
