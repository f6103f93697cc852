/*
 * test_toy.c: the test of the simulator by what it is for: it finds every mistake planted in a toy log, and nothing in
 * the right one.
 *
 * The toy log  an array of records of 16 words; record n holds n + 1 in its first word (the mark), then 15 words that
 *              follow from n. Two ways to append:
 *                marked    words, persist, mark, persist. A record counts if its mark is right.
 *                streamed  the last word is a checksum; all leave at once, one fence (PAGE: one sync). A record counts
 *                          if mark and checksum are right.
 *              Opening counts the records up to the first that does not count, and makes them durable again: they
 *              may only be in a cache.
 * The promise  what an append acknowledged, or an open returned, is there after any cut; so is nothing that was never
 *              submitted; and every record that counts has its right words.
 */
#include "base/crc32c.h"
#include "base/error.h"
#include "cut/cut.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { BYTES = 2 * MEDIUM_PAGE_BYTES, RECORD_WORDS = 16, RECORD_BYTES = RECORD_WORDS * 8, APPENDS = 5 };

enum bug {
	RIGHT = 0,
	NO_FENCE_BEFORE_MARK = 1,
	NO_FENCE_AFTER_MARK = 2,
	NO_FLUSH_OF_WORDS = 4,
	NO_FLUSH_OF_MARK = 8,
	STORE_AFTER_FLUSH = 16,
	FENCE_IN_ANOTHER_THREAD = 32,
	MARK_AND_WORD_TOGETHER = 64,
	FAILED_SYNC_IGNORED = 128,
	NO_REDIRTY = 256,
	NO_PERSIST_AT_OPEN = 512,
	STORE_BESIDE_THE_TABLE = 1024,
	NO_CHECKSUM = 2048,
	FENCE_TOO_MANY = 4096,
	NO_FLUSH_AT_OPEN = 8192,
};

struct toy {
	struct medium *medium;
	unsigned bugs;
	bool streamed;
	uint64_t count;
	bool failed;
};

static uint64_t *record_at(const struct toy *toy, uint64_t n)
{
	return (uint64_t *)toy->medium->base + n * RECORD_WORDS;
}

static void make_record(uint64_t n, uint64_t record[RECORD_WORDS])
{
	record[0] = n + 1;
	for (uint64_t i = 1; i < RECORD_WORDS; i++)
		record[i] = (n + 1) * 1000 + i;
	record[RECORD_WORDS - 1] = crc32c(0, record, RECORD_BYTES - 8);
}

static void fence_too_many(struct toy *toy)
{
	medium_fence(toy->medium);
}

static void *run_fence(void *medium)
{
	medium_fence(medium);
	return NULL;
}

static void fence(struct toy *toy)
{
	pthread_t thread;

	if (!(toy->bugs & FENCE_IN_ANOTHER_THREAD)) {
		medium_fence(toy->medium);
		return;
	}
	if (pthread_create(&thread, NULL, run_fence, toy->medium) || pthread_join(thread, NULL))
		abort();
}

/* Persist by hand, so that its parts can be left out. */
static int persist(struct toy *toy, const void *at, size_t bytes, unsigned no_fence, unsigned no_flush)
{
	if (toy->medium->granularity == MEDIUM_PAGE) {
		if (toy->bugs & no_fence)
			return 0;
		int err = medium_sync(toy->medium, at, bytes);
		return toy->bugs & FAILED_SYNC_IGNORED ? 0 : err;
	}
	if (!(toy->bugs & no_flush))
		medium_flush(toy->medium, at, bytes);
	if (!(toy->bugs & no_fence))
		fence(toy);
	return 0;
}

