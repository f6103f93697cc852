/*
 * durable.h: makes several ranges durable together: one fence on media with lines, one sync on pages.
 *
 * For the rare changes (rounds, allocation, recovery). Appends have their own way (persist.h).
 */
#ifndef STREAM_DURABLE_H
#define STREAM_DURABLE_H

#include "stream/stream.h"

struct durable {
	struct pmemstream *stream;
	uint64_t begin_off, end_off; /* of what was added; empty while end_off is 0 */
};

void durable_begin(struct durable *durable, struct pmemstream *stream);
void durable_add(struct durable *durable, uint64_t off, uint64_t bytes);
/* Like add, for bytes that were only read: their pages are made dirty again, since a page that looks clean may not be
 * on the medium. */
void durable_add_read(struct durable *durable, uint64_t off, uint64_t bytes);
/* 0, or -1 with EIO: the failure is latched. */
int durable_end(struct durable *durable);

/* Copies bytes to a place and makes them durable. */
int durable_copy(struct pmemstream *stream, uint64_t off, const void *from, uint64_t bytes);

#endif
