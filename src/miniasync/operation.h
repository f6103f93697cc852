/*
 * operation.h: what an operation of a mover means, the same for all movers of this library. See operation.c.
 */
#ifndef MINIASYNC_OPERATION_H
#define MINIASYNC_OPERATION_H

#include <libminiasync/data_mover_threads.h>
#include <libminiasync/vdm.h>

/* The functions that do the work; the three that a caller may replace. */
struct operation_functions {
	memcpy_fn copy;
	memmove_fn move;
	memset_fn set;
};

extern const struct operation_functions operation_own_functions;

/* What the own functions honour, as the capabilities of a mover. */
enum { OPERATION_CAPABILITIES = VDM_F_NO_CACHE_HINT };

/* Does the work in the calling thread; an operation of an unknown type does nothing. */
void operation_perform(const struct vdm_operation *operation, const struct operation_functions *functions);

/* Fills in the output of a finished operation, VDM_ERROR_JOB_CORRUPTED for one of an unknown type. */
void operation_output(const struct vdm_operation *operation, struct vdm_operation_output *output);

#endif
