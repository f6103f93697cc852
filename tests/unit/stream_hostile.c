/*
 * stream_hostile.c: files that are made up so that reading them would take the square of their size. What is read is
 * counted, not timed: the linker lets the checks of data and words come through here (--wrap).
 */
#include "stream/budget.h"
#include "stream_bytes.h"

#include <libpmemstream.h>

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

enum { STREAM_BYTES = 3 << 20, REGION_BYTES = 2 << 20, BLOCK = 64, REGIONS = 300, STEPS_MAX = 1 << 17 };

static uint64_t checked_bytes, decoded_words;
static uint64_t bytes_bound = UINT64_MAX, words_bound = UINT64_MAX;

static void bound(const char *what, uint64_t counted, uint64_t most)
{
	if (counted <= most)
		return;
	fprintf(stderr, "%s: more than %zu\n", what, (size_t)most);
	abort();
}

uint64_t __real_crc64_jones_norm(uint64_t crc, const unsigned char *data, uint64_t bytes);
uint64_t __wrap_crc64_jones_norm(uint64_t crc, const unsigned char *data, uint64_t bytes);
uint64_t __wrap_crc64_jones_norm(uint64_t crc, const unsigned char *data, uint64_t bytes)
{
	bound("bytes that were checksummed", checked_bytes += bytes, bytes_bound);
	return __real_crc64_jones_norm(crc, data, bytes);
}

bool __real_format_checked_decode(uint64_t word, uint64_t salt, uint64_t seed, uint64_t *value);
bool __wrap_format_checked_decode(uint64_t word, uint64_t salt, uint64_t seed, uint64_t *value);
bool __wrap_format_checked_decode(uint64_t word, uint64_t salt, uint64_t seed, uint64_t *value)
{
	bound("words that were decoded", ++decoded_words, words_bound);
	return __real_format_checked_decode(word, salt, seed, value);
}

/* What two searches in the region may read, besides reading it once each: a read-only opening looks a second time. */
static void expect_little(void)
{
	checked_bytes = decoded_words = 0;
	bytes_bound = 2 * ((BUDGET_TIMES + 2) * REGION_BYTES + BUDGET_BYTES);
	words_bound = 32 * (STREAM_BYTES / BLOCK) + (3 << 20);
}

static char path[64];
static struct pmemstream_region region;
static unsigned char *bytes; /* of the file */
static struct format_header header;
static struct format_stream_slot slot; /* the one in use */
static uint64_t slot_off;

static const struct pmemstream_config reading = {.flags = PMEMSTREAM_READ_ONLY};

static void make(unsigned regions, size_t region_bytes)
{
	static int number;
	const struct pmemstream_config sized = {.size = STREAM_BYTES, .block_size = BLOCK};
	struct pmemstream *stream;

	bytes_bound = words_bound = UINT64_MAX;
	snprintf(path, sizeof(path), "hostile.%d.%d.stream", (int)getpid(), number++);
	unlink(path);
	assert_int_equal(pmemstream_create(&stream, path, &sized), 0);
	for (unsigned i = 0; i < regions; i++)
		assert_int_equal(pmemstream_region_allocate(stream, region_bytes, &region), 0);
	for (int i = 0; i < 3; i++)
		assert_int_equal(pmemstream_append(stream, region, NULL, "entry", 6, NULL), 0);
	pmemstream_delete(&stream);
	bytes = stream_bytes(path, STREAM_BYTES, &header, &slot, &slot_off);
}

static void done(void)
{
	munmap(bytes, STREAM_BYTES);
	unlink(path);
}

static uint64_t end_off(void)
{
	return region.offset + le64_load(bytes + region.offset + 24);
}

/* From an offset on headers all of which claim everything up to the end of the region, and lie about its checksum. */
static void nest(uint64_t off, uint64_t first_timestamp)
{
	uint64_t end = end_off(), generation = le64_load(bytes + region.offset + 16);
	uint32_t seed = format_entry_seed(header.salt, generation);

	for (uint64_t timestamp = first_timestamp; off + 64 <= end; off += 32, timestamp++) {
		struct format_entry entry = {
			.size = end - off - FORMAT_ENTRY_HEADER_BYTES,
			.timestamp = timestamp,
			.epoch = slot.epoch,
			.lag = 1,
			.data_crc = 0xbad,
		};
		format_entry_encode(bytes + off, seed, off, &entry);
	}
}

static void put_slot(uint32_t flags, uint64_t persisted)
{
	slot.flags = flags;
	slot.persisted = persisted;
	format_stream_slot_encode(bytes + slot_off, header.salt, slot_off, &slot);
}

