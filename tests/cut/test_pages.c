/*
 * test_pages.c: the rules of pages (cut.h): syncs that succeed, fail, or find nothing to write.
 */
#include "cut/test_words.h"

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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_page_needs_a_sync_and_fences_do_nothing),
		cmocka_unit_test(a_sync_covers_the_stores_of_all_threads),
		cmocka_unit_test(syncs_and_redirties_reach_all_pages_of_their_range),
		cmocka_unit_test(a_failed_sync_leaves_clean_pages_with_unknown_words),
		cmocka_unit_test(the_nth_sync_fails_once_or_for_ever),
		cmocka_unit_test(redirty_makes_the_next_sync_write_the_page),
		cmocka_unit_test(an_unseen_write_back_failure_is_reported_once_by_any_sync),
		cmocka_unit_test(a_killed_process_leaves_dirty_pages_dirty),
	};

	return cmocka_run_group_tests_name("cut_pages", tests, NULL, NULL);
}
