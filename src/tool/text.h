/*
 * text.h: bytes of unknown origin, made fit for terminals, JSON and tables.
 */
#ifndef TOOL_TEXT_H
#define TOOL_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* What text_write lets through besides printable characters of the locale. */
enum text_style {
	TEXT_ONE_LINE, /* nothing */
	TEXT_LINES,    /* newlines and tabs */
};

/* Finds out which characters the locale can print; once, at the start. */
void text_begin(void);

/* Whether the locale's encoding is UTF-8. */
bool text_is_unicode(void);

/* Writes bytes with all that a terminal could take for a command, or that hides text, escaped as \xNN or \u{N}. */
void text_write(FILE *to, const void *data, size_t bytes, enum text_style style);

/* The same into a buffer, cut off where it is full; always ends with a zero byte. */
void text_copy(char *to, size_t room, const void *data, size_t bytes);

/* Columns that text_write takes for it on one line. */
size_t text_columns(const void *data, size_t bytes);

/* text_write of a string on one line, filled with blanks to so many columns. */
void text_pad(FILE *to, const char *string, size_t columns);

/* Whether bytes are valid UTF-8. */
bool text_is_utf8(const void *data, size_t bytes);

/* A JSON string with its quotes; of bytes that must be UTF-8. */
void text_json(FILE *to, const void *data, size_t bytes);

/* A JSON string of a C string of any bytes: what is no UTF-8 becomes U+FFFD. */
void text_json_string(FILE *to, const char *string);

/* Base64 (RFC 4648), without quotes. */
void text_base64(FILE *to, const void *data, size_t bytes);

/* A size for people: "64 KiB", "1.5 GiB". Good until the fourth call from here. */
const char *text_size(uint64_t bytes);

/* A number for people, in groups of three digits. Good until the fourth call from here. */
const char *text_count(uint64_t number);

/* A time for people, local, in seconds; "-" for 0. Good until the fourth call from here. */
const char *text_time(uint64_t ns);

#endif
