/*
 * miniasync_runtime.c: tests of the runtime: that it waits, how often it polls, and whom it survives.
 *
 * The linker puts the three functions below in front of the library's calls (see tests/meson.build): sleeps with a
 * deadline are counted, something else can be done instead of sleeping, and the clock can be stopped; so that no
 * claim depends on how fast the machine is.
 */
#include <libminiasync.h>

#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

int __real_pthread_cond_timedwait(pthread_cond_t *cond, pthread_mutex_t *lock, const struct timespec *deadline);
int __wrap_pthread_cond_timedwait(pthread_cond_t *cond, pthread_mutex_t *lock, const struct timespec *deadline);
int __real_pthread_cond_wait(pthread_cond_t *cond, pthread_mutex_t *lock);
int __wrap_pthread_cond_wait(pthread_cond_t *cond, pthread_mutex_t *lock);
int __real_clock_gettime(clockid_t clock, struct timespec *now);
int __wrap_clock_gettime(clockid_t clock, struct timespec *now);

static atomic_int bounded_sleeps;
static atomic_bool clock_stopped;
static void (*instead_of_sleep)(void); /* NULL: sleep */

static int do_instead(pthread_mutex_t *lock)
{
	pthread_mutex_unlock(lock);
	instead_of_sleep();
	return pthread_mutex_lock(lock);
}

int __wrap_pthread_cond_timedwait(pthread_cond_t *cond, pthread_mutex_t *lock, const struct timespec *deadline)
{
	atomic_fetch_add(&bounded_sleeps, 1);
	return instead_of_sleep ? do_instead(lock) : __real_pthread_cond_timedwait(cond, lock, deadline);
}

int __wrap_pthread_cond_wait(pthread_cond_t *cond, pthread_mutex_t *lock)
{
	return instead_of_sleep ? do_instead(lock) : __real_pthread_cond_wait(cond, lock);
}

int __wrap_clock_gettime(clockid_t clock, struct timespec *now)
{
	if (atomic_load(&clock_stopped)) {
		*now = (struct timespec){.tv_sec = 1000};
		return 0;
	}
	return __real_clock_gettime(clock, now);
}

/* A future that is done when somebody says so, and may take the waker. */
struct event_data {
	struct event *event;
};

FUTURE(event_future, struct event_data, int);

struct event {
	struct event_future future;
	bool takes_waker;
	int polls, polls_needed; /* without a waker: complete at that poll */
	struct future_waker waker;
	atomic_bool has_waker, done;
};

static enum future_state event_task(struct future_context *context, struct future_notifier *notifier)
{
	struct event *event = ((struct event_data *)future_context_get_data(context))->event;

	event->polls++;
	if (atomic_load(&event->done) || (event->polls_needed && event->polls >= event->polls_needed))
		return FUTURE_STATE_COMPLETE;
	if (event->takes_waker && notifier) {
		notifier->notifier_used = FUTURE_NOTIFIER_WAKER;
		if (!atomic_load(&event->has_waker)) {
			event->waker = notifier->waker;
			atomic_store(&event->has_waker, true);
		}
	}
	return FUTURE_STATE_RUNNING;
}

static void event_init(struct event *event, bool takes_waker, int polls_needed)
{
	memset(event, 0, sizeof(*event));
	FUTURE_INIT(&event->future, event_task);
	event->future.data.event = event;
	event->takes_waker = takes_waker;
	event->polls_needed = polls_needed;
}

static void await_waker(struct event *event)
{
	while (!atomic_load(&event->has_waker))
		sched_yield();
}

static void *finish_event(void *arg)
{
	struct event *event = arg;

	await_waker(event);
	atomic_store(&event->done, true);
	FUTURE_WAKER_WAKE(&event->waker);
	return NULL;
}

static pthread_t in_thread(void *(*what)(void *), void *arg)
{
	pthread_t thread;

	assert_int_equal(pthread_create(&thread, NULL, what, arg), 0);
	return thread;
}

