/*
 * statistics.c: what a stream did and how full it is. Sums that other threads go on changing: each is right for some
 * recent moment.
 */
#include "base/error.h"
#include "base/export.h"
#include "stream/follow.h"
#include "stream/persist.h"

#include <errno.h>
#include <string.h>

EXPORT int pmemstream_get_statistics(struct pmemstream *stream, struct pmemstream_statistics *statistics)
{
	struct pmemstream_statistics found = {0};

	if (!stream || !statistics)
		return error_set(EINVAL, "no %s", stream ? "place for the statistics" : "stream");
	if (stream->follower)
		follow_walk_all(stream);
	struct medium_counts counts = medium_counts(&stream->medium);
	/* In this order: both rise meanwhile. */
	found.persisted = persist_told(stream);
	found.committed = window_committed(stream);
	found.appended = atomic_load_explicit(&stream->next, memory_order_acquire) - 1 - stream->opened_at;
	found.stored_bytes = counts.stored_bytes;
	found.flushed_lines = counts.flushed_lines;
	found.fences = counts.fences;
	found.syncs = counts.syncs;

	pthread_mutex_lock(&stream->admin);
	size_t count = extents_count(&stream->extents);
	for (size_t i = 0; i < count; i++) {
		struct extent_view extent = extents_get(&stream->extents, i);
		if (!extent.region) {
			found.free_bytes += extent.bytes;
			found.free_extents++;
			if (extent.bytes > found.largest_free_bytes)
				found.largest_free_bytes = extent.bytes;
			continue;
		}
		found.regions++;
		found.used_bytes += extent.region->tail_off - extent.off - FORMAT_REGION_HEADER_BYTES;
	}
	found.rounds = stream->rounds_done;
	found.size = stream->header.size;
	found.block_size = stream->header.block_size;
	found.alignment = stream->header.alignment;
	found.epoch = stream->epoch;
	found.created_ns = stream->header.created_ns;
	memcpy(found.uuid, stream->header.uuid, sizeof(found.uuid));
	pthread_mutex_unlock(&stream->admin);
	if (found.largest_free_bytes >= FORMAT_REGION_HEADER_BYTES)
		found.largest_free_bytes -= FORMAT_REGION_HEADER_BYTES;
	else
		found.largest_free_bytes = 0;
	*statistics = found;
	return 0;
}
