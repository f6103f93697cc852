/*
 * persist.c: from copied to durable.
 *
 * Lines  (BYTE, CACHE_LINE) whoever waits flushes the lines of all copied entries in front of his timestamp and fences
 *        once. A synchronous append fences for itself, at best without a locked instruction: see persist_own.
 * Pages  group commit: the first who needs it leads, syncs one range of pages that spans all entries that are copied,
 *        raises persisted and wakes the others; of those who still wait the next one leads. A sync that failed is
 *        latched before anyone is woken: nothing is synced again, since the kernel may have dropped what it could not
 * write. Crash  entries become durable in any order; persisted, and so every acknowledgement, moves in timestamp order
 * only.
 */
#include "stream/persist.h"

#include "base/error.h"
#include "stream/mover.h"
#include "stream/progress.h"

#include <errno.h>

enum { TURNS_AWAKE = 64, SLEEP_LIMIT_NS = 50000000, POLL_INTERVAL_NS = 50000 };

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

/* Leads a group, if nobody does and there is something to sync. False: somebody else leads. */
static bool step_pages(struct pmemstream *stream)
{
	struct progress *progress = &stream->progress;
	struct window_scan scan;
	int cancel_state;

	pthread_mutex_lock(&progress->mutex);
	bool leading = !stream->syncing;
	if (leading)
		stream->syncing = true;
	pthread_mutex_unlock(&progress->mutex);
	if (!leading)
		return false;

	/* A leader that was cancelled in msync would leave the seat taken for ever. */
	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel_state);
	window_scan(stream, window_committed(stream), false, &scan);
	if (scan.to > scan.from && !atomic_load_explicit(&stream->failed, memory_order_relaxed)) {
		if (medium_sync(&stream->medium, scan.span_begin, (size_t)(scan.span_end - scan.span_begin)))
			stream_latch_failure(stream);
		else
			window_advance(stream, &scan);
	}
	pthread_mutex_lock(&progress->mutex);
	stream->syncing = false;
	pthread_mutex_unlock(&progress->mutex);
	progress_note(stream);
	pthread_setcancelstate(cancel_state, NULL);
	return true;
}

static int failure(struct pmemstream *stream)
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

static int try_once(struct pmemstream *stream, uint64_t timestamp, bool persisted)
{
	if (reached(stream, timestamp, persisted))
		return 1;
	if (failure(stream))
		return -1;
	mover_poll(stream, timestamp);
	if (reached(stream, timestamp, persisted))
		return 1;
	if (!persisted)
		return 0;
	if (stream->lines)
		step_lines(stream, timestamp);
	else
		step_pages(stream);
	if (reached(stream, timestamp, persisted))
		return 1;
	return failure(stream);
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
static void sleep_once(struct pmemstream *stream, uint64_t timestamp, bool persisted)
{
	uint64_t events = progress_begin(stream);

	if (!atomic_load_explicit(&stream->closing, memory_order_acquire) &&
	    try_once(stream, timestamp, persisted) == 0) {
		/* A mover that cannot wake us is polled; the others' limit is only there to survive a bug in one. */
		bool silent = mover_poll(stream, timestamp) == MOVER_SILENT;
		progress_sleep(stream, events, silent ? POLL_INTERVAL_NS : SLEEP_LIMIT_NS);
	}
	progress_end(stream);
}

static int until(struct pmemstream *stream, uint64_t timestamp, bool persisted)
{
	for (unsigned turn = 0;; turn++) {
		int verdict = try_once(stream, timestamp, persisted);
		if (verdict)
			return verdict < 0 ? -1 : 0;
		if (atomic_load_explicit(&stream->closing, memory_order_acquire))
			return error_set(ECANCELED, "the stream is being deleted");
		if (turn < TURNS_AWAKE && stream->lines)
			spinlock_backoff(turn * 4);
		else
			sleep_once(stream, timestamp, persisted);
	}
}

int persist_until(struct pmemstream *stream, uint64_t timestamp)
{
	return until(stream, timestamp, true);
}

int commit_until(struct pmemstream *stream, uint64_t timestamp)
{
	return until(stream, timestamp, false);
}

/* Raises persisted to a timestamp whose slot says TAKEN, by the thread that owns it: nobody else can pass it. */
static void raise_own(struct pmemstream *stream, uint64_t timestamp)
{
	uint64_t persisted = stream_persisted(stream);

	while (persisted < timestamp &&
	       !atomic_compare_exchange_weak_explicit(&stream->persisted, &persisted, timestamp, memory_order_acq_rel,
						      memory_order_acquire))
		;
}

int persist_own(struct pmemstream *stream, const struct ticket *ticket)
{
	uint64_t timestamp = ticket->timestamp;
	struct window_scan scan;

	if (stream_persisted(stream) == timestamp - 1) {
		/* All older ones are durable, and only this thread can raise persisted now. */
		medium_fence(&stream->medium);
		atomic_store_explicit(&stream->persisted, timestamp, memory_order_release);
		progress_note(stream);
		return 0;
	}
	window_scan(stream, timestamp - 1, true, &scan);
	if (scan.to == timestamp - 1) {
		/* All older ones are durable or flushed by this thread: one fence for them and for its own. */
		medium_fence(&stream->medium);
		raise_own(stream, timestamp);
		progress_note(stream);
		return 0;
	}
	/* Older ones are in other hands: durable now, acknowledged when they are. */
	uint64_t word = atomic_load_explicit(&ticket->slot->word, memory_order_relaxed);
	medium_fence_exchange(&stream->medium, &ticket->slot->word, (word & ~(uint64_t)SLOT_STATES) | SLOT_DURABLE);
	progress_note(stream);
	return persist_until(stream, timestamp);
}