static int append_marked(struct toy *toy, uint64_t *to, const uint64_t *record)
{
	size_t whole = RECORD_WORDS - 1;

	if (toy->bugs & STORE_BESIDE_THE_TABLE)
		to[whole--] = record[RECORD_WORDS - 1];
	if (toy->bugs & STORE_AFTER_FLUSH)
		whole--;
	medium_copy(toy->medium, to + 1, record + 1, whole * 8);
	if (toy->bugs & STORE_AFTER_FLUSH) {
		medium_flush(toy->medium, to, RECORD_BYTES);
		medium_store8(toy->medium, to + RECORD_WORDS - 1, record[RECORD_WORDS - 1]);
		fence(toy);
	} else if (persist(toy, to, RECORD_BYTES, NO_FENCE_BEFORE_MARK, NO_FLUSH_OF_WORDS)) {
		return -1;
	}
	if (toy->bugs & FENCE_TOO_MANY)
		fence_too_many(toy);
	medium_store8(toy->medium, to, record[0]);
	return persist(toy, to, 8, NO_FENCE_AFTER_MARK, NO_FLUSH_OF_MARK);
}

/* Believes that 16 bytes are old or new together. */
static int append_wide(struct toy *toy, uint64_t *to, const uint64_t *record)
{
	medium_copy(toy->medium, to + 2, record + 2, RECORD_BYTES - 16);
	if (persist(toy, to, RECORD_BYTES, 0, 0))
		return -1;
	medium_copy(toy->medium, to, record, 16);
	return persist(toy, to, 16, 0, 0);
}

static int append_streamed(struct toy *toy, uint64_t *to, const uint64_t *record)
{
	medium_stream(toy->medium, to, record, 32, record + 4, RECORD_BYTES - 32);
	return persist(toy, to, RECORD_BYTES, NO_FENCE_AFTER_MARK, ~0U);
}

static int toy_append(struct toy *toy)
{
	uint64_t record[RECORD_WORDS], *to = record_at(toy, toy->count);

	if (toy->failed)
		return error_set(EIO, "a sync failed before");
	make_record(toy->count, record);
	int err = toy->bugs & MARK_AND_WORD_TOGETHER ? append_wide(toy, to, record)
		  : toy->streamed                    ? append_streamed(toy, to, record)
						     : append_marked(toy, to, record);
	if (err)
		toy->failed = true;
	else
		toy->count++;
	return err;
}

static bool counts(const struct toy *toy, const uint64_t *record, uint64_t n)
{
	if (record[0] != n + 1)
		return false;
	return !toy->streamed || toy->bugs & NO_CHECKSUM ||
	       record[RECORD_WORDS - 1] == crc32c(0, record, RECORD_BYTES - 8);
}

static int toy_open(struct toy *toy, struct medium *medium, unsigned bugs, bool streamed)
{
	*toy = (struct toy){.medium = medium, .bugs = bugs, .streamed = streamed};
	while (counts(toy, record_at(toy, toy->count), toy->count))
		toy->count++;
	if (bugs & NO_PERSIST_AT_OPEN)
		return 0;
	if (!(bugs & NO_REDIRTY))
		medium_redirty(medium, medium->base, toy->count * RECORD_BYTES);
	if (bugs & NO_FLUSH_AT_OPEN) {
		medium_fence(medium);
		return 0;
	}
	return medium_persist(medium, medium->base, toy->count * RECORD_BYTES);
}

struct run {
	unsigned bugs;
	bool streamed;
	uint64_t acknowledged, submitted;
	struct run *again; /* the next life */
};

static int open_and_compare(struct toy *toy, struct cut *cut, const struct run *run)
{
	/* A sync that was made to fail may hit the first opening. */
	if (toy_open(toy, cut_medium(cut), run->bugs, run->streamed) &&
	    toy_open(toy, cut_medium(cut), run->bugs, run->streamed))
		return -1;
	if (toy->count < run->acknowledged || toy->count > run->submitted)
		return error_set(EBADMSG, "%lu records, of which %lu were acknowledged and %lu submitted", toy->count,
				 run->acknowledged, run->submitted);
	for (uint64_t n = 0; n < toy->count; n++) {
		uint64_t record[RECORD_WORDS];
		make_record(n, record);
		if (memcmp(record, record_at(toy, n), sizeof(record)) != 0)
			return error_set(EBADMSG, "record %lu is not what was appended", n);
	}
	return 0;
}

