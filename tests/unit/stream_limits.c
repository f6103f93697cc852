/*
 * stream_limits.c: arguments at and beyond every limit of batches, gathered appends, labels, waits, flags and sizes.
 */
#include <libpmemstream.h>

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { STREAM_BYTES = 4 << 20, REGION_BYTES = 1 << 20 };

static const char path[] = "limits.stream";

static struct pmemstream *create(struct pmemstream_region *region)
{
	const struct pmemstream_config config = {.size = STREAM_BYTES};
	struct pmemstream *stream;

	unlink(path);
	assert_int_equal(pmemstream_create(&stream, path, &config), 0);
	assert_int_equal(pmemstream_region_allocate(stream, REGION_BYTES, region), 0);
	return stream;
}

static void assert_fails(int err, int expected)
{
	int found = errno;

	assert_int_equal(err, -1);
	assert_int_equal(found, expected);
	assert_true(pmemstream_errormsg()[0]);
}

static void a_batch_has_room_for_half_a_window_and_survives_a_refused_commit(void **state)
{
	(void)state;
	static char data[REGION_BYTES];
	struct pmemstream_region region, gone, other;
	struct pmemstream *stream = create(&region);
	struct pmemstream_batch *batch;

	assert_int_equal(pmemstream_batch_begin(stream, &batch), 0);
	for (int i = 0; i < 512; i++)
		assert_int_equal(pmemstream_batch_add(batch, region, NULL, &i, sizeof(i)), 0);
	assert_fails(pmemstream_batch_add(batch, region, NULL, "x", 1), E2BIG);
	assert_int_equal(pmemstream_batch_commit(&batch, NULL), 0);
	assert_null(batch);
	assert_fails(pmemstream_batch_commit(&batch, NULL), EINVAL);
	assert_int_equal(pmemstream_persisted_timestamp(stream), 512);

	assert_int_equal(pmemstream_batch_begin(stream, &batch), 0);
	assert_fails(pmemstream_batch_add(batch, region, NULL, "x", SIZE_MAX), ENOSPC);
	assert_fails(pmemstream_batch_add(batch, region, NULL, NULL, 1), EINVAL);
	assert_int_equal(pmemstream_batch_add(batch, region, NULL, data, sizeof(data)), 0);
	assert_fails(pmemstream_batch_commit(&batch, NULL), ENOSPC);
	assert_non_null(batch);
	pmemstream_batch_abort(&batch);
	pmemstream_batch_abort(&batch);

	/* Another region at the place of the one that was meant is not that one. */
	assert_int_equal(pmemstream_region_allocate(stream, 1000, &gone), 0);
	assert_int_equal(pmemstream_batch_begin(stream, &batch), 0);
	assert_int_equal(pmemstream_batch_add(batch, gone, NULL, "x", 1), 0);
	assert_int_equal(pmemstream_region_free(stream, gone), 0);
	assert_int_equal(pmemstream_region_allocate(stream, 1000, &other), 0);
	assert_int_equal(gone.offset, other.offset);
	assert_fails(pmemstream_batch_commit(&batch, NULL), ESTALE);
	pmemstream_batch_abort(&batch);
	assert_int_equal(pmemstream_persisted_timestamp(stream), 512);
	pmemstream_delete(&stream);
	unlink(path);
}

