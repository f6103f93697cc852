/*
 * map.c: the medium behind a mapping: libpmem2's, or a range that the caller mapped.
 *
 * BYTE and CACHE_LINE use libpmem2's copy, flush and drain functions; only entries, of which each instruction counts,
 * are stored by loops of our own. PAGE does not: libpmem2's call msync there, and abort the process or hide the error
 * when it fails; here a sync is one msync whose error the caller sees. Where the file is at hand, copies are written to
 * it and the mapping is for reading: see medium_write_by_file.
 */
#include "base/error.h"
#include "base/file_limit.h"
#include "medium/medium.h"
#include "medium/one_pass.h"

#include <assert.h>
#include <endian.h>
#include <errno.h>
#include <libpmem2.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#if defined(__x86_64__)
#include <emmintrin.h>
#endif

enum { HALF_BYTES = MEDIUM_LINE_BYTES / 2, SHORT_BYTES = 256 };
enum { STREAMING = PMEM2_F_MEM_NODRAIN | PMEM2_F_MEM_NONTEMPORAL };

#if defined(__x86_64__)
enum { CAN_STREAM = 1 };

/* Half a line past the cache. Nothing else is to be stored between the two halves of a line. */
static inline void stream_half(char *to, const char *from)
{
	_mm_stream_si128((__m128i *)to, _mm_loadu_si128((const __m128i *)from));
	_mm_stream_si128((__m128i *)to + 1, _mm_loadu_si128((const __m128i *)from + 1));
}

static inline void stream_word(char *to, const char *from)
{
	long long word;

	memcpy(&word, from, sizeof(word));
	_mm_stream_si64((long long *)to, word);
}

/* Half a line of words that were stored just now, each at once: they are read as they were stored, since a read of two
 * stores waits until both have left the store buffer, behind the fence of the record before. */
static inline void stream_head(char *to, const char *head)
{
	for (size_t off = 0; off < HALF_BYTES; off += sizeof(uint64_t))
		stream_word(to + off, head + off);
}

/* Less than half a line, and zeros, from registers for the same reason. */
static __attribute__((noinline)) void stream_rest(char *to, const char *from, size_t bytes)
{
	size_t off = 0;

	for (; bytes - off >= sizeof(uint64_t); off += sizeof(uint64_t))
		stream_word(to + off, from + off);
	uint64_t last = 0;
	for (size_t i = bytes; i-- > off;)
		last = last << 8 | (unsigned char)from[i];
	for (; off < HALF_BYTES; off += sizeof(last), last = 0)
		_mm_stream_si64((long long *)(to + off), (long long)last);
}

/* From the middle or the begin of a line on: data, and zeros to the end of the line. */
static inline void stream_data(char *at, const char *data, size_t bytes)
{
	size_t whole = bytes & ~(size_t)(HALF_BYTES - 1);

	for (size_t off = 0; off < whole; off += HALF_BYTES)
		stream_half(at + off, data + off);
	if (whole < bytes) {
		stream_rest(at + whole, data + whole, bytes - whole);
		whole += HALF_BYTES;
	}
	if ((uintptr_t)(at + whole) % MEDIUM_LINE_BYTES)
		stream_rest(at + whole, NULL, 0);
}

/* A head of half a line, as entries have, and data. */
static inline void stream_entry(char *at, const char *head, const char *data, size_t bytes)
{
	stream_head(at, head);
	stream_data(at + HALF_BYTES, data, bytes);
}

#else
enum { CAN_STREAM = 0 };

static inline void stream_data(char *at, const char *data, size_t bytes)
{
	(void)at;
	(void)data;
	(void)bytes;
}

static inline void stream_entry(char *at, const char *head, const char *data, size_t bytes)
{
	(void)at;
	(void)head;
	(void)data;
	(void)bytes;
}
#endif

static void copy_lines(struct medium *medium, void *to, const void *from, size_t bytes)
{
	medium->copy_fn(to, from, bytes, PMEM2_F_MEM_NODRAIN | PMEM2_F_MEM_NOFLUSH);
}

