/*
 * filled.c: makes streams with much data in little time.
 *
 * An entry of the covered part is reserved in a file without blocks and published without a store to its data, so that
 * its data are the zeros that the file has there. Closing then writes the checkpoint that covers them. The rest is
 * appended after the next opening, and that process ends without closing: the stream was crashed.
 */
#include "filled.h"

#include <errno.h>
#include <fcntl.h>
#include <libpmemstream.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { ENTRY_BYTES = (1 << 20) - 64, REST_ENTRY_BYTES = 1024 - 64, BLOCK_BYTES = 4096 };

static void check(int err, const char *what)
{
	if (err)
		bench_die(what, pmemstream_errormsg());
}

struct filled_report filled_in_child(void (*fn)(const void *context, struct filled_report *report), const void *context)
{
	int status;

	struct filled_report *shared =
		mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (shared == MAP_FAILED)
		bench_die("sharing memory with a child", strerror(errno));
	fflush(NULL);
	pid_t child = fork();
	if (child < 0)
		bench_die("fork", strerror(errno));
	if (!child) {
		fn(context, shared);
		_exit(0);
	}
	if (waitpid(child, &status, 0) != child || !WIFEXITED(status) || WEXITSTATUS(status))
		bench_die("a child", "failed");
	struct filled_report report = *shared;
	munmap(shared, sizeof(*shared));
	return report;
}

/* Bytes of a region for its share of the data and of the rest. */
static uint64_t region_bytes(const struct filled *filled)
{
	uint64_t entries = filled->data_bytes / (1 << 20) / filled->regions + 1;
	uint64_t rest = filled->rest_bytes / filled->regions + 2 * REST_ENTRY_BYTES;

	return (filled->data_bytes ? entries << 20 : 0) + rest;
}

static void put_covered(const void *context, struct filled_report *report)
{
	const struct filled *filled = context;
	struct pmemstream_region *regions = calloc(filled->regions, sizeof(*regions));
	struct pmemstream_config config = {.size = 1 << 20, .flags = PMEMSTREAM_CREATE, .alignment = 8};
	struct pmemstream *stream;
	void *data;

	/* A file that is as long as it has to be and all zero counts as an empty one. */
	int fd = open(filled->path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	uint64_t bytes = (region_bytes(filled) + 2 * BLOCK_BYTES) * filled->regions + (1 << 20);
	if (!regions || fd < 0 || ftruncate(fd, (off_t)bytes) || close(fd))
		bench_die(filled->path, strerror(errno));
	check(pmemstream_open(&stream, filled->path, &config), filled->path);
	for (uint64_t i = 0; i < filled->regions; i++)
		check(pmemstream_region_allocate(stream, region_bytes(filled), &regions[i]), "a region");
	for (uint64_t i = 0; i < filled->data_bytes / (1 << 20); i++) {
		struct pmemstream_region region = regions[i % filled->regions];
		struct pmemstream_entry entry;
		check(pmemstream_reserve(stream, region, NULL, ENTRY_BYTES, &entry, &data), "reserve");
		check(pmemstream_publish(stream, region, NULL, entry, ENTRY_BYTES), "publish");
	}
	pmemstream_delete(&stream);
	report->entries = filled->data_bytes / (1 << 20);
}

static void put_rest(const void *context, struct filled_report *report)
{
	static const char data[REST_ENTRY_BYTES];
	const struct filled *filled = context;
	struct pmemstream_region_iterator *at;
	struct pmemstream *stream;

	check(pmemstream_open(&stream, filled->path, NULL), filled->path);
	check(pmemstream_region_iterator_new(&at, stream), "regions");
	pmemstream_region_iterator_seek_first(at);
	for (uint64_t done = 0; done < filled->rest_bytes; report->entries++) {
		if (pmemstream_region_iterator_is_valid(at))
			pmemstream_region_iterator_seek_first(at);
		check(pmemstream_append(stream, pmemstream_region_iterator_get(at), NULL, data, sizeof(data), NULL),
		      "append");
		done += pmemstream_entry_space(stream, sizeof(data));
		pmemstream_region_iterator_next(at);
	}
	if (filled->end_clean)
		pmemstream_delete(&stream);
}

void filled_make(const struct filled *filled)
{
	/* Nothing here is timed, so no sync is waited for before the end. */
	const char *granularity = getenv("PMEM2_FORCE_GRANULARITY");
	char kept[32] = "";

	snprintf(kept, sizeof(kept), "%s", granularity ? granularity : "");
	setenv("PMEM2_FORCE_GRANULARITY", "CACHE_LINE", 1);
	filled_in_child(put_covered, filled);
	filled_in_child(put_rest, filled);
	setenv("PMEM2_FORCE_GRANULARITY", kept, 1);
	int fd = open(filled->path, O_RDWR | O_CLOEXEC);
	if (fd < 0 || fsync(fd) || close(fd))
		bench_die(filled->path, strerror(errno));
}
