/*
 * iterator.h: what the other walks use of a region's iterator.
 */
#ifndef STREAM_ITERATOR_H
#define STREAM_ITERATOR_H

#include "stream/entry.h"

/* Of the region that it walks over. */
uint64_t iterator_generation(const struct pmemstream_entry_iterator *iterator);

/* What the iterator is at: 0 and the entry's timestamp, or the errno that makes it invalid there. */
int iterator_look(struct pmemstream_entry_iterator *iterator, uint64_t *timestamp);

/* Part of a walk over all regions, which looked just now, and tells of damage whose region is not known. */
void iterator_be_quiet(struct pmemstream_entry_iterator *iterator);

/* index.c: the first offset in front of safe_off where an entry with at least that timestamp begins, or safe_off. Only
 * headers are read; where one cannot be trusted the search goes on behind it. */
uint64_t index_seek(struct pmemstream *stream, struct region *region, uint64_t generation, uint64_t safe_off,
		    uint64_t timestamp);
/* Frees what is known of a region. */
void index_free(struct region *region);

#endif
