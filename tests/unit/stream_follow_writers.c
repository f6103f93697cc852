/*
 * stream_follow_writers.c: readers whose writers are killed, roll, grow, free and come late; and what waiting costs.
 */
#include "stream_child.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/capability.h>
#include <linux/futex.h>
#include <poll.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { SLEEPERS_OFF = 2560 + 68 }; /* docs/format/stream.md, section 9 */

/* Reads on to so many entries or the end, and asserts that time goes forward; gives how many entries there were. */
static unsigned walk_to(struct pmemstream *stream, struct pmemstream_global_iterator *iterator, unsigned wanted,
			uint64_t *last)
{
	struct pmemstream_entry entry, again;
	unsigned entries = 0;

	while (entries < wanted) {
		if (pmemstream_global_iterator_get(iterator, NULL, &entry)) {
			if (errno != ENODATA)
				fail_msg("%s", pmemstream_errormsg());
			break;
		}
		uint64_t timestamp = pmemstream_entry_timestamp(stream, entry);
		/* Freed meanwhile, and maybe another region's by now, whose first entry may begin at the same place:
		 * then the iterator is elsewhere. */
		if (!timestamp || pmemstream_global_iterator_get(iterator, NULL, &again) ||
		    again.offset != entry.offset)
			continue;
		assert_true(timestamp > *last);
		*last = timestamp;
		entries++;
		pmemstream_global_iterator_next(iterator);
	}
	return entries;
}

static unsigned walk_on(struct pmemstream *stream, struct pmemstream_global_iterator *iterator, uint64_t *last)
{
	return walk_to(stream, iterator, UINT_MAX, last);
}

static void a_writer_may_be_killed_at_any_moment_and_its_successor_is_followed(void **state)
{
	(void)state;
#ifdef __SANITIZE_THREAD__ /* a look takes milliseconds there, and a region has to live so long */
	const char *const first = "nls", *const next = "ols";
#else
	const char *const first = "ns", *const next = "os";
#endif
	for (int g = 0; g < 2; g++) {
		struct pmemstream_global_iterator *iterator;
		struct pmemstream *stream;
		struct child writer;
		uint64_t last = 0;

		setenv("PMEM2_FORCE_GRANULARITY", g ? "PAGE" : "CACHE_LINE", 1);
		new_path();
		start(&writer);
		tell(&writer, first);
		assert_int_equal(pmemstream_open(&stream, path, &reading), 0);
		assert_int_equal(pmemstream_global_iterator_new(&iterator, stream), 0);
		pmemstream_global_iterator_seek_first(iterator);
		for (unsigned round = 0; round < 30; round++) {
			/* It appends, rolls and frees until it is killed, wherever it is when so much was seen. */
			unsigned wanted = 1 + round * 7 % 40, seen = 0;
			tell_only(&writer, 'S');
			while (seen < wanted) {
				assert_int_equal(pmemstream_wait_newer(stream, last, LONG_NS), 0);
				seen += walk_to(stream, iterator, wanted - seen, &last);
			}
			stop(&writer, SIGKILL);
			while (!pmemstream_wait_newer(stream, last, LONG_NS))
				walk_on(stream, iterator, &last);
			assert_int_equal(errno, EOWNERDEAD);
			start(&writer);
			tell(&writer, next);
			assert_int_equal(pmemstream_wait_newer(stream, last, LONG_NS), 0);
			assert_true(walk_on(stream, iterator, &last) > 0);
		}
		assert_int_equal(last, pmemstream_persisted_timestamp(stream));
		pmemstream_global_iterator_delete(&iterator);
		pmemstream_delete(&stream);
		stop(&writer, 0);
		unlink(path);
	}
	unsetenv("PMEM2_FORCE_GRANULARITY");
}

