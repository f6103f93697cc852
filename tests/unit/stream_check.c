/*
 * stream_check.c: every kind of damage, made on purpose, is reported with its place; what is not damaged is not.
 */
#include "stream_known.h"

#include "base/error.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const struct {
	enum medium_granularity granularity;
	uint64_t block_size;
	uint32_t alignment;
} kinds[] = {{MEDIUM_CACHE_LINE, 64, 8}, {MEDIUM_CACHE_LINE, 4096, 64}, {MEDIUM_PAGE, 512, 8}};

#define FOR_KINDS(i) for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)

/* Closed: 40 entries, of which the second half of a second process. */
static void begin_closed(struct history *history, size_t kind)
{
	history_begin(history, kinds[kind].granularity, kinds[kind].block_size, kinds[kind].alignment, 11 + kind);
	history_append(history, 20);
	history_close(history);
	history_open(history);
	history_append(history, 20);
	history_stop(history);
}

/* Killed behind entries that no checkpoint covers. */
static void begin_killed(struct history *history, size_t kind)
{
	history_begin(history, kinds[kind].granularity, kinds[kind].block_size, kinds[kind].alignment, 31 + kind);
	history_append(history, 20);
	history_close(history);
	history_open(history);
	history_append(history, 12);
	history_kill(history);
	history_stop(history);
}

static void what_is_not_damaged_is_not_reported(void **state)
{
	(void)state;
	FOR_KINDS(i)
	{
		for (int killed = 0; killed < 2; killed++) {
			struct history history;
			struct told told;
			(killed ? begin_killed : begin_closed)(&history, i);
			for (int deep = 0; deep < 2; deep++) {
				if (history_check(&history, deep, &told))
					fail_msg("%s", error_message());
				assert_int_equal(told.problem_count, 0);
				assert_int_equal(told.done, told.total);
				assert_true(!deep || told.total > 0);
			}
			history_end(&history);
		}
	}
}

static void random_histories_are_not_damaged(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= 60; seed++) {
		struct history history;
		struct told told;
		size_t kind = seed % 3;
		history_begin(&history, kinds[kind].granularity, kinds[kind].block_size, kinds[kind].alignment, seed);
		for (int life = 0; life < 4; life++) {
			history_append(&history, (unsigned)(damage_random(&history.seed) >> 33) % 20);
			if (damage_random(&history.seed) >> 63)
				history_kill(&history);
			else
				history_close(&history);
			if (history_check(&history, true, &told) || told.problem_count)
				fail_msg("seed %zu: %s", (size_t)seed, error_message());
			history_open(&history);
		}
		history_end(&history);
	}
}

struct expectation {
	enum pmemstream_problem_kind kind;
	enum pmemstream_severity severity;
	bool light; /* also found without deep */
};

/* Damages a closed stream at one place, and expects one report of it. */
static void expect(struct history *history, uint64_t off, uint64_t bytes, uint64_t place,
		   const struct expectation *expected)
{
	for (int deep = 0; deep < 2; deep++) {
		struct told told;
		flip(history, off, bytes);
		bool found = deep || expected->light;
		bool damage = found && expected->severity == PMEMSTREAM_DAMAGE;
		int err = history_check(history, deep, &told);
		if (err != (damage ? -1 : 0))
			fail_msg("damage at %zu: check %d: %s", (size_t)off, err, error_message());
		if (damage)
			assert_int_equal(errno, EBADMSG);
		if (found) {
			const struct pmemstream_problem *problem = told_find(&told, expected->kind, place);
			assert_int_equal(problem->severity, expected->severity);
		} else {
			assert_int_equal(told.problem_count, 0);
		}
		history_restore(history);
	}
}

