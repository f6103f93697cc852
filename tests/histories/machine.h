/*
 * machine.h: the computer a history happens on: a cut, and the moment at which the running process dies.
 *
 * A process may die at any operation of the medium, inside of any call of the library. The call cannot be left there,
 * so the medium is copied at that moment and the call goes on with what is left of the old one, which nobody looks at
 * any more. What the process had promised by then is asked for at the same moment (at_death).
 */
#ifndef HISTORIES_MACHINE_H
#define HISTORIES_MACHINE_H

#include "cut/cut.h"

struct machine {
	struct cut *now;   /* what the process runs on */
	struct cut *later; /* a copy of it as of the moment of death */
	unsigned countdown;
	bool dead;
	char where[64]; /* which operation it died at, for the trace */
	void (*at_death)(void *context);
	void *context;
};

void machine_init(struct machine *machine, size_t bytes, enum medium_granularity granularity);
void machine_free(struct machine *machine);
/* An empty medium, an idle process. */
void machine_reset(struct machine *machine);
/* The process dies in front of its n-th operation from now; 0: not. */
void machine_arm(struct machine *machine, unsigned n);
/* It dies now, between two calls. */
void machine_die(struct machine *machine);
/* After the library's memory was given back: goes on with the medium as it was when the process died. */
void machine_bury(struct machine *machine);

/* The clock and the random bytes that the library gets are part of the history. */
void machine_set_clock(uint64_t ns);

#endif