static void a_future_that_takes_the_waker_is_polled_twice_however_long_it_takes(void **state)
{
	(void)state;
	struct runtime *runtime = runtime_new();
	int sleeps = bounded_sleeps;

	assert_non_null(runtime);
	for (int round = 0; round < 50; round++) {
		struct event event;

		event_init(&event, true, 0);
		pthread_t thread = in_thread(finish_event, &event);
		runtime_wait(runtime, FUTURE_AS_RUNNABLE(&event.future));
		assert_int_equal(FUTURE_STATE(&event.future), FUTURE_STATE_COMPLETE);
		assert_int_equal(event.polls, 2);
		pthread_join(thread, NULL);
	}
	assert_int_equal(bounded_sleeps, sleeps);
	runtime_delete(runtime);
}

enum { MANY = 200, MOST = 3000 };

static void finish_from_the_end(struct event *events, int count)
{
	while (count > 0)
		finish_event(&events[--count]);
}

static void *finish_many(void *arg)
{
	finish_from_the_end(arg, MANY);
	return NULL;
}

static void *finish_most(void *arg)
{
	finish_from_the_end(arg, MOST);
	return NULL;
}

static void of_many_futures_only_the_woken_one_is_polled(void **state)
{
	(void)state;
	struct runtime *runtime = runtime_new();
	static struct event events[MANY];
	struct future *futures[MANY];

	for (int i = 0; i < MANY; i++) {
		event_init(&events[i], true, 0);
		futures[i] = FUTURE_AS_RUNNABLE(&events[i].future);
	}
	pthread_t thread = in_thread(finish_many, events);
	runtime_wait_multiple(runtime, futures, MANY);
	pthread_join(thread, NULL);
	for (int i = 0; i < MANY; i++) {
		assert_int_equal(FUTURE_STATE(&events[i].future), FUTURE_STATE_COMPLETE);
		assert_int_equal(events[i].polls, 2);
	}
	runtime_delete(runtime);
}

static void a_future_that_takes_no_waker_is_polled_between_sleeps(void **state)
{
	(void)state;
	enum { POLLS = 100, POLLS_AT_ONCE = 1 + 64 + 1 };
	struct runtime *runtime = runtime_new();
	struct event event;
	int sleeps = bounded_sleeps;

	event_init(&event, false, POLLS);
	runtime_wait(runtime, FUTURE_AS_RUNNABLE(&event.future));
	assert_int_equal(event.polls, POLLS);
	assert_true(bounded_sleeps - sleeps >= POLLS - POLLS_AT_ONCE);
	runtime_delete(runtime);
}

static void *wake_in_vain(void *arg)
{
	struct event *event = arg;

	await_waker(event);
	for (int i = 0; i < 1000; i++)
		FUTURE_WAKER_WAKE(&event->waker);
	return finish_event(event);
}

static void wake_ups_too_many_do_no_harm(void **state)
{
	(void)state;
	struct runtime *runtime = runtime_new();
	struct event events[2];
	struct future *futures[2];

	for (int i = 0; i < 2; i++) {
		event_init(&events[i], true, 0);
		futures[i] = FUTURE_AS_RUNNABLE(&events[i].future);
	}
	pthread_t first = in_thread(wake_in_vain, &events[0]), second = in_thread(finish_event, &events[1]);
	runtime_wait_multiple(runtime, futures, 2);
	pthread_join(first, NULL);
	pthread_join(second, NULL);
	assert_int_equal(FUTURE_STATE(&events[0].future), FUTURE_STATE_COMPLETE);
	assert_int_equal(FUTURE_STATE(&events[1].future), FUTURE_STATE_COMPLETE);
	runtime_delete(runtime);
}

