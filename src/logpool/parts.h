/*
 * parts.h: the files of a pool: created or found, locked, sized, and their header pages read and judged.
 */
#ifndef LOGPOOL_PARTS_H
#define LOGPOOL_PARTS_H

#include "logpool/format.h"
#include "logpool/header.h"
#include "logpool/shutdown.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct part {
	char *path;
	int fd;          /* -1: not open */
	uint64_t size;   /* of the file, once it is open */
	uint64_t wanted; /* what the file must have or is to get; 0: whatever it has */
	bool created;    /* by this call: removed if it fails */
};

struct parts {
	struct part *parts;
	size_t count;
	int set_fd; /* the pool set file, locked; -1: a plain file */
	bool single_header;
	bool no_headers; /* the pool set says NOHDRS: refused, but a missing part comes first */
	bool read_only;  /* a header forbids writing */
	struct shutdown_devices devices;
	char page[HEADER_BYTES]; /* the header of part 0, as it was read or is to be written */
};

/*
 * Opens and locks all parts of the pool or pool set at path, reads and validates their headers. After 0 the caller
 * calls parts_close. -1 with NOT_A_POOL, EAGAIN (locked), ENOTSUP (replicas), EINVAL (no regular file), or errno.
 */
int parts_open(struct parts *parts, const char *path);

/*
 * Creates, locks and allocates the parts: a plain file of size bytes; for size 0 the existing file or the pool set
 * at path. Nothing is written into them. After 0 the caller calls parts_commit or parts_abandon, then parts_close.
 */
int parts_create(struct parts *parts, const char *path, uint64_t size, bool allocate_existing);

/* Makes up the headers and writes those of part 1 and behind; that of part 0 is left in page, for the medium. */
int parts_write_headers(struct parts *parts, bool with_shutdown_state);

/* Gives the created files their mode and makes files and folders durable; 0, or -1 with errno. */
int parts_commit(struct parts *parts, mode_t mode);
/* Removes the created files; keeps errno and the message. */
void parts_abandon(struct parts *parts);
/* Closes the descriptors; keeps errno and the message. The locks live on in the mapping. */
void parts_close(struct parts *parts);

/* Where the part's pages begin in its file, and how many bytes it gives to the pool. */
uint64_t parts_file_off(const struct parts *parts, size_t index);
uint64_t parts_pool_bytes(const struct parts *parts, size_t index);

/* Shared by parts.c and parts_create.c. */
int parts_open_file(struct part *part);
int parts_lock_file(struct part *part);
int parts_lock(int fd, const char *path);
int parts_check_size(const struct part *part);
int parts_read_page(const struct part *part, char *page);
int parts_ask_devices(struct parts *parts);
/* The place of a header among the header pages of all parts, one behind the other. */
void parts_place(const struct parts *parts, const char *pages, size_t index, struct header_place *place);

#endif
