/*
 * random.c: long random scripts, each with a medium, window and interval of rounds of its own, watched at random
 * moments.
 *
 * crash_random [--seed N] [--histories N] [--seconds S] [--quick] [--script LETTERS [--config N]]
 *
 * History n depends on seed + n alone: what it prints at a failure repeats it. --seconds goes on until the time is up
 * (make crash-long); without it there is no clock. --quick: short histories, for the mutation check.
 */
#include "crash/harness.h"

#include "base/error.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct arguments {
	uint64_t seed, histories, seconds;
	const char *script;
	int config;
	bool quick;
};

struct history {
	struct config config;
	struct watcher watcher;
	char script[SCRIPT_MAX];
	unsigned every;
	uint64_t random;
};

/* What the quick ones begin with: histories that need a certain order. Each runs on every medium. */
static const char *const directed[] = {"naeakpap", "nnaAeSAkpAp", "ntp",     "nnaTp",
				       "nsap",     "nnasSwp",     "nqwfnap", "nNgskap"};
enum { DIRECTED = sizeof(directed) / sizeof(directed[0]) };

/* What a letter's frequency is: how often it stands here. */
static const char letters[] = "aaaaaaAAAAAAddsssSSSSmmmMMirRqQxybbBtTwwwwvnnnNgffFccckkkkpPhhhHHee";

static uint64_t below(struct history *history, uint64_t limit)
{
	/* splitmix64 (Steele, Lea, Flood, OOPSLA 2014). */
	uint64_t z = history->random += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return (z ^ z >> 31) % limit;
}

static const struct config configs[] = {
	{"bytes", MEDIUM_BYTE, 8, 4, 100, 0, 16384},
	{"bytes, aligned", MEDIUM_BYTE, 64, 8, 300, 0, 16384},
	{"lines", MEDIUM_CACHE_LINE, 8, 4, 100, 0, 16384},
	{"lines, aligned", MEDIUM_CACHE_LINE, 64, 8, 300, 0, 16384},
	{"lines, aligned, large blocks", MEDIUM_CACHE_LINE, 64, 8, 1 << 20, 4096, 28672},
	{"pages", MEDIUM_PAGE, 8, 4, 100, 0, 16384},
	{"pages, aligned", MEDIUM_PAGE, 64, 8, 300, 0, 16384},
	{"pages, large blocks", MEDIUM_PAGE, 8, 8, 1 << 20, 4096, 28672},
};
enum { CONFIGS = sizeof(configs) / sizeof(configs[0]) };

static void make(struct history *history, const struct arguments *arguments, uint64_t seed)
{
	static const uint64_t round_bytes[] = {1, 100, 300, 1 << 20};
	unsigned length;

	*history = (struct history){.random = seed * 2654435761U + 1, .watcher = watcher_default};
	history->config = configs[seed % CONFIGS];
	history->config.window = 2U << below(history, 3);
	history->config.round_bytes = round_bytes[below(history, 4)];
	history->every = 1 + (unsigned)below(history, 4);
	history->watcher.plans[0] = (struct cut_plan){.all_below = 16, .samples = 5, .single_max = 3};
	history->watcher.levels = below(history, 4) ? 2 : 3;
	if (arguments->script) {
		snprintf(history->script, sizeof(history->script), "%s", arguments->script);
		if (arguments->config >= 0)
			history->config = configs[arguments->config % CONFIGS];
		history->watcher = watcher_default;
		history->every = 1;
		return;
	}
	if (arguments->quick && seed - arguments->seed < DIRECTED * CONFIGS) {
		history->config.window = 8;
		snprintf(history->script, sizeof(history->script), "%s", directed[(seed - arguments->seed) / CONFIGS]);
		return;
	}
	length = arguments->quick ? 4 + (unsigned)below(history, 8) : 4 + (unsigned)below(history, 36);
	history->script[0] = 'n';
	for (unsigned i = 1; i < length; i++)
		history->script[i] = letters[below(history, sizeof(letters) - 1)];
}

static int run(struct history *history, uint64_t seed)
{
	struct machine machine;

	machine_begin(&machine, &history->config);
	machine.random = history->random;
	watcher_begin(&history->watcher, &machine);
	history->watcher.watch.every = history->every;
	cut_watch(machine.cut, &history->watcher.watch);
	enum outcome outcome = machine_open(&machine) ? FAILED : DONE;
	for (const char *at = history->script; *at && outcome != FAILED; at++) {
		outcome = machine_do(&machine, *at);
		if (outcome != FAILED && (cut_failure(machine.cut) || cut_check_now(machine.cut)))
			outcome = FAILED;
	}
	watcher_end(&history->watcher);
	if (outcome == FAILED)
		printf("# seed %zu, %s, window %u, round_bytes %zu, script \"%s\": %s\n", (size_t)seed,
		       history->config.name, history->config.window, (size_t)history->config.round_bytes,
		       history->script, cut_failure(machine.cut) ? cut_failure(machine.cut) : error_message());
	machine_end(&machine);
	return outcome == FAILED ? -1 : 0;
}

static uint64_t number(const char *option, const char *text)
{
	char *end;
	uint64_t value = text ? strtoull(text, &end, 0) : 0;

	if (!text || !*text || *end) {
		fprintf(stderr, "crash_random: %s takes a number\n", option);
		exit(2);
	}
	return value;
}

static struct arguments read_arguments(char **at)
{
	struct arguments arguments = {.seed = 1, .histories = 150, .config = -1};
	bool counted = false;

	for (at++; *at; at++) {
		const char *option = *at;
		if (!strcmp(option, "--quick")) {
			arguments.quick = true;
			continue;
		}
		const char *value = *++at;
		if (!strcmp(option, "--seed"))
			arguments.seed = number(option, value);
		else if (!strcmp(option, "--histories"))
			arguments.histories = number(option, value), counted = true;
		else if (!strcmp(option, "--seconds"))
			arguments.seconds = number(option, value);
		else if (!strcmp(option, "--config"))
			arguments.config = (int)number(option, value);
		else if (!strcmp(option, "--script") && value)
			arguments.script = value;
		else
			fprintf(stderr, "crash_random: what is %s?\n", option), exit(2);
	}
	if (arguments.seconds && !counted)
		arguments.histories = UINT64_MAX;
	if (arguments.script)
		arguments.histories = 1;
	return arguments;
}

int main(int argc, char **argv)
{
	(void)argc;
	struct arguments arguments = read_arguments(argv);
	time_t begun = arguments.seconds ? time(NULL) : 0;
	uint64_t images = 0, done = 0;
	bool failed = false;

	setvbuf(stdout, NULL, _IOLBF, 0);
	while (done < arguments.histories && !failed) {
		struct history history;
		uint64_t seed = arguments.seed + done++;
		make(&history, &arguments, seed);
		failed = run(&history, seed);
		images += history.watcher.images;
		if (failed)
			printf("# repeat: test_crash_random --seed %zu --histories 1%s\n", (size_t)seed,
			       arguments.quick ? " --quick" : "");
		if (arguments.seconds && time(NULL) - begun >= (time_t)arguments.seconds)
			break;
	}
	printf("# %zu histories, %zu images\n", (size_t)done, (size_t)images);
	printf("%sok 1 - random histories survive any cut\n1..1\n", failed ? "not " : "");
	return failed;
}
