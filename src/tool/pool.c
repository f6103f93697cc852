/*
 * pool.c: pools of libpmemlog as the command line names them.
 */
#include "tool/pool.h"

#include "tool/report.h"
#include "tool/tool.h"

#include <errno.h>
#include <string.h>

int pool_report(const char *path)
{
	int err = errno;
	const char *message = pmemlog_errormsg();
	const char *hint = err == EAGAIN   ? " (it is in use by another process: wait for that one)"
			   : err == ENOENT ? " ('pmemstream log create' makes one)"
			   : err == EEXIST ? " (choose another name; what exists is not touched)"
					   : "";

	if (!*message)
		message = strerror(err);
	if (strstr(message, path))
		report("%s%s", message, hint);
	else
		report("%s: %s%s", path, message, hint);
	return TOOL_FAILED;
}

int pool_open(const char *path, PMEMlogpool **pool)
{
	report_bus_errors(path);
	*pool = pmemlog_open(path);
	return *pool ? TOOL_DONE : pool_report(path);
}
