/*
 * global.c: walks over all entries of a stream in timestamp order.
 *
 * A heap holds one iterator of each region that has an entry to show, ordered by that entry's timestamp; the others
 * wait in a list. bound is the committed timestamp before the lists were last gone through: up to it every entry is in
 * the heap or was shown, so the heap's first one may be shown. Behind it regions are asked again, and new regions are
 * added. Damage in a region takes the place of the lowest timestamp that may have stood there.
 */
#include "base/error.h"
#include "base/export.h"
#include "stream/follow.h"
#include "stream/iterator.h"
#include "stream/window.h"

#include <errno.h>
#include <stdlib.h>

struct member {
	uint64_t timestamp; /* of the entry it is at */
	uint64_t generation;
	struct pmemstream_region region;
	struct pmemstream_entry_iterator *iterator;
	int err; /* 0, or EBADMSG: it is at damage */
};

struct pmemstream_global_iterator {
	struct pmemstream *stream;
	struct member *members; /* the heap, then those that wait */
	size_t heap_count, count, room;
	uint64_t bound;      /* every entry up to here is in the heap or was shown */
	uint64_t generation; /* of the newest region that is known */
	struct region *newest;
	uint64_t from; /* entries below are passed over */
	uint64_t last; /* the last timestamp that was shown or passed; 0: none */
	/* Of the stream's troubles: the one that it is invalid for, or 0; and the last one that next passed. */
	uint64_t trouble, told;
	bool sought;
};

static bool before(const struct member *a, const struct member *b)
{
	return a->timestamp < b->timestamp;
}

static void swap(struct member *a, struct member *b)
{
	struct member former = *a;

	*a = *b;
	*b = former;
}

static void sift_down(struct pmemstream_global_iterator *iterator, size_t i)
{
	struct member *heap = iterator->members;

	for (;;) {
		size_t least = i;
		for (size_t child = 2 * i + 1; child <= 2 * i + 2 && child < iterator->heap_count; child++)
			if (before(&heap[child], &heap[least]))
				least = child;
		if (least == i)
			return;
		swap(&heap[i], &heap[least]);
		i = least;
	}
}

static void sift_up(struct pmemstream_global_iterator *iterator, size_t i)
{
	struct member *heap = iterator->members;

	for (; i && before(&heap[i], &heap[(i - 1) / 2]); i = (i - 1) / 2)
		swap(&heap[i], &heap[(i - 1) / 2]);
}

/* Asks a member's iterator where it is: true if there is something to show. */
static bool ask(struct member *member)
{
	uint64_t timestamp;

	member->err = iterator_look(member->iterator, &timestamp);
	if (member->err == EBADMSG) {
		member->timestamp++;
		return true;
	}
	if (member->err)
		return false;
	member->timestamp = timestamp;
	return true;
}

/* Takes the i-th member out; the last one of its part takes its place. */
static void drop(struct pmemstream_global_iterator *iterator, size_t i)
{
	pmemstream_entry_iterator_delete(&iterator->members[i].iterator);
	iterator->members[i] = iterator->members[--iterator->count];
}

static int add_region(struct pmemstream_global_iterator *iterator, uint64_t off, uint64_t generation)
{
	if (iterator->count == iterator->room) {
		size_t room = iterator->room * 2 + 16;
		struct member *more = realloc(iterator->members, room * sizeof(*more));
		if (!more)
			return error_set(ENOMEM, "no memory to iterate over %zu regions", room);
		iterator->members = more;
		iterator->room = room;
	}
	struct member *member = &iterator->members[iterator->count];
	*member = (struct member){.generation = generation, .region = {.offset = off}};
	if (pmemstream_entry_iterator_new(&member->iterator, iterator->stream, member->region))
		return errno == EINVAL ? 0 : -1; /* freed meanwhile */
	if (iterator_generation(member->iterator) != generation) {
		/* Freed meanwhile, and its place is another region's, which comes in its turn. */
		pmemstream_entry_iterator_delete(&member->iterator);
		return 0;
	}
	iterator_be_quiet(member->iterator);
	if (iterator->from)
		pmemstream_entry_iterator_seek(member->iterator, iterator->from);
	else
		pmemstream_entry_iterator_seek_first(member->iterator);
	iterator->count++;
	return 0;
}

static int add_new_regions(struct pmemstream_global_iterator *iterator)
{
	struct extents *extents = &iterator->stream->extents;
	uint64_t generation = iterator->generation, off;
	struct region *region = iterator->newest;

	while ((region = extents_next_allocated(extents, region, generation, &generation, &off))) {
		if (add_region(iterator, off, generation))
			return -1;
		iterator->newest = region;
		iterator->generation = generation;
	}
	return 0;
}

/* Asks all that wait, and looks for new regions, if anything was committed since the last time. */
static int refresh(struct pmemstream_global_iterator *iterator)
{
	struct pmemstream *stream = iterator->stream;

	if (stream->follower && follow_look(stream) && errno != EBADMSG && errno != EAGAIN)
		return -1;
	uint64_t bound = window_committed(stream);
	if (bound <= iterator->bound && iterator->count)
		return 0;
	if (add_new_regions(iterator))
		return -1;
	for (size_t i = iterator->heap_count; i < iterator->count;) {
		struct member *member = &iterator->members[i];
		if (ask(member)) {
			swap(member, &iterator->members[iterator->heap_count]);
			sift_up(iterator, iterator->heap_count++);
			i++;
		} else if (member->err == ESTALE) {
			drop(iterator, i);
		} else {
			i++;
		}
	}
	iterator->bound = bound;
	return 0;
}

