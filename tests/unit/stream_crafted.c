/*
 * stream_crafted.c: files whose checksums are right and whose contents no library ever wrote.
 */
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

enum { STREAM_BYTES = 1 << 20, REGION_BYTES = 60000 };

static char path[64];
static struct pmemstream_region region;
static unsigned char *bytes; /* of the file */
static struct format_header header;
static struct format_stream_slot slot; /* the one in use */
static uint64_t slot_off;

static const struct pmemstream_config sized = {.size = STREAM_BYTES};
static const struct pmemstream_config reading = {.flags = PMEMSTREAM_READ_ONLY};

/* A stream with three entries that was closed, and the fields of which it is made. */
static int begin(void **state)
{
	static int number;
	struct pmemstream *stream;

	(void)state;
	snprintf(path, sizeof(path), "crafted.%d.%d.stream", (int)getpid(), number++);
	unlink(path);
	assert_int_equal(pmemstream_create(&stream, path, &sized), 0);
	assert_int_equal(pmemstream_region_allocate(stream, REGION_BYTES, &region), 0);
	for (int i = 0; i < 3; i++)
		assert_int_equal(pmemstream_append(stream, region, NULL, "entry", 6, NULL), 0);
	pmemstream_delete(&stream);

	bytes = stream_bytes(path, STREAM_BYTES, &header, &slot, &slot_off);
	return 0;
}

static int end(void **state)
{
	(void)state;
	munmap(bytes, STREAM_BYTES);
	unlink(path);
	return 0;
}

static void is_refused_and_left_alone(void)
{
	unsigned char *before = malloc(STREAM_BYTES);
	struct pmemstream *stream;

	memcpy(before, bytes, STREAM_BYTES);
	assert_int_equal(pmemstream_open(&stream, path, &reading), -1);
	assert_int_equal(errno, EBADMSG);
	assert_int_equal(pmemstream_open(&stream, path, NULL), -1);
	assert_int_equal(errno, EBADMSG);
	assert_memory_equal(bytes, before, STREAM_BYTES);
	free(before);
}

static void no_stream_has_counted_to_where_words_end(void **state)
{
	(void)state;
	static const uint64_t counts[] = {(UINT64_C(1) << 60) + 1, UINT64_C(1) << 61, UINT64_C(1) << 62,
					  UINT64_C(1) << 63,       UINT64_MAX - 1,    UINT64_MAX};

	for (size_t i = 0; i < sizeof(counts) / sizeof(*counts); i++)
		for (int field = 0; field < 8; field++) {
			struct format_stream_slot crafted = slot;
			switch (field % 4) {
			case 0:
				crafted.persisted = crafted.kept = counts[i];
				break;
			case 1:
				crafted.kept = counts[i];
				break;
			case 2:
				crafted.sequence = counts[i];
				break;
			default:
				crafted.round = counts[i];
			}
			if (field >= 4)
				crafted.flags = 0;
			format_stream_slot_encode(bytes + slot_off, header.salt, slot_off, &crafted);
			is_refused_and_left_alone();
		}
}

static void a_record_changes_nothing_but_extents(void **state)
{
	(void)state;
	struct format_record record = {.epoch = slot.epoch, .count = 1};
	const uint64_t offs[] = {region.offset + header.block_size, region.offset + 2 * header.block_size,
				 STREAM_BYTES - header.block_size};
	uint64_t applied;

	assert_true(format_checked_decode(le64_load(bytes + FORMAT_APPLIED_OFF), header.salt, FORMAT_APPLIED_OFF,
					  &applied));
	record.number = applied + 1;
	for (size_t i = 0; i < sizeof(offs) / sizeof(*offs); i++) {
		record.words[0].off = offs[i];
		record.words[0].word = format_checked_encode(header.salt, offs[i], 1);
		format_record_encode(bytes + FORMAT_RECORD_OFF, header.salt, &record);
		is_refused_and_left_alone();
	}
}

static void features_that_allow_reading_only_keep_every_byte_and_nobody_out(void **state)
{
	(void)state;
	unsigned char *before = malloc(STREAM_BYTES);
	struct pmemstream *stream, *reader;

	header.read_only = 1;
	format_header_encode(bytes, &header);
	format_header_encode(bytes + format_second_copy_off(header.block_size), &header);
	memset(bytes + FORMAT_VOLATILE_OFF, 0, FORMAT_VOLATILE_BYTES);
	memcpy(before, bytes, STREAM_BYTES);
	assert_int_equal(pmemstream_open(&stream, path, NULL), 0);
	assert_int_equal(pmemstream_committed_timestamp(stream), 3);
	assert_int_equal(pmemstream_append(stream, region, NULL, "x", 1, NULL), -1);
	assert_int_equal(errno, EROFS);
	assert_int_equal(pmemstream_open(&reader, path, &reading), 0);
	assert_int_equal(pmemstream_committed_timestamp(reader), 3);
	pmemstream_delete(&reader);
	pmemstream_delete(&stream);
	assert_memory_equal(bytes, before, STREAM_BYTES);
	free(before);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(no_stream_has_counted_to_where_words_end, begin, end),
		cmocka_unit_test_setup_teardown(a_record_changes_nothing_but_extents, begin, end),
		cmocka_unit_test_setup_teardown(features_that_allow_reading_only_keep_every_byte_and_nobody_out, begin,
						end),
	};

	return cmocka_run_group_tests_name("stream_crafted", tests, NULL, NULL);
}
