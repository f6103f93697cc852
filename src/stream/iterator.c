/*
 * iterator.c: walks over the regions of a stream and over the entries of a region.
 *
 * Order    regions by generation, entries by offset. An entry is shown when it is committed; fillers are passed over.
 * Threads  an iterator belongs to one thread at a time; any number of them walk while others append, allocate and free.
 *          A reader takes no lock: it reads, then looks whether the region still has the generation that the iterator
 *          carries.
 * Damage   an entry that does not check makes the iterator invalid with EBADMSG; next goes on behind it, by its size
 *          where the header can be trusted, else at the next place where a valid entry begins.
 * Speed    an entry that is shown is one comparison away, and next steps from a trusted entry to the next by the two
 *          words of its header that are needed; look judges all else. A follower always looks.
 */
#include "stream/iterator.h"
#include "base/error.h"
#include "base/export.h"
#include "stream/follow.h"
#include "stream/found.h"
#include "stream/window.h"

#include <errno.h>
#include <stdlib.h>

/* Beside a writer that frees faster than a follower can look, one look counts so many times that an entry is asked
 * for. */
enum { ENTRIES_A_LOOK = 64 };

/* Entries are checked ahead of where the iterator is, the more the longer it goes on: first one, then twice as much
 * each time. */
enum { AHEAD_BYTES_MAX = 4096 };

struct pmemstream_entry_iterator {
	struct pmemstream *stream;
	struct region *region;
	uint64_t generation;
	uint64_t shown;          /* generation: the current entry is known to be valid; else its complement */
	uint64_t off;            /* of the current entry; 0: seek_first was not called */
	uint64_t size;           /* of the entry that was shown last */
	uint64_t timestamp;      /* of the last entry that was shown or passed by its header */
	uint64_t last_light_off; /* the headers of entries from off to there are committed and trusted */
	uint64_t safe_off;       /* entries in front of it were committed when we looked */
	uint64_t told;           /* damage up to this serial number was reported, and passed by next */
	uint64_t trouble;        /* the one that it is invalid for */
	uint64_t ahead;          /* so many bytes are checked at once, where nobody checked them yet */
	bool quiet;
	unsigned believed; /* doubtful entries that are shown on the word of their own checksums until the next look */
};

struct pmemstream_region_iterator {
	struct pmemstream *stream;
	struct region *region;
	uint64_t generation; /* 0: in front of the first */
	uint64_t off;
	bool at_end; /* behind that region there was none when we looked */
	int err;     /* what a follower's last look failed with */
};

static bool is_alive(const struct region *region, uint64_t generation)
{
	return atomic_load_explicit(&region->generation, memory_order_acquire) == generation;
}

/* An entry stays what it is while its region lives, and is not looked at again; only where another process writes it,
 * what was committed there may be lost with that process, and replaced. */
static inline bool is_shown(const struct pmemstream_entry_iterator *iterator)
{
	uint64_t generation = atomic_load_explicit(&iterator->region->generation, memory_order_acquire);

	return generation == iterator->shown;
}

static inline void hide(struct pmemstream_entry_iterator *iterator)
{
	/* No generation that this memory ever has: they fit 40 bits, and where nobody saw to that nothing is freed. */
	iterator->shown = ~iterator->generation;
}

EXPORT int pmemstream_entry_iterator_new(struct pmemstream_entry_iterator **iterator, struct pmemstream *stream,
					 struct pmemstream_region region)
{
	uint64_t generation;

	if (!iterator || !stream)
		return error_set(EINVAL, "no %s", stream ? "place for the iterator" : "stream");
	struct region *found = region_find(stream, region, &generation);
	if (!found)
		return -1;
	struct pmemstream_entry_iterator *made = malloc(sizeof(*made));
	if (!made)
		return error_set(ENOMEM, "no memory for an iterator");
	*made = (struct pmemstream_entry_iterator){.stream = stream, .region = found, .generation = generation};
	hide(made);
	*iterator = made;
	return 0;
}

