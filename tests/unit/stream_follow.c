/*
 * stream_follow.c: streams opened by path, and readers in other processes.
 *
 * A child process is told what to do by one letter through a pipe and answers by one letter: nothing here waits for
 * luck.
 */
#include "stream_child.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static const char *const granularities[] = {"CACHE_LINE", "PAGE"};

static void a_created_file_is_whole_and_refused_a_second_time(void **state)
{
	(void)state;
	struct pmemstream *stream, *second = NULL;
	struct stat status;

	new_path();
	assert_int_equal(pmemstream_create(&stream, path, &sized), 0);
	assert_int_equal(stat(path, &status), 0);
	assert_int_equal(status.st_size, STREAM_BYTES);
	assert_true(status.st_blocks * 512 >= STREAM_BYTES);
	assert_int_equal(pmemstream_create(&second, path, &sized), -1);
	assert_int_equal(errno, EEXIST);
	assert_int_equal(pmemstream_open(&second, path, NULL), -1);
	assert_int_equal(errno, EWOULDBLOCK);
	assert_non_null(strstr(pmemstream_errormsg(), "process"));
	assert_null(second);
	pmemstream_delete(&stream);
	assert_int_equal(pmemstream_open(&stream, path, NULL), 0);
	pmemstream_delete(&stream);
	unlink(path);
}

static void open_refuses_what_is_no_stream_and_leaves_it_alone(void **state)
{
	(void)state;
	struct pmemstream *stream = NULL;
	struct pmemstream_config bad = {.reserved = {1}};
	struct pmemstream_config creating = {.flags = PMEMSTREAM_CREATE, .size = STREAM_BYTES};

	new_path();
	assert_int_equal(pmemstream_open(&stream, path, NULL), -1);
	assert_int_equal(errno, ENOENT);
	assert_int_equal(pmemstream_open(&stream, ".", &reading), -1);
	assert_int_equal(errno, EINVAL);
	assert_int_equal(pmemstream_open(&stream, path, &bad), -1);
	assert_int_equal(errno, EINVAL);
	int fd = open(path, O_CREAT | O_RDWR, 0600);
	assert_int_equal(pmemstream_open(&stream, path, NULL), -1);
	assert_int_equal(errno, EINVAL);
	assert_int_equal(ftruncate(fd, 100000), 0);
	assert_int_equal(pmemstream_open(&stream, path, NULL), -1);
	assert_int_equal(errno, EINVAL);
	assert_int_equal(pmemstream_open(&stream, path, &reading), -1);
	assert_int_equal(errno, EINVAL);
	close(fd);
	unlink(path);
	assert_null(stream);
	assert_int_equal(pmemstream_open(&stream, path, &creating), 0);
	pmemstream_delete(&stream);
	assert_int_equal(pmemstream_open(&stream, path, &creating), 0);
	pmemstream_delete(&stream);
	unlink(path);
}

static void a_creation_that_was_cut_is_finished_by_an_opening_that_may_create(void **state)
{
	(void)state;
	struct pmemstream *stream = NULL;
	struct pmemstream_config creating = {.flags = PMEMSTREAM_CREATE, .size = STREAM_BYTES, .block_size = 256};
	struct pmemstream_statistics statistics;

	for (int left = 0; left < 4; left++) {
		new_path();
		int fd = open(path, O_CREAT | O_RDWR, 0600);
		if (left) /* 0 empty, 1 zero, 2 being created, 3 something else */
			assert_int_equal(ftruncate(fd, 100000), 0);
		if (left == 2)
			assert_int_equal(pwrite(fd, "pmstrnew and what not", 21, 0), 21);
		if (left == 3)
			assert_int_equal(pwrite(fd, "precious", 8, 0), 8);
		close(fd);
		assert_int_equal(pmemstream_open(&stream, path, NULL), -1);
		assert_int_equal(errno, EINVAL);
		int err = pmemstream_open(&stream, path, &creating);
		assert_int_equal(err, left == 3 ? -1 : 0);
		if (!err) {
			assert_int_equal(pmemstream_get_statistics(stream, &statistics), 0);
			assert_int_equal(statistics.size, left ? 100000 : STREAM_BYTES);
			assert_int_equal(statistics.block_size, 256);
			pmemstream_delete(&stream);
		}
		unlink(path);
	}
}

