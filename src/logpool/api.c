/*
 * api.c: the 16 public functions.
 *
 * A call that succeeds leaves the message empty and errno as it was; one that fails sets both. NOT_A_POOL stays inside.
 */
#include "libpmemlog.h"

#include "base/error.h"
#include "base/export.h"
#include "logpool/format.h"
#include "logpool/memory.h"
#include "logpool/pool.h"
#include "logpool/tunables.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>

static struct log *log_of(PMEMlogpool *plp)
{
	return &pool_of_handle(plp)->log;
}

static PMEMlogpool *handle_or_error(struct pool *pool, int errno_before)
{
	if (!pool && errno == NOT_A_POOL)
		errno = EINVAL;
	if (!pool)
		return NULL;
	error_clear();
	errno = errno_before;
	return pool_handle(pool);
}

/*
 * open, close, fsync and msync are cancellation points. A thread that were cancelled in the middle would leave files,
 * locks and mappings behind that nobody can give back, so cancellation waits until the call is over.
 */
static int cancel_later(void)
{
	int state;

	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &state);
	return state;
}

static void cancel_as_before(int state)
{
	pthread_setcancelstate(state, NULL);
}

EXPORT PMEMlogpool *pmemlog_create(const char *path, size_t poolsize, mode_t mode)
{
	int errno_before = errno;
	int cancel_state = cancel_later();
	PMEMlogpool *handle = handle_or_error(pool_create(path, poolsize, mode), errno_before);

	cancel_as_before(cancel_state);
	return handle;
}

EXPORT PMEMlogpool *pmemlog_open(const char *path)
{
	int errno_before = errno;
	int cancel_state = cancel_later();
	PMEMlogpool *handle = handle_or_error(pool_open(path), errno_before);

	cancel_as_before(cancel_state);
	return handle;
}

EXPORT void pmemlog_close(PMEMlogpool *plp)
{
	int errno_before = errno;

	int cancel_state = cancel_later();

	error_clear();
	pool_close(pool_of_handle(plp));
	cancel_as_before(cancel_state);
	errno = errno_before;
}

EXPORT int pmemlog_check(const char *path)
{
	int errno_before = errno;
	int cancel_state = cancel_later();
	int err = pool_check(path);

	cancel_as_before(cancel_state);
	if (err) {
		if (errno != NOT_A_POOL)
			return -1;
		errno = EINVAL;
		return 0;
	}
	error_clear();
	errno = errno_before;
	return 1;
}

EXPORT size_t pmemlog_nbyte(PMEMlogpool *plp)
{
	return (size_t)log_capacity_bytes(log_of(plp));
}

EXPORT long long pmemlog_tell(PMEMlogpool *plp)
{
	return (long long)log_used_bytes(log_of(plp));
}

EXPORT int pmemlog_append(PMEMlogpool *plp, const void *buf, size_t count)
{
	struct iovec vector = {.iov_base = (void *)(uintptr_t)buf, .iov_len = count};

	error_clear();
	return log_append(log_of(plp), &vector, 1);
}

EXPORT int pmemlog_appendv(PMEMlogpool *plp, const struct iovec *iov, int iovcnt)
{
	if (iovcnt < 0)
		return error_set(EINVAL, "%d vectors to append", iovcnt);
	error_clear();
	return log_append(log_of(plp), iov, (size_t)iovcnt);
}

EXPORT void pmemlog_rewind(PMEMlogpool *plp)
{
	error_clear();
	log_rewind(log_of(plp));
}

EXPORT void pmemlog_walk(PMEMlogpool *plp, size_t chunksize,
			 int (*process_chunk)(const void *buf, size_t len, void *arg), void *arg)
{
	error_clear();
	log_walk(log_of(plp), chunksize, process_chunk, arg);
}

EXPORT const char *pmemlog_check_version(unsigned major_required, unsigned minor_required)
{
	int errno_before = errno;
	bool same_major = major_required == PMEMLOG_MAJOR_VERSION;

	if (same_major && minor_required <= PMEMLOG_MINOR_VERSION) {
		error_clear();
		return NULL;
	}
	if (same_major)
		error_set(EINVAL, "libpmemlog minor version mismatch (need %u, found %u)", minor_required,
			  PMEMLOG_MINOR_VERSION);
	else
		error_set(EINVAL, "libpmemlog major version mismatch (need %u, found %u)", major_required,
			  PMEMLOG_MAJOR_VERSION);
	errno = errno_before;
	return error_message();
}

EXPORT const char *pmemlog_errormsg(void)
{
	return error_message();
}

EXPORT void pmemlog_set_funcs(void *(*malloc_func)(size_t size), void (*free_func)(void *ptr),
			      void *(*realloc_func)(void *ptr, size_t size), char *(*strdup_func)(const char *s))
{
	memory_set_functions(malloc_func, free_func, realloc_func, strdup_func);
}

static int error_name(const char *name)
{
	return error_set(EINVAL, "there is no setting %s", name && name[0] ? name : "without a name");
}

EXPORT int pmemlog_ctl_get(PMEMlogpool *plp, const char *name, void *arg)
{
	enum tunable tunable = tunable_by_name(name);

	(void)plp;
	if (tunable == TUNABLE_COUNT)
		return error_name(name);
	if (!arg)
		return error_set(EINVAL, "%s: no place for its value", name);
	int value = tunable_value(tunable);
	memcpy(arg, &value, sizeof(value));
	error_clear();
	return 0;
}

EXPORT int pmemlog_ctl_set(PMEMlogpool *plp, const char *name, void *arg)
{
	enum tunable tunable = tunable_by_name(name);
	int value;

	(void)plp;
	if (tunable == TUNABLE_COUNT)
		return error_name(name);
	if (!arg)
		return error_set(EINVAL, "%s: no value", name);
	memcpy(&value, arg, sizeof(value));
	tunable_set(tunable, value);
	error_clear();
	return 0;
}

EXPORT int pmemlog_ctl_exec(PMEMlogpool *plp, const char *name, void *arg)
{
	(void)plp;
	(void)arg;
	return error_set(EINVAL, "nothing can be executed, and not %s", name ? name : "nothing");
}
