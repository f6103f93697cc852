/*
 * stream.c: libpmemstream behind a guard: opening and closing, regions, entries, waits.
 *
 * Waits    what may take for ever is pmemstream_wait_newer, which closing cancels; a wait for a timestamp that was
 *          given out already ends by itself. So a wait for a timestamp begins with one for its being given out.
 * Regions  Python names a region by offset and generation. A change goes through the library's runtime handle or
 *          checks the generation, so that none reaches a region that took another one's place.
 */
#include "part.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { READER_TURN_NS = 20000000 };

int stream_failure(void)
{
	int err = errno ? errno : EIO;
	const char *text = pmemstream_errormsg();

	return failure_set(err, text[0] ? text : strerror(err));
}

struct stream *stream_open(const char *path, const struct pmemstream_config *config, int create)
{
	struct stream *stream = calloc(1, sizeof(*stream));

	if (!stream) {
		failure_set(ENOMEM, "no memory for a stream");
		return NULL;
	}
	if (create ? pmemstream_create(&stream->stream, path, config)
		   : pmemstream_open(&stream->stream, path, config)) {
		stream_failure();
		free(stream);
		return NULL;
	}
	guard_init(&stream->guard, false);
	atomic_init(&stream->references, 1);
	stream->read_only = config->flags & PMEMSTREAM_READ_ONLY;
	pthread_mutex_init(&stream->parts_mutex, NULL);
	pthread_mutex_init(&stream->free_mutex, NULL);
	return stream;
}

static void cancel(void *arg)
{
	pmemstream_cancel_waits(((struct stream *)arg)->stream);
}

int stream_close(struct stream *stream, int patience_ms)
{
	int turn = guard_shut(&stream->guard, patience_ms, cancel, stream);

	if (turn == 1) {
		persist_end(stream);
		parts_end_all(stream);
		pmemstream_delete(&stream->stream);
	}
	return turn < 0 ? -1 : 0;
}

void stream_unreference(struct stream *stream)
{
	if (atomic_fetch_sub(&stream->references, 1) != 1)
		return;
	pthread_mutex_destroy(&stream->parts_mutex);
	pthread_mutex_destroy(&stream->free_mutex);
	free(stream);
}

void stream_release(struct stream *stream)
{
	if (guard_is_foreign(&stream->guard))
		return;
	stream_close(stream, PATIENCE_ENDLESS);
	stream_unreference(stream);
}

int stream_is_closed(struct stream *stream)
{
	struct stay stay;

	if (guard_enter(&stream->guard, &stay))
		return 1;
	guard_leave(&stay);
	return 0;
}

/* Around one call of the library. */
#define INSIDE(stream, result, call)                                                                                   \
	do {                                                                                                           \
		struct stay stay;                                                                                      \
		if (guard_enter(&(stream)->guard, &stay))                                                              \
			return -1;                                                                                     \
		result = call;                                                                                         \
		guard_leave(&stay);                                                                                    \
	} while (0)

int stream_check_region(struct stream *stream, const struct stream_region *region, struct pmemstream_region_info *info)
{
	struct pmemstream_region place = {.offset = region->offset};
	int err = pmemstream_region_get_info(stream->stream, place, info);

	if (err && errno != EINVAL)
		return stream_failure();
	if (err || info->generation != region->generation)
		return failure_set(ESTALE, "the region was freed");
	return 0;
}

static int identify(struct stream *stream, struct pmemstream_region place, struct stream_region *region)
{
	struct pmemstream_region_info info;

	if (pmemstream_region_get_info(stream->stream, place, &info))
		return stream_failure();
	*region = (struct stream_region){.offset = place.offset, .generation = info.generation};
	return 0;
}

static int allocate(struct stream *stream, uint64_t bytes, const char *label, struct stream_region *region)
{
	struct pmemstream_region place;

	if (pmemstream_region_allocate_labeled(stream->stream, bytes, label, &place))
		return stream_failure();
	return identify(stream, place, region);
}

