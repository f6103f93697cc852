/*
 * stream_iterate.c: tests of the short ways that walks take: from a trusted entry to the next, and from an entry that
 * a thread found to its data, size and timestamp.
 */
#include "stream/found.h"
#include "stream_map.h"

#include "../walks.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum { FILE_BYTES = 1 << 20, BLOCK = 512, ENTRIES = 40, THREADS = THREAD_SLOT_SHARED + 40 };

static size_t size_of(uint64_t i)
{
	return (size_t)(i * 29 % 200);
}

/* The i-th entry from 0 has that size, the timestamp i + 1 and bytes that are all i. */
static struct pmemstream_region numbered(struct pmemstream *stream, struct pmemstream_entry *entries)
{
	struct pmemstream_region region = region_of(stream, 20000);
	unsigned char data[200];

	for (unsigned i = 0; i < ENTRIES; i++) {
		memset(data, (int)i, sizeof(data));
		assert_int_equal(pmemstream_append(stream, region, NULL, data, size_of(i), &entries[i]), 0);
	}
	return region;
}

static bool is_numbered(struct pmemstream *stream, struct pmemstream_entry entry, uint64_t i)
{
	const unsigned char *data = pmemstream_entry_data(stream, entry);
	size_t size = pmemstream_entry_size(stream, entry);
	bool is = data && size == size_of(i) && pmemstream_entry_timestamp(stream, entry) == i + 1;

	for (size_t at = 0; is && at < size; at++)
		is = data[at] == (unsigned char)i;
	return is;
}

static struct pmemstream_entry_iterator *walk_of(struct pmemstream *stream, struct pmemstream_region region)
{
	struct pmemstream_entry_iterator *iterator;

	assert_int_equal(pmemstream_entry_iterator_new(&iterator, stream, region), 0);
	pmemstream_entry_iterator_seek_first(iterator);
	return iterator;
}

/* Stands at the first entry, which is trusted, when the header of the second one is changed in the file. */
static void step_into(uint64_t first_word, int expected)
{
	for (int again = 0; again < 2; again++) {
		struct opened opened;
		struct pmemstream_entry entries[ENTRIES];
		opened_new(&opened, map_granularities[2], FILE_BYTES, BLOCK);
		struct pmemstream_region region = numbered(opened.stream, entries);
		if (again) {
			opened_again(&opened);
			assert_int_equal(count_entries(opened.stream, region), ENTRIES); /* so they were checked */
		}
		struct pmemstream_entry_iterator *walk = walk_of(opened.stream, region);
		assert_int_equal(pmemstream_entry_iterator_is_valid(walk), 0);
		mapped_write(&opened.file, &first_word, sizeof(first_word), entries[1].offset);
		pmemstream_entry_iterator_next(walk);
		if (expected) {
			assert_fails(opened.stream, pmemstream_entry_iterator_is_valid(walk), expected);
			pmemstream_entry_iterator_next(walk);
		}
		/* A filler is passed over. */
		assert_int_equal(pmemstream_entry_iterator_get(walk).offset, entries[2].offset);
		assert_true(is_numbered(opened.stream, entries[2], 2));
		pmemstream_entry_iterator_delete(&walk);
		opened_free(&opened);
	}
}

static void no_step_believes_a_size_that_reaches_out_of_the_region(void **state)
{
	(void)state;
	step_into(30000, EBADMSG);
	step_into(FILE_BYTES, EBADMSG);
	step_into(FORMAT_ENTRY_SIZE_MAX, EBADMSG);
	step_into((uint64_t)FORMAT_MORE << 48 | FORMAT_ENTRY_SIZE_MAX, EBADMSG);
	step_into(UINT64_MAX & ~((uint64_t)(FORMAT_LOST | FORMAT_FILLER) << 48), EBADMSG);
}