static void futures_with_and_without_a_waker_can_be_waited_for_together(void **state)
{
	(void)state;
	enum { COUNT = 40 };
	struct runtime *runtime = runtime_new();
	struct event events[COUNT];
	struct future *futures[COUNT];
	pthread_t threads[COUNT];

	for (int i = 0; i < COUNT; i++) {
		event_init(&events[i], i % 2, i % 2 ? 0 : i);
		futures[i] = FUTURE_AS_RUNNABLE(&events[i].future);
		if (i == 4)
			FUTURE_INIT_COMPLETE(&events[i].future);
	}
	for (int i = 1; i < COUNT; i += 2)
		threads[i] = in_thread(finish_event, &events[i]);
	events[0].polls_needed = 1;
	runtime_wait_multiple(runtime, futures, COUNT);
	for (int i = 0; i < COUNT; i++) {
		if (i % 2)
			pthread_join(threads[i], NULL);
		assert_int_equal(FUTURE_STATE(&events[i].future), FUTURE_STATE_COMPLETE);
		if (i % 2 == 0 && i != 4)
			assert_int_equal(events[i].polls, i ? i : 1);
	}
	runtime_delete(runtime);
}

static void nothing_to_wait_for_is_no_wait(void **state)
{
	(void)state;
	struct runtime *runtime = runtime_new();
	struct event event;

	event_init(&event, false, 1);
	FUTURE_INIT_COMPLETE(&event.future);
	runtime_wait_multiple(runtime, NULL, 0);
	runtime_wait(runtime, FUTURE_AS_RUNNABLE(&event.future));
	assert_int_equal(event.polls, 0);
	runtime_delete(runtime);
	runtime_delete(NULL);
}

static void a_waker_may_be_called_long_after_the_wait_and_the_runtime(void **state)
{
	(void)state;
	static struct event first, last, many[MOST];
	static struct future *futures[MOST];
	struct runtime *runtime = runtime_new();
	pthread_t thread;

	/* One future, then more than in any other test: the waker of the first lies in what the runtime outgrew. */
	event_init(&first, true, 0);
	thread = in_thread(finish_event, &first);
	runtime_wait(runtime, FUTURE_AS_RUNNABLE(&first.future));
	pthread_join(thread, NULL);
	for (int i = 0; i < MOST; i++) {
		event_init(&many[i], true, 0);
		futures[i] = FUTURE_AS_RUNNABLE(&many[i].future);
	}
	thread = in_thread(finish_most, many);
	runtime_wait_multiple(runtime, futures, MOST);
	pthread_join(thread, NULL);
	runtime_delete(runtime);

	FUTURE_WAKER_WAKE(&first.waker);
	for (int i = 0; i < MOST; i++)
		FUTURE_WAKER_WAKE(&many[i].waker);
	runtime = runtime_new();
	event_init(&last, true, 0);
	thread = in_thread(finish_event, &last);
	runtime_wait(runtime, FUTURE_AS_RUNNABLE(&last.future));
	pthread_join(thread, NULL);
	assert_int_equal(FUTURE_STATE(&last.future), FUTURE_STATE_COMPLETE);
	assert_int_equal(last.polls, 2);
	runtime_delete(runtime);
}

/* In its first poll it is woken, and after that three wakers of an earlier wait are called. */
struct crowded_data {
	struct event *earlier;
	int polls;
};

FUTURE(crowded_future, struct crowded_data, int);

static enum future_state crowded_task(struct future_context *context, struct future_notifier *notifier)
{
	struct crowded_data *data = future_context_get_data(context);

	if (++data->polls == 2)
		return FUTURE_STATE_COMPLETE;
	notifier->notifier_used = FUTURE_NOTIFIER_WAKER;
	FUTURE_WAKER_WAKE(&notifier->waker);
	for (int i = MANY - 3; i < MANY; i++)
		FUTURE_WAKER_WAKE(&data->earlier[i].waker);
	return FUTURE_STATE_RUNNING;
}

