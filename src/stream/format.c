/*
 * format.c: encodes, decodes and checks the structures of the stream format (docs/format/stream.md).
 *
 * A decoder says false for anything that its checksum or a range does not vouch for; its output then is undefined.
 */
#include "stream/format.h"

#include "base/checked.h"
#include "base/crc32c.h"

#include <string.h>

static uint32_t feed64(uint32_t crc, uint64_t value)
{
	unsigned char bytes[8];

	le64_store(bytes, value);
	return crc32c(crc, bytes, sizeof(bytes));
}

uint64_t format_second_copy_off(uint64_t block_size)
{
	return block_size >= FORMAT_SECOND_COPY_FAR ? FORMAT_SECOND_COPY_FAR : FORMAT_SECOND_COPY_NEAR;
}

uint64_t format_arena_off(uint64_t block_size)
{
	uint64_t front = format_second_copy_off(block_size) + FORMAT_HEADER_BYTES;

	return (front + block_size - 1) & ~(block_size - 1);
}

uint64_t format_arena_end(uint64_t size, uint64_t block_size)
{
	return round_down(size, block_size);
}

void format_header_encode(unsigned char *to, const struct format_header *header)
{
	memset(to, 0, FORMAT_HEADER_BYTES);
	memcpy(to, FORMAT_MAGIC, 8);
	le32_store(to + 8, FORMAT_VERSION);
	le32_store(to + 12, header->compatible);
	le32_store(to + 16, header->read_only);
	le32_store(to + 20, header->incompatible);
	memcpy(to + 24, header->uuid, 16);
	le64_store(to + 40, header->salt);
	le64_store(to + 48, header->size);
	le64_store(to + 56, header->block_size);
	le32_store(to + 64, header->alignment);
	le64_store(to + 72, header->created_ns);
	le32_store(to + 508, crc32c(0, to, 508));
}

bool format_header_decode(const unsigned char *from, struct format_header *header)
{
	if (memcmp(from, FORMAT_MAGIC, 8) || le32_load(from + 8) != FORMAT_VERSION ||
	    le32_load(from + 508) != crc32c(0, from, 508))
		return false;
	header->compatible = le32_load(from + 12);
	header->read_only = le32_load(from + 16);
	header->incompatible = le32_load(from + 20);
	memcpy(header->uuid, from + 24, 16);
	header->salt = le64_load(from + 40);
	header->size = le64_load(from + 48);
	header->block_size = le64_load(from + 56);
	header->alignment = le32_load(from + 64);
	header->created_ns = le64_load(from + 72);

	if (!is_power_of_two(header->block_size) || header->block_size < FORMAT_BLOCK_MIN ||
	    header->block_size > UINT64_C(1) << 40 || header->size > UINT64_C(1) << 56)
		return false;
	if (header->alignment != 8 && header->alignment != 64)
		return false;
	uint64_t arena_off = format_arena_off(header->block_size);
	uint64_t arena_end = format_arena_end(header->size, header->block_size);
	/* 2^39 blocks fit an extent word, 2^46 bytes the limit. */
	return arena_end > arena_off && arena_end - arena_off <= (FORMAT_EXTENT_USED - 1) * FORMAT_LIMIT_UNIT;
}

void format_stream_slot_encode(unsigned char *to, uint64_t salt, uint64_t off, const struct format_stream_slot *slot)
{
	memset(to, 0, FORMAT_SLOT_BYTES);
	le64_store(to, slot->sequence);
	le64_store(to + 8, slot->round);
	le64_store(to + 16, slot->persisted);
	le64_store(to + 24, slot->kept);
	le32_store(to + 32, slot->epoch);
	le32_store(to + 36, slot->flags);
	le32_store(to + 40, slot->digest);
	le64_store(to + 48, slot->time_ns);
	le32_store(to + 60, crc32c(feed64(feed64(0, salt), off), to, 60));
}

bool format_stream_slot_decode(const unsigned char *from, uint64_t salt, uint64_t off, struct format_stream_slot *slot)
{
	if (le32_load(from + 60) != crc32c(feed64(feed64(0, salt), off), from, 60))
		return false;
	slot->sequence = le64_load(from);
	slot->round = le64_load(from + 8);
	slot->persisted = le64_load(from + 16);
	slot->kept = le64_load(from + 24);
	slot->epoch = le32_load(from + 32);
	slot->flags = le32_load(from + 36);
	slot->digest = le32_load(from + 40);
	slot->time_ns = le64_load(from + 48);
	return slot->sequence != 0 && slot->epoch != 0;
}

static uint32_t region_slot_crc(const unsigned char *bytes, uint64_t salt, uint64_t generation, uint64_t off)
{
	return crc32c(feed64(feed64(feed64(0, salt), generation), off), bytes, 60);
}