static void a_file_that_is_being_created_is_nobody_elses(void **state)
{
	(void)state;
	const struct pmemstream_config large = {.size = 64 << 20, .flags = PMEMSTREAM_CREATE};
	struct pmemstream_config made = large;
	struct pmemstream_region most, last;
	struct pmemstream_entry entry;
	struct pmemstream *stream;
	struct stat status;

	made.flags = 0;
	setenv("PMEM2_FORCE_GRANULARITY", "CACHE_LINE", 1);
	for (int i = 0; i < 5; i++) {
		new_path();
		pid_t creator = fork();
		if (!creator)
			_exit(pmemstream_create(&stream, path, &made) ? 1 : 0);
		while (stat(path, &status) || !status.st_size)
			;
		int err = pmemstream_open(&stream, path, &large);
		if (err) {
			assert_int_equal(errno, EWOULDBLOCK);
		} else {
			assert_int_equal(pmemstream_region_allocate(stream, 60 << 20, &most), 0);
			assert_int_equal(pmemstream_region_allocate(stream, 1 << 20, &last), 0);
			assert_int_equal(pmemstream_append(stream, last, NULL, "mine", 5, &entry), 0);
		}
		assert_int_equal(waitpid(creator, NULL, 0), creator);
		if (!err) {
			pmemstream_delete(&stream);
			assert_int_equal(pmemstream_open(&stream, path, NULL), 0);
			assert_string_equal(pmemstream_entry_data(stream, entry), "mine");
			pmemstream_delete(&stream);
		}
		unlink(path);
	}
	unsetenv("PMEM2_FORCE_GRANULARITY");
}

static void a_reader_sees_what_a_live_writer_made_durable_and_its_regions(void **state)
{
	(void)state;
	for (int g = 0; g < 2; g++) {
		struct child writer;
		struct pmemstream *stream;

		setenv("PMEM2_FORCE_GRANULARITY", granularities[g], 1);
		new_path();
		start(&writer);
		tell(&writer, "caa");
		assert_int_equal(pmemstream_open(&stream, path, &reading), 0);
		assert_int_equal(pmemstream_persisted_timestamp(stream), 2);
		assert_int_equal(count(stream, "first"), 2);
		assert_int_equal(pmemstream_region_allocate(stream, 100, NULL), -1);
		assert_int_equal(errno, EROFS);
		tell(&writer, "aaa");
		assert_int_equal(count(stream, "first"), 5);
		tell(&writer, "ra");
		assert_int_equal(count(stream, "second"), 2);
		tell(&writer, "fa");
		assert_int_equal(count(stream, "first"), 6);
		assert_int_equal(pmemstream_region_find(stream, "second", NULL), -1);
		assert_int_equal(errno, ENOENT);
		assert_int_equal(pmemstream_persisted_timestamp(stream), 8);
		pmemstream_delete(&stream);
		stop(&writer, 0);
		unlink(path);
	}
	unsetenv("PMEM2_FORCE_GRANULARITY");
}

static void a_reader_that_sleeps_is_woken_by_the_writer(void **state)
{
	(void)state;
	for (int g = 0; g < 2; g++) {
		struct child writer;
		struct pmemstream *stream;

		setenv("PMEM2_FORCE_GRANULARITY", granularities[g], 1);
		new_path();
		start(&writer);
		tell(&writer, "c");
		assert_int_equal(pmemstream_open(&stream, path, &reading), 0);
		assert_int_equal(pmemstream_wait_newer(stream, 0, 1000000), -1);
		assert_int_equal(errno, ETIMEDOUT);
		for (uint64_t t = 0; t < 50; t++) {
			tell_only(&writer, 'a');
			assert_int_equal(pmemstream_wait_newer(stream, t, LONG_NS), 0);
			hear(&writer);
			assert_int_equal(count(stream, "first"), t + 1);
		}
		pmemstream_delete(&stream);
		stop(&writer, 0);
		unlink(path);
	}
	unsetenv("PMEM2_FORCE_GRANULARITY");
}

