/*
 * checkpoint.h: rounds, which say on the medium how far the stream is, so that recovery has little to read.
 */
#ifndef STREAM_CHECKPOINT_H
#define STREAM_CHECKPOINT_H

#include "stream/stream.h"

/* Under the admin mutex: one complete round; flags of the stream slot (FORMAT_CLEAN). 0, or -1 with EIO. */
int checkpoint_round(struct pmemstream *stream, uint32_t flags);

/* A round, if one is due and nobody holds the admin mutex. */
void checkpoint_try(struct pmemstream *stream);

/* Writes the stream slot that is not in use and makes it durable; on success it is the one in use. */
int checkpoint_write_stream_slot(struct pmemstream *stream, const struct format_stream_slot *slot);

#endif
