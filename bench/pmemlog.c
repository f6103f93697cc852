/*
 * pmemlog.c: appends per second of our libpmemlog and of PMDK's, side by side.
 *
 *   bench_pmemlog                                          the table: medium, threads, bytes, ours, original, ratio
 *   bench_pmemlog LIBRARY FILE SIZE THREADS MILLISECONDS   one measurement
 *
 * Each measurement is a process of its own that loads one library, makes a pool, and lets threads append until the time
 * is over, rewinding when it is full. The two take turns, and the medians of several turns count. Media: "lines", a
 * file in memory that both are told to treat as persistent memory; "pages", a file in the current folder, with msync.
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

enum { POOL_BYTES = 16 << 20, THREADS_MAX = 64, TURNS = 9, TURN_MS = 120 };

static PMEMlogpool *(*create_fn)(const char *, size_t, mode_t);
static void (*close_fn)(PMEMlogpool *);
static int (*append_fn)(PMEMlogpool *, const void *, size_t);
static void (*rewind_fn)(PMEMlogpool *);

static PMEMlogpool *pool;
static size_t append_bytes;
static _Atomic int stop;
static char self[4096];

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

static int measure(char **argv)
{
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
	static char block[1 << 20];
	while (!append_fn(pool, block, sizeof(block)))
		continue;
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

static double turn(const char *library, const char *environment, const char *path, unsigned size, unsigned threads)
{
	char command[8192], loaded[4096];
	double per_s = 0;

	snprintf(command, sizeof(command), "exec env %s '%s' '%s' '%s' %u %u %d", environment, self, library, path,
		 size, threads, TURN_MS);
	FILE *output = popen(command, "r");
	if (!output || fscanf(output, "%lf %4095s", &per_s, loaded) != 2 || pclose(output) ||
	    strcmp(loaded, library) != 0)
		fail(command, "no measurement");
	return per_s;
}

static int by_size(const void *a, const void *b)
{
	double first = *(const double *)a, second = *(const double *)b;

	return (first > second) - (first < second);
}

static void compare(const char *medium, const char *environment, const char *path, unsigned size, unsigned threads)
{
	double ours[TURNS], theirs[TURNS];

	for (int i = 0; i < TURNS; i++) {
		ours[i] = turn(OURS, environment, path, size, threads);
		theirs[i] = turn(ORIGINAL, environment, path, size, threads);
	}
	qsort(ours, TURNS, sizeof(double), by_size);
	qsort(theirs, TURNS, sizeof(double), by_size);
	printf("%s\t%u\t%u\t%.0f\t%.0f\t%.2f\n", medium, threads, size, ours[TURNS / 2], theirs[TURNS / 2],
	       ours[TURNS / 2] / theirs[TURNS / 2]);
	fflush(stdout);
}

int main(int argc, char **argv)
{
	static const unsigned sizes[] = {64, 256, 1024, 4096}, threads[] = {1, 2, 4};
	char memory[64];

	if (argc == 6)
		return measure(argv);
	if (argc != 1)
		fail("usage", "bench_pmemlog [LIBRARY FILE SIZE THREADS MILLISECONDS]");
	if (readlink("/proc/self/exe", self, sizeof(self) - 1) < 0)
		fail("/proc/self/exe", strerror(errno));
	if (access(ORIGINAL, R_OK))
		fail(ORIGINAL, "PMDK's library is not installed (Debian: libpmemlog-dev)");
	snprintf(memory, sizeof(memory), "/dev/shm/bench_pmemlog.%d", (int)getpid());
	printf("medium\tthreads\tbytes\tours_per_s\toriginal_per_s\tratio\n");
	for (size_t t = 0; t < sizeof(threads) / sizeof(threads[0]); t++)
		for (size_t s = 0; s < sizeof(sizes) / sizeof(sizes[0]); s++)
			compare("lines", "PMEM_IS_PMEM_FORCE=1", memory, sizes[s], threads[t]);
	for (size_t t = 0; t < sizeof(threads) / sizeof(threads[0]); t++)
		for (size_t s = 0; s < sizeof(sizes) / sizeof(sizes[0]); s++)
			compare("pages", "PMEM_IS_PMEM_FORCE=0", "bench_pmemlog.pool", sizes[s], threads[t]);
	return 0;
}
