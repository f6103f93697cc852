/*
 * stream_batch.c: atomic batches, appendv, cancel, labels and blocking waits, on a medium that counts.
 */
#include "base/error.h"
#include "cut/cut.h"
#include "stream/stream.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>

#include <cmocka.h>

enum { MEDIUM_BYTES = 1 << 20, REGION_BYTES = 64 << 10, REGIONS = 3 };

struct fixture {
	struct cut *cut;
	struct pmemstream *stream;
	struct pmemstream_region regions[REGIONS];
};

static const enum medium_granularity granularities[] = {MEDIUM_BYTE, MEDIUM_CACHE_LINE, MEDIUM_PAGE};

static void open_stream(struct fixture *fixture)
{
	struct stream_options options = {.block_size = 4096, .window = 64, .salt = 7};
	struct medium medium;

	assert_int_equal(cut_attach(fixture->cut, &medium), 0);
	assert_int_equal(stream_open(&fixture->stream, &medium, &options), 0);
}

static void begin(struct fixture *fixture, enum medium_granularity granularity)
{
	fixture->cut = cut_new(MEDIUM_BYTES, granularity);
	cut_set_seen_stores(fixture->cut, true);
	open_stream(fixture);
	for (int i = 0; i < REGIONS; i++)
		assert_int_equal(pmemstream_region_allocate(fixture->stream, REGION_BYTES, &fixture->regions[i]), 0);
}

static void end(struct fixture *fixture)
{
	pmemstream_delete(&fixture->stream);
	assert_int_equal(cut_verify_no_bypass(fixture->cut), 0);
	cut_delete(fixture->cut);
}

static uint64_t count_entries(struct fixture *fixture, struct pmemstream_region region)
{
	struct pmemstream_entry_iterator *iterator;
	uint64_t count = 0;

	assert_int_equal(pmemstream_entry_iterator_new(&iterator, fixture->stream, region), 0);
	pmemstream_entry_iterator_seek_first(iterator);
	for (; !pmemstream_entry_iterator_is_valid(iterator); pmemstream_entry_iterator_next(iterator))
		count++;
	assert_int_equal(errno, ENODATA);
	pmemstream_entry_iterator_delete(&iterator);
	return count;
}

static void a_batch_over_three_regions_costs_one_fence_or_one_sync(void **state)
{
	(void)state;
	for (int g = 0; g < 3; g++) {
		struct fixture f;
		struct pmemstream_batch *batch;
		struct pmemstream_entry entries[30];

		begin(&f, granularities[g]);
		assert_int_equal(pmemstream_batch_begin(f.stream, &batch), 0);
		for (int i = 0; i < 30; i++) {
			char text[40];
			int bytes = snprintf(text, sizeof(text), "entry %d of the batch", i);
			assert_int_equal(pmemstream_batch_add(batch, f.regions[i % REGIONS], NULL, text, (size_t)bytes),
					 0);
		}
		assert_int_equal(pmemstream_committed_timestamp(f.stream), 0);
		struct medium_counts before = medium_counts(&f.stream->medium);
		assert_int_equal(pmemstream_batch_commit(&batch, entries), 0);
		struct medium_counts after = medium_counts(&f.stream->medium);
		assert_null(batch);
		assert_int_equal(after.fences - before.fences, granularities[g] == MEDIUM_PAGE ? 0 : 1);
		assert_int_equal(after.syncs - before.syncs, granularities[g] == MEDIUM_PAGE ? 1 : 0);
		assert_int_equal(pmemstream_persisted_timestamp(f.stream), 30);
		for (int i = 0; i < 30; i++)
			assert_int_equal(pmemstream_entry_timestamp(f.stream, entries[i]), i + 1);
		assert_memory_equal(pmemstream_entry_data(f.stream, entries[17]), "entry 17 of the batch", 21);
		pmemstream_delete(&f.stream);
		open_stream(&f);
		for (int i = 0; i < REGIONS; i++)
			assert_int_equal(count_entries(&f, f.regions[i]), 10);
		end(&f);
	}
}

