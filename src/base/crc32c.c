/*
 * crc32c.c: CRC32C over any length by ISA-L.
 */
#include "base/crc32c.h"

#include <isa-l/crc.h>

enum { PIECE_BYTES = 1 << 30 };

uint32_t crc32c(uint32_t crc, const void *data, size_t bytes)
{
	/* ISA-L promises not to change the data, but does not say so in its type. */
	unsigned char *at = (unsigned char *)(uintptr_t)data;
	uint32_t raw = ~crc;

	while (bytes > PIECE_BYTES) {
		raw = crc32_iscsi(at, PIECE_BYTES, raw);
		at += PIECE_BYTES;
		bytes -= PIECE_BYTES;
	}
	return ~crc32_iscsi(at, (int)bytes, raw);
}
