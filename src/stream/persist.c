/*
 * persist.c: from copied to durable.
 *
 * Lines  (BYTE, CACHE_LINE) whoever waits flushes the lines of all copied entries in front of his timestamp and fences
 *        once. A synchronous append fences for itself, at best without a locked instruction: see persist_own
 *        and persist_behind.
 * Pages  whoever waits leads a group or sleeps until its sync is over: group.c.
 * Crash  entries become durable in any order; persisted, and every acknowledgement, moves in timestamp order only.
 */
#include "stream/persist.h"

#include "base/error.h"
#include "stream/area.h"
#include "stream/follow.h"
#include "stream/group.h"
#include "stream/mover.h"
#include "stream/progress.h"

#include <errno.h>

enum { PAUSES_LONGEST = 8, TURNS_AWAKE = 64, SLEEP_LIMIT_NS = 50000000, POLL_INTERVAL_NS = 50000 };

/* Flushes and fences whatever is copied, without a gap, up to a timestamp. */
static void step_lines(struct pmemstream *stream, uint64_t timestamp)
{
	struct window_scan scan;

	window_scan(stream, timestamp, true, &scan);
	if (scan.to == scan.from)
		return;
	if (scan.flushed)
		medium_fence(&stream->medium);
	window_advance(stream, &scan);
	progress_note(stream);
}

int persist_failure(struct pmemstream *stream)
{
	int err = atomic_load_explicit(&stream->failed, memory_order_acquire);

	if (err)
		return error_set(EIO, "an earlier sync of this stream failed (errno %d): it can only be read", err);
	return 0;
}

static bool reached(struct pmemstream *stream, uint64_t timestamp, bool persisted)
{
	return stream_persisted(stream) >= timestamp || (!persisted && window_committed(stream) >= timestamp);
}

uint64_t persist_told(struct pmemstream *stream)
{
	uint64_t persisted = stream_persisted(stream);

	area_raise_persisted(stream, persisted);
	return persisted;
}

static int look(struct pmemstream *stream, uint64_t timestamp, bool persisted)
{
	if (stream->follower)
		follow_look(stream); /* whatever it says, what is known is looked at */
	if (reached(stream, timestamp, persisted))
		return 1;
	if (stream->follower)
		return 0;
	if (persist_failure(stream))
		return -1;
	mover_poll(stream, timestamp);
	if (reached(stream, timestamp, persisted))
		return 1;
	if (!persisted)
		return 0;
	if (stream->lines)
		step_lines(stream, timestamp);
	else
		group_step(stream);
	if (reached(stream, timestamp, persisted))
		return 1;
	return persist_failure(stream);
}

static int try_once(struct pmemstream *stream, uint64_t timestamp, bool persisted)
{
	int verdict = look(stream, timestamp, persisted);

	if (verdict > 0)
		persist_told(stream);
	return verdict;
}

int persist_try(struct pmemstream *stream, uint64_t timestamp)
{
	return try_once(stream, timestamp, true);
}

int commit_try(struct pmemstream *stream, uint64_t timestamp)
{
	return try_once(stream, timestamp, false);
}

/* What stands in the way is in the hands of another thread or of a mover: sleeps until that may have changed. */
static void sleep_once(struct pmemstream *stream, uint64_t timestamp, bool persisted, uint64_t limit_ns)
{
	uint64_t events = progress_begin(stream);

	if (!atomic_load_explicit(&stream->closing, memory_order_acquire) &&
	    try_once(stream, timestamp, persisted) == 0) {
		/* A mover that cannot wake us is polled; the others' limit is only there to survive a bug in one. */
		bool silent = mover_poll(stream, timestamp) == MOVER_SILENT;
		uint64_t longest_ns = silent ? POLL_INTERVAL_NS : SLEEP_LIMIT_NS;
		progress_sleep(stream, events, limit_ns < longest_ns ? limit_ns : longest_ns);
	}
	progress_end(stream);
}

/* The same for pages of which a sync is running that must end before anything else can happen to the timestamp. */
static bool sleep_behind_sync(struct pmemstream *stream, uint64_t timestamp, bool persisted, uint64_t limit_ns)
{
	if (stream->lines || stream->follower || !persisted)
		return false;
	uint32_t turn = group_turn(stream);
	if (window_committed(stream) < timestamp)
		return false;
	return stream_persisted(stream) >= timestamp ||
	       group_sleep(stream, turn, limit_ns < SLEEP_LIMIT_NS ? limit_ns : SLEEP_LIMIT_NS);
}

static int wait_until(struct pmemstream *stream, uint64_t timestamp, bool persisted, uint64_t deadline_ns)
{
	for (unsigned turn = 0;; turn++) {
		uint64_t left_ns = UINT64_MAX;
		int verdict = try_once(stream, timestamp, persisted);
		if (verdict)
			return verdict < 0 ? -1 : 0;
		if (atomic_load_explicit(&stream->closing, memory_order_acquire))
			return error_set(ECANCELED, "the stream is being deleted");
		if (deadline_ns != UINT64_MAX) {
			uint64_t now = progress_now_ns();
			if (now >= deadline_ns)
				return error_set(ETIMEDOUT, "timestamp %zu was not %s in time", (size_t)timestamp,
						 persisted ? "persisted" : "committed");
			left_ns = deadline_ns - now;
		}
		if (turn < TURNS_AWAKE && stream->lines)
			spinlock_backoff(turn * 4);
		else if (!sleep_behind_sync(stream, timestamp, persisted, left_ns))
			sleep_once(stream, timestamp, persisted, left_ns);
	}
}

