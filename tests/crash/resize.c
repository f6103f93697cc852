/*
 * resize.c: growth of a stream, cut at every moment: the old size or the new one, and all that was there.
 *
 * The medium is as large as the stream is to become: a map larger than its stream is used up to the stream's size, as
 * after a file grew and its stream did not yet.
 */
#include "stream/resize.h"
#include "base/error.h"
#include "cut/cut.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { SMALL_BYTES = 24 << 10, LARGE_BYTES = 64 << 10, REGION_BYTES = 12 << 10 };

static const struct stream_options options = {.block_size = 64, .window = 16, .salt = 5};

struct growth {
	struct pmemstream_region region;
	bool done; /* resize_grow has returned */
};

static int attach(struct cut *cut, size_t bytes, struct pmemstream **stream)
{
	struct medium medium;

	if (cut_attach(cut, &medium))
		return -1;
	medium.size = bytes;
	if (!stream_open(stream, &medium, &options))
		return 0;
	medium_close(&medium);
	return -1;
}

/* What any outcome must allow: the first entry is there, appends work, and the space is that of one of the two sizes.
 */
static int look(struct pmemstream *stream, const struct growth *growth)
{
	struct pmemstream_statistics statistics;
	struct pmemstream_entry_iterator *iterator;
	struct pmemstream_region more;

	if (pmemstream_get_statistics(stream, &statistics))
		return -1;
	if (statistics.size != LARGE_BYTES && (growth->done || statistics.size != SMALL_BYTES))
		return error_set(EBADMSG, "the stream has %zu bytes", (size_t)statistics.size);
	if (pmemstream_entry_iterator_new(&iterator, stream, growth->region))
		return -1;
	pmemstream_entry_iterator_seek_first(iterator);
	int invalid = pmemstream_entry_iterator_is_valid(iterator);
	pmemstream_entry_iterator_delete(&iterator);
	if (invalid || pmemstream_append(stream, growth->region, NULL, "later", 5, NULL))
		return error_prefix("the region that was there before");
	bool fits = !pmemstream_region_allocate(stream, REGION_BYTES, &more);
	if (fits != (statistics.size == LARGE_BYTES))
		return error_prefix("a region in the new space, with %zu bytes", (size_t)statistics.size);
	return fits ? pmemstream_append(stream, more, NULL, "new", 3, NULL) : 0;
}

static int check(struct cut *after, const struct cut_moment *moment, void *context)
{
	struct growth *growth = context;
	struct pmemstream *stream;

	(void)moment;
	if (attach(after, LARGE_BYTES, &stream) || look(stream, growth))
		return -1;
	pmemstream_delete(&stream);
	/* And once more, from what the first opening left. */
	if (attach(after, LARGE_BYTES, &stream))
		return -1;
	uint64_t persisted = pmemstream_persisted_timestamp(stream);
	pmemstream_delete(&stream);
	return persisted >= 2 ? 0 : error_set(EBADMSG, "only %zu entries are left", (size_t)persisted);
}

static void growth_survives_any_cut_on(enum medium_granularity granularity)
{
	struct cut *cut = cut_new(LARGE_BYTES, granularity);
	struct growth growth = {.done = false};
	struct cut_watch watch = {.plan = {.samples = 40},
				  .kinds = CUT_STORE | CUT_FENCE | CUT_SYNC | CUT_NOW,
				  .kills = true,
				  .check = check,
				  .context = &growth};
	struct pmemstream *stream;

	assert_int_equal(attach(cut, SMALL_BYTES, &stream), 0);
	assert_int_equal(pmemstream_region_allocate(stream, REGION_BYTES, &growth.region), 0);
	assert_int_equal(pmemstream_append(stream, growth.region, NULL, "first", 5, NULL), 0);
	/* The map reaches further than the stream, as the file does that has grown. */
	stream->medium.size = LARGE_BYTES;
	cut_watch(cut, &watch);
	pthread_mutex_lock(&stream->admin);
	int err = resize_grow(stream, LARGE_BYTES);
	pthread_mutex_unlock(&stream->admin);
	growth.done = true;
	if (cut_check_now(cut))
		fail_msg("%s", cut_failure(cut));
	assert_int_equal(err, 0);
	cut_watch(cut, NULL);
	assert_true(cut_images_checked(cut) > 20);
	assert_int_equal(look(stream, &growth), 0);
	pmemstream_delete(&stream);
	cut_delete(cut);
}

static void growth_survives_any_cut(void **state)
{
	(void)state;
	growth_survives_any_cut_on(MEDIUM_BYTE);
	growth_survives_any_cut_on(MEDIUM_CACHE_LINE);
	growth_survives_any_cut_on(MEDIUM_PAGE);
}

static void a_sync_that_fails_during_growth_loses_nothing(void **state)
{
	(void)state;
	for (unsigned n = 1; n <= 3; n++) {
		struct cut *cut = cut_new(LARGE_BYTES, MEDIUM_PAGE);
		struct growth growth = {.done = false};
		struct pmemstream *stream;

		assert_int_equal(attach(cut, SMALL_BYTES, &stream), 0);
		assert_int_equal(pmemstream_region_allocate(stream, REGION_BYTES, &growth.region), 0);
		assert_int_equal(pmemstream_append(stream, growth.region, NULL, "first", 5, NULL), 0);
		stream->medium.size = LARGE_BYTES;
		cut_fail_sync(cut, n, EIO, false);
		pthread_mutex_lock(&stream->admin);
		assert_int_equal(resize_grow(stream, LARGE_BYTES), -1);
		pthread_mutex_unlock(&stream->admin);
		assert_int_equal(errno, EIO);
		pmemstream_delete(&stream);
		assert_int_equal(attach(cut, LARGE_BYTES, &stream), 0);
		assert_int_equal(look(stream, &growth), 0);
		pmemstream_delete(&stream);
		cut_delete(cut);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(growth_survives_any_cut),
		cmocka_unit_test(a_sync_that_fails_during_growth_loses_nothing),
	};

	return cmocka_run_group_tests_name("crash_resize", tests, NULL, NULL);
}
