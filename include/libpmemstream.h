/*
 * libpmemstream.h: a log made of regions and timestamped entries, on any mappable file.
 *
 * A stream lies in a file that is mapped: persistent memory (DAX, CXL) or an ordinary file on an SSD. It holds regions,
 * each of a size of its own; entries are appended to regions and get timestamps that are dense over the whole stream.
 *
 * The promise. When an append has returned as persisted, that entry and every entry of the stream with a smaller
 * timestamp survive power loss. Nothing that was never submitted is invented, nothing that a completed recovery dropped
 * comes back, and what is readable after a crash is a prefix of the stream in timestamp order. If the medium itself
 * later damages acknowledged data, opening the stream, reading the entry or checking the stream reports it with its
 * place; excepted are only the last entries of an unclean end that no checkpoint or watermark vouches for (at most one
 * window).
 *
 * Errors. A function that fails returns -1, or NULL, 0 or what its comment says; errno is set and pmemstream_errormsg
 * tells what happened where. No output parameter is written on failure. Any function takes NULL and any offset. Common
 * values of errno:
 *
 *   EINVAL     an argument is NULL, no region or entry begins at an offset, a size or alignment is out of range
 *   ESTALE     the region of a runtime handle or iterator was freed
 *   EBUSY      the region has an open reservation or an append inside
 *   EDEADLK    this thread holds a reservation and would have to wait for another thread's
 *   ENOSPC     the region, or the stream, has no room
 *   EROFS      the stream is open for reading only
 *   EBADMSG    the stream is damaged there
 *   EIO        a sync failed, now or earlier: the stream can only be read until it is opened again
 *   ECANCELED  the stream is being deleted by another thread
 *   EOVERFLOW  a number of the stream is used up, after 2^32 openings or 2^40 allocations: copy it
 *   ENOMEM     no memory
 *
 * Threads. Any number of threads may use a stream at once, but pmemstream_delete. An iterator or a future belongs to
 * one thread at a time. A child process may not use its parent's stream. Cost is told in fences (media with cache
 * lines) and syncs (page media).
 */
#ifndef LIBPMEMSTREAM_H
#define LIBPMEMSTREAM_H

#include <libminiasync.h>
#include <libpmem2.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

struct pmemstream;
struct pmemstream_entry_iterator;
struct pmemstream_region_iterator;
struct pmemstream_region_runtime;

/* Named by their place: bytes from the start of the stream. A region or entry keeps it as long as it exists. */
struct pmemstream_region {
	uint64_t offset;
};

struct pmemstream_entry {
	uint64_t offset;
};

/* stream and timestamp are what was asked for; the other words are the library's own. */
struct pmemstream_async_wait_data {
	struct pmemstream *stream;
	uint64_t timestamp;
	uint64_t first_timestamp;
	uint64_t processing_timestamp;
	uint64_t last_timestamp;
};

struct pmemstream_async_wait_output {
	int error_code; /* 0, or -1 */
};

FUTURE(pmemstream_async_wait_fut, struct pmemstream_async_wait_data, struct pmemstream_async_wait_output);

/*
 * Opens the stream in a map, or creates one where the map is empty (docs/format/stream.md says what empty is).
 *
 * stream      gets the stream; delete it with pmemstream_delete.
 * block_size  bytes, a power of two and a multiple of 64: regions are aligned to it. That of an existing stream must
 *             be given again.
 * map         stays the caller's and must outlive the stream. A map without write permission gives a stream that can
 *             be read.
 *
 * The same file must not be open for writing twice; this function cannot tell (see libpmemstream(7)). If
 * PMEMSTREAM_PREFAULT_AT_OPEN or PREFAULT_AT_OPEN is in the environment, every page is touched. Entries are aligned to
 * 64 bytes on media with cache lines and to 8 bytes on page media and where block_size is 64.
 *
 * 0; or -1 with EINVAL (block_size; neither a stream nor empty; map too small or private), ENOTSUP (layout of
 * libpmemstream 0.2, or features of a later version), EBADMSG (damaged, or the file was truncated), EROFS (empty and
 * read-only), EFBIG (the map is larger than a stream can be), EOVERFLOW (2^32 - 2 openings are used up), EIO, ENOMEM.
 * Nothing is changed then. On return all that is readable is durable. Cost: a few fences or syncs; time grows with what
 * was appended since the last checkpoint, not with the stream.
 */
int pmemstream_from_map(struct pmemstream **stream, size_t block_size, struct pmem2_map *map);

/*
 * Closes a stream and sets the pointer to NULL. Started appends are finished and made durable, open reservations end
 * without a trace, checkpoints and a mark of the clean end are written, unless a sync failed. The map stays. NULL, or a
 * pointer to NULL, does nothing. No other call on the stream may begin after this one. Keeps errno. Cost: three fences
 * or syncs.
 */
