/*
 * waiter.c: the wakers that a runtime gives out, and the sleep that they end.
 *
 * Wake       A waker pushes its slot on a stack that only the waiting thread empties, unless the slot is there already,
 *            and ends the sleep. So the thread learns which futures to poll, and looks at no others.
 * No loss    The waker pushes, then reads "sleeping"; the thread sets "sleeping", then looks at the stack; all
 *            four sequentially consistent, so that at least one of them sees the other.
 * Late wakes A waker may be called when the wait that gave it out is long over, even after runtime_delete. Therefore
 *            waiters and their slots are never freed: waiters go to a list for the next wait, slots that became too
 *            few stay with their waiter. A late call then is a wake-up too many for somebody, which costs one poll.
 *            What is kept is bounded by the most that was needed at one time (slots: twice that).
 */
#include "miniasync/waiter.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

struct slot {
	struct waiter *waiter;
	size_t index;
	struct slot *next_woken; /* written by who set pushed, read by the waiting thread */
	atomic_bool pushed;
};

struct slots {
	struct slots *outgrown;
	size_t count;
	struct slot slot[];
};

struct waiter {
	struct waiter *next_free;
	struct slots *slots;
	struct slot *taken; /* from the stack, not returned yet */
	_Atomic(struct slot *) woken;
	atomic_bool sleeping;
	pthread_mutex_t lock; /* only for the sleep */
	pthread_cond_t wake_up;
};

enum { SLOTS_MIN = 16 };

static pthread_mutex_t free_lock = PTHREAD_MUTEX_INITIALIZER;
static struct waiter *free_waiters;

static void wake(void *data)
{
	struct slot *slot = data;
	struct waiter *waiter = slot->waiter;
	struct slot *top;

	if (atomic_exchange_explicit(&slot->pushed, true, memory_order_acq_rel))
		return;
	top = atomic_load_explicit(&waiter->woken, memory_order_relaxed);
	do {
		slot->next_woken = top;
	} while (!atomic_compare_exchange_weak(&waiter->woken, &top, slot));
	if (atomic_load(&waiter->sleeping)) {
		pthread_mutex_lock(&waiter->lock);
		pthread_cond_signal(&waiter->wake_up);
		pthread_mutex_unlock(&waiter->lock);
	}
}

static struct waiter *waiter_new(void)
{
	struct waiter *waiter = calloc(1, sizeof(*waiter));
	pthread_condattr_t monotonic;

	if (!waiter)
		return NULL;
	pthread_mutex_init(&waiter->lock, NULL);
	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_cond_init(&waiter->wake_up, &monotonic);
	pthread_condattr_destroy(&monotonic);
	return waiter;
}

struct waiter *waiter_take(void)
{
	struct waiter *waiter;

	pthread_mutex_lock(&free_lock);
	waiter = free_waiters;
	if (waiter)
		free_waiters = waiter->next_free;
	pthread_mutex_unlock(&free_lock);
	return waiter ? waiter : waiter_new();
}

void waiter_give(struct waiter *waiter)
{
	pthread_mutex_lock(&free_lock);
	waiter->next_free = free_waiters;
	free_waiters = waiter;
	pthread_mutex_unlock(&free_lock);
}

bool waiter_reserve(struct waiter *waiter, size_t count)
{
	struct slots *slots = waiter->slots;
	size_t size = slots ? slots->count : SLOTS_MIN, bytes;

	if (slots && slots->count >= count)
		return true;
	while (size < count)
		if (__builtin_mul_overflow(size, 2, &size))
			return false;
	if (__builtin_mul_overflow(size, sizeof(struct slot), &bytes) ||
	    __builtin_add_overflow(bytes, sizeof(*slots), &bytes))
		return false;
	slots = calloc(1, bytes);
	if (!slots)
		return false;
	for (size_t i = 0; i < size; i++) {
		slots->slot[i].waiter = waiter;
		slots->slot[i].index = i;
	}
	slots->count = size;
	slots->outgrown = waiter->slots;
	waiter->slots = slots;
	return true;
}

struct future_waker waiter_waker(struct waiter *waiter, size_t index)
{
	return (struct future_waker){.data = &waiter->slots->slot[index], .wake = wake};
}

/* The next of what was taken from the stack already. */
static struct slot *next_taken(struct waiter *waiter)
{
	struct slot *slot = waiter->taken;

	if (!slot)
		return NULL;
	waiter->taken = slot->next_woken;
	/* An exchange, to see also what a waker did that found the slot pushed already and left. */
	atomic_exchange_explicit(&slot->pushed, false, memory_order_acq_rel);
	return slot;
}

void waiter_forget_woken(struct waiter *waiter)
{
	while (next_taken(waiter))
		;
	waiter->taken = atomic_exchange(&waiter->woken, NULL);
	while (next_taken(waiter))
		;
}

bool waiter_next_woken(struct waiter *waiter, size_t *index)
{
	struct slot *slot;

	if (!waiter->taken)
		waiter->taken = atomic_exchange(&waiter->woken, NULL);
	slot = next_taken(waiter);
	if (slot)
		*index = slot->index;
	return slot != NULL;
}

void waiter_sleep(struct waiter *waiter, uint64_t deadline_ns)
{
	struct timespec deadline = {.tv_sec = (time_t)(deadline_ns / 1000000000),
				    .tv_nsec = (long)(deadline_ns % 1000000000)};
	int err = 0;

	if (waiter->taken)
		return;
	pthread_mutex_lock(&waiter->lock);
	atomic_store(&waiter->sleeping, true);
	while (!atomic_load(&waiter->woken) && !err) {
		if (deadline_ns == WAITER_NO_DEADLINE)
			err = pthread_cond_wait(&waiter->wake_up, &waiter->lock);
		else
			err = pthread_cond_timedwait(&waiter->wake_up, &waiter->lock, &deadline);
	}
	atomic_store(&waiter->sleeping, false);
	pthread_mutex_unlock(&waiter->lock);
}

uint64_t waiter_now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}
