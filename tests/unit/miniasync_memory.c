/*
 * miniasync_memory.c: tests of libminiasync when memory or threads are short: each allocation fails once.
 *
 * Allocations fail by cut/faults.h, threads by the function below. LeakSanitizer sees what a failed call left behind.
 */
#include "cut/faults.h"

#include <libminiasync.h>

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

int __real_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*routine)(void *), void *arg);
int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*routine)(void *), void *arg);

/* Threads that can still be made before one cannot; negative: all can. */
static atomic_int threads_left = -1;

int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*routine)(void *), void *arg)
{
	if (atomic_fetch_sub(&threads_left, 1) == 0)
		return EAGAIN;
	return __real_pthread_create(thread, attr, routine, arg);
}

static void each_failing_allocation_of_a_threaded_mover_is_enomem(void **state)
{
	(void)state;
	unsigned failing = 0;
	struct data_mover_threads *mover;

	do {
		faults_fail_allocation(++failing);
		errno = 0;
		mover = data_mover_threads_new(2, 8, FUTURE_NOTIFIER_WAKER);
		if (faults_stop()) {
			assert_null(mover);
			assert_int_equal(errno, ENOMEM);
		}
	} while (!mover);
	assert_true(failing > 3);
	data_mover_threads_delete(mover);
}

static void a_thread_that_cannot_be_made_ends_those_made_before(void **state)
{
	(void)state;
	for (int threads = 0; threads < 4; threads++) {
		atomic_store(&threads_left, threads);
		errno = 0;
		assert_null(data_mover_threads_new(4, 8, FUTURE_NOTIFIER_WAKER));
		assert_int_equal(errno, EAGAIN);
	}
	atomic_store(&threads_left, -1);
}

static void a_sync_mover_without_memory_is_enomem(void **state)
{
	(void)state;
	faults_fail_allocation(1);
	errno = 0;
	assert_null(data_mover_sync_new());
	assert_int_equal(errno, ENOMEM);
	assert_int_equal(faults_stop(), 1);
}

static void each_failing_allocation_of_a_runtime_is_enomem(void **state)
{
	(void)state;
	unsigned failing = 0;
	struct runtime *runtime;

	do {
		faults_fail_allocation(++failing);
		errno = 0;
		runtime = runtime_new();
		if (faults_stop()) {
			assert_null(runtime);
			assert_int_equal(errno, ENOMEM);
		}
	} while (!runtime);
	/* What a failed call had got is kept for the next, so that it makes fewer allocations. */
	assert_true(failing > 1);
	runtime_delete(runtime);
}

static void an_operation_without_memory_is_complete_and_says_so(void **state)
{
	(void)state;
	struct data_mover_threads *mover = data_mover_threads_new(1, 8, FUTURE_NOTIFIER_WAKER);
	struct vdm *vdm = data_mover_threads_get_vdm(mover);
	char to[4] = "abc", from[4] = "xyz";

	faults_fail_allocations_from(1);
	struct vdm_operation_future futures[] = {
		vdm_memcpy(vdm, to, from, sizeof(to), 0),
		vdm_memmove(vdm, to, from, sizeof(to), 0),
		vdm_memset(vdm, to, 0, sizeof(to), 0),
		vdm_flush(vdm, to, sizeof(to), 0),
	};
	faults_stop();
	for (int i = 0; i < 4; i++) {
		assert_int_equal(future_poll(&futures[i].base, NULL), FUTURE_STATE_COMPLETE);
		assert_int_equal(FUTURE_OUTPUT(&futures[i])->result, VDM_ERROR_OUT_OF_MEMORY);
		assert_int_equal(FUTURE_OUTPUT(&futures[i])->type, i);
	}
	assert_string_equal(to, "abc");
	data_mover_threads_delete(mover);
}

