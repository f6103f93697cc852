/*
 * progress.h: sleeping until a stream made progress, and waking who sleeps.
 *
 * Who made progress (marked a slot, advanced persisted, published, closed) stores that first and calls progress_note.
 * Who wants to sleep registers, looks again, and only then sleeps. Between the store and the look at the count of
 * waiters an appender executes no fence; the sleeper makes up for it with membarrier(2), which orders every running
 * thread.
 */
#ifndef STREAM_PROGRESS_H
#define STREAM_PROGRESS_H

#include "stream/area.h"
#include "stream/stream.h"

int progress_init(struct pmemstream *stream); /* 0, or -1 with errno */
void progress_free(struct pmemstream *stream);

/* False: this kernel has no membarrier, and whoever made progress has to fence. */
extern bool progress_has_membarrier;
void progress_wake(struct pmemstream *stream);

static inline void progress_note(struct pmemstream *stream)
{
	if (area_has_sleepers(stream))
		area_wake(stream);
	if (__builtin_expect(!progress_has_membarrier, 0))
		atomic_fetch_add_explicit(&stream->progress.waiters, 0, memory_order_seq_cst);
	if (__builtin_expect(atomic_load_explicit(&stream->progress.waiters, memory_order_relaxed) != 0, 0))
		progress_wake(stream);
}

/* A call that may have to wait is inside from before its first wait until it touches the stream no more, so that
 * delete, which ends its wait, does not free the stream under it. */
static inline void progress_enter(struct pmemstream *stream)
{
	atomic_fetch_add_explicit(&stream->progress.inside, 1, memory_order_seq_cst);
}

static inline void progress_leave(struct pmemstream *stream)
{
	atomic_fetch_sub_explicit(&stream->progress.inside, 1, memory_order_release);
}

/* A wait: begin, look whether there is still something to wait for, sleep if so, end. */
uint64_t progress_begin(struct pmemstream *stream);
/* Until something happens after begin, or so many ns have passed (UINT64_MAX: no limit). */
void progress_sleep(struct pmemstream *stream, uint64_t events, uint64_t limit_ns);
void progress_end(struct pmemstream *stream);
uint64_t progress_now_ns(void); /* CLOCK_MONOTONIC */

/* Futures. Registers a waker to be called once at the next event, under a serial number that a poll got before or 0;
 * gives the serial to use next time, 0 if there is no memory. The caller looks again after it. */
struct future_waker;
uint64_t progress_register(struct pmemstream *stream, uint64_t serial, const struct future_waker *waker);
/* On return the waker is not being called, unless by this thread, and will not be. */
void progress_unregister(struct pmemstream *stream, uint64_t serial);

/* A waker for data movers: may be called by any thread, even after the stream is gone. */
struct future_notifier;
void progress_mover_notifier(struct pmemstream *stream, struct future_notifier *notifier);

#endif