static void a_killed_writer_is_noticed_and_its_successor_followed(void **state)
{
	(void)state;
	struct child writer, next;
	struct pmemstream *stream;

	new_path();
	start(&writer);
	tell(&writer, "caaa");
	assert_int_equal(pmemstream_open(&stream, path, &reading), 0);
	stop(&writer, SIGKILL);
	assert_int_equal(pmemstream_wait_newer(stream, 3, LONG_NS), -1);
	assert_int_equal(errno, EOWNERDEAD);
	assert_int_equal(count(stream, "first"), 3);
	assert_int_equal(pmemstream_wait_newer(stream, 3, 1000000), -1);
	assert_int_equal(errno, ETIMEDOUT);
	start(&next);
	tell(&next, "o");
	tell_only(&next, 'a');
	assert_int_equal(pmemstream_wait_newer(stream, 3, LONG_NS), 0);
	hear(&next);
	assert_int_equal(count(stream, "first"), 4);
	tell(&next, "d");
	assert_int_equal(count(stream, "first"), 4);
	pmemstream_delete(&stream);
	stop(&next, 0);
	unlink(path);
}

static void a_reader_may_come_first_and_changes_nothing(void **state)
{
	(void)state;
	static char before[STREAM_BYTES], after[STREAM_BYTES];
	struct child writer;
	struct pmemstream *stream;

	new_path();
	start(&writer);
	tell(&writer, "caad");
	int fd = open(path, O_RDONLY);
	assert_int_equal(pread(fd, before, sizeof(before), 0), sizeof(before));
	assert_int_equal(pmemstream_open(&stream, path, &reading), 0);
	assert_int_equal(count(stream, "first"), 2);
	assert_int_equal(pread(fd, after, sizeof(after), 0), sizeof(after));
	assert_memory_equal(before, after, sizeof(before));
	close(fd);
	tell(&writer, "oa");
	assert_int_equal(count(stream, "first"), 3);
	pmemstream_delete(&stream);
	stop(&writer, 0);
	unlink(path);
}

static void the_death_of_a_reader_disturbs_no_writer(void **state)
{
	(void)state;
	struct pmemstream *stream;
	struct pmemstream_region region;

	new_path();
	assert_int_equal(pmemstream_create(&stream, path, &sized), 0);
	assert_int_equal(pmemstream_region_allocate(stream, REGION_BYTES, &region), 0);
	for (int i = 0; i < 10; i++) {
		int ready[2];
		char byte = 'r';
		assert_int_equal(pipe(ready), 0);
		pid_t reader = fork();
		if (!reader) {
			struct pmemstream *mine;
			if (pmemstream_open(&mine, path, &reading) || write(ready[1], &byte, 1) != 1)
				_exit(1);
			pmemstream_wait_newer(mine, UINT64_MAX - 1, UINT64_MAX);
			_exit(0);
		}
		assert_int_equal(read(ready[0], &byte, 1), 1);
		close(ready[0]);
		close(ready[1]);
		for (int k = 0; k < 20; k++)
			assert_int_equal(pmemstream_append(stream, region, NULL, &k, sizeof(k), NULL), 0);
		kill(reader, SIGKILL);
		assert_int_equal(waitpid(reader, NULL, 0), reader);
		assert_int_equal(pmemstream_append(stream, region, NULL, &i, sizeof(i), NULL), 0);
	}
	assert_int_equal(pmemstream_persisted_timestamp(stream), 210);
	pmemstream_delete(&stream);
	unlink(path);
}

static bool readable(int fd)
{
	struct pollfd descriptor = {.fd = fd, .events = POLLIN};
	eventfd_t events;

	/* 20 s are for a machine that is busy; an event takes microseconds. */
	return poll(&descriptor, 1, 20000) == 1 && !eventfd_read(fd, &events);
}

