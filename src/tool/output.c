/*
 * output.c: standard output: whether it still takes what is written, and what kind of thing it is.
 */
#include "tool/output.h"

#include "tool/report.h"
#include "tool/tool.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum { COLUMNS_DEFAULT = 80, COLUMNS_MIN = 40, COLUMNS_MAX = 400 };

static int first_errno;
static bool told;

void output_begin(void)
{
	/* A standard descriptor that is closed would go to the next file that is opened: the stream. These give EBADF.
	 */
	for (int descriptor = 0; descriptor < 3; descriptor++)
		if (fcntl(descriptor, F_GETFD) < 0 && errno == EBADF)
			open("/dev/null", descriptor ? O_RDONLY : O_WRONLY);
	signal(SIGPIPE, SIG_IGN);
	signal(SIGXFSZ, SIG_IGN); /* a file that may not grow is an error with a message, too */
}

bool output_works(void)
{
	if (!first_errno && ferror(stdout))
		first_errno = errno ? errno : EIO;
	return !first_errno;
}

const char *output_failure(void)
{
	told = !output_works();
	return told ? strerror(first_errno) : NULL;
}

int output_end(int status)
{
	bool works = output_works();

	if (works && fflush(stdout))
		first_errno = errno;
	if (!first_errno)
		return status;
	if (first_errno == EPIPE || told)
		return status;
	report("standard output: %s (what was to be printed is not complete)", strerror(first_errno));
	return TOOL_FAILED;
}

bool output_is_terminal(void)
{
	static int known = -1;

	if (known < 0)
		known = isatty(STDOUT_FILENO);
	return known;
}

size_t output_columns(void)
{
	const char *variable = getenv("COLUMNS");
	struct winsize size;
	long columns = 0;

	if (!ioctl(STDOUT_FILENO, TIOCGWINSZ, &size))
		columns = size.ws_col;
	if (!columns && variable)
		columns = strtol(variable, NULL, 10);
	if (columns <= 0)
		columns = COLUMNS_DEFAULT;
	return columns < COLUMNS_MIN ? COLUMNS_MIN : columns > COLUMNS_MAX ? COLUMNS_MAX : (size_t)columns;
}

bool output_wants_colour(void)
{
	const char *terminal = getenv("TERM"), *refused = getenv("NO_COLOR");

	return output_is_terminal() && terminal && strcmp(terminal, "dumb") && !(refused && *refused);
}
