/*
 * guard.h: what keeps a closed, forked or busy handle from being used, whatever Python code does with it.
 */
#ifndef NATIVE_GUARD_H
#define NATIVE_GUARD_H

#include <stdbool.h>

/* Reasons that are no errno; failure_errno tells them. */
enum { FAILURE_CLOSED = -1, FAILURE_FORKED = -2, FAILURE_INSIDE = -3 };

struct guard {
	unsigned users;    /* calls that are inside */
	unsigned process;  /* forks before this process that the counts are of */
	bool closing;      /* no call begins any more */
	bool for_children; /* children of fork may go on using it */
};

/* One stay inside; the caller's, on its stack. */
struct stay {
	struct guard *guard;
	unsigned process;
	struct stay *outer; /* of the same thread, where callbacks may come */
};

void guard_init(struct guard *guard, bool for_children);
/* 0, or -1 with a failure: FAILURE_CLOSED, FAILURE_FORKED. */
int guard_enter(struct guard *guard, struct stay *stay);
void guard_leave(struct stay *stay);
/* Around what calls back: until the end, guard_is_calling and guard_shut know of it in this thread. */
void guard_calls_begin(struct stay *stay);
void guard_calls_end(struct stay *stay);
bool guard_is_calling(const struct guard *guard);
/* In a child of fork that must not use it: nothing is to be given back either. */
bool guard_is_foreign(const struct guard *guard);
bool guard_is_closing(const struct guard *guard);

/*
 * Lets no further call in and waits until all have left. interrupt: NULL, or called again and again until then, to wake
 * those that sleep inside. patience_ms: how long to wait, PATIENCE_ENDLESS is for ever. 1: the caller is the one to
 * close. 0: it was closed already, or somebody is still inside, and nobody may close it any more. -1 with a failure:
 * FAILURE_INSIDE, this thread itself is inside. In a child that must not use the handle: 0.
 */
enum { PATIENCE_ENDLESS = -1 };
int guard_shut(struct guard *guard, int patience_ms, void (*interrupt)(void *arg), void *arg);

/* What the calling thread's last failure was. text: copied. Calls that succeed leave it; so do those of finalisers. */
int failure_set(int err, const char *text);
int failure_errno(void);
const char *failure_text(void);

#endif
