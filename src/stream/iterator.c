/*
 * iterator.c: walks over the regions of a stream and over the entries of a region.
 *
 * Order    regions by generation, entries by offset. An entry is shown when it is committed; fillers are passed over.
 * Threads  an iterator belongs to one thread at a time; any number of them walk while others append, allocate and free.
 *          A reader takes no lock: it reads, then looks whether the region still has the generation that the iterator
 *          carries.
 * Damage   an entry that does not check makes the iterator invalid with EBADMSG; next goes on behind it, by its size
 *          where the header can be trusted, else at the next place where a valid entry begins.
 */
#include "stream/iterator.h"
#include "base/error.h"
#include "base/export.h"
#include "stream/follow.h"
#include "stream/window.h"

#include <errno.h>
#include <stdlib.h>

/* Beside a writer that frees faster than a follower can look, one look counts for so many entries. */
enum { ENTRIES_A_LOOK = 64 };

struct pmemstream_entry_iterator {
	struct pmemstream *stream;
	struct region *region;
	uint64_t generation;
	uint64_t off;       /* of the current entry; 0: seek_first was not called */
	uint64_t safe_off;  /* entries in front of it were committed when we looked */
	uint64_t timestamp; /* of the last valid entry that was seen */
	uint64_t told;      /* damage up to this serial number was reported, and passed by next */
	uint64_t trouble;   /* the one that it is invalid for */
	bool quiet;
	unsigned believed; /* doubtful entries that are shown on the word of their own checksums until the next look */
	uint64_t seen_off; /* of the valid entry that was looked at last; 0: none */
	struct format_entry seen;
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

/*
 * Passes over fillers to the next entry and says what it is, in seen: 0, or the errno that makes the iterator invalid
 * there. An entry stays what it is while its region lives, and is not looked at again; only where another process
 * writes it, what was committed there may be lost with that process, and replaced.
 */
static int look(struct pmemstream_entry_iterator *iterator, enum entry_verdict *verdict)
{
	struct pmemstream *stream = iterator->stream;
	struct region *region = iterator->region;
	struct format_entry *entry = &iterator->seen;

	if (!is_alive(region, iterator->generation))
		return ESTALE;
	if (!iterator->off)
		return ENODATA;
	if (iterator->off == iterator->seen_off)
		return 0;
	iterator->seen_off = 0;
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
	if (!stream->follower) {
		iterator->seen_off = iterator->off;
		entry_found(stream, region, iterator->generation, iterator->off, entry);
	}
	return 0;
}

static int say_why(struct pmemstream_entry_iterator *iterator, int err, enum entry_verdict verdict)
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

int iterator_look(struct pmemstream_entry_iterator *iterator, struct format_entry *entry)
{
	enum entry_verdict verdict;
	int err = look(iterator, &verdict);

	*entry = iterator->seen;
	return err;
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

EXPORT int pmemstream_entry_iterator_is_valid(struct pmemstream_entry_iterator *iterator)
{
	enum entry_verdict verdict = ENTRY_VALID;

	if (!iterator)
		return error_set(EINVAL, "no iterator");
	int err = look(iterator, &verdict);
	return say_why(iterator, err, verdict);
}

EXPORT void pmemstream_entry_iterator_next(struct pmemstream_entry_iterator *iterator)
{
	enum entry_verdict verdict = ENTRY_VALID;

	if (!iterator)
		return;
	int err = look(iterator, &verdict);
	if (verdict == ENTRY_NONE) {
		if (err == EBADMSG)
			iterator->told = iterator->trouble;
	} else if (err == EBADMSG && verdict == ENTRY_BAD) {
		iterator->off = entry_search(iterator->stream, iterator->region, iterator->off, iterator->safe_off,
					     iterator->timestamp);
	} else if (!err || err == EBADMSG) {
		iterator->off += format_entry_space(iterator->seen.size, iterator->stream->alignment);
		iterator->timestamp = iterator->seen.timestamp;
	}
}

EXPORT void pmemstream_entry_iterator_seek_first(struct pmemstream_entry_iterator *iterator)
{
	if (!iterator)
		return;
	uint64_t off = atomic_load_explicit(&iterator->region->off, memory_order_acquire);
	if (!is_alive(iterator->region, iterator->generation))
		return;
	iterator->off = off + FORMAT_REGION_HEADER_BYTES;
	iterator->timestamp = iterator->told = 0;
}

EXPORT struct pmemstream_entry pmemstream_entry_iterator_get(struct pmemstream_entry_iterator *iterator)
{
	struct pmemstream_entry none = {.offset = UINT64_MAX};

	if (pmemstream_entry_iterator_is_valid(iterator))
		return none;
	return (struct pmemstream_entry){.offset = iterator->off};
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
