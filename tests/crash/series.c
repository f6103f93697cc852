/*
 * series.c: a series that rolls to its next region and frees what it keeps no longer, cut at every moment of it.
 *
 * What must hold after each cut: the regions are NAME.i to NAME.j without a gap; their entries are consecutive, up to
 * the last acknowledged one at least and the one on its way at most; none is missing in front but whole regions that
 * retention may free; and the series goes on, over another roll.
 */
#include "stream/stream.h"

#include "base/error.h"
#include "cut/cut.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum {
	MEDIA_BYTES = 16 << 10,
	REGION_BYTES = 1024,
	ENTRY_BYTES = 200,
	KEEP_BYTES = 1500,
	APPENDS = 30,
	REGIONS_MAX = 16,
	HOUR_COUNT = 1000,
};

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { SAMPLES = 4, WATCHED_FROM = 16, WATCHED_TO = 21 };
#else
enum { SAMPLES = 24, WATCHED_FROM = 1, WATCHED_TO = APPENDS };
#endif

static const struct stream_options options = {.block_size = 64, .window = 16, .salt = 5, .round_bytes = 2000};

struct known {
	uint64_t submitted, acknowledged; /* timestamps */
	bool by_age;
};

static struct pmemstream_series_config config_of(const struct known *known)
{
	struct pmemstream_series_config config = {.region_bytes = REGION_BYTES, .keep_bytes = KEEP_BYTES};

	/* Nothing gets so old here; but to know that takes a round. */
	if (known->by_age)
		config.keep_ns = UINT64_C(3600) * 1000000000 * HOUR_COUNT;
	return config;
}

static int attach(struct cut *cut, struct pmemstream **stream)
{
	struct medium medium;

	if (cut_attach(cut, &medium))
		return -1;
	if (!stream_open(stream, &medium, &options))
		return 0;
	medium_close(&medium);
	return -1;
}

static void data_of(uint64_t timestamp, char data[ENTRY_BYTES])
{
	memset(data, (int)('a' + timestamp % 26), ENTRY_BYTES);
}

/* Entries of one region; *next is the timestamp that the first one must have, 0: any. */
static int look_at_region(struct pmemstream *stream, struct pmemstream_region region, uint64_t *next)
{
	struct pmemstream_entry_iterator *iterator;
	char data[ENTRY_BYTES];
	int err = pmemstream_entry_iterator_new(&iterator, stream, region);

	if (err)
		return -1;
	pmemstream_entry_iterator_seek_first(iterator);
	for (; !err && !pmemstream_entry_iterator_is_valid(iterator); pmemstream_entry_iterator_next(iterator)) {
		struct pmemstream_entry entry = pmemstream_entry_iterator_get(iterator);
		uint64_t timestamp = pmemstream_entry_timestamp(stream, entry);
		data_of(timestamp, data);
		if (*next && timestamp != *next)
			err = error_set(EBADMSG, "timestamp %zu where %zu belongs", (size_t)timestamp, (size_t)*next);
		else if (pmemstream_entry_size(stream, entry) != ENTRY_BYTES ||
			 memcmp(pmemstream_entry_data(stream, entry), data, ENTRY_BYTES) != 0)
			err = error_set(EBADMSG, "timestamp %zu has other data", (size_t)timestamp);
		*next = timestamp + 1;
	}
	if (!err && errno != ENODATA)
		err = -1;
	int kept = errno;
	pmemstream_entry_iterator_delete(&iterator);
	errno = kept;
	return err;
}

static int look(struct pmemstream *stream, const struct known *known)
{
	struct pmemstream_region regions[REGIONS_MAX];
	size_t count = REGIONS_MAX;
	uint64_t used = 0, next = 0, first = 0;
	unsigned number = 0;

	if (pmemstream_series_list(stream, "s", regions, &count))
		return -1;
	for (size_t i = 0; i < count; i++) {
		struct pmemstream_region_info info;
		unsigned now;
		if (pmemstream_region_get_info(stream, regions[i], &info))
			return -1;
		if (sscanf(info.label, "s.%u", &now) != 1 || (i && now != number + 1))
			return error_set(EBADMSG, "region \"%s\" behind number %u", info.label, number);
		number = now;
		used += info.used;
		uint64_t before = next;
		if (look_at_region(stream, regions[i], &next))
			return -1;
		/* Only the newest can be empty. */
		if (next == before && i + 1 < count)
			return error_set(EBADMSG, "region \"%s\" is empty", info.label);
		if (!i && next)
			first = next - info.used / pmemstream_entry_space(stream, ENTRY_BYTES);
	}
	uint64_t last = next ? next - 1 : 0;
	if (last < known->acknowledged || last > known->submitted)
		return error_set(EBADMSG, "the last of %zu to %zu entries is %zu", (size_t)known->acknowledged,
				 (size_t)known->submitted, (size_t)last);
	if (first > 1 && used < KEEP_BYTES)
		return error_set(EBADMSG, "entries up to %zu are gone, though only %zu bytes are left",
				 (size_t)first - 1, (size_t)used);
	return 0;
}

