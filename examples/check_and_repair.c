/*
 * check_and_repair.c: what damage to a file does, and what a repair makes of it.
 *
 * One byte of an entry is spoilt behind the library's back. A check tells where, a repair gives up that entry alone,
 * and a reader is told of it and goes on behind it.
 *
 * Build: cc -o check_and_repair check_and_repair.c $(pkg-config --cflags --libs libpmemstream)
 * Run:   ./check_and_repair
 */
#include <libpmemstream.h>

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { ENTRIES = 10, SPOILT = 4, HEADER_BYTES = 32 };

#define CHECK(call)                                                                                                    \
	do {                                                                                                           \
		if (call) {                                                                                            \
			fprintf(stderr, "%s: %s\n", #call, pmemstream_errormsg());                                     \
			exit(1);                                                                                       \
		}                                                                                                      \
	} while (0)

/* Whatever this returns but 0 would end the check. */
static int tell(const struct pmemstream_event *event, void *unused)
{
	(void)unused;
	if (event->kind == PMEMSTREAM_EVENT_PROBLEM)
		printf("%" PRIu64 ": %s: %s\n", event->problem.offset, event->problem.cause,
		       event->problem.consequence);
	if (event->kind == PMEMSTREAM_EVENT_CHANGE)
		printf("%" PRIu64 ": is written now: %s\n", event->offset, event->text);
	return 0;
}

/* A stream of which the data of one entry are not what was appended. */
static void make_damaged(const char *path)
{
	const struct pmemstream_config config = {.size = 1 << 20};
	struct pmemstream_entry entries[ENTRIES];
	struct pmemstream_region region;
	struct pmemstream *stream;

	CHECK(pmemstream_create(&stream, path, &config));
	CHECK(pmemstream_region_allocate_labeled(stream, 64 << 10, "notes", &region));
	for (int i = 0; i < ENTRIES; i++) {
		char text[32];
		int bytes = snprintf(text, sizeof(text), "note %d", i);
		CHECK(pmemstream_append(stream, region, NULL, text, (size_t)bytes, &entries[i]));
	}
	pmemstream_delete(&stream);

	int fd = open(path, O_WRONLY);
	if (fd < 0 || pwrite(fd, "N", 1, (off_t)entries[SPOILT].offset + HEADER_BYTES) != 1 || close(fd)) {
		perror(path);
		exit(1);
	}
}

/* How many entries can be read; lost gets how often the reader was told of damage. */
static int read_all(const char *path, int *lost)
{
	const struct pmemstream_config reading = {.flags = PMEMSTREAM_READ_ONLY};
	struct pmemstream_global_iterator *iterator;
	struct pmemstream *stream;
	int count = 0;

	*lost = 0;
	CHECK(pmemstream_open(&stream, path, &reading));
	CHECK(pmemstream_global_iterator_new(&iterator, stream));
	pmemstream_global_iterator_seek_first(iterator);
	for (;; pmemstream_global_iterator_next(iterator)) {
		if (!pmemstream_global_iterator_is_valid(iterator)) {
			count++;
		} else if (errno == EBADMSG) {
			printf("reader: %s\n", pmemstream_errormsg());
			++*lost;
		} else {
			break;
		}
	}
	pmemstream_global_iterator_delete(&iterator);
	pmemstream_delete(&stream);
	return count;
}

int main(void)
{
	char path[] = "check_and_repair.XXXXXX";
	int lost;

	int fd = mkstemp(path);
	if (fd < 0 || close(fd) || unlink(path)) /* only its name is wanted */
		return 1;
	make_damaged(path);
	if (!pmemstream_check(path, PMEMSTREAM_CHECK_DEEP, tell, NULL) || errno != EBADMSG)
		return 1;
	CHECK(pmemstream_repair(path, 0, tell, NULL));
	/* What was given up is known now, and no damage. */
	CHECK(pmemstream_check(path, PMEMSTREAM_CHECK_DEEP, NULL, NULL));
	int count = read_all(path, &lost);
	unlink(path);
	printf("of %d entries, %d are left\n", ENTRIES, count);
	return count == ENTRIES - 1 && lost == 1 ? 0 : 1;
}