void pmemstream_delete(struct pmemstream **stream);

/*
 * Allocates a region for entries of together at least size bytes (1 or more), headers and padding included: see
 * pmemstream_entry_space. region may be NULL. 0 and durable; or -1 with EINVAL, ENOSPC, EOVERFLOW, EROFS, EIO, ENOMEM.
 * Cost: four fences or syncs.
 */
int pmemstream_region_allocate(struct pmemstream *stream, size_t size, struct pmemstream_region *region);

/*
 * Frees a region with all its entries, which is the only way to remove entries. Iterators on it become invalid at once.
 * 0 and durable; or -1 with EINVAL, EBUSY, EOVERFLOW, EROFS, EIO, ECANCELED, ENOMEM. Cost: five fences or syncs, and
 * what it takes to make the region's entries durable.
 */
int pmemstream_region_free(struct pmemstream *stream, struct pmemstream_region region);

/* Bytes for entries in the region, used and free; at least what was allocated. 0 with EINVAL on error. */
size_t pmemstream_region_size(struct pmemstream *stream, struct pmemstream_region region);

/* Bytes that are free: an entry fits if pmemstream_entry_space of its size does. Equals pmemstream_region_size as long
 * as the region is empty. 0 with EINVAL on error. */
size_t pmemstream_region_usable_size(struct pmemstream *stream, struct pmemstream_region region);

/*
 * A handle that saves a look-up with each append. The library's own: it is freed with the stream, and refused (ESTALE)
 * when its region was freed. The same region gives the same handle. 0; or -1 with EINVAL, ENOMEM.
 */
int pmemstream_region_runtime_initialize(struct pmemstream *stream, struct pmemstream_region region,
					 struct pmemstream_region_runtime **runtime);

/*
 * Reserves the region's tail for an entry of size bytes that the caller writes himself.
 *
 * region_runtime  may be NULL.
 * reserved_entry  gets the place of the entry, for publish.
 * data            gets where to write; at least 8-byte aligned, good for size bytes.
 *
 * Until publish, nobody else appends to the region: others wait up to a second, then fail with EBUSY; the holder gets
 * EBUSY at once, and EDEADLK where another thread holds a tail that he wants. 0; or -1 with EINVAL, ESTALE, EBUSY,
 * EDEADLK, ENOSPC, EROFS, EIO, ECANCELED. Nothing is durable or visible. Cost: no fence.
 */
int pmemstream_reserve(struct pmemstream *stream, struct pmemstream_region region,
		       struct pmemstream_region_runtime *region_runtime, size_t size,
		       struct pmemstream_entry *reserved_entry, void **data);

/*
 * Makes an entry of what was written to a reservation; from any thread. size is final: it may be smaller than reserved,
 * or larger where it fits. 0, and the entry is visible and durable, with all that have smaller timestamps; or -1 with
 * EINVAL (no such reservation), ESTALE, ENOSPC, EROFS: the reservation stays open; or EIO, ECANCELED. Cost: one fence,
 * or one shared sync.
 */
int pmemstream_publish(struct pmemstream *stream, struct pmemstream_region region,
		       struct pmemstream_region_runtime *region_runtime, struct pmemstream_entry entry, size_t size);

/*
 * Appends an entry.
 *
 * region_runtime  may be NULL.
 * data, size      bytes to copy, any number that fits; size 0 is an entry too, then data may be NULL.
 * new_entry       gets the entry's place; may be NULL.
 *
 * 0, and the entry is visible and durable, with all that have smaller timestamps; or -1 with EINVAL, ESTALE, EBUSY,
 * EDEADLK, ENOSPC, EROFS: nothing was changed; or EIO, ECANCELED: the entry may be there after the next opening. Cost:
 * one fence, or one sync shared with threads that append at the same time; every few MiB two more for a checkpoint.
 */
int pmemstream_append(struct pmemstream *stream, struct pmemstream_region region,
		      struct pmemstream_region_runtime *region_runtime, const void *data, size_t size,
		      struct pmemstream_entry *new_entry);

/* Like pmemstream_publish, but on return the entry is only on its way: pmemstream_entry_timestamp tells what to wait
 * for. Cost: no fence. */
int pmemstream_async_publish(struct pmemstream *stream, struct pmemstream_region region,
			     struct pmemstream_region_runtime *region_runtime, struct pmemstream_entry entry,
			     size_t size);

/*
 * Like pmemstream_append, but on return the copy is only begun. vdm: the data mover that copies; it must live until the
 * entry is committed, but for movers of libminiasync, which may be deleted at any time. data must live, unchanged,
 * until the entry is committed. pmemstream_entry_timestamp of new_entry tells what to wait for, at once. If the mover
 * fails, the timestamp counts as finished, no entry is shown, and a wait for that very timestamp reports it. Also -1
 * with EINVAL (no mover), ENOMEM: nothing was changed. Cost: no fence, unless more than a window (1,024) of entries is
 * on its way.
 */
