/*
 * open.c: from a map to a stream and back.
 *
 * Order   recognise -> create, where the map is empty -> read (recover_read) -> scan (recover_scan) -> write
 *         (recover_write). A read-only map stops in front of the writing. Nothing is written to a map that is not an
 *         undamaged stream or empty.
 * Close   copies are finished, everything is made durable, a last round covers all of it and says CLEAN.
 */
#include "base/checked.h"
#include "base/error.h"
#include "base/export.h"
#include "medium/access.h"
#include "stream/allocator.h"
#include "stream/checkpoint.h"
#include "stream/create.h"
#include "stream/event.h"
#include "stream/follow.h"
#include "stream/mover.h"
#include "stream/path.h"
#include "stream/persist.h"
#include "stream/progress.h"
#include "stream/recover.h"

#include <errno.h>
#include <libpmem2.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

enum {
	DEFAULT_WINDOW = 1024,
	DEFAULT_ROUND_BYTES = 4 << 20,
	DEFAULT_ONE_PASS_BYTES = 8192,
	DEFAULT_RESERVATION_NS = 1000000000
};

uint64_t stream_time_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

int stream_why_not_writable(struct pmemstream *stream)
{
	int err = atomic_load_explicit(&stream->failed, memory_order_relaxed);

	if (err)
		return error_set(EIO, "an earlier sync of this stream failed (errno %d): it can only be read", err);
	return error_set(EROFS, "the stream is open for reading only");
}

int stream_latch_failure(struct pmemstream *stream)
{
	int none = 0;

	atomic_compare_exchange_strong(&stream->failed, &none, errno ? errno : EIO);
	errno = EIO;
	return -1;
}

static int fill_random(void *to, size_t bytes)
{
	if (getrandom(to, bytes, 0) == (ssize_t)bytes)
		return 0;
	return error_system("getrandom of %zu bytes", bytes);
}

static int prepare_header(struct pmemstream *stream, const struct stream_options *options)
{
	struct format_header *header = &stream->header;
	uint64_t block_size = options->block_size ? options->block_size : options->new_block_size;
	bool small = block_size == FORMAT_BLOCK_MIN || !stream->lines;

	*header = (struct format_header){
		.salt = options->salt,
		.size = stream->medium.size,
		.block_size = block_size,
		.alignment = options->alignment ? options->alignment
			     : small            ? 8
						: LINE_BYTES,
		.created_ns = stream_time_ns(),
	};
	if (!is_power_of_two(header->block_size) || header->block_size % FORMAT_BLOCK_MIN)
		return error_set(EINVAL, "block_size %zu is not a power of two and a multiple of %d",
				 (size_t)header->block_size, FORMAT_BLOCK_MIN);
	if (header->alignment != 8 && header->alignment != LINE_BYTES)
		return error_set(EINVAL, "entries can be aligned to 8 or %d bytes, not to %u", LINE_BYTES,
				 header->alignment);
	if (header->block_size > header->size ||
	    format_arena_end(header->size, header->block_size) <= format_arena_off(header->block_size))
		return error_set(EINVAL, "%zu bytes are too few for a stream with blocks of %zu: it needs at least %zu",
				 stream->medium.size, (size_t)header->block_size,
				 (size_t)(format_arena_off(header->block_size) + header->block_size));
	if (header->size > FORMAT_EXTENT_USED * FORMAT_LIMIT_UNIT)
		return error_set(EFBIG, "a stream has at most %zu bytes",
				 (size_t)(FORMAT_EXTENT_USED * FORMAT_LIMIT_UNIT));
	if (fill_random(header->uuid, sizeof(header->uuid)))
		return -1;
	header->uuid[6] = (unsigned char)((header->uuid[6] & 0x0f) | 0x40); /* RFC 4122: random */
	header->uuid[8] = (unsigned char)((header->uuid[8] & 0x3f) | 0x80);
	return header->salt ? 0 : fill_random(&header->salt, sizeof(header->salt));
}

/* The stream's header: that of the medium, or of a stream that is created there. */
static int find_header(struct pmemstream *stream, const struct stream_options *options, bool copy_valid[2])
{
	switch (create_recognise(&stream->medium, &stream->header, copy_valid)) {
	case FOUND_STREAM:
		if (options->block_size && options->block_size != stream->header.block_size)
			return error_set(EINVAL, "the stream has blocks of %zu bytes, not of %zu",
					 (size_t)stream->header.block_size, (size_t)options->block_size);
		if (stream->header.read_only)
			stream->writable = false;
		stream->arena_off = format_arena_off(stream->header.block_size);
		return 0;
	case FOUND_EMPTY:
		if (options->must_exist)
			return error_set(EINVAL, "no stream: it is empty, or its creation was cut off; "
						 "PMEMSTREAM_CREATE makes one of it");
		if (prepare_header(stream, options))
			return -1;
		if (!stream->writable)
			return error_set(EROFS, "an empty map that is read-only: there is no stream to read");
		stream->arena_off = format_arena_off(stream->header.block_size);
		copy_valid[0] = copy_valid[1] = true;
		return create_stream(stream);
	default:
		return -1;
	}
}

