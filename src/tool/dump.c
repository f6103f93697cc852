/*
 * dump.c: pmemstream dump: what is at an offset, decoded.
 */
#include "tool/output.h"
#include "tool/report.h"
#include "tool/text.h"
#include "tool/tool.h"

#include <libpmemstream.h>
#include <stdio.h>
#include <string.h>

static const char help[] = "usage: pmemstream dump FILE --offset N [--json]\n"
			   "\n"
			   "Decodes the structure that a byte of the file belongs to, and what that lies in. For "
			   "debugging: it shows what is\n"
			   "there, also where it is damaged or just being written.\n"
			   "\n"
			   "  -o, --offset N  bytes from the start of the file, decimal or 0x...\n"
			   "      --json      a list of structures, each with its fields as strings\n";

static const struct option options[] = {
	{"offset", required_argument, NULL, 'o'},
	{"json", no_argument, NULL, 'j'},
	OPTIONS_COMMON,
};

struct dump {
	bool json, any;
	char structure[64];
	uint64_t offset;
};

static void print_field(struct dump *dump, const struct pmemstream_field *field, bool is_new)
{
	if (is_new)
		printf("%s%s at %zu, %zu bytes\n", dump->any ? "\n" : "", field->structure, (size_t)field->offset,
		       (size_t)field->bytes);
	printf("  %-16s ", field->name);
	text_write(stdout, field->value, strlen(field->value), TEXT_ONE_LINE);
	putchar('\n');
}

static void print_json(struct dump *dump, const struct pmemstream_field *field, bool is_new)
{
	if (is_new)
		printf("%s{\"structure\":\"%s\",\"offset\":%zu,\"bytes\":%zu,\"fields\":{", dump->any ? "}},\n " : "",
		       field->structure, (size_t)field->offset, (size_t)field->bytes);
	else
		putchar(',');
	text_json_string(stdout, field->name);
	putchar(':');
	text_json_string(stdout, field->value);
}

static int handle(const struct pmemstream_field *field, void *argument)
{
	struct dump *dump = argument;
	bool is_new = !dump->any || dump->offset != field->offset || strcmp(dump->structure, field->structure);

	(dump->json ? print_json : print_field)(dump, field, is_new);
	dump->any = true;
	dump->offset = field->offset;
	snprintf(dump->structure, sizeof(dump->structure), "%s", field->structure);
	return !output_works();
}

static int run(int argc, char **argv)
{
	struct dump dump = {0};
	bool has_offset = false;
	uint64_t offset = 0;
	int option, status;

	while ((option = options_next(&command_dump, argc, argv, "o:", options, &status)) != OPTIONS_END) {
		if (option == OPTIONS_LEAVE)
			return status;
		if (option == 'j')
			dump.json = true;
		else if (!options_number(&command_dump, "--offset", optarg, 0, &offset))
			return TOOL_USAGE;
		else
			has_offset = true;
	}
	if (!options_operands(&command_dump, argc, 1, 1, "FILE"))
		return TOOL_USAGE;
	if (!has_offset)
		return options_wrong(&command_dump, "--offset is missing: which byte of the file?");
	report_bus_errors(argv[optind]);
	if (dump.json)
		putchar('[');
	int result = pmemstream_describe(argv[optind], offset, handle, &dump);
	if (dump.json)
		printf("%s]\n", dump.any ? "}}" : "");
	return result && output_works() ? report_stream(argv[optind], "dump") : TOOL_DONE;
}

const struct command command_dump = {"dump", "decode what is at an offset", help, run};
