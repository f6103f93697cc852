/*
 * stream_open.c: tests of pmemstream_from_map and pmemstream_delete on real mappings, through the public interface.
 */
#include "stream_map.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { FILE_BYTES = 1 << 20, BLOCK = 4096 };

/* from_map must fail, leave the pointer alone and the file as it was. */
static void refused(struct mapped *mapped, size_t block_size, int err)
{
	struct pmemstream *const untouched = (struct pmemstream *)(uintptr_t)0x5a5a;
	struct pmemstream *stream = untouched;
	unsigned char *before = mapped_content(mapped);

	errno = 0;
	assert_int_equal(pmemstream_from_map(&stream, block_size, mapped->map), -1);
	if (errno != err)
		fail_msg("errno %d (%s), not %d: %s", errno, strerror(errno), err, pmemstream_errormsg());
	assert_true(pmemstream_errormsg()[0]);
	assert_ptr_equal(stream, untouched);
	unsigned char *after = mapped_content(mapped);
	assert_memory_equal(before, after, mapped->bytes);
	free(before);
	free(after);
}

static void an_empty_map_becomes_a_stream_that_can_be_opened_again(void **state)
{
	(void)state;
	for (int g = 0; g < MAP_GRANULARITIES; g++) {
		struct opened opened;

		opened_new(&opened, map_granularities[g], FILE_BYTES, BLOCK);
		assert_int_equal(pmemstream_committed_timestamp(opened.stream), 0);
		assert_int_equal(pmemstream_persisted_timestamp(opened.stream), 0);
		struct pmemstream_region region = region_of(opened.stream, 10000);
		assert_int_equal(region.offset % BLOCK, 0);
		struct pmemstream_entry one = append_text(opened.stream, region, "one");
		struct pmemstream_entry two = append_text(opened.stream, region, "two");
		for (int time = 0; time < 3; time++) {
			opened_again(&opened);
			assert_texts(opened.stream, region, "one", "two", NULL);
			assert_int_equal(pmemstream_entry_timestamp(opened.stream, one), 1);
			assert_int_equal(pmemstream_entry_timestamp(opened.stream, two), 2);
			assert_int_equal(pmemstream_committed_timestamp(opened.stream), 2);
			assert_int_equal(pmemstream_persisted_timestamp(opened.stream), 2);
		}
		struct pmemstream_entry three = append_text(opened.stream, region, "three");
		assert_int_equal(pmemstream_entry_timestamp(opened.stream, three), 3);
		opened_free(&opened);
	}
}

static void the_block_size_is_a_power_of_two_and_a_multiple_of_64(void **state)
{
	(void)state;
	static const size_t refused_sizes[] = {0,   1,   8,    32,   63,    65,       96,
					       100, 192, 4095, 4097, 12288, SIZE_MAX, 1UL << 63};
	static const size_t taken[] = {64, 128, 256, 512, 1024, 2048, 4096, 8192, 65536, 262144};

	for (int g = 0; g < MAP_GRANULARITIES; g++) {
		struct mapped mapped;

		mapped_new(&mapped, map_granularities[g], FILE_BYTES);
		for (size_t i = 0; i < sizeof(refused_sizes) / sizeof(*refused_sizes); i++)
			refused(&mapped, refused_sizes[i], EINVAL);
		mapped_free(&mapped);
		for (size_t i = 0; i < sizeof(taken) / sizeof(*taken); i++) {
			struct opened opened;
			opened_new(&opened, map_granularities[g], FILE_BYTES, taken[i]);
			for (int r = 0; r < 2; r++)
				assert_int_equal(region_of(opened.stream, 1).offset % taken[i], 0);
			opened_free(&opened);
		}
	}
}

static void another_block_size_is_refused(void **state)
{
	(void)state;
	struct opened opened;

	opened_new(&opened, "PAGE", FILE_BYTES, BLOCK);
	append_text(opened.stream, region_of(opened.stream, 100), "kept");
	pmemstream_delete(&opened.stream);
	for (size_t block_size = 64; block_size <= FILE_BYTES; block_size *= 2)
		if (block_size != BLOCK)
			refused(&opened.file, block_size, EINVAL);
	opened_again(&opened);
	opened_free(&opened);
}

