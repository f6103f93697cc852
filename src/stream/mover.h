/*
 * mover.h: entries whose data a data mover (vdm) copies.
 */
#ifndef STREAM_MOVER_H
#define STREAM_MOVER_H

#include "stream/window.h"

#include <libminiasync.h>

/* What goes on in a window slot while a mover copies. */
struct operation {
	struct vdm_operation_future future;
	_Atomic bool polled;       /* somebody polls it: a future has one poller at a time */
	bool wakes;                /* the mover took our waker */
	struct format_entry entry; /* to turn it into a filler */
};

/* Of libminiasync's synchronous mover; NULL: not asked yet. */
extern _Atomic(vdm_operation_start) mover_synchronous_start;
bool mover_find_synchronous(struct vdm *vdm);

/* True for that mover: its copies may as well be made by append itself. Its table of functions tells: the table's
 * address differs with every mover, the functions do not. */
static inline bool mover_is_synchronous(struct vdm *vdm)
{
	vdm_operation_start start = atomic_load_explicit(&mover_synchronous_start, memory_order_relaxed);

	return start ? vdm->op_start == start : mover_find_synchronous(vdm);
}

/*
 * Everything of a copy that can fail before a timestamp is taken: 0, or -1 with ENOMEM.
 * mover_cancel gives back what a prepared copy holds, mover_start begins it and hands it to the window.
 */
int mover_prepare(struct pmemstream *stream, struct vdm *vdm, const void *data, uint64_t size,
		  struct vdm_operation_future *future);
void mover_cancel(struct vdm_operation_future *future);
void mover_start(struct pmemstream *stream, const struct ticket *ticket, const struct format_entry *entry,
		 const struct vdm_operation_future *future);

enum mover_left {
	MOVER_NOTHING, /* no copy is in the hands of a mover */
	MOVER_WAKES,   /* some are, and each will wake the stream */
	MOVER_SILENT   /* some are that have to be polled */
};

/* Polls the copies above persisted up to a timestamp. */
enum mover_left mover_poll(struct pmemstream *stream, uint64_t timestamp);

/* 0, or EIO (or the like) if the copy of this very timestamp failed. */
int mover_failure(struct pmemstream *stream, uint64_t timestamp);

#endif
