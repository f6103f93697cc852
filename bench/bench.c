/*
 * bench.c: options, clock, files and results of the benchmark programs.
 */
#include "bench.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

static char folder[BENCH_PATH_BYTES];
static pid_t folder_owner;

void bench_die(const char *what, const char *why)
{
	fprintf(stderr, "%s: %s: %s\n", program_invocation_short_name, what, why);
	exit(1);
}

/* ---- options ---- */

static bool parse_number(const char *text, char **end, uint64_t *number)
{
	static const char units[] = "KMG";

	errno = 0;
	*number = strtoull(text, end, 0);
	if (*end == text || errno || *text == '-')
		return false;
	const char *unit = **end ? strchr(units, **end) : NULL;
	if (unit) {
		*number <<= 10 * (unit - units + 1);
		++*end;
	}
	return true;
}

static bool parse_list(const char *text, struct bench_list *list)
{
	char *end = NULL;

	list->count = 0;
	do {
		if (list->count == BENCH_LIST_MAX || !parse_number(text, &end, &list->values[list->count++]))
			return false;
		text = end + 1;
	} while (*end == ',');
	return !*end;
}

static bool parse_value(const struct bench_option *option, const char *text)
{
	char *end;

	if (option->kind == BENCH_FLAG)
		return !text && (*(bool *)option->value = true);
	if (!text || !*text)
		return false;
	switch (option->kind) {
	case BENCH_LIST:
		return parse_list(text, option->value);
	case BENCH_NUMBER:
		return parse_number(text, &end, option->value) && !*end;
	default:
		*(const char **)option->value = text;
		return true;
	}
}

static void print_default(const struct bench_option *option)
{
	const struct bench_list *list = option->value;

	switch (option->kind) {
	case BENCH_LIST:
		for (unsigned i = 0; i < list->count; i++)
			printf("%s%llu", i ? "," : " (default: ", (unsigned long long)list->values[i]);
		printf("%s", list->count ? ")" : "");
		break;
	case BENCH_NUMBER:
		printf(" (default: %llu)", (unsigned long long)*(uint64_t *)option->value);
		break;
	case BENCH_TEXT:
		if (*(const char **)option->value)
			printf(" (default: %s)", *(const char **)option->value);
		break;
	case BENCH_FLAG:
		break;
	}
	printf("\n");
}

static void help(const char *about, const struct bench_option *options)
{
	static const char *const arguments[] = {"=N,N,...", "=N", "=TEXT", ""};

	printf("usage: %s [OPTION...]\n\n%s\n\n", program_invocation_short_name, about);
	for (const struct bench_option *option = options; option->name; option++) {
		char name[64];
		snprintf(name, sizeof(name), "--%s%s", option->name, arguments[option->kind]);
		printf("  %-20s %s", name, option->help);
		print_default(option);
	}
}

static const struct bench_option *find_option(const struct bench_option *options, const char *name, size_t length)
{
	for (; options->name; options++)
		if (strlen(options->name) == length && !memcmp(options->name, name, length))
			return options;
	return NULL;
}

void bench_parse(int argc, char **argv, const char *about, const struct bench_option *options)
{
	for (int i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "--help")) {
			help(about, options);
			exit(0);
		}
		bool named = !strncmp(argv[i], "--", 2);
		const char *equals = strchr(argv[i], '=');
		const struct bench_option *option =
			named ? find_option(options, argv[i] + 2,
					    equals ? (size_t)(equals - argv[i]) - 2 : strlen(argv[i] + 2))
			      : NULL;
		if (!option || !parse_value(option, equals ? equals + 1 : NULL)) {
			fprintf(stderr, "%s: '%s' is not understood; --help tells the options\n",
				program_invocation_short_name, argv[i]);
			exit(2);
		}
	}
}

bool bench_medium_is_disk(const char *medium)
{
	if (strcmp(medium, "disk") != 0 && strcmp(medium, "memory") != 0)
		bench_die("--medium", "memory or disk");
	return !strcmp(medium, "disk");
}

/* ---- files ---- */

static int remove_one(const char *path, const struct stat *status, int type, struct FTW *walk)
{
	(void)status;
	(void)type;
	(void)walk;
	return remove(path);
}