static void late_wake_ups_do_not_hide_a_real_one(void **state)
{
	(void)state;
	static struct event many[MANY];
	struct runtime *runtime = runtime_new();
	struct future *futures[MANY];
	struct crowded_future crowded = {.data = {.earlier = many}};

	for (int i = 0; i < MANY; i++) {
		event_init(&many[i], true, 0);
		futures[i] = FUTURE_AS_RUNNABLE(&many[i].future);
	}
	pthread_t thread = in_thread(finish_many, many);
	runtime_wait_multiple(runtime, futures, MANY);
	pthread_join(thread, NULL);
	FUTURE_INIT(&crowded, crowded_task);
	runtime_wait(runtime, FUTURE_AS_RUNNABLE(&crowded));
	assert_int_equal(crowded.data.polls, 2);
	runtime_delete(runtime);
}

struct waiting {
	struct runtime *runtime;
	struct event event;
};

static void *wait_in_thread(void *arg)
{
	struct waiting *waiting = arg;

	runtime_wait(waiting->runtime, FUTURE_AS_RUNNABLE(&waiting->event.future));
	return NULL;
}

static void many_threads_may_wait_with_one_runtime(void **state)
{
	(void)state;
	enum { COUNT = 8 };
	struct runtime *runtime = runtime_new();
	static struct waiting waiting[COUNT];
	pthread_t threads[COUNT];

	for (int i = 0; i < COUNT; i++) {
		waiting[i].runtime = runtime;
		event_init(&waiting[i].event, true, 0);
		threads[i] = in_thread(wait_in_thread, &waiting[i]);
	}
	for (int i = 0; i < COUNT; i++)
		await_waker(&waiting[i].event); /* all of them wait now */
	for (int i = 0; i < COUNT; i++) {
		finish_event(&waiting[i].event);
		pthread_join(threads[i], NULL);
		assert_int_equal(waiting[i].event.polls, 2);
	}
	runtime_delete(runtime);
}

struct nested_data {
	struct waiting *inner;
};

FUTURE(nested_future, struct nested_data, int);

static enum future_state nested_task(struct future_context *context, struct future_notifier *notifier)
{
	struct nested_data *data = future_context_get_data(context);

	(void)notifier;
	wait_in_thread(data->inner);
	return FUTURE_STATE_COMPLETE;
}

static void a_task_may_itself_wait_with_the_runtime_that_polls_it(void **state)
{
	(void)state;
	struct waiting inner = {.runtime = runtime_new()};
	struct nested_future outer = {.data = {&inner}};

	FUTURE_INIT(&outer, nested_task);
	event_init(&inner.event, true, 0);
	pthread_t thread = in_thread(finish_event, &inner.event);
	runtime_wait(inner.runtime, FUTURE_AS_RUNNABLE(&outer));
	pthread_join(thread, NULL);
	assert_int_equal(FUTURE_STATE(&inner.event.future), FUTURE_STATE_COMPLETE);
	runtime_delete(inner.runtime);
}

/* Complete once the other one is; until then it wakes itself in every poll. */
struct restless_data {
	struct future *other;
};

FUTURE(restless_future, struct restless_data, int);

static enum future_state restless_task(struct future_context *context, struct future_notifier *notifier)
{
	struct restless_data *data = future_context_get_data(context);

	if (data->other->context.state == FUTURE_STATE_COMPLETE)
		return FUTURE_STATE_COMPLETE;
	notifier->notifier_used = FUTURE_NOTIFIER_WAKER;
	FUTURE_WAKER_WAKE(&notifier->waker);
	return FUTURE_STATE_RUNNING;
}

static void a_task_that_wakes_itself_starves_nobody(void **state)
{
	(void)state;
	struct runtime *runtime = runtime_new();
	struct event quiet;
	struct restless_future restless = {.data = {FUTURE_AS_RUNNABLE(&quiet.future)}};
	struct future *futures[] = {FUTURE_AS_RUNNABLE(&restless), FUTURE_AS_RUNNABLE(&quiet.future)};

	FUTURE_INIT(&restless, restless_task);
	event_init(&quiet, false, 1000);
	runtime_wait_multiple(runtime, futures, 2);
	assert_int_equal(FUTURE_STATE(&restless), FUTURE_STATE_COMPLETE);
	assert_int_equal(quiet.polls, 1000);
	runtime_delete(runtime);
}

