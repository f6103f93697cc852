/*
 * follow.c: a read-only stream beside a writer in another process.
 *
 * View      what the reader knows: regions with tails, how far it shows, the epoch. It is made by reading the medium
 * like recovery, and made anew when the epoch or the allocator's applied number changed, or the stream slots while no
 * writer lives. In between only the tails move: behind a tail an entry counts if it is of the writer's epoch and not
 * above what the writer published; an entry that an earlier recovery dropped is of an older epoch. Reading   beside a
 * writer is repeated until nothing changed meanwhile; what does not check while something changed is no damage. Threads
 * the follower's mutex makes it one look at a time; iterators go on beside it as they do beside a writer. Writer never
 * waits for a reader: the only thing that a reader writes is the sleepers word, where the file's permissions let it.
 */
#include "stream/follow.h"

#include "base/error.h"
#include "stream/allocator.h"
#include "stream/area.h"
#include "stream/file.h"
#include "stream/progress.h"

#include <errno.h>
#include <libpmem2.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { TRIES = 400, TRY_NS = 1000000, SLEEP_MIN_NS = 1000000, SLEEP_MAX_NS = 50000000 };

struct follower {
	pthread_mutex_t mutex;
	struct stream_options options;
	bool committed; /* show what is committed, not what is durable */
	bool live;      /* a writer was there at the last look */
	bool died;      /* it is gone since, and nobody was told yet */
	uint64_t applied_word;
	unsigned char slots[2][FORMAT_SLOT_BYTES];
	struct file page_file; /* the first page, writable: to register as a sleeper */
	struct medium page;
	bool registers;
	_Atomic uint64_t cancels;
};

/* What tells that a view is out of date. */
struct fingerprint {
	struct area_view area;
	uint64_t applied_word;
	unsigned char slots[2][FORMAT_SLOT_BYTES];
};

static int take_fingerprint(struct file *file, struct medium *medium, struct fingerprint *print)
{
	if (medium->size < MEDIUM_PAGE_BYTES)
		return error_set(EINVAL, "%s is too small for a stream", file->path);
	if (area_look(file, medium, &print->area))
		return -1;
	print->applied_word = le64_load(medium->base + FORMAT_APPLIED_OFF);
	for (int i = 0; i < 2; i++)
		memcpy(print->slots[i], medium->base + FORMAT_STREAM_SLOT_OFF + i * FORMAT_STREAM_SLOT_STRIDE,
		       FORMAT_SLOT_BYTES);
	return 0;
}

/* Whether a view that was made at one time still holds at another. */
static bool same(const struct fingerprint *then, const struct fingerprint *now)
{
	if (then->area.live != now->area.live || then->applied_word != now->applied_word)
		return false;
	return then->area.live ? then->area.epoch == now->area.epoch
			       : !memcmp(then->slots, now->slots, sizeof(then->slots));
}

static void nap(uint64_t ns)
{
	struct timespec interval = {.tv_nsec = (long)ns};

	nanosleep(&interval, NULL);
}

/* Maps what the writer made the file grow by. */
static int map_growth(struct file *file, struct medium *medium)
{
	struct format_header header;
	struct stat status;

	if (!format_header_decode((const unsigned char *)medium->base, &header) || header.size <= file->bytes)
		return 0;
	if (fstat(file->fd, &status))
		return error_system("%s", file->path);
	if ((uint64_t)status.st_size < header.size)
		return 0;
	if (file_map_more(file, header.size))
		return -1;
	medium->size = header.size;
	return 0;
}

/* Reads the stream as it is now into a stream of its own, which shares the medium. */
static int read_view(struct file *file, struct medium *medium, struct stream_options options, bool committed,
		     struct pmemstream **view, struct fingerprint *print)
{
	for (unsigned attempt = 0;; attempt++) {
		struct fingerprint after;
		if (take_fingerprint(file, medium, print) || map_growth(file, medium))
			return -1;
		int recovering = print->area.live ? 0 : file_is_locked(file, FILE_LOCK_WRITER);
		if (recovering < 0)
			return -1;
		options.live = print->area.live;
		options.live_limit = committed ? print->area.committed : print->area.persisted;
		int err = recovering ? error_set(EAGAIN, "a writer is opening the stream")
				     : stream_open(view, medium, &options);
		int kept = errno;
		if (take_fingerprint(file, medium, &after))
			kept = errno;
		else if (!err && same(print, &after))
			return 0;
		else if (err && !print->area.live && !recovering && same(print, &after))
			attempt = TRIES; /* nobody changed anything: it is so */
		if (!err)
			stream_discard(*view);
		if (attempt >= TRIES) {
			errno = err ? kept : EAGAIN;
			return err && !print->area.live && !recovering
				       ? -1
				       : error_set(EAGAIN, "a writer changes the stream faster than it can be read");
		}
		nap(TRY_NS);
	}
}

