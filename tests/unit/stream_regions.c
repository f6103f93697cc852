/*
 * stream_regions.c: tests of regions, their sizes, runtime handles and iterators, through the public interface.
 */
#include "stream_map.h"

#include <stdlib.h>
#include <string.h>

enum { FILE_BYTES = 1 << 20, BLOCK = 512 };

static void a_fresh_region_is_all_usable_and_at_least_what_was_asked_for(void **state)
{
	(void)state;
	static const size_t sizes[] = {1, 63, 64, 255, 256, 257, 511, 512, 513, 1000, 4096, 65536, 100000};

	for (int g = 0; g < MAP_GRANULARITIES; g++)
		for (size_t block_size = 64; block_size <= 4096; block_size *= 8) {
			struct opened opened;
			struct pmemstream_region regions[13];
			opened_new(&opened, map_granularities[g], FILE_BYTES, block_size);
			for (size_t i = 0; i < 13; i++) {
				regions[i] = region_of(opened.stream, sizes[i]);
				size_t size = pmemstream_region_size(opened.stream, regions[i]);
				assert_true(size >= sizes[i] && size < sizes[i] + block_size + 256);
				assert_int_equal(pmemstream_region_usable_size(opened.stream, regions[i]), size);
				assert_int_equal(regions[i].offset % block_size, 0);
			}
			opened_again(&opened);
			for (size_t i = 0; i < 13; i++)
				assert_true(pmemstream_region_usable_size(opened.stream, regions[i]) >= sizes[i]);
			opened_free(&opened);
		}
}

static void usable_size_falls_by_the_space_of_each_entry(void **state)
{
	(void)state;
	for (int g = 0; g < MAP_GRANULARITIES; g++) {
		struct opened opened;
		char data[300] = {0};
		opened_new(&opened, map_granularities[g], FILE_BYTES, BLOCK);
		struct pmemstream_region region = region_of(opened.stream, 100000);
		size_t alignment = g == 2 ? 8 : 64; /* documented: 64 on media with cache lines */
		for (size_t size = 0; size < sizeof(data); size++) {
			size_t before = pmemstream_region_usable_size(opened.stream, region);
			size_t space = pmemstream_entry_space(opened.stream, size);
			assert_int_equal(space, (32 + size + alignment - 1) / alignment * alignment);
			assert_int_equal(pmemstream_append(opened.stream, region, NULL, data, size, NULL), 0);
			assert_int_equal(pmemstream_region_usable_size(opened.stream, region), before - space);
		}
		size_t usable = pmemstream_region_usable_size(opened.stream, region);
		opened_again(&opened);
		assert_int_equal(pmemstream_region_usable_size(opened.stream, region), usable);
		assert_fails_as(opened.stream, pmemstream_entry_space(NULL, 1), 0, EINVAL);
		assert_int_equal(pmemstream_entry_space(opened.stream, ((size_t)1 << 48) - 1),
				 (((size_t)1 << 48) + 31 + alignment - 1) / alignment * alignment);
		errno = 0;
		assert_int_equal(pmemstream_entry_space(opened.stream, (size_t)1 << 48), 0);
		assert_int_equal(errno, ENOSPC);
		opened_free(&opened);
	}
}

static void blocks_of_64_bytes_align_entries_to_8(void **state)
{
	(void)state;
	for (int g = 0; g < MAP_GRANULARITIES; g++) {
		struct opened opened;
		opened_new(&opened, map_granularities[g], FILE_BYTES, 64);
		assert_int_equal(pmemstream_entry_space(opened.stream, 1), 40);
		opened_free(&opened);
	}
}

static void an_allocation_that_does_not_fit_changes_nothing(void **state)
{
	(void)state;
	struct opened opened;
	struct pmemstream_region region = {.offset = 7};

	opened_new(&opened, "PAGE", FILE_BYTES, BLOCK);
	unsigned char *before = mapped_content(&opened.file);
	assert_fails(opened.stream, pmemstream_region_allocate(opened.stream, 0, &region), EINVAL);
	static const size_t sizes[] = {FILE_BYTES,     FILE_BYTES - 4096 - 255, SIZE_MAX,
				       SIZE_MAX - 255, SIZE_MAX - 1000,         (size_t)1 << 48};
	for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++)
		assert_fails(opened.stream, pmemstream_region_allocate(opened.stream, sizes[i], &region), ENOSPC);
	assert_int_equal(region.offset, 7);
	unsigned char *after = mapped_content(&opened.file);
	assert_memory_equal(before, after, FILE_BYTES);
	free(before);
	free(after);
	/* All of it, to the last byte. */
	assert_int_equal(pmemstream_region_allocate(opened.stream, FILE_BYTES - 4096 - 256, NULL), 0);
	assert_fails(opened.stream, pmemstream_region_allocate(opened.stream, 1, &region), ENOSPC);
	assert_int_equal(region.offset, 7);
	opened_free(&opened);
}