/* The first entry's size is changed so that the next one begins less than a header in front of the tail. */
static void no_step_believes_a_header_that_reaches_behind_the_tail(void **state)
{
	(void)state;
	uint64_t sizes[8];
	for (int i = 0; i < 8; i++)
		sizes[i] = UINT64_C(1) << (i % 2 ? 46 : 14);
	for (int g = 0; g < MAP_GRANULARITIES; g++)
		for (uint64_t before = 8; before < FORMAT_ENTRY_HEADER_BYTES; before += 8)
			for (int many = 0; many < 2; many++) {
				struct opened opened;
				struct pmemstream_entry first, second;
				struct pmemstream_entry_view views[3];
				/* Entries begin at any 8 bytes there. */
				opened_new(&opened, map_granularities[g], FILE_BYTES, 64);
				struct pmemstream_region region = region_of(opened.stream, 4000);
				assert_int_equal(pmemstream_append(opened.stream, region, NULL, sizes, 64, &first), 0);
				assert_int_equal(pmemstream_append(opened.stream, region, NULL, sizes, 64, &second), 0);
				uint64_t tail_off = second.offset + pmemstream_entry_space(opened.stream, 64);
				uint64_t size = tail_off - before - first.offset - FORMAT_ENTRY_HEADER_BYTES;
				mapped_write(&opened.file, &size, sizeof(size), first.offset);

				struct pmemstream_entry_iterator *walk = walk_of(opened.stream, region);
				if (many) {
					assert_int_equal(pmemstream_entry_iterator_read(walk, views, 3), 1);
					assert_fails_as(opened.stream, pmemstream_entry_iterator_read(walk, views, 3),
							0, EBADMSG);
				} else {
					assert_int_equal(pmemstream_entry_iterator_is_valid(walk), 0);
					pmemstream_entry_iterator_next(walk);
					assert_fails(opened.stream, pmemstream_entry_iterator_is_valid(walk), EBADMSG);
				}
				pmemstream_entry_iterator_delete(&walk);
				opened_free(&opened);
			}
}

static void a_step_sees_what_is_no_entry(void **state)
{
	(void)state;
	step_into((uint64_t)FORMAT_FILLER << 48 | size_of(1), 0);
	step_into((uint64_t)FORMAT_LOST << 48 | size_of(1), EBADMSG);
}

static void a_step_goes_where_entries_were_appended_meanwhile(void **state)
{
	(void)state;
	for (int g = 0; g < MAP_GRANULARITIES; g++) {
		struct opened opened;
		struct pmemstream_entry entries[ENTRIES];
		opened_new(&opened, map_granularities[g], FILE_BYTES, BLOCK);
		struct pmemstream_region region = numbered(opened.stream, entries);
		opened_again(&opened);
		struct pmemstream_entry_iterator *walk = walk_of(opened.stream, region);
		for (unsigned i = 0; i < ENTRIES; i++, pmemstream_entry_iterator_next(walk))
			assert_int_equal(pmemstream_entry_iterator_get(walk).offset, entries[i].offset);
		for (unsigned i = 0; i < 3; i++) {
			assert_fails(opened.stream, pmemstream_entry_iterator_is_valid(walk), ENODATA);
			pmemstream_entry_iterator_next(walk);
			struct pmemstream_entry late = append_text(opened.stream, region, "late");
			assert_int_equal(pmemstream_entry_iterator_get(walk).offset, late.offset);
			assert_int_equal(pmemstream_entry_size(opened.stream, late), 4);
			pmemstream_entry_iterator_next(walk);
		}
		/* Back to what only a checking walk went over. */
		pmemstream_entry_iterator_seek_first(walk);
		for (unsigned i = 0; i < ENTRIES; i++, pmemstream_entry_iterator_next(walk))
			assert_true(is_numbered(opened.stream, pmemstream_entry_iterator_get(walk), i));
		pmemstream_entry_iterator_delete(&walk);
		opened_free(&opened);
	}
}

