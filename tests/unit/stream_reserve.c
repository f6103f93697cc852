/*
 * stream_reserve.c: tests of reserve, publish and async_publish: sizes, visibility, and who may wait for whom.
 */
#include "stream_map.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum { FILE_BYTES = 1 << 20, BLOCK = 512 };

static struct pmemstream_entry reserve(struct pmemstream *stream, struct pmemstream_region region, size_t size,
				       void **data)
{
	struct pmemstream_entry entry;

	if (pmemstream_reserve(stream, region, NULL, size, &entry, data))
		fail_msg("reserve of %zu: %s", size, pmemstream_errormsg());
	assert_int_equal((uintptr_t)*data % 8, 0);
	return entry;
}

static void a_reservation_is_no_entry_until_it_is_published(void **state)
{
	(void)state;
	for (int g = 0; g < MAP_GRANULARITIES; g++)
		for (int async = 0; async < 2; async++) {
			struct opened opened;
			void *data;
			opened_new(&opened, map_granularities[g], FILE_BYTES, BLOCK);
			struct pmemstream *stream = opened.stream;
			struct pmemstream_region region = region_of(stream, 10000);
			append_text(stream, region, "in front");
			struct pmemstream_entry entry = reserve(stream, region, 5, &data);
			memcpy(data, "built", 5);
			assert_fails_as(stream, pmemstream_entry_timestamp(stream, entry), 0, EINVAL);
			assert_fails_as(stream, pmemstream_entry_size(stream, entry), 0, EINVAL);
			assert_fails_as(stream, pmemstream_entry_data(stream, entry), NULL, EINVAL);
			assert_texts(stream, region, "in front", NULL);
			assert_int_equal(pmemstream_committed_timestamp(stream), 1);
			if (async) {
				assert_int_equal(pmemstream_async_publish(stream, region, NULL, entry, 5), 0);
				assert_int_equal(pmemstream_entry_timestamp(stream, entry), 2);
				assert_int_equal(pmemstream_entry_size(stream, entry), 5);
				wait_persisted(stream, 2);
			} else {
				assert_int_equal(pmemstream_publish(stream, region, NULL, entry, 5), 0);
			}
			assert_int_equal(pmemstream_persisted_timestamp(stream), 2);
			assert_ptr_equal(pmemstream_entry_data(stream, entry), data);
			assert_fails(stream, pmemstream_publish(stream, region, NULL, entry, 5), EINVAL);
			append_text(stream, region, "behind");
			assert_texts(stream, region, "in front", "built", "behind", NULL);
			opened_again(&opened);
			assert_texts(opened.stream, region, "in front", "built", "behind", NULL);
			opened_free(&opened);
		}
}

static void the_size_at_publish_is_final(void **state)
{
	(void)state;
	static const size_t sizes[][2] = {{100, 100}, {100, 10}, {100, 0}, {0, 0}, {0, 1000}, {10, 100}, {31, 33}};

	for (int g = 0; g < MAP_GRANULARITIES; g++) {
		struct opened opened;
		opened_new(&opened, map_granularities[g], FILE_BYTES, BLOCK);
		struct pmemstream *stream = opened.stream;
		struct pmemstream_region region = region_of(stream, 10000);
		for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
			void *data;
			size_t usable = pmemstream_region_usable_size(stream, region);
			struct pmemstream_entry entry = reserve(stream, region, sizes[i][0], &data);
			memset(data, 'x', sizes[i][1]);
			assert_int_equal(pmemstream_publish(stream, region, NULL, entry, sizes[i][1]), 0);
			assert_int_equal(pmemstream_entry_size(stream, entry), sizes[i][1]);
			assert_int_equal(pmemstream_region_usable_size(stream, region),
					 usable - pmemstream_entry_space(stream, sizes[i][1]));
		}
		opened_again(&opened);
		assert_int_equal(count_entries(opened.stream, region), sizeof(sizes) / sizeof(*sizes));
		opened_free(&opened);
	}
}

