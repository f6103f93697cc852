/*
 * entry.c: what is at an offset, and whether it can be believed.
 *
 * Trust    each region has two marks: entries in front of verified_off were checked by some reader of this process,
 *          entries from trusted_off on were written by this process or checked by recovery. What lies between is
 *          checked when it is read.
 * Content  of a file can change under a map; sizes are therefore compared with the region's end at each read, whatever
 *          the marks say.
 */
#include "stream/entry.h"

#include "base/error.h"
#include "base/export.h"
#include "stream/budget.h"
#include "stream/follow.h"
#include "stream/found.h"

#include <errno.h>
#include <string.h>

static bool data_check(struct pmemstream *stream, uint64_t off, const struct format_entry *entry)
{
	return format_data_crc(stream_at(stream, off + FORMAT_ENTRY_HEADER_BYTES), entry->size) == entry->data_crc;
}

/* In a damaged stream that is only read nothing was written, and what lies behind its last entry was dropped; that
 * place counts as part of the region so that readers are told of what is missing. */
static bool is_dropped(struct pmemstream *stream, struct region *region, uint64_t off)
{
	return stream->damaged && off >= atomic_load_explicit(&region->trusted_off, memory_order_acquire);
}

/*
 * Raises the mark over an entry that was checked, if all in front of it were. Plainly: another reader may have raised
 * it further meanwhile, and then some are checked once more; and what is allocated in the place of a region that was
 * freed is trusted without the mark. Not so where another process frees.
 */
static void verified(const struct pmemstream *stream, struct region *region, uint64_t off, uint64_t end_off)
{
	uint64_t mark = off;

	if (atomic_load_explicit(&region->verified_off, memory_order_relaxed) != off)
		return;
	if (!stream->follower)
		atomic_store_explicit(&region->verified_off, end_off, memory_order_release);
	else
		atomic_compare_exchange_strong_explicit(&region->verified_off, &mark, end_off, memory_order_acq_rel,
							memory_order_relaxed);
}

__attribute__((no_sanitize("thread"))) static inline void copy_word(unsigned char *to, const unsigned char *from)
{
	uint64_t word = __atomic_load_n((const uint64_t *)(const void *)from, __ATOMIC_ACQUIRE);

	memcpy(to, &word, sizeof(word));
}

/*
 * Copies a header out, and says how much room its region has from there; false where no header fits. The place may be
 * another region's by now, whose owner writes it meanwhile: what is checked is the copy, and whoever compares the
 * generation afterwards knows whether it counts. ThreadSanitizer cannot know, so it does not look.
 */
__attribute__((no_sanitize("thread"))) static inline bool
copy_header(struct pmemstream *stream, struct region *region, uint64_t off, unsigned char *header, uint64_t *room)
{
	uint64_t end_off = atomic_load_explicit(&region->end_off, memory_order_acquire);
	const unsigned char *from = stream_at(stream, off);

	_Static_assert(FORMAT_ENTRY_HEADER_BYTES == 32, "four words");
	if (end_off < off || end_off - off < FORMAT_ENTRY_HEADER_BYTES)
		return false;
	copy_word(header, from);
	copy_word(header + 8, from + 8);
	copy_word(header + 16, from + 16);
	copy_word(header + 24, from + 24);
	*room = end_off - off;
	return true;
}

/* A header without its checksum, but never one that reaches out of the region. */
static inline bool decode_trusted(const unsigned char *from, uint64_t room, struct format_entry *entry)
{
	uint64_t first = le64_load(from);

	entry->size = first & FORMAT_ENTRY_SIZE_MAX;
	entry->flags = (uint16_t)(first >> 48);
	entry->timestamp = le64_load(from + 8);
	entry->epoch = le32_load(from + 16);
	entry->lag = le32_load(from + 20);
	entry->data_crc = le32_load(from + 24);
	return entry->size <= room - FORMAT_ENTRY_HEADER_BYTES;
}

