/*
 * recover_read.c: reads and checks everything of a stream but its entries: slots, allocator words, redo record,
 * extents, region headers.
 *
 * Nothing that does not check is used: it is EBADMSG with its place, never a region less. Of two slots one may be torn.
 * A redo record that counts is taken as if its words were in place already; recover_write puts them there.
 */
#include "stream/recover.h"

#include "base/error.h"
#include "stream/allocator.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

int recover_damage(const char *format, ...)
{
	char text[512];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	return error_set(EBADMSG, "damaged: %s", text);
}

static int read_stream_slots(struct recovery *recovery)
{
	struct pmemstream *stream = recovery->stream;
	struct format_stream_slot slots[2];
	bool valid[2];

	for (unsigned i = 0; i < 2; i++) {
		uint64_t off = FORMAT_STREAM_SLOT_OFF + (uint64_t)i * FORMAT_STREAM_SLOT_STRIDE;
		valid[i] = format_stream_slot_decode(stream_at(stream, off), stream->header.salt, off, &slots[i]);
		if (valid[i] && slots[i].round > recovery->highest_round)
			recovery->highest_round = slots[i].round;
	}
	if (!valid[0] && !valid[1])
		return recover_damage("neither of the stream slots at %d and %d checks", FORMAT_STREAM_SLOT_OFF,
				      FORMAT_STREAM_SLOT_OFF + FORMAT_STREAM_SLOT_STRIDE);
	unsigned current = !valid[0] || (valid[1] && slots[1].sequence > slots[0].sequence);
	stream->stream_slot = current;
	recovery->slot = slots[current];
	recovery->stream_slot_torn = !valid[1 - current];
	return 0;
}

/* From there on so many more are counted without a look at the limits of the words that hold them. */
static int check_counts(struct recovery *recovery)
{
	const struct format_stream_slot *slot = &recovery->slot;
	const uint64_t counts[] = {slot->sequence, slot->persisted, slot->kept, recovery->highest_round};

	for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++)
		if (counts[i] > FORMAT_COUNT_MAX)
			return recover_damage("a slot says that the stream counted to %zu", (size_t)counts[i]);
	return 0;
}

/* P and epoch of a structure that checks, whether it counts or not, were durable when it was written. */
static void note_evidence(struct recovery *recovery, uint64_t off, uint64_t persisted, uint32_t epoch)
{
	if (persisted > recovery->watermark) {
		recovery->watermark = persisted;
		recovery->watermark_off = off;
	}
	if (epoch > recovery->highest_epoch)
		recovery->highest_epoch = epoch;
}

static int read_allocator(struct recovery *recovery)
{
	struct pmemstream *stream = recovery->stream;
	uint64_t salt = stream->header.salt;
	uint64_t applied = le64_load(stream_at(stream, FORMAT_APPLIED_OFF));

	if (!format_checked_decode(applied, salt, FORMAT_APPLIED_OFF, &recovery->applied))
		return recover_damage("the allocator's applied number at %d does not check", FORMAT_APPLIED_OFF);
	bool valid = format_record_decode(stream_at(stream, FORMAT_RECORD_OFF), salt, &recovery->record);
	if (valid)
		note_evidence(recovery, FORMAT_RECORD_OFF, recovery->record.persisted, recovery->record.epoch);
	recovery->pending = valid && recovery->record.number == recovery->applied + 1 &&
			    recovery->record.epoch == recovery->slot.epoch;
	for (uint32_t i = 0; recovery->pending && i < recovery->record.count; i++) {
		uint64_t off = recovery->record.words[i].off;
		bool in_arena =
			off >= stream->arena_off && off < stream->header.size && off % stream->header.block_size == 0;
		uint64_t value;
		if ((off != FORMAT_NEXT_GENERATION_OFF && !in_arena) ||
		    !format_checked_decode(recovery->record.words[i].word, salt, off, &value))
			return recover_damage("the allocator's record at %d has a word that cannot be",
					      FORMAT_RECORD_OFF);
	}
	return 0;
}

