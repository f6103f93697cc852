/*
 * libminiasync/runtime.h: waits for futures without burning a processor.
 *
 * The runtime polls a future and offers its waker; if the future took it, the thread sleeps until it is woken and only
 * then polls again. A future that takes no waker is polled a few times in a row and then between sleeps that grow
 * from 50 microseconds to 1 millisecond; that includes one whose mover could not begin it because its ring is full.
 */
#ifndef LIBMINIASYNC_RUNTIME_H
#define LIBMINIASYNC_RUNTIME_H

#include <libminiasync/future.h>

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

struct runtime;

/* A new runtime, to be given to runtime_delete; NULL with errno ENOMEM if memory is short. */
struct runtime *runtime_new(void);

/*
 * Deletes a runtime that nobody waits with; NULL does nothing. Wakers that it gave out may still be called afterwards:
 * what they need is kept for the next runtime.
 */
void runtime_delete(struct runtime *runtime);

/* Polls the future until it is complete. Any number of threads may wait with one runtime, each for futures of its own.
 */
void runtime_wait(struct runtime *runtime, struct future *fut);

/*
 * Polls nfuts futures, each of them another one, until all are complete; 0 returns at once. A future whose waker was
 * called is polled without a look at the others. If
 * memory for the bookkeeping is short, it still waits, with bounded sleeps and without wakers.
 */
void runtime_wait_multiple(struct runtime *runtime, struct future *futs[], size_t nfuts);

#ifdef __cplusplus
}
#endif

#endif