int stream_allocate(struct stream *stream, uint64_t bytes, const char *label, struct stream_region *region)
{
	int err;

	INSIDE(stream, err, allocate(stream, bytes, label, region));
	return err;
}

static int free_region(struct stream *stream, const struct stream_region *region)
{
	struct pmemstream_region place = {.offset = region->offset};
	struct pmemstream_region_info info;

	/* One at a time: whoever frees it second finds another generation, or none. */
	pthread_mutex_lock(&stream->free_mutex);
	int err = stream_check_region(stream, region, &info);
	if (!err && pmemstream_region_free(stream->stream, place))
		err = stream_failure();
	pthread_mutex_unlock(&stream->free_mutex);
	return err;
}

int stream_free(struct stream *stream, const struct stream_region *region)
{
	int err;

	INSIDE(stream, err, free_region(stream, region));
	return err;
}

static int find(struct stream *stream, const char *label, struct stream_region *region)
{
	struct pmemstream_region place;

	if (pmemstream_region_find(stream->stream, label, &place))
		return stream_failure();
	return identify(stream, place, region);
}

int stream_find(struct stream *stream, const char *label, struct stream_region *region)
{
	int err;

	INSIDE(stream, err, find(stream, label, region));
	return err;
}

static int list(struct stream *stream, struct stream_region *regions, size_t *count)
{
	struct pmemstream_region_iterator *iterator;
	size_t used = 0;

	if (pmemstream_region_iterator_new(&iterator, stream->stream))
		return stream_failure();
	pmemstream_region_iterator_seek_first(iterator);
	for (;; pmemstream_region_iterator_next(iterator)) {
		struct pmemstream_region place = pmemstream_region_iterator_get(iterator);
		struct stream_region region;
		if (place.offset == UINT64_MAX && errno != ESTALE)
			break;
		if (place.offset == UINT64_MAX || identify(stream, place, &region))
			continue; /* freed meanwhile */
		if (used < *count)
			regions[used] = region;
		used++;
	}
	pmemstream_region_iterator_delete(&iterator);
	*count = used;
	return 0;
}

int stream_list(struct stream *stream, struct stream_region *regions, size_t *count)
{
	int err;

	INSIDE(stream, err, list(stream, regions, count));
	return err;
}

static int info_of(struct stream *stream, const struct stream_region *region, struct pmemstream_region_info *info,
		   uint64_t *available)
{
	struct pmemstream_region place = {.offset = region->offset};

	*available = pmemstream_region_usable_size(stream->stream, place);
	return stream_check_region(stream, region, info);
}

int stream_info(struct stream *stream, const struct stream_region *region, struct pmemstream_region_info *info,
		uint64_t *available)
{
	int err;

	INSIDE(stream, err, info_of(stream, region, info, available));
	return err;
}

void stream_describe(struct stream *stream, struct pmemstream_entry place, size_t bytes, uint64_t region,
		     struct stream_entry *entry)
{
	*entry = (struct stream_entry){
		.offset = place.offset,
		.timestamp = pmemstream_entry_timestamp(stream->stream, place),
		.size = bytes,
		.region = region,
	};
}

enum how { APPEND, APPEND_PIECES, APPEND_BEGIN };

struct content {
	enum how how;
	const void *data; /* or an array of struct iovec */
	size_t bytes;     /* or how many of them */
};

static struct data_mover_sync *mover;

__attribute__((constructor)) static void make_mover(void)
{
	mover = data_mover_sync_new();
}

int stream_resolve(struct stream *stream, struct stream_region *region)
{
	struct pmemstream_region place = {.offset = region->offset};
	struct pmemstream_region_runtime *runtime;
	struct pmemstream_region_info info;

	if (region->runtime)
		return 0;
	/* Of whoever is there now; then it is compared, and from then on it is refused when the region is freed. */
	if (pmemstream_region_runtime_initialize(stream->stream, place, &runtime))
		return errno == EINVAL ? failure_set(ESTALE, "the region was freed") : stream_failure();
	if (stream_check_region(stream, region, &info))
		return -1;
	region->runtime = runtime;
	return 0;
}

