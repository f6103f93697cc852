/*
 * stream_wait.c: tests of the futures that wait for committed and persisted, and of their wakers.
 */
#include "stream_map.h"
#include "stream_mover.h"

#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

enum { FILE_BYTES = 1 << 20, BLOCK = 512 };

typedef struct pmemstream_async_wait_fut (*wait_fn)(struct pmemstream *stream, uint64_t timestamp);
static const wait_fn wait_fns[2] = {pmemstream_async_wait_committed, pmemstream_async_wait_persisted};

static void timestamp_0_and_no_stream_fail_without_waiting(void **state)
{
	(void)state;
	struct opened opened;

	opened_new(&opened, "PAGE", FILE_BYTES, BLOCK);
	for (int i = 0; i < 2; i++) {
		struct pmemstream_async_wait_fut wait = wait_fns[i](opened.stream, 0);
		assert_ptr_equal(wait.data.stream, opened.stream);
		provoke(opened.stream);
		assert_int_equal(future_poll(FUTURE_AS_RUNNABLE(&wait), NULL), FUTURE_STATE_COMPLETE);
		assert_int_equal(wait.output.error_code, -1);
		assert_error_was_set(opened.stream, EINVAL, "the wait");

		provoke(opened.stream);
		wait = wait_fns[i](NULL, 1);
		assert_int_equal(FUTURE_STATE(&wait), FUTURE_STATE_COMPLETE);
		assert_int_equal(wait.output.error_code, -1);
		assert_error_was_set(opened.stream, EINVAL, "the wait");
		assert_int_equal(future_poll(FUTURE_AS_RUNNABLE(&wait), NULL), FUTURE_STATE_COMPLETE);
	}
	opened_free(&opened);
}

static void a_timestamp_that_was_reached_is_complete_at_the_first_poll(void **state)
{
	(void)state;
	for (int g = 0; g < MAP_GRANULARITIES; g++) {
		struct opened opened;
		opened_new(&opened, map_granularities[g], FILE_BYTES, BLOCK);
		struct pmemstream_region region = region_of(opened.stream, 10000);
		for (int i = 0; i < 20; i++)
			append_text(opened.stream, region, "x");
		for (int time = 0; time < 2; time++) {
			for (uint64_t t = 1; t <= 20; t++)
				for (int i = 0; i < 2; i++) {
					struct pmemstream_async_wait_fut wait = wait_fns[i](opened.stream, t);
					assert_int_equal(wait.data.timestamp, t);
					assert_int_equal(future_poll(FUTURE_AS_RUNNABLE(&wait), NULL),
							 FUTURE_STATE_COMPLETE);
					assert_int_equal(wait.output.error_code, 0);
				}
			opened_again(&opened);
		}
		opened_free(&opened);
	}
}

static void a_timestamp_not_handed_out_yet_is_waited_for(void **state)
{
	(void)state;
	for (int g = 0; g < MAP_GRANULARITIES; g++)
		for (int i = 0; i < 2; i++) {
			struct opened opened;
			opened_new(&opened, map_granularities[g], FILE_BYTES, BLOCK);
			struct pmemstream_region region = region_of(opened.stream, 10000);
			struct pmemstream_async_wait_fut wait = wait_fns[i](opened.stream, 3);
			struct pmemstream_async_wait_fut never = wait_fns[i](opened.stream, UINT64_MAX);
			for (int appended = 0; appended < 3; appended++) {
				for (int poll = 0; poll < 10; poll++) {
					assert_int_equal(future_poll(FUTURE_AS_RUNNABLE(&wait), NULL),
							 FUTURE_STATE_RUNNING);
					assert_int_equal(future_poll(FUTURE_AS_RUNNABLE(&never), NULL),
							 FUTURE_STATE_RUNNING);
				}
				append_text(opened.stream, region, "x");
			}
			assert_int_equal(future_poll(FUTURE_AS_RUNNABLE(&wait), NULL), FUTURE_STATE_COMPLETE);
			assert_int_equal(wait.output.error_code, 0);
			assert_int_equal(future_poll(FUTURE_AS_RUNNABLE(&never), NULL), FUTURE_STATE_RUNNING);
			opened_free(&opened);
		}
}

