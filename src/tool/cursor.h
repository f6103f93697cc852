/*
 * cursor.h: walks over the entries of a stream, or of some of its regions, in order of timestamp.
 */
#ifndef TOOL_CURSOR_H
#define TOOL_CURSOR_H

#include <libpmemstream.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct cursor {
	struct pmemstream *stream;
	const struct pmemstream_region *wanted; /* count of them; none: all */
	size_t count;
	struct pmemstream_global_iterator *all; /* one of the two is used */
	struct pmemstream_entry_iterator *one;
	struct pmemstream_region region;   /* of the entry here */
	struct pmemstream_entry_view view; /* it; all of it where is_ahead, else its place */
	bool is_ahead;                     /* one was read, and is behind it */
	bool quiet;                        /* pass damage without a word */
	bool damage;                       /* was met and reported */
};

/* An entry where a cursor stands. The data are a copy: they stay when a writer frees the region. */
struct cursor_entry {
	struct pmemstream_region region;
	uint64_t timestamp;
	size_t bytes;
	const char *data; /* good until the next cursor_read */
};

/* wanted must live as long as the cursor. 0, or -1 with errno and the library's message. */
int cursor_begin(struct cursor *cursor, struct pmemstream *stream, const struct pmemstream_region *wanted,
		 size_t count);
void cursor_end(struct cursor *cursor);

/* To the first entry with at least that timestamp. */
void cursor_seek(struct cursor *cursor, uint64_t timestamp);

/*
 * Whether there is an entry here; moves over entries of other regions, and over damage, which it reports. Otherwise 0
 * with errno: ENODATA: the end so far; ESTALE: the region that is read was freed; or what else failed.
 */
bool cursor_valid(struct cursor *cursor);
void cursor_next(struct cursor *cursor);

/* The timestamp where a valid cursor stands; 0 if the entry is gone meanwhile. */
uint64_t cursor_timestamp(struct cursor *cursor);

/* Reads the entry of a valid cursor. 1; 0: it went with its region meanwhile; -1: no memory, reported. */
int cursor_read(struct cursor *cursor, struct cursor_entry *entry);

#endif
