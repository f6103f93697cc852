/*
 * view.h: reading a stream beside whoever may be writing it.
 */
#ifndef STREAM_VIEW_H
#define STREAM_VIEW_H

#include "stream/area.h"

struct file;

/* What tells that a view is out of date. */
struct fingerprint {
	struct area_view area;
	uint64_t applied_word; /* of the allocator, as it is on the medium */
	uint64_t size_word;    /* of the first header copy */
	unsigned char slots[2][FORMAT_SLOT_BYTES];
};

int view_fingerprint(struct file *file, struct medium *medium, struct fingerprint *print);
/* Whether a view that was made at one time still holds at another. */
bool view_holds(const struct fingerprint *then, const struct fingerprint *now);

/* The stream as it was at one moment. */
struct view {
	struct pmemstream *stream; /* shares the medium; stream_discard frees it */
	struct fingerprint print;
	uint64_t limit; /* beside a live writer: what it had published, as far as it is shown */
	char text[256]; /* where entries are missing that it had published, and nothing shows their place: what to say
			 */
};

/* 0; or -1 with EAGAIN: a writer changes it faster than it can be read, EBADMSG: what is read before any entry is
 * damaged, and other errors of the system. Maps what the file has grown by. */
int view_read(struct file *file, struct medium *medium, const struct stream_options *options, bool committed,
	      struct view *view);

#endif
