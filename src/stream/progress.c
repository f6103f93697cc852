/*
 * progress.c: who sleeps, and how he is woken.
 *
 * Locks    progress.mutex guards events and the wakers. Wakers are called without it, one at a time and marked as
 *          being called, so that who gives a waker up waits until it is not used any more.
 * Handles  a data mover may call its waker late, when the stream was deleted: it gets a handle of a table that is
 *          never freed, and the handle knows under its own mutex whether the stream still lives. A handle that was
 *          given to another stream meanwhile wakes that one for nothing, which is harmless.
 */
#include "stream/progress.h"

#include "base/error.h"

#include <errno.h>
#include <libminiasync.h>
#include <linux/membarrier.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

struct waker {
	struct waker *next;
	uint64_t serial;
	struct future_waker waker;
};

/* One progress_wake that is calling wakers; on its stack, in a list under the mutex. */
struct wake_round {
	struct wake_round *next;
	struct waker *left;
	uint64_t calling; /* serial; 0: between two calls */
	pthread_t thread;
};

struct wake_handle {
	pthread_mutex_t mutex;
	struct pmemstream *stream;
	struct wake_handle *next_free;
};

bool progress_has_membarrier;

static pthread_mutex_t handles_mutex = PTHREAD_MUTEX_INITIALIZER;
static struct wake_handle *free_handles;

__attribute__((constructor)) static void ask_kernel(void)
{
	progress_has_membarrier = !syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0);
}

static struct wake_handle *take_handle(struct pmemstream *stream)
{
	pthread_mutex_lock(&handles_mutex);
	struct wake_handle *handle = free_handles;
	if (handle)
		free_handles = handle->next_free;
	pthread_mutex_unlock(&handles_mutex);

	if (!handle) {
		handle = calloc(1, sizeof(*handle));
		if (!handle)
			return NULL;
		pthread_mutex_init(&handle->mutex, NULL);
	}
	pthread_mutex_lock(&handle->mutex);
	handle->stream = stream;
	pthread_mutex_unlock(&handle->mutex);
	return handle;
}

static void give_handle_back(struct wake_handle *handle)
{
	pthread_mutex_lock(&handle->mutex);
	handle->stream = NULL;
	pthread_mutex_unlock(&handle->mutex);
	pthread_mutex_lock(&handles_mutex);
	handle->next_free = free_handles;
	free_handles = handle;
	pthread_mutex_unlock(&handles_mutex);
}

static void wake_by_handle(void *data)
{
	struct wake_handle *handle = data;

	pthread_mutex_lock(&handle->mutex);
	if (handle->stream)
		progress_wake(handle->stream);
	pthread_mutex_unlock(&handle->mutex);
}

void progress_mover_notifier(struct pmemstream *stream, struct future_notifier *notifier)
{
	*notifier = (struct future_notifier){
		.waker = {.data = stream->progress.handle, .wake = wake_by_handle},
		.notifier_used = FUTURE_NOTIFIER_NONE,
	};
}

int progress_init(struct pmemstream *stream)
{
	struct progress *progress = &stream->progress;
	pthread_condattr_t attributes;

	progress->handle = take_handle(stream);
	if (!progress->handle)
		return error_set(ENOMEM, "no memory for a wake handle");
	pthread_mutex_init(&progress->mutex, NULL);
	pthread_condattr_init(&attributes);
	pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	pthread_cond_init(&progress->happened, &attributes);
	pthread_condattr_destroy(&attributes);
	return 0;
}

void progress_free(struct pmemstream *stream)
{
	struct progress *progress = &stream->progress;

	give_handle_back(progress->handle);
	pthread_cond_destroy(&progress->happened);
	pthread_mutex_destroy(&progress->mutex);
	while (progress->wakers) {
		struct waker *waker = progress->wakers;
		progress->wakers = waker->next;
		free(waker);
	}
}

static void leave_round(struct progress *progress, struct wake_round *round)
{
	struct wake_round **link = &progress->wake_rounds;

	while (*link != round)
		link = &(*link)->next;
	*link = round->next;
}

