/*
 * pool.h: an open pool: its address space, its medium and its log. What the public functions are made of.
 */
#ifndef LOGPOOL_POOL_H
#define LOGPOOL_POOL_H

#include "logpool/log.h"
#include "logpool/shutdown.h"
#include "logpool/space.h"

#include <assert.h>

/* Lies in the page of own state in front of the pool; the log's shared state lies in the page behind that. */
struct pool {
	struct log log;
	struct medium medium;
	struct space space;
	struct shutdown_devices devices;
	bool marked_open;
};

static_assert(sizeof(struct pool) <= SPACE_STATE_BYTES, "a pool's own state is one page");
static_assert(sizeof(struct log_shared) <= SPACE_STATE_BYTES, "a pool's shared state is one page");

static inline struct pool *pool_of_handle(void *handle)
{
	return space_own_state(handle);
}

static inline void *pool_handle(struct pool *pool)
{
	return pool->space.base;
}

/* NULL, or -1, with errno (NOT_A_POOL for what was read) and the message. size and mode as for pmemlog_create. */
struct pool *pool_create(const char *path, size_t size, mode_t mode);
struct pool *pool_open(const char *path);
void pool_close(struct pool *pool);
/* 0 if a writable open would succeed; writes nothing. */
int pool_check(const char *path);

#endif
