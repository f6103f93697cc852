/*
 * stream_entries.c: tests of synchronous appends, of looking entries up and of walking over them, through the public
 * interface.
 */
#include "stream_map.h"

#include <stdlib.h>
#include <string.h>

enum { FILE_BYTES = 1 << 20, BLOCK = 512 };

static void timestamps_are_dense_from_1_over_all_regions_and_reopenings(void **state)
{
	(void)state;
	for (int g = 0; g < MAP_GRANULARITIES; g++) {
		struct opened opened;
		struct pmemstream_region regions[3];
		struct pmemstream_entry entries[60];
		opened_new(&opened, map_granularities[g], FILE_BYTES, BLOCK);
		for (int i = 0; i < 3; i++)
			regions[i] = region_of(opened.stream, 20000);
		for (unsigned i = 0; i < 60; i++) {
			assert_int_equal(pmemstream_persisted_timestamp(opened.stream), i);
			entries[i] = append_text(opened.stream, regions[i * i % 3], "some text");
			assert_int_equal(pmemstream_persisted_timestamp(opened.stream), i + 1);
			assert_int_equal(pmemstream_committed_timestamp(opened.stream), i + 1);
			if (i % 20 == 7)
				opened_again(&opened);
		}
		for (unsigned i = 0; i < 60; i++)
			assert_int_equal(pmemstream_entry_timestamp(opened.stream, entries[i]), i + 1);
		opened_free(&opened);
	}
}

static void an_entry_is_what_was_appended_aligned_and_where_it_was(void **state)
{
	(void)state;
	for (int g = 0; g < MAP_GRANULARITIES; g++) {
		enum { COUNT = 400, BYTES = 3000 };
		struct opened opened;
		struct pmemstream_entry entries[COUNT];
		static unsigned char data[BYTES];
		opened_new(&opened, map_granularities[g], FILE_BYTES, BLOCK);
		struct pmemstream_region region = region_of(opened.stream, 900000);
		for (size_t i = 0; i < COUNT; i++) {
			memset(data, (int)(i % 251 + 1), sizeof(data));
			/* From every alignment, around every multiple of the line. */
			assert_int_equal(pmemstream_append(opened.stream, region, NULL, data + i % 64, i * 7 % 2900,
							   &entries[i]),
					 0);
		}
		for (int time = 0; time < 2; time++) {
			for (size_t i = 0; i < COUNT; i++) {
				const unsigned char *found = pmemstream_entry_data(opened.stream, entries[i]);
				memset(data, (int)(i % 251 + 1), sizeof(data));
				assert_non_null(found);
				assert_int_equal((uintptr_t)found % 8, 0);
				assert_int_equal(pmemstream_entry_size(opened.stream, entries[i]), i * 7 % 2900);
				assert_memory_equal(found, data, i * 7 % 2900);
			}
			opened_again(&opened);
		}
		opened_free(&opened);
	}
}

static void an_entry_of_no_bytes_is_an_entry(void **state)
{
	(void)state;
	for (int g = 0; g < MAP_GRANULARITIES; g++) {
		struct opened opened;
		struct pmemstream_entry entries[3];
		opened_new(&opened, map_granularities[g], FILE_BYTES, BLOCK);
		struct pmemstream_region region = region_of(opened.stream, 10000);
		assert_int_equal(pmemstream_append(opened.stream, region, NULL, NULL, 0, &entries[0]), 0);
		assert_int_equal(pmemstream_append(opened.stream, region, NULL, "", 0, &entries[1]), 0);
		/* A pointer that nobody may read. */
		assert_int_equal(pmemstream_append(opened.stream, region, NULL, (void *)(uintptr_t)8, 0, &entries[2]),
				 0);
		for (int time = 0; time < 2; time++) {
			for (unsigned i = 0; i < 3; i++) {
				assert_int_equal(pmemstream_entry_size(opened.stream, entries[i]), 0);
				assert_int_equal(pmemstream_entry_timestamp(opened.stream, entries[i]), i + 1);
				assert_non_null(pmemstream_entry_data(opened.stream, entries[i]));
			}
			assert_int_equal(count_entries(opened.stream, region), 3);
			opened_again(&opened);
		}
		assert_fails(opened.stream, pmemstream_append(opened.stream, region, NULL, NULL, 1, NULL), EINVAL);
		opened_free(&opened);
	}
}

