/*
 * pool.c: pools of libpmemlog as the command line names them.
 */
#include "tool/pool.h"

#include "tool/report.h"
#include "tool/tool.h"

#include <errno.h>
#include <string.h>

static int report_failure(const char *path, const char *if_missing)
{
	int err = errno;
	const char *message = pmemlog_errormsg();
	const char *hint = err == EAGAIN                   ? " (wait for that one)"
			   : err == ENOENT                 ? if_missing
			   : err == EEXIST                 ? " (choose another name; what exists is not touched)"
			   : err == EACCES                 ? " (its permissions do not allow that to this user)"
			   : err == ENOSPC || err == EFBIG ? " (free some space, or choose a smaller size)"
							   : "";

	if (!*message)
		message = strerror(err);
	if (strstr(message, path))
		report("%s%s", message, hint);
	else
		report("%s: %s%s", path, message, hint);
	return TOOL_FAILED;
}

int pool_report(const char *path)
{
	return report_failure(path, "");
}

int pool_open(const char *path, PMEMlogpool **pool)
{
	report_bus_errors(path);
	*pool = pmemlog_open(path);
	return *pool ? TOOL_DONE : report_failure(path, " ('pmemstream log create' makes one)");
}
