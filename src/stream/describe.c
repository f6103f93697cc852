/*
 * describe.c: what is at an offset, field by field.
 *
 * Nothing is believed: each structure is decoded where the format says that it is, and its first field says whether it
 * checks. A region's entries are found from its beginning, by the sizes in headers that can be trusted.
 */
#include "base/error.h"
#include "base/export.h"
#include "stream/area.h"
#include "stream/check.h"
#include "stream/file.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

struct description {
	const struct survey *survey;
	int (*callback)(const struct pmemstream_field *field, void *arg);
	void *arg;
	const char *structure;
	uint64_t off, bytes;
	int err; /* -1: the callback ended it */
};

static void field(struct description *to, const char *name, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

static void field(struct description *to, const char *name, const char *format, ...)
{
	char value[256];
	va_list arguments;
	struct pmemstream_field told = {
		.structure = to->structure,
		.offset = to->off,
		.bytes = to->bytes,
		.name = name,
		.value = value,
	};

	if (to->err)
		return;
	va_start(arguments, format);
	vsnprintf(value, sizeof(value), format, arguments);
	va_end(arguments);
	if (to->callback(&told, to->arg))
		to->err = error_set(ECANCELED, "the callback ended it");
}

static void number(struct description *to, const char *name, uint64_t value)
{
	field(to, name, "%" PRIu64, value);
}

static void begin(struct description *to, const char *structure, uint64_t off, uint64_t bytes)
{
	to->structure = structure;
	to->off = off;
	to->bytes = bytes;
}

static void checksum(struct description *to, bool valid)
{
	field(to, "checksum", "%s", valid ? "valid" : "bad");
}

static const unsigned char *at(const struct description *to)
{
	return survey_at(to->survey, to->off);
}

static void describe_header(struct description *to, uint64_t off)
{
	struct format_header header;
	char uuid[33];

	begin(to, "stream header", off, FORMAT_HEADER_BYTES);
	const unsigned char *raw = at(to);
	checksum(to, format_header_decode(raw, &header));
	field(to, "magic", "%.8s", (const char *)raw);
	number(to, "version", le32_load(raw + 8));
	field(to, "compatible", "%#x", le32_load(raw + 12));
	field(to, "read_only", "%#x", le32_load(raw + 16));
	field(to, "incompatible", "%#x", le32_load(raw + 20));
	for (int i = 0; i < 16; i++)
		snprintf(uuid + (ptrdiff_t)i * 2, 3, "%02x", raw[24 + i]);
	field(to, "uuid", "%s", uuid);
	field(to, "salt", "%#" PRIx64, le64_load(raw + 40));
	number(to, "size", le64_load(raw + 48));
	number(to, "block_size", le64_load(raw + 56));
	number(to, "alignment", le32_load(raw + 64));
	number(to, "created_ns", le64_load(raw + 72));
}

static void describe_stream_slot(struct description *to, unsigned index)
{
	struct format_stream_slot slot;

	begin(to, "stream slot", FORMAT_STREAM_SLOT_OFF + (uint64_t)index * FORMAT_STREAM_SLOT_STRIDE,
	      FORMAT_SLOT_BYTES);
	const unsigned char *raw = at(to);
	checksum(to, format_stream_slot_decode(raw, to->survey->header.salt, to->off, &slot));
	field(to, "in_use", "%s", to->survey->slot_known && to->survey->current == index ? "yes" : "no");
	number(to, "sequence", le64_load(raw));
	number(to, "round", le64_load(raw + 8));
	number(to, "persisted", le64_load(raw + 16));
	number(to, "kept", le64_load(raw + 24));
	number(to, "epoch", le32_load(raw + 32));
	field(to, "flags", "%s", le32_load(raw + 36) & FORMAT_CLEAN ? "CLEAN" : "");
	field(to, "digest", "%#x", le32_load(raw + 40));
	number(to, "time_ns", le64_load(raw + 48));
}

/* A checked word; its value, whether it checks or not. */
static uint64_t describe_word(struct description *to, uint64_t off, uint64_t seed)
{
	uint64_t value, word = le64_load(survey_at(to->survey, off));

	checksum(to, format_checked_decode(word, to->survey->header.salt, seed, &value));
	return word & FORMAT_CHECKED_MAX;
}

static void describe_record(struct description *to)
{
	struct format_record record;
	uint64_t word;

	begin(to, "allocator record", FORMAT_RECORD_OFF, FORMAT_RECORD_BYTES);
	const unsigned char *raw = at(to);
	checksum(to, format_record_decode(raw, to->survey->header.salt, &record));
	field(to, "pending", "%s", to->survey->pending ? "yes" : "no");
	number(to, "number", le64_load(raw));
	number(to, "epoch", le32_load(raw + 8));
	number(to, "count", le32_load(raw + 12));
	for (int i = 0; i < FORMAT_RECORD_WORDS && (uint32_t)i < le32_load(raw + 12); i++) {
		number(to, "word_offset", le64_load(raw + 16 + (ptrdiff_t)16 * i));
		word = le64_load(raw + 24 + (ptrdiff_t)16 * i);
		field(to, "word_value", "%#" PRIx64, word & FORMAT_CHECKED_MAX);
	}
}

static void describe_allocator(struct description *to)
{
	begin(to, "applied number", FORMAT_APPLIED_OFF, sizeof(uint64_t));
	number(to, "value", describe_word(to, to->off, to->off));
	begin(to, "next generation", FORMAT_NEXT_GENERATION_OFF, sizeof(uint64_t));
	number(to, "value", describe_word(to, to->off, to->off));
}

static void describe_volatile(struct description *to)
{
	begin(to, "volatile area", FORMAT_VOLATILE_OFF, FORMAT_VOLATILE_BYTES);
	number(to, "committed", le64_load(survey_at(to->survey, AREA_COMMITTED_OFF)));
	number(to, "persisted", le64_load(survey_at(to->survey, AREA_PERSISTED_OFF)));
	number(to, "futex", le32_load(survey_at(to->survey, AREA_FUTEX_OFF)));
	number(to, "sleepers", le32_load(survey_at(to->survey, AREA_SLEEPERS_OFF)));
	number(to, "epoch", le32_load(survey_at(to->survey, AREA_EPOCH_OFF)));
	number(to, "state", le32_load(survey_at(to->survey, AREA_STATE_OFF)));
	number(to, "process", le64_load(survey_at(to->survey, AREA_PROCESS_OFF)));
}

static void describe_extent(struct description *to, const struct survey_extent *extent)
{
	begin(to, "extent", extent->off, extent->bytes);
	uint64_t value = describe_word(to, extent->off, extent->off);
	field(to, "kind", "%s", value & FORMAT_EXTENT_USED ? "region" : "free");
	number(to, "blocks", value & ~FORMAT_EXTENT_USED);
}

static void describe_region(struct description *to, const struct survey_region *region)
{
	struct format_region fields;
	uint64_t generation = region->fields.generation;

	if (region->end_off - region->off < FORMAT_REGION_HEADER_BYTES)
		return;
	begin(to, "region", region->off, FORMAT_REGION_HEADER_BYTES);
	const unsigned char *raw = at(to);
	checksum(to, format_region_decode(raw, to->survey->header.salt, region->off, &fields));
	number(to, "generation", le64_load(raw + 16));
	number(to, "extent_bytes", le64_load(raw + 24));
	number(to, "allocated_ns", le64_load(raw + 32));
	field(to, "label", "%.63s", (const char *)raw + FORMAT_REGION_LABEL_OFF);
	begin(to, "region limit", region->off + FORMAT_REGION_LIMIT_OFF, sizeof(uint64_t));
	number(to, "offset", describe_word(to, to->off, generation) * FORMAT_LIMIT_UNIT);
	for (unsigned i = 0; i < 2; i++) {
		begin(to, "region slot", region->off + FORMAT_REGION_SLOT_OFF + (uint64_t)i * FORMAT_SLOT_BYTES,
		      FORMAT_SLOT_BYTES);
		raw = at(to);
		checksum(to, region->slot_valid[i]);
		field(to, "in_use", "%s", region->usable && region->current == i ? "yes" : "no");
		number(to, "round", le64_load(raw));
		number(to, "tail", le64_load(raw + 8));
		number(to, "persisted", le64_load(raw + 16));
		number(to, "epoch", le32_load(raw + 24));
		number(to, "time_ns", le64_load(raw + 32));
	}
}

static void describe_entry(struct description *to, const struct survey_region *region, uint64_t off,
			   const struct format_entry *entry)
{
	begin(to, "entry", off, format_entry_space(entry->size, to->survey->header.alignment));
	checksum(to, true);
	field(to, "data", "%s",
	      entry->flags & (FORMAT_FILLER | FORMAT_LOST) ? "unchecked"
	      : survey_data_check(to->survey, off, entry)  ? "valid"
							   : "bad");
	number(to, "size", entry->size);
	field(to, "flags", "%s%s%s", entry->flags & FORMAT_MORE ? "MORE " : "",
	      entry->flags & FORMAT_FILLER ? "FILLER " : "", entry->flags & FORMAT_LOST ? "LOST " : "");
	number(to, "timestamp", entry->timestamp);
	number(to, "epoch", entry->epoch);
	number(to, "watermark", format_entry_watermark(entry));
	field(to, "behind_checkpoint", "%s", region->usable && off >= region->tail_off ? "yes" : "no");
}

/* The entry around an offset, by the chain from the region's beginning; or one that begins right there. */
static void describe_place(struct description *to, const struct survey_region *region, uint64_t wanted_off)
{
	uint64_t off = region->off + FORMAT_REGION_HEADER_BYTES, alignment = to->survey->header.alignment;
	struct format_entry entry;

	while (off <= wanted_off && survey_header(to->survey, region, off, region->end_off, &entry)) {
		uint64_t space = format_entry_space(entry.size, alignment);
		if (wanted_off < off + space) {
			describe_entry(to, region, off, &entry);
			return;
		}
		off += space;
	}
	uint64_t aligned_off = wanted_off / alignment * alignment;
	begin(to, "nothing that can be trusted", off, region->end_off - off);
	field(to, "chain_ends", "%" PRIu64, off);
	if (aligned_off >= off && survey_header(to->survey, region, aligned_off, region->end_off, &entry))
		describe_entry(to, region, aligned_off, &entry);
}

static void describe_arena(struct description *to, uint64_t off)
{
	size_t index = 0;

	for (size_t i = 0; i < to->survey->extent_count; i++) {
		const struct survey_extent *extent = &to->survey->extents[i];
		if (off >= extent->off && off - extent->off < extent->bytes) {
			describe_extent(to, extent);
			if (!extent->is_region)
				return;
			const struct survey_region *region = &to->survey->regions[index];
			describe_region(to, region);
			if (off - extent->off >= FORMAT_REGION_HEADER_BYTES && region->seed)
				describe_place(to, region, off);
			return;
		}
		index += extent->is_region;
	}
	uint64_t end_off = format_arena_end(to->survey->header.size, to->survey->header.block_size);
	if (off >= end_off) {
		begin(to, "behind the arena", end_off, to->survey->medium->size - end_off);
		field(to, "content", "none");
		return;
	}
	begin(to, "unknown extent", off, sizeof(uint64_t));
	field(to, "value", "%#" PRIx64, describe_word(to, off / 8 * 8, off / 8 * 8));
}

static void describe_front(struct description *to, uint64_t off)
{
	uint64_t second_off = format_second_copy_off(to->survey->header.block_size);

	if (off < FORMAT_HEADER_BYTES)
		describe_header(to, 0);
	else if (off >= second_off && off < second_off + FORMAT_HEADER_BYTES)
		describe_header(to, second_off);
	else if (off < FORMAT_RECORD_OFF)
		describe_stream_slot(to, off >= FORMAT_STREAM_SLOT_OFF + FORMAT_STREAM_SLOT_STRIDE);
	else if (off < FORMAT_APPLIED_OFF)
		describe_record(to);
	else if (off < FORMAT_VOLATILE_OFF)
		describe_allocator(to);
	else if (off < FORMAT_VOLATILE_OFF + FORMAT_VOLATILE_BYTES)
		describe_volatile(to);
	else {
		begin(to, "reserved", off, 1);
		field(to, "content", "none");
	}
}

static int describe(struct description *to, struct medium *medium, uint64_t off)
{
	struct survey survey;
	int err = survey_begin(&survey, medium, false, NULL, NULL);

	to->survey = &survey;
	if (!err) {
		if (off < format_arena_off(survey.header.block_size))
			describe_front(to, off);
		else
			describe_arena(to, off);
		err = to->err;
	}
	int kept = errno;
	survey_end(&survey);
	errno = kept;
	return err;
}

EXPORT int pmemstream_describe(const char *path, uint64_t offset,
			       int (*callback)(const struct pmemstream_field *field, void *arg), void *arg)
{
	struct description to = {.callback = callback, .arg = arg};
	struct medium medium;
	struct file file;

	if (!path || !callback)
		return error_set(EINVAL, "no %s", path ? "callback" : "path");
	if (file_open(&file, path, false))
		return -1;
	int err = file_medium(&file, &medium);
	if (!err) {
		err = offset < medium.size ? describe(&to, &medium, offset)
					   : error_set(EINVAL, "the file has only %zu bytes", medium.size);
		int kept = errno;
		medium_close(&medium);
		errno = kept;
	}
	int kept = errno;
	file_close(&file);
	if (err)
		error_prefix("%s", path);
	errno = kept;
	return err;
}