/* One life after a cut or kill: open, compare; now and then go on appending, to be cut or killed again. */
static int live(struct cut *after, const struct cut_moment *moment, void *context)
{
	struct run *run = context, *again = run->again;
	struct toy toy;

	if (open_and_compare(&toy, after, run))
		return -1;
	if (!again || (!moment->killed && moment->image % 7))
		return 0;
	struct cut_watch watch = {
		.plan = {.all_below = 16, .samples = 5, .single_max = 4}, .check = live, .context = again};
	again->acknowledged = toy.count;
	again->submitted = toy.count + 1;
	cut_watch(after, &watch);
	if (!toy_append(&toy))
		again->acknowledged++;
	return cut_check_now(after);
}

/* The failure that the simulator found, or NULL; in a buffer of its own. */
static const char *find(enum medium_granularity granularity, unsigned bugs, bool streamed, unsigned fail_sync_at,
			bool kills)
{
	static char found[ERROR_MESSAGE_MAX];
	struct run third = {.bugs = bugs, .streamed = streamed}, second = third, first = third;
	struct cut_watch watch = {.kills = kills, .check = live, .context = &first};
	struct cut *cut = cut_new(BYTES, granularity);
	struct toy toy;

	second.again = NULL;
	first.again = &second;
	if (toy_open(&toy, cut_medium(cut), bugs, streamed))
		abort();
	cut_watch(cut, &watch);
	cut_fail_sync(cut, fail_sync_at, EIO, false);
	for (int i = 0; i < APPENDS && !toy.failed; i++) {
		first.submitted++;
		if (!toy_append(&toy))
			first.acknowledged++;
	}
	int err = cut_check_now(cut);
	assert_true(err || cut_images_checked(cut) > 100);
	if (err)
		snprintf(found, sizeof(found), "%s", cut_failure(cut));
	cut_delete(cut);
	return err ? found : NULL;
}

static void the_right_log_has_no_failure(void **state)
{
	(void)state;
	for (int g = 0; g < 3; g++)
		for (int streamed = 0; streamed < 2; streamed++) {
			const char *found = find((enum medium_granularity)g, RIGHT, streamed, 0, true);
			if (found)
				fail_msg("granularity %d, streamed %d: %s", g, streamed, found);
		}
}

static void the_right_log_has_no_failure_when_any_sync_fails(void **state)
{
	(void)state;
	for (unsigned n = 1; n < 2 * APPENDS + 2; n++)
		for (int streamed = 0; streamed < 2; streamed++) {
			const char *found = find(MEDIUM_PAGE, RIGHT, streamed, n, true);
			if (found)
				fail_msg("sync %u fails, streamed %d: %s", n, streamed, found);
		}
}

static void expect(enum medium_granularity granularity, unsigned bugs, bool streamed, unsigned fail_sync_at)
{
	/* Some mistakes show in a power cut alone only after a process kill. */
	bool after_kill_alone = bugs & (NO_REDIRTY | NO_PERSIST_AT_OPEN | NO_FLUSH_AT_OPEN);

	for (int kills = after_kill_alone; kills < 2; kills++) {
		const char *found = find(granularity, bugs, streamed, fail_sync_at, kills);
		if (!found)
			fail_msg("bug %u is not found at granularity %d, kills %d", bugs, granularity, kills);
		else if (getenv("CUT_TRACE"))
			fprintf(stderr, "bug %u at granularity %d: %s\n", bugs, granularity, found);
	}
}

static void a_missing_fence_is_found(void **state)
{
	(void)state;
	for (int g = 0; g < 3; g++) {
		expect((enum medium_granularity)g, NO_FENCE_BEFORE_MARK, false, 0);
		expect((enum medium_granularity)g, NO_FENCE_AFTER_MARK, false, 0);
		expect((enum medium_granularity)g, NO_FENCE_AFTER_MARK, true, 0);
	}
}

static void a_missing_flush_is_found(void **state)
{
	(void)state;
	expect(MEDIUM_CACHE_LINE, NO_FLUSH_OF_WORDS, false, 0);
	expect(MEDIUM_CACHE_LINE, NO_FLUSH_OF_MARK, false, 0);
}

static void a_store_between_flush_and_fence_is_found(void **state)
{
	(void)state;
	expect(MEDIUM_CACHE_LINE, STORE_AFTER_FLUSH, false, 0);
}

