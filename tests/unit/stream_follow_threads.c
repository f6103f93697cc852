/*
 * stream_follow_threads.c: several threads on one follower, beside a writer that appends, allocates, frees and dies.
 *
 * ThreadSanitizer has the last word on it; the claims are that each thread sees what it can count on.
 */
#include "stream_child.h"
#include "stream_mover.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

enum { ENTRY_BYTES = 1000 }; /* what the child appends to its series */

struct crowd {
	struct pmemstream *stream;
	_Atomic bool ends;
	_Atomic uint64_t seen; /* the highest number that was read */
	const char *_Atomic failed;
};

static void fail_thread(struct crowd *crowd, const char *why)
{
	const char *none = NULL;

	atomic_compare_exchange_strong(&crowd->failed, &none, why);
}

static void raise_seen(struct crowd *crowd, uint64_t number)
{
	uint64_t seen = atomic_load(&crowd->seen);

	while (seen < number && !atomic_compare_exchange_weak(&crowd->seen, &seen, number))
		;
}

/* An entry of the series: its number, or 0 where it is not what was appended. */
static uint64_t number_of(struct pmemstream *stream, struct pmemstream_entry entry)
{
	unsigned char copy[ENTRY_BYTES];
	int number;

	/* The region may be freed, and overwritten, at any time: what counts is that it was there afterwards. */
	const void *data = pmemstream_entry_data(stream, entry);
	if (!data || pmemstream_entry_size(stream, entry) != ENTRY_BYTES)
		return 0;
	memcpy(copy, data, sizeof(copy));
	if (pmemstream_entry_data(stream, entry) != data)
		return 0;
	memcpy(&number, copy, sizeof(number));
	for (size_t i = sizeof(number); i < sizeof(copy); i++)
		if (copy[i])
			return UINT64_MAX;
	return (uint64_t)number;
}

/* Follows all regions in order of time. */
static void *follow_all(void *argument)
{
	struct crowd *crowd = argument;
	struct pmemstream_global_iterator *iterator;
	struct pmemstream_entry entry, again;
	uint64_t last = 0;

	if (pmemstream_global_iterator_new(&iterator, crowd->stream))
		return NULL;
	pmemstream_global_iterator_seek_first(iterator);
	while (!atomic_load(&crowd->ends)) {
		uint64_t shown = pmemstream_committed_timestamp(crowd->stream);
		while (!pmemstream_global_iterator_get(iterator, NULL, &entry)) {
			uint64_t number = number_of(crowd->stream, entry);
			/* Freed meanwhile, and maybe another region's by now: then the iterator is elsewhere. */
			if (pmemstream_global_iterator_get(iterator, NULL, &again) || again.offset != entry.offset)
				continue;
			if (number == UINT64_MAX || (number && number <= last))
				fail_thread(crowd, "all regions showed what was never appended, or went back");
			if (number)
				last = number;
			raise_seen(crowd, number);
			pmemstream_global_iterator_next(iterator);
		}
		if (errno != ENODATA && errno != ESTALE)
			fail_thread(crowd, "the walk over all regions ended otherwise than at the end");
		if (pmemstream_wait_newer(crowd->stream, shown, UINT64_C(1000000)) && errno != ETIMEDOUT &&
		    errno != EOWNERDEAD)
			fail_thread(crowd, "a wait failed");
	}
	pmemstream_global_iterator_delete(&iterator);
	return NULL;
}

/* Reads region by region. */
static void *follow_regions(void *argument)
{
	struct crowd *crowd = argument;
	struct pmemstream *stream = crowd->stream;
	struct pmemstream_region_iterator *regions;

	if (pmemstream_region_iterator_new(&regions, stream))
		return NULL;
	while (!atomic_load(&crowd->ends)) {
		pmemstream_region_iterator_seek_first(regions);
		for (; !pmemstream_region_iterator_is_valid(regions); pmemstream_region_iterator_next(regions)) {
			struct pmemstream_entry_iterator *iterator;
			struct pmemstream_region region = pmemstream_region_iterator_get(regions);
			uint64_t last = 0;
			if (pmemstream_entry_iterator_new(&iterator, stream, region))
				continue;
			pmemstream_entry_iterator_seek(iterator, 1);
			for (; !pmemstream_entry_iterator_is_valid(iterator);
			     pmemstream_entry_iterator_next(iterator)) {
				uint64_t number = number_of(stream, pmemstream_entry_iterator_get(iterator));
				if (pmemstream_entry_iterator_is_valid(iterator))
					break;
				if (number == UINT64_MAX || (number && number <= last))
					fail_thread(crowd, "a region showed what was never appended to it");
				last = number ? number : last;
			}
			if (errno != ENODATA && errno != ESTALE)
				fail_thread(crowd, "a region ended otherwise than at the end");
			pmemstream_entry_iterator_delete(&iterator);
		}
	}
	pmemstream_region_iterator_delete(&regions);
	return NULL;
}