static void record_lines(struct medium *medium, void *to, const void *head, size_t head_bytes, const void *data,
			 size_t data_bytes)
{
	const char *from = data;
	char *at = to;

	(void)medium;
	if (__builtin_expect(head_bytes == HALF_BYTES, 1))
		memcpy(at, head, HALF_BYTES);
	else if (head_bytes)
		memcpy(at, head, head_bytes);
	at += head_bytes;
	/* A call costs more than a few of these. */
	for (; data_bytes >= HALF_BYTES && data_bytes <= SHORT_BYTES;
	     data_bytes -= HALF_BYTES, at += HALF_BYTES, from += HALF_BYTES)
		memcpy(at, from, HALF_BYTES);
	if (data_bytes)
		memcpy(at, from, data_bytes);
}

static void copy_page(struct medium *medium, void *to, const void *from, size_t bytes)
{
	(void)medium;
	if (bytes)
		memcpy(to, from, bytes);
}

/* One line of a head, data and zeros. */
static void stream_line(struct medium *medium, char *to, const void *head, size_t head_bytes, const char *data,
			size_t data_bytes)
{
	_Alignas(MEDIUM_LINE_BYTES) char line[MEDIUM_LINE_BYTES] = {0};

	if (head_bytes)
		memcpy(line, head, head_bytes);
	if (data_bytes)
		memcpy(line + head_bytes, data, data_bytes);
	medium->copy_fn(to, line, sizeof(line), STREAMING);
}

/* The head and the first bytes; then whole lines straight from the source; last the padded rest. */
static __attribute__((noinline)) void stream_any(struct medium *medium, char *at, const void *head, size_t head_bytes,
						 const char *data, size_t data_bytes)
{
	size_t room = MEDIUM_LINE_BYTES - head_bytes;
	size_t first = data_bytes < room ? data_bytes : room;
	size_t whole = (data_bytes - first) & ~(size_t)(MEDIUM_LINE_BYTES - 1);
	size_t rest = data_bytes - first - whole;

	assert(head_bytes <= MEDIUM_LINE_BYTES);
	stream_line(medium, at, head, head_bytes, data, first);
	if (whole)
		medium->copy_fn(at + MEDIUM_LINE_BYTES, data + first, whole, STREAMING);
	if (rest)
		stream_line(medium, at + MEDIUM_LINE_BYTES + whole, NULL, 0, data + first + whole, rest);
}

/* libpmem2's function, between the copies that it needs, takes several times the instructions of a loop, and is no
 * faster with long data. */
static void stream_lines(struct medium *medium, void *to, const void *head, size_t head_bytes, const void *data,
			 size_t data_bytes)
{
	if (CAN_STREAM && head_bytes == HALF_BYTES && medium->granularity == MEDIUM_CACHE_LINE)
		stream_entry(to, head, data, data_bytes);
	else
		stream_any(medium, to, head, head_bytes, data, data_bytes);
}

static uint64_t stream_checked_lines(struct medium *medium, void *to, const void *data, size_t bytes)
{
	size_t rest = (bytes - HALF_BYTES) % MEDIUM_LINE_BYTES, done = bytes - rest;
	uint64_t crc = one_pass((char *)to + MEDIUM_LINE_BYTES, data, done);

	(void)medium;
	if (!rest)
		return crc;
	stream_data((char *)to + HALF_BYTES + done, (const char *)data + done, rest);
	return crc64(crc, (const char *)data + done, rest);
}

static void stream_page(struct medium *medium, void *to, const void *head, size_t head_bytes, const void *data,
			size_t data_bytes)
{
	copy_page(medium, to, head, head_bytes);
	copy_page(medium, (char *)to + head_bytes, data, data_bytes);
}

static void store8(struct medium *medium, uint64_t *to, uint64_t value)
{
	(void)medium;
	__atomic_store_n(to, value, __ATOMIC_RELEASE);
}

static void stream8_lines(struct medium *medium, uint64_t *to, uint64_t value)
{
#if defined(__x86_64__)
	if (medium->granularity == MEDIUM_CACHE_LINE) {
		_mm_stream_si64((long long *)to, (long long)value);
		return;
	}
#endif
	store8(medium, to, value);
	medium->flush_fn(to, sizeof(*to));
}