/* Registering needs the first page writable; without permission the reader sleeps in timed waits instead. */
static void prepare_registration(struct follower *follower, const struct file *file)
{
	if (file_open(&follower->page_file, file->path, true))
		return;
	follower->registers = !file_medium_page(&follower->page_file, &follower->page);
	if (!follower->registers)
		file_close(&follower->page_file);
	error_clear();
}

int follow_open(struct pmemstream **stream, struct file *file, struct medium *medium,
		const struct stream_options *options, bool committed)
{
	struct fingerprint print;
	struct follower *follower = calloc(1, sizeof(*follower));

	if (!follower)
		return error_set(ENOMEM, "no memory to follow %s", file->path);
	if (read_view(file, medium, *options, committed, stream, &print)) {
		int err = errno;
		free(follower);
		errno = err;
		return -1;
	}
	pthread_mutex_init(&follower->mutex, NULL);
	follower->options = *options;
	follower->committed = committed;
	follower->live = print.area.live;
	follower->applied_word = print.applied_word;
	memcpy(follower->slots, print.slots, sizeof(print.slots));
	prepare_registration(follower, file);
	(*stream)->follower = follower;
	return 0;
}

void follow_close(struct pmemstream *stream)
{
	struct follower *follower = stream->follower;

	if (follower->registers) {
		medium_close(&follower->page);
		file_close(&follower->page_file);
	}
	pthread_mutex_destroy(&follower->mutex);
	free(follower);
	stream->follower = NULL;
}

/* Takes one region of a fresh view over: into the same region where it is known, else into a new one. */
static struct region *take_over(struct pmemstream *stream, struct region *fresh)
{
	uint64_t off;
	struct region *known = extents_find(&stream->extents, fresh->off, &off);

	if (known && known->generation == fresh->generation) {
		if (fresh->tail_off > known->tail_off)
			atomic_store_explicit(&known->tail_off, fresh->tail_off, memory_order_release);
		return known;
	}
	struct region *made = region_new(stream);
	if (!made)
		return NULL;
	uint64_t generation = fresh->generation;
	allocator_fill_region(stream, made, fresh->off, fresh->end_off, generation, fresh->tail_off, fresh->limit_off);
	made->trusted_off = fresh->trusted_off;
	return made;
}

static int merge(struct pmemstream *stream, struct pmemstream *view)
{
	size_t count = extents_count(&view->extents), former_count = extents_count(&stream->extents);
	struct extent_view *extents = calloc(count + former_count, sizeof(*extents));
	struct extent_view *former = extents + count;

	if (!extents || extents_reserve(&stream->extents, count)) {
		free(extents);
		return error_set(ENOMEM, "no memory for %zu extents", count);
	}
	for (size_t i = 0; i < former_count; i++)
		former[i] = extents_get(&stream->extents, i);
	for (size_t i = 0; i < count; i++) {
		extents[i] = extents_get(&view->extents, i);
		if (!extents[i].region)
			continue;
		extents[i].region = take_over(stream, extents[i].region);
		if (!extents[i].region) {
			free(extents);
			return -1;
		}
	}
	extents_replace(&stream->extents, extents, count);
	/* What is not there any more was freed. */
	for (size_t i = 0; i < former_count; i++) {
		uint64_t off;
		if (former[i].region && extents_find(&stream->extents, former[i].off, &off) != former[i].region)
			region_release(stream, former[i].region);
	}
	free(extents);
	stream->header = view->header;
	stream->epoch = view->epoch;
	return 0;
}

