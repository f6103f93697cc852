/*
 * miniasync_movers.c: tests of the two data movers.
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
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { SYNC, THREADS, MOVER_KINDS };

struct mover {
	struct data_mover_sync *sync;
	struct data_mover_threads *threads;
	struct vdm *vdm;
};

static struct mover mover_new(int kind)
{
	struct mover mover = {0};

	if (kind == SYNC) {
		mover.sync = data_mover_sync_new();
		assert_non_null(mover.sync);
		mover.vdm = data_mover_sync_get_vdm(mover.sync);
	} else {
		mover.threads = data_mover_threads_new(2, 4, FUTURE_NOTIFIER_WAKER);
		assert_non_null(mover.threads);
		mover.vdm = data_mover_threads_get_vdm(mover.threads);
	}
	return mover;
}

static void mover_delete(struct mover *mover)
{
	data_mover_sync_delete(mover->sync);
	data_mover_threads_delete(mover->threads);
}

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

static void fill(char *at, size_t bytes, unsigned seed)
{
	for (size_t i = 0; i < bytes; i++)
		at[i] = (char)(i * 7 + i / 251 + seed);
}

enum { AREA = 5000 };
static const size_t sizes[] = {0, 1, 7, 15, 16, 63, 64, 65, 127, 128, 200, 255, 1000, 4096};

/* Each operation, size, alignment and flag, against the C library; what lies around the destination stays. */
static void compare_with_library(struct vdm *vdm, int operation, size_t bytes, size_t shift, uint64_t flags)
{
	static char from[AREA], to[AREA], expected[AREA];
	struct vdm_operation_future future;
	void *dest = to + 100 + shift;

	fill(from, AREA, 1);
	fill(to, AREA, 2);
	memcpy(expected, to, AREA);
	switch (operation) {
	case 0:
		memcpy(expected + 100 + shift, from + 50 + shift / 3, bytes);
		future = vdm_memcpy(vdm, dest, from + 50 + shift / 3, bytes, flags);
		break;
	case 1:
		memmove(expected + 100 + shift, expected + 80, bytes);
		future = vdm_memmove(vdm, dest, to + 80, bytes, flags);
		break;
	case 2:
		memmove(expected + 100 + shift, expected + 300, bytes);
		future = vdm_memmove(vdm, dest, to + 300, bytes, flags);
		break;
	case 3:
		memset(expected + 100 + shift, 0xe7, bytes);
		future = vdm_memset(vdm, dest, 0xe7, bytes, flags);
		break;
	default:
		future = vdm_flush(vdm, dest, bytes, flags);
		break;
	}
	finish(&future);
	assert_int_equal(FUTURE_OUTPUT(&future)->result, VDM_SUCCESS);
	assert_ptr_equal(FUTURE_OUTPUT(&future)->output.memset.str, operation > 3 ? NULL : dest);
	assert_memory_equal(to, expected, AREA);
}

static void each_operation_does_what_the_c_library_does(void **state)
{
	(void)state;
	for (int kind = 0; kind < MOVER_KINDS; kind++) {
		struct mover mover = mover_new(kind);

		for (int operation = 0; operation < 5; operation++)
			for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++)
				for (size_t shift = 0; shift < 66; shift += 13)
					for (uint64_t flags = 0; flags <= VDM_F_VALID_FLAGS; flags++)
						compare_with_library(mover.vdm, operation, sizes[i], shift, flags);
		mover_delete(&mover);
	}
}

static void the_sync_mover_completes_in_the_first_poll_and_takes_no_notifier(void **state)
{
	(void)state;
	struct mover mover = mover_new(SYNC);
	atomic_int wakes = 0;
	struct future_notifier notifier = {.waker = {&wakes, count_wake}, .notifier_used = FUTURE_NOTIFIER_WAKER};
	char to[4] = "", from[4] = "abc";
	struct vdm_operation_future future = vdm_memcpy(mover.vdm, to, from, sizeof(to), 0);

	assert_false(future_has_property(&future.base, FUTURE_PROPERTY_ASYNC));
	assert_string_equal(to, "");
	assert_int_equal(future_poll(&future.base, &notifier), FUTURE_STATE_COMPLETE);
	assert_string_equal(to, "abc");
	assert_int_equal(notifier.notifier_used, FUTURE_NOTIFIER_NONE);
	mover_delete(&mover);
	assert_int_equal(wakes, 0);
}