static void what_was_found_is_forgotten_when_its_region_is_freed_or_its_stream_closed(void **state)
{
	(void)state;
	struct opened opened;
	struct pmemstream_entry entries[ENTRIES];
	opened_new(&opened, map_granularities[1], FILE_BYTES, BLOCK);
	struct pmemstream_region other = region_of(opened.stream, 1000);
	struct pmemstream_region region = region_of(opened.stream, 1000);
	struct pmemstream_entry entry = append_text(opened.stream, region, "some");
	struct pmemstream_entry_iterator *walk = walk_of(opened.stream, region);

	/* That another region is freed does not matter. */
	assert_int_equal(pmemstream_entry_iterator_get(walk).offset, entry.offset);
	assert_int_equal(pmemstream_region_free(opened.stream, other), 0);
	assert_int_equal(pmemstream_entry_size(opened.stream, entry), 4);
	assert_int_equal(pmemstream_entry_iterator_get(walk).offset, entry.offset);
	assert_int_equal(pmemstream_region_free(opened.stream, region), 0);
	assert_fails_as(opened.stream, pmemstream_entry_data(opened.stream, entry), NULL, EINVAL);
	assert_fails_as(opened.stream, pmemstream_entry_size(opened.stream, entry), 0, EINVAL);
	assert_fails_as(opened.stream, pmemstream_entry_timestamp(opened.stream, entry), 0, EINVAL);
	assert_fails(opened.stream, pmemstream_entry_iterator_is_valid(walk), ESTALE);
	pmemstream_entry_iterator_delete(&walk);

	region = numbered(opened.stream, entries);
	walk = walk_of(opened.stream, region);
	struct pmemstream_entry first = pmemstream_entry_iterator_get(walk);
	pmemstream_entry_iterator_delete(&walk);
	opened_free(&opened);
	/* Likely at the same address. */
	opened_new(&opened, map_granularities[1], FILE_BYTES, BLOCK);
	assert_fails_as(opened.stream, pmemstream_entry_size(opened.stream, first), 0, EINVAL);
	opened_free(&opened);
}

static void walks_by_turns_are_each_told_of_their_own_entries(void **state)
{
	(void)state;
	struct opened opened;
	struct pmemstream_entry entries[ENTRIES];
	opened_new(&opened, map_granularities[1], FILE_BYTES, BLOCK);
	struct pmemstream_region region = numbered(opened.stream, entries);
	struct pmemstream_entry_iterator *ahead = walk_of(opened.stream, region),
					 *behind = walk_of(opened.stream, region);

	pmemstream_entry_iterator_next(ahead);
	for (unsigned i = 0; i + 1 < ENTRIES; i++) {
		struct pmemstream_entry next = pmemstream_entry_iterator_get(ahead);
		struct pmemstream_entry this = pmemstream_entry_iterator_get(behind);
		assert_true(is_numbered(opened.stream, next, i + 1));
		assert_true(is_numbered(opened.stream, this, i));
		assert_true(is_numbered(opened.stream, next, i + 1));
		pmemstream_entry_iterator_next(behind);
		pmemstream_entry_iterator_next(ahead);
	}
	pmemstream_entry_iterator_delete(&ahead);
	pmemstream_entry_iterator_delete(&behind);
	opened_free(&opened);
}

/* All ways in one region: damage in data and in headers, a filler, a stretch that was given up. */
static void reading_many_finds_what_stepping_finds(void **state)
{
	static const uint64_t filler = (uint64_t)FORMAT_FILLER << 48, lost = (uint64_t)FORMAT_LOST << 48;
	(void)state;
	for (int g = 0; g < MAP_GRANULARITIES; g++)
		for (int damage = 0; damage < 5; damage++)
			for (int again = 0; again < 2; again++) {
				struct opened opened;
				struct pmemstream_entry entries[ENTRIES];
				opened_new(&opened, map_granularities[g], FILE_BYTES, BLOCK);
				struct pmemstream_region region = numbered(opened.stream, entries);
				const uint64_t words[] = {0, 0x1234567, filler | size_of(3), lost | size_of(3),
							  FORMAT_ENTRY_SIZE_MAX};
				/* Behind the checkpoint's back, or found by who checks. */
				if (again)
					opened_again(&opened);
				if (damage)
					mapped_write(&opened.file, &words[damage], sizeof(*words),
						     entries[3].offset + (damage == 1 ? 40 : 0));
				for (int many_first = 0; many_first < 2; many_first++) {
					const char *different = walks_differ(opened.stream, region, many_first);
					if (different)
						fail_msg("%s, damage %d, again %d: %s", map_granularities[g], damage,
							 again, different);
				}
				opened_free(&opened);
			}
}

