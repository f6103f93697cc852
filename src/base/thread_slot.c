/*
 * thread_slot.c: gives each living thread a small number of its own and takes it back at thread exit.
 *
 * Threads  the next owner of a number takes it with acquire after the last one released it, so it sees all that the
 *          last one wrote to the line of that number. One that was not given back, because the library was unloaded or
 *          a thread asked for one when the last of its destructors ran, is the next thread's that lives at the same
 *          address, and stays taken.
 */
#include "base/thread_slot.h"

struct thread_slot thread_slots[THREAD_SLOT_COUNT];

static pthread_key_t exit_key;
static pthread_once_t exit_key_once = PTHREAD_ONCE_INIT;
static int exit_key_error;

/* A destructor that runs after this one may still ask for a number: it then takes one anew. */
static void give_back(void *owner)
{
	atomic_store_explicit((_Atomic uintptr_t *)owner, 0, memory_order_release);
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

static unsigned choice(uintptr_t thread, unsigned i)
{
	return (thread_slot_first_choice(thread) + i) % THREAD_SLOT_SHARED;
}

static bool take(_Atomic uintptr_t *owner, uintptr_t thread)
{
	uintptr_t nobody = 0;

	if (atomic_load_explicit(owner, memory_order_relaxed) ||
	    !atomic_compare_exchange_strong_explicit(owner, &nobody, thread, memory_order_acquire,
						     memory_order_relaxed))
		return false;
	if (!pthread_setspecific(exit_key, owner))
		return true;
	give_back(owner);
	return false;
}

unsigned thread_slot_elsewhere(uintptr_t thread)
{
	for (unsigned i = 0; i < THREAD_SLOT_SHARED; i++)
		if (thread_slot_owns(choice(thread, i), thread))
			return choice(thread, i);
	pthread_once(&exit_key_once, create_exit_key);
	for (unsigned i = 0; !exit_key_error && i < THREAD_SLOT_SHARED; i++)
		if (take(&thread_slots[choice(thread, i)].owner, thread))
			return choice(thread, i);
	return THREAD_SLOT_SHARED;
}
