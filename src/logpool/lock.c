/*
 * lock.c: robust mutexes and futex words in memory that processes share.
 *
 * pthread condition variables are not used: a process that is killed while it waits on one can block those who signal.
 */
#include "logpool/lock.h"

#include "base/error.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <sched.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

int lock_init(struct lock *lock)
{
	pthread_mutexattr_t attributes;

	pthread_mutexattr_init(&attributes);
	pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
	pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
	atomic_init(&lock->held, 0);
	int err = pthread_mutex_init(&lock->mutex, &attributes);
	pthread_mutexattr_destroy(&attributes);
	return err ? error_set(err, "a robust lock cannot be made") : 0;
}

static void pause_processor(void)
{
#if defined(__x86_64__)
	__builtin_ia32_pause();
#else
	atomic_signal_fence(memory_order_seq_cst);
#endif
}

static enum lock_result result_of(struct lock *lock, int err)
{
	if (err == EBUSY)
		return LOCK_BUSY;
	assert(!err || err == EOWNERDEAD);
	atomic_store_explicit(&lock->held, 1, memory_order_relaxed);
	if (!err)
		return LOCK_TAKEN;
	pthread_mutex_consistent(&lock->mutex);
	return LOCK_TAKEN_AFTER_DEATH;
}

enum lock_result lock_try(struct lock *lock)
{
	return result_of(lock, pthread_mutex_trylock(&lock->mutex));
}

void lock_pause_round(unsigned round)
{
	if (round % 128 == 127)
		sched_yield();
	else
		pause_processor();
}

enum lock_result lock_take(struct lock *lock, unsigned spin_count)
{
	for (unsigned i = 0; i < spin_count; i++) {
		if (!lock_seems_held(lock)) {
			enum lock_result result = lock_try(lock);
			if (result != LOCK_BUSY)
				return result;
		}
		lock_pause_round(i);
	}
	return result_of(lock, pthread_mutex_lock(&lock->mutex));
}

void lock_give(struct lock *lock)
{
	atomic_store_explicit(&lock->held, 0, memory_order_relaxed);
	int err = pthread_mutex_unlock(&lock->mutex);

	assert(!err);
	(void)err;
}

void lock_sleep(_Atomic uint32_t *word, uint32_t seen, unsigned timeout_ms)
{
	int err = errno; /* a call that succeeds leaves errno alone */
	struct timespec timeout = {.tv_sec = timeout_ms / 1000, .tv_nsec = timeout_ms % 1000 * 1000000L};

	syscall(SYS_futex, word, FUTEX_WAIT, seen, &timeout, NULL, 0);
	errno = err;
}

void lock_wake_all(_Atomic uint32_t *word)
{
	syscall(SYS_futex, word, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
}
