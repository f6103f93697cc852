/*
 * spinlock.h: a lock for critical sections of a few nanoseconds: one locked instruction to take, a plain store to
 * leave.
 *
 * Who waits spins for a bounded while, then gives the processor away, then sleeps 50 us at a time: a holder that lost
 * its processor is waited for without burning one. Not fair, not recursive, never held across a system call.
 */
#ifndef BASE_SPINLOCK_H
#define BASE_SPINLOCK_H

#include <stdatomic.h>
#include <stdint.h>

struct spinlock {
	_Atomic uint32_t held;
};

void spinlock_wait(struct spinlock *lock);

static inline void spinlock_take(struct spinlock *lock)
{
	if (__builtin_expect(atomic_exchange_explicit(&lock->held, 1, memory_order_acquire) != 0, 0))
		spinlock_wait(lock);
}

static inline void spinlock_leave(struct spinlock *lock)
{
	atomic_store_explicit(&lock->held, 0, memory_order_release);
}

/* One turn of a wait for another thread: pauses, yields or sleeps the longer, the higher turn is. */
void spinlock_backoff(unsigned turn);

#endif