static void what_is_neither_empty_nor_a_stream_is_refused_untouched(void **state)
{
	(void)state;
	static const struct {
		size_t off;
		const char *text;
		int err;
	} junk[] = {
		{0,
		 "\x7f"
		 "ELF",
		 EINVAL},
		{5000, "x", EINVAL},
		{131071, "x", EINVAL},
		{FILE_BYTES - 1, "x", EINVAL},
		{FILE_BYTES - 65536, "x", EINVAL},
		{0, "PMEMSTREAMx", EINVAL},
		{0, "PMEMSTREAM", ENOTSUP},
		{0, "pmstream", EBADMSG},
		{0, "pmstream\x02", ENOTSUP},
	};

	for (int g = 0; g < MAP_GRANULARITIES; g++)
		for (size_t i = 0; i < sizeof(junk) / sizeof(*junk); i++) {
			struct mapped mapped;
			mapped_new(&mapped, map_granularities[g], FILE_BYTES);
			mapped_write(&mapped, junk[i].text, strlen(junk[i].text), junk[i].off);
			refused(&mapped, BLOCK, junk[i].err);
			mapped_free(&mapped);
		}
}

static void the_layout_of_release_0_2_is_named(void **state)
{
	(void)state;
	struct mapped mapped;
	struct pmemstream *stream;
	const uint64_t sizes[2] = {FILE_BYTES, 4096};

	mapped_new(&mapped, "PAGE", FILE_BYTES);
	mapped_write(&mapped, "PMEMSTREAM", 10, 0);
	mapped_write(&mapped, sizes, sizeof(sizes), 64);
	refused(&mapped, BLOCK, ENOTSUP);
	assert_int_equal(pmemstream_from_map(&stream, BLOCK, mapped.map), -1);
	assert_non_null(strstr(pmemstream_errormsg(), "0.2"));
	mapped_free(&mapped);
}

static void a_map_of_256_bytes_is_too_small_and_one_of_10240_is_not(void **state)
{
	(void)state;
	for (int g = 0; g < MAP_GRANULARITIES; g++) {
		struct mapped mapped;
		static const size_t too_small[] = {256, 511, 512, 4095, 4096, 4159};
		for (size_t i = 0; i < sizeof(too_small) / sizeof(*too_small); i++) {
			mapped_new(&mapped, map_granularities[g], too_small[i]);
			refused(&mapped, 64, EINVAL);
			mapped_free(&mapped);
		}
		mapped_new(&mapped, map_granularities[g], 10240);
		refused(&mapped, 16384, EINVAL);
		mapped_free(&mapped);

		struct opened opened;
		opened_new(&opened, map_granularities[g], 10240, 64);
		struct pmemstream_region region = region_of(opened.stream, 4096);
		append_text(opened.stream, region, "small");
		assert_true(pmemstream_region_size(opened.stream, region) >= 4096);
		opened_again(&opened);
		assert_texts(opened.stream, region, "small", NULL);
		opened_free(&opened);
	}
}

static void the_smallest_map_holds_one_region(void **state)
{
	(void)state;
	struct opened opened;

	/* 4,096 bytes of headers, a region header of 256 and an entry of 32 and one more line. */
	opened_new(&opened, "CACHE_LINE", 4096 + 256 + 64, 64);
	struct pmemstream_region region = region_of(opened.stream, 64);
	append_text(opened.stream, region, "exactly thirty-two bytes long...");
	assert_fails(opened.stream, pmemstream_append(opened.stream, region, NULL, NULL, 0, NULL), ENOSPC);
	opened_again(&opened);
	assert_texts(opened.stream, region, "exactly thirty-two bytes long...", NULL);
	opened_free(&opened);
}

