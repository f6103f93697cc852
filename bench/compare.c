/*
 * compare.c: one round after the other; in each, all subjects with all sizes and numbers of threads, in an order that
 * the seed draws anew. So what disturbs the machine for a while disturbs all of them, and what counts is the median
 * over the rounds of the ratio of two subjects. The first round warms up and is forgotten.
 *
 * The time of a round is from the first thread's begin to the last one's end, divided by the entries of all.
 */
#include "compare.h"
#include "handover.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>

enum {
	SUBJECTS_MAX = 8,
	COUNT_MAX = 1 << 24,
	CASES_MAX = SUBJECTS_MAX * BENCH_LIST_MAX * BENCH_LIST_MAX,
	MEMORY_ROUND_BYTES = 32 << 20,
	MEMORY_COUNT_MAX = 100000,
	SLOW_COUNT_MAX = 1000,
	DISK_COUNT = 100,
	DISK_COUNT_PER_THREAD = 40,
	LATENCY_ROUNDS = 3,
	ENTRY_SPARE_BYTES = 128,
	SPARE_BYTES = 16 << 20
};

struct subject {
	const struct subject_kind *kind;
	void *state;
};

/* A subject with a size and a number of threads. */
struct measured {
	const struct subject *subject;
	size_t size;
	unsigned threads, count; /* entries of all threads in a round */
	double ns[BENCH_ROUNDS_MAX];
	double handover_ns[BENCH_ROUNDS_MAX]; /* just before, where several threads append to memory */
	struct subject_costs costs;
	uint64_t page_faults, written_bytes, entries;
	uint32_t *samples_ns;
	size_t sample_count;
};

struct comparison {
	const struct compare *compare;
	bool disk;
	struct subject subjects[SUBJECTS_MAX];
	unsigned subject_count;
	struct measured cases[CASES_MAX];
	unsigned case_count;
	uint64_t random;
	char *data;
};

struct worker {
	pthread_t thread;
	pthread_barrier_t *start;
	const struct subject *subject;
	const void *data;
	size_t size;
	unsigned number, count;
	uint32_t *samples_ns;
	uint64_t begin_ns, end_ns;
};

const struct subject_kind *subject_find(const char *name, size_t length)
{
	static const struct subject_kind *const kinds[] = {
		&subject_stream,         &subject_stream_async,  &subject_floor, &subject_floor_checks,
		&subject_floor_counted,  &subject_floor_ordered, &subject_store, &subject_libpmemlog,
		&subject_our_libpmemlog, &subject_sqlite,        &subject_lmdb,  &subject_rocksdb,
	};

	for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds); i++)
		if (strlen(kinds[i]->name) == length && !memcmp(kinds[i]->name, name, length))
			return kinds[i];
	char unknown[64];
	snprintf(unknown, sizeof(unknown), "%.*s", (int)length, name);
	bench_die(unknown, "there is no such subject; --help tells which there are");
}

static unsigned entries_of(const struct comparison *comparison, const struct subject_kind *kind, uint64_t size,
			   uint64_t threads)
{
	uint64_t count = comparison->compare->count;

	if (!count && comparison->disk)
		count = threads == 1 ? DISK_COUNT : DISK_COUNT_PER_THREAD * threads;
	else if (!count)
		count = MEMORY_ROUND_BYTES / (size + ENTRY_SPARE_BYTES);
	if (!comparison->compare->count && count > MEMORY_COUNT_MAX)
		count = MEMORY_COUNT_MAX;
	if (!comparison->compare->count && kind->slow && count > SLOW_COUNT_MAX)
		count = SLOW_COUNT_MAX;
	return (unsigned)((count + threads - 1) / threads * threads);
}

static size_t room_needed(const struct comparison *comparison, const struct subject_kind *kind)
{
	const struct compare *compare = comparison->compare;
	size_t most = 0;

	for (unsigned s = 0; s < compare->sizes.count; s++)
		for (unsigned t = 0; t < compare->threads.count; t++) {
			uint64_t size = compare->sizes.values[s];
			size_t bytes = (size + ENTRY_SPARE_BYTES) *
				       entries_of(comparison, kind, size, compare->threads.values[t]);
			most = bytes > most ? bytes : most;
		}
	return most + (1 << 20);
}

