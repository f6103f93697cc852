/*
 * show.h: entries in the formats of cat and tail.
 */
#ifndef TOOL_SHOW_H
#define TOOL_SHOW_H

#include "tool/cursor.h"

enum show_format { SHOW_TEXT, SHOW_JSON, SHOW_RAW, SHOW_LENGTH_PREFIXED };

/* The formats by name, in the order of the enum, ending with NULL. */
extern const char *const show_formats[];

/* Writes one entry to standard output. Text is escaped where standard output is a terminal; labels: with its timestamp
 * and region in front of it. */
void show_entry(struct pmemstream *stream, const struct cursor_entry *entry, enum show_format format, bool labels);

#endif