static void pieces_of_any_number_and_length_are_gathered_or_refused(void **state)
{
	(void)state;
	enum { PIECES = 100000 };
	struct pmemstream_region region;
	struct pmemstream *stream = create(&region);
	struct pmemstream_entry entry = {.offset = 7};
	struct iovec pieces[2] = {{(void *)"ab", 2}, {(void *)"c", SIZE_MAX}};
	struct iovec *many = calloc(PIECES, sizeof(*many));

	assert_fails(pmemstream_appendv(stream, region, NULL, pieces, -1, &entry), EINVAL);
	assert_fails(pmemstream_appendv(stream, region, NULL, NULL, 1, &entry), EINVAL);
	assert_fails(pmemstream_appendv(stream, region, NULL, pieces, 2, &entry), ENOSPC);
	pieces[0].iov_len = SIZE_MAX / 2 + 1; /* 2^64 together, which would be 0 */
	pieces[1].iov_len = SIZE_MAX / 2 + 1;
	assert_fails(pmemstream_appendv(stream, region, NULL, pieces, 2, &entry), ENOSPC);
	pieces[0].iov_len = pieces[1].iov_len = (size_t)1 << 46;
	assert_fails(pmemstream_appendv(stream, region, NULL, pieces, 2, &entry), ENOSPC);
	pieces[0] = (struct iovec){NULL, 1};
	assert_fails(pmemstream_appendv(stream, region, NULL, pieces, 1, &entry), EINVAL);
	assert_int_equal(entry.offset, 7);
	assert_int_equal(pmemstream_appendv(stream, region, NULL, many, PIECES, &entry), 0);
	assert_int_equal(pmemstream_entry_size(stream, entry), 0);
	for (int i = 0; i < PIECES; i++)
		many[i] = (struct iovec){(void *)"z", i % 3 == 0};
	assert_int_equal(pmemstream_appendv(stream, region, NULL, many, PIECES, &entry), 0);
	assert_int_equal(pmemstream_entry_size(stream, entry), (PIECES + 2) / 3);
	assert_int_equal(pmemstream_persisted_timestamp(stream), 2);
	free(many);
	pmemstream_delete(&stream);
	unlink(path);
}

static void labels_have_up_to_63_bytes_of_any_kind_and_are_unique(void **state)
{
	(void)state;
	static const char umlauts[] = "\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80";
	struct pmemstream_region region, found;
	struct pmemstream *stream = create(&region);
	char label[65];

	memset(label, 'l', sizeof(label));
	label[64] = '\0';
	assert_fails(pmemstream_region_allocate_labeled(stream, 1000, label, &region), EINVAL);
	assert_fails(pmemstream_region_find(stream, label, &found), ENOENT);
	label[63] = '\0';
	assert_int_equal(pmemstream_region_allocate_labeled(stream, 1000, label, &region), 0);
	assert_fails(pmemstream_region_allocate_labeled(stream, 1000, label, NULL), EEXIST);
	assert_int_equal(pmemstream_region_find(stream, label, &found), 0);
	assert_int_equal(found.offset, region.offset);
	label[62] = '\0';
	assert_fails(pmemstream_region_find(stream, label, &found), ENOENT);
	assert_int_equal(pmemstream_region_allocate_labeled(stream, 1000, umlauts, &region), 0);
	assert_int_equal(pmemstream_region_find(stream, umlauts, &found), 0);
	assert_int_equal(found.offset, region.offset);
	for (int i = 0; i < 2; i++)
		assert_int_equal(pmemstream_region_allocate_labeled(stream, 1000, "", NULL), 0);
	assert_fails(pmemstream_region_find(stream, "", &found), EINVAL);
	assert_int_equal(pmemstream_region_free(stream, region), 0);
	assert_fails(pmemstream_region_find(stream, umlauts, &found), ENOENT);
	assert_int_equal(pmemstream_region_allocate_labeled(stream, 1000, umlauts, NULL), 0);
	pmemstream_delete(&stream);
	unlink(path);
}

struct holder {
	struct pmemstream *stream;
	struct pmemstream_region region;
	struct pmemstream_entry entry;
	sem_t holds, may_end;
};

static void *hold(void *argument)
{
	struct holder *holder = argument;
	void *data;

	if (!pmemstream_reserve(holder->stream, holder->region, NULL, 8, &holder->entry, &data))
		sem_post(&holder->holds);
	sem_wait(&holder->may_end);
	pmemstream_cancel(holder->stream, holder->region, NULL, holder->entry);
	return NULL;
}

