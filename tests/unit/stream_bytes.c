/*
 * stream_bytes.c: see stream_bytes.h.
 */
#include "stream_bytes.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

unsigned char *stream_bytes(const char *path, size_t size, struct format_header *header,
			    struct format_stream_slot *slot, uint64_t *slot_off)
{
	uint64_t other_off = FORMAT_STREAM_SLOT_OFF + FORMAT_STREAM_SLOT_STRIDE;
	struct format_stream_slot other;
	int fd = open(path, O_RDWR | O_CLOEXEC);
	unsigned char *bytes = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	assert_true(bytes != MAP_FAILED);
	close(fd);
	assert_true(format_header_decode(bytes, header));
	*slot_off = FORMAT_STREAM_SLOT_OFF;
	assert_true(format_stream_slot_decode(bytes + *slot_off, header->salt, *slot_off, slot));
	assert_true(format_stream_slot_decode(bytes + other_off, header->salt, other_off, &other));
	if (other.sequence > slot->sequence) {
		*slot = other;
		*slot_off = other_off;
	}
	return bytes;
}
