/*
 * opening.c: streams and regions as the command line names them.
 */
#include "tool/opening.h"

#include "tool/report.h"
#include "tool/text.h"
#include "tool/tool.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int opening_stream(const char *path, enum opening how, struct pmemstream **stream)
{
	struct pmemstream_config config = {.flags = how == OPENING_TO_READ ? PMEMSTREAM_READ_ONLY : 0};

	report_bus_errors(path);
	return pmemstream_open(stream, path, &config) ? report_stream(path, "") : TOOL_DONE;
}

int opening_region(struct pmemstream *stream, const char *path, const char *name, struct pmemstream_region *region)
{
	struct pmemstream_region_info info;

	if (!pmemstream_region_find(stream, name, region))
		return TOOL_DONE;
	if (errno == ENOENT && name[0] == '@') {
		char *end;
		struct pmemstream_region at = {.offset = strtoull(name + 1, &end, 10)};
		if (end > name + 1 && !*end && !pmemstream_region_get_info(stream, at, &info)) {
			*region = at;
			return TOOL_DONE;
		}
		errno = ENOENT;
	}
	if (errno != ENOENT && errno != EINVAL) /* EINVAL: no region can have such a label */
		return report_stream(path, path);
	report("%s: no region is called \"%s\" ('pmemstream region ls %s' lists them, 'region add' makes one)", path,
	       name, path);
	return TOOL_FAILED;
}

int opening_new_region(struct pmemstream *stream, const char *path, const char *label, uint64_t bytes,
		       struct pmemstream_region *region)
{
	struct pmemstream_statistics statistics;

	if (!pmemstream_region_allocate_labeled(stream, bytes, label, region))
		return TOOL_DONE;
	if (errno != ENOSPC || pmemstream_get_statistics(stream, &statistics))
		return report_stream(path, path);
	report("%s: no room for a region of %s: the largest free extent takes one of %zu bytes (choose a smaller size, "
	       "or remove a region)",
	       path, text_size(bytes), (size_t)statistics.largest_free_bytes);
	return TOOL_FAILED;
}

bool opening_name(struct pmemstream *stream, struct pmemstream_region region, char *name)
{
	struct pmemstream_region_info info;

	if (pmemstream_region_get_info(stream, region, &info))
		return false;
	if (info.label[0])
		memcpy(name, info.label, sizeof(info.label));
	else
		snprintf(name, OPENING_NAME_BYTES, "@%zu", (size_t)region.offset);
	return true;
}

void opening_region_json(struct pmemstream_region region, const struct pmemstream_region_info *info)
{
	fputs("{\"label\":", stdout);
	text_json_string(stdout, info->label);
	printf(",\"offset\":%zu,\"size\":%zu,\"used\":%zu,\"free\":%zu,\"generation\":%zu,\"allocated_ns\":%zu,"
	       "\"checkpoint_ns\":%zu,\"checkpoint_timestamp\":%zu}",
	       (size_t)region.offset, (size_t)info->size, (size_t)info->used, (size_t)(info->size - info->used),
	       (size_t)info->generation, (size_t)info->allocated_ns, (size_t)info->checkpoint_ns,
	       (size_t)info->checkpoint_timestamp);
}
