/*
 * format.h: the stream format in C: places, sizes, and how each structure is encoded, decoded and checked.
 *
 * The normative text is docs/format/stream.md. Pure functions on bytes: nothing here stores to media.
 */
#ifndef STREAM_FORMAT_H
#define STREAM_FORMAT_H

#include "base/crc32c.h"
#include "base/crc64.h"
#include "base/endian.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	FORMAT_VERSION = 1,
	FORMAT_BLOCK_MIN = 64,

	/* Places in the first page, section 1. */
	FORMAT_HEADER_BYTES = 512,
	FORMAT_SIZE_OFF = 48,
	FORMAT_STREAM_SLOT_OFF = 512,
	FORMAT_STREAM_SLOT_STRIDE = 512,
	FORMAT_RECORD_OFF = 1536,
	FORMAT_RECORD_BYTES = 128,
	FORMAT_APPLIED_OFF = 2048,
	FORMAT_NEXT_GENERATION_OFF = 2056,
	FORMAT_VOLATILE_OFF = 2560,
	FORMAT_VOLATILE_BYTES = 512,
	FORMAT_SECOND_COPY_NEAR = 3584,
	FORMAT_SECOND_COPY_FAR = 4096,

	FORMAT_SLOT_BYTES = 64,

	/* Region header, section 5; offsets from its start. */
	FORMAT_REGION_HEADER_BYTES = 256,
	FORMAT_REGION_LIMIT_OFF = 8,
	FORMAT_REGION_CONSTANT_OFF = 16,
	FORMAT_REGION_LABEL_OFF = 64,
	FORMAT_REGION_SLOT_OFF = 128,
	FORMAT_LABEL_BYTES = 64,
	FORMAT_LIMIT_UNIT = 64,
	FORMAT_LIMIT_STEP = 65536,

	FORMAT_ENTRY_HEADER_BYTES = 32,

	FORMAT_EMPTY_FRONT_BYTES = 131072,
	FORMAT_EMPTY_BACK_BYTES = 65536,

	FORMAT_RECORD_WORDS = 4,
};

#define FORMAT_MAGIC          "pmstream"
#define FORMAT_MAGIC_NEW      "pmstrnew"
#define FORMAT_CHECKED_MAX    ((UINT64_C(1) << 40) - 1)
#define FORMAT_EXTENT_USED    (UINT64_C(1) << 39)
#define FORMAT_ENTRY_SIZE_MAX ((UINT64_C(1) << 48) - 1)
/* Timestamps, rounds and sequences of slots: more nobody can have counted to. */
#define FORMAT_COUNT_MAX (UINT64_C(1) << 60)
#define FORMAT_LAG_NONE  UINT32_MAX

/* Section 2. */
struct format_header {
	uint32_t compatible, read_only, incompatible;
	unsigned char uuid[16];
	uint64_t salt;
	uint64_t size;
	uint64_t block_size;
	uint32_t alignment;
	uint64_t created_ns;
};

uint64_t format_second_copy_off(uint64_t block_size);
uint64_t format_arena_off(uint64_t block_size);
uint64_t format_arena_end(uint64_t size, uint64_t block_size);

void format_header_encode(unsigned char *to, const struct format_header *header);
/* False where the copy is not valid; versions above ours do not decode either. */
bool format_header_decode(const unsigned char *from, struct format_header *header);

/* Section 4. */
enum { FORMAT_CLEAN = 1 };

struct format_stream_slot {
	uint64_t sequence, round, persisted, kept;
	uint32_t epoch, flags, digest;
	uint64_t time_ns;
};

void format_stream_slot_encode(unsigned char *to, uint64_t salt, uint64_t off, const struct format_stream_slot *slot);
bool format_stream_slot_decode(const unsigned char *from, uint64_t salt, uint64_t off, struct format_stream_slot *slot);

struct format_region_slot {
	uint64_t round, tail_off, persisted;
	uint32_t epoch;
	uint64_t time_ns;
};

void format_region_slot_encode(unsigned char *to, uint64_t salt, uint64_t generation, uint64_t off,
			       const struct format_region_slot *slot);
bool format_region_slot_decode(const unsigned char *from, uint64_t salt, uint64_t generation, uint64_t off,
			       struct format_region_slot *slot);

/* Feeds one run of equal epochs to the digest D. */
uint32_t format_digest(uint32_t digest, uint64_t first_timestamp, uint64_t last_timestamp, uint32_t epoch);

