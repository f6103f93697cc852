/*
 * libpmemlog.h: an append-only log of bytes in a file, on persistent memory or on any file system.
 *
 * A drop-in for the library of that name that PMDK ended with: the same functions, the same pool files. See
 * libpmemlog(7) for what differs, libpmemlog(3) for a tour. New programs should look at libpmemstream, which has
 * records and checksums; libpmemlog has neither.
 *
 * What holds for all functions:
 *  - A failing call returns NULL or -1, sets errno, and leaves a message for pmemlog_errormsg. A successful one leaves
 *    the message empty and errno as it was.
 *  - Functions on a pool may be called from any number of threads, pmemlog_close excepted. A pool stays usable in the
 *    children of fork, which append to the same log.
 *  - "Durable" means that a power cut right after the return takes nothing back. On page media, where durability is
 *    an msync, a failed msync fails the call with its errno, and every later append and rewind with EIO.
 */
#ifndef LIBPMEMLOG_H
#define LIBPMEMLOG_H

#include <stddef.h>
#include <sys/types.h>
#include <sys/uio.h>

#ifdef __cplusplus
extern "C" {
#endif

/* An open pool. The handle is the address at which the pool is mapped; what lies there is not for programs. */
typedef struct pmemlog PMEMlogpool;

/* The interface this header describes, for pmemlog_check_version. */
#define PMEMLOG_MAJOR_VERSION 1
#define PMEMLOG_MINOR_VERSION 1

#define PMEMLOG_MIN_POOL ((size_t)(1024 * 1024 * 2)) /* bytes of the smallest pool */
#define PMEMLOG_MIN_PART ((size_t)(1024 * 1024 * 2)) /* bytes of the smallest part of a pool set */

/*
 * Creates a pool and opens it.
 *
 * path      a file that does not exist yet; with poolsize 0, an existing file whose first 4096 bytes are zero and that
 * has at least PMEMLOG_MIN_POOL bytes, or a pool set file. poolsize  bytes, at least PMEMLOG_MIN_POOL, or 0. All of it
 * is allocated; what is no multiple of 4096 is left unused. mode      permissions of the files that are made, taken
 * literally: the umask does not apply. Existing files keep theirs.
 *
 * Returns the open pool, whose log is empty, durably; or NULL, and files that it made are gone:
 *   EINVAL   too small; not a regular file; a malformed pool set, or one with parts that fit no log pool
 *   EEXIST   path exists and poolsize is not 0, or the file is not empty; a directory is named twice in the pool set
 *   ENOENT   poolsize is 0 and path, or a path in the pool set, does not exist; or a folder of the path does not
 *   EFAULT   path is NULL and poolsize is not 0
 *   EAGAIN   the file, or a part, is locked by somebody
 *   ENOTSUP  the pool set has replicas
 *   ENOSPC, EFBIG, ENOMEM, EACCES, EROFS and others of open, posix_fallocate, mmap and fsync
 */
PMEMlogpool *pmemlog_create(const char *path, size_t poolsize, mode_t mode);

/*
 * Opens an existing pool, by its file or its pool set file, and locks it against every other opening (flock) until it
 * is closed here and in all children of fork.
 *
 * Returns the open pool, or NULL:
 *   EINVAL   no valid log pool, or not on this machine; no regular file; a malformed pool set; path is NULL
 *   ENOENT   path or a part does not exist
 *   EACCES   no permission to read and write;  EROFS  the file system is read-only
 *   EAGAIN   the pool is open already, in this or another process
 *   ENOTSUP  the pool set has replicas
 *   ENOMEM and others of open and mmap
 */
PMEMlogpool *pmemlog_open(const char *path);

/* Closes a pool. No other call may use it at the same time or afterwards. Does not fail. */
void pmemlog_close(PMEMlogpool *plp);

/*
 * Says whether pmemlog_open would accept the pool at path. Changes nothing, but needs the permission to write, and
 * locks.
 *
 * Returns 1: valid. 0: it was read and is no valid pool (size, header, links, shutdown state, descriptor, pool set);
 * the message tells why, errno is EINVAL. -1: it could not be read: ENOENT, EACCES, EROFS, EAGAIN (open somewhere),
 * ENOTSUP (replicas), EINVAL (no regular file, or path is NULL), ENOMEM and others of open and mmap.
 */
int pmemlog_check(const char *path);

/* How many bytes the log can hold. Does not fail. */
size_t pmemlog_nbyte(PMEMlogpool *plp);

/*
 * Appends count bytes from buf, which stays the caller's and may be NULL for 0 bytes. All or nothing, for readers and
 * for power cuts. Durable on return. Appends of several threads go one after the other and share their write-back.
 *
 * Cost: two fences on byte and cache-line media; at most two syncs on page media, fewer per append under concurrency;
 * none for 0 bytes.
 *
 * Returns 0, or -1 and the log is as before:
 *   ENOSPC   more than is free; also for 0 bytes when the log is full
 *   EROFS    the pool has features that forbid this library to write
 *   EDEADLK  called from a callback of pmemlog_walk on the same pool
 *   EIO      an earlier write-back failed; or the errno of the msync that failed now: then the bytes may or may not
 *            be there after the next open
 */
int pmemlog_append(PMEMlogpool *plp, const void *buf, size_t count);

/*
 * The same with the bytes of iovcnt vectors, one behind the other, as one append. EINVAL when iovcnt is negative;
 * ENOSPC also when the lengths overflow a size_t.
 */
int pmemlog_appendv(PMEMlogpool *plp, const struct iovec *iov, int iovcnt);

/* The number of bytes in the log, all of them durable. Takes no lock. Does not fail. */
long long pmemlog_tell(PMEMlogpool *plp);

/*
 * Empties the log, durably, after all running walks of this process are over. One fence or one sync. Has no return
 * value: on failure errno is EROFS, EDEADLK or EIO as with pmemlog_append, and the log is as before.
 */
void pmemlog_rewind(PMEMlogpool *plp);

/*
 * Shows the log, as it was when the walk began, to process_chunk, in place and in order.
 *
 * chunksize 0: one call with all of it, also when it is empty. Else: calls with chunksize bytes each, the last with
 * what is left, until process_chunk returns 0. buf is valid and constant until process_chunk returns; arg is passed on.
 *
 * Appends of other threads go on meanwhile; from inside process_chunk an append or rewind on the same pool gets
 * EDEADLK.
 */
void pmemlog_walk(PMEMlogpool *plp, size_t chunksize, int (*process_chunk)(const void *buf, size_t len, void *arg),
		  void *arg);

/* NULL if a program made for version major_required.minor_required of the interface can run; else why not, as text that
 * is valid until the thread's next call. errno is left alone. */
const char *pmemlog_check_version(unsigned major_required, unsigned minor_required);

/* The message of the calling thread's last call: empty if it succeeded. Valid until the next call; never NULL. */
const char *pmemlog_errormsg(void);

/*
 * Replaces the allocator of pmemlog_create, _open, _close and _check; NULL stands for the default. Only while no pool
 * is open and no other call runs. Nothing else of this library's allocates. libpmem2 keeps to malloc.
 */
void pmemlog_set_funcs(void *(*malloc_func)(size_t size), void (*free_func)(void *ptr),
		       void *(*realloc_func)(void *ptr, size_t size), char *(*strdup_func)(const char *s));

/*
 * Reads, sets, executes a setting of the library; see pmemlog_ctl_get(3) for their names. arg points to an int. plp may
 * be NULL: all settings are global, and act on later calls of pmemlog_create and pmemlog_open. 0, or -1 with EINVAL: no
 * such setting, arg is NULL; always for pmemlog_ctl_exec, since there is nothing to execute.
 */
int pmemlog_ctl_get(PMEMlogpool *plp, const char *name, void *arg);
int pmemlog_ctl_set(PMEMlogpool *plp, const char *name, void *arg);
int pmemlog_ctl_exec(PMEMlogpool *plp, const char *name, void *arg);

#ifdef __cplusplus
}
#endif

#endif
