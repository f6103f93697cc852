/*
 * medium.c: tests of src/medium on a real mapping, at each granularity that libpmem2 can be told to assume.
 */
#include "medium/medium.h"
#include "base/error.h"
#include "medium/one_pass.h"

#include <errno.h>
#include <fcntl.h>
#include <libpmem2.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cmocka.h>

enum { FILE_BYTES = 1 << 20 };
static const char *const granularities[] = {"BYTE", "CACHE_LINE", "PAGE"};

struct mapped {
	int fd;
	struct pmem2_map *map;
	struct medium medium;
};

static void open_mapped(struct mapped *mapped, const char *granularity)
{
	char path[] = "medium.XXXXXX";
	struct pmem2_config *config;
	struct pmem2_source *source;

	setenv("PMEM2_FORCE_GRANULARITY", granularity, 1);
	mapped->fd = mkstemp(path);
	assert_true(mapped->fd >= 0);
	unlink(path);
	assert_int_equal(ftruncate(mapped->fd, FILE_BYTES), 0);
	assert_int_equal(pmem2_config_new(&config), 0);
	pmem2_config_set_required_store_granularity(config, PMEM2_GRANULARITY_PAGE);
	assert_int_equal(pmem2_source_from_fd(&source, mapped->fd), 0);
	assert_int_equal(pmem2_map_new(&mapped->map, config, source), 0);
	pmem2_source_delete(&source);
	pmem2_config_delete(&config);
	assert_int_equal(medium_from_map(&mapped->medium, mapped->map, true), 0);
}

static void close_mapped(struct mapped *mapped)
{
	medium_close(&mapped->medium);
	pmem2_map_delete(&mapped->map);
	close(mapped->fd);
}

static void the_granularity_of_the_map_chooses_the_medium(void **state)
{
	(void)state;
	for (int g = 0; g < 3; g++) {
		struct mapped mapped;

		open_mapped(&mapped, granularities[g]);
		assert_int_equal(mapped.medium.granularity, g);
		assert_int_equal(mapped.medium.size, FILE_BYTES);
		close_mapped(&mapped);
	}
}

enum { HEAD_BYTES_MAX = 64, DATA_BYTES_MAX = 5000 };

/* Head and data behind each other, and zeros. */
static void expect_record(char *expected, const char *head, size_t head_bytes, const char *data, size_t bytes)
{
	memset(expected, 0, HEAD_BYTES_MAX + DATA_BYTES_MAX + 64);
	memcpy(expected, head, head_bytes);
	memcpy(expected + head_bytes, data, bytes);
}

static void records_arrive_whole(size_t head_bytes)
{
	char head[HEAD_BYTES_MAX], data[DATA_BYTES_MAX], expected[HEAD_BYTES_MAX + DATA_BYTES_MAX + 64];

	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (char)(i % 251 + 1);
	for (size_t i = 0; i < sizeof(head); i++)
		head[i] = (char)('A' + i % 50);
	for (int g = 0; g < 3; g++) {
		struct mapped mapped;

		open_mapped(&mapped, granularities[g]);
		for (size_t bytes = 0; bytes < sizeof(data); bytes += bytes < 1200 ? 1 : 331) {
			char *to = mapped.medium.base + 4096;
			size_t used = head_bytes + bytes, padded = g == 2 ? used : (used + 63) / 64 * 64;

			expect_record(expected, head, head_bytes, data, bytes);
			memset(to, 'x', sizeof(expected));
			medium_stream(&mapped.medium, to, head, head_bytes, bytes ? data : NULL, bytes);
			medium_fence(&mapped.medium);
			assert_memory_equal(to, expected, padded);
			assert_int_equal(to[padded], 'x');
			/* By ordinary stores, at any place, and with nothing behind. */
			to += bytes % 64;
			memset(to, 'x', sizeof(expected));
			medium_record(&mapped.medium, to, head, head_bytes, bytes ? data : NULL, bytes);
			assert_memory_equal(to, expected, used);
			assert_int_equal(to[used], 'x');
		}
		close_mapped(&mapped);
	}
}

static void a_record_is_head_then_data_and_zeros_to_the_line_where_it_is_streamed(void **state)
{
	(void)state;
	records_arrive_whole(32);
}

static void a_record_may_have_a_head_of_any_size_to_a_line(void **state)
{
	(void)state;
	records_arrive_whole(7);
	records_arrive_whole(64);
}

