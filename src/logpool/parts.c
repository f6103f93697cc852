/*
 * parts.c: opens the files of a pool, locks them, and judges their sizes, headers and shutdown state.
 *
 * Everything is read from the files here, with pread into memory; nothing is mapped before it was found to be a pool.
 * The lock is flock's on the open file description, which the mapping inherits and keeps after parts_close.
 */
#include "logpool/parts.h"

#include "base/checked.h"
#include "base/error.h"
#include "logpool/format.h"
#include "logpool/header.h"
#include "logpool/listing.h"
#include "logpool/memory.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

int parts_open_file(struct part *part)
{
	struct stat status;

	/* Asked first, because opening a device can have effects. */
	if (stat(part->path, &status))
		return error_system("%s", part->path);
	if (!S_ISREG(status.st_mode))
		return error_set(EINVAL, "%s is no regular file", part->path);
	part->fd = open(part->path, O_RDWR | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (part->fd < 0)
		return error_system("open %s for reading and writing", part->path);
	return parts_lock_file(part);
}

int parts_lock(int fd, const char *path)
{
	if (!flock(fd, LOCK_EX | LOCK_NB))
		return 0;
	if (errno != EWOULDBLOCK)
		return error_system("flock %s", path);
	return error_set(EAGAIN, "%s is in use: this or another process has it open", path);
}

int parts_lock_file(struct part *part)
{
	struct stat status;

	if (parts_lock(part->fd, part->path))
		return -1;
	if (fstat(part->fd, &status))
		return error_system("stat %s", part->path);
	if (!S_ISREG(status.st_mode))
		return error_set(EINVAL, "%s is no regular file", part->path);
	part->size = (uint64_t)status.st_size;
	return 0;
}

int parts_check_size(const struct part *part)
{
	if (part->wanted && part->size != part->wanted)
		return error_set(NOT_A_POOL, "%s has %llu bytes, the pool set says %llu", part->path,
				 (unsigned long long)part->size, (unsigned long long)part->wanted);
	if (part->size < FORMAT_PART_MIN_BYTES)
		return error_set(NOT_A_POOL, "%s has %llu bytes, a pool has at least %d", part->path,
				 (unsigned long long)part->size, FORMAT_PART_MIN_BYTES);
	return 0;
}

int parts_read_page(const struct part *part, char *page)
{
	ssize_t got = pread(part->fd, page, HEADER_BYTES, 0);

	if (got == HEADER_BYTES)
		return 0;
	if (got < 0)
		return error_system("read %s", part->path);
	return error_set(NOT_A_POOL, "%s became shorter while it was read", part->path);
}

static size_t header_count(const struct parts *parts)
{
	return parts->single_header ? 1 : parts->count;
}

void parts_place(const struct parts *parts, const char *pages, size_t index, struct header_place *place)
{
	size_t count = header_count(parts);
	size_t previous = (index + count - 1) % count, next = (index + 1) % count;

	*place = (struct header_place){
		.set = header_set_uuid(pages),
		.own = header_uuid(pages + index * HEADER_BYTES),
		.previous = header_uuid(pages + previous * HEADER_BYTES),
		.next = header_uuid(pages + next * HEADER_BYTES),
		.first = header_uuid(pages),
		.single_header = parts->single_header,
	};
}

static int validate_headers(struct parts *parts, char *pages)
{
	for (size_t i = 0; i < header_count(parts); i++) {
		char *page = pages + i * HEADER_BYTES;

		if (parts_read_page(&parts->parts[i], page) || header_validate(page))
			return error_prefix("%s", parts->parts[i].path);
		parts->read_only |= header_forbids_writing(page);
	}
	for (size_t i = 0; i < header_count(parts); i++) {
		struct header_place place;

		parts_place(parts, pages, i, &place);
		if (!header_same_features(pages, pages + i * HEADER_BYTES))
			return error_set(NOT_A_POOL, "%s has other features than the first part", parts->parts[i].path);
		if (header_validate_place(pages + i * HEADER_BYTES, &place))
			return error_prefix("%s", parts->parts[i].path);
	}
	memcpy(parts->page, pages, HEADER_BYTES);
	return 0;
}

static int validate_shutdown_state(struct parts *parts)
{
	if (!header_has_shutdown_state(parts->page))
		return 0;
	if (parts_ask_devices(parts))
		return -1;
	if (shutdown_validate(parts->page, &parts->devices))
		return error_prefix("%s", parts->parts[0].path);
	return 0;
}

int parts_ask_devices(struct parts *parts)
{
	for (size_t i = 0; i < parts->count; i++)
		if (shutdown_add_device(&parts->devices, parts->parts[i].fd))
			return error_prefix("%s", parts->parts[i].path);
	return 0;
}

static int open_all(struct parts *parts)
{
	for (size_t i = 0; i < parts->count; i++)
		if (parts_open_file(&parts->parts[i]))
			return -1;
	if (parts->no_headers)
		return error_set(NOT_A_POOL, "a pool set with the option NOHDRS is no log pool");
	for (size_t i = 0; i < parts->count; i++)
		if (parts_check_size(&parts->parts[i]))
			return -1;
	char *pages = memory_new(header_count(parts) * HEADER_BYTES);
	if (!pages)
		return -1;
	int err = validate_headers(parts, pages);
	memory_free(pages);
	return err ? err : validate_shutdown_state(parts);
}

int parts_open(struct parts *parts, const char *path)
{
	if (listing_of_existing(parts, path, false))
		return -1;
	if (!open_all(parts))
		return 0;
	parts_close(parts);
	return -1;
}

void parts_close(struct parts *parts)
{
	int err = errno;

	for (size_t i = 0; i < parts->count; i++) {
		if (parts->parts[i].fd >= 0)
			close(parts->parts[i].fd);
		memory_free(parts->parts[i].path);
	}
	memory_free(parts->parts);
	parts->parts = NULL;
	parts->count = 0;
	if (parts->set_fd >= 0)
		close(parts->set_fd);
	parts->set_fd = -1;
	errno = err;
}

uint64_t parts_file_off(const struct parts *parts, size_t index)
{
	return index && !parts->single_header ? HEADER_BYTES : 0;
}

uint64_t parts_pool_bytes(const struct parts *parts, size_t index)
{
	return round_down(parts->parts[index].size, FORMAT_PAGE_BYTES) - parts_file_off(parts, index);
}
