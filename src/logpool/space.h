/*
 * space.h: the address space of an open pool: all its parts behind each other, and run-time state in front.
 *
 *   front - 4096 .. front    memory of this process
 *   front .. front + 4096    memory that forked children share (for a private mapping: do not)
 *   base .. base + size      the pool; base is front + 4096, and the handle that callers hold
 *
 * So the state of a handle is found without a search, and none of it lies on media.
 */
#ifndef LOGPOOL_SPACE_H
#define LOGPOOL_SPACE_H

#include "logpool/parts.h"
#include "medium/medium.h"

struct pmem2_map;
struct pmem2_vm_reservation;

enum { SPACE_STATE_BYTES = 4096 };

enum space_mode {
	SPACE_SHARED, /* stores reach the files */
	SPACE_VANISH, /* stores are seen here and vanish with the mapping */
	SPACE_LOOK,   /* no stores */
};

struct space {
	struct pmem2_vm_reservation *reservation;
	struct pmem2_map **maps;
	size_t map_count;
	char *base;
	size_t size;
	enum medium_granularity granularity;
};

/* Maps the open parts. 0, or -1 with errno: ENOMEM, or what mmap gave. space_unmap ends it. */
int space_map(struct space *space, const struct parts *parts, enum space_mode mode);
/* space must not lie in the state pages itself. Keeps errno and the message. */
void space_unmap(struct space *space);

/* The two pages of state in front of a base; zeroed when mapped. */
static inline void *space_own_state(void *base)
{
	return (char *)base - 2 * (size_t)SPACE_STATE_BYTES;
}

static inline void *space_shared_state(void *base)
{
	return (char *)base - SPACE_STATE_BYTES;
}

#endif