static void each_structure_is_reported_at_its_place(void **state)
{
	(void)state;
	static const struct expectation harmless_copy = {PMEMSTREAM_PROBLEM_HEADER_COPY, PMEMSTREAM_HARMLESS, true},
					harmless_slot = {PMEMSTREAM_PROBLEM_STREAM_SLOT, PMEMSTREAM_HARMLESS, true},
					number = {PMEMSTREAM_PROBLEM_ALLOCATOR, PMEMSTREAM_DAMAGE, true},
					extent = {PMEMSTREAM_PROBLEM_EXTENT, PMEMSTREAM_DAMAGE, true},
					header = {PMEMSTREAM_PROBLEM_REGION_HEADER, PMEMSTREAM_DAMAGE, true},
					limit = {PMEMSTREAM_PROBLEM_REGION_LIMIT, PMEMSTREAM_DAMAGE, true},
					slot = {PMEMSTREAM_PROBLEM_REGION_SLOT, PMEMSTREAM_HARMLESS, true};

	FOR_KINDS(i)
	{
		struct history history;
		begin_closed(&history, i);
		uint64_t region_off = history.regions[1].offset,
			 second_off = format_second_copy_off(kinds[i].block_size);
		expect(&history, 100, 1, 0, &harmless_copy);
		expect(&history, second_off + 50, 1, second_off, &harmless_copy);
		uint64_t used_off = slot_in_use_off(&history);
		uint64_t other_off = used_off == 512 ? 1024 : 512;
		expect(&history, other_off + 9, 1, other_off, &harmless_slot);
		expect(&history, FORMAT_APPLIED_OFF + 5, 1, FORMAT_APPLIED_OFF, &number);
		expect(&history, FORMAT_NEXT_GENERATION_OFF, 1, FORMAT_NEXT_GENERATION_OFF, &number);
		expect(&history, region_off + 1, 1, region_off, &extent);
		expect(&history, region_off + 70, 1, region_off, &header);
		expect(&history, region_off + 8, 1, region_off + 8, &limit);
		uint64_t unused_off = region_slot_in_use_off(&history, 1) ^ (region_off + 128) ^ (region_off + 192);
		expect(&history, unused_off + 20, 1, unused_off, &slot);
		history_end(&history);
	}
}

static void a_damaged_entry_in_front_of_the_checkpoints_is_found_by_deep(void **state)
{
	(void)state;
	static const struct expectation header = {PMEMSTREAM_PROBLEM_ENTRY_HEADER, PMEMSTREAM_DAMAGE, false},
					data = {PMEMSTREAM_PROBLEM_ENTRY_DATA, PMEMSTREAM_DAMAGE, false};

	FOR_KINDS(i)
	{
		struct history history;
		begin_closed(&history, i);
		for (unsigned e = 0; e < history.entry_count; e++) {
			const struct known_entry *entry = &history.entries[e];
			expect(&history, entry->off + 9, 1, entry->off, &header);
			if (entry->bytes > FORMAT_ENTRY_HEADER_BYTES)
				expect(&history, entry->off + entry->bytes - 1, 1, entry->off, &data);
		}
		history_end(&history);
	}
}

static void both_slots_of_the_stream_are_damage(void **state)
{
	(void)state;
	struct history history;
	struct told told;

	begin_closed(&history, 0);
	flip(&history, 512, 1);
	flip(&history, 1024, 1);
	assert_int_equal(history_check(&history, true, &told), -1);
	assert_int_equal(errno, EBADMSG);
	assert_int_equal(told_find(&told, PMEMSTREAM_PROBLEM_STREAM_SLOT, 512)->severity, PMEMSTREAM_DAMAGE);
	assert_int_equal(told_find(&told, PMEMSTREAM_PROBLEM_STREAM_SLOT, 1024)->repairable, 0);
	history_end(&history);
}