static void a_mover_promises_only_what_it_can_know(void **state)
{
	(void)state;
	for (int kind = 0; kind < MOVER_KINDS; kind++) {
		struct mover mover = mover_new(kind);

		assert_true(vdm_is_supported(mover.vdm, VDM_F_NO_CACHE_HINT));
		assert_false(vdm_is_supported(mover.vdm, VDM_F_MEM_DURABLE));
		mover_delete(&mover);
	}
}

static void an_unknown_operation_is_reported_as_corrupted(void **state)
{
	(void)state;
	for (int kind = 0; kind < MOVER_KINDS; kind++) {
		struct mover mover = mover_new(kind);
		char to[4] = "abc";
		struct vdm_operation_future future = vdm_memset(mover.vdm, to, 0, sizeof(to), 0);

		future.data.operation.type = (enum vdm_operation_type)77;
		finish(&future);
		assert_int_equal(FUTURE_OUTPUT(&future)->result, VDM_ERROR_JOB_CORRUPTED);
		assert_string_equal(to, "abc");
		mover_delete(&mover);
	}
}

static void futures_of_a_deleted_mover_complete(void **state)
{
	(void)state;
	for (int kind = 0; kind < MOVER_KINDS; kind++) {
		struct mover mover = mover_new(kind);
		atomic_int wakes = 0;
		struct future_notifier notifier = {.waker = {&wakes, count_wake},
						   .notifier_used = FUTURE_NOTIFIER_WAKER};
		char to[3][4] = {""};
		struct vdm_operation_future futures[3];

		for (int i = 0; i < 3; i++)
			futures[i] = vdm_memset(mover.vdm, to[i], 'a' + i, 3, 0);
		future_poll(&futures[0].base, NULL);
		mover_delete(&mover);
		for (int i = 0; i < 3; i++) {
			assert_int_equal(future_poll(&futures[i].base, &notifier), FUTURE_STATE_COMPLETE);
			assert_int_equal(FUTURE_OUTPUT(&futures[i])->result, VDM_SUCCESS);
		}
		assert_int_equal(notifier.notifier_used, FUTURE_NOTIFIER_NONE);
		assert_string_equal(to[0], "aaa");
		assert_string_equal(to[1], "bbb");
		assert_string_equal(to[2], "ccc");
		assert_int_equal(wakes, 0);
	}
}

static void an_operation_given_up_before_it_was_begun_says_that_nothing_was_done(void **state)
{
	(void)state;
	struct mover mover = mover_new(THREADS);
	struct vdm_operation operation = {.type = VDM_OPERATION_MEMSET};
	struct vdm_operation_output output;
	void *data = mover.vdm->op_new(mover.vdm, operation.type);

	mover.vdm->op_delete(data, &operation, &output);
	assert_int_equal(output.result, VDM_ERROR_JOB_CORRUPTED);
	mover_delete(&mover);
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
	atomic_bool woken;
};

static void mark_woken(void *data)
{
	atomic_store(&((struct woken_poll *)data)->woken, true);
}

