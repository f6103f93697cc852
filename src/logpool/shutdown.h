/*
 * shutdown.h: the shutdown state in the header of part 0 (docs/format/logpool.md, section 3).
 */
#ifndef LOGPOOL_SHUTDOWN_H
#define LOGPOOL_SHUTDOWN_H

#include "medium/medium.h"

#include <stdint.h>

/* What the devices below a pool say now: sums over its parts. */
struct shutdown_devices {
	uint64_t unsafe_count_sum, id_sum;
};

/* Adds the device of an open file; 0, or -1 with errno. A file without such a device adds nothing. */
int shutdown_add_device(struct shutdown_devices *devices, int fd);

/* 0 when a pool with this header page may be opened on these devices; else -1 with NOT_A_POOL. */
int shutdown_validate(const char *page, const struct shutdown_devices *devices);

/* Marks the pool whose first page is the medium's first as open, or as closed; 0, or -1 with errno. */
int shutdown_mark_open(struct medium *medium, const struct shutdown_devices *devices);
int shutdown_mark_closed(struct medium *medium, const struct shutdown_devices *devices);

#endif
