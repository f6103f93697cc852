/*
 * stream.h: the run-time state of a stream, shared by the files of this folder.
 *
 * Who may touch what:
 *   order lock   next, the tails, limits and reservations of regions: offset and timestamp are taken together under it,
 *                so that inside a region offset order is timestamp order. Held for nanoseconds, by a round for some
 *                microseconds, never across a wait.
 *   admin mutex  rounds, allocation, freeing, resizing, closing: what may use fences and syncs of its own.
 *                Taken before the order lock, never inside it.
 *   atomics      persisted, committed, window slots and notes, tails as readers see them.
 *
 * Regions live in memory that is only reused for regions until the stream is deleted; who kept a pointer compares the
 * generation, under the order lock to append, after reading to read.
 */
#ifndef STREAM_STREAM_H
#define STREAM_STREAM_H

#include "base/spinlock.h"
#include "medium/medium.h"
#include "stream/extents.h"
#include "stream/format.h"

#include <libpmemstream.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum { LINE_BYTES = MEDIUM_LINE_BYTES };

/*
 * A timestamp between its being taken and its being durable. TAKEN: somebody copies. COPIED: whole, by ordinary
 * stores that any thread may flush. DURABLE: its own thread fenced it. The word says for which timestamp.
 */
enum slot_state { SLOT_TAKEN, SLOT_COPIED, SLOT_DURABLE, SLOT_STATES = 3 };
enum { SLOT_MORE = 4, SLOT_TIMESTAMP_SHIFT = 3 };

struct window_slot {
	_Alignas(LINE_BYTES) _Atomic uint64_t word; /* timestamp << 3 | MORE | state */
	_Atomic uint64_t off;                       /* of the entry's header */
	_Atomic uint64_t bytes;                     /* header and data */
	struct region *_Atomic region;
	_Atomic uint32_t limit_raised; /* the region's limit becomes durable with this entry */
	_Atomic uint32_t moving;       /* a data mover has it: operations[] of the same index counts */
};

/* Where the entry lies that a thread is appending: its slot, which another thread wrote last as a rule, is filled when
 * that holds up nothing, or never. A line of its own for each thread that has a number (base/thread_slot.h). */
struct window_note {
	_Alignas(LINE_BYTES) _Atomic uint64_t timestamp; /* 0: none */
	_Atomic uint64_t off;
	struct region *_Atomic region;
};

struct region {
	/* Read by every append, seldom written. */
	_Alignas(LINE_BYTES) _Atomic uint64_t generation; /* 0: free memory */
	_Atomic uint64_t off, end_off;
	_Atomic uint64_t trusted_off; /* entries from here on were written or recovered by this process */
	struct pmemstream_region_runtime *_Atomic runtime;
	struct region_index *index; /* index.c; under the rare mutex */
	_Atomic uint32_t seed;      /* format_entry_seed */
	uint8_t slot;               /* index of the slot that the last complete round needs */

	/* Written by every append, under the order lock. */
	_Alignas(LINE_BYTES) _Atomic uint64_t tail_off; /* where the next entry begins */
	uint64_t limit_off;                             /* no entry begins at or behind it */
	uint64_t last_timestamp;                        /* highest one given out here by this process */
	uint64_t holder;                                /* token of the thread that reserved */
	uint64_t reserved_bytes;
	struct region *next_grown;
	bool closed;   /* is being freed: no appends */
	bool reserved; /* somebody holds the tail */
	bool grew;     /* is in the list of regions that the next round looks at */

	_Alignas(LINE_BYTES) _Atomic uint64_t verified_off; /* entries in front of it were checked by this process */
	uint64_t slot_off;                                  /* tail in that slot */
	uint64_t round_off;                                 /* tail that the running round writes */
	_Atomic uint64_t covered, covered_off; /* entries in front of covered_off have timestamps up to covered */
	struct region *next_reserved;
	struct region *_Atomic next_allocated, *_Atomic previous_allocated; /* in order of generation */
};