/* The region's slot in use and its limit say that its entries go up to an offset. */
static void put_tail(uint64_t off, uint64_t persisted)
{
	uint64_t generation = le64_load(bytes + region.offset + 16), in_use = 0;
	struct format_region_slot slots[2];

	for (unsigned i = 0; i < 2; i++) {
		uint64_t at = region.offset + FORMAT_REGION_SLOT_OFF + (uint64_t)i * FORMAT_SLOT_BYTES;
		assert_true(format_region_slot_decode(bytes + at, header.salt, generation, at, &slots[i]));
		in_use = i && slots[1].round > slots[0].round ? 1 : in_use;
	}
	uint64_t at = region.offset + FORMAT_REGION_SLOT_OFF + in_use * FORMAT_SLOT_BYTES;
	slots[in_use].tail_off = off - region.offset;
	slots[in_use].persisted = persisted;
	format_region_slot_encode(bytes + at, header.salt, generation, at, &slots[in_use]);
	le64_store(bytes + region.offset + FORMAT_REGION_LIMIT_OFF,
		   format_checked_encode(header.salt, generation, (end_off() - region.offset) / FORMAT_LIMIT_UNIT));
}

static void check_is_refused_soon(void)
{
	expect_little();
	assert_int_equal(pmemstream_check(path, PMEMSTREAM_CHECK_DEEP, NULL, NULL), -1);
	assert_int_equal(errno, EBADMSG);
	expect_little();
	unsigned char *before = malloc(STREAM_BYTES);
	memcpy(before, bytes, STREAM_BYTES);
	assert_int_equal(pmemstream_repair(path, 0, NULL, NULL), -1);
	assert_int_equal(errno, EBADMSG);
	assert_memory_equal(before, bytes, STREAM_BYTES);
	free(before);
}

static void read_to_the_end(struct pmemstream *stream)
{
	struct pmemstream_entry_iterator *iterator;
	unsigned steps = 0;

	assert_int_equal(pmemstream_entry_iterator_new(&iterator, stream, region), 0);
	pmemstream_entry_iterator_seek_first(iterator);
	for (;; pmemstream_entry_iterator_next(iterator)) {
		/* Each step is bounded. */
		expect_little();
		if (pmemstream_entry_iterator_is_valid(iterator) && errno != EBADMSG)
			break;
		assert_true(steps++ < STEPS_MAX);
	}
	assert_int_equal(errno, ENODATA);
	pmemstream_entry_iterator_delete(&iterator);
}

static void entries_inside_one_another_behind_the_end_are_refused_soon(void **state)
{
	(void)state;
	struct pmemstream *stream;

	make(1, REGION_BYTES);
	uint64_t tail_off = region.offset + 256 + 1024;
	put_slot(0, slot.persisted);
	put_tail(region.offset + 256, 0);
	memset(bytes + region.offset + 256, 0, 1024);
	nest(tail_off, slot.persisted + 100);
	expect_little();
	assert_int_equal(pmemstream_open(&stream, path, NULL), -1);
	assert_int_equal(errno, EBADMSG);
	assert_true(checked_bytes > REGION_BYTES);
	expect_little();
	assert_int_equal(pmemstream_open(&stream, path, &reading), 0);
	read_to_the_end(stream);
	pmemstream_delete(&stream);
	check_is_refused_soon();
	done();
}

static void entries_inside_one_another_in_front_of_a_checkpoint_are_refused_soon(void **state)
{
	(void)state;
	struct pmemstream *stream;

	make(1, REGION_BYTES);
	put_slot(FORMAT_CLEAN, 1 << 20);
	put_tail(end_off(), 1 << 20);
	memset(bytes + region.offset + 256, 0, 64);
	nest(region.offset + 256 + 64, 4);
	expect_little();
	assert_int_equal(pmemstream_open(&stream, path, &reading), 0);
	read_to_the_end(stream);
	expect_little();
	struct pmemstream_entry_iterator *iterator;
	assert_int_equal(pmemstream_entry_iterator_new(&iterator, stream, region), 0);
	pmemstream_entry_iterator_seek(iterator, 1000);
	pmemstream_entry_iterator_delete(&iterator);
	pmemstream_delete(&stream);
	check_is_refused_soon();
	done();
}

static void an_arena_of_many_words_around_a_bad_one_is_refused_soon(void **state)
{
	(void)state;
	struct pmemstream *stream;

	make(1, 1000);
	uint64_t arena_off = format_arena_off(BLOCK), arena_end = format_arena_end(STREAM_BYTES, BLOCK);
	for (uint64_t off = arena_off; off < arena_end; off += BLOCK)
		le64_store(bytes + off, format_checked_encode(header.salt, off, 1));
	bytes[arena_off] ^= 1;
	expect_little();
	assert_int_equal(pmemstream_open(&stream, path, NULL), -1);
	assert_int_equal(errno, EBADMSG);
	check_is_refused_soon();
	/* And where the last word is bad as well, so that none leads to the end. */
	bytes[arena_end - BLOCK] ^= 1;
	check_is_refused_soon();
	assert_true(decoded_words > STREAM_BYTES / BLOCK);
	done();
}