static void remove_folder(void)
{
	if (getpid() == folder_owner)
		nftw(folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

static const int ends[] = {SIGINT, SIGTERM, SIGHUP, SIGPIPE};

/* A shell does what a signal handler may not do. What is ignored here, because a second signal often follows the first,
 * stays ignored there. */
static void remove_at_signal(int signal_number)
{
	int status = 128 + signal_number;
	char digits[] = {(char)('0' + status / 100), (char)('0' + status / 10 % 10), (char)('0' + status % 10), 0};

	for (size_t i = 0; i < sizeof(ends) / sizeof(*ends); i++)
		signal(ends[i], SIG_IGN);
	execl("/bin/sh", "sh", "-c", "rm -rf \"$0\"; exit $1", folder, digits, NULL);
	_exit(1);
}

const char *bench_folder(bool disk, const char *where)
{
	const char *parent = where ? where : disk ? "." : "/dev/shm";

	/* The libraries look at these when they open a file, PMDK's when it is loaded. */
	setenv("PMEM2_FORCE_GRANULARITY", disk ? "PAGE" : "CACHE_LINE", 1);
	setenv("PMEM_IS_PMEM_FORCE", disk ? "0" : "1", 1);
	snprintf(folder, sizeof(folder), "%s/bench.XXXXXX", parent);
	if (!mkdtemp(folder))
		bench_die(folder, strerror(errno));
	folder_owner = getpid();
	atexit(remove_folder);
	const struct sigaction action = {.sa_handler = remove_at_signal};
	for (size_t i = 0; i < sizeof(ends) / sizeof(*ends); i++) {
		struct sigaction before;
		if (!sigaction(ends[i], NULL, &before) && before.sa_handler != SIG_IGN)
			sigaction(ends[i], &action, NULL);
	}
	return folder;
}

char *bench_map_written(const char *path, size_t bytes, int *fd)
{
	/* A page at a time: of larger writes the kernel makes larger pieces of its cache, and writes back whole ones.
	 */
	static const char block[4096];

	*fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (*fd < 0)
		bench_die(path, strerror(errno));
	for (size_t off = 0; off < bytes; off += sizeof(block)) {
		size_t piece = bytes - off < sizeof(block) ? bytes - off : sizeof(block);
		if (pwrite(*fd, block, piece, (off_t)off) != (ssize_t)piece)
			bench_die(path, "cannot write all of it");
	}
	if (fsync(*fd))
		bench_die(path, strerror(errno));
	char *base = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, *fd, 0);
	if (base == MAP_FAILED)
		bench_die(path, strerror(errno));
	return base;
}

/* ---- numbers ---- */

/* The one with that number among those that this process may use; false where there are not so many. */
static bool choose_processor(unsigned number, unsigned threads, cpu_set_t *chosen)
{
	cpu_set_t allowed;

	if (sched_getaffinity(0, sizeof(allowed), &allowed) || threads > (unsigned)CPU_COUNT(&allowed))
		return false;
	CPU_ZERO(chosen);
	for (unsigned processor = 0; processor < CPU_SETSIZE; processor++)
		if (CPU_ISSET(processor, &allowed) && number-- == 0) {
			CPU_SET(processor, chosen);
			return true;
		}
	return false;
}

pthread_t bench_thread(unsigned number, unsigned threads, void *(*run)(void *), void *argument)
{
	pthread_attr_t attributes;
	pthread_t thread;
	cpu_set_t chosen;

	pthread_attr_init(&attributes);
	if (choose_processor(number, threads, &chosen))
		pthread_attr_setaffinity_np(&attributes, sizeof(chosen), &chosen);
	int err = pthread_create(&thread, &attributes, run, argument);
	if (err)
		bench_die("starting a thread", strerror(err));
	pthread_attr_destroy(&attributes);
	return thread;
}

uint64_t bench_now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000U + (uint64_t)now.tv_nsec;
}

/* Marsaglia's xorshift64. */
uint64_t bench_random(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

void bench_shuffle(unsigned *order, unsigned count, uint64_t *state)
{
	for (unsigned i = count; i > 1; i--) {
		unsigned other = (unsigned)(bench_random(state) % i), kept = order[i - 1];
		order[i - 1] = order[other];
		order[other] = kept;
	}
}

void bench_fill(void *to, size_t bytes, uint64_t *state)
{
	for (size_t i = 0; i < bytes; i++)
		((unsigned char *)to)[i] = (unsigned char)(bench_random(state) >> 32);
}

static int compare_doubles(const void *a, const void *b)
{
	double left = *(const double *)a, right = *(const double *)b;

	return (left > right) - (left < right);
}

double bench_median(double *values, unsigned count)
{
	qsort(values, count, sizeof(*values), compare_doubles);
	return values[count / 2];
}

uint64_t bench_page_faults(void)
{
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	return (uint64_t)usage.ru_minflt + (uint64_t)usage.ru_majflt;
}

uint64_t bench_proc_number(const char *path, const char *key)
{
	FILE *file = fopen(path, "re");
	size_t length = strlen(key);
	uint64_t number = 0;
	char line[256];

	while (file && fgets(line, sizeof(line), file))
		if (!strncmp(line, key, length) && line[length] == ':')
			number = strtoull(line + length + 1, NULL, 10);
	if (file)
		fclose(file);
	return number;
}

uint64_t bench_written_bytes(void)
{
	return bench_proc_number("/proc/self/io", "write_bytes");
}

/* ---- results ---- */

__attribute__((format(printf, 2, 3))) static void put(struct bench_result *result, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	int length = vsnprintf(result->line + result->used, sizeof(result->line) - result->used, format, arguments);
	va_end(arguments);
	if (length < 0 || (size_t)length >= sizeof(result->line) - result->used)
		bench_die("a result", "does not fit its line");
	result->used += (size_t)length;
}

void bench_result_begin(struct bench_result *result, bool json, const char *work)
{
	result->used = 0;
	result->json = json;
	put(result, json ? "{\"work\": \"%s\"" : "%s", work);
}

void bench_result_text(struct bench_result *result, const char *key, const char *text)
{
	put(result, result->json ? ", \"%s\": \"%s\"" : "  %s=%s", key, text);
}

void bench_result_number(struct bench_result *result, const char *key, double value)
{
	put(result, result->json ? ", \"%s\": %.10g" : "  %s=%.4g", key, value);
}

void bench_result_rounds(struct bench_result *result, const char *key, const double *values, unsigned count)
{
	double sorted[BENCH_ROUNDS_MAX];

	if (result->json) {
		put(result, ", \"%s\": [", key);
		for (unsigned i = 0; i < count; i++)
			put(result, "%s%.10g", i ? ", " : "", values[i]);
		put(result, "]");
		return;
	}
	memcpy(sorted, values, count * sizeof(*values));
	double median = bench_median(sorted, count);
	put(result, "  %s=%.4g (%.4g to %.4g)", key, median, sorted[0], sorted[count - 1]);
}

void bench_result_end(struct bench_result *result)
{
	printf("%s%s\n", result->line, result->json ? "}" : "");
	fflush(stdout);
}