/* Asks everything that can be asked. */
static void *ask(void *argument)
{
	struct crowd *crowd = argument;
	struct pmemstream *stream = crowd->stream;
	struct pmemstream_region regions[64];

	while (!atomic_load(&crowd->ends)) {
		struct pmemstream_statistics statistics;
		size_t count = 64;
		if (pmemstream_get_statistics(stream, &statistics) || statistics.persisted > statistics.committed)
			fail_thread(crowd, "statistics that cannot be");
		if (pmemstream_series_list(stream, "log", regions, &count) || count > 64)
			fail_thread(crowd, "the series cannot be listed");
		for (size_t i = 0; i < count && count <= 64; i++) {
			struct pmemstream_region_runtime *runtime;
			struct pmemstream_region_info info;
			if (!pmemstream_region_get_info(stream, regions[i], &info) && info.used > info.size)
				fail_thread(crowd, "information that cannot be");
			if (pmemstream_region_usable_size(stream, regions[i]) >
				    pmemstream_region_size(stream, regions[i]) &&
			    !pmemstream_region_get_info(stream, regions[i], &info))
				fail_thread(crowd, "more is free than there is");
			pmemstream_region_runtime_initialize(stream, regions[i], &runtime);
		}
		pmemstream_persisted_timestamp(stream);
		sched_yield();
	}
	return NULL;
}

static void run_crowd(struct crowd *crowd, struct child *writer, uint64_t numbers)
{
	void *(*const jobs[])(void *) = {follow_all, follow_all, follow_regions, ask};
	pthread_t threads[sizeof(jobs) / sizeof(*jobs)];

	for (size_t i = 0; i < sizeof(jobs) / sizeof(*jobs); i++)
		assert_int_equal(pthread_create(&threads[i], NULL, jobs[i], crowd), 0);
	for (uint64_t i = 0; i < numbers; i++)
		tell(writer, "s");
	/* The last one arrives with everybody who waits for it. */
	while (atomic_load(&crowd->seen) < numbers && !atomic_load(&crowd->failed))
		sched_yield();
	atomic_store(&crowd->ends, true);
	for (size_t i = 0; i < sizeof(jobs) / sizeof(*jobs); i++)
		pthread_join(threads[i], NULL);
	if (atomic_load(&crowd->failed))
		fail_msg("%s: %s", atomic_load(&crowd->failed), pmemstream_errormsg());
}

static void threads_share_a_follower_while_regions_come_and_go(void **state)
{
	(void)state;
	for (int g = 0; g < 2; g++) {
		struct crowd crowd = {.ends = false};
		struct child writer;

		setenv("PMEM2_FORCE_GRANULARITY", g ? "PAGE" : "CACHE_LINE", 1);
		new_path();
		start(&writer);
		tell(&writer, "n");
		assert_int_equal(pmemstream_open(&crowd.stream, path, &reading), 0);
		run_crowd(&crowd, &writer, 150);
		pmemstream_delete(&crowd.stream);
		stop(&writer, 0);
		unlink(path);
	}
	unsetenv("PMEM2_FORCE_GRANULARITY");
}

struct waiter {
	struct pmemstream *stream;
	_Atomic pid_t thread;
	int result, reason;
};

static void *wait_for_ever(void *argument)
{
	struct waiter *waiter = argument;

	atomic_store(&waiter->thread, gettid());
	waiter->result = pmemstream_wait_newer(waiter->stream, UINT64_MAX - 1, UINT64_MAX);
	waiter->reason = errno;
	return NULL;
}

/* Until the kernel says that the thread is in a futex call, which before its wait it never is. */
static void until_asleep(struct waiter *waiter)
{
	char name[64], call[16] = "";

	while (!atomic_load(&waiter->thread))
		sched_yield();
	snprintf(name, sizeof(name), "/proc/self/task/%d/syscall", (int)waiter->thread);
	while (atoi(call) != SYS_futex) {
		FILE *file = fopen(name, "r");
		assert_non_null(file);
		if (!fgets(call, sizeof(call), file))
			call[0] = '\0';
		fclose(file);
		sched_yield();
	}
}

