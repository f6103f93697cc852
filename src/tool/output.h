/*
 * output.h: standard output: whether it still takes what is written, and what kind of thing it is.
 */
#ifndef TOOL_OUTPUT_H
#define TOOL_OUTPUT_H

#include <stdbool.h>
#include <stddef.h>

/* Prepares the three standard descriptors; before any file is opened. */
void output_begin(void);

/* Whether everything so far could be written. Ask after each piece, so that a reader who left ends long work. */
bool output_works(void);

/* Writes what is buffered; once, at the end. The status to end with: the given one; or TOOL_FAILED, reported, if
 * something could not be written. A reader who has closed the pipe has what he wanted: no failure. */
int output_end(int status);

/* For a command that says itself what the loss means: why something could not be written, also to a reader who left,
 * and output_end reports it no more. NULL if all could be. */
const char *output_failure(void);

bool output_is_terminal(void);

/* Columns of the terminal, or COLUMNS, or 80. */
size_t output_columns(void);

/* Whether colour is welcome: a terminal that is not dumb, and NO_COLOR is not set. */
bool output_wants_colour(void);

#endif
