/*
 * repair.c: a changed stream, checked and repaired.
 *
 * Claims   checking and a dry run leave every byte, and so does a repair that is refused; a check that finds no damage
 *          and an opening for writing say the same; what a deep check calls repairable is repaired, and only that; a
 *          repaired stream checks, opens for writing, needs no other repair, and shows every entry that an opening
 *          showed before it, if nothing was forged.
 */
#include "repair.h"

#include "base/error.h"
#include "stream/check.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SHOWN_MAX = IMAGE_BYTES / 32, REGIONS_MAX = IMAGE_BYTES / 256 };

struct tried {
	unsigned damages, beyond_repair, changes;
};

struct shown {
	uint64_t off, timestamp;
};

struct sight {
	bool opened;
	size_t count, damaged;
	struct shown shown[SHOWN_MAX];
};

static void die(const char *what)
{
	fprintf(stderr, "%s: errno %d: %s\n", what, errno, error_message());
	abort();
}

static int count_event(const struct pmemstream_event *event, void *arg)
{
	struct tried *tried = arg;

	if (event->kind == PMEMSTREAM_EVENT_CHANGE)
		tried->changes++;
	if (event->kind == PMEMSTREAM_EVENT_PROBLEM && event->problem.severity == PMEMSTREAM_DAMAGE) {
		tried->damages++;
		tried->beyond_repair += !event->problem.repairable;
	}
	return 0;
}

static void expect_errno(const char *what)
{
	if (errno != EBADMSG && errno != EINVAL && errno != ENOTSUP && errno != EOVERFLOW)
		die(what);
}

static int check(const struct image *image, unsigned char *bytes, bool deep, struct tried *tried)
{
	struct medium medium;

	*tried = (struct tried){0};
	if (medium_from_range(&medium, bytes, IMAGE_BYTES, image->granularity, false))
		die("no medium");
	int err = check_medium(&medium, deep, count_event, tried);
	if (err)
		expect_errno("check");
	if (!err && tried->damages)
		die("check told of damage and found none");
	if (!err != !check_opens(&medium) && !(deep && err))
		die("check and an opening do not agree");
	medium_close(&medium);
	return err;
}

static int repair(const struct image *image, unsigned char *bytes, bool dry_run, struct tried *tried)
{
	unsigned char *trial = malloc(IMAGE_BYTES);
	struct medium medium;

	*tried = (struct tried){0};
	if (!trial || medium_from_range(&medium, bytes, IMAGE_BYTES, image->granularity, true))
		die("no medium");
	memcpy(trial, bytes, IMAGE_BYTES);
	int err = repair_medium(&medium, trial, dry_run, count_event, tried);
	int kept = errno;
	if (err)
		expect_errno("repair");
	medium_close(&medium);
	free(trial);
	errno = kept;
	return err;
}

static void see_region(struct pmemstream *stream, struct pmemstream_region region, struct sight *sight)
{
	struct pmemstream_entry_iterator *iterator;

	if (pmemstream_entry_iterator_new(&iterator, stream, region))
		die("no iterator");
	pmemstream_entry_iterator_seek_first(iterator);
	for (size_t steps = 0; steps < IMAGE_BYTES; steps++, pmemstream_entry_iterator_next(iterator)) {
		if (!pmemstream_entry_iterator_is_valid(iterator)) {
			struct pmemstream_entry entry = pmemstream_entry_iterator_get(iterator);
			if (sight->count == SHOWN_MAX)
				die("more entries than there is room for");
			sight->shown[sight->count++] = (struct shown){
				.off = entry.offset,
				.timestamp = pmemstream_entry_timestamp(stream, entry),
			};
		} else if (errno == EBADMSG) {
			sight->damaged++;
		} else {
			break;
		}
	}
	pmemstream_entry_iterator_delete(&iterator);
}

static void see(const struct image *image, unsigned char *bytes, bool writable, struct sight *sight)
{
	struct pmemstream *stream = image_open(image, bytes, IMAGE_BYTES, writable);
	struct pmemstream_region regions[REGIONS_MAX];
	size_t count = 0;

	*sight = (struct sight){.opened = stream};
	if (!stream)
		return;
	struct pmemstream_region_iterator *iterator;
	if (pmemstream_region_iterator_new(&iterator, stream))
		die("no iterator");
	pmemstream_region_iterator_seek_first(iterator);
	for (; !pmemstream_region_iterator_is_valid(iterator) && count < REGIONS_MAX;
	     pmemstream_region_iterator_next(iterator))
		regions[count++] = pmemstream_region_iterator_get(iterator);
	pmemstream_region_iterator_delete(&iterator);
	for (size_t i = 0; i < count; i++)
		see_region(stream, regions[i], sight);
	pmemstream_delete(&stream);
}

static void expect_all_seen(const struct sight *before, const struct sight *after)
{
	for (size_t i = 0; i < before->count; i++) {
		bool found = false;
		for (size_t j = 0; j < after->count && !found; j++)
			found = before->shown[i].off == after->shown[j].off &&
				before->shown[i].timestamp == after->shown[j].timestamp;
		if (found)
			continue;
		fprintf(stderr, "the entry at %zu with timestamp %zu\n", (size_t)before->shown[i].off,
			(size_t)before->shown[i].timestamp);
		die("the repair lost an entry");
	}
}

static void expect_repaired(const struct image *image, const unsigned char *changed, unsigned char *repaired,
			    bool forged)
{
	static struct sight before, after;
	struct tried tried;
	unsigned char *copy = malloc(IMAGE_BYTES);

	if (!copy)
		die("no memory");
	if (check(image, repaired, true, &tried))
		die("a repaired stream does not check");
	memcpy(copy, repaired, IMAGE_BYTES);
	if (repair(image, copy, false, &tried) || tried.changes)
		die("a repaired stream is repaired again");
	memcpy(copy, changed, IMAGE_BYTES);
	see(image, copy, false, &before);
	see(image, repaired, true, &after);
	if (!after.opened)
		die("a repaired stream does not open");
	if (!forged)
		expect_all_seen(&before, &after);
	if (!forged && check(image, repaired, true, &tried))
		die("a repaired stream that was open and closed does not check");
	free(copy);
}

bool fuzz_repair(const struct image *image, const unsigned char *changed, bool forged)
{
	unsigned char *bytes = image_copy(image, IMAGE_BYTES);
	struct tried light, deep, dry, done;

	memcpy(bytes, changed, IMAGE_BYTES);
	int light_err = check(image, bytes, false, &light), deep_err = check(image, bytes, true, &deep);
	if (light_err && !deep_err)
		die("a deep check passes over what another one found");
	int dry_err = repair(image, bytes, true, &dry);
	if (memcmp(bytes, changed, IMAGE_BYTES))
		die("check, or a dry run, changed the file");
	int err = repair(image, bytes, false, &done);
	if (err != dry_err || (!err && done.changes != dry.changes))
		die("the dry run promised something else");
	if (err && memcmp(bytes, changed, IMAGE_BYTES))
		die("refused, but the file was changed");
	if (err && errno == EBADMSG && deep_err && deep.damages && !deep.beyond_repair)
		die("what was called repairable was not repaired");
	if (!err && deep.beyond_repair)
		die("what was called beyond repair was repaired");
	if (!err)
		expect_repaired(image, changed, bytes, forged);
	free(bytes);
	return !err && deep_err;
}