static void a_cancel_ends_all_waits_of_a_follower(void **state)
{
	(void)state;
	struct waiter waiters[3];
	pthread_t threads[3];
	struct child writer;

	new_path();
	start(&writer);
	tell(&writer, "ca");
	for (int i = 0; i < 3; i++) {
		waiters[i] = (struct waiter){.stream = NULL};
		if (!i)
			assert_int_equal(pmemstream_open(&waiters[0].stream, path, &reading), 0);
		waiters[i].stream = waiters[0].stream;
		assert_int_equal(pthread_create(&threads[i], NULL, wait_for_ever, &waiters[i]), 0);
	}
	/* One that began to wait after a cancel is not ended by it. */
	for (int i = 0; i < 3; i++) {
		do {
			pmemstream_cancel_waits(waiters[0].stream);
			sched_yield();
		} while (pthread_tryjoin_np(threads[i], NULL));
		assert_int_equal(waiters[i].result, -1);
		assert_int_equal(waiters[i].reason, ECANCELED);
	}
	pmemstream_delete(&waiters[0].stream);
	stop(&writer, 0);
	unlink(path);
}

static void deleting_a_follower_ends_its_waits_first(void **state)
{
	(void)state;
	for (int round = 0; round < 5; round++) {
		struct waiter waiters[2] = {{.stream = NULL}, {.stream = NULL}};
		struct pmemstream *stream;
		pthread_t threads[2];
		struct child writer;

		new_path();
		start(&writer);
		tell(&writer, "ca");
		assert_int_equal(pmemstream_open(&stream, path, &reading), 0);
		for (int i = 0; i < 2; i++) {
			waiters[i].stream = stream;
			assert_int_equal(pthread_create(&threads[i], NULL, wait_for_ever, &waiters[i]), 0);
		}
		until_asleep(&waiters[0]);
		until_asleep(&waiters[1]);
		pmemstream_delete(&stream);
		for (int i = 0; i < 2; i++) {
			pthread_join(threads[i], NULL);
			assert_int_equal(waiters[i].result, -1);
			assert_int_equal(waiters[i].reason, ECANCELED);
		}
		stop(&writer, 0);
		unlink(path);
	}
}

static void every_waiting_thread_hears_of_the_writers_death(void **state)
{
	(void)state;
	struct waiter waiters[3];
	struct pmemstream *stream;
	pthread_t threads[3];
	struct child writer;

	new_path();
	start(&writer);
	tell(&writer, "ca");
	assert_int_equal(pmemstream_open(&stream, path, &reading), 0);
	for (int i = 0; i < 3; i++) {
		waiters[i] = (struct waiter){.stream = stream};
		assert_int_equal(pthread_create(&threads[i], NULL, wait_for_ever, &waiters[i]), 0);
	}
	for (int i = 0; i < 3; i++)
		until_asleep(&waiters[i]);
	stop(&writer, SIGKILL);
	for (int i = 0; i < 3; i++) {
		pthread_join(threads[i], NULL);
		assert_int_equal(waiters[i].result, -1);
		assert_int_equal(waiters[i].reason, EOWNERDEAD);
	}
	pmemstream_delete(&stream);
	unlink(path);
}

/* ---- What the writer tells ---- */

static const struct pmemstream_config reading_committed = {.flags = PMEMSTREAM_READ_ONLY | PMEMSTREAM_COMMITTED};

static struct pmemstream_region region_of(struct pmemstream *stream)
{
	struct pmemstream_region region;

	assert_int_equal(pmemstream_region_allocate(stream, REGION_BYTES, &region), 0);
	return region;
}

static void a_reader_hears_of_an_entry_that_was_whole_before_the_one_in_front_of_it(void **state)
{
	(void)state;
	struct data_mover_sync *sync = data_mover_sync_new();
	struct pmemstream *stream, *reader;

	for (int g = 0; g < 2; g++) {
		struct manual_mover mover;
		setenv("PMEM2_FORCE_GRANULARITY", g ? "PAGE" : "CACHE_LINE", 1);
		new_path();
		assert_int_equal(pmemstream_create(&stream, path, &sized), 0);
		struct pmemstream_region region = region_of(stream);
		assert_int_equal(pmemstream_open(&reader, path, &reading_committed), 0);
		manual_mover_init(&mover);
		assert_int_equal(pmemstream_async_append(stream, &mover.vdm, region, NULL, "late", 4, NULL), 0);
		assert_int_equal(
			pmemstream_async_append(stream, data_mover_sync_get_vdm(sync), region, NULL, "soon", 4, NULL),
			0);
		assert_int_equal(pmemstream_committed_timestamp(reader), 0);
		manual_mover_release(&mover);
		assert_int_equal(pmemstream_wait_committed(stream, 1, 0), 0);
		assert_int_equal(pmemstream_committed_timestamp(reader), 2);
		pmemstream_delete(&reader);
		pmemstream_delete(&stream);
		unlink(path);
	}
	unsetenv("PMEM2_FORCE_GRANULARITY");
	data_mover_sync_delete(sync);
}