/* Section 5: checked words, region headers. */
uint64_t format_checked_encode(uint64_t salt, uint64_t seed, uint64_t value);
bool format_checked_decode(uint64_t word, uint64_t salt, uint64_t seed, uint64_t *value);

struct format_region {
	uint64_t generation, extent_bytes, created_ns;
	char label[FORMAT_LABEL_BYTES];
};

/* Bytes 16 to 127 of the header that begins at to; the words and slots around them are the caller's. */
void format_region_encode(unsigned char *to, uint64_t salt, uint64_t off, const struct format_region *region);
bool format_region_decode(const unsigned char *from, uint64_t salt, uint64_t off, struct format_region *region);

/* Section 6. */
struct format_record {
	uint64_t number, persisted;
	uint32_t epoch, count;
	struct {
		uint64_t off, word;
	} words[FORMAT_RECORD_WORDS];
};

void format_record_encode(unsigned char *to, uint64_t salt, const struct format_record *record);
bool format_record_decode(const unsigned char *from, uint64_t salt, struct format_record *record);

/* Section 3. */
enum { FORMAT_MORE = 1, FORMAT_FILLER = 2, FORMAT_LOST = 4, FORMAT_FLAGS_KNOWN = 7 };

struct format_entry {
	uint64_t size, timestamp;
	uint32_t epoch, lag, data_crc;
	uint16_t flags;
};

/* The CRC of salt and generation, which every entry header of a region begins with. */
uint32_t format_entry_seed(uint64_t salt, uint64_t generation);
/* The header's CRC covers its offset and its own first 28 bytes. */
static inline uint32_t format_entry_crc(const unsigned char *header, uint32_t seed, uint64_t off)
{
	return crc32c_behind(seed, off, header, 28);
}

/* In whole words: what reads them next need not wait until their parts have left the store buffer. */
static inline void format_entry_encode(unsigned char *to, uint32_t seed, uint64_t off, const struct format_entry *entry)
{
	le64_store(to, entry->size | (uint64_t)entry->flags << 48);
	le64_store(to + 8, entry->timestamp);
	le64_store(to + 16, entry->epoch | (uint64_t)entry->lag << 32);
	le64_store(to + 24, entry->data_crc);
	le64_store(to + 24, entry->data_crc | (uint64_t)format_entry_crc(to, seed, off) << 32);
}

/*
 * The check of an entry's data, in one piece; or in several, beginning with crc64(0, ...), folded at the end. Not
 * CRC32C: data that end with their own CRC32C, as records often do, and images of headers have one and the same CRC32C,
 * so that old data could pass for new.
 */
static inline uint32_t format_data_fold(uint64_t crc)
{
	return (uint32_t)(crc ^ crc >> 32);
}

static inline uint32_t format_data_crc(const void *data, uint64_t bytes)
{
	return format_data_fold(crc64(0, data, bytes));
}

/* True if the header is trustworthy; room is what the region has from off to its end. */
static inline bool format_entry_decode(const unsigned char *from, uint32_t seed, uint64_t off, uint64_t room,
				       struct format_entry *entry)
{
	if (room < FORMAT_ENTRY_HEADER_BYTES)
		return false;
	/* Cheap tests first: a search behind a bad header tries every aligned offset. */
	uint64_t first = le64_load(from);
	entry->size = first & FORMAT_ENTRY_SIZE_MAX;
	entry->flags = (uint16_t)(first >> 48);
	if (entry->size > room - FORMAT_ENTRY_HEADER_BYTES || entry->flags & ~FORMAT_FLAGS_KNOWN)
		return false;
	entry->timestamp = le64_load(from + 8);
	entry->epoch = le32_load(from + 16);
	entry->lag = le32_load(from + 20);
	entry->data_crc = le32_load(from + 24);
	if (entry->timestamp == 0 || entry->epoch == 0)
		return false;
	return le32_load(from + 28) == format_entry_crc(from, seed, off);
}

/* The highest timestamp that the entry says was durable, 0 if it claims nothing. */
static inline uint64_t format_entry_watermark(const struct format_entry *entry)
{
	return entry->lag == FORMAT_LAG_NONE || entry->lag > entry->timestamp ? 0 : entry->timestamp - entry->lag;
}

/* Bytes that an entry takes; size is at most FORMAT_ENTRY_SIZE_MAX, so this cannot wrap. */
static inline uint64_t format_entry_space(uint64_t size, uint64_t alignment)
{
	return (FORMAT_ENTRY_HEADER_BYTES + size + alignment - 1) & ~(alignment - 1);
}

#endif
