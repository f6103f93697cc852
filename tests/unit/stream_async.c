/*
 * stream_async.c: tests of async_append with every kind of data mover.
 */
#include "stream_map.h"
#include "stream_mover.h"

#include <stdlib.h>
#include <string.h>

enum { FILE_BYTES = 4 << 20, BLOCK = 512 };

enum kind { SYNC, THREADS, THREADS_SILENT, OWN, OWN_REFUSING, KINDS };

struct any_mover {
	enum kind kind;
	struct data_mover_sync *sync;
	struct data_mover_threads *threads;
	struct manual_mover own;
};

static struct vdm *any_new(struct any_mover *mover, enum kind kind)
{
	mover->kind = kind;
	switch (kind) {
	case SYNC:
		mover->sync = data_mover_sync_new();
		return data_mover_sync_get_vdm(mover->sync);
	case THREADS:
	case THREADS_SILENT:
		mover->threads =
			data_mover_threads_new(2, 64, kind == THREADS ? FUTURE_NOTIFIER_WAKER : FUTURE_NOTIFIER_NONE);
		assert_non_null(mover->threads);
		return data_mover_threads_get_vdm(mover->threads);
	default:
		manual_mover_init(&mover->own);
		manual_mover_release(&mover->own);
		atomic_store(&mover->own.refusals, kind == OWN_REFUSING ? 500 : 0);
		return &mover->own.vdm;
	}
}

static void any_delete(struct any_mover *mover)
{
	if (mover->kind == SYNC)
		data_mover_sync_delete(mover->sync);
	else if (mover->kind == THREADS || mover->kind == THREADS_SILENT)
		data_mover_threads_delete(mover->threads);
	else
		assert_int_equal(atomic_load(&mover->own.living), 0);
}

enum { MANY = 3000, TEXT_BYTES = 200 };
static char texts[MANY][TEXT_BYTES];

static size_t size_of(size_t i)
{
	return i * 7 % TEXT_BYTES;
}

static void append_many(struct pmemstream *stream, struct vdm *vdm, const struct pmemstream_region *regions)
{
	for (size_t i = 0; i < MANY; i++) {
		struct pmemstream_entry entry;
		memset(texts[i], (int)(i % 255 + 1), TEXT_BYTES);
		if (pmemstream_async_append(stream, vdm, regions[i % 2], NULL, texts[i], size_of(i), &entry))
			fail_msg("async_append: %s", pmemstream_errormsg());
		assert_int_equal(pmemstream_entry_timestamp(stream, entry), i + 1);
		assert_int_equal(pmemstream_entry_size(stream, entry), size_of(i));
	}
}

static void assert_many(struct pmemstream *stream, const struct pmemstream_region *regions)
{
	for (size_t r = 0; r < 2; r++) {
		struct pmemstream_entry_iterator *iterator;
		assert_int_equal(pmemstream_entry_iterator_new(&iterator, stream, regions[r]), 0);
		pmemstream_entry_iterator_seek_first(iterator);
		for (size_t i = r; i < MANY; i += 2) {
			struct pmemstream_entry entry = pmemstream_entry_iterator_get(iterator);
			assert_int_equal(pmemstream_entry_timestamp(stream, entry), i + 1);
			assert_int_equal(pmemstream_entry_size(stream, entry), size_of(i));
			assert_memory_equal(pmemstream_entry_data(stream, entry), texts[i], size_of(i));
			pmemstream_entry_iterator_next(iterator);
		}
		assert_fails(stream, pmemstream_entry_iterator_is_valid(iterator), ENODATA);
		pmemstream_entry_iterator_delete(&iterator);
	}
}

static void thousands_are_appended_by_every_mover_without_a_wait(void **state)
{
	(void)state;
	for (int g = 0; g < MAP_GRANULARITIES; g++)
		for (enum kind kind = 0; kind < KINDS; kind++) {
			struct opened opened;
			struct any_mover mover;
			opened_new(&opened, map_granularities[g], FILE_BYTES, BLOCK);
			struct pmemstream_region regions[2] = {region_of(opened.stream, 1 << 20),
							       region_of(opened.stream, 1 << 20)};
			append_many(opened.stream, any_new(&mover, kind), regions);
			wait_persisted(opened.stream, MANY);
			assert_int_equal(pmemstream_committed_timestamp(opened.stream), MANY);
			assert_int_equal(pmemstream_persisted_timestamp(opened.stream), MANY);
			any_delete(&mover);
			assert_many(opened.stream, regions);
			opened_again(&opened);
			assert_many(opened.stream, regions);
			opened_free(&opened);
		}
}