int pmemstream_async_append(struct pmemstream *stream, struct vdm *vdm, struct pmemstream_region region,
			    struct pmemstream_region_runtime *region_runtime, const void *data, size_t size,
			    struct pmemstream_entry *new_entry);

/* All entries up to this timestamp are committed: iterators show them. 0 on a new stream, and with EINVAL on error. */
uint64_t pmemstream_committed_timestamp(struct pmemstream *stream);

/* All entries up to this timestamp are durable. Never above the committed one. 0 on a new stream, and with EINVAL on
 * error. */
uint64_t pmemstream_persisted_timestamp(struct pmemstream *stream);

/*
 * Futures that complete when all entries up to a timestamp are committed, or persisted. Polling makes the progress. A
 * waker in the notifier is used; it is not called any more once the poll that completes the future has returned, and
 * must not wait for the thread that polls. A timestamp that was not handed out yet is waited for. output.error_code: 0;
 * or -1 with EINVAL (timestamp 0, no stream), EIO (a sync failed, or the mover's copy of that timestamp). Cost of the
 * first that waits for persisted: one fence or sync for all entries that are copied.
 */
struct pmemstream_async_wait_fut pmemstream_async_wait_committed(struct pmemstream *stream, uint64_t timestamp);
struct pmemstream_async_wait_fut pmemstream_async_wait_persisted(struct pmemstream *stream, uint64_t timestamp);

/* The data of an entry, at least 8-byte aligned, good until its region is freed or the stream deleted; the size it was
 * appended with; its timestamp. NULL, 0, 0 with EINVAL where no valid entry begins. Size and timestamp can be had as
 * soon as the append returned. An unpublished reservation is no entry. Cost: a checksum of the header, of the data when
 * nobody checked them before. */
const void *pmemstream_entry_data(struct pmemstream *stream, struct pmemstream_entry entry);
size_t pmemstream_entry_size(struct pmemstream *stream, struct pmemstream_entry entry);
uint64_t pmemstream_entry_timestamp(struct pmemstream *stream, struct pmemstream_entry entry);

/* An iterator over the committed entries of a region, in order of append; invalid until seek_first. Delete it with
 * pmemstream_entry_iterator_delete before the stream. 0; or -1 with EINVAL, ENOMEM. */
int pmemstream_entry_iterator_new(struct pmemstream_entry_iterator **iterator, struct pmemstream *stream,
				  struct pmemstream_region region);
/* 0: it is at an entry. -1: ENODATA behind the last one (valid again when more is committed) or before seek_first,
 * ESTALE: the region was freed, EBADMSG: the entry here is damaged, EINVAL: NULL. In a read-only stream also what
 * pmemstream_open says, and EBADMSG at the end where a live writer published entries that cannot be found, which may
 * have stood here. Cost: entries that this process did not write are checksummed once. */
int pmemstream_entry_iterator_is_valid(struct pmemstream_entry_iterator *iterator);
/* To the next entry; from a damaged one to where the log can be trusted again. Otherwise without effect where the
 * iterator is invalid. */
void pmemstream_entry_iterator_next(struct pmemstream_entry_iterator *iterator);
void pmemstream_entry_iterator_seek_first(struct pmemstream_entry_iterator *iterator);
/* The entry; its offset is UINT64_MAX where the iterator is invalid. */
struct pmemstream_entry pmemstream_entry_iterator_get(struct pmemstream_entry_iterator *iterator);
/* Frees it and sets the pointer to NULL; NULL, or a pointer to NULL, does nothing. */
void pmemstream_entry_iterator_delete(struct pmemstream_entry_iterator **iterator);

/* An iterator over the regions of a stream in order of allocation; the same rules: behind the last one it is invalid
 * and becomes valid when one more is allocated. */
int pmemstream_region_iterator_new(struct pmemstream_region_iterator **iterator, struct pmemstream *stream);
/* 0, or -1 with ENODATA, ESTALE, EINVAL; in a read-only stream, at the end, also what pmemstream_open says. */
int pmemstream_region_iterator_is_valid(struct pmemstream_region_iterator *iterator);
void pmemstream_region_iterator_seek_first(struct pmemstream_region_iterator *iterator);
/* To the region allocated next, also from one that was freed. */
void pmemstream_region_iterator_next(struct pmemstream_region_iterator *iterator);
struct pmemstream_region pmemstream_region_iterator_get(struct pmemstream_region_iterator *iterator);
void pmemstream_region_iterator_delete(struct pmemstream_region_iterator **iterator);

/*
 * Additions of node LIBPMEMSTREAM_1.1.
 */