struct pmemstream_region_runtime {
	struct pmemstream *stream;
	struct region *region;
	uint64_t generation;
	struct pmemstream_region_runtime *next; /* all of a stream's, freed with it */
};

/* Sleeping until something happened (progress.c). */
struct progress {
	pthread_mutex_t mutex;
	pthread_cond_t happened;
	uint64_t events;
	struct waker *wakers;
	struct wake_round *wake_rounds;
	uint64_t waker_serial;
	struct wake_handle *handle;
	_Atomic uint64_t cancels; /* of waits for something newer */
	_Alignas(LINE_BYTES) _Atomic uint32_t waiters;
	_Atomic uint32_t inside; /* calls that may wait, and have not let go of the stream */
};

/* Who syncs pages, and who waits for it (group.c). */
struct group {
	_Alignas(LINE_BYTES) _Atomic uint32_t taken; /* somebody sits on the seat */
	_Atomic uint32_t turn;                       /* futex: how often it was left */
	_Atomic uint32_t sleepers;                   /* who went to sleep in this turn */
	_Atomic uint32_t expected;                   /* sleepers of the last turn */
	uint32_t in_vain, skipped;                   /* on the seat, like the next */
	uint64_t sync_ns;                            /* how long the last sync took */
};

struct stream_options {
	uint64_t block_size;     /* 0: that of the existing stream */
	uint32_t alignment;      /* 0: by granularity and block size */
	uint32_t window;         /* power of two; 0: 1024 */
	uint64_t reservation_ns; /* how long to wait for another thread's reservation; 0: 1 s */
	uint64_t round_bytes;    /* a round follows after so many appended bytes; 0: 4 MiB */
	uint64_t one_pass_bytes; /* on lines, data from that size on, 33 at least, are checked while they
				    are copied; 0: 8 KiB */
	uint64_t salt;           /* 0: random; tests give one */
	bool must_exist;         /* an empty map is refused */
	uint64_t new_block_size; /* of a stream that is created where block_size is 0 */
	bool strict;             /* a damaged stream is refused, also read-only */
	bool live;               /* read-only, beside a writer that has published live_limit */
	uint64_t live_limit;
	bool around_damage; /* beside a writer: entries that it published and that are not there are no error */
};

struct pmemstream {
	/* Constant after opening. */
	struct medium medium;
	struct format_header header;
	unsigned char *base; /* of the mapping */
	uint64_t arena_off, alignment, window, round_bytes, one_pass_bytes, reservation_ns;
	uint64_t opened_at;   /* the last timestamp that was there at opening */
	bool lines;           /* durable by flush and fence, not by sync */
	bool writable;        /* else every change is EROFS */
	bool published;       /* tells other processes how far it is (area.h) */
	struct file *file;    /* where the stream was opened by path */
	_Atomic int event_fd; /* event.c; -1: none */
	struct event *event;
	struct follower *follower; /* reads a stream that another process may write (follow.c) */
	struct window_slot *slots;
	struct window_note *notes;            /* behind the slots; none in a reader */
	struct operation *_Atomic operations; /* one for each slot, made at the first use of a data mover */
	_Atomic uint64_t serial;              /* from 1, of this process; another one when a region is freed */
	_Atomic uintptr_t marker;             /* the thread that marked slots copied; 0: none; or MARKERS_MANY */

	/* Constant after opening but in a follower, whose looks change them under the admin mutex. */
	_Atomic uint32_t epoch;
	_Atomic bool damaged;     /* read-only look at a damaged stream */
	_Atomic uint64_t missing; /* the lowest timestamp that a writer published and that is nowhere; 0: none */
	_Atomic uint64_t trouble; /* serial number of the damage that a follower stands before; 0: none */

	/* What appenders share. */
	_Alignas(LINE_BYTES) struct spinlock order;
	_Atomic uint64_t next;   /* timestamp of the next entry */
	uint64_t room_until;     /* timestamps up to here have slots of the window: a lower bound */
	uint64_t appended_bytes; /* since the last round */
	struct region *grown, *reservations;

