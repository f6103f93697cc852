/*
 * index.c: finding the place of a timestamp in a region.
 *
 * A sparse table of (timestamp, offset) pairs, one every 64 KiB, is built in memory as far as anyone has sought.
 * Nothing of it is on media, and a region that nobody seeks in has none. What a checkpoint covers is skipped where the
 * timestamp lies behind it.
 */
#include "stream/iterator.h"

#include <stdlib.h>

enum { STEP_BYTES = 65536 };

struct index_sample {
	uint64_t timestamp, off;
};

struct region_index {
	size_t count, room;
	uint64_t generation;
	struct index_sample samples[];
};

void index_free(struct region *region)
{
	free(region->index);
	region->index = NULL;
}

/* Under the rare mutex. Without memory the index just does not grow. */
static void add_sample(struct region *region, uint64_t generation, uint64_t timestamp, uint64_t off)
{
	struct region_index *index = region->index;

	if (index && index->count && off < index->samples[index->count - 1].off + STEP_BYTES)
		return;
	if (!index || index->count == index->room) {
		size_t room = index ? index->room * 2 : 16;
		struct region_index *larger = realloc(index, sizeof(*larger) + room * sizeof(larger->samples[0]));
		if (!larger)
			return;
		if (!index)
			*larger = (struct region_index){.generation = generation};
		larger->room = room;
		region->index = index = larger;
	}
	index->samples[index->count++] = (struct index_sample){timestamp, off};
}

/* The last known place in front of the timestamp. */
static uint64_t nearest(const struct region *region, uint64_t timestamp, uint64_t off)
{
	const struct region_index *index = region->index;
	size_t low = 0, high = index ? index->count : 0;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		if (index->samples[middle].timestamp <= timestamp)
			low = middle + 1;
		else
			high = middle;
	}
	return low && index->samples[low - 1].off > off ? index->samples[low - 1].off : off;
}

uint64_t index_seek(struct pmemstream *stream, struct region *region, uint64_t generation, uint64_t safe_off,
		    uint64_t timestamp)
{
	struct format_entry entry;

	pthread_mutex_lock(&stream->rare);
	if (region->index && region->index->generation != generation)
		index_free(region);
	uint64_t off = region->off + FORMAT_REGION_HEADER_BYTES;
	uint64_t end_off = region->end_off;
	/* Everything in front of a checkpoint has a timestamp that the checkpoint covers. */
	uint64_t covered_off = atomic_load_explicit(&region->covered_off, memory_order_acquire);
	uint64_t covered = atomic_load_explicit(&region->covered, memory_order_acquire);
	bool skipped = timestamp > covered && covered_off > off && covered_off <= safe_off;
	off = nearest(region, timestamp, skipped ? covered_off : off);
	while (off < safe_off) {
		if (!format_entry_decode(stream_at(stream, off), region->seed, off, end_off - off, &entry)) {
			off = entry_search(stream, region, off, safe_off, 0);
			continue;
		}
		if (entry.timestamp >= timestamp)
			break;
		if (!skipped)
			add_sample(region, generation, entry.timestamp, off);
		off += format_entry_space(entry.size, stream->alignment);
	}
	pthread_mutex_unlock(&stream->rare);
	return off < safe_off ? off : safe_off;
}
