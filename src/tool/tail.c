/*
 * tail.c: pmemstream tail: prints the last entries, and then those that come.
 *
 * Following sleeps in poll(2) on the stream's descriptor for events, and on standard output, so that it also ends when
 * the reader leaves while nothing comes. The order that loses nothing: clear the event, print to the end, flush, sleep.
 */
#include "tool/opening.h"
#include "tool/output.h"
#include "tool/report.h"
#include "tool/selection.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <unistd.h>

static const char help[] =
	"usage: pmemstream tail [-n N] [-f] FILE [--region LABEL]... [--format FORMAT]\n"
	"\n"
	"Prints the last entries of a stream, in the order of their timestamps.\n"
	"\n"
	"  -n, --count N        so many entries (10)\n"
	"  -f, --follow         then print what another process appends, as it becomes durable, until interrupted\n"
	"  -r, --region LABEL   only entries of this region; may be given several times\n"
	"      --format FORMAT  text, json, raw or length-prefixed, as for cat\n"
	"  -l, --labels         text: put timestamp and region in front of each entry\n"
	"\n"
	"A writer does not notice its followers. When it ends, they wait for the next one.\n";

/* A region that is removed is no event; so it is looked for now and then. */
enum { COUNT_DEFAULT = 10, LOOK_MS = 1000 };

static const struct option options[] = {
	{"count", required_argument, NULL, 'n'},
	{"follow", no_argument, NULL, 'f'},
	{"region", required_argument, NULL, 'r'},
	{"format", required_argument, NULL, 'F'},
	{"labels", no_argument, NULL, 'l'},

	OPTIONS_COMMON,
};

/* How many entries there are from a timestamp on, none of them above until; ends when there are more than enough. */
static uint64_t count_from(struct cursor *cursor, uint64_t from, uint64_t until)
{
	uint64_t count = 0;

	cursor_seek(cursor, from);
	for (; cursor_valid(cursor) && cursor_timestamp(cursor) <= until; cursor_next(cursor))
		count++;
	return count;
}

/*
 * Moves the cursor to the last entries, so many, up to a timestamp. Timestamps are dense, but those of removed and of
 * other regions are missing here: the stretch at the end grows until there are enough in it.
 */
static void seek_last(struct cursor *cursor, uint64_t count, uint64_t last)
{
	uint64_t stretch = count, from, found;

	if (!count) {
		cursor_seek(cursor, last + 1);
		return;
	}
	cursor->quiet = true;
	for (;;) {
		from = stretch < last ? last - stretch + 1 : 1;
		found = count_from(cursor, from, last);
		if (found >= count || from == 1)
			break;
		stretch = stretch > UINT64_MAX / 4 ? UINT64_MAX : stretch * 4;
	}
	cursor_seek(cursor, from);
	for (; found > count && cursor_valid(cursor); found--)
		cursor_next(cursor);
	cursor->quiet = false;
}

/* Prints what there is from the cursor on, up to a timestamp. TOOL_DONE, or what was reported. */
static int print(struct pmemstream *stream, struct cursor *cursor, const struct selection *selection, uint64_t until)
{
	struct cursor_entry entry;

	for (; output_works() && cursor_valid(cursor); cursor_next(cursor)) {
		if (cursor_timestamp(cursor) > until)
			return TOOL_DONE;
		int read = cursor_read(cursor, &entry);
		if (read < 0)
			return TOOL_FAILED;
		if (read)
			show_entry(stream, &entry, (enum show_format)selection->format, selection->labels);
	}
	if (output_works() && errno == ESTALE) {
		report("the region that is read was removed");
		return TOOL_FAILED;
	}
	return TOOL_DONE;
}

static int follow(struct pmemstream *stream, const char *path, struct cursor *cursor, const struct selection *selection)
{
	int event = pmemstream_eventfd(stream);
	uint64_t events;

	if (event < 0)
		return report_stream(path, path);
	for (;;) {
		int status = print(stream, cursor, selection, UINT64_MAX);
		fflush(stdout);
		if (status || !output_works())
			return status;
		/* No events are asked for at standard output: that leaves the end of its reader. */
		struct pollfd wait[] = {{.fd = event, .events = POLLIN}, {.fd = STDOUT_FILENO}};
		if (poll(wait, 2, LOOK_MS) < 0 && errno != EINTR)
			return report_system("poll");
		if (wait[1].revents & (POLLERR | POLLHUP | POLLNVAL))
			return TOOL_DONE;
		if (wait[0].revents && read(event, &events, sizeof(events)) < 0 && errno != EAGAIN)
			return report_system("read of an event");
	}
}

static int tail(struct pmemstream *stream, const char *path, struct selection *selection, uint64_t count, bool follows)
{
	struct cursor cursor;
	int status = selection_find(selection, stream, path);

	if (status)
		return status;
	if (cursor_begin(&cursor, stream, selection->regions, selection->count))
		return report_stream(path, path);
	uint64_t last = pmemstream_committed_timestamp(stream);
	seek_last(&cursor, count, last);
	status = follows ? follow(stream, path, &cursor, selection) : print(stream, &cursor, selection, last);
	if (!status && cursor.damage)
		status = TOOL_DAMAGE;
	cursor_end(&cursor);
	return status;
}

static int run(int argc, char **argv)
{
	static struct selection selection;
	struct pmemstream *stream;
	uint64_t count = COUNT_DEFAULT;
	bool follows = false;
	int option, status;

	while ((option = options_next(&command_tail, argc, argv, "n:fr:l", options, &status)) != OPTIONS_END) {
		switch (option) {
		case OPTIONS_LEAVE:
			return status;
		case 'n':
			if (!options_number(&command_tail, "--count", optarg, 0, &count))
				return TOOL_USAGE;
			break;
		case 'f':
			follows = true;
			break;
		case 'l':
			selection.labels = true;
			break;
		case 'r':
			status = selection_add(&selection, &command_tail, optarg);
			if (status)
				return status;
			break;
		default:
			selection.format = options_word(&command_tail, "--format", optarg, show_formats);
			if (selection.format < 0)
				return TOOL_USAGE;
		}
	}
	if (!options_operands(&command_tail, argc, 1, 1, "FILE"))
		return TOOL_USAGE;
	const char *path = argv[optind];
	status = opening_stream(path, OPENING_TO_READ, &stream);
	if (status)
		return status;
	status = tail(stream, path, &selection, count, follows);
	pmemstream_delete(&stream);
	return status;
}

const struct command command_tail = {"tail", "print the last entries, and follow", help, run};
