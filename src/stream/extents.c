/*
 * extents.c: the sorted table of extents, with readers that take no lock.
 *
 * Invariant  extents tile the arena: one ends where the next begins, the last one at end_off.
 * Threads    a sequence lock; all that readers look at is atomic, so that what they read beside a writer is at worst
 *            mixed, never undefined, and then thrown away. Regions are in memory that stays regions (stream.h).
 */
#include "stream/extents.h"

#include "base/error.h"
#include "stream/stream.h"

#include <errno.h>
#include <stdlib.h>

void extents_init(struct extents *extents)
{
	*extents = (struct extents){0};
}

void extents_free(struct extents *extents)
{
	struct extent_array *array = atomic_load_explicit(&extents->array, memory_order_relaxed);

	while (array) {
		struct extent_array *older = array->older;
		free(array);
		array = older;
	}
	extents_init(extents);
}

static void begin_change(struct extents *extents)
{
	atomic_fetch_add_explicit(&extents->sequence, 1, memory_order_acq_rel);
}

static void end_change(struct extents *extents)
{
	atomic_fetch_add_explicit(&extents->sequence, 1, memory_order_release);
}

static uint64_t begin_read(struct extents *extents)
{
	uint64_t sequence;
	unsigned turn = 0;

	while ((sequence = atomic_load_explicit(&extents->sequence, memory_order_acquire)) & 1)
		spinlock_backoff(turn++);
	return sequence;
}

static bool end_read(struct extents *extents, uint64_t sequence)
{
	/* All loads of a reader acquire, so this one stays behind them; all stores of a writer release, so the odd
	 * sequence is seen with the first of them. */
	return atomic_load_explicit(&extents->sequence, memory_order_relaxed) == sequence;
}

static void set(struct extent *extent, uint64_t off, struct region *region)
{
	atomic_store_explicit(&extent->off, off, memory_order_release);
	atomic_store_explicit(&extent->region, region, memory_order_release);
}

static uint64_t off_of(struct extent *extent)
{
	return atomic_load_explicit(&extent->off, memory_order_acquire);
}

static struct region *region_of(struct extent *extent)
{
	return atomic_load_explicit(&extent->region, memory_order_acquire);
}

int extents_reserve(struct extents *extents, size_t more)
{
	struct extent_array *array = atomic_load_explicit(&extents->array, memory_order_relaxed);
	size_t count = extents_count(extents);

	if (array && array->room - count >= more)
		return 0;
	size_t room = (count + more) * 2 + 14;
	struct extent_array *larger = calloc(1, sizeof(*larger) + room * sizeof(struct extent));
	if (!larger)
		return error_set(ENOMEM, "no memory for a table of %zu extents", room);
	larger->older = array;
	larger->room = room;
	for (size_t i = 0; i < count; i++)
		set(&larger->at[i], off_of(&array->at[i]), region_of(&array->at[i]));
	atomic_store_explicit(&extents->array, larger, memory_order_release);
	return 0;
}

static void link_region(struct extents *extents, struct region *region)
{
	struct region *last = atomic_load_explicit(&extents->last, memory_order_relaxed);
	uint64_t generation = atomic_load_explicit(&region->generation, memory_order_relaxed);

	/* Almost always behind the last one: generations rise. */
	while (last && atomic_load_explicit(&last->generation, memory_order_relaxed) > generation)
		last = atomic_load_explicit(&last->previous_allocated, memory_order_relaxed);
	struct region *next =
		atomic_load_explicit(last ? &last->next_allocated : &extents->first, memory_order_relaxed);
	atomic_store_explicit(&region->previous_allocated, last, memory_order_release);
	atomic_store_explicit(&region->next_allocated, next, memory_order_release);
	atomic_store_explicit(last ? &last->next_allocated : &extents->first, region, memory_order_release);
	atomic_store_explicit(next ? &next->previous_allocated : &extents->last, region, memory_order_release);
}

static uint64_t generation_of(const struct region *region)
{
	return atomic_load_explicit(&region->generation, memory_order_relaxed);
}

/* Two lists by next_allocated, each in order, as one. */
static struct region *merge_lists(struct region *left, struct region *right)
{
	struct region *first = NULL, *last = NULL;

	while (left || right) {
		bool from_left = left && (!right || generation_of(left) <= generation_of(right));
		struct region *taken = from_left ? left : right;
		struct region *next = atomic_load_explicit(&taken->next_allocated, memory_order_relaxed);
		*(from_left ? &left : &right) = next;
		if (last)
			atomic_store_explicit(&last->next_allocated, taken, memory_order_release);
		else
			first = taken;
		last = taken;
	}
	return first;
}