static int append(struct pmemstream *stream, struct pmemstream_series *series, struct known *known)
{
	char data[ENTRY_BYTES];

	known->submitted = pmemstream_committed_timestamp(stream) + 1;
	data_of(known->submitted, data);
	if (pmemstream_series_append(series, data, sizeof(data), NULL))
		return -1;
	known->acknowledged = known->submitted;
	return 0;
}

/* Appends over a whole region, so that it rolls at least once. */
static int go_on(struct pmemstream *stream, struct known *known)
{
	struct pmemstream_series_config config = config_of(known);
	struct pmemstream_series *series;

	if (pmemstream_series_open(stream, "s", &config, &series))
		return -1;
	int err = 0;
	for (unsigned i = 0; i < 6 && !err; i++)
		err = append(stream, series, known);
	int kept = errno;
	pmemstream_series_close(&series);
	errno = kept;
	return err;
}

static int check(struct cut *after, const struct cut_moment *moment, void *context)
{
	struct known known = *(const struct known *)context;
	struct pmemstream *stream;

	(void)moment;
	if (attach(after, &stream))
		return -1;
	if (look(stream, &known) || go_on(stream, &known) || look(stream, &known)) {
		int kept = errno;
		pmemstream_delete(&stream);
		errno = kept;
		return -1;
	}
	pmemstream_delete(&stream);
	if (attach(after, &stream))
		return -1;
	int err = look(stream, &known);
	pmemstream_delete(&stream);
	return err;
}

static void a_series_survives_any_cut_on(enum medium_granularity granularity, bool by_age)
{
	struct cut *cut = cut_new(MEDIA_BYTES, granularity);
	struct known known = {.by_age = by_age};
	struct cut_watch watch = {.plan = {.samples = SAMPLES, .all_below = SAMPLES * 4, .single_max = SAMPLES},
				  .kinds = CUT_FENCE | CUT_SYNC | CUT_NOW,
				  .kills = true,
				  .check = check,
				  .context = &known};
	struct pmemstream_series_config config = config_of(&known);
	struct pmemstream_series *series;
	struct pmemstream *stream;

	assert_int_equal(attach(cut, &stream), 0);
	assert_int_equal(pmemstream_series_open(stream, "s", &config, &series), 0);
	for (unsigned i = 0; i < APPENDS; i++) {
		cut_watch(cut, i >= WATCHED_FROM && i < WATCHED_TO ? &watch : NULL);
		if (append(stream, series, &known) || cut_check_now(cut))
			fail_msg("entry %u: %s", i + 1, error_message());
		if (cut_failure(cut))
			fail_msg("entry %u: %s", i + 1, cut_failure(cut));
	}
	assert_true(cut_images_checked(cut) > 100);
	cut_watch(cut, NULL);
	/* It rolled, and retention freed. */
	struct pmemstream_region first;
	assert_int_equal(pmemstream_region_find(stream, "s.0", &first), -1);
	assert_int_equal(pmemstream_region_find(stream, "s.5", &first), 0);
	pmemstream_series_close(&series);
	pmemstream_delete(&stream);
	cut_delete(cut);
}

static void a_series_survives_any_cut(void **state)
{
	(void)state;
	for (int by_age = 0; by_age < 2; by_age++) {
		a_series_survives_any_cut_on(MEDIUM_BYTE, by_age);
		a_series_survives_any_cut_on(MEDIUM_CACHE_LINE, by_age);
		a_series_survives_any_cut_on(MEDIUM_PAGE, by_age);
	}
}

static void a_sync_that_fails_while_a_series_rolls_loses_nothing(void **state)
{
	(void)state;
	unsigned failed = 0;

	for (unsigned n = 1;; n++) {
		struct cut *cut = cut_new(MEDIA_BYTES, MEDIUM_PAGE);
		struct known known = {.by_age = n % 2};
		struct pmemstream_series_config config = config_of(&known);
		struct pmemstream_series *series;
		struct pmemstream *stream;
		unsigned i = 0;

		assert_int_equal(attach(cut, &stream), 0);
		assert_int_equal(pmemstream_series_open(stream, "s", &config, &series), 0);
		cut_fail_sync(cut, n, EIO, false);
		while (i < APPENDS && !append(stream, series, &known))
			i++;
		if (i < APPENDS)
			assert_int_equal(errno, EIO);
		failed += i < APPENDS;
		pmemstream_series_close(&series);
		pmemstream_delete(&stream);
		if (attach(cut, &stream) || look(stream, &known) || go_on(stream, &known) || look(stream, &known))
			fail_msg("sync %u: %s", n, error_message());
		pmemstream_delete(&stream);
		cut_delete(cut);
		if (i == APPENDS)
			break;
	}
	assert_true(failed > APPENDS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_series_survives_any_cut),
		cmocka_unit_test(a_sync_that_fails_while_a_series_rolls_loses_nothing),
	};

	return cmocka_run_group_tests_name("crash_series", tests, NULL, NULL);
}
