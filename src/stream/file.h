/*
 * file.h: the file of a stream that is opened by path: made, mapped with room to grow, and locked.
 */
#ifndef STREAM_FILE_H
#define STREAM_FILE_H

#include "medium/medium.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct pmem2_map;
struct pmem2_vm_reservation;

enum { FILE_MAPS = 64 };

struct file {
	char *path;
	int fd;      /* what is mapped */
	int lock_fd; /* of an open file description of its own, which is never mapped: a mapping keeps its description
			alive */
	bool writable;
	bool locked;    /* as the writer */
	uint64_t bytes; /* of the file, as far as it is mapped */
	struct pmem2_vm_reservation *reservation;
	struct pmem2_map *maps[FILE_MAPS];
	unsigned map_count;
	struct file *next, **link; /* all open ones, for fork */
};

/* Makes a file of zeros, all of it written, its name durable, and opens it, with the lock of the writer taken before it
 * had a byte. 0; or -1 with EEXIST where there is one, or EWOULDBLOCK, EEXIST where somebody else was faster to lock
 * the new one: it is his then. Otherwise nothing is left on failure. */
int file_create(struct file *file, const char *path, uint64_t bytes, mode_t mode);
/* After file_create: removes the file, if it is still locked. Keeps errno. */
void file_remove(struct file *file);

/* Opens a file. 0; or -1 with errno, EINVAL for what is no regular file. */
int file_open(struct file *file, const char *path, bool writable);
/* Opens a file for writing that is open already, whatever its path names by now. */
int file_open_same(struct file *file, const struct file *other);
/* Unmaps, unlocks, closes. */
void file_close(struct file *file);

/* After the lock was taken: how large the file is now, and whether it still has a name (ENOENT). */
int file_look_again(struct file *file);
/* Gives an empty file, which this process has locked, its size: as file_create does. */
int file_fill(struct file *file, uint64_t bytes);

/* A medium of the file's map. */
int file_medium(struct file *file, struct medium *medium);

/* A medium of its first page alone. */
int file_medium_page(struct file *file, struct medium *medium);

/* Grows the file and the map to a size, a multiple of the page size; pointers stay good. The size is durable on return.
 * 0; or -1 with ENOSPC, ENOTSUP (no address space was reserved), EFBIG and the like, and the file as it was. */
int file_grow(struct file *file, uint64_t bytes);
/* Maps what another process made the file grow to. */
int file_map_more(struct file *file, uint64_t bytes);

/* The locks: the first while the file is open for writing, the second once its volatile area can be believed. */
enum file_lock { FILE_LOCK_WRITER, FILE_LOCK_READY };
/* 0; or -1 with EWOULDBLOCK where another process, or this one through another open, holds it. */
int file_lock(struct file *file, enum file_lock lock);
/* 1: somebody else holds it, 0: nobody, -1: errno. */
void file_unlock(struct file *file, enum file_lock lock);
int file_is_locked(struct file *file, enum file_lock lock);

#endif