/* Says so before memory or a disk is full of the files that subjects make in front of the first round. */
static void check_room(const struct comparison *comparison, const struct subject_kind *kind, const char *folder)
{
	struct statvfs system;
	size_t wanted = room_needed(comparison, kind) + SPARE_BYTES;
	char why[128];

	if (statvfs(folder, &system))
		bench_die(folder, strerror(errno));
	uint64_t left = (uint64_t)system.f_bavail * system.f_frsize;
	if (left >= wanted)
		return;
	snprintf(why, sizeof(why), "%s needs %zu MiB, %zu are left; --count=, --sizes=, --folder= change that",
		 kind->name, wanted >> 20, (size_t)left >> 20);
	bench_die(folder, why);
}

static void open_subjects(struct comparison *comparison, const char *folder)
{
	const struct compare *compare = comparison->compare;

	for (const char *name = compare->subjects; *name;) {
		size_t length = strcspn(name, ",");
		const struct subject_kind *kind = subject_find(name, length);
		char configuration[SUBJECT_CONFIGURATION_BYTES] = "";
		struct bench_result result;
		bench_result_begin(&result, compare->json, "configuration");
		bench_result_text(&result, "subject", kind->name);
		bench_result_text(&result, "medium", compare->medium);
		if (comparison->subject_count == SUBJECTS_MAX)
			bench_die("--subjects", "too many");
		if (kind->missing) {
			bench_result_text(&result, "missing", kind->missing);
		} else {
			check_room(comparison, kind, folder);
			const struct subject_setup setup = {
				.disk = comparison->disk,
				.folder = folder,
				.room_bytes = room_needed(comparison, kind),
				.own_regions = compare->own_regions,
				.batch = kind == &subject_stream_async ? compare->batch : 0,
				.fence_every = compare->fence_every,
			};
			comparison->subjects[comparison->subject_count++] =
				(struct subject){kind, kind->open(&setup, configuration)};
			bench_result_text(&result, "configuration", configuration);
		}
		bench_result_end(&result);
		name += length + (name[length] == ',');
	}
}

static void *work(void *argument)
{
	struct worker *worker = argument;

	if (worker->start)
		pthread_barrier_wait(worker->start);
	worker->begin_ns = bench_now_ns();
	worker->subject->kind->append(worker->subject->state, worker->number, worker->data, worker->size, worker->count,
				      worker->samples_ns);
	worker->end_ns = bench_now_ns();
	return NULL;
}

static void run_threads(struct worker *workers, unsigned threads)
{
	pthread_barrier_t start;

	pthread_barrier_init(&start, NULL, threads);
	for (unsigned i = 0; i < threads; i++) {
		workers[i].start = &start;
		workers[i].thread = bench_thread(i, threads, work, &workers[i]);
	}
	for (unsigned i = 0; i < threads; i++)
		pthread_join(workers[i].thread, NULL);
	pthread_barrier_destroy(&start);
}

/* Nanoseconds an entry. */
static double run_case(const struct comparison *comparison, const struct measured *measured, uint32_t *samples_ns)
{
	struct worker workers[SUBJECT_THREADS_MAX];
	unsigned share = measured->count / measured->threads;

	for (unsigned i = 0; i < measured->threads; i++)
		workers[i] = (struct worker){
			.subject = measured->subject,
			.data = comparison->data,
			.size = measured->size,
			.number = i,
			.count = share,
			.samples_ns = samples_ns ? samples_ns + (size_t)share * i : NULL,
		};
	if (measured->threads == 1)
		work(&workers[0]);
	else
		run_threads(workers, measured->threads);
	uint64_t begin_ns = UINT64_MAX, end_ns = 0;
	for (unsigned i = 0; i < measured->threads; i++) {
		begin_ns = workers[i].begin_ns < begin_ns ? workers[i].begin_ns : begin_ns;
		end_ns = workers[i].end_ns > end_ns ? workers[i].end_ns : end_ns;
	}
	return (double)(end_ns - begin_ns) / (share * measured->threads);
}

