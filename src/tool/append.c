/*
 * append.c: pmemstream append: makes an entry of each record of its inputs.
 *
 * Durability   each: a record is durable before the next one is taken. batch: all records that one read has brought are
 * appended, then made durable together, before the tool waits for input again. close: at the end.
 * Acknowledged is what is durable; it is told only then, so that whoever reads it can rely on it.
 */
#include "tool/opening.h"
#include "tool/output.h"
#include "tool/progress.h"
#include "tool/records.h"
#include "tool/report.h"
#include "tool/text.h"
#include "tool/tool.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static const char help[] =
	"usage: pmemstream append FILE --region LABEL [OPTION]... [INPUT]...\n"
	"\n"
	"Appends each record of the inputs, or of standard input, as an entry, and tells what is durable.\n"
	"\n"
	"  -r, --region LABEL     the region to append to\n"
	"      --create SIZE      make that region, of this size, if there is none of that label\n"
	"  -d, --delimiter C      a record ends with this byte: a character, or \\n, \\t, \\0, \\r, \\xNN (\\n); a "
	"last one\n"
	"                         without it counts, too\n"
	"      --length-prefixed  a record is 8 bytes with its size, little-endian, and its data\n"
	"      --whole            each input is one record\n"
	"      --durability WHEN  each: durable before the next record is taken\n"
	"                         batch: what is waiting is made durable together (the default)\n"
	"                         close: at the end\n"
	"  -a, --acknowledge      print \"COUNT TIMESTAMP\" each time when more is durable: so many records of this "
	"call,\n"
	"                         the timestamp of the last one\n"
	"      --progress         show a bar, where standard error is a terminal\n"
	"      --json             print the summary, and acknowledgements, as JSON\n"
	"\n"
	"When the region is full it stops, says how many records were written, and the exit status is 1.\n";

enum durability { EACH, BATCH, CLOSE };

struct job {
	struct pmemstream *stream;
	struct pmemstream_region region;
	const char *path, *label;
	uint64_t create_bytes;
	int durability;
	struct records records;
	bool acknowledges, progresses, json;
	uint64_t count, bytes, first, last; /* appended; timestamps */
	uint64_t durable_count, durable_last;
	uint64_t input_done, input_total;
	struct progress bar;
};

static const struct option options[] = {
	{"region", required_argument, NULL, 'r'},
	{"create", required_argument, NULL, 'c'},
	{"delimiter", required_argument, NULL, 'd'},
	{"length-prefixed", no_argument, NULL, 'l'},
	{"whole", no_argument, NULL, 'w'},
	{"durability", required_argument, NULL, 'D'},
	{"acknowledge", no_argument, NULL, 'a'},
	{"progress", no_argument, NULL, 'p'},
	{"json", no_argument, NULL, 'j'},
	OPTIONS_COMMON,
};

static void acknowledge(struct job *job)
{
	job->durable_count = job->count;
	job->durable_last = job->last;
	if (!job->acknowledges)
		return;
	printf(job->json ? "{\"acknowledged\":%zu,\"timestamp\":%zu}\n" : "%zu %zu\n", (size_t)job->durable_count,
	       (size_t)job->durable_last);
	fflush(stdout);
	output_works(); /* notes the error; what is appended meanwhile is not lost by it */
}

/* Makes durable what was appended. 0, or -1 with errno. */
static int settle(struct job *job)
{
	if (job->count == job->durable_count)
		return 0;
	if (pmemstream_wait_persisted(job->stream, job->last, UINT64_MAX))
		return -1;
	acknowledge(job);
	return 0;
}

/* 0, or -1 with errno. */
static int append_record(struct job *job, const char *data, size_t bytes)
{
	struct pmemstream_entry entry;
	void *to;

	if (job->durability == EACH) {
		if (pmemstream_append(job->stream, job->region, NULL, data, bytes, &entry))
			return -1;
	} else {
		if (pmemstream_reserve(job->stream, job->region, NULL, bytes, &entry, &to))
			return -1;
		memcpy(to, data, bytes);
		if (pmemstream_async_publish(job->stream, job->region, NULL, entry, bytes))
			return -1;
	}
	job->last = pmemstream_entry_timestamp(job->stream, entry);
	if (!job->count++)
		job->first = job->last;
	job->bytes += bytes;
	if (job->durability == EACH)
		acknowledge(job);
	return 0;
}

static int report_append(struct job *job, size_t bytes)
{
	int err = errno;

	progress_wipe(&job->bar);
	if (err == ENOSPC)
		report("region \"%s\" is full: record %zu of %s takes %zu bytes, %zu are free; %zu records were "
		       "written",
		       job->label, (size_t)job->records.number, job->records.name,
		       pmemstream_entry_space(job->stream, bytes),
		       pmemstream_region_usable_size(job->stream, job->region), (size_t)job->count);
	else
		return report_stream(job->path, job->path);
	return TOOL_FAILED;
}

static void draw_progress(struct job *job)
{
	char detail[64];
	uint64_t elapsed_ns = progress_now_ns() - job->bar.begin_ns;

	if (!job->progresses)
		return;
	snprintf(detail, sizeof(detail), "%s records, %s/s", text_count(job->count),
		 text_size((uint64_t)((double)job->bytes * 1e9 / (double)(elapsed_ns ? elapsed_ns : 1))));
	progress_draw(&job->bar, job->input_done, job->input_total, detail);
}

/* Appends all records that were read and are complete. TOOL_DONE, or what was reported. */
static int append_waiting(struct job *job)
{
	const char *data;
	size_t bytes;
	int taken;

	for (;;) {
		/* Asked before each record: the region fills. */
		uint64_t limit = pmemstream_region_usable_size(job->stream, job->region);
		taken = records_take(&job->records, limit, &data, &bytes);
		if (taken <= 0)
			return taken ? TOOL_FAILED : TOOL_DONE;
		if (append_record(job, data, bytes))
			return report_append(job, bytes);
	}
}