static void *append_one(void *argument)
{
	struct holder *holder = argument;

	return pmemstream_append(holder->stream, holder->region, NULL, "x", 1, NULL) ? (void *)1 : NULL;
}

static void a_reservation_may_be_waited_for_as_long_as_can_be(void **state)
{
	(void)state;
	const struct pmemstream_config patient = {.reservation_ns = UINT64_MAX};
	struct holder holder = {.entry = {.offset = 0}};
	pthread_t holding, appending;
	void *failed;

	holder.stream = create(&holder.region);
	pmemstream_delete(&holder.stream);
	assert_int_equal(pmemstream_open(&holder.stream, path, &patient), 0);
	sem_init(&holder.holds, 0, 0);
	sem_init(&holder.may_end, 0, 0);
	assert_int_equal(pthread_create(&holding, NULL, hold, &holder), 0);
	sem_wait(&holder.holds);
	assert_int_equal(pthread_create(&appending, NULL, append_one, &holder), 0);
	/* It gives up at once, or not at all. */
	for (int i = 0; i < 1000; i++)
		sched_yield();
	sem_post(&holder.may_end);
	pthread_join(holding, NULL);
	pthread_join(appending, &failed);
	assert_null(failed);
	assert_int_equal(pmemstream_persisted_timestamp(holder.stream), 1);
	pmemstream_delete(&holder.stream);
	unlink(path);
}

static void flags_that_mean_nothing_together_are_refused(void **state)
{
	(void)state;
	static const uint32_t good[] = {0,
					PMEMSTREAM_READ_ONLY,
					PMEMSTREAM_READ_ONLY | PMEMSTREAM_COMMITTED,
					PMEMSTREAM_CREATE,
					PMEMSTREAM_PREFAULT,
					PMEMSTREAM_CREATE | PMEMSTREAM_PREFAULT,
					PMEMSTREAM_READ_ONLY | PMEMSTREAM_PREFAULT};
	static const uint32_t bad[] = {PMEMSTREAM_COMMITTED, PMEMSTREAM_COMMITTED | PMEMSTREAM_CREATE,
				       PMEMSTREAM_READ_ONLY | PMEMSTREAM_CREATE, PMEMSTREAM_PREFAULT << 1, UINT32_MAX};
	struct pmemstream_region region;
	struct pmemstream *stream = create(&region);

	pmemstream_delete(&stream);
	for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++) {
		const struct pmemstream_config config = {.flags = good[i]};
		assert_int_equal(pmemstream_open(&stream, path, &config), 0);
		pmemstream_delete(&stream);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		const struct pmemstream_config config = {.flags = bad[i]};
		assert_fails(pmemstream_open(&stream, path, &config), EINVAL);
		assert_null(stream);
	}
	unlink(path);
}

static void assert_size(off_t bytes)
{
	struct stat status;

	assert_int_equal(stat(path, &status), 0);
	assert_int_equal(status.st_size, bytes);
}

static void a_size_that_cannot_be_is_refused_before_anything_is_written(void **state)
{
	(void)state;
	struct pmemstream_region region;
	struct pmemstream *stream = create(&region);
	off_t bytes = STREAM_BYTES;

	assert_fails(pmemstream_resize(stream, 0), EINVAL);
	assert_fails(pmemstream_resize(stream, SIZE_MAX), EFBIG);
	assert_fails(pmemstream_resize(stream, SIZE_MAX - 8191), EFBIG);
	assert_fails(pmemstream_resize(stream, (size_t)1 << 46), EFBIG);
	assert_fails(pmemstream_resize(stream, (size_t)1 << 44), ENOTSUP); /* a file system says EFBIG or ENOSPC */
	assert_int_equal(pmemstream_resize(stream, STREAM_BYTES), 0);
	assert_size(bytes);
	for (int i = 0; i < 63; i++)
		assert_int_equal(pmemstream_resize(stream, (size_t)(bytes += 4096)), 0);
	assert_fails(pmemstream_resize(stream, (size_t)bytes + 4096), ENOTSUP);
	assert_size(bytes);
	assert_int_equal(pmemstream_append(stream, region, NULL, "x", 1, NULL), 0);
	pmemstream_delete(&stream);
	assert_int_equal(pmemstream_open(&stream, path, NULL), 0);
	assert_int_equal(pmemstream_resize(stream, (size_t)bytes + 4096), 0);
	pmemstream_delete(&stream);
	unlink(path);
}

