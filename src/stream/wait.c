/*
 * wait.c: committed and persisted, asked for and waited for.
 *
 * A poll makes what progress this thread can make: it polls data movers, flushes and fences, or leads a group. What is
 * in other hands it waits for through the notifier: a waker is registered (progress.h) and called at the stream's next
 * event; the serial number of the registration is kept in the future's processing_timestamp, which is the library's
 * own.
 */
#include "base/error.h"
#include "base/export.h"
#include "stream/follow.h"
#include "stream/mover.h"
#include "stream/persist.h"
#include "stream/progress.h"

#include <errno.h>

EXPORT uint64_t pmemstream_committed_timestamp(struct pmemstream *stream)
{
	if (!stream) {
		error_set(EINVAL, "no stream");
		return 0;
	}
	if (stream->follower)
		follow_look(stream);
	persist_told(stream); /* what is durable is committed */
	return window_committed(stream);
}

EXPORT uint64_t pmemstream_persisted_timestamp(struct pmemstream *stream)
{
	if (!stream) {
		error_set(EINVAL, "no stream");
		return 0;
	}
	if (stream->follower)
		follow_look(stream);
	return persist_told(stream);
}

/* The deadline that a limit from now on means. */
static uint64_t deadline_of(uint64_t timeout_ns)
{
	uint64_t now = progress_now_ns();

	return timeout_ns < UINT64_MAX - now ? now + timeout_ns : UINT64_MAX;
}

static int check_wait(struct pmemstream *stream, uint64_t timestamp)
{
	if (!stream)
		return error_set(EINVAL, "no stream");
	if (!timestamp)
		return error_set(EINVAL, "0 is no timestamp: did the append fail?");
	return 0;
}

static int report_failure(struct pmemstream *stream, uint64_t timestamp)
{
	int err = mover_failure(stream, timestamp);

	return err ? error_set(err, "the data mover failed to copy the entry with timestamp %zu", (size_t)timestamp)
		   : 0;
}

EXPORT int pmemstream_wait_committed(struct pmemstream *stream, uint64_t timestamp, uint64_t timeout_ns)
{
	if (check_wait(stream, timestamp))
		return -1;
	progress_enter(stream);
	int err = commit_until(stream, timestamp, deadline_of(timeout_ns));
	err = err ? err : report_failure(stream, timestamp);
	progress_leave(stream);
	return err;
}

EXPORT int pmemstream_wait_persisted(struct pmemstream *stream, uint64_t timestamp, uint64_t timeout_ns)
{
	if (check_wait(stream, timestamp))
		return -1;
	progress_enter(stream);
	int err = persist_until(stream, timestamp, deadline_of(timeout_ns));
	err = err ? err : report_failure(stream, timestamp);
	progress_leave(stream);
	return err;
}

/* Until something newer is committed in this process. */
static int wait_here(struct pmemstream *stream, uint64_t timestamp, uint64_t deadline_ns)
{
	struct progress *progress = &stream->progress;
	uint64_t cancels = atomic_load(&progress->cancels);

	for (;;) {
		uint64_t events = progress_begin(stream);
		int reached = commit_try(stream, timestamp);
		uint64_t now = progress_now_ns();
		bool cancelled = atomic_load(&progress->cancels) != cancels || atomic_load(&stream->closing);
		if (!reached && !cancelled && now < deadline_ns)
			progress_sleep(stream, events, deadline_ns == UINT64_MAX ? UINT64_MAX : deadline_ns - now);
		progress_end(stream);
		if (reached)
			return reached < 0 ? -1 : 0;
		if (cancelled)
			return error_set(ECANCELED, "the wait was cancelled");
		if (now >= deadline_ns)
			return error_set(ETIMEDOUT, "no entry with timestamp %zu in time", (size_t)timestamp);
	}
}

EXPORT int pmemstream_wait_newer(struct pmemstream *stream, uint64_t timestamp, uint64_t timeout_ns)
{
	if (!stream)
		return error_set(EINVAL, "no stream");
	if (timestamp == UINT64_MAX)
		return error_set(EINVAL, "no timestamp is above %zu", (size_t)timestamp);
	uint64_t deadline_ns = deadline_of(timeout_ns);
	progress_enter(stream);
	int err = stream->follower ? follow_wait(stream, timestamp + 1, deadline_ns, NULL)
				   : wait_here(stream, timestamp + 1, deadline_ns);
	progress_leave(stream);
	return err;
}

EXPORT void pmemstream_cancel_waits(struct pmemstream *stream)
{
	if (!stream)
		return;
	if (stream->follower) {
		follow_cancel(stream);
		return;
	}
	atomic_fetch_add(&stream->progress.cancels, 1);
	progress_wake(stream);
}

typedef int (*try_fn)(struct pmemstream *stream, uint64_t timestamp);

static enum future_state finish(struct future_context *context, int error_code)
{
	struct pmemstream_async_wait_data *data = future_context_get_data(context);
	struct pmemstream_async_wait_output *output = future_context_get_output(context);

	if (data->processing_timestamp)
		progress_unregister(data->stream, data->processing_timestamp);
	data->processing_timestamp = 0;
	output->error_code = error_code;
	return FUTURE_STATE_COMPLETE;
}

static enum future_state poll_wait(struct future_context *context, struct future_notifier *notifier, try_fn try_once)
{
	struct pmemstream_async_wait_data *data = future_context_get_data(context);
	struct pmemstream *stream = data->stream;

	if (notifier)
		notifier->notifier_used = FUTURE_NOTIFIER_NONE;
	if (check_wait(stream, data->timestamp))
		return finish(context, -1);

	int reached = try_once(stream, data->timestamp);
	if (reached == 0 && notifier && notifier->waker.wake) {
		data->processing_timestamp = progress_register(stream, data->processing_timestamp, &notifier->waker);
		/* Again, now that nothing can happen unseen. */
		reached = try_once(stream, data->timestamp);
		if (reached == 0 && data->processing_timestamp && mover_poll(stream, data->timestamp) != MOVER_SILENT)
			notifier->notifier_used = FUTURE_NOTIFIER_WAKER;
	}
	if (reached < 0)
		return finish(context, -1);
	if (reached == 0)
		return FUTURE_STATE_RUNNING;
	return finish(context, report_failure(stream, data->timestamp));
}

static enum future_state poll_committed(struct future_context *context, struct future_notifier *notifier)
{
	return poll_wait(context, notifier, commit_try);
}

static enum future_state poll_persisted(struct future_context *context, struct future_notifier *notifier)
{
	return poll_wait(context, notifier, persist_try);
}

/* Between two polls other threads and movers go on. */
static int has_property(void *future, enum future_property property)
{
	(void)future;
	return property == FUTURE_PROPERTY_ASYNC;
}

static struct pmemstream_async_wait_fut make_wait(struct pmemstream *stream, uint64_t timestamp, future_task_fn task)
{
	struct pmemstream_async_wait_fut future = {0};

	if (stream) {
		FUTURE_INIT_EXT(&future, task, has_property);
	} else {
		FUTURE_INIT_COMPLETE(&future);
		future.output.error_code = error_set(EINVAL, "no stream");
	}
	future.data.stream = stream;
	future.data.timestamp = timestamp;
	return future;
}

EXPORT struct pmemstream_async_wait_fut pmemstream_async_wait_committed(struct pmemstream *stream, uint64_t timestamp)
{
	return make_wait(stream, timestamp, poll_committed);
}

EXPORT struct pmemstream_async_wait_fut pmemstream_async_wait_persisted(struct pmemstream *stream, uint64_t timestamp)
{
	return make_wait(stream, timestamp, poll_persisted);
}