/* Whether there is something at the iterator's place: 0, or the errno that says why not. */
static int look_further(struct pmemstream_entry_iterator *iterator, enum entry_verdict *verdict)
{
	struct pmemstream *stream = iterator->stream;

	if (!stream->follower) {
		iterator->safe_off = window_safe_off(stream, iterator->region);
	} else if (follow_safe_off(stream, iterator->region, iterator->off,
				   iterator->quiet ? UINT64_MAX : iterator->told, &iterator->safe_off)) {
		int err = errno;
		/* Freed meanwhile: nothing of this is about its region. */
		if (!is_alive(iterator->region, iterator->generation))
			return ESTALE;
		iterator->trouble = stream->trouble;
		*verdict = ENTRY_NONE;
		return err;
	}
	if (!is_alive(iterator->region, iterator->generation))
		return ESTALE;
	return iterator->off < iterator->safe_off ? 0 : ENODATA;
}

/* Whether an entry that checks is shown: its region is there, or was at the last look, not long ago. */
static bool is_believed(struct pmemstream_entry_iterator *iterator, bool doubtful, bool looked)
{
	if (looked)
		iterator->believed = ENTRIES_A_LOOK;
	if (doubtful)
		return iterator->believed && iterator->believed--;
	iterator->believed = 0;
	return true;
}

static void show(struct pmemstream_entry_iterator *iterator, const struct format_entry *entry)
{
	iterator->last_light_off = 0;
	iterator->size = entry->size;
	iterator->timestamp = entry->timestamp;
	iterator->shown = iterator->generation;
}

/*
 * Passes over fillers to the next entry and says what it is: 0, or the errno that makes the iterator invalid there. The
 * entry is undefined where the verdict says that there is none, and where nothing was looked at.
 */
static __attribute__((noinline)) int look(struct pmemstream_entry_iterator *iterator, enum entry_verdict *verdict,
					  struct format_entry *entry)
{
	struct pmemstream *stream = iterator->stream;
	struct region *region = iterator->region;

	if (!is_alive(region, iterator->generation))
		return ESTALE;
	if (!iterator->off)
		return ENODATA;
	for (bool looked = false;;) {
		int err = iterator->off >= iterator->safe_off ? look_further(iterator, verdict) : 0;
		if (err)
			return err;
		*verdict = entry_read(stream, region, iterator->off, false, entry);
		/* If a writer freed something, this may be another region's by now, in the place of ours: its own
		 * checksum vouches for an entry, nothing for damage. */
		bool doubtful = stream->follower && follow_outdated(stream);
		if (doubtful)
			*verdict = entry_read(stream, region, iterator->off, true, entry);
		if (!is_alive(region, iterator->generation))
			return ESTALE;
		bool believed = is_believed(iterator, doubtful, looked);
		if (*verdict == ENTRY_VALID && believed)
			break;
		if (*verdict == ENTRY_FILLER && believed) {
			iterator->off += format_entry_space(entry->size, stream->alignment);
			continue;
		}
		if (!doubtful)
			return EBADMSG;
		if (looked)
			return ENODATA; /* there is nothing to show yet */
		looked = true;
		iterator->safe_off = 0;
	}
	if (!stream->follower)
		show(iterator, entry);
	return 0;
}

static __attribute__((noinline)) int say_why(struct pmemstream_entry_iterator *iterator, int err,
					     enum entry_verdict verdict)
{
	char name[96];

	if (verdict == ENTRY_NONE) {
		errno = err;
		return -1; /* the error is set */
	}
	switch (err) {
	case 0:
		return 0;
	case ENODATA:
		return error_set(err, iterator->off ? "no further entry is committed" : "seek_first was not called");
	case ESTALE:
		return error_set(err, "the region was freed");
	default:
		return error_set(err, "%s: entry at %zu: %s", region_name(iterator->stream, iterator->region, name),
				 (size_t)iterator->off,
				 verdict == ENTRY_LOST   ? "this stretch was lost to damage, and a repair gave it up"
				 : verdict == ENTRY_TORN ? "damaged: the checksum of its data does not match"
							 : "damaged: its header does not check");
	}
}

uint64_t iterator_generation(const struct pmemstream_entry_iterator *iterator)
{
	return iterator->generation;
}