static bool disk_is_full;

/* The library's, too: a full disk gives what it has. */
int posix_fallocate(int fd, off_t off, off_t bytes)
{
	int (*allocate)(int, off_t, off_t) = (int (*)(int, off_t, off_t))dlsym(RTLD_NEXT, "posix_fallocate64");
	int err = allocate(fd, off, disk_is_full ? bytes / 2 : bytes);

	return disk_is_full ? ENOSPC : err;
}

static void a_full_disk_stops_growth_and_nothing_else(void **state)
{
	(void)state;
	struct pmemstream_region region;
	struct pmemstream *stream = create(&region);

	disk_is_full = true;
	assert_fails(pmemstream_resize(stream, 2 * STREAM_BYTES), ENOSPC);
	disk_is_full = false;
	assert_size(STREAM_BYTES);
	assert_int_equal(pmemstream_append(stream, region, NULL, "x", 1, NULL), 0);
	assert_int_equal(pmemstream_region_allocate(stream, 1000, NULL), 0);
	assert_int_equal(pmemstream_resize(stream, 2 * STREAM_BYTES), 0);
	pmemstream_delete(&stream);
	assert_int_equal(pmemstream_open(&stream, path, NULL), 0);
	pmemstream_delete(&stream);
	unlink(path);
}

static void a_limit_on_file_sizes_is_an_error_not_the_end_of_the_process(void **state)
{
	(void)state;
	int status;

	fflush(NULL);
	pid_t child = fork();
	if (!child) {
		const struct rlimit limit = {STREAM_BYTES + 8192, STREAM_BYTES + 8192};
		const struct pmemstream_config larger = {.size = 2 * STREAM_BYTES};
		struct pmemstream_region region;
		struct pmemstream *stream = create(&region), *second;
		setrlimit(RLIMIT_FSIZE, &limit);
		if (!pmemstream_resize(stream, 2 * STREAM_BYTES) || errno != EFBIG)
			_exit(1);
		assert_size(STREAM_BYTES);
		if (pmemstream_append(stream, region, NULL, "x", 1, NULL) ||
		    pmemstream_region_allocate(stream, 1000, NULL) || pmemstream_resize(stream, STREAM_BYTES + 4096))
			_exit(2);
		pmemstream_delete(&stream);
		if (!pmemstream_create(&second, "limited.stream", &larger) || errno != EFBIG ||
		    !access("limited.stream", F_OK))
			_exit(3);
		_exit(pmemstream_open(&stream, path, NULL) ? 4 : 0);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	unlink(path);
}

struct appender {
	struct pmemstream *stream;
	struct pmemstream_region region;
	_Atomic int ends;
	_Atomic uint64_t count;
	int failed;
};

static void *append_until_the_end(void *argument)
{
	struct appender *appender = argument;

	while (!atomic_load(&appender->ends) && !appender->failed) {
		appender->failed =
			pmemstream_append(appender->stream, appender->region, NULL, "x", 1, NULL) && errno != ENOSPC;
		atomic_fetch_add(&appender->count, 1);
	}
	return NULL;
}

static void a_stream_grows_while_others_append_and_read(void **state)
{
	(void)state;
	struct appender appender = {.ends = 0};
	struct pmemstream_region grown;
	pthread_t thread;

	appender.stream = create(&appender.region);
	assert_int_equal(pthread_create(&thread, NULL, append_until_the_end, &appender), 0);
	for (size_t i = 1; i <= 20; i++) {
		uint64_t count = atomic_load(&appender.count);
		assert_int_equal(pmemstream_resize(appender.stream, STREAM_BYTES + i * REGION_BYTES), 0);
		/* Each piece that it grows by holds a region. */
		assert_int_equal(pmemstream_region_allocate(appender.stream, REGION_BYTES / 2, &grown), 0);
		assert_int_equal(pmemstream_append(appender.stream, grown, NULL, "y", 1, NULL), 0);
		while (atomic_load(&appender.count) == count)
			sched_yield();
	}
	atomic_store(&appender.ends, 1);
	pthread_join(thread, NULL);
	assert_int_equal(appender.failed, 0);
	pmemstream_delete(&appender.stream);
	unlink(path);
}

static void on_signal(int number)
{
	(void)number;
}

static void *wait_newer(void *argument)
{
	struct appender *appender = argument;

	appender->failed = pmemstream_wait_newer(appender->stream, 1000, UINT64_MAX - 1) ? errno : 0;
	atomic_store(&appender->ends, 1);
	return NULL;
}

static void waits_take_any_time_limit_and_no_signal_ends_them(void **state)
{
	(void)state;
	const struct sigaction action = {.sa_handler = on_signal}; /* without SA_RESTART */
	struct pmemstream_region region;
	struct appender waiter = {.ends = 0};
	struct sigaction former;
	pthread_t thread;

	waiter.stream = create(&region);
	assert_fails(pmemstream_wait_persisted(waiter.stream, 0, 0), EINVAL);
	assert_fails(pmemstream_wait_committed(waiter.stream, UINT64_MAX, 0), ETIMEDOUT);
	assert_fails(pmemstream_wait_persisted(waiter.stream, UINT64_MAX, 1), ETIMEDOUT);
	assert_fails(pmemstream_wait_newer(waiter.stream, UINT64_MAX, 0), EINVAL);
	assert_fails(pmemstream_wait_newer(waiter.stream, UINT64_MAX - 1, 1), ETIMEDOUT);
	sigaction(SIGUSR1, &action, &former);
	assert_int_equal(pthread_create(&thread, NULL, wait_newer, &waiter), 0);
	for (int i = 0; i < 200; i++) {
		pthread_kill(thread, SIGUSR1);
		sched_yield();
	}
	assert_int_equal(atomic_load(&waiter.ends), 0);
	while (!atomic_load(&waiter.ends)) {
		pmemstream_cancel_waits(waiter.stream);
		sched_yield();
	}
	pthread_join(thread, NULL);
	assert_int_equal(waiter.failed, ECANCELED);
	sigaction(SIGUSR1, &former, NULL);
	pmemstream_delete(&waiter.stream);
	unlink(path);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_batch_has_room_for_half_a_window_and_survives_a_refused_commit),
		cmocka_unit_test(pieces_of_any_number_and_length_are_gathered_or_refused),
		cmocka_unit_test(labels_have_up_to_63_bytes_of_any_kind_and_are_unique),
		cmocka_unit_test(a_reservation_may_be_waited_for_as_long_as_can_be),
		cmocka_unit_test(flags_that_mean_nothing_together_are_refused),
		cmocka_unit_test(a_size_that_cannot_be_is_refused_before_anything_is_written),
		cmocka_unit_test(a_full_disk_stops_growth_and_nothing_else),
		cmocka_unit_test(a_limit_on_file_sizes_is_an_error_not_the_end_of_the_process),
		cmocka_unit_test(a_stream_grows_while_others_append_and_read),
		cmocka_unit_test(waits_take_any_time_limit_and_no_signal_ends_them),
	};

	return cmocka_run_group_tests_name("stream_limits", tests, NULL, NULL);
}
