/*
 * stream_order.c: the global iterator, seeking, growing, series, statistics.
 */
#include <libpmemstream.h>

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

enum { STREAM_BYTES = 8 << 20 };

static char path[64];
static struct pmemstream *stream;

static int begin(void **state)
{
	static int number;
	struct pmemstream_config config = {.size = STREAM_BYTES, .block_size = 256};

	(void)state;
	snprintf(path, sizeof(path), "order.%d.%d.stream", (int)getpid(), number++);
	unlink(path);
	return pmemstream_create(&stream, path, &config);
}

static int end(void **state)
{
	(void)state;
	pmemstream_delete(&stream);
	unlink(path);
	return 0;
}

static void reopen(void)
{
	pmemstream_delete(&stream);
	assert_int_equal(pmemstream_open(&stream, path, NULL), 0);
}

static uint64_t number_at(struct pmemstream_global_iterator *iterator)
{
	struct pmemstream_entry entry;
	uint64_t number;

	assert_int_equal(pmemstream_global_iterator_get(iterator, NULL, &entry), 0);
	memcpy(&number, pmemstream_entry_data(stream, entry), sizeof(number));
	assert_int_equal(pmemstream_entry_timestamp(stream, entry), number);
	return number;
}

static void all_regions_are_walked_in_timestamp_order_and_later_ones_are_seen(void **state)
{
	(void)state;
	struct pmemstream_global_iterator *iterator;
	struct pmemstream_region regions[40];
	uint64_t number = 0, expected = 0;
	uint32_t random = 1;

	assert_int_equal(pmemstream_global_iterator_new(&iterator, stream), 0);
	assert_int_equal(pmemstream_global_iterator_is_valid(iterator), -1);
	assert_int_equal(errno, ENODATA);
	pmemstream_global_iterator_seek_first(iterator);
	for (int made = 0; made < 40; made++) {
		assert_int_equal(pmemstream_region_allocate(stream, 100000, &regions[made]), 0);
		for (int i = 0; i < 25; i++) {
			random = random * 1103515245 + 12345;
			number++;
			assert_int_equal(pmemstream_append(stream, regions[(random >> 16) % (unsigned)(made + 1)], NULL,
							   &number, sizeof(number), NULL),
					 0);
		}
		if (made % 3)
			continue;
		for (; !pmemstream_global_iterator_is_valid(iterator); pmemstream_global_iterator_next(iterator))
			assert_int_equal(number_at(iterator), ++expected);
		assert_int_equal(errno, ENODATA);
		assert_int_equal(expected, number);
	}
	reopen();
	pmemstream_global_iterator_delete(&iterator);
	assert_int_equal(pmemstream_global_iterator_new(&iterator, stream), 0);
	for (uint64_t from = 0; from < number + 3; from += 37) {
		expected = from ? from - 1 : 0;
		pmemstream_global_iterator_seek(iterator, from);
		for (; !pmemstream_global_iterator_is_valid(iterator); pmemstream_global_iterator_next(iterator))
			assert_int_equal(number_at(iterator), ++expected);
		assert_int_equal(expected, from > number ? from - 1 : number);
	}
	pmemstream_global_iterator_delete(&iterator);
}

static void a_freed_region_leaves_the_global_order(void **state)
{
	(void)state;
	struct pmemstream_global_iterator *iterator;
	struct pmemstream_region a, b;

	assert_int_equal(pmemstream_region_allocate(stream, 4096, &a), 0);
	assert_int_equal(pmemstream_region_allocate(stream, 4096, &b), 0);
	for (uint64_t number = 1; number <= 10; number++)
		assert_int_equal(pmemstream_append(stream, number % 2 ? a : b, NULL, &number, sizeof(number), NULL), 0);
	assert_int_equal(pmemstream_global_iterator_new(&iterator, stream), 0);
	pmemstream_global_iterator_seek_first(iterator);
	assert_int_equal(number_at(iterator), 1);
	assert_int_equal(pmemstream_region_free(stream, a), 0);
	for (uint64_t expected = 2; expected <= 10; expected += 2) {
		assert_int_equal(number_at(iterator), expected);
		pmemstream_global_iterator_next(iterator);
	}
	assert_int_equal(pmemstream_global_iterator_is_valid(iterator), -1);
	assert_int_equal(errno, ENODATA);
	pmemstream_global_iterator_delete(&iterator);
}

