/*
 * create.c: recognises what a map holds, and creates a stream in an empty one.
 *
 * Order   "being created" magic -> fence -> everything else -> fence -> the real magic -> fence.
 * Crash   until the last fence the map is empty or being created, and a later open starts over.
 */
#include "stream/create.h"

#include "base/error.h"
#include "stream/durable.h"
#include "stream/recover.h"

#include <errno.h>
#include <string.h>

static bool is_zero(const struct medium *medium, uint64_t off, uint64_t bytes)
{
	const char *at = medium->base;

	if (off >= medium->size)
		return true;
	if (bytes > medium->size - off)
		bytes = medium->size - off;
	/* Equal to itself shifted by one byte, and the first byte is zero. */
	return !bytes || (!at[off] && !memcmp(at + off, at + off + 1, bytes - 1));
}

static bool is_empty(const struct medium *medium)
{
	uint64_t back = medium->size > FORMAT_EMPTY_BACK_BYTES ? medium->size - FORMAT_EMPTY_BACK_BYTES : 0;

	return is_zero(medium, 0, FORMAT_EMPTY_FRONT_BYTES) && is_zero(medium, back, FORMAT_EMPTY_BACK_BYTES);
}

/* The signature of libpmemstream 0.2, filled up with zeros to 64 bytes. */
static bool is_former_layout(const struct medium *medium)
{
	static const char signature[64] = "PMEMSTREAM";

	return medium->size >= sizeof(signature) && !memcmp(medium->base, signature, sizeof(signature));
}

static enum found refuse(const struct medium *medium)
{
	const unsigned char *base = (const unsigned char *)medium->base;

	if (is_former_layout(medium)) {
		error_set(ENOTSUP, "this is a stream of libpmemstream 0.2, whose layout is not supported: copy its "
				   "entries with that library into a new stream");
		return FOUND_ERROR;
	}
	if (medium->size >= 12 && !memcmp(base, FORMAT_MAGIC, 8) && le32_load(base + 8) > FORMAT_VERSION) {
		error_set(ENOTSUP, "this is a stream of format version %u; this library knows version %d",
			  le32_load(base + 8), FORMAT_VERSION);
		return FOUND_ERROR;
	}
	if (medium->size >= 12 && !memcmp(base, FORMAT_MAGIC, 8)) {
		recover_damage("neither copy of the stream's header checks");
		return FOUND_ERROR;
	}
	error_set(EINVAL, "neither a stream nor empty: nothing was changed");
	return FOUND_ERROR;
}

enum found create_recognise(const struct medium *medium, struct format_header *header, bool copy_valid[2])
{
	static const uint64_t second_offs[2] = {FORMAT_SECOND_COPY_NEAR, FORMAT_SECOND_COPY_FAR};
	const unsigned char *base = (const unsigned char *)medium->base;
	struct format_header second;

	copy_valid[0] = medium->size >= FORMAT_HEADER_BYTES && format_header_decode(base, header);
	copy_valid[1] = false;
	if (medium->size >= 8 && !memcmp(base, FORMAT_MAGIC_NEW, 8))
		return FOUND_EMPTY;
	for (unsigned i = 0; i < 2 && !copy_valid[1]; i++) {
		uint64_t off = second_offs[i];
		if (medium->size < off + FORMAT_HEADER_BYTES || !format_header_decode(base + off, &second) ||
		    format_second_copy_off(second.block_size) != off ||
		    (copy_valid[0] && memcmp(header->uuid, second.uuid, sizeof(second.uuid))))
			continue;
		copy_valid[1] = true;
		/* They differ while the size is being changed: the larger one counts, the other is written anew. */
		if (copy_valid[0] && header->size != second.size)
			copy_valid[header->size < second.size ? 0 : 1] = false;
		if (!copy_valid[0])
			*header = second;
	}
	if (!copy_valid[0] && !copy_valid[1])
		return is_empty(medium) ? FOUND_EMPTY : refuse(medium);
	if (header->incompatible) {
		error_set(ENOTSUP, "the stream uses features that this library does not know (incompatible bits %#x)",
			  header->incompatible);
		return FOUND_ERROR;
	}
	return FOUND_STREAM;
}

static void put(struct pmemstream *stream, struct durable *durable, uint64_t off, const void *from, uint64_t bytes)
{
	medium_copy(&stream->medium, stream_at(stream, off), from, bytes);
	durable_add(durable, off, bytes);
}

static void put_checked(struct pmemstream *stream, struct durable *durable, uint64_t off, uint64_t value)
{
	uint64_t word = htole64(format_checked_encode(stream->header.salt, off, value));

	put(stream, durable, off, &word, sizeof(word));
}

static void put_stream_slot(struct pmemstream *stream, struct durable *durable, unsigned index)
{
	uint64_t off = FORMAT_STREAM_SLOT_OFF + (uint64_t)index * FORMAT_STREAM_SLOT_STRIDE;
	/* The first writable open raises the epoch from 1: its first entries are of epoch 2. */
	struct format_stream_slot slot = {.sequence = 2 - index, .epoch = 1, .time_ns = stream->header.created_ns};
	unsigned char encoded[FORMAT_SLOT_BYTES];

	format_stream_slot_encode(encoded, stream->header.salt, off, &slot);
	put(stream, durable, off, encoded, sizeof(encoded));
}

int create_stream(struct pmemstream *stream)
{
	static const unsigned char zeros[FORMAT_HEADER_BYTES];
	unsigned char header[FORMAT_HEADER_BYTES];
	uint64_t block_size = stream->header.block_size;
	uint64_t end_off = format_arena_end(stream->header.size, block_size);
	struct durable durable;

	if (durable_copy(stream, 0, FORMAT_MAGIC_NEW, 8))
		return -1;

	format_header_encode(header, &stream->header);
	durable_begin(&durable, stream);
	/* A creation that was cut may have left anything in the first page. */
	for (uint64_t off = FORMAT_HEADER_BYTES; off < MEDIUM_PAGE_BYTES; off += sizeof(zeros))
		put(stream, &durable, off, zeros, sizeof(zeros));
	put(stream, &durable, 8, header + 8, sizeof(header) - 8);
	put(stream, &durable, format_second_copy_off(block_size), header, sizeof(header));
	put_stream_slot(stream, &durable, 0);
	put_stream_slot(stream, &durable, 1);
	put_checked(stream, &durable, FORMAT_APPLIED_OFF, 0);
	put_checked(stream, &durable, FORMAT_NEXT_GENERATION_OFF, 1);
	put_checked(stream, &durable, stream->arena_off, (end_off - stream->arena_off) / block_size);
	if (durable_end(&durable))
		return -1;
	return durable_copy(stream, 0, FORMAT_MAGIC, 8);
}