/* Which timestamps are there, and which of them a power cut could not take: for a reader, what some entry or slot
 * vouches for. */
static void set_marks(struct pmemstream *stream, const struct recovery *recovery)
{
	uint64_t persisted = recovery->kept;

	if (!stream->writable)
		persisted =
			recovery->watermark > recovery->slot.persisted ? recovery->watermark : recovery->slot.persisted;
	if (persisted > recovery->kept)
		persisted = recovery->kept;
	atomic_store(&stream->committed, recovery->kept);
	atomic_store(&stream->persisted, persisted);
	atomic_store(&stream->next, recovery->kept + 1);
	stream->opened_at = recovery->kept;
	for (size_t i = 0; i < recovery->region_count; i++) {
		struct region *region = recovery->regions[i].region;
		region->slot_off = region->off + recovery->regions[i].slot.tail_off;
		atomic_store(&region->covered, recovery->regions[i].slot.persisted);
		atomic_store(&region->covered_off, region->slot_off);
		if (region->tail_off == region->slot_off)
			continue;
		stream->appended_bytes += region->tail_off - region->slot_off;
		region->grew = true;
		region->next_grown = stream->grown;
		stream->grown = region;
	}
}

static int recover(struct pmemstream *stream, const struct stream_options *options)
{
	struct recovery recovery = {0};
	bool copy_valid[2];

	int err = find_header(stream, options, copy_valid);
	if (err)
		return -1;
	stream->alignment = stream->header.alignment;
	stream->one_pass_bytes = !stream->lines || stream->alignment != LINE_BYTES ? UINT64_MAX
				 : options->one_pass_bytes                         ? options->one_pass_bytes
										   : DEFAULT_ONE_PASS_BYTES;
	recovery.live = options->live;
	recovery.live_limit = options->live_limit;
	err = recover_read(&recovery, stream, stream->medium.size);
	memcpy(recovery.copy_valid, copy_valid, sizeof(copy_valid));
	if (!err) {
		err = recover_scan(&recovery);
		if (err && errno == EBADMSG && !stream->writable && !options->strict &&
		    (!options->live || options->around_damage)) {
			err = options->live ? recover_published(&recovery) : recover_everything(&recovery);
			stream->damaged = !options->live;
		}
	}
	if (!err && stream->writable)
		err = recover_write(&recovery);
	if (!err)
		set_marks(stream, &recovery);
	recover_free(&recovery);
	return err;
}

static void release(struct pmemstream *stream)
{
	extents_free(&stream->extents);
	region_free_all(stream);
	progress_free(stream);
	medium_close(&stream->medium);
	pthread_mutex_destroy(&stream->admin);
	pthread_mutex_destroy(&stream->rare);
	free(stream->failed_timestamps);
	free(stream->operations);
	free(stream->slots);
	free(stream);
}

void stream_renumber(struct pmemstream *stream)
{
	static _Atomic uint64_t numbers;

	atomic_store_explicit(&stream->serial, atomic_fetch_add(&numbers, 1) + 1, memory_order_release);
}

static struct pmemstream *new_stream(const struct stream_options *options, bool writable)
{
	size_t bytes = (sizeof(struct pmemstream) + LINE_BYTES - 1) / LINE_BYTES * LINE_BYTES;
	struct pmemstream *stream = aligned_alloc(LINE_BYTES, bytes);

