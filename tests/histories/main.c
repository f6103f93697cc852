/*
 * main.c: plays histories by seed, and says how to repeat the one that broke a promise.
 *
 *     histories [--granularity=byte|line|page|all] [--seed=N] [--count=N] [--seconds=N] [--jobs=N] [--steps=N]
 * [--trace]
 *
 * Speaks TAP: one case a granularity. The seed of history i of a run is seed + i, so that any one can be played alone.
 * A history that crashes or hangs the library names its seed, too.
 */
#include "histories/history.h"

#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { GRANULARITIES = 3, JOBS_MAX = 64, HANG_SECONDS = 15 };

static const char *const names[GRANULARITIES] = {
	[MEDIUM_BYTE] = "byte", [MEDIUM_CACHE_LINE] = "line", [MEDIUM_PAGE] = "page"};

struct request {
	const char *program;
	int granularity; /* -1: all */
	uint64_t seed, count;
	unsigned seconds, jobs, steps;
	bool tracing;
};

/* What a worker leaves for its parent. */
struct result {
	struct statistics statistics;
	uint64_t failed_seed;
	char failure[1024];
};

static char repeat_text[512]; /* how to repeat the history that is being played */

static void say_seed(int signal_number)
{
	static const char said[] = "# the history crashed or hung; to repeat it:\n# ";
	ssize_t ignored = write(STDOUT_FILENO, said, sizeof(said) - 1);

	ignored = write(STDOUT_FILENO, repeat_text, strlen(repeat_text));
	(void)ignored;
	signal(signal_number, SIG_DFL);
	raise(signal_number);
}

static void set_repeat(const struct request *request, enum medium_granularity granularity, uint64_t seed)
{
	snprintf(repeat_text, sizeof(repeat_text), "%s --granularity=%s --seed=%" PRIu64 " --steps=%u --trace\n",
		 request->program, names[granularity], seed, request->steps);
}

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static void work(const struct request *request, enum medium_granularity granularity, unsigned job,
		 struct result *result)
{
	uint64_t end_ns = now_ns() + request->seconds * UINT64_C(1000000000);
	struct history *history = aligned_alloc(64, (sizeof(*history) + 63) / 64 * 64);

	if (!history)
		abort();
	history_init(history, granularity, request->steps, request->tracing);
	for (uint64_t i = job; request->seconds ? now_ns() < end_ns : i < request->count; i += request->jobs) {
		set_repeat(request, granularity, request->seed + i);
		alarm(HANG_SECONDS);
		if (history_play(history, request->seed + i)) {
			result->failed_seed = request->seed + i;
			memcpy(result->failure, history->failure, sizeof(result->failure));
			break;
		}
	}
	alarm(0);
	result->statistics = history->statistics;
	history_free(history);
	free(history);
}

static void add(struct statistics *sum, const struct statistics *part)
{
	uint64_t *to = (uint64_t *)sum;
	const uint64_t *from = (const uint64_t *)part;

	for (size_t i = 0; i < sizeof(*sum) / sizeof(*to); i++)
		to[i] += from[i];
}

static void print_statistics(const struct statistics *s, double seconds)
{
	printf("# %" PRIu64 " histories in %.1f s: %" PRIu64 " actions, %" PRIu64 " openings (%" PRIu64
	       " interrupted, %" PRIu64 " closed before), %" PRIu64 " kills, %" PRIu64 " power cuts, %" PRIu64
	       " of them inside a call\n",
	       s->histories, seconds, s->actions, s->openings, s->interrupted_openings, s->clean_openings, s->kills,
	       s->power_cuts, s->deaths_inside);
	printf("# %" PRIu64 " entries checked, %" PRIu64 " fillers, %" PRIu64 " entries dropped, %" PRIu64
	       " regions made, %" PRIu64 " freed; %" PRIu64 " faults; %" PRIu64 " damages: %" PRIu64
	       " reported at open, %" PRIu64 " at read, %" PRIu64 " healed, %" PRIu64 " excepted\n",
	       s->entries_checked, s->fillers_checked, s->entries_dropped, s->regions_made, s->regions_freed, s->faults,
	       s->damages, s->damages_at_open, s->damages_at_read, s->damages_healed, s->damages_excepted);
}