static void an_event_loop_hears_of_new_entries_here_and_in_another_process(void **state)
{
	(void)state;
	struct child writer;
	struct pmemstream *stream;
	struct pmemstream_region region;

	new_path();
	start(&writer);
	tell(&writer, "ca");
	assert_int_equal(pmemstream_open(&stream, path, &reading), 0);
	int fd = pmemstream_eventfd(stream);
	assert_true(fd >= 0);
	assert_int_equal(pmemstream_eventfd(stream), fd);
	for (uint64_t t = 2; t < 12; t++) {
		tell(&writer, "a");
		while (count(stream, "first") < t)
			assert_true(readable(fd));
	}
	pmemstream_delete(&stream);
	assert_int_equal(fcntl(fd, F_GETFD), -1);
	tell(&writer, "d");
	stop(&writer, 0);

	assert_int_equal(pmemstream_open(&stream, path, NULL), 0);
	fd = pmemstream_eventfd(stream);
	assert_true(fd >= 0);
	assert_int_equal(pmemstream_region_find(stream, "first", &region), 0);
	for (int i = 0; i < 10; i++) {
		assert_int_equal(pmemstream_append(stream, region, NULL, &i, sizeof(i), NULL), 0);
		assert_true(readable(fd));
	}
	pmemstream_delete(&stream);
	unlink(path);
}

static void a_lock_ends_with_its_process_though_a_child_lives_on(void **state)
{
	(void)state;
	int ready[2], release[2];
	struct pmemstream *stream;
	char byte = 'r';

	new_path();
	assert_int_equal(pmemstream_create(&stream, path, &sized), 0);
	assert_int_equal(pipe(ready), 0);
	assert_int_equal(pipe(release), 0);
	pid_t child = fork();
	if (!child) {
		close(release[1]);
		if (write(ready[1], &byte, 1) != 1 || read(release[0], &byte, 1) < 0)
			_exit(1);
		_exit(0);
	}
	close(release[0]);
	assert_int_equal(read(ready[0], &byte, 1), 1);
	pmemstream_delete(&stream);
	assert_int_equal(pmemstream_open(&stream, path, NULL), 0);
	close(release[1]);
	assert_int_equal(waitpid(child, NULL, 0), child);
	pmemstream_delete(&stream);
	close(ready[0]);
	close(ready[1]);
	unlink(path);
}

static int count_maps(void)
{
	FILE *maps = fopen("/proc/self/maps", "r");
	int lines = 0, byte;

	assert_non_null(maps);
	while ((byte = getc(maps)) != EOF)
		lines += byte == '\n';
	fclose(maps);
	return lines;
}

static void open_and_close(int times)
{
	for (int i = 0; i < times; i++) {
		struct pmemstream *stream;
		assert_int_equal(pmemstream_open(&stream, path, NULL), 0);
		pmemstream_delete(&stream);
	}
}

static void many_openings_leave_no_mapping_behind(void **state)
{
	struct pmemstream *stream;

	(void)state;
	new_path();
	assert_int_equal(pmemstream_create(&stream, path, &sized), 0);
	pmemstream_delete(&stream);
	open_and_close(3);
	int before = count_maps();
	open_and_close(40);
	/* Allocators map memory of their own now and then. */
	if (count_maps() > before + 8)
		fail_msg("%d mappings before 40 openings, %d after", before, count_maps());
	unlink(path);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(many_openings_leave_no_mapping_behind),
		cmocka_unit_test(a_created_file_is_whole_and_refused_a_second_time),
		cmocka_unit_test(open_refuses_what_is_no_stream_and_leaves_it_alone),
		cmocka_unit_test(a_creation_that_was_cut_is_finished_by_an_opening_that_may_create),
		cmocka_unit_test(a_file_that_is_being_created_is_nobody_elses),
		cmocka_unit_test(a_reader_sees_what_a_live_writer_made_durable_and_its_regions),
		cmocka_unit_test(a_reader_that_sleeps_is_woken_by_the_writer),
		cmocka_unit_test(a_killed_writer_is_noticed_and_its_successor_followed),
		cmocka_unit_test(a_reader_may_come_first_and_changes_nothing),
		cmocka_unit_test(the_death_of_a_reader_disturbs_no_writer),
		cmocka_unit_test(an_event_loop_hears_of_new_entries_here_and_in_another_process),
		cmocka_unit_test(a_lock_ends_with_its_process_though_a_child_lives_on),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests_name("stream_follow", tests, NULL, NULL);
}
