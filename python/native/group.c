/*
 * group.c: batches, and series of regions.
 */
#include "part.h"

#include <errno.h>
#include <stdlib.h>

struct batch {
	struct part part;
	struct pmemstream_batch *batch;
	size_t count, room;
	struct stream_entry *entries; /* regions and sizes of what was added */
};

struct series {
	struct part part;
	struct pmemstream_series *series;
};

static void end_batch(struct part *part)
{
	struct batch *batch = (struct batch *)part;

	pmemstream_batch_abort(&batch->batch);
	free(batch->entries);
	batch->entries = NULL;
}

struct batch *batch_new(struct stream *stream)
{
	struct batch *batch = calloc(1, sizeof(*batch));
	struct stay stay;

	if (!batch) {
		failure_set(ENOMEM, "no memory for a batch");
		return NULL;
	}
	if (guard_enter(&stream->guard, &stay)) {
		free(batch);
		return NULL;
	}
	if (pmemstream_batch_begin(stream->stream, &batch->batch)) {
		stream_failure();
		free(batch);
		batch = NULL;
	} else {
		part_begin(&batch->part, stream, end_batch);
	}
	guard_leave(&stay);
	return batch;
}

static int add(struct batch *batch, struct stream_region *region, const void *data, size_t bytes)
{
	struct stream *stream = batch->part.owner;
	struct pmemstream_region place = {.offset = region->offset};

	if (batch->count == batch->room) {
		size_t room = batch->room * 2 + 16;
		struct stream_entry *more = realloc(batch->entries, room * sizeof(*more));
		if (!more)
			return failure_set(ENOMEM, "no memory for a batch");
		batch->entries = more;
		batch->room = room;
	}
	if (stream_resolve(stream, region))
		return -1;
	if (pmemstream_batch_add(batch->batch, place, region->runtime, data, bytes))
		return stream_failure();
	batch->entries[batch->count++] = (struct stream_entry){.region = region->offset, .size = bytes};
	return 0;
}

int batch_add(struct batch *batch, struct stream_region *region, const void *data, size_t bytes)
{
	struct stay stay;

	if (part_enter(&batch->part, &stay))
		return -1;
	int err = add(batch, region, data, bytes);
	part_leave(&batch->part, &stay);
	return err;
}

static int commit(struct batch *batch, struct stream_entry *entries)
{
	struct stream *stream = batch->part.owner;
	struct pmemstream_entry *places = calloc(batch->count + 1, sizeof(*places));

	if (!places)
		return failure_set(ENOMEM, "no memory to commit a batch");
	int err = pmemstream_batch_commit(&batch->batch, places);
	if (err)
		stream_failure();
	for (size_t i = 0; !err && i < batch->count; i++)
		stream_describe(stream, places[i], batch->entries[i].size, batch->entries[i].region, &entries[i]);
	free(places);
	return err;
}

int batch_commit(struct batch *batch, struct stream_entry *entries, size_t *count)
{
	struct stay stay;
	int err = 0;

	if (part_enter(&batch->part, &stay))
		return -1;
	/* Other threads may have added since the room was made. */
	bool fits = batch->count <= *count;
	*count = batch->count;
	if (fits)
		err = commit(batch, entries);
	if (fits && !err)
		part_end(&batch->part);
	part_leave(&batch->part, &stay);
	return err;
}

static int end_now(struct part *part)
{
	struct stay stay;

	if (part_enter(part, &stay))
		return 0;
	part_end(part);
	part_leave(part, &stay);
	return 0;
}

int batch_abort(struct batch *batch)
{
	return end_now(&batch->part);
}

void batch_release(struct batch *batch)
{
	part_release(&batch->part);
}

static void end_series(struct part *part)
{
	pmemstream_series_close(&((struct series *)part)->series);
}

struct series *series_new(struct stream *stream, const char *name, const struct pmemstream_series_config *config)
{
	struct series *series = calloc(1, sizeof(*series));
	struct stay stay;

	if (!series) {
		failure_set(ENOMEM, "no memory for a series");
		return NULL;
	}
	if (guard_enter(&stream->guard, &stay)) {
		free(series);
		return NULL;
	}
	if (pmemstream_series_open(stream->stream, name, config, &series->series)) {
		stream_failure();
		free(series);
		series = NULL;
	} else {
		part_begin(&series->part, stream, end_series);
	}
	guard_leave(&stay);
	return series;
}

int series_append(struct series *series, const void *data, size_t bytes, struct stream_entry *entry)
{
	struct pmemstream_entry place;
	struct stay stay;

	if (part_enter(&series->part, &stay))
		return -1;
	int err = pmemstream_series_append(series->series, data, bytes, &place);
	if (err)
		stream_failure();
	else
		stream_describe(series->part.owner, place, bytes, UINT64_MAX, entry);
	part_leave(&series->part, &stay);
	return err;
}

int series_retain(struct series *series)
{
	struct stay stay;

	if (part_enter(&series->part, &stay))
		return -1;
	int err = pmemstream_series_retain(series->series) ? stream_failure() : 0;
	part_leave(&series->part, &stay);
	return err;
}

int series_close(struct series *series)
{
	return end_now(&series->part);
}

void series_release(struct series *series)
{
	part_release(&series->part);
}

static int list_series(struct stream *stream, const char *name, struct stream_region *regions, size_t *count)
{
	size_t room = *count, used = 0;
	struct pmemstream_region *places = calloc(room + 1, sizeof(*places));

	if (!places)
		return failure_set(ENOMEM, "no memory to list a series");
	int err = pmemstream_series_list(stream->stream, name, places, count);
	if (err)
		stream_failure();
	for (size_t i = 0; !err && i < room && i < *count; i++) {
		struct pmemstream_region_info info;
		if (pmemstream_region_get_info(stream->stream, places[i], &info))
			continue; /* freed meanwhile */
		regions[used++] = (struct stream_region){.offset = places[i].offset, .generation = info.generation};
	}
	if (!err && *count <= room)
		*count = used;
	free(places);
	return err;
}

int series_regions(struct stream *stream, const char *name, struct stream_region *regions, size_t *count)
{
	struct stay stay;

	if (guard_enter(&stream->guard, &stay))
		return -1;
	int err = list_series(stream, name, regions, count);
	guard_leave(&stay);
	return err;
}
