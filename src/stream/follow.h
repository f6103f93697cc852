/*
 * follow.h: reading a stream that another process writes.
 */
#ifndef STREAM_FOLLOW_H
#define STREAM_FOLLOW_H

#include "stream/stream.h"

struct file;

/* Opens a read-only map: as its writer has it where one lives, as recovery would leave it otherwise. The stream takes
 * the medium over, the file stays the caller's. 0, or -1 with errno; EAGAIN: the writer changes it faster than it can
 * be read. */
int follow_open(struct pmemstream **stream, struct file *file, struct medium *medium,
		const struct stream_options *options, bool committed);
void follow_close(struct pmemstream *stream);

/* Takes over what the writer did: how far it is, and its regions where they changed. 0, or -1 with errno and the view
 * as it was. */
int follow_look(struct pmemstream *stream);

/* window_safe_off for a reader: entries of the region in front of the result can be shown. */
uint64_t follow_safe_off(struct pmemstream *stream, struct region *region);

/* Ends every follow_wait on this stream. */
void follow_cancel(struct pmemstream *stream);

/* Waits until the timestamp that is shown is at least one. 0; or -1 with ETIMEDOUT, ECANCELED, EOWNERDEAD and the
 * errors of follow_look. */
int follow_wait(struct pmemstream *stream, uint64_t timestamp, uint64_t deadline_ns);

#endif
