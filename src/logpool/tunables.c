/*
 * tunables.c: the settings, and the two environment variables that change them when the library is loaded.
 *
 * PMDK aborts the process over a setting that it cannot read. A library that is loaded into somebody's program has
 * no right to: here it says so on stderr and goes on.
 */
#include "logpool/tunables.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { SETTINGS_MAX_BYTES = 1 << 20 };

static const char *const names[TUNABLE_COUNT] = {
	[TUNABLE_PREFAULT_AT_CREATE] = "prefault.at_create",
	[TUNABLE_PREFAULT_AT_OPEN] = "prefault.at_open",
	[TUNABLE_SDS_AT_CREATE] = "sds.at_create",
	[TUNABLE_FALLOCATE_AT_CREATE] = "fallocate.at_create",
	[TUNABLE_COPY_ON_WRITE_AT_OPEN] = "copy_on_write.at_open",
};

static _Atomic int values[TUNABLE_COUNT] = {
	[TUNABLE_SDS_AT_CREATE] = 1,
	[TUNABLE_FALLOCATE_AT_CREATE] = 1,
};

int tunable_value(enum tunable tunable)
{
	return atomic_load_explicit(&values[tunable], memory_order_relaxed);
}

void tunable_set(enum tunable tunable, int value)
{
	atomic_store_explicit(&values[tunable], value, memory_order_relaxed);
}

enum tunable tunable_by_name(const char *name)
{
	unsigned i = 0;

	while (i < TUNABLE_COUNT && (!name || strcmp(name, names[i]) != 0))
		i++;
	return (enum tunable)i;
}

/* The first character decides, as in PMDK's library: "yes" and "no" are in use. */
static bool parse_boolean(const char *text, int *value)
{
	if (!text[0] || !strchr("01ynYN", text[0]) || strchr(text, '='))
		return false;
	*value = strchr("1yY", text[0]) != NULL;
	return true;
}

static void apply_one(const char *source, char *setting)
{
	char *equals = strchr(setting, '=');
	int value;

	if (!equals) {
		fprintf(stderr, "libpmemlog: %s: '%s' is not name=value, ignored\n", source, setting);
		return;
	}
	*equals = '\0';
	enum tunable tunable = tunable_by_name(setting);
	if (tunable == TUNABLE_COUNT)
		fprintf(stderr, "libpmemlog: %s: there is no setting '%s', ignored\n", source, setting);
	else if (!parse_boolean(equals + 1, &value))
		fprintf(stderr, "libpmemlog: %s: %s is '%s', not 0, 1, no or yes: ignored\n", source, setting,
			equals + 1);
	else
		tunable_set(tunable, value);
}

void tunables_apply(const char *source, const char *settings)
{
	char *copy = strdup(settings);
	char *rest;

	if (!copy) {
		fprintf(stderr, "libpmemlog: %s: no memory to read it, ignored\n", source);
		return;
	}
	for (char *one = strtok_r(copy, ";", &rest); one; one = strtok_r(NULL, ";", &rest))
		apply_one(source, one);
	free(copy);
}

/* Takes out comments and white space, in place. */
static void strip(char *text)
{
	char *to = text;
	bool comment = false;

	for (const char *from = text; *from; from++) {
		if (*from == '#')
			comment = true;
		if (!comment && !isspace((unsigned char)*from))
			*to++ = *from;
		if (*from == '\n')
			comment = false;
	}
	*to = '\0';
}

static void apply_file(const char *path)
{
	char *text = malloc(SETTINGS_MAX_BYTES + 1);
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	ssize_t got = text && fd >= 0 ? read(fd, text, SETTINGS_MAX_BYTES + 1) : -1;

	if (got > SETTINGS_MAX_BYTES) {
		errno = EFBIG;
		got = -1;
	}
	if (got < 0) {
		fprintf(stderr, "libpmemlog: PMEMLOG_CONF_FILE: %s cannot be read (%s), ignored\n", path,
			strerror(errno));
	} else {
		text[got] = '\0';
		strip(text);
		tunables_apply("PMEMLOG_CONF_FILE", text);
	}
	if (fd >= 0)
		close(fd);
	free(text);
}

__attribute__((constructor)) static void read_environment(void)
{
	const char *settings = secure_getenv("PMEMLOG_CONF");
	const char *path = secure_getenv("PMEMLOG_CONF_FILE");
	int err = errno;

	if (settings)
		tunables_apply("PMEMLOG_CONF", settings);
	if (path && path[0])
		apply_file(path);
	errno = err;
}
