/*
 * mover.c: copies that a data mover makes: started by async_append, finished by whoever polls.
 *
 * Order    the header is stored when the timestamp is taken, so that size and timestamp can be read at once; the mover
 *          stores the data; who finds it complete says so to the medium and marks the slot COPIED. A copy that failed
 *          becomes a filler: its header is written anew, its timestamp counts as finished.
 * Crash    before the mark nobody believes the entry: the check of its data fails, or they are whole.
 * Threads  a future is polled by one thread at a time; who finds it taken leaves it. No lock is held across a poll.
 */
#include "stream/mover.h"

#include "base/error.h"
#include "stream/progress.h"

#include <errno.h>
#include <stdlib.h>

_Atomic(vdm_operation_start) mover_synchronous_start;

bool mover_find_synchronous(struct vdm *vdm)
{
	struct data_mover_sync *mover = data_mover_sync_new();

	if (!mover)
		return false;
	vdm_operation_start start = data_mover_sync_get_vdm(mover)->op_start;
	data_mover_sync_delete(mover);
	atomic_store_explicit(&mover_synchronous_start, start, memory_order_relaxed);
	return vdm->op_start == start;
}

static int make_operations(struct pmemstream *stream)
{
	struct operation *none = NULL;

	if (atomic_load_explicit(&stream->operations, memory_order_acquire))
		return 0;
	struct operation *made = calloc(stream->window, sizeof(*made));
	if (!made)
		return error_set(ENOMEM, "no memory for %zu operations of data movers", (size_t)stream->window);
	if (!atomic_compare_exchange_strong_explicit(&stream->operations, &none, made, memory_order_acq_rel,
						     memory_order_acquire))
		free(made);
	return 0;
}

int mover_prepare(struct pmemstream *stream, struct vdm *vdm, const void *data, uint64_t size,
		  struct vdm_operation_future *future)
{
	if (make_operations(stream))
		return -1;
	/* The place is known when the timestamp is taken; a mover reads it at the first poll. */
	*future = vdm_memcpy(vdm, NULL, (void *)(uintptr_t)data, size, 0);
	if (FUTURE_STATE(future) == FUTURE_STATE_COMPLETE)
		return error_set(ENOMEM, "the data mover has no memory for one more operation");
	return 0;
}

void mover_cancel(struct vdm_operation_future *future)
{
	struct vdm_operation_data *data = FUTURE_DATA(future);

	data->vdm->op_delete(data->data, &data->operation, FUTURE_OUTPUT(future));
}

static void remember_failure(struct pmemstream *stream, uint64_t timestamp)
{
	pthread_mutex_lock(&stream->rare);
	if (stream->failed_count == stream->failed_room) {
		size_t room = stream->failed_room * 2 + 8;
		uint64_t *more = realloc(stream->failed_timestamps, room * sizeof(*more));
		if (more) {
			stream->failed_timestamps = more;
			stream->failed_room = room;
		}
	}
	if (stream->failed_count < stream->failed_room)
		stream->failed_timestamps[stream->failed_count++] = timestamp;
	pthread_mutex_unlock(&stream->rare);
}

int mover_failure(struct pmemstream *stream, uint64_t timestamp)
{
	int err = 0;

	pthread_mutex_lock(&stream->rare);
	for (size_t i = 0; i < stream->failed_count && !err; i++)
		if (stream->failed_timestamps[i] == timestamp)
			err = EIO;
	pthread_mutex_unlock(&stream->rare);
	return err;
}

static void become_filler(struct pmemstream *stream, const struct ticket *ticket, const struct format_entry *copied)
{
	struct format_entry filler = *copied;
	unsigned char header[FORMAT_ENTRY_HEADER_BYTES];

	filler.flags |= FORMAT_FILLER;
	filler.data_crc = 0;
	format_entry_encode(header, ticket->region->seed, ticket->off, &filler);
	medium_copy(&stream->medium, stream_at(stream, ticket->off), header, sizeof(header));
	remember_failure(stream, ticket->timestamp);
}

