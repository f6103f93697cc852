/*
 * shadow.c: keeps the books.
 */
#include "histories/shadow.h"

#include "stream/format.h"

#include <assert.h>

enum { SPARE_ENTRIES = 64, SPARE_REGIONS = 8, SPARE_POOL_BYTES = 1 << 14 };

void shadow_reset(struct shadow *shadow, uint64_t alignment)
{
	shadow->alignment = alignment;
	shadow->acknowledged = shadow->count = 0;
	shadow->region_count = 0;
	shadow->pool_used = 0;
}

bool shadow_is_full(const struct shadow *shadow)
{
	return shadow->count > SHADOW_ENTRIES_MAX - SPARE_ENTRIES ||
	       shadow->region_count > SHADOW_REGIONS_MAX - SPARE_REGIONS ||
	       shadow->pool_used > SHADOW_POOL_BYTES - SPARE_POOL_BYTES;
}

unsigned char *shadow_room(struct shadow *shadow, size_t bytes)
{
	unsigned char *room = shadow->pool + shadow->pool_used;

	assert(bytes <= SHADOW_POOL_BYTES - shadow->pool_used);
	shadow->pool_used += (bytes + 7) & ~(size_t)7;
	return room;
}

uint64_t shadow_space(const struct shadow *shadow, uint64_t size)
{
	return (FORMAT_ENTRY_HEADER_BYTES + size + shadow->alignment - 1) & ~(shadow->alignment - 1);
}

uint64_t shadow_fits(const struct shadow *shadow, const struct shadow_region *region)
{
	uint64_t left = (region->off + region->bytes - region->tail_off) & ~(shadow->alignment - 1);

	return left < FORMAT_ENTRY_HEADER_BYTES ? 0 : left - FORMAT_ENTRY_HEADER_BYTES;
}

struct shadow_entry *shadow_submit(struct shadow *shadow, unsigned region, uint32_t size, const unsigned char *data)
{
	assert(shadow->count < SHADOW_ENTRIES_MAX);
	struct shadow_entry *entry = shadow_at(shadow, ++shadow->count);
	struct shadow_region *owner = &shadow->regions[region];

	*entry = (struct shadow_entry){
		.region = region, .off = owner->tail_off, .size = size, .data = data, .may_be_user = true};
	owner->tail_off += shadow_space(shadow, size);
	owner->last_timestamp = shadow->count;
	return entry;
}

void shadow_withdraw(struct shadow *shadow)
{
	const struct shadow_entry *entry = shadow_at(shadow, shadow->count);
	struct shadow_region *owner = &shadow->regions[entry->region];

	owner->tail_off = entry->off;
	owner->last_timestamp = 0;
	shadow->count--;
	for (uint64_t t = 1; t <= shadow->count; t++)
		if (shadow_at(shadow, t)->region == entry->region)
			owner->last_timestamp = t;
}

unsigned shadow_add_region(struct shadow *shadow, uint64_t bytes)
{
	assert(shadow->region_count < SHADOW_REGIONS_MAX);
	shadow->regions[shadow->region_count] = (struct shadow_region){.state = REGION_BEING_MADE, .bytes = bytes};
	return shadow->region_count++;
}

void shadow_reopened(struct shadow *shadow, uint64_t kept)
{
	shadow->count = shadow->acknowledged = kept;
	for (unsigned i = 0; i < shadow->region_count; i++) {
		struct shadow_region *region = &shadow->regions[i];
		region->tail_off = region->off + FORMAT_REGION_HEADER_BYTES;
		region->last_timestamp = 0;
		region->reserved = false;
	}
	for (uint64_t t = 1; t <= kept; t++) {
		const struct shadow_entry *entry = shadow_at(shadow, t);
		struct shadow_region *region = &shadow->regions[entry->region];
		region->tail_off = entry->off + shadow_space(shadow, entry->size);
		region->last_timestamp = t;
	}
}