static void one_wait_makes_progress_for_all(void **state)
{
	(void)state;
	for (int g = 0; g < MAP_GRANULARITIES; g++) {
		struct opened opened;
		struct manual_mover mover;
		struct pmemstream_async_wait_fut waits[50];
		opened_new(&opened, map_granularities[g], FILE_BYTES, BLOCK);
		struct pmemstream_region region = region_of(opened.stream, 10000);
		manual_mover_init(&mover);
		for (uint64_t t = 0; t < 50; t++) {
			assert_int_equal(pmemstream_async_append(opened.stream, &mover.vdm, region, NULL, "x", 1, NULL),
					 0);
			waits[t] = pmemstream_async_wait_persisted(opened.stream, t + 1);
			assert_int_equal(future_poll(FUTURE_AS_RUNNABLE(&waits[t]), NULL), FUTURE_STATE_RUNNING);
		}
		manual_mover_release(&mover);
		/* The last one first. */
		assert_int_equal(future_poll(FUTURE_AS_RUNNABLE(&waits[49]), NULL), FUTURE_STATE_COMPLETE);
		assert_int_equal(pmemstream_persisted_timestamp(opened.stream), 50);
		for (int t = 0; t < 49; t++)
			assert_int_equal(future_poll(FUTURE_AS_RUNNABLE(&waits[t]), NULL), FUTURE_STATE_COMPLETE);
		opened_free(&opened);
	}
}

/* A wait whose polls are counted. */
static atomic_int polls;
static future_task_fn counted_task;

static enum future_state count_poll(struct future_context *context, struct future_notifier *notifier)
{
	enum future_state state = counted_task(context, notifier);

	atomic_fetch_add(&polls, 1);
	return state;
}

struct finisher {
	struct manual_mover *mover;
	struct pmemstream *stream;
	struct pmemstream_region region;
};

/* Lets the other thread spin, if it does, and then brings what it waits for. */
static void *finish_later(void *argument)
{
	struct finisher *finisher = argument;

	while (!atomic_load(&polls))
		sched_yield();
	for (int i = 0; i < 2000; i++)
		sched_yield();
	if (finisher->mover)
		manual_mover_release(finisher->mover);
	else
		append_text(finisher->stream, finisher->region, "later");
	return NULL;
}

static void runtime_wait_sleeps_until_it_is_woken(void **state)
{
	(void)state;
	for (int g = 0; g < MAP_GRANULARITIES; g++)
		for (int i = 0; i < 2; i++)
			for (int by_mover = 0; by_mover < 2; by_mover++) {
				struct opened opened;
				struct manual_mover mover;
				pthread_t thread;
				opened_new(&opened, map_granularities[g], FILE_BYTES, BLOCK);
				struct pmemstream_region region = region_of(opened.stream, 10000);
				struct finisher finisher = {by_mover ? &mover : NULL, opened.stream, region};
				manual_mover_init(&mover);
				mover.wakes = true;
				if (by_mover)
					assert_int_equal(pmemstream_async_append(opened.stream, &mover.vdm, region,
										 NULL, "x", 1, NULL),
							 0);
				struct pmemstream_async_wait_fut wait = wait_fns[i](opened.stream, 1);
				counted_task = wait.base.task;
				wait.base.task = count_poll;
				atomic_store(&polls, 0);
				struct runtime *runtime = runtime_new();
				assert_int_equal(pthread_create(&thread, NULL, finish_later, &finisher), 0);
				runtime_wait(runtime, FUTURE_AS_RUNNABLE(&wait));
				assert_int_equal(pthread_join(thread, NULL), 0);
				assert_int_equal(wait.output.error_code, 0);
				/* One to begin, one at each thing that happened: a timestamp taken, copied, durable. */
				if (atomic_load(&polls) > 8)
					fail_msg("%d polls, %s", atomic_load(&polls), map_granularities[g]);
				runtime_delete(runtime);
				opened_free(&opened);
			}
}

struct counted_waker {
	atomic_int calls;
	atomic_int inside;
};

static void count_call(void *data)
{
	struct counted_waker *waker = data;

	atomic_store(&waker->inside, 1);
	for (int i = 0; i < 1000; i++)
		sched_yield();
	atomic_fetch_add(&waker->calls, 1);
	atomic_store(&waker->inside, 0);
}

static enum future_state poll_with(struct pmemstream_async_wait_fut *wait, struct counted_waker *waker)
{
	struct future_notifier notifier = {.waker = {.data = waker, .wake = count_call},
					   .notifier_used = FUTURE_NOTIFIER_NONE};
	enum future_state state = future_poll(FUTURE_AS_RUNNABLE(wait), &notifier);

	if (state == FUTURE_STATE_RUNNING)
		assert_int_equal(notifier.notifier_used, FUTURE_NOTIFIER_WAKER);
	return state;
}

