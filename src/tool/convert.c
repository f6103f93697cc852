/*
 * convert.c: pmemstream convert: copies what a pool of libpmemlog holds into a region of a stream, record by record.
 *
 * The pool is walked in place and stays as it is. The region, or the file, is made for exactly this content, and is
 * removed again when something fails; a process that is killed on the way leaves a region that the next call refuses
 * to mix with.
 */
#include "tool/opening.h"
#include "tool/pool.h"
#include "tool/records.h"
#include "tool/report.h"
#include "tool/text.h"
#include "tool/tool.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const char help[] =
	"usage: pmemstream convert POOL FILE [--region LABEL] [--delimiter C | --length-prefixed | --whole]\n"
	"\n"
	"Copies the records in a pool of libpmemlog to a region of a stream. The file is made, as large as it has to "
	"be, if\n"
	"there is none; the region must not be there yet. The pool is not changed.\n"
	"\n"
	"  -r, --region LABEL     label of the new region (log)\n"
	"  -d, --delimiter C      a record ends with this byte: a character, or \\n, \\t, \\0, \\r, \\xNN (\\n)\n"
	"      --length-prefixed  a record is 8 bytes with its size, little-endian, and its data\n"
	"      --whole            the whole pool is one record\n";

static const struct option options[] = {
	{"region", required_argument, NULL, 'r'},
	{"delimiter", required_argument, NULL, 'd'},
	{"length-prefixed", no_argument, NULL, 'l'},
	{"whole", no_argument, NULL, 'w'},
	OPTIONS_COMMON,
};

struct job {
	const char *pool_path, *path, *label;
	struct records records;
	struct pmemstream *stream;
	struct pmemstream_region region;
	uint64_t count, bytes;
	int status;
};

/* What a new file needs besides its entries, with blocks of 4096 bytes: headers, and the region's own. */
enum { ENTRY_HEADER_BYTES = 32, ALIGNMENT_MAX = 64, FILE_OVERHEAD_BYTES = 64 << 10 };

/* Goes through all records. space: what they take, in a stream or, without one, at the most. */
static int measure(struct job *job, const void *data, size_t bytes, uint64_t *space)
{
	const char *record;
	size_t record_bytes;
	int taken;

	records_of_memory(&job->records, job->pool_path, data, bytes);
	job->count = job->bytes = *space = 0;
	while ((taken = records_take(&job->records, INT64_MAX, &record, &record_bytes)) > 0) {
		job->count++;
		job->bytes += record_bytes;
		*space += job->stream ? pmemstream_entry_space(job->stream, record_bytes)
				      : ((uint64_t)record_bytes + ENTRY_HEADER_BYTES + ALIGNMENT_MAX) / ALIGNMENT_MAX *
						ALIGNMENT_MAX;
	}
	return taken;
}

static int append_all(struct job *job, const void *data, size_t bytes)
{
	struct pmemstream_entry entry;
	uint64_t last = 0;
	const char *record;
	size_t record_bytes;
	void *to;

	records_of_memory(&job->records, job->pool_path, data, bytes);
	while (records_take(&job->records, INT64_MAX, &record, &record_bytes) > 0) {
		if (pmemstream_reserve(job->stream, job->region, NULL, record_bytes, &entry, &to))
			return -1;
		memcpy(to, record, record_bytes);
		if (pmemstream_async_publish(job->stream, job->region, NULL, entry, record_bytes))
			return -1;
		last = pmemstream_entry_timestamp(job->stream, entry);
	}
	return last ? pmemstream_wait_persisted(job->stream, last, UINT64_MAX) : 0;
}

/* The stream, opened or made; *made tells. TOOL_DONE, or what was reported. */
static int get_stream(struct job *job, uint64_t space, bool *made)
{
	struct pmemstream_config config = {.size = space + FILE_OVERHEAD_BYTES};

	*made = access(job->path, F_OK) && errno == ENOENT;
	if (!*made)
		return opening_stream(job->path, OPENING_TO_WRITE, &job->stream);
	report_bus_errors(job->path);
	if (!pmemstream_create(&job->stream, job->path, &config))
		return TOOL_DONE;
	*made = false;
	return report_stream(job->path, "create");
}

static int fill_stream(struct job *job, const void *data, size_t bytes)
{
	uint64_t space;

	if (measure(job, data, bytes, &space) < 0)
		return TOOL_FAILED;
	if (pmemstream_region_allocate_labeled(job->stream, space ? space : 1, job->label, &job->region)) {
		if (errno == ENOSPC) {
			report("%s: no room for the region of %s that the pool's %s records need", job->path,
			       text_size(space), text_count(job->count));
			return TOOL_FAILED;
		}
		return report_stream(job->path, job->path);
	}
	if (!append_all(job, data, bytes))
		return TOOL_DONE;
	int status = report_stream(job->path, job->path);
	pmemstream_region_free(job->stream, job->region);
	return status;
}

static int convert(const void *data, size_t bytes, void *argument)
{
	struct job *job = argument;
	uint64_t space;
	bool made = false;

	job->status = measure(job, data, bytes, &space) < 0 ? TOOL_FAILED : get_stream(job, space, &made);
	if (job->status)
		return 0;
	job->status = fill_stream(job, data, bytes);
	pmemstream_delete(&job->stream);
	if (job->status && made)
		unlink(job->path);
	return 0;
}

static int run(int argc, char **argv)
{
	struct job job = {.label = "log", .records = {.delimiter = '\n'}};
	int option, status, framings = 0;
	PMEMlogpool *pool;

	while ((option = options_next(&command_convert, argc, argv, "r:d:", options, &status)) != OPTIONS_END) {
		if (option == OPTIONS_LEAVE)
			return status;
		if (option == 'r')
			job.label = optarg;
		else if (records_option(&command_convert, &job.records, option, &framings))
			return TOOL_USAGE;
	}
	if (!options_operands(&command_convert, argc, 2, 2, "POOL FILE"))
		return TOOL_USAGE;
	if (!*job.label || strlen(job.label) > 63)
		return options_wrong(&command_convert, "a label has 1 to 63 bytes");
	job.pool_path = argv[optind];
	job.path = argv[optind + 1];
	status = pool_open(job.pool_path, &pool);
	if (status)
		return status;
	pmemlog_walk(pool, 0, convert, &job);
	pmemlog_close(pool);
	if (job.status)
		return job.status;
	printf("%s record%s (%s) copied to region \"", text_count(job.count), job.count == 1 ? "" : "s",
	       text_size(job.bytes));
	text_write(stdout, job.label, strlen(job.label), TEXT_ONE_LINE);
	fputs("\" of ", stdout);
	text_write(stdout, job.path, strlen(job.path), TEXT_ONE_LINE);
	putchar('\n');
	return TOOL_DONE;
}

const struct command command_convert = {"convert", "copy a pool of libpmemlog into a stream", help, run};