static void a_publish_that_fails_leaves_the_reservation_open(void **state)
{
	(void)state;
	struct opened opened;
	struct pmemstream_region_runtime *runtime;
	void *data;

	opened_new(&opened, "CACHE_LINE", FILE_BYTES, BLOCK);
	struct pmemstream *stream = opened.stream;
	struct pmemstream_region region = region_of(stream, 1000), other = region_of(stream, 1000);
	struct pmemstream_entry entry = reserve(stream, region, 3, &data), wrong = {.offset = entry.offset + 64};
	size_t usable = pmemstream_region_usable_size(stream, region);
	memcpy(data, "yes", 3);
	assert_int_equal(pmemstream_region_runtime_initialize(stream, other, &runtime), 0);
	assert_fails(stream, pmemstream_publish(stream, region, NULL, entry, usable), ENOSPC);
	assert_fails(stream, pmemstream_publish(stream, region, NULL, entry, SIZE_MAX), ENOSPC);
	assert_fails(stream, pmemstream_async_publish(stream, region, NULL, entry, usable), ENOSPC);
	assert_fails(stream, pmemstream_publish(stream, region, NULL, wrong, 3), EINVAL);
	assert_fails(stream, pmemstream_publish(stream, other, NULL, entry, 3), EINVAL);
	assert_fails(stream, pmemstream_publish(stream, region, runtime, entry, 3), EINVAL);
	assert_int_equal(pmemstream_publish(stream, region, NULL, entry, 3), 0);
	assert_texts(stream, region, "yes", NULL);
	opened_free(&opened);
}

static void the_holder_is_told_busy_at_once(void **state)
{
	(void)state;
	for (int g = 0; g < MAP_GRANULARITIES; g++) {
		struct opened opened;
		void *data, *second = &data;
		struct pmemstream_entry none = {.offset = 7};
		opened_new(&opened, map_granularities[g], FILE_BYTES, BLOCK);
		struct pmemstream *stream = opened.stream;
		struct pmemstream_region region = region_of(stream, 10000), other = region_of(stream, 10000);
		struct pmemstream_entry entry = reserve(stream, region, 10, &data);
		/* Each would take a second if it waited. */
		for (int i = 0; i < 1000; i++) {
			assert_fails(stream, pmemstream_reserve(stream, region, NULL, 1, &none, &second), EBUSY);
			assert_fails(stream, pmemstream_append(stream, region, NULL, "x", 1, &none), EBUSY);
			assert_fails(stream, pmemstream_region_free(stream, region), EBUSY);
		}
		assert_int_equal(none.offset, 7);
		assert_ptr_equal(second, &data);
		/* Another region is free to him, for appends and reservations. */
		append_text(stream, other, "a");
		struct pmemstream_entry beside = reserve(stream, other, 1, &second);
		memcpy(second, "b", 1);
		memcpy(data, "0123456789", 10);
		assert_int_equal(pmemstream_publish(stream, region, NULL, entry, 10), 0);
		assert_int_equal(pmemstream_publish(stream, other, NULL, beside, 1), 0);
		assert_texts(stream, region, "0123456789", NULL);
		assert_texts(stream, other, "a", "b", NULL);
		assert_int_equal(pmemstream_entry_timestamp(stream, beside), 3);
		assert_int_equal(pmemstream_region_free(stream, region), 0);
		opened_free(&opened);
	}
}

/* What another thread does, with the errno it got. */
struct helper {
	struct pmemstream *stream;
	struct pmemstream_region region, second;
	struct pmemstream_entry entry;
	void *data;
	int result, err;
	atomic_int step;
};

static void await(struct helper *helper, int step)
{
	while (atomic_load(&helper->step) < step)
		sched_yield();
}

