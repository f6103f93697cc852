/*
 * logpool.h: libpmemlog behind a guard, as nvm.pmemlog calls it. Every function fails with -1 or NULL and a failure.
 */
#ifndef NATIVE_LOGPOOL_H
#define NATIVE_LOGPOOL_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

#if __has_include(<libpmemlog.h>)
#include <libpmemlog.h>
#else
/* The interface of every libpmemlog.so.1, for where the library is installed for us alone. */
typedef struct pmemlog PMEMlogpool;
#define PMEMLOG_MAJOR_VERSION 1
#define PMEMLOG_MINOR_VERSION 1
#define PMEMLOG_MIN_POOL      ((size_t)(1024 * 1024 * 2))
PMEMlogpool *pmemlog_create(const char *path, size_t poolsize, mode_t mode);
PMEMlogpool *pmemlog_open(const char *path);
void pmemlog_close(PMEMlogpool *plp);
int pmemlog_check(const char *path);
size_t pmemlog_nbyte(PMEMlogpool *plp);
int pmemlog_append(PMEMlogpool *plp, const void *buf, size_t count);
int pmemlog_appendv(PMEMlogpool *plp, const struct iovec *iov, int iovcnt);
long long pmemlog_tell(PMEMlogpool *plp);
void pmemlog_rewind(PMEMlogpool *plp);
void pmemlog_walk(PMEMlogpool *plp, size_t chunksize, int (*process_chunk)(const void *buf, size_t len, void *arg),
		  void *arg);
const char *pmemlog_check_version(unsigned major_required, unsigned minor_required);
const char *pmemlog_errormsg(void);
#endif

struct logpool;
typedef int (*logpool_chunk_fn)(const void *data, size_t bytes, void *arg);

struct logpool *logpool_create(const char *path, size_t bytes, unsigned mode);
struct logpool *logpool_open(const char *path);
/* 1: consistent, 0: not, -1: could not be read; the failure tells why for both. */
int logpool_check(const char *path);
/* The message, or NULL if the version will do. */
const char *logpool_check_version(unsigned major, unsigned minor);
/* 0, also when it was closed already, or another thread stays inside for longer than the patience; or -1 with
 * FAILURE_INSIDE. */
int logpool_close(struct logpool *pool, int patience_ms);
/* Closes it and frees the memory. Nobody may be inside. Leaves the thread's failure alone. */
void logpool_release(struct logpool *pool);

PMEMlogpool *logpool_handle(struct logpool *pool);
int64_t logpool_tell(struct logpool *pool);
int64_t logpool_nbyte(struct logpool *pool);
/* -1 also with FAILURE_INSIDE: from inside a callback of a walk on the same pool. */
int logpool_append(struct logpool *pool, const void *data, size_t bytes);
int logpool_appendv(struct logpool *pool, const struct iovec *pieces, size_t count);
int logpool_rewind(struct logpool *pool);
int logpool_walk(struct logpool *pool, size_t chunk_bytes, logpool_chunk_fn chunk, void *arg);
/* The number of bytes in the log, where they lie in memory until the pool is closed, and how often it was rewound. */
int64_t logpool_look(struct logpool *pool, const void **data, uint64_t *rewinds);
/* Copies up to bytes from an offset; fewer at the end. -1 also with ESTALE: rewound since. */
int64_t logpool_read(struct logpool *pool, uint64_t off, void *to, size_t bytes, uint64_t rewinds);

#endif