static uint32_t exchange4(struct medium *medium, uint32_t *at, uint32_t value)
{
	(void)medium;
	return __atomic_exchange_n(at, value, __ATOMIC_SEQ_CST);
}

static void raise8(struct medium *medium, uint64_t *at, uint64_t value)
{
	uint64_t seen = __atomic_load_n(at, __ATOMIC_RELAXED);

	(void)medium;
	while (le64toh(seen) < value &&
	       !__atomic_compare_exchange_n(at, &seen, htole64(value), true, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED))
		;
}

static void flush_lines(struct medium *medium, const void *at, size_t bytes)
{
	medium->flush_fn(at, bytes);
}

static void fence_lines(struct medium *medium)
{
	medium->drain_fn();
}

static void flush_nothing(struct medium *medium, const void *at, size_t bytes)
{
	(void)medium;
	(void)at;
	(void)bytes;
}

static void fence_memory(struct medium *medium)
{
	(void)medium;
	atomic_thread_fence(memory_order_seq_cst);
}

static void page_range(const void *at, size_t bytes, uintptr_t *first, uintptr_t *end)
{
	uintptr_t page_bytes = (uintptr_t)sysconf(_SC_PAGESIZE);

	*first = (uintptr_t)at & ~(page_bytes - 1);
	*end = (uintptr_t)at + bytes;
}

static void write_file(struct medium *medium, void *to, const void *from, size_t bytes)
{
	const char *left = from;
	off_t off = (char *)to - medium->base;

	while (bytes) {
		ssize_t written = pwrite(medium->fd, left, bytes, off);
		if (written < 0 && errno != EINTR) {
			int none = 0;
			atomic_compare_exchange_strong(&medium->write_error, &none, errno);
			return;
		}
		if (written > 0) {
			left += written;
			off += written;
			bytes -= (size_t)written;
		}
	}
}

static void write_file_both(struct medium *medium, void *to, const void *head, size_t head_bytes, const void *data,
			    size_t data_bytes)
{
	const struct iovec both[2] = {{(void *)(uintptr_t)head, head_bytes}, {(void *)(uintptr_t)data, data_bytes}};
	ssize_t written = pwritev(medium->fd, both, 2, (char *)to - medium->base);
	size_t done = written > 0 ? (size_t)written : 0;

	/* The rest, and an error, are write_file's. */
	if (done < head_bytes) {
		write_file(medium, (char *)to + done, (const char *)head + done, head_bytes - done);
		done = head_bytes;
	}
	write_file(medium, (char *)to + done, (const char *)data + (done - head_bytes), head_bytes + data_bytes - done);
}

static int sync_pages(struct medium *medium, const void *at, size_t bytes)
{
	uintptr_t first, end;

	errno = atomic_load_explicit(&medium->write_error, memory_order_acquire);
	if (errno)
		return error_system("write to the file, before a sync");
	page_range(at, bytes, &first, &end);
	if (!msync((void *)first, end - first, MS_SYNC))
		return 0;
	return error_system("msync of %zu bytes at offset %zu", bytes, (size_t)((const char *)at - medium->base));
}

static void redirty_pages(struct medium *medium, const void *at, size_t bytes)
{
	uintptr_t first, end;
	uintptr_t page_bytes = (uintptr_t)sysconf(_SC_PAGESIZE);

	(void)medium;
	if (!bytes)
		return;
	page_range(at, bytes, &first, &end);
	for (uintptr_t page = first; page < end; page += page_bytes)
		__atomic_fetch_or((unsigned char *)page, 0, __ATOMIC_RELAXED);
}

static const struct medium_ops line_ops = {
	.copy = copy_lines,
	.stream = stream_lines,
	.stream_checked = stream_checked_lines,
	.record = record_lines,
	.store8 = store8,
	.stream8 = stream8_lines,
	.exchange4 = exchange4,
	.raise8 = raise8,
	.flush = flush_lines,
	.fence = fence_lines,
	.sync = sync_pages,
	.written = flush_nothing,
	.redirty = redirty_pages,
};

