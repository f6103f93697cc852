/*
 * thread_slot.h: a small number for each thread, for state that lies in a line of its own per thread.
 *
 * Numbers below THREAD_SLOT_SHARED belong to one living thread each and are used again after it ended.
 * Threads beyond that all get THREAD_SLOT_SHARED and must use locked operations on what they share.
 */
#ifndef BASE_THREAD_SLOT_H
#define BASE_THREAD_SLOT_H

enum { THREAD_SLOT_SHARED = 127, THREAD_SLOT_COUNT = 128 };

/* number + 1; 0 before the first call. */
extern _Thread_local unsigned thread_slot_cached;
unsigned thread_slot_take(void);

static inline unsigned thread_slot(void)
{
	return thread_slot_cached ? thread_slot_cached - 1 : thread_slot_take();
}

#endif