static void check_goes_on_behind_each_problem(void **state)
{
	(void)state;
	struct history history;
	struct told told;

	begin_closed(&history, 1);
	uint64_t off = history.regions[0].offset;
	flip(&history, 4096, 1);
	flip(&history, FORMAT_APPLIED_OFF, 1);
	flip(&history, off + 8, 1);
	flip(&history, history.regions[1].offset + 20, 1);
	flip(&history, history.entries[0].off + 9, 1);
	flip(&history, history.regions[2].offset, 1);
	assert_int_equal(history_check(&history, true, &told), -1);
	told_find(&told, PMEMSTREAM_PROBLEM_HEADER_COPY, 4096);
	told_find(&told, PMEMSTREAM_PROBLEM_ALLOCATOR, FORMAT_APPLIED_OFF);
	told_find(&told, PMEMSTREAM_PROBLEM_REGION_LIMIT, off + 8);
	told_find(&told, PMEMSTREAM_PROBLEM_REGION_HEADER, history.regions[1].offset);
	told_find(&told, PMEMSTREAM_PROBLEM_ENTRY_HEADER, history.entries[0].off);
	told_find(&told, PMEMSTREAM_PROBLEM_EXTENT, history.regions[2].offset);
	history_end(&history);
}

/* Behind a kill, what a later entry's watermark vouches for is damage; the last ones may be what a cut left. */
static void a_damaged_entry_behind_the_checkpoints_is_damage_where_it_was_vouched_for(void **state)
{
	(void)state;
	FOR_KINDS(i)
	{
		struct history history;
		struct told told;
		unsigned damages = 0;
		begin_killed(&history, i);
		for (unsigned e = 0; e < history.entry_count; e++) {
			const struct known_entry *entry = &history.entries[e];
			if (entry->off < region_tail_off(&history, entry->region))
				continue;
			flip(&history, entry->off + 9, 1);
			int err = history_check(&history, false, &told);
			if (err) {
				assert_int_equal(errno, EBADMSG);
				assert_true(told.damages > 0);
				damages++;
			}
			assert_int_equal(check_opens(&history.medium), err);
			assert_true(e + 3 < history.entry_count ? err : 1);
			history_restore(&history);
		}
		assert_true(damages > 3);
		history_end(&history);
	}
}

static int stop(const struct pmemstream_event *event, void *arg)
{
	(void)event;
	++*(int *)arg;
	return 1;
}

static void the_callback_can_end_it(void **state)
{
	(void)state;
	struct history history;
	int calls = 0;

	begin_closed(&history, 0);
	flip(&history, 600, 1);
	assert_int_equal(check_medium(&history.medium, true, stop, &calls), -1);
	assert_int_equal(errno, ECANCELED);
	assert_int_equal(calls, 1);
	history_end(&history);
}

static void a_stream_without_an_entry_is_not_damaged(void **state)
{
	(void)state;
	struct history history;
	struct told told;

	history_begin(&history, MEDIUM_CACHE_LINE, 64, 8, 3);
	history_stop(&history);
	assert_int_equal(history_check(&history, true, &told), 0);
	assert_int_equal(told.problem_count, 0);
	history_end(&history);
}

/* ---- By path ---- */

static char path[64];

static struct pmemstream *new_file(void)
{
	static int number;
	struct pmemstream *stream;
	struct pmemstream_config config = {.size = 1 << 20};

	snprintf(path, sizeof(path), "check.%d.%d.stream", (int)getpid(), number++);
	unlink(path);
	if (pmemstream_create(&stream, path, &config))
		fail_msg("create: %s", pmemstream_errormsg());
	return stream;
}

static void write_at(uint64_t off, const void *from, size_t bytes)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(pwrite(fd, from, bytes, (off_t)off), bytes);
	close(fd);
}

static void a_stream_that_is_open_for_writing_is_not_checked(void **state)
{
	(void)state;
	struct pmemstream *stream = new_file();

	assert_int_equal(pmemstream_check(path, 0, NULL, NULL), -1);
	assert_int_equal(errno, EWOULDBLOCK);
	assert_non_null(strstr(pmemstream_errormsg(), "process"));
	assert_int_equal(pmemstream_repair(path, 0, NULL, NULL), -1);
	assert_int_equal(errno, EWOULDBLOCK);
	assert_int_equal(pmemstream_repair(path, PMEMSTREAM_DRY_RUN, NULL, NULL), -1);
	assert_int_equal(errno, EWOULDBLOCK);
	pmemstream_delete(&stream);
	assert_int_equal(pmemstream_check(path, PMEMSTREAM_CHECK_DEEP, NULL, NULL), 0);
	unlink(path);
}

