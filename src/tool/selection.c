/*
 * selection.c: the options by which cat and tail choose regions.
 */
#include "tool/selection.h"

#include "tool/opening.h"

int selection_add(struct selection *selection, const struct command *command, const char *name)
{
	if (selection->count == SELECTION_MAX)
		return options_wrong(command, "at most %d regions can be named; without --region all are read",
				     SELECTION_MAX);
	selection->names[selection->count++] = name;
	return TOOL_DONE;
}

int selection_find(struct selection *selection, struct pmemstream *stream, const char *path)
{
	for (size_t i = 0; i < selection->count; i++) {
		int status = opening_region(stream, path, selection->names[i], &selection->regions[i]);
		if (status)
			return status;
	}
	return TOOL_DONE;
}
