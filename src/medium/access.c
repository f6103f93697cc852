/*
 * access.c: asks /proc/self/maps how a range is mapped.
 */
#include "medium/access.h"

#include "base/error.h"

#include <errno.h>
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>

int medium_access(const void *base, size_t bytes, struct medium_access *access)
{
	uintptr_t at = (uintptr_t)base;
	const uintptr_t end = at + bytes;
	struct medium_access all = {.writable = true, .shared = true};
	FILE *maps = fopen("/proc/self/maps", "re");
	char line[4096];

	if (!maps)
		return error_system("/proc/self/maps");
	/* Lines come in order of address; a range may lie across several. */
	while (at < end && fgets(line, sizeof(line), maps)) {
		uintptr_t from, to;
		char mode[5];
		if (sscanf(line, "%" SCNxPTR "-%" SCNxPTR " %4s", &from, &to, mode) != 3 || to <= at)
			continue;
		if (from > at || mode[0] != 'r')
			break;
		all.writable = all.writable && mode[1] == 'w';
		all.shared = all.shared && mode[3] == 's';
		at = to;
	}
	fclose(maps);
	if (at < end)
		return error_set(EINVAL, "the map at %p is not readable over its %zu bytes", base, bytes);
	*access = all;
	return 0;
}
