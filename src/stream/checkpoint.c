/*
 * checkpoint.c: rounds.
 *
 * On media  round k fixes P = persisted. Every region whose tail at P is not what its slot in use says gets {k, that
 *           tail, P, epoch, time} in its other slot; fence; the stream gets {sequence, k, P, E, K} in its other slot;
 *           fence.
 * Crash     slots of a round without its stream slot have a k that recovery ignores; the slots they replaced were not
 *           needed by the last complete round.
 * Cost      two fences or two syncs, a slot for each region that grew. The order lock is held while the window is
 *           looked through.
 */
#include "stream/checkpoint.h"

#include "stream/durable.h"
#include "stream/window.h"

/* The tails at P of the regions that grew; false where a timestamp above P became durable meanwhile. */
static bool find_tails(struct pmemstream *stream, struct region *grown, uint64_t persisted)
{
	uint64_t next = atomic_load_explicit(&stream->next, memory_order_relaxed);

	for (struct region *region = grown; region; region = region->next_grown)
		region->round_off = atomic_load_explicit(&region->tail_off, memory_order_relaxed);
	for (uint64_t t = persisted + 1; t < next; t++) {
		struct window_place place;
		if (!window_find(stream, t, &place))
			return false;
		if (place.off < place.region->round_off)
			place.region->round_off = place.off;
	}
	return true;
}

/* Fixes P, takes the regions that grew off their list, and finds their tails at P. */
static uint64_t fix(struct pmemstream *stream, struct region **grown)
{
	uint64_t persisted;

	spinlock_take(&stream->order);
	*grown = stream->grown;
	stream->grown = NULL;
	stream->appended_bytes = 0;
	/* As often, at most, as appends are in flight: no more begin. */
	do
		persisted = stream_persisted(stream);
	while (!find_tails(stream, *grown, persisted));
	spinlock_leave(&stream->order);
	return persisted;
}

/* Puts back a region whose newest entries the round did not cover, or all of them if it failed. */
static void put_back(struct pmemstream *stream, struct region *grown)
{
	spinlock_take(&stream->order);
	while (grown) {
		struct region *region = grown;
		grown = region->next_grown;
		region->grew = atomic_load_explicit(&region->tail_off, memory_order_relaxed) != region->slot_off;
		if (region->grew) {
			region->next_grown = stream->grown;
			stream->grown = region;
		}
	}
	spinlock_leave(&stream->order);
}

static void write_region_slot(struct pmemstream *stream, struct region *region, const struct format_region_slot *slot,
			      struct durable *durable)
{
	unsigned char encoded[FORMAT_SLOT_BYTES];
	uint64_t off = region->off + FORMAT_REGION_SLOT_OFF + (1U - region->slot) * FORMAT_SLOT_BYTES;

	format_region_slot_encode(encoded, stream->header.salt, region->generation, off, slot);
	medium_copy(&stream->medium, stream_at(stream, off), encoded, sizeof(encoded));
	durable_add(durable, off, sizeof(encoded));
}

int checkpoint_write_stream_slot(struct pmemstream *stream, const struct format_stream_slot *slot)
{
	unsigned char encoded[FORMAT_SLOT_BYTES];
	unsigned other = 1 - stream->stream_slot;
	uint64_t off = FORMAT_STREAM_SLOT_OFF + (uint64_t)other * FORMAT_STREAM_SLOT_STRIDE;

	format_stream_slot_encode(encoded, stream->header.salt, off, slot);
	if (durable_copy(stream, off, encoded, sizeof(encoded)))
		return -1;
	stream->stream_slot = other;
	stream->sequence = slot->sequence;
	stream->round_persisted = slot->persisted;
	return 0;
}

static int write_round(struct pmemstream *stream, uint64_t persisted, struct region *grown, uint32_t flags)
{
	struct format_stream_slot stream_slot = {
		.sequence = stream->sequence + 1,
		.round = stream->round + 1,
		.persisted = persisted,
		.kept = stream->kept,
		.epoch = stream->epoch,
		.flags = flags,
		.time_ns = stream_time_ns(),
	};
	struct format_region_slot slot = {
		.round = stream_slot.round,
		.persisted = persisted,
		.epoch = stream->epoch,
		.time_ns = stream_slot.time_ns,
	};
	struct durable durable;

	durable_begin(&durable, stream);
	for (struct region *region = grown; region; region = region->next_grown) {
		if (region->round_off == region->slot_off)
			continue;
		slot.tail_off = region->round_off - region->off;
		write_region_slot(stream, region, &slot, &durable);
	}
	if (durable_end(&durable) || checkpoint_write_stream_slot(stream, &stream_slot))
		return -1;
	stream->round = stream_slot.round;
	stream->rounds_done++;
	for (struct region *region = grown; region; region = region->next_grown) {
		if (region->round_off == region->slot_off)
			continue;
		region->slot = (uint8_t)(1 - region->slot);
		region->slot_off = region->round_off;
		/* The offset last, and read first: an older offset with a newer timestamp only skips less. */
		atomic_store_explicit(&region->covered, persisted, memory_order_release);
		atomic_store_explicit(&region->covered_off, region->round_off, memory_order_release);
	}
	return 0;
}

int checkpoint_round(struct pmemstream *stream, uint32_t flags)
{
	struct region *grown;
	uint64_t persisted;

	if (stream_writable(stream))
		return -1;
	persisted = fix(stream, &grown);
	int err = write_round(stream, persisted, grown, flags);
	put_back(stream, grown);
	return err;
}

void checkpoint_try(struct pmemstream *stream)
{
	if (pthread_mutex_trylock(&stream->admin))
		return;
	spinlock_take(&stream->order);
	bool due = stream->appended_bytes >= stream->round_bytes;
	spinlock_leave(&stream->order);
	/* A round that fails is latched; this append was durable before. */
	if (due)
		checkpoint_round(stream, 0);
	pthread_mutex_unlock(&stream->admin);
}
