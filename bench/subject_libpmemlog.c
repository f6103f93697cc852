/*
 * subject_libpmemlog.c: pools of libpmemlog: PMDK's, which Debian ships ("libpmemlog"), and ours ("our_libpmemlog").
 *
 * Both have one name and one set of symbols, so each is loaded by its path and keeps its symbols to itself.
 * PMEM_IS_PMEM_FORCE=1, which must be set before PMDK's is loaded, makes it treat files in memory as persistent memory.
 */
#include "subject.h"

#include <dlfcn.h>
#include <errno.h>
#include <libpmemlog.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct log {
	void *library;
	PMEMlogpool *pool;
	void (*close)(PMEMlogpool *);
	int (*append)(PMEMlogpool *, const void *, size_t);
	void (*rewind)(PMEMlogpool *);
};

static void *find(struct log *log, const char *name)
{
	void *function = dlsym(log->library, name);

	if (!function)
		bench_die(name, dlerror());
	return function;
}

static void *open_log(const struct subject_setup *setup, char *configuration, const char *library, const char *name)
{
	static char block[1 << 20];
	struct log *log = calloc(1, sizeof(*log));
	char path[BENCH_PATH_BYTES];
	Dl_info info;

	if (!log)
		bench_die(name, "no memory");
	log->library = dlopen(library, RTLD_NOW | RTLD_LOCAL);
	if (!log->library)
		bench_die(name, dlerror());
	PMEMlogpool *(*create)(const char *, size_t, mode_t) =
		(PMEMlogpool * (*)(const char *, size_t, mode_t)) find(log, "pmemlog_create");
	log->close = (void (*)(PMEMlogpool *))find(log, "pmemlog_close");
	log->append = (int (*)(PMEMlogpool *, const void *, size_t))find(log, "pmemlog_append");
	log->rewind = (void (*)(PMEMlogpool *))find(log, "pmemlog_rewind");
	if (!dladdr((void *)(uintptr_t)log->append, &info) || strcmp(info.dli_fname, library) != 0)
		bench_die(library, "another library came in its place");

	snprintf(path, sizeof(path), "%s/%s.pool", setup->folder, name);
	log->pool = create(path, setup->room_bytes + (4 << 20), 0600);
	if (!log->pool)
		bench_die(path, strerror(errno));
	/* Once through, so that no page is touched, and no block allocated, while the clock runs. */
	while (!log->append(log->pool, block, sizeof(block)))
		continue;
	log->rewind(log->pool);
	snprintf(configuration, SUBJECT_CONFIGURATION_BYTES, "%s, PMEM_IS_PMEM_FORCE=%s, one pmemlog_append an entry",
		 library, getenv("PMEM_IS_PMEM_FORCE"));
	return log;
}

static void *open_pmdk(const struct subject_setup *setup, char *configuration)
{
	return open_log(setup, configuration, ORIGINAL, "libpmemlog");
}

static void *open_ours(const struct subject_setup *setup, char *configuration)
{
	return open_log(setup, configuration, OURS, "our_libpmemlog");
}

static void begin_log(void *state, unsigned threads)
{
	struct log *log = state;

	(void)threads;
	log->rewind(log->pool);
}

static inline void append_one(struct log *log, const void *data, size_t size)
{
	if (log->append(log->pool, data, size))
		bench_die("pmemlog_append", strerror(errno));
}

static void append_log(void *state, unsigned thread, const void *data, size_t size, unsigned count,
		       uint32_t *samples_ns)
{
	struct log *log = state;

	(void)thread;
	SUBJECT_REPEAT(count, samples_ns, append_one(log, data, size));
}

static void close_log(void *state)
{
	struct log *log = state;

	/* The libraries stay loaded: they have thread-specific data. */
	log->close(log->pool);
	free(log);
}

const struct subject_kind subject_libpmemlog = {
	.name = "libpmemlog",
	.open = open_pmdk,
	.begin = begin_log,
	.append = append_log,
	.close = close_log,
};

const struct subject_kind subject_our_libpmemlog = {
	.name = "our_libpmemlog",
	.open = open_ours,
	.begin = begin_log,
	.append = append_log,
	.close = close_log,
};
