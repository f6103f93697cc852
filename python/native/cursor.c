/*
 * cursor.c: entries in portions, so that a step of a Python iterator costs a fraction of a call.
 *
 * Bytes are copied first, and then it is asked again whether the entry is there: only then were they the entry's.
 */
#include "part.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct cursor {
	struct part part;
	struct pmemstream_entry_iterator *in_region; /* one of the two */
	struct pmemstream_global_iterator *in_all;
	struct pmemstream_entry_view ahead; /* the iterator is behind it, but it was not taken yet */
	bool is_ahead;
	uint64_t region, since, until;
	bool at_damage; /* which was told; the next call passes it */
	bool at_until;
};

static void end_cursor(struct part *part)
{
	struct cursor *cursor = (struct cursor *)part;

	pmemstream_entry_iterator_delete(&cursor->in_region);
	pmemstream_global_iterator_delete(&cursor->in_all);
}

static int begin_in_region(struct cursor *cursor, struct stream *stream, const struct stream_region *region,
			   uint64_t since)
{
	struct pmemstream_region place = {.offset = region->offset};
	struct pmemstream_region_info info;

	if (pmemstream_entry_iterator_new(&cursor->in_region, stream->stream, place))
		return errno == EINVAL ? failure_set(ESTALE, "the region was freed") : stream_failure();
	/* The iterator keeps to what was there when it was made; if that is the region meant now, it was then. */
	if (stream_check_region(stream, region, &info)) {
		pmemstream_entry_iterator_delete(&cursor->in_region);
		return -1;
	}
	if (since)
		pmemstream_entry_iterator_seek(cursor->in_region, since);
	else
		pmemstream_entry_iterator_seek_first(cursor->in_region);
	return 0;
}

static int begin_in_all(struct cursor *cursor, struct stream *stream, uint64_t since)
{
	if (pmemstream_global_iterator_new(&cursor->in_all, stream->stream))
		return stream_failure();
	pmemstream_global_iterator_seek(cursor->in_all, since);
	return 0;
}

struct cursor *cursor_new(struct stream *stream, const struct stream_region *region, uint64_t since, uint64_t until)
{
	struct cursor *cursor = calloc(1, sizeof(*cursor));
	struct stay stay;

	if (!cursor) {
		failure_set(ENOMEM, "no memory for an iterator");
		return NULL;
	}
	if (guard_enter(&stream->guard, &stay)) {
		free(cursor);
		return NULL;
	}
	cursor->since = since;
	cursor->until = until;
	cursor->region = region ? region->offset : UINT64_MAX;
	if (region ? begin_in_region(cursor, stream, region, since) : begin_in_all(cursor, stream, since)) {
		free(cursor);
		cursor = NULL;
	} else {
		part_begin(&cursor->part, stream, end_cursor);
	}
	guard_leave(&stay);
	return cursor;
}

static void step(struct cursor *cursor)
{
	if (cursor->is_ahead)
		cursor->is_ahead = false;
	else if (cursor->in_region)
		pmemstream_entry_iterator_next(cursor->in_region);
	else
		pmemstream_global_iterator_next(cursor->in_all);
}

/* To a follower each question about an entry is a look at the file; this asks all at once. What the process itself
 * appends to is found faster without: an entry is still known when its bytes were copied. */
static int get_ahead(struct cursor *cursor, struct pmemstream_entry_view *view)
{
	if (!cursor->is_ahead && !pmemstream_entry_iterator_read(cursor->in_region, &cursor->ahead, 1))
		return -1;
	cursor->is_ahead = true;
	*view = cursor->ahead;
	return 0;
}