static int open_meanwhile(const struct pmemstream_event *event, void *arg)
{
	struct pmemstream *stream;

	(void)event;
	(void)arg;
	assert_int_equal(pmemstream_open(&stream, path, NULL), 0);
	pmemstream_delete(&stream);
	return 0;
}

static void a_writer_that_came_meanwhile_is_noticed(void **state)
{
	(void)state;
	struct pmemstream *stream = new_file();

	pmemstream_delete(&stream);
	assert_int_equal(pmemstream_check(path, 0, open_meanwhile, NULL), -1);
	assert_int_equal(errno, EAGAIN);
	unlink(path);
}

static void what_is_no_stream_is_refused(void **state)
{
	(void)state;
	static const char zeros[512];
	struct pmemstream *stream = new_file();

	pmemstream_delete(&stream);
	assert_int_equal(pmemstream_check(NULL, 0, NULL, NULL), -1);
	assert_int_equal(errno, EINVAL);
	assert_int_equal(pmemstream_check(path, 8, NULL, NULL), -1);
	assert_int_equal(errno, EINVAL);
	assert_int_equal(pmemstream_repair(path, PMEMSTREAM_CHECK_DEEP, NULL, NULL), -1);
	assert_int_equal(errno, EINVAL);
	assert_int_equal(pmemstream_check("/nonexistent/stream", 0, NULL, NULL), -1);
	assert_int_equal(errno, ENOENT);
	assert_int_equal(pmemstream_check(".", 0, NULL, NULL), -1);
	assert_int_equal(errno, EINVAL);
	assert_int_equal(truncate(path, 65536), 0);
	assert_int_equal(pmemstream_check(path, 0, NULL, NULL), -1);
	assert_int_equal(errno, EBADMSG);
	assert_int_equal(pmemstream_repair(path, 0, NULL, NULL), -1);
	assert_int_equal(errno, EBADMSG);
	write_at(0, zeros, sizeof(zeros));
	write_at(4096, zeros, sizeof(zeros));
	assert_int_equal(pmemstream_check(path, 0, NULL, NULL), -1);
	assert_int_equal(errno, EINVAL);
	assert_int_equal(truncate(path, 0), 0);
	assert_int_equal(pmemstream_check(path, 0, NULL, NULL), -1);
	assert_int_equal(errno, EINVAL);
	unlink(path);
}

struct fields {
	char text[8192];
};

static int collect(const struct pmemstream_field *field, void *arg)
{
	struct fields *fields = arg;
	size_t length = strlen(fields->text);

	snprintf(fields->text + length, sizeof(fields->text) - length, "%s@%zu %s=%s\n", field->structure,
		 (size_t)field->offset, field->name, field->value);
	return 0;
}

static void assert_described(uint64_t off, const char *line)
{
	struct fields fields = {{0}};

	assert_int_equal(pmemstream_describe(path, off, collect, &fields), 0);
	if (!strstr(fields.text, line))
		fail_msg("\"%s\" is not said of offset %zu, but:\n%s", line, (size_t)off, fields.text);
}

