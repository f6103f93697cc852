/*
 * append.c: append and async_append.
 *
 * Order  checksum of the data -> order lock: place, limit, timestamp -> header and data to the medium -> fence (lines)
 *        or mark and group commit (pages) -> persisted. All that can fail comes before the timestamp. On lines, the
 *        checksum of long data is computed while they are copied.
 * Crash  the entry certifies itself; until persisted has reached it, it may vanish, with everything behind it.
 * Cost   lines: one locked instruction and one fence when nobody else is about; pages: one sync, shared.
 */
#include "stream/append.h"

#include "base/error.h"
#include "base/export.h"
#include "stream/checkpoint.h"
#include "stream/mover.h"
#include "stream/persist.h"
#include "stream/progress.h"

#include <errno.h>

enum { READ_UNASKED_BYTES = 4096, AHEAD_BYTES = 1024 };

/* What it calls becomes part of it, where the compiler sees it: the processor holds back all that follows a fence, and
 * what does not fit in front of the next one costs its full time (docs/design/performance.md). */
#define IN_ONE_PIECE __attribute__((flatten))
/* What seldom happens stands apart: its variables would take registers from the rest. */
#define APART __attribute__((noinline, cold))

uint64_t append_thread_token(void)
{
	static _Atomic uint64_t tokens;
	static _Thread_local uint64_t own;

	if (!own)
		own = atomic_fetch_add_explicit(&tokens, 1, memory_order_relaxed) + 1;
	return own;
}

static APART int admit_reserved(struct pmemstream *stream, const struct region *region)
{
	uint64_t own = append_thread_token();

	if (region->holder == own)
		return EBUSY;
	for (const struct region *held = stream->reservations; held; held = held->next_reserved)
		if (held->holder == own)
			return EDEADLK;
	return ADMIT_RESERVED;
}

static inline int admit(struct pmemstream *stream, struct region *region, uint64_t generation, uint64_t space,
			uint64_t count)
{
	uint64_t end_off = atomic_load_explicit(&region->end_off, memory_order_relaxed);
	uint64_t tail_off = atomic_load_explicit(&region->tail_off, memory_order_relaxed);

	if (atomic_load_explicit(&region->generation, memory_order_relaxed) != generation)
		return ESTALE;
	if (region->closed)
		return EBUSY;
	if (region->reserved)
		return admit_reserved(stream, region);
	if (space > end_off - tail_off)
		return ENOSPC;
	return window_has_room(stream, count) ? ADMIT_OK : ADMIT_WINDOW_FULL;
}

int append_admit(struct pmemstream *stream, struct region *region, uint64_t generation, uint64_t space, uint64_t count)
{
	return admit(stream, region, generation, space, count);
}

bool append_may_fit(struct pmemstream *stream, struct region *region, uint64_t size)
{
	/* A line that other appenders write is not asked for without need. */
	if (size <= READ_UNASKED_BYTES)
		return true;
	uint64_t end_off = atomic_load_explicit(&region->end_off, memory_order_acquire);
	uint64_t tail_off = atomic_load_explicit(&region->tail_off, memory_order_acquire);

	return append_space(stream, size) <= end_off - tail_off;
}

static bool is_reserved(struct pmemstream *stream, struct region *region, uint64_t generation)
{
	spinlock_take(&stream->order);
	bool reserved =
		atomic_load_explicit(&region->generation, memory_order_relaxed) == generation && region->reserved;
	spinlock_leave(&stream->order);
	return reserved;
}

static int refuse(struct pmemstream *stream, struct region *region, uint64_t space, int err)
{
	char name[96];

	region_name(stream, region, name);
	switch (err) {
	case ESTALE:
		return error_set(err, "the region was freed");
	case EDEADLK:
		return error_set(err, "%s: another thread holds its tail, and this thread holds one too", name);
	case ENOSPC:
		return error_set(err, "%s: full: %zu bytes are wanted for data and header, %zu are left", name,
				 (size_t)space,
				 (size_t)(atomic_load_explicit(&region->end_off, memory_order_relaxed) -
					  atomic_load_explicit(&region->tail_off, memory_order_relaxed)));
	default:
		return error_set(err, "%s: busy: it has an open reservation or is being freed", name);
	}
}