static void a_poll_after_the_wake_up_finds_the_operation_complete(void **state)
{
	(void)state;
	struct data_mover_threads *mover = data_mover_threads_new(1, 4, FUTURE_NOTIFIER_WAKER);
	char to[4], from[4] = "abc";

	for (int round = 0; round < 300; round++) {
		struct woken_poll poll = {.woken = false};
		struct future_notifier notifier = {.waker = {&poll, mark_woken}};

		poll.future = vdm_memcpy(data_mover_threads_get_vdm(mover), to, from, sizeof(to), 0);
		future_poll(&poll.future.base, &notifier);
		assert_int_equal(notifier.notifier_used, FUTURE_NOTIFIER_WAKER);
		while (!atomic_load(&poll.woken))
			sched_yield();
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

static atomic_uint seen_flags;
static atomic_int replaced_calls;

static void *own_copy(void *dst, const void *src, size_t n, unsigned flags)
{
	atomic_store(&seen_flags, flags);
	atomic_fetch_add(&replaced_calls, 1);
	return memcpy(dst, src, n);
}

static void *own_move(void *dst, const void *src, size_t n, unsigned flags)
{
	atomic_store(&seen_flags, flags);
	atomic_fetch_add(&replaced_calls, 10);
	return memmove(dst, src, n);
}

static void *own_set(void *str, int c, size_t n, unsigned flags)
{
	atomic_store(&seen_flags, flags);
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
	run_each(vdm, 1U << 31 | VDM_F_MEM_DURABLE);
	assert_int_equal(replaced_calls, 111);
	assert_int_equal(seen_flags, 1U << 31 | VDM_F_MEM_DURABLE);
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

struct copies {
	FUTURE_CHAIN_ENTRY(struct vdm_operation_future, first);
	FUTURE_CHAIN_ENTRY_LAST(struct vdm_operation_future, second);
};

struct copies_output {
	int mapped;
};

FUTURE(copies_future, struct copies, struct copies_output);

static void take_source(struct future_context *entry, struct future_context *next, void *arg)
{
	struct vdm_operation_output *output = future_context_get_output(entry);
	struct vdm_operation_data *data = future_context_get_data(next);

	(void)arg;
	data->operation.data.memcpy.src = output->output.memcpy.dest;
}

static void count_map(struct future_context *entry, struct future_context *next, void *arg)
{
	struct copies_output *output = future_context_get_output(next);

	(void)entry;
	(void)arg;
	output->mapped++;
}

static void a_chain_copies_what_its_first_entry_copied(void **state)
{
	(void)state;
	for (int kind = 0; kind < MOVER_KINDS; kind++) {
		struct mover mover = mover_new(kind);
		char from[64], between[64] = "", to[64] = "";
		struct copies_future chain;

		fill(from, sizeof(from), 3);
		memset(&chain, 0, sizeof(chain));
		FUTURE_CHAIN_ENTRY_INIT(&chain.data.first, vdm_memcpy(mover.vdm, between, from, sizeof(from), 0),
					take_source, NULL);
		FUTURE_CHAIN_ENTRY_INIT(&chain.data.second, vdm_memcpy(mover.vdm, to, NULL, sizeof(to), 0), count_map,
					NULL);
		FUTURE_CHAIN_INIT(&chain);
		assert_int_equal(future_has_property(&chain.base, FUTURE_PROPERTY_ASYNC), kind == THREADS);
		while (future_poll(&chain.base, NULL) != FUTURE_STATE_COMPLETE)
			sched_yield();
		mover_delete(&mover);
		assert_memory_equal(to, from, sizeof(to));
		assert_int_equal(chain.output.mapped, 1);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_operation_does_what_the_c_library_does),
		cmocka_unit_test(the_sync_mover_completes_in_the_first_poll_and_takes_no_notifier),
		cmocka_unit_test(a_mover_promises_only_what_it_can_know),
		cmocka_unit_test(an_unknown_operation_is_reported_as_corrupted),
		cmocka_unit_test(futures_of_a_deleted_mover_complete),
		cmocka_unit_test(an_operation_given_up_before_it_was_begun_says_that_nothing_was_done),
		cmocka_unit_test(the_threaded_mover_refuses_what_it_cannot_be),
		cmocka_unit_test(the_default_mover_works_asynchronously_and_takes_wakers),
		cmocka_unit_test(a_full_ring_holds_operations_back_and_loses_none),
		cmocka_unit_test(each_waker_that_was_taken_is_called_exactly_once),
		cmocka_unit_test(a_poll_after_the_wake_up_finds_the_operation_complete),
		cmocka_unit_test(a_mover_made_for_no_notifier_takes_none),
		cmocka_unit_test(deleting_a_mover_finishes_what_is_in_flight),
		cmocka_unit_test(replaced_functions_get_the_flags_as_they_are),
		cmocka_unit_test(signals_are_left_to_the_threads_of_the_caller),
		cmocka_unit_test(a_chain_copies_what_its_first_entry_copied),
	};

	return cmocka_run_group_tests_name("miniasync_movers", tests, NULL, NULL);
}