/* What the calling thread's last failed call here has to say; never NULL, good until its next failed call. */
const char *pmemstream_errormsg(void);

/* Bytes that an entry of size bytes takes in its region: 32 for the header, rounded up to the stream's alignment of
 * entries (8 or 64). 0 with EINVAL or ENOSPC (more than 2^48 - 1 bytes) on error. */
size_t pmemstream_entry_space(struct pmemstream *stream, size_t size);

/*
 * Waits until all entries up to a timestamp are committed, or persisted, and makes the progress itself where it can. A
 * timestamp that was not handed out yet is waited for. timeout_ns: nanoseconds; 0 makes what progress is possible and
 * returns; UINT64_MAX waits for ever. The calling thread spins for some microseconds on media with cache lines, then
 * sleeps. 0; or -1 with EINVAL (timestamp 0), ETIMEDOUT, EIO (a sync failed, or the mover's copy of that timestamp),
 * ECANCELED. Cost of persisted: one fence or sync for all that is copied.
 */
int pmemstream_wait_committed(struct pmemstream *stream, uint64_t timestamp, uint64_t timeout_ns);
int pmemstream_wait_persisted(struct pmemstream *stream, uint64_t timestamp, uint64_t timeout_ns);

/* pmemstream_append of an entry that is gathered from iovcnt pieces (0 or more; pieces may be empty). Also ENOSPC where
 * they have more together than 2^48 - 1 bytes. */
struct iovec;
int pmemstream_appendv(struct pmemstream *stream, struct pmemstream_region region,
		       struct pmemstream_region_runtime *region_runtime, const struct iovec *iov, int iovcnt,
		       struct pmemstream_entry *new_entry);

/* Ends a reservation without an entry; from any thread. 0; or -1 with EINVAL (no such reservation), ESTALE. */
int pmemstream_cancel(struct pmemstream *stream, struct pmemstream_region region,
		      struct pmemstream_region_runtime *region_runtime, struct pmemstream_entry entry);

/*
 * An atomic batch: entries in any regions that become visible and durable all or none, with consecutive timestamps.
 *
 * begin   gives an empty batch. It belongs to one thread at a time, holds no lock, and costs memory only.
 * add     copies an entry into the batch. At most half a window (512) of entries: E2BIG.
 * commit  appends all of them. entries: NULL, or room for as many as were added, gets their places. On success the
 *         batch is gone and the pointer NULL. An empty batch succeeds.
 * abort   forgets the batch and sets the pointer to NULL; it leaves no trace. NULL is harmless.
 *
 * 0; or -1 with EINVAL, ESTALE, E2BIG, ENOMEM, EROFS, EBUSY, EDEADLK, ENOSPC (not all have room): nothing was appended,
 * and the batch stays as it is, to be committed again or aborted; from commit also with EIO, ECANCELED: all or none may
 * be there after the next opening, and the batch is gone. Cost of commit: one fence, or one shared sync, however many
 * entries and regions.
 */
struct pmemstream_batch;
int pmemstream_batch_begin(struct pmemstream *stream, struct pmemstream_batch **batch);
int pmemstream_batch_add(struct pmemstream_batch *batch, struct pmemstream_region region,
			 struct pmemstream_region_runtime *region_runtime, const void *data, size_t size);
int pmemstream_batch_commit(struct pmemstream_batch **batch, struct pmemstream_entry *entries);
void pmemstream_batch_abort(struct pmemstream_batch **batch);

/* pmemstream_region_allocate with a label: up to 63 bytes, unique in the stream; NULL or "": none. Also -1 with EEXIST
 * (taken). */
int pmemstream_region_allocate_labeled(struct pmemstream *stream, size_t size, const char *label,
				       struct pmemstream_region *region);

/* The region with a label; region may be NULL. 0; or -1 with ENOENT, EINVAL. Cost: all regions are looked at. */
int pmemstream_region_find(struct pmemstream *stream, const char *label, struct pmemstream_region *region);

struct pmemstream_region_info {
	uint64_t generation;    /* rises in order of allocation, never used again */
	uint64_t size, used;    /* bytes for entries; bytes that entries take */
	uint64_t allocated_ns;  /* nanoseconds since 1970 UTC */
	uint64_t checkpoint_ns; /* the same, of the last checkpoint that found new entries here, or of the allocation */
	uint64_t checkpoint_timestamp; /* all entries up to it lie in front of that checkpoint */
	uint64_t checkpoint_used;      /* of used, what lies in front of it */
	uint32_t checkpoint_epoch;     /* of the stream then; 0: none has found entries here */
	uint32_t reserved;
	char label[64]; /* "" for none */
};

/* What is known of a region. 0; or -1 with EINVAL, EBADMSG. */
int pmemstream_region_get_info(struct pmemstream *stream, struct pmemstream_region region,
			       struct pmemstream_region_info *info);

