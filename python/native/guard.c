/*
 * guard.c: counts the calls that are inside a handle, so that it can be closed under the eyes of other threads.
 *
 * Invariant  whoever entered may use the library's object until he leaves; guard_shut returns 1 to one thread only,
 *            when nobody is inside and nobody can enter.
 * Threads    any, none of them needs Python's lock. One mutex guards all guards: what it covers is a few instructions.
 * Fork       the mutex is held across fork, so the counts are whole in the child; they are of threads that the child
 *            does not have, and begin at nothing there. Who stays inside while his thread forks leaves by the number
 *            of the process that he entered in.
 */
#include "guard.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <time.h>

enum { INTERRUPT_MS = 2, NAP_MS = 20 };

static pthread_mutex_t all_guards = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t left = PTHREAD_COND_INITIALIZER;
static unsigned this_process;

static _Thread_local struct stay *calling;
static _Thread_local int last_errno;
static _Thread_local char last_text[1024];

static void before_fork(void)
{
	pthread_mutex_lock(&all_guards);
}

static void after_fork(void)
{
	pthread_mutex_unlock(&all_guards);
}

static void in_child(void)
{
	this_process++;
	pthread_cond_init(&left, NULL);
	pthread_mutex_unlock(&all_guards);
}

__attribute__((constructor)) static void notice_forks(void)
{
	pthread_atfork(before_fork, after_fork, in_child);
}

int failure_set(int err, const char *text)
{
	last_errno = err;
	snprintf(last_text, sizeof(last_text), "%s", text);
	if (err > 0)
		errno = err;
	return -1;
}

int failure_errno(void)
{
	return last_errno;
}

const char *failure_text(void)
{
	return last_text;
}

void guard_init(struct guard *guard, bool for_children)
{
	*guard = (struct guard){.process = this_process, .for_children = for_children};
}

/* Under the mutex: what is counted is of this process. False: it must not be used here. */
static bool take_over(struct guard *guard)
{
	if (guard->process == this_process)
		return true;
	if (!guard->for_children)
		return false;
	guard->process = this_process;
	guard->users = 0;
	return true;
}

int guard_enter(struct guard *guard, struct stay *stay)
{
	int failure = 0;

	pthread_mutex_lock(&all_guards);
	if (!take_over(guard))
		failure = FAILURE_FORKED;
	else if (guard->closing)
		failure = FAILURE_CLOSED;
	else
		guard->users++;
	*stay = (struct stay){.guard = guard, .process = this_process};
	pthread_mutex_unlock(&all_guards);
	if (!failure)
		return 0;
	return failure_set(failure, failure == FAILURE_CLOSED ? "it is closed"
							      : "it was opened by the parent process; open it here");
}

void guard_leave(struct stay *stay)
{
	pthread_mutex_lock(&all_guards);
	if (stay->process == this_process && !--stay->guard->users && stay->guard->closing)
		pthread_cond_broadcast(&left);
	pthread_mutex_unlock(&all_guards);
}

void guard_calls_begin(struct stay *stay)
{
	stay->outer = calling;
	calling = stay;
}

void guard_calls_end(struct stay *stay)
{
	calling = stay->outer;
}

bool guard_is_calling(const struct guard *guard)
{
	for (const struct stay *stay = calling; stay; stay = stay->outer)
		if (stay->guard == guard)
			return true;
	return false;
}

bool guard_is_foreign(const struct guard *guard)
{
	pthread_mutex_lock(&all_guards);
	bool foreign = guard->process != this_process && !guard->for_children;
	pthread_mutex_unlock(&all_guards);
	return foreign;
}

bool guard_is_closing(const struct guard *guard)
{
	pthread_mutex_lock(&all_guards);
	bool closing = guard->closing;
	pthread_mutex_unlock(&all_guards);
	return closing;
}

/* Under the mutex, for a short while. */
static void wait_for_leavers(int nap_ms, void (*interrupt)(void *arg), void *arg)
{
	struct timespec until;

	if (interrupt) {
		/* Again and again: who is inside, but does not sleep yet, notices the next time. */
		pthread_mutex_unlock(&all_guards);
		interrupt(arg);
		pthread_mutex_lock(&all_guards);
	}
	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_nsec += nap_ms * 1000000L;
	if (until.tv_nsec >= 1000000000) {
		until.tv_nsec -= 1000000000;
		until.tv_sec++;
	}
	pthread_cond_timedwait(&left, &all_guards, &until);
}

int guard_shut(struct guard *guard, int patience_ms, void (*interrupt)(void *arg), void *arg)
{
	int nap_ms = interrupt ? INTERRUPT_MS : NAP_MS;

	if (guard_is_calling(guard))
		return failure_set(FAILURE_INSIDE, "it cannot be closed from inside a callback of its own");
	pthread_mutex_lock(&all_guards);
	bool ours = take_over(guard) && !guard->closing;
	guard->closing = true;
	for (int waited_ms = 0; ours && guard->users; waited_ms += nap_ms) {
		if (patience_ms != PATIENCE_ENDLESS && waited_ms >= patience_ms)
			ours = false;
		else
			wait_for_leavers(nap_ms, interrupt, arg);
	}
	pthread_mutex_unlock(&all_guards);
	return ours ? 1 : 0;
}
