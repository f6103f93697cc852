/*
 * stream_series.c: what a series does when something else fails, or somebody else frees; age.
 *
 * The clock that the library asks for dates is this program's: clock_gettime below.
 */
#include "cut/faults.h"
#include "stream/stream.h"
#include "stream_map.h"

#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { STREAM_BYTES = 1 << 20, REGION_BYTES = 2304, ENTRY_BYTES = 300, REGIONS_MAX = 64 };

#define HOUR_NS (UINT64_C(3600) * 1000000000)

static uint64_t hours_later;

int clock_gettime(clockid_t clock, struct timespec *now)
{
	int err = (int)syscall(SYS_clock_gettime, clock, now);

	if (!err && clock == CLOCK_REALTIME)
		now->tv_sec += (time_t)(hours_later * 3600);
	return err;
}

static struct opened opened;

static int begin(void **state)
{
	(void)state;
	hours_later = 0;
	opened_new(&opened, "CACHE_LINE", STREAM_BYTES, 256);
	return 0;
}

static int end(void **state)
{
	(void)state;
	opened_free(&opened);
	return 0;
}

static struct pmemstream_series *open_series(uint64_t keep_bytes, uint64_t keep_ns)
{
	struct pmemstream_series_config config = {
		.region_bytes = REGION_BYTES, .keep_bytes = keep_bytes, .keep_ns = keep_ns};
	struct pmemstream_series *series;

	assert_int_equal(pmemstream_series_open(opened.stream, "s", &config, &series), 0);
	return series;
}

static void append(struct pmemstream_series *series, unsigned count)
{
	char data[ENTRY_BYTES] = "a line of a log";

	for (unsigned i = 0; i < count; i++)
		if (pmemstream_series_append(series, data, sizeof(data), NULL))
			fail_msg("append: %s", pmemstream_errormsg());
}

/* The labels of the series' regions, in order: "s.2 s.3". */
static const char *labels(void)
{
	static char text[REGIONS_MAX * 24];
	struct pmemstream_region regions[REGIONS_MAX];
	struct pmemstream_region_info info;
	size_t count = REGIONS_MAX, used = 0;

	assert_int_equal(pmemstream_series_list(opened.stream, "s", regions, &count), 0);
	assert_true(count <= REGIONS_MAX);
	text[0] = '\0';
	for (size_t i = 0; i < count; i++) {
		assert_int_equal(pmemstream_region_get_info(opened.stream, regions[i], &info), 0);
		used += (size_t)snprintf(text + used, sizeof(text) - used, "%s%s", i ? " " : "", info.label);
	}
	return text;
}

static struct pmemstream_region newest(void)
{
	struct pmemstream_region regions[REGIONS_MAX];
	size_t count = REGIONS_MAX;

	assert_int_equal(pmemstream_series_list(opened.stream, "s", regions, &count), 0);
	assert_true(count && count <= REGIONS_MAX);
	return regions[count - 1];
}

static size_t count_all(void)
{
	struct pmemstream_global_iterator *iterator;
	size_t count = 0;

	assert_int_equal(pmemstream_global_iterator_new(&iterator, opened.stream), 0);
	pmemstream_global_iterator_seek_first(iterator);
	for (; !pmemstream_global_iterator_is_valid(iterator); pmemstream_global_iterator_next(iterator))
		count++;
	pmemstream_global_iterator_delete(&iterator);
	return count;
}

/* Six entries, of 384 bytes with header and padding, fill a region. */
static void an_append_says_what_became_of_its_entry_whatever_fails_when_it_rolls(void **state)
{
	(void)state;
	unsigned succeeded = 0;

	for (unsigned n = 1;; n++) {
		struct opened former = opened;
		opened_new(&opened, "CACHE_LINE", STREAM_BYTES, 256);
		struct pmemstream_series *series = open_series(1, 0);
		append(series, 6);
		uint64_t before = pmemstream_committed_timestamp(opened.stream);
		faults_fail_allocation(n);
		int err = pmemstream_series_append(series, "it", 2, NULL);
		int why = errno;
		unsigned hit = faults_stop();
		uint64_t appended = pmemstream_committed_timestamp(opened.stream) - before;
		assert_int_equal(appended, err ? 0 : 1);
		if (err)
			assert_int_equal(why, ENOMEM);
		succeeded += hit && !err;
		/* It goes on, and what retention did not get done is done when it is next asked. */
		append(series, 1);
		assert_int_equal(pmemstream_series_retain(series), 0);
		assert_int_equal(count_all(), err ? 1 : 2);
		assert_string_equal(labels(), "s.1");
		pmemstream_series_close(&series);
		opened_free(&opened);
		opened = former;
		if (!hit)
			break;
	}
	assert_true(succeeded);
}

