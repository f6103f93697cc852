/*
 * idle.c: the memory that an open stream takes while nothing is done with it: RssAnon of a process, before and after it
 * opens the stream. The file's own pages are not meant, the kernel can take them back at any time.
 */
#include "filled.h"

#include <libpmemstream.h>
#include <stdio.h>
#include <unistd.h>

static uint64_t anonymous_bytes(void)
{
	return bench_proc_number("/proc/self/status", "RssAnon") << 10;
}

static void open_idle(const void *context, struct filled_report *report)
{
	struct pmemstream *stream;

	uint64_t before = anonymous_bytes();
	if (pmemstream_open(&stream, context, NULL))
		bench_die(context, pmemstream_errormsg());
	report->anonymous_bytes = anonymous_bytes() - before;
}

static void print_idle(const struct filled *filled, bool json)
{
	struct bench_result result;

	struct filled_report report = filled_in_child(open_idle, filled->path);
	bench_result_begin(&result, json, "idle");
	bench_result_text(&result, "end", filled->end_clean ? "clean" : "killed");
	bench_result_number(&result, "data_bytes", (double)filled->data_bytes);
	bench_result_number(&result, "regions", (double)filled->regions);
	bench_result_number(&result, "anonymous_bytes", (double)report.anonymous_bytes);
	bench_result_end(&result);
}

int main(int argc, char **argv)
{
	struct bench_list data = {{16 << 20, 64 << 20, 256 << 20, 1 << 30}, 4}, regions = {{1, 1000, 10000}, 3};
	uint64_t rest_bytes = 2 << 20;
	const char *where = NULL;
	bool json = false;
	const struct bench_option options[] = {
		{"folder", BENCH_TEXT, &where, "where to put files (default: /dev/shm)"},
		{"data", BENCH_LIST, &data, "bytes of data in one region"},
		{"rest", BENCH_NUMBER, &rest_bytes, "bytes behind the last checkpoint, below 4M"},
		{"regions", BENCH_LIST, &regions, "regions with hardly any data"},
		{"json", BENCH_FLAG, &json, "print JSON"},
		{0},
	};
	char path[BENCH_PATH_BYTES];

	bench_parse(argc, argv,
		    "Memory of an open stream, by data and by regions, after a clean end and after a crash.", options);
	if (rest_bytes >= 4 << 20)
		bench_die("--rest", "below 4M");
	snprintf(path, sizeof(path), "%s/idle.stream", bench_folder(false, where));
	for (unsigned clean = 0; clean < 2; clean++)
		for (unsigned i = 0; i < data.count + regions.count; i++) {
			bool by_data = i < data.count;
			struct filled filled = {
				.path = path,
				.data_bytes = by_data ? data.values[i] : 0,
				.rest_bytes = rest_bytes,
				.regions = by_data ? 1 : regions.values[i - data.count],
				.end_clean = clean,
			};
			filled_make(&filled);
			print_idle(&filled, json);
			unlink(path);
		}
	return 0;
}
