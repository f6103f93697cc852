/*
 * logpool.c: libpmemlog behind a guard.
 *
 * What Python must not be able to do is refused here: any use of a closed pool, closing one from inside its own walk,
 * an append or a rewind from there (a libpmemlog that is not ours would hang).
 */
#include "logpool.h"

#include "guard.h"

#include <errno.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

struct logpool {
	struct guard guard;
	PMEMlogpool *plp;
	_Atomic uint64_t rewinds;
};

/* What the library has to say about its last call. */
static int library_failure(void)
{
	int err = errno ? errno : EIO;
	const char *text = pmemlog_errormsg();

	return failure_set(err, text && text[0] ? text : strerror(err));
}

static struct logpool *wrap(struct logpool *pool, PMEMlogpool *plp)
{
	if (!plp) {
		library_failure();
		free(pool);
		return NULL;
	}
	pool->plp = plp;
	guard_init(&pool->guard, true);
	return pool;
}

static struct logpool *new_pool(void)
{
	struct logpool *pool = calloc(1, sizeof(*pool));

	if (!pool)
		failure_set(ENOMEM, "no memory for a pool");
	return pool;
}

struct logpool *logpool_create(const char *path, size_t bytes, unsigned mode)
{
	struct logpool *pool = new_pool();

	return pool ? wrap(pool, pmemlog_create(path, bytes, (mode_t)mode)) : NULL;
}

struct logpool *logpool_open(const char *path)
{
	struct logpool *pool = new_pool();

	return pool ? wrap(pool, pmemlog_open(path)) : NULL;
}

int logpool_check(const char *path)
{
	int verdict = pmemlog_check(path);

	if (verdict <= 0)
		library_failure();
	return verdict;
}

const char *logpool_check_version(unsigned major, unsigned minor)
{
	const char *text = pmemlog_check_version(major, minor);

	if (!text)
		return NULL;
	failure_set(EINVAL, text);
	return failure_text();
}

int logpool_close(struct logpool *pool, int patience_ms)
{
	int turn = guard_shut(&pool->guard, patience_ms, NULL, NULL);

	if (turn == 1)
		pmemlog_close(pool->plp);
	return turn < 0 ? -1 : 0;
}

void logpool_release(struct logpool *pool)
{
	if (guard_shut(&pool->guard, PATIENCE_ENDLESS, NULL, NULL) == 1)
		pmemlog_close(pool->plp);
	free(pool);
}

static int enter_to_change(struct logpool *pool, struct stay *stay)
{
	if (guard_is_calling(&pool->guard))
		return failure_set(FAILURE_INSIDE, "the log cannot be changed from inside a walk through it");
	return guard_enter(&pool->guard, stay);
}

PMEMlogpool *logpool_handle(struct logpool *pool)
{
	struct stay stay;

	if (guard_enter(&pool->guard, &stay))
		return NULL;
	guard_leave(&stay);
	return pool->plp;
}

int64_t logpool_tell(struct logpool *pool)
{
	struct stay stay;

	if (guard_enter(&pool->guard, &stay))
		return -1;
	int64_t used = pmemlog_tell(pool->plp);
	guard_leave(&stay);
	return used;
}

int64_t logpool_nbyte(struct logpool *pool)
{
	struct stay stay;

	if (guard_enter(&pool->guard, &stay))
		return -1;
	int64_t capacity = (int64_t)pmemlog_nbyte(pool->plp);
	guard_leave(&stay);
	return capacity;
}

int logpool_append(struct logpool *pool, const void *data, size_t bytes)
{
	struct stay stay;

	if (enter_to_change(pool, &stay))
		return -1;
	int err = pmemlog_append(pool->plp, data, bytes);
	if (err)
		library_failure();
	guard_leave(&stay);
	return err;
}

int logpool_appendv(struct logpool *pool, const struct iovec *pieces, size_t count)
{
	struct stay stay;

	if (count > INT_MAX)
		return failure_set(EINVAL, "too many pieces for one append");
	if (enter_to_change(pool, &stay))
		return -1;
	int err = pmemlog_appendv(pool->plp, pieces, (int)count);
	if (err)
		library_failure();
	guard_leave(&stay);
	return err;
}

int logpool_rewind(struct logpool *pool)
{
	struct stay stay;

	if (enter_to_change(pool, &stay))
		return -1;
	/* Before, so that no reader takes new bytes for those it began with. */
	atomic_fetch_add(&pool->rewinds, 1);
	/* It returns nothing; errno is how it fails. */
	errno = 0;
	pmemlog_rewind(pool->plp);
	int err = errno ? library_failure() : 0;
	guard_leave(&stay);
	return err;
}

struct visit {
	logpool_chunk_fn chunk;
	void *arg;
	bool called;
};

static int visit_chunk(const void *data, size_t bytes, void *arg)
{
	struct visit *visit = arg;

	visit->called = true;
	return visit->chunk(data, bytes, visit->arg);
}

static int walk(struct logpool *pool, size_t chunk_bytes, struct visit *visit)
{
	struct stay stay;
	int err = 0;

	if (guard_enter(&pool->guard, &stay))
		return -1;
	guard_calls_begin(&stay);
	errno = 0;
	pmemlog_walk(pool->plp, chunk_bytes, visit_chunk, visit);
	/* An empty log has no chunks; a walk in one piece always has one. */
	if (!visit->called && !chunk_bytes)
		err = library_failure();
	guard_calls_end(&stay);
	guard_leave(&stay);
	return err;
}

int logpool_walk(struct logpool *pool, size_t chunk_bytes, logpool_chunk_fn chunk, void *arg)
{
	struct visit visit = {.chunk = chunk, .arg = arg};

	return walk(pool, chunk_bytes, &visit);
}

struct look {
	struct logpool *pool;
	const void *data;
	size_t bytes;
	uint64_t rewinds;
};

static int keep_look(const void *data, size_t bytes, void *arg)
{
	struct look *look = arg;

	look->data = data;
	look->bytes = bytes;
	look->rewinds = atomic_load(&look->pool->rewinds);
	return 0;
}

int64_t logpool_look(struct logpool *pool, const void **data, uint64_t *rewinds)
{
	struct look look = {.pool = pool};
	struct visit visit = {.chunk = keep_look, .arg = &look};

	if (walk(pool, 0, &visit))
		return -1;
	*data = look.data;
	*rewinds = look.rewinds;
	return (int64_t)look.bytes;
}

struct copy {
	struct logpool *pool;
	uint64_t off, rewinds;
	void *to;
	size_t bytes;
	bool stale;
};

static int copy_part(const void *data, size_t bytes, void *arg)
{
	struct copy *copy = arg;

	copy->stale = atomic_load(&copy->pool->rewinds) != copy->rewinds;
	size_t there = copy->off < bytes && !copy->stale ? bytes - (size_t)copy->off : 0;
	copy->bytes = there < copy->bytes ? there : copy->bytes;
	if (copy->bytes)
		memcpy(copy->to, (const char *)data + copy->off, copy->bytes);
	return 0;
}

int64_t logpool_read(struct logpool *pool, uint64_t off, void *to, size_t bytes, uint64_t rewinds)
{
	struct copy copy = {.pool = pool, .off = off, .rewinds = rewinds, .to = to, .bytes = bytes};
	struct visit visit = {.chunk = copy_part, .arg = &copy};

	if (walk(pool, 0, &visit))
		return -1;
	if (copy.stale)
		return failure_set(ESTALE, "the log was rewound meanwhile");
	return (int64_t)copy.bytes;
}