static void a_future_that_is_given_up_does_no_harm(void **state)
{
	(void)state;
	struct opened opened;
	struct counted_waker wakers[20] = {0};

	opened_new(&opened, "CACHE_LINE", FILE_BYTES, BLOCK);
	struct pmemstream_region region = region_of(opened.stream, 10000);
	for (int i = 0; i < 20; i++) {
		struct pmemstream_async_wait_fut wait = wait_fns[i % 2](opened.stream, 1000 + (uint64_t)i);
		assert_int_equal(poll_with(&wait, &wakers[i]), FUTURE_STATE_RUNNING);
		assert_int_equal(poll_with(&wait, &wakers[i]), FUTURE_STATE_RUNNING);
	}
	append_text(opened.stream, region, "wakes them");
	/* Each was registered once, however often it was polled, and is called once. */
	for (int i = 0; i < 20; i++)
		assert_int_equal(atomic_load(&wakers[i].calls), 1);
	append_text(opened.stream, region, "wakes nobody");
	for (int i = 0; i < 20; i++)
		assert_int_equal(atomic_load(&wakers[i].calls), 1);
	struct pmemstream_async_wait_fut wait = pmemstream_async_wait_persisted(opened.stream, 5000);
	assert_int_equal(poll_with(&wait, &wakers[0]), FUTURE_STATE_RUNNING);
	opened_free(&opened);
}

static void *append_x(void *argument)
{
	struct finisher *finisher = argument;

	append_text(finisher->stream, finisher->region, "x");
	return NULL;
}

static void no_waker_is_called_once_its_future_is_complete(void **state)
{
	(void)state;
	for (int g = 0; g < MAP_GRANULARITIES; g++)
		for (int round = 0; round < 20; round++) {
			struct opened opened;
			struct counted_waker waker = {0};
			pthread_t thread;
			opened_new(&opened, map_granularities[g], FILE_BYTES, BLOCK);
			struct finisher finisher = {NULL, opened.stream, region_of(opened.stream, 10000)};
			struct pmemstream_async_wait_fut wait = pmemstream_async_wait_persisted(opened.stream, 1);
			assert_int_equal(poll_with(&wait, &waker), FUTURE_STATE_RUNNING);
			assert_int_equal(pthread_create(&thread, NULL, append_x, &finisher), 0);
			/* Half of the rounds catch the other thread inside of the waker. */
			while (round % 2 && !atomic_load(&waker.inside) && !atomic_load(&waker.calls))
				sched_yield();
			while (poll_with(&wait, &waker) != FUTURE_STATE_COMPLETE)
				sched_yield();
			assert_int_equal(atomic_load(&waker.inside), 0);
			int calls = atomic_load(&waker.calls);
			assert_int_equal(pthread_join(thread, NULL), 0);
			assert_int_equal(atomic_load(&waker.calls), calls);
			opened_free(&opened);
		}
}

static void many_futures_of_many_threads_all_complete(void **state)
{
	(void)state;
	for (int g = 0; g < MAP_GRANULARITIES; g++) {
		struct opened opened;
		enum { COUNT = 300, THREADS = 3 };
		static struct pmemstream_async_wait_fut waits[COUNT];
		struct future *futures[COUNT];
		pthread_t threads[THREADS];
		struct data_mover_threads *movers = data_mover_threads_new(2, 16, FUTURE_NOTIFIER_WAKER);
		opened_new(&opened, map_granularities[g], FILE_BYTES, BLOCK);
		struct pmemstream_region region = region_of(opened.stream, 100000);
		struct finisher finisher = {NULL, opened.stream, region};
		for (uint64_t i = 0; i < COUNT; i++) {
			if (i < COUNT - THREADS)
				assert_int_equal(pmemstream_async_append(opened.stream,
									 data_mover_threads_get_vdm(movers), region,
									 NULL, "some text", 9, NULL),
						 0);
			waits[i] = wait_fns[i % 2](opened.stream, i + 1);
			futures[i] = FUTURE_AS_RUNNABLE(&waits[i]);
		}
		for (int i = 0; i < THREADS; i++)
			assert_int_equal(pthread_create(&threads[i], NULL, append_x, &finisher), 0);
		struct runtime *runtime = runtime_new();
		runtime_wait_multiple(runtime, futures, COUNT);
		for (int i = 0; i < COUNT; i++)
			assert_int_equal(waits[i].output.error_code, 0);
		for (int i = 0; i < THREADS; i++)
			pthread_join(threads[i], NULL);
		assert_int_equal(pmemstream_persisted_timestamp(opened.stream), COUNT);
		runtime_delete(runtime);
		data_mover_threads_delete(movers);
		opened_free(&opened);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(timestamp_0_and_no_stream_fail_without_waiting),
		cmocka_unit_test(a_timestamp_that_was_reached_is_complete_at_the_first_poll),
		cmocka_unit_test(a_timestamp_not_handed_out_yet_is_waited_for),
		cmocka_unit_test(one_wait_makes_progress_for_all),
		cmocka_unit_test(runtime_wait_sleeps_until_it_is_woken),
		cmocka_unit_test(a_future_that_is_given_up_does_no_harm),
		cmocka_unit_test(no_waker_is_called_once_its_future_is_complete),
		cmocka_unit_test(many_futures_of_many_threads_all_complete),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
