/*
 * resize.c: lets the file of a stream grow while it is open.
 *
 * Order   the file's size, durable -> the extent word of the new free extent, durable: no header copy names it yet ->
 * first header copy -> durable -> second copy -> durable -> known to this process. Section 8 of docs/format/stream.md.
 * Crash   the old size or the new one; a file that is larger than its stream is used up to the stream's size.
 */
#include "stream/resize.h"
#include "base/checked.h"
#include "base/error.h"
#include "base/export.h"
#include "stream/durable.h"
#include "stream/file.h"

#include <errno.h>
#include <unistd.h>

static int write_copies(struct pmemstream *stream, const struct format_header *header)
{
	unsigned char encoded[FORMAT_HEADER_BYTES];

	format_header_encode(encoded, header);
	if (durable_copy(stream, 0, encoded, sizeof(encoded)))
		return -1;
	return durable_copy(stream, format_second_copy_off(header->block_size), encoded, sizeof(encoded));
}

int resize_grow(struct pmemstream *stream, uint64_t bytes)
{
	struct format_header header = stream->header;
	uint64_t former_end_off = format_arena_end(header.size, header.block_size);
	uint64_t end_off = format_arena_end(bytes, header.block_size);

	if (stream_writable(stream) || extents_reserve(&stream->extents, 1))
		return -1;
	if (bytes <= header.size)
		return bytes == header.size ? 0
					    : error_set(EINVAL, "a stream of %zu bytes cannot shrink to %zu",
							(size_t)header.size, (size_t)bytes);
	if (bytes > FORMAT_EXTENT_USED * FORMAT_LIMIT_UNIT)
		return error_set(EFBIG, "a stream has at most %zu bytes",
				 (size_t)(FORMAT_EXTENT_USED * FORMAT_LIMIT_UNIT));
	if (bytes > stream->medium.size) {
		if (file_grow(stream->file, bytes))
			return -1;
		stream->medium.size = bytes;
	}
	header.size = bytes;
	if (end_off > former_end_off) {
		uint64_t blocks = (end_off - former_end_off) / header.block_size;
		uint64_t word = htole64(format_checked_encode(header.salt, former_end_off, blocks));
		if (durable_copy(stream, former_end_off, &word, sizeof(word)))
			return -1;
	}
	if (write_copies(stream, &header))
		return -1;
	stream->header.size = bytes;
	if (end_off > former_end_off)
		extents_append(&stream->extents, former_end_off, end_off - former_end_off, NULL);
	return 0;
}

EXPORT int pmemstream_resize(struct pmemstream *stream, size_t size)
{
	uint64_t bytes;

	if (!stream)
		return error_set(EINVAL, "no stream");
	if (!stream->file)
		return error_set(ENOTSUP, "the map is the caller's: only a stream that was opened by path can grow");
	if (!checked_round_up(size, (uint64_t)sysconf(_SC_PAGESIZE), &bytes))
		return error_set(EFBIG, "a stream cannot have %zu bytes", size);
	pthread_mutex_lock(&stream->admin);
	int err = resize_grow(stream, bytes);
	pthread_mutex_unlock(&stream->admin);
	return err;
}
