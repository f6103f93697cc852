/*
 * miniasync_threads.c: tests of the data mover with threads: its ring, its wakers, its deletion, its functions.
 *
 * Where a test needs operations to be in flight, the copy function of the mover waits at a gate. Nothing sleeps, and
 * no test depends on who is faster.
 */
#include <libminiasync.h>

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void finish(struct vdm_operation_future *future)
{
	while (future_poll(&future->base, NULL) != FUTURE_STATE_COMPLETE)
		sched_yield();
}

static struct gate {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	int entered;
	bool open;
} gate = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

static void gate_shut(void)
{
	pthread_mutex_lock(&gate.lock);
	gate.entered = 0;
	gate.open = false;
	pthread_mutex_unlock(&gate.lock);
}

static void gate_open(void)
{
	pthread_mutex_lock(&gate.lock);
	gate.open = true;
	pthread_cond_broadcast(&gate.changed);
	pthread_mutex_unlock(&gate.lock);
}

static void gate_await(int entered)
{
	pthread_mutex_lock(&gate.lock);
	while (gate.entered < entered)
		pthread_cond_wait(&gate.changed, &gate.lock);
	pthread_mutex_unlock(&gate.lock);
}

static void *copy_at_gate(void *dst, const void *src, size_t n, unsigned flags)
{
	(void)flags;
	pthread_mutex_lock(&gate.lock);
	gate.entered++;
	pthread_cond_broadcast(&gate.changed);
	while (!gate.open)
		pthread_cond_wait(&gate.changed, &gate.lock);
	pthread_mutex_unlock(&gate.lock);
	return memcpy(dst, src, n);
}

static void count_wake(void *data)
{
	atomic_fetch_add((atomic_int *)data, 1);
}

static void the_threaded_mover_refuses_what_it_cannot_be(void **state)
{
	(void)state;
	static const struct {
		size_t threads, ring;
		enum future_notifier_type notifier;
		int error;
	} rows[] = {
		{0, 1, FUTURE_NOTIFIER_NONE, EINVAL},        {1, 0, FUTURE_NOTIFIER_NONE, EINVAL},
		{1, 1, FUTURE_NOTIFIER_POLLER, EINVAL},      {1, 1, (enum future_notifier_type)9, EINVAL},
		{1, SIZE_MAX, FUTURE_NOTIFIER_NONE, EINVAL}, {SIZE_MAX, 1, FUTURE_NOTIFIER_NONE, EINVAL},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		errno = 0;
		assert_null(data_mover_threads_new(rows[i].threads, rows[i].ring, rows[i].notifier));
		assert_int_equal(errno, rows[i].error);
	}
	data_mover_threads_delete(NULL);
	data_mover_sync_delete(NULL);
}

static void the_default_mover_works_asynchronously_and_takes_wakers(void **state)
{
	(void)state;
	struct data_mover_threads *mover = data_mover_threads_default();
	atomic_int wakes = 0;
	struct future_notifier notifier = {.waker = {&wakes, count_wake}};
	char to[4] = "";

	assert_non_null(mover);
	struct vdm_operation_future future = vdm_memset(data_mover_threads_get_vdm(mover), to, 'x', 3, 0);
	assert_true(future_has_property(&future.base, FUTURE_PROPERTY_ASYNC));
	assert_false(future_has_property(&future.base, (enum future_property)1));
	future_poll(&future.base, &notifier);
	assert_int_equal(notifier.notifier_used, FUTURE_NOTIFIER_WAKER);
	finish(&future);
	data_mover_threads_delete(mover);
	assert_int_equal(wakes, 1);
	assert_string_equal(to, "xxx");
}