static void a_series_keeps_nothing_of_the_regions_that_it_left(void **state)
{
	(void)state;
	struct opened former = opened;

	opened_new(&opened, "CACHE_LINE", STREAM_BYTES, 256);
	struct pmemstream_series *series = open_series(1, 0);
	append(series, 6 * 100);
	/* A runtime handle stays until the stream is deleted. */
	assert_null(opened.stream->runtimes);
	pmemstream_series_close(&series);
	opened_free(&opened);
	opened = former;
}

static void a_series_goes_on_when_its_newest_region_was_freed(void **state)
{
	(void)state;
	struct pmemstream_series *series = open_series(0, 0);

	append(series, 7);
	assert_string_equal(labels(), "s.0 s.1");
	assert_int_equal(pmemstream_region_free(opened.stream, newest()), 0);
	/* Not back into s.0: a reader may have left that one behind. */
	append(series, 1);
	assert_string_equal(labels(), "s.0 s.2");
	/* All of them, and their place taken by another region. */
	assert_int_equal(pmemstream_region_free(opened.stream, newest()), 0);
	assert_int_equal(pmemstream_region_free(opened.stream, newest()), 0);
	struct pmemstream_region other = region_of(opened.stream, REGION_BYTES);
	append(series, 1);
	assert_string_equal(labels(), "s.3");
	assert_int_equal(count_entries(opened.stream, other), 0);
	assert_int_equal(count_all(), 1);
	pmemstream_series_close(&series);
}

/* The last region of each series cannot be counted: its number is out of range, or its header does not check. */
static void a_label_that_no_number_can_pass_is_told(void **state)
{
	(void)state;
	char data[ENTRY_BYTES] = "a line of a log";
	struct pmemstream_region region;
	struct pmemstream *stream = opened.stream;

	for (int damaged = 0; damaged < 2; damaged++) {
		const char *label = damaged ? "s.1" : "s.10000000000000000000";
		const char *before = damaged ? "s.0" : "s.9999999999999999999";
		struct pmemstream_region first;
		assert_int_equal(pmemstream_region_allocate_labeled(stream, REGION_BYTES, before, &first), 0);
		assert_int_equal(pmemstream_region_allocate_labeled(stream, REGION_BYTES, label, &region), 0);
		char *created = (char *)stream_at(stream, region.offset) + FORMAT_REGION_LABEL_OFF - 8;
		if (damaged)
			*created ^= 1;
		struct pmemstream_series *series = open_series(0, 0);
		append(series, 6);
		assert_int_equal(pmemstream_series_append(series, data, sizeof(data), NULL), -1);
		assert_int_equal(errno, EEXIST);
		assert_non_null(strstr(pmemstream_errormsg(), label));
		pmemstream_series_close(&series);
		if (damaged)
			*created ^= 1;
		assert_int_equal(pmemstream_region_free(stream, region), 0);
		assert_int_equal(pmemstream_region_free(stream, first), 0);
	}
}

static void two_handles_on_a_series_go_on_with_each_other_s_regions(void **state)
{
	(void)state;
	struct pmemstream_series *series = open_series(0, 0);
	append(series, 1);
	struct pmemstream_series *second = open_series(0, 0);

	append(series, 6);
	append(second, 12);
	append(series, 6);
	assert_string_equal(labels(), "s.0 s.1 s.2 s.3 s.4");
	assert_int_equal(count_all(), 25);
	pmemstream_series_close(&series);
	pmemstream_series_close(&second);
}

static void retention_by_age_counts_from_the_last_entry_not_from_the_first(void **state)
{
	(void)state;
	struct pmemstream_series *series = open_series(0, 2 * HOUR_NS);

	/* s.0 is allocated now; its last entries come three hours later, and no round has seen them. */
	append(series, 3);
	hours_later = 3;
	append(series, 4);
	assert_string_equal(labels(), "s.0 s.1");
	struct pmemstream_region_info info;
	struct pmemstream_region first;
	assert_int_equal(pmemstream_region_find(opened.stream, "s.0", &first), 0);
	hours_later = 4;
	assert_int_equal(pmemstream_series_retain(series), 0);
	assert_string_equal(labels(), "s.0 s.1");
	assert_int_equal(pmemstream_region_get_info(opened.stream, first, &info), 0);
	assert_int_equal(info.checkpoint_used, info.used);
	assert_int_equal(info.checkpoint_timestamp, 6);
	assert_int_equal(info.checkpoint_epoch, 2);
	assert_true(info.checkpoint_ns > info.allocated_ns + 2 * HOUR_NS);
	append(series, 1);
	assert_int_equal(pmemstream_region_get_info(opened.stream, newest(), &info), 0);
	assert_int_equal(info.checkpoint_used, 0);
	assert_int_equal(info.checkpoint_epoch, 0);
	hours_later = 6;
	assert_int_equal(pmemstream_series_retain(series), 0);
	assert_string_equal(labels(), "s.1");
	/* The newest one stays, however old. */
	hours_later = 100;
	assert_int_equal(pmemstream_series_retain(series), 0);
	assert_string_equal(labels(), "s.1");
	append(series, 6);
	assert_string_equal(labels(), "s.1 s.2");
	hours_later = 101;
	pmemstream_series_close(&series);
	opened_again(&opened);
	series = open_series(0, 2 * HOUR_NS);
	assert_int_equal(pmemstream_series_retain(series), 0);
	assert_string_equal(labels(), "s.1 s.2");
	hours_later = 103;
	assert_int_equal(pmemstream_series_retain(series), 0);
	assert_string_equal(labels(), "s.2");
	pmemstream_series_close(&series);
}