void format_region_slot_encode(unsigned char *to, uint64_t salt, uint64_t generation, uint64_t off,
			       const struct format_region_slot *slot)
{
	memset(to, 0, FORMAT_SLOT_BYTES);
	le64_store(to, slot->round);
	le64_store(to + 8, slot->tail_off);
	le64_store(to + 16, slot->persisted);
	le32_store(to + 24, slot->epoch);
	le64_store(to + 32, slot->time_ns);
	le32_store(to + 60, region_slot_crc(to, salt, generation, off));
}

bool format_region_slot_decode(const unsigned char *from, uint64_t salt, uint64_t generation, uint64_t off,
			       struct format_region_slot *slot)
{
	if (le32_load(from + 60) != region_slot_crc(from, salt, generation, off))
		return false;
	slot->round = le64_load(from);
	slot->tail_off = le64_load(from + 8);
	slot->persisted = le64_load(from + 16);
	slot->epoch = le32_load(from + 24);
	slot->time_ns = le64_load(from + 32);
	return true;
}

uint32_t format_digest(uint32_t digest, uint64_t first_timestamp, uint64_t last_timestamp, uint32_t epoch)
{
	return feed64(feed64(feed64(digest, first_timestamp), last_timestamp), epoch);
}

uint64_t format_checked_encode(uint64_t salt, uint64_t seed, uint64_t value)
{
	uint64_t check = feed64(feed64(feed64(0, salt), seed), value) & 0xffffff;

	return value | check << 40;
}

bool format_checked_decode(uint64_t word, uint64_t salt, uint64_t seed, uint64_t *value)
{
	uint64_t claimed = word & FORMAT_CHECKED_MAX;

	if (format_checked_encode(salt, seed, claimed) != word)
		return false;
	*value = claimed;
	return true;
}

static uint32_t region_crc(const unsigned char *header, uint64_t salt, uint64_t off)
{
	uint32_t crc = crc32c(feed64(feed64(0, salt), off), header + 16, 44);

	return crc32c(crc, header + FORMAT_REGION_LABEL_OFF, FORMAT_LABEL_BYTES);
}

void format_region_encode(unsigned char *to, uint64_t salt, uint64_t off, const struct format_region *region)
{
	memset(to + FORMAT_REGION_CONSTANT_OFF, 0, FORMAT_REGION_SLOT_OFF - FORMAT_REGION_CONSTANT_OFF);
	le64_store(to + 16, region->generation);
	le64_store(to + 24, region->extent_bytes);
	le64_store(to + 32, region->created_ns);
	memcpy(to + FORMAT_REGION_LABEL_OFF, region->label, FORMAT_LABEL_BYTES);
	le32_store(to + 60, region_crc(to, salt, off));
}

bool format_region_decode(const unsigned char *from, uint64_t salt, uint64_t off, struct format_region *region)
{
	if (le32_load(from + 60) != region_crc(from, salt, off))
		return false;
	region->generation = le64_load(from + 16);
	region->extent_bytes = le64_load(from + 24);
	region->created_ns = le64_load(from + 32);
	memcpy(region->label, from + FORMAT_REGION_LABEL_OFF, FORMAT_LABEL_BYTES);
	return region->generation != 0 && region->label[FORMAT_LABEL_BYTES - 1] == '\0';
}

void format_record_encode(unsigned char *to, uint64_t salt, const struct format_record *record)
{
	memset(to, 0, FORMAT_RECORD_BYTES);
	le64_store(to, record->number);
	le32_store(to + 8, record->epoch);
	le32_store(to + 12, record->count);
	for (uint32_t i = 0; i < record->count; i++) {
		le64_store(to + 16 + 16 * i, record->words[i].off);
		le64_store(to + 24 + 16 * i, record->words[i].word);
	}
	le64_store(to + 80, record->persisted);
	le32_store(to + 124, crc32c(feed64(0, salt), to, 124));
}

bool format_record_decode(const unsigned char *from, uint64_t salt, struct format_record *record)
{
	if (le32_load(from + 124) != crc32c(feed64(0, salt), from, 124))
		return false;
	record->number = le64_load(from);
	record->epoch = le32_load(from + 8);
	record->count = le32_load(from + 12);
	record->persisted = le64_load(from + 80);
	if (record->count < 1 || record->count > FORMAT_RECORD_WORDS)
		return false;
	for (uint32_t i = 0; i < record->count; i++) {
		record->words[i].off = le64_load(from + 16 + 16 * i);
		record->words[i].word = le64_load(from + 24 + 16 * i);
	}
	return true;
}

uint32_t format_entry_seed(uint64_t salt, uint64_t generation)
{
	return feed64(feed64(0, salt), generation);
}
