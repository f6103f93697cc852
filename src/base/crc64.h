/*
 * crc64.h: CRC-64 with Jones' polynomial 0xad93d23594c935a9, most significant bit first, by ISA-L.
 *
 * crc64(0, "123456789", 9) is 0xdcf90fb7d3a994f3; feeding the result back continues, as with crc32c. Bits are taken in
 * the order that few others take them, on purpose: what a CRC sees of data that end with their own CRC is always the
 * same.
 */
#ifndef BASE_CRC64_H
#define BASE_CRC64_H

#include <isa-l/crc64.h>
#include <stddef.h>
#include <stdint.h>

static inline uint64_t crc64(uint64_t crc, const void *data, size_t bytes)
{
	return crc64_jones_norm(crc, data, bytes);
}

#endif
