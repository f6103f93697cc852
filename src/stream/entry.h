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

/* Says that this thread found a valid entry: it is likely to be asked for its data, size and timestamp next, and then
 * nothing needs to be looked up again. */
void entry_found(struct pmemstream *stream, struct region *region, uint64_t generation, uint64_t off,
		 const struct format_entry *entry);

/* The first offset behind a bad header where a valid entry begins whose timestamp is above one; the tail if there is
 * none. */
uint64_t entry_search(struct pmemstream *stream, struct region *region, uint64_t off, uint64_t tail_off,
		      uint64_t above_timestamp);

#endif
