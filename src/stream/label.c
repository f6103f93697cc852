/*
 * label.c: regions by name, and what a region's header says.
 */
#include "base/error.h"
#include "base/export.h"
#include "stream/allocator.h"
#include "stream/follow.h"
#include "stream/stream.h"

#include <errno.h>
#include <string.h>

EXPORT int pmemstream_region_allocate_labeled(struct pmemstream *stream, size_t size, const char *label,
					      struct pmemstream_region *region)
{
	uint64_t off;

	if (!stream)
		return error_set(EINVAL, "no stream");
	if (allocator_allocate(stream, size, label ? label : "", &off))
		return -1;
	if (region)
		region->offset = off;
	return 0;
}

EXPORT int pmemstream_region_find(struct pmemstream *stream, const char *label, struct pmemstream_region *region)
{
	struct region *at = NULL;
	uint64_t generation = 0, off = 0;

	if (!stream || !label || !label[0])
		return error_set(EINVAL, "no %s", stream ? "label" : "stream");
	int err = stream->follower ? follow_look(stream) : 0;
	while ((at = extents_next_allocated(&stream->extents, at, generation, &generation, &off))) {
		char other[FORMAT_LABEL_BYTES];
		region_label(stream, off, other);
		if (strcmp(label, other) || atomic_load_explicit(&at->generation, memory_order_acquire) != generation)
			continue;
		if (region)
			region->offset = off;
		return 0;
	}
	if (err && errno != EAGAIN)
		return -1;
	return error_set(ENOENT, "no region is labelled \"%.63s\"", label);
}

static int get_info(struct pmemstream *stream, struct pmemstream_region region, struct pmemstream_region_info *info)
{
	struct format_region fields;
	struct format_region_slot slot;
	uint64_t generation;

	struct region *found = region_find(stream, region, &generation);
	if (!found)
		return -1;
	if (stream->follower)
		follow_walk(stream, found);
	uint64_t salt = stream->header.salt;
	struct format_region_slot last = {0};
	bool valid = format_region_decode(stream_at(stream, region.offset), salt, region.offset, &fields) &&
		     fields.generation == generation;
	for (unsigned i = 0; i < 2; i++) {
		uint64_t slot_off = region.offset + FORMAT_REGION_SLOT_OFF + (uint64_t)i * FORMAT_SLOT_BYTES;
		/* By round, not by time: clocks are set back. */
		if (format_region_slot_decode(stream_at(stream, slot_off), salt, generation, slot_off, &slot) &&
		    (!last.tail_off || slot.round > last.round))
			last = slot;
	}
	uint64_t tail_off = atomic_load_explicit(&found->tail_off, memory_order_acquire);
	if (atomic_load_explicit(&found->generation, memory_order_acquire) != generation)
		return error_set(EINVAL, "no region begins at offset %zu", (size_t)region.offset);
	if (!valid)
		return error_set(EBADMSG, "damaged: region at %zu: its header does not check", (size_t)region.offset);
	*info = (struct pmemstream_region_info){
		.generation = generation,
		.size = fields.extent_bytes - FORMAT_REGION_HEADER_BYTES,
		.used = tail_off - region.offset - FORMAT_REGION_HEADER_BYTES,
		.allocated_ns = fields.created_ns,
		.checkpoint_ns = last.time_ns,
		.checkpoint_timestamp = last.persisted,
		.checkpoint_used = last.tail_off ? last.tail_off - FORMAT_REGION_HEADER_BYTES : 0,
		.checkpoint_epoch = last.epoch,
	};
	memcpy(info->label, fields.label, sizeof(info->label));
	return 0;
}

EXPORT int pmemstream_region_get_info(struct pmemstream *stream, struct pmemstream_region region,
				      struct pmemstream_region_info *info)
{
	struct pmemstream_region_info found;

	if (!stream || !info)
		return error_set(EINVAL, "no %s", stream ? "place for the information" : "stream");
	int err = get_info(stream, region, &found);
	/* The writer may have freed it while we read. */
	if (stream->follower && follow_outdated(stream))
		err = get_info(stream, region, &found);
	if (err)
		return -1;
	*info = found;
	return 0;
}