static void reading_many_stops_in_front_of_damage_and_next_passes_it(void **state)
{
	(void)state;
	struct opened opened;
	struct pmemstream_entry entries[ENTRIES];
	struct pmemstream_entry_view views[ENTRIES];
	opened_new(&opened, map_granularities[1], FILE_BYTES, BLOCK);
	struct pmemstream_region region = numbered(opened.stream, entries);
	/* So that entries are checked when they are read. */
	opened_again(&opened);
	mapped_write(&opened.file, "damage", 6, entries[5].offset + FORMAT_ENTRY_HEADER_BYTES);
	struct pmemstream_entry_iterator *walk = walk_of(opened.stream, region);

	size_t read = 0, more;
	while ((more = pmemstream_entry_iterator_read(walk, views + read, ENTRIES - read)))
		read += more;
	assert_int_equal(read, 5);
	assert_fails_as(opened.stream, pmemstream_entry_iterator_read(walk, views, ENTRIES), 0, EBADMSG);
	assert_fails(opened.stream, pmemstream_entry_iterator_is_valid(walk), EBADMSG);
	pmemstream_entry_iterator_next(walk);
	for (read = 6; (more = pmemstream_entry_iterator_read(walk, views + read, 3)); read += more)
		;
	assert_int_equal(read, ENTRIES);
	for (unsigned i = 0; i < ENTRIES; i++)
		if (i != 5) {
			assert_int_equal(views[i].entry.offset, entries[i].offset);
			assert_int_equal(views[i].timestamp, i + 1);
			assert_int_equal(views[i].size, size_of(i));
			assert_true(is_numbered(opened.stream, views[i].entry, i));
			assert_ptr_equal(views[i].data, pmemstream_entry_data(opened.stream, entries[i]));
		}
	pmemstream_entry_iterator_delete(&walk);
	opened_free(&opened);
}

static void reading_many_says_why_there_is_nothing(void **state)
{
	(void)state;
	struct opened opened;
	struct pmemstream_entry_view views[3];
	struct pmemstream_entry_iterator *walk;
	opened_new(&opened, map_granularities[1], FILE_BYTES, BLOCK);
	struct pmemstream_region region = region_of(opened.stream, 1000);

	assert_int_equal(pmemstream_entry_iterator_new(&walk, opened.stream, region), 0);
	assert_fails_as(opened.stream, pmemstream_entry_iterator_read(walk, views, 3), 0, ENODATA);
	pmemstream_entry_iterator_seek_first(walk);
	assert_fails_as(opened.stream, pmemstream_entry_iterator_read(walk, views, 3), 0, ENODATA);
	assert_fails_as(opened.stream, pmemstream_entry_iterator_read(NULL, views, 3), 0, EINVAL);
	assert_fails_as(opened.stream, pmemstream_entry_iterator_read(walk, NULL, 3), 0, EINVAL);
	assert_fails_as(opened.stream, pmemstream_entry_iterator_read(walk, views, 0), 0, EINVAL);
	/* It goes on with what is appended. */
	for (unsigned i = 0; i < 4; i++) {
		struct pmemstream_entry entry = append_text(opened.stream, region, "late");
		assert_int_equal(pmemstream_entry_iterator_read(walk, views, 3), 1);
		assert_int_equal(views[0].entry.offset, entry.offset);
		assert_memory_equal(views[0].data, "late", 4);
		assert_fails_as(opened.stream, pmemstream_entry_iterator_read(walk, views, 3), 0, ENODATA);
	}
	/* After one step, from there. */
	pmemstream_entry_iterator_seek_first(walk);
	pmemstream_entry_iterator_next(walk);
	assert_int_equal(pmemstream_entry_iterator_read(walk, views, 1), 1);
	assert_int_equal(views[0].timestamp, 2);
	assert_int_equal(pmemstream_entry_timestamp(opened.stream, pmemstream_entry_iterator_get(walk)), 3);
	assert_int_equal(pmemstream_region_free(opened.stream, region), 0);
	assert_fails_as(opened.stream, pmemstream_entry_iterator_read(walk, views, 3), 0, ESTALE);
	assert_int_equal(views[0].timestamp, 2);
	pmemstream_entry_iterator_delete(&walk);
	opened_free(&opened);
}

