/*
 * durable.c: several ranges, one fence or one sync.
 */
#include "stream/durable.h"

#include "stream/group.h"

void durable_begin(struct durable *durable, struct pmemstream *stream)
{
	*durable = (struct durable){.stream = stream};
}

void durable_add(struct durable *durable, uint64_t off, uint64_t bytes)
{
	if (!durable->end_off || off < durable->begin_off)
		durable->begin_off = off;
	if (off + bytes > durable->end_off)
		durable->end_off = off + bytes;
	medium_flush(&durable->stream->medium, stream_at(durable->stream, off), bytes);
}

void durable_add_read(struct durable *durable, uint64_t off, uint64_t bytes)
{
	medium_redirty(&durable->stream->medium, stream_at(durable->stream, off), bytes);
	durable_add(durable, off, bytes);
}

int durable_end(struct durable *durable)
{
	struct medium *medium = &durable->stream->medium;

	if (!durable->end_off)
		return 0;
	if (medium->granularity != MEDIUM_PAGE) {
		medium_fence(medium);
		return 0;
	}
	return group_sync(durable->stream, medium->base + durable->begin_off, durable->end_off - durable->begin_off);
}

int durable_copy(struct pmemstream *stream, uint64_t off, const void *from, uint64_t bytes)
{
	struct durable durable;

	durable_begin(&durable, stream);
	medium_copy(&stream->medium, stream_at(stream, off), from, bytes);
	durable_add(&durable, off, bytes);
	return durable_end(&durable);
}
