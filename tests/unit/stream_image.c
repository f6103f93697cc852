/*
 * stream_image.c: small streams in ordinary memory whose every acknowledged entry is known.
 */
#include "stream_image.h"

#include "stream/stream.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const char fresh[] = "fresh after the damage";

unsigned char *image_copy(const struct image *image, size_t bytes)
{
	void *copy = NULL;

	assert_int_equal(posix_memalign(&copy, MEDIUM_PAGE_BYTES, bytes), 0);
	memcpy(copy, image->bytes, bytes < IMAGE_BYTES ? bytes : IMAGE_BYTES);
	if (bytes > IMAGE_BYTES)
		memset((char *)copy + IMAGE_BYTES, 0, bytes - IMAGE_BYTES);
	return copy;
}

struct pmemstream *image_open(const struct image *image, unsigned char *bytes, size_t size, bool writable)
{
	struct stream_options options = {
		.block_size = image->block_size, .window = 32, .round_bytes = 1500, .salt = 0x5eed5eed5eed};
	struct pmemstream *stream;
	struct medium medium;

	assert_int_equal(medium_from_range(&medium, bytes, size, image->granularity, writable), 0);
	if (!stream_open(&stream, &medium, &options))
		return stream;
	int err = errno;
	medium_close(&medium);
	errno = err;
	return NULL;
}

static void know(struct image *image, unsigned region, struct pmemstream_entry entry, uint64_t timestamp, size_t size,
		 char fill)
{
	assert_true(image->known_count < IMAGE_ENTRIES_MAX);
	image->known[image->known_count++] = (struct known_entry){
		.off = entry.offset, .timestamp = timestamp, .size = size, .region = region, .fill = fill};
}

static void append_known(struct image *image, struct pmemstream *stream, unsigned region, size_t size)
{
	struct pmemstream_entry entry;
	char data[200], fill = (char)('A' + image->known_count % 50);

	memset(data, fill, size);
	assert_int_equal(pmemstream_append(stream, image->regions[region], NULL, data, size, &entry), 0);
	know(image, region, entry, pmemstream_entry_timestamp(stream, entry), size, fill);
}

static void append_several(struct image *image, struct pmemstream *stream, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		append_known(image, stream, i * i % IMAGE_REGIONS, i * 13 % 70);
}

/* Two entries that no wait acknowledged; the cut took the data of the first, so recovery drops both, and the second
 * stays on the medium, whole, for ever close to coming back. */
static void append_dropped(struct image *image, struct pmemstream *stream, unsigned char *cut)
{
	struct data_mover_sync *mover = data_mover_sync_new();
	struct pmemstream_entry first, second;
	static const char data[150] = "never acknowledged";

	for (int i = 0; i < 2; i++)
		assert_int_equal(pmemstream_async_append(stream, data_mover_sync_get_vdm(mover), image->regions[1],
							 NULL, data, 90 + (size_t)i, i ? &second : &first),
				 0);
	data_mover_sync_delete(mover);
	memcpy(cut, image->bytes, IMAGE_BYTES);
	memset(cut + first.offset + 32, 0, 90);
}

void image_make(struct image *image, enum medium_granularity granularity, size_t block_size, bool clean)
{
	struct pmemstream_region passing;
	struct pmemstream *stream;
	void *bytes = NULL;

	*image = (struct image){.granularity = granularity, .block_size = block_size, .clean = clean};
	assert_int_equal(posix_memalign(&bytes, MEDIUM_PAGE_BYTES, IMAGE_BYTES), 0);
	memset(bytes, 0, IMAGE_BYTES);
	image->bytes = bytes;
	stream = image_open(image, bytes, IMAGE_BYTES, true);
	assert_non_null(stream);
	static const size_t sizes[IMAGE_REGIONS] = {1500, 1800, 1000};
	assert_int_equal(pmemstream_region_allocate(stream, sizes[0], &image->regions[0]), 0);
	assert_int_equal(pmemstream_region_allocate(stream, 700, &passing), 0);
	assert_int_equal(pmemstream_region_allocate(stream, sizes[1], &image->regions[1]), 0);
	for (int i = 0; i < 3; i++)
		assert_int_equal(pmemstream_append(stream, passing, NULL, "of a freed region", 17, NULL), 0);
	assert_int_equal(pmemstream_region_free(stream, passing), 0);
	assert_int_equal(pmemstream_region_allocate(stream, sizes[2], &image->regions[2]), 0);
	append_several(image, stream, 14);

	/* A cut and a recovery, so that there is a K, a digest and another epoch. */
	unsigned char *cut = image_copy(image, IMAGE_BYTES);
	append_dropped(image, stream, cut);
	pmemstream_delete(&stream);
	memcpy(image->bytes, cut, IMAGE_BYTES);
	stream = image_open(image, image->bytes, IMAGE_BYTES, true);
	assert_non_null(stream);
	image->at_last_open = pmemstream_committed_timestamp(stream);
	assert_int_equal(image->at_last_open, image->known[image->known_count - 1].timestamp);
	append_several(image, stream, 7);
	if (!clean)
		memcpy(cut, image->bytes, IMAGE_BYTES);
	pmemstream_delete(&stream);
	if (!clean)
		memcpy(image->bytes, cut, IMAGE_BYTES);
	free(cut);
}

