/*
 * stream_costs.c: what operations cost in fences, flushes, syncs and system calls: counted, not timed.
 */
#include "stream_map.h"

#include "stream/stream.h"

#include <linux/seccomp.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { FILE_BYTES = 16 << 20, BLOCK = 4096 };

static struct medium_counts before;

static void begin(struct opened *opened)
{
	before = medium_counts(&opened->stream->medium);
}

static struct medium_counts spent(struct opened *opened)
{
	struct medium_counts now = medium_counts(&opened->stream->medium);

	return (struct medium_counts){.stored_bytes = now.stored_bytes - before.stored_bytes,
				      .flushed_lines = now.flushed_lines - before.flushed_lines,
				      .fences = now.fences - before.fences,
				      .syncs = now.syncs - before.syncs};
}

/* So many orderings of the medium's kind, none of the other; at most so many flushed lines. */
static void assert_spent(struct opened *opened, uint64_t count, uint64_t flushed_lines)
{
	bool pages = opened->stream->medium.granularity == MEDIUM_PAGE;
	struct medium_counts counts = spent(opened);

	assert_int_equal(counts.fences, pages ? 0 : count);
	assert_int_equal(counts.syncs, pages ? count : 0);
	if (opened->stream->medium.granularity != MEDIUM_CACHE_LINE)
		flushed_lines = 0;
	if (counts.flushed_lines > flushed_lines)
		fail_msg("%zu lines were flushed, not at most %zu", (size_t)counts.flushed_lines,
			 (size_t)flushed_lines);
}

static void a_synchronous_append_costs_one_fence_or_one_sync(void **state)
{
	(void)state;
	static const size_t sizes[] = {0, 1, 31, 32, 33, 64, 100, 992, 993, 1024, 4096, 5000, 100000};

	for (int g = 0; g < MAP_GRANULARITIES; g++) {
		struct opened opened;
		static char data[100000];
		opened_new(&opened, map_granularities[g], FILE_BYTES, BLOCK);
		struct pmemstream_region region = region_of(opened.stream, 2 << 20);
		append_text(opened.stream, region, "raises the limit");
		for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
			begin(&opened);
			assert_int_equal(pmemstream_append(opened.stream, region, NULL, data, sizes[i], NULL), 0);
			/* Not a line of the entry; one line where it raises the limit. */
			assert_spent(&opened, 1, 1);
		}
		begin(&opened);
		for (int i = 0; i < 2000; i++)
			assert_int_equal(pmemstream_append(opened.stream, region, NULL, data, 40, NULL), 0);
		/* One raising of the limit in 64 KiB. */
		assert_spent(&opened, 2000, 2000 * 128 / 65536 + 1);
		opened_free(&opened);
	}
}

static void entries_of_8_byte_alignment_flush_their_lines(void **state)
{
	(void)state;
	struct opened opened;
	char data[100] = {0};

	opened_new(&opened, "CACHE_LINE", FILE_BYTES, 64);
	struct pmemstream_region region = region_of(opened.stream, 1 << 20);
	append_text(opened.stream, region, "raises the limit");
	begin(&opened);
	assert_int_equal(pmemstream_append(opened.stream, region, NULL, data, 100, NULL), 0);
	/* 132 bytes lie in three lines or four. */
	assert_spent(&opened, 1, 4);
	opened_free(&opened);
}

static void a_publish_costs_one_fence_or_one_sync_and_a_reservation_nothing(void **state)
{
	(void)state;
	for (int g = 0; g < MAP_GRANULARITIES; g++) {
		struct opened opened;
		struct pmemstream_entry entry;
		void *data;
		opened_new(&opened, map_granularities[g], FILE_BYTES, BLOCK);
		struct pmemstream_region region = region_of(opened.stream, 1 << 20);
		append_text(opened.stream, region, "raises the limit");
		begin(&opened);
		assert_int_equal(pmemstream_reserve(opened.stream, region, NULL, 100, &entry, &data), 0);
		assert_spent(&opened, 0, 0);
		memset(data, 'x', 100);
		assert_int_equal(pmemstream_publish(opened.stream, region, NULL, entry, 100), 0);
		assert_spent(&opened, 1, 3);
		opened_free(&opened);
	}
}

