/*
 * lock.h: a mutex that processes share and that survives the death of its holder, and a word to sleep on.
 *
 * The state of an open pool lies in memory shared with forked children. A child may be killed at any moment, so what
 * a lock protects must be usable at every instruction; lock_take says when the last holder died, so that derived
 * state can be made anew.
 */
#ifndef LOGPOOL_LOCK_H
#define LOGPOOL_LOCK_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/* held is a hint that can be read without taking the line from the holder; it stays set when the holder dies. */
struct lock {
	pthread_mutex_t mutex;
	_Atomic uint32_t held;
};

enum lock_result { LOCK_TAKEN, LOCK_TAKEN_AFTER_DEATH, LOCK_BUSY };

/* 0, or -1 with errno. */
int lock_init(struct lock *lock);
/* Spins for spin_count rounds before it sleeps. */
enum lock_result lock_take(struct lock *lock, unsigned spin_count);
enum lock_result lock_try(struct lock *lock);
static inline bool lock_seems_held(const struct lock *lock)
{
	return atomic_load_explicit(&lock->held, memory_order_relaxed);
}
void lock_give(struct lock *lock);

/* Sleeps while *word is seen, at most timeout_ms; may return early. */
void lock_sleep(_Atomic uint32_t *word, uint32_t seen, unsigned timeout_ms);
void lock_wake_all(_Atomic uint32_t *word);

/* Waits a moment, from time to time by leaving the processor to others: the holder may be waiting for it. */
void lock_pause_round(unsigned round);

#endif
