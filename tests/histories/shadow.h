/*
 * shadow.h: what an omniscient observer knows of a stream: everything that was ever asked for, and how much of it was
 * promised. check.c compares a stream with it.
 *
 * Invariant  entries[t - 1] is what timestamp t holds; acknowledged <= count. Everything up to `acknowledged` must be
 * there after any death. What lies behind may be there, as a dense run that does not end inside a batch. What a
 * completed reopening did not show is forgotten here, so that it is "invented" should it ever come back.
 */
#ifndef HISTORIES_SHADOW_H
#define HISTORIES_SHADOW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { SHADOW_ENTRIES_MAX = 1024, SHADOW_REGIONS_MAX = 256, SHADOW_POOL_BYTES = 1 << 18 };

struct shadow_entry {
	unsigned region; /* index */
	uint64_t off;
	uint32_t size;
	const unsigned char *data;
	bool may_be_user, may_be_filler;
	bool more; /* the batch goes on with the next timestamp */
};

enum shadow_state {
	REGION_LIVE,
	REGION_BEING_MADE,  /* an allocation was under way at a death: it may be there, empty, at `off` unknown */
	REGION_BEING_FREED, /* it may be gone */
	REGION_GONE
};

/* In order of allocation. */
struct shadow_region {
	enum shadow_state state;
	uint64_t off, bytes; /* of the extent */
	uint64_t tail_off;
	uint64_t last_timestamp;
	bool reserved;
	uint32_t reserved_bytes;
};

struct shadow {
	uint64_t alignment;
	uint64_t acknowledged;
	uint64_t count;
	struct shadow_entry entries[SHADOW_ENTRIES_MAX];
	struct shadow_region regions[SHADOW_REGIONS_MAX];
	unsigned region_count;
	unsigned char pool[SHADOW_POOL_BYTES];
	size_t pool_used;
};

void shadow_reset(struct shadow *shadow, uint64_t alignment);
bool shadow_is_full(const struct shadow *shadow);
/* Memory for data that lives as long as the history. */
unsigned char *shadow_room(struct shadow *shadow, size_t bytes);

static inline struct shadow_entry *shadow_at(struct shadow *shadow, uint64_t timestamp)
{
	return &shadow->entries[timestamp - 1];
}

uint64_t shadow_space(const struct shadow *shadow, uint64_t size);
/* Bytes of data that still fit into a region; 0 where not even a header does. */
uint64_t shadow_fits(const struct shadow *shadow, const struct shadow_region *region);

/* The next timestamp, which an entry is about to get; withdraw takes the last one back. */
struct shadow_entry *shadow_submit(struct shadow *shadow, unsigned region, uint32_t size, const unsigned char *data);
void shadow_withdraw(struct shadow *shadow);

/* What a region may be allocated with. */
unsigned shadow_add_region(struct shadow *shadow, uint64_t bytes);

/* A reopening completed and showed all up to `kept`: that is the stream now. */
void shadow_reopened(struct shadow *shadow, uint64_t kept);

#endif