	if (!stream) {
		error_set(ENOMEM, "no memory for a stream");
		return NULL;
	}
	memset(stream, 0, bytes);
	stream_renumber(stream);
	stream->writable = writable;
	/* A reader hands out no timestamps, and reads a stream as often as its writer changes it. */
	stream->window = !writable ? 1 : options->window ? options->window : DEFAULT_WINDOW;
	stream->round_bytes = options->round_bytes ? options->round_bytes : DEFAULT_ROUND_BYTES;
	stream->reservation_ns = options->reservation_ns ? options->reservation_ns : DEFAULT_RESERVATION_NS;
	size_t lines = stream->window + (writable ? THREAD_SLOT_SHARED : 0);
	stream->slots = aligned_alloc(LINE_BYTES, lines * LINE_BYTES);
	if (!stream->slots) {
		error_set(ENOMEM, "no memory for a window of %zu entries", (size_t)stream->window);
		free(stream);
		return NULL;
	}
	memset(stream->slots, 0, lines * LINE_BYTES);
	stream->notes = writable ? (struct window_note *)(stream->slots + stream->window) : NULL;
	if (progress_init(stream)) {
		free(stream->slots);
		free(stream);
		return NULL;
	}
	extents_init(&stream->extents);
	stream->event_fd = -1;
	pthread_mutex_init(&stream->admin, NULL);
	pthread_mutex_init(&stream->rare, NULL);
	return stream;
}

void stream_discard(struct pmemstream *stream)
{
	int err = errno;

	stream->medium.counters = NULL;
	release(stream);
	errno = err;
}

int stream_open(struct pmemstream **out, struct medium *medium, const struct stream_options *options)
{
	if (options->window & (options->window - 1))
		return error_set(EINVAL, "a window of %u entries is not a power of two", options->window);
	struct pmemstream *stream = new_stream(options, medium->writable);
	if (!stream)
		return -1;
	stream->medium = *medium;
	stream->lines = medium->granularity != MEDIUM_PAGE;
	if (recover(stream, options)) {
		stream_discard(stream);
		return -1;
	}
	*out = stream;
	return 0;
}

EXPORT int pmemstream_from_map(struct pmemstream **stream, size_t block_size, struct pmem2_map *map)
{
	struct stream_options options = {.block_size = block_size};
	struct medium_access access;
	struct medium medium;

	if (!stream || !map)
		return error_set(EINVAL, "no %s", map ? "place for the stream" : "map");
	if (!is_power_of_two(block_size) || block_size % FORMAT_BLOCK_MIN)
		return error_set(EINVAL, "block_size %zu is not a power of two and a multiple of %d", block_size,
				 FORMAT_BLOCK_MIN);
	if (medium_access(pmem2_map_get_address(map), pmem2_map_get_size(map), &access))
		return -1;
	if (!access.shared)
		return error_set(EINVAL, "the map is private: what is appended would never reach the file");
	if (medium_from_map(&medium, map, access.writable))
		return -1;
	if (getenv("PMEMSTREAM_PREFAULT_AT_OPEN") || getenv("PREFAULT_AT_OPEN"))
		medium_prefault(&medium);
	if (stream_open(stream, &medium, &options)) {
		int err = errno;
		medium_close(&medium);
		errno = err;
		return -1;
	}
	return 0;
}

/* Reservations end without a trace; started copies are finished, and everything is durable. */
static int settle(struct pmemstream *stream)
{
	uint64_t last = atomic_load_explicit(&stream->next, memory_order_acquire) - 1;
	unsigned turn = 0;
	int reached;

	spinlock_take(&stream->order);
	for (struct region *region = stream->reservations; region; region = region->next_reserved)
		region->reserved = false;
	stream->reservations = NULL;
	spinlock_leave(&stream->order);
	/* Also after a failed sync: nobody is to copy into the map, or out of the caller's memory, when we are gone. */
	while (mover_poll(stream, last) != MOVER_NOTHING)
		spinlock_backoff(turn++);
	if (!stream->writable)
		return -1;
	while ((reached = persist_try(stream, last)) == 0)
		spinlock_backoff(turn++);
	return reached < 0 ? -1 : 0;
}

EXPORT void pmemstream_delete(struct pmemstream **stream)
{
	int err = errno;
	unsigned turn = 0;

	if (!stream || !*stream)
		return;
	event_close(*stream);
	/* Who sleeps in a call wakes up with ECANCELED and leaves. */
	atomic_store(&(*stream)->closing, true);
	while (atomic_load(&(*stream)->progress.waiters) || atomic_load(&(*stream)->progress.inside)) {
		progress_wake(*stream);
		if ((*stream)->follower)
			follow_wake(*stream);
		spinlock_backoff(turn++);
	}
	bool settled = !settle(*stream);
	/* Also waits for who freed a region and was told ECANCELED. */
	pthread_mutex_lock(&(*stream)->admin);
	if (settled)
		checkpoint_round(*stream, FORMAT_CLEAN);
	pthread_mutex_unlock(&(*stream)->admin);
	path_close(*stream);
	struct file *file = (*stream)->file;
	release(*stream);
	path_release(file);
	*stream = NULL;
	errno = err;
}

EXPORT const char *pmemstream_errormsg(void)
{
	return error_message();
}
