/*
 * stream_damage.c: every byte of a small stream flipped, every sector zeroed, every length truncated.
 *
 * Claims, for each of them: opening ends with a stream or with an error that leaves every byte as it was; nothing is
 * shown that was not appended; what was acknowledged is shown or reported. Excepted are entries at the end of a stream
 * that was cut, of which nothing undamaged is left that vouches for them: here every entry vouches for the one before
 * it, so they must be damaged themselves, and so must be all that came later.
 */
#include "stream_image.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* ThreadSanitizer finds nothing here that it does not find in a part of it. */
#ifdef __SANITIZE_THREAD__
enum { STRIDE = 29 };
#else
enum { STRIDE = 1 };
#endif

static const struct {
	enum medium_granularity granularity;
	size_t block_size;
	bool clean;
} kinds[] = {
	{MEDIUM_PAGE, 64, true},
	{MEDIUM_PAGE, 64, false},
	{MEDIUM_CACHE_LINE, 128, true},
	{MEDIUM_CACHE_LINE, 128, false},
};
enum { KINDS = sizeof(kinds) / sizeof(*kinds) };

/* What was done to an image, for the message of a failure. */
struct damage {
	const struct image *image;
	size_t off, bytes;
	char what[64];
};

static bool touches(const struct damage *damage, const struct known_entry *known)
{
	return known->off < damage->off + damage->bytes && damage->off < known->off + 32 + known->size;
}

static void check_walk(const struct damage *damage, const struct image_walk *walk, const char *how)
{
	const struct image *image = damage->image;

	if (!walk->lost)
		return;
	if (image->clean || walk->first_lost <= image->at_last_open)
		fail_msg("%s: timestamp %zu is silently lost when opened %s", damage->what, (size_t)walk->first_lost,
			 how);
	for (size_t i = 0; i < image->known_count; i++)
		if (image->known[i].timestamp >= walk->first_lost && !touches(damage, &image->known[i]))
			fail_msg("%s: timestamp %zu is silently lost when opened %s, though %zu vouches for it",
				 damage->what, (size_t)walk->first_lost, how, (size_t)image->known[i].timestamp);
}

/* Reading a damaged stream must show whatever the damage did not touch. */
static void check_rest(const struct damage *damage, const struct image_walk *walk)
{
	for (size_t i = 0; i < damage->image->known_count; i++)
		if (walk->missing[i] && !touches(damage, &damage->image->known[i]))
			fail_msg("%s: timestamp %zu is whole, but not readable", damage->what,
				 (size_t)damage->image->known[i].timestamp);
}

static void look(const struct damage *damage, unsigned char *bytes, size_t size)
{
	unsigned char *before = malloc(size);
	struct image_walk walk;

	memcpy(before, bytes, size);
	struct pmemstream *stream = image_open(damage->image, bytes, size, false);
	if (stream) {
		image_walk(damage->image, stream, &walk);
		check_walk(damage, &walk, "for reading");
		check_rest(damage, &walk);
		pmemstream_delete(&stream);
	} else if (errno != EBADMSG) {
		fail_msg("%s: refused with errno %d: %s", damage->what, errno, pmemstream_errormsg());
	}
	if (memcmp(bytes, before, size))
		fail_msg("%s: reading changed the file", damage->what);
	free(before);
}

static void work(const struct damage *damage, unsigned char *bytes, size_t size)
{
	unsigned char *before = malloc(size);
	struct image_walk walk;
	size_t fresh = 0;

	memcpy(before, bytes, size);
	for (int time = 0; time < 2; time++) {
		struct pmemstream *stream = image_open(damage->image, bytes, size, true);
		if (!stream) {
			if (time)
				fail_msg("%s: refused the second time: %s", damage->what, pmemstream_errormsg());
			if (errno != EBADMSG)
				fail_msg("%s: refused with errno %d: %s", damage->what, errno, pmemstream_errormsg());
			if (memcmp(bytes, before, size))
				fail_msg("%s: refused, but the file was changed", damage->what);
			break;
		}
		image_walk(damage->image, stream, &walk);
		check_walk(damage, &walk, time ? "again" : "for writing");
		size_t shown = walk.shown;
		if (!time) {
			for (unsigned r = 0; r < IMAGE_REGIONS; r++)
				fresh += image_append_fresh(stream, damage->image->regions[r]);
			image_walk(damage->image, stream, &walk);
			assert_int_equal(walk.shown, shown + fresh);
		}
		pmemstream_delete(&stream);
	}
	free(before);
}

static void both(const struct damage *damage, const unsigned char *damaged)
{
	unsigned char *bytes = image_copy(damage->image, IMAGE_BYTES);

	memcpy(bytes, damaged, IMAGE_BYTES);
	look(damage, bytes, IMAGE_BYTES);
	work(damage, bytes, IMAGE_BYTES);
	free(bytes);
}

