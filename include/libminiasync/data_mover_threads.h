/*
 * libminiasync/data_mover_threads.h: the data mover with a pool of threads, fed by a ring of bounded size.
 *
 * The first poll of a future puts its operation into the ring; if the ring is full it stays idle and the next poll
 * tries again. Its futures have FUTURE_PROPERTY_ASYNC. Operations are begun in the order in which they entered the
 * ring and may complete in any. The threads of the pool have all signals blocked. They do not exist in a child made
 * by fork, which must not use the mover nor poll its futures.
 */
#ifndef LIBMINIASYNC_DATA_MOVER_THREADS_H
#define LIBMINIASYNC_DATA_MOVER_THREADS_H

#include <libminiasync/vdm.h>

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

struct data_mover_threads;

/* Replacements for the functions that do the work; flags: those of the operation, VDM_F_ bits. Return dst or str. */
typedef void *(*memcpy_fn)(void *dst, const void *src, size_t n, unsigned flags);
typedef void *(*memmove_fn)(void *dst, const void *src, size_t n, unsigned flags);
typedef void *(*memset_fn)(void *str, int c, size_t n, unsigned flags);

/*
 * A new mover, to be given to data_mover_threads_delete.
 *
 * nthreads: threads in the pool, 1 to 65,536. ringbuf_size: operations that can wait for a thread, 1 to 2^30.
 * desired_notifier: FUTURE_NOTIFIER_WAKER to call the waker that a poller offers when the operation has completed,
 * FUTURE_NOTIFIER_NONE to take no notifier.
 *
 * NULL with errno on failure: EINVAL for a size out of range or another notifier; ENOMEM if memory is short; EAGAIN if
 * the system refused a thread.
 */
struct data_mover_threads *data_mover_threads_new(size_t nthreads, size_t ringbuf_size,
						  enum future_notifier_type desired_notifier);

/* The same with one thread for each processor that is online (at most 16), a ring of 128, and wakers. */
struct data_mover_threads *data_mover_threads_default(void);

/* The mover as the table of functions that vdm_memcpy and the others take; it lives as long as the mover. */
struct vdm *data_mover_threads_get_vdm(struct data_mover_threads *dmt);

/*
 * Ends the mover; NULL does nothing. Operations that a poll has begun are finished, their wakers called and the threads
 * joined before it returns. No future may be made with the mover any more; those made before stay good, for the memory
 * of the mover is kept until the last of them is complete: one whose operation was not begun yet does the work
 * inside of its next poll. Thread safe against their polls. Must not be called from a waker or a copy function.
 */
void data_mover_threads_delete(struct data_mover_threads *dmt);

/*
 * Replace the function that copies, moves or sets; NULL restores the mover's own. Called by any thread of the pool, and
 * after data_mover_threads_delete by whoever polls. To be set before the first operation is begun: these three are not
 * thread safe.
 */
void data_mover_threads_set_memcpy_fn(struct data_mover_threads *dmt, memcpy_fn op_memcpy);
void data_mover_threads_set_memmove_fn(struct data_mover_threads *dmt, memmove_fn op_memmove);
void data_mover_threads_set_memset_fn(struct data_mover_threads *dmt, memset_fn op_memset);

#ifdef __cplusplus
}
#endif

#endif
