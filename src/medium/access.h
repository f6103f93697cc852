/*
 * access.h: how a range of this process's memory is mapped. libpmem2 1.12 has no function that tells.
 */
#ifndef MEDIUM_ACCESS_H
#define MEDIUM_ACCESS_H

#include <stdbool.h>
#include <stddef.h>

struct medium_access {
	bool writable; /* all of it */
	bool shared;   /* all of it: stores reach the file */
};

/* Reads /proc/self/maps. 0, or -1 with errno: EINVAL if a part of the range is not mapped for reading, or that of open.
 */
int medium_access(const void *base, size_t bytes, struct medium_access *access);

#endif
