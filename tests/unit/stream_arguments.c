/*
 * stream_arguments.c: NULL and impossible offsets to every function of libpmemstream, and the layout of what callers
 * have compiled in.
 */
#include "stream_map.h"

#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>

enum { FILE_BYTES = 1 << 18, BLOCK = 512 };

_Static_assert(sizeof(struct pmemstream_region) == 8, "a region is its offset");
_Static_assert(sizeof(struct pmemstream_entry) == 8, "an entry is its offset");
_Static_assert(sizeof(struct pmemstream_async_wait_data) == 40, "the data of a wait");
_Static_assert(sizeof(struct pmemstream_async_wait_output) == 4, "the output of a wait");
_Static_assert(sizeof(struct pmemstream_async_wait_fut) == 88, "a wait is returned by value");
_Static_assert(offsetof(struct pmemstream_async_wait_fut, data) == 40, "behind the future");
_Static_assert(offsetof(struct pmemstream_async_wait_fut, output) == 80, "behind the data");
_Static_assert(offsetof(struct pmemstream_async_wait_data, stream) == 0, "");
_Static_assert(offsetof(struct pmemstream_async_wait_data, timestamp) == 8, "");

static void every_function_takes_null(void **state)
{
	(void)state;
	struct opened opened;

	opened_new(&opened, "PAGE", FILE_BYTES, BLOCK);
	struct pmemstream *stream = opened.stream, *none = NULL;
	struct pmemstream_region region = region_of(stream, 1000), out = {.offset = 7};
	struct pmemstream_entry entry = append_text(stream, region, "x"), new_entry = {.offset = 7};
	struct pmemstream_region_runtime *runtime = (void *)&out;
	struct pmemstream_entry_iterator *entries = (void *)&out;
	struct pmemstream_region_iterator *regions = (void *)&out;
	struct data_mover_sync *mover = data_mover_sync_new();
	struct vdm *vdm = data_mover_sync_get_vdm(mover);
	void *data = &out;

	assert_fails(stream, pmemstream_from_map(NULL, BLOCK, opened.file.map), EINVAL);
	assert_fails(stream, pmemstream_from_map(&none, BLOCK, NULL), EINVAL);
	assert_fails(stream, pmemstream_region_allocate(NULL, 100, &out), EINVAL);
	assert_fails(stream, pmemstream_region_free(NULL, region), EINVAL);
	assert_fails_as(stream, pmemstream_region_size(NULL, region), 0, EINVAL);
	assert_fails_as(stream, pmemstream_region_usable_size(NULL, region), 0, EINVAL);
	assert_fails(stream, pmemstream_region_runtime_initialize(NULL, region, &runtime), EINVAL);
	assert_fails(stream, pmemstream_region_runtime_initialize(stream, region, NULL), EINVAL);
	assert_fails(stream, pmemstream_reserve(NULL, region, NULL, 1, &new_entry, &data), EINVAL);
	assert_fails(stream, pmemstream_reserve(stream, region, NULL, 1, NULL, &data), EINVAL);
	assert_fails(stream, pmemstream_reserve(stream, region, NULL, 1, &new_entry, NULL), EINVAL);
	assert_fails(stream, pmemstream_publish(NULL, region, NULL, entry, 1), EINVAL);
	assert_fails(stream, pmemstream_publish(stream, region, NULL, entry, 1), EINVAL);
	assert_fails(stream, pmemstream_async_publish(NULL, region, NULL, entry, 1), EINVAL);
	assert_fails(stream, pmemstream_async_publish(stream, region, NULL, entry, 1), EINVAL);
	assert_fails(stream, pmemstream_append(NULL, region, NULL, "x", 1, &new_entry), EINVAL);
	assert_fails(stream, pmemstream_append(stream, region, NULL, NULL, 1, &new_entry), EINVAL);
	assert_fails(stream, pmemstream_async_append(NULL, vdm, region, NULL, "x", 1, &new_entry), EINVAL);
	assert_fails(stream, pmemstream_async_append(stream, NULL, region, NULL, "x", 1, &new_entry), EINVAL);
	assert_fails(stream, pmemstream_async_append(stream, vdm, region, NULL, NULL, 1, &new_entry), EINVAL);
	assert_fails_as(stream, pmemstream_committed_timestamp(NULL), 0, EINVAL);
	assert_fails_as(stream, pmemstream_persisted_timestamp(NULL), 0, EINVAL);
	assert_fails_as(stream, pmemstream_entry_data(NULL, entry), NULL, EINVAL);
	assert_fails_as(stream, pmemstream_entry_size(NULL, entry), 0, EINVAL);
	assert_fails_as(stream, pmemstream_entry_timestamp(NULL, entry), 0, EINVAL);
	assert_fails(stream, pmemstream_entry_iterator_new(NULL, stream, region), EINVAL);
	assert_fails(stream, pmemstream_entry_iterator_new(&entries, NULL, region), EINVAL);
	assert_fails(stream, pmemstream_entry_iterator_is_valid(NULL), EINVAL);
	assert_fails_as(stream, pmemstream_entry_iterator_get(NULL).offset, UINT64_MAX, EINVAL);
	pmemstream_entry_iterator_next(NULL);
	pmemstream_entry_iterator_seek_first(NULL);
	assert_fails(stream, pmemstream_region_iterator_new(NULL, stream), EINVAL);
	assert_fails(stream, pmemstream_region_iterator_new(&regions, NULL), EINVAL);
	assert_fails(stream, pmemstream_region_iterator_is_valid(NULL), EINVAL);
	assert_fails_as(stream, pmemstream_region_iterator_get(NULL).offset, UINT64_MAX, EINVAL);
	pmemstream_region_iterator_next(NULL);
	pmemstream_region_iterator_seek_first(NULL);
	assert_fails_as(stream, pmemstream_entry_space(NULL, 1), 0, EINVAL);

	/* No output was touched. */
	assert_null(none);
	assert_int_equal(out.offset, 7);
	assert_int_equal(new_entry.offset, 7);
	assert_ptr_equal(runtime, &out);
	assert_ptr_equal(entries, &out);
	assert_ptr_equal(regions, &out);
	assert_ptr_equal(data, &out);
	assert_int_equal(pmemstream_committed_timestamp(stream), 1);
	data_mover_sync_delete(mover);
	opened_free(&opened);
}

