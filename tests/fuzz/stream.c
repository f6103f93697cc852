/*
 * stream.c: a stream whose bytes are changed as an input says, opened, read and written to.
 *
 * Input    byte 0 chooses the image; then commands of four bytes: place (16 bits), what to do there, a value. A change
 *          may be sealed: the checksum of the structure that it lies in is made right again, so that what the checksum
 *          protects is tested behind it as well.
 * Claims   no crash, no hang, no read outside of the map (the sanitizers watch); a refused open leaves every byte; a
 *          stream that opened for writing opens again after it was closed, or says what is wrong.
 */
#include "stream.h"

#include "repair.h"

#include "base/crc32c.h"
#include "stream/format.h"
#include "unit/stream_image.h"
#include "walks.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { KINDS = 4, COMMAND_BYTES = 4, COMMANDS_MAX = 64, STEPS_MAX = IMAGE_BYTES };

static struct image images[KINDS];

static void make_images(void)
{
	static const struct {
		enum medium_granularity granularity;
		size_t block_size;
	} kinds[2] = {{MEDIUM_PAGE, 64}, {MEDIUM_CACHE_LINE, 128}};

	if (images[0].bytes)
		return;
	for (unsigned i = 0; i < KINDS; i++)
		image_make(&images[i], kinds[i / 2].granularity, kinds[i / 2].block_size, i % 2);
}

static void die(const char *what)
{
	fprintf(stderr, "%s: errno %d: %s\n", what, errno, pmemstream_errormsg());
	abort();
}

struct sealing {
	unsigned char *bytes;
	uint64_t salt;
};

static uint32_t feed(uint32_t crc, uint64_t value)
{
	unsigned char bytes[8];

	le64_store(bytes, value);
	return crc32c(crc, bytes, sizeof(bytes));
}

static void seal_word(struct sealing *sealing, uint64_t off, uint64_t seed)
{
	unsigned char *at = sealing->bytes + off;

	le64_store(at, format_checked_encode(sealing->salt, seed, le64_load(at) & FORMAT_CHECKED_MAX));
}

static void seal_front(struct sealing *sealing, uint64_t off)
{
	unsigned char *bytes = sealing->bytes;

	if (off < 512)
		le32_store(bytes + 508, crc32c(0, bytes, 508));
	else if (off >= FORMAT_SECOND_COPY_NEAR && off < FORMAT_SECOND_COPY_NEAR + 512)
		le32_store(bytes + FORMAT_SECOND_COPY_NEAR + 508, crc32c(0, bytes + FORMAT_SECOND_COPY_NEAR, 508));
	else if (off >= 2048 && off < 2064)
		seal_word(sealing, off & ~UINT64_C(7), off & ~UINT64_C(7));
	else if (off >= FORMAT_RECORD_OFF && off < FORMAT_RECORD_OFF + FORMAT_RECORD_BYTES)
		le32_store(bytes + FORMAT_RECORD_OFF + 124,
			   crc32c(feed(0, sealing->salt), bytes + FORMAT_RECORD_OFF, 124));
	else if (off % 512 < 64 && (off / 512 == 1 || off / 512 == 2))
		le32_store(bytes + off / 512 * 512 + 60,
			   crc32c(feed(feed(0, sealing->salt), off / 512 * 512), bytes + off / 512 * 512, 60));
}

static void seal_region(struct sealing *sealing, uint64_t region_off, uint64_t off)
{
	unsigned char *at = sealing->bytes + region_off;
	uint64_t generation = le64_load(at + 16), inside = off - region_off;

	if (inside < 8) {
		seal_word(sealing, region_off, region_off);
	} else if (inside < 16) {
		seal_word(sealing, region_off + 8, generation);
	} else if (inside < 128) {
		uint32_t crc = crc32c(feed(feed(0, sealing->salt), region_off), at + 16, 44);
		le32_store(at + 60, crc32c(crc, at + 64, 64));
	} else {
		uint64_t slot_off = off & ~UINT64_C(63);
		uint32_t crc = feed(feed(feed(0, sealing->salt), generation), slot_off);
		le32_store(sealing->bytes + slot_off + 60, crc32c(crc, sealing->bytes + slot_off, 60));
	}
}

static void seal_entry(struct sealing *sealing, uint64_t generation, uint64_t entry_off)
{
	unsigned char *at = sealing->bytes + entry_off;
	uint64_t first = le64_load(at);
	struct format_entry entry = {
		.size = first & FORMAT_ENTRY_SIZE_MAX,
		.flags = (uint16_t)(first >> 48),
		.timestamp = le64_load(at + 8),
		.epoch = le32_load(at + 16),
		.lag = le32_load(at + 20),
		.data_crc = le32_load(at + 24),
	};

	if (entry.size <= IMAGE_BYTES - entry_off - FORMAT_ENTRY_HEADER_BYTES)
		entry.data_crc = format_data_crc(at + FORMAT_ENTRY_HEADER_BYTES, entry.size);
	format_entry_encode(at, format_entry_seed(sealing->salt, generation), entry_off, &entry);
}

static void seal(const struct image *image, unsigned char *bytes, uint64_t off)
{
	struct sealing sealing = {.bytes = bytes, .salt = le64_load(image->bytes + 40)};

	seal_front(&sealing, off);
	for (unsigned r = 0; r < IMAGE_REGIONS; r++)
		if (off >= image->regions[r].offset && off < image->regions[r].offset + FORMAT_REGION_HEADER_BYTES)
			seal_region(&sealing, image->regions[r].offset, off);
	for (size_t i = 0; i < image->known_count; i++) {
		const struct known_entry *known = &image->known[i];
		uint64_t generation = le64_load(bytes + image->regions[known->region].offset + 16);
		if (off >= known->off && off < known->off + FORMAT_ENTRY_HEADER_BYTES + known->size)
			seal_entry(&sealing, generation, known->off);
	}
}

