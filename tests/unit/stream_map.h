/*
 * stream_map.h: files, maps and streams for the tests of libpmemstream, through its public interface alone.
 */
#ifndef TESTS_STREAM_MAP_H
#define TESTS_STREAM_MAP_H

#include <libpmem2.h>
#include <libpmemstream.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <errno.h>
#include <setjmp.h>

#include <cmocka.h>

enum { MAP_GRANULARITIES = 3 };
extern const char *const map_granularities[MAP_GRANULARITIES]; /* BYTE, CACHE_LINE, PAGE */

/* A file without a name and a map of all of it. */
struct mapped {
	int fd;
	size_t bytes;
	const char *granularity;
	struct pmem2_map *map;
};

void mapped_new(struct mapped *mapped, const char *granularity, size_t bytes);
/* Maps the file anew: PMEM2_PROT_READ with or without PMEM2_PROT_WRITE; PMEM2_SHARED or PMEM2_PRIVATE. */
void mapped_again(struct mapped *mapped, unsigned protection, enum pmem2_sharing_type sharing);
void mapped_resize(struct mapped *mapped, size_t bytes);
void mapped_free(struct mapped *mapped);
/* The whole file, as it reads; the caller frees it. */
unsigned char *mapped_content(const struct mapped *mapped);
void mapped_write(const struct mapped *mapped, const void *from, size_t bytes, size_t off);

/* A stream in a new file; reopen closes it and opens it in a new map of the same file. */
struct opened {
	struct mapped file;
	struct pmemstream *stream;
	size_t block_size;
};

void opened_new(struct opened *opened, const char *granularity, size_t bytes, size_t block_size);
void opened_again(struct opened *opened);
void opened_read_only(struct opened *opened);
void opened_free(struct opened *opened);

struct pmemstream_region region_of(struct pmemstream *stream, size_t bytes);
struct pmemstream_entry append_text(struct pmemstream *stream, struct pmemstream_region region, const char *text);
/* The entries of a region are exactly these texts, in this order; the list ends with NULL. */
void assert_texts(struct pmemstream *stream, struct pmemstream_region region, ...);
size_t count_entries(struct pmemstream *stream, struct pmemstream_region region);
void wait_persisted(struct pmemstream *stream, uint64_t timestamp);

/* Leaves errno 0 and a known message, so that what a failing call leaves can be told from it. */
void provoke(struct pmemstream *stream);
void assert_error_was_set(struct pmemstream *stream, int err, const char *call);

/* The call fails with this value and this errno, and says why. stream: any open one. */
#define assert_fails_as(stream, call, value, err)                                                                      \
	do {                                                                                                           \
		provoke(stream);                                                                                       \
		assert_true((call) == (value));                                                                        \
		assert_error_was_set(stream, err, #call);                                                              \
	} while (0)
#define assert_fails(stream, call, err) assert_fails_as(stream, call, -1, err)

/* xorshift64*: numbers from a seed that is not 0. */
static inline uint64_t draw(uint64_t *seed)
{
	*seed ^= *seed >> 12;
	*seed ^= *seed << 25;
	*seed ^= *seed >> 27;
	return *seed * UINT64_C(2685821657736338717);
}

#endif