static void a_full_ring_holds_operations_back_and_loses_none(void **state)
{
	(void)state;
	enum { RING = 2, BEGUN = 1 + RING, ALL = BEGUN + 3 };
	struct data_mover_threads *mover = data_mover_threads_new(1, RING, FUTURE_NOTIFIER_WAKER);
	struct vdm *vdm = data_mover_threads_get_vdm(mover);
	struct vdm_operation_future futures[ALL];
	atomic_int wakes = 0;
	int to[ALL] = {0}, from[ALL];

	gate_shut();
	data_mover_threads_set_memcpy_fn(mover, copy_at_gate);
	for (int i = 0; i < ALL; i++) {
		from[i] = i + 1;
		futures[i] = vdm_memcpy(vdm, &to[i], &from[i], sizeof(int), 0);
	}
	assert_int_equal(future_poll(&futures[0].base, NULL), FUTURE_STATE_RUNNING);
	gate_await(1); /* the one thread has taken it out of the ring */
	for (int round = 0; round < 3; round++)
		for (int i = 1; i < ALL; i++) {
			struct future_notifier notifier = {.waker = {&wakes, count_wake}};

			assert_int_equal(future_poll(&futures[i].base, &notifier),
					 i < BEGUN ? FUTURE_STATE_RUNNING : FUTURE_STATE_IDLE);
			assert_int_equal(notifier.notifier_used,
					 i < BEGUN && round == 0 ? FUTURE_NOTIFIER_WAKER : FUTURE_NOTIFIER_NONE);
		}
	gate_open();
	for (int i = 0; i < ALL; i++) {
		finish(&futures[i]);
		assert_int_equal(FUTURE_OUTPUT(&futures[i])->result, VDM_SUCCESS);
		assert_int_equal(to[i], i + 1);
	}
	data_mover_threads_delete(mover);
	assert_int_equal(wakes, RING);
}

static void each_waker_that_was_taken_is_called_exactly_once(void **state)
{
	(void)state;
	enum { COUNT = 500 };
	struct data_mover_threads *mover = data_mover_threads_new(3, 8, FUTURE_NOTIFIER_WAKER);
	struct vdm *vdm = data_mover_threads_get_vdm(mover);
	static atomic_int wakes[COUNT];
	static int to[COUNT], from[COUNT];
	static struct vdm_operation_future futures[COUNT];
	int complete = 0;

	for (int i = 0; i < COUNT; i++) {
		from[i] = i + 1;
		futures[i] = vdm_memcpy(vdm, &to[i], &from[i], sizeof(int), 0);
	}
	while (complete < COUNT) {
		complete = 0;
		for (int i = 0; i < COUNT; i++) {
			struct future_notifier notifier = {.waker = {&wakes[i], count_wake}};

			complete += future_poll(&futures[i].base, &notifier) == FUTURE_STATE_COMPLETE;
		}
	}
	data_mover_threads_delete(mover);
	for (int i = 0; i < COUNT; i++) {
		assert_int_equal(wakes[i], 1);
		assert_int_equal(to[i], i + 1);
	}
}

struct woken_poll {
	struct vdm_operation_future future;
	enum future_state seen;
	atomic_bool woken;
};

/* Asks the mover as a poll would, at the earliest moment that a wake-up can lead to one. */
static void check_and_mark_woken(void *data)
{
	struct woken_poll *poll = data;
	struct vdm_operation_data *operation = FUTURE_DATA(&poll->future);

	poll->seen = operation->vdm->op_check(operation->data, &operation->operation);
	atomic_store(&poll->woken, true);
}

static void a_poll_after_the_wake_up_finds_the_operation_complete(void **state)
{
	(void)state;
	struct data_mover_threads *mover = data_mover_threads_new(1, 4, FUTURE_NOTIFIER_WAKER);
	char to[4], from[4] = "abc";

	data_mover_threads_set_memcpy_fn(mover, copy_at_gate);
	for (int round = 0; round < 100; round++) {
		struct woken_poll poll = {.woken = false};
		struct future_notifier notifier = {.waker = {&poll, check_and_mark_woken}};

		poll.future = vdm_memcpy(data_mover_threads_get_vdm(mover), to, from, sizeof(to), 0);
		gate_shut();
		assert_int_equal(future_poll(&poll.future.base, &notifier), FUTURE_STATE_RUNNING);
		assert_int_equal(notifier.notifier_used, FUTURE_NOTIFIER_WAKER);
		gate_open();
		while (!atomic_load(&poll.woken))
			sched_yield();
		assert_int_equal(poll.seen, FUTURE_STATE_COMPLETE);
		assert_int_equal(future_poll(&poll.future.base, NULL), FUTURE_STATE_COMPLETE);
	}
	data_mover_threads_delete(mover);
}

