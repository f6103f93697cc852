/*
 * walks.h: both ways to walk over a region, entry by entry and many a call, find the same, and errno, and nothing that
 * reaches out of the region.
 *
 * For a stream at rest. walks_differ says NULL, or in what they differ, in a static text of the calling thread.
 */
#ifndef TESTS_WALKS_H
#define TESTS_WALKS_H

#include <errno.h>
#include <libpmemstream.h>
#include <stdbool.h>
#include <stdio.h>

enum { WALKS_VIEWS_MAX = 7, WALKS_DAMAGE_MAX = 1000, WALKS_REGION_HEADER_BYTES = 256 };

static inline bool walks_same_entry(struct pmemstream *stream, struct pmemstream_entry_iterator *one,
				    const struct pmemstream_entry_view *view)
{
	if (pmemstream_entry_iterator_is_valid(one))
		return false;
	struct pmemstream_entry entry = pmemstream_entry_iterator_get(one);
	bool same = entry.offset == view->entry.offset && pmemstream_entry_data(stream, entry) == view->data &&
		    pmemstream_entry_size(stream, entry) == view->size &&
		    pmemstream_entry_timestamp(stream, entry) == view->timestamp;
	pmemstream_entry_iterator_next(one);
	return same;
}

static inline const char *walks_compare(struct pmemstream *stream, struct pmemstream_region region,
					struct pmemstream_entry_iterator *one, struct pmemstream_entry_iterator *many)
{
	uint64_t end_off = region.offset + WALKS_REGION_HEADER_BYTES + pmemstream_region_size(stream, region);
	static _Thread_local char text[200];
	struct pmemstream_entry_view views[WALKS_VIEWS_MAX];

	for (unsigned call = 0, damage = 0; damage < WALKS_DAMAGE_MAX; call++) {
		size_t count = 1 + call % WALKS_VIEWS_MAX;
		errno = 0;
		size_t read = pmemstream_entry_iterator_read(many, views, count);
		int err = read ? 0 : errno;
		if (read > count) {
			snprintf(text, sizeof(text), "%zu entries were read, %zu wanted", read, count);
			return text;
		}
		for (size_t i = 0; i < read; i++)
			if (views[i].entry.offset < region.offset || views[i].entry.offset > end_off ||
			    views[i].size > end_off - views[i].entry.offset ||
			    !walks_same_entry(stream, one, &views[i])) {
				snprintf(text, sizeof(text),
					 "the walks differ at, or cannot have, the entry at %zu, %zu bytes",
					 (size_t)views[i].entry.offset, views[i].size);
				return text;
			}
		if (read)
			continue;
		if (!pmemstream_entry_iterator_is_valid(one) || errno != err || !err) {
			snprintf(text, sizeof(text), "reading ends with %d, where stepping says %d: %s", err, errno,
				 pmemstream_errormsg());
			return text;
		}
		if (err != EBADMSG)
			return NULL;
		pmemstream_entry_iterator_next(one);
		pmemstream_entry_iterator_next(many);
		damage++;
	}
	return NULL;
}

/* many_first: it is the one that checks what nobody has checked. */
static inline const char *walks_differ(struct pmemstream *stream, struct pmemstream_region region, bool many_first)
{
	struct pmemstream_entry_iterator *one, *many;
	struct pmemstream_entry_view view;

	if (pmemstream_entry_iterator_new(&one, stream, region))
		return NULL; /* a region that is not there */
	if (pmemstream_entry_iterator_new(&many, stream, region)) {
		pmemstream_entry_iterator_delete(&one);
		return "the second iterator could not be made";
	}
	pmemstream_entry_iterator_seek_first(one);
	pmemstream_entry_iterator_seek_first(many);
	if (many_first)
		while (pmemstream_entry_iterator_read(many, &view, 1))
			;
	pmemstream_entry_iterator_seek_first(many);
	const char *different = walks_compare(stream, region, one, many);
	pmemstream_entry_iterator_delete(&one);
	pmemstream_entry_iterator_delete(&many);
	return different;
}

#endif
