/*
 * grow_and_wait.c: entries that are made in place, a file that grows while it is open, and one wait for all.
 *
 * Each entry is written where it will stay, and sent on its way without a wait. When the stream has no room for another
 * region, its file grows. At the end one wait, with a time limit, makes all of them durable.
 *
 * Build: cc -o grow_and_wait grow_and_wait.c $(pkg-config --cflags --libs libpmemstream)
 * Run:   ./grow_and_wait
 */
#include <libpmemstream.h>

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/uio.h>
#include <unistd.h>

enum { REGIONS = 6, ENTRIES = 20, STREAM_BYTES = 1 << 20, REGION_BYTES = 400 << 10, ROOM_BYTES = 100 };

#define TEN_SECONDS_NS UINT64_C(10000000000)

#define CHECK(call)                                                                                                    \
	do {                                                                                                           \
		if (call) {                                                                                            \
			fprintf(stderr, "%s: %s\n", #call, pmemstream_errormsg());                                     \
			exit(1);                                                                                       \
		}                                                                                                      \
	} while (0)

static void allocate(struct pmemstream *stream, struct pmemstream_region *region)
{
	struct pmemstream_statistics now;

	if (!pmemstream_region_allocate(stream, REGION_BYTES, region))
		return;
	if (errno != ENOSPC)
		CHECK(-1);
	CHECK(pmemstream_get_statistics(stream, &now));
	CHECK(pmemstream_resize(stream, (size_t)now.size + STREAM_BYTES));
	CHECK(pmemstream_region_allocate(stream, REGION_BYTES, region));
}

/* Gives the timestamp of the last one. */
static uint64_t fill(struct pmemstream *stream, struct pmemstream_region region)
{
	struct iovec title[2] = {{.iov_base = "part ", .iov_len = 5}, {.iov_base = "one", .iov_len = 3}};
	struct pmemstream_entry entry;
	void *data;

	CHECK(pmemstream_appendv(stream, region, NULL, title, 2, NULL));
	for (int i = 1; i < ENTRIES; i++) {
		CHECK(pmemstream_reserve(stream, region, NULL, ROOM_BYTES, &entry, &data));
		int bytes = snprintf(data, ROOM_BYTES, "line %d", i);
		CHECK(pmemstream_async_publish(stream, region, NULL, entry, (size_t)bytes));
	}
	uint64_t last = pmemstream_entry_timestamp(stream, entry);
	/* One that was thought better of leaves no trace. */
	CHECK(pmemstream_reserve(stream, region, NULL, ROOM_BYTES, &entry, &data));
	CHECK(pmemstream_cancel(stream, region, NULL, entry));
	return last;
}

int main(void)
{
	char path[] = "grow_and_wait.XXXXXX";
	const struct pmemstream_config config = {.size = STREAM_BYTES};
	struct pmemstream_statistics now;
	struct pmemstream_region region;
	struct pmemstream *stream;
	uint64_t last = 0;

	int fd = mkstemp(path);
	if (fd < 0 || close(fd) || unlink(path)) /* only its name is wanted */
		return 1;
	CHECK(pmemstream_create(&stream, path, &config));
	for (int i = 0; i < REGIONS; i++) {
		allocate(stream, &region);
		last = fill(stream, region);
	}
	CHECK(pmemstream_wait_persisted(stream, last, TEN_SECONDS_NS));
	CHECK(pmemstream_get_statistics(stream, &now));
	pmemstream_delete(&stream);
	unlink(path);
	printf("%" PRIu64 " entries are durable in %" PRIu64 " regions; the file has %" PRIu64 " KiB\n", now.persisted,
	       now.regions, now.size >> 10);
	return now.persisted == REGIONS * ENTRIES && now.size > STREAM_BYTES ? 0 : 1;
}
