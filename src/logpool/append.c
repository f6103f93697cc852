/*
 * append.c: puts data behind the log's end, then moves the end, with one commit for all who wait.
 *
 *   append    tail_lock: check room, copy behind tail_off, advance tail_off; unlock; then commit
 *   commit    who gets commit_lock leads: makes the data from durable_off to tail_off durable, stores write_offset =
 *             tail_off, makes that durable, sets durable_off, wakes. The others sleep, or find their data covered.
 *
 * Invariant  write_offset on media never covers data that is not durable. start <= durable_off <= tail_off <= end.
 * Order      byte and line media: each appender fences what it copied before it advances tail_off, because a fence
 *            covers its own thread only; the leader stores write_offset and fences. Page media: the leader syncs the
 *            data of all, stores write_offset, syncs its page.
 * Crash      write_offset is one aligned 8-byte word: the log ends where it did before, or behind whole appends.
 *            A process that dies under a lock leaves tail_off or durable_off as they were: its half of a copy is
 *            behind the end; only line may be half written, and is read anew.
 * Failure    a sync that failed is latched before anyone is woken. Nothing is synced again, appends and rewinds fail
 *            with EIO, reading goes on.
 * Threads    any, of any process that inherited the mapping.
 */
#include "logpool/log.h"

#include "base/checked.h"
#include "base/error.h"
#include "logpool/format.h"
#include "logpool/lock.h"
#include "logpool/walk.h"

#include <errno.h>
#include <string.h>

enum {
	GATHER_BYTES = 960,   /* small vectors are gathered up to this size and leave in one run */
	DEAD_LEADER_MS = 100, /* sleepers look again after this time, should the leader have been killed */
};

static uint64_t *write_offset_word(const struct log *log)
{
	return (uint64_t *)(log->medium->base + DESCRIPTOR_WRITE_OFF);
}

static uint64_t load_off(_Atomic uint64_t *off)
{
	return atomic_load_explicit(off, memory_order_acquire);
}

static void store_off(_Atomic uint64_t *off, uint64_t value)
{
	atomic_store_explicit(off, value, memory_order_release);
}

static void take_tail(struct log *log)
{
	struct log_shared *shared = log->shared;

	if (lock_take(&shared->tail_lock, log->spin_count) != LOCK_TAKEN_AFTER_DEATH)
		return;
	uint64_t tail_off = load_off(&shared->tail_off);
	uint64_t line_off = round_down(tail_off, MEDIUM_LINE_BYTES);
	memcpy(shared->line, log->medium->base + line_off, tail_off - line_off);
}

static int error_latched(struct log *log)
{
	return error_set(EIO,
			 "an earlier write-back of this log failed (%s); close it, check the medium, open it again",
			 strerror(atomic_load_explicit(&log->shared->failed, memory_order_acquire)));
}

/* The medium keeps the page in memory as it is; whether it reached the device is unknown for ever. */
static void latch_failure(struct log *log)
{
	atomic_store_explicit(&log->shared->failed, errno ? errno : EIO, memory_order_release);
}

/*
 * Whole lines only, past the cache: the unfinished line is stored once more with the same bytes in front, which is
 * cheaper than to read it back. What pads the last line lies behind the log's end.
 */
static uint64_t stream_piece(struct log *log, uint64_t off, const char *data, size_t bytes)
{
	char *line = log->shared->line;
	size_t kept = off % MEDIUM_LINE_BYTES;

	medium_stream(log->medium, log->medium->base + (off - kept), line, kept, data, bytes);
	size_t rest = (kept + bytes) % MEDIUM_LINE_BYTES;
	if (kept + bytes < MEDIUM_LINE_BYTES)
		memcpy(line + kept, data, bytes);
	else
		memcpy(line, data + bytes - rest, rest);
	return off + bytes;
}

static uint64_t copy_piece(struct log *log, uint64_t off, const char *data, size_t bytes)
{
	medium_copy(log->medium, log->medium->base + off, data, bytes);
	return off + bytes;
}

static void copy_all(struct log *log, uint64_t off, const struct iovec *vector, size_t vector_count, uint64_t total)
{
	uint64_t (*copy)(struct log *, uint64_t, const char *, size_t) =
		log->medium->granularity == MEDIUM_CACHE_LINE ? stream_piece : copy_piece;

	if (vector_count > 1 && total <= GATHER_BYTES) {
		char gathered[GATHER_BYTES];
		size_t used = 0;

		for (size_t i = 0; i < vector_count; i++) {
			if (vector[i].iov_len)
				memcpy(gathered + used, vector[i].iov_base, vector[i].iov_len);
			used += vector[i].iov_len;
		}
		copy(log, off, gathered, used);
	} else {
		for (size_t i = 0; i < vector_count; i++)
			if (vector[i].iov_len)
				off = copy(log, off, vector[i].iov_base, vector[i].iov_len);
	}
	/* Before tail_off, so that any leader may let write_offset cover this data. */
	if (log->medium->granularity != MEDIUM_PAGE)
		medium_fence(log->medium);
}