static void delete_finishes_what_was_started(void **state)
{
	(void)state;
	for (int g = 0; g < MAP_GRANULARITIES; g++)
		for (enum kind kind = 0; kind < KINDS; kind++) {
			struct opened opened;
			struct any_mover mover;
			opened_new(&opened, map_granularities[g], FILE_BYTES, BLOCK);
			struct pmemstream_region regions[2] = {region_of(opened.stream, 1 << 20),
							       region_of(opened.stream, 1 << 20)};
			append_many(opened.stream, any_new(&mover, kind), regions);
			/* Callers delete the library's movers first. */
			if (kind < OWN)
				any_delete(&mover);
			pmemstream_delete(&opened.stream);
			if (kind >= OWN)
				any_delete(&mover);
			opened_again(&opened);
			assert_int_equal(pmemstream_persisted_timestamp(opened.stream), MANY);
			assert_many(opened.stream, regions);
			opened_free(&opened);
		}
}

static void an_entry_is_shown_when_it_is_committed_and_not_before(void **state)
{
	(void)state;
	for (int g = 0; g < MAP_GRANULARITIES; g++)
		for (int wakes = 0; wakes < 2; wakes++) {
			struct opened opened;
			struct manual_mover mover;
			struct pmemstream_entry entry, second;
			opened_new(&opened, map_granularities[g], FILE_BYTES, BLOCK);
			struct pmemstream *stream = opened.stream;
			struct pmemstream_region region = region_of(stream, 10000), other = region_of(stream, 10000);
			struct data_mover_sync *sync = data_mover_sync_new();
			manual_mover_init(&mover);
			mover.wakes = wakes;
			append_text(stream, region, "shown");
			assert_int_equal(pmemstream_async_append(stream, &mover.vdm, region, NULL, "held", 4, &entry),
					 0);
			assert_int_equal(pmemstream_entry_timestamp(stream, entry), 2);
			assert_int_equal(pmemstream_entry_size(stream, entry), 4);
			/* Whole, but behind one that is not. */
			assert_int_equal(pmemstream_async_append(stream, data_mover_sync_get_vdm(sync), other, NULL,
								 "behind", 6, &second),
					 0);
			assert_int_equal(pmemstream_entry_timestamp(stream, second), 3);
			struct pmemstream_async_wait_fut wait = pmemstream_async_wait_committed(stream, 3);
			for (int i = 0; i < 100; i++)
				assert_int_equal(future_poll(FUTURE_AS_RUNNABLE(&wait), NULL), FUTURE_STATE_RUNNING);
			assert_int_equal(pmemstream_committed_timestamp(stream), 1);
			assert_texts(stream, region, "shown", NULL);
			assert_texts(stream, other, NULL);
			/* Who would free it has to wait for it. */
			assert_fails(stream, pmemstream_region_free(stream, region), EBUSY);

			manual_mover_release(&mover);
			assert_int_equal(future_poll(FUTURE_AS_RUNNABLE(&wait), NULL), FUTURE_STATE_COMPLETE);
			assert_int_equal(wait.output.error_code, 0);
			assert_int_equal(pmemstream_committed_timestamp(stream), 3);
			assert_true(pmemstream_persisted_timestamp(stream) <= 3);
			assert_texts(stream, region, "shown", "held", NULL);
			assert_texts(stream, other, "behind", NULL);
			wait_persisted(stream, 2);
			assert_true(pmemstream_persisted_timestamp(stream) >= 2);
			assert_int_equal(pmemstream_region_free(stream, region), 0);
			data_mover_sync_delete(sync);
			opened_free(&opened);
		}
}

static void free_needs_no_wait_for_a_copy_that_is_done(void **state)
{
	(void)state;
	for (int g = 0; g < MAP_GRANULARITIES; g++) {
		struct opened opened;
		struct manual_mover mover;
		opened_new(&opened, map_granularities[g], FILE_BYTES, BLOCK);
		struct pmemstream_region region = region_of(opened.stream, 10000);
		manual_mover_init(&mover);
		assert_int_equal(pmemstream_async_append(opened.stream, &mover.vdm, region, NULL, "copied", 6, NULL),
				 0);
		assert_fails(opened.stream, pmemstream_region_free(opened.stream, region), EBUSY);
		manual_mover_release(&mover);
		assert_int_equal(pmemstream_region_free(opened.stream, region), 0);
		assert_int_equal(pmemstream_persisted_timestamp(opened.stream), 1);
		opened_free(&opened);
	}
}