static void a_read_only_map_gives_a_stream_to_read(void **state)
{
	(void)state;
	for (int g = 0; g < MAP_GRANULARITIES; g++) {
		struct opened opened;
		opened_new(&opened, map_granularities[g], FILE_BYTES, BLOCK);
		struct pmemstream_region region = region_of(opened.stream, 1000);
		struct pmemstream_entry entry = append_text(opened.stream, region, "read me");
		opened_read_only(&opened);
		struct pmemstream *stream = opened.stream;
		unsigned char *before = mapped_content(&opened.file);

		assert_texts(stream, region, "read me", NULL);
		assert_int_equal(pmemstream_committed_timestamp(stream), 1);
		assert_int_equal(pmemstream_persisted_timestamp(stream), 1);
		assert_int_equal(pmemstream_entry_timestamp(stream, entry), 1);
		struct pmemstream_region other = {.offset = 7};
		struct pmemstream_entry other_entry = {.offset = 7};
		void *data = &other;
		assert_fails(stream, pmemstream_region_allocate(stream, 100, &other), EROFS);
		assert_fails(stream, pmemstream_region_free(stream, region), EROFS);
		assert_fails(stream, pmemstream_append(stream, region, NULL, "x", 1, &other_entry), EROFS);
		assert_fails(stream, pmemstream_reserve(stream, region, NULL, 1, &other_entry, &data), EROFS);
		assert_fails(stream, pmemstream_publish(stream, region, NULL, entry, 1), EROFS);
		assert_fails(stream, pmemstream_async_publish(stream, region, NULL, entry, 1), EROFS);
		struct data_mover_sync *mover = data_mover_sync_new();
		assert_fails(stream,
			     pmemstream_async_append(stream, data_mover_sync_get_vdm(mover), region, NULL, "x", 1,
						     &other_entry),
			     EROFS);
		data_mover_sync_delete(mover);
		assert_int_equal(other.offset, 7);
		assert_int_equal(other_entry.offset, 7);
		assert_ptr_equal(data, &other);
		wait_persisted(stream, 1);
		pmemstream_delete(&opened.stream);
		unsigned char *after = mapped_content(&opened.file);
		assert_memory_equal(before, after, FILE_BYTES);
		free(before);
		free(after);
		opened_free(&opened);
	}
}

static void an_empty_read_only_map_is_refused(void **state)
{
	(void)state;
	struct mapped mapped;

	mapped_new(&mapped, "PAGE", FILE_BYTES);
	mapped_again(&mapped, PMEM2_PROT_READ, PMEM2_SHARED);
	refused(&mapped, BLOCK, EROFS);
	mapped_free(&mapped);
}

static void a_private_map_is_refused(void **state)
{
	(void)state;
	struct opened opened;

	opened_new(&opened, "PAGE", FILE_BYTES, BLOCK);
	pmemstream_delete(&opened.stream);
	mapped_again(&opened.file, PMEM2_PROT_READ | PMEM2_PROT_WRITE, PMEM2_PRIVATE);
	refused(&opened.file, BLOCK, EINVAL);
	mapped_again(&opened.file, PMEM2_PROT_READ, PMEM2_PRIVATE);
	refused(&opened.file, BLOCK, EINVAL);
	opened_again(&opened);
	opened_free(&opened);
}

static void a_truncated_file_is_refused_and_a_longer_one_is_not(void **state)
{
	(void)state;
	for (int g = 0; g < MAP_GRANULARITIES; g++) {
		struct opened opened;
		opened_new(&opened, map_granularities[g], FILE_BYTES, BLOCK);
		struct pmemstream_region region = region_of(opened.stream, 1000);
		append_text(opened.stream, region, "here");
		pmemstream_delete(&opened.stream);

		mapped_resize(&opened.file, FILE_BYTES + 12345);
		opened_again(&opened);
		assert_texts(opened.stream, region, "here", NULL);
		/* What lies behind the recorded size is not used. */
		struct pmemstream_region rest;
		assert_fails(opened.stream, pmemstream_region_allocate(opened.stream, FILE_BYTES, &rest), ENOSPC);
		pmemstream_delete(&opened.stream);

		static const size_t shorter[] = {FILE_BYTES - 1, FILE_BYTES / 2, 8192, 4096, 600, 512};
		for (size_t i = 0; i < sizeof(shorter) / sizeof(*shorter); i++) {
			mapped_resize(&opened.file, shorter[i]);
			refused(&opened.file, BLOCK, EBADMSG);
		}
		mapped_free(&opened.file);
	}
}

static size_t resident_pages(const struct mapped *mapped)
{
	size_t count = 0;
	char line[256];
	FILE *smaps = fopen("/proc/self/smaps", "r");
	uintptr_t at = (uintptr_t)pmem2_map_get_address(mapped->map);
	bool inside = false;

	assert_non_null(smaps);
	while (fgets(line, sizeof(line), smaps)) {
		uintptr_t from, to;
		size_t kib;
		if (sscanf(line, "%lx-%lx ", &from, &to) == 2)
			inside = from <= at && at < to;
		else if (inside && sscanf(line, "Rss: %zu kB", &kib) == 1)
			count += kib / 4;
	}
	fclose(smaps);
	return count;
}

