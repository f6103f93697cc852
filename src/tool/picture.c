/*
 * picture.c: the space of a stream as a picture of characters.
 *
 *   web     ##########----------  48% of 1.0 MiB
 *   (free)  .....                 256 KiB
 */
#include "tool/picture.h"

#include "tool/opening.h"
#include "tool/text.h"

#include <stdio.h>
#include <string.h>

enum { NAME_COLUMNS_MAX = 28, SIZE_COLUMNS = 20, ROWS_MAX = 48, FULL_PERCENT = 90 };

struct strokes {
	const char *used, *unused, *free;
};

static const struct strokes plain = {"#", "-", "."};
static const struct strokes blocks = {"█", "░", "·"};

static void draw(const char *stroke, size_t count, const char *colour)
{
	if (count && colour)
		printf("\033[%sm", colour);
	for (size_t i = 0; i < count; i++)
		fputs(stroke, stdout);
	if (count && colour)
		fputs("\033[0m", stdout);
}

static void name_of(struct pmemstream *stream, const struct pmemstream_extent *extent, char *name)
{
	if (!extent->is_region)
		strcpy(name, "(free)");
	else if (!opening_name(stream, (struct pmemstream_region){.offset = extent->offset}, name))
		snprintf(name, OPENING_NAME_BYTES, "@%zu", (size_t)extent->offset);
}

/* The name cut to some columns, with dots where it was cut. */
static void print_name(const char *name, size_t columns)
{
	size_t bytes = strlen(name);

	if (text_columns(name, bytes) <= columns) {
		text_pad(stdout, name, columns);
		return;
	}
	while (bytes && text_columns(name, bytes) > columns - 2)
		do
			bytes--;
		while (bytes && ((unsigned char)name[bytes] & 0xc0) == 0x80); /* whole characters */
	text_write(stdout, name, bytes, TEXT_ONE_LINE);
	printf("..%*s", (int)(columns - 2 - text_columns(name, bytes)), "");
}

/* Columns for a part of a whole; something is never nothing. */
static size_t share(uint64_t part, uint64_t whole, size_t columns)
{
	size_t taken = whole ? (size_t)((double)part / (double)whole * (double)columns + 0.5) : 0;

	taken = taken > columns ? columns : taken;
	return part && !taken ? 1 : taken;
}

static void draw_extent(const struct pmemstream_extent *extent, uint64_t largest, size_t columns,
			const struct picture_style *style)
{
	const struct strokes *strokes = style->ascii ? &plain : &blocks;
	size_t length = share(extent->bytes, largest, columns);

	if (!extent->is_region) {
		draw(strokes->free, length, style->colour ? "2" : NULL);
		printf("%*s       %9s\n", (int)(columns - length), "", text_size(extent->bytes));
		return;
	}
	unsigned percent = extent->bytes ? (unsigned)(100.0 * (double)extent->used / (double)extent->bytes) : 0;
	size_t used = share(extent->used, extent->bytes, length);
	draw(strokes->used, used, !style->colour ? NULL : percent >= FULL_PERCENT ? "31" : "36");
	draw(strokes->unused, length - used, style->colour ? "36" : NULL);
	printf("%*s %3u%% of %9s\n", (int)(columns - length), "", percent, text_size(extent->bytes));
}

void picture_draw(struct pmemstream *stream, const struct pmemstream_extent *extents, size_t count,
		  const struct picture_style *style)
{
	size_t shown = count > ROWS_MAX ? ROWS_MAX : count, name_columns = 6;
	char name[OPENING_NAME_BYTES];
	uint64_t largest = 0;

	for (size_t i = 0; i < count; i++) {
		largest = extents[i].bytes > largest ? extents[i].bytes : largest;
		name_of(stream, &extents[i], name);
		size_t columns = text_columns(name, strlen(name));
		name_columns = i < shown && columns > name_columns ? columns : name_columns;
	}
	if (name_columns > NAME_COLUMNS_MAX)
		name_columns = NAME_COLUMNS_MAX;
	if (name_columns > style->columns / 3)
		name_columns = style->columns / 3;
	for (size_t i = 0; i < shown; i++) {
		name_of(stream, &extents[i], name);
		fputs("  ", stdout);
		print_name(name, name_columns);
		fputs("  ", stdout);
		draw_extent(&extents[i], largest, style->columns - name_columns - SIZE_COLUMNS - 4, style);
	}
	if (shown < count)
		printf("  and %zu more, which 'pmemstream region ls' lists\n", count - shown);
}
