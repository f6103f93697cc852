/*
 * picture.h: the space of a stream as a picture of characters.
 */
#ifndef TOOL_PICTURE_H
#define TOOL_PICTURE_H

#include <libpmemstream.h>
#include <stdbool.h>

struct picture_style {
	size_t columns;
	bool ascii, colour;
};

/* Draws a bar for each extent, in order of place, as long as its share of the largest one, with what is used of it. */
void picture_draw(struct pmemstream *stream, const struct pmemstream_extent *extents, size_t count,
		  const struct picture_style *style);

#endif
