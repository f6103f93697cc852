/*
 * second.h: a second thread of the process, which runs while the first stands still in front of an operation of the
 * medium.
 *
 * A fence covers only what its own thread stored or flushed, so some mistakes take two threads. They never run at the
 * same time: control is handed over and back, so a seed repeats every step.
 */
#ifndef HISTORIES_SECOND_H
#define HISTORIES_SECOND_H

#include "medium/medium.h"

#include <pthread.h>
#include <semaphore.h>
#include <stdbool.h>

struct history;

struct second {
	pthread_t thread;
	sem_t go, done;
	bool ends;
	bool running; /* it has control */
	bool invited; /* the first thread is in a call beside which others may be made */
};

void second_init(struct history *history);
void second_free(struct history *history);

/* The operations of the simulated medium, with the second thread in front of some of them. */
const struct medium_ops *second_ops(struct history *history);

#endif