/* How pmemstream_create and pmemstream_open are to do it. All zero is the default, and what is not known yet must be
 * zero. */
enum pmemstream_flags {
	PMEMSTREAM_READ_ONLY = 1, /* open: change nothing; follow a writer of another process */
	PMEMSTREAM_COMMITTED =
		2, /* open, with READ_ONLY: see another process's entries when they are committed. A power cut may take
		    * such entries back, and their timestamps are used again. Otherwise: when they are durable. */
	PMEMSTREAM_CREATE = 4,   /* open: create the stream where there is no file, or where a cut creation left one;
				  * create   does so anyway */
	PMEMSTREAM_PREFAULT = 8, /* touch every page */
};

struct pmemstream_config {
	uint64_t size;           /* create: bytes of the file, rounded up to whole pages */
	uint64_t block_size;     /* create: alignment of regions, a power of two and a multiple of 64; 0: 4096 */
	uint32_t alignment;      /* create: of entries, 8 or 64; 0: 64 on media with cache lines, 8 on page media */
	uint32_t flags;          /* enum pmemstream_flags */
	uint32_t window;         /* entries that may be on their way at once, a power of two from 2 to 2^20; 0: 1024 */
	uint32_t mode;           /* create: permissions, less the umask; 0: 0666 */
	uint64_t reservation_ns; /* how long to wait for another thread's reservation; 0: one second */
	uint64_t reserved[8];    /* 0 */
};

/*
 * Creates a file with a stream of config->size bytes, which must not exist, and opens it for writing. Every block of
 * the file is written, so that no append meets a full disk; the file's name is durable on return. 0; or -1 with EINVAL
 * (config), EEXIST, ENOSPC, EFBIG, EROFS, EACCES, EIO and what else open(2), posix_fallocate(3) and write(2) say,
 * ENOMEM; then no file is left. Only where the new file could not be locked it is: EWOULDBLOCK, EEXIST where somebody
 * opened it with PMEMSTREAM_CREATE first, and it is his; or what fcntl(2) says.
 */
int pmemstream_create(struct pmemstream **stream, const char *path, const struct pmemstream_config *config);

/*
 * Opens the stream of a file. config: NULL for the defaults.
 *
 * For writing, the file is locked as long as the stream is open and the process lives: EWOULDBLOCK where another
 * process (or this one) has it open for writing; the message tells the process id that the holder gave. The map, the
 * lock and the file are the stream's, pmemstream_delete ends them. A child process gets neither.
 *
 * With PMEMSTREAM_READ_ONLY nothing is ever changed but, where the file's permissions allow it, the word of the
 * volatile area by which a reader asks to be woken. Where another process has the stream open for writing, its entries
 * appear as they become durable, its regions as they are allocated and freed; a reader never slows it. Where none has,
 * the stream is shown as recovery would leave it; and when a writer comes, it is followed.
 *
 * 0; or -1 with EINVAL (no stream, no regular file, config), EWOULDBLOCK, ENOENT, EACCES and what else open(2) and
 * fcntl(2) say, and the errors of pmemstream_from_map; with PMEMSTREAM_CREATE those of pmemstream_create; EAGAIN:
 * read-only, and a writer changes the stream faster than it can be read.
 */
int pmemstream_open(struct pmemstream **stream, const char *path, const struct pmemstream_config *config);

/*
 * Waits for entries with a timestamp above one, in this process or, in a read-only stream, in the one that writes. 0:
 * there are some (durable ones in a read-only stream without PMEMSTREAM_COMMITTED, else committed ones); or -1 with
 * ETIMEDOUT, ECANCELED (pmemstream_cancel_waits, or the stream is being deleted), EOWNERDEAD (read-only: no process has
 * the stream open for writing; a later call waits for the next one), and what pmemstream_open says, such as EBADMSG.
 * timeout_ns: 0 looks once, UINT64_MAX waits for ever; a signal ends no wait. Wait for what is above the committed
 * timestamp of before the last walk, not above the last entry that it met: not every timestamp has an entry to show.
 * Reading on from a stream without a live writer needs no call to this.
 */
int pmemstream_wait_newer(struct pmemstream *stream, uint64_t timestamp, uint64_t timeout_ns);

/* Lets every pmemstream_wait_newer that waits on this stream return with ECANCELED. NULL is harmless. */
void pmemstream_cancel_waits(struct pmemstream *stream);

/*
 * An iterator over all entries of a stream in timestamp order, also of regions that are allocated later. The rules of
 * the other iterators; invalid until a seek. At damage it is invalid with EBADMSG where the entry may have stood; next
 * passes it. Cost of a step: the logarithm of the number of regions; of a look behind the last entry: a look at each
 * region, if anything was committed since the last one.
 */