	_Alignas(LINE_BYTES) _Atomic uint64_t persisted;
	_Alignas(LINE_BYTES) _Atomic uint64_t committed; /* a lower bound; window_committed looks further */
	_Atomic int failed;                              /* errno of the sync that failed, for ever */
	_Atomic bool closing;

	/* Under the admin mutex. */
	_Alignas(LINE_BYTES) pthread_mutex_t admin;
	uint64_t round, round_persisted, sequence, kept; /* of the stream slot in use; kept is K */
	unsigned stream_slot;
	uint64_t applied, next_generation;
	uint64_t rounds_done; /* by this process */
	struct extents extents;
	struct region *free_regions;
	struct region_chunk *region_chunks;
	struct pmemstream_region_runtime *runtimes;

	struct progress progress;
	struct group group;

	pthread_mutex_t rare;        /* the rest, and the indices of regions */
	uint64_t *failed_timestamps; /* whose copy failed */
	size_t failed_count, failed_room;
};

static inline uint64_t stream_persisted(struct pmemstream *stream)
{
	return atomic_load_explicit(&stream->persisted, memory_order_acquire);
}

static inline void *stream_at(struct pmemstream *stream, uint64_t off)
{
	return stream->medium.base + off;
}

/* open.c */
int stream_open(struct pmemstream **stream, struct medium *medium, const struct stream_options *options);
/* Frees a stream and leaves its medium, to whoever it belongs, as it is. */
void stream_discard(struct pmemstream *stream);
/* Gives the stream a serial number that none had before. */
void stream_renumber(struct pmemstream *stream);
int stream_why_not_writable(struct pmemstream *stream);
/* Checks that changes are possible: 0, or -1 with EROFS, or with the errno of the sync that failed. */
static inline int stream_writable(struct pmemstream *stream)
{
	bool failed = atomic_load_explicit(&stream->failed, memory_order_relaxed) != 0;

	return __builtin_expect(!failed && stream->writable, 1) ? 0 : stream_why_not_writable(stream);
}
/* Remembers for ever that a sync failed, with the errno that it left. Returns -1 with EIO. */
int stream_latch_failure(struct pmemstream *stream);
uint64_t stream_time_ns(void);

/* region.c */
struct region *region_new(struct pmemstream *stream); /* NULL with ENOMEM; generation 0 */
void region_release(struct pmemstream *stream, struct region *region);
/* The region that begins at an offset, or NULL with EINVAL. In a follower the writer is looked at first: not under the
 * admin mutex, unlike the second one, and the errors of follow_look. */
struct region *region_find(struct pmemstream *stream, struct pmemstream_region region, uint64_t *generation);
struct region *region_find_known(struct pmemstream *stream, struct pmemstream_region region, uint64_t *generation);
/* Without a runtime, or why not through this one. */
struct region *region_resolve_otherwise(struct pmemstream *stream, struct pmemstream_region region,
					struct pmemstream_region_runtime *runtime, uint64_t *generation);
/* The same through a runtime where there is one: EINVAL for another region's, ESTALE for a freed one's. */
static inline struct region *region_resolve(struct pmemstream *stream, struct pmemstream_region region,
					    struct pmemstream_region_runtime *runtime, uint64_t *generation)
{
	if (!runtime || runtime->stream != stream)
		return region_resolve_otherwise(stream, region, runtime, generation);
	struct region *found = runtime->region;
	*generation = runtime->generation;
	/* In front of the generation: as long as that stands, the place is this region's. */
	uint64_t off = atomic_load_explicit(&found->off, memory_order_acquire);
	bool alive = atomic_load_explicit(&found->generation, memory_order_acquire) == *generation;
	return __builtin_expect(alive && off == region.offset, 1)
		       ? found
		       : region_resolve_otherwise(stream, region, runtime, generation);
}
/* The label that stands in the header at an offset, ended; the caller's buffer of FORMAT_LABEL_BYTES. */
void region_label(struct pmemstream *stream, uint64_t off, char *label);
/* Label or offset, for messages; the caller's buffer of at least 96 bytes. */
const char *region_name(struct pmemstream *stream, const struct region *region, char *buffer);

#endif