static void remove_first(struct pmemstream_global_iterator *iterator)
{
	swap(&iterator->members[0], &iterator->members[--iterator->heap_count]);
	sift_down(iterator, 0);
}

/* Whether a follower has to be told of what it cannot find, in front of an entry with that timestamp. */
static bool is_troubled(struct pmemstream_global_iterator *iterator, uint64_t timestamp)
{
	uint64_t trouble = iterator->stream->trouble, missing = iterator->stream->missing;

	iterator->trouble = trouble > iterator->told && missing < timestamp && (!missing || missing >= iterator->from)
				    ? trouble
				    : 0;
	return iterator->trouble;
}

/* Takes the first one out, which has nothing to show now. */
static void remove_silent(struct pmemstream_global_iterator *iterator, int err)
{
	size_t last = iterator->heap_count - 1;

	remove_first(iterator);
	if (err == ESTALE)
		drop(iterator, last);
}

/* Brings the heap in order: 0 and the first one can be shown; or the errno that makes the iterator invalid. */
static int settle(struct pmemstream_global_iterator *iterator)
{
	struct pmemstream *stream = iterator->stream;

	if (!iterator->sought)
		return ENODATA;
	for (;;) {
		while (iterator->heap_count) {
			struct member *first = &iterator->members[0];
			uint64_t timestamp;
			if (first->timestamp > iterator->bound && !first->err && !stream->damaged)
				break;
			/* It may have been freed since it was asked. */
			int err = iterator_look(first->iterator, &timestamp);
			if (err == ESTALE || err == ENODATA) {
				remove_silent(iterator, err);
				continue;
			}
			/* Timestamps were left out: freed with their region, or lost. */
			if (stream->follower && first->timestamp > iterator->last + 1 &&
			    follow_vouch(stream, first->timestamp - 1)) {
				iterator->bound = 0; /* all are asked again */
				break;
			}
			return is_troubled(iterator, first->timestamp) ? EBADMSG : err;
		}
		uint64_t bound = iterator->bound;
		if (refresh(iterator))
			return errno;
		if (iterator->bound == bound)
			return is_troubled(iterator, UINT64_MAX) ? EBADMSG : ENODATA;
	}
}

EXPORT int pmemstream_global_iterator_new(struct pmemstream_global_iterator **iterator, struct pmemstream *stream)
{
	if (!iterator || !stream)
		return error_set(EINVAL, "no %s", stream ? "place for the iterator" : "stream");
	struct pmemstream_global_iterator *made = calloc(1, sizeof(*made));
	if (!made)
		return error_set(ENOMEM, "no memory for an iterator");
	made->stream = stream;
	*iterator = made;
	return 0;
}

static void forget_members(struct pmemstream_global_iterator *iterator)
{
	while (iterator->count)
		drop(iterator, iterator->count - 1);
	iterator->heap_count = 0;
	iterator->newest = NULL;
	iterator->bound = iterator->generation = 0;
}

EXPORT void pmemstream_global_iterator_delete(struct pmemstream_global_iterator **iterator)
{
	if (!iterator || !*iterator)
		return;
	forget_members(*iterator);
	free((*iterator)->members);
	free(*iterator);
	*iterator = NULL;
}

EXPORT void pmemstream_global_iterator_seek(struct pmemstream_global_iterator *iterator, uint64_t timestamp)
{
	if (!iterator)
		return;
	forget_members(iterator);
	iterator->from = timestamp;
	iterator->last = timestamp ? timestamp - 1 : 0;
	iterator->told = 0;
	iterator->sought = true;
}

EXPORT void pmemstream_global_iterator_seek_first(struct pmemstream_global_iterator *iterator)
{
	pmemstream_global_iterator_seek(iterator, 0);
}

EXPORT int pmemstream_global_iterator_is_valid(struct pmemstream_global_iterator *iterator)
{
	if (!iterator)
		return error_set(EINVAL, "no iterator");
	int err = settle(iterator);
	if (err == EBADMSG && iterator->trouble)
		return follow_tell_trouble(iterator->stream);
	if (err == EBADMSG)
		return pmemstream_entry_iterator_is_valid(iterator->members[0].iterator);
	if (err == ENODATA)
		return error_set(err, iterator->sought ? "no further entry is committed" : "no seek was made");
	return err ? -1 : 0;
}

EXPORT void pmemstream_global_iterator_next(struct pmemstream_global_iterator *iterator)
{
	if (!iterator)
		return;
	int err = settle(iterator);
	if (err && err != EBADMSG)
		return;
	if (err && iterator->trouble) {
		iterator->told = iterator->trouble;
		return;
	}
	struct member *first = &iterator->members[0];
	if (first->timestamp > iterator->last)
		iterator->last = first->timestamp;
	pmemstream_entry_iterator_next(first->iterator);
	if (ask(first)) {
		sift_down(iterator, 0);
		return;
	}
	remove_first(iterator);
}

EXPORT int pmemstream_global_iterator_get(struct pmemstream_global_iterator *iterator, struct pmemstream_region *region,
					  struct pmemstream_entry *entry)
{
	if (pmemstream_global_iterator_is_valid(iterator))
		return -1;
	if (region)
		*region = iterator->members[0].region;
	if (entry)
		*entry = pmemstream_entry_iterator_get(iterator->members[0].iterator);
	return 0;
}