static struct subject_costs costs_of(const struct subject *subject)
{
	struct subject_costs costs = {0};

	if (subject->kind->costs)
		subject->kind->costs(subject->state, &costs);
	return costs;
}

static bool hands_over(const struct comparison *comparison, const struct measured *measured)
{
	return measured->threads > 1 && !comparison->disk;
}

static void run_round(struct comparison *comparison, int round)
{
	unsigned order[CASES_MAX];

	for (unsigned i = 0; i < comparison->case_count; i++)
		order[i] = i;
	bench_shuffle(order, comparison->case_count, &comparison->random);
	for (unsigned i = 0; i < comparison->case_count; i++) {
		struct measured *measured = &comparison->cases[order[i]];
		const struct subject *subject = measured->subject;
		subject->kind->begin(subject->state, measured->threads);
		double way_ns = hands_over(comparison, measured) ? handover_ns() : 0;
		struct subject_costs before = costs_of(subject);
		uint64_t page_faults = bench_page_faults(), written_bytes = bench_written_bytes();
		double ns = run_case(comparison, measured, NULL);
		page_faults = bench_page_faults() - page_faults;
		written_bytes = bench_written_bytes() - written_bytes;
		struct subject_costs after = costs_of(subject);
		if (round < 0)
			continue;
		measured->ns[round] = ns;
		measured->handover_ns[round] = way_ns;
		measured->page_faults += page_faults;
		measured->written_bytes += written_bytes;
		measured->entries += measured->count;
		measured->costs.fences += after.fences - before.fences;
		measured->costs.flushed_lines += after.flushed_lines - before.flushed_lines;
		measured->costs.syncs += after.syncs - before.syncs;
	}
}

/* ---- latencies: a time for each entry, in rounds of their own ---- */

static int compare_samples(const void *a, const void *b)
{
	uint32_t left = *(const uint32_t *)a, right = *(const uint32_t *)b;

	return (left > right) - (left < right);
}

static void sample_latencies(struct comparison *comparison)
{
	for (unsigned i = 0; i < comparison->case_count; i++) {
		struct measured *measured = &comparison->cases[i];
		measured->samples_ns = calloc((size_t)measured->count * LATENCY_ROUNDS, sizeof(uint32_t));
		if (!measured->samples_ns)
			bench_die("samples", "no memory");
	}
	for (unsigned round = 0; round < LATENCY_ROUNDS; round++)
		for (unsigned i = 0; i < comparison->case_count; i++) {
			struct measured *measured = &comparison->cases[i];
			measured->subject->kind->begin(measured->subject->state, measured->threads);
			run_case(comparison, measured, measured->samples_ns + measured->sample_count);
			measured->sample_count += measured->count;
		}
	for (unsigned i = 0; i < comparison->case_count; i++)
		qsort(comparison->cases[i].samples_ns, comparison->cases[i].sample_count, sizeof(uint32_t),
		      compare_samples);
}

/* Where so many per cent of the samples are at most as long. */
static uint32_t percentile(const struct measured *measured, double percent)
{
	double rank = ceil(percent / 100 * (double)measured->sample_count);

	return measured->samples_ns[rank < 1 ? 0 : (size_t)rank - 1];
}

static void put_latencies(struct bench_result *result, const struct measured *measured)
{
	/* Each step halves what is still above, so that the tail is drawn as finely as the middle. */
	static const double percents[] = {0, 10, 25, 50, 75, 90, 95, 99, 99.5, 99.9, 99.95, 99.99, 99.995, 99.999, 100};

	for (size_t i = 0; i < sizeof(percents) / sizeof(*percents); i++) {
		char key[32];
		/* A percentile that fewer than one sample stands for is the maximum by another name. */
		if (percents[i] < 100 && (100 - percents[i]) / 100 * (double)measured->sample_count < 1)
			continue;
		snprintf(key, sizeof(key), "p%g_ns", percents[i]);
		bench_result_number(result, key, percentile(measured, percents[i]));
	}
	bench_result_number(result, "samples", (double)measured->sample_count);
}