static void *append_one(void *argument)
{
	struct helper *helper = argument;

	atomic_store(&helper->step, 1);
	helper->result = pmemstream_append(helper->stream, helper->region, NULL, "waited", 6, NULL);
	helper->err = errno;
	return NULL;
}

static void *reserve_one(void *argument)
{
	struct helper *helper = argument;

	helper->result = pmemstream_reserve(helper->stream, helper->region, NULL, 6, &helper->entry, &helper->data);
	if (!helper->result)
		memcpy(helper->data, "theirs", 6);
	return NULL;
}

static void *publish_one(void *argument)
{
	struct helper *helper = argument;

	helper->result = pmemstream_publish(helper->stream, helper->region, NULL, helper->entry, 6);
	return NULL;
}

static void run(void *(*function)(void *), struct helper *helper)
{
	pthread_t thread;

	assert_int_equal(pthread_create(&thread, NULL, function, helper), 0);
	assert_int_equal(pthread_join(thread, NULL), 0);
}

static void others_wait_a_bounded_time_for_the_tail(void **state)
{
	(void)state;
	for (int g = 1; g < MAP_GRANULARITIES; g++) {
		struct opened opened;
		struct helper helper;
		void *data;
		pthread_t thread;
		opened_new(&opened, map_granularities[g], FILE_BYTES, BLOCK);
		struct pmemstream_region region = region_of(opened.stream, 10000);
		helper = (struct helper){.stream = opened.stream, .region = region};
		struct pmemstream_entry entry = reserve(opened.stream, region, 4, &data);
		run(append_one, &helper);
		assert_int_equal(helper.result, -1);
		assert_int_equal(helper.err, EBUSY);
		/* Published while he waits, or before he comes: either way he gets it. */
		atomic_store(&helper.step, 0);
		memcpy(data, "mine", 4);
		assert_int_equal(pthread_create(&thread, NULL, append_one, &helper), 0);
		await(&helper, 1);
		assert_int_equal(pmemstream_publish(opened.stream, region, NULL, entry, 4), 0);
		assert_int_equal(pthread_join(thread, NULL), 0);
		assert_int_equal(helper.result, 0);
		assert_texts(opened.stream, region, "mine", "waited", NULL);
		opened_free(&opened);
	}
}

static void two_holders_never_wait_for_each_other(void **state)
{
	(void)state;
	struct opened opened;
	void *data, *second = &data;
	struct pmemstream_entry none = {.offset = 7};

	opened_new(&opened, "PAGE", FILE_BYTES, BLOCK);
	struct pmemstream *stream = opened.stream;
	struct pmemstream_region mine = region_of(stream, 10000);
	struct helper helper = {.stream = stream, .region = region_of(stream, 10000)};
	struct pmemstream_entry entry = reserve(stream, mine, 4, &data);
	/* The thread that reserved has ended: nobody can be told that he holds it, but the other one still must not
	 * wait. */
	run(reserve_one, &helper);
	assert_int_equal(helper.result, 0);
	for (int i = 0; i < 100; i++) {
		assert_fails(stream, pmemstream_append(stream, helper.region, NULL, "x", 1, &none), EDEADLK);
		assert_fails(stream, pmemstream_reserve(stream, helper.region, NULL, 1, &none, &second), EDEADLK);
	}
	assert_int_equal(none.offset, 7);
	assert_ptr_equal(second, &data);
	memcpy(data, "mine", 4);
	assert_int_equal(pmemstream_publish(stream, mine, NULL, entry, 4), 0);
	assert_int_equal(pmemstream_publish(stream, helper.region, NULL, helper.entry, 6), 0);
	append_text(stream, helper.region, "mine");
	assert_texts(stream, helper.region, "theirs", "mine", NULL);
	opened_free(&opened);
}

