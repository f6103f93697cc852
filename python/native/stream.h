/*
 * stream.h: libpmemstream behind a guard, as nvm.pmemstream calls it.
 *
 * Every function fails with -1 or NULL and a failure (guard.h). What belongs to a stream (cursors, batches, series)
 * ends with it, whoever still refers to it, and is used by one thread at a time, whoever calls.
 */
#ifndef NATIVE_STREAM_H
#define NATIVE_STREAM_H

#include <libpmemstream.h>
#include <sys/uio.h>

struct stream;

/* An entry, and what tells it from any other that lies at its place later. */
struct stream_entry {
	uint64_t offset, timestamp, size;
	uint64_t region; /* offset; UINT64_MAX: not known */
};

/* A region, and what tells it from any other at its place. runtime: NULL until the first append; the library's. */
struct stream_region {
	uint64_t offset, generation;
	struct pmemstream_region_runtime *runtime;
};

/* create: the file must not exist. */
struct stream *stream_open(const char *path, const struct pmemstream_config *config, int create);
/* 0, also when it was closed already, or another thread stays inside for longer than the patience. Calls that wait in
 * other threads fail with ECANCELED. */
int stream_close(struct stream *stream, int patience_ms);
/* Closes it, and frees the memory when nothing that belongs to it is left. Leaves the thread's failure alone. */
void stream_release(struct stream *stream);
int stream_is_closed(struct stream *stream);

int stream_allocate(struct stream *stream, uint64_t bytes, const char *label, struct stream_region *region);
int stream_free(struct stream *stream, const struct stream_region *region);
int stream_find(struct stream *stream, const char *label, struct stream_region *region);
/* In order of allocation; count: room, gets how many there are. */
int stream_list(struct stream *stream, struct stream_region *regions, size_t *count);
/* ESTALE: it was freed. available: bytes that are free. */
int stream_info(struct stream *stream, const struct stream_region *region, struct pmemstream_region_info *info,
		uint64_t *available);

int stream_append(struct stream *stream, struct stream_region *region, const void *data, size_t bytes,
		  struct stream_entry *entry);
int stream_appendv(struct stream *stream, struct stream_region *region, const struct iovec *pieces, size_t count,
		   struct stream_entry *entry);
/* The entry is on its way; its bytes are copied already. */
int stream_append_begin(struct stream *stream, struct stream_region *region, const void *data, size_t bytes,
			struct stream_entry *entry);

/* The address of the entry's bytes; 0 on failure: ESTALE, it is there no longer; EBADMSG, damaged. */
uintptr_t stream_look(struct stream *stream, uint64_t offset, uint64_t timestamp, size_t bytes);
/* Copies them out, whole. to: room for the size. */
int stream_copy(struct stream *stream, uint64_t offset, uint64_t timestamp, size_t bytes, void *to);

int64_t stream_committed(struct stream *stream);
int64_t stream_persisted(struct stream *stream);
enum { WAIT_COMMITTED, WAIT_PERSISTED, WAIT_NEWER };
int stream_wait(struct stream *stream, int what, uint64_t timestamp, uint64_t timeout_ns);
int stream_cancel_waits(struct stream *stream);
int stream_event(struct stream *stream); /* the library's eventfd: to be duplicated, not closed */
int64_t stream_entry_space(struct stream *stream, size_t bytes);
int stream_resize(struct stream *stream, size_t bytes);
int stream_statistics(struct stream *stream, struct pmemstream_statistics *statistics);

/*
 * Entries of a region, or of all in timestamp order where region is NULL, with timestamps from since up to, but
 * without, until. fill gives up to room entries, 0 when no more are committed now, -1 also with EBADMSG: damage, which
 * the next call passes.
 */
struct cursor;
struct cursor *cursor_new(struct stream *stream, const struct stream_region *region, uint64_t since, uint64_t until);
int cursor_fill(struct cursor *cursor, struct stream_entry *entries, int room);
/* The same with the entries' bytes, one behind the other, as many as there is room for. Where not even the first has
 * room, room + 1 is returned, entries[0] tells its size, and the cursor stays. */
int cursor_copy(struct cursor *cursor, struct stream_entry *entries, int room, void *to, size_t bytes);
void cursor_release(struct cursor *cursor);

/* What was added becomes durable all or none. After commit, or abort, it is over. */
struct batch;
struct batch *batch_new(struct stream *stream);
int batch_add(struct batch *batch, struct stream_region *region, const void *data, size_t bytes);
/* 0, also when it is over. */
int batch_abort(struct batch *batch);
/* count: how many entries there is room for, then how many were added. If that is more, nothing was committed. */
int batch_commit(struct batch *batch, struct stream_entry *entries, size_t *count);
void batch_release(struct batch *batch);

struct series;
struct series *series_new(struct stream *stream, const char *name, const struct pmemstream_series_config *config);
int series_append(struct series *series, const void *data, size_t bytes, struct stream_entry *entry);
int series_retain(struct series *series);
int series_close(struct series *series);
void series_release(struct series *series);
int series_regions(struct stream *stream, const char *name, struct stream_region *regions, size_t *count);

/*
 * A thread of the stream's own makes durable what is asked for, in as few syncs as there are turns, and writes to every
 * watching eventfd after each. It is started by the first watch. err: 0, or why a sync failed.
 */
int persist_watch(struct stream *stream, int fd);
int persist_unwatch(struct stream *stream, int fd);
int persist_request(struct stream *stream, uint64_t timestamp);
int persist_state(struct stream *stream, uint64_t *done, int *err);

#endif
