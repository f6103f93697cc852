/*
 * region.c: regions as callers see them: by offset or by runtime handle.
 *
 * Memory  regions come from chunks that live as long as the stream; a freed one is reused for another region, with
 * another generation. Runtime handles are never reused: one that outlived its region is told by its generation
 * (ESTALE).
 */
#include "base/error.h"
#include "base/export.h"
#include "stream/allocator.h"
#include "stream/follow.h"
#include "stream/iterator.h"
#include "stream/stream.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CHUNK_REGIONS = 20 };

struct region_chunk {
	struct region_chunk *next;
	struct region regions[CHUNK_REGIONS];
};

struct region *region_new(struct pmemstream *stream)
{
	if (!stream->free_regions) {
		struct region_chunk *chunk = aligned_alloc(LINE_BYTES, sizeof(*chunk));
		if (!chunk) {
			error_set(ENOMEM, "no memory for %d more regions", CHUNK_REGIONS);
			return NULL;
		}
		memset(chunk, 0, sizeof(*chunk));
		chunk->next = stream->region_chunks;
		stream->region_chunks = chunk;
		for (int i = 0; i < CHUNK_REGIONS; i++) {
			chunk->regions[i].next_grown = stream->free_regions;
			stream->free_regions = &chunk->regions[i];
		}
	}
	struct region *region = stream->free_regions;
	stream->free_regions = region->next_grown;
	return region;
}

void region_release(struct pmemstream *stream, struct region *region)
{
	pthread_mutex_lock(&stream->rare);
	index_free(region);
	pthread_mutex_unlock(&stream->rare);
	atomic_store_explicit(&region->generation, 0, memory_order_release);
	/* What was found in it is forgotten. */
	stream_renumber(stream);
	region->next_grown = stream->free_regions;
	stream->free_regions = region;
}

void region_free_all(struct pmemstream *stream)
{
	while (stream->region_chunks) {
		struct region_chunk *chunk = stream->region_chunks;
		stream->region_chunks = chunk->next;
		for (int i = 0; i < CHUNK_REGIONS; i++)
			index_free(&chunk->regions[i]);
		free(chunk);
	}
	while (stream->runtimes) {
		struct pmemstream_region_runtime *runtime = stream->runtimes;
		stream->runtimes = runtime->next;
		free(runtime);
	}
}

/* The place may be another region's by now, whose allocation writes it meanwhile. ThreadSanitizer cannot know that who
 * asked compares the generation, or only makes a message, so it does not look. */
__attribute__((no_sanitize("thread"))) void region_label(struct pmemstream *stream, uint64_t off, char *label)
{
	const uint64_t *from = stream_at(stream, off + FORMAT_REGION_LABEL_OFF);

	for (size_t i = 0; i < FORMAT_LABEL_BYTES / sizeof(*from); i++) {
		uint64_t word = __atomic_load_n(from + i, __ATOMIC_ACQUIRE);
		memcpy(label + i * sizeof(word), &word, sizeof(word));
	}
	label[FORMAT_LABEL_BYTES - 1] = '\0';
}

const char *region_name(struct pmemstream *stream, const struct region *region, char *buffer)
{
	uint64_t off = atomic_load_explicit(&region->off, memory_order_acquire);
	char label[FORMAT_LABEL_BYTES];

	region_label(stream, off, label);
	if (label[0])
		snprintf(buffer, 96, "region \"%s\" at %zu", label, (size_t)off);
	else
		snprintf(buffer, 96, "region at %zu", (size_t)off);
	return buffer;
}

struct region *region_find_known(struct pmemstream *stream, struct pmemstream_region region, uint64_t *generation)
{
	uint64_t off;
	struct region *found = extents_find(&stream->extents, region.offset, &off);

