/*
 * data_mover_sync.c: does the work in op_start, hence inside of the first poll.
 *
 * An operation has no state of its own: what op_new returns is the mover, with one reference more. So operations cost
 * no memory, and the mover stays allocated until its owner and the last operation have let go of it.
 */
#include <libminiasync/data_mover_sync.h>

#include "base/export.h"
#include "miniasync/operation.h"

#include <stdatomic.h>
#include <stdlib.h>

struct data_mover_sync {
	struct vdm vdm; /* first: a pointer to it is a pointer to the mover */
	atomic_size_t references;
};

static void let_go(struct data_mover_sync *mover)
{
	if (atomic_fetch_sub_explicit(&mover->references, 1, memory_order_acq_rel) == 1)
		free(mover);
}

static void *op_new(struct vdm *vdm, const enum vdm_operation_type type)
{
	struct data_mover_sync *mover = (struct data_mover_sync *)vdm;

	(void)type;
	atomic_fetch_add_explicit(&mover->references, 1, memory_order_relaxed);
	return mover;
}

static int op_start(void *data, const struct vdm_operation *operation, struct future_notifier *notifier)
{
	(void)data;
	if (notifier)
		notifier->notifier_used = FUTURE_NOTIFIER_NONE;
	operation_perform(operation, &operation_own_functions);
	return 0;
}

static enum future_state op_check(void *data, const struct vdm_operation *operation)
{
	(void)data;
	(void)operation;
	return FUTURE_STATE_COMPLETE;
}

static void op_delete(void *data, const struct vdm_operation *operation, struct vdm_operation_output *output)
{
	operation_output(operation, output);
	let_go(data);
}

EXPORT struct data_mover_sync *data_mover_sync_new(void)
{
	struct data_mover_sync *mover = calloc(1, sizeof(*mover));

	if (!mover)
		return NULL;
	mover->vdm.op_new = op_new;
	mover->vdm.op_delete = op_delete;
	mover->vdm.op_start = op_start;
	mover->vdm.op_check = op_check;
	mover->vdm.capabilities = OPERATION_CAPABILITIES;
	mover->vdm.has_property = NULL;
	atomic_init(&mover->references, 1);
	return mover;
}

EXPORT struct vdm *data_mover_sync_get_vdm(struct data_mover_sync *dms)
{
	return &dms->vdm;
}

EXPORT void data_mover_sync_delete(struct data_mover_sync *dms)
{
	if (dms)
		let_go(dms);
}