static void seek_finds_the_first_entry_with_at_least_that_timestamp(void **state)
{
	(void)state;
	static char data[3000];
	struct pmemstream_entry_iterator *iterator;
	struct pmemstream_region odd, even;

	assert_int_equal(pmemstream_region_allocate(stream, 3 << 20, &odd), 0);
	assert_int_equal(pmemstream_region_allocate(stream, 3 << 20, &even), 0);
	for (int i = 1; i <= 1600; i++)
		assert_int_equal(pmemstream_append(stream, i % 2 ? odd : even, NULL, data, sizeof(data), NULL), 0);
	for (int round = 0; round < 2; round++) {
		assert_int_equal(pmemstream_entry_iterator_new(&iterator, stream, odd), 0);
		for (uint64_t t = 0; t <= 1602; t += 53) {
			pmemstream_entry_iterator_seek(iterator, t);
			struct pmemstream_entry entry = pmemstream_entry_iterator_get(iterator);
			if (t > 1599) {
				assert_true(entry.offset == UINT64_MAX);
				continue;
			}
			assert_int_equal(pmemstream_entry_timestamp(stream, entry), t | 1);
		}
		pmemstream_entry_iterator_delete(&iterator);
		if (!round)
			reopen();
	}
}

static void a_stream_grows_while_it_is_used_and_keeps_what_it_has(void **state)
{
	(void)state;
	struct pmemstream_region first, second;
	struct pmemstream_entry entry;
	struct pmemstream_statistics statistics;
	struct stat status;

	assert_int_equal(pmemstream_region_allocate(stream, 6 << 20, &first), 0);
	assert_int_equal(pmemstream_append(stream, first, NULL, "before", 6, &entry), 0);
	const void *data = pmemstream_entry_data(stream, entry);
	assert_int_equal(pmemstream_region_allocate(stream, 6 << 20, &second), -1);
	assert_int_equal(errno, ENOSPC);
	assert_int_equal(pmemstream_resize(stream, STREAM_BYTES / 2), -1);
	assert_int_equal(errno, EINVAL);
	assert_int_equal(pmemstream_resize(stream, 2 * STREAM_BYTES + 1), 0);
	assert_int_equal(stat(path, &status), 0);
	assert_int_equal(status.st_size, 2 * STREAM_BYTES + 4096);
	assert_int_equal(pmemstream_region_allocate(stream, 6 << 20, &second), 0);
	assert_int_equal(pmemstream_append(stream, second, NULL, "after", 5, &entry), 0);
	assert_memory_equal(data, "before", 6);
	reopen();
	assert_memory_equal(pmemstream_entry_data(stream, entry), "after", 5);
	assert_int_equal(pmemstream_get_statistics(stream, &statistics), 0);
	assert_int_equal(statistics.size, 2 * STREAM_BYTES + 4096);
	assert_int_equal(statistics.regions, 2);
	assert_int_equal(statistics.persisted, 2);
	assert_int_equal(statistics.appended, 0);
}