void image_free(struct image *image)
{
	free(image->bytes);
}

static bool is_fresh(struct pmemstream *stream, struct pmemstream_entry entry)
{
	return pmemstream_entry_size(stream, entry) == sizeof(fresh) &&
	       !memcmp(pmemstream_entry_data(stream, entry), fresh, sizeof(fresh));
}

bool image_append_fresh(struct pmemstream *stream, struct pmemstream_region region)
{
	return !pmemstream_append(stream, region, NULL, fresh, sizeof(fresh), NULL);
}

static size_t find_known(const struct image *image, unsigned region, uint64_t off)
{
	for (size_t i = 0; i < image->known_count; i++)
		if (image->known[i].region == region && image->known[i].off == off)
			return i;
	return SIZE_MAX;
}

static void check_shown(const struct image *image, struct pmemstream *stream, size_t index)
{
	const struct known_entry *known = &image->known[index];
	struct pmemstream_entry entry = {.offset = known->off};
	const char *data = pmemstream_entry_data(stream, entry);

	assert_non_null(data);
	assert_int_equal(pmemstream_entry_size(stream, entry), known->size);
	assert_int_equal(pmemstream_entry_timestamp(stream, entry), known->timestamp);
	for (size_t i = 0; i < known->size; i++)
		assert_int_equal(data[i], known->fill);
}

/* Known entries between two places that were shown: lost, unless damage was reported there. */
static void pass(const struct image *image, unsigned region, uint64_t from_off, uint64_t to_off, bool reported,
		 struct image_walk *walk)
{
	for (size_t i = 0; i < image->known_count; i++) {
		const struct known_entry *known = &image->known[i];
		if (known->region != region || known->off < from_off || known->off >= to_off)
			continue;
		walk->missing[i] = true;
		if (reported)
			continue;
		walk->lost++;
		if (known->timestamp < walk->first_lost)
			walk->first_lost = known->timestamp;
	}
}

static void walk_region(const struct image *image, struct pmemstream *stream, unsigned region, struct image_walk *walk)
{
	struct pmemstream_entry_iterator *iterator;
	uint64_t behind_off = 0;
	bool reported = false;

	if (pmemstream_entry_iterator_new(&iterator, stream, image->regions[region])) {
		pass(image, region, 0, UINT64_MAX, false, walk);
		return;
	}
	pmemstream_entry_iterator_seek_first(iterator);
	for (size_t steps = 0;; steps++) {
		assert_true(steps < IMAGE_BYTES);
		if (!pmemstream_entry_iterator_is_valid(iterator)) {
			struct pmemstream_entry entry = pmemstream_entry_iterator_get(iterator);
			/* Where the last entry was lost, a fresh one may stand in its place. */
			bool is_new = is_fresh(stream, entry);
			size_t index = is_new ? SIZE_MAX : find_known(image, region, entry.offset);
			if (index == SIZE_MAX && !is_new)
				fail_msg("an entry at %zu with timestamp %zu was invented", (size_t)entry.offset,
					 (size_t)pmemstream_entry_timestamp(stream, entry));
			if (index != SIZE_MAX)
				check_shown(image, stream, index);
			pass(image, region, behind_off, entry.offset, reported, walk);
			behind_off = entry.offset + 1;
			reported = false;
			walk->shown++;
		} else if (errno == EBADMSG) {
			reported = true;
			walk->reported++;
		} else {
			assert_int_equal(errno, ENODATA);
			break;
		}
		pmemstream_entry_iterator_next(iterator);
	}
	pass(image, region, behind_off, UINT64_MAX, reported, walk);
	pmemstream_entry_iterator_delete(&iterator);
}

void image_walk(const struct image *image, struct pmemstream *stream, struct image_walk *walk)
{
	*walk = (struct image_walk){.first_lost = UINT64_MAX};
	for (unsigned region = 0; region < IMAGE_REGIONS; region++)
		walk_region(image, stream, region, walk);
}