static void a_reader_may_come_before_the_first_region(void **state)
{
	(void)state;
	struct pmemstream_global_iterator *iterator;
	struct pmemstream_region_iterator *regions;
	struct pmemstream *stream;
	struct child writer;
	uint64_t last = 0;

	new_path();
	start(&writer);
	tell(&writer, "n");
	assert_int_equal(pmemstream_open(&stream, path, &reading), 0);
	assert_int_equal(pmemstream_region_iterator_new(&regions, stream), 0);
	pmemstream_region_iterator_seek_first(regions);
	assert_int_equal(pmemstream_region_iterator_is_valid(regions), -1);
	assert_int_equal(errno, ENODATA);
	assert_int_equal(pmemstream_global_iterator_new(&iterator, stream), 0);
	pmemstream_global_iterator_seek_first(iterator);
	assert_int_equal(walk_on(stream, iterator, &last), 0);
	assert_int_equal(pmemstream_wait_newer(stream, 0, 0), -1);
	assert_int_equal(errno, ETIMEDOUT);
	tell(&writer, "i");
	assert_int_equal(pmemstream_region_iterator_is_valid(regions), 0);
	tell_only(&writer, 'a');
	assert_int_equal(pmemstream_wait_newer(stream, 0, LONG_NS), 0);
	hear(&writer);
	assert_int_equal(walk_on(stream, iterator, &last), 1);
	pmemstream_region_iterator_delete(&regions);
	pmemstream_global_iterator_delete(&iterator);
	pmemstream_delete(&stream);
	stop(&writer, 0);
	unlink(path);
}

static void a_reader_goes_along_when_the_file_grows(void **state)
{
	(void)state;
	struct pmemstream_statistics statistics;
	struct pmemstream_region region;
	struct pmemstream *stream;
	struct child writer;

	new_path();
	start(&writer);
	tell(&writer, "ca");
	assert_int_equal(pmemstream_open(&stream, path, &reading), 0);
	assert_int_equal(pmemstream_region_find(stream, "first", &region), 0);
	const struct pmemstream_entry entry = {.offset = region.offset + 256};
	const int *number = pmemstream_entry_data(stream, entry);
	assert_non_null(number);
	tell(&writer, "g");
	assert_int_equal(pmemstream_get_statistics(stream, &statistics), 0);
	assert_int_equal(statistics.size, 2 * STREAM_BYTES);
	assert_int_equal(count(stream, "grown"), 1);
	assert_ptr_equal(pmemstream_entry_data(stream, entry), number);
	assert_int_equal(*number, 1);
	pmemstream_delete(&stream);
	stop(&writer, 0);
	unlink(path);
}

/* Freed, or freed and another one in its place with other bytes: an iterator inside says so. */
static void a_region_that_is_freed_under_a_reader_is_stale_and_never_damaged(void **state)
{
	(void)state;
	static const char *const orders[] = {"f", "fr", "frfr", "frfraaaaaaaa", "fd", "frd"};

	for (size_t i = 0; i < 2 * sizeof(orders) / sizeof(*orders); i++) {
		struct pmemstream_entry_iterator *iterator;
		struct pmemstream_region region;
		struct pmemstream *stream;
		struct child writer;
		bool early = i % 2;

		new_path();
		start(&writer);
		tell(&writer, "cr");
		if (early)
			assert_int_equal(pmemstream_open(&stream, path, &reading), 0);
		tell(&writer, "aaaaaaaa");
		if (!early)
			assert_int_equal(pmemstream_open(&stream, path, &reading), 0);
		assert_int_equal(pmemstream_region_find(stream, "second", &region), 0);
		assert_int_equal(pmemstream_entry_iterator_new(&iterator, stream, region), 0);
		pmemstream_entry_iterator_seek_first(iterator);
		for (int k = 0; k < 3; k++, pmemstream_entry_iterator_next(iterator))
			assert_int_equal(pmemstream_entry_iterator_is_valid(iterator), 0);
		struct pmemstream_entry entry = pmemstream_entry_iterator_get(iterator);
		assert_int_equal(pmemstream_entry_size(stream, entry), sizeof(int));
		tell(&writer, orders[i / 2]);
		assert_int_equal(pmemstream_entry_iterator_is_valid(iterator), -1);
		assert_int_equal(errno, ESTALE);
		if (!strchr(orders[i / 2], 'a')) /* else another one stands at its place */
			assert_null(pmemstream_entry_data(stream, entry));
		pmemstream_entry_iterator_delete(&iterator);
		pmemstream_delete(&stream);
		stop(&writer, 0);
		unlink(path);
	}
}