static void an_aborted_batch_leaves_no_trace(void **state)
{
	(void)state;
	struct fixture f;
	struct pmemstream_batch *batch;
	struct pmemstream_entry entry;

	begin(&f, MEDIUM_CACHE_LINE);
	size_t usable = pmemstream_region_usable_size(f.stream, f.regions[0]);
	assert_int_equal(pmemstream_batch_begin(f.stream, &batch), 0);
	assert_int_equal(pmemstream_batch_add(batch, f.regions[0], NULL, "gone", 4), 0);
	pmemstream_batch_abort(&batch);
	assert_null(batch);
	pmemstream_batch_abort(&batch);
	assert_int_equal(pmemstream_region_usable_size(f.stream, f.regions[0]), usable);
	assert_int_equal(pmemstream_append(f.stream, f.regions[0], NULL, "first", 5, &entry), 0);
	assert_int_equal(pmemstream_entry_timestamp(f.stream, entry), 1);
	end(&f);
}

static void a_batch_that_does_not_fit_everywhere_changes_nothing_and_can_be_kept(void **state)
{
	(void)state;
	static char large[2 * REGION_BYTES];
	struct fixture f;
	struct pmemstream_batch *batch;

	begin(&f, MEDIUM_PAGE);
	assert_int_equal(pmemstream_append(f.stream, f.regions[1], NULL, large, 300, NULL), 0);
	assert_int_equal(pmemstream_batch_begin(f.stream, &batch), 0);
	assert_int_equal(pmemstream_batch_add(batch, f.regions[0], NULL, "a", 1), 0);
	assert_int_equal(pmemstream_batch_add(batch, f.regions[1], NULL, large,
					      pmemstream_region_usable_size(f.stream, f.regions[1]) - 31),
			 0);
	assert_int_equal(pmemstream_batch_commit(&batch, NULL), -1);
	assert_int_equal(errno, ENOSPC);
	assert_non_null(batch);
	assert_int_equal(count_entries(&f, f.regions[0]), 0);
	assert_int_equal(pmemstream_committed_timestamp(f.stream), 1);
	pmemstream_batch_abort(&batch);
	/* Half the window and no more. */
	assert_int_equal(pmemstream_batch_begin(f.stream, &batch), 0);
	for (int i = 0; i < 32; i++)
		assert_int_equal(pmemstream_batch_add(batch, f.regions[0], NULL, &i, sizeof(i)), 0);
	assert_int_equal(pmemstream_batch_add(batch, f.regions[0], NULL, "x", 1), -1);
	assert_int_equal(errno, E2BIG);
	assert_int_equal(pmemstream_batch_commit(&batch, NULL), 0);
	assert_int_equal(pmemstream_persisted_timestamp(f.stream), 33);
	end(&f);
}

struct writer {
	struct fixture *fixture;
	int number;
};

static void *write_batches_and_entries(void *argument)
{
	struct writer *writer = argument;
	struct fixture *f = writer->fixture;

	for (int i = 0; i < 60; i++) {
		struct pmemstream_batch *batch;
		uint32_t text[2] = {(uint32_t)writer->number, (uint32_t)i};
		assert_int_equal(pmemstream_batch_begin(f->stream, &batch), 0);
		for (int k = 0; k < 5; k++)
			assert_int_equal(pmemstream_batch_add(batch, f->regions[k % REGIONS], NULL, text, sizeof(text)),
					 0);
		assert_int_equal(pmemstream_batch_commit(&batch, NULL), 0);
		assert_int_equal(pmemstream_append(f->stream, f->regions[i % REGIONS], NULL, "single", 6, NULL), 0);
	}
	return NULL;
}