static void no_flipped_byte_goes_unseen(void **state)
{
	(void)state;
	for (size_t k = 0; k < KINDS; k++) {
		struct image image;
		uint64_t seed = k + 1;
		image_make(&image, kinds[k].granularity, kinds[k].block_size, kinds[k].clean);
		unsigned char *bytes = image_copy(&image, IMAGE_BYTES);
		for (size_t off = k % STRIDE; off < IMAGE_BYTES; off += STRIDE)
			for (int pattern = 0; pattern < 2; pattern++) {
				struct damage damage = {.image = &image, .off = off, .bytes = 1};
				seed = seed * 6364136223846793005u + 1442695040888963407u;
				unsigned char flip = pattern ? (unsigned char)(seed >> 56 | 1) : 0xff;
				snprintf(damage.what, sizeof(damage.what), "kind %zu, byte %zu ^ %#x", k, off, flip);
				bytes[off] ^= flip;
				both(&damage, bytes);
				bytes[off] ^= flip;
			}
		free(bytes);
		image_free(&image);
	}
}

static void no_zeroed_sector_goes_unseen(void **state)
{
	(void)state;
	static const size_t lengths[] = {8, 64, 512, 1024, 4096};

	for (size_t k = 0; k < KINDS; k++) {
		struct image image;
		image_make(&image, kinds[k].granularity, kinds[k].block_size, kinds[k].clean);
		for (size_t l = 0; l < sizeof(lengths) / sizeof(*lengths); l++)
			for (size_t off = 0; off < IMAGE_BYTES; off += lengths[l] < 512 ? lengths[l] * STRIDE : 512)
				for (int value = 0; value < 256; value += 255) {
					struct damage damage = {.image = &image, .off = off, .bytes = lengths[l]};
					if (off + lengths[l] > IMAGE_BYTES || (off == 0 && lengths[l] == 4096))
						continue; /* a stream without any header is not known to be one */
					snprintf(damage.what, sizeof(damage.what), "kind %zu, %zu bytes at %zu = %d", k,
						 lengths[l], off, value);
					unsigned char *bytes = image_copy(&image, IMAGE_BYTES);
					memset(bytes + off, value, lengths[l]);
					both(&damage, bytes);
					free(bytes);
				}
		image_free(&image);
	}
}

static void no_truncated_file_is_opened_or_changed(void **state)
{
	(void)state;
	for (size_t k = 0; k < KINDS; k++) {
		struct image image;
		image_make(&image, kinds[k].granularity, kinds[k].block_size, kinds[k].clean);
		for (size_t size = 1; size < IMAGE_BYTES; size += STRIDE)
			for (int writable = 0; writable < 2; writable++) {
				unsigned char *bytes = image_copy(&image, size);
				struct pmemstream *stream = image_open(&image, bytes, size, writable);
				assert_null(stream);
				/* Of 11 bytes nobody can say what they were. */
				assert_int_equal(errno, size < 12 ? EINVAL : EBADMSG);
				assert_memory_equal(bytes, image.bytes, size);
				free(bytes);
			}
		image_free(&image);
	}
}

static void a_first_page_that_is_gone_is_not_taken_for_an_empty_file(void **state)
{
	(void)state;
	for (size_t k = 0; k < KINDS; k++)
		for (int writable = 0; writable < 2; writable++) {
			struct image image;
			image_make(&image, kinds[k].granularity, kinds[k].block_size, kinds[k].clean);
			unsigned char *bytes = image_copy(&image, IMAGE_BYTES), *before;
			memset(bytes, 0, 4096);
			before = malloc(IMAGE_BYTES);
			memcpy(before, bytes, IMAGE_BYTES);
			assert_null(image_open(&image, bytes, IMAGE_BYTES, writable));
			assert_int_equal(errno, EINVAL);
			assert_memory_equal(bytes, before, IMAGE_BYTES);
			free(before);
			free(bytes);
			image_free(&image);
		}
}

static void a_longer_file_is_opened(void **state)
{
	(void)state;
	for (size_t k = 0; k < KINDS; k++)
		for (size_t more = 1; more < 9000; more = more * 3 + 1) {
			struct image image;
			image_make(&image, kinds[k].granularity, kinds[k].block_size, kinds[k].clean);
			struct damage damage = {.image = &image, .off = IMAGE_BYTES, .bytes = more};
			unsigned char *bytes = image_copy(&image, IMAGE_BYTES + more);
			look(&damage, bytes, IMAGE_BYTES + more);
			work(&damage, bytes, IMAGE_BYTES + more);
			for (size_t i = IMAGE_BYTES; i < IMAGE_BYTES + more; i++)
				assert_int_equal(bytes[i], 0);
			free(bytes);
			image_free(&image);
		}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(no_flipped_byte_goes_unseen),
		cmocka_unit_test(no_zeroed_sector_goes_unseen),
		cmocka_unit_test(no_truncated_file_is_opened_or_changed),
		cmocka_unit_test(a_first_page_that_is_gone_is_not_taken_for_an_empty_file),
		cmocka_unit_test(a_longer_file_is_opened),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
