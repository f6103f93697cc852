/*
 * recover.c: how long it takes to open a stream whose writer was killed, by the amount of data in it.
 *
 * Each round opens each stream once, in a process that then ends without closing, so that the next round finds the same
 * crash: recovery accepts what it finds behind the checkpoints and writes no checkpoint. Files are in the page cache.
 * What is read is counted in a process of its own, which maps the file without any permission and lets each page in
 * when it is touched for the first time; so the kernel's reading ahead does not count.
 */
#include "filled.h"

#include "base/error.h"
#include "stream/stream.h"

#include <errno.h>
#include <fcntl.h>
#include <libpmemstream.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

struct crashed {
	char path[BENCH_PATH_BYTES];
	uint64_t data_bytes;
	double ns[BENCH_ROUNDS_MAX];
	struct filled_report last, touched;
};

static void open_timed(const void *context, struct filled_report *report)
{
	const struct crashed *crashed = context;
	struct pmemstream_statistics statistics;
	struct pmemstream *stream;

	uint64_t page_faults = bench_page_faults();
	uint64_t begin_ns = bench_now_ns();
	if (pmemstream_open(&stream, crashed->path, NULL))
		bench_die(crashed->path, pmemstream_errormsg());
	report->ns = bench_now_ns() - begin_ns;
	report->page_faults = bench_page_faults() - page_faults;
	if (pmemstream_get_statistics(stream, &statistics))
		bench_die("statistics", pmemstream_errormsg());
	report->entries = statistics.committed;
	report->fences = statistics.fences;
	report->syncs = statistics.syncs;
	report->stored_bytes = statistics.stored_bytes;
}

/* ---- counting pages ---- */

static char *counted_base;
static size_t counted_bytes;
static volatile uint64_t counted_pages;

static void let_in(int signal_number, siginfo_t *information, void *context)
{
	char *at = information->si_addr;

	(void)context;
	if (at < counted_base || at >= counted_base + counted_bytes) {
		signal(signal_number, SIG_DFL);
		return;
	}
	counted_pages++;
	mprotect((char *)((uintptr_t)at & ~(uintptr_t)(MEDIUM_PAGE_BYTES - 1)), MEDIUM_PAGE_BYTES,
		 PROT_READ | PROT_WRITE);
}

static void open_counted(const void *context, struct filled_report *report)
{
	const struct crashed *crashed = context;
	const struct stream_options options = {.must_exist = true};
	struct sigaction action = {.sa_sigaction = let_in, .sa_flags = SA_SIGINFO};
	bool pages = !strcmp(getenv("PMEM2_FORCE_GRANULARITY"), "PAGE");
	struct pmemstream *stream;
	struct medium medium;
	struct stat status;

	int fd = open(crashed->path, O_RDWR | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &status))
		bench_die(crashed->path, strerror(errno));
	counted_bytes = (size_t)status.st_size;
	counted_base = mmap(NULL, counted_bytes, PROT_NONE, MAP_SHARED, fd, 0);
	if (counted_base == MAP_FAILED || sigaction(SIGSEGV, &action, NULL) ||
	    medium_from_range(&medium, counted_base, counted_bytes, pages ? MEDIUM_PAGE : MEDIUM_CACHE_LINE, true))
		bench_die(crashed->path, strerror(errno));
	if (stream_open(&stream, &medium, &options))
		bench_die(crashed->path, error_message());
	report->pages = counted_pages;
}

static void print_crashed(const struct crashed *crashed, const char *medium, uint64_t rest_bytes, uint64_t regions,
			  unsigned rounds, bool json)
{
	struct bench_result result;

	bench_result_begin(&result, json, "recover");
	bench_result_text(&result, "medium", medium);
	bench_result_number(&result, "data_bytes", (double)crashed->data_bytes);
	bench_result_number(&result, "rest_bytes", (double)rest_bytes);
	bench_result_number(&result, "regions", (double)regions);
	bench_result_rounds(&result, "ns", crashed->ns, rounds);
	bench_result_number(&result, "read_bytes", (double)crashed->touched.pages * MEDIUM_PAGE_BYTES);
	bench_result_number(&result, "stored_bytes", (double)crashed->last.stored_bytes);
	bench_result_number(&result, "page_faults", (double)crashed->last.page_faults);
	bench_result_number(&result, "fences", (double)crashed->last.fences);
	bench_result_number(&result, "syncs", (double)crashed->last.syncs);
	bench_result_number(&result, "entries", (double)crashed->last.entries);
	bench_result_end(&result);
}

int main(int argc, char **argv)
{
	static struct crashed streams[BENCH_LIST_MAX];
	struct bench_list data = {{64 << 20, 256 << 20, 1 << 30, UINT64_C(4) << 30}, 4};
	uint64_t rest_bytes = 2 << 20, regions = 1, rounds = 11, seed = 1;
	const char *medium = "disk", *where = NULL;
	bool json = false;
	const struct bench_option options[] = {
		{"medium", BENCH_TEXT, &medium, "memory (cache lines) or disk (syncs)"},
		{"folder", BENCH_TEXT, &where, "where to put files (memory: /dev/shm, disk: here)"},
		{"data", BENCH_LIST, &data, "bytes of data that checkpoints cover"},
		{"rest", BENCH_NUMBER, &rest_bytes, "bytes behind the last checkpoint, below 4M"},
		{"regions", BENCH_NUMBER, &regions, "regions that share them"},
		{"rounds", BENCH_NUMBER, &rounds, "measured rounds"},
		{"seed", BENCH_NUMBER, &seed, "of the order in each round"},
		{"json", BENCH_FLAG, &json, "print JSON"},
		{0},
	};

	bench_parse(argc, argv, "Opens streams whose writer was killed; nanoseconds, and bytes that were read.",
		    options);
	if (!rounds || rounds > BENCH_ROUNDS_MAX || !seed || !regions || rest_bytes >= 4 << 20)
		bench_die("options", "rounds 1 to 99, seed and regions from 1, rest below 4M");
	const char *folder = bench_folder(bench_medium_is_disk(medium), where);
	for (unsigned i = 0; i < data.count; i++) {
		struct crashed *crashed = &streams[i];
		crashed->data_bytes = data.values[i];
		snprintf(crashed->path, sizeof(crashed->path), "%s/%u.stream", folder, i);
		filled_make(&(struct filled){crashed->path, data.values[i], rest_bytes, regions, false});
	}
	for (int round = -1; round < (int)rounds; round++) {
		unsigned order[BENCH_LIST_MAX];
		for (unsigned i = 0; i < data.count; i++)
			order[i] = i;
		bench_shuffle(order, data.count, &seed);
		for (unsigned i = 0; i < data.count; i++) {
			struct crashed *crashed = &streams[order[i]];
			crashed->last = filled_in_child(open_timed, crashed);
			if (round >= 0)
				crashed->ns[round] = (double)crashed->last.ns;
		}
	}
	for (unsigned i = 0; i < data.count; i++) {
		streams[i].touched = filled_in_child(open_counted, &streams[i]);
		print_crashed(&streams[i], medium, rest_bytes, regions, (unsigned)rounds, json);
	}
	return 0;
}
