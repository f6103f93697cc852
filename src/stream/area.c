/*
 * area.c: telling other processes how far the writer is, and waiting for it in them.
 *
 * Wake-up   a sleeper sets the sleepers word, makes the writer's processors execute a barrier (membarrier, where the
 *           kernel has it), looks again, and sleeps on the futex word for a bounded time. The writer stores its
 *           progress, then looks at the sleepers word, without a fence; it clears the word by an exchange and wakes. A
 *           sleeper that dies leaves the word set: one needless wake-up. Neither can make the writer wait.
 */
#include "stream/area.h"

#include "stream/file.h"
#include "stream/window.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <linux/membarrier.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static uint32_t *word(struct pmemstream *stream, uint64_t off)
{
	return stream_at(stream, off);
}

static void exchange(struct pmemstream *stream, uint64_t off, uint32_t value)
{
	medium_exchange4(&stream->medium, word(stream, off), htole32(value));
}

void area_begin(struct pmemstream *stream)
{
	/* So that a sleeper's barrier reaches this process. */
	syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED, 0, 0);
	medium_store8(&stream->medium, stream_at(stream, AREA_PROCESS_OFF), htole64((uint64_t)getpid()));
	medium_store8(&stream->medium, stream_at(stream, AREA_PERSISTED_OFF), htole64(stream_persisted(stream)));
	medium_store8(&stream->medium, stream_at(stream, AREA_COMMITTED_OFF), htole64(window_committed(stream)));
	exchange(stream, AREA_EPOCH_OFF, stream->epoch);
	exchange(stream, AREA_STATE_OFF, 1);
	stream->published = true;
}

void area_end(struct pmemstream *stream)
{
	stream->published = false;
	exchange(stream, AREA_STATE_OFF, 0);
	area_wake(stream);
}

void area_wake(struct pmemstream *stream)
{
	if (!medium_exchange4(&stream->medium, word(stream, AREA_SLEEPERS_OFF), 0))
		return;
	exchange(stream, AREA_FUTEX_OFF, area_load4(&stream->medium, AREA_FUTEX_OFF) + 1);
	area_wake_sleepers(stream);
}

void area_wake_sleepers(struct pmemstream *stream)
{
	syscall(SYS_futex, word(stream, AREA_FUTEX_OFF), FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
}

void area_publish_committed(struct pmemstream *stream)
{
	if (stream->published)
		medium_raise8(&stream->medium, stream_at(stream, AREA_COMMITTED_OFF), window_committed(stream));
}

int area_look(struct file *file, const struct medium *medium, struct area_view *view)
{
	int before = file_is_locked(file, FILE_LOCK_READY);

	*view = (struct area_view){
		.epoch = area_load4(medium, AREA_EPOCH_OFF),
		.committed = area_load8(medium, AREA_COMMITTED_OFF),
		.persisted = area_load8(medium, AREA_PERSISTED_OFF),
		.process = area_load8(medium, AREA_PROCESS_OFF),
	};
	if (view->committed < view->persisted)
		view->committed = view->persisted;
	bool ready = area_load4(medium, AREA_EPOCH_OFF) == view->epoch && area_load4(medium, AREA_STATE_OFF) == 1;
	int after = before > 0 ? file_is_locked(file, FILE_LOCK_READY) : before;
	view->live = before > 0 && after > 0 && ready;
	return before < 0 || after < 0 ? -1 : 0;
}

uint32_t area_futex(struct pmemstream *stream)
{
	return area_load4(&stream->medium, AREA_FUTEX_OFF);
}

void area_register(struct medium *first_page)
{
	medium_exchange4(first_page, (uint32_t *)(first_page->base + AREA_SLEEPERS_OFF), htole32(1));
	syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL_EXPEDITED, 0, 0);
}

void area_sleep(struct pmemstream *stream, uint32_t expected, uint64_t limit_ns)
{
	struct timespec interval = {.tv_sec = (time_t)(limit_ns / 1000000000),
				    .tv_nsec = (long)(limit_ns % 1000000000)};

	if (!syscall(SYS_futex, word(stream, AREA_FUTEX_OFF), FUTEX_WAIT, htole32(expected), &interval, NULL, 0) ||
	    errno == EAGAIN || errno == ETIMEDOUT || errno == EINTR)
		return;
	nanosleep(&interval, NULL); /* who calls goes round and round */
}
