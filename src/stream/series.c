/*
 * series.c: a log without an end in regions that come and go: NAME.0, NAME.1, ...
 *
 * Entries go to the region with the highest number; when it is full, or was freed, the next one is allocated, which is
 * atomic. What retention no longer wants is freed from the front. A reader of a freed region gets ESTALE from his
 * iterator and goes on with the next one.
 *
 * Crash  nothing but the regions' labels is on media: a crash leaves the series with its new region or without.
 * Age    is told by a region's last checkpoint, if that covers all its entries: retention by age completes a round
 *        first where it does not.
 */
#include "base/error.h"
#include "base/export.h"
#include "stream/checkpoint.h"
#include "stream/stream.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NAME_BYTES = 44 }; /* leaves room for a dot and 19 digits in a label */

struct pmemstream_series {
	struct pmemstream *stream;
	char name[NAME_BYTES];
	struct pmemstream_series_config config;
	pthread_mutex_t mutex; /* one thread at a time changes to the next region */
	_Atomic uint64_t number;
	/* The newest region; generation 0: none yet. Of an offset nobody could tell whose region it is by now. Who
	 * reads the two beside a change may get a pair that never was: then the region has another generation, which is
	 * ESTALE. */
	struct region *_Atomic newest;
	_Atomic uint64_t generation;
};

struct segment {
	uint64_t number;
	struct pmemstream_region region;
	struct pmemstream_region_info info;
};

/* The number of a label of the series, or false. */
static bool number_of(const char *name, const char *label, uint64_t *number)
{
	size_t length = strlen(name);
	const char *digit = label + length + 1;

	if (strncmp(label, name, length) || label[length] != '.' || !*digit || strlen(digit) > 19 ||
	    (digit[0] == '0' && digit[1]))
		return false;
	for (*number = 0; *digit; digit++) {
		if (*digit < '0' || *digit > '9')
			return false;
		*number = *number * 10 + (uint64_t)(*digit - '0');
	}
	return true;
}

static int compare_segments(const void *a, const void *b)
{
	const struct segment *left = a, *right = b;

	return left->number < right->number ? -1 : left->number > right->number;
}

/* All regions of a series, in order of number; the caller frees them. strict: a region that cannot be read, and may be
 * one of them, is an error; otherwise it is left out, and the series goes on with the rest. */
static int list(struct pmemstream *stream, const char *name, bool strict, struct segment **segments, size_t *count)
{
	struct pmemstream_region_iterator *iterator;
	struct segment *found = NULL;
	size_t used = 0, room = 0;

	if (pmemstream_region_iterator_new(&iterator, stream))
		return -1;
	pmemstream_region_iterator_seek_first(iterator);
	for (;; pmemstream_region_iterator_next(iterator)) {
		struct segment segment = {.region = pmemstream_region_iterator_get(iterator)};
		if (segment.region.offset == UINT64_MAX && errno != ESTALE)
			break;
		if (segment.region.offset == UINT64_MAX)
			continue;
		if (pmemstream_region_get_info(stream, segment.region, &segment.info)) {
			if (!strict || errno == EINVAL) /* freed meanwhile */
				continue;
			goto fail;
		}
		if (!number_of(name, segment.info.label, &segment.number))
			continue;
		if (used == room) {
			struct segment *more = realloc(found, (room * 2 + 8) * sizeof(*more));
			if (!more) {
				error_set(ENOMEM, "no memory for the regions of series \"%s\"", name);
				goto fail;
			}
			found = more;
			room = room * 2 + 8;
		}
		found[used++] = segment;
	}
	pmemstream_region_iterator_delete(&iterator);
	if (used)
		qsort(found, used, sizeof(*found), compare_segments);
	*segments = found;
	*count = used;
	return 0;
fail:
	free(found);
	pmemstream_region_iterator_delete(&iterator);
	return -1;
}

static int check_name(const char *name)
{
	if (!name || !name[0] || strlen(name) >= NAME_BYTES)
		return error_set(EINVAL, "the name of a series has 1 to %d bytes", NAME_BYTES - 1);
	return 0;
}