static const struct medium_ops page_ops = {
	.copy = copy_page,
	.stream = stream_page,
	.record = stream_page,
	.store8 = store8,
	.stream8 = store8,
	.exchange4 = exchange4,
	.raise8 = raise8,
	.flush = flush_nothing,
	.fence = fence_memory,
	.sync = sync_pages,
	.written = flush_nothing,
	.redirty = redirty_pages,
};

static const struct medium_ops file_ops = {
	.copy = write_file,
	.stream = write_file_both,
	.record = write_file_both,
	.store8 = store8,
	.stream8 = store8,
	.exchange4 = exchange4,
	.raise8 = raise8,
	.flush = flush_nothing,
	.fence = fence_memory,
	.sync = sync_pages,
	.written = flush_nothing,
	.redirty = redirty_pages,
};

void medium_write_by_file(struct medium *medium, int fd)
{
	/* Above the limit a write would end the process, a store would not. */
	if (medium->ops != &page_ops || !file_limit_allows(medium->size))
		return;
	medium->fd = fd;
	medium->ops = &file_ops;
}

static void take_functions(struct medium *medium, struct pmem2_map *map)
{
	medium->copy_fn = pmem2_get_memcpy_fn(map);
	medium->flush_fn = pmem2_get_flush_fn(map);
	medium->drain_fn = pmem2_get_drain_fn(map);
}

int medium_from_map(struct medium *medium, struct pmem2_map *map, bool writable)
{
	enum pmem2_granularity granularity = pmem2_map_get_store_granularity(map);
	bool page = granularity == PMEM2_GRANULARITY_PAGE;
	enum medium_granularity ours = page                                          ? MEDIUM_PAGE
				       : granularity == PMEM2_GRANULARITY_CACHE_LINE ? MEDIUM_CACHE_LINE
										     : MEDIUM_BYTE;

	if (medium_prepare(medium, page ? &page_ops : &line_ops, pmem2_map_get_address(map), pmem2_map_get_size(map),
			   ours, writable))
		return -1;
	if (!page)
		take_functions(medium, map);
	medium->one_pass = one_pass_possible && ours == MEDIUM_CACHE_LINE;
	return 0;
}

/*
 * libpmem2 gives its functions only for a mapping. They depend on its granularity alone, so one page serves every
 * medium of a kind. It stays until the process ends: pmem2_map_delete of a mapping of this sort leaks (libpmem2 1.12).
 */
static int take_functions_by_granularity(struct medium *medium)
{
	static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
	static struct pmem2_map *maps[2];
	bool lines = medium->granularity == MEDIUM_CACHE_LINE;
	struct pmem2_source *source = NULL;
	int err = 0;

	pthread_mutex_lock(&lock);
	if (!maps[lines]) {
		void *page = aligned_alloc(MEDIUM_PAGE_BYTES, MEDIUM_PAGE_BYTES);

		err = page ? pmem2_source_from_anon(&source, MEDIUM_PAGE_BYTES) : -ENOMEM;
		if (!err)
			err = pmem2_map_from_existing(&maps[lines], source, page, MEDIUM_PAGE_BYTES,
						      lines ? PMEM2_GRANULARITY_CACHE_LINE : PMEM2_GRANULARITY_BYTE);
		pmem2_source_delete(&source);
		if (err)
			free(page);
	}
	if (!err)
		take_functions(medium, maps[lines]);
	pthread_mutex_unlock(&lock);
	return err ? error_set(ENOMEM, "no memory for libpmem2's functions") : 0;
}

int medium_from_range(struct medium *medium, void *base, size_t size, enum medium_granularity granularity,
		      bool writable)
{
	bool page = granularity == MEDIUM_PAGE;

	if (medium_prepare(medium, page ? &page_ops : &line_ops, base, size, granularity, writable))
		return -1;
	if (!page && take_functions_by_granularity(medium)) {
		medium_close(medium);
		return -1;
	}
	medium->one_pass = one_pass_possible && granularity == MEDIUM_CACHE_LINE;
	return 0;
}