static int until(struct pmemstream *stream, uint64_t timestamp, bool persisted, uint64_t deadline_ns)
{
	int verdict = try_once(stream, timestamp, persisted);

	if (!verdict) {
		progress_enter(stream);
		verdict = wait_until(stream, timestamp, persisted, deadline_ns) ? -1 : 1;
		progress_leave(stream);
	}
	return verdict < 0 ? -1 : 0;
}

int persist_until(struct pmemstream *stream, uint64_t timestamp, uint64_t deadline_ns)
{
	return until(stream, timestamp, true, deadline_ns);
}

int commit_until(struct pmemstream *stream, uint64_t timestamp, uint64_t deadline_ns)
{
	return until(stream, timestamp, false, deadline_ns);
}

/* Raises persisted to a timestamp of which the thread knows that all up to it are durable. */
static void raise_own(struct pmemstream *stream, uint64_t timestamp)
{
	uint64_t persisted = stream_persisted(stream);

	while (persisted < timestamp &&
	       !atomic_compare_exchange_weak_explicit(&stream->persisted, &persisted, timestamp, memory_order_acq_rel,
						      memory_order_acquire))
		;
}

/* For others to raise persisted over them, once this thread fenced. Each exchange is a full fence: either who has the
 * older ones sees this when it looks behind them, or this thread sees that it is done. */
static void mark_durable(struct pmemstream *stream, uint64_t first, uint64_t last)
{
	for (uint64_t t = first; t <= last; t++) {
		_Atomic uint64_t *word = &window_slot(stream, t)->word;
		uint64_t durable =
			(atomic_load_explicit(word, memory_order_relaxed) & ~(uint64_t)SLOT_STATES) | SLOT_DURABLE;
		atomic_exchange(word, durable);
	}
}

/* Who has the older ones is about to be done, as a rule, and raises persisted up to here: only its line is looked at.
 */
static bool await_older(struct pmemstream *stream, uint64_t first, uint64_t last)
{
	for (unsigned turn = 0; turn < TURNS_AWAKE; turn++) {
		uint64_t persisted = stream_persisted(stream);
		if (persisted >= first - 1) {
			raise_own(stream, last);
			area_raise_persisted(stream, last);
			progress_note(stream);
			return true;
		}
		spinlock_backoff(turn);
	}
	return false;
}

/* Lets the thread read nothing before its fence is done. The fence itself holds back only stores, so that a mark would
 * be read too early. */
static inline void await_fence(void)
{
#if defined(__x86_64__)
	__builtin_ia32_lfence();
#endif
}

/* Older ones are in other hands, and about to be done as a rule. Whoever has them wants the line of persisted too, so
 * that it is looked at seldom. */
static bool await_next(struct pmemstream *stream, uint64_t first)
{
	await_fence();
	for (unsigned pauses = 1; stream_persisted(stream) != first - 1; pauses *= 2) {
		if (pauses > PAUSES_LONGEST)
			return false;
		for (unsigned i = 0; i < pauses; i++)
			spinlock_backoff(0);
	}
	return true;
}

/* Flushes what others copied in front of a timestamp. Whether that was all of it: then the calling thread's own fence
 * makes everything up to there durable. */
static bool flush_older(struct pmemstream *stream, uint64_t first)
{
	struct window_scan scan;

	window_scan(stream, first - 1, true, &scan);
	return scan.to == first - 1;
}

/* Behind persisted, which others wait for: the rest of an acknowledgement. */
static void acknowledged(struct pmemstream *stream, uint64_t last, struct window_note *note)
{
	window_end(note);
	area_raise_persisted(stream, last);
	window_passed(stream, last);
	progress_note(stream);
}

int persist_behind(struct pmemstream *stream, uint64_t first, uint64_t last, struct window_note *note)
{
	bool has_copies = atomic_load_explicit(&stream->marker, memory_order_relaxed) != 0;
	bool is_next = false;

	/* Where all wait for each entry, persisted is not asked for in vain. */
	if (has_copies) {
		is_next = stream_persisted(stream) == first - 1;
		if (!is_next && flush_older(stream, first)) {
			medium_fence(&stream->medium);
			raise_own(stream, last);
			acknowledged(stream, last, note);
			return 0;
		}
	}
	medium_fence(&stream->medium);
	if (is_next || await_next(stream, first)) {
		atomic_store_explicit(&stream->persisted, last, memory_order_release);
		acknowledged(stream, last, note);
		return 0;
	}
	/* Durable now, acknowledged when the older ones are. */
	if (note)
		window_settle(stream, note);
	mark_durable(stream, first, last);
	window_passed(stream, last);
	progress_note(stream);
	if (await_older(stream, first, last))
		return 0;
	return persist_until(stream, last, UINT64_MAX);
}