	if (found && off == region.offset) {
		*generation = atomic_load_explicit(&found->generation, memory_order_acquire);
		/* Read behind the generation: whoever compares that again later knows that this was the same region. */
		if (*generation && atomic_load_explicit(&found->off, memory_order_acquire) == off)
			return found;
	}
	error_set(EINVAL, "no region begins at offset %zu", (size_t)region.offset);
	return NULL;
}

struct region *region_find(struct pmemstream *stream, struct pmemstream_region region, uint64_t *generation)
{
	int err = stream->follower ? follow_look(stream) : 0, kept = errno;
	char text[256];

	if (err)
		snprintf(text, sizeof(text), "%s", error_message());
	struct region *found = region_find_known(stream, region, generation);
	if (!found && err)
		error_set(kept, "%s", text);
	return found;
}

struct region *region_resolve_otherwise(struct pmemstream *stream, struct pmemstream_region region,
					struct pmemstream_region_runtime *runtime, uint64_t *generation)
{
	if (!runtime)
		return region_find(stream, region, generation);
	if (atomic_load_explicit(&runtime->region->generation, memory_order_acquire) != runtime->generation)
		error_set(ESTALE, "the region of this runtime was freed");
	else
		error_set(EINVAL, "the runtime does not belong to a region at offset %zu", (size_t)region.offset);
	return NULL;
}

EXPORT int pmemstream_region_allocate(struct pmemstream *stream, size_t size, struct pmemstream_region *region)
{
	uint64_t off;

	if (!stream)
		return error_set(EINVAL, "no stream");
	if (allocator_allocate(stream, size, "", &off))
		return -1;
	if (region)
		region->offset = off;
	return 0;
}

EXPORT int pmemstream_region_free(struct pmemstream *stream, struct pmemstream_region region)
{
	if (!stream)
		return error_set(EINVAL, "no stream");
	return allocator_free(stream, region);
}

EXPORT size_t pmemstream_region_size(struct pmemstream *stream, struct pmemstream_region region)
{
	uint64_t generation;
	struct region *found;

	if (!stream) {
		error_set(EINVAL, "no stream");
		return 0;
	}
	found = region_find(stream, region, &generation);
	if (!found)
		return 0;
	return (size_t)(atomic_load_explicit(&found->end_off, memory_order_acquire) - region.offset -
			FORMAT_REGION_HEADER_BYTES);
}

EXPORT size_t pmemstream_region_usable_size(struct pmemstream *stream, struct pmemstream_region region)
{
	uint64_t generation;
	struct region *found;

	if (!stream) {
		error_set(EINVAL, "no stream");
		return 0;
	}
	found = region_find(stream, region, &generation);
	if (!found)
		return 0;
	if (stream->follower)
		follow_walk(stream, found);
	return (size_t)(atomic_load_explicit(&found->end_off, memory_order_acquire) -
			atomic_load_explicit(&found->tail_off, memory_order_acquire));
}

EXPORT int pmemstream_region_runtime_initialize(struct pmemstream *stream, struct pmemstream_region region,
						struct pmemstream_region_runtime **runtime)
{
	uint64_t generation;

	if (!stream || !runtime)
		return error_set(EINVAL, "no %s", stream ? "place for the runtime" : "stream");
	if (stream->follower)
		follow_look(stream);
	pthread_mutex_lock(&stream->admin);
	struct region *found = region_find_known(stream, region, &generation);
	struct pmemstream_region_runtime *made = found ? atomic_load(&found->runtime) : NULL;
	if (found && !made) {
		made = malloc(sizeof(*made));
		if (made) {
			*made = (struct pmemstream_region_runtime){
				.stream = stream,
				.region = found,
				.generation = generation,
				.next = stream->runtimes,
			};
			stream->runtimes = made;
			atomic_store(&found->runtime, made);
		} else {
			error_set(ENOMEM, "no memory for the runtime of a region");
		}
	}
	pthread_mutex_unlock(&stream->admin);
	if (!made)
		return -1;
	*runtime = made;
	return 0;
}
