/*
 * survey.h: reading all of a stream that may be damaged, going on behind each problem.
 *
 * An opening (recover.h) stops at the first thing that does not check. A survey reports it and goes on as far as
 * anything can be known; what it could rebuild from other places is marked, with the proof next to the code. It never
 * stores. check.c reports what it finds, repair.c makes a plan of it.
 */
#ifndef STREAM_SURVEY_H
#define STREAM_SURVEY_H

#include "medium/medium.h"
#include "stream/budget.h"
#include "stream/format.h"

#include <libpmemstream.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SURVEY_NOWHERE UINT64_MAX

typedef int survey_callback(const struct pmemstream_event *event, void *arg);

struct survey_extent {
	uint64_t off, bytes;
	bool is_region;
	bool rebuilt; /* its word does not check, but is known all the same */
};

struct survey_region {
	uint64_t off, end_off;
	struct format_region fields;
	bool usable;         /* generation and a slot are known: its entries can be read */
	bool header_rebuilt; /* does not check; fields are what is to be written */
	bool limit_rebuilt;
	uint64_t limit_off;
	uint32_t seed; /* format_entry_seed */
	struct format_region_slot slots[2];
	bool slot_valid[2];
	unsigned current; /* slot in use */
	bool covered;     /* entries that the last round covered lie behind it: the other slot was needed */
	uint64_t tail_off;
	uint64_t scan_end_off;
	uint64_t raise_off;      /* an entry begins here, at or behind the limit; 0: none */
	uint64_t kept_off;       /* end of what a repair keeps; tail_off or more */
	uint64_t kept_timestamp; /* of the last entry there, at most */
};

/* A valid entry behind the slots. */
struct survey_entry {
	uint64_t timestamp, off, bytes; /* bytes: all that it takes */
	uint32_t epoch, region;
	bool more, lost;
	bool in_chain; /* the scan of an opening gets there */
	bool covered;  /* timestamp <= P, in front of a slot that does not check */
	bool stale;    /* the same timestamp stands elsewhere, in front of the slots */
	bool chosen;
};

/* A trustworthy header behind the slots whose data do not check. */
struct survey_torn {
	uint64_t timestamp, off, bytes;
	uint32_t epoch, region;
};

/* A stretch that is lost. */
struct survey_hole {
	uint64_t off, bytes;
	uint64_t timestamp;      /* the lowest one that may have stood here */
	uint64_t last_timestamp; /* the highest one */
	uint32_t epoch, region;
	enum pmemstream_problem_kind kind; /* ENTRY_HEADER, ENTRY_DATA; MISSING: nothing is left, and this is the place
					      where it may have been */
};

struct survey {
	struct medium *medium;
	survey_callback *callback;
	void *arg;
	bool deep;

	struct format_header header;
	bool copy_valid[2];
	struct format_stream_slot slots[2];
	bool slot_valid[2], slot_known;
	unsigned current;
	uint64_t applied, next_generation;
	bool applied_known, next_generation_known;
	bool applied_rebuilt, next_generation_rebuilt;
	struct format_record record;
	bool record_valid, pending;
	bool tiled; /* the extents are known to the end of the arena */
	uint64_t highest_round, region_count_live;

	struct survey_extent *extents;
	size_t extent_count, extent_room;
	struct survey_region *regions;
	size_t region_count, region_room;
	struct survey_entry *entries;
	size_t entry_count, entry_room, covered_count;
	struct survey_torn *torn;
	size_t torn_count, torn_room;
	struct survey_hole *holes; /* what a repair marks as lost; in order of place */
	size_t hole_count, hole_room;

	/* What the entries behind the slots say. */
	bool clean;  /* nothing behind the slots counts */
	bool broken; /* an opening for writing would be refused for what is, or is not, behind the slots */
	bool epoch_reported;
	uint64_t epoch_off;   /* of the slot or record that is of the highest epoch */
	uint32_t epoch;       /* the highest of all that was read */
	uint64_t vouched;     /* all timestamps up to it were durable */
	uint64_t vouched_off; /* who says so */
	uint64_t kept;        /* end of the run */
	uint64_t last;        /* highest timestamp that a repair counts as given out */
	uint64_t front_count; /* entries in front of the slots */
	bool lost_seen;       /* some of them were given up by a repair, or are damaged */

	struct budget budget;       /* of searches among headers */
	bool overspent;             /* reported */
	uint64_t words;             /* of the allocator that were read to complete a tiling */
	uint64_t no_end_up_to;      /* timestamps for which no region has a place for a marker */
	uint64_t done, total, told; /* progress */
	size_t damages, refusals;   /* reported; not repairable */
	char first[512];            /* the first damage, and the first that cannot be repaired */
	char first_refusal[512];
};

static inline const unsigned char *survey_at(const struct survey *survey, uint64_t off)
{
	return (const unsigned char *)survey->medium->base + off;
}

/* survey.c: begins with header, slots, allocator, extents, regions. 0, also where problems were reported; or -1 with
 * EINVAL, ENOTSUP, EBADMSG (nothing more can be read), ECANCELED, ENOMEM. survey_end also after a failure. */
int survey_begin(struct survey *survey, struct medium *medium, bool deep, survey_callback *callback, void *arg);
void survey_end(struct survey *survey);
/* 0, or -1 with ECANCELED. The cause is formatted; problem->cause is set here. */
int survey_report(struct survey *survey, struct pmemstream_problem problem, const char *cause, ...)
	__attribute__((format(printf, 3, 4)));
/* P and epoch of a structure that checks, whether it counts or not, were durable when it was written. */
void survey_note(struct survey *survey, uint64_t off, uint64_t persisted, uint32_t epoch);
/* So many bytes were read. 0, or -1 with ECANCELED. */
int survey_progress(struct survey *survey, uint64_t bytes);
/* The data of a header that a search found are to be read. Where that is too much it is reported, nothing can be
 * repaired, and overspent is set. 0, or -1 with ECANCELED. */
int survey_spend(struct survey *survey, uint64_t off, uint64_t bytes);
/* Makes room for one more element of an array; 0, or -1 with ENOMEM. */
int survey_grow(void **array, size_t count, size_t *room, size_t bytes);

/* survey_extents.c: fills extents, and regions with their places. 0, or -1 with ECANCELED, ENOMEM. */
int survey_extents(struct survey *survey);
/* survey_regions.c: headers, limits and slots of the regions. */
int survey_regions(struct survey *survey);
/* survey_front.c: all entries in front of the slots (deep). */
int survey_front(struct survey *survey);
/* survey_behind.c: entries behind the slots; which of them count, and what is missing. survey_front runs between the
 * two: it knows which timestamps stand in front. */
int survey_scan(struct survey *survey);
/* Of the entries behind the slots, which are in order of timestamp, the first with at least that one; their number
 * where there is none. */
size_t survey_find_entry(const struct survey *survey, uint64_t timestamp);
int survey_choose(struct survey *survey);
/* survey_holes.c: what a repair marks as lost behind the slots, and where regions end then. */
int survey_holes(struct survey *survey);

/* All of it, in this order. */
int survey_all(struct survey *survey);

bool survey_data_check(const struct survey *survey, uint64_t off, const struct format_entry *entry);
/* The header at an offset of a region, if trustworthy and ending in front of end_off. */
bool survey_header(const struct survey *survey, const struct survey_region *region, uint64_t off, uint64_t end_off,
		   struct format_entry *entry);

#endif
