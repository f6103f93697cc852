/*
 * persist.h: makes entries durable, in timestamp order.
 */
#ifndef STREAM_PERSIST_H
#define STREAM_PERSIST_H

#include "stream/progress.h"
#include "stream/window.h"

/* The calling thread's entries, of which last is the last one, are durable, and all older ones are: nobody else can
 * raise persisted now. */
static inline void persist_acknowledge(struct pmemstream *stream, uint64_t last, struct window_note *note)
{
	area_store_persisted(stream, last);
	atomic_store_explicit(&stream->persisted, last, memory_order_release);
	window_end(note);
	window_passed(stream, last);
	progress_note(stream);
}

/* The rest of persist_own, where older ones were not durable when the append began. */
int persist_behind(struct pmemstream *stream, uint64_t first, uint64_t last, struct window_note *note);

/*
 * Ends synchronous appends on media with lines, of one entry or of a batch: what the calling thread stored is fenced
 * here, once. first: the ticket of the first. On return persisted is at least last. 0, or -1 with EIO or ECANCELED: the
 * entries then may or may not be durable.
 */
static inline int persist_own(struct pmemstream *stream, const struct ticket *first, uint64_t last)
{
	if (__builtin_expect(first->persisted != first->timestamp - 1, 0))
		return persist_behind(stream, first->timestamp, last, first->note);
	/* Nobody can pass the first one but this thread, so that is what persisted still says. */
	medium_fence(&stream->medium);
	persist_acknowledge(stream, last, first->note);
	return 0;
}

/* Waits until persisted, or committed, has reached a timestamp. deadline_ns: of CLOCK_MONOTONIC, UINT64_MAX for none.
 * 0, or -1 with EIO, ECANCELED or ETIMEDOUT. */
int persist_until(struct pmemstream *stream, uint64_t timestamp, uint64_t deadline_ns);
int commit_until(struct pmemstream *stream, uint64_t timestamp, uint64_t deadline_ns);

/* One step of the same without waiting for other threads: 1 reached, 0 not yet, -1 with EIO. */
int persist_try(struct pmemstream *stream, uint64_t timestamp);
int commit_try(struct pmemstream *stream, uint64_t timestamp);

/* The persisted timestamp for somebody who may pass it on: other processes are told of it, too, although the thread
 * that raised it may have lost its processor right behind that. So are they when one of the calls above says that it is
 * reached. */
uint64_t persist_told(struct pmemstream *stream);

/* 0, or -1 with EIO once a sync of this stream failed. */
int persist_failure(struct pmemstream *stream);

#endif
