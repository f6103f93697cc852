/*
 * keep_newest.c: a log without an end in a file of 1 MiB.
 *
 * A series appends to regions web.0, web.1, ... and frees the oldest when 256 KiB are left without it. What is left is
 * then walked in order of time.
 *
 * Build: cc -o keep_newest keep_newest.c $(pkg-config --cflags --libs libpmemstream)
 * Run:   ./keep_newest
 */
#include <libpmemstream.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { ENTRIES = 20000 };

#define CHECK(call)                                                                                                    \
	do {                                                                                                           \
		if (call) {                                                                                            \
			fprintf(stderr, "%s: %s\n", #call, pmemstream_errormsg());                                     \
			exit(1);                                                                                       \
		}                                                                                                      \
	} while (0)

int main(void)
{
	char path[] = "keep_newest.XXXXXX";
	const struct pmemstream_config config = {.size = 1 << 20};
	const struct pmemstream_series_config keeping = {.region_bytes = 64 << 10, .keep_bytes = 256 << 10};
	struct pmemstream_global_iterator *iterator;
	struct pmemstream_series *series;
	struct pmemstream_entry entry;
	struct pmemstream_region regions[32];
	struct pmemstream *stream;
	uint64_t first = 0, last = 0, count = 0;
	size_t region_count = 32;

	int fd = mkstemp(path);
	if (fd < 0 || close(fd) || unlink(path)) /* only its name is wanted */
		return 1;
	/* On a disk each append would be a sync; 20,000 of them are not what this example is about. */
	setenv("PMEM2_FORCE_GRANULARITY", "CACHE_LINE", 0);
	CHECK(pmemstream_create(&stream, path, &config));
	CHECK(pmemstream_series_open(stream, "web", &keeping, &series));
	for (int i = 1; i <= ENTRIES; i++) {
		char text[64];
		int bytes = snprintf(text, sizeof(text), "request %d", i);
		CHECK(pmemstream_series_append(series, text, (size_t)bytes, NULL));
	}
	CHECK(pmemstream_series_list(stream, "web", regions, &region_count));
	pmemstream_series_close(&series);

	CHECK(pmemstream_global_iterator_new(&iterator, stream));
	pmemstream_global_iterator_seek_first(iterator);
	for (; !pmemstream_global_iterator_get(iterator, NULL, &entry); pmemstream_global_iterator_next(iterator)) {
		last = pmemstream_entry_timestamp(stream, entry);
		first = first ? first : last;
		count++;
	}
	pmemstream_global_iterator_delete(&iterator);
	pmemstream_delete(&stream);
	unlink(path);
	printf("of %d entries, %" PRIu64 " are left in %zu regions: %" PRIu64 " to %" PRIu64 "\n", ENTRIES, count,
	       region_count, first, last);
	return last == ENTRIES && count == last - first + 1 ? 0 : 1;
}