/* The entry it is at, with its data if they are wanted: 0, or -1 with errno. */
static int get(struct cursor *cursor, bool data, struct pmemstream_entry_view *view)
{
	struct pmemstream *stream = cursor->part.owner->stream;
	struct pmemstream_region region = {.offset = cursor->region};
	struct pmemstream_entry place;

	if (cursor->in_region && cursor->part.owner->read_only)
		return get_ahead(cursor, view);
	if (cursor->in_region) {
		place = pmemstream_entry_iterator_get(cursor->in_region);
		if (place.offset == UINT64_MAX)
			return -1;
	} else if (pmemstream_global_iterator_get(cursor->in_all, &region, &place)) {
		return -1;
	}
	cursor->region = region.offset;
	*view = (struct pmemstream_entry_view){
		.entry = place,
		.timestamp = pmemstream_entry_timestamp(stream, place),
		.size = pmemstream_entry_size(stream, place),
		.data = data ? pmemstream_entry_data(stream, place) : NULL,
	};
	if (view->timestamp && (view->data || !data))
		return 0;
	errno = view->timestamp ? EBADMSG : ESTALE; /* freed between the two looks */
	return -1;
}

/* Copies the bytes of the entry that was got: -1 with ESTALE where another one may have come to its place meanwhile. */
static int copy_out(struct cursor *cursor, const struct pmemstream_entry_view *view, char *to)
{
	struct pmemstream *stream = cursor->part.owner->stream;

	memcpy(to, view->data, view->size);
	if (pmemstream_entry_timestamp(stream, view->entry) == view->timestamp &&
	    pmemstream_entry_size(stream, view->entry) == view->size)
		return 0;
	if (cursor->is_ahead)
		pmemstream_entry_iterator_seek(cursor->in_region, view->timestamp);
	cursor->is_ahead = false;
	return failure_set(ESTALE, "the region of the entry was freed");
}

/* Where entries and their bytes go; to NULL: no bytes are wanted. */
struct portion {
	struct stream_entry *entries;
	int room;
	char *to;
	size_t bytes;
};

/* What an entry that was got asks for: 0 it was taken, 1 it is passed over, 2 it ends the portion, -1 with a failure.
 */
static int take(struct cursor *cursor, const struct pmemstream_entry_view *view, struct portion *portion, bool is_first)
{
	/* A seek goes behind the last entry where there is none yet; what came since may be older than was asked. */
	if (view->timestamp < cursor->since)
		return 1;
	cursor->at_until = view->timestamp >= cursor->until;
	if (cursor->at_until || (portion->to && view->size > portion->bytes))
		return 2;
	if (!portion->to)
		return 0;
	if (copy_out(cursor, view, portion->to))
		return is_first ? -1 : 2;
	portion->to += view->size;
	portion->bytes -= view->size;
	return 0;
}

static int fill(struct cursor *cursor, struct portion *portion)
{
	int count = 0;

	if (cursor->at_damage)
		step(cursor);
	cursor->at_damage = false;
	while (count < portion->room && !cursor->at_until) {
		struct pmemstream_entry_view view;
		if (get(cursor, portion->to, &view)) {
			if (errno == ENODATA || count)
				break; /* what is wrong is told when it is reached */
			cursor->at_damage = errno == EBADMSG;
			return stream_failure();
		}
		portion->entries[count] = (struct stream_entry){
			.offset = view.entry.offset,
			.timestamp = view.timestamp,
			.size = view.size,
			.region = cursor->region,
		};
		int verdict = take(cursor, &view, portion, !count);
		if (verdict < 0)
			return -1;
		if (verdict == 2)
			return count || cursor->at_until ? count : portion->room + 1;
		count += !verdict;
		step(cursor);
	}
	return count;
}

static int enter_and_fill(struct cursor *cursor, struct portion *portion)
{
	struct stay stay;

	if (part_enter(&cursor->part, &stay))
		return -1;
	int count = fill(cursor, portion);
	part_leave(&cursor->part, &stay);
	return count;
}

int cursor_fill(struct cursor *cursor, struct stream_entry *entries, int room)
{
	struct portion portion = {.entries = entries, .room = room};

	return enter_and_fill(cursor, &portion);
}

int cursor_copy(struct cursor *cursor, struct stream_entry *entries, int room, void *to, size_t bytes)
{
	struct portion portion = {.entries = entries, .room = room, .to = to, .bytes = bytes};

	return enter_and_fill(cursor, &portion);
}

void cursor_release(struct cursor *cursor)
{
	part_release(&cursor->part);
}