EXPORT int pmemstream_series_open(struct pmemstream *stream, const char *name,
				  const struct pmemstream_series_config *config, struct pmemstream_series **series)
{
	struct region *newest = NULL;
	struct segment *segments;
	uint64_t generation = 0;
	size_t count;

	if (!stream || !config || !series || !config->region_bytes)
		return error_set(EINVAL, "no stream, config, size of its regions, or place for the series");
	if (check_name(name) || stream_writable(stream) || list(stream, name, false, &segments, &count))
		return -1;
	if (count && !(newest = region_find(stream, segments[count - 1].region, &generation))) {
		free(segments);
		return -1;
	}
	struct pmemstream_series *made = calloc(1, sizeof(*made));
	if (made) {
		made->stream = stream;
		memcpy(made->name, name, strlen(name));
		made->config = *config;
		pthread_mutex_init(&made->mutex, NULL);
		atomic_store(&made->number, count ? segments[count - 1].number : 0);
		atomic_store(&made->newest, newest);
		atomic_store(&made->generation, generation);
		*series = made;
	}
	free(segments);
	return made ? 0 : error_set(ENOMEM, "no memory for a series");
}

EXPORT void pmemstream_series_close(struct pmemstream_series **series)
{
	if (!series || !*series)
		return;
	pthread_mutex_destroy(&(*series)->mutex);
	free(*series);
	*series = NULL;
}

/* Entries that no checkpoint covers may have come a moment ago. */
static bool is_covered(const struct segment *segment)
{
	return segment->info.checkpoint_used >= segment->info.used;
}

/* The oldest region goes if what is left behind it is enough, or if all in it is too old. */
static bool unwanted(const struct pmemstream_series *series, const struct segment *oldest, uint64_t left_bytes,
		     uint64_t now_ns)
{
	const struct pmemstream_series_config *config = &series->config;

	if (config->keep_bytes && left_bytes >= config->keep_bytes)
		return true;
	return config->keep_ns && is_covered(oldest) && now_ns > oldest->info.checkpoint_ns &&
	       now_ns - oldest->info.checkpoint_ns > config->keep_ns;
}

/* The series' regions, each with a checkpoint that tells its age; the newest one's does not matter. */
static int list_for_retention(struct pmemstream_series *series, struct segment **segments, size_t *count)
{
	struct pmemstream *stream = series->stream;
	bool covered = true;

	if (list(stream, series->name, false, segments, count))
		return -1;
	for (size_t i = 0; i + 1 < *count; i++)
		covered = covered && is_covered(&(*segments)[i]);
	if (covered || !series->config.keep_ns)
		return 0;
	free(*segments);
	pthread_mutex_lock(&stream->admin);
	int err = checkpoint_round(stream, 0);
	pthread_mutex_unlock(&stream->admin);
	return err ? -1 : list(stream, series->name, false, segments, count);
}

/* Under the series' mutex. Frees from the front; a region that is in use stays until the next time. */
static int retain(struct pmemstream_series *series)
{
	struct segment *segments;
	uint64_t left_bytes = 0;
	size_t count;
	int err = 0;

	if (list_for_retention(series, &segments, &count))
		return -1;
	uint64_t now_ns = stream_time_ns();
	for (size_t i = 0; i < count; i++)
		left_bytes += segments[i].info.used;
	for (size_t i = 0; i + 1 < count && !err; i++) {
		left_bytes -= segments[i].info.used;
		if (!unwanted(series, &segments[i], left_bytes, now_ns))
			break;
		err = pmemstream_region_free(series->stream, segments[i].region);
		if (err && errno == EBUSY) {
			err = 0;
			break;
		}
	}
	free(segments);
	return err;
}

static int set_newest(struct pmemstream_series *series, struct pmemstream_region region, uint64_t number)
{
	uint64_t generation;
	struct region *newest = region_find(series->stream, region, &generation);

	if (!newest)
		return -1;
	atomic_store(&series->number, number);
	atomic_store(&series->newest, newest);
	atomic_store(&series->generation, generation);
	return 0;
}