static void a_series_rolls_on_and_keeps_the_newest_bytes(void **state)
{
	(void)state;
	struct pmemstream_series_config config = {.region_bytes = 20000, .keep_bytes = 50000};
	struct pmemstream_series *series;
	struct pmemstream_region regions[64];
	struct pmemstream_region_info info;
	char data[1000];

	memset(data, 's', sizeof(data));
	assert_int_equal(pmemstream_series_open(stream, "web", &config, &series), 0);
	for (int i = 0; i < 1000; i++)
		assert_int_equal(pmemstream_series_append(series, data, sizeof(data), NULL), 0);
	size_t count = 64;
	assert_int_equal(pmemstream_series_list(stream, "web", regions, &count), 0);
	assert_true(count >= 3 && count <= 5);
	uint64_t used = 0;
	for (size_t i = 0; i < count; i++) {
		assert_int_equal(pmemstream_region_get_info(stream, regions[i], &info), 0);
		assert_true(!strncmp(info.label, "web.", 4));
		used += info.used;
	}
	assert_true(used >= 50000);
	pmemstream_series_close(&series);
	reopen();
	assert_int_equal(pmemstream_series_open(stream, "web", &config, &series), 0);
	assert_int_equal(pmemstream_series_append(series, data, 30000, NULL), -1);
	assert_int_equal(errno, ENOSPC);
	assert_int_equal(pmemstream_series_append(series, data, sizeof(data), NULL), 0);
	assert_int_equal(pmemstream_persisted_timestamp(stream), 1001);
	pmemstream_series_close(&series);
	/* Names that only look alike are other regions. */
	assert_int_equal(pmemstream_region_allocate_labeled(stream, 100, "web.x", NULL), 0);
	assert_int_equal(pmemstream_region_allocate_labeled(stream, 100, "webb.0", NULL), 0);
	size_t again = 0;
	assert_int_equal(pmemstream_series_list(stream, "web", NULL, &again), 0);
	assert_true(again >= 3 && again <= 5);
}

static char *unreadable;
static struct pmemstream_series *rolled;

/* Reading the data of an append faults: the series rolls on and frees the region that the append chose. */
static void roll_on(int signal_number)
{
	struct pmemstream_region region;

	(void)signal_number;
	if (mprotect(unreadable, 4096, PROT_READ | PROT_WRITE))
		abort();
	while (!pmemstream_region_find(stream, "roll.0", &region))
		if (pmemstream_series_append(rolled, "filling", 7, NULL))
			abort();
}

static void an_append_to_a_series_outlives_that_its_region_is_freed(void **state)
{
	(void)state;
	struct pmemstream_series_config config = {.region_bytes = 1000, .keep_bytes = 1};
	struct sigaction fault = {.sa_handler = roll_on}, former;
	struct pmemstream_entry entry;

	unreadable = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_true(unreadable != MAP_FAILED);
	strcpy(unreadable, "late");
	assert_int_equal(pmemstream_series_open(stream, "roll", &config, &rolled), 0);
	assert_int_equal(pmemstream_series_append(rolled, "first", 5, NULL), 0);
	assert_int_equal(mprotect(unreadable, 4096, PROT_NONE), 0);
	assert_int_equal(sigaction(SIGSEGV, &fault, &former), 0);
	int err = pmemstream_series_append(rolled, unreadable, 5, &entry);
	sigaction(SIGSEGV, &former, NULL);
	assert_int_equal(err, 0);
	assert_string_equal(pmemstream_entry_data(stream, entry), "late");
	pmemstream_series_close(&rolled);
	munmap(unreadable, 4096);
}

#if defined(__SANITIZE_THREAD__)
/* The handler that plays the other thread does what no handler should; it interrupts a read, and holds no lock. */
const char *__tsan_default_options(void);
const char *__tsan_default_options(void)
{
	return "report_signal_unsafe=0";
}
#endif

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(all_regions_are_walked_in_timestamp_order_and_later_ones_are_seen,
						begin, end),
		cmocka_unit_test_setup_teardown(a_freed_region_leaves_the_global_order, begin, end),
		cmocka_unit_test_setup_teardown(seek_finds_the_first_entry_with_at_least_that_timestamp, begin, end),
		cmocka_unit_test_setup_teardown(a_stream_grows_while_it_is_used_and_keeps_what_it_has, begin, end),
		cmocka_unit_test_setup_teardown(a_series_rolls_on_and_keeps_the_newest_bytes, begin, end),
		cmocka_unit_test_setup_teardown(an_append_to_a_series_outlives_that_its_region_is_freed, begin, end),
	};

	setenv("PMEM2_FORCE_GRANULARITY", "CACHE_LINE",
	       1); /* what is tested here is the same on all, and this is quick */
	return cmocka_run_group_tests_name("stream_order", tests, NULL, NULL);
}