void iterator_be_quiet(struct pmemstream_entry_iterator *iterator)
{
	iterator->quiet = true;
	iterator->believed = ENTRIES_A_LOOK;
}

EXPORT void pmemstream_entry_iterator_seek(struct pmemstream_entry_iterator *iterator, uint64_t timestamp)
{
	if (!iterator)
		return;
	struct pmemstream *stream = iterator->stream;
	pmemstream_entry_iterator_seek_first(iterator);
	if (stream->follower)
		follow_walk(stream, iterator->region);
	uint64_t safe_off = window_safe_off(stream, iterator->region);
	if (!iterator->off || !is_alive(iterator->region, iterator->generation))
		return;
	iterator->off = index_seek(iterator->stream, iterator->region, iterator->generation, safe_off, timestamp);
}

/* Behind the last byte from the iterator's place on that is trusted now, after checks. */
static uint64_t check_ahead(struct pmemstream_entry_iterator *iterator)
{
	iterator->ahead = iterator->ahead >= AHEAD_BYTES_MAX ? AHEAD_BYTES_MAX : 2 * iterator->ahead + 1;
	return entry_check_ahead(iterator->stream, iterator->region, iterator->off, iterator->safe_off,
				 iterator->ahead);
}

/* Shows an ordinary entry that is committed and valid, and can step to more of them; all else is left to look. */
static bool glance(struct pmemstream_entry_iterator *iterator)
{
	struct pmemstream *stream = iterator->stream;
	uint64_t off = iterator->off;

	if (stream->follower || stream->damaged || !is_alive(iterator->region, iterator->generation) || !off ||
	    off >= iterator->safe_off)
		return false;
	uint64_t trusted_off = entry_trusted_until(stream, iterator->region, off);
	if (trusted_off <= off)
		trusted_off = check_ahead(iterator);
	if (trusted_off > iterator->safe_off)
		trusted_off = iterator->safe_off;
	if (trusted_off < off + FORMAT_ENTRY_HEADER_BYTES)
		return false;
	iterator->last_light_off = trusted_off - FORMAT_ENTRY_HEADER_BYTES;
	if (!entry_step(stream, off, iterator->last_light_off - off, &iterator->size, &iterator->timestamp))
		return false;
	iterator->shown = iterator->generation;
	return is_shown(iterator);
}

int iterator_look(struct pmemstream_entry_iterator *iterator, uint64_t *timestamp)
{
	enum entry_verdict verdict;
	struct format_entry entry;

	if (is_shown(iterator) || glance(iterator)) {
		*timestamp = iterator->timestamp;
		return 0;
	}
	int err = look(iterator, &verdict, &entry);
	if (!err)
		*timestamp = entry.timestamp;
	return err;
}

static __attribute__((noinline)) int look_and_say(struct pmemstream_entry_iterator *iterator)
{
	enum entry_verdict verdict = ENTRY_VALID;
	struct format_entry entry;

	int err = look(iterator, &verdict, &entry);
	return err ? say_why(iterator, err, verdict) : 0;
}

static __attribute__((noinline)) int check_place(struct pmemstream_entry_iterator *iterator)
{
	if (!iterator)
		return error_set(EINVAL, "no iterator");
	return is_shown(iterator) || glance(iterator) ? 0 : look_and_say(iterator);
}

EXPORT int pmemstream_entry_iterator_is_valid(struct pmemstream_entry_iterator *iterator)
{
	return __builtin_expect(iterator && is_shown(iterator), 1) ? 0 : check_place(iterator);
}

/* Steps from a place where nothing is shown. */
static __attribute__((noinline)) void leave(struct pmemstream_entry_iterator *iterator)
{
	enum entry_verdict verdict = ENTRY_VALID;
	struct format_entry entry;

	if (!iterator)
		return;
	int err = look(iterator, &verdict, &entry);
	hide(iterator);
	if (verdict == ENTRY_NONE) {
		if (err == EBADMSG)
			iterator->told = iterator->trouble;
	} else if (err == EBADMSG && verdict == ENTRY_BAD) {
		iterator->off = entry_search(iterator->stream, iterator->region, iterator->off, iterator->safe_off,
					     iterator->timestamp);
	} else if (!err || err == EBADMSG) {
		iterator->off += format_entry_space(entry.size, iterator->stream->alignment);
		iterator->timestamp = entry.timestamp;
	}
}

