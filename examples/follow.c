/*
 * follow.c: one process appends, another one reads along.
 *
 * The reader opens the file read-only, sleeps until something new is durable, prints it, and ends when the writer has
 * closed the stream. It can neither slow nor block the writer.
 *
 * Build: cc -o follow follow.c $(pkg-config --cflags --libs libpmemstream)
 * Run:   ./follow
 */
#include <libpmemstream.h>

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { ENTRIES = 20 };

#define CHECK(call)                                                                                                    \
	do {                                                                                                           \
		if (call) {                                                                                            \
			fprintf(stderr, "%s: %s\n", #call, pmemstream_errormsg());                                     \
			exit(1);                                                                                       \
		}                                                                                                      \
	} while (0)

static int read_along(const char *path)
{
	const struct pmemstream_config reading = {.flags = PMEMSTREAM_READ_ONLY};
	struct pmemstream_global_iterator *iterator;
	struct pmemstream *stream;
	uint64_t seen = 0;

	CHECK(pmemstream_open(&stream, path, &reading));
	CHECK(pmemstream_global_iterator_new(&iterator, stream));
	pmemstream_global_iterator_seek_first(iterator);
	for (;;) {
		/* Of before the walk: not every timestamp has an entry to show, and above the last one that was seen a
		 * wait might end at once. */
		uint64_t known = pmemstream_committed_timestamp(stream);
		for (; !pmemstream_global_iterator_is_valid(iterator); pmemstream_global_iterator_next(iterator)) {
			struct pmemstream_entry entry;
			CHECK(pmemstream_global_iterator_get(iterator, NULL, &entry));
			seen = pmemstream_entry_timestamp(stream, entry);
			printf("reader: %" PRIu64 " %.*s\n", seen, (int)pmemstream_entry_size(stream, entry),
			       (const char *)pmemstream_entry_data(stream, entry));
		}
		if (seen == ENTRIES)
			break;
		/* A writer that ended may have left something that is read in the next turn. */
		if (pmemstream_wait_newer(stream, known, UINT64_MAX) && errno != EOWNERDEAD)
			CHECK(-1);
	}
	pmemstream_global_iterator_delete(&iterator);
	pmemstream_delete(&stream);
	return 0;
}

int main(void)
{
	char path[] = "follow.XXXXXX";
	const struct pmemstream_config config = {.size = 4 << 20};
	struct pmemstream_region region;
	struct pmemstream *stream;
	int status;

	int fd = mkstemp(path);
	if (fd < 0 || close(fd) || unlink(path)) /* only its name is wanted */
		return 1;
	CHECK(pmemstream_create(&stream, path, &config));
	CHECK(pmemstream_region_allocate_labeled(stream, 1 << 20, "news", &region));
	pid_t reader = fork();
	if (reader == 0)
		_exit(read_along(path) || fflush(stdout));
	for (int i = 1; i <= ENTRIES; i++) {
		char text[32];
		int bytes = snprintf(text, sizeof(text), "message %d", i);
		CHECK(pmemstream_append(stream, region, NULL, text, (size_t)bytes, NULL));
	}
	pmemstream_delete(&stream);
	waitpid(reader, &status, 0);
	unlink(path);
	printf("the reader saw all %d entries: %s\n", ENTRIES, status ? "no" : "yes");
	return status ? 1 : 0;
}
