/*
 * entry.h: reading entries, and trusting them.
 */
#ifndef STREAM_ENTRY_H
#define STREAM_ENTRY_H

#include "stream/stream.h"

enum entry_verdict {
	ENTRY_VALID,
	ENTRY_FILLER, /* in order, but no user entry */
	ENTRY_LOST,   /* a stretch that a repair gave up; its header can be trusted */
	ENTRY_TORN,   /* the data do not check; the header can be trusted */
	ENTRY_BAD,    /* nothing can be trusted */
	ENTRY_NONE    /* none, and the error is set already */
};

/* Reads the entry at an offset of the region that is known to be finished and in front of the tail. What this process
 * wrote or checked before is not checked again; sequential readers make everything in front of them checked.
 * check: it is checked again all the same. */
enum entry_verdict entry_read(struct pmemstream *stream, struct region *region, uint64_t off, bool check,
			      struct format_entry *entry);

/* Checks entries that nobody checked yet, from an offset on, until so many bytes are, or up to end_off, or to one that
 * does not check or is no ordinary one. Returns where that is. Whether it counts says the
 * region's generation. Not for damaged streams. */
uint64_t entry_check_ahead(struct pmemstream *stream, struct region *region, uint64_t off, uint64_t end_off,
			   uint64_t bytes);

/* From an entry's offset up to there nothing needs to be checked: behind it if the entry does not. */
static inline uint64_t entry_trusted_until(struct pmemstream *stream, struct region *region, uint64_t off)
{
	if (stream->damaged)
		return 0;
	return off >= atomic_load_explicit(&region->trusted_off, memory_order_acquire)
		       ? UINT64_MAX
		       : atomic_load_explicit(&region->verified_off, memory_order_acquire);
}

/* The size and timestamp of an ordinary entry that is committed and trusted, as are so many bytes behind its header;
 * false, with nothing written, for what entry_read has to judge. Whether it counts says the region's generation. */
__attribute__((no_sanitize("thread"))) static inline bool
entry_step(struct pmemstream *stream, uint64_t off, uint64_t data_room, uint64_t *size, uint64_t *timestamp)
{
	const uint64_t *from = stream_at(stream, off);
	uint64_t first = le64toh(__atomic_load_n(from, __ATOMIC_ACQUIRE));
	uint64_t bytes = first & ~((uint64_t)FORMAT_MORE << 48); /* with another flag it is larger than any room */

	if (__builtin_expect(bytes > data_room, 0))
		return false;
	*size = bytes;
	*timestamp = le64toh(__atomic_load_n(from + 1, __ATOMIC_ACQUIRE));
	return true;
}

/* The first offset behind a bad header where a valid entry begins whose timestamp is above one; the tail if there is
 * none. */
uint64_t entry_search(struct pmemstream *stream, struct region *region, uint64_t off, uint64_t tail_off,
		      uint64_t above_timestamp);

#endif