static void a_series_is_followed_by_its_name_while_it_rolls(void **state)
{
	(void)state;
	struct pmemstream_region regions[16];
	struct pmemstream *stream;
	struct child writer;
	uint64_t newest = 0;

	new_path();
	start(&writer);
	tell(&writer, "n");
	assert_int_equal(pmemstream_open(&stream, path, &reading), 0);
	for (int i = 1; i <= 40; i++) {
		struct pmemstream_region_info info;
		size_t found = 16;
		int number = 0;
		tell(&writer, "s");
		assert_int_equal(pmemstream_series_list(stream, "log", regions, &found), 0);
		assert_in_range(found, 1, 5);
		assert_int_equal(pmemstream_region_get_info(stream, regions[found - 1], &info), 0);
		assert_true(info.generation >= newest);
		assert_true(info.used > 0);
		newest = info.generation;
		/* The newest entry is the last one of the newest region. */
		struct pmemstream_entry_iterator *iterator;
		assert_int_equal(pmemstream_entry_iterator_new(&iterator, stream, regions[found - 1]), 0);
		pmemstream_entry_iterator_seek_first(iterator);
		for (; !pmemstream_entry_iterator_is_valid(iterator); pmemstream_entry_iterator_next(iterator))
			memcpy(&number, pmemstream_entry_data(stream, pmemstream_entry_iterator_get(iterator)),
			       sizeof(number));
		assert_int_equal(errno, ENODATA);
		assert_int_equal(number, i);
		pmemstream_entry_iterator_delete(&iterator);
	}
	assert_true(newest > 5);
	pmemstream_delete(&stream);
	stop(&writer, 0);
	unlink(path);
}

/* What an entry's place is good for that another process told. */
static void an_entry_is_found_by_the_offset_that_its_writer_tells(void **state)
{
	(void)state;
	struct pmemstream_region region;
	struct pmemstream *stream;
	struct child writer;

	new_path();
	start(&writer);
	tell(&writer, "c");
	assert_int_equal(pmemstream_open(&stream, path, &reading), 0);
	assert_int_equal(pmemstream_region_find(stream, "first", &region), 0);
	struct pmemstream_entry entry = {.offset = region.offset + 256};
	assert_null(pmemstream_entry_data(stream, entry));
	size_t free_bytes = pmemstream_region_usable_size(stream, region);
	tell(&writer, "a");
	assert_non_null(pmemstream_entry_data(stream, entry));
	assert_int_equal(pmemstream_entry_timestamp(stream, entry), 1);
	tell(&writer, "a");
	assert_int_equal(pmemstream_region_usable_size(stream, region),
			 free_bytes - 2 * pmemstream_entry_space(stream, sizeof(int)));
	tell(&writer, "a");
	struct pmemstream_statistics statistics;
	assert_int_equal(pmemstream_get_statistics(stream, &statistics), 0);
	assert_int_equal(statistics.used_bytes, 3 * pmemstream_entry_space(stream, sizeof(int)));
	pmemstream_delete(&stream);
	stop(&writer, 0);
	unlink(path);
}

/* ---- Events ---- */

static bool readable(int fd)
{
	struct pollfd descriptor = {.fd = fd, .events = POLLIN};
	eventfd_t events;

	return poll(&descriptor, 1, 20000) == 1 && !eventfd_read(fd, &events);
}

static void an_event_comes_though_somebody_else_looked_first(void **state)
{
	(void)state;
	struct pmemstream *stream;
	struct child writer;
	eventfd_t events;

	new_path();
	start(&writer);
	tell(&writer, "c");
	assert_int_equal(pmemstream_open(&stream, path, &reading), 0);
	int fd = pmemstream_eventfd(stream);
	assert_true(fd >= 0);
	for (uint64_t t = 1; t <= 300; t++) {
		tell(&writer, "a");
		assert_int_equal(pmemstream_committed_timestamp(stream), t);
		assert_true(readable(fd));
		/* What came by a look that was under way is none of the next round. */
		while (!eventfd_read(fd, &events))
			;
	}
	pmemstream_delete(&stream);
	stop(&writer, 0);
	unlink(path);
}

static void a_death_is_told_by_the_event_and_by_the_wait(void **state)
{
	(void)state;
	struct pmemstream *stream;
	struct child writer;

	new_path();
	start(&writer);
	tell(&writer, "c");
	assert_int_equal(pmemstream_open(&stream, path, &reading), 0);
	int fd = pmemstream_eventfd(stream);
	assert_true(fd >= 0);
	stop(&writer, SIGKILL);
	assert_true(readable(fd));
	assert_int_equal(pmemstream_wait_newer(stream, 0, 0), -1);
	assert_int_equal(errno, EOWNERDEAD);
	assert_int_equal(pmemstream_wait_newer(stream, 0, 0), -1);
	assert_int_equal(errno, ETIMEDOUT);
	pmemstream_delete(&stream);
	unlink(path);
}

