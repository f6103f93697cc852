/*
 * recover.h: finding out what a medium holds (recover_read.c, recover_scan.c), and making it the beginning of a new
 * epoch (recover_write.c). Reading changes no byte.
 */
#ifndef STREAM_RECOVER_H
#define STREAM_RECOVER_H

#include "stream/budget.h"
#include "stream/stream.h"

/* A region as it was found; the extents table has the same one. */
struct found_region {
	struct region *region;
	struct format_region_slot slot; /* in use */
	bool torn;                      /* the other one does not check */
	uint64_t last_timestamp;        /* found behind the slot, in a damaged stream */
	uint64_t scan_end_off;          /* where the chain of trustworthy headers ended */
	uint64_t unchecked_off;         /* the first entry there whose data do not check; 0: none */
};

/* An entry behind the slots that may be part of the stream. */
struct candidate {
	uint64_t timestamp, off, bytes;
	uint32_t epoch;
	uint32_t region; /* index of found_region */
	bool more;
};

struct recovery {
	struct pmemstream *stream;
	bool copy_valid[2]; /* header copies */
	struct format_stream_slot slot;
	bool stream_slot_torn;
	bool clean;
	bool live; /* a writer goes on beside: nothing above live_limit counts, and nothing is evidence */
	uint64_t live_limit;
	bool pending; /* the record counts */
	struct format_record record;
	uint64_t applied, next_generation;
	uint64_t highest_round; /* that any slot mentions */
	uint32_t highest_epoch; /* that a region's slot or the record mentions */

	struct found_region *regions;
	size_t region_count;

	struct candidate *candidates; /* those of the run first, in order, once it was chosen */
	size_t candidate_count, candidate_room;
	size_t run_count;
	uint64_t kept;      /* end of the run */
	uint64_t watermark; /* the highest one that a valid entry claims, or P of a region's slot or the record */
	uint64_t watermark_off;
	struct budget budget; /* of the search behind the ends of the scans */
	uint32_t digest;
};

/* recover_read.c: slots, allocator, regions; fills the stream's extents. 0, or -1 with EBADMSG, ENOMEM. */
int recover_read(struct recovery *recovery, struct pmemstream *stream, uint64_t map_bytes);
void recover_free(struct recovery *recovery);
int recover_damage(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* recover_scan.c: finds and chooses the entries behind the slots. 0; or -1 with EBADMSG: damage, or with ENOMEM. */
int recover_scan(struct recovery *recovery);
/* For a read-only look at a damaged stream: every region ends behind the last valid entry that can be found, or a
 * little further where something that is missing may have followed. 0, or -1 with ENOMEM. */
int recover_everything(struct recovery *recovery);
/* The same beside a live writer, for what it published. Where timestamps are missing and no damaged stretch of a region
 * explains it, stream->missing is the lowest of them, and the error's text says so. 0, or -1 with ENOMEM. */
int recover_published(struct recovery *recovery);

/* recover_write.c: makes durable what was kept, applies the record, raises the epoch. 0, or -1 with EIO, EOVERFLOW. */
int recover_write(struct recovery *recovery);

#endif
