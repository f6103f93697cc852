/*
 * create.c: pmemstream create: a new file with an empty stream.
 */
#include "tool/opening.h"
#include "tool/report.h"
#include "tool/text.h"
#include "tool/tool.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static const char help[] =
	"usage: pmemstream create FILE --size SIZE [--block-size SIZE] [--align auto|8|64]\n"
	"\n"
	"Makes a new file with an empty stream. Every block of it is written, so that no append meets a full disk.\n"
	"\n"
	"  -s, --size SIZE        size of the file: 4096, 64K, 1M, 1GiB (powers of 1024), 64KB (of 1000)\n"
	"      --block-size SIZE  regions begin at multiples of it: a power of two, a multiple of 64 (4096)\n"
	"      --align A          entries begin at multiples of 8 or 64 bytes; auto: 64 on persistent memory, else 8\n"
	"\n"
	"A file that exists is never touched.\n";

static const struct option options[] = {
	{"size", required_argument, NULL, 's'},
	{"block-size", required_argument, NULL, 'b'},
	{"align", required_argument, NULL, 'a'},
	OPTIONS_COMMON,
};

static int create(const char *path, const struct pmemstream_config *config)
{
	struct pmemstream_statistics statistics;
	struct pmemstream *stream;

	report_bus_errors(path);
	if (pmemstream_create(&stream, path, config)) {
		if (errno != EEXIST)
			return report_stream(path, "create");
		report("%s exists and was not touched (remove it first, or choose another name)", path);
		return TOOL_FAILED;
	}
	int status = pmemstream_get_statistics(stream, &statistics) ? report_stream(path, path) : TOOL_DONE;
	pmemstream_delete(&stream);
	if (status)
		return status;
	text_write(stdout, path, strlen(path), TEXT_ONE_LINE);
	printf(": an empty stream of %s, room for regions of together %s\n", text_size(statistics.size),
	       text_size(statistics.free_bytes));
	return TOOL_DONE;
}

static int run(int argc, char **argv)
{
	static const char *const alignments[] = {"auto", "8", "64", NULL};
	static const uint32_t alignment_bytes[] = {0, 8, 64};
	struct pmemstream_config config = {0};
	int option, status, word;

	while ((option = options_next(&command_create, argc, argv, "s:", options, &status)) != OPTIONS_END) {
		switch (option) {
		case OPTIONS_LEAVE:
			return status;
		case 's':
			if (!options_size(&command_create, "--size", optarg, &config.size))
				return TOOL_USAGE;
			break;
		case 'b':
			if (!options_size(&command_create, "--block-size", optarg, &config.block_size))
				return TOOL_USAGE;
			break;
		default:
			word = options_word(&command_create, "--align", optarg, alignments);
			if (word < 0)
				return TOOL_USAGE;
			config.alignment = alignment_bytes[word];
		}
	}
	if (!options_operands(&command_create, argc, 1, 1, "FILE"))
		return TOOL_USAGE;
	if (!config.size)
		return options_wrong(&command_create, "--size is missing: how large is the file to be?");
	if (config.block_size && (config.block_size & (config.block_size - 1) || config.block_size % 64))
		return options_wrong(&command_create, "--block-size %zu is no power of two and multiple of 64",
				     (size_t)config.block_size);
	return create(argv[optind], &config);
}

const struct command command_create = {"create", "make a file with an empty stream", help, run};
