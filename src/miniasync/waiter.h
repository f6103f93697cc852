/*
 * waiter.h: what a thread sleeps on while movers work for it. See waiter.c.
 */
#ifndef MINIASYNC_WAITER_H
#define MINIASYNC_WAITER_H

#include <libminiasync/future.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct waiter;

/* A waiter for the calling thread alone, until it is given back; NULL if memory is short. */
struct waiter *waiter_take(void);
void waiter_give(struct waiter *waiter);

/* Drops the wake-ups that earlier use left behind, before any waker is given out anew. More may still come. */
void waiter_forget_woken(struct waiter *waiter);

/* Room for wakers 0 .. count - 1; false if memory is short. */
bool waiter_reserve(struct waiter *waiter, size_t count);
struct future_waker waiter_waker(struct waiter *waiter, size_t index);

/* The number of a waker that was called since it was last returned here (then true), in no order. */
bool waiter_next_woken(struct waiter *waiter, size_t *index);

/* Sleeps until a waker is called, or until deadline_ns of waiter_now_ns; WAITER_NO_DEADLINE: until a waker is called.
 */
#define WAITER_NO_DEADLINE UINT64_MAX
void waiter_sleep(struct waiter *waiter, uint64_t deadline_ns);
uint64_t waiter_now_ns(void);

#endif