/* Moves write_offset and makes it durable; on failure the word is as before, in memory at least. */
static int move_end(struct log *log, uint64_t from, uint64_t to)
{
	struct medium *medium = log->medium;
	uint64_t *word = write_offset_word(log);

	if (medium->granularity != MEDIUM_PAGE) {
		medium_stream8(medium, word, htole64(to));
		medium_fence(medium);
		return 0;
	}
	medium_store8(medium, word, htole64(to));
	if (!medium_sync(medium, word, sizeof(*word)))
		return 0;
	int err = errno;
	medium_store8(medium, word, htole64(from));
	errno = err;
	return -1;
}

/* With commit_lock held. */
static int lead(struct log *log)
{
	struct log_shared *shared = log->shared;
	uint64_t from = load_off(&shared->durable_off);
	uint64_t to = load_off(&shared->tail_off);
	bool page = log->medium->granularity == MEDIUM_PAGE;

	if (to == from)
		return 0;
	if (log_has_failed(log))
		return error_latched(log);
	/* Data before the word that covers it. Elsewhere the appenders fenced. */
	if ((page && medium_sync(log->medium, log->medium->base + from, to - from)) || move_end(log, from, to)) {
		latch_failure(log);
		return -1;
	}
	store_off(&shared->durable_off, to);
	return 0;
}

static void give_commit(struct log *log)
{
	struct log_shared *shared = log->shared;

	lock_give(&shared->commit_lock);
	atomic_fetch_add(&shared->commits, 1);
	if (atomic_load(&shared->sleepers))
		lock_wake_all(&shared->commits);
}

/* Returns when the log durably covers what lies before off, or cannot any more. */
static int commit(struct log *log, uint64_t off)
{
	struct log_shared *shared = log->shared;

	for (unsigned round = 0;; round++) {
		if (load_off(&shared->durable_off) >= off)
			return 0;
		/* Seen before the try: a leader who gives the lock back after the try failed changes it. */
		uint32_t seen = atomic_load(&shared->commits);
		/* Held by a dead leader, it is tried all the same after a sleep. */
		bool slept = round > log->spin_count;
		if ((slept || !lock_seems_held(&shared->commit_lock)) && lock_try(&shared->commit_lock) != LOCK_BUSY) {
			int err = lead(log);
			give_commit(log);
			return err;
		}
		if (round < log->spin_count) {
			lock_pause_round(round);
			continue;
		}
		atomic_fetch_add(&shared->sleepers, 1);
		lock_sleep(&shared->commits, seen, DEAD_LEADER_MS);
		atomic_fetch_sub(&shared->sleepers, 1);
	}
}

static int append_total(const struct iovec *vector, size_t vector_count, uint64_t *total)
{
	*total = 0;
	for (size_t i = 0; i < vector_count; i++)
		if (!checked_add(*total, vector[i].iov_len, total))
			return error_set(ENOSPC, "more bytes than 64 bits can count");
	return 0;
}

static int may_change(struct log *log, const char *what)
{
	if (log->read_only)
		return error_set(EROFS, "%s: the pool has read-only features that this library does not know", what);
	if (log_is_walking(log))
		return error_set(EDEADLK, "%s from inside a callback of a walk on the same pool", what);
	return 0;
}

static int append_locked(struct log *log, const struct iovec *vector, size_t vector_count, uint64_t total,
			 uint64_t *end_off)
{
	uint64_t tail_off = load_off(&log->shared->tail_off);
	uint64_t free_bytes = log->end_off - tail_off;

	if (log_has_failed(log))
		return error_latched(log);
	if (total > free_bytes || !free_bytes)
		return error_set(ENOSPC, "%llu bytes to append, %llu bytes free", (unsigned long long)total,
				 (unsigned long long)free_bytes);
	if (total) {
		copy_all(log, tail_off, vector, vector_count, total);
		store_off(&log->shared->tail_off, tail_off + total);
	}
	*end_off = tail_off + total;
	return 0;
}

int log_append(struct log *log, const struct iovec *vector, size_t vector_count)
{
	uint64_t total, end_off = 0;
	int cancel_state;

	if (may_change(log, "append") || append_total(vector, vector_count, &total))
		return -1;
	/* msync is a cancellation point, and a cancelled leader would leave the others to wait for his lock. */
	bool page = log->medium->granularity == MEDIUM_PAGE;
	if (page)
		pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel_state);
	take_tail(log);
	int err = append_locked(log, vector, vector_count, total, &end_off);
	lock_give(&log->shared->tail_lock);
	if (!err && total)
		err = commit(log, end_off);
	if (page)
		pthread_setcancelstate(cancel_state, NULL);
	return err;
}

/* With both locks: what others copied and did not commit yet counts as appended before the rewind. */
static int rewind_locked(struct log *log)
{
	struct log_shared *shared = log->shared;

	if (log_has_failed(log))
		return error_latched(log);
	if (move_end(log, load_off(&shared->durable_off), LOG_START_OFF)) {
		latch_failure(log);
		return -1;
	}
	store_off(&shared->tail_off, LOG_START_OFF);
	store_off(&shared->durable_off, LOG_START_OFF);
	return 0;
}

int log_rewind(struct log *log)
{
	int cancel_state;

	if (may_change(log, "rewind"))
		return -1;
	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel_state);
	walk_exclude(log);
	take_tail(log);
	lock_take(&log->shared->commit_lock, log->spin_count);
	int err = rewind_locked(log);
	give_commit(log);
	lock_give(&log->shared->tail_lock);
	walk_admit(log);
	pthread_setcancelstate(cancel_state, NULL);
	return err;
}
