/*
 * bench.c: pmemstream bench: what a durable append costs on this device.
 *
 * For each size the device's own floor is measured first, in the same folder, then appends of every number of threads
 * and kind of durability, each in a region that is new. The files are removed at the end, also after an error or an
 * interrupt: their names go as soon as they are open.
 */
#include "tool/measure.h"
#include "tool/opening.h"
#include "tool/output.h"
#include "tool/plot.h"
#include "tool/report.h"
#include "tool/text.h"
#include "tool/tool.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char help[] =
	"usage: pmemstream bench FILE [OPTION]...\n"
	"\n"
	"Measures how long appends take until they are durable, in a stream of its own in FILE, which must not exist "
	"and is\n"
	"gone afterwards; beside the device's own floor, FILE.floor: pwrite and fdatasync, or stores and a fence.\n"
	"\n"
	"  -s, --size LIST        bytes of an entry: 64,1K is the default\n"
	"  -t, --threads LIST     threads that append at once, to the same region: 1,4\n"
	"      --durability LIST  each: every append waits; batch: 64 entries wait together: each,batch\n"
	"      --seconds N        for each line of the table, unless the region is full before (1)\n"
	"      --space SIZE       of the region (64M); the file is a little larger, and FILE.floor as large\n"
	"      --histogram        draw how the latencies are spread\n"
	"      --svg PLOT         draw latency over percentile into a file, by gnuplot\n"
	"      --json             a list of objects\n"
	"\n"
	"Latencies of batch are those of 64 entries together.\n";

static const struct option options[] = {
	{"size", required_argument, NULL, 's'},
	{"threads", required_argument, NULL, 't'},
	{"durability", required_argument, NULL, 'd'},
	{"seconds", required_argument, NULL, 'S'},
	{"space", required_argument, NULL, 'r'},
	{"histogram", no_argument, NULL, 'H'},
	{"svg", required_argument, NULL, 'v'},
	{"json", no_argument, NULL, 'j'},
	OPTIONS_COMMON,
};

enum { LIST_MAX = 16, RESULTS_MAX = LIST_MAX * (1 + 2 * LIST_MAX), SIZE_MAX_BYTES = 16 << 20 };

struct list {
	uint64_t values[LIST_MAX];
	size_t count;
};

struct job {
	const char *path, *svg;
	struct list sizes, threads, durabilities;
	uint64_t run_ns, space;
	bool histogram, json;
	struct pmemstream *stream;
	struct measure_floor floor;
	struct measure_result results[RESULTS_MAX];
	size_t count;
};

/* Reads a list with commas; what: 's' sizes, 't' threads, 'd' durabilities. */
static bool read_list(const char *option, int what, char *text, struct list *list)
{
	static const char *const words[] = {"each", "batch", NULL};

	list->count = 0;
	for (char *item; (item = strsep(&text, ","));) {
		uint64_t *value = &list->values[list->count];
		int word = 0;
		if (list->count++ == LIST_MAX) {
			options_wrong(&command_bench, "%s has more than %d items", option, LIST_MAX);
			return false;
		}
		if (what == 'd'   ? (word = options_word(&command_bench, option, item, words)) < 0
		    : what == 's' ? !options_size(&command_bench, option, item, value)
				  : !options_number(&command_bench, option, item, 1, value))
			return false;
		if (what == 'd')
			*value = (uint64_t)word;
		if (*value > (what == 's' ? (uint64_t)SIZE_MAX_BYTES : (uint64_t)MEASURE_THREADS_MAX)) {
			options_wrong(&command_bench, "%s %s is more than can be measured", option, item);
			return false;
		}
	}
	return true;
}

/* "123 ns", "45.6 us", "7.89 ms": three digits that count. */
static const char *time_text(uint64_t ns)
{
	static char texts[8][16];
	static unsigned next;
	char *to = texts[next++ % 8];
	double value = (double)ns;
	const char *unit = "ns";

	if (ns >= 1000000) {
		value /= 1e6;
		unit = "ms";
	} else if (ns >= 1000) {
		value /= 1e3;
		unit = "us";
	}
	snprintf(to, sizeof(texts[0]), "%.*f %s", ns < 1000 || value >= 100 ? 0 : value >= 10 ? 1 : 2, value, unit);
	return to;
}

static double per_append(const struct measure_result *result, uint64_t orders)
{
	return result->appended ? (double)orders / (double)result->appended : 0;
}

static double per_second(const struct measure_result *result)
{
	return result->elapsed_ns ? (double)result->appended * 1e9 / (double)result->elapsed_ns : 0;
}

static void print_row(const struct measure_result *result)
{
	printf("%-18s %9s %8s %8s %8s %8s  %6.3f %6.3f\n", plot_name(result), text_count((uint64_t)per_second(result)),
	       time_text(measure_percentile(result, 500)), time_text(measure_percentile(result, 990)),
	       time_text(measure_percentile(result, 999)), time_text(measure_percentile(result, 1000)),
	       per_append(result, result->fences), per_append(result, result->syncs));
	fflush(stdout);
}