static void a_thousand_asynchronous_appends_and_a_wait_cost_one(void **state)
{
	(void)state;
	for (int g = 0; g < MAP_GRANULARITIES; g++)
		for (int threads = 0; threads < 2; threads++) {
			struct opened opened;
			char data[200] = {0};
			opened_new(&opened, map_granularities[g], FILE_BYTES, BLOCK);
			struct pmemstream_region regions[2] = {region_of(opened.stream, 1 << 20),
							       region_of(opened.stream, 1 << 20)};
			struct data_mover_sync *sync = data_mover_sync_new();
			struct data_mover_threads *mover = data_mover_threads_new(1, 1024, FUTURE_NOTIFIER_WAKER);
			struct vdm *vdm = threads ? data_mover_threads_get_vdm(mover) : data_mover_sync_get_vdm(sync);
			begin(&opened);
			for (int i = 0; i < 1000; i++)
				assert_int_equal(pmemstream_async_append(opened.stream, vdm, regions[i % 2], NULL, data,
									 sizeof(data), NULL),
						 0);
			assert_spent(&opened, 0, 0);
			/* Committing is not persisting. */
			struct pmemstream_async_wait_fut wait = pmemstream_async_wait_committed(opened.stream, 1000);
			FUTURE_BUSY_POLL(&wait);
			assert_spent(&opened, 0, 0);
			wait_persisted(opened.stream, 1000);
			/* Four lines of an entry, some raised limits. */
			assert_spent(&opened, 1, 4010);
			/* What is persisted costs nothing to ask for again. */
			wait_persisted(opened.stream, 1000);
			assert_spent(&opened, 1, 4010);
			data_mover_threads_delete(mover);
			data_mover_sync_delete(sync);
			opened_free(&opened);
		}
}

static void a_full_window_is_made_durable_at_once(void **state)
{
	(void)state;
	for (int g = 0; g < MAP_GRANULARITIES; g++) {
		struct opened opened;
		char data[40] = {0};
		opened_new(&opened, map_granularities[g], FILE_BYTES, BLOCK);
		struct pmemstream_region region = region_of(opened.stream, 1 << 20);
		struct data_mover_sync *sync = data_mover_sync_new();
		begin(&opened);
		/* 8 windows of 1,024: no more than that many orderings. */
		for (int i = 0; i < 8192; i++)
			assert_int_equal(pmemstream_async_append(opened.stream, data_mover_sync_get_vdm(sync), region,
								 NULL, data, sizeof(data), NULL),
					 0);
		wait_persisted(opened.stream, 8192);
		assert_spent(&opened, 8, 8192 * 3);
		data_mover_sync_delete(sync);
		opened_free(&opened);
	}
}

static void rounds_cost_two_in_every_4_mib(void **state)
{
	(void)state;
	for (int g = 0; g < MAP_GRANULARITIES; g++) {
		struct opened opened;
		static char data[32768 - 64];
		opened_new(&opened, map_granularities[g], FILE_BYTES, BLOCK);
		struct pmemstream_region region = region_of(opened.stream, 14 << 20);
		begin(&opened);
		unsigned count = 13 << 20 >> 15;
		for (unsigned i = 0; i < count; i++)
			assert_int_equal(pmemstream_append(opened.stream, region, NULL, data, sizeof(data), NULL), 0);
		struct medium_counts counts = spent(&opened);
		uint64_t orderings = g == 2 ? counts.syncs : counts.fences;
		/* 13 MiB: three rounds. */
		assert_int_equal(orderings, count + 3 * 2);
		opened_free(&opened);
	}
}

static void regions_and_opening_cost_what_the_header_says(void **state)
{
	(void)state;
	for (int g = 0; g < MAP_GRANULARITIES; g++) {
		struct opened opened;
		struct pmemstream_region region;
		opened_new(&opened, map_granularities[g], FILE_BYTES, BLOCK);
		for (int time = 0; time < 2; time++) {
			begin(&opened);
			assert_int_equal(pmemstream_region_allocate(opened.stream, 1 << 20, &region), 0);
			assert_spent(&opened, 4, 100);
			append_text(opened.stream, region, "x");
			begin(&opened);
			assert_int_equal(pmemstream_region_free(opened.stream, region), 0);
			assert_spent(&opened, 5, 100);
			region = region_of(opened.stream, 1 << 20);
			begin(&opened);
			assert_int_equal(pmemstream_region_free(opened.stream, region), 0);
			struct medium_counts counts = spent(&opened);
			assert_true((g == 2 ? counts.syncs : counts.fences) <= 5);
		}
		opened_again(&opened);
		struct medium_counts counts = medium_counts(&opened.stream->medium);
		assert_true((g == 2 ? counts.syncs : counts.fences) <= 4);
		opened_free(&opened);
	}
}

struct appender {
	struct pmemstream *stream;
	struct pmemstream_region region;
	pthread_barrier_t *barrier;
};

enum { GROUP_THREADS = 4, GROUP_APPENDS = 100 };

static void *append_group(void *argument)
{
	struct appender *appender = argument;

	pthread_barrier_wait(appender->barrier);
	for (int i = 0; i < GROUP_APPENDS; i++)
		append_text(appender->stream, appender->region, "shares a sync");
	return NULL;
}