static void a_copy_that_fails_is_never_shown_and_holds_nothing_up(void **state)
{
	(void)state;
	for (int g = 0; g < MAP_GRANULARITIES; g++)
		for (int early = 0; early < 2; early++) {
			struct opened opened;
			struct manual_mover mover;
			struct pmemstream_entry entry;
			opened_new(&opened, map_granularities[g], FILE_BYTES, BLOCK);
			struct pmemstream *stream = opened.stream;
			struct pmemstream_region region = region_of(stream, 10000);
			manual_mover_init(&mover);
			mover.result = VDM_ERROR_JOB_CORRUPTED;
			append_text(stream, region, "one");
			if (early)
				manual_mover_release(&mover);
			assert_int_equal(pmemstream_async_append(stream, &mover.vdm, region, NULL, "broken", 6, &entry),
					 0);
			assert_int_equal(pmemstream_entry_timestamp(stream, entry), 2);
			manual_mover_release(&mover);
			append_text(stream, region, "three");
			assert_int_equal(pmemstream_persisted_timestamp(stream), 3);
			assert_texts(stream, region, "one", "three", NULL);
			assert_fails_as(stream, pmemstream_entry_data(stream, entry), NULL, EINVAL);
			for (uint64_t t = 1; t <= 3; t++) {
				struct pmemstream_async_wait_fut waits[2] = {
					pmemstream_async_wait_committed(stream, t),
					pmemstream_async_wait_persisted(stream, t)};
				for (int i = 0; i < 2; i++) {
					provoke(stream);
					assert_int_equal(future_poll(FUTURE_AS_RUNNABLE(&waits[i]), NULL),
							 FUTURE_STATE_COMPLETE);
					assert_int_equal(waits[i].output.error_code, t == 2 ? -1 : 0);
					if (t == 2)
						assert_error_was_set(stream, EIO, "the wait");
				}
			}
			for (int time = 0; time < 2; time++) {
				opened_again(&opened);
				assert_texts(opened.stream, region, "one", "three", NULL);
				assert_int_equal(pmemstream_committed_timestamp(opened.stream), 3);
			}
			opened_free(&opened);
		}
}

static void a_mover_without_memory_changes_nothing(void **state)
{
	(void)state;
	for (int g = 0; g < MAP_GRANULARITIES; g++) {
		struct opened opened;
		struct manual_mover mover;
		struct pmemstream_entry entry = {.offset = 7};
		opened_new(&opened, map_granularities[g], FILE_BYTES, BLOCK);
		struct pmemstream *stream = opened.stream;
		struct pmemstream_region region = region_of(stream, 10000);
		manual_mover_init(&mover);
		atomic_store(&mover.operations_left, 0);
		unsigned char *before = mapped_content(&opened.file);
		assert_fails(stream, pmemstream_async_append(stream, &mover.vdm, region, NULL, "x", 1, &entry), ENOMEM);
		unsigned char *after = mapped_content(&opened.file);
		assert_memory_equal(before, after, FILE_BYTES);
		free(before);
		free(after);
		assert_int_equal(entry.offset, 7);
		/* What fails later gives the mover's operation back. */
		atomic_store(&mover.operations_left, 1);
		static char large[20000];
		assert_fails(stream,
			     pmemstream_async_append(stream, &mover.vdm, region, NULL, large, sizeof(large), &entry),
			     ENOSPC);
		assert_int_equal(atomic_load(&mover.living), 0);
		assert_int_equal(entry.offset, 7);
		/* Nothing to copy needs no mover. */
		assert_int_equal(pmemstream_async_append(stream, &mover.vdm, region, NULL, NULL, 0, &entry), 0);
		assert_int_equal(pmemstream_entry_timestamp(stream, entry), 1);
		opened_free(&opened);
	}
}

static void the_handle_and_the_new_entry_may_be_left_out(void **state)
{
	(void)state;
	struct opened opened;
	struct pmemstream_region_runtime *runtime;

	opened_new(&opened, "PAGE", FILE_BYTES, BLOCK);
	struct pmemstream_region region = region_of(opened.stream, 10000);
	struct data_mover_sync *sync = data_mover_sync_new();
	struct vdm *vdm = data_mover_sync_get_vdm(sync);
	assert_int_equal(pmemstream_region_runtime_initialize(opened.stream, region, &runtime), 0);
	assert_int_equal(pmemstream_async_append(opened.stream, vdm, region, runtime, "a", 1, NULL), 0);
	assert_int_equal(pmemstream_async_append(opened.stream, vdm, region, NULL, "b", 1, NULL), 0);
	data_mover_sync_delete(sync);
	wait_persisted(opened.stream, 2);
	assert_texts(opened.stream, region, "a", "b", NULL);
	opened_free(&opened);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(thousands_are_appended_by_every_mover_without_a_wait),
		cmocka_unit_test(delete_finishes_what_was_started),
		cmocka_unit_test(an_entry_is_shown_when_it_is_committed_and_not_before),
		cmocka_unit_test(free_needs_no_wait_for_a_copy_that_is_done),
		cmocka_unit_test(a_copy_that_fails_is_never_shown_and_holds_nothing_up),
		cmocka_unit_test(a_mover_without_memory_changes_nothing),
		cmocka_unit_test(the_handle_and_the_new_entry_may_be_left_out),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