enum entry_verdict entry_read(struct pmemstream *stream, struct region *region, uint64_t off, bool check,
			      struct format_entry *entry)
{
	unsigned char header[FORMAT_ENTRY_HEADER_BYTES];
	bool trusted = !check && entry_trusted_until(stream, region, off) > off;
	uint64_t room;

	if (is_dropped(stream, region, off) || !copy_header(stream, region, off, header, &room))
		return ENTRY_BAD;
	if (trusted) {
		if (!decode_trusted(header, room, entry))
			return ENTRY_BAD;
	} else {
		uint32_t seed = atomic_load_explicit(&region->seed, memory_order_acquire);
		if (!format_entry_decode(header, seed, off, room, entry) || entry->epoch > stream->epoch)
			return ENTRY_BAD;
	}
	if (entry->flags & FORMAT_LOST)
		return ENTRY_LOST;
	bool filler = entry->flags & FORMAT_FILLER;
	if (!trusted) {
		if (!filler && !data_check(stream, off, entry))
			return ENTRY_TORN;
		verified(stream, region, off, off + format_entry_space(entry->size, stream->alignment));
	}
	return filler ? ENTRY_FILLER : ENTRY_VALID;
}

uint64_t entry_check_ahead(struct pmemstream *stream, struct region *region, uint64_t off, uint64_t end_off,
			   uint64_t bytes)
{
	uint32_t seed = atomic_load_explicit(&region->seed, memory_order_acquire);
	unsigned char header[FORMAT_ENTRY_HEADER_BYTES];
	struct format_entry entry;
	uint64_t at = off, room;

	while (at < end_off && at - off < bytes && copy_header(stream, region, at, header, &room)) {
		if (!format_entry_decode(header, seed, at, room, &entry) || entry.epoch > stream->epoch ||
		    (entry.flags & ~FORMAT_MORE) || !data_check(stream, at, &entry))
			break;
		at += format_entry_space(entry.size, stream->alignment);
	}
	if (at > off)
		verified(stream, region, off, at);
	return at;
}

uint64_t entry_search(struct pmemstream *stream, struct region *region, uint64_t off, uint64_t tail_off,
		      uint64_t above_timestamp)
{
	struct format_entry entry;
	struct budget budget = {.searched = tail_off - off};

	for (off += stream->alignment; off < tail_off; off += stream->alignment) {
		if (!format_entry_decode(stream_at(stream, off), region->seed, off, tail_off - off, &entry) ||
		    entry.epoch > stream->epoch || entry.timestamp <= above_timestamp)
			continue;
		budget_spend(&budget, entry.size);
		if (budget_is_spent(&budget))
			break;
		if ((entry.flags & (FORMAT_FILLER | FORMAT_LOST)) || data_check(stream, off, &entry))
			return off;
	}
	return tail_off;
}

/* 0 and the entry; or the errno that says why there is none at the offset now. */
static int look_once(struct pmemstream *stream, uint64_t off, bool data, struct format_entry *entry)
{
	unsigned char header[FORMAT_ENTRY_HEADER_BYTES];
	uint64_t extent_off, room;
	struct region *region = extents_find(&stream->extents, off, &extent_off);
	uint64_t generation = region ? atomic_load_explicit(&region->generation, memory_order_acquire) : 0;

	if (!generation || off < extent_off + FORMAT_REGION_HEADER_BYTES || off % stream->alignment)
		return EINVAL;
	/* Another process may have told of an entry that nobody here walked over yet. */
	if (stream->follower && off >= atomic_load_explicit(&region->tail_off, memory_order_acquire))
		follow_walk(stream, region);
	if (off >= atomic_load_explicit(&region->tail_off, memory_order_acquire))
		return EINVAL;
	/* Any offset can be asked for, so only the checksum tells a header from data. */
	uint32_t seed = format_entry_seed(stream->header.salt, generation);
	bool valid = !is_dropped(stream, region, off) && copy_header(stream, region, off, header, &room) &&
		     format_entry_decode(header, seed, off, room, entry) && entry->epoch <= stream->epoch &&
		     !(entry->flags & FORMAT_LOST);
	if (valid && data)
		valid = !(entry->flags & FORMAT_FILLER) &&
			(entry_trusted_until(stream, region, off) > off || data_check(stream, off, entry));
	return valid && atomic_load_explicit(&region->generation, memory_order_acquire) == generation ? 0 : EINVAL;
}