struct teller {
	struct pmemstream *stream;
	struct vdm *vdm;
	struct pmemstream_region region;
	pthread_barrier_t *barrier;
	bool synchronous;
	int failures;
};

enum { TELLERS = 3, ROUNDS = 1500, APPENDS = 4 };

static void *tell_rounds(void *argument)
{
	struct teller *teller = argument;
	static const char data[300];

	for (int round = 0; round < ROUNDS; round++) {
		pthread_barrier_wait(teller->barrier);
		for (size_t i = 0; i < APPENDS; i++) {
			/* The last is asynchronous, so that nothing behind it is made durable. */
			bool waits = teller->synchronous && i < APPENDS - 1;
			int err = waits ? pmemstream_append(teller->stream, teller->region, NULL, data, i * 60, NULL)
					: pmemstream_async_append(teller->stream, teller->vdm, teller->region, NULL,
								  data, i * 100, NULL);
			teller->failures += err != 0;
		}
		pthread_barrier_wait(teller->barrier);
	}
	return NULL;
}

static void what_threads_finish_in_any_order_is_told_to_readers_as_soon_as_all_have_returned(void **state)
{
	(void)state;
	const struct pmemstream_config config = {.size = 3 * (TELLERS + 1) * REGION_BYTES};
	struct data_mover_sync *sync = data_mover_sync_new();

	for (int synchronous = 0; synchronous < 2; synchronous++) {
		struct teller tellers[TELLERS];
		pthread_t threads[TELLERS];
		pthread_barrier_t barrier;
		struct pmemstream *stream, *reader;
		setenv("PMEM2_FORCE_GRANULARITY", "CACHE_LINE", 1);
		new_path();
		assert_int_equal(pmemstream_create(&stream, path, &config), 0);
		assert_int_equal(pthread_barrier_init(&barrier, NULL, TELLERS + 1), 0);
		for (int i = 0; i < TELLERS; i++) {
			tellers[i] = (struct teller){.stream = stream,
						     .vdm = data_mover_sync_get_vdm(sync),
						     .barrier = &barrier,
						     .synchronous = synchronous && i == 0};
			assert_int_equal(
				pmemstream_region_allocate(stream, (size_t)3 * REGION_BYTES, &tellers[i].region), 0);
		}
		assert_int_equal(pmemstream_open(&reader, path, &reading_committed), 0);
		for (int i = 0; i < TELLERS; i++)
			assert_int_equal(pthread_create(&threads[i], NULL, tell_rounds, &tellers[i]), 0);
		for (uint64_t round = 1; round <= ROUNDS; round++) {
			pthread_barrier_wait(&barrier);
			pthread_barrier_wait(&barrier);
			assert_int_equal(pmemstream_committed_timestamp(reader), round * TELLERS * APPENDS);
		}
		for (int i = 0; i < TELLERS; i++) {
			pthread_join(threads[i], NULL);
			assert_int_equal(tellers[i].failures, 0);
		}
		pthread_barrier_destroy(&barrier);
		pmemstream_delete(&reader);
		pmemstream_delete(&stream);
		unlink(path);
	}
	unsetenv("PMEM2_FORCE_GRANULARITY");
	data_mover_sync_delete(sync);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(threads_share_a_follower_while_regions_come_and_go),
		cmocka_unit_test(a_cancel_ends_all_waits_of_a_follower),
		cmocka_unit_test(deleting_a_follower_ends_its_waits_first),
		cmocka_unit_test(every_waiting_thread_hears_of_the_writers_death),
		cmocka_unit_test(a_reader_hears_of_an_entry_that_was_whole_before_the_one_in_front_of_it),
		cmocka_unit_test(what_threads_finish_in_any_order_is_told_to_readers_as_soon_as_all_have_returned),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests_name("stream_follow_threads", tests, NULL, NULL);
}
