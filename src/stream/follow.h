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
 * as it was. Not under the admin mutex. */
int follow_look(struct pmemstream *stream);

/* Whether the writer may have freed what was just read: then look again, and believe it only where its region is still
 * there. */
bool follow_outdated(struct pmemstream *stream);

/*
 * window_safe_off for a reader who is at an offset: entries of the region in front of *safe_off can be shown. 0; or -1
 * where there is none at the offset and something is wrong: EBADMSG (damage with a serial number above told, in the
 * message), EAGAIN, an error of the system. *safe_off is set in any case.
 */
int follow_safe_off(struct pmemstream *stream, struct region *region, uint64_t off, uint64_t told, uint64_t *safe_off);
/* The same for who only wants to know how full a region is, or all are. */
void follow_walk(struct pmemstream *stream, struct region *region);
void follow_walk_all(struct pmemstream *stream);

/* Makes sure that all that was published up to a timestamp is there: stream->trouble tells if it is not. True: regions'
 * tails may have moved. */
bool follow_vouch(struct pmemstream *stream, uint64_t timestamp);
/* -1 with EBADMSG and the text of the present trouble. */
int follow_tell_trouble(struct pmemstream *stream);

/* Sleeps a little, or until the next follow_cancel. */
void follow_pause(struct pmemstream *stream);
/* Ends every follow_wait on this stream; and wakes them up, so that they see that it is being deleted. */
void follow_cancel(struct pmemstream *stream);
void follow_wake(struct pmemstream *stream);

/* Waits until the timestamp that is shown is at least one. 0; or -1 with ETIMEDOUT, ECANCELED, EOWNERDEAD and the
 * errors of follow_look. deaths: how many of writers this waiter was told of, NULL: all that have none of their own. */
int follow_wait(struct pmemstream *stream, uint64_t timestamp, uint64_t deadline_ns, uint64_t *deaths);

#endif