/* A word of the allocator, as it is or as the record will make it. */
static bool read_word(struct recovery *recovery, uint64_t off, uint64_t *value)
{
	uint64_t word = le64_load(stream_at(recovery->stream, off));

	for (uint32_t i = 0; recovery->pending && i < recovery->record.count; i++)
		if (recovery->record.words[i].off == off)
			word = recovery->record.words[i].word;
	return format_checked_decode(word, recovery->stream->header.salt, off, value);
}

static bool slot_in_range(struct recovery *recovery, const struct format_region_slot *slot, uint64_t extent_bytes)
{
	return slot->tail_off >= FORMAT_REGION_HEADER_BYTES && slot->tail_off <= extent_bytes &&
	       slot->tail_off % recovery->stream->alignment == 0;
}

static int read_region_slots(struct recovery *recovery, struct found_region *found, uint64_t off,
			     const struct format_region *fields)
{
	struct format_region_slot slots[2];
	bool valid[2];
	int current = -1;

	for (unsigned i = 0; i < 2; i++) {
		uint64_t slot_off = off + FORMAT_REGION_SLOT_OFF + (uint64_t)i * FORMAT_SLOT_BYTES;
		valid[i] =
			format_region_slot_decode(stream_at(recovery->stream, slot_off), recovery->stream->header.salt,
						  fields->generation, slot_off, &slots[i]) &&
			slot_in_range(recovery, &slots[i], fields->extent_bytes);
		if (!valid[i])
			continue;
		if (slots[i].round > recovery->highest_round)
			recovery->highest_round = slots[i].round;
		note_evidence(recovery, slot_off, slots[i].persisted, slots[i].epoch);
		/* Slots of a round that never completed do not count. */
		if (slots[i].round <= recovery->slot.round && (current < 0 || slots[i].round > slots[current].round))
			current = (int)i;
	}
	if (current < 0)
		return recover_damage("region at %zu: neither of its slots checks", (size_t)off);
	found->slot = slots[current];
	found->torn = !valid[1 - current];
	found->region->slot = (uint8_t)current;
	return 0;
}

static int read_region(struct recovery *recovery, struct found_region *found, uint64_t off, uint64_t bytes)
{
	struct pmemstream *stream = recovery->stream;
	struct format_region fields;
	uint64_t limit;

	/* The file may end with the extent. */
	if (bytes < FORMAT_REGION_HEADER_BYTES)
		return recover_damage("region at %zu: %zu bytes are less than its header", (size_t)off, (size_t)bytes);
	if (!format_region_decode(stream_at(stream, off), stream->header.salt, off, &fields) ||
	    fields.extent_bytes != bytes || fields.generation >= recovery->next_generation)
		return recover_damage("region at %zu: its header does not check", (size_t)off);
	if (!format_checked_decode(le64_load(stream_at(stream, off + FORMAT_REGION_LIMIT_OFF)), stream->header.salt,
				   fields.generation, &limit) ||
	    limit * FORMAT_LIMIT_UNIT < FORMAT_REGION_HEADER_BYTES || limit * FORMAT_LIMIT_UNIT > bytes)
		return recover_damage("region at %zu: its limit does not check", (size_t)off);
	found->region = region_new(stream);
	if (!found->region || read_region_slots(recovery, found, off, &fields)) {
		if (found->region)
			region_release(stream, found->region);
		found->region = NULL;
		return -1;
	}
	uint8_t slot = found->region->slot;
	uint64_t tail_off = off + found->slot.tail_off;
	allocator_fill_region(stream, found->region, off, off + bytes, fields.generation, tail_off,
			      off + limit * FORMAT_LIMIT_UNIT);
	found->region->slot = slot;
	found->scan_end_off = tail_off;
	return 0;
}