static void batches_of_several_threads_interleave_and_keep_together(void **state)
{
	(void)state;
	for (int g = 0; g < 3; g++) {
		struct fixture f;
		struct writer writers[3];
		pthread_t threads[3];

		begin(&f, granularities[g]);
		for (int i = 0; i < 3; i++) {
			writers[i] = (struct writer){&f, i};
			assert_int_equal(pthread_create(&threads[i], NULL, write_batches_and_entries, &writers[i]), 0);
		}
		for (int i = 0; i < 3; i++)
			pthread_join(threads[i], NULL);
		assert_int_equal(pmemstream_persisted_timestamp(f.stream), 3 * 60 * 6);
		pmemstream_delete(&f.stream);
		open_stream(&f);
		uint64_t total = 0;
		for (int i = 0; i < REGIONS; i++)
			total += count_entries(&f, f.regions[i]);
		assert_int_equal(total, 3 * 60 * 6);
		end(&f);
	}
}

static void appendv_gathers_what_append_would_write(void **state)
{
	(void)state;
	static char large[20000];
	struct fixture f;
	struct pmemstream_entry entry;

	memset(large, 'L', sizeof(large));
	begin(&f, MEDIUM_CACHE_LINE);
	struct iovec small[] = {{"one ", 4}, {NULL, 0}, {"two", 3}};
	assert_int_equal(pmemstream_appendv(f.stream, f.regions[0], NULL, small, 3, &entry), 0);
	assert_int_equal(pmemstream_entry_size(f.stream, entry), 7);
	assert_memory_equal(pmemstream_entry_data(f.stream, entry), "one two", 7);
	struct iovec pieces[] = {{"head", 4}, {large, sizeof(large)}, {"tail", 4}};
	assert_int_equal(pmemstream_appendv(f.stream, f.regions[0], NULL, pieces, 3, &entry), 0);
	assert_int_equal(pmemstream_entry_size(f.stream, entry), sizeof(large) + 8);
	assert_memory_equal((const char *)pmemstream_entry_data(f.stream, entry) + 4 + sizeof(large), "tail", 4);
	assert_int_equal(pmemstream_appendv(f.stream, f.regions[0], NULL, NULL, 0, &entry), 0);
	assert_int_equal(pmemstream_entry_size(f.stream, entry), 0);
	struct iovec wrapping[] = {{large, 5}, {large, SIZE_MAX - 2}};
	assert_int_equal(pmemstream_appendv(f.stream, f.regions[0], NULL, wrapping, 2, NULL), -1);
	assert_int_equal(errno, ENOSPC);
	assert_int_equal(pmemstream_appendv(f.stream, f.regions[0], NULL, small, -1, NULL), -1);
	assert_int_equal(errno, EINVAL);
	assert_int_equal(pmemstream_persisted_timestamp(f.stream), 3);
	end(&f);
}

static void a_cancelled_reservation_gives_the_tail_back(void **state)
{
	(void)state;
	struct fixture f;
	struct pmemstream_entry entry;
	void *data;

	begin(&f, MEDIUM_CACHE_LINE);
	assert_int_equal(pmemstream_reserve(f.stream, f.regions[0], NULL, 100, &entry, &data), 0);
	assert_int_equal(pmemstream_append(f.stream, f.regions[0], NULL, "x", 1, NULL), -1);
	assert_int_equal(errno, EBUSY);
	assert_int_equal(pmemstream_cancel(f.stream, f.regions[0], NULL, entry), 0);
	assert_int_equal(pmemstream_cancel(f.stream, f.regions[0], NULL, entry), -1);
	assert_int_equal(errno, EINVAL);
	assert_int_equal(pmemstream_append(f.stream, f.regions[0], NULL, "x", 1, &entry), 0);
	assert_int_equal(pmemstream_entry_timestamp(f.stream, entry), 1);
	end(&f);
}