static void print_json(const struct measure_result *result, bool first)
{
	static const char *const whats[] = {"each", "batch", "floor"};

	printf("%s\n  "
	       "{\"what\":\"%s\",\"size\":%zu,\"threads\":%u,\"appends\":%zu,\"appends_per_second\":%.1f,\"samples\":%"
	       "zu,"
	       "\"entries_per_sample\":%d,\"p50_ns\":%zu,\"p90_ns\":%zu,\"p99_ns\":%zu,\"p999_ns\":%zu,\"max_ns\":%zu,"
	       "\"fences_per_append\":%.4f,\"syncs_per_append\":%.4f}",
	       first ? "" : ",", whats[result->of.what], result->of.bytes, result->of.threads, (size_t)result->appended,
	       per_second(result), result->count, result->of.what == MEASURE_BATCH ? MEASURE_BATCH_COUNT : 1,
	       (size_t)measure_percentile(result, 500), (size_t)measure_percentile(result, 900),
	       (size_t)measure_percentile(result, 990), (size_t)measure_percentile(result, 999),
	       (size_t)measure_percentile(result, 1000), per_append(result, result->fences),
	       per_append(result, result->syncs));
}

static void print_result(struct job *job, const struct measure_result *result)
{
	if (job->json)
		print_json(result, job->count == 1);
	else
		print_row(result);
}

/* One line of the table. TOOL_DONE, or what was reported. */
static int measure_one(struct job *job, const struct measure_case *of)
{
	struct measure_result *result = &job->results[job->count];
	struct pmemstream_region region;

	if (of->what == MEASURE_FLOOR) {
		if (measure_floor(&job->floor, of, result))
			return TOOL_FAILED;
	} else {
		if (pmemstream_region_allocate(job->stream, job->space, &region))
			return report_stream(job->path, "bench");
		if (measure_stream(job->stream, region, of, result))
			return TOOL_FAILED;
		if (pmemstream_region_free(job->stream, region))
			return report_stream(job->path, "bench");
	}
	job->count++;
	print_result(job, result);
	return TOOL_DONE;
}

static int measure_all(struct job *job)
{
	for (size_t s = 0; s < job->sizes.count; s++) {
		struct measure_case of = {
			.what = MEASURE_FLOOR, .bytes = job->sizes.values[s], .threads = 1, .run_ns = job->run_ns};
		int status = measure_one(job, &of);
		for (size_t d = 0; d < job->durabilities.count; d++)
			for (size_t t = 0; !status && t < job->threads.count && output_works(); t++) {
				of.what = (enum measure_what)job->durabilities.values[d];
				of.threads = (unsigned)job->threads.values[t];
				status = measure_one(job, &of);
			}
		if (status)
			return status;
	}
	return TOOL_DONE;
}

static int bench(struct job *job)
{
	struct pmemstream_config config = {.size = job->space + (1 << 20)};

	if (pmemstream_create(&job->stream, job->path, &config)) {
		if (errno != EEXIST)
			return report_stream(job->path, "bench");
		report("%s exists and was not touched: bench makes a file and removes it", job->path);
		return TOOL_FAILED;
	}
	unlink(job->path);
	int status = measure_floor_open(&job->floor, job->path, job->space) ? TOOL_FAILED : TOOL_DONE;
	if (!status) {
		if (job->json)
			putchar('[');
		else
			printf("The floor is %s; xN: so many threads.\n\n%-18s %9s %8s %8s %8s %8s  %6s %6s\n",
			       job->floor.how, "", "per s", "p50", "p99", "p99.9", "max", "fences", "syncs");
		fflush(stdout);
		status = measure_all(job);
		if (job->json)
			puts("\n]");
		measure_floor_close(&job->floor);
	}
	for (size_t i = 0; job->histogram && !status && i < job->count; i++)
		plot_histogram(&job->results[i]);
	if (!status && job->svg && plot_svg(job->results, job->count, job->svg))
		status = TOOL_FAILED;
	for (size_t i = 0; i < job->count; i++)
		free(job->results[i].latencies_ns);
	pmemstream_delete(&job->stream);
	return status;
}

/* TOOL_DONE, or TOOL_USAGE, reported. */
static int take_option(struct job *job, int option)
{
	bool fine = true;

	switch (option) {
	case 's':
		fine = read_list("--size", 's', optarg, &job->sizes);
		break;
	case 't':
		fine = read_list("--threads", 't', optarg, &job->threads);
		break;
	case 'd':
		fine = read_list("--durability", 'd', optarg, &job->durabilities);
		break;
	case 'S':
		fine = options_seconds(&command_bench, "--seconds", optarg, &job->run_ns);
		break;
	case 'r':
		fine = options_size(&command_bench, "--space", optarg, &job->space);
		break;
	case 'H':
		job->histogram = true;
		break;
	case 'v':
		job->svg = optarg;
		break;
	default:
		job->json = true;
	}
	return fine ? TOOL_DONE : TOOL_USAGE;
}

static int run(int argc, char **argv)
{
	static struct job job = {
		.sizes = {.values = {64, 1024}, .count = 2},
		.threads = {.values = {1, 4}, .count = 2},
		.durabilities = {.values = {MEASURE_EACH, MEASURE_BATCH}, .count = 2},
		.run_ns = 1000000000,
		.space = 64 << 20,
	};
	int option, status;

	while ((option = options_next(&command_bench, argc, argv, "s:t:", options, &status)) != OPTIONS_END) {
		if (option == OPTIONS_LEAVE)
			return status;
		if (take_option(&job, option))
			return TOOL_USAGE;
	}
	if (!options_operands(&command_bench, argc, 1, 1, "FILE"))
		return TOOL_USAGE;
	if (job.json && job.histogram)
		return options_wrong(&command_bench, "--json and --histogram exclude one another");
	job.path = argv[optind];
	report_bus_errors(job.path);
	return bench(&job);
}

const struct command command_bench = {"bench", "measure what a durable append costs here", help, run};