static void describe_tells_what_is_at_an_offset(void **state)
{
	(void)state;
	struct pmemstream *stream = new_file();
	struct pmemstream_region region;
	struct pmemstream_entry entry;
	char line[100];

	assert_int_equal(pmemstream_region_allocate_labeled(stream, 1000, "web", &region), 0);
	assert_int_equal(pmemstream_append(stream, region, NULL, "hello", 5, &entry), 0);
	assert_described(2700, "volatile area@2560 state=1\n");
	pmemstream_delete(&stream);
	assert_described(5, "stream header@0 checksum=valid\n");
	assert_described(4100, "stream header@4096 block_size=4096\n");
	assert_described(600, "stream slot@512 checksum=valid\n");
	assert_described(1100, "stream slot@1024 sequence=");
	assert_described(1540, "allocator record@1536 number=1\n");
	assert_described(2050, "applied number@2048 value=1\n");
	assert_described(3000, "volatile area@2560 state=0\n");
	assert_described(3200, "reserved@3200 content=none\n");
	assert_described(region.offset + 3, "region@8192 label=web\n");
	assert_described(region.offset + 140, "region slot@8320 checksum=valid\n");
	snprintf(line, sizeof(line), "entry@%zu timestamp=1\n", (size_t)entry.offset);
	assert_described(entry.offset + 33, line);
	snprintf(line, sizeof(line), "entry@%zu size=5\n", (size_t)entry.offset);
	assert_described(entry.offset, line);
	assert_described(region.offset + 2000, "nothing that can be trusted@");
	assert_described(region.offset + 4096, "extent@12288 kind=free\n");
	write_at(entry.offset + 32, "j", 1);
	snprintf(line, sizeof(line), "entry@%zu data=bad\n", (size_t)entry.offset);
	assert_described(entry.offset, line);
	assert_int_equal(pmemstream_describe(path, 1 << 20, collect, line), -1);
	assert_int_equal(errno, EINVAL);
	assert_int_equal(pmemstream_describe(path, 0, NULL, NULL), -1);
	assert_int_equal(errno, EINVAL);
	unlink(path);
}

static void extents_fill_the_arena(void **state)
{
	(void)state;
	struct pmemstream *stream = new_file();
	struct pmemstream_region regions[3];
	struct pmemstream_extent extents[8];
	size_t count = 8;

	for (int i = 0; i < 3; i++)
		assert_int_equal(pmemstream_region_allocate(stream, 5000, &regions[i]), 0);
	assert_int_equal(pmemstream_append(stream, regions[2], NULL, "x", 1, NULL), 0);
	assert_int_equal(pmemstream_region_free(stream, regions[1]), 0);
	assert_int_equal(pmemstream_list_extents(stream, extents, &count), 0);
	assert_int_equal(count, 4);
	for (size_t i = 0; i < count; i++) {
		assert_int_equal(extents[i].is_region, i % 2 == 0);
		if (i)
			assert_int_equal(extents[i].offset, extents[i - 1].offset + extents[i - 1].bytes);
	}
	assert_int_equal(extents[2].offset, regions[2].offset);
	assert_int_equal(extents[2].used, pmemstream_entry_space(stream, 1));
	assert_int_equal(extents[3].offset + extents[3].bytes, 1 << 20);
	count = 1;
	assert_int_equal(pmemstream_list_extents(stream, extents, &count), 0);
	assert_int_equal(count, 4);
	assert_int_equal(pmemstream_list_extents(NULL, extents, &count), -1);
	assert_int_equal(errno, EINVAL);
	pmemstream_delete(&stream);
	unlink(path);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_not_damaged_is_not_reported),
		cmocka_unit_test(random_histories_are_not_damaged),
		cmocka_unit_test(each_structure_is_reported_at_its_place),
		cmocka_unit_test(a_damaged_entry_in_front_of_the_checkpoints_is_found_by_deep),
		cmocka_unit_test(both_slots_of_the_stream_are_damage),
		cmocka_unit_test(check_goes_on_behind_each_problem),
		cmocka_unit_test(a_damaged_entry_behind_the_checkpoints_is_damage_where_it_was_vouched_for),
		cmocka_unit_test(the_callback_can_end_it),
		cmocka_unit_test(a_stream_without_an_entry_is_not_damaged),
		cmocka_unit_test(a_stream_that_is_open_for_writing_is_not_checked),
		cmocka_unit_test(a_writer_that_came_meanwhile_is_noticed),
		cmocka_unit_test(what_is_no_stream_is_refused),
		cmocka_unit_test(describe_tells_what_is_at_an_offset),
		cmocka_unit_test(extents_fill_the_arena),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
