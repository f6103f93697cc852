/*
 * data_mover_threads.c: a pool of threads, fed by a ring of bounded size.
 *
 * States     An operation is NEW after op_new, BEGUN once op_start put it into the ring, DONE when the work is done.
 *            BEGUN ones belong to the pool, the others to whoever polls.
 * Full ring  op_start leaves the operation NEW and says "not now". Nothing is ever dropped and nobody sleeps in poll.
 * Completion A thread of the pool takes a copy of the waker, stores DONE with release, then calls the waker: a poller
 *            that was woken finds the operation complete, so no wake-up is lost. After DONE it does not touch the
 *            operation any more, for a poll may have freed it. So the call may come after a poll saw completion.
 * Deletion   After "stopping" is set, under the lock, nothing enters the ring; the pool empties it and ends. An
 *            operation that is still NEW then is worked on inside of op_start, without a waker.
 * Memory     One reference for the owner, one for each operation; the last to let go frees the mover. The pool needs
 *            none: it ends before the owner lets go.
 */
#include <libminiasync/data_mover_threads.h>

#include "base/export.h"
#include "miniasync/operation.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <unistd.h>

enum { DEFAULT_THREADS_MAX = 16, DEFAULT_RING_COUNT = 128 };
enum { THREADS_MAX = 1 << 16, RING_MAX = 1 << 30 };

enum task_state { NEW, BEGUN, DONE };

struct task {
	struct data_mover_threads *mover;
	_Atomic enum task_state state;
	bool has_waker;
	struct future_waker waker;
	struct vdm_operation operation;
};

struct data_mover_threads {
	struct vdm vdm; /* first: a pointer to it is a pointer to the mover */
	atomic_size_t references;
	struct operation_functions functions;
	enum future_notifier_type desired_notifier;
	pthread_t *threads;
	size_t thread_count;

	pthread_mutex_t lock; /* protects what follows */
	pthread_cond_t work_or_stop;
	bool stopping;
	struct task **ring;
	size_t ring_size, ring_first, ring_used;
};

static void let_go(struct data_mover_threads *mover)
{
	if (atomic_fetch_sub_explicit(&mover->references, 1, memory_order_acq_rel) != 1)
		return;
	pthread_cond_destroy(&mover->work_or_stop);
	pthread_mutex_destroy(&mover->lock);
	free(mover->ring);
	free(mover->threads);
	free(mover);
}

static void *op_new(struct vdm *vdm, const enum vdm_operation_type type)
{
	struct data_mover_threads *mover = (struct data_mover_threads *)vdm;
	struct task *task = calloc(1, sizeof(*task));

	(void)type;
	if (!task)
		return NULL;
	task->mover = mover;
	atomic_init(&task->state, NEW);
	atomic_fetch_add_explicit(&mover->references, 1, memory_order_relaxed);
	return task;
}

static void take_notifier(struct task *task, struct future_notifier *notifier)
{
	if (!notifier)
		return;
	task->has_waker = task->mover->desired_notifier == FUTURE_NOTIFIER_WAKER && notifier->waker.wake;
	if (task->has_waker)
		task->waker = notifier->waker;
	notifier->notifier_used = task->has_waker ? FUTURE_NOTIFIER_WAKER : FUTURE_NOTIFIER_NONE;
}

static int op_start(void *data, const struct vdm_operation *operation, struct future_notifier *notifier)
{
	struct task *task = data;
	struct data_mover_threads *mover = task->mover;
	bool stopping, full;

	assert(atomic_load_explicit(&task->state, memory_order_relaxed) == NEW);
	if (notifier)
		notifier->notifier_used = FUTURE_NOTIFIER_NONE;
	pthread_mutex_lock(&mover->lock);
	stopping = mover->stopping;
	full = mover->ring_used == mover->ring_size;
	if (!stopping && !full) {
		task->operation = *operation;
		take_notifier(task, notifier);
		atomic_store_explicit(&task->state, BEGUN, memory_order_relaxed);
		mover->ring[(mover->ring_first + mover->ring_used++) % mover->ring_size] = task;
		pthread_cond_signal(&mover->work_or_stop);
	}
	pthread_mutex_unlock(&mover->lock);

	if (stopping) {
		operation_perform(operation, &mover->functions);
		atomic_store_explicit(&task->state, DONE, memory_order_relaxed);
		return 0;
	}
	return full ? -1 : 0;
}

static enum future_state op_check(void *data, const struct vdm_operation *operation)
{
	struct task *task = data;

	(void)operation;
	return atomic_load_explicit(&task->state, memory_order_acquire) == DONE ? FUTURE_STATE_COMPLETE
										: FUTURE_STATE_RUNNING;
}

static void op_delete(void *data, const struct vdm_operation *operation, struct vdm_operation_output *output)
{
	struct task *task = data;
	struct data_mover_threads *mover = task->mover;
	enum task_state state = atomic_load_explicit(&task->state, memory_order_relaxed); /* op_check acquired */

	assert(state != BEGUN);
	operation_output(operation, output);
	if (state != DONE)
		output->result = VDM_ERROR_JOB_CORRUPTED;
	free(task);
	let_go(mover);
}