/* All of the table's regions, which are in order of offset, in order of allocation; without memory of its own. */
static void link_all(struct extents *extents)
{
	struct extent_array *array = atomic_load_explicit(&extents->array, memory_order_relaxed);
	size_t count = extents_count(extents);
	struct region *lists[64] = {NULL}, *all = NULL, *previous = NULL; /* list i has 2^i regions, or none */

	for (size_t i = 0; i < count; i++) {
		struct region *list = region_of(&array->at[i]);
		unsigned at = 0;
		if (!list)
			continue;
		atomic_store_explicit(&list->next_allocated, NULL, memory_order_release);
		for (; lists[at]; lists[at++] = NULL)
			list = merge_lists(lists[at], list);
		lists[at] = list;
	}
	for (unsigned at = 0; at < sizeof(lists) / sizeof(lists[0]); at++)
		all = merge_lists(lists[at], all);
	atomic_store_explicit(&extents->first, all, memory_order_release);
	for (; all; all = atomic_load_explicit(&all->next_allocated, memory_order_relaxed)) {
		atomic_store_explicit(&all->previous_allocated, previous, memory_order_release);
		previous = all;
	}
	atomic_store_explicit(&extents->last, previous, memory_order_release);
}

static void unlink_region(struct extents *extents, struct region *region)
{
	struct region *previous = atomic_load_explicit(&region->previous_allocated, memory_order_relaxed);
	struct region *next = atomic_load_explicit(&region->next_allocated, memory_order_relaxed);

	atomic_store_explicit(previous ? &previous->next_allocated : &extents->first, next, memory_order_release);
	atomic_store_explicit(next ? &next->previous_allocated : &extents->last, previous, memory_order_release);
}

void extents_append(struct extents *extents, uint64_t off, uint64_t bytes, struct region *region)
{
	struct extent_array *array = atomic_load_explicit(&extents->array, memory_order_relaxed);
	size_t count = extents_count(extents);

	begin_change(extents);
	set(&array->at[count], off, region);
	atomic_store_explicit(&extents->count, count + 1, memory_order_release);
	extents->end_off = off + bytes;
	end_change(extents);
}

void extents_link(struct extents *extents)
{
	begin_change(extents);
	link_all(extents);
	end_change(extents);
}

size_t extents_count(struct extents *extents)
{
	return atomic_load_explicit(&extents->count, memory_order_relaxed);
}

struct extent_view extents_get(struct extents *extents, size_t index)
{
	struct extent_array *array = atomic_load_explicit(&extents->array, memory_order_relaxed);
	uint64_t off = off_of(&array->at[index]);
	uint64_t end_off = index + 1 < extents_count(extents) ? off_of(&array->at[index + 1]) : extents->end_off;

	return (struct extent_view){.off = off, .bytes = end_off - off, .region = region_of(&array->at[index])};
}

bool extents_fit(struct extents *extents, uint64_t bytes, struct extent_change *change)
{
	bool found = false;
	size_t count = extents_count(extents);

	for (size_t i = 0; i < count; i++) {
		struct extent_view extent = extents_get(extents, i);
		if (extent.region || extent.bytes < bytes || (found && extent.bytes - bytes >= change->rest_bytes))
			continue;
		*change = (struct extent_change){.off = extent.off,
						 .bytes = bytes,
						 .rest_off = extent.off + bytes,
						 .rest_bytes = extent.bytes - bytes};
		found = true;
	}
	return found;
}

/* Index of the last extent that begins at or in front of an offset; the table must not be empty. */
static size_t index_of(struct extent_array *array, size_t count, uint64_t off)
{
	size_t low = 0, high = count;

	while (high - low > 1) {
		size_t middle = low + (high - low) / 2;
		if (off_of(&array->at[middle]) <= off)
			low = middle;
		else
			high = middle;
	}
	return low;
}

bool extents_merge(struct extents *extents, uint64_t off, struct extent_change *change)
{
	size_t count = extents_count(extents);

	if (!count)
		return false;
	size_t i = index_of(atomic_load_explicit(&extents->array, memory_order_relaxed), count, off);
	struct extent_view extent = extents_get(extents, i);
	if (extent.off != off || !extent.region)
		return false;
	*change = (struct extent_change){.off = off, .bytes = extent.bytes};
	for (size_t j = i; j > 0 && !extents_get(extents, j - 1).region; j--) {
		change->off = extents_get(extents, j - 1).off;
		change->bytes += extents_get(extents, j - 1).bytes;
	}
	for (size_t j = i + 1; j < count && !extents_get(extents, j).region; j++)
		change->bytes += extents_get(extents, j).bytes;
	return true;
}

