/*
 * gather.c: appendv, an entry made of several pieces.
 *
 * The same order as append.c. A small entry is gathered on the stack and leaves as one run; a larger one goes to the
 * medium piece by piece through the cache.
 */
#include "stream/append.h"

#include "base/crc64.h"
#include "base/error.h"
#include "base/export.h"

#include <errno.h>
#include <string.h>
#include <sys/uio.h>

enum { GATHER_BYTES = 4096 };

/* The sum of the lengths; false where it is more than an entry can have. */
static bool total_of(const struct iovec *iov, int iovcnt, uint64_t *total)
{
	*total = 0;
	for (int i = 0; i < iovcnt; i++) {
		if (iov[i].iov_len > FORMAT_ENTRY_SIZE_MAX - *total)
			return false;
		*total += iov[i].iov_len;
	}
	return true;
}

static int check_arguments(struct pmemstream *stream, const struct iovec *iov, int iovcnt)
{
	if (!stream)
		return error_set(EINVAL, "no stream");
	if (iovcnt < 0 || (!iov && iovcnt))
		return error_set(EINVAL, "%d pieces without an array, or less than none", iovcnt);
	for (int i = 0; i < iovcnt; i++)
		if (!iov[i].iov_base && iov[i].iov_len)
			return error_set(EINVAL, "piece %d has no data, but a size of %zu bytes", i, iov[i].iov_len);
	return stream_writable(stream);
}

static void store_pieces(struct pmemstream *stream, const struct ticket *ticket, const unsigned char *header,
			 const struct iovec *iov, int iovcnt)
{
	char *at = stream_at(stream, ticket->off);

	medium_copy(&stream->medium, at, header, FORMAT_ENTRY_HEADER_BYTES);
	at += FORMAT_ENTRY_HEADER_BYTES;
	for (int i = 0; i < iovcnt; i++) {
		medium_copy(&stream->medium, at, iov[i].iov_base, iov[i].iov_len);
		at += iov[i].iov_len;
	}
	append_flush(stream, ticket);
	append_flush_limit(stream, ticket);
}

static int append_pieces(struct pmemstream *stream, struct region *region, uint64_t generation, const struct iovec *iov,
			 int iovcnt, uint64_t size, struct ticket *ticket)
{
	unsigned char header[FORMAT_ENTRY_HEADER_BYTES];
	struct format_entry entry;
	uint64_t crc = 0;

	for (int i = 0; i < iovcnt && append_may_fit(stream, region, size); i++)
		crc = crc64(crc, iov[i].iov_base, iov[i].iov_len);
	if (append_take(stream, region, generation, size, window_own_note(stream), ticket))
		return -1;
	append_header(stream, ticket, format_data_fold(crc), 0, &entry, header);
	store_pieces(stream, ticket, header, iov, iovcnt);
	return append_finish(stream, ticket, ticket);
}

EXPORT int pmemstream_appendv(struct pmemstream *stream, struct pmemstream_region region,
			      struct pmemstream_region_runtime *region_runtime, const struct iovec *iov, int iovcnt,
			      struct pmemstream_entry *new_entry)
{
	struct ticket ticket;
	uint64_t generation, size;

	if (check_arguments(stream, iov, iovcnt))
		return -1;
	struct region *found = region_resolve(stream, region, region_runtime, &generation);
	if (!found)
		return -1;
	if (!total_of(iov, iovcnt, &size))
		return error_set(ENOSPC, "the pieces have more together than the %zu bytes of an entry",
				 (size_t)FORMAT_ENTRY_SIZE_MAX);
	if (size <= GATHER_BYTES) {
		char gathered[GATHER_BYTES];
		size_t used = 0;
		for (int i = 0; i < iovcnt; i++) {
			if (iov[i].iov_len)
				memcpy(gathered + used, iov[i].iov_base, iov[i].iov_len);
			used += iov[i].iov_len;
		}
		return pmemstream_append(stream, region, region_runtime, gathered, used, new_entry);
	}
	if (append_pieces(stream, found, generation, iov, iovcnt, size, &ticket))
		return -1;
	if (new_entry)
		new_entry->offset = ticket.off;
	return 0;
}