/* Until nobody holds the region's tail, or a deadline. */
static int wait_for_tail(struct pmemstream *stream, struct region *region, uint64_t generation, uint64_t space,
			 uint64_t deadline_ns)
{
	for (;;) {
		uint64_t events = progress_begin(stream);
		uint64_t now = progress_now_ns();
		bool closing = atomic_load_explicit(&stream->closing, memory_order_acquire);
		bool waits = !closing && now < deadline_ns && is_reserved(stream, region, generation);
		if (waits)
			progress_sleep(stream, events, deadline_ns - now);
		progress_end(stream);
		if (closing)
			return error_set(ECANCELED, "the stream is being deleted");
		if (now >= deadline_ns)
			return refuse(stream, region, space, EBUSY);
		if (!waits)
			return 0;
	}
}

APART int append_wait(struct pmemstream *stream, struct region *region, uint64_t generation, uint64_t space,
		      int verdict, uint64_t *deadline_ns)
{
	if (verdict > 0)
		return refuse(stream, region, space, verdict);
	if (verdict == ADMIT_WINDOW_FULL) {
		/* All that is copied becomes durable at one fence; at least half the window has to. */
		uint64_t next = atomic_load_explicit(&stream->next, memory_order_acquire);
		int reached = persist_try(stream, next - 1);
		return reached > 0   ? 0
		       : reached < 0 ? -1
				     : persist_until(stream, next - stream->window / 2, UINT64_MAX);
	}
	if (!*deadline_ns)
		*deadline_ns = progress_now_ns() + stream->reservation_ns;
	progress_enter(stream);
	int err = wait_for_tail(stream, region, generation, space, *deadline_ns);
	progress_leave(stream);
	return err;
}

/* One attempt: ADMIT_OK and the ticket, or why not. */
static inline int take_once(struct pmemstream *stream, struct region *region, uint64_t generation, uint64_t size,
			    uint64_t space, struct window_note *note, struct ticket *ticket)
{
	/* In front of the lock, which is not held until the line has come. */
	uint64_t persisted = stream_persisted(stream);

	spinlock_take(&stream->order);
	int verdict = admit(stream, region, generation, space, 1);
	if (__builtin_expect(verdict == ADMIT_OK, 1))
		window_take(stream, region, size, persisted, note, false, ticket);
	spinlock_leave(&stream->order);
	return verdict;
}

static APART int take_again(struct pmemstream *stream, struct region *region, uint64_t generation, uint64_t size,
			    struct window_note *note, int verdict, struct ticket *ticket)
{
	uint64_t space = append_space(stream, size);
	uint64_t deadline_ns = 0;

	while (verdict != ADMIT_OK) {
		if (append_wait(stream, region, generation, space, verdict, &deadline_ns))
			return -1;
		verdict = take_once(stream, region, generation, size, space, note, ticket);
	}
	return 0;
}

int append_take(struct pmemstream *stream, struct region *region, uint64_t generation, uint64_t size,
		struct window_note *note, struct ticket *ticket)
{
	int verdict = take_once(stream, region, generation, size, append_space(stream, size), note, ticket);

	if (__builtin_expect(verdict != ADMIT_OK, 0)) {
		struct ticket late; /* so that the other one may live in registers */
		if (take_again(stream, region, generation, size, note, verdict, &late))
			return -1;
		*ticket = late;
	}
	return 0;
}

void append_header(struct pmemstream *stream, const struct ticket *ticket, uint32_t data_crc, uint16_t flags,
		   struct format_entry *entry, unsigned char *encoded)
{
	/* It vouches for all that was acknowledged before the append began. */
	uint64_t lag = ticket->timestamp - ticket->persisted;