static int has_property(void *future, enum future_property property)
{
	(void)future;
	return property == FUTURE_PROPERTY_ASYNC;
}

/* The next operation to work on, NULL when the pool has to end. */
static struct task *take_task(struct data_mover_threads *mover)
{
	struct task *task = NULL;

	pthread_mutex_lock(&mover->lock);
	while (mover->ring_used == 0 && !mover->stopping)
		pthread_cond_wait(&mover->work_or_stop, &mover->lock);
	if (mover->ring_used) {
		task = mover->ring[mover->ring_first];
		mover->ring_first = (mover->ring_first + 1) % mover->ring_size;
		mover->ring_used--;
	}
	pthread_mutex_unlock(&mover->lock);
	return task;
}

static void *work(void *arg)
{
	struct data_mover_threads *mover = arg;
	struct task *task;

	while ((task = take_task(mover))) {
		bool has_waker = task->has_waker;
		struct future_waker waker = task->waker;

		operation_perform(&task->operation, &mover->functions);
		atomic_store_explicit(&task->state, DONE, memory_order_release);
		if (has_waker)
			FUTURE_WAKER_WAKE(&waker);
	}
	return NULL;
}

static void stop_and_join(struct data_mover_threads *mover)
{
	pthread_mutex_lock(&mover->lock);
	mover->stopping = true;
	pthread_cond_broadcast(&mover->work_or_stop);
	pthread_mutex_unlock(&mover->lock);
	for (size_t i = 0; i < mover->thread_count; i++) {
		assert(!pthread_equal(mover->threads[i], pthread_self()));
		pthread_join(mover->threads[i], NULL);
	}
}

/* 0 or an error number; what was started is counted either way. Signals are for the threads of the caller. */
static int start_threads(struct data_mover_threads *mover, size_t count)
{
	sigset_t all, before;
	int err = 0;

	sigfillset(&all);
	sigdelset(&all, SIGBUS); /* a fault in a copy goes to the program's handler only if it is not blocked */
	sigdelset(&all, SIGSEGV);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	while (mover->thread_count < count) {
		err = pthread_create(&mover->threads[mover->thread_count], NULL, work, mover);
		if (err)
			break;
		mover->thread_count++;
	}
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return err;
}

EXPORT struct data_mover_threads *data_mover_threads_new(size_t nthreads, size_t ringbuf_size,
							 enum future_notifier_type desired_notifier)
{
	struct data_mover_threads *mover;
	int err;

	if (nthreads == 0 || nthreads > THREADS_MAX || ringbuf_size == 0 || ringbuf_size > RING_MAX ||
	    (desired_notifier != FUTURE_NOTIFIER_NONE && desired_notifier != FUTURE_NOTIFIER_WAKER)) {
		errno = EINVAL;
		return NULL;
	}
	mover = calloc(1, sizeof(*mover));
	if (!mover)
		return NULL;
	mover->vdm.op_new = op_new;
	mover->vdm.op_delete = op_delete;
	mover->vdm.op_start = op_start;
	mover->vdm.op_check = op_check;
	mover->vdm.capabilities = OPERATION_CAPABILITIES;
	mover->vdm.has_property = has_property;
	atomic_init(&mover->references, 1);
	mover->functions = operation_own_functions;
	mover->desired_notifier = desired_notifier;
	mover->ring_size = ringbuf_size;
	pthread_mutex_init(&mover->lock, NULL);
	pthread_cond_init(&mover->work_or_stop, NULL);
	mover->threads = calloc(nthreads, sizeof(*mover->threads));
	mover->ring = calloc(ringbuf_size, sizeof(struct task *));
	err = mover->threads && mover->ring ? start_threads(mover, nthreads) : ENOMEM;
	if (err) {
		data_mover_threads_delete(mover);
		errno = err;
		return NULL;
	}
	return mover;
}

EXPORT struct data_mover_threads *data_mover_threads_default(void)
{
	long online = sysconf(_SC_NPROCESSORS_ONLN);
	size_t threads = online < 1 ? 1 : (size_t)online;

	if (threads > DEFAULT_THREADS_MAX)
		threads = DEFAULT_THREADS_MAX;
	return data_mover_threads_new(threads, DEFAULT_RING_COUNT, FUTURE_NOTIFIER_WAKER);
}

EXPORT struct vdm *data_mover_threads_get_vdm(struct data_mover_threads *dmt)
{
	return &dmt->vdm;
}

EXPORT void data_mover_threads_delete(struct data_mover_threads *dmt)
{
	if (!dmt)
		return;
	stop_and_join(dmt);
	let_go(dmt);
}

EXPORT void data_mover_threads_set_memcpy_fn(struct data_mover_threads *dmt, memcpy_fn op_memcpy)
{
	dmt->functions.copy = op_memcpy ? op_memcpy : operation_own_functions.copy;
}

EXPORT void data_mover_threads_set_memmove_fn(struct data_mover_threads *dmt, memmove_fn op_memmove)
{
	dmt->functions.move = op_memmove ? op_memmove : operation_own_functions.move;
}

EXPORT void data_mover_threads_set_memset_fn(struct data_mover_threads *dmt, memset_fn op_memset)
{
	dmt->functions.set = op_memset ? op_memset : operation_own_functions.set;
}