static void a_reservation_outlives_its_thread_and_any_thread_publishes_it(void **state)
{
	(void)state;
	for (int g = 1; g < MAP_GRANULARITIES; g++) {
		struct opened opened;
		struct pmemstream_entry none;
		void *data;
		opened_new(&opened, map_granularities[g], FILE_BYTES, BLOCK);
		struct pmemstream *stream = opened.stream;
		struct helper helper = {.stream = stream, .region = region_of(stream, 10000)};
		run(reserve_one, &helper);
		assert_int_equal(helper.result, 0);
		/* A new thread may get the identity of the old one from the system; it is not the holder. */
		assert_fails(stream, pmemstream_reserve(stream, helper.region, NULL, 1, &none, &data), EBUSY);
		run(publish_one, &helper);
		assert_int_equal(helper.result, 0);
		struct pmemstream_entry entry = reserve(stream, helper.region, 2, &data);
		memcpy(data, "me", 2);
		helper.entry = entry;
		assert_int_equal(pmemstream_async_publish(stream, helper.region, NULL, entry, 2), 0);
		wait_persisted(stream, 2);
		append_text(stream, helper.region, "free again");
		assert_texts(stream, helper.region, "theirs", "me", "free again", NULL);
		opened_free(&opened);
	}
}

static void delete_ends_reservations_without_a_trace(void **state)
{
	(void)state;
	for (int g = 0; g < MAP_GRANULARITIES; g++) {
		struct opened opened;
		struct pmemstream_region regions[5];
		void *data;
		opened_new(&opened, map_granularities[g], FILE_BYTES, BLOCK);
		for (int i = 0; i < 5; i++) {
			regions[i] = region_of(opened.stream, 5000);
			append_text(opened.stream, regions[i], "before");
			reserve(opened.stream, regions[i], 4000, &data);
			memset(data, 'x', 4000);
		}
		opened_again(&opened);
		assert_int_equal(pmemstream_committed_timestamp(opened.stream), 5);
		for (int i = 0; i < 5; i++) {
			assert_texts(opened.stream, regions[i], "before", NULL);
			append_text(opened.stream, regions[i], "after");
			assert_texts(opened.stream, regions[i], "before", "after", NULL);
		}
		opened_free(&opened);
	}
}

static void a_cancelled_reservation_leaves_the_tail_where_it_was(void **state)
{
	(void)state;
	struct opened opened;
	void *data;

	opened_new(&opened, "CACHE_LINE", FILE_BYTES, BLOCK);
	struct pmemstream *stream = opened.stream;
	struct pmemstream_region region = region_of(stream, 5000);
	struct pmemstream_entry entry = reserve(stream, region, 100, &data), wrong = {.offset = entry.offset + 8};
	memset(data, 'x', 100);
	assert_fails(stream, pmemstream_cancel(NULL, region, NULL, entry), EINVAL);
	assert_fails(stream, pmemstream_cancel(stream, region, NULL, wrong), EINVAL);
	assert_int_equal(pmemstream_cancel(stream, region, NULL, entry), 0);
	assert_fails(stream, pmemstream_cancel(stream, region, NULL, entry), EINVAL);
	assert_fails(stream, pmemstream_publish(stream, region, NULL, entry, 100), EINVAL);
	assert_int_equal(append_text(stream, region, "instead").offset, entry.offset);
	assert_texts(stream, region, "instead", NULL);
	opened_free(&opened);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_reservation_is_no_entry_until_it_is_published),
		cmocka_unit_test(the_size_at_publish_is_final),
		cmocka_unit_test(a_publish_that_fails_leaves_the_reservation_open),
		cmocka_unit_test(the_holder_is_told_busy_at_once),
		cmocka_unit_test(others_wait_a_bounded_time_for_the_tail),
		cmocka_unit_test(two_holders_never_wait_for_each_other),
		cmocka_unit_test(a_reservation_outlives_its_thread_and_any_thread_publishes_it),
		cmocka_unit_test(delete_ends_reservations_without_a_trace),
		cmocka_unit_test(a_cancelled_reservation_leaves_the_tail_where_it_was),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
