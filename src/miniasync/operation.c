/*
 * operation.c: copy, move, set and flush, in the calling thread.
 *
 * The own functions honour two flags. NO_CACHE_HINT stores past the caches where source and destination allow it.
 * MEM_DURABLE writes the destination back and fences; whether it survives a power cut then depends on what the memory
 * is, which a mover cannot know, so it is not reported as a capability. Other bits are left to functions that a caller
 * brings, who get all of them.
 */
#include "miniasync/operation.h"
#include "miniasync/cache.h"

#include <stdint.h>
#include <string.h>

static void finish(void *to, size_t bytes, unsigned flags)
{
	if (flags & VDM_F_MEM_DURABLE)
		cache_write_back(to, bytes);
}

static void *copy(void *to, const void *from, size_t bytes, unsigned flags)
{
	if (flags & VDM_F_NO_CACHE_HINT)
		cache_stream_copy(to, from, bytes);
	else if (bytes)
		memcpy(to, from, bytes);
	finish(to, bytes, flags);
	return to;
}

static void *move(void *to, const void *from, size_t bytes, unsigned flags)
{
	uintptr_t a = (uintptr_t)to, b = (uintptr_t)from;

	if ((a > b ? a - b : b - a) >= bytes)
		return copy(to, from, bytes, flags);
	memmove(to, from, bytes);
	finish(to, bytes, flags);
	return to;
}

static void *set(void *to, int c, size_t bytes, unsigned flags)
{
	if (flags & VDM_F_NO_CACHE_HINT)
		cache_stream_set(to, c, bytes);
	else if (bytes)
		memset(to, c, bytes);
	finish(to, bytes, flags);
	return to;
}

const struct operation_functions operation_own_functions = {.copy = copy, .move = move, .set = set};

void operation_perform(const struct vdm_operation *operation, const struct operation_functions *functions)
{
	switch (operation->type) {
	case VDM_OPERATION_MEMCPY: {
		const struct vdm_operation_data_memcpy *job = &operation->data.memcpy;

		functions->copy(job->dest, job->src, job->n, (unsigned)job->flags);
		break;
	}
	case VDM_OPERATION_MEMMOVE: {
		const struct vdm_operation_data_memmove *job = &operation->data.memmove;

		functions->move(job->dest, job->src, job->n, (unsigned)job->flags);
		break;
	}
	case VDM_OPERATION_MEMSET: {
		const struct vdm_operation_data_memset *job = &operation->data.memset;

		functions->set(job->str, job->c, job->n, (unsigned)job->flags);
		break;
	}
	case VDM_OPERATION_FLUSH:
		cache_write_back(operation->data.flush.dest, operation->data.flush.n);
		break;
	}
}

void operation_output(const struct vdm_operation *operation, struct vdm_operation_output *output)
{
	output->type = operation->type;
	output->result = VDM_SUCCESS;
	output->output.flush.unused = 0;
	switch (operation->type) {
	case VDM_OPERATION_MEMCPY:
		output->output.memcpy.dest = operation->data.memcpy.dest;
		return;
	case VDM_OPERATION_MEMMOVE:
		output->output.memmove.dest = operation->data.memmove.dest;
		return;
	case VDM_OPERATION_MEMSET:
		output->output.memset.str = operation->data.memset.str;
		return;
	case VDM_OPERATION_FLUSH:
		return;
	}
	output->result = VDM_ERROR_JOB_CORRUPTED;
}