struct pmemstream_global_iterator;
int pmemstream_global_iterator_new(struct pmemstream_global_iterator **iterator, struct pmemstream *stream);
/* 0, or -1 with ENODATA, EBADMSG, EINVAL, ENOMEM; in a read-only stream, at the end, also what pmemstream_open says. */
int pmemstream_global_iterator_is_valid(struct pmemstream_global_iterator *iterator);
void pmemstream_global_iterator_next(struct pmemstream_global_iterator *iterator);
void pmemstream_global_iterator_seek_first(struct pmemstream_global_iterator *iterator);
/* To the first entry with at least that timestamp. */
void pmemstream_global_iterator_seek(struct pmemstream_global_iterator *iterator, uint64_t timestamp);
/* The entry and its region; either may be NULL. 0, or -1 like is_valid. */
int pmemstream_global_iterator_get(struct pmemstream_global_iterator *iterator, struct pmemstream_region *region,
				   struct pmemstream_entry *entry);
void pmemstream_global_iterator_delete(struct pmemstream_global_iterator **iterator);

/* Sets a region's iterator to its first entry with at least that timestamp, or behind the last one. Cost: headers are
 * read from the nearest place that a checkpoint or an earlier seek knows; the stream remembers 16 bytes for each 64 KiB
 * that were read so. */
void pmemstream_entry_iterator_seek(struct pmemstream_entry_iterator *iterator, uint64_t timestamp);

/*
 * Lets a stream that was opened by path grow to size bytes, rounded up to whole pages, while it is in use: pointers
 * stay good. 0 and durable; or -1 with EINVAL (smaller than it is), ENOSPC, EFBIG, ENOTSUP (opened from a map; or no
 * addresses are left: open it again), EROFS, EIO, ENOMEM, and what else posix_fallocate(3) and write(2) say. Cost: the
 * new blocks are written, and three fences or syncs.
 */
int pmemstream_resize(struct pmemstream *stream, size_t size);

struct pmemstream_entry_view {
	struct pmemstream_entry entry;
	const void *data;
	size_t size;
	uint64_t timestamp;
};

/*
 * Reads an iterator's entry and those behind it, count at most, and moves it behind the last one: is_valid, get, data,
 * size, timestamp and next for several entries in one call, which costs less. Data are good until the region is freed
 * or the stream deleted. Returns how many: 1 or more; fewer than count does not mean that there are no more. 0, and no
 * move, where the iterator is invalid, with the errno of is_valid; or EINVAL (nowhere to put them, count 0); what is
 * in views then is not said.
 */
size_t pmemstream_entry_iterator_read(struct pmemstream_entry_iterator *iterator, struct pmemstream_entry_view *views,
				      size_t count);

struct pmemstream_statistics {
	uint64_t committed, persisted; /* timestamps */
	uint64_t appended; /* entries that this process was given timestamps for since it opened the stream */
	uint64_t stored_bytes, flushed_lines, fences, syncs,
		rounds;                                        /* since then; appended / syncs is the size of a group */
	uint64_t size, block_size;                             /* bytes */
	uint64_t regions, used_bytes;                          /* what entries of all regions take */
	uint64_t free_bytes, free_extents, largest_free_bytes; /* the largest region that can be allocated */
	uint64_t created_ns;                                   /* nanoseconds since 1970 UTC */
	uint32_t epoch, alignment;
	unsigned char uuid[16];
};

/* 0, or -1 with EINVAL. Cost: a look at each region. */
int pmemstream_get_statistics(struct pmemstream *stream, struct pmemstream_statistics *statistics);

/*
 * A series: a log without an end in regions labelled NAME.0, NAME.1, ... When the newest is full the next one is
 * allocated, atomically, and what retention does not want is freed from the front, whole regions at a time; the newest
 * one always stays.
 */
struct pmemstream_series_config {
	uint64_t region_bytes; /* of each region; an entry with its header has to fit */
	uint64_t keep_bytes;   /* free the oldest region when at least so much is left behind it; 0: no limit */
	uint64_t keep_ns; /* free the oldest region when its last checkpoint, which is not older than its last entry,
			   * is older than this; 0: no limit */
};

struct pmemstream_series;
/* name: 1 to 43 bytes. 0; or -1 with EINVAL, EROFS, EIO, ENOMEM. Close it before the stream. Each handle applies its
 * own config. */
int pmemstream_series_open(struct pmemstream *stream, const char *name, const struct pmemstream_series_config *config,
			   struct pmemstream_series **series);
void pmemstream_series_close(struct pmemstream_series **series);
/* Like pmemstream_append, from any thread, and like pmemstream_region_allocate where it needs a new region; but never
 * ESTALE: where the newest region was freed, the next one is allocated. ENOSPC: the entry fits no region, or the stream
 * has no room though retention freed what it could. EEXIST: a region that cannot be counted, because it is damaged or
 * its number has more than 19 digits, has the label of the next one. Whatever else keeps retention from freeing does
 * not make an append fail that has its region: pmemstream_series_retain tells. */