static void an_entry_that_does_not_fit_changes_nothing(void **state)
{
	(void)state;
	for (int g = 0; g < MAP_GRANULARITIES; g++) {
		struct opened opened;
		static char data[FILE_BYTES];
		struct pmemstream_entry entry = {.offset = 7};
		void *at = &entry;
		opened_new(&opened, map_granularities[g], FILE_BYTES, BLOCK);
		struct pmemstream *stream = opened.stream;
		struct pmemstream_region region = region_of(stream, 5000), next = region_of(stream, 1000);
		append_text(stream, next, "neighbour");
		size_t usable = pmemstream_region_usable_size(stream, region);
		struct data_mover_sync *mover = data_mover_sync_new();
		struct vdm *vdm = data_mover_sync_get_vdm(mover);
		unsigned char *before = mapped_content(&opened.file);
		const size_t sizes[] = {usable - 31, usable, usable + 1, FILE_BYTES};
		for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
			assert_fails(stream, pmemstream_append(stream, region, NULL, data, sizes[i], &entry), ENOSPC);
			assert_fails(stream, pmemstream_reserve(stream, region, NULL, sizes[i], &entry, &at), ENOSPC);
			assert_fails(stream, pmemstream_async_append(stream, vdm, region, NULL, data, sizes[i], &entry),
				     ENOSPC);
		}
		static const size_t huge[] = {SIZE_MAX, SIZE_MAX - 31, SIZE_MAX - 63, (size_t)1 << 48, (size_t)1 << 63};
		for (size_t i = 0; i < sizeof(huge) / sizeof(*huge); i++)
			assert_fails(stream, pmemstream_reserve(stream, region, NULL, huge[i], &entry, &at), ENOSPC);
		assert_int_equal(entry.offset, 7);
		assert_ptr_equal(at, &entry);
		unsigned char *after = mapped_content(&opened.file);
		assert_memory_equal(before, after, FILE_BYTES);
		free(before);
		free(after);
		assert_int_equal(pmemstream_committed_timestamp(stream), 1);
		assert_int_equal(pmemstream_region_usable_size(stream, region), usable);
		/* The largest that fits. */
		assert_int_equal(pmemstream_append(stream, region, NULL, data, usable - 32, &entry), 0);
		assert_int_equal(pmemstream_entry_timestamp(stream, entry), 2);
		assert_int_equal(pmemstream_region_usable_size(stream, region), 0);
		assert_fails(stream, pmemstream_append(stream, region, NULL, NULL, 0, NULL), ENOSPC);
		data_mover_sync_delete(mover);
		opened_again(&opened);
		assert_texts(opened.stream, next, "neighbour", NULL);
		assert_int_equal(count_entries(opened.stream, region), 1);
		opened_free(&opened);
	}
}

