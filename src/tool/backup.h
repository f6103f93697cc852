/*
 * backup.h: keeps the bytes that a repair changes, durable before they change.
 */
#ifndef TOOL_BACKUP_H
#define TOOL_BACKUP_H

#include <stddef.h>
#include <stdint.h>

enum { BACKUP_NAME_BYTES = 4096 };

struct backup_range {
	uint64_t begin, end;
};

struct backup {
	char name[BACKUP_NAME_BYTES];
	int descriptor; /* below 0: not made yet */
	struct backup_range *kept;
	size_t count;
};

/* Writes bytes and their place, durably, but for those that were kept before; the first call makes the file,
 * FILE.before-repair-N, which is new. 0, or -1, reported. */
int backup_keep(struct backup *backup, const char *path, uint64_t offset, const void *bytes, size_t count);

/* Closes it; makes no difference to what is kept. A file in which nothing could be kept is removed. */
void backup_end(struct backup *backup);

#endif
