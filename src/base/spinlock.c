/*
 * spinlock.c: waiting for a thread that is about to be done.
 */
#include "base/spinlock.h"

#include <sched.h>
#include <time.h>

enum { TURNS_PAUSING = 200, TURNS_YIELDING = 50, SLEEP_NS = 50000 };

static void pause_processor(void)
{
#if defined(__x86_64__)
	__builtin_ia32_pause();
#elif defined(__aarch64__)
	__asm__ volatile("yield");
#endif
}

void spinlock_backoff(unsigned turn)
{
	if (turn < TURNS_PAUSING) {
		pause_processor();
	} else if (turn < TURNS_PAUSING + TURNS_YIELDING) {
		sched_yield();
	} else {
		struct timespec interval = {.tv_nsec = SLEEP_NS};
		nanosleep(&interval, NULL);
	}
}

void spinlock_wait(struct spinlock *lock)
{
	unsigned turn = 0;

	do {
		while (atomic_load_explicit(&lock->held, memory_order_relaxed))
			spinlock_backoff(turn++);
	} while (atomic_exchange_explicit(&lock->held, 1, memory_order_acquire));
}
