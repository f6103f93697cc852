/*
 * recover_write.c: makes what recovery kept the beginning of a new epoch.
 *
 * Order   what was read and kept is made durable -> a pending record: its words -> its number -> the stream slot with
 *         the raised epoch. Each step is fenced before the next begins; no new entry is stored before the last.
 * Crash   recovery reads through the caches: after a process kill what it read may not be on the medium, so it is
 *         flushed, or its pages are made dirty and synced. A cut at any point leaves a medium on which recovery finds
 *         the same.
 */
#include "stream/recover.h"

#include "base/error.h"
#include "stream/allocator.h"
#include "stream/checkpoint.h"
#include "stream/durable.h"
#include "stream/window.h"

#include <errno.h>
#include <string.h>

static void rewrite_torn_slot(struct pmemstream *stream, struct found_region *found, struct durable *durable)
{
	unsigned char encoded[FORMAT_SLOT_BYTES];
	struct region *region = found->region;
	uint64_t off = region->off + FORMAT_REGION_SLOT_OFF + (1U - region->slot) * FORMAT_SLOT_BYTES;

	format_region_slot_encode(encoded, stream->header.salt, region->generation, off, &found->slot);
	medium_copy(&stream->medium, stream_at(stream, off), encoded, sizeof(encoded));
	durable_add(durable, off, sizeof(encoded));
}

/* A valid copy may be in the caches only: who was killed at the end of a creation left "being created" on the medium.
 */
static void keep_header_copies(struct recovery *recovery, struct durable *durable)
{
	struct pmemstream *stream = recovery->stream;
	uint64_t offs[2] = {0, format_second_copy_off(stream->header.block_size)};
	unsigned char encoded[FORMAT_HEADER_BYTES];

	format_header_encode(encoded, &stream->header);
	for (unsigned i = 0; i < 2; i++) {
		if (recovery->copy_valid[i]) {
			durable_add_read(durable, offs[i], sizeof(encoded));
			continue;
		}
		medium_copy(&stream->medium, stream_at(stream, offs[i]), encoded, sizeof(encoded));
		durable_add(durable, offs[i], sizeof(encoded));
	}
}

static int keep(struct recovery *recovery)
{
	struct pmemstream *stream = recovery->stream;
	struct durable durable;
	size_t count = extents_count(&stream->extents);

	durable_begin(&durable, stream);
	keep_header_copies(recovery, &durable);
	durable_add_read(&durable, FORMAT_STREAM_SLOT_OFF + (uint64_t)stream->stream_slot * FORMAT_STREAM_SLOT_STRIDE,
			 FORMAT_SLOT_BYTES);
	durable_add_read(&durable, FORMAT_RECORD_OFF, FORMAT_RECORD_BYTES);
	durable_add_read(&durable, FORMAT_APPLIED_OFF, 2 * sizeof(uint64_t));
	for (size_t i = 0; i < count; i++)
		durable_add_read(&durable, extents_get(&stream->extents, i).off, sizeof(uint64_t));
	for (size_t i = 0; i < recovery->region_count; i++) {
		struct found_region *found = &recovery->regions[i];
		uint64_t tail_off = atomic_load_explicit(&found->region->tail_off, memory_order_relaxed);
		/* An entry may have reached the medium without the limit that it raised. */
		if (tail_off > found->region->limit_off)
			window_raise_limit(stream, found->region, tail_off);
		durable_add_read(&durable, found->region->off, FORMAT_REGION_HEADER_BYTES);
		if (found->torn)
			rewrite_torn_slot(stream, found, &durable);
	}
	for (size_t i = 0; i < recovery->run_count; i++)
		durable_add_read(&durable, recovery->candidates[i].off, recovery->candidates[i].bytes);
	return durable_end(&durable);
}

static int raise_epoch(struct recovery *recovery)
{
	struct pmemstream *stream = recovery->stream;
	struct format_stream_slot slot = {
		.sequence = recovery->slot.sequence + 1,
		.round = recovery->slot.round,
		.persisted = recovery->slot.persisted,
		.kept = recovery->kept,
		.epoch = recovery->slot.epoch + 1,
		.digest = recovery->digest,
		.time_ns = stream_time_ns(),
	};

	if (checkpoint_write_stream_slot(stream, &slot))
		return -1;
	stream->epoch = slot.epoch;
	stream->kept = slot.kept;
	stream->round = recovery->highest_round;
	return 0;
}

int recover_write(struct recovery *recovery)
{
	static const unsigned char nobody[FORMAT_VOLATILE_BYTES];
	struct pmemstream *stream = recovery->stream;

	if (recovery->slot.epoch == UINT32_MAX)
		return error_set(EOVERFLOW,
				 "the stream has been opened for writing %u times, the most it can be: copy it",
				 UINT32_MAX);
	/* Nobody is to believe what a dead writer left there. */
	medium_copy(&stream->medium, stream_at(stream, FORMAT_VOLATILE_OFF), nobody, sizeof(nobody));
	stream->sequence = recovery->slot.sequence;
	stream->applied = recovery->applied;
	stream->next_generation = recovery->next_generation;
	if (keep(recovery))
		return -1;
	if (recovery->pending && allocator_apply(stream, &recovery->record))
		return -1;
	return raise_epoch(recovery);
}