static void no_other_offset_names_an_entry(void **state)
{
	(void)state;
	for (int g = 0; g < MAP_GRANULARITIES; g++) {
		struct opened opened;
		enum { COUNT = 20 };
		uint64_t offsets[COUNT];
		char data[500];
		opened_new(&opened, map_granularities[g], 65536, BLOCK);
		struct pmemstream_region region = region_of(opened.stream, 20000);
		struct pmemstream_region freed = region_of(opened.stream, 5000);
		struct pmemstream_entry gone = append_text(opened.stream, freed, "will be freed");
		for (size_t i = 0; i < COUNT; i++) {
			struct pmemstream_entry entry;
			/* Copies of headers as data: only place and checksum tell them from entries. */
			if (i)
				memcpy(data, (char *)pmem2_map_get_address(opened.file.map) + offsets[i - 1], 100);
			assert_int_equal(pmemstream_append(opened.stream, region, NULL, data, i * 25, &entry), 0);
			offsets[i] = entry.offset;
		}
		assert_int_equal(pmemstream_region_free(opened.stream, freed), 0);
		assert_fails_as(opened.stream, pmemstream_entry_timestamp(opened.stream, gone), 0, EINVAL);
		for (int time = 0; time < 2; time++) {
			size_t found = 0;
			for (uint64_t off = 0; off < 66000; off++) {
				struct pmemstream_entry entry = {.offset = off};
				if (found < COUNT && off == offsets[found]) {
					assert_int_equal(pmemstream_entry_size(opened.stream, entry), found * 25);
					found++;
					continue;
				}
				errno = 0;
				assert_null(pmemstream_entry_data(opened.stream, entry));
				assert_int_equal(errno, EINVAL);
				assert_int_equal(pmemstream_entry_size(opened.stream, entry), 0);
				assert_int_equal(pmemstream_entry_timestamp(opened.stream, entry), 0);
			}
			assert_int_equal(found, COUNT);
			opened_again(&opened);
		}
		uint64_t seed = 1;
		for (int i = 0; i < 20000; i++) {
			struct pmemstream_entry entry = {.offset = draw(&seed) >> draw(&seed) % 64 | 1};
			assert_fails_as(opened.stream, pmemstream_entry_data(opened.stream, entry), NULL, EINVAL);
			assert_fails_as(opened.stream, pmemstream_entry_size(opened.stream, entry), 0, EINVAL);
			assert_fails_as(opened.stream, pmemstream_entry_timestamp(opened.stream, entry), 0, EINVAL);
		}
		opened_free(&opened);
	}
}

static void entries_of_a_freed_region_are_none_until_the_place_is_used_again(void **state)
{
	(void)state;
	for (int g = 0; g < MAP_GRANULARITIES; g++) {
		struct opened opened;
		opened_new(&opened, map_granularities[g], FILE_BYTES, BLOCK);
		struct pmemstream_region region = region_of(opened.stream, 1000);
		struct pmemstream_entry first = append_text(opened.stream, region, "first");
		struct pmemstream_entry second = append_text(opened.stream, region, "second");
		assert_int_equal(pmemstream_region_free(opened.stream, region), 0);
		for (int time = 0; time < 2; time++) {
			assert_fails_as(opened.stream, pmemstream_entry_data(opened.stream, second), NULL, EINVAL);
			assert_fails_as(opened.stream, pmemstream_entry_timestamp(opened.stream, first), 0, EINVAL);
			opened_again(&opened);
		}
		struct pmemstream_region again = region_of(opened.stream, 1000);
		assert_int_equal(again.offset, region.offset);
		/* The old bytes are still there; nobody takes them for entries of the new region. */
		assert_fails_as(opened.stream, pmemstream_entry_data(opened.stream, first), NULL, EINVAL);
		assert_texts(opened.stream, again, NULL);
		append_text(opened.stream, again, "third");
		assert_int_equal(pmemstream_entry_timestamp(opened.stream, first), 3);
		assert_fails_as(opened.stream, pmemstream_entry_data(opened.stream, second), NULL, EINVAL);
		opened_again(&opened);
		assert_texts(opened.stream, again, "third", NULL);
		opened_free(&opened);
	}
}