/* The entry that a caller names by its offset, which may be any number. data: its data are wanted too. */
static bool look_up(struct pmemstream *stream, uint64_t off, bool data, struct format_entry *entry)
{
	if (!stream) {
		error_set(EINVAL, "no stream");
		return false;
	}
	int err = look_once(stream, off, data, entry);
	/* A follower may not know of the region yet, or the writer may have freed it meanwhile. */
	if (stream->follower && (err || follow_outdated(stream))) {
		follow_look(stream);
		err = look_once(stream, off, data, entry);
	}
	if (err)
		error_set(err, "no valid entry begins at offset %zu", (size_t)off);
	return !err;
}

/* The line of the thread if it tells of the entry, which most are asked for just after they were found; else NULL. */
static inline const struct found *find(const struct pmemstream *stream, uint64_t off)
{
	const struct found *line = found_first_choice();

	return __builtin_expect(stream && line && found_tells(line, stream, off), 1) ? line : NULL;
}

/* The same for a thread whose line is not where it is looked for first. */
static const struct found *find_elsewhere(const struct pmemstream *stream, uint64_t off)
{
	const struct found *line = found_line();

	return stream && line && found_tells(line, stream, off) ? line : NULL;
}

static __attribute__((noinline)) const void *look_up_data(struct pmemstream *stream, uint64_t off)
{
	struct format_entry read;

	return find_elsewhere(stream, off) || look_up(stream, off, true, &read)
		       ? stream_at(stream, off + FORMAT_ENTRY_HEADER_BYTES)
		       : NULL;
}

static __attribute__((noinline)) size_t look_up_size(struct pmemstream *stream, uint64_t off)
{
	const struct found *line = find_elsewhere(stream, off);
	struct format_entry read;

	if (line)
		return (size_t)line->size;
	return look_up(stream, off, false, &read) ? (size_t)read.size : 0;
}

static __attribute__((noinline)) uint64_t look_up_timestamp(struct pmemstream *stream, uint64_t off)
{
	const struct found *line = find_elsewhere(stream, off);
	struct format_entry read;

	if (line)
		return line->timestamp;
	return look_up(stream, off, false, &read) ? read.timestamp : 0;
}

EXPORT const void *pmemstream_entry_data(struct pmemstream *stream, struct pmemstream_entry entry)
{
	if (find(stream, entry.offset))
		return stream_at(stream, entry.offset + FORMAT_ENTRY_HEADER_BYTES);
	return look_up_data(stream, entry.offset);
}

EXPORT size_t pmemstream_entry_size(struct pmemstream *stream, struct pmemstream_entry entry)
{
	const struct found *line = find(stream, entry.offset);

	return line ? (size_t)line->size : look_up_size(stream, entry.offset);
}

EXPORT uint64_t pmemstream_entry_timestamp(struct pmemstream *stream, struct pmemstream_entry entry)
{
	const struct found *line = find(stream, entry.offset);

	return line ? line->timestamp : look_up_timestamp(stream, entry.offset);
}

EXPORT size_t pmemstream_entry_space(struct pmemstream *stream, size_t size)
{
	if (!stream) {
		error_set(EINVAL, "no stream");
		return 0;
	}
	if (size > FORMAT_ENTRY_SIZE_MAX) {
		error_set(ENOSPC, "an entry has at most %zu bytes", (size_t)FORMAT_ENTRY_SIZE_MAX);
		return 0;
	}
	return (size_t)format_entry_space(size, stream->alignment);
}
