/*
 * stream_image.h: small streams in ordinary memory whose every acknowledged entry is known, for tests that damage them.
 */
#ifndef TESTS_STREAM_IMAGE_H
#define TESTS_STREAM_IMAGE_H

#include "medium/medium.h"

#include <libpmemstream.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { IMAGE_BYTES = 12288, IMAGE_REGIONS = 3, IMAGE_ENTRIES_MAX = 200 };

struct known_entry {
	uint64_t off, timestamp;
	size_t size;
	unsigned region;
	char fill;
};

struct image {
	enum medium_granularity granularity;
	size_t block_size;
	bool clean;            /* closed, not only cut */
	unsigned char *bytes;  /* of the medium, IMAGE_BYTES of them */
	uint64_t at_last_open; /* timestamps up to it were there when the stream was last opened */
	struct pmemstream_region regions[IMAGE_REGIONS];
	struct known_entry known[IMAGE_ENTRIES_MAX]; /* in order of timestamp */
	size_t known_count;
};

/* Regions that were freed, entries that a recovery dropped, several epochs and rounds: all in one image. */
void image_make(struct image *image, enum medium_granularity granularity, size_t block_size, bool clean);
void image_free(struct image *image);

/* A copy that ends where the allocation ends, so that a sanitizer sees who reads behind it. */
unsigned char *image_copy(const struct image *image, size_t bytes);

/* Opens the bytes; NULL with errno where that is refused. */
struct pmemstream *image_open(const struct image *image, unsigned char *bytes, size_t size, bool writable);

struct image_walk {
	size_t shown;
	size_t reported;                 /* places where an iterator said EBADMSG */
	size_t lost;                     /* known entries that were neither shown nor inside of a reported place */
	uint64_t first_lost;             /* their lowest timestamp; UINT64_MAX: none */
	bool missing[IMAGE_ENTRIES_MAX]; /* not shown, by index of known */
};

/*
 * Walks over all regions and compares with what is known. Entries of this process that are not known but begin with
 * `fresh` are passed over. Fails the test where something was invented, or where the walk does not end.
 */
void image_walk(const struct image *image, struct pmemstream *stream, struct image_walk *walk);
/* Appends an entry that image_walk passes over; false if the region is full or gone. */
bool image_append_fresh(struct pmemstream *stream, struct pmemstream_region region);

#endif
