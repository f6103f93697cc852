/*
 * show.c: entries in the formats of cat and tail.
 *
 * text              the bytes, and a newline
 * raw               the bytes
 * json              one object a line: region, timestamp, size, and data if they are UTF-8, else base64
 * length-prefixed   8 bytes with the number of bytes, little-endian, and the bytes; append reads the same
 */
#include "tool/show.h"

#include "tool/opening.h"
#include "tool/output.h"
#include "tool/text.h"

#include <stdio.h>
#include <string.h>

const char *const show_formats[] = {"text", "json", "raw", "length-prefixed", NULL};

static void show_json(struct pmemstream *stream, const struct cursor_entry *entry)
{
	char name[OPENING_NAME_BYTES];

	fputs("{\"region\":", stdout);
	if (opening_name(stream, entry->region, name))
		text_json_string(stdout, name);
	else
		fputs("null", stdout);
	printf(",\"timestamp\":%zu,\"size\":%zu,", (size_t)entry->timestamp, entry->bytes);
	if (text_is_utf8(entry->data, entry->bytes)) {
		fputs("\"data\":", stdout);
		text_json(stdout, entry->data, entry->bytes);
	} else {
		fputs("\"base64\":\"", stdout);
		text_base64(stdout, entry->data, entry->bytes);
		putchar('"');
	}
	fputs("}\n", stdout);
}

static void show_label(struct pmemstream *stream, const struct cursor_entry *entry)
{
	char name[OPENING_NAME_BYTES];

	printf("%zu ", (size_t)entry->timestamp);
	if (opening_name(stream, entry->region, name))
		text_write(stdout, name, strlen(name), TEXT_ONE_LINE);
	fputs(": ", stdout);
}

void show_entry(struct pmemstream *stream, const struct cursor_entry *entry, enum show_format format, bool labels)
{
	unsigned char prefix[8];

	switch (format) {
	case SHOW_JSON:
		show_json(stream, entry);
		return;
	case SHOW_TEXT:
		if (labels)
			show_label(stream, entry);
		if (output_is_terminal())
			text_write(stdout, entry->data, entry->bytes, TEXT_LINES);
		else
			fwrite(entry->data, 1, entry->bytes, stdout);
		putchar('\n');
		return;
	case SHOW_LENGTH_PREFIXED:
		for (unsigned i = 0; i < sizeof(prefix); i++)
			prefix[i] = (unsigned char)((uint64_t)entry->bytes >> 8 * i);
		fwrite(prefix, 1, sizeof(prefix), stdout);
		break;
	case SHOW_RAW:
		break;
	}
	fwrite(entry->data, 1, entry->bytes, stdout);
}
