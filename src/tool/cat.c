/*
 * cat.c: pmemstream cat: prints entries in order of timestamp.
 *
 * Beside a writer it ends with what was durable when it began, so that it does end.
 */
#include "tool/opening.h"
#include "tool/output.h"
#include "tool/report.h"
#include "tool/selection.h"

#include <errno.h>
#include <stdlib.h>

static const char help[] =
	"usage: pmemstream cat FILE [--region LABEL]... [--since TS] [--until TS] [--count N] [--format FORMAT]\n"
	"\n"
	"Prints the entries of a stream, of all regions in the order of their timestamps.\n"
	"\n"
	"  -r, --region LABEL   only entries of this region; may be given several times\n"
	"      --since TS       from this timestamp on\n"
	"      --until TS       up to this timestamp, with it\n"
	"  -n, --count N        at most so many entries\n"
	"      --format FORMAT  text: each entry and a newline (the default; a terminal gets control characters "
	"escaped)\n"
	"                       json: an object a line, with \"data\", or \"base64\" for what is no UTF-8\n"
	"                       raw: the bytes and nothing else\n"
	"                       length-prefixed: 8 bytes with the size, little-endian, and the bytes\n"
	"  -l, --labels         text: put timestamp and region in front of each entry\n"
	"\n"
	"The file may be in use: what is durable when cat begins is printed. Damaged entries are reported and passed;\n"
	"the exit status is 3 then.\n";

struct request {
	struct selection selection;
	uint64_t since, until, count;
};

static const struct option options[] = {
	{"region", required_argument, NULL, 'r'},
	{"since", required_argument, NULL, 's'},
	{"until", required_argument, NULL, 'u'},
	{"count", required_argument, NULL, 'n'},
	{"format", required_argument, NULL, 'f'},
	{"labels", no_argument, NULL, 'l'},
	OPTIONS_COMMON,
};

/* TOOL_DONE, or what was reported; OPTIONS_LEAVE as a status of its own would hide that help was printed. */
static bool read_options(int argc, char **argv, struct request *request, int *status)
{
	int option;

	while ((option = options_next(&command_cat, argc, argv, "r:n:l", options, status)) != OPTIONS_END) {
		bool fine = option != OPTIONS_LEAVE;
		if (option == 'r') {
			*status = selection_add(&request->selection, &command_cat, optarg);
			if (*status)
				return false;
		} else if (option == 's') {
			fine = options_number(&command_cat, "--since", optarg, 0, &request->since);
		} else if (option == 'u') {
			fine = options_number(&command_cat, "--until", optarg, 0, &request->until);
		} else if (option == 'n') {
			fine = options_number(&command_cat, "--count", optarg, 0, &request->count);
		} else if (option == 'l') {
			request->selection.labels = true;
		} else if (option == 'f') {
			request->selection.format = options_word(&command_cat, "--format", optarg, show_formats);
			fine = request->selection.format >= 0;
		}
		if (!fine) {
			if (option != OPTIONS_LEAVE)
				*status = TOOL_USAGE;
			return false;
		}
	}
	*status = TOOL_USAGE;
	return options_operands(&command_cat, argc, 1, 1, "FILE");
}

static int print(struct pmemstream *stream, const char *path, const struct request *request)
{
	uint64_t committed = pmemstream_committed_timestamp(stream), left = request->count;
	uint64_t until = request->until < committed ? request->until : committed;
	struct cursor_entry entry;
	struct cursor cursor;
	int read = 1;

	if (cursor_begin(&cursor, stream, request->selection.regions, request->selection.count))
		return report_stream(path, path);
	cursor_seek(&cursor, request->since);
	for (; left && output_works() && read >= 0 && cursor_valid(&cursor); cursor_next(&cursor)) {
		if (cursor_timestamp(&cursor) > until)
			break;
		read = cursor_read(&cursor, &entry);
		if (read > 0) {
			show_entry(stream, &entry, (enum show_format)request->selection.format,
				   request->selection.labels);
			left--;
			if (entry.timestamp >= until)
				break; /* what comes next, be it damage, is not asked for */
		}
	}
	int status = cursor.damage ? TOOL_DAMAGE : read < 0 ? TOOL_FAILED : TOOL_DONE;
	cursor_end(&cursor);
	return status;
}

static int run(int argc, char **argv)
{
	static struct request request = {.until = UINT64_MAX, .count = UINT64_MAX};
	struct pmemstream *stream;
	int status;

	if (!read_options(argc, argv, &request, &status))
		return status;
	const char *path = argv[optind];
	status = opening_stream(path, OPENING_TO_READ, &stream);
	if (status)
		return status;
	status = selection_find(&request.selection, stream, path);
	if (!status)
		status = print(stream, path, &request);
	pmemstream_delete(&stream);
	return status;
}

const struct command command_cat = {"cat", "print entries", help, run};
