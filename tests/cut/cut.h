/*
 * cut.h: a medium in ordinary memory whose power can be cut, for tests. This comment is the crash model;
 * docs/design/crash-model.md argues it.
 *
 * Two images. The processor sees the volatile image (medium base). The durable image holds what a power cut cannot
 * take away. A word, here always an aligned group of 8 bytes, whose stores are not all durable is *undurable*: it has
 * a list of values, in the order of the stores, from the newest durable one to the newest of all. After a power cut
 * each undurable word holds any one of its values, independently of every other word. Nothing larger is ever old or
 * new together, nothing smaller is ever torn.
 *
 * What makes a value durable:
 *   CACHE_LINE  A flush remembers for its thread what the words of its lines hold at that moment; the thread's next
 *               fence makes that durable, or what was stored since. A store after the flush needs another flush.
 *               A streamed (non-temporal) store needs the fence of its own thread and no flush; until then it is in no
 *               cache, so the flush of another thread does not see it.
 *   BYTE        The next fence of the thread that stored. cut_set_seen_stores relaxes this for ordinary stores.
 *   PAGE        A successful sync that found the page dirty makes all its words durable. A page is dirty from a
 *               store (or redirty) to the next sync, whether that succeeds or fails. A sync does not write a clean
 *               page. The kernel may write back any word of a page at any time: that is the list of values again.
 * A fence covers only the flushes and streamed stores (BYTE: the stores) of its own thread. On PAGE a fence does
 * nothing. On the others a sync is a flush of its range and a fence.
 *
 * What can go wrong:
 *   power cut          cut_images_*: the possible contents of the medium; cut_restart starts a machine on one of them
 *   process kill       cut_kill: both images stay and pages stay dirty, but nothing that the dead process flushed or
 *                      streamed is covered by any later fence. A new flush (or sync) covers what it finds. BYTE:
 *                      any fence of the next process covers what the dead one stored, which it sees in the caches.
 *   failed sync        cut_fail_sync: the pages of the range look clean, their undurable words keep all their values,
 *                      until the page is stored to (or redirtied) again and then synced with success
 *   failed write-back  cut_fail_writeback: the same, unseen; the next sync of any range reports it, once
 *
 * Memory that is stored to without the table is a bug (cut_verify_no_bypass), except in ranges that the test opened by
 * cut_allow_direct and until medium_written names them; images count such stores as undurable.
 *
 * Threads  Every function may be called from any thread at any time; one recursive lock a cut. Hooks and watches run
 *          with the lock held: other threads stand still at their next medium operation meanwhile.
 *
 * A misuse (range outside the medium, store to a read-only medium) ends the program with a message. No memory: the
 * same; the allocations of the cut itself are not counted by faults.h and never fail by injection.
 */
#ifndef CUT_CUT_H
#define CUT_CUT_H

#include "medium/medium.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { CUT_WORD_BYTES = 8, CUT_SECTOR_BYTES = 512 };

struct cut;

/* ---- Life ---- */

/* A zeroed medium of size bytes, a multiple of 8. Memory behind (and before) it faults; the rest of its last page is
 * checked by cut_verify_no_bypass. */
struct cut *cut_new(size_t size, enum medium_granularity granularity);
/* A copy of everything: contents, undurable words, dirty pages, flushes under way, direct and scratch ranges, armed
 * faults. Hooks, watches, counts and failures are not copied. To be looked at later, killed, or cut. */
struct cut *cut_clone(struct cut *cut);
void cut_delete(struct cut *cut);

/* The medium to hand to the code under test. It stays the cut's: do not medium_close it. */
struct medium *cut_medium(struct cut *cut);
/* For code that keeps a struct medium of its own and closes it: fills it in; 0, or -1 with ENOMEM. */
int cut_attach(struct cut *cut, struct medium *medium);

/* After a power cut: volatile and durable image are image (size bytes), nothing is undurable, no hook, watch, direct
 * range or fault is set; scratch ranges stay. */
void cut_restart(struct cut *cut, const void *image);
/* The same in place, on a possible image of this moment that is chosen by seed: cheap, for millions of cuts. */
void cut_power(struct cut *cut, uint64_t seed);
/* The process dies; caches and page cache stay. The cut goes on with a new process. */
void cut_kill(struct cut *cut);

/* False: every store through the table ends the program, every other store faults. */
void cut_set_writable(struct cut *cut, bool writable);
/* BYTE only. True: a fence also covers the ordinary stores that other threads made before it. That is what the
 * hardware gives to a thread that has *seen* those stores (seen is in a cache, and caches are durable), for example
 * one that fences for a copy which another thread published. The cut cannot tell who has seen what; off by default. */
void cut_set_seen_stores(struct cut *cut, bool seen);

/* ---- What is there ---- */

const void *cut_durable(struct cut *cut);      /* the image of "nothing more than durable", size bytes */
uint64_t cut_undurable_words(struct cut *cut); /* words with more than one possible value, scratch apart */
uint64_t cut_combinations(struct cut *cut);    /* crash images that differ; UINT64_MAX: that many or more */
bool cut_is_durable(struct cut *cut, const void *at, size_t bytes); /* no word of the range is undurable */
bool cut_page_is_dirty(struct cut *cut, const void *at);

struct cut_counts {
	uint64_t stores, flushes, fences, syncs, pages_written;
};
/* Calls of the table since the cut was made, restarted or cut_counts_reset; pages_written: dirty ones only. */
struct cut_counts cut_counts(struct cut *cut);
void cut_counts_reset(struct cut *cut);

