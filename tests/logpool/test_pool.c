/*
 * test_pool.c: pools on real files through the public functions, while allocations and write-backs fail.
 */
#include "base/error.h"
#include "cut/faults.h"

#include <libpmemlog.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static char set_path[] = "pool.set", plain_path[] = "pool.plain";

static void remove_all(void)
{
	unlink(plain_path);
	unlink(set_path);
	unlink("pool.a");
	unlink("pool.b");
}

static const char *write_set(void)
{
	char here[2048], text[8192];

	assert_non_null(getcwd(here, sizeof(here)));
	int used = snprintf(text, sizeof(text), "PMEMPOOLSET\n2M %s/pool.a\n2M %s/pool.b\n", here, here);
	int fd = open(set_path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	assert_int_equal(write(fd, text, (size_t)used), used);
	close(fd);
	return set_path;
}

static bool exists(const char *path)
{
	return access(path, F_OK) == 0;
}

static void every_allocation_of_create_and_open_may_fail_once(void **state)
{
	(void)state;
	for (int several = 0; several < 2; several++) {
		unsigned failures = 0;

		remove_all();
		const char *path = several ? write_set() : plain_path;
		for (unsigned n = 1;; n++) {
			faults_fail_allocation(n);
			PMEMlogpool *pool = pmemlog_create(path, several ? 0 : PMEMLOG_MIN_POOL, 0600);
			unsigned failed = faults_stop();
			if (!failed) {
				assert_non_null(pool);
				pmemlog_close(pool);
				break;
			}
			failures++;
			assert_null(pool);
			assert_int_equal(errno, ENOMEM);
			assert_string_not_equal(pmemlog_errormsg(), "");
			assert_false(exists(plain_path) || exists("pool.a") || exists("pool.b"));
		}
		assert_true(failures > 4);
		for (unsigned n = 1;; n++) {
			faults_fail_allocation(n);
			PMEMlogpool *pool = pmemlog_open(path);
			unsigned failed = faults_stop();
			if (!failed) {
				assert_non_null(pool);
				assert_int_equal(pmemlog_append(pool, "x", 1), 0);
				pmemlog_close(pool);
				break;
			}
			assert_null(pool);
			assert_int_equal(errno, ENOMEM);
		}
		for (unsigned n = 1;; n++) {
			faults_fail_allocation(n);
			int judged = pmemlog_check(path);
			unsigned failed = faults_stop();
			assert_int_equal(judged, failed ? -1 : 1);
			if (!failed)
				break;
			assert_int_equal(errno, ENOMEM);
		}
	}
	remove_all();
}

static void a_failing_msync_fails_the_append_and_all_that_follow(void **state)
{
	(void)state;
	for (unsigned n = 1; n <= 2; n++) {
		remove_all();
		PMEMlogpool *pool = pmemlog_create(plain_path, PMEMLOG_MIN_POOL, 0600);
		assert_non_null(pool);
		assert_int_equal(pmemlog_append(pool, "kept", 4), 0);
		faults_fail_msync(n, ENOSPC, false);
		assert_int_equal(pmemlog_append(pool, "lost", 4), -1);
		assert_int_equal(errno, ENOSPC);
		assert_int_equal(faults_stop(), 1);
		assert_int_equal(pmemlog_tell(pool), 4);
		assert_int_equal(pmemlog_append(pool, "more", 4), -1);
		assert_int_equal(errno, EIO);
		errno = 0;
		pmemlog_rewind(pool);
		assert_int_equal(errno, EIO);
		assert_int_equal(pmemlog_tell(pool), 4);
		pmemlog_close(pool);
		pool = pmemlog_open(plain_path);
		assert_non_null(pool);
		assert_int_equal(pmemlog_tell(pool), 4);
		assert_int_equal(pmemlog_append(pool, "more", 4), 0);
		pmemlog_close(pool);
	}
	remove_all();
}

static void a_failing_msync_of_create_or_open_fails_it(void **state)
{
	(void)state;
	remove_all();
	for (unsigned n = 1;; n++) {
		faults_fail_msync(n, EIO, false);
		PMEMlogpool *pool = pmemlog_create(plain_path, PMEMLOG_MIN_POOL, 0600);
		if (!faults_stop()) {
			assert_true(n > 2);
			pmemlog_close(pool);
			break;
		}
		assert_null(pool);
		assert_int_equal(errno, EIO);
		assert_false(exists(plain_path));
	}
	faults_fail_msync(1, EIO, false);
	assert_null(pmemlog_open(plain_path));
	assert_int_equal(errno, EIO);
	faults_stop();
	assert_int_equal(pmemlog_check(plain_path), 1);
	remove_all();
}

static void a_file_size_limit_fails_create_and_leaves_nothing(void **state)
{
	(void)state;
	remove_all();
	fflush(NULL);
	pid_t child = fork();
	if (!child) {
		struct rlimit limit = {1 << 20, 1 << 20};
		setrlimit(RLIMIT_FSIZE, &limit);
		bool refused = !pmemlog_create(plain_path, PMEMLOG_MIN_POOL, 0600) && errno == EFBIG;
		_exit(refused && !exists(plain_path) ? 0 : 1);
	}
	int status;
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
}

/* ---- Threads and a child that fill a pool together ---- */

enum { WRITERS = 4, APPENDS = 500, RECORD_BYTES = 48 };

static void *write_records(void *context)
{
	static _Atomic char next_name = 'a';
	char record[RECORD_BYTES];
	PMEMlogpool *pool = context;

	memset(record, next_name++, sizeof(record));
	for (int i = 0; i < APPENDS; i++)
		if (pmemlog_append(pool, record, sizeof(record)))
			return (void *)1;
	return NULL;
}

static int check_record(const void *data, size_t bytes, void *context)
{
	const char *record = data;
	unsigned *count = context;

	*count += 1;
	return bytes == RECORD_BYTES && memcmp(record, record + 1, RECORD_BYTES - 1) == 0;
}

static void threads_of_two_processes_never_tear_an_append(void **state)
{
	(void)state;
	const char *forces[] = {"0", "1"};
	for (int f = 0; f < 2; f++) {
		pthread_t threads[WRITERS];
		unsigned count = 0;
		void *failed;

		remove_all();
		setenv("PMEM_IS_PMEM_FORCE", forces[f], 1);
		PMEMlogpool *pool = pmemlog_create(write_set(), 0, 0600);
		assert_non_null(pool);
		pid_t child = fork();
		if (!child)
			_exit(write_records(pool) ? 1 : 0);
		for (int i = 0; i < WRITERS; i++)
			assert_int_equal(pthread_create(&threads[i], NULL, write_records, pool), 0);
		for (int i = 0; i < WRITERS; i++) {
			pthread_join(threads[i], &failed);
			assert_null(failed);
		}
		int status;
		assert_int_equal(waitpid(child, &status, 0), child);
		assert_int_equal(status, 0);
		pmemlog_walk(pool, RECORD_BYTES, check_record, &count);
		assert_int_equal(count, (WRITERS + 1) * APPENDS);
		pmemlog_close(pool);
	}
	unsetenv("PMEM_IS_PMEM_FORCE");
	remove_all();
}

/* ---- Children that are killed ---- */

enum { KILLS = 40, CHILDREN = 3, CHILD_APPENDS = 20000 }; /* which the pool has room for */

/* One byte value a writer: the parent's is 'p', a child's 'A' + its number in all. */
static int append_record(PMEMlogpool *pool, char name)
{
	char record[RECORD_BYTES];

	memset(record, name, sizeof(record));
	return pmemlog_append(pool, record, sizeof(record));
}

static pid_t start_appending(PMEMlogpool *pool, _Atomic unsigned *acknowledged, char name)
{
	fflush(NULL);
	pid_t child = fork();
	if (!child) {
		prctl(PR_SET_PDEATHSIG, SIGKILL); /* where the test fails */
		for (unsigned i = 0; i < CHILD_APPENDS; i++) {
			if (append_record(pool, name))
				_exit(1);
			atomic_fetch_add(acknowledged, 1);
		}
		for (;;)
			pause();
	}
	return child;
}

struct tally {
	unsigned of[256];
};

static int tally_record(const void *data, size_t bytes, void *context)
{
	const unsigned char *record = data;
	struct tally *tally = context;

	if (bytes != RECORD_BYTES || memcmp(record, record + 1, RECORD_BYTES - 1))
		return 0;
	tally->of[record[0]]++;
	return 1;
}

/* KILLS in all, each when so much was acknowledged; the parent and the other children go on. */
static void kill_one_after_the_other(PMEMlogpool *pool, _Atomic unsigned *acknowledged)
{
	pid_t children[CHILDREN];
	unsigned parents = 0;

	for (unsigned i = 0; i < CHILDREN; i++)
		children[i] = start_appending(pool, &acknowledged[i], (char)('A' + i));
	for (unsigned i = 0; i < KILLS; i++) {
		while (atomic_load(&acknowledged[i]) < 1 + i * 13 % 50)
			sched_yield();
		kill(children[i % CHILDREN], SIGKILL);
		assert_int_equal(waitpid(children[i % CHILDREN], NULL, 0), children[i % CHILDREN]);
		/* Would wait for ever behind a lock that died. */
		for (int k = 0; k < 3; k++, parents++)
			assert_int_equal(append_record(pool, 'p'), 0);
		unsigned next = i + CHILDREN;
		if (next < KILLS)
			children[i % CHILDREN] = start_appending(pool, &acknowledged[next], (char)('A' + next));
	}
	struct tally tally = {{0}};
	pmemlog_walk(pool, RECORD_BYTES, tally_record, &tally);
	assert_int_equal(tally.of['p'], parents);
	for (unsigned i = 0; i < KILLS; i++)
		assert_in_range(tally.of['A' + i], acknowledged[i], acknowledged[i] + 1);
}

static void children_that_are_killed_while_they_append_block_nobody(void **state)
{
	(void)state;
	const char *forces[] = {"0", "1"};

	for (int f = 0; f < 2; f++) {
		_Atomic unsigned *acknowledged =
			mmap(NULL, KILLS * sizeof(unsigned), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
		remove_all();
		setenv("PMEM_IS_PMEM_FORCE", forces[f], 1);
		PMEMlogpool *pool = pmemlog_create(plain_path, (size_t)64 << 20, 0600);
		assert_non_null(pool);
		kill_one_after_the_other(pool, acknowledged);
		pmemlog_close(pool);
		munmap(acknowledged, KILLS * sizeof(unsigned));
	}
	unsetenv("PMEM_IS_PMEM_FORCE");
	remove_all();
}

/* ---- Threads that are cancelled ---- */

struct in_thread {
	PMEMlogpool *pool;
	int checked;
	bool closed;
};

static void *create_while_cancelled(void *context)
{
	struct in_thread *result = context;

	pthread_cancel(pthread_self());
	result->pool = pmemlog_create(plain_path, PMEMLOG_MIN_POOL, 0600);
	pthread_testcancel();
	return NULL;
}

static void *close_while_cancelled(void *context)
{
	struct in_thread *result = context;

	pthread_cancel(pthread_self());
	pmemlog_close(result->pool);
	result->closed = true;
	pthread_testcancel();
	return NULL;
}

static void *check_while_cancelled(void *context)
{
	struct in_thread *result = context;

	pthread_cancel(pthread_self());
	result->checked = pmemlog_check(plain_path);
	pthread_testcancel();
	return NULL;
}

static void *open_while_cancelled(void *context)
{
	struct in_thread *result = context;

	pthread_cancel(pthread_self());
	result->pool = pmemlog_open(plain_path);
	pthread_testcancel();
	return NULL;
}

static void *append_while_cancelled(void *context)
{
	struct in_thread *result = context;

	pthread_cancel(pthread_self());
	assert_int_equal(pmemlog_append(result->pool, "whole", 5), 0);
	pmemlog_rewind(result->pool);
	assert_int_equal(pmemlog_append(result->pool, "again", 5), 0);
	pthread_testcancel();
	return NULL;
}

static void cancel_in(void *(*call)(void *), struct in_thread *result)
{
	pthread_t thread;
	void *ended;

	assert_int_equal(pthread_create(&thread, NULL, call, result), 0);
	pthread_join(thread, &ended);
	assert_ptr_equal(ended, PTHREAD_CANCELED);
}

static void a_cancelled_thread_ends_behind_the_call_not_inside(void **state)
{
	struct in_thread result = {0};

	(void)state;
	remove_all();
	cancel_in(create_while_cancelled, &result);
	assert_non_null(result.pool);
	cancel_in(append_while_cancelled, &result);
	assert_int_equal(pmemlog_tell(result.pool), 5);
	cancel_in(close_while_cancelled, &result);
	assert_true(result.closed);
	cancel_in(check_while_cancelled, &result);
	assert_int_equal(result.checked, 1);
	cancel_in(open_while_cancelled, &result);
	assert_non_null(result.pool);
	assert_int_equal(pmemlog_tell(result.pool), 5);
	pmemlog_close(result.pool);
	assert_int_equal(pmemlog_check(plain_path), 1);
	remove_all();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_allocation_of_create_and_open_may_fail_once),
		cmocka_unit_test(a_failing_msync_fails_the_append_and_all_that_follow),
		cmocka_unit_test(a_failing_msync_of_create_or_open_fails_it),
		cmocka_unit_test(a_file_size_limit_fails_create_and_leaves_nothing),
		cmocka_unit_test(threads_of_two_processes_never_tear_an_append),
		cmocka_unit_test(children_that_are_killed_while_they_append_block_nobody),
		cmocka_unit_test(a_cancelled_thread_ends_behind_the_call_not_inside),
	};
	char folder[] = "pools.XXXXXX";

	if (!mkdtemp(folder) || chdir(folder))
		return 1;
	unsetenv("PMEM_IS_PMEM_FORCE");
	unsetenv("PMEM2_FORCE_GRANULARITY");
	int result = cmocka_run_group_tests_name("logpool_pool", tests, NULL, NULL);
	remove_all();
	return chdir("..") || rmdir(folder) ? 1 : result;
}