/* Polls the copy of a slot once; the caller owns the slot's operation. */
static enum future_state poll_once(struct pmemstream *stream, struct window_slot *slot, struct operation *operation,
				   uint64_t word)
{
	struct future_notifier notifier;
	struct ticket ticket = {
		.region = atomic_load_explicit(&slot->region, memory_order_relaxed),
		.timestamp = slot_timestamp(word),
		.off = atomic_load_explicit(&slot->off, memory_order_relaxed),
		.bytes = atomic_load_explicit(&slot->bytes, memory_order_relaxed),
		.slot = slot,
	};

	progress_mover_notifier(stream, &notifier);
	enum future_state state = future_poll(FUTURE_AS_RUNNABLE(&operation->future), &notifier);
	if (notifier.notifier_used == FUTURE_NOTIFIER_WAKER)
		operation->wakes = true;
	if (state != FUTURE_STATE_COMPLETE)
		return state;
	medium_written(&stream->medium, stream_at(stream, ticket.off + FORMAT_ENTRY_HEADER_BYTES),
		       ticket.bytes - FORMAT_ENTRY_HEADER_BYTES);
	if (FUTURE_OUTPUT(&operation->future)->result != VDM_SUCCESS)
		become_filler(stream, &ticket, &operation->entry);
	atomic_store_explicit(&slot->moving, 0, memory_order_relaxed);
	window_mark_copied(stream, &ticket);
	return state;
}

void mover_start(struct pmemstream *stream, const struct ticket *ticket, const struct format_entry *entry,
		 const struct vdm_operation_future *future)
{
	size_t index = (size_t)(ticket->slot - stream->slots);
	struct operation *operation = &atomic_load_explicit(&stream->operations, memory_order_acquire)[index];
	uint64_t word = atomic_load_explicit(&ticket->slot->word, memory_order_relaxed);

	/* Ours until the flag falls: the slot was durable when it was taken, so nobody polls what it held before. */
	while (atomic_exchange_explicit(&operation->polled, true, memory_order_acquire))
		spinlock_backoff(0);
	operation->future = *future;
	operation->wakes = false;
	operation->entry = *entry;
	FUTURE_DATA(&operation->future)->operation.data.memcpy.dest =
		stream_at(stream, ticket->off + FORMAT_ENTRY_HEADER_BYTES);
	atomic_store_explicit(&ticket->slot->moving, 1, memory_order_release);
	poll_once(stream, ticket->slot, operation, word);
	atomic_store_explicit(&operation->polled, false, memory_order_release);
	progress_note(stream);
}

enum mover_left mover_poll(struct pmemstream *stream, uint64_t timestamp)
{
	struct operation *operations = atomic_load_explicit(&stream->operations, memory_order_acquire);
	enum mover_left left = MOVER_NOTHING;
	bool progressed = false;

	if (!operations)
		return MOVER_NOTHING;
	uint64_t next = atomic_load_explicit(&stream->next, memory_order_acquire);
	for (uint64_t t = stream_persisted(stream) + 1; t <= timestamp && t < next; t++) {
		struct window_slot *slot = window_slot(stream, t);
		struct operation *operation = &operations[slot - stream->slots];
		uint64_t word = atomic_load_explicit(&slot->word, memory_order_acquire);
		if (slot_timestamp(word) != t || slot_state(word) != SLOT_TAKEN ||
		    !atomic_load_explicit(&slot->moving, memory_order_acquire))
			continue;
		if (atomic_exchange_explicit(&operation->polled, true, memory_order_acquire)) {
			left = MOVER_SILENT;
			continue;
		}
		/* Again, now that it is ours: its last poller may have completed it, and the slot be in other hands. */
		word = atomic_load_explicit(&slot->word, memory_order_acquire);
		if (slot_timestamp(word) == t && slot_state(word) == SLOT_TAKEN &&
		    atomic_load_explicit(&slot->moving, memory_order_acquire)) {
			if (poll_once(stream, slot, operation, word) == FUTURE_STATE_COMPLETE)
				progressed = true;
			else if (!operation->wakes)
				left = MOVER_SILENT;
			else if (left == MOVER_NOTHING)
				left = MOVER_WAKES;
		}
		atomic_store_explicit(&operation->polled, false, memory_order_release);
	}
	if (progressed)
		progress_note(stream);
	return left;
}
