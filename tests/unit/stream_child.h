/*
 * stream_child.h: a stream that another process writes.
 *
 * The child is told what to do by one letter through a pipe and answers by one letter: nothing waits for luck.
 *
 *   n  create the stream of path       i  allocate the region "first"       c  both
 *   o  open it                          d  close it
 *   a  append the next number to the region that was named last
 *   1  name "first"                     2  name "second"
 *   r  allocate "second", append to it  f  free the region that was named last, name "first"
 *   g  double the size, allocate "grown" in what came by it, append to it
 *   s  append the next number, in 1,000 bytes, to the series "log" with regions of 4 KiB, of which 8 KiB stay
 *   S  the same for ever: no answer
 */
#ifndef STREAM_CHILD_H
#define STREAM_CHILD_H

#include <libpmemstream.h>

#include <stdint.h>
#include <sys/types.h>

enum { STREAM_BYTES = 4 << 20, REGION_BYTES = 1 << 20 };
#define LONG_NS UINT64_C(20000000000)

struct child {
	pid_t process;
	int orders, answers;
};

extern char path[64];
extern const struct pmemstream_config sized, reading;

/* Another name for path, of no file. */
void new_path(void);

void start(struct child *child);
void tell_only(struct child *child, char order);
void hear(struct child *child);
void tell(struct child *child, const char *orders);
/* signal: 0: by the end of its orders. */
void stop(struct child *child, int signal);

/* Entries of a region, to its end, which must be one without damage. */
uint64_t count(struct pmemstream *stream, const char *label);

#endif