/* Under the follower's mutex. */
static int look(struct pmemstream *stream)
{
	struct follower *follower = stream->follower;
	struct fingerprint print, known = {.area = {.live = follower->live, .epoch = stream->epoch},
					   .applied_word = follower->applied_word};

	memcpy(known.slots, follower->slots, sizeof(known.slots));
	if (take_fingerprint(stream->file, &stream->medium, &print))
		return -1;
	if (!same(&known, &print)) {
		struct pmemstream *view;
		if (!print.area.live && file_is_locked(stream->file, FILE_LOCK_WRITER) > 0)
			return 0; /* a writer recovers: what is known stays until it is ready */
		if (read_view(stream->file, &stream->medium, follower->options, follower->committed, &view, &print))
			return errno == EAGAIN ? 0 : -1;
		int err = merge(stream, view);
		if (!err && !print.area.live) {
			atomic_store(&stream->committed, atomic_load(&view->committed));
			atomic_store(&stream->persisted, atomic_load(&view->persisted));
		}
		stream_discard(view);
		if (err)
			return -1;
		follower->died = follower->live && !print.area.live;
		follower->live = print.area.live;
		follower->applied_word = print.applied_word;
		memcpy(follower->slots, print.slots, sizeof(print.slots));
	}
	if (print.area.live) {
		atomic_store_explicit(&stream->persisted, print.area.persisted, memory_order_release);
		atomic_store_explicit(&stream->committed,
				      follower->committed ? print.area.committed : print.area.persisted,
				      memory_order_release);
	}
	return 0;
}

int follow_look(struct pmemstream *stream)
{
	pthread_mutex_lock(&stream->follower->mutex);
	int err = look(stream);
	pthread_mutex_unlock(&stream->follower->mutex);
	return err;
}

/* Moves the tail over the entries that the writer added and published. */
static void walk(struct pmemstream *stream, struct region *region)
{
	uint64_t shown = atomic_load_explicit(&stream->committed, memory_order_acquire);
	uint64_t off = atomic_load_explicit(&region->tail_off, memory_order_relaxed);
	uint64_t end_off = atomic_load_explicit(&region->end_off, memory_order_relaxed);
	struct format_entry entry;

	while (off < end_off && format_entry_decode(stream_at(stream, off), region->seed, off, end_off - off, &entry) &&
	       entry.epoch == stream->epoch && entry.timestamp <= shown) {
		const char *data = stream_at(stream, off + FORMAT_ENTRY_HEADER_BYTES);
		if (!(entry.flags & FORMAT_FILLER) && format_data_crc(data, entry.size) != entry.data_crc)
			region->trusted_off = UINT64_MAX; /* damaged already: from now on every read checks */
		off += format_entry_space(entry.size, stream->alignment);
		atomic_store_explicit(&region->tail_off, off, memory_order_release);
	}
}

uint64_t follow_safe_off(struct pmemstream *stream, struct region *region)
{
	pthread_mutex_lock(&stream->follower->mutex);
	if (!look(stream) && stream->follower->live)
		walk(stream, region);
	uint64_t tail_off = atomic_load_explicit(&region->tail_off, memory_order_relaxed);
	pthread_mutex_unlock(&stream->follower->mutex);
	return tail_off;
}

/* 0 reached, 1 not yet, -1 with errno. */
static int look_for(struct pmemstream *stream, uint64_t timestamp)
{
	struct follower *follower = stream->follower;

	pthread_mutex_lock(&follower->mutex);
	int err = look(stream);
	bool died = !err && follower->died;
	if (!err && atomic_load_explicit(&stream->committed, memory_order_relaxed) >= timestamp)
		died = false;
	else if (!err)
		err = 1;
	if (died)
		follower->died = false;
	pthread_mutex_unlock(&follower->mutex);
	return died ? error_set(EOWNERDEAD, "the process that wrote the stream has closed it or died") : err;
}

int follow_wait(struct pmemstream *stream, uint64_t timestamp, uint64_t deadline_ns)
{
	struct follower *follower = stream->follower;
	uint64_t cancels = atomic_load(&follower->cancels), sleep_ns = SLEEP_MIN_NS;
	bool registered = false;

	for (;;) {
		uint32_t futex = area_futex(stream);
		int verdict = look_for(stream, timestamp);
		uint64_t now = progress_now_ns();
		if (verdict <= 0)
			return verdict;
		if (atomic_load(&follower->cancels) != cancels || atomic_load(&stream->closing))
			return error_set(ECANCELED, "the wait was cancelled");
		if (now >= deadline_ns)
			return error_set(ETIMEDOUT, "no entry with timestamp %zu in time", (size_t)timestamp);
		if (follower->registers && !registered) {
			area_register(&follower->page);
			registered = true;
			continue; /* look again, now that the writer will wake us */
		}
		if (registered)
			sleep_ns = SLEEP_MAX_NS;
		area_sleep(stream, futex, deadline_ns - now < sleep_ns ? deadline_ns - now : sleep_ns);
		sleep_ns = sleep_ns * 2 < SLEEP_MAX_NS ? sleep_ns * 2 : SLEEP_MAX_NS;
		registered = false;
	}
}

void follow_cancel(struct pmemstream *stream)
{
	atomic_fetch_add(&stream->follower->cancels, 1);
	area_wake_sleepers(stream);
}