static void operations_of_the_sync_mover_need_no_memory(void **state)
{
	(void)state;
	struct data_mover_sync *mover = data_mover_sync_new();
	char to[4] = "", from[4] = "xyz";

	faults_fail_allocations_from(1);
	struct vdm_operation_future future = vdm_memcpy(data_mover_sync_get_vdm(mover), to, from, sizeof(to), 0);
	FUTURE_BUSY_POLL(&future);
	faults_stop();
	assert_int_equal(FUTURE_OUTPUT(&future)->result, VDM_SUCCESS);
	assert_string_equal(to, "xyz");
	data_mover_sync_delete(mover);
}

enum { COUNT = 300 };

static void copy_many(struct data_mover_threads *mover, struct runtime *runtime, unsigned failing)
{
	static struct vdm_operation_future operations[COUNT];
	static struct future *futures[COUNT];
	static int to[COUNT], from[COUNT];

	for (int i = 0; i < COUNT; i++) {
		from[i] = i + 1;
		to[i] = 0;
		operations[i] = vdm_memcpy(data_mover_threads_get_vdm(mover), &to[i], &from[i], sizeof(int), 0);
		futures[i] = FUTURE_AS_RUNNABLE(&operations[i]);
	}
	faults_fail_allocation(failing);
	runtime_wait_multiple(runtime, futures, COUNT);
	assert_int_equal(faults_stop(), failing <= 3);
	for (int i = 0; i < COUNT; i++)
		assert_int_equal(to[i], i + 1);
}

static void a_runtime_without_memory_for_many_futures_still_waits_for_them(void **state)
{
	(void)state;
	struct data_mover_threads *mover = data_mover_threads_new(1, 64, FUTURE_NOTIFIER_WAKER);
	struct runtime *runtime = runtime_new();

	for (unsigned failing = 1; failing < 5; failing++)
		copy_many(mover, runtime, failing);
	data_mover_threads_delete(mover);
	runtime_delete(runtime);
}

static struct runtime *inner_runtime;
static struct vdm_operation_future *inner_future;

FUTURE(nested_future, int, int);

static enum future_state nested_task(struct future_context *context, struct future_notifier *notifier)
{
	(void)context;
	(void)notifier;
	runtime_wait(inner_runtime, FUTURE_AS_RUNNABLE(inner_future));
	return FUTURE_STATE_COMPLETE;
}

static void a_second_wait_with_one_runtime_and_no_memory_still_ends(void **state)
{
	(void)state;
	struct data_mover_threads *mover = data_mover_threads_new(1, 4, FUTURE_NOTIFIER_WAKER);
	struct nested_future outer;
	struct runtime *taken[64];
	int count = 0;
	char to[4] = "", from[4] = "xyz";
	struct vdm_operation_future inner = vdm_memcpy(data_mover_threads_get_vdm(mover), to, from, sizeof(to), 0);

	/* Take what earlier runtimes left, so that the second wait needs memory. */
	for (count = 0; count < 64; count++) {
		taken[count] = runtime_new();
		assert_non_null(taken[count]);
	}
	inner_runtime = taken[0];
	inner_future = &inner;
	FUTURE_INIT(&outer, nested_task);
	faults_fail_allocations_from(1);
	runtime_wait(taken[0], FUTURE_AS_RUNNABLE(&outer));
	faults_stop();
	assert_string_equal(to, "xyz");
	while (count > 0)
		runtime_delete(taken[--count]);
	data_mover_threads_delete(mover);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_failing_allocation_of_a_threaded_mover_is_enomem),
		cmocka_unit_test(a_thread_that_cannot_be_made_ends_those_made_before),
		cmocka_unit_test(a_sync_mover_without_memory_is_enomem),
		cmocka_unit_test(each_failing_allocation_of_a_runtime_is_enomem),
		cmocka_unit_test(an_operation_without_memory_is_complete_and_says_so),
		cmocka_unit_test(operations_of_the_sync_mover_need_no_memory),
		cmocka_unit_test(a_runtime_without_memory_for_many_futures_still_waits_for_them),
		cmocka_unit_test(a_second_wait_with_one_runtime_and_no_memory_still_ends),
	};

	return cmocka_run_group_tests_name("miniasync_memory", tests, NULL, NULL);
}
