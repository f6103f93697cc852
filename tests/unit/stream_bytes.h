/*
 * stream_bytes.h: the bytes of a stream's file, for tests that make its contents up.
 */
#ifndef TESTS_STREAM_BYTES_H
#define TESTS_STREAM_BYTES_H

#include "stream/format.h"

#include <stddef.h>

/* Maps a stream that nobody has open, shared and writable; the caller unmaps it. Gives its header, the stream slot in
 * use and where that stands. */
unsigned char *stream_bytes(const char *path, size_t size, struct format_header *header,
			    struct format_stream_slot *slot, uint64_t *slot_off);

#endif