static int append_input(struct job *job, const char *name)
{
	int status = records_open(&job->records, name);
	int filled = 1;

	while (!status) {
		status = append_waiting(job);
		draw_progress(job);
		if (status || !filled)
			break;
		if (job->durability != CLOSE && settle(job)) {
			status = report_stream(job->path, job->path);
			break;
		}
		uint64_t limit = pmemstream_region_usable_size(job->stream, job->region);
		size_t before = job->records.end - job->records.begin;
		filled = records_fill(&job->records, limit);
		job->input_done += job->records.end - job->records.begin - before;
		if (filled < 0)
			status = TOOL_FAILED;
	}
	records_close(&job->records);
	return status;
}

static void summarize(const struct job *job, int status)
{
	struct pmemstream_statistics statistics;

	if (pmemstream_get_statistics(job->stream, &statistics))
		return;
	if (job->json) {
		fputs("{\"region\":", stdout);
		text_json_string(stdout, job->label);
		printf(",\"records\":%zu,\"durable\":%zu,\"bytes\":%zu,\"first_timestamp\":%zu,\"last_timestamp\":%zu,"
		       "\"fences\":%zu,\"syncs\":%zu,\"complete\":%s}\n",
		       (size_t)job->count, (size_t)job->durable_count, (size_t)job->bytes, (size_t)job->first,
		       (size_t)job->last, (size_t)statistics.fences, (size_t)statistics.syncs,
		       status ? "false" : "true");
		return;
	}
	if (job->acknowledges)
		return;
	printf("%s record%s (%s) appended to region \"", text_count(job->count), job->count == 1 ? "" : "s",
	       text_size(job->bytes));
	text_write(stdout, job->label, strlen(job->label), TEXT_ONE_LINE);
	putchar('"');
	if (job->durable_count && job->durable_count == job->count)
		printf(", all durable: timestamps %zu to %zu", (size_t)job->first, (size_t)job->last);
	else if (job->count)
		printf(", of which %s are durable", text_count(job->durable_count));
	putchar('\n');
}

static int find_region(struct job *job)
{
	if (job->create_bytes && pmemstream_region_find(job->stream, job->label, &job->region) && errno == ENOENT)
		return opening_new_region(job->stream, job->path, job->label, job->create_bytes, &job->region);
	return opening_region(job->stream, job->path, job->label, &job->region);
}

/* Bytes of all inputs, if they are files; 0 if one is not. */
static uint64_t total_of(char **inputs, int count)
{
	struct stat status;
	uint64_t total = 0;

	for (int i = 0; i < count; i++) {
		bool standard = !strcmp(inputs[i], "-");
		if ((standard ? fstat(0, &status) : stat(inputs[i], &status)) || !S_ISREG(status.st_mode))
			return 0;
		total += (uint64_t)status.st_size;
	}
	return total;
}

static int append_all(struct job *job, char **inputs, int count)
{
	int status = opening_stream(job->path, OPENING_TO_WRITE, &job->stream);

	if (status)
		return status;
	status = find_region(job);
	if (!status) {
		job->input_total = total_of(inputs, count);
		progress_begin(&job->bar, "append");
		for (int i = 0; i < count && !status; i++)
			status = append_input(job, inputs[i]);
		if (settle(job))
			status = report_stream(job->path, job->path);
		progress_wipe(&job->bar);
		summarize(job, status);
	}
	pmemstream_delete(&job->stream);
	return status;
}

/* TOOL_DONE, or TOOL_USAGE, reported. */
static int take_option(struct job *job, int option, int *framings)
{
	static const char *const durabilities[] = {"each", "batch", "close", NULL};

	switch (option) {
	case 'r':
		job->label = optarg;
		return TOOL_DONE;
	case 'c':
		return options_size(&command_append, "--create", optarg, &job->create_bytes) ? TOOL_DONE : TOOL_USAGE;
	case 'D':
		job->durability = options_word(&command_append, "--durability", optarg, durabilities);
		return job->durability < 0 ? TOOL_USAGE : TOOL_DONE;
	case 'a':
		job->acknowledges = true;
		return TOOL_DONE;
	case 'p':
		job->progresses = true;
		return TOOL_DONE;
	case 'j':
		job->json = true;
		return TOOL_DONE;
	default:
		return records_option(&command_append, &job->records, option, framings);
	}
}

static int run(int argc, char **argv)
{
	char standard[] = "-", *standard_input[] = {standard};
	struct job job = {.durability = BATCH, .records = {.delimiter = '\n'}};
	int option, status, framings = 0;

	while ((option = options_next(&command_append, argc, argv, "r:d:a", options, &status)) != OPTIONS_END) {
		if (option == OPTIONS_LEAVE)
			return status;
		if (take_option(&job, option, &framings))
			return TOOL_USAGE;
	}
	if (!options_operands(&command_append, argc, 1, -1, "FILE"))
		return TOOL_USAGE;
	if (!job.label)
		return options_wrong(&command_append, "--region is missing: append to which one?");
	job.path = argv[optind++];
	bool named = optind < argc;
	status = append_all(&job, named ? argv + optind : standard_input, named ? argc - optind : 1);
	fflush(stdout);
	const char *why = output_failure();
	if (why) {
		report("standard output: %s: not all that was to be printed found a reader; %zu records are appended "
		       "and durable",
		       why, (size_t)job.durable_count);
		status = status ? status : TOOL_FAILED;
	}
	return status;
}

const struct command command_append = {"append", "append records from files or standard input", help, run};
