/*
 * runtime.c: polls futures until they are complete, and sleeps when polling would be in vain.
 *
 * A future is in one of three states:
 *   DONE    complete
 *   ARMED   its last poll took the waker: not polled again before that was called
 *   QUEUED  its last poll took no waker (its task has none, or its mover's ring was full, or the wake-up was one too
 *           many): polled again in laps over the queue, oldest first
 *
 * Laps       A full lap polls each queued future once. The first few follow each other at once, the others at intervals
 *            that double from 50 microseconds to 1 millisecond while nothing happens, and that are never
 *            shorter than the lap itself took.
 * After a    A wake-up often means that a ring has room again. Then a short lap begins the next operations, and ends
 * wake-up    when several futures in a row did not move. So many futures on a small ring cost a few polls each, not
 *            a poll of all for every completion.
 * Trust      With nothing queued the thread sleeps without a limit: who took a waker has promised to call it.
 *            Wake-ups too many are harmless, from whomever.
 */
#include <libminiasync/runtime.h>

#include "base/export.h"
#include "miniasync/waiter.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

enum { POLLS_BEFORE_SLEEP = 64, REFUSALS_MAX = 8, FEW = 16 };
static const uint64_t interval_min_ns = 50000, interval_max_ns = 1000000;

enum future_progress { QUEUED, ARMED, DONE };

struct runtime {
	_Atomic(struct waiter *) spare; /* NULL while a thread waits with it */
};

struct tracked {
	enum future_progress progress;
	bool in_queue; /* also while ARMED or DONE, until a lap comes by */
};

struct wait {
	struct waiter *waiter;
	struct future **futs;
	size_t count, unfinished;
	struct tracked *tracked;
	size_t *queue;
	size_t queue_first, queue_used;
};

static void enqueue(struct wait *wait, size_t index)
{
	wait->tracked[index].progress = QUEUED;
	if (wait->tracked[index].in_queue)
		return;
	wait->tracked[index].in_queue = true;
	wait->queue[(wait->queue_first + wait->queue_used++) % wait->count] = index;
}

/* Polls one future; true unless it has to be polled again without having been woken. */
static bool poll_one(struct wait *wait, size_t index)
{
	struct future_notifier notifier = {.waker = waiter_waker(wait->waiter, index),
					   .notifier_used = FUTURE_NOTIFIER_NONE};

	if (future_poll(wait->futs[index], &notifier) == FUTURE_STATE_COMPLETE) {
		wait->tracked[index].progress = DONE;
		wait->unfinished--;
		return true;
	}
	if (notifier.notifier_used == FUTURE_NOTIFIER_WAKER) {
		wait->tracked[index].progress = ARMED;
		return true;
	}
	enqueue(wait, index);
	return false;
}

/* Polls what is queued, each once, until refusals_max in a row did not move; true if one moved. */
static bool lap(struct wait *wait, size_t refusals_max)
{
	size_t refusals = 0;
	bool moved = false;

	for (size_t left = wait->queue_used; left > 0 && refusals < refusals_max; left--) {
		size_t index = wait->queue[wait->queue_first];

		wait->queue_first = (wait->queue_first + 1) % wait->count;
		wait->queue_used--;
		wait->tracked[index].in_queue = false;
		if (wait->tracked[index].progress != QUEUED)
			continue;
		if (poll_one(wait, index)) {
			moved = true;
			refusals = 0;
		} else {
			refusals++;
		}
	}
	return moved;
}

/* Polls what was woken, no more than there is, for a task may wake itself in its poll. True if there was any. */
static bool poll_woken(struct wait *wait)
{
	bool any = false;
	size_t index;

	for (size_t left = wait->count; left > 0 && waiter_next_woken(wait->waiter, &index); left--) {
		any = true;
		/* A waker of an earlier and larger wait may be late. */
		if (index < wait->count && wait->tracked[index].progress != DONE)
			poll_one(wait, index);
	}
	return any;
}

static uint64_t longer(uint64_t interval_ns)
{
	return interval_ns < interval_max_ns / 2 ? interval_ns * 2 : interval_max_ns;
}

/* When to begin the next lap, after one that began at begin_ns and just ended. */
static uint64_t next_lap(uint64_t begin_ns, uint64_t interval_ns)
{
	uint64_t end_ns = waiter_now_ns(), lap_ns = end_ns - begin_ns;

	return end_ns + (lap_ns > interval_ns ? lap_ns : interval_ns);
}

