/*
 * file_limit.h: the limit on file sizes that a process may have (RLIMIT_FSIZE, ulimit -f). A write or an allocation
 * beyond it ends the process by SIGXFSZ, which a library asks for by no means: it looks first.
 */
#ifndef BASE_FILE_LIMIT_H
#define BASE_FILE_LIMIT_H

#include "base/error.h"

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/resource.h>

/* Whether a file may have so many bytes. */
static inline bool file_limit_allows(uint64_t bytes)
{
	struct rlimit limit;

	return getrlimit(RLIMIT_FSIZE, &limit) || limit.rlim_cur == RLIM_INFINITY || bytes <= limit.rlim_cur;
}

/* 0, or -1 with EFBIG and a message. */
static inline int file_limit_check(const char *path, uint64_t bytes)
{
	if (file_limit_allows(bytes))
		return 0;
	return error_set(EFBIG, "%s: %zu bytes are more than this process may give a file (ulimit -f)", path,
			 (size_t)bytes);
}

#endif