int pmemstream_series_append(struct pmemstream_series *series, const void *data, size_t size,
			     struct pmemstream_entry *entry);
/* Frees what retention does not want now. A region with an append or a reservation inside stays until the next time. 0;
 * or -1 with EINVAL, EOVERFLOW, EROFS, EIO, ECANCELED, ENOMEM. Cost: what pmemstream_region_free costs for each; with
 * keep_ns a checkpoint (two fences or syncs) where one of the regions has entries that none covers. */
int pmemstream_series_retain(struct pmemstream_series *series);
/* The regions of a series, oldest first. count: room in regions; gets how many there are, which may be more. 0; or -1
 * with EINVAL, ENOMEM, EBADMSG (the header of a region of the stream is damaged: it may be one of them). */
int pmemstream_series_list(struct pmemstream *stream, const char *name, struct pmemstream_region *regions,
			   size_t *count);

/*
 * A descriptor (eventfd(2), not blocking, close-on-exec) that becomes readable when the stream may have something new,
 * for event loops: when it is readable, read its 8 bytes, then iterate to the end, then poll again. It may be readable
 * for nothing. The same one at each call; the stream's, which closes it in pmemstream_delete. In a read-only stream the
 * first call starts a helper thread, the only one that this library ever starts. The descriptor, or -1 with EINVAL,
 * EMFILE, ENFILE, ENOMEM, EAGAIN. Cost: from then on a system call with each append.
 */
int pmemstream_eventfd(struct pmemstream *stream);

/* A stretch of the arena, in order of place; together they fill it without gaps. */
struct pmemstream_extent {
	uint64_t offset, bytes;
	uint64_t used;      /* by entries of the region; 0 where it is free */
	uint32_t is_region; /* 1: a region begins here; 0: free */
	uint32_t reserved;
};

/* The extents of a stream: its regions and what is free between them. count: room in extents; gets how many there are,
 * which may be more. 0; or -1 with EINVAL. Cost: a look at each. */
int pmemstream_list_extents(struct pmemstream *stream, struct pmemstream_extent *extents, size_t *count);

/*
 * Checking and repairing a stream that nobody has open. Both work on the file, and tell what they find by a callback,
 * which ends the call with ECANCELED by anything but 0, and must not use the same file.
 */

enum pmemstream_problem_kind {
	PMEMSTREAM_PROBLEM_HEADER_COPY = 1,   /* one copy of the stream's header, or both */
	PMEMSTREAM_PROBLEM_SIZE = 2,          /* the file is smaller than the stream */
	PMEMSTREAM_PROBLEM_STREAM_SLOT = 3,   /* a checkpoint of the stream */
	PMEMSTREAM_PROBLEM_ALLOCATOR = 4,     /* its numbers or its record */
	PMEMSTREAM_PROBLEM_EXTENT = 5,        /* an extent's first word */
	PMEMSTREAM_PROBLEM_REGION_HEADER = 6, /* length, generation or label of a region */
	PMEMSTREAM_PROBLEM_REGION_LIMIT = 7,  /* how far entries may be looked for */
	PMEMSTREAM_PROBLEM_REGION_SLOT = 8,   /* a region's checkpoint */
	PMEMSTREAM_PROBLEM_ENTRY_HEADER = 9,  /* entries that nothing is known of: the stretch that they took */
	PMEMSTREAM_PROBLEM_ENTRY_DATA = 10,   /* one entry whose data do not check */
	PMEMSTREAM_PROBLEM_MISSING = 11,      /* timestamps that were durable, and no trace is left of them */
	PMEMSTREAM_PROBLEM_ORDER = 12,        /* a timestamp that cannot be where it is */
	PMEMSTREAM_PROBLEM_EPOCH = 13,        /* an entry that is newer than the stream says it is */
	PMEMSTREAM_PROBLEM_LOST = 14,         /* a stretch that an earlier repair gave up */
	PMEMSTREAM_PROBLEM_OTHER = 15,        /* what else keeps the stream from being opened */
};

enum pmemstream_severity {
	PMEMSTREAM_HARMLESS = 1, /* a power cut may leave it; nothing is lost, the next opening puts it right */
	PMEMSTREAM_KNOWN = 2,    /* damage that a repair has accepted: readers report it and go on */
	PMEMSTREAM_DAMAGE = 3,   /* something is lost, or cannot be told without a repair */
};

