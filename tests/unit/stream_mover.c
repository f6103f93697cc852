/*
 * stream_mover.c: a data mover that does what a test tells it.
 */
#include "stream_mover.h"

#include <limits.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

struct manual_operation {
	struct manual_mover *mover;
	struct manual_operation *next;
	struct future_waker waker;
	bool done;
};

static void *op_new(struct vdm *vdm, const enum vdm_operation_type type)
{
	struct manual_mover *mover = (struct manual_mover *)vdm;
	struct manual_operation *operation;

	(void)type;
	if (atomic_fetch_sub(&mover->operations_left, 1) <= 0)
		return NULL;
	operation = calloc(1, sizeof(*operation));
	if (!operation)
		abort();
	operation->mover = mover;
	atomic_fetch_add(&mover->living, 1);
	return operation;
}

static int op_start(void *data, const struct vdm_operation *what, struct future_notifier *notifier)
{
	struct manual_operation *operation = data;
	struct manual_mover *mover = operation->mover;

	(void)what;
	if (atomic_load(&mover->refusals) > 0) {
		atomic_fetch_sub(&mover->refusals, 1);
		return -1;
	}
	pthread_mutex_lock(&mover->lock);
	if (mover->wakes && notifier && !atomic_load(&mover->released)) {
		operation->waker = notifier->waker;
		notifier->notifier_used = FUTURE_NOTIFIER_WAKER;
		operation->next = mover->waiting;
		mover->waiting = operation;
	}
	pthread_mutex_unlock(&mover->lock);
	atomic_fetch_add(&mover->started, 1);
	return 0;
}

static enum future_state op_check(void *data, const struct vdm_operation *what)
{
	struct manual_operation *operation = data;
	size_t bytes = what->data.memcpy.n;

	if (!atomic_load(&operation->mover->released))
		return FUTURE_STATE_RUNNING;
	if (!operation->done)
		memcpy(what->data.memcpy.dest, what->data.memcpy.src,
		       operation->mover->result == VDM_SUCCESS ? bytes : bytes / 2);
	operation->done = true;
	return FUTURE_STATE_COMPLETE;
}

static void op_delete(void *data, const struct vdm_operation *what, struct vdm_operation_output *output)
{
	struct manual_operation *operation = data;

	output->type = what->type;
	output->result = operation->mover->result;
	output->output.memcpy.dest = what->data.memcpy.dest;
	atomic_fetch_sub(&operation->mover->living, 1);
	free(operation);
}

void manual_mover_init(struct manual_mover *mover)
{
	memset(mover, 0, sizeof(*mover));
	mover->vdm = (struct vdm){.op_new = op_new, .op_delete = op_delete, .op_start = op_start, .op_check = op_check};
	mover->result = VDM_SUCCESS;
	atomic_store(&mover->operations_left, INT_MAX);
	pthread_mutex_init(&mover->lock, NULL);
}

void manual_mover_release(struct manual_mover *mover)
{
	struct future_waker wakers[64];
	int count = 0;

	pthread_mutex_lock(&mover->lock);
	for (; mover->waiting && count < 64; mover->waiting = mover->waiting->next)
		wakers[count++] = mover->waiting->waker;
	atomic_store(&mover->released, true);
	pthread_mutex_unlock(&mover->lock);
	for (int i = 0; i < count; i++)
		FUTURE_WAKER_WAKE(&wakers[i]);
}

void manual_mover_await_start(struct manual_mover *mover, int started)
{
	while (atomic_load(&mover->started) < started)
		sched_yield();
}