EXPORT void pmemstream_entry_iterator_next(struct pmemstream_entry_iterator *iterator)
{
	if (__builtin_expect(!iterator || !is_shown(iterator), 0)) {
		leave(iterator);
		return;
	}
	uint64_t off = iterator->off + format_entry_space(iterator->size, iterator->stream->alignment);
	uint64_t last_off = iterator->last_light_off;
	iterator->off = off;
	/* What is read here counts only if the region is alive when it is asked for. */
	if (__builtin_expect(off > last_off || !entry_step(iterator->stream, off, last_off - off, &iterator->size,
							   &iterator->timestamp),
			     0))
		hide(iterator);
}

/* The entries from the one that is shown on; all of them, or none where the region was freed meanwhile. */
static size_t read_shown(struct pmemstream_entry_iterator *iterator, struct pmemstream_entry_view *views, size_t count)
{
	struct pmemstream *stream = iterator->stream;
	uint64_t off = iterator->off, size = iterator->size, timestamp = iterator->timestamp;
	uint64_t last_off = iterator->last_light_off;
	size_t read = 0;
	bool more;

	do {
		views[read++] = (struct pmemstream_entry_view){
			.entry.offset = off,
			.data = stream_at(stream, off + FORMAT_ENTRY_HEADER_BYTES),
			.size = (size_t)size,
			.timestamp = timestamp,
		};
		off += format_entry_space(size, stream->alignment);
		more = off <= last_off && entry_step(stream, off, last_off - off, &size, &timestamp);
	} while (more && read < count);
	if (!is_shown(iterator)) {
		error_set(ESTALE, "the region was freed");
		return 0;
	}
	iterator->off = off;
	iterator->size = size;
	iterator->timestamp = timestamp;
	if (!more)
		hide(iterator);
	return read;
}

/* One that is not shown: a follower's. */
static size_t read_looked(struct pmemstream_entry_iterator *iterator, struct pmemstream_entry_view *view, bool say)
{
	enum entry_verdict verdict = ENTRY_VALID;
	struct format_entry entry;
	int err = look(iterator, &verdict, &entry);

	if (err) {
		if (say)
			say_why(iterator, err, verdict);
		return 0;
	}
	*view = (struct pmemstream_entry_view){
		.entry.offset = iterator->off,
		.data = stream_at(iterator->stream, iterator->off + FORMAT_ENTRY_HEADER_BYTES),
		.size = (size_t)entry.size,
		.timestamp = entry.timestamp,
	};
	iterator->off += format_entry_space(entry.size, iterator->stream->alignment);
	iterator->timestamp = entry.timestamp;
	return 1;
}

EXPORT size_t pmemstream_entry_iterator_read(struct pmemstream_entry_iterator *iterator,
					     struct pmemstream_entry_view *views, size_t count)
{
	size_t read = 0, more;

	if (!iterator || !views || !count) {
		error_set(EINVAL, "no %s", !iterator ? "iterator" : !views ? "place for entries" : "entry is wanted");
		return 0;
	}
	/* Why there is no further one is said to who asks for it next. */
	do {
		if (iterator->stream->follower)
			more = read_looked(iterator, views + read, !read);
		else if (is_shown(iterator) || glance(iterator) || (!read && !look_and_say(iterator)))
			more = read_shown(iterator, views + read, count - read);
		else
			more = 0;
		read += more;
	} while (more && read < count);
	return read;
}

EXPORT void pmemstream_entry_iterator_seek_first(struct pmemstream_entry_iterator *iterator)
{
	if (!iterator)
		return;
	uint64_t off = atomic_load_explicit(&iterator->region->off, memory_order_acquire);
	if (!is_alive(iterator->region, iterator->generation))
		return;
	hide(iterator);
	iterator->off = off + FORMAT_REGION_HEADER_BYTES;
	iterator->timestamp = iterator->told = iterator->ahead = 0;
}

