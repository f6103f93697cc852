/*
 * group.h: group commit on page media: one thread syncs for all that wait.
 */
#ifndef STREAM_GROUP_H
#define STREAM_GROUP_H

#include "stream/stream.h"

/* Leads a group, if nobody does and there is something to sync: makes what is committed durable, raises persisted and
 * wakes who waits. False: somebody else leads. A failed sync is latched. */
bool group_step(struct pmemstream *stream);

/* A wait for the end of the sync that runs: look at the turn, see for what one waits, and sleep until the turn is over,
 * or so many ns have passed. Returns at once, and false, if nobody syncs. */
uint32_t group_turn(struct pmemstream *stream);
bool group_sleep(struct pmemstream *stream, uint32_t turn, uint64_t limit_ns);

/* One sync of a range, alone, for what is no append. 0, or -1 with EIO: this one or an earlier one failed. */
int group_sync(struct pmemstream *stream, const char *at, size_t bytes);

#endif
