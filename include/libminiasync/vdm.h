/*
 * libminiasync/vdm.h: the virtual data mover, a table of functions that copies, sets and flushes memory.
 *
 * A caller makes a future of an operation (vdm_memcpy and so on) and polls it; the mover decides when and where the
 * work is done. data_mover_sync(3) and data_mover_threads(3) are movers; a caller may bring one of its own by filling
 * in struct vdm.
 *
 * Life of an operation: op_new, then op_start until it returns 0, op_check until it returns FUTURE_STATE_COMPLETE,
 * then op_delete, once. The inline functions below make these calls from within poll. Source and destination must
 * live, and the destination not be used, from the first poll until the future is complete.
 *
 * Threads: the inline functions may be called by any number of threads at once on one mover, if its op_new and
 * op_start may; those of the movers of this library may.
 */
#ifndef LIBMINIASYNC_VDM_H
#define LIBMINIASYNC_VDM_H

#include <libminiasync/future.h>

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#ifdef __cplusplus
extern "C" {
#endif

enum vdm_operation_type {
	VDM_OPERATION_MEMCPY,
	VDM_OPERATION_MEMMOVE,
	VDM_OPERATION_MEMSET,
	VDM_OPERATION_FLUSH,
};

/* OUT_OF_MEMORY: the operation was not begun. JOB_CORRUPTED: the mover could not make sense of it; nothing copied. */
enum vdm_operation_result {
	VDM_SUCCESS,
	VDM_ERROR_OUT_OF_MEMORY,
	VDM_ERROR_JOB_CORRUPTED,
};

/*
 * Flags of an operation, and at the same time the capabilities of a mover (vdm_is_supported).
 *
 * VDM_F_MEM_DURABLE    the destination survives a power cut when the future is complete. Only a mover that knows its
 *                      medium can promise that. The movers of this library do not, and do not report it: asked for it
 *                      all the same, they write the destination back from the processor's caches before they complete,
 *                      which is durable on memory behind them (DAX) and says nothing about a page of an ordinary file.
 * VDM_F_NO_CACHE_HINT  the destination will not be read soon: do not leave it in the caches if that can be avoided.
 *
 * A copy function that replaced a mover's own gets the flags as they are and answers for them itself.
 */
#define VDM_F_MEM_DURABLE   (1U << 0)
#define VDM_F_NO_CACHE_HINT (1U << 1)
#define VDM_F_VALID_FLAGS   (VDM_F_MEM_DURABLE | VDM_F_NO_CACHE_HINT)

/* n: bytes. flags: VDM_F_ bits. The ranges of a memcpy do not overlap, those of a memmove may. */
struct vdm_operation_data_memcpy {
	void *dest;
	void *src;
	size_t n;
	uint64_t flags;
};

struct vdm_operation_data_memmove {
	void *dest;
	void *src;
	size_t n;
	uint64_t flags;
};

struct vdm_operation_data_memset {
	void *str;
	int c; /* converted to unsigned char */
	size_t n;
	uint64_t flags;
};

struct vdm_operation_data_flush {
	void *dest;
	size_t n;
	uint64_t flags;
};

#define VDM_OPERATION_DATA_MAX_SIZE (40)

struct vdm_operation {
	union {
		struct vdm_operation_data_memcpy memcpy;
		struct vdm_operation_data_memmove memmove;
		struct vdm_operation_data_memset memset;
		struct vdm_operation_data_flush flush;
		uint8_t data[VDM_OPERATION_DATA_MAX_SIZE];
	} data;
	enum vdm_operation_type type; /* says which member of data counts */
	uint32_t padding;
};

struct vdm;

struct vdm_operation_data {
	void *data; /* what op_new returned; the mover's */
	struct vdm *vdm;
	struct vdm_operation operation;
};

struct vdm_operation_output_memcpy {
	void *dest;
};

struct vdm_operation_output_memmove {
	void *dest;
};

struct vdm_operation_output_memset {
	void *str;
};

struct vdm_operation_output_flush {
	uint64_t unused;
};

/* result tells success; the pointers are those of the operation. */
struct vdm_operation_output {
	enum vdm_operation_type type;
	enum vdm_operation_result result;
	union {
		struct vdm_operation_output_memcpy memcpy;
		struct vdm_operation_output_memmove memmove;
		struct vdm_operation_output_memset memset;
		struct vdm_operation_output_flush flush;
	} output;
};

FUTURE(vdm_operation_future, struct vdm_operation_data, struct vdm_operation_output);

/* Prepares an operation of a type: returns what the other functions get as data, or NULL if memory is short. */
typedef void *(*vdm_operation_new)(struct vdm *vdm, const enum vdm_operation_type type);

/*
 * Begins the operation. notifier: what the poller offers, may be NULL; copy what is taken and set notifier_used.
 * 0, or non-zero for "not now" (the queue is full, say): nothing was begun, it is called again at the next poll.
 * The mover may keep the pointer to the operation until op_delete.
 */
typedef int (*vdm_operation_start)(void *data, const struct vdm_operation *operation, struct future_notifier *notifier);

/* Makes progress if the mover needs polls for that. FUTURE_STATE_COMPLETE or FUTURE_STATE_RUNNING. */
typedef enum future_state (*vdm_operation_check)(void *data, const struct vdm_operation *operation);

/* Fills in the output, with the result, and frees what op_new returned. */
typedef void (*vdm_operation_delete)(void *data, const struct vdm_operation *operation,
				     struct vdm_operation_output *output);

/* A mover. It must live until op_delete was called for every op_new. */
struct vdm {
	vdm_operation_new op_new;
	vdm_operation_delete op_delete;
	vdm_operation_start op_start;
	vdm_operation_check op_check;
	unsigned capabilities;               /* VDM_F_ bits */
	future_has_property_fn has_property; /* of the futures made with this mover; NULL: none */
};

/* Non-zero if the mover keeps the promise of all the given VDM_F_ flags. */
static inline int vdm_is_supported(struct vdm *vdm, unsigned capability)
{
	return (vdm->capabilities & capability) == capability;
}

/* Sets the function that answers future_has_property for futures made with this mover from now on. */
static inline void vdm_set_has_property_fn(struct vdm *vdm, future_has_property_fn has_property)
{
	vdm->has_property = has_property;
}

static inline enum future_state miniasync_vdm_task(struct future_context *context, struct future_notifier *notifier)
{
	struct vdm_operation_data *data =
		MINIASYNC_POINTER(struct vdm_operation_data *, future_context_get_data(context));
	struct vdm *vdm = data->vdm;
	enum future_state state;

	if (context->state == FUTURE_STATE_IDLE && vdm->op_start(data->data, &data->operation, notifier) != 0)
		return FUTURE_STATE_IDLE;
	state = vdm->op_check(data->data, &data->operation);
	if (state != FUTURE_STATE_COMPLETE)
		return FUTURE_STATE_RUNNING;
	vdm->op_delete(data->data, &data->operation,
		       MINIASYNC_POINTER(struct vdm_operation_output *, future_context_get_output(context)));
	return FUTURE_STATE_COMPLETE;
}

static inline void miniasync_vdm_prepare(struct vdm_operation_future *future, struct vdm *vdm,
					 enum vdm_operation_type type)
{
	memset(future, 0, sizeof(*future));
	future->data.vdm = vdm;
	future->data.operation.type = type;
	future->data.data = vdm->op_new(vdm, type);
	if (future->data.data) {
		FUTURE_INIT_EXT(future, miniasync_vdm_task, vdm->has_property);
		return;
	}
	FUTURE_INIT_COMPLETE(future);
	future->output.type = type;
	future->output.result = VDM_ERROR_OUT_OF_MEMORY;
}

/*
 * The operations. vdm: the mover, must live until the future is complete (the movers of this library may be deleted
 * earlier, their pages say how). dest, str: at least n bytes, written by polling. flags: VDM_F_ bits.
 *
 * Return an idle future that has to be polled until it is complete, also when it is no longer wanted: only that frees
 * what the mover holds for it. If the mover is out of memory the future is complete at once, with the result
 * VDM_ERROR_OUT_OF_MEMORY. They do not fail otherwise and do not set errno by themselves.
 *
 * Durable when complete: nothing, unless the mover supports VDM_F_MEM_DURABLE and the flag was given. Cost: no fence
 * and no sync of their own.
 */
static inline struct vdm_operation_future vdm_memcpy(struct vdm *vdm, void *dest, void *src, size_t n, uint64_t flags)
{
	struct vdm_operation_future future;

	miniasync_vdm_prepare(&future, vdm, VDM_OPERATION_MEMCPY);
	future.data.operation.data.memcpy.dest = dest;
	future.data.operation.data.memcpy.src = src;
	future.data.operation.data.memcpy.n = n;
	future.data.operation.data.memcpy.flags = flags;
	return future;
}

static inline struct vdm_operation_future vdm_memmove(struct vdm *vdm, void *dest, void *src, size_t n, uint64_t flags)
{
	struct vdm_operation_future future;

	miniasync_vdm_prepare(&future, vdm, VDM_OPERATION_MEMMOVE);
	future.data.operation.data.memmove.dest = dest;
	future.data.operation.data.memmove.src = src;
	future.data.operation.data.memmove.n = n;
	future.data.operation.data.memmove.flags = flags;
	return future;
}

static inline struct vdm_operation_future vdm_memset(struct vdm *vdm, void *str, int c, size_t n, uint64_t flags)
{
	struct vdm_operation_future future;

	miniasync_vdm_prepare(&future, vdm, VDM_OPERATION_MEMSET);
	future.data.operation.data.memset.str = str;
	future.data.operation.data.memset.c = c;
	future.data.operation.data.memset.n = n;
	future.data.operation.data.memset.flags = flags;
	return future;
}

/* Writes the cache lines of a range back towards memory; the movers of this library add the fence that waits for it. */
static inline struct vdm_operation_future vdm_flush(struct vdm *vdm, void *dest, size_t n, uint64_t flags)
{
	struct vdm_operation_future future;

	miniasync_vdm_prepare(&future, vdm, VDM_OPERATION_FLUSH);
	future.data.operation.data.flush.dest = dest;
	future.data.operation.data.flush.n = n;
	future.data.operation.data.flush.flags = flags;
	return future;
}

#ifdef __cplusplus
}
#endif

#endif
