/*
 * group.c: group commit on page media.
 *
 * Seat     who syncs sits on it. A failed sync cleans the pages of everybody's stores, and the failure is told once: a
 *          sync that came beside it would succeed and have written nothing. So there is one sync at a time, and none
 *          behind a failed one, which is latched before the seat is left.
 * Sleep    on a futex that counts turns of the seat. Who wakes finds his timestamp persisted, or one of them leads.
 * Gather   those whom the last sync woke are about to append again, so the next leader lets as many come as slept
 *          then. He waits as long as a sync takes at most, and having waited in vain does not wait for a while.
 */
#include "stream/group.h"

#include "stream/persist.h"
#include "stream/progress.h"
#include "stream/window.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { IN_VAIN_MAX = 64, TURN_LIMIT_NS = 50000000 };

static bool take_seat(struct pmemstream *stream, int *cancel_state)
{
	struct group *group = &stream->group;
	uint32_t free_seat = 0;

	/* Who was cancelled in msync would leave it taken for ever. */
	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, cancel_state);
	if (atomic_compare_exchange_strong(&group->taken, &free_seat, 1))
		return true;
	pthread_setcancelstate(*cancel_state, NULL);
	return false;
}

static void leave_seat(struct pmemstream *stream, int cancel_state)
{
	struct group *group = &stream->group;

	atomic_store(&group->taken, 0);
	atomic_fetch_add(&group->turn, 1);
	uint32_t sleepers = atomic_exchange(&group->sleepers, 0);
	atomic_store_explicit(&group->expected, sleepers, memory_order_relaxed);
	if (sleepers)
		syscall(SYS_futex, &group->turn, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
	progress_note(stream);
	pthread_setcancelstate(cancel_state, NULL);
}

uint32_t group_turn(struct pmemstream *stream)
{
	return atomic_load(&stream->group.turn);
}

bool group_sleep(struct pmemstream *stream, uint32_t turn, uint64_t limit_ns)
{
	struct group *group = &stream->group;
	struct timespec interval = {.tv_sec = (time_t)(limit_ns / 1000000000),
				    .tv_nsec = (long)(limit_ns % 1000000000)};

	if (!atomic_load(&group->taken))
		return false;
	/* Who counts himself after the leader took the count finds that the turn is over. */
	atomic_fetch_add(&group->sleepers, 1);
	syscall(SYS_futex, &group->turn, FUTEX_WAIT_PRIVATE, turn, &interval, NULL, 0);
	return true;
}

/* Lets those come who are expected. On the seat. */
static void gather(struct pmemstream *stream)
{
	struct group *group = &stream->group;
	uint32_t expected = atomic_load_explicit(&group->expected, memory_order_relaxed);

	if (atomic_load(&group->sleepers) >= expected)
		return;
	if (group->skipped < group->in_vain) {
		group->skipped++;
		return;
	}
	uint64_t until_ns = progress_now_ns() + group->sync_ns;
	while (atomic_load(&group->sleepers) < expected && progress_now_ns() < until_ns)
		sched_yield();
	bool came = 2 * atomic_load(&group->sleepers) >= expected;
	group->skipped = 0;
	group->in_vain = came ? 0 : group->in_vain < IN_VAIN_MAX ? 2 * group->in_vain + 1 : IN_VAIN_MAX;
}

bool group_step(struct pmemstream *stream)
{
	struct window_scan scan;
	int cancel_state;

	/* Telling the others that nothing happened would wake who waits for something to happen, this thread among
	 * them. */
	if (window_committed(stream) == stream_persisted(stream))
		return true;
	if (!take_seat(stream, &cancel_state))
		return false;
	gather(stream);
	window_scan(stream, window_committed(stream), false, &scan);
	if (scan.to > scan.from && !atomic_load_explicit(&stream->failed, memory_order_relaxed)) {
		uint64_t begin_ns = progress_now_ns();
		if (medium_sync(&stream->medium, stream_at(stream, scan.span_off), scan.span_bytes))
			stream_latch_failure(stream);
		else
			window_advance(stream, &scan);
		stream->group.sync_ns = progress_now_ns() - begin_ns;
	}
	leave_seat(stream, cancel_state);
	return true;
}

int group_sync(struct pmemstream *stream, const char *at, size_t bytes)
{
	uint32_t turn = group_turn(stream);
	int cancel_state, err = -1;

	while (!take_seat(stream, &cancel_state)) {
		group_sleep(stream, turn, TURN_LIMIT_NS);
		turn = group_turn(stream);
	}
	if (!persist_failure(stream)) {
		err = medium_sync(&stream->medium, at, bytes);
		if (err)
			stream_latch_failure(stream);
	}
	leave_seat(stream, cancel_state);
	if (!err)
		return 0;
	errno = EIO;
	return -1;
}