/* ---- results ---- */

static void print_case(const struct comparison *comparison, const struct measured *measured)
{
	const struct compare *compare = comparison->compare;
	const struct subject_kind *kind = measured->subject->kind;
	double entries = (double)measured->entries;
	struct bench_result result;

	bench_result_begin(&result, compare->json, compare->work);
	bench_result_text(&result, "medium", compare->medium);
	bench_result_text(&result, "subject", kind->name);
	bench_result_text(&result, "regions", compare->own_regions ? "different" : "same");
	bench_result_number(&result, "bytes", (double)measured->size);
	bench_result_number(&result, "threads", measured->threads);
	bench_result_number(&result, "entries", measured->count);
	bench_result_rounds(&result, "ns", measured->ns, (unsigned)compare->rounds);
	if (hands_over(comparison, measured))
		bench_result_rounds(&result, "handover_ns", measured->handover_ns, (unsigned)compare->rounds);
	bench_result_number(&result, "page_faults", (double)measured->page_faults / entries);
	if (comparison->disk)
		bench_result_number(&result, "written_bytes", (double)measured->written_bytes / entries);
	if (kind->costs) {
		bench_result_number(&result, "fences", (double)measured->costs.fences / entries);
		bench_result_number(&result, "flushed_lines", (double)measured->costs.flushed_lines / entries);
		bench_result_number(&result, "syncs", (double)measured->costs.syncs / entries);
	}
	if (compare->latencies)
		put_latencies(&result, measured);
	bench_result_end(&result);
}

static void add_cases(struct comparison *comparison, uint64_t size)
{
	const struct compare *compare = comparison->compare;

	for (unsigned s = 0; s < comparison->subject_count; s++)
		for (unsigned t = 0; t < compare->threads.count; t++) {
			const struct subject *subject = &comparison->subjects[s];
			uint64_t threads = compare->threads.values[t];
			comparison->cases[comparison->case_count++] = (struct measured){
				.subject = subject,
				.size = size,
				.threads = (unsigned)threads,
				.count = entries_of(comparison, subject->kind, size, threads),
			};
		}
}

void compare_run(const struct compare *compare)
{
	static struct comparison comparison;
	size_t longest = 1;

	comparison = (struct comparison){.compare = compare, .random = compare->seed};
	comparison.disk = bench_medium_is_disk(compare->medium);
	if (!compare->rounds || compare->rounds > BENCH_ROUNDS_MAX)
		bench_die("--rounds", "1 to 99");
	if (!compare->seed)
		bench_die("--seed", "from 1");
	if (compare->count > COUNT_MAX)
		bench_die("--count", "at most 16 Mi entries");
	for (unsigned i = 0; i < compare->threads.count; i++)
		if (!compare->threads.values[i] || compare->threads.values[i] > SUBJECT_THREADS_MAX)
			bench_die("--threads", "1 to 64");
	for (unsigned i = 0; i < compare->sizes.count; i++) {
		if (compare->sizes.values[i] > 1 << 20)
			bench_die("--sizes", "at most 1 MiB");
		longest = compare->sizes.values[i] > longest ? compare->sizes.values[i] : longest;
	}
	comparison.data = aligned_alloc(64, subject_round_up(longest, 64));
	if (!comparison.data)
		bench_die("the data", "no memory");
	bench_fill(comparison.data, longest, &comparison.random);

	open_subjects(&comparison, bench_folder(comparison.disk, compare->folder));
	for (unsigned i = 0; i < compare->sizes.count; i++)
		add_cases(&comparison, compare->sizes.values[i]);
	for (int round = -1; round < (int)compare->rounds; round++)
		run_round(&comparison, round);
	if (compare->latencies)
		sample_latencies(&comparison);
	for (unsigned i = 0; i < comparison.case_count; i++) {
		print_case(&comparison, &comparison.cases[i]);
		free(comparison.cases[i].samples_ns);
	}
	for (unsigned i = 0; i < comparison.subject_count; i++)
		comparison.subjects[i].kind->close(comparison.subjects[i].state);
	free(comparison.data);
}
