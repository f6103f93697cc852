/*
 * floor.c: what the device itself takes to make so many bytes durable, one write after the other.
 *
 * Page media: pwrite and fdatasync to a file whose blocks are allocated and written, so that no metadata are in the
 * way. Others: stores that pass the cache, and a fence.
 */
#include "medium/medium.h"
#include "tool/measure.h"
#include "tool/progress.h"
#include "tool/report.h"

#include <errno.h>
#include <fcntl.h>
#include <libpmem2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { SAMPLES_MAX = 1 << 18, ENTRY_HEADER_BYTES = 32, ZEROS_BYTES = 1 << 20, LINE_BYTES = 64 };

/* Blocks that were only reserved would be marked as written by the first fdatasync that meets them. */
static int fill(int descriptor, uint64_t bytes)
{
	char *zeros = calloc(1, ZEROS_BYTES);
	int err = zeros ? 0 : -1;

	for (uint64_t at = 0; !err && at < bytes; at += ZEROS_BYTES)
		err = pwrite(descriptor, zeros, ZEROS_BYTES, (off_t)at) == ZEROS_BYTES ? 0 : -1;
	free(zeros);
	return err ? err : fsync(descriptor);
}

/* Maps the file, if it is on media where a store and a fence do. 0, or -1. */
static int map(struct measure_floor *floor)
{
	struct pmem2_config *config = NULL;
	struct pmem2_source *source = NULL;
	int err = pmem2_config_new(&config) || pmem2_source_from_fd(&source, floor->descriptor) ||
		  pmem2_config_set_required_store_granularity(config, PMEM2_GRANULARITY_PAGE) ||
		  pmem2_map_new(&floor->map, config, source);

	pmem2_config_delete(&config);
	pmem2_source_delete(&source);
	if (err || pmem2_map_get_store_granularity(floor->map) == PMEM2_GRANULARITY_PAGE)
		return err;
	floor->medium = calloc(1, sizeof(*floor->medium));
	return !floor->medium || medium_from_map(floor->medium, floor->map, true);
}

int measure_floor_open(struct measure_floor *floor, const char *path, uint64_t bytes)
{
	char name[4096];

	*floor = (struct measure_floor){.bytes = (bytes + ZEROS_BYTES - 1) / ZEROS_BYTES * ZEROS_BYTES};
	snprintf(name, sizeof(name), "%s.floor", path);
	floor->descriptor = open(name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (floor->descriptor < 0) {
		report_system(name);
		return -1;
	}
	unlink(name);
	if (fill(floor->descriptor, floor->bytes) || map(floor)) {
		report("%s: the device's floor cannot be measured: %s", name, strerror(errno));
		measure_floor_close(floor);
		return -1;
	}
	floor->how = floor->medium ? "stores and a fence" : "pwrite and fdatasync";
	return 0;
}

void measure_floor_close(struct measure_floor *floor)
{
	if (floor->medium)
		medium_close(floor->medium);
	free(floor->medium);
	floor->medium = NULL;
	if (floor->map)
		pmem2_map_delete(&floor->map);
	if (floor->descriptor >= 0)
		close(floor->descriptor);
	floor->descriptor = -1;
}

static int write_once(struct measure_floor *floor, const char *data, size_t bytes, uint64_t offset)
{
	if (!floor->medium)
		return pwrite(floor->descriptor, data, bytes, (off_t)offset) != (ssize_t)bytes ||
				       fdatasync(floor->descriptor)
			       ? -1
			       : 0;
	medium_stream(floor->medium, floor->medium->base + offset, data, 0, data, bytes);
	medium_fence(floor->medium);
	return 0;
}

int measure_floor(struct measure_floor *floor, const struct measure_case *of, struct measure_result *result)
{
	size_t bytes = of->bytes + ENTRY_HEADER_BYTES;
	size_t step = floor->medium ? (bytes + LINE_BYTES - 1) / LINE_BYTES * LINE_BYTES : bytes;
	uint64_t *latencies_ns = malloc(SAMPLES_MAX * sizeof(*latencies_ns));
	char *data = malloc(bytes);
	int err = data && latencies_ns ? 0 : -1;

	*result = (struct measure_result){.of = *of, .latencies_ns = latencies_ns};
	if (!err) {
		memset(data, 'f', bytes);
		memset(latencies_ns, 1, SAMPLES_MAX * sizeof(*latencies_ns));
	}
	uint64_t begin = progress_now_ns(), before = begin, offset = 0;
	while (!err && result->count < SAMPLES_MAX && before - begin < of->run_ns) {
		if (offset + step > floor->bytes)
			offset = 0;
		err = write_once(floor, data, bytes, offset);
		offset += step;
		uint64_t after = progress_now_ns();
		latencies_ns[result->count++] = after - before;
		before = after;
	}
	if (err) {
		report_system("the device's floor");
		free(latencies_ns);
		result->latencies_ns = NULL;
	}
	result->elapsed_ns = before - begin;
	result->appended = result->count;
	*(floor->medium ? &result->fences : &result->syncs) = result->count;
	measure_sort(result);
	free(data);
	return err;
}