/* In one pass where the processor can, in two anywhere. */
static void data_are_checked_while_they_are_streamed(void **state)
{
	char head[32], data[DATA_BYTES_MAX], expected[HEAD_BYTES_MAX + DATA_BYTES_MAX + 64];

	(void)state;
	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (char)(i * i % 251 + i / 251);
	memset(head, 'H', sizeof(head));
	for (int g = 0; g < 2; g++)
		for (int passes = 1; passes <= 2; passes++) {
			struct mapped mapped;

			open_mapped(&mapped, granularities[g]);
			assert_int_equal(mapped.medium.one_pass, g == 1 && one_pass_possible);
			if (passes == 2)
				mapped.medium.one_pass = false;
			for (size_t bytes = 0; bytes + 40 < sizeof(data); bytes += bytes < 1200 ? 1 : 331) {
				char *to = mapped.medium.base + 4096;
				const char *from = data + bytes % 7;
				size_t padded = (32 + bytes + 63) / 64 * 64;

				expect_record(expected, head, 32, from, bytes);
				memset(to, 'x', sizeof(expected));
				uint64_t before = medium_counts(&mapped.medium).stored_bytes;
				uint64_t crc = medium_stream_checked(&mapped.medium, to, from, bytes);
				assert_int_equal(to[0], 'x');
				assert_int_equal(to[63], 'x');
				medium_stream(&mapped.medium, to, head, 32, from, bytes < 32 ? bytes : 32);
				medium_fence(&mapped.medium);
				assert_true(crc == crc64(0, from, bytes));
				assert_int_equal(medium_counts(&mapped.medium).stored_bytes - before, 32 + bytes);
				assert_memory_equal(to, expected, padded);
				assert_int_equal(to[padded], 'x');
			}
			close_mapped(&mapped);
		}
}

static void persist_is_one_fence_or_one_sync_and_is_counted(void **state)
{
	(void)state;
	for (int g = 0; g < 3; g++) {
		struct mapped mapped;
		char data[200] = "data";

		open_mapped(&mapped, granularities[g]);
		medium_copy(&mapped.medium, mapped.medium.base + 100, data, sizeof(data));
		assert_int_equal(medium_persist(&mapped.medium, mapped.medium.base + 100, sizeof(data)), 0);
		struct medium_counts counts = medium_counts(&mapped.medium);
		assert_int_equal(counts.stored_bytes, sizeof(data));
		assert_int_equal(counts.flushed_lines, g == MEDIUM_CACHE_LINE ? 4 : 0);
		assert_int_equal(counts.fences, g == MEDIUM_PAGE ? 0 : 1);
		assert_int_equal(counts.syncs, g == MEDIUM_PAGE ? 1 : 0);
		close_mapped(&mapped);
	}
}

static void a_failed_sync_is_reported_with_its_place(void **state)
{
	(void)state;
	struct mapped mapped;

	open_mapped(&mapped, "PAGE");
	/* msync of a range that is not mapped fails with ENOMEM. */
	size_t half = FILE_BYTES / 2;
	assert_int_equal(munmap(mapped.medium.base + half, half), 0);
	assert_int_equal(medium_sync(&mapped.medium, mapped.medium.base + half + 8, 100), -1);
	assert_int_equal(errno, ENOMEM);
	assert_string_equal(error_message(), "msync of 100 bytes at offset 524296: Cannot allocate memory");
	assert_int_equal(medium_sync(&mapped.medium, mapped.medium.base, 100), 0);
	assert_ptr_not_equal(
		mmap(mapped.medium.base + half, half, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0),
		MAP_FAILED);
	close_mapped(&mapped);
}

static void prefault_and_redirty_change_no_byte(void **state)
{
	(void)state;
	struct mapped mapped;

	open_mapped(&mapped, "PAGE");
	memset(mapped.medium.base, 'k', FILE_BYTES);
	medium_prefault(&mapped.medium);
	medium_redirty(&mapped.medium, mapped.medium.base + 10, 9000);
	for (size_t i = 0; i < FILE_BYTES; i++)
		assert_int_equal(mapped.medium.base[i], 'k');
	close_mapped(&mapped);
}