/* Regions whose generations fall with their offsets, as after a stream went around. */
static void regions_are_in_order_of_allocation_wherever_they_lie(void **state)
{
	(void)state;
	struct pmemstream_region_iterator *iterator;
	struct pmemstream *stream;
	uint64_t offs[REGIONS];
	unsigned count = 0;

	make(REGIONS, 256);
	for (uint64_t off = format_arena_off(BLOCK); count < REGIONS; count++) {
		uint64_t word = le64_load(bytes + off) & FORMAT_CHECKED_MAX & ~FORMAT_EXTENT_USED;
		struct format_region fields;
		assert_true(format_region_decode(bytes + off, header.salt, off, &fields));
		uint64_t former = fields.generation;
		/* Reversed, but for a few that stay: not in order either way. */
		fields.generation = former % 7 && (REGIONS + 1 - former) % 7 ? REGIONS + 1 - former : former;
		uint64_t limit = le64_load(bytes + off + FORMAT_REGION_LIMIT_OFF) & FORMAT_CHECKED_MAX;
		format_region_encode(bytes + off, header.salt, off, &fields);
		le64_store(bytes + off + FORMAT_REGION_LIMIT_OFF,
			   format_checked_encode(header.salt, fields.generation, limit));
		for (unsigned i = 0; i < 2; i++) {
			uint64_t at = off + FORMAT_REGION_SLOT_OFF + (uint64_t)i * FORMAT_SLOT_BYTES;
			struct format_region_slot region_slot;
			assert_true(format_region_slot_decode(bytes + at, header.salt, former, at, &region_slot));
			format_region_slot_encode(bytes + at, header.salt, fields.generation, at, &region_slot);
		}
		offs[fields.generation - 1] = off;
		off += word * BLOCK;
	}
	for (int writable = 0; writable < 2; writable++) {
		assert_int_equal(pmemstream_open(&stream, path, writable ? NULL : &reading), 0);
		assert_int_equal(pmemstream_region_iterator_new(&iterator, stream), 0);
		pmemstream_region_iterator_seek_first(iterator);
		for (unsigned i = 0; i < REGIONS; i++) {
			assert_int_equal(pmemstream_region_iterator_is_valid(iterator), 0);
			assert_int_equal(pmemstream_region_iterator_get(iterator).offset, offs[i]);
			pmemstream_region_iterator_next(iterator);
		}
		assert_int_equal(pmemstream_region_iterator_is_valid(iterator), -1);
		pmemstream_region_iterator_delete(&iterator);
		/* From either end, and out of the middle. */
		if (writable) {
			assert_int_equal(pmemstream_region_free(stream, (struct pmemstream_region){.offset = offs[0]}),
					 0);
			assert_int_equal(
				pmemstream_region_free(stream, (struct pmemstream_region){.offset = offs[REGIONS - 1]}),
				0);
			assert_int_equal(
				pmemstream_region_free(stream, (struct pmemstream_region){.offset = offs[150]}), 0);
			struct pmemstream_statistics statistics;
			assert_int_equal(pmemstream_get_statistics(stream, &statistics), 0);
			assert_int_equal(statistics.regions, REGIONS - 3);
		}
		pmemstream_delete(&stream);
	}
	done();
}

static void a_stretch_that_was_given_up_is_not_read(void **state)
{
	(void)state;
	struct pmemstream_entry_iterator *walk;
	struct format_entry entry = {0};
	struct pmemstream *stream;
	make(1, REGION_BYTES);
	uint64_t off = region.offset + FORMAT_REGION_HEADER_BYTES;
	uint32_t seed = format_entry_seed(header.salt, le64_load(bytes + region.offset + 16));
	assert_true(format_entry_decode(bytes + off, seed, off, REGION_BYTES, &entry));
	entry.flags = FORMAT_LOST;
	format_entry_encode(bytes + off, seed, off, &entry);

	assert_int_equal(pmemstream_open(&stream, path, NULL), 0);
	assert_int_equal(pmemstream_entry_iterator_new(&walk, stream, region), 0);
	checked_bytes = 0;
	bytes_bound = 2 * 6; /* the two behind it */
	for (int again = 0; again < 2; again++) {
		pmemstream_entry_iterator_seek_first(walk);
		assert_int_equal(pmemstream_entry_iterator_is_valid(walk), -1);
		assert_int_equal(errno, EBADMSG);
		pmemstream_entry_iterator_next(walk);
		for (int i = 0; i < 2; i++, pmemstream_entry_iterator_next(walk))
			assert_int_equal(pmemstream_entry_iterator_is_valid(walk), 0);
		bytes_bound *= 2; /* no mark passes it: they are checked once more */
	}
	bytes_bound = UINT64_MAX;
	pmemstream_entry_iterator_delete(&walk);
	pmemstream_delete(&stream);
	done();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(entries_inside_one_another_behind_the_end_are_refused_soon),
		cmocka_unit_test(entries_inside_one_another_in_front_of_a_checkpoint_are_refused_soon),
		cmocka_unit_test(an_arena_of_many_words_around_a_bad_one_is_refused_soon),
		cmocka_unit_test(regions_are_in_order_of_allocation_wherever_they_lie),
		cmocka_unit_test(a_stretch_that_was_given_up_is_not_read),
	};

	return cmocka_run_group_tests_name("stream_hostile", tests, NULL, NULL);
}