/* Strings are good until the callback returns. */
struct pmemstream_problem {
	enum pmemstream_problem_kind kind;
	enum pmemstream_severity severity;
	uint32_t repairable;     /* 1: pmemstream_repair puts it right, or marks it as lost */
	uint64_t offset, bytes;  /* place in the file; offset UINT64_MAX: nowhere */
	uint64_t region;         /* offset of the region it is in; UINT64_MAX: in none */
	uint64_t timestamp;      /* the lowest one that is concerned; 0: none */
	const char *cause;       /* what was found there */
	const char *consequence; /* what it means */
};

enum pmemstream_event_kind {
	PMEMSTREAM_EVENT_PROBLEM = 1,
	PMEMSTREAM_EVENT_PROGRESS = 2,
	PMEMSTREAM_EVENT_CHANGE = 3, /* repair is about to write */
};

struct pmemstream_event {
	enum pmemstream_event_kind kind;
	uint64_t done, total;              /* progress: bytes read, and to be read */
	struct pmemstream_problem problem; /* problem */
	uint64_t offset, bytes;            /* change: where, at most 512 */
	const void *before, *after;        /* change: what is there, and what will be */
	const char *text;                  /* change: what it is for */
};

enum pmemstream_check_flags {
	PMEMSTREAM_CHECK_DEEP = 1, /* check: also read and check every entry in front of the checkpoints */
	PMEMSTREAM_DRY_RUN = 2,    /* repair: report problems and changes, write nothing */
};

/*
 * Checks the stream in a file without writing a byte: the file is opened and mapped for reading.
 *
 * flags     PMEMSTREAM_CHECK_DEEP or 0. Without it, what an opening reads: headers, checkpoints, the allocator,
 *           regions, and the entries behind the checkpoints.
 * callback  gets every problem, and the progress; may be NULL.
 *
 * 0: no damage, and an opening for writing would succeed (problems that are harmless or known may have been reported).
 * -1 with EBADMSG: damage was found; the message tells of the first. Or -1 with EINVAL (no stream, no regular file,
 * flags), ENOTSUP (as pmemstream_from_map), EWOULDBLOCK (a process has it open for writing: what is just being written
 * cannot be told from damage), EAGAIN (one opened it meanwhile: what was reported does not count), ECANCELED, ENOENT,
 * EACCES and what else open(2) says, ENOMEM. Cost: no fence; deep reads all entries.
 */
int pmemstream_check(const char *path, uint32_t flags, int (*callback)(const struct pmemstream_event *event, void *arg),
		     void *arg);

/*
 * Makes a damaged stream one that can be opened, and loses nothing that is valid.
 *
 * What has a second copy is restored from it: header copies, checkpoints, and what of the allocator follows from the
 * rest without doubt. Damaged entries are given up: over each damaged stretch one header is written that says so;
 * iterators report it with EBADMSG and next passes it. No timestamp that was durable is given out again.
 *
 * flags     PMEMSTREAM_DRY_RUN or 0.
 * callback  gets every problem, the progress, and each change before it is made, with the bytes that it replaces; may
 *           be NULL. Ending the call there leaves what a power cut at this moment would leave.
 *
 * The outcome is tried on a private copy of the map before the first byte is written. 0: the stream is as
 * pmemstream_check wants it and durable (DRY_RUN: it would be); nothing to do is success. -1 with EBADMSG: it cannot be
 * repaired, and nothing was written; the message says what stands in the way. Or -1 with EINVAL, ENOTSUP, EWOULDBLOCK,
 * EOVERFLOW (no epoch is left), ECANCELED, EIO (a sync failed), ENOENT, EACCES and what else open(2) says, ENOMEM. A
 * power cut at any moment leaves a stream that can be repaired again, to the same end. Cost: the whole stream is read;
 * nine fences or syncs at the most.
 */
int pmemstream_repair(const char *path, uint32_t flags,
		      int (*callback)(const struct pmemstream_event *event, void *arg), void *arg);

/* A field of a structure, as text. Strings are good until the callback returns. */
struct pmemstream_field {
	const char *structure;  /* "stream header", "region slot", "entry", ... */
	uint64_t offset, bytes; /* place of the structure in the file */
	const char *name;       /* "checksum": "valid" or "bad"; then the fields in order of place */
	const char *value;      /* a number in decimal, flags by name, a text */
};

/*
 * Tells what is at an offset of the stream in a file: all fields of the structure that offset lies in, and of what
 * contains it. For debugging: it shows what is there, also where it is damaged or just being written; nothing is
 * changed. Anything but 0 from the callback ends the call with ECANCELED. 0; or -1 with EINVAL (offset behind the end;
 * no stream), EBADMSG (both copies of the header are damaged), ENOTSUP, ECANCELED, ENOENT, EACCES and what else open(2)
 * says, ENOMEM. Cost: the headers in front of the offset in its region are read.
 */
int pmemstream_describe(const char *path, uint64_t offset,
			int (*callback)(const struct pmemstream_field *field, void *arg), void *arg);

#ifdef __cplusplus
}
#endif

#endif
