/*
 * subject_stream.c: a stream opened by path, with the library's defaults; each round in fresh regions.
 *
 * "stream" appends one durable entry after the other; "stream_async" starts a batch of them with libminiasync's
 * synchronous mover and then waits once until the last one is durable, as often as it takes.
 */
#include "subject.h"

#include <libpmemstream.h>
#include <stdio.h>
#include <stdlib.h>

struct place {
	struct pmemstream_region region;
	struct pmemstream_region_runtime *runtime;
};

struct log {
	struct pmemstream *stream;
	struct data_mover_sync *mover;
	size_t room_bytes;
	unsigned batch, place_count;
	bool own_regions;
	struct place places[SUBJECT_THREADS_MAX];
};

static void check(int err, const char *what)
{
	if (err)
		bench_die(what, pmemstream_errormsg());
}

static void *open_log(const struct subject_setup *setup, char *configuration)
{
	/* A region for each thread needs its own header and the room that a limit step and a block waste. */
	size_t spare = (size_t)(8 << 20);
	const struct pmemstream_config config = {.size = setup->room_bytes + spare, .flags = PMEMSTREAM_PREFAULT};
	struct log *log = calloc(1, sizeof(*log));
	struct pmemstream_statistics statistics;
	char path[BENCH_PATH_BYTES];

	if (!log)
		bench_die("stream", "no memory");
	log->room_bytes = setup->room_bytes;
	log->own_regions = setup->own_regions;
	log->batch = setup->batch;
	if (log->batch && !(log->mover = data_mover_sync_new()))
		bench_die("stream", "no data mover");
	snprintf(path, sizeof(path), "%s/%s.stream", setup->folder, log->batch ? "async" : "append");
	check(pmemstream_create(&log->stream, path, &config), path);
	check(pmemstream_get_statistics(log->stream, &statistics), "statistics");
	int length =
		snprintf(configuration, SUBJECT_CONFIGURATION_BYTES,
			 "defaults: window 1024, a checkpoint in 4 MiB, entries aligned to %u", statistics.alignment);
	if (log->batch)
		snprintf(configuration + length, SUBJECT_CONFIGURATION_BYTES - (size_t)length,
			 "; %u started with data_mover_sync, then one wait", log->batch);
	return log;
}

static void *open_async(const struct subject_setup *setup, char *configuration)
{
	if (!setup->batch)
		bench_die("stream_async", "only in bench_async, which says how many entries wait together");
	return open_log(setup, configuration);
}

static void begin_log(void *state, unsigned threads)
{
	struct log *log = state;
	unsigned wanted = log->own_regions ? threads : 1;

	for (unsigned i = 0; i < log->place_count; i++)
		check(pmemstream_region_free(log->stream, log->places[i].region), "freeing a region");
	log->place_count = wanted;
	for (unsigned i = 0; i < wanted; i++) {
		struct place *place = &log->places[i];
		check(pmemstream_region_allocate(log->stream, log->room_bytes / wanted, &place->region), "a region");
		check(pmemstream_region_runtime_initialize(log->stream, place->region, &place->runtime), "a handle");
	}
}

static void append_durable(void *state, unsigned thread, const void *data, size_t size, unsigned count,
			   uint32_t *samples_ns)
{
	struct log *log = state;
	struct pmemstream *stream = log->stream;
	struct place place = log->places[log->own_regions ? thread : 0];

	SUBJECT_REPEAT(count, samples_ns,
		       check(pmemstream_append(stream, place.region, place.runtime, data, size, NULL), "append"));
}

static void start_and_wait(struct log *log, const struct place *place, const void *data, size_t size, unsigned count)
{
	struct vdm *mover = data_mover_sync_get_vdm(log->mover);
	struct pmemstream_entry last;

	for (unsigned i = 0; i < count; i++)
		check(pmemstream_async_append(log->stream, mover, place->region, place->runtime, data, size, &last),
		      "async_append");
	check(pmemstream_wait_persisted(log->stream, pmemstream_entry_timestamp(log->stream, last), UINT64_MAX),
	      "wait_persisted");
}

static void append_batches(void *state, unsigned thread, const void *data, size_t size, unsigned count,
			   uint32_t *samples_ns)
{
	struct log *log = state;
	const struct place *place = &log->places[log->own_regions ? thread : 0];

	if (samples_ns)
		bench_die("stream_async", "an entry that is only started has no time of its own");
	for (unsigned done = 0; done < count; done += log->batch)
		start_and_wait(log, place, data, size, count - done < log->batch ? count - done : log->batch);
}

static void count_log(void *state, struct subject_costs *costs)
{
	struct log *log = state;
	struct pmemstream_statistics statistics;

	check(pmemstream_get_statistics(log->stream, &statistics), "statistics");
	*costs = (struct subject_costs){statistics.fences, statistics.flushed_lines, statistics.syncs};
}

static void close_log(void *state)
{
	struct log *log = state;

	pmemstream_delete(&log->stream);
	if (log->mover)
		data_mover_sync_delete(log->mover);
	free(log);
}

const struct subject_kind subject_stream = {
	.name = "stream",
	.open = open_log,
	.begin = begin_log,
	.append = append_durable,
	.costs = count_log,
	.close = close_log,
};

const struct subject_kind subject_stream_async = {
	.name = "stream_async",
	.open = open_async,
	.begin = begin_log,
	.append = append_batches,
	.costs = count_log,
	.close = close_log,
};