/* Somebody else gave a region the label that the next one would have: the series goes on with what is there. */
static int adopt(struct pmemstream_series *series, const char *label)
{
	uint64_t former = atomic_load(&series->generation);
	struct segment *segments;
	size_t count;

	if (list(series->stream, series->name, false, &segments, &count))
		return -1;
	int err = count ? set_newest(series, segments[count - 1].region, segments[count - 1].number) : 0;
	free(segments);
	/* Else whoever appends would come here again for ever. */
	if (!err && atomic_load(&series->generation) == former && !pmemstream_region_find(series->stream, label, NULL))
		return error_set(EEXIST, "series \"%s\": the region \"%s\" is in the way: damaged, or the last number",
				 series->name, label);
	return err;
}

/* Under the series' mutex: the next region becomes the newest one. */
static int add_region(struct pmemstream_series *series, uint64_t number)
{
	struct pmemstream_region region;
	char label[FORMAT_LABEL_BYTES];

	snprintf(label, sizeof(label), "%s.%zu", series->name, (size_t)number);
	int err = pmemstream_region_allocate_labeled(series->stream, series->config.region_bytes, label, &region);
	if (err && errno == ENOSPC && !retain(series))
		err = pmemstream_region_allocate_labeled(series->stream, series->config.region_bytes, label, &region);
	if (err)
		return errno == EEXIST ? adopt(series, label) : -1;
	if (set_newest(series, region, number)) {
		err = errno;
		pmemstream_region_free(series->stream, region);
		errno = err;
		return -1;
	}
	return 0;
}

/* Goes on to the next region, unless another thread did since old was the newest one. */
static int roll(struct pmemstream_series *series, uint64_t old)
{
	int err = 0;

	pthread_mutex_lock(&series->mutex);
	if (atomic_load(&series->generation) == old) {
		err = add_region(series, old ? atomic_load(&series->number) + 1 : 0);
		/* What keeps retention from freeing is no reason not to append: whoever wants to know calls retain. */
		if (!err)
			retain(series);
	}
	pthread_mutex_unlock(&series->mutex);
	return err;
}

EXPORT int pmemstream_series_append(struct pmemstream_series *series, const void *data, size_t size,
				    struct pmemstream_entry *entry)
{
	if (!series)
		return error_set(EINVAL, "no series");
	size_t space = pmemstream_entry_space(series->stream, size);
	if (!space || space > series->config.region_bytes)
		return error_set(ENOSPC, "an entry of %zu bytes does not fit a region of %zu of series \"%s\"", size,
				 (size_t)series->config.region_bytes, series->name);
	for (;;) {
		uint64_t newest = atomic_load(&series->generation);
		if (newest) {
			/* A handle for this call alone: one of pmemstream_region_runtime_initialize would outlive the
			 * region. */
			struct pmemstream_region_runtime runtime = {
				.stream = series->stream,
				.region = atomic_load(&series->newest),
				.generation = newest,
			};
			struct pmemstream_region region = {.offset = atomic_load(&runtime.region->off)};
			if (!pmemstream_append(series->stream, region, &runtime, data, size, entry))
				return 0;
			/* Whatever is wrong with a region that other threads went on from, and freed, is no matter. */
			if (atomic_load(&series->generation) != newest)
				continue;
			/* Full; or freed by somebody else. */
			if (errno != ENOSPC && errno != ESTALE)
				return -1;
		}
		if (roll(series, newest))
			return -1;
	}
}

EXPORT int pmemstream_series_retain(struct pmemstream_series *series)
{
	if (!series)
		return error_set(EINVAL, "no series");
	pthread_mutex_lock(&series->mutex);
	int err = retain(series);
	pthread_mutex_unlock(&series->mutex);
	return err;
}

EXPORT int pmemstream_series_list(struct pmemstream *stream, const char *name, struct pmemstream_region *regions,
				  size_t *count)
{
	struct segment *segments;
	size_t found;

	if (!stream || !count || (!regions && *count))
		return error_set(EINVAL, "no %s", stream ? "place for the regions or their number" : "stream");
	if (check_name(name) || list(stream, name, true, &segments, &found))
		return -1;
	for (size_t i = 0; i < found && i < *count; i++)
		regions[i] = segments[i].region;
	*count = found;
	free(segments);
	return 0;
}