	*entry = (struct format_entry){
		.size = ticket->bytes - FORMAT_ENTRY_HEADER_BYTES,
		.timestamp = ticket->timestamp,
		.epoch = stream->epoch,
		.lag = lag < FORMAT_LAG_NONE ? (uint32_t)lag : FORMAT_LAG_NONE,
		.data_crc = data_crc,
		.flags = flags,
	};
	format_entry_encode(encoded, ticket->region->seed, ticket->off, entry);
}

void append_done(struct pmemstream *stream, const struct ticket *ticket)
{
	if (__builtin_expect(ticket->round_due, 0))
		checkpoint_try(stream);
}

void append_flush(struct pmemstream *stream, const struct ticket *ticket)
{
	medium_flush(&stream->medium, stream_at(stream, ticket->off), ticket->bytes);
}

void append_flush_limit(struct pmemstream *stream, const struct ticket *ticket)
{
	if (__builtin_expect(!ticket->limit_raised, 1))
		return;
	uint64_t off = atomic_load_explicit(&ticket->region->off, memory_order_relaxed);
	medium_flush(&stream->medium, stream_at(stream, off + FORMAT_REGION_LIMIT_OFF), sizeof(uint64_t));
}

void append_store(struct pmemstream *stream, const struct ticket *ticket, const unsigned char *header, const void *data,
		  uint64_t size)
{
	struct medium *medium = &stream->medium;
	char *at = stream_at(stream, ticket->off);

	if (stream->alignment == LINE_BYTES || !stream->lines) {
		medium_stream(medium, at, header, FORMAT_ENTRY_HEADER_BYTES, data, size);
	} else {
		medium_record(medium, at, header, FORMAT_ENTRY_HEADER_BYTES, data, size);
		append_flush(stream, ticket);
	}
	append_flush_limit(stream, ticket);
}

static inline int make_durable(struct pmemstream *stream, const struct ticket *first, const struct ticket *last)
{
	if (stream->lines)
		return persist_own(stream, first, last->timestamp);
	for (const struct ticket *ticket = first; ticket <= last; ticket++)
		window_mark_copied(stream, ticket);
	progress_note(stream);
	return persist_until(stream, last->timestamp, UINT64_MAX);
}

int append_finish(struct pmemstream *stream, const struct ticket *first, const struct ticket *last)
{
	bool round_due = last->round_due;

	/* Who had to wait may find the stream deleted, unless he is still inside. */
	if (__builtin_expect(round_due, 0))
		progress_enter(stream);
	int err = make_durable(stream, first, last);
	if (__builtin_expect(round_due, 0)) {
		if (!err)
			checkpoint_try(stream);
		progress_leave(stream);
	}
	return err;
}

static inline int show_place(const struct ticket *ticket, struct pmemstream_entry *new_entry)
{
	if (new_entry)
		new_entry->offset = ticket->off;
	return 0;
}

/* The end of an asynchronous append. */
static inline int conclude(struct pmemstream *stream, const struct ticket *ticket, struct pmemstream_entry *new_entry)
{
	append_done(stream, ticket);
	return show_place(ticket, new_entry);
}

static int check_arguments(struct pmemstream *stream, const void *data, size_t size)
{
	if (!stream)
		return error_set(EINVAL, "no stream");
	if (!data && size)
		return error_set(EINVAL, "no data, but a size of %zu bytes", size);
	return stream_writable(stream);
}