static int append(struct stream *stream, struct stream_region *region, const struct content *content,
		  struct stream_entry *entry)
{
	struct pmemstream_region place = {.offset = region->offset};
	struct pmemstream_entry made;
	size_t bytes = content->bytes;
	int err;

	if (stream_resolve(stream, region))
		return -1;
	switch (content->how) {
	case APPEND:
		err = pmemstream_append(stream->stream, place, region->runtime, content->data, bytes, &made);
		break;
	case APPEND_BEGIN:
		if (!mover)
			return failure_set(ENOMEM, "no memory for a data mover");
		err = pmemstream_async_append(stream->stream, data_mover_sync_get_vdm(mover), place, region->runtime,
					      content->data, bytes, &made);
		break;
	default:
		err = pmemstream_appendv(stream->stream, place, region->runtime, content->data, (int)content->bytes,
					 &made);
		bytes = err ? 0 : pmemstream_entry_size(stream->stream, made);
	}
	if (err)
		return stream_failure();
	stream_describe(stream, made, bytes, region->offset, entry);
	return 0;
}

int stream_append(struct stream *stream, struct stream_region *region, const void *data, size_t bytes,
		  struct stream_entry *entry)
{
	const struct content content = {.how = APPEND, .data = data, .bytes = bytes};
	int err;

	INSIDE(stream, err, append(stream, region, &content, entry));
	return err;
}

int stream_appendv(struct stream *stream, struct stream_region *region, const struct iovec *pieces, size_t count,
		   struct stream_entry *entry)
{
	const struct content content = {.how = APPEND_PIECES, .data = pieces, .bytes = count};
	int err;

	if (count > INT_MAX)
		return failure_set(EINVAL, "too many pieces for one entry");
	INSIDE(stream, err, append(stream, region, &content, entry));
	return err;
}

int stream_append_begin(struct stream *stream, struct stream_region *region, const void *data, size_t bytes,
			struct stream_entry *entry)
{
	const struct content content = {.how = APPEND_BEGIN, .data = data, .bytes = bytes};
	int err;

	INSIDE(stream, err, append(stream, region, &content, entry));
	return err;
}

static const void *look(struct stream *stream, uint64_t offset, uint64_t timestamp, size_t bytes)
{
	struct pmemstream_entry place = {.offset = offset};

	/* Python code can change what an entry says of itself, and must not read beyond it. */
	if (pmemstream_entry_timestamp(stream->stream, place) != timestamp ||
	    pmemstream_entry_size(stream->stream, place) != bytes) {
		failure_set(ESTALE, "the entry is there no longer: its region was freed, or the file damaged");
		return NULL;
	}
	const void *data = pmemstream_entry_data(stream->stream, place);
	if (!data)
		failure_set(EBADMSG, pmemstream_errormsg());
	return data;
}

uintptr_t stream_look(struct stream *stream, uint64_t offset, uint64_t timestamp, size_t bytes)
{
	struct stay stay;

	if (guard_enter(&stream->guard, &stay))
		return 0;
	const void *data = look(stream, offset, timestamp, bytes);
	guard_leave(&stay);
	return (uintptr_t)data;
}

static int copy_out(struct stream *stream, uint64_t offset, uint64_t timestamp, size_t bytes, void *to)
{
	struct pmemstream_entry place = {.offset = offset};
	const void *data = look(stream, offset, timestamp, bytes);

	if (!data)
		return -1;
	memcpy(to, data, bytes);
	/* Its region may have been freed, and used again, while it was copied. */
	if (pmemstream_entry_timestamp(stream->stream, place) == timestamp)
		return 0;
	return failure_set(ESTALE, "the region of the entry was freed");
}

int stream_copy(struct stream *stream, uint64_t offset, uint64_t timestamp, size_t bytes, void *to)
{
	int err;

	INSIDE(stream, err, copy_out(stream, offset, timestamp, bytes, to));
	return err;
}

int64_t stream_committed(struct stream *stream)
{
	int64_t timestamp;

	INSIDE(stream, timestamp, (int64_t)pmemstream_committed_timestamp(stream->stream));
	return timestamp;
}

