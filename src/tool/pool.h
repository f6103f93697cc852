/*
 * pool.h: pools of libpmemlog as the command line names them.
 */
#ifndef TOOL_POOL_H
#define TOOL_POOL_H

#include <libpmemlog.h>

/* Opens a pool, which locks it. TOOL_DONE, or what was reported. */
int pool_open(const char *path, PMEMlogpool **pool);

/* Reports what the last failed call of libpmemlog says, and returns TOOL_FAILED. */
int pool_report(const char *path);

#endif