static void either_variable_touches_every_page(void **state)
{
	(void)state;
	static const char *const names[] = {"PMEMSTREAM_PREFAULT_AT_OPEN", "PREFAULT_AT_OPEN"};
	static const char *const values[] = {"1", "0", ""};
	struct opened opened;

	for (size_t v = 0; v < 3; v++)
		for (size_t i = 0; i < 2; i++) {
			/* Zeros all the same, so a stream that is new or old is prefaulted alike. */
			mapped_new(&opened.file, "PAGE", FILE_BYTES);
			assert_true(resident_pages(&opened.file) < FILE_BYTES / 4096);
			setenv(names[i], values[v], 1);
			assert_int_equal(pmemstream_from_map(&opened.stream, BLOCK, opened.file.map), 0);
			assert_int_equal(resident_pages(&opened.file), FILE_BYTES / 4096);
			unsetenv(names[i]);
			opened_free(&opened);
		}
}

static void the_map_stays_the_callers(void **state)
{
	(void)state;
	struct opened opened;

	opened_new(&opened, "PAGE", FILE_BYTES, BLOCK);
	struct pmemstream_region region = region_of(opened.stream, 1000);
	append_text(opened.stream, region, "one");
	for (int time = 0; time < 3; time++) {
		pmemstream_delete(&opened.stream);
		assert_null(opened.stream);
		/* The same map, not a new one. */
		assert_int_equal(pmemstream_from_map(&opened.stream, BLOCK, opened.file.map), 0);
		assert_texts(opened.stream, region, "one", NULL);
	}
	opened_free(&opened);
}

static void delete_takes_null_and_keeps_errno(void **state)
{
	(void)state;
	struct pmemstream *none = NULL;
	struct opened opened;

	errno = ERANGE;
	pmemstream_delete(NULL);
	pmemstream_delete(&none);
	assert_int_equal(errno, ERANGE);
	opened_new(&opened, "PAGE", FILE_BYTES, BLOCK);
	append_text(opened.stream, region_of(opened.stream, 100), "x");
	errno = ERANGE;
	pmemstream_delete(&opened.stream);
	assert_int_equal(errno, ERANGE);
	assert_null(opened.stream);
	mapped_free(&opened.file);
}

static void a_file_whose_size_is_no_multiple_of_the_block_works(void **state)
{
	(void)state;
	static const size_t sizes[] = {FILE_BYTES + 1, FILE_BYTES - 1, FILE_BYTES + 63, 100003, 12321};

	for (int g = 0; g < MAP_GRANULARITIES; g++)
		for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
			struct opened opened;
			opened_new(&opened, map_granularities[g], sizes[i], 512);
			struct pmemstream_region region = region_of(opened.stream, 3000);
			append_text(opened.stream, region, "odd");
			opened_again(&opened);
			assert_texts(opened.stream, region, "odd", NULL);
			opened_free(&opened);
		}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_empty_map_becomes_a_stream_that_can_be_opened_again),
		cmocka_unit_test(the_block_size_is_a_power_of_two_and_a_multiple_of_64),
		cmocka_unit_test(another_block_size_is_refused),
		cmocka_unit_test(what_is_neither_empty_nor_a_stream_is_refused_untouched),
		cmocka_unit_test(the_layout_of_release_0_2_is_named),
		cmocka_unit_test(a_map_of_256_bytes_is_too_small_and_one_of_10240_is_not),
		cmocka_unit_test(the_smallest_map_holds_one_region),
		cmocka_unit_test(a_read_only_map_gives_a_stream_to_read),
		cmocka_unit_test(an_empty_read_only_map_is_refused),
		cmocka_unit_test(a_private_map_is_refused),
		cmocka_unit_test(a_truncated_file_is_refused_and_a_longer_one_is_not),
		cmocka_unit_test(either_variable_touches_every_page),
		cmocka_unit_test(the_map_stays_the_callers),
		cmocka_unit_test(delete_takes_null_and_keeps_errno),
		cmocka_unit_test(a_file_whose_size_is_no_multiple_of_the_block_works),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