int64_t stream_persisted(struct stream *stream)
{
	int64_t timestamp;

	INSIDE(stream, timestamp, (int64_t)pmemstream_persisted_timestamp(stream->stream));
	return timestamp;
}

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

/* A reader's wait for a timestamp cannot be cancelled, so it is many short ones. */
static int wait_in_turns(struct stream *stream, int what, uint64_t timestamp, uint64_t timeout_ns)
{
	uint64_t begin_ns = now_ns();

	for (;;) {
		uint64_t waited_ns = now_ns() - begin_ns;
		uint64_t left_ns = waited_ns < timeout_ns ? timeout_ns - waited_ns : 0;
		uint64_t turn_ns = left_ns < READER_TURN_NS ? left_ns : READER_TURN_NS;
		int err = what == WAIT_PERSISTED ? pmemstream_wait_persisted(stream->stream, timestamp, turn_ns)
						 : pmemstream_wait_committed(stream->stream, timestamp, turn_ns);
		if (!err || errno != ETIMEDOUT || turn_ns == left_ns)
			return err ? stream_failure() : 0;
		if (guard_is_closing(&stream->guard))
			return failure_set(ECANCELED, "the stream is being closed");
	}
}

static int wait_for(struct stream *stream, int what, uint64_t timestamp, uint64_t timeout_ns)
{
	uint64_t begin_ns = now_ns();

	if (what == WAIT_NEWER)
		return pmemstream_wait_newer(stream->stream, timestamp, timeout_ns) ? stream_failure() : 0;
	if (!timestamp)
		return failure_set(EINVAL, "0 is no timestamp");
	if (stream->read_only)
		return wait_in_turns(stream, what, timestamp, timeout_ns);
	if (pmemstream_wait_newer(stream->stream, timestamp - 1, timeout_ns))
		return stream_failure();
	uint64_t waited_ns = now_ns() - begin_ns;
	uint64_t left_ns = waited_ns < timeout_ns ? timeout_ns - waited_ns : 0;
	if (what == WAIT_PERSISTED && pmemstream_wait_persisted(stream->stream, timestamp, left_ns))
		return stream_failure();
	return 0;
}

int stream_wait(struct stream *stream, int what, uint64_t timestamp, uint64_t timeout_ns)
{
	int err;

	INSIDE(stream, err, wait_for(stream, what, timestamp, timeout_ns));
	return err;
}

static int cancel_waits(struct stream *stream)
{
	pmemstream_cancel_waits(stream->stream);
	return 0;
}

int stream_cancel_waits(struct stream *stream)
{
	int err;

	INSIDE(stream, err, cancel_waits(stream));
	return err;
}

static int event(struct stream *stream)
{
	int fd = pmemstream_eventfd(stream->stream);

	return fd < 0 ? stream_failure() : fd;
}

int stream_event(struct stream *stream)
{
	int fd;

	INSIDE(stream, fd, event(stream));
	return fd;
}

static int64_t space(struct stream *stream, size_t bytes)
{
	size_t taken = pmemstream_entry_space(stream->stream, bytes);

	return taken ? (int64_t)taken : stream_failure();
}

int64_t stream_entry_space(struct stream *stream, size_t bytes)
{
	int64_t taken;

	INSIDE(stream, taken, space(stream, bytes));
	return taken;
}

static int resize(struct stream *stream, size_t bytes)
{
	return pmemstream_resize(stream->stream, bytes) ? stream_failure() : 0;
}

int stream_resize(struct stream *stream, size_t bytes)
{
	int err;

	INSIDE(stream, err, resize(stream, bytes));
	return err;
}

static int statistics_of(struct stream *stream, struct pmemstream_statistics *statistics)
{
	return pmemstream_get_statistics(stream->stream, statistics) ? stream_failure() : 0;
}

int stream_statistics(struct stream *stream, struct pmemstream_statistics *statistics)
{
	int err;

	INSIDE(stream, err, statistics_of(stream, statistics));
	return err;
}