static void reliance_on_another_threads_fence_is_found(void **state)
{
	(void)state;
	for (int g = MEDIUM_BYTE; g <= MEDIUM_CACHE_LINE; g++) {
		expect((enum medium_granularity)g, FENCE_IN_ANOTHER_THREAD, false, 0);
		expect((enum medium_granularity)g, FENCE_IN_ANOTHER_THREAD, true, 0);
	}
}

static void trust_in_more_than_eight_bytes_is_found(void **state)
{
	(void)state;
	for (int g = 0; g < 3; g++) {
		expect((enum medium_granularity)g, MARK_AND_WORD_TOGETHER, false, 0);
		expect((enum medium_granularity)g, NO_CHECKSUM, true, 0);
	}
}

static void an_ignored_sync_failure_is_found(void **state)
{
	(void)state;
	/* The opening's sync is the first; the last two have no later one that makes good for them. */
	expect(MEDIUM_PAGE, FAILED_SYNC_IGNORED, false, 2 * APPENDS);
	expect(MEDIUM_PAGE, FAILED_SYNC_IGNORED, false, 2);
}

static void a_reopening_that_trusts_clean_pages_is_found(void **state)
{
	(void)state;
	expect(MEDIUM_PAGE, NO_REDIRTY, false, 4);
	expect(MEDIUM_PAGE, NO_REDIRTY, true, 2);
}

static void a_reopening_that_trusts_the_caches_is_found(void **state)
{
	(void)state;
	for (int g = 0; g < 3; g++) {
		expect((enum medium_granularity)g, NO_PERSIST_AT_OPEN, false, 0);
		expect((enum medium_granularity)g, NO_PERSIST_AT_OPEN, true, 0);
	}
}

static void a_reopening_that_trusts_the_flushes_of_the_dead_is_found(void **state)
{
	(void)state;
	expect(MEDIUM_CACHE_LINE, NO_FLUSH_AT_OPEN, false, 0);
	expect(MEDIUM_CACHE_LINE, NO_FLUSH_AT_OPEN, true, 0);
}

static void a_store_beside_the_table_is_found(void **state)
{
	(void)state;
	for (int g = 0; g < 3; g++)
		expect((enum medium_granularity)g, STORE_BESIDE_THE_TABLE, false, 0);
}

static void the_right_log_with_one_fence_too_many_has_no_failure(void **state)
{
	(void)state;
	for (int g = 0; g < 3; g++)
		assert_null(find((enum medium_granularity)g, FENCE_TOO_MANY, false, 0, true));
}

/* What is right by itself, for tests/mutate.py to take one ordering after the other away. */
static const struct CMUnitTest right_tests[] = {
	cmocka_unit_test(the_right_log_has_no_failure),
	cmocka_unit_test(the_right_log_has_no_failure_when_any_sync_fails),
	cmocka_unit_test(the_right_log_with_one_fence_too_many_has_no_failure),
};

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_right_log_has_no_failure),
		cmocka_unit_test(the_right_log_has_no_failure_when_any_sync_fails),
		cmocka_unit_test(the_right_log_with_one_fence_too_many_has_no_failure),
		cmocka_unit_test(a_missing_fence_is_found),
		cmocka_unit_test(a_missing_flush_is_found),
		cmocka_unit_test(a_store_between_flush_and_fence_is_found),
		cmocka_unit_test(reliance_on_another_threads_fence_is_found),
		cmocka_unit_test(trust_in_more_than_eight_bytes_is_found),
		cmocka_unit_test(an_ignored_sync_failure_is_found),
		cmocka_unit_test(a_reopening_that_trusts_clean_pages_is_found),
		cmocka_unit_test(a_reopening_that_trusts_the_caches_is_found),
		cmocka_unit_test(a_reopening_that_trusts_the_flushes_of_the_dead_is_found),
		cmocka_unit_test(a_store_beside_the_table_is_found),
	};

	if (argc > 1 && !strcmp(argv[1], "right"))
		return cmocka_run_group_tests_name("cut_toy", right_tests, NULL, NULL);
	return cmocka_run_group_tests_name("cut_toy", tests, NULL, NULL);
}
