/*
 * extents.h: what lies where in the arena: the extents, sorted by offset, each a region or free.
 *
 * One writer at a time (the stream's admin mutex); any number of readers find a region beside it without a lock:
 * they retry when the sequence moved. Arrays that were outgrown stay allocated until the end, so a late reader never
 * reads freed memory; together they are smaller than the one in use.
 */
#ifndef STREAM_EXTENTS_H
#define STREAM_EXTENTS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct region;

struct extent {
	_Atomic uint64_t off;
	struct region *_Atomic region; /* NULL: free */
};

struct extent_array {
	struct extent_array *older;
	size_t room;
	struct extent at[];
};

struct extents {
	_Atomic uint64_t sequence; /* odd while a writer changes something */
	struct extent_array *_Atomic array;
	_Atomic size_t count;
	uint64_t end_off;                            /* of the last extent */
	struct region *_Atomic first, *_Atomic last; /* in order of allocation */
};

void extents_init(struct extents *extents);
void extents_free(struct extents *extents);

/* Makes sure that so many more extents fit; 0, or -1 with ENOMEM. Everything below cannot fail then. */
int extents_reserve(struct extents *extents, size_t more);

/* Adds an extent at the end. Regions that were added so are not walked over before extents_link. */
void extents_append(struct extents *extents, uint64_t off, uint64_t bytes, struct region *region);
void extents_link(struct extents *extents);

/* What a change of one place makes of the extents there: up to two extents with their new contents. */
struct extent_change {
	uint64_t off, bytes;           /* the extent that becomes a region or free */
	uint64_t rest_off, rest_bytes; /* a free extent behind it; rest_bytes 0: none */
};

/* Where a region of so many bytes would go, best fit; false if there is no room. Changes nothing. */
bool extents_fit(struct extents *extents, uint64_t bytes, struct extent_change *change);
/* What freeing the region at an offset gives: one free extent, merged with free neighbours. Changes nothing. */
bool extents_merge(struct extents *extents, uint64_t off, struct extent_change *change);
/* Carries a change out, with region or NULL for the extent; needs extents_reserve(1) before. */
void extents_apply(struct extents *extents, const struct extent_change *change, struct region *region);

/* Puts other extents in the place of all; needs extents_reserve(count) before. Regions must have their generations. */
struct extent_view;
void extents_replace(struct extents *extents, const struct extent_view *views, size_t count);

/* Lock-free: the region whose extent contains an offset; its extent's offset in extent_off. NULL: none. */
struct region *extents_find(struct extents *extents, uint64_t off, uint64_t *extent_off);

/* Under the admin mutex: the i-th extent. */
struct extent_view {
	uint64_t off, bytes;
	struct region *region;
};
size_t extents_count(struct extents *extents);
struct extent_view extents_get(struct extents *extents, size_t index);

/* Lock-free: the region allocated first after the one with a generation; NULL: none. region is where that one was, or
 * NULL for the first of all. Where that one was freed meanwhile all extents are looked through. */
struct region *extents_next_allocated(struct extents *extents, struct region *region, uint64_t above,
				      uint64_t *generation, uint64_t *off);

#endif