void progress_wake(struct pmemstream *stream)
{
	struct progress *progress = &stream->progress;
	struct wake_round round = {.thread = pthread_self()};
	uint32_t called = 0;

	pthread_mutex_lock(&progress->mutex);
	progress->events++;
	pthread_cond_broadcast(&progress->happened);
	round.left = progress->wakers;
	progress->wakers = NULL;
	int event_fd = atomic_load_explicit(&stream->event_fd, memory_order_relaxed);
	if (event_fd >= 0)
		eventfd_write(event_fd, 1); /* where the counter is full it is readable anyway */
	round.next = progress->wake_rounds;
	progress->wake_rounds = &round;
	while (round.left) {
		struct waker *waker = round.left;
		round.left = waker->next;
		round.calling = waker->serial;
		pthread_mutex_unlock(&progress->mutex);
		FUTURE_WAKER_WAKE(&waker->waker);
		free(waker);
		called++;
		pthread_mutex_lock(&progress->mutex);
		round.calling = 0;
		pthread_cond_broadcast(&progress->happened);
	}
	leave_round(progress, &round);
	pthread_mutex_unlock(&progress->mutex);
	/* Last: a stream without waiters may be deleted. */
	if (called)
		atomic_fetch_sub_explicit(&progress->waiters, called, memory_order_release);
}

/* Counts a waiter, in such a way that from now on progress is either seen by him or noted for him. */
static void count_waiter(struct progress *progress)
{
	atomic_fetch_add_explicit(&progress->waiters, 1, memory_order_seq_cst);
	if (progress_has_membarrier)
		syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0);
}

uint64_t progress_now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

uint64_t progress_begin(struct pmemstream *stream)
{
	struct progress *progress = &stream->progress;

	count_waiter(progress);
	pthread_mutex_lock(&progress->mutex);
	uint64_t events = progress->events;
	pthread_mutex_unlock(&progress->mutex);
	return events;
}

void progress_sleep(struct pmemstream *stream, uint64_t events, uint64_t limit_ns)
{
	struct progress *progress = &stream->progress;
	struct timespec until;
	int err = 0;

	uint64_t until_ns = progress_now_ns() + (limit_ns == UINT64_MAX ? 0 : limit_ns);
	until.tv_sec = (time_t)(until_ns / 1000000000);
	until.tv_nsec = (long)(until_ns % 1000000000);

	pthread_mutex_lock(&progress->mutex);
	while (progress->events == events && err != ETIMEDOUT)
		err = limit_ns == UINT64_MAX ? pthread_cond_wait(&progress->happened, &progress->mutex)
					     : pthread_cond_timedwait(&progress->happened, &progress->mutex, &until);
	pthread_mutex_unlock(&progress->mutex);
}

void progress_end(struct pmemstream *stream)
{
	atomic_fetch_sub_explicit(&stream->progress.waiters, 1, memory_order_release);
}

uint64_t progress_register(struct pmemstream *stream, uint64_t serial, const struct future_waker *waker)
{
	struct progress *progress = &stream->progress;

	pthread_mutex_lock(&progress->mutex);
	for (struct waker *known = progress->wakers; known && serial; known = known->next)
		if (known->serial == serial) {
			known->waker = *waker;
			pthread_mutex_unlock(&progress->mutex);
			return serial;
		}
	pthread_mutex_unlock(&progress->mutex);
	/* Somebody is about to call the former one, or does: that must not outlast the new one. */
	if (serial)
		progress_unregister(stream, serial);

	struct waker *fresh = malloc(sizeof(*fresh));
	if (!fresh)
		return 0;
	count_waiter(progress);
	pthread_mutex_lock(&progress->mutex);
	*fresh = (struct waker){.next = progress->wakers, .serial = ++progress->waker_serial, .waker = *waker};
	progress->wakers = fresh;
	serial = fresh->serial;
	pthread_mutex_unlock(&progress->mutex);
	return serial;
}

static struct waker *unlink_waker(struct waker **link, uint64_t serial)
{
	for (; *link; link = &(*link)->next)
		if ((*link)->serial == serial) {
			struct waker *found = *link;
			*link = found->next;
			return found;
		}
	return NULL;
}

/* Is another thread inside of the waker? Under the mutex. */
static bool is_being_called(const struct progress *progress, uint64_t serial)
{
	for (const struct wake_round *round = progress->wake_rounds; round; round = round->next)
		if (round->calling == serial && !pthread_equal(round->thread, pthread_self()))
			return true;
	return false;
}

void progress_unregister(struct pmemstream *stream, uint64_t serial)
{
	struct progress *progress = &stream->progress;

	pthread_mutex_lock(&progress->mutex);
	struct waker *found = unlink_waker(&progress->wakers, serial);
	for (struct wake_round *round = progress->wake_rounds; round && !found; round = round->next)
		found = unlink_waker(&round->left, serial);
	while (!found && is_being_called(progress, serial))
		pthread_cond_wait(&progress->happened, &progress->mutex);
	pthread_mutex_unlock(&progress->mutex);
	if (found) {
		free(found);
		progress_end(stream);
	}
}