EXPORT IN_ONE_PIECE int pmemstream_append(struct pmemstream *stream, struct pmemstream_region region,
					  struct pmemstream_region_runtime *region_runtime, const void *data,
					  size_t size, struct pmemstream_entry *new_entry)
{
	unsigned char header[FORMAT_ENTRY_HEADER_BYTES];
	struct format_entry entry;
	struct ticket ticket;
	uint64_t generation;

	if (check_arguments(stream, data, size))
		return -1;
	struct region *found = region_resolve(stream, region, region_runtime, &generation);
	if (!found)
		return -1;
	/* Asked for early: others write it, and append_take reads it. */
	__builtin_prefetch(&stream->persisted);
	/* Long data are checked on their way; the first line has the header and goes last. */
	bool one_pass = size >= stream->one_pass_bytes;
	uint32_t data_crc = !one_pass && append_may_fit(stream, found, size) ? format_data_crc(data, size) : 0;
	if (append_take(stream, found, generation, size, window_own_note(stream), &ticket))
		return -1;

	if (one_pass)
		data_crc = format_data_fold(
			medium_stream_checked(&stream->medium, stream_at(stream, ticket.off), data, size));
	append_header(stream, &ticket, data_crc, 0, &entry, header);
	append_store(stream, &ticket, header, data, one_pass ? LINE_BYTES - FORMAT_ENTRY_HEADER_BYTES : size);
	if (append_finish(stream, &ticket, &ticket))
		return -1;
	return show_place(&ticket, new_entry);
}

/* The copy is a mover's, which may be at work when this returns. */
static __attribute__((noinline)) int start_append(struct pmemstream *stream, struct vdm *vdm, struct region *region,
						  uint64_t generation, const void *data, size_t size, uint32_t data_crc,
						  struct pmemstream_entry *new_entry)
{
	unsigned char header[FORMAT_ENTRY_HEADER_BYTES];
	struct vdm_operation_future copy;
	struct format_entry entry;
	struct ticket ticket;

	if (mover_prepare(stream, vdm, data, size, &copy))
		return -1;
	if (append_take(stream, region, generation, size, NULL, &ticket)) {
		mover_cancel(&copy);
		return -1;
	}
	append_header(stream, &ticket, data_crc, 0, &entry, header);
	medium_copy(&stream->medium, stream_at(stream, ticket.off), header, sizeof(header));
	mover_start(stream, &ticket, &entry, &copy);
	return conclude(stream, &ticket, new_entry);
}

static IN_ONE_PIECE int copy_append(struct pmemstream *stream, struct region *region, uint64_t generation,
				    const void *data, size_t size, uint32_t data_crc,
				    struct pmemstream_entry *new_entry)
{
	unsigned char header[FORMAT_ENTRY_HEADER_BYTES];
	struct format_entry entry;
	struct ticket ticket;

	if (append_take(stream, region, generation, size, NULL, &ticket))
		return -1;
	append_header(stream, &ticket, data_crc, 0, &entry, header);
	/* The lines of entries that follow are on their way when their turn comes. */
	const char *ahead = stream_at(stream, ticket.off + AHEAD_BYTES);
	__builtin_prefetch(ahead, 1);
	__builtin_prefetch(ahead + LINE_BYTES, 1);
	medium_record(&stream->medium, stream_at(stream, ticket.off), header, sizeof(header), data, size);
	window_mark_copied(stream, &ticket);
	progress_note(stream);
	return conclude(stream, &ticket, new_entry);
}

EXPORT int pmemstream_async_append(struct pmemstream *stream, struct vdm *vdm, struct pmemstream_region region,
				   struct pmemstream_region_runtime *region_runtime, const void *data, size_t size,
				   struct pmemstream_entry *new_entry)
{
	uint64_t generation;

	if (check_arguments(stream, data, size))
		return -1;
	if (!vdm)
		return error_set(EINVAL, "no data mover");
	struct region *found = region_resolve(stream, region, region_runtime, &generation);
	if (!found)
		return -1;
	uint32_t data_crc = append_may_fit(stream, found, size) ? format_data_crc(data, size) : 0;
	if (!size || mover_is_synchronous(vdm))
		return copy_append(stream, found, generation, data, size, data_crc, new_entry);
	return start_append(stream, vdm, found, generation, data, size, data_crc, new_entry);
}