static void a_clock_that_is_set_back_keeps_everything(void **state)
{
	(void)state;
	struct pmemstream_series *series = open_series(0, HOUR_NS);

	hours_later = 50;
	append(series, 13);
	hours_later = 0;
	assert_int_equal(pmemstream_series_retain(series), 0);
	assert_string_equal(labels(), "s.0 s.1 s.2");
	pmemstream_series_close(&series);
}

static void a_region_in_use_stays_until_the_next_time(void **state)
{
	(void)state;
	struct pmemstream_series *series = open_series(0, 0);
	struct pmemstream_entry entry;
	void *data;

	append(series, 5);
	struct pmemstream_region first = newest();
	assert_int_equal(pmemstream_reserve(opened.stream, first, NULL, 8, &entry, &data), 0);
	pmemstream_series_close(&series);
	assert_int_equal(pmemstream_region_allocate_labeled(opened.stream, REGION_BYTES, "s.1", NULL), 0);
	series = open_series(1, 0);
	append(series, 1);
	assert_int_equal(pmemstream_series_retain(series), 0);
	assert_string_equal(labels(), "s.0 s.1");
	assert_int_equal(pmemstream_cancel(opened.stream, first, NULL, entry), 0);
	assert_int_equal(pmemstream_series_retain(series), 0);
	assert_string_equal(labels(), "s.1");
	pmemstream_series_close(&series);
}

static void a_list_with_a_region_that_cannot_be_read_is_no_list(void **state)
{
	struct pmemstream_region regions[REGIONS_MAX], other;
	struct pmemstream_series *series = open_series(0, 0);
	size_t count = REGIONS_MAX;

	(void)state;
	append(series, 12);
	assert_int_equal(pmemstream_series_list(opened.stream, "s", regions, &count), 0);
	assert_true(count > 1);
	assert_int_equal(pmemstream_region_allocate(opened.stream, REGION_BYTES, &other), 0);
	size_t label_off = regions[1].offset + FORMAT_REGION_LABEL_OFF;
	mapped_write(&opened.file, "x", 1, label_off);
	assert_int_equal(pmemstream_series_list(opened.stream, "s", regions, &count), -1);
	assert_int_equal(errno, EBADMSG);
	/* What is appended does not depend on it. */
	append(series, 12);
	mapped_write(&opened.file, "s", 1, label_off);
	assert_int_equal(pmemstream_series_list(opened.stream, "s", regions, &count), 0);
	pmemstream_series_close(&series);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(an_append_says_what_became_of_its_entry_whatever_fails_when_it_rolls,
						begin, end),
		cmocka_unit_test_setup_teardown(a_series_keeps_nothing_of_the_regions_that_it_left, begin, end),
		cmocka_unit_test_setup_teardown(a_series_goes_on_when_its_newest_region_was_freed, begin, end),
		cmocka_unit_test_setup_teardown(a_label_that_no_number_can_pass_is_told, begin, end),
		cmocka_unit_test_setup_teardown(two_handles_on_a_series_go_on_with_each_other_s_regions, begin, end),
		cmocka_unit_test_setup_teardown(retention_by_age_counts_from_the_last_entry_not_from_the_first, begin,
						end),
		cmocka_unit_test_setup_teardown(a_clock_that_is_set_back_keeps_everything, begin, end),
		cmocka_unit_test_setup_teardown(a_region_in_use_stays_until_the_next_time, begin, end),
		cmocka_unit_test_setup_teardown(a_list_with_a_region_that_cannot_be_read_is_no_list, begin, end),
	};

	return cmocka_run_group_tests_name("stream_series", tests, NULL, NULL);
}