static size_t walk(struct pmemstream *stream, uint64_t *offsets, size_t room)
{
	struct pmemstream_region_iterator *iterator;
	size_t count = 0;

	assert_int_equal(pmemstream_region_iterator_new(&iterator, stream), 0);
	assert_fails(stream, pmemstream_region_iterator_is_valid(iterator), ENODATA);
	assert_int_equal(pmemstream_region_iterator_get(iterator).offset, UINT64_MAX);
	pmemstream_region_iterator_next(iterator); /* without effect */
	assert_fails(stream, pmemstream_region_iterator_is_valid(iterator), ENODATA);
	pmemstream_region_iterator_seek_first(iterator);
	for (; !pmemstream_region_iterator_is_valid(iterator); pmemstream_region_iterator_next(iterator)) {
		assert_true(count < room);
		offsets[count++] = pmemstream_region_iterator_get(iterator).offset;
	}
	assert_int_equal(errno, ENODATA);
	assert_int_equal(pmemstream_region_iterator_get(iterator).offset, UINT64_MAX);
	pmemstream_region_iterator_delete(&iterator);
	assert_null(iterator);
	pmemstream_region_iterator_delete(&iterator);
	pmemstream_region_iterator_delete(NULL);
	return count;
}

static void regions_come_in_order_of_allocation(void **state)
{
	(void)state;
	enum { COUNT = 200 };
	uint64_t expected[COUNT], found[COUNT];
	size_t count = 0;
	uint64_t seed = 42;
	struct opened opened;

	opened_new(&opened, "CACHE_LINE", FILE_BYTES, BLOCK);
	assert_int_equal(walk(opened.stream, found, COUNT), 0);
	/* Frees and allocations of many sizes, so that order of allocation is not order of place. */
	for (int step = 0; step < 600; step++) {
		size_t which = count ? draw(&seed) % count : 0;
		struct pmemstream_region region;
		if (count && (count == COUNT || draw(&seed) % 3 == 0)) {
			region.offset = expected[which];
			assert_int_equal(pmemstream_region_free(opened.stream, region), 0);
			memmove(&expected[which], &expected[which + 1], (--count - which) * sizeof(*expected));
		} else if (!pmemstream_region_allocate(opened.stream, draw(&seed) % 20000 + 1, &region)) {
			expected[count++] = region.offset;
		} else {
			assert_int_equal(errno, ENOSPC);
		}
		if (step % 50 == 49) {
			if (step % 100 == 99)
				opened_again(&opened);
			assert_int_equal(walk(opened.stream, found, COUNT), count);
			assert_memory_equal(found, expected, count * sizeof(*found));
		}
	}
	opened_free(&opened);
}

static void freed_space_is_joined_and_used_again(void **state)
{
	(void)state;
	struct opened opened;
	struct pmemstream_region regions[8];

	opened_new(&opened, "PAGE", 4096 + 8 * 4096, BLOCK);
	static const int orders[][8] = {
		{0, 1, 2, 3, 4, 5, 6, 7}, {7, 6, 5, 4, 3, 2, 1, 0}, {0, 2, 4, 6, 1, 3, 5, 7}, {3, 4, 2, 5, 1, 6, 0, 7}};
	for (int order = 0; order < 4; order++) {
		for (int i = 0; i < 8; i++) {
			regions[i] = region_of(opened.stream, 4096 - 256);
			append_text(opened.stream, regions[i], "to be freed");
		}
		assert_fails(opened.stream, pmemstream_region_allocate(opened.stream, 1, NULL), ENOSPC);
		for (int i = 0; i < 8; i++)
			assert_int_equal(pmemstream_region_free(opened.stream, regions[orders[order][i]]), 0);
		struct pmemstream_region all = region_of(opened.stream, 8 * 4096 - 256);
		assert_texts(opened.stream, all, NULL);
		assert_int_equal(pmemstream_region_free(opened.stream, all), 0);
		opened_again(&opened);
	}
	opened_free(&opened);
}

