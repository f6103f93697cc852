/*
 * stream_follow_damage.c: what a reader is told when the medium of a live writer is damaged.
 *
 * The test overwrites bytes of the file while the writer, in another process, goes on from memory. Claims: a reader
 * never takes damage for the end; it is told where, once, and reads on behind it.
 */
#include "stream_child.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

enum { HEADER_BYTES = 32, SPACE = 64 }; /* of an entry, which takes so much with its number */

/* What was met on the way to the end. */
struct walk {
	unsigned entries, damages;
	unsigned before; /* entries in front of the first damage */
	char message[256];
};

static void overwrite(uint64_t off, size_t bytes)
{
	unsigned char junk[512];
	int fd = open(path, O_RDWR);

	memset(junk, 0xa5, sizeof(junk));
	assert_true(fd >= 0);
	assert_int_equal(pwrite(fd, junk, bytes, (off_t)off), (ssize_t)bytes);
	close(fd);
}

static void note_damage(struct walk *walk)
{
	assert_int_equal(errno, EBADMSG);
	if (!walk->damages++)
		walk->before = walk->entries;
	snprintf(walk->message, sizeof(walk->message), "%s", pmemstream_errormsg());
	assert_true(walk->damages < 1000);
}

static void walk_on(struct pmemstream_entry_iterator *iterator, struct walk *walk)
{
	for (;; pmemstream_entry_iterator_next(iterator))
		if (!pmemstream_entry_iterator_is_valid(iterator))
			walk->entries++;
		else if (errno == ENODATA)
			return;
		else
			note_damage(walk);
}

static void nap(void)
{
	struct timespec interval = {.tv_nsec = 10000000};

	nanosleep(&interval, NULL);
}

/* A reader looks for damage at intervals: it is told within a second, and 20 s are for a busy machine. */
static void walk_until_told(struct pmemstream_entry_iterator *iterator, struct walk *walk)
{
	for (unsigned i = 0; i < 2000 && !walk->damages; i++) {
		walk_on(iterator, walk);
		if (!walk->damages)
			nap();
	}
	assert_true(walk->damages);
}

static struct pmemstream_entry_iterator *iterate(struct pmemstream *stream, const char *label)
{
	struct pmemstream_entry_iterator *iterator;
	struct pmemstream_region region;

	assert_int_equal(pmemstream_region_find(stream, label, &region), 0);
	assert_int_equal(pmemstream_entry_iterator_new(&iterator, stream, region), 0);
	pmemstream_entry_iterator_seek_first(iterator);
	return iterator;
}

/* Where the entries of the first region begin. */
static uint64_t entries_off(struct pmemstream *stream)
{
	struct pmemstream_region region;

	assert_int_equal(pmemstream_region_find(stream, "first", &region), 0);
	return region.offset + 256;
}

enum moment { BEFORE_OPENING, BEFORE_READING, BEHIND_THE_READER, MOMENTS };

/* Five entries, of which the third is damaged; then two more. */
static void damage_third(enum moment moment, bool header)
{
	struct pmemstream_entry_iterator *iterator;
	struct walk walk = {0};
	struct pmemstream *stream;
	struct child writer;
	char place[32];

	new_path();
	start(&writer);
	tell(&writer, "caa");
	assert_int_equal(pmemstream_open(&stream, path, &reading), 0);
	uint64_t off = entries_off(stream) + 2 * SPACE;
	if (moment == BEFORE_OPENING)
		pmemstream_delete(&stream);
	else
		iterator = iterate(stream, "first");
	if (moment == BEHIND_THE_READER)
		walk_on(iterator, &walk);
	tell(&writer, "aaa");
	overwrite(header ? off : off + HEADER_BYTES, 3);
	if (moment == BEFORE_OPENING) {
		assert_int_equal(pmemstream_open(&stream, path, &reading), 0);
		iterator = iterate(stream, "first");
	}
	walk_until_told(iterator, &walk);
	snprintf(place, sizeof(place), "entry at %zu", (size_t)off);
	assert_non_null(strstr(walk.message, place));
	assert_non_null(strstr(walk.message, header ? "its header does not check" : "checksum of its data"));
	assert_int_equal(walk.before, 2);
	assert_int_equal(walk.damages, 1);
	assert_int_equal(walk.entries, 4);
	tell(&writer, "aa");
	walk_on(iterator, &walk);
	assert_int_equal(walk.entries, 6);
	assert_int_equal(walk.damages, 1);
	pmemstream_entry_iterator_delete(&iterator);
	pmemstream_delete(&stream);
	stop(&writer, 0);
	unlink(path);
}

static void a_damaged_header_is_told_with_its_place_and_passed(void **state)
{
	(void)state;
	for (int moment = 0; moment < MOMENTS; moment++)
		damage_third((enum moment)moment, true);
}

static void damaged_data_are_told_with_their_place_and_passed(void **state)
{
	(void)state;
	for (int moment = 0; moment < MOMENTS; moment++)
		damage_third((enum moment)moment, false);
}