static __attribute__((noinline)) struct pmemstream_entry get_slowly(struct pmemstream_entry_iterator *iterator)
{
	if (check_place(iterator))
		return (struct pmemstream_entry){.offset = UINT64_MAX};
	uint64_t serial = found_serial(iterator->stream);
	/* What a follower looks at is not shown. */
	struct found *line = found_line();
	if (is_shown(iterator) && line)
		found_fill(line, serial, iterator->off, iterator->size, iterator->timestamp);
	return (struct pmemstream_entry){.offset = iterator->off};
}

EXPORT struct pmemstream_entry pmemstream_entry_iterator_get(struct pmemstream_entry_iterator *iterator)
{
	if (__builtin_expect(!iterator, 0))
		return get_slowly(iterator);
	struct found *line = found_first_choice();
	uint64_t serial = found_serial(iterator->stream);

	if (__builtin_expect(!line || !is_shown(iterator), 0))
		return get_slowly(iterator);
	uint64_t off = iterator->off;
	found_fill(line, serial, off, iterator->size, iterator->timestamp);
	return (struct pmemstream_entry){.offset = off};
}

EXPORT void pmemstream_entry_iterator_delete(struct pmemstream_entry_iterator **iterator)
{
	if (!iterator)
		return;
	free(*iterator);
	*iterator = NULL;
}

EXPORT int pmemstream_region_iterator_new(struct pmemstream_region_iterator **iterator, struct pmemstream *stream)
{
	if (!iterator || !stream)
		return error_set(EINVAL, "no %s", stream ? "place for the iterator" : "stream");
	struct pmemstream_region_iterator *made = malloc(sizeof(*made));
	if (!made)
		return error_set(ENOMEM, "no memory for an iterator");
	*made = (struct pmemstream_region_iterator){.stream = stream};
	*iterator = made;
	return 0;
}

static void go_behind(struct pmemstream_region_iterator *iterator, struct region *region, uint64_t generation)
{
	uint64_t next_generation, off;

	iterator->err = iterator->stream->follower && follow_look(iterator->stream) ? errno : 0;
	struct region *next =
		extents_next_allocated(&iterator->stream->extents, region, generation, &next_generation, &off);

	iterator->at_end = !next;
	if (!next)
		return;
	iterator->region = next;
	iterator->generation = next_generation;
	iterator->off = off;
}

EXPORT int pmemstream_region_iterator_is_valid(struct pmemstream_region_iterator *iterator)
{
	if (!iterator)
		return error_set(EINVAL, "no iterator");
	if (!iterator->generation && !iterator->at_end)
		return error_set(ENODATA, "seek_first was not called");
	if (iterator->at_end)
		go_behind(iterator, iterator->region, iterator->generation);
	if (iterator->at_end && iterator->err && iterator->err != EAGAIN) {
		errno = iterator->err;
		return -1; /* the error is set */
	}
	if (iterator->at_end)
		return error_set(ENODATA, "no further region");
	if (!is_alive(iterator->region, iterator->generation))
		return error_set(ESTALE, "the region was freed");
	return 0;
}

EXPORT void pmemstream_region_iterator_seek_first(struct pmemstream_region_iterator *iterator)
{
	if (!iterator)
		return;
	iterator->region = NULL;
	iterator->generation = 0;
	go_behind(iterator, NULL, 0);
}

EXPORT void pmemstream_region_iterator_next(struct pmemstream_region_iterator *iterator)
{
	if (!iterator || (!iterator->generation && !iterator->at_end))
		return;
	go_behind(iterator, iterator->region, iterator->generation);
}

EXPORT struct pmemstream_region pmemstream_region_iterator_get(struct pmemstream_region_iterator *iterator)
{
	struct pmemstream_region none = {.offset = UINT64_MAX};

	if (pmemstream_region_iterator_is_valid(iterator))
		return none;
	return (struct pmemstream_region){.offset = iterator->off};
}

EXPORT void pmemstream_region_iterator_delete(struct pmemstream_region_iterator **iterator)
{
	if (!iterator)
		return;
	free(*iterator);
	*iterator = NULL;
}