static void next_on_a_freed_region_goes_to_the_one_allocated_after_it(void **state)
{
	(void)state;
	struct opened opened;
	struct pmemstream_region_iterator *iterator;
	struct pmemstream_region regions[6];

	opened_new(&opened, "PAGE", FILE_BYTES, BLOCK);
	for (int i = 0; i < 6; i++)
		regions[i] = region_of(opened.stream, 1000);
	assert_int_equal(pmemstream_region_iterator_new(&iterator, opened.stream), 0);
	pmemstream_region_iterator_seek_first(iterator);
	pmemstream_region_iterator_next(iterator);
	assert_int_equal(pmemstream_region_iterator_get(iterator).offset, regions[1].offset);
	for (int i = 0; i < 4; i++)
		if (i != 0)
			assert_int_equal(pmemstream_region_free(opened.stream, regions[i]), 0);
	assert_fails(opened.stream, pmemstream_region_iterator_is_valid(iterator), ESTALE);
	assert_int_equal(pmemstream_region_iterator_get(iterator).offset, UINT64_MAX);
	/* The place is used again, by a region that comes last; the iterator is none the wiser. */
	struct pmemstream_region again = region_of(opened.stream, 1000);
	assert_int_equal(again.offset, regions[1].offset);
	assert_fails(opened.stream, pmemstream_region_iterator_is_valid(iterator), ESTALE);
	pmemstream_region_iterator_next(iterator);
	assert_int_equal(pmemstream_region_iterator_get(iterator).offset, regions[4].offset);
	pmemstream_region_iterator_next(iterator);
	pmemstream_region_iterator_next(iterator);
	assert_int_equal(pmemstream_region_iterator_get(iterator).offset, again.offset);
	pmemstream_region_iterator_next(iterator);
	assert_fails(opened.stream, pmemstream_region_iterator_is_valid(iterator), ENODATA);
	pmemstream_region_iterator_delete(&iterator);
	opened_free(&opened);
}

static void a_region_iterator_at_the_end_becomes_valid_when_one_more_is_allocated(void **state)
{
	(void)state;
	struct opened opened;
	struct pmemstream_region_iterator *iterator;

	opened_new(&opened, "PAGE", FILE_BYTES, BLOCK);
	assert_int_equal(pmemstream_region_iterator_new(&iterator, opened.stream), 0);
	pmemstream_region_iterator_seek_first(iterator);
	assert_fails(opened.stream, pmemstream_region_iterator_is_valid(iterator), ENODATA);
	for (int i = 0; i < 3; i++) {
		struct pmemstream_region region = region_of(opened.stream, 1000);
		assert_int_equal(pmemstream_region_iterator_is_valid(iterator), 0);
		assert_int_equal(pmemstream_region_iterator_get(iterator).offset, region.offset);
		pmemstream_region_iterator_next(iterator);
		assert_fails(opened.stream, pmemstream_region_iterator_is_valid(iterator), ENODATA);
		pmemstream_region_iterator_next(iterator); /* stays there */
	}
	pmemstream_region_iterator_delete(&iterator);
	opened_free(&opened);
}

