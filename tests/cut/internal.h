/*
 * internal.h: what the files of the simulator share. model.c keeps the words, medium.c is the table of operations,
 * images.c makes crash images, power.c takes one by chance, watch.c drives checks, sites.c knows who called.
 */
#ifndef CUT_INTERNAL_H
#define CUT_INTERNAL_H

#include "cut/cut.h"

#include <pthread.h>

enum {
	WORDS_PER_PAGE = MEDIUM_PAGE_BYTES / CUT_WORD_BYTES,
	WORDS_PER_LINE = MEDIUM_LINE_BYTES / CUT_WORD_BYTES,
	VERSIONS_FEW = 2,
	VERSIONS_MAX = 64, /* of one word; beyond it one in the middle is forgotten, never the first or the last */
};

struct version {
	uint64_t value;
	uint64_t stamp; /* number of the store */
	bool streamed;  /* in no cache: a flush does not see it; it waits for the fence of its thread */
};

/* One undurable word: versions[0] is durable, the last is what the processor sees. */
struct word {
	uint32_t index, count, room;
	union {
		struct version few[VERSIONS_FEW];
		struct version *many;
	};
};

static inline struct version *word_versions(struct word *word)
{
	return word->room > VERSIONS_FEW ? word->many : word->few;
}

/* At its thread's next fence, word `index` becomes durable as of `stamp`. */
struct pending {
	uint64_t stamp;
	uint32_t index;
};

struct thread {
	uint64_t id;
	struct pending *pending;
	size_t count, room;
};

struct range {
	size_t off, end;
};

struct ranges {
	struct range *list;
	size_t count;
};

struct hook {
	void (*call)(struct cut *cut, const struct cut_event *event, void *context);
	void *context;
	unsigned kinds;
};

struct cut {
	struct medium medium;
	pthread_mutex_t lock;
	char *mapping;       /* guard page, medium, guard page */
	size_t mapped_bytes; /* of the medium, whole pages */
	size_t word_count;
	/* By word: what the table stored last; what is durable; place in `undurable` + 1, or 0. */
	uint64_t *known, *durable;
	uint32_t *place;
	struct word *undurable;
	uint32_t undurable_count, undurable_room;
	unsigned char *page_dirty;
	struct thread *threads;
	size_t thread_count;
	struct ranges direct, scratch;
	uint64_t stamp, event_number;
	bool seen_stores;
	int writeback_error;
	unsigned fail_sync_at;
	int fail_sync_error;
	bool fail_sync_later;
	unsigned drop_at[CUT_REDIRTY + 1];
	struct cut_counts counts;
	struct hook hook, watch_hook;
	bool in_hook;
	struct cut_watch watch;
	struct cut *after; /* the watch's own, made again for each image */
	char *image;
	uint64_t moments, images_checked;
	char *failure;
};

/* Ends the program. */
_Noreturn void cut_die(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* realloc that cannot fail and that faults.h does not see. */
void *cut_allocate(void *old, size_t bytes);

void cut_lock(struct cut *cut);
void cut_unlock(struct cut *cut);
size_t cut_offset(const struct cut *cut, const void *at, size_t bytes, const char *what);

/* model.c; all with the lock held. */
uint64_t model_thread(void);
void model_store(struct cut *cut, size_t off, const void *from, size_t bytes, bool streamed);
void model_written(struct cut *cut, size_t off, size_t bytes);
void model_absorb_direct(struct cut *cut);
void model_flush(struct cut *cut, size_t off, size_t bytes);
void model_fence(struct cut *cut);
void model_sync_pages(struct cut *cut, size_t off, size_t bytes);
void model_forget_dirty(struct cut *cut, size_t off, size_t bytes);
void model_redirty(struct cut *cut, size_t off, size_t bytes);
void model_kill(struct cut *cut);
void model_forget(struct cut *cut); /* nothing is undurable, dirty or under way; the caller set the words */
void model_reset(struct cut *cut, const void *image);
void model_copy(struct cut *to, struct cut *from);
void model_free(struct cut *cut);

bool ranges_hold(const struct ranges *ranges, size_t off);
void ranges_add(struct ranges *ranges, size_t off, size_t bytes);
void ranges_copy(struct ranges *to, const struct ranges *from);

/* images.c; CUT_SEED of the environment goes before the plan's. */
uint64_t plan_seed(const struct cut_plan *plan);
struct cut_images *images_begin(struct cut *cut, const struct cut_plan *plan, uint64_t seed);

/* life.c; with the lock held. */
void cut_machine_restart(struct cut *cut);
void cut_copy(struct cut *to, struct cut *from);

/* medium.c */
extern const struct medium_ops cut_ops;

/* sites.c: notes a call; true: ignore it. */
bool site_called(uintptr_t address, enum cut_kind kind);

#endif