/* A worker for each job; false: a promise was broken, or a worker died. */
static bool run(const struct request *request, enum medium_granularity granularity)
{
	size_t bytes = sizeof(struct result) * request->jobs;
	struct result *results = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct statistics sum = {0};
	uint64_t begin_ns = now_ns();
	bool fine = true;

	if (results == MAP_FAILED)
		abort();
	fflush(stdout);
	for (unsigned job = 0; job < request->jobs; job++) {
		pid_t child = fork();
		if (child < 0)
			abort();
		if (!child) {
			work(request, granularity, job, &results[job]);
			fflush(stdout);
			exit(0);
		}
	}
	for (unsigned job = 0; job < request->jobs; job++) {
		int status;
		fine = wait(&status) >= 0 && !status && fine;
	}
	for (unsigned job = 0; job < request->jobs; job++) {
		add(&sum, &results[job].statistics);
		if (!results[job].failure[0])
			continue;
		fine = false;
		set_repeat(request, granularity, results[job].failed_seed);
		printf("# seed %" PRIu64 ": %s\n# to repeat it:\n# %s", results[job].failed_seed, results[job].failure,
		       repeat_text);
	}
	print_statistics(&sum, (double)(now_ns() - begin_ns) / 1e9);
	munmap(results, bytes);
	return fine;
}

static int find_granularity(const char *name)
{
	for (int i = 0; i < GRANULARITIES; i++)
		if (!strcmp(name, names[i]))
			return i;
	if (!strcmp(name, "all"))
		return -1;
	fprintf(stderr, "histories: no granularity is called '%s'\n", name);
	exit(2);
}

static struct request parse(int argc, char **argv)
{
	static const struct option options[] = {
		{"granularity", required_argument, NULL, 'g'},
		{"seed", required_argument, NULL, 's'},
		{"count", required_argument, NULL, 'n'},
		{"seconds", required_argument, NULL, 't'},
		{"jobs", required_argument, NULL, 'j'},
		{"steps", required_argument, NULL, 'l'},
		{"trace", no_argument, NULL, 'x'},
		{NULL, 0, NULL, 0},
	};
	struct request request = {.program = argv[0], .granularity = -1, .seed = 1, .count = 1, .jobs = 1, .steps = 40};
	int option;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		uint64_t number = optarg ? strtoull(optarg, NULL, 0) : 0;
		switch (option) {
		case 'g':
			request.granularity = find_granularity(optarg);
			break;
		case 's':
			request.seed = number;
			break;
		case 'n':
			request.count = number;
			break;
		case 't':
			request.seconds = (unsigned)number;
			break;
		case 'j':
			request.jobs = number < 1 ? 1 : number > JOBS_MAX ? JOBS_MAX : (unsigned)number;
			break;
		case 'l':
			request.steps = (unsigned)number;
			break;
		case 'x':
			request.tracing = true;
			break;
		default:
			exit(2);
		}
	}
	return request;
}

int main(int argc, char **argv)
{
	struct request request = parse(argc, argv);
	bool fine = true;
	int number = 0;

	signal(SIGSEGV, say_seed);
	signal(SIGBUS, say_seed);
	signal(SIGFPE, say_seed);
	signal(SIGABRT, say_seed);
	signal(SIGALRM, say_seed);
	printf("1..%d\n", request.granularity < 0 ? GRANULARITIES : 1);
	for (int granularity = 0; granularity < GRANULARITIES; granularity++) {
		if (request.granularity >= 0 && granularity != request.granularity)
			continue;
		bool kept = run(&request, (enum medium_granularity)granularity);
		printf("%sok %d - every history on %s media keeps the promise\n", kept ? "" : "not ", ++number,
		       names[granularity]);
		fine = fine && kept;
	}
	return fine ? 0 : 1;
}
