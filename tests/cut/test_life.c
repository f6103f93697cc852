/*
 * test_life.c: a cut after a process kill, cloned, restarted, mutated, and stored to beside the table.
 */
#include "cut/test_words.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

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

	store(cut, 0, 1);
	cut_counts_reset(cut);
	store(cut, 0, 2);
	medium_persist(cut_medium(cut), word(cut, 0), 8);
	medium_fence(cut_medium(cut));
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
		cmocka_unit_test(a_killed_process_leaves_undurable_words_that_no_later_fence_covers),
		cmocka_unit_test(byte_granularity_needs_any_fence_after_a_kill),
		cmocka_unit_test(direct_stores_survive_a_kill),
		cmocka_unit_test(a_restart_disarms_every_fault),
		cmocka_unit_test(a_store_beside_the_table_is_found),
		cmocka_unit_test(direct_stores_may_reach_the_medium_before_they_are_declared),
		cmocka_unit_test(scratch_words_are_neither_counted_nor_fixed),
		cmocka_unit_test(a_clone_goes_its_own_way),
		cmocka_unit_test(a_clone_has_the_dirty_pages_ranges_and_faults),
		cmocka_unit_test(fences_and_syncs_of_an_operation_are_counted),
		cmocka_unit_test(a_dropped_operation_does_nothing),
		cmocka_unit_test(a_copied_medium_still_finds_its_cut),
		cmocka_unit_test(stores_outside_or_to_a_read_only_medium_end_the_program),
	};

	return cmocka_run_group_tests_name("cut_life", tests, NULL, NULL);
}