/* ---- Waiting, with and without permission to write ---- */

static uint32_t sleepers_word(void)
{
	int fd = open(path, O_RDONLY);
	uint32_t word;

	assert_true(fd >= 0);
	assert_int_equal(pread(fd, &word, sizeof(word), SLEEPERS_OFF), sizeof(word));
	close(fd);
	return word;
}

/* Root may write whatever the permissions say, unless it gives that up. */
static void lose_capabilities(void)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[2] = {{0}, {0}};

	syscall(SYS_capset, &header, data);
}

/* A reader in another process, which waits for one entry after the other and answers each. */
static void start_reader(struct child *reader, bool may_write)
{
	int answers[2];

	assert_int_equal(pipe(answers), 0);
	fflush(NULL);
	reader->process = fork();
	if (!reader->process) {
		struct pmemstream *stream;
		prctl(PR_SET_PDEATHSIG, SIGKILL); /* where the test fails */
		if (!may_write)
			lose_capabilities();
		if (pmemstream_open(&stream, path, &reading) || write(answers[1], "y", 1) != 1)
			_exit(1);
		for (uint64_t t = 0;; t++)
			if (pmemstream_wait_newer(stream, t, LONG_NS) || write(answers[1], "y", 1) != 1)
				_exit(1);
	}
	close(answers[1]);
	reader->orders = -1;
	reader->answers = answers[0];
	hear(reader);
}

/* Until the reader's process sleeps in a futex call. */
static void until_asleep(const struct child *reader)
{
	char name[64], call[16] = "";

	snprintf(name, sizeof(name), "/proc/%d/syscall", (int)reader->process);
	while (atoi(call) != SYS_futex) {
		FILE *file = fopen(name, "r");
		assert_non_null(file);
		if (!fgets(call, sizeof(call), file))
			call[0] = '\0';
		fclose(file);
		sched_yield();
	}
}

static void stop_reader(struct child *reader)
{
	kill(reader->process, SIGKILL);
	close(reader->answers);
	assert_int_equal(waitpid(reader->process, NULL, 0), reader->process);
}

static void a_reader_without_write_permission_waits_and_writes_nothing(void **state)
{
	(void)state;
	struct child writer, reader;

	new_path();
	start(&writer);
	tell(&writer, "c");
	assert_int_equal(chmod(path, 0444), 0);
	start_reader(&reader, false);
	for (int i = 0; i < 10; i++) {
		until_asleep(&reader);
		assert_int_equal(sleepers_word(), 0);
		tell(&writer, "a");
		hear(&reader);
	}
	assert_int_equal(sleepers_word(), 0);
	stop_reader(&reader);
	stop(&writer, 0);
	unlink(path);
}

static void a_reader_with_write_permission_registers_before_it_sleeps(void **state)
{
	(void)state;
	struct child writer, reader;

	new_path();
	start(&writer);
	tell(&writer, "c");
	start_reader(&reader, true);
	for (int i = 0; i < 10; i++) {
		while (!sleepers_word())
			sched_yield();
		tell(&writer, "a");
		hear(&reader);
	}
	stop_reader(&reader);
	stop(&writer, 0);
	unlink(path);
}

/* ---- What waiting costs the writer ---- */

/* Lets the traced process run to the next system call; its number, or -1 where it ended. */
static long next_call(pid_t process, long *operation)
{
	struct user_regs_struct registers;
	int status;

	for (int half = 0; half < 2;) {
		assert_int_equal(ptrace(PTRACE_SYSCALL, process, NULL, NULL), 0);
		assert_int_equal(waitpid(process, &status, 0), process);
		if (!WIFSTOPPED(status))
			return -1;
		half += WSTOPSIG(status) == (SIGTRAP | 0x80);
	}
	assert_int_equal(ptrace(PTRACE_GETREGS, process, NULL, &registers), 0);
	*operation = (long)registers.rsi & FUTEX_CMD_MASK;
	return (long)registers.orig_rax;
}