static void an_iterator_is_invalid_before_seek_first_and_behind_the_end(void **state)
{
	(void)state;
	for (int g = 0; g < MAP_GRANULARITIES; g++) {
		struct opened opened;
		struct pmemstream_entry_iterator *iterator;
		opened_new(&opened, map_granularities[g], FILE_BYTES, BLOCK);
		struct pmemstream *stream = opened.stream;
		struct pmemstream_region region = region_of(stream, 10000);
		assert_int_equal(pmemstream_entry_iterator_new(&iterator, stream, region), 0);
		append_text(stream, region, "a");
		assert_fails(stream, pmemstream_entry_iterator_is_valid(iterator), ENODATA);
		assert_int_equal(pmemstream_entry_iterator_get(iterator).offset, UINT64_MAX);
		pmemstream_entry_iterator_next(iterator);
		assert_fails(stream, pmemstream_entry_iterator_is_valid(iterator), ENODATA);
		pmemstream_entry_iterator_seek_first(iterator);
		assert_int_equal(pmemstream_entry_iterator_is_valid(iterator), 0);
		pmemstream_entry_iterator_next(iterator);
		for (int i = 0; i < 3; i++) {
			/* At the end; again and again valid when there is more. */
			assert_fails(stream, pmemstream_entry_iterator_is_valid(iterator), ENODATA);
			assert_int_equal(pmemstream_entry_iterator_get(iterator).offset, UINT64_MAX);
			pmemstream_entry_iterator_next(iterator);
			struct pmemstream_entry entry = append_text(stream, region, "b");
			assert_int_equal(pmemstream_entry_iterator_is_valid(iterator), 0);
			assert_int_equal(pmemstream_entry_iterator_get(iterator).offset, entry.offset);
			pmemstream_entry_iterator_next(iterator);
		}
		pmemstream_entry_iterator_seek_first(iterator);
		assert_int_equal(pmemstream_entry_timestamp(stream, pmemstream_entry_iterator_get(iterator)), 1);
		pmemstream_entry_iterator_delete(&iterator);
		assert_null(iterator);
		pmemstream_entry_iterator_delete(&iterator);
		pmemstream_entry_iterator_delete(NULL);
		opened_free(&opened);
	}
}

static void an_iterator_of_a_freed_region_is_stale_for_ever(void **state)
{
	(void)state;
	for (int g = 0; g < MAP_GRANULARITIES; g++) {
		struct opened opened;
		enum { BEFORE_SEEK, AT_FIRST, AT_END, KINDS };
		struct pmemstream_entry_iterator *iterators[KINDS];
		opened_new(&opened, map_granularities[g], FILE_BYTES, BLOCK);
		struct pmemstream *stream = opened.stream;
		struct pmemstream_region region = region_of(stream, 1000);
		append_text(stream, region, "a");
		for (int i = 0; i < KINDS; i++) {
			assert_int_equal(pmemstream_entry_iterator_new(&iterators[i], stream, region), 0);
			if (i != BEFORE_SEEK)
				pmemstream_entry_iterator_seek_first(iterators[i]);
			if (i == AT_END)
				pmemstream_entry_iterator_next(iterators[i]);
		}
		assert_int_equal(pmemstream_region_free(stream, region), 0);
		for (int time = 0; time < 3; time++) {
			for (int i = 0; i < KINDS; i++) {
				assert_fails(stream, pmemstream_entry_iterator_is_valid(iterators[i]), ESTALE);
				assert_int_equal(pmemstream_entry_iterator_get(iterators[i]).offset, UINT64_MAX);
				if (time == 2)
					pmemstream_entry_iterator_seek_first(iterators[i]);
				else
					pmemstream_entry_iterator_next(iterators[i]);
				assert_fails(stream, pmemstream_entry_iterator_is_valid(iterators[i]), ESTALE);
			}
			/* The same place, first empty, then with an entry where the old one was. */
			if (time == 0)
				assert_int_equal(region_of(stream, 1000).offset, region.offset);
			else
				append_text(stream, region, "b");
		}
		for (int i = 0; i < KINDS; i++)
			pmemstream_entry_iterator_delete(&iterators[i]);
		opened_free(&opened);
	}
}

/* Flips a byte of the closed stream's file and opens it again. */
static void damage(struct opened *opened, uint64_t off)
{
	unsigned char byte;

	pmemstream_delete(&opened->stream);
	unsigned char *content = mapped_content(&opened->file);
	byte = content[off] ^ 0x40;
	free(content);
	mapped_write(&opened->file, &byte, 1, off);
	opened_again(opened);
}