static void one_region_has_one_handle_until_it_is_freed(void **state)
{
	(void)state;
	for (int g = 0; g < MAP_GRANULARITIES; g++) {
		struct opened opened;
		struct pmemstream_region_runtime *one, *two, *other, *after;
		opened_new(&opened, map_granularities[g], FILE_BYTES, BLOCK);
		struct pmemstream *stream = opened.stream;
		struct pmemstream_region region = region_of(stream, 10000), second = region_of(stream, 10000);

		assert_int_equal(pmemstream_region_runtime_initialize(stream, region, &one), 0);
		assert_int_equal(pmemstream_append(stream, region, one, "a", 1, NULL), 0);
		append_text(stream, region, "b");
		assert_int_equal(pmemstream_region_runtime_initialize(stream, region, &two), 0);
		assert_ptr_equal(one, two);
		assert_int_equal(pmemstream_region_runtime_initialize(stream, second, &other), 0);
		assert_ptr_not_equal(one, other);
		assert_fails(stream, pmemstream_append(stream, region, other, "x", 1, NULL), EINVAL);
		assert_texts(stream, region, "a", "b", NULL);

		assert_int_equal(pmemstream_region_free(stream, region), 0);
		struct pmemstream_entry entry = {.offset = 7};
		void *data = &entry;
		assert_fails(stream, pmemstream_append(stream, region, one, "x", 1, &entry), ESTALE);
		assert_fails(stream, pmemstream_reserve(stream, region, one, 1, &entry, &data), ESTALE);
		assert_fails(stream, pmemstream_publish(stream, region, one, entry, 1), ESTALE);
		assert_fails(stream, pmemstream_async_publish(stream, region, one, entry, 1), ESTALE);
		struct data_mover_sync *mover = data_mover_sync_new();
		struct vdm *vdm = data_mover_sync_get_vdm(mover);
		assert_fails(stream, pmemstream_async_append(stream, vdm, region, one, "x", 1, &entry), ESTALE);
		data_mover_sync_delete(mover);
		assert_fails(stream, pmemstream_region_runtime_initialize(stream, region, &one), EINVAL);
		assert_int_equal(entry.offset, 7);
		assert_ptr_equal(data, &entry);
		/* The same place with a new owner: the old handle stays stale, the new one is another. */
		struct pmemstream_region again = region_of(stream, 10000);
		assert_int_equal(again.offset, region.offset);
		assert_fails(stream, pmemstream_append(stream, again, one, "x", 1, NULL), ESTALE);
		assert_int_equal(pmemstream_region_runtime_initialize(stream, again, &after), 0);
		assert_ptr_not_equal(after, one);
		assert_int_equal(pmemstream_append(stream, again, after, "c", 1, NULL), 0);
		assert_texts(stream, again, "c", NULL);
		opened_free(&opened);
	}
}

static void a_region_can_be_freed_once_and_only_by_its_offset(void **state)
{
	(void)state;
	struct opened opened;

	opened_new(&opened, "PAGE", FILE_BYTES, BLOCK);
	struct pmemstream *stream = opened.stream;
	struct pmemstream_region region = region_of(stream, 10000);
	struct pmemstream_entry entry = append_text(stream, region, "gone");
	struct pmemstream_region inside = {.offset = region.offset + BLOCK}, entries = {.offset = entry.offset};

	assert_fails(stream, pmemstream_region_free(stream, inside), EINVAL);
	assert_fails(stream, pmemstream_region_free(stream, entries), EINVAL);
	assert_int_equal(pmemstream_region_free(stream, region), 0);
	assert_fails(stream, pmemstream_region_free(stream, region), EINVAL);
	assert_fails_as(stream, pmemstream_region_size(stream, region), 0, EINVAL);
	assert_fails_as(stream, pmemstream_region_usable_size(stream, region), 0, EINVAL);
	assert_fails(stream, pmemstream_append(stream, region, NULL, "x", 1, NULL), EINVAL);
	assert_fails_as(stream, pmemstream_entry_data(stream, entry), NULL, EINVAL);
	opened_again(&opened);
	uint64_t offsets[1];
	assert_int_equal(walk(opened.stream, offsets, 1), 0);
	/* Timestamps go on although nobody shows the old ones. */
	region = region_of(opened.stream, 1000);
	assert_int_equal(pmemstream_entry_timestamp(opened.stream, append_text(opened.stream, region, "x")), 2);
	opened_free(&opened);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_fresh_region_is_all_usable_and_at_least_what_was_asked_for),
		cmocka_unit_test(usable_size_falls_by_the_space_of_each_entry),
		cmocka_unit_test(blocks_of_64_bytes_align_entries_to_8),
		cmocka_unit_test(an_allocation_that_does_not_fit_changes_nothing),
		cmocka_unit_test(regions_come_in_order_of_allocation),
		cmocka_unit_test(freed_space_is_joined_and_used_again),
		cmocka_unit_test(next_on_a_freed_region_goes_to_the_one_allocated_after_it),
		cmocka_unit_test(a_region_iterator_at_the_end_becomes_valid_when_one_more_is_allocated),
		cmocka_unit_test(one_region_has_one_handle_until_it_is_freed),
		cmocka_unit_test(a_region_can_be_freed_once_and_only_by_its_offset),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