static void no_offset_but_that_of_a_region_names_a_region(void **state)
{
	(void)state;
	for (int g = 0; g < MAP_GRANULARITIES; g++) {
		struct opened opened;
		opened_new(&opened, map_granularities[g], FILE_BYTES, BLOCK);
		struct pmemstream *stream = opened.stream;
		struct pmemstream_region region = region_of(stream, 5000);
		struct pmemstream_entry entry = append_text(stream, region, "x"), new_entry = {.offset = 7};
		struct pmemstream_region_runtime *runtime = (void *)&entry;
		struct pmemstream_entry_iterator *iterator = (void *)&entry;
		struct data_mover_sync *mover = data_mover_sync_new();
		struct vdm *vdm = data_mover_sync_get_vdm(mover);
		void *data = &entry;
		unsigned char *before = mapped_content(&opened.file);
		const uint64_t offs[] = {0,
					 1,
					 64,
					 512,
					 4096 - 1,
					 region.offset + 1,
					 region.offset - 1,
					 region.offset + BLOCK,
					 entry.offset,
					 FILE_BYTES - BLOCK,
					 FILE_BYTES,
					 FILE_BYTES + BLOCK,
					 UINT64_MAX,
					 UINT64_MAX - 511,
					 (uint64_t)1 << 63};
		for (size_t i = 0; i < sizeof(offs) / sizeof(*offs); i++) {
			struct pmemstream_region wrong = {.offset = offs[i]};
			assert_fails(stream, pmemstream_region_free(stream, wrong), EINVAL);
			assert_fails_as(stream, pmemstream_region_size(stream, wrong), 0, EINVAL);
			assert_fails_as(stream, pmemstream_region_usable_size(stream, wrong), 0, EINVAL);
			assert_fails(stream, pmemstream_region_runtime_initialize(stream, wrong, &runtime), EINVAL);
			assert_fails(stream, pmemstream_reserve(stream, wrong, NULL, 1, &new_entry, &data), EINVAL);
			assert_fails(stream, pmemstream_publish(stream, wrong, NULL, entry, 1), EINVAL);
			assert_fails(stream, pmemstream_async_publish(stream, wrong, NULL, entry, 1), EINVAL);
			assert_fails(stream, pmemstream_append(stream, wrong, NULL, "x", 1, &new_entry), EINVAL);
			assert_fails(stream, pmemstream_async_append(stream, vdm, wrong, NULL, "x", 1, &new_entry),
				     EINVAL);
			assert_fails(stream, pmemstream_entry_iterator_new(&iterator, stream, wrong), EINVAL);
		}
		assert_int_equal(new_entry.offset, 7);
		assert_ptr_equal(runtime, &entry);
		assert_ptr_equal(iterator, &entry);
		assert_ptr_equal(data, &entry);
		unsigned char *after = mapped_content(&opened.file);
		assert_memory_equal(before, after, FILE_BYTES);
		free(before);
		free(after);
		data_mover_sync_delete(mover);
		opened_free(&opened);
	}
}

