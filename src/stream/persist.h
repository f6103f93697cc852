/*
 * persist.h: makes entries durable, in timestamp order.
 */
#ifndef STREAM_PERSIST_H
#define STREAM_PERSIST_H

#include "stream/window.h"

/*
 * Ends a synchronous append on media with lines: what the calling thread stored is fenced here, once. On return
 * persisted is at least the ticket's timestamp. 0, or -1 with EIO or ECANCELED: the entry then may or may not be
 * durable.
 */
int persist_own(struct pmemstream *stream, const struct ticket *ticket);

/* Waits until persisted, or committed, has reached a timestamp that was handed out. 0, or -1 with EIO or ECANCELED. */
int persist_until(struct pmemstream *stream, uint64_t timestamp);
int commit_until(struct pmemstream *stream, uint64_t timestamp);

/* One step of the same without waiting for other threads: 1 reached, 0 not yet, -1 with EIO. */
int persist_try(struct pmemstream *stream, uint64_t timestamp);
int commit_try(struct pmemstream *stream, uint64_t timestamp);

#endif
