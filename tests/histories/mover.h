/*
 * mover.h: a data mover whose copies end when the history says so, some of them in failure.
 */
#ifndef HISTORIES_MOVER_H
#define HISTORIES_MOVER_H

#include "histories/machine.h"

#include <libminiasync.h>

enum { MOVER_OPERATIONS_MAX = 64 };

/* What the history decided about a copy before it began. */
struct mover_plan {
	unsigned polls; /* that find it running */
	bool fails;
	uint32_t copied_256; /* how much a failing one copies, in 256ths */
};

struct mover_operation {
	bool used;
	struct mover_plan plan;
};

struct mover {
	struct vdm vdm; /* first: a pointer to it is a pointer to the mover */
	struct machine *machine;
	struct mover_plan next;
	bool hurry; /* every poll completes */
	struct mover_operation operations[MOVER_OPERATIONS_MAX];
};

void mover_init(struct mover *mover, struct machine *machine);
/* The process that used it is gone. */
void mover_forget(struct mover *mover);
unsigned mover_count(const struct mover *mover);

#endif