static void wait_for_all(struct wait *wait)
{
	size_t polls_before_sleep = POLLS_BEFORE_SLEEP;
	uint64_t interval_ns = interval_min_ns, next_lap_ns = 0;

	waiter_forget_woken(wait->waiter);
	for (size_t i = 0; i < wait->count; i++)
		enqueue(wait, i);
	lap(wait, SIZE_MAX);
	while (wait->unfinished > 0) {
		uint64_t now_ns;

		if (poll_woken(wait)) {
			lap(wait, REFUSALS_MAX);
			if (wait->unfinished == 0)
				return;
		}
		if (wait->queue_used == 0) {
			waiter_sleep(wait->waiter, WAITER_NO_DEADLINE);
			continue;
		}
		if (wait->queue_used <= polls_before_sleep) {
			polls_before_sleep -= wait->queue_used;
			miniasync_pause();
			lap(wait, SIZE_MAX);
			continue;
		}
		now_ns = waiter_now_ns();
		if (now_ns < next_lap_ns) {
			waiter_sleep(wait->waiter, next_lap_ns);
			continue;
		}
		if (lap(wait, SIZE_MAX))
			interval_ns = interval_min_ns;
		next_lap_ns = next_lap(now_ns, interval_ns);
		interval_ns = longer(interval_ns);
	}
}

static void pause_ns(uint64_t pause)
{
	struct timespec duration = {.tv_sec = 0, .tv_nsec = (long)pause};

	nanosleep(&duration, NULL);
}

/* The way out when memory is short: no wakers, sleeps that grow. */
static void wait_without_memory(struct future *futs[], size_t count)
{
	uint64_t interval_ns = interval_min_ns;

	for (;;) {
		bool all = true;

		for (size_t i = 0; i < count; i++)
			all &= future_poll(futs[i], NULL) == FUTURE_STATE_COMPLETE;
		if (all)
			return;
		pause_ns(interval_ns);
		interval_ns = longer(interval_ns);
	}
}

static void wait_with(struct waiter *waiter, struct future *futs[], size_t count)
{
	struct tracked few_tracked[FEW] = {0};
	size_t few_queue[FEW];
	struct wait wait = {.waiter = waiter, .futs = futs, .count = count, .unfinished = count};

	wait.tracked = count <= FEW ? few_tracked : calloc(count, sizeof(*wait.tracked));
	wait.queue = count <= FEW ? few_queue : calloc(count, sizeof(*wait.queue));
	if (wait.tracked && wait.queue && waiter_reserve(waiter, count))
		wait_for_all(&wait);
	else
		wait_without_memory(futs, count);
	if (count > FEW) {
		free(wait.queue);
		free(wait.tracked);
	}
}

EXPORT struct runtime *runtime_new(void)
{
	struct runtime *runtime = calloc(1, sizeof(*runtime));
	struct waiter *waiter;

	if (!runtime)
		return NULL;
	waiter = waiter_take();
	if (!waiter || !waiter_reserve(waiter, FEW)) {
		if (waiter)
			waiter_give(waiter);
		free(runtime);
		return NULL;
	}
	atomic_init(&runtime->spare, waiter);
	return runtime;
}

EXPORT void runtime_delete(struct runtime *runtime)
{
	struct waiter *waiter;

	if (!runtime)
		return;
	waiter = atomic_load(&runtime->spare);
	if (waiter)
		waiter_give(waiter);
	free(runtime);
}

EXPORT void runtime_wait(struct runtime *runtime, struct future *fut)
{
	runtime_wait_multiple(runtime, &fut, 1);
}

EXPORT void runtime_wait_multiple(struct runtime *runtime, struct future *futs[], size_t nfuts)
{
	struct waiter *waiter, *none = NULL;

	if (nfuts == 0)
		return;
	waiter = atomic_exchange(&runtime->spare, NULL);
	if (!waiter)
		waiter = waiter_take(); /* another thread waits with this runtime, or a task of this one does */
	if (!waiter) {
		wait_without_memory(futs, nfuts);
		return;
	}
	wait_with(waiter, futs, nfuts);
	if (!atomic_compare_exchange_strong(&runtime->spare, &none, waiter))
		waiter_give(waiter);
}