struct crowd {
	struct pmemstream *stream;
	struct pmemstream_region region;
	pthread_barrier_t barrier;
	_Atomic unsigned wrong, lines;
};

static void *walk_in_a_crowd(void *argument)
{
	struct crowd *crowd = argument;
	struct pmemstream_entry_iterator *walk;

	for (int time = 0; time < 2; time++) {
		uint64_t count = 0;
		if (pmemstream_entry_iterator_new(&walk, crowd->stream, crowd->region)) {
			atomic_fetch_add(&crowd->wrong, 1);
			count = ENTRIES;
		} else {
			pmemstream_entry_iterator_seek_first(walk);
			for (; !pmemstream_entry_iterator_is_valid(walk); pmemstream_entry_iterator_next(walk), count++)
				if (!is_numbered(crowd->stream, pmemstream_entry_iterator_get(walk), count))
					atomic_fetch_add(&crowd->wrong, 1);
			pmemstream_entry_iterator_delete(&walk);
		}
		if (count != ENTRIES)
			atomic_fetch_add(&crowd->wrong, 1);
		/* All live at once, each with its line. */
		pthread_barrier_wait(&crowd->barrier);
	}
	if (found_line())
		atomic_fetch_add(&crowd->lines, 1);
	pthread_barrier_wait(&crowd->barrier);
	return NULL;
}

static unsigned lines_taken(void)
{
	unsigned taken = 0;

	for (unsigned i = 0; i < THREAD_SLOT_SHARED; i++)
		taken += atomic_load(&thread_slots[i].owner) != 0;
	return taken;
}

static void more_threads_than_there_are_lines_walk_at_once_and_give_them_back(void **state)
{
	(void)state;
	struct opened opened;
	struct pmemstream_entry entries[ENTRIES];
	static struct crowd crowd;
	static pthread_t threads[THREADS];
	pthread_attr_t attributes;
	opened_new(&opened, map_granularities[1], FILE_BYTES, BLOCK);
	crowd.stream = opened.stream;
	crowd.region = numbered(opened.stream, entries);
	assert_int_equal(count_entries(opened.stream, crowd.region), ENTRIES);
	unsigned taken = lines_taken();
	assert_int_equal(pthread_attr_init(&attributes), 0);
	assert_int_equal(pthread_attr_setstacksize(&attributes, 1 << 20), 0);

	for (unsigned time = 0; time < 2; time++) {
		crowd.lines = 0;
		assert_int_equal(pthread_barrier_init(&crowd.barrier, NULL, THREADS), 0);
		for (unsigned i = 0; i < THREADS; i++)
			assert_int_equal(pthread_create(&threads[i], &attributes, walk_in_a_crowd, &crowd), 0);
		for (unsigned i = 0; i < THREADS; i++)
			pthread_join(threads[i], NULL);
		pthread_barrier_destroy(&crowd.barrier);
		assert_int_equal(crowd.wrong, 0);
		assert_int_equal(crowd.lines, THREAD_SLOT_SHARED - taken);
		assert_int_equal(lines_taken(), taken);
	}
	pthread_attr_destroy(&attributes);
	opened_free(&opened);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(no_step_believes_a_size_that_reaches_out_of_the_region),
		cmocka_unit_test(no_step_believes_a_header_that_reaches_behind_the_tail),
		cmocka_unit_test(a_step_sees_what_is_no_entry),
		cmocka_unit_test(a_step_goes_where_entries_were_appended_meanwhile),
		cmocka_unit_test(what_was_found_is_forgotten_when_its_region_is_freed_or_its_stream_closed),
		cmocka_unit_test(reading_many_finds_what_stepping_finds),
		cmocka_unit_test(reading_many_stops_in_front_of_damage_and_next_passes_it),
		cmocka_unit_test(reading_many_says_why_there_is_nothing),
		cmocka_unit_test(walks_by_turns_are_each_told_of_their_own_entries),
		cmocka_unit_test(more_threads_than_there_are_lines_walk_at_once_and_give_them_back),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
