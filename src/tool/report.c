/*
 * report.c: messages on standard error.
 *
 * A message may quote labels, file names and what the library found in a file, so it is escaped as a whole.
 */
#include "tool/report.h"

#include "tool/text.h"
#include "tool/tool.h"

#include <errno.h>
#include <libpmemstream.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { MESSAGE_MAX = 8192 };

static char bus_message[512];

void report(const char *format, ...)
{
	char message[MESSAGE_MAX];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(message, sizeof(message), format, arguments);
	va_end(arguments);
	fflush(stdout); /* what came before is seen before */
	fputs("pmemstream: ", stderr);
	text_write(stderr, message, strlen(message), TEXT_ONE_LINE);
	fputc('\n', stderr);
}

/* What helps against an error of a stream; may name its path once. */
static const char *remedy(int err)
{
	switch (err) {
	case ENOENT:
		return "'pmemstream create %s --size SIZE' makes one";
	case EBADMSG:
		return "'pmemstream check %s' tells all that is wrong, 'pmemstream repair' accepts it";
	case EWOULDBLOCK:
		return "only one process can write; cat, tail and info work beside it";
	case EACCES:
	case EPERM:
		return "its permissions do not allow that to this user";
	case EEXIST:
		return "choose another one";
	case EFBIG:
		return "choose a smaller size";
	case EROFS:
		return "it cannot be written to";
	case ENOSPC:
		return "free some space, or choose a smaller size";
	case EIO:
		return "the device failed; what was not acknowledged may be lost";
	default:
		return NULL;
	}
}

/* The library tells its callers in C what helps; whoever is in front of a shell needs another way. */
static const char *advice_in_c(const char *message)
{
	const char *at = strstr(message, "PMEMSTREAM_CREATE");

	return at && at >= message + 2 && (at[-2] == ':' || at[-2] == ';') ? at - 2 : NULL;
}

int report_stream(const char *path, const char *context)
{
	int err = errno;
	const char *message = pmemstream_errormsg();
	const char *hint = remedy(err);
	char advice[MESSAGE_MAX];
	bool about_path = context && !*context;

	const char *in_c = advice_in_c(message);
	int length = in_c ? (int)(in_c - message) : (int)strlen(message);

	if (in_c)
		hint = "remove it, and 'pmemstream create %s --size SIZE' makes one";
	advice[0] = '\0';
	if (hint && (err != ENOENT || about_path))
		snprintf(advice, sizeof(advice), hint, path);
	report("%s%s%.*s%s%s%s%s", context && *context ? context : "", context && *context ? ": " : "", length, message,
	       *message ? "" : strerror(err), *advice ? " (" : "", advice, *advice ? ")" : "");
	return err == EBADMSG ? TOOL_DAMAGE : TOOL_FAILED;
}

int report_system(const char *what)
{
	report("%s: %s", what, strerror(errno));
	return TOOL_FAILED;
}

static void end_at_bus_error(int signal)
{
	static atomic_flag told = ATOMIC_FLAG_INIT;

	(void)signal;
	while (atomic_flag_test_and_set(&told))
		pause(); /* another thread met it, too, and ends the process */
	if (write(STDERR_FILENO, bus_message, strlen(bus_message)) < 0)
		_exit(TOOL_FAILED);
	_exit(TOOL_FAILED);
}

void report_bus_errors(const char *path)
{
	struct sigaction action = {.sa_handler = end_at_bus_error};
	char name[256];

	text_copy(name, sizeof(name), path, strlen(path));
	snprintf(bus_message, sizeof(bus_message),
		 "pmemstream: %s: a part of the file is gone or cannot be read: it was truncated while in use, or its "
		 "device fails; what was acknowledged before is not changed by this\n",
		 name);
	sigaction(SIGBUS, &action, NULL);
}
