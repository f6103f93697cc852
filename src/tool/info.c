/*
 * info.c: pmemstream info: what a stream is, and a picture of its space.
 */
#include "tool/opening.h"
#include "tool/output.h"
#include "tool/picture.h"
#include "tool/report.h"
#include "tool/text.h"
#include "tool/tool.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char help[] = "usage: pmemstream info FILE [--ascii] [--json]\n"
			   "\n"
			   "Tells what a stream is, how far it is, and what lies where: a bar for each region, as long "
			   "as its share of the\n"
			   "largest one and filled as far as it is used, and for each free extent, in order of place.\n"
			   "\n"
			   "      --ascii  draw with plain characters\n"
			   "      --json   an object, with lists of regions and extents\n";

static const struct option options[] = {
	{"ascii", no_argument, NULL, 'a'},
	{"json", no_argument, NULL, 'j'},
	OPTIONS_COMMON,
};

/* All extents; the caller frees them. NULL with errno. A writer may add some between the two calls. */
static struct pmemstream_extent *list_extents(struct pmemstream *stream, size_t *count)
{
	struct pmemstream_extent *extents = NULL;
	size_t room = 64;

	for (;;) {
		struct pmemstream_extent *larger = realloc(extents, room * sizeof(*extents));
		*count = room;
		if (!larger || pmemstream_list_extents(stream, larger, count)) {
			int err = errno;
			free(larger ? larger : extents);
			errno = err;
			return NULL;
		}
		extents = larger;
		if (*count <= room)
			return extents;
		room = *count + 16;
	}
}

static void print_uuid(const unsigned char *uuid)
{
	for (int i = 0; i < 16; i++)
		printf("%s%02x", i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "", uuid[i]);
}

static void print_facts(const char *path, const struct pmemstream_statistics *facts)
{
	text_write(stdout, path, strlen(path), TEXT_ONE_LINE);
	printf(": a stream of %s\n", text_size(facts->size));
	printf("  made       %s\n", text_time(facts->created_ns));
	fputs("  uuid       ", stdout);
	print_uuid(facts->uuid);
	printf("\n  layout     blocks of %s, entries at multiples of %u bytes\n", text_size(facts->block_size),
	       facts->alignment);
	printf("  epoch      %u (rises with each opening for writing)\n", facts->epoch);
	printf("  timestamps up to %s", text_count(facts->committed));
	if (facts->persisted < facts->committed)
		printf(", of which %s are known to be durable", text_count(facts->persisted));
	printf("\n  space      %s region%s with %s of entries; %s free", text_count(facts->regions),
	       facts->regions == 1 ? "" : "s", text_size(facts->used_bytes), text_size(facts->free_bytes));
	if (facts->free_extents > 1)
		printf(" in %s pieces, the largest for a region of %s", text_count(facts->free_extents),
		       text_size(facts->largest_free_bytes));
	fputs("\n\n", stdout);
}

static void print_json(struct pmemstream *stream, const char *path, const struct pmemstream_statistics *facts,
		       const struct pmemstream_extent *extents, size_t count)
{
	struct pmemstream_region_info info;
	const char *comma = "";

	fputs("{\"file\":", stdout);
	text_json_string(stdout, path);
	fputs(",\"uuid\":\"", stdout);
	print_uuid(facts->uuid);
	printf("\",\"created_ns\":%zu,\"size\":%zu,\"block_size\":%zu,\"alignment\":%u,\"epoch\":%u,\"committed\":%zu,"
	       "\"persisted\":%zu,\"used_bytes\":%zu,\"free_bytes\":%zu,\"largest_free_bytes\":%zu,\n \"regions\":[",
	       (size_t)facts->created_ns, (size_t)facts->size, (size_t)facts->block_size, facts->alignment,
	       facts->epoch, (size_t)facts->committed, (size_t)facts->persisted, (size_t)facts->used_bytes,
	       (size_t)facts->free_bytes, (size_t)facts->largest_free_bytes);
	for (size_t i = 0; i < count; i++) {
		struct pmemstream_region region = {.offset = extents[i].offset};
		if (!extents[i].is_region || pmemstream_region_get_info(stream, region, &info))
			continue;
		printf("%s\n  ", comma);
		opening_region_json(region, &info);
		comma = ",";
	}
	fputs("],\n \"extents\":[", stdout);
	for (size_t i = 0; i < count; i++)
		printf("%s\n  {\"offset\":%zu,\"bytes\":%zu,\"region\":%s,\"used\":%zu}", i ? "," : "",
		       (size_t)extents[i].offset, (size_t)extents[i].bytes, extents[i].is_region ? "true" : "false",
		       (size_t)extents[i].used);
	fputs("]}\n", stdout);
}

static int run(int argc, char **argv)
{
	struct picture_style style = {.ascii = !text_is_unicode()};
	struct pmemstream_statistics facts;
	struct pmemstream *stream;
	bool json = false;
	int option, status;
	size_t count;

	while ((option = options_next(&command_info, argc, argv, "", options, &status)) != OPTIONS_END) {
		if (option == OPTIONS_LEAVE)
			return status;
		if (option == 'a')
			style.ascii = true;
		else
			json = true;
	}
	if (!options_operands(&command_info, argc, 1, 1, "FILE"))
		return TOOL_USAGE;
	const char *path = argv[optind];
	status = opening_stream(path, OPENING_TO_READ, &stream);
	if (status)
		return status;
	style.columns = output_columns();
	style.colour = output_wants_colour() && !style.ascii;
	struct pmemstream_extent *extents = list_extents(stream, &count);
	if (!extents || pmemstream_get_statistics(stream, &facts)) {
		status = report_stream(path, path);
	} else if (json) {
		print_json(stream, path, &facts, extents, count);
	} else {
		print_facts(path, &facts);
		picture_draw(stream, extents, count, &style);
	}
	free(extents);
	pmemstream_delete(&stream);
	return status;
}

const struct command command_info = {"info", "tell what a stream is, with a picture of its space", help, run};