static void a_range_of_memory_is_a_medium_of_any_granularity(void **state)
{
	(void)state;
	char *base = mmap(NULL, FILE_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	assert_ptr_not_equal(base, MAP_FAILED);
	for (int g = 0; g < 3; g++) {
		struct medium medium;
		uint64_t word;

		assert_int_equal(medium_from_range(&medium, base, FILE_BYTES, (enum medium_granularity)g, true), 0);
		assert_int_equal(medium.granularity, g);
		medium_copy(&medium, base + 100, "hello", 5);
		assert_memory_equal(base + 100, "hello", 5);
		medium_stream8(&medium, (uint64_t *)(base + 4096), UINT64_C(0x0123456789abcdef) + (unsigned)g);
		assert_int_equal(medium_persist(&medium, base + 4096, 8), 0);
		memcpy(&word, base + 4096, sizeof(word));
		assert_int_equal(word, UINT64_C(0x0123456789abcdef) + (unsigned)g);
		assert_int_equal(medium_counts(&medium).stored_bytes, 5 + 8);
		medium_close(&medium);
	}
	munmap(base, FILE_BYTES);
}

static void copies_of_pages_are_written_to_the_file_and_seen_through_the_mapping(void **state)
{
	(void)state;
	static char data[3 * MEDIUM_PAGE_BYTES], found[sizeof(data)];
	struct mapped mapped;

	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (char)(i % 251 + 1);
	open_mapped(&mapped, "PAGE");
	medium_write_by_file(&mapped.medium, mapped.fd);
	for (size_t head = 0; head <= 32; head += 8)
		for (size_t bytes = 0; bytes < sizeof(data) - 32; bytes += bytes < 100 ? 1 : 977) {
			char *to = mapped.medium.base + 5000;

			memset(mapped.medium.base, 'x', 5 * MEDIUM_PAGE_BYTES);
			medium_stream(&mapped.medium, to, data, head, bytes ? data + head : NULL, bytes);
			assert_memory_equal(to, data, head + bytes);
			assert_int_equal(to[-1], 'x');
			assert_int_equal(to[head + bytes], 'x');
		}
	medium_copy(&mapped.medium, mapped.medium.base + 77, data, sizeof(data));
	medium_copy(&mapped.medium, mapped.medium.base + 77, data, 0);
	assert_int_equal(pread(mapped.fd, found, sizeof(found), 77), sizeof(found));
	assert_memory_equal(found, data, sizeof(data));
	assert_memory_equal(mapped.medium.base + 77, data, sizeof(data));
	assert_int_equal(medium_sync(&mapped.medium, mapped.medium.base, FILE_BYTES), 0);
	close_mapped(&mapped);
}

static void a_failed_write_to_the_file_is_told_by_every_sync_from_then_on(void **state)
{
	(void)state;
	struct mapped mapped;

	open_mapped(&mapped, "PAGE");
	int read_only = open("/dev/null", O_RDONLY);
	medium_write_by_file(&mapped.medium, read_only);
	assert_int_equal(medium_sync(&mapped.medium, mapped.medium.base, 8), 0);
	medium_stream(&mapped.medium, mapped.medium.base, "head", 4, "data", 4);
	for (int i = 0; i < 2; i++) {
		errno = 0;
		assert_int_equal(medium_sync(&mapped.medium, mapped.medium.base, 8), -1);
		assert_int_equal(errno, EBADF);
	}
	close(read_only);
	close_mapped(&mapped);
}

static void stores_stay_stores_where_a_write_would_not_do(void **state)
{
	(void)state;
	struct rlimit former, below = {.rlim_cur = FILE_BYTES - 1, .rlim_max = RLIM_INFINITY};
	struct mapped mapped;

	assert_int_equal(getrlimit(RLIMIT_FSIZE, &former), 0);
	below.rlim_max = former.rlim_max;
	for (int g = 0; g < 3; g++) {
		open_mapped(&mapped, granularities[g]);
		assert_int_equal(setrlimit(RLIMIT_FSIZE, &below), 0);
		medium_write_by_file(&mapped.medium, -1);
		assert_int_equal(setrlimit(RLIMIT_FSIZE, &former), 0);
		medium_copy(&mapped.medium, mapped.medium.base, "hello", 5);
		assert_memory_equal(mapped.medium.base, "hello", 5);
		assert_int_equal(medium_persist(&mapped.medium, mapped.medium.base, 5), 0);
		close_mapped(&mapped);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_granularity_of_the_map_chooses_the_medium),
		cmocka_unit_test(a_record_is_head_then_data_and_zeros_to_the_line_where_it_is_streamed),
		cmocka_unit_test(a_record_may_have_a_head_of_any_size_to_a_line),
		cmocka_unit_test(data_are_checked_while_they_are_streamed),
		cmocka_unit_test(persist_is_one_fence_or_one_sync_and_is_counted),
		cmocka_unit_test(a_failed_sync_is_reported_with_its_place),
		cmocka_unit_test(a_range_of_memory_is_a_medium_of_any_granularity),
		cmocka_unit_test(prefault_and_redirty_change_no_byte),
		cmocka_unit_test(copies_of_pages_are_written_to_the_file_and_seen_through_the_mapping),
		cmocka_unit_test(a_failed_write_to_the_file_is_told_by_every_sync_from_then_on),
		cmocka_unit_test(stores_stay_stores_where_a_write_would_not_do),
	};

	return cmocka_run_group_tests_name("medium", tests, NULL, NULL);
}