static void change(const struct image *image, unsigned char *bytes, const uint8_t *command)
{
	uint64_t off = (command[0] | (uint64_t)command[1] << 8) % IMAGE_BYTES;
	uint64_t aligned = off & ~UINT64_C(7);
	uint64_t word = le64_load(bytes + aligned);
	uint8_t value = command[3];

	switch (command[2] % 8) {
	case 0:
		bytes[off] ^= value | 1;
		break;
	case 1:
		bytes[off] = value;
		break;
	case 2:
		le64_store(bytes + aligned, word + (uint64_t)(int64_t)(int8_t)value);
		break;
	case 3:
		le64_store(bytes + aligned, UINT64_MAX << value % 64);
		break;
	case 4:
		le64_store(bytes + aligned, UINT64_C(1) << value % 64);
		break;
	case 5:
		memset(bytes + off, 0, value < IMAGE_BYTES - off ? value : IMAGE_BYTES - off);
		break;
	case 6: /* another place's line, as a misdirected write leaves it */
		memcpy(bytes + (off & ~UINT64_C(63)), image->bytes + value * 64 % IMAGE_BYTES, 64);
		break;
	default:
		memset(bytes + (off & ~UINT64_C(511)), value, 512);
		break;
	}
	if (command[2] & 0x80)
		seal(image, bytes, off);
}

static void read_region(struct pmemstream *stream, struct pmemstream_region region)
{
	struct pmemstream_entry_iterator *iterator;
	volatile unsigned char sum = 0;

	pmemstream_region_size(stream, region);
	pmemstream_region_usable_size(stream, region);
	if (pmemstream_entry_iterator_new(&iterator, stream, region))
		return;
	pmemstream_entry_iterator_seek_first(iterator);
	for (size_t steps = 0;; steps++) {
		if (steps > STEPS_MAX)
			die("the walk over a region does not end");
		if (!pmemstream_entry_iterator_is_valid(iterator)) {
			struct pmemstream_entry entry = pmemstream_entry_iterator_get(iterator);
			const unsigned char *data = pmemstream_entry_data(stream, entry);
			size_t size = pmemstream_entry_size(stream, entry);
			for (size_t i = 0; data && i < size; i++)
				sum = (unsigned char)(sum + data[i]);
		} else if (errno != EBADMSG) {
			break;
		}
		pmemstream_entry_iterator_next(iterator);
	}
	pmemstream_entry_iterator_delete(&iterator);
	const char *different = walks_differ(stream, region, false);
	if (different)
		die(different);
}

static size_t read_all(struct pmemstream *stream, struct pmemstream_region *first)
{
	struct pmemstream_region_iterator *iterator;
	size_t count = 0;

	if (pmemstream_region_iterator_new(&iterator, stream))
		die("no iterator");
	pmemstream_region_iterator_seek_first(iterator);
	for (; !pmemstream_region_iterator_is_valid(iterator); pmemstream_region_iterator_next(iterator)) {
		struct pmemstream_region region = pmemstream_region_iterator_get(iterator);
		if (!count++)
			*first = region;
		if (count > STEPS_MAX)
			die("the walk over the regions does not end");
		read_region(stream, region);
	}
	pmemstream_region_iterator_delete(&iterator);
	return count;
}

static void write_all(const struct image *image, struct pmemstream *stream)
{
	struct pmemstream_region region, first = {0};

	size_t count = read_all(stream, &first);
	for (unsigned r = 0; r < IMAGE_REGIONS; r++)
		for (int i = 0; i < 20 && image_append_fresh(stream, image->regions[r]); i++)
			;
	if (!pmemstream_region_allocate(stream, 300, &region))
		image_append_fresh(stream, region);
	if (count)
		pmemstream_region_free(stream, first);
	pmemstream_region_allocate(stream, 100, NULL);
	read_all(stream, &first);
}

int fuzz_stream(const uint8_t *input, size_t bytes)
{
	struct pmemstream_region first;

	make_images();
	if (!bytes)
		return 0;
	const struct image *image = &images[input[0] % KINDS];
	unsigned char *changed = image_copy(image, IMAGE_BYTES), *before = malloc(IMAGE_BYTES);
	if (!before)
		die("no memory");
	bool forged = false;
	for (size_t i = 1, n = 0; i + COMMAND_BYTES <= bytes && n < COMMANDS_MAX; i += COMMAND_BYTES, n++) {
		change(image, changed, input + i);
		forged = forged || input[i + 2] & 0x80;
	}
	memcpy(before, changed, IMAGE_BYTES);

	struct pmemstream *stream = image_open(image, changed, IMAGE_BYTES, false);
	if (stream)
		read_all(stream, &first);
	pmemstream_delete(&stream);
	if (memcmp(before, changed, IMAGE_BYTES))
		die("reading changed the file");
	fuzz_repair(image, changed, forged);
	int opened = 0;
	for (int time = 0; time < 2; time++) {
		stream = image_open(image, changed, IMAGE_BYTES, true);
		if (!stream && !time && memcmp(before, changed, IMAGE_BYTES))
			die("refused, but the file was changed");
		if (!stream)
			break;
		opened++;
		write_all(image, stream);
		pmemstream_delete(&stream);
	}
	free(before);
	free(changed);
	return opened;
}