static int add_region(struct recovery *recovery, uint64_t off, uint64_t bytes, struct region **region)
{
	if (recovery->region_count % 64 == 0) {
		struct found_region *more = realloc(recovery->regions, (recovery->region_count + 64) * sizeof(*more));
		if (!more)
			return error_set(ENOMEM, "no memory for %zu regions", recovery->region_count + 64);
		recovery->regions = more;
	}
	struct found_region *found = &recovery->regions[recovery->region_count];
	*found = (struct found_region){0};
	if (read_region(recovery, found, off, bytes))
		return -1;
	recovery->region_count++;
	*region = found->region;
	return 0;
}

/* A word that the record would put where no extent begins, be it into somebody's entries. */
static int check_record(struct recovery *recovery)
{
	for (uint32_t i = 0; recovery->pending && i < recovery->record.count; i++) {
		uint64_t off = recovery->record.words[i].off, extent_off;
		if (off == FORMAT_NEXT_GENERATION_OFF)
			continue;
		extents_find(&recovery->stream->extents, off, &extent_off);
		if (extent_off != off || off >= recovery->stream->extents.end_off)
			return recover_damage("the allocator's record at %d has a word for %zu, where no extent begins",
					      FORMAT_RECORD_OFF, (size_t)off);
	}
	return 0;
}

static int read_extents(struct recovery *recovery)
{
	struct pmemstream *stream = recovery->stream;
	uint64_t block_size = stream->header.block_size;
	uint64_t end_off = format_arena_end(stream->header.size, block_size);

	for (uint64_t off = stream->arena_off; off < end_off;) {
		struct region *region = NULL;
		uint64_t value;
		if (!read_word(recovery, off, &value))
			return recover_damage("the extent at %zu does not check", (size_t)off);
		uint64_t blocks = value & ~FORMAT_EXTENT_USED;
		if (!blocks || blocks > (end_off - off) / block_size)
			return recover_damage("the extent at %zu does not end inside the stream", (size_t)off);
		if (extents_reserve(&stream->extents, 1))
			return -1;
		if ((value & FORMAT_EXTENT_USED) && add_region(recovery, off, blocks * block_size, &region))
			return -1;
		extents_append(&stream->extents, off, blocks * block_size, region);
		off += blocks * block_size;
	}
	extents_link(&stream->extents);
	uint64_t last = 0;
	for (struct region *r = stream->extents.first; r; r = r->next_allocated) {
		if (r->generation == last)
			return recover_damage("the regions at %zu and %zu have one generation", (size_t)r->off,
					      (size_t)r->previous_allocated->off);
		last = r->generation;
	}
	return 0;
}

int recover_read(struct recovery *recovery, struct pmemstream *stream, uint64_t map_bytes)
{
	recovery->stream = stream;
	if (stream->header.size > map_bytes)
		return recover_damage("the stream has %zu bytes, but its file only %zu: was it truncated?",
				      (size_t)stream->header.size, (size_t)map_bytes);
	if (read_stream_slots(recovery) || read_allocator(recovery))
		return -1;
	if (!read_word(recovery, FORMAT_NEXT_GENERATION_OFF, &recovery->next_generation))
		return recover_damage("the allocator's next generation at %d does not check",
				      FORMAT_NEXT_GENERATION_OFF);
	if (read_extents(recovery) || check_record(recovery))
		return -1;

	if (check_counts(recovery))
		return -1;

	bool torn = recovery->stream_slot_torn;
	for (size_t i = 0; i < recovery->region_count; i++)
		torn = torn || recovery->regions[i].torn;
	/* Who closed it had written all that any slot or record tells of: else a later stream slot was lost. */
	bool behind = recovery->watermark > recovery->slot.persisted || recovery->highest_epoch > recovery->slot.epoch;
	recovery->clean = (recovery->slot.flags & FORMAT_CLEAN) && !torn && !behind;
	recovery->kept = recovery->slot.persisted;
	stream->epoch = recovery->slot.epoch;
	return 0;
}

void recover_free(struct recovery *recovery)
{
	free(recovery->regions);
	free(recovery->candidates);
	recovery->regions = NULL;
	recovery->candidates = NULL;
}
