/*
 * region.c: pmemstream region: adds, removes and lists the regions of a stream.
 */
#include "tool/opening.h"
#include "tool/report.h"
#include "tool/text.h"
#include "tool/tool.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static const char help[] =
	"usage: pmemstream region add FILE LABEL --size SIZE\n"
	"       pmemstream region rm FILE LABEL\n"
	"       pmemstream region ls FILE [--json]\n"
	"\n"
	"Adds a region for entries of together SIZE bytes (an entry takes 32 bytes more than its data), removes one "
	"with\n"
	"all its entries, or lists them in the order in which they were made.\n"
	"\n"
	"  -s, --size SIZE  4096, 64K, 1M, 1GiB (powers of 1024), 64KB (of 1000)\n"
	"      --json       ls: a list of objects\n"
	"\n"
	"LABEL has 1 to 63 bytes and is unique in the stream. A region without a label is called @OFFSET.\n";

static const struct option options[] = {
	{"size", required_argument, NULL, 's'},
	{"json", no_argument, NULL, 'j'},
	OPTIONS_COMMON,
};

enum { LABEL_MAX = 63 };

static int add(const char *path, const char *label, uint64_t bytes)
{
	struct pmemstream_region region;
	struct pmemstream *stream;
	int status = opening_stream(path, OPENING_TO_WRITE, &stream);

	if (status)
		return status;
	status = opening_new_region(stream, path, label, bytes, &region);
	if (!status) {
		fputs("region \"", stdout);
		text_write(stdout, label, strlen(label), TEXT_ONE_LINE);
		printf("\" added: %s for entries\n", text_size(pmemstream_region_size(stream, region)));
	}
	pmemstream_delete(&stream);
	return status;
}

static int remove_region(const char *path, const char *label)
{
	struct pmemstream_region region;
	struct pmemstream *stream;
	int status = opening_stream(path, OPENING_TO_WRITE, &stream);

	if (status)
		return status;
	status = opening_region(stream, path, label, &region);
	if (!status && pmemstream_region_free(stream, region))
		status = report_stream(path, path);
	if (!status) {
		fputs("region \"", stdout);
		text_write(stdout, label, strlen(label), TEXT_ONE_LINE);
		puts("\" removed");
	}
	pmemstream_delete(&stream);
	return status;
}

static void print_line(struct pmemstream *stream, struct pmemstream_region region,
		       const struct pmemstream_region_info *info, size_t columns)
{
	char name[OPENING_NAME_BYTES];

	if (!opening_name(stream, region, name))
		return;
	text_pad(stdout, name, columns);
	printf("  %10s  %10s  %3.0f%%  %s\n", text_size(info->size), text_size(info->used),
	       info->size ? 100.0 * (double)info->used / (double)info->size : 0.0, text_time(info->allocated_ns));
}

/* Columns that the longest name takes. */
static size_t name_columns(struct pmemstream *stream, struct pmemstream_region_iterator *at)
{
	size_t columns = strlen("REGION");
	char name[OPENING_NAME_BYTES];

	for (pmemstream_region_iterator_seek_first(at); !pmemstream_region_iterator_is_valid(at);
	     pmemstream_region_iterator_next(at)) {
		size_t taken = opening_name(stream, pmemstream_region_iterator_get(at), name)
				       ? text_columns(name, strlen(name))
				       : 0;
		columns = taken > columns ? taken : columns;
	}
	return columns;
}

static int list(const char *path, bool json)
{
	struct pmemstream_region_iterator *at;
	struct pmemstream *stream;
	int status = opening_stream(path, OPENING_TO_READ, &stream);

	if (status)
		return status;
	if (pmemstream_region_iterator_new(&at, stream)) {
		status = report_stream(path, path);
		pmemstream_delete(&stream);
		return status;
	}
	size_t columns = name_columns(stream, at);
	bool first = true;
	if (json)
		fputs("[", stdout);
	for (pmemstream_region_iterator_seek_first(at); !pmemstream_region_iterator_is_valid(at);
	     pmemstream_region_iterator_next(at)) {
		struct pmemstream_region region = pmemstream_region_iterator_get(at);
		struct pmemstream_region_info info;
		if (pmemstream_region_get_info(stream, region, &info)) {
			if (errno == EBADMSG)
				status = report_stream(path, path);
			continue; /* else it was freed just now */
		}
		if (json)
			fputs(first ? "\n  " : ",\n  ", stdout);
		if (json)
			opening_region_json(region, &info);
		else if (first)
			printf("%-*s  %10s  %10s  %4s  %s\n", (int)columns, "REGION", "SIZE", "USED", "FULL", "MADE");
		if (!json)
			print_line(stream, region, &info, columns);
		first = false;
	}
	if (json)
		fputs(first ? "]\n" : "\n]\n", stdout);
	else if (first)
		puts("no regions");
	pmemstream_region_iterator_delete(&at);
	pmemstream_delete(&stream);
	return status;
}

static int run(int argc, char **argv)
{
	static const char *const verbs[] = {"add", "rm", "ls", NULL};
	enum { ADD, REMOVE, LIST };
	bool json = false;
	uint64_t bytes = 0;
	int option, status;

	while ((option = options_next(&command_region, argc, argv, "s:", options, &status)) != OPTIONS_END) {
		if (option == OPTIONS_LEAVE)
			return status;
		if (option == 'j')
			json = true;
		else if (!options_size(&command_region, "--size", optarg, &bytes))
			return TOOL_USAGE;
	}
	if (!options_operands(&command_region, argc, 1, -1, "add, rm or ls"))
		return TOOL_USAGE;
	int verb = options_word(&command_region, "the operand", argv[optind++], verbs);
	int operands = verb == LIST ? 1 : 2;
	if (verb < 0 ||
	    !options_operands(&command_region, argc, operands, operands, verb == LIST ? "FILE" : "FILE LABEL"))
		return TOOL_USAGE;
	if (json && verb != LIST)
		return options_wrong(&command_region, "--json goes with ls");
	if ((verb == ADD) != (bytes != 0))
		return options_wrong(&command_region, verb == ADD ? "add needs --size" : "--size goes with add");
	const char *label = verb == LIST ? "" : argv[optind + 1];
	if (verb == ADD && (!*label || strlen(label) > LABEL_MAX))
		return options_wrong(&command_region, "a label has 1 to %d bytes", LABEL_MAX);
	status = verb == ADD      ? add(argv[optind], label, bytes)
		 : verb == REMOVE ? remove_region(argv[optind], label)
				  : list(argv[optind], json);
	return status;
}

const struct command command_region = {"region", "add, remove and list regions", help, run};
