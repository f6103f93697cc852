/*
 * thread_slot.c: gives each living thread a small number of its own and takes it back at thread exit.
 *
 * Threads  two words of bits, set and cleared atomically. The next owner of a number reads them with acquire after
 *          the last owner released, so it sees all that the last one wrote to the line of that number.
 */
#include "base/thread_slot.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>

_Thread_local unsigned thread_slot_cached;

static _Atomic uint64_t taken[2];
static pthread_key_t exit_key;
static pthread_once_t exit_key_once = PTHREAD_ONCE_INIT;
static int exit_key_error;

static void give_back(void *number_plus_one)
{
	unsigned number = (unsigned)(uintptr_t)number_plus_one - 1;

	/* A destructor that runs after this one may still count: it then takes a number anew. */
	thread_slot_cached = 0;
	atomic_fetch_and_explicit(&taken[number / 64], ~(UINT64_C(1) << number % 64), memory_order_release);
}

static void create_exit_key(void)
{
	exit_key_error = pthread_key_create(&exit_key, give_back);
}

/* A library that is unloaded must leave no destructor behind. */
__attribute__((destructor)) static void delete_exit_key(void)
{
	pthread_once(&exit_key_once, create_exit_key);
	if (!exit_key_error)
		pthread_key_delete(exit_key);
}

static unsigned find_free(void)
{
	for (unsigned number = 0; number < THREAD_SLOT_SHARED; number++) {
		uint64_t bit = UINT64_C(1) << number % 64;
		if (atomic_load_explicit(&taken[number / 64], memory_order_relaxed) & bit)
			continue;
		if (!(atomic_fetch_or_explicit(&taken[number / 64], bit, memory_order_acquire) & bit))
			return number;
	}
	return THREAD_SLOT_SHARED;
}

unsigned thread_slot_take(void)
{
	pthread_once(&exit_key_once, create_exit_key);
	unsigned number = exit_key_error ? THREAD_SLOT_SHARED : find_free();

	thread_slot_cached = number + 1;
	if (number == THREAD_SLOT_SHARED)
		return number;
	if (pthread_setspecific(exit_key, (void *)(uintptr_t)(number + 1))) {
		give_back((void *)(uintptr_t)(number + 1));
		thread_slot_cached = THREAD_SLOT_SHARED + 1;
	}
	return thread_slot_cached - 1;
}
