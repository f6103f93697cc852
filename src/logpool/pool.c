/*
 * pool.c: creates, opens, closes and checks pools.
 *
 *   open     parts found, locked and judged -> mapped -> descriptor judged -> marked open
 *   create   files made -> mapped -> descriptor -> headers of the parts, the first one last -> marked open -> mode set
 *   close    marked closed, unless a write-back failed; unmapped, which gives the locks back
 *
 * Crash   during create: the first part has no header, or one that does not check, until everything else is durable.
 *         During open or close: only the shutdown state is stored to, see shutdown.c.
 */
#include "logpool/pool.h"

#include "base/error.h"
#include "logpool/format.h"
#include "logpool/parts.h"
#include "logpool/tunables.h"

#include <errno.h>
#include <string.h>

static struct log_shared *shared_of(struct pool *pool)
{
	return space_shared_state(pool->space.base);
}

/* Maps the parts and describes them as a medium; NULL with errno. */
static struct pool *map_pool(const struct parts *parts, enum space_mode mode)
{
	struct space space;

	if (space_map(&space, parts, mode))
		return NULL;
	struct pool *pool = space_own_state(space.base);
	pool->space = space;
	pool->devices = parts->devices;
	if (!medium_from_range(&pool->medium, space.base, space.size, space.granularity, mode != SPACE_LOOK))
		return pool;
	space_unmap(&space);
	return NULL;
}

static void unmap_pool(struct pool *pool)
{
	struct space space = pool->space;
	int err = errno;

	medium_close(&pool->medium);
	space_unmap(&space);
	errno = err;
}

static int mark_open(struct pool *pool, const struct parts *parts)
{
	if (!header_has_shutdown_state(parts->page))
		return 0;
	pool->devices = parts->devices;
	if (shutdown_mark_open(&pool->medium, &pool->devices))
		return -1;
	pool->marked_open = true;
	return 0;
}

static void prefault(struct pool *pool, enum tunable when)
{
	if (tunable_value(when))
		medium_prefault(&pool->medium);
}

static int start(struct pool *pool, const struct parts *parts)
{
	if (log_attach(&pool->log, shared_of(pool), &pool->medium, parts->read_only))
		return -1;
	if (!mark_open(pool, parts))
		return 0;
	log_detach(&pool->log);
	return -1;
}

struct pool *pool_open(const char *path)
{
	struct parts parts;

	if (parts_open(&parts, path))
		return NULL;
	bool vanish = tunable_value(TUNABLE_COPY_ON_WRITE_AT_OPEN);
	struct pool *pool = map_pool(&parts, vanish ? SPACE_VANISH : SPACE_SHARED);
	if (pool && start(pool, &parts)) {
		unmap_pool(pool);
		pool = NULL;
	}
	if (!pool)
		error_prefix("%s", path);
	else
		prefault(pool, TUNABLE_PREFAULT_AT_OPEN);
	parts_close(&parts);
	return pool;
}

static int format(struct pool *pool, struct parts *parts)
{
	struct medium *medium = &pool->medium;

	if (log_format(medium) || parts_write_headers(parts, tunable_value(TUNABLE_SDS_AT_CREATE)))
		return -1;
	/* The first header makes the pool one, so everything else is durable before. */
	medium_copy(medium, medium->base, parts->page, HEADER_BYTES);
	return medium_persist(medium, medium->base, HEADER_BYTES);
}

static struct pool *create_on(struct parts *parts, mode_t mode)
{
	struct pool *pool = map_pool(parts, SPACE_SHARED);

	if (!pool)
		return NULL;
	if (format(pool, parts) || start(pool, parts)) {
		unmap_pool(pool);
		return NULL;
	}
	prefault(pool, TUNABLE_PREFAULT_AT_CREATE);
	if (!parts_commit(parts, mode))
		return pool;
	log_detach(&pool->log);
	unmap_pool(pool);
	return NULL;
}

struct pool *pool_create(const char *path, size_t size, mode_t mode)
{
	struct parts parts;

	if (parts_create(&parts, path, size, tunable_value(TUNABLE_FALLOCATE_AT_CREATE)))
		return NULL;
	struct pool *pool = create_on(&parts, mode);
	if (!pool) {
		error_prefix("create %s", path);
		parts_abandon(&parts);
	}
	parts_close(&parts);
	return pool;
}

void pool_close(struct pool *pool)
{
	/* A log whose write-back failed stays marked, and the caller was told when it failed. */
	if (pool->marked_open && !log_has_failed(&pool->log))
		shutdown_mark_closed(&pool->medium, &pool->devices);
	log_detach(&pool->log);
	unmap_pool(pool);
}

int pool_check(const char *path)
{
	struct parts parts;
	struct log log;
	struct log_shared shared;

	if (parts_open(&parts, path))
		return -1;
	struct pool *pool = map_pool(&parts, SPACE_LOOK);
	int err = !pool || log_attach(&log, &shared, &pool->medium, true) ? -1 : 0;
	if (err)
		error_prefix("%s", path);
	else
		log_detach(&log);
	if (pool)
		unmap_pool(pool);
	parts_close(&parts);
	return err;
}
