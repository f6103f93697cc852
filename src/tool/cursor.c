/*
 * cursor.c: walks over the entries of a stream, or of some of its regions, in order of timestamp.
 *
 * Beside a writer in another process the place of an entry may be used again at any moment. So an entry's data are
 * copied first, and then it is asked again whether the entry is there.
 *
 * Each question about an entry is a look at the file there. The iterator of one region answers all of them in one.
 */
#include "tool/cursor.h"

#include "tool/report.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static struct {
	char *data;
	size_t room;
} copy;

int cursor_begin(struct cursor *cursor, struct pmemstream *stream, const struct pmemstream_region *wanted, size_t count)
{
	*cursor = (struct cursor){.stream = stream, .wanted = wanted, .count = count};
	if (count == 1)
		cursor->region = wanted[0];
	return count == 1 ? pmemstream_entry_iterator_new(&cursor->one, stream, wanted[0])
			  : pmemstream_global_iterator_new(&cursor->all, stream);
}

void cursor_end(struct cursor *cursor)
{
	pmemstream_entry_iterator_delete(&cursor->one);
	pmemstream_global_iterator_delete(&cursor->all);
	free(copy.data);
	copy.data = NULL;
	copy.room = 0;
}

void cursor_seek(struct cursor *cursor, uint64_t timestamp)
{
	cursor->is_ahead = false;
	if (cursor->one)
		pmemstream_entry_iterator_seek(cursor->one, timestamp);
	else
		pmemstream_global_iterator_seek(cursor->all, timestamp);
}

void cursor_next(struct cursor *cursor)
{
	if (cursor->is_ahead)
		cursor->is_ahead = false;
	else if (cursor->one)
		pmemstream_entry_iterator_next(cursor->one);
	else
		pmemstream_global_iterator_next(cursor->all);
}

/* Sees to what is here: 0, or -1 with errno. */
static int look(struct cursor *cursor)
{
	if (!cursor->one)
		return pmemstream_global_iterator_get(cursor->all, &cursor->region, &cursor->view.entry);
	if (!cursor->is_ahead && !pmemstream_entry_iterator_read(cursor->one, &cursor->view, 1))
		return -1;
	cursor->is_ahead = true;
	return 0;
}

static bool is_wanted(const struct cursor *cursor, struct pmemstream_region region)
{
	for (size_t i = 0; i < cursor->count; i++)
		if (cursor->wanted[i].offset == region.offset)
			return true;
	return !cursor->count;
}

bool cursor_valid(struct cursor *cursor)
{
	for (;; cursor_next(cursor)) {
		if (!look(cursor)) {
			if (is_wanted(cursor, cursor->region))
				return true;
		} else if (errno == EBADMSG && cursor->quiet) {
			continue;
		} else if (errno == EBADMSG) {
			report("%s", pmemstream_errormsg());
			cursor->damage = true;
		} else {
			return false;
		}
	}
}

uint64_t cursor_timestamp(struct cursor *cursor)
{
	return cursor->is_ahead ? cursor->view.timestamp
				: pmemstream_entry_timestamp(cursor->stream, cursor->view.entry);
}

int cursor_read(struct cursor *cursor, struct cursor_entry *read)
{
	struct pmemstream_entry entry = cursor->view.entry;
	uint64_t timestamp = cursor_timestamp(cursor);
	size_t bytes = cursor->is_ahead ? cursor->view.size : pmemstream_entry_size(cursor->stream, entry);
	const void *data = cursor->is_ahead ? cursor->view.data : pmemstream_entry_data(cursor->stream, entry);

	if (!timestamp || !data)
		return 0;
	if (bytes > copy.room) {
		char *larger = realloc(copy.data, bytes);
		if (!larger) {
			report("no memory to read an entry of %zu bytes", bytes);
			return -1;
		}
		copy.data = larger;
		copy.room = bytes;
	}
	if (bytes)
		memcpy(copy.data, data, bytes);
	if (pmemstream_entry_timestamp(cursor->stream, entry) != timestamp ||
	    pmemstream_entry_size(cursor->stream, entry) != bytes)
		return 0;
	*read = (struct cursor_entry){
		.region = cursor->region, .timestamp = timestamp, .bytes = bytes, .data = bytes ? copy.data : ""};
	return 1;
}
