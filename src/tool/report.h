/*
 * report.h: what the tool tells people, on standard error, and how it ends.
 */
#ifndef TOOL_REPORT_H
#define TOOL_REPORT_H

#include <stdbool.h>
#include <stddef.h>

/* One line on standard error, "pmemstream: ..."; control characters are escaped, whoever put them there. */
void report(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Reports what the library's last failed call says, with "context: " in front unless it is empty, and what to do about
 * that errno. Returns the exit status: TOOL_DAMAGE for EBADMSG, else TOOL_FAILED. */
int report_stream(const char *path, const char *context);

/* The same for a failed system call on a file. */
int report_system(const char *what);

/* From now on a SIGBUS (the file was truncated, or its medium cannot be read) ends the tool with one line about it. */
void report_bus_errors(const char *path);

#endif