/* ---- Stores that do not go through the table ---- */

/* Someone may store directly to this range from now on; cut_allow_none ends that for all ranges. */
void cut_allow_direct(struct cut *cut, const void *at, size_t bytes);
void cut_allow_none(struct cut *cut);
/* 0, or -1 with EINVAL and the first offset that differs from what the table stored, outside of direct ranges. */
int cut_verify_no_bypass(struct cut *cut);
/* A range whose contents after a power cut mean nothing (shared counters). Not counted, not combined: each image has
 * some value of each of its words. */
void cut_scratch(struct cut *cut, const void *at, size_t bytes);

/* ---- Crash images ---- */

struct cut_plan {
	uint64_t seed;       /* 0: 1; CUT_SEED of the environment goes before both */
	uint64_t all_below;  /* every combination when there are at most so many; 0: 256 */
	uint32_t samples;    /* seeded samples when there are more; 0: 64 */
	uint32_t single_max; /* at most so many single-word images of each kind (seeded choice); 0: all */
};

struct cut_images;

/* The possible images of this moment; later events do not change them. plan may be NULL. Either all of them, or:
 * nothing more than durable; everything; each unit (cache line; PAGE: 512-byte sector, page) alone there and alone
 * missing, and every set of units when there are at most six; each single value of each word alone there and alone
 * missing; the moments between two stores, in their order; samples by word, by unit and around a moment. */
struct cut_images *cut_images_begin(struct cut *cut, const struct cut_plan *plan);
/* Writes the next image (size bytes); false when there is none. */
bool cut_images_next(struct cut_images *images, void *image);
/* What the image that next gave last is, for messages; valid until the next call. */
const char *cut_images_text(struct cut_images *images);
void cut_images_end(struct cut_images *images);

/* ---- Events ---- */

enum cut_kind { CUT_STORE = 1, CUT_FLUSH = 2, CUT_FENCE = 4, CUT_SYNC = 8, CUT_REDIRTY = 16, CUT_NOW = 32 };

struct cut_event {
	enum cut_kind kind;
	bool after;      /* false: the operation has not happened yet */
	uint64_t number; /* 1 is the first operation since the cut was made or restarted */
	size_t off, bytes;
	uintptr_t site; /* where the table was called from, see cut_site_text */
};

/* Called before and after each operation of the kinds (a sum of enum cut_kind). It must not use the medium of this
 * cut, but may clone it, take its images and read all about it. NULL ends it. */
void cut_hook(struct cut *cut, unsigned kinds, void (*hook)(struct cut *, const struct cut_event *, void *),
	      void *context);

struct cut_moment {
	struct cut_event event;
	bool killed;      /* the process died, the machine did not: `after` has undurable words */
	uint64_t image;   /* number of the image at this event, from 1; 0 when killed */
	const char *text; /* what the image is */
};

struct cut_watch {
	struct cut_plan plan;
	unsigned kinds; /* before and after these; 0: CUT_FENCE | CUT_SYNC | CUT_NOW */
	unsigned every; /* only every n-th such moment; 0: each */
	bool kills;     /* also look at a process kill at each moment */
	/* Looks at one outcome: `after` is a cut of its own, restarted on an image (or killed), free to be written to,
	 * watched and cut again. 0, or -1 with an error message (base/error.h) when a promise is broken. */
	int (*check)(struct cut *after, const struct cut_moment *moment, void *context);
	void *context;
};

/* From now on checks every image at every moment asked for. The first failure is kept and ends the checking.
 * Before a fence is where most is undurable: what could be seen after any store since the last fence can be seen
 * there too, so the default kinds lose nothing but what was promised in between: call cut_check_now wherever the
 * promises change, after each operation of a script. NULL ends it. */
void cut_watch(struct cut *cut, const struct cut_watch *watch);
/* The same at this moment (event kind CUT_NOW), for the end of a script. 0, or -1 when there is a failure. */
int cut_check_now(struct cut *cut);
/* Where and how the first failure happened, with what repeats it; NULL when there is none. */
const char *cut_failure(struct cut *cut);
uint64_t cut_images_checked(struct cut *cut);

/* ---- Faults ---- */

/* The n-th sync from now (1: the next) fails with err, for example EIO or ENOSPC; 0: none. `and_all_later`: so do
 * those after it. */
void cut_fail_sync(struct cut *cut, unsigned n, int err, bool and_all_later);
/* The kernel tried to write back the dirty pages of the range on its own and failed. */
void cut_fail_writeback(struct cut *cut, const void *at, size_t bytes, int err);

/* ---- Mutations: as if the source lacked an operation ---- */

/* Ignores the n-th operation of the kind (CUT_FLUSH, CUT_FENCE, CUT_SYNC, CUT_REDIRTY) from now; 0: none.
 * An ignored sync returns 0. */
void cut_drop(struct cut *cut, enum cut_kind kind, unsigned n);

/* Every place that called one of these operations on any cut of this process since it started. The order is that of
 * the first calls. For whole programs: tests/cut/mutate.py, by CUT_SITES_OUT and CUT_MUTE of the environment. */
struct cut_site {
	uintptr_t address;
	enum cut_kind kind;
	uint64_t calls;
	bool muted;
};
unsigned cut_site_count(void);
struct cut_site cut_site(unsigned index);
void cut_site_mute(unsigned index, bool muted);
/* "function at file:line" by addr2line, or module+offset; in a buffer of the calling thread. */
const char *cut_site_text(uintptr_t address);

#endif