/* The writer appends at each byte of a pipe; each answer ends a round. */
static void serve(int orders, int answers)
{
	struct pmemstream_region region;
	struct pmemstream *stream;
	char byte = 'y';

	if (pmemstream_open(&stream, path, NULL) || pmemstream_region_find(stream, "first", &region) ||
	    pmemstream_append(stream, region, NULL, &byte, 1, NULL))
		_exit(1);
	ptrace(PTRACE_TRACEME, 0, NULL, NULL);
	raise(SIGSTOP);
	while (write(answers, &byte, 1) == 1 && read(orders, &byte, 1) == 1)
		if (pmemstream_append(stream, region, NULL, &byte, 1, NULL))
			_exit(1);
	_exit(0);
}

static void waking_a_reader_costs_one_system_call_and_no_reader_none(void **state)
{
	(void)state;
	int orders[2], answers[2], status;
	struct child maker, reader;
	char byte;

	setenv("PMEM2_FORCE_GRANULARITY", "CACHE_LINE", 1);
	new_path();
	start(&maker);
	tell(&maker, "cd");
	stop(&maker, 0);
	assert_int_equal(pipe(orders), 0);
	assert_int_equal(pipe(answers), 0);
	fflush(NULL);
	pid_t writer = fork();
	if (!writer)
		serve(orders[0], answers[1]);
	assert_int_equal(waitpid(writer, &status, 0), writer);
	assert_true(WIFSTOPPED(status));
	assert_int_equal(ptrace(PTRACE_SETOPTIONS, writer, NULL, PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL), 0);
	long operation, call = next_call(writer, &operation);
	assert_int_equal(call, SYS_write);
	assert_int_equal(read(answers[0], &byte, 1), 1);
	start_reader(&reader, true); /* says that it is open, */
	hear(&reader);               /* and that there was an entry already */
	for (int round = 0; round < 20; round++) {
		bool waits = round % 2;
		unsigned wakes = 0;
		/* In every other round the reader's word is taken back, as if nobody slept. */
		while (!sleepers_word())
			sched_yield();
		if (!waits)
			kill(reader.process, SIGSTOP);
		if (!waits) {
			uint32_t none = 0;
			int fd = open(path, O_RDWR);
			assert_int_equal(waitpid(reader.process, &status, WUNTRACED), reader.process);
			assert_int_equal(pwrite(fd, &none, sizeof(none), SLEEPERS_OFF), sizeof(none));
			close(fd);
		}
		assert_int_equal(write(orders[1], "a", 1), 1);
		assert_int_equal(next_call(writer, &operation), SYS_read);
		while ((call = next_call(writer, &operation)) != SYS_write) {
			assert_int_equal(call, SYS_futex);
			assert_int_equal(operation, FUTEX_WAKE);
			wakes++;
		}
		assert_int_equal(read(answers[0], &byte, 1), 1);
		assert_int_equal(wakes, waits);
		if (!waits)
			kill(reader.process, SIGCONT);
		hear(&reader);
	}
	kill(writer, SIGKILL);
	waitpid(writer, NULL, 0);
	stop_reader(&reader);
	for (int i = 0; i < 2; i++) {
		close(orders[i]);
		close(answers[i]);
	}
	unsetenv("PMEM2_FORCE_GRANULARITY");
	unlink(path);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_writer_may_be_killed_at_any_moment_and_its_successor_is_followed),
		cmocka_unit_test(a_reader_may_come_before_the_first_region),
		cmocka_unit_test(a_reader_goes_along_when_the_file_grows),
		cmocka_unit_test(a_region_that_is_freed_under_a_reader_is_stale_and_never_damaged),
		cmocka_unit_test(a_series_is_followed_by_its_name_while_it_rolls),
		cmocka_unit_test(an_entry_is_found_by_the_offset_that_its_writer_tells),
		cmocka_unit_test(an_event_comes_though_somebody_else_looked_first),
		cmocka_unit_test(a_death_is_told_by_the_event_and_by_the_wait),
		cmocka_unit_test(a_reader_without_write_permission_waits_and_writes_nothing),
		cmocka_unit_test(a_reader_with_write_permission_registers_before_it_sleeps),
		cmocka_unit_test(waking_a_reader_costs_one_system_call_and_no_reader_none),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests_name("stream_follow_writers", tests, NULL, NULL);
}