static void a_last_entry_that_vanished_is_told_with_its_timestamp(void **state)
{
	(void)state;
	for (int opened = 0; opened < 2; opened++) {
		struct pmemstream_entry_iterator *iterator, *other;
		struct walk walk = {0}, beside = {0};
		struct pmemstream *stream;
		struct child writer;

		new_path();
		start(&writer);
		tell(&writer, "cr1a"); /* timestamps 1 in "second", 2 in "first" */
		assert_int_equal(pmemstream_open(&stream, path, &reading), 0);
		uint64_t off = entries_off(stream) + SPACE;
		if (!opened)
			pmemstream_delete(&stream);
		tell(&writer, "a"); /* 3, and nothing behind it vouches for it but the writer */
		overwrite(off, HEADER_BYTES);
		if (!opened)
			assert_int_equal(pmemstream_open(&stream, path, &reading), 0);
		iterator = iterate(stream, "first");
		other = iterate(stream, "second");
		walk_until_told(iterator, &walk);
		assert_non_null(strstr(walk.message, "timestamp 3"));
		assert_int_equal(walk.before, 1);
		/* It may have stood in the other one as well. */
		walk_on(other, &beside);
		assert_int_equal(beside.damages, 1);
		assert_int_equal(beside.before, 1);
		tell(&writer, "a2a1aa");
		walk_on(other, &beside);
		assert_int_equal(beside.damages, 1);
		assert_int_equal(beside.entries, 2);
		/* Of the first region the next view shows the place, and what came later. */
		for (unsigned i = 0; i < 2000 && walk.entries < 4; i++) {
			walk_on(iterator, &walk);
			nap();
		}
		assert_int_equal(walk.entries, 4);
		assert_int_equal(walk.damages, 2);
		pmemstream_entry_iterator_delete(&iterator);
		pmemstream_entry_iterator_delete(&other);
		pmemstream_delete(&stream);
		stop(&writer, 0);
		unlink(path);
	}
}

static void the_walk_over_all_regions_tells_of_a_hole_in_the_timestamps(void **state)
{
	(void)state;
	struct pmemstream_global_iterator *iterator;
	unsigned entries = 0, damages = 0;
	struct pmemstream *stream;
	struct child writer;

	new_path();
	start(&writer);
	tell(&writer, "cr1aa");
	assert_int_equal(pmemstream_open(&stream, path, &reading), 0);
	uint64_t off = entries_off(stream) + 2 * SPACE;
	tell(&writer, "a"); /* 4 */
	overwrite(off, HEADER_BYTES);
	tell(&writer, "2a");
	assert_int_equal(pmemstream_global_iterator_new(&iterator, stream), 0);
	pmemstream_global_iterator_seek_first(iterator);
	for (; damages < 10; pmemstream_global_iterator_next(iterator)) {
		if (!pmemstream_global_iterator_is_valid(iterator)) {
			entries++;
		} else if (errno == ENODATA) {
			break;
		} else {
			assert_int_equal(errno, EBADMSG);
			assert_int_equal(entries, 3);
			assert_non_null(strstr(pmemstream_errormsg(), "timestamp 4"));
			damages++;
		}
	}
	assert_int_equal(entries, 4);
	assert_int_equal(damages, 1);
	tell(&writer, "a");
	assert_int_equal(pmemstream_global_iterator_is_valid(iterator), 0);
	pmemstream_global_iterator_delete(&iterator);
	pmemstream_delete(&stream);
	stop(&writer, 0);
	unlink(path);
}

static void a_region_that_cannot_be_read_is_told_and_the_others_go_on(void **state)
{
	(void)state;
	struct pmemstream_entry_iterator *iterator;
	struct pmemstream *stream, *late = NULL;
	struct walk walk = {0};
	struct child writer;

	new_path();
	start(&writer);
	tell(&writer, "caa");
	assert_int_equal(pmemstream_open(&stream, path, &reading), 0);
	iterator = iterate(stream, "first");
	walk_on(iterator, &walk);
	/* The second region will lie behind the first one. */
	uint64_t second_off = entries_off(stream) - 256 + REGION_BYTES + 4096;
	tell(&writer, "r1aa");
	overwrite(second_off + 16, 8); /* of its header */
	walk_until_told(iterator, &walk);
	assert_non_null(strstr(walk.message, "region at"));
	assert_int_equal(walk.entries, 4);
	assert_int_equal(pmemstream_region_find(stream, "second", NULL), -1);
	assert_int_equal(errno, EBADMSG);
	assert_non_null(strstr(pmemstream_errormsg(), "region at"));
	assert_int_equal(pmemstream_wait_newer(stream, 5, 1), -1);
	assert_int_equal(errno, EBADMSG);
	assert_int_equal(pmemstream_open(&late, path, &reading), -1);
	assert_int_equal(errno, EBADMSG);
	assert_null(late);
	tell(&writer, "a");
	assert_int_equal(pmemstream_wait_newer(stream, 5, LONG_NS), 0);
	walk_on(iterator, &walk);
	assert_int_equal(walk.entries, 5);
	assert_int_equal(walk.damages, 1);
	pmemstream_entry_iterator_delete(&iterator);
	pmemstream_delete(&stream);
	stop(&writer, 0);
	unlink(path);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_damaged_header_is_told_with_its_place_and_passed),
		cmocka_unit_test(damaged_data_are_told_with_their_place_and_passed),
		cmocka_unit_test(a_last_entry_that_vanished_is_told_with_its_timestamp),
		cmocka_unit_test(the_walk_over_all_regions_tells_of_a_hole_in_the_timestamps),
		cmocka_unit_test(a_region_that_cannot_be_read_is_told_and_the_others_go_on),
	};

	signal(SIGPIPE, SIG_IGN);
	setenv("PMEM2_FORCE_GRANULARITY", "CACHE_LINE", 1);
	return cmocka_run_group_tests_name("stream_follow_damage", tests, NULL, NULL);
}
