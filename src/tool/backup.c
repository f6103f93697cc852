/*
 * backup.c: keeps the bytes that a repair changes, durable before they change.
 *
 * The file is a hex dump of these bytes at their offsets, in the layout of xxd(1): `xxd -r BACKUP FILE` puts them back,
 * and a person can read it.
 */
#include "tool/backup.h"

#include "tool/report.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { NUMBER_MAX = 10000, LINE_BYTES = 16 };

/* The name of a new file is durable only when its folder is. */
static int sync_folder(const char *name)
{
	char copy[BACKUP_NAME_BYTES];

	snprintf(copy, sizeof(copy), "%s", name);
	int folder = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (folder < 0)
		return -1;
	int err = fsync(folder);
	close(folder);
	return err;
}

static int make(struct backup *backup, const char *path)
{
	struct {
		char text[BACKUP_NAME_BYTES];
	} name;

	for (int number = 1; number < NUMBER_MAX; number++) {
		int bytes = snprintf(name.text, sizeof(name.text), "%s.before-repair-%d", path, number);
		if (bytes < 0 || (size_t)bytes >= sizeof(name.text)) {
			errno = ENAMETOOLONG;
			return -1;
		}
		backup->descriptor = open(name.text, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
		if (backup->descriptor >= 0) {
			memcpy(backup->name, name.text, sizeof(name.text));
			return sync_folder(backup->name);
		}
		if (errno != EEXIST)
			return -1;
	}
	return -1;
}

static int write_line(int descriptor, uint64_t offset, const unsigned char *bytes, size_t count)
{
	char line[128];
	int used = snprintf(line, sizeof(line), "%08zx: ", (size_t)offset);

	for (size_t i = 0; i < LINE_BYTES; i++) {
		const char *gap = i % 2 ? " " : "";
		used += i < count ? snprintf(line + used, sizeof(line) - (size_t)used, "%02x%s", bytes[i], gap)
				  : snprintf(line + used, sizeof(line) - (size_t)used, "  %s", gap);
	}
	line[used++] = ' ';
	for (size_t i = 0; i < count; i++)
		line[used++] = bytes[i] >= 0x20 && bytes[i] < 0x7f ? (char)bytes[i] : '.';
	line[used++] = '\n';
	ssize_t written = write(descriptor, line, (size_t)used);
	if (written >= 0 && written != used)
		errno = ENOSPC;
	return written == used ? 0 : -1;
}

/* How far from an offset on nothing was kept yet, up to end; the offset itself moves behind what was. */
static uint64_t next_gap(const struct backup *backup, uint64_t *offset, uint64_t end)
{
	for (size_t i = 0; i < backup->count; i++)
		if (backup->kept[i].begin <= *offset && *offset < backup->kept[i].end) {
			*offset = backup->kept[i].end;
			i = (size_t)-1; /* another range may begin there */
		}
	for (size_t i = 0; i < backup->count; i++)
		if (backup->kept[i].begin > *offset && backup->kept[i].begin < end)
			end = backup->kept[i].begin;
	return end;
}

/* Notes what is kept. A repair may change a place twice: the first bytes are those that were there before it. */
static int note(struct backup *backup, uint64_t offset, size_t count)
{
	struct backup_range *more = realloc(backup->kept, (backup->count + 1) * sizeof(*more));

	if (!more)
		return -1;
	backup->kept = more;
	backup->kept[backup->count++] = (struct backup_range){.begin = offset, .end = offset + count};
	return 0;
}

static int write_new(struct backup *backup, uint64_t offset, const unsigned char *bytes, size_t count)
{
	uint64_t end = offset + count, begin = offset;

	for (uint64_t at = offset; at < end;) {
		uint64_t gap_end = next_gap(backup, &at, end);
		for (; at < gap_end; at += LINE_BYTES) {
			size_t line = gap_end - at < LINE_BYTES ? (size_t)(gap_end - at) : LINE_BYTES;
			if (write_line(backup->descriptor, at, bytes + (at - begin), line))
				return -1;
		}
		at = at > gap_end ? gap_end : at;
	}
	return note(backup, offset, count) ? -1 : fdatasync(backup->descriptor);
}

int backup_keep(struct backup *backup, const char *path, uint64_t offset, const void *bytes, size_t count)
{
	if (backup->descriptor < 0 && make(backup, path)) {
		report("%s: no backup can be made beside it, so nothing is changed: %s", path, strerror(errno));
		return -1;
	}
	if (!write_new(backup, offset, bytes, count))
		return 0;
	report("%s: what is to be changed cannot be kept, so it is not changed: %s", backup->name, strerror(errno));
	return -1;
}

void backup_end(struct backup *backup)
{
	if (backup->descriptor >= 0)
		close(backup->descriptor);
	if (backup->descriptor >= 0 && !backup->count)
		unlink(backup->name); /* nothing was changed: there is nothing to put back */
	free(backup->kept);
	backup->descriptor = -1;
	backup->kept = NULL;
	backup->count = 0;
}