static void labels_are_unique_found_and_durable(void **state)
{
	(void)state;
	char too_long[65];
	struct fixture f;
	struct pmemstream_region web, found;
	struct pmemstream_region_info info;

	memset(too_long, 'x', 64);
	too_long[64] = '\0';
	begin(&f, MEDIUM_PAGE);
	assert_int_equal(pmemstream_region_allocate_labeled(f.stream, 100, "web", &web), 0);
	assert_int_equal(pmemstream_region_allocate_labeled(f.stream, 100, "web", NULL), -1);
	assert_int_equal(errno, EEXIST);
	assert_int_equal(pmemstream_region_allocate_labeled(f.stream, 100, too_long, NULL), -1);
	assert_int_equal(errno, EINVAL);
	assert_int_equal(pmemstream_region_allocate_labeled(f.stream, 100, too_long + 1, NULL), 0);
	pmemstream_delete(&f.stream);
	open_stream(&f);
	assert_int_equal(pmemstream_region_find(f.stream, "web", &found), 0);
	assert_int_equal(found.offset, web.offset);
	assert_int_equal(pmemstream_region_find(f.stream, too_long + 1, NULL), 0);
	assert_int_equal(pmemstream_region_find(f.stream, "we", NULL), -1);
	assert_int_equal(errno, ENOENT);
	assert_int_equal(pmemstream_append(f.stream, web, NULL, "12345678", 8, NULL), 0);
	assert_int_equal(pmemstream_region_get_info(f.stream, web, &info), 0);
	assert_string_equal(info.label, "web");
	assert_int_equal(info.generation, REGIONS + 1);
	assert_int_equal(info.used, 40);
	assert_true(info.allocated_ns && info.checkpoint_ns >= info.allocated_ns);
	end(&f);
}

static void a_wait_ends_at_its_time_limit_and_at_once_when_reached(void **state)
{
	(void)state;
	for (int g = 0; g < 3; g++) {
		struct fixture f;

		begin(&f, granularities[g]);
		assert_int_equal(pmemstream_wait_persisted(f.stream, 0, 0), -1);
		assert_int_equal(errno, EINVAL);
		assert_int_equal(pmemstream_wait_persisted(f.stream, 1, 0), -1);
		assert_int_equal(errno, ETIMEDOUT);
		assert_int_equal(pmemstream_wait_committed(f.stream, 1, 2000000), -1);
		assert_int_equal(errno, ETIMEDOUT);
		assert_int_equal(pmemstream_append(f.stream, f.regions[0], NULL, "x", 1, NULL), 0);
		assert_int_equal(pmemstream_wait_committed(f.stream, 1, 0), 0);
		assert_int_equal(pmemstream_wait_persisted(f.stream, 1, UINT64_MAX), 0);
		end(&f);
	}
}

static void *wait_for_the_third(void *fixture)
{
	struct fixture *f = fixture;

	assert_int_equal(pmemstream_wait_persisted(f->stream, 3, UINT64_MAX), 0);
	return NULL;
}

static void a_sleeper_is_woken_by_the_append_that_he_waits_for(void **state)
{
	(void)state;
	for (int g = 0; g < 3; g++)
		for (int round = 0; round < 20; round++) {
			struct fixture f;
			pthread_t thread;

			begin(&f, granularities[g]);
			assert_int_equal(pthread_create(&thread, NULL, wait_for_the_third, &f), 0);
			for (int i = 0; i < 3; i++)
				assert_int_equal(pmemstream_append(f.stream, f.regions[i], NULL, "x", 1, NULL), 0);
			assert_int_equal(pthread_join(thread, NULL), 0);
			end(&f);
		}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_batch_over_three_regions_costs_one_fence_or_one_sync),
		cmocka_unit_test(an_aborted_batch_leaves_no_trace),
		cmocka_unit_test(a_batch_that_does_not_fit_everywhere_changes_nothing_and_can_be_kept),
		cmocka_unit_test(batches_of_several_threads_interleave_and_keep_together),
		cmocka_unit_test(appendv_gathers_what_append_would_write),
		cmocka_unit_test(a_cancelled_reservation_gives_the_tail_back),
		cmocka_unit_test(labels_are_unique_found_and_durable),
		cmocka_unit_test(a_wait_ends_at_its_time_limit_and_at_once_when_reached),
		cmocka_unit_test(a_sleeper_is_woken_by_the_append_that_he_waits_for),
	};

	return cmocka_run_group_tests_name("stream_batch", tests, NULL, NULL);
}
