/*
 * crc32c.h: CRC32C (Castagnoli, RFC 3720 appendix B.4) by ISA-L.
 *
 * crc32c(0, "123456789", 9) is 0xe3069283; feeding the result back continues: crc32c(crc32c(0, a), b) = crc of a, b.
 */
#ifndef BASE_CRC32C_H
#define BASE_CRC32C_H

#include <stddef.h>
#include <stdint.h>

/* Any length: ISA-L's own length is an int, so long data goes in pieces. */
uint32_t crc32c(uint32_t crc, const void *data, size_t bytes);

/* The same over a word, as eight bytes with the lowest first, and the few bytes behind it. */
uint32_t crc32c_behind(uint32_t crc, uint64_t word, const void *data, size_t bytes);

#endif
