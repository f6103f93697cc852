/*
 * endian.h: little-endian integers at any address, independent of the machine's byte order and alignment.
 */
#ifndef BASE_ENDIAN_H
#define BASE_ENDIAN_H

#include <endian.h>
#include <stdint.h>
#include <string.h>

static inline uint16_t le16_load(const void *at)
{
	uint16_t raw;
	memcpy(&raw, at, sizeof(raw));
	return le16toh(raw);
}

static inline uint32_t le32_load(const void *at)
{
	uint32_t raw;
	memcpy(&raw, at, sizeof(raw));
	return le32toh(raw);
}

static inline uint64_t le64_load(const void *at)
{
	uint64_t raw;
	memcpy(&raw, at, sizeof(raw));
	return le64toh(raw);
}

static inline void le16_store(void *at, uint16_t value)
{
	uint16_t raw = htole16(value);
	memcpy(at, &raw, sizeof(raw));
}

static inline void le32_store(void *at, uint32_t value)
{
	uint32_t raw = htole32(value);
	memcpy(at, &raw, sizeof(raw));
}

static inline void le64_store(void *at, uint64_t value)
{
	uint64_t raw = htole64(value);
	memcpy(at, &raw, sizeof(raw));
}

#endif
