/*
 * event.c: an eventfd that becomes readable when a stream has something new.
 *
 * In the process that writes, whoever makes progress finds one waiter more and writes to it (progress_wake). A reader
 * of another process's stream has nobody who would: a helper thread, the only one that this library ever starts, waits
 * and writes.
 */
#include "stream/event.h"

#include "base/error.h"
#include "base/export.h"
#include "stream/follow.h"
#include "stream/progress.h"
#include "stream/window.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define HELPER_WAIT_NS UINT64_C(1000000000)

struct event {
	pthread_t helper;
	_Atomic bool ends;
};

static void *help(void *argument)
{
	struct pmemstream *stream = argument;
	struct event *event = stream->event;
	uint64_t told = 0; /* of that the descriptor spoke, whoever else has seen more since */
	uint64_t trouble = 0, deaths = 0;

	while (!atomic_load(&event->ends)) {
		uint64_t shown = window_committed(stream);
		if (shown < told)
			told = shown; /* what was committed only went with its writer */
		uint64_t deadline_ns = progress_now_ns() + HELPER_WAIT_NS;
		int err = follow_wait(stream, told + 1, deadline_ns, &deaths), kept = errno;
		if (err && (kept == ETIMEDOUT || kept == ECANCELED))
			continue;
		if (!err)
			told = window_committed(stream);
		uint64_t met = stream->trouble;
		if (!err || kept == EOWNERDEAD || met != trouble)
			eventfd_write(stream->event_fd, 1);
		trouble = met;
		if (err && kept != EOWNERDEAD)
			follow_pause(stream); /* it goes on being so: once is enough */
	}
	return NULL;
}

static int start_helper(struct pmemstream *stream)
{
	struct event *event = calloc(1, sizeof(*event));
	sigset_t all, former;

	if (!event)
		return error_set(ENOMEM, "no memory for a helper thread");
	stream->event = event;
	/* Signals are for the program's own threads; but a fault of this one, as where a file was truncated, goes to
	 * the program's handler only if it is not blocked here. */
	sigfillset(&all);
	sigdelset(&all, SIGBUS);
	sigdelset(&all, SIGSEGV);
	pthread_sigmask(SIG_SETMASK, &all, &former);
	int err = pthread_create(&event->helper, NULL, help, stream);
	pthread_sigmask(SIG_SETMASK, &former, NULL);
	if (!err)
		return 0;
	stream->event = NULL;
	free(event);
	return error_set(err, "no helper thread can be started");
}

static int open_event(struct pmemstream *stream)
{
	stream->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (stream->event_fd < 0)
		return error_system("eventfd");
	if (!stream->follower) {
		/* One waiter that never leaves: all progress is noted from now on. */
		progress_begin(stream);
		return 0;
	}
	if (!start_helper(stream))
		return 0;
	int err = errno;
	close(stream->event_fd);
	stream->event_fd = -1;
	errno = err;
	return -1;
}

EXPORT int pmemstream_eventfd(struct pmemstream *stream)
{
	if (!stream)
		return error_set(EINVAL, "no stream");
	pthread_mutex_lock(&stream->admin);
	int err = stream->event_fd >= 0 ? 0 : open_event(stream);
	int fd = stream->event_fd;
	pthread_mutex_unlock(&stream->admin);
	return err ? -1 : fd;
}

void event_close(struct pmemstream *stream)
{
	if (stream->event_fd < 0)
		return;
	if (stream->event) {
		atomic_store(&stream->event->ends, true);
		follow_cancel(stream);
		pthread_join(stream->event->helper, NULL);
		free(stream->event);
	} else {
		progress_end(stream);
	}
	close(stream->event_fd);
	stream->event_fd = -1;
}
