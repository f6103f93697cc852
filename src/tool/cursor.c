/*
 * cursor.c: walks over the entries of a stream, or of some of its regions, in order of timestamp.
 *
 * Beside a writer in another process the place of an entry may be used again at any moment. So an entry's data are
 * copied first, and then it is asked again whether the entry is there.
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
	if (cursor->one)
		pmemstream_entry_iterator_seek(cursor->one, timestamp);
	else
		pmemstream_global_iterator_seek(cursor->all, timestamp);
}

void cursor_next(struct cursor *cursor)
{
	if (cursor->one)
		pmemstream_entry_iterator_next(cursor->one);
	else
		pmemstream_global_iterator_next(cursor->all);
}

/* 0 with the entry and its region, or -1 with errno. */
static int where(struct cursor *cursor, struct pmemstream_region *region, struct pmemstream_entry *entry)
{
	if (!cursor->one)
		return pmemstream_global_iterator_get(cursor->all, region, entry);
	if (pmemstream_entry_iterator_is_valid(cursor->one))
		return -1;
	*region = cursor->wanted[0];
	*entry = pmemstream_entry_iterator_get(cursor->one);
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
	struct pmemstream_region region;
	struct pmemstream_entry entry;

	for (;; cursor_next(cursor)) {
		if (!where(cursor, &region, &entry)) {
			if (is_wanted(cursor, region))
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
	struct pmemstream_region region;
	struct pmemstream_entry entry;

	return where(cursor, &region, &entry) ? 0 : pmemstream_entry_timestamp(cursor->stream, entry);
}

int cursor_read(struct cursor *cursor, struct cursor_entry *read)
{
	struct pmemstream_region region;
	struct pmemstream_entry entry;

	if (where(cursor, &region, &entry))
		return 0;
	uint64_t timestamp = pmemstream_entry_timestamp(cursor->stream, entry);
	size_t bytes = pmemstream_entry_size(cursor->stream, entry);
	const void *data = pmemstream_entry_data(cursor->stream, entry);
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
		.region = region, .timestamp = timestamp, .bytes = bytes, .data = bytes ? copy.data : ""};
	return 1;
}
