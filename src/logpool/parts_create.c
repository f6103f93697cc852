/*
 * parts_create.c: makes the files of a new pool and writes the headers of all parts but the first.
 *
 * Files are made with mode 000 and get theirs at the end, by a call that no umask touches: nobody opens a pool that is
 * half made. Existing files are taken only when their first page is zero; they keep their mode.
 */
#include "base/error.h"
#include "base/file_limit.h"
#include "logpool/format.h"
#include "logpool/header.h"
#include "logpool/listing.h"
#include "logpool/memory.h"
#include "logpool/parts.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int check_wanted(const struct part *part)
{
	if (part->wanted > INT64_MAX)
		return error_set(EFBIG, "%s: no file can have %llu bytes", part->path,
				 (unsigned long long)part->wanted);
	if (part->wanted && part->wanted < FORMAT_PART_MIN_BYTES)
		return error_set(EINVAL, "%s: %llu bytes, a pool has at least %d", part->path,
				 (unsigned long long)part->wanted, FORMAT_PART_MIN_BYTES);
	return 0;
}

static int allocate(const struct part *part)
{
	if (file_limit_check(part->path, part->size))
		return -1;
	int err = posix_fallocate(part->fd, 0, (off_t)part->size);

	if (!err)
		return 0;
	errno = err;
	return error_system("allocate %llu bytes for %s", (unsigned long long)part->size, part->path);
}

static int make_file(struct part *part)
{
	part->fd = open(part->path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0);
	if (part->fd < 0)
		return error_system("create %s", part->path);
	part->created = true;
	if (parts_lock_file(part))
		return -1;
	part->size = part->wanted;
	return allocate(part);
}

static int take_existing(struct part *part, bool allocate_existing)
{
	static const char zeros[HEADER_BYTES];
	char page[HEADER_BYTES];

	struct stat status;

	if (stat(part->path, &status))
		return error_system("%s", part->path);
	part->size = (uint64_t)status.st_size;
	if (S_ISREG(status.st_mode) && parts_check_size(part))
		return -1;
	/* Locked now, it is looked at again. */
	if (parts_open_file(part) || parts_check_size(part) || parts_read_page(part, page))
		return -1;
	if (memcmp(page, zeros, sizeof(zeros)) != 0)
		return error_set(EEXIST, "%s is not empty: its first %d bytes are not zero", part->path, HEADER_BYTES);
	return allocate_existing ? allocate(part) : 0;
}

static int make_all(struct parts *parts, bool must_be_new, bool allocate_existing)
{
	for (size_t i = 0; i < parts->count; i++)
		if (check_wanted(&parts->parts[i]))
			return -1;
	for (size_t i = 0; i < parts->count; i++) {
		struct part *part = &parts->parts[i];
		bool exists = !must_be_new && (!part->wanted || access(part->path, F_OK) == 0 || errno == ELOOP);

		if (exists ? take_existing(part, allocate_existing) : make_file(part))
			return -1;
	}
	return 0;
}

/* A link that leads nowhere is taken, one that leads in a circle is an error of its own. */
static bool looks_taken(const char *path)
{
	struct stat status;

	if (stat(path, &status) && errno == ELOOP)
		error_system("%s", path);
	else if (!lstat(path, &status))
		error_set(EEXIST, "%s exists", path);
	else
		return false;
	return true;
}

int parts_create(struct parts *parts, const char *path, uint64_t size, bool allocate_existing)
{
	if (!path)
		return error_set(EFAULT, "no path");
	if (size && looks_taken(path))
		return -1;
	if (size ? listing_of_file(parts, path) : listing_of_existing(parts, path, true))
		return -1;
	if (size)
		parts->parts[0].wanted = size;
	if (!make_all(parts, size != 0, allocate_existing))
		return 0;
	parts_abandon(parts);
	parts_close(parts);
	return -1;
}

static int write_page(const struct part *part, const char *page)
{
	ssize_t put = pwrite(part->fd, page, HEADER_BYTES, 0);

	if (put >= 0 && put != HEADER_BYTES)
		errno = EIO;
	if (put != HEADER_BYTES || fsync(part->fd))
		return error_system("write the header of %s", part->path);
	return 0;
}

static int make_uuids(struct parts *parts, size_t header_count, uint8_t (**uuids)[UUID_BYTES])
{
	*uuids = memory_new((header_count + 1) * UUID_BYTES);
	(void)parts;
	if (!*uuids)
		return -1;
	for (size_t i = 0; i <= header_count; i++)
		if (header_new_uuid((*uuids)[i])) {
			memory_free(*uuids);
			return -1;
		}
	return 0;
}

static int write_headers(struct parts *parts, size_t count, uint8_t (*uuids)[UUID_BYTES], bool with_shutdown_state)
{
	/* From the last to the first: a header is whole before one that a reader looks at earlier. */
	for (size_t i = count; i-- > 0;) {
		const struct part *part = &parts->parts[i];
		struct stat status;
		struct header_place place = {
			.set = uuids[count],
			.own = uuids[i],
			.previous = uuids[(i + count - 1) % count],
			.next = uuids[(i + 1) % count],
			.first = uuids[0],
			.single_header = parts->single_header,
		};

		if (fstat(part->fd, &status))
			return error_system("stat %s", part->path);
		header_build(parts->page, &place, with_shutdown_state, (uint64_t)status.st_ctim.tv_sec);
		if (i && write_page(part, parts->page))
			return -1;
	}
	return 0;
}

int parts_write_headers(struct parts *parts, bool with_shutdown_state)
{
	size_t count = parts->single_header ? 1 : parts->count;
	uint8_t(*uuids)[UUID_BYTES];

	if ((with_shutdown_state && parts_ask_devices(parts)) || make_uuids(parts, count, &uuids))
		return -1;
	int err = write_headers(parts, count, uuids, with_shutdown_state);
	memory_free(uuids);
	return err;
}

static int sync_folder(const char *path)
{
	const char *slash = strrchr(path, '/');
	char *folder = memory_text(slash ? path : ".");

	if (!folder)
		return -1;
	if (slash)
		folder[slash == path ? 1 : slash - path] = '\0';
	int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	/* A folder that may be written and not read cannot be synced by anyone; the file's own sync has to do. */
	int err = fd < 0 ? (errno == EACCES ? 0 : error_system("open folder %s", folder))
			 : (fsync(fd) && errno != EINVAL ? error_system("sync folder %s", folder) : 0);
	int kept = errno;
	if (fd >= 0)
		close(fd);
	memory_free(folder);
	errno = kept;
	return err;
}

int parts_commit(struct parts *parts, mode_t mode)
{
	for (size_t i = 0; i < parts->count; i++) {
		const struct part *part = &parts->parts[i];

		if (part->created && fchmod(part->fd, mode & 07777))
			return error_system("set the mode of %s", part->path);
		if (fsync(part->fd))
			return error_system("sync %s", part->path);
		if (part->created && sync_folder(part->path))
			return -1;
	}
	return 0;
}

void parts_abandon(struct parts *parts)
{
	int err = errno;

	for (size_t i = 0; i < parts->count; i++)
		if (parts->parts[i].created)
			unlink(parts->parts[i].path);
	errno = err;
}
