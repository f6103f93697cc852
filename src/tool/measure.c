/*
 * measure.c: measures durable appends to a stream.
 *
 * Each thread notes the time of every append, or batch, until it is durable, in memory that was touched before. All
 * begin together and stop when the time is over or the region is full. What the library counted meanwhile, fences and
 * syncs, is its own statistics.
 */
#include "tool/measure.h"

#include "tool/progress.h"
#include "tool/report.h"
#include "tool/tool.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum { SAMPLES_MAX = 1 << 18 };

struct worker {
	struct pmemstream *stream;
	struct pmemstream_region region;
	const struct measure_case *of;
	pthread_barrier_t *begin;
	_Atomic bool *full;
	pthread_t thread;
	char *data;
	uint64_t *latencies_ns;
	size_t count;
	uint64_t appended, end_ns;
	bool failed; /* and it was reported */
};

/* One append or batch until it is durable. 0, or -1 with errno. */
static int append_once(struct worker *worker)
{
	struct pmemstream_entry entry;
	void *to;

	if (worker->of->what == MEASURE_EACH) {
		if (pmemstream_append(worker->stream, worker->region, NULL, worker->data, worker->of->bytes, NULL))
			return -1;
		worker->appended++;
		return 0;
	}
	for (int i = 0; i < MEASURE_BATCH_COUNT; i++) {
		if (pmemstream_reserve(worker->stream, worker->region, NULL, worker->of->bytes, &entry, &to))
			return -1;
		memcpy(to, worker->data, worker->of->bytes);
		if (pmemstream_async_publish(worker->stream, worker->region, NULL, entry, worker->of->bytes))
			return -1;
		worker->appended++;
	}
	return pmemstream_wait_persisted(worker->stream, pmemstream_entry_timestamp(worker->stream, entry), UINT64_MAX);
}

static void *work(void *argument)
{
	struct worker *worker = argument;

	pthread_barrier_wait(worker->begin);
	uint64_t before = progress_now_ns(), end = before + worker->of->run_ns;
	while (worker->count < SAMPLES_MAX && before < end && !atomic_load(worker->full)) {
		if (append_once(worker)) {
			worker->failed = errno != ENOSPC;
			if (worker->failed)
				report("bench: %s", pmemstream_errormsg());
			atomic_store(worker->full, true); /* the others stop, too */
			break;
		}
		uint64_t after = progress_now_ns();
		worker->latencies_ns[worker->count++] = after - before;
		before = after;
	}
	worker->end_ns = progress_now_ns();
	return NULL;
}

static int by_value(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

void measure_sort(struct measure_result *result)
{
	if (result->count && result->latencies_ns)
		qsort(result->latencies_ns, result->count, sizeof(*result->latencies_ns), by_value);
}

/* Puts the workers' samples together, sorted. 0, or -1. */
static int collect(const struct worker *workers, unsigned count, uint64_t begin_ns, struct measure_result *result)
{
	size_t samples = 0;

	for (unsigned i = 0; i < count; i++) {
		samples += workers[i].count;
		result->appended += workers[i].appended;
		uint64_t elapsed_ns = workers[i].end_ns - begin_ns;
		result->elapsed_ns = elapsed_ns > result->elapsed_ns ? elapsed_ns : result->elapsed_ns;
	}
	result->latencies_ns = malloc((samples + 1) * sizeof(*result->latencies_ns));
	if (!result->latencies_ns)
		return -1;
	for (unsigned i = 0; i < count; i++) {
		memcpy(result->latencies_ns + result->count, workers[i].latencies_ns,
		       workers[i].count * sizeof(*result->latencies_ns));
		result->count += workers[i].count;
	}
	measure_sort(result);
	return 0;
}

/* Runs the workers to their end. 0, or -1, reported. */
static int run_workers(struct worker *workers, unsigned count, pthread_barrier_t *begin, uint64_t *begin_ns)
{
	bool failed = false;

	for (unsigned i = 0; i < count; i++)
		if (pthread_create(&workers[i].thread, NULL, work, &workers[i])) {
			/* The others wait at the barrier for ever; the files have no names any more. */
			report("bench: %u threads cannot be started", count);
			exit(TOOL_FAILED);
		}
	pthread_barrier_wait(begin);
	*begin_ns = progress_now_ns();
	for (unsigned i = 0; i < count; i++) {
		pthread_join(workers[i].thread, NULL);
		failed = failed || workers[i].failed;
	}
	return failed ? -1 : 0;
}

static int no_memory(void)
{
	report("bench: no memory for the samples");
	return -1;
}

int measure_stream(struct pmemstream *stream, struct pmemstream_region region, const struct measure_case *of,
		   struct measure_result *result)
{
	struct worker *workers = calloc(of->threads, sizeof(*workers));
	struct pmemstream_statistics before, after;
	_Atomic bool full = false;
	pthread_barrier_t begin;
	uint64_t begin_ns;
	int err = -1;

	*result = (struct measure_result){.of = *of};
	if (!workers)
		return no_memory();
	pthread_barrier_init(&begin, NULL, of->threads + 1);
	for (unsigned i = 0; i < of->threads; i++) {
		workers[i] =
			(struct worker){.stream = stream, .region = region, .of = of, .begin = &begin, .full = &full};
		workers[i].data = malloc(of->bytes + 1);
		workers[i].latencies_ns = malloc(SAMPLES_MAX * sizeof(uint64_t));
		if (!workers[i].data || !workers[i].latencies_ns) {
			no_memory();
			goto freed;
		}
		memset(workers[i].data, 'a' + (int)(i % 26), of->bytes);
		memset(workers[i].latencies_ns, 1, SAMPLES_MAX * sizeof(uint64_t));
	}
	pmemstream_get_statistics(stream, &before);
	if (run_workers(workers, of->threads, &begin, &begin_ns))
		goto freed;
	pmemstream_get_statistics(stream, &after);
	if (collect(workers, of->threads, begin_ns, result)) {
		no_memory();
		goto freed;
	}
	if (!result->count) {
		report("bench: --space is too small: it was full before anything of %zu bytes was measured", of->bytes);
		goto freed;
	}
	result->fences = after.fences - before.fences;
	result->syncs = after.syncs - before.syncs;
	err = 0;
freed:
	for (unsigned i = 0; i < of->threads; i++) {
		free(workers[i].data);
		free(workers[i].latencies_ns);
	}
	pthread_barrier_destroy(&begin);
	free(workers);
	return err;
}

uint64_t measure_percentile(const struct measure_result *result, unsigned of_thousand)
{
	if (!result->count)
		return 0;
	size_t at = result->count * of_thousand / 1000;
	return result->latencies_ns[at < result->count ? at : result->count - 1];
}
