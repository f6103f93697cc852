/*
 * records.c: cuts an input into records: by a delimiter, by length prefixes, or as a whole.
 *
 * A record may be split over any number of reads; it is in memory as a whole before it is taken. What cannot fit the
 * region is not read to its end first: limit bounds the memory, whatever the input says or does not say.
 */
#include "tool/records.h"

#include "tool/report.h"
#include "tool/text.h"
#include "tool/tool.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { ROOM_FIRST = 1 << 20 };

/* One byte: itself, or an escape. */
static bool read_delimiter(const char *text, unsigned char *delimiter)
{
	static const char names[] = "n\nt\tr\r0\0\\\\";
	unsigned value;
	char end;

	if (text[0] && !text[1]) {
		*delimiter = (unsigned char)text[0];
		return true;
	}
	if (text[0] == '\\' && text[1] && !text[2])
		for (size_t i = 0; i + 1 < sizeof(names); i += 2)
			if (names[i] == text[1]) {
				*delimiter = (unsigned char)names[i + 1];
				return true;
			}
	if (sscanf(text, "\\x%2x%c", &value, &end) == 1 && strlen(text) <= 4) {
		*delimiter = (unsigned char)value;
		return true;
	}
	return false;
}

int records_option(const struct command *command, struct records *records, int option, int *count)
{
	if (++*count > 1)
		return options_wrong(command, "--delimiter, --length-prefixed and --whole exclude one another");
	if (option != 'd')
		records->framing = option == 'l' ? RECORDS_LENGTH_PREFIXED : RECORDS_WHOLE;
	else if (!read_delimiter(optarg, &records->delimiter))
		return options_wrong(command, "--delimiter %s is not one byte, nor \\n, \\t, \\r, \\0, \\\\, \\xNN",
				     optarg);
	return TOOL_DONE;
}

void records_of_memory(struct records *records, const char *name, const void *data, size_t bytes)
{
	records->descriptor = -1;
	records->name = name;
	records->number = 0;
	records->buffer = (char *)data; /* only read */
	records->begin = records->searched = 0;
	records->end = bytes;
	records->at_end = true;
}

int records_open(struct records *records, const char *name)
{
	bool standard = !strcmp(name, "-");
	struct stat status;

	records->descriptor = standard ? STDIN_FILENO : open(name, O_RDONLY | O_CLOEXEC);
	records->name = standard ? "standard input" : name;
	records->owns = !standard;
	records->number = 0;
	records->begin = records->searched = records->end = 0;
	records->at_end = false;
	if (records->descriptor < 0)
		return report_system(name);
	if (!fstat(records->descriptor, &status) && S_ISDIR(status.st_mode)) {
		report("%s is a directory (name the files in it)", records->name);
		records_close(records);
		return TOOL_FAILED;
	}
	return TOOL_DONE;
}

void records_close(struct records *records)
{
	if (records->owns && records->descriptor >= 0)
		close(records->descriptor);
	free(records->buffer);
	records->buffer = NULL;
	records->room = 0;
	records->descriptor = -1;
}

static int too_long(const struct records *records, uint64_t bytes, uint64_t limit)
{
	const char *hint = records->framing == RECORDS_DELIMITED
				   ? " without a delimiter (choose another --delimiter, or a larger region)"
				   : " (choose a larger region)";

	report("%s: record %zu has %s%zu bytes%s, but only %zu are free in the region for data and header",
	       records->name, (size_t)records->number + 1,
	       records->framing == RECORDS_LENGTH_PREFIXED ? "" : "at least ", (size_t)bytes, hint, (size_t)limit);
	return -1;
}

static int cut_off(const struct records *records)
{
	report("%s: record %zu is cut off: the input ends in the middle of it", records->name,
	       (size_t)records->number + 1);
	return -1;
}

static int take_prefixed(struct records *records, uint64_t limit, const char **data, size_t *bytes)
{
	const unsigned char *at = (const unsigned char *)records->buffer + records->begin;
	size_t here = records->end - records->begin;
	uint64_t length = 0;

	if (!here)
		return 0;
	if (here < RECORDS_PREFIX_BYTES)
		return records->at_end ? cut_off(records) : 0;
	for (unsigned i = 0; i < RECORDS_PREFIX_BYTES; i++)
		length |= (uint64_t)at[i] << 8 * i;
	if (length > limit)
		return too_long(records, length, limit);
	if (here - RECORDS_PREFIX_BYTES < length)
		return records->at_end ? cut_off(records) : 0;
	*data = (const char *)at + RECORDS_PREFIX_BYTES;
	*bytes = length;
	records->begin += RECORDS_PREFIX_BYTES + length;
	records->number++;
	return 1;
}

static int take_delimited(struct records *records, const char **data, size_t *bytes)
{
	char *at = records->buffer + records->begin;
	size_t here = records->end - records->begin;
	char *from = records->buffer + records->searched;
	char *found = here ? memchr(from, records->delimiter, (size_t)(records->buffer + records->end - from)) : NULL;

	records->searched = records->end;
	if (!found && !(records->at_end && here))
		return 0;
	*data = at;
	*bytes = found ? (size_t)(found - at) : here;
	records->begin += *bytes + (found ? 1 : 0);
	records->searched = records->begin;
	records->number++;
	return 1;
}

int records_take(struct records *records, uint64_t limit, const char **data, size_t *bytes)
{
	switch (records->framing) {
	case RECORDS_LENGTH_PREFIXED:
		return take_prefixed(records, limit, data, bytes);
	case RECORDS_DELIMITED:
		return take_delimited(records, data, bytes);
	case RECORDS_WHOLE:
		break;
	}
	/* An empty input is a record, too: the whole of it. */
	if (!records->at_end || records->number)
		return 0;
	*data = records->buffer ? records->buffer + records->begin : "";
	*bytes = records->end - records->begin;
	records->begin = records->end;
	records->number++;
	return 1;
}

/* Room for another read: what was taken is moved out of the way, then the buffer grows. */
static int make_room(struct records *records)
{
	size_t here = records->end - records->begin;

	if (records->begin) {
		memmove(records->buffer, records->buffer + records->begin, here);
		records->searched -= records->begin < records->searched ? records->begin : records->searched;
		records->begin = 0;
		records->end = here;
	}
	if (records->room - records->end >= ROOM_FIRST / 2)
		return 0;
	size_t room = records->room ? records->room * 2 : ROOM_FIRST;
	char *larger = realloc(records->buffer, room);
	if (!larger) {
		report("%s: no memory for record %zu, which has more than %zu bytes", records->name,
		       (size_t)records->number + 1, here);
		return -1;
	}
	records->buffer = larger;
	records->room = room;
	return 0;
}

int records_fill(struct records *records, uint64_t limit)
{
	size_t here = records->end - records->begin;
	ssize_t bytes;

	/* A prefix was compared with the limit before; its 8 bytes come on top. */
	if (here > limit && here - limit > RECORDS_PREFIX_BYTES)
		return too_long(records, here, limit);
	if (make_room(records))
		return -1;
	do
		bytes = read(records->descriptor, records->buffer + records->end, records->room - records->end);
	while (bytes < 0 && errno == EINTR);
	if (bytes < 0) {
		report_system(records->name);
		return -1;
	}
	records->end += (size_t)bytes;
	records->at_end = !bytes;
	return bytes > 0;
}