static void a_mover_made_for_no_notifier_takes_none(void **state)
{
	(void)state;
	struct data_mover_threads *mover = data_mover_threads_new(1, 4, FUTURE_NOTIFIER_NONE);
	atomic_int wakes = 0;
	struct future_notifier notifier = {.waker = {&wakes, count_wake}, .notifier_used = FUTURE_NOTIFIER_WAKER};
	char to[4];
	struct vdm_operation_future future = vdm_memset(data_mover_threads_get_vdm(mover), to, 0, sizeof(to), 0);

	future_poll(&future.base, &notifier);
	assert_int_equal(notifier.notifier_used, FUTURE_NOTIFIER_NONE);
	finish(&future);
	data_mover_threads_delete(mover);
	assert_int_equal(wakes, 0);
}

static void *delete_mover(void *arg)
{
	data_mover_threads_delete(arg);
	return NULL;
}

static void deleting_a_mover_finishes_what_is_in_flight(void **state)
{
	(void)state;
	enum { RING = 3, BEGUN = 1 + RING };
	struct data_mover_threads *mover = data_mover_threads_new(1, RING, FUTURE_NOTIFIER_WAKER);
	struct vdm *vdm = data_mover_threads_get_vdm(mover);
	struct vdm_operation_future futures[BEGUN + 1], probe;
	atomic_int wakes = 0;
	struct future_notifier notifier = {.waker = {&wakes, count_wake}};
	int to[BEGUN + 1] = {0}, from[BEGUN + 1], probed = 0;
	pthread_t deleter;

	gate_shut();
	data_mover_threads_set_memcpy_fn(mover, copy_at_gate);
	for (int i = 0; i <= BEGUN; i++) {
		from[i] = i + 1;
		futures[i] = vdm_memcpy(vdm, &to[i], &from[i], sizeof(int), 0);
	}
	probe = vdm_memset(vdm, &probed, 1, sizeof(probed), 0);
	for (int i = 0; i < BEGUN; i++) {
		assert_int_equal(future_poll(&futures[i].base, &notifier), FUTURE_STATE_RUNNING);
		gate_await(1);
	}
	assert_int_equal(future_poll(&probe.base, &notifier), FUTURE_STATE_IDLE);
	assert_int_equal(pthread_create(&deleter, NULL, delete_mover, mover), 0);
	/* The ring stays full until the gate opens, so this ends only when the mover is being deleted. */
	finish(&probe);
	assert_int_equal(probed, 0x01010101);
	for (int i = 0; i < BEGUN; i++)
		assert_int_equal(future_poll(&futures[i].base, NULL), FUTURE_STATE_RUNNING);
	gate_open();
	pthread_join(deleter, NULL);
	assert_int_equal(wakes, BEGUN);
	for (int i = 0; i <= BEGUN; i++) {
		assert_int_equal(future_poll(&futures[i].base, NULL), FUTURE_STATE_COMPLETE);
		assert_int_equal(to[i], i + 1);
	}
}

enum { OWN_FLAGS = 1 << 30 | VDM_F_MEM_DURABLE };
static atomic_int seen_flags;
static atomic_int replaced_calls;

static void *own_copy(void *dst, const void *src, size_t n, unsigned flags)
{
	atomic_fetch_add(&seen_flags, flags == OWN_FLAGS);
	atomic_fetch_add(&replaced_calls, 1);
	return memcpy(dst, src, n);
}

