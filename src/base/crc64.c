/*
 * crc64.c: CRC-64 by ISA-L.
 */
#include "base/crc64.h"

#include <isa-l/crc64.h>

uint64_t crc64(uint64_t crc, const void *data, size_t bytes)
{
	return crc64_jones_norm(crc, data, bytes);
}
