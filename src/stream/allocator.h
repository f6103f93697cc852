/*
 * allocator.h: making and freeing regions, atomically.
 */
#ifndef STREAM_ALLOCATOR_H
#define STREAM_ALLOCATOR_H

#include "stream/stream.h"

/* Makes a region whose entries may take at least size bytes; label: "" for none. 0 with its offset, or -1 with EINVAL
 * (size 0, label too long), EEXIST (label taken), ENOSPC, ENOMEM, EROFS, EIO. Durable on return. */
int allocator_allocate(struct pmemstream *stream, uint64_t size, const char *label, uint64_t *off);

/* Frees a region with all its entries. 0, or -1 with EINVAL, EBUSY, ENOMEM, EROFS, EIO. Durable on return. */
int allocator_free(struct pmemstream *stream, struct pmemstream_region region);

/* Carries out a record that is durable; also for recovery. 0, or -1 with EIO. */
int allocator_apply(struct pmemstream *stream, const struct format_record *record);

/* Fills in the run-time state of a region; all offsets are those of the stream. */
void allocator_fill_region(struct pmemstream *stream, struct region *region, uint64_t off, uint64_t end_off,
			   uint64_t generation, uint64_t tail_off, uint64_t limit_off);

/* region.c: frees all memory of regions and runtimes. */
void region_free_all(struct pmemstream *stream);

#endif
