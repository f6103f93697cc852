/*
 * persist.h: makes entries durable, in timestamp order.
 */
#ifndef STREAM_PERSIST_H
#define STREAM_PERSIST_H

#include "stream/window.h"

/*
 * Ends synchronous appends on media with lines, of one entry or of a batch: what the calling thread stored is fenced
 * here, once. On return persisted is at least last. 0, or -1 with EIO or ECANCELED: the entries then may or may not be
 * durable.
 */
int persist_own(struct pmemstream *stream, uint64_t first, uint64_t last);

/* Waits until persisted, or committed, has reached a timestamp. deadline_ns: of CLOCK_MONOTONIC, UINT64_MAX for none.
 * 0, or -1 with EIO, ECANCELED or ETIMEDOUT. */
int persist_until(struct pmemstream *stream, uint64_t timestamp, uint64_t deadline_ns);
int commit_until(struct pmemstream *stream, uint64_t timestamp, uint64_t deadline_ns);

/* One step of the same without waiting for other threads: 1 reached, 0 not yet, -1 with EIO. */
int persist_try(struct pmemstream *stream, uint64_t timestamp);
int commit_try(struct pmemstream *stream, uint64_t timestamp);

/* 0, or -1 with EIO once a sync of this stream failed. */
int persist_failure(struct pmemstream *stream);

#endif