static void a_handle_of_another_stream_is_refused(void **state)
{
	(void)state;
	struct opened one, two;
	struct pmemstream_region_runtime *runtime;

	opened_new(&one, "PAGE", FILE_BYTES, BLOCK);
	opened_new(&two, "PAGE", FILE_BYTES, BLOCK);
	struct pmemstream_region region = region_of(one.stream, 1000), same = region_of(two.stream, 1000);
	assert_int_equal(region.offset, same.offset);
	assert_int_equal(pmemstream_region_runtime_initialize(one.stream, region, &runtime), 0);
	assert_fails(one.stream, pmemstream_append(two.stream, same, runtime, "x", 1, NULL), EINVAL);
	assert_int_equal(pmemstream_append(one.stream, region, runtime, "x", 1, NULL), 0);
	assert_texts(two.stream, same, NULL);
	opened_free(&one);
	opened_free(&two);
}

static void no_byte_is_read_of_data_that_cannot_fit(void **state)
{
	(void)state;
	static const size_t sizes[] = {SIZE_MAX, SIZE_MAX - 31, ((size_t)1 << 48) - 1, (size_t)1 << 40,
				       (size_t)1 << 33};
	struct opened opened;

	opened_new(&opened, "PAGE", FILE_BYTES, BLOCK);
	struct pmemstream *stream = opened.stream;
	struct pmemstream_region region = region_of(stream, 1000);
	struct pmemstream_entry entry = {.offset = 7};
	struct data_mover_sync *mover = data_mover_sync_new();
	struct pmemstream_batch *batch;
	static const char data[1] = "x";

	assert_int_equal(pmemstream_batch_begin(stream, &batch), 0);
	for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
		struct iovec pieces[] = {{(void *)(uintptr_t)data, 1}, {(void *)(uintptr_t)data, sizes[i]}};
		assert_fails(stream, pmemstream_append(stream, region, NULL, data, sizes[i], &entry), ENOSPC);
		assert_fails(stream, pmemstream_appendv(stream, region, NULL, pieces, 2, &entry), ENOSPC);
		assert_fails(stream, pmemstream_batch_add(batch, region, NULL, data, sizes[i]), ENOSPC);
		assert_fails(stream,
			     pmemstream_async_append(stream, data_mover_sync_get_vdm(mover), region, NULL, data,
						     sizes[i], &entry),
			     ENOSPC);
	}
	assert_int_equal(entry.offset, 7);
	assert_int_equal(pmemstream_committed_timestamp(stream), 0);
	pmemstream_batch_abort(&batch);
	data_mover_sync_delete(mover);
	opened_free(&opened);
}

static void the_message_is_never_null_and_each_threads_own(void **state)
{
	(void)state;
	char *message;

	assert_non_null(pmemstream_errormsg());
	assert_int_equal(pmemstream_region_allocate(NULL, 1, NULL), -1);
	message = strdup(pmemstream_errormsg());
	assert_true(message[0]);
	/* A call that works leaves it. */
	struct opened opened;
	opened_new(&opened, "PAGE", FILE_BYTES, BLOCK);
	assert_string_equal(pmemstream_errormsg(), message);
	free(message);
	opened_free(&opened);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_function_takes_null),
		cmocka_unit_test(no_offset_but_that_of_a_region_names_a_region),
		cmocka_unit_test(a_handle_of_another_stream_is_refused),
		cmocka_unit_test(no_byte_is_read_of_data_that_cannot_fit),
		cmocka_unit_test(the_message_is_never_null_and_each_threads_own),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
