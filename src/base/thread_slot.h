/*
 * thread_slot.h: a small number and a line of memory for each thread.
 *
 * Numbers below THREAD_SLOT_SHARED belong to one living thread each and are used again after it ended. Threads beyond
 * that all get THREAD_SLOT_SHARED: they must use locked operations on what they share, and leave the line as it is.
 *
 * A thread is found by its address, since a thread-local variable of a library that may be loaded at any time costs a
 * call for each access.
 */
#ifndef BASE_THREAD_SLOT_H
#define BASE_THREAD_SLOT_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum { THREAD_SLOT_SHIFT = 7, THREAD_SLOT_SHARED = 1 << THREAD_SLOT_SHIFT, THREAD_SLOT_COUNT };

struct thread_slot {
	_Alignas(64) _Atomic uintptr_t owner; /* the address of the thread, or 0 */
	uint64_t own[7];                      /* only its own to read and write; what the last owner left */
};

/* By number. */
extern struct thread_slot thread_slots[THREAD_SLOT_COUNT];
/* The number of a thread that does not own its first choice, given to it if it has none. */
unsigned thread_slot_elsewhere(uintptr_t thread);

/* Differs between living threads. */
static inline uintptr_t thread_address(void)
{
#if defined(__x86_64__)
	/* The address of the thread's control block, at its own beginning, as the ABI wants it. */
	uintptr_t thread;
	__asm__("mov %%fs:0, %0" : "=r"(thread));
	return thread;
#else
	return (uintptr_t)pthread_self();
#endif
}

static inline unsigned thread_slot_first_choice(uintptr_t thread)
{
	return (uint32_t)thread * UINT32_C(0x9e3779b1) >> (32 - THREAD_SLOT_SHIFT);
}

static inline bool thread_slot_owns(unsigned number, uintptr_t thread)
{
	return __builtin_expect(atomic_load_explicit(&thread_slots[number].owner, memory_order_relaxed) == thread, 1);
}

static inline unsigned thread_slot(void)
{
	uintptr_t thread = thread_address();
	unsigned number = thread_slot_first_choice(thread);

	if (thread_slot_owns(number, thread))
		return number;
	return thread_slot_elsewhere(thread);
}

#endif
