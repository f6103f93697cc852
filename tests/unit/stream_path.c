/*
 * stream_path.c: files that pmemstream_create and pmemstream_open make, and do not make.
 *
 * Locks fail here where a test wants it: fcntl64 below stands in front of the C library's.
 */
#include "cut/faults.h"

#include <libpmemstream.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

enum { BYTES = 1 << 20 };

static unsigned failing_lock; /* the n-th from now; 0: none */
static int lock_errno;

int fcntl64(int fd, int command, ...);
int fcntl64(int fd, int command, ...)
{
	va_list arguments;

	va_start(arguments, command);
	void *argument = va_arg(arguments, void *);
	va_end(arguments);
	if (command == F_OFD_SETLK && failing_lock && !--failing_lock) {
		errno = lock_errno;
		return -1;
	}
	return (int)syscall(SYS_fcntl, fd, command, argument);
}

static char path[64];
static struct pmemstream *stream;

static int begin(void **state)
{
	static int number;

	(void)state;
	snprintf(path, sizeof(path), "path.%d.%d.stream", (int)getpid(), number++);
	unlink(path);
	stream = NULL;
	return 0;
}

static int end(void **state)
{
	(void)state;
	pmemstream_delete(&stream);
	unlink(path);
	return 0;
}

static bool exists(void)
{
	return !access(path, F_OK);
}

static unsigned open_descriptors(void)
{
	DIR *folder = opendir("/proc/self/fd");
	unsigned count = 0;

	assert_non_null(folder);
	while (readdir(folder))
		count++;
	closedir(folder);
	return count;
}

static void write_file(size_t bytes)
{
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, (off_t)bytes), 0);
	close(fd);
}

static int create(uint32_t flags)
{
	struct pmemstream_config config = {.size = BYTES, .flags = flags};

	return pmemstream_create(&stream, path, &config);
}

static int open_with(uint64_t size, uint32_t flags)
{
	struct pmemstream_config config = {.size = size, .flags = flags};

	return pmemstream_open(&stream, path, &config);
}

static void create_takes_the_flag_that_says_so_and_none_that_says_otherwise(void **state)
{
	(void)state;
	assert_int_equal(create(PMEMSTREAM_READ_ONLY), -1);
	assert_int_equal(errno, EINVAL);
	assert_int_equal(create(PMEMSTREAM_COMMITTED), -1);
	assert_int_equal(errno, EINVAL);
	assert_false(exists());
	assert_int_equal(create(PMEMSTREAM_CREATE | PMEMSTREAM_PREFAULT), 0);
	pmemstream_delete(&stream);
	/* It still makes no stream where there is a file. */
	assert_int_equal(create(PMEMSTREAM_CREATE), -1);
	assert_int_equal(errno, EEXIST);
	assert_int_equal(open_with(0, 0), 0);
}

static void a_failed_creation_leaves_no_file_and_no_descriptor(void **state)
{
	(void)state;
	unsigned before = open_descriptors();
	unsigned n = 0;

	for (;; n++) {
		faults_fail_allocation(n + 1);
		int err = create(0);
		int why = errno;
		unsigned hit = faults_stop();
		if (!err && !hit)
			break;
		/* Who does not need the memory goes on. */
		if (err) {
			assert_int_equal(why, ENOMEM);
			assert_false(exists());
		}
		pmemstream_delete(&stream);
		unlink(path);
		assert_int_equal(open_descriptors(), before);
	}
	assert_true(n >= 4);
}

static void a_file_that_was_not_locked_is_not_removed(void **state)
{
	(void)state;
	static const struct {
		int err, told;
	} failures[] = {{EAGAIN, EWOULDBLOCK}, {ENOLCK, ENOLCK}};
	unsigned before = open_descriptors();

	for (size_t i = 0; i < sizeof(failures) / sizeof(failures[0]); i++) {
		failing_lock = 1;
		lock_errno = failures[i].err;
		assert_int_equal(create(0), -1);
		assert_int_equal(errno, failures[i].told);
		assert_int_equal(failing_lock, 0);
		assert_non_null(strstr(pmemstream_errormsg(), path));
		/* It may be somebody's stream by now. */
		assert_true(exists());
		assert_int_equal(open_descriptors(), before);
		/* If not, it becomes ours. */
		assert_int_equal(open_with(BYTES, PMEMSTREAM_CREATE), 0);
		pmemstream_delete(&stream);
		unlink(path);
	}
	/* The second lock: the first one is held. */
	failing_lock = 2;
	lock_errno = ENOLCK;
	assert_int_equal(create(0), -1);
	assert_int_equal(errno, ENOLCK);
	assert_false(exists());
	assert_int_equal(open_descriptors(), before);
}

static void an_existing_file_is_never_removed(void **state)
{
	(void)state;
	write_file(BYTES);
	failing_lock = 2;
	lock_errno = ENOLCK;
	assert_int_equal(open_with(BYTES, PMEMSTREAM_CREATE), -1);
	assert_int_equal(errno, ENOLCK);
	assert_true(exists());
	write_file(0);
	for (unsigned n = 1;; n++) {
		faults_fail_allocation(n);
		int err = open_with(BYTES, PMEMSTREAM_CREATE);
		unsigned hit = faults_stop();
		assert_true(exists());
		pmemstream_delete(&stream);
		write_file(0);
		if (!err && !hit)
			break;
	}
}

static void what_is_no_stream_yet_is_told_with_what_to_do(void **state)
{
	(void)state;
	static const struct {
		size_t bytes;
		uint64_t size;
		uint32_t flags;
		const char *says;
	} cases[] = {
		{0, 0, 0, "PMEMSTREAM_CREATE"},
		{0, BYTES, 0, "PMEMSTREAM_CREATE"},
		{0, 0, PMEMSTREAM_READ_ONLY, "empty"},
		{0, 0, PMEMSTREAM_CREATE, "config.size"},
		{0, UINT64_MAX, PMEMSTREAM_CREATE, "config.size"},
		{BYTES, 0, 0, "PMEMSTREAM_CREATE"},
		{BYTES, 0, PMEMSTREAM_READ_ONLY, "empty"},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		write_file(cases[i].bytes);
		assert_int_equal(open_with(cases[i].size, cases[i].flags), -1);
		assert_int_equal(errno, EINVAL);
		if (!strstr(pmemstream_errormsg(), cases[i].says) || !strstr(pmemstream_errormsg(), path))
			fail_msg("case %zu: %s", i, pmemstream_errormsg());
		struct stat status;
		assert_int_equal(stat(path, &status), 0);
		assert_int_equal(status.st_size, cases[i].bytes);
	}
	/* An empty file has the size of the stream already. */
	write_file(BYTES);
	assert_int_equal(open_with(0, PMEMSTREAM_CREATE), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(create_takes_the_flag_that_says_so_and_none_that_says_otherwise, begin,
						end),
		cmocka_unit_test_setup_teardown(a_failed_creation_leaves_no_file_and_no_descriptor, begin, end),
		cmocka_unit_test_setup_teardown(a_file_that_was_not_locked_is_not_removed, begin, end),
		cmocka_unit_test_setup_teardown(an_existing_file_is_never_removed, begin, end),
		cmocka_unit_test_setup_teardown(what_is_no_stream_yet_is_told_with_what_to_do, begin, end),
	};

	return cmocka_run_group_tests_name("stream_path", tests, NULL, NULL);
}
