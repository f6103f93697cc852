/*
 * stream_mover.h: a data mover that does what a test tells it: waits, fails, refuses, wakes or stays silent.
 */
#ifndef TESTS_STREAM_MOVER_H
#define TESTS_STREAM_MOVER_H

#include <libminiasync.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

struct manual_operation;

struct manual_mover {
	struct vdm vdm;
	bool wakes;                       /* takes a waker if it is offered one, and calls it */
	enum vdm_operation_result result; /* of every operation; what fails copies half */
	atomic_int refusals;              /* so many starts are refused first */
	atomic_int operations_left;       /* op_new gives NULL behind so many */
	atomic_bool released;             /* operations complete at their next check; before that, never */
	atomic_int started, living;
	pthread_mutex_t lock;
	struct manual_operation *waiting;
};

void manual_mover_init(struct manual_mover *mover);
/* From now on every operation completes; wakes who left a waker. */
void manual_mover_release(struct manual_mover *mover);
/* Sleeps no longer than until so many operations were started. */
void manual_mover_await_start(struct manual_mover *mover, int started);

#endif