static void an_iterator_stops_at_damage_and_goes_on_behind_it(void **state)
{
	(void)state;
	/* Byte of the entry that is flipped: each field of its header, and its data. */
	static const unsigned bytes[] = {0, 5, 6, 8, 15, 16, 20, 24, 28, 31, 32, 36};

	for (int g = 0; g < MAP_GRANULARITIES; g++)
		for (size_t i = 0; i < sizeof(bytes) / sizeof(*bytes); i++) {
			struct opened opened;
			struct pmemstream_entry_iterator *iterator;
			opened_new(&opened, map_granularities[g], FILE_BYTES, BLOCK);
			struct pmemstream_region region = region_of(opened.stream, 10000);
			struct pmemstream_entry entries[3];
			entries[0] = append_text(opened.stream, region, "first");
			entries[1] = append_text(opened.stream, region, "second");
			entries[2] = append_text(opened.stream, region, "third");
			damage(&opened, entries[1].offset + bytes[i]);
			struct pmemstream *stream = opened.stream;

			assert_int_equal(pmemstream_entry_iterator_new(&iterator, stream, region), 0);
			pmemstream_entry_iterator_seek_first(iterator);
			assert_int_equal(pmemstream_entry_iterator_get(iterator).offset, entries[0].offset);
			pmemstream_entry_iterator_next(iterator);
			assert_fails(stream, pmemstream_entry_iterator_is_valid(iterator), EBADMSG);
			assert_int_equal(pmemstream_entry_iterator_get(iterator).offset, UINT64_MAX);
			pmemstream_entry_iterator_next(iterator);
			assert_int_equal(pmemstream_entry_iterator_is_valid(iterator), 0);
			assert_int_equal(pmemstream_entry_iterator_get(iterator).offset, entries[2].offset);
			pmemstream_entry_iterator_next(iterator);
			assert_fails(stream, pmemstream_entry_iterator_is_valid(iterator), ENODATA);
			pmemstream_entry_iterator_delete(&iterator);
			assert_fails_as(stream, pmemstream_entry_data(stream, entries[1]), NULL, EINVAL);
			assert_int_equal(pmemstream_entry_timestamp(stream, append_text(stream, region, "fourth")), 4);
			opened_free(&opened);
		}
}

static void a_region_grows_over_many_limits_and_rounds(void **state)
{
	(void)state;
	for (int g = 0; g < MAP_GRANULARITIES; g++) {
		struct opened opened;
		static char data[30000];
		opened_new(&opened, map_granularities[g], 24 << 20, 4096);
		struct pmemstream_region region = region_of(opened.stream, 20 << 20);
		uint64_t seed = 5;
		unsigned count = 0;
		size_t size = 0;
		while (!pmemstream_append(opened.stream, region, NULL, data, size, NULL)) {
			count++;
			size = draw(&seed) % sizeof(data);
			memset(data, (int)count, 100);
		}
		assert_int_equal(errno, ENOSPC);
		assert_int_equal(count_entries(opened.stream, region), count);
		opened_again(&opened);
		assert_int_equal(count_entries(opened.stream, region), count);
		assert_int_equal(pmemstream_committed_timestamp(opened.stream), count);
		opened_free(&opened);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(timestamps_are_dense_from_1_over_all_regions_and_reopenings),
		cmocka_unit_test(an_entry_is_what_was_appended_aligned_and_where_it_was),
		cmocka_unit_test(an_entry_of_no_bytes_is_an_entry),
		cmocka_unit_test(an_entry_that_does_not_fit_changes_nothing),
		cmocka_unit_test(no_other_offset_names_an_entry),
		cmocka_unit_test(entries_of_a_freed_region_are_none_until_the_place_is_used_again),
		cmocka_unit_test(an_iterator_is_invalid_before_seek_first_and_behind_the_end),
		cmocka_unit_test(an_iterator_of_a_freed_region_is_stale_for_ever),
		cmocka_unit_test(an_iterator_stops_at_damage_and_goes_on_behind_it),
		cmocka_unit_test(a_region_grows_over_many_limits_and_rounds),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