static void threads_on_pages_share_their_syncs(void **state)
{
	(void)state;
	struct opened opened;
	pthread_barrier_t barrier;
	pthread_t threads[GROUP_THREADS];

	opened_new(&opened, "PAGE", FILE_BYTES, BLOCK);
	pthread_barrier_init(&barrier, NULL, GROUP_THREADS);
	struct appender appender = {opened.stream, region_of(opened.stream, 1 << 20), &barrier};
	begin(&opened);
	for (int i = 0; i < GROUP_THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, append_group, &appender), 0);
	for (int i = 0; i < GROUP_THREADS; i++)
		pthread_join(threads[i], NULL);
	/* Never more than one each; with the disk's help far fewer. */
	struct medium_counts counts = spent(&opened);
	assert_true(counts.syncs <= GROUP_THREADS * GROUP_APPENDS);
	assert_int_equal(pmemstream_persisted_timestamp(opened.stream), GROUP_THREADS * GROUP_APPENDS);
	assert_int_equal(count_entries(opened.stream, appender.region), GROUP_THREADS * GROUP_APPENDS);
	opened_free(&opened);
	pthread_barrier_destroy(&barrier);
}

/* A medium whose sync waits until every thread has copied its entry: the next sync must cover them all. */
static struct medium_ops gathering_ops;
static const struct medium_ops *real_ops;
static struct pmemstream *gathering_stream;
static _Atomic unsigned gathering_syncs;

static int gathering_sync(struct medium *medium, const void *at, size_t bytes)
{
	/* The leader's own entry was copied; the others come while he is here. */
	if (atomic_fetch_add(&gathering_syncs, 1) == 0)
		while (pmemstream_committed_timestamp(gathering_stream) < GROUP_THREADS)
			sched_yield();
	return real_ops->sync(medium, at, bytes);
}

static void *append_gathered(void *argument)
{
	struct appender *appender = argument;

	append_text(appender->stream, appender->region, "shares a sync");
	return NULL;
}

static void whoever_comes_during_a_sync_shares_the_next_one(void **state)
{
	(void)state;
	struct opened opened;
	pthread_t threads[GROUP_THREADS];

	opened_new(&opened, "PAGE", FILE_BYTES, BLOCK);
	struct appender appender = {opened.stream, region_of(opened.stream, 1 << 20), NULL};
	real_ops = opened.stream->medium.ops;
	gathering_ops = *real_ops;
	gathering_ops.sync = gathering_sync;
	gathering_stream = opened.stream;
	opened.stream->medium.ops = &gathering_ops;
	begin(&opened);
	for (int i = 0; i < GROUP_THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, append_gathered, &appender), 0);
	for (int i = 0; i < GROUP_THREADS; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(pmemstream_persisted_timestamp(opened.stream), GROUP_THREADS);
	/* The first, and one for all who came meanwhile. */
	assert_true(spent(&opened).syncs <= 2);
	opened.stream->medium.ops = real_ops;
	opened_free(&opened);
}

/* ThreadSanitizer's own part makes system calls, and does not survive being killed for one. */
#ifndef __SANITIZE_THREAD__
/* In a child that may only read, write and end: any other system call kills it. */
static void appends_make_no_system_call(void **state)
{
	(void)state;
	for (int g = 0; g < 2; g++) {
		struct opened opened;
		opened_new(&opened, map_granularities[g], FILE_BYTES, BLOCK);
		struct pmemstream_region region = region_of(opened.stream, 12 << 20);
		pid_t child = fork();
		assert_true(child >= 0);
		if (!child) {
			static char data[1000];
			struct pmemstream_region_runtime *runtime;
			/* Begun once, so that nothing is set up for the first time below. */
			int wrong = pmemstream_region_runtime_initialize(opened.stream, region, &runtime);
			wrong |= pmemstream_append(opened.stream, region, NULL, data, 10, NULL);
			if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT))
				_exit(3);
			/* 3 MiB, over 49 limits, but no round: that asks for the time. */
			for (int i = 0; i < 3000 && !wrong; i++)
				wrong = pmemstream_append(opened.stream, region, i % 2 ? runtime : NULL, data,
							  sizeof(data), NULL);
			syscall(SYS_exit, wrong ? 1 : 0);
		}
		int status;
		assert_int_equal(waitpid(child, &status, 0), child);
		assert_true(WIFEXITED(status));
		assert_int_equal(WEXITSTATUS(status), 0);
		opened_free(&opened);
	}
}

#endif

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_synchronous_append_costs_one_fence_or_one_sync),
		cmocka_unit_test(entries_of_8_byte_alignment_flush_their_lines),
		cmocka_unit_test(a_publish_costs_one_fence_or_one_sync_and_a_reservation_nothing),
		cmocka_unit_test(a_thousand_asynchronous_appends_and_a_wait_cost_one),
		cmocka_unit_test(a_full_window_is_made_durable_at_once),
		cmocka_unit_test(rounds_cost_two_in_every_4_mib),
		cmocka_unit_test(regions_and_opening_cost_what_the_header_says),
		cmocka_unit_test(threads_on_pages_share_their_syncs),
		cmocka_unit_test(whoever_comes_during_a_sync_shares_the_next_one),
#ifndef __SANITIZE_THREAD__
		cmocka_unit_test(appends_make_no_system_call),
#endif
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
