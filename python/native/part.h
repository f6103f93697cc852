/*
 * part.h: what the files of the stream's binding share: the stream itself, and what belongs to one.
 */
#ifndef NATIVE_PART_H
#define NATIVE_PART_H

#include "guard.h"
#include "stream.h"

#include <pthread.h>
#include <stdatomic.h>

struct persister;

struct stream {
	struct guard guard;
	_Atomic unsigned references; /* Python's, and one of each part */
	struct pmemstream *stream;
	bool read_only;
	pthread_mutex_t parts_mutex, free_mutex;
	struct part *parts;
	struct persister *_Atomic persister;
};

/* A cursor, batch or series; the first member of each. */
struct part {
	struct stream *owner;
	pthread_mutex_t mutex;          /* one call at a time */
	void (*end)(struct part *part); /* gives back what is the library's */
	struct part *next, **link;      /* link NULL: ended */
};

void part_begin(struct part *part, struct stream *owner, void (*end)(struct part *part));
/* 0, and the part is the caller's until he leaves; -1 with a failure, also when it has ended. */
int part_enter(struct part *part, struct stay *stay);
void part_leave(struct part *part, struct stay *stay);
/* Ends it now; for a thread that is inside. */
void part_end(struct part *part);
/* Ends it, unless it has, and frees it; for Python's finalisers. */
void part_release(struct part *part);
void parts_end_all(struct stream *stream);

/* The library's message and errno as a failure. */
int stream_failure(void);
/* Tells whether the region that was meant is still there. -1 with ESTALE if not. */
int stream_check_region(struct stream *stream, const struct stream_region *region, struct pmemstream_region_info *info);
/* Gets the region's runtime handle, once. */
int stream_resolve(struct stream *stream, struct stream_region *region);
/* What is to be known of an entry that was just appended. */
void stream_describe(struct stream *stream, struct pmemstream_entry place, size_t bytes, uint64_t region,
		     struct stream_entry *entry);
void stream_unreference(struct stream *stream);

void persist_end(struct stream *stream);

#endif