static void *own_move(void *dst, const void *src, size_t n, unsigned flags)
{
	atomic_fetch_add(&seen_flags, flags == OWN_FLAGS);
	atomic_fetch_add(&replaced_calls, 10);
	return memmove(dst, src, n);
}

static void *own_set(void *str, int c, size_t n, unsigned flags)
{
	atomic_fetch_add(&seen_flags, flags == OWN_FLAGS);
	atomic_fetch_add(&replaced_calls, 100);
	return memset(str, c, n);
}

static void run_each(struct vdm *vdm, unsigned flags)
{
	char to[4] = "", from[4] = "abc";
	struct vdm_operation_future future = vdm_memcpy(vdm, to, from, sizeof(to), flags);

	finish(&future);
	assert_string_equal(to, "abc");
	future = vdm_memmove(vdm, to, to + 1, 2, flags);
	finish(&future);
	assert_string_equal(to, "bcc");
	future = vdm_memset(vdm, to, 'x', 3, flags);
	finish(&future);
	assert_string_equal(to, "xxx");
}

static void replaced_functions_get_the_flags_as_they_are(void **state)
{
	(void)state;
	struct data_mover_threads *mover = data_mover_threads_new(1, 1, FUTURE_NOTIFIER_WAKER);
	struct vdm *vdm = data_mover_threads_get_vdm(mover);

	data_mover_threads_set_memcpy_fn(mover, own_copy);
	data_mover_threads_set_memmove_fn(mover, own_move);
	data_mover_threads_set_memset_fn(mover, own_set);
	run_each(vdm, OWN_FLAGS);
	assert_int_equal(replaced_calls, 111);
	assert_int_equal(seen_flags, 3);
	data_mover_threads_set_memcpy_fn(mover, NULL);
	data_mover_threads_set_memmove_fn(mover, NULL);
	data_mover_threads_set_memset_fn(mover, NULL);
	run_each(vdm, 0);
	assert_int_equal(replaced_calls, 111);
	data_mover_threads_delete(mover);
}

static atomic_int signals_open;

static void *copy_and_look_at_signals(void *dst, const void *src, size_t n, unsigned flags)
{
	sigset_t mask;

	(void)flags;
	pthread_sigmask(SIG_SETMASK, NULL, &mask);
	atomic_store(&signals_open, !sigismember(&mask, SIGINT) || !sigismember(&mask, SIGALRM));
	return memcpy(dst, src, n);
}

static void signals_are_left_to_the_threads_of_the_caller(void **state)
{
	(void)state;
	struct data_mover_threads *mover = data_mover_threads_new(1, 1, FUTURE_NOTIFIER_NONE);
	char to[4], from[4] = "abc";
	sigset_t mask;

	atomic_store(&signals_open, 1);
	data_mover_threads_set_memcpy_fn(mover, copy_and_look_at_signals);
	struct vdm_operation_future future = vdm_memcpy(data_mover_threads_get_vdm(mover), to, from, sizeof(to), 0);
	finish(&future);
	data_mover_threads_delete(mover);
	assert_int_equal(signals_open, 0);
	pthread_sigmask(SIG_SETMASK, NULL, &mask);
	assert_false(sigismember(&mask, SIGINT));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_threaded_mover_refuses_what_it_cannot_be),
		cmocka_unit_test(the_default_mover_works_asynchronously_and_takes_wakers),
		cmocka_unit_test(a_full_ring_holds_operations_back_and_loses_none),
		cmocka_unit_test(each_waker_that_was_taken_is_called_exactly_once),
		cmocka_unit_test(a_poll_after_the_wake_up_finds_the_operation_complete),
		cmocka_unit_test(a_mover_made_for_no_notifier_takes_none),
		cmocka_unit_test(deleting_a_mover_finishes_what_is_in_flight),
		cmocka_unit_test(replaced_functions_get_the_flags_as_they_are),
		cmocka_unit_test(signals_are_left_to_the_threads_of_the_caller),
	};

	return cmocka_run_group_tests_name("miniasync_threads", tests, NULL, NULL);
}