void extents_apply(struct extents *extents, const struct extent_change *change, struct region *region)
{
	struct extent_array *array = atomic_load_explicit(&extents->array, memory_order_relaxed);
	size_t count = extents_count(extents);
	uint64_t end_off = change->off + change->bytes + change->rest_bytes;
	size_t first = index_of(array, count, change->off);
	size_t behind = first;
	size_t added = change->rest_bytes ? 2 : 1;

	begin_change(extents);
	for (; behind < count && off_of(&array->at[behind]) < end_off; behind++) {
		struct region *former = region_of(&array->at[behind]);
		if (former)
			unlink_region(extents, former);
	}
	if (first + added < behind)
		for (size_t from = behind, to = first + added; from < count; from++, to++)
			set(&array->at[to], off_of(&array->at[from]), region_of(&array->at[from]));
	else if (first + added > behind)
		for (size_t from = count; from > behind; from--)
			set(&array->at[from - 1 + first + added - behind], off_of(&array->at[from - 1]),
			    region_of(&array->at[from - 1]));
	set(&array->at[first], change->off, region);
	if (change->rest_bytes)
		set(&array->at[first + 1], change->rest_off, NULL);
	atomic_store_explicit(&extents->count, count + added - (behind - first), memory_order_release);
	if (region)
		link_region(extents, region);
	end_change(extents);
}

void extents_replace(struct extents *extents, const struct extent_view *views, size_t count)
{
	struct extent_array *array = atomic_load_explicit(&extents->array, memory_order_relaxed);

	begin_change(extents);
	for (size_t i = 0; i < count; i++) {
		set(&array->at[i], views[i].off, views[i].region);
		extents->end_off = views[i].off + views[i].bytes;
	}
	atomic_store_explicit(&extents->count, count, memory_order_release);
	link_all(extents);
	end_change(extents);
}

struct region *extents_find(struct extents *extents, uint64_t off, uint64_t *extent_off)
{
	for (;;) {
		uint64_t sequence = begin_read(extents);
		/* The count first: an array is never smaller than a count that was read before it. */
		size_t count = atomic_load_explicit(&extents->count, memory_order_acquire);
		struct extent_array *array = atomic_load_explicit(&extents->array, memory_order_acquire);
		struct region *region = NULL;
		uint64_t found_off = 0;

		if (count) {
			size_t i = index_of(array, count, off);
			found_off = off_of(&array->at[i]);
			region = off >= found_off ? region_of(&array->at[i]) : NULL;
			if (region && off >= atomic_load_explicit(&region->end_off, memory_order_acquire))
				region = NULL;
		}
		if (end_read(extents, sequence)) {
			if (extent_off)
				*extent_off = found_off;
			return region;
		}
	}
}

/* The region with the lowest generation above one, by looking at all. */
static struct region *search_generation(struct extents *extents, uint64_t above)
{
	size_t count = atomic_load_explicit(&extents->count, memory_order_acquire);
	struct extent_array *array = atomic_load_explicit(&extents->array, memory_order_acquire);
	struct region *found = NULL;
	uint64_t lowest = UINT64_MAX;

	for (size_t i = 0; i < count; i++) {
		struct region *region = region_of(&array->at[i]);
		uint64_t generation = region ? atomic_load_explicit(&region->generation, memory_order_acquire) : 0;
		if (generation > above && generation < lowest) {
			found = region;
			lowest = generation;
		}
	}
	return found;
}

struct region *extents_next_allocated(struct extents *extents, struct region *region, uint64_t above,
				      uint64_t *generation, uint64_t *off)
{
	for (;;) {
		uint64_t sequence = begin_read(extents);
		struct region *next;

		if (!region)
			next = atomic_load_explicit(&extents->first, memory_order_acquire);
		else if (atomic_load_explicit(&region->generation, memory_order_acquire) == above)
			next = atomic_load_explicit(&region->next_allocated, memory_order_acquire);
		else
			next = search_generation(extents, above);
		if (next) {
			*generation = atomic_load_explicit(&next->generation, memory_order_acquire);
			*off = atomic_load_explicit(&next->off, memory_order_acquire);
		}
		if (end_read(extents, sequence))
			return next;
	}
}
