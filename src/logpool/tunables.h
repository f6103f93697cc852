/*
 * tunables.h: the settings behind pmemlog_ctl_get and pmemlog_ctl_set; global, as PMDK's are.
 */
#ifndef LOGPOOL_TUNABLES_H
#define LOGPOOL_TUNABLES_H

enum tunable {
	TUNABLE_PREFAULT_AT_CREATE,
	TUNABLE_PREFAULT_AT_OPEN,
	TUNABLE_SDS_AT_CREATE,
	TUNABLE_FALLOCATE_AT_CREATE,
	TUNABLE_COPY_ON_WRITE_AT_OPEN,
	TUNABLE_COUNT,
};

int tunable_value(enum tunable tunable);
void tunable_set(enum tunable tunable, int value);

/* The tunable of that name, or TUNABLE_COUNT; name may be NULL. */
enum tunable tunable_by_name(const char *name);

/* Applies settings of the form name=value;name=value. What cannot be understood is left out, with a line on stderr
 * that begins with source. */
void tunables_apply(const char *source, const char *settings);

#endif
