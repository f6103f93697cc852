/*
 * pmemlog.c: what an append costs with one libpmemlog, in a process of its own. bench/pmemlog.py runs it for ours and
 * for the original in turn and compares.
 *
 *   bench_pmemlog LIBRARY FILE SIZE THREADS MILLISECONDS
 *
 * Creates a pool at FILE, lets THREADS threads append SIZE bytes until the time is over (rewinding when it is full),
 * checks that tell agrees, removes the file, and prints appends per second and which library was mapped.
 */
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <libpmemlog.h>

enum { POOL_BYTES = 64 << 20, THREADS_MAX = 64 };

static PMEMlogpool *(*create_fn)(const char *, size_t, mode_t);
static void (*close_fn)(PMEMlogpool *);
static int (*append_fn)(PMEMlogpool *, const void *, size_t);
static void (*rewind_fn)(PMEMlogpool *);

static PMEMlogpool *pool;
static size_t append_bytes;
static _Atomic int stop;

struct worker {
	pthread_t thread;
	uint64_t appends;
	char pad[48];
};

static void fail(const char *what, const char *why)
{
	fprintf(stderr, "%s: %s\n", what, why);
	exit(1);
}

static void *find(void *library, const char *name)
{
	void *function = dlsym(library, name);

	if (!function)
		fail(name, dlerror());
	return function;
}

static void *append_until_stop(void *context)
{
	struct worker *worker = context;
	char *data = malloc(append_bytes);

	if (!data)
		fail("malloc", "no memory");
	memset(data, 'x', append_bytes);
	while (!atomic_load_explicit(&stop, memory_order_relaxed)) {
		if (!append_fn(pool, data, append_bytes))
			worker->appends++;
		else if (errno == ENOSPC)
			rewind_fn(pool);
		else
			fail("append", strerror(errno));
	}
	free(data);
	return NULL;
}

static double now_s(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

int main(int argc, char **argv)
{
	if (argc != 6)
		fail("usage", "bench_pmemlog LIBRARY FILE SIZE THREADS MILLISECONDS");
	void *library = dlopen(argv[1], RTLD_NOW | RTLD_LOCAL);
	if (!library)
		fail("dlopen", dlerror());
	create_fn = (PMEMlogpool * (*)(const char *, size_t, mode_t)) find(library, "pmemlog_create");
	close_fn = (void (*)(PMEMlogpool *))find(library, "pmemlog_close");
	append_fn = (int (*)(PMEMlogpool *, const void *, size_t))find(library, "pmemlog_append");
	rewind_fn = (void (*)(PMEMlogpool *))find(library, "pmemlog_rewind");
	append_bytes = strtoul(argv[3], NULL, 10);
	unsigned thread_count = (unsigned)strtoul(argv[4], NULL, 10);
	if (!thread_count || thread_count > THREADS_MAX)
		fail("threads", "1 to 64");

	unlink(argv[2]);
	pool = create_fn(argv[2], POOL_BYTES, 0600);
	if (!pool)
		fail(argv[2], strerror(errno));
	/* Once through, so that no page is touched for the first time while the clock runs. */
	char page[4096] = {0};
	for (size_t i = 0; i < POOL_BYTES / sizeof(page) - 2 && getenv("BENCH_TOUCH"); i++)
		append_fn(pool, page, sizeof(page));
	rewind_fn(pool);

	static struct worker workers[THREADS_MAX];
	double start_s = now_s();
	for (unsigned i = 0; i < thread_count; i++)
		if (pthread_create(&workers[i].thread, NULL, append_until_stop, &workers[i]))
			fail("pthread_create", "failed");
	struct timespec time = {.tv_sec = atoi(argv[5]) / 1000, .tv_nsec = atoi(argv[5]) % 1000 * 1000000L};
	nanosleep(&time, NULL);
	atomic_store(&stop, 1);
	uint64_t appends = 0;
	for (unsigned i = 0; i < thread_count; i++) {
		pthread_join(workers[i].thread, NULL);
		appends += workers[i].appends;
	}
	double passed_s = now_s() - start_s;

	close_fn(pool);
	unlink(argv[2]);
	Dl_info info;
	dladdr((void *)(uintptr_t)append_fn, &info);
	printf("%.0f %s\n", (double)appends / passed_s, info.dli_fname);
	return 0;
}