/* A mover with room for one operation, which completes when the runtime would sleep. */
static struct {
	struct vdm vdm;
	void *current; /* NULL: there is room */
	struct future_waker waker;
	int starts, done;
} narrow;

static void *narrow_new(struct vdm *vdm, const enum vdm_operation_type type)
{
	(void)vdm;
	(void)type;
	return calloc(1, 1);
}

static int narrow_start(void *data, const struct vdm_operation *operation, struct future_notifier *notifier)
{
	(void)operation;
	narrow.starts++;
	if (narrow.current)
		return 1;
	narrow.current = data;
	narrow.waker = notifier->waker;
	notifier->notifier_used = FUTURE_NOTIFIER_WAKER;
	return 0;
}

static enum future_state narrow_check(void *data, const struct vdm_operation *operation)
{
	(void)operation;
	return narrow.current == data ? FUTURE_STATE_RUNNING : FUTURE_STATE_COMPLETE;
}

static void narrow_delete(void *data, const struct vdm_operation *operation, struct vdm_operation_output *output)
{
	output->type = operation->type;
	output->result = VDM_SUCCESS;
	free(data);
}

static void narrow_complete(void)
{
	narrow.current = NULL;
	narrow.done++;
	FUTURE_WAKER_WAKE(&narrow.waker);
}

static void futures_that_a_full_ring_holds_back_cost_few_polls_each(void **state)
{
	(void)state;
	enum { COUNT = 1000 };
	struct runtime *runtime = runtime_new();
	static struct vdm_operation_future operations[COUNT];
	static struct future *futures[COUNT];

	narrow.vdm = (struct vdm){
		.op_new = narrow_new, .op_delete = narrow_delete, .op_start = narrow_start, .op_check = narrow_check};
	for (int i = 0; i < COUNT; i++) {
		operations[i] = vdm_flush(&narrow.vdm, NULL, 0, 0);
		futures[i] = FUTURE_AS_RUNNABLE(&operations[i]);
	}
	/* With the clock stopped, only the two laps at the beginning and the wake-ups can move them. */
	atomic_store(&clock_stopped, true);
	instead_of_sleep = narrow_complete;
	runtime_wait_multiple(runtime, futures, COUNT);
	instead_of_sleep = NULL;
	atomic_store(&clock_stopped, false);
	for (int i = 0; i < COUNT; i++)
		assert_int_equal(FUTURE_STATE(&operations[i]), FUTURE_STATE_COMPLETE);
	runtime_delete(runtime);
	print_message("# %d starts of %d operations\n", narrow.starts, COUNT);
	assert_true(narrow.starts <= 12 * COUNT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_future_that_takes_the_waker_is_polled_twice_however_long_it_takes),
		cmocka_unit_test(of_many_futures_only_the_woken_one_is_polled),
		cmocka_unit_test(a_future_that_takes_no_waker_is_polled_between_sleeps),
		cmocka_unit_test(wake_ups_too_many_do_no_harm),
		cmocka_unit_test(futures_with_and_without_a_waker_can_be_waited_for_together),
		cmocka_unit_test(nothing_to_wait_for_is_no_wait),
		cmocka_unit_test(a_waker_may_be_called_long_after_the_wait_and_the_runtime),
		cmocka_unit_test(late_wake_ups_do_not_hide_a_real_one),
		cmocka_unit_test(many_threads_may_wait_with_one_runtime),
		cmocka_unit_test(a_task_may_itself_wait_with_the_runtime_that_polls_it),
		cmocka_unit_test(a_task_that_wakes_itself_starves_nobody),
		cmocka_unit_test(futures_that_a_full_ring_holds_back_cost_few_polls_each),
	};

	return cmocka_run_group_tests_name("miniasync_runtime", tests, NULL, NULL);
}
