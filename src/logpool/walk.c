/*
 * walk.c: shows the log's content to a callback, in place.
 *
 * A walk sees what was durable when it began. Appends go on beside it, they only store behind that; a rewind waits
 * until all walks of its process are over, because the appends after it overwrite what they look at.
 *
 * Threads  any number of walks at a time, nested too. The walks of each thread are a list on its stack, by which an
 *          append or a rewind from inside a callback is refused: the rewind would wait for itself.
 * Forks    the lock is each process's own: a child that was killed inside a walk must not stop its parent. A child
 *          makes the lock anew, since the threads that may have held it are not there.
 */
#include "logpool/walk.h"

#include "base/error.h"
#include "logpool/format.h"
#include "logpool/lock.h"

#include <errno.h>
#include <unistd.h>

struct walk {
	struct log *log;
	pid_t pid;
	struct walk *outer;
};

static _Thread_local struct walk *innermost;

int walk_attach(struct log *log)
{
	int err = pthread_rwlock_init(&log->walkers, NULL);

	atomic_init(&log->walkers_pid, getpid());
	return err ? error_set(err, "a lock cannot be made") : 0;
}

void walk_detach(struct log *log)
{
	pthread_rwlock_destroy(&log->walkers);
}

/* Returns this process's id. */
static pid_t own_lock(struct log *log)
{
	static pthread_mutex_t after_fork = PTHREAD_MUTEX_INITIALIZER;
	pid_t pid = getpid();

	if (atomic_load_explicit(&log->walkers_pid, memory_order_acquire) == pid)
		return pid;
	pthread_mutex_lock(&after_fork);
	if (atomic_load_explicit(&log->walkers_pid, memory_order_relaxed) != pid) {
		pthread_rwlock_init(&log->walkers, NULL);
		atomic_store_explicit(&log->walkers_pid, pid, memory_order_release);
	}
	pthread_mutex_unlock(&after_fork);
	return pid;
}

void walk_exclude(struct log *log)
{
	own_lock(log);
	pthread_rwlock_wrlock(&log->walkers);
}

void walk_admit(struct log *log)
{
	pthread_rwlock_unlock(&log->walkers);
}

bool log_is_walking(const struct log *log)
{
	for (const struct walk *walk = innermost; walk; walk = walk->outer)
		if (walk->log == log)
			return true;
	return false;
}

/* Also runs when the callback ends the thread, throws, or is cancelled. */
static void walk_end(struct walk *walk)
{
	innermost = walk->outer;
	if (walk->pid == getpid())
		pthread_rwlock_unlock(&walk->log->walkers);
}

int log_walk(struct log *log, size_t chunk_bytes, int (*callback)(const void *data, size_t bytes, void *context),
	     void *context)
{
	pid_t pid = own_lock(log);
	int err = pthread_rwlock_rdlock(&log->walkers);

	if (err)
		return error_set(err, "too many walks at a time");
	__attribute__((cleanup(walk_end))) struct walk walk = {.log = log, .pid = pid, .outer = innermost};
	innermost = &walk;

	const char *data = log->medium->base + LOG_START_OFF;
	size_t used = (size_t)log_used_bytes(log);
	if (!chunk_bytes) {
		callback(data, used, context);
		return 0;
	}
	for (size_t off = 0; off < used;) {
		size_t bytes = used - off < chunk_bytes ? used - off : chunk_bytes;

		if (!callback(data + off, bytes, context))
			break;
		off += bytes;
	}
	return 0;
}
