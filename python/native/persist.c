/*
 * persist.c: one thread for each stream that makes durable what an event loop asked for.
 *
 * The loop must not wait for a medium, and a sync takes as long for one entry as for a thousand. So the loop leaves the
 * highest timestamp that it wants, and whoever watches is told by an eventfd that there is news; what is asked for
 * while a sync runs shares the next one.
 *
 * Threads  the thread knows nothing of Python and takes none of its locks. It ends in persist_end, after what was asked
 *          for is done.
 */
#include "part.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>

enum { WATCHERS = 64 };

struct persister {
	pthread_t thread;
	pthread_mutex_t mutex;
	pthread_cond_t asked;
	uint64_t wanted, done;
	int err;
	bool ends;
	int watchers[WATCHERS];
	size_t watcher_count;
};

static void *make_durable(void *argument)
{
	struct stream *stream = argument;
	struct persister *persister = atomic_load(&stream->persister);

	pthread_mutex_lock(&persister->mutex);
	for (;;) {
		while (!persister->ends && (persister->wanted <= persister->done || persister->err))
			pthread_cond_wait(&persister->asked, &persister->mutex);
		if (persister->wanted <= persister->done || persister->err)
			break;
		uint64_t wanted = persister->wanted;
		pthread_mutex_unlock(&persister->mutex);
		int err = pmemstream_wait_persisted(stream->stream, wanted, UINT64_MAX) ? errno : 0;
		pthread_mutex_lock(&persister->mutex);
		persister->err = err;
		if (!err)
			persister->done = wanted;
		for (size_t i = 0; i < persister->watcher_count; i++)
			eventfd_write(persister->watchers[i], 1);
	}
	pthread_mutex_unlock(&persister->mutex);
	return NULL;
}

static struct persister *start(struct stream *stream)
{
	struct persister *persister = calloc(1, sizeof(*persister));
	sigset_t all, former;

	if (!persister) {
		failure_set(ENOMEM, "no memory for a helper thread");
		return NULL;
	}
	pthread_mutex_init(&persister->mutex, NULL);
	pthread_cond_init(&persister->asked, NULL);
	atomic_store(&stream->persister, persister);
	/* Signals are for the program's own threads, but those of a fault of its own. */
	sigfillset(&all);
	sigdelset(&all, SIGSEGV);
	sigdelset(&all, SIGBUS);
	sigdelset(&all, SIGFPE);
	sigdelset(&all, SIGILL);
	pthread_sigmask(SIG_SETMASK, &all, &former);
	int err = pthread_create(&persister->thread, NULL, make_durable, stream);
	pthread_sigmask(SIG_SETMASK, &former, NULL);
	if (!err)
		return persister;
	atomic_store(&stream->persister, NULL);
	free(persister);
	failure_set(err, "no helper thread can be started");
	return NULL;
}

int persist_watch(struct stream *stream, int fd)
{
	struct stay stay;
	int err = 0;

	if (guard_enter(&stream->guard, &stay))
		return -1;
	pthread_mutex_lock(&stream->parts_mutex);
	struct persister *persister = atomic_load(&stream->persister);
	if (!persister)
		persister = start(stream);
	pthread_mutex_unlock(&stream->parts_mutex);
	if (!persister) {
		guard_leave(&stay);
		return -1;
	}
	pthread_mutex_lock(&persister->mutex);
	if (persister->watcher_count < WATCHERS)
		persister->watchers[persister->watcher_count++] = fd;
	else
		err = failure_set(EMFILE, "more than 64 event loops append to one stream");
	pthread_mutex_unlock(&persister->mutex);
	guard_leave(&stay);
	return err;
}

int persist_unwatch(struct stream *stream, int fd)
{
	struct stay stay;

	if (guard_enter(&stream->guard, &stay))
		return 0;
	struct persister *persister = atomic_load(&stream->persister);
	if (persister) {
		pthread_mutex_lock(&persister->mutex);
		for (size_t i = 0; i < persister->watcher_count; i++)
			if (persister->watchers[i] == fd)
				persister->watchers[i--] = persister->watchers[--persister->watcher_count];
		pthread_mutex_unlock(&persister->mutex);
	}
	guard_leave(&stay);
	return 0;
}

int persist_request(struct stream *stream, uint64_t timestamp)
{
	struct stay stay;

	if (guard_enter(&stream->guard, &stay))
		return -1;
	struct persister *persister = atomic_load(&stream->persister);
	if (persister) {
		pthread_mutex_lock(&persister->mutex);
		if (timestamp > persister->wanted)
			persister->wanted = timestamp;
		pthread_cond_signal(&persister->asked);
		pthread_mutex_unlock(&persister->mutex);
	}
	guard_leave(&stay);
	return persister ? 0 : failure_set(EINVAL, "nobody watches");
}

int persist_state(struct stream *stream, uint64_t *done, int *err)
{
	struct stay stay;

	if (guard_enter(&stream->guard, &stay))
		return -1;
	struct persister *persister = atomic_load(&stream->persister);
	if (persister) {
		pthread_mutex_lock(&persister->mutex);
		*done = persister->done;
		*err = persister->err;
		pthread_mutex_unlock(&persister->mutex);
	}
	guard_leave(&stay);
	return 0;
}

void persist_end(struct stream *stream)
{
	struct persister *persister = atomic_load(&stream->persister);

	if (!persister)
		return;
	pthread_mutex_lock(&persister->mutex);
	persister->ends = true;
	pthread_cond_signal(&persister->asked);
	pthread_mutex_unlock(&persister->mutex);
	pthread_join(persister->thread, NULL);
	pthread_mutex_destroy(&persister->mutex);
	pthread_cond_destroy(&persister->asked);
	atomic_store(&stream->persister, NULL);
	free(persister);
}
