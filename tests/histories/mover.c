/*
 * mover.c: copies half of the data at its start and the rest when its last poll is due; all stores are direct ones,
 * which the medium is told of only by the library.
 */
#include "histories/mover.h"

#include <assert.h>
#include <string.h>

/* An operation knows its mover by its place in the table. */
static struct mover *mover_of;

static void *op_new(struct vdm *vdm, const enum vdm_operation_type type)
{
	struct mover *mover = (struct mover *)vdm;

	assert(type == VDM_OPERATION_MEMCPY);
	for (unsigned i = 0; i < MOVER_OPERATIONS_MAX; i++) {
		if (mover->operations[i].used)
			continue;
		mover->operations[i] = (struct mover_operation){.used = true, .plan = mover->next};
		return &mover->operations[i];
	}
	return NULL;
}

static int op_start(void *data, const struct vdm_operation *operation, struct future_notifier *notifier)
{
	const struct vdm_operation_data_memcpy *copy = &operation->data.memcpy;
	const struct mover_operation *own = data;
	size_t first = own->plan.fails ? 0 : copy->n / 2;

	if (notifier)
		notifier->notifier_used = FUTURE_NOTIFIER_NONE;
	cut_allow_direct(mover_of->machine->now, copy->dest, copy->n);
	memcpy(copy->dest, copy->src, first);
	return 0;
}

static enum future_state op_check(void *data, const struct vdm_operation *operation)
{
	const struct vdm_operation_data_memcpy *copy = &operation->data.memcpy;
	struct mover_operation *own = data;

	if (own->plan.polls && !mover_of->hurry) {
		own->plan.polls--;
		return FUTURE_STATE_RUNNING;
	}
	memcpy(copy->dest, copy->src, own->plan.fails ? copy->n * own->plan.copied_256 / 256 : copy->n);
	return FUTURE_STATE_COMPLETE;
}

static void op_delete(void *data, const struct vdm_operation *operation, struct vdm_operation_output *output)
{
	struct mover_operation *own = data;

	output->type = VDM_OPERATION_MEMCPY;
	output->result = own->plan.fails ? VDM_ERROR_JOB_CORRUPTED : VDM_SUCCESS;
	output->output.memcpy.dest = operation->data.memcpy.dest;
	own->used = false;
}

void mover_init(struct mover *mover, struct machine *machine)
{
	*mover = (struct mover){
		.vdm = {.op_new = op_new, .op_delete = op_delete, .op_start = op_start, .op_check = op_check},
		.machine = machine,
	};
	mover_of = mover;
}

void mover_forget(struct mover *mover)
{
	memset(mover->operations, 0, sizeof(mover->operations));
	mover->hurry = false;
}

unsigned mover_count(const struct mover *mover)
{
	unsigned count = 0;

	for (unsigned i = 0; i < MOVER_OPERATIONS_MAX; i++)
		count += mover->operations[i].used;
	return count;
}
