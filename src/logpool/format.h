/*
 * format.h: the constants of docs/format/logpool.md, which is the text to read.
 */
#ifndef LOGPOOL_FORMAT_H
#define LOGPOOL_FORMAT_H

#include "base/endian.h"

#include <stddef.h>
#include <stdint.h>

enum {
	FORMAT_PAGE_BYTES = 4096,
	FORMAT_PART_MIN_BYTES = 2 << 20,

	HEADER_BYTES = FORMAT_PAGE_BYTES,
	HEADER_SHUTDOWN_OFF = 4024,
	SHUTDOWN_BYTES = 64,

	DESCRIPTOR_OFF = 4096,
	DESCRIPTOR_START_OFF = 4096,
	DESCRIPTOR_END_OFF = 4104,
	DESCRIPTOR_WRITE_OFF = 4112,
	DESCRIPTOR_BYTES = 24,
	SCRATCH_OFF = 4120,
	SCRATCH_BYTES = 56,

	LOG_START_OFF = 8192,
};

/* What a function leaves in errno when bytes that were read are no valid pool, as opposed to when something failed:
 * pmemlog_check tells the two apart, everybody else gets EINVAL. No system call returns it. */
enum { NOT_A_POOL = 1 << 20 };

/* Two running sums over 32-bit words; the 8 bytes at checksum_off and everything from zero_from on count as zero. */
static inline uint64_t format_checksum(const char *bytes, size_t size, size_t checksum_off, size_t zero_from)
{
	uint32_t low = 0, high = 0;

	for (size_t off = 0; off < size; off += 4) {
		if (off < zero_from && (off < checksum_off || off >= checksum_off + 8))
			low += le32_load(bytes + off);
		high += low;
	}
	return (uint64_t)high << 32 | low;
}

#endif
