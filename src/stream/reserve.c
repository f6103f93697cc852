/*
 * reserve.c: space that the caller fills himself: reserve, then publish.
 *
 * Invariant  a reservation is its region's tail with a holder; it has no timestamp, so it holds up no other region. The
 *            timestamp is taken at publish, when the size is final.
 * Crash      before publish nothing says that the bytes are an entry.
 * Threads    publish works from any thread. Who wants the tail meanwhile waits a bounded time, unless he holds it
 *            himself (EBUSY) or holds another one (EDEADLK).
 */
#include "stream/append.h"

#include "base/error.h"
#include "base/export.h"
#include "stream/persist.h"
#include "stream/progress.h"

#include <errno.h>

static void hold(struct pmemstream *stream, struct region *region, uint64_t bytes)
{
	region->reserved = true;
	region->reserved_bytes = bytes;
	region->holder = append_thread_token();
	region->next_reserved = stream->reservations;
	stream->reservations = region;
}

/* Under the order lock. */
static void let_go(struct pmemstream *stream, struct region *region)
{
	region->reserved = false;
	region->holder = 0;
	for (struct region **link = &stream->reservations; *link; link = &(*link)->next_reserved)
		if (*link == region) {
			*link = region->next_reserved;
			break;
		}
}

EXPORT int pmemstream_reserve(struct pmemstream *stream, struct pmemstream_region region,
			      struct pmemstream_region_runtime *region_runtime, size_t size,
			      struct pmemstream_entry *reserved_entry, void **data)
{
	uint64_t generation, space, deadline_ns = 0;

	if (!stream || !reserved_entry || !data)
		return error_set(EINVAL, "no %s", !stream ? "stream" : "place for the entry or its data pointer");
	if (stream_writable(stream))
		return -1;
	struct region *found = region_resolve(stream, region, region_runtime, &generation);
	if (!found)
		return -1;
	space = append_space(stream, size);
	for (;;) {
		spinlock_take(&stream->order);
		int verdict = append_admit(stream, found, generation, space, 1);
		uint64_t tail_off = atomic_load_explicit(&found->tail_off, memory_order_relaxed);
		/* A reservation takes no timestamp and so needs no slot. */
		if (verdict == ADMIT_OK || verdict == ADMIT_WINDOW_FULL)
			hold(stream, found, size);
		spinlock_leave(&stream->order);
		if (verdict == ADMIT_OK || verdict == ADMIT_WINDOW_FULL) {
			reserved_entry->offset = tail_off;
			*data = stream_at(stream, tail_off + FORMAT_ENTRY_HEADER_BYTES);
			return 0;
		}
		if (append_wait(stream, found, generation, space, verdict, &deadline_ns))
			return -1;
	}
}

/* Under the order lock: is this the open reservation, and does the size fit? */
static int admit_publish(struct pmemstream *stream, struct region *region, uint64_t generation, uint64_t entry_off,
			 uint64_t size)
{
	uint64_t tail_off = atomic_load_explicit(&region->tail_off, memory_order_relaxed);
	uint64_t end_off = atomic_load_explicit(&region->end_off, memory_order_relaxed);

	if (atomic_load_explicit(&region->generation, memory_order_relaxed) != generation)
		return ESTALE;
	if (!region->reserved || tail_off != entry_off)
		return EINVAL;
	if (append_space(stream, size) > end_off - tail_off)
		return ENOSPC;
	return window_has_room(stream, 1) ? ADMIT_OK : ADMIT_WINDOW_FULL;
}

/* Takes the timestamp of a reservation; until then the reservation stays open. */
static int take_reserved(struct pmemstream *stream, struct region *region, uint64_t generation, uint64_t entry_off,
			 uint64_t size, uint32_t *data_crc, struct ticket *ticket)
{
	bool checksummed = false;

	for (;;) {
		uint64_t persisted = stream_persisted(stream);
		spinlock_take(&stream->order);
		int verdict = admit_publish(stream, region, generation, entry_off, size);
		if (verdict == ADMIT_OK && checksummed) {
			window_take(stream, region, size, persisted, NULL, false, ticket);
			let_go(stream, region);
		}
		spinlock_leave(&stream->order);
		if (verdict == EINVAL)
			return error_set(EINVAL, "no open reservation at offset %zu", (size_t)entry_off);
		if (verdict == ADMIT_OK && checksummed)
			return 0;
		if (verdict == ADMIT_OK) {
			/* The size is known to fit, so the data can be read. */
			*data_crc = format_data_crc(stream_at(stream, entry_off + FORMAT_ENTRY_HEADER_BYTES), size);
			checksummed = true;
		} else if (append_wait(stream, region, generation, append_space(stream, size), verdict, NULL)) {
			return -1;
		}
	}
}

static int publish(struct pmemstream *stream, struct pmemstream_region region,
		   struct pmemstream_region_runtime *region_runtime, struct pmemstream_entry reserved, size_t size,
		   struct ticket *ticket)
{
	unsigned char header[FORMAT_ENTRY_HEADER_BYTES];
	struct format_entry entry;
	uint64_t generation;
	uint32_t data_crc = 0;

	if (!stream)
		return error_set(EINVAL, "no stream");
	if (stream_writable(stream))
		return -1;
	struct region *found = region_resolve(stream, region, region_runtime, &generation);
	if (!found || take_reserved(stream, found, generation, reserved.offset, size, &data_crc, ticket))
		return -1;
	char *at = stream_at(stream, ticket->off);
	append_header(stream, ticket, data_crc, 0, &entry, header);
	medium_copy(&stream->medium, at, header, sizeof(header));
	medium_written(&stream->medium, at + sizeof(header), size);
	return 0;
}

EXPORT int pmemstream_publish(struct pmemstream *stream, struct pmemstream_region region,
			      struct pmemstream_region_runtime *region_runtime, struct pmemstream_entry entry,
			      size_t size)
{
	struct ticket ticket;

	if (publish(stream, region, region_runtime, entry, size, &ticket))
		return -1;
	append_flush(stream, &ticket);
	append_flush_limit(stream, &ticket);
	/* Who waits for the tail is not who waits for the timestamp. */
	progress_note(stream);
	return append_finish(stream, &ticket, &ticket);
}

EXPORT int pmemstream_cancel(struct pmemstream *stream, struct pmemstream_region region,
			     struct pmemstream_region_runtime *region_runtime, struct pmemstream_entry entry)
{
	uint64_t generation;

	if (!stream)
		return error_set(EINVAL, "no stream");
	struct region *found = region_resolve(stream, region, region_runtime, &generation);
	if (!found)
		return -1;
	spinlock_take(&stream->order);
	bool open = atomic_load_explicit(&found->generation, memory_order_relaxed) == generation && found->reserved &&
		    atomic_load_explicit(&found->tail_off, memory_order_relaxed) == entry.offset;
	if (open)
		let_go(stream, found);
	spinlock_leave(&stream->order);
	if (!open)
		return error_set(EINVAL, "no open reservation at offset %zu", (size_t)entry.offset);
	progress_note(stream);
	return 0;
}

EXPORT int pmemstream_async_publish(struct pmemstream *stream, struct pmemstream_region region,
				    struct pmemstream_region_runtime *region_runtime, struct pmemstream_entry entry,
				    size_t size)
{
	struct ticket ticket;

	if (publish(stream, region, region_runtime, entry, size, &ticket))
		return -1;
	window_mark_copied(stream, &ticket);
	progress_note(stream);
	append_done(stream, &ticket);
	return 0;
}
