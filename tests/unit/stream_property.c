/*
 * stream_property.c: random operations of several threads against a plain model in memory.
 *
 * Model    for each region that was allocated: whether it lives, and what was acknowledged in it.
 * Threads  append through handles, by every way there is, while others allocate, free and iterate; they note what they
 *          were told.
 * During   an iterator sees timestamps that rise, data that belong to their region, and nothing less than what was
 *          acknowledged before it set out.
 * At rest  after each phase every region holds exactly what was noted, over all regions timestamps are dense, and after
 *          reopening it is all the same.
 * Seeds    STREAM_PROPERTY_SEED=N runs one; a failure prints it.
 */
#include "stream_map.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
	FILE_BYTES = 6 << 20,
	REGIONS_MAX = 2000,
	LIVING_MAX = 400,
	THREADS = 4,
	PHASES = 3,
	OPERATIONS = 400,
	ENTRY_MAX = 3000,
	VIEWS_MAX = 20,
};

struct noted {
	uint64_t off, timestamp;
	uint32_t size, stamp;
};

struct model_region {
	struct pmemstream_region region;
	struct pmemstream_region_runtime *runtime;
	pthread_mutex_t lock; /* of noted */
	struct noted *noted;
	size_t count, room;
	atomic_size_t acknowledged; /* count, for readers */
	atomic_bool freed;          /* free has returned */
	atomic_bool freeing;        /* somebody is about to */
};

struct model {
	struct opened opened;
	struct model_region regions[REGIONS_MAX];
	atomic_size_t region_count;
	atomic_uint living;
	pthread_mutex_t allocating;
	uint64_t seed;
	struct data_mover_threads *mover;
	struct data_mover_sync *sync;
};

static struct model model;

struct worker {
	uint64_t seed;
	unsigned number;
	uint32_t stamps;
};

#define CHECK(condition)                                                                                               \
	do {                                                                                                           \
		if (!(condition)) {                                                                                    \
			fprintf(stderr, "%s:%d: %s: errno %d: %s\n", __FILE__, __LINE__, #condition, errno,            \
				pmemstream_errormsg());                                                                \
			fprintf(stderr, "repeat with STREAM_PROPERTY_SEED=%zu %s\n", (size_t)model.seed,               \
				program_invocation_name);                                                              \
			abort();                                                                                       \
		}                                                                                                      \
	} while (0)

/* What an entry says is a function of its region, its stamp and its size. */
static void fill(unsigned char *data, size_t size, size_t region, uint32_t stamp)
{
	uint64_t seed = (region + 1) * UINT64_C(0x9e3779b97f4a7c15) + stamp * 2 + 1;

	for (size_t i = 0; i < size; i++)
		data[i] = (unsigned char)(i % 8 == 0 ? draw(&seed) >> 32 : seed >> i % 8 * 8);
}

static bool is_filled(const unsigned char *data, size_t size, size_t region, uint32_t stamp)
{
	static _Thread_local unsigned char expected[ENTRY_MAX];

	fill(expected, size, region, stamp);
	return !memcmp(data, expected, size);
}

static void note(struct model_region *region, struct pmemstream_entry entry, uint64_t timestamp, size_t size,
		 uint32_t stamp)
{
	pthread_mutex_lock(&region->lock);
	if (region->count == region->room) {
		region->room = region->room * 2 + 16;
		region->noted = realloc(region->noted, region->room * sizeof(*region->noted));
		CHECK(region->noted);
	}
	region->noted[region->count++] = (struct noted){entry.offset, timestamp, (uint32_t)size, stamp};
	atomic_store(&region->acknowledged, region->count);
	pthread_mutex_unlock(&region->lock);
}

static void allocate(struct worker *worker)
{
	if (atomic_load(&model.living) >= LIVING_MAX)
		return;
	pthread_mutex_lock(&model.allocating);
	size_t index = atomic_load(&model.region_count);
	struct model_region *region = &model.regions[index];
	size_t size = draw(&worker->seed) % 10 ? draw(&worker->seed) % 6000 + 1 : draw(&worker->seed) % 200000 + 1;
	if (index < REGIONS_MAX) {
		if (!pmemstream_region_allocate(model.opened.stream, size, &region->region)) {
			CHECK(!pmemstream_region_runtime_initialize(model.opened.stream, region->region,
								    &region->runtime));
			CHECK(pmemstream_region_size(model.opened.stream, region->region) >= size);
			atomic_store(&region->freed, false);
			atomic_fetch_add(&model.living, 1);
			atomic_store(&model.region_count, index + 1);
		} else {
			CHECK(errno == ENOSPC);
		}
	}
	pthread_mutex_unlock(&model.allocating);
}

static void free_one(struct model_region *region)
{
	if (atomic_exchange(&region->freeing, true))
		return;
	/* The handle's region, not another one at its place: nobody else frees it, so the place is still its own. */
	if (!pmemstream_region_free(model.opened.stream, region->region)) {
		atomic_store(&region->freed, true);
		atomic_fetch_sub(&model.living, 1);
	} else {
		CHECK(errno == EBUSY);
		atomic_store(&region->freeing, false);
	}
}

/* An append failed: for a reason that can be. */
static void check_refusal(struct model_region *region, bool was_freed)
{
	CHECK(errno == ENOSPC || errno == ESTALE || errno == EBUSY);
	CHECK(!was_freed || errno == ESTALE);
	CHECK(errno != ESTALE || atomic_load(&region->freeing));
}

static int append_reserved(struct model_region *region, const unsigned char *data, size_t size, bool async,
			   struct pmemstream_entry *entry)
{
	void *at;

	if (pmemstream_reserve(model.opened.stream, region->region, region->runtime, size, entry, &at))
		return -1;
	memcpy(at, data, size);
	/* Held: it can be neither freed nor filled. */
	if (async)
		CHECK(!pmemstream_async_publish(model.opened.stream, region->region, region->runtime, *entry, size));
	else
		CHECK(!pmemstream_publish(model.opened.stream, region->region, region->runtime, *entry, size));
	return 0;
}

static int append_async(struct worker *worker, struct model_region *region, const unsigned char *data, size_t size,
			struct pmemstream_entry *entry)
{
	struct vdm *vdm =
		draw(&worker->seed) % 2 ? data_mover_threads_get_vdm(model.mover) : data_mover_sync_get_vdm(model.sync);

	return pmemstream_async_append(model.opened.stream, vdm, region->region, region->runtime, data, size, entry);
}

static void append(struct worker *worker, size_t index)
{
	static _Thread_local unsigned char data[ENTRY_MAX];
	struct model_region *region = &model.regions[index];
	struct pmemstream *stream = model.opened.stream;
	struct pmemstream_entry entry;
	uint32_t stamp = worker->stamps++ * THREADS + worker->number;
	uint64_t kind = draw(&worker->seed) % 10;
	size_t size = draw(&worker->seed) % 4 ? draw(&worker->seed) % 100 : draw(&worker->seed) % ENTRY_MAX;
	bool was_freed = atomic_load(&region->freed);

	if (!region->runtime)
		return;
	fill(data, size, index, stamp);
	int err = kind < 6   ? pmemstream_append(stream, region->region, region->runtime, data, size, &entry)
		  : kind < 7 ? append_reserved(region, data, size, false, &entry)
		  : kind < 8 ? append_reserved(region, data, size, true, &entry)
			     : append_async(worker, region, data, size, &entry);
	if (err) {
		check_refusal(region, was_freed);
		return;
	}
	CHECK(!was_freed);
	/* Freed since, it may be nothing or something else by now; else it is what was appended. */
	uint64_t timestamp = pmemstream_entry_timestamp(stream, entry);
	CHECK(timestamp || atomic_load(&region->freeing));
	if (timestamp && kind >= 7) {
		struct pmemstream_async_wait_fut wait = pmemstream_async_wait_persisted(stream, timestamp);
		FUTURE_BUSY_POLL(&wait);
		CHECK(!wait.output.error_code);
	} else if (kind >= 7) {
		/* Its data must live until it is committed, and who freed the region waited for that. */
		while (!atomic_load(&region->freed) && atomic_load(&region->freeing))
			sched_yield();
	}
	if (timestamp && !atomic_load(&region->freeing))
		CHECK(pmemstream_persisted_timestamp(stream) >= timestamp);
	note(region, entry, timestamp, size, stamp);
}

/* Walks beside the others; data are compared where the region can be seen to have lived all the while. */
static void iterate(size_t index, size_t many)
{
	struct pmemstream_entry_view views[VIEWS_MAX];
	struct model_region *region = &model.regions[index];
	struct pmemstream *stream = model.opened.stream;
	struct pmemstream_entry_iterator *iterator;
	uint64_t last = 0;
	size_t count = 0, acknowledged = atomic_load(&region->acknowledged);

	if (atomic_load(&region->freeing))
		return;
	if (pmemstream_entry_iterator_new(&iterator, stream, region->region)) {
		CHECK(errno == EINVAL && atomic_load(&region->freeing));
		return;
	}
	pmemstream_entry_iterator_seek_first(iterator);
	for (; !many && !pmemstream_entry_iterator_is_valid(iterator); pmemstream_entry_iterator_next(iterator)) {
		struct pmemstream_entry entry = pmemstream_entry_iterator_get(iterator);
		uint64_t timestamp = pmemstream_entry_timestamp(stream, entry);
		if (atomic_load(&region->freeing))
			break;
		CHECK(timestamp > last && timestamp <= pmemstream_committed_timestamp(stream));
		last = timestamp;
		count++;
	}
	/* What was read was there while the region was. */
	for (size_t read; many && (read = pmemstream_entry_iterator_read(iterator, views, many)); count += read)
		for (size_t i = 0; i < read; i++) {
			CHECK(views[i].timestamp > last && views[i].size <= ENTRY_MAX);
			CHECK(views[i].timestamp <= pmemstream_committed_timestamp(stream));
			last = views[i].timestamp;
		}
	if (!atomic_load(&region->freeing)) {
		CHECK(errno == ENODATA);
		CHECK(count >= acknowledged);
	}
	pmemstream_entry_iterator_delete(&iterator);
}

static void walk_regions(void)
{
	struct pmemstream_region_iterator *iterator;
	size_t count = 0;

	CHECK(!pmemstream_region_iterator_new(&iterator, model.opened.stream));
	pmemstream_region_iterator_seek_first(iterator);
	for (int verdict; !(verdict = pmemstream_region_iterator_is_valid(iterator)) || errno == ESTALE;
	     pmemstream_region_iterator_next(iterator))
		CHECK(count++ <= REGIONS_MAX);
	CHECK(errno == ENODATA);
	pmemstream_region_iterator_delete(&iterator);
}

static void *work(void *argument)
{
	struct worker *worker = argument;

	for (int i = 0; i < OPERATIONS; i++) {
		uint64_t what = draw(&worker->seed) % 100;
		size_t count = atomic_load(&model.region_count);
		/* Mostly the newest ones, so that regions are full, fought over and freed. */
		size_t among = draw(&worker->seed) % 3 && count > 20 ? 20 : count;
		size_t index = count ? count - 1 - draw(&worker->seed) % among : 0;
		if (!count || what < 12)
			allocate(worker);
		else if (what < 18)
			free_one(&model.regions[draw(&worker->seed) % count]);
		else if (what < 26)
			iterate(index, what < 22 ? 0 : 1 + index % VIEWS_MAX);
		else if (what < 27)
			walk_regions();
		else
			append(worker, index);
	}
	return NULL;
}

static int by_place(const void *left, const void *right)
{
	const struct noted *a = left, *b = right;

	return a->off < b->off ? -1 : a->off > b->off;
}

/* With nobody else about: the region is what was noted. */
static void check_region(size_t index, unsigned char *seen, uint64_t committed)
{
	struct model_region *region = &model.regions[index];
	struct pmemstream *stream = model.opened.stream;
	struct pmemstream_entry_iterator *iterator;
	uint64_t last = 0;

	if (atomic_load(&region->freed))
		return;
	if (region->count)
		qsort(region->noted, region->count, sizeof(*region->noted), by_place);
	CHECK(!pmemstream_entry_iterator_new(&iterator, stream, region->region));
	pmemstream_entry_iterator_seek_first(iterator);
	for (size_t i = 0; i < region->count; i++) {
		const struct noted *noted = &region->noted[i];
		CHECK(!pmemstream_entry_iterator_is_valid(iterator));
		struct pmemstream_entry entry = pmemstream_entry_iterator_get(iterator);
		CHECK(entry.offset == noted->off && pmemstream_entry_size(stream, entry) == noted->size);
		CHECK(pmemstream_entry_timestamp(stream, entry) == noted->timestamp);
		CHECK(noted->timestamp > last && noted->timestamp <= committed && !seen[noted->timestamp]);
		CHECK(is_filled(pmemstream_entry_data(stream, entry), noted->size, index, noted->stamp));
		last = noted->timestamp;
		seen[last] = 1;
		pmemstream_entry_iterator_next(iterator);
	}
	CHECK(pmemstream_entry_iterator_is_valid(iterator) && errno == ENODATA);
	pmemstream_entry_iterator_delete(&iterator);
}

static void check_all(uint64_t *appended)
{
	struct pmemstream *stream = model.opened.stream;
	struct pmemstream_region_iterator *iterator;
	size_t count = atomic_load(&model.region_count);
	uint64_t committed = pmemstream_committed_timestamp(stream), total = 0;
	unsigned char *seen = calloc(committed + 1, 1);

	CHECK(seen && pmemstream_persisted_timestamp(stream) == committed);
	CHECK(!pmemstream_region_iterator_new(&iterator, stream));
	pmemstream_region_iterator_seek_first(iterator);
	for (size_t i = 0; i < count; i++) {
		total += model.regions[i].count;
		if (atomic_load(&model.regions[i].freed))
			continue;
		CHECK(!pmemstream_region_iterator_is_valid(iterator));
		CHECK(pmemstream_region_iterator_get(iterator).offset == model.regions[i].region.offset);
		pmemstream_region_iterator_next(iterator);
		check_region(i, seen, committed);
	}
	CHECK(pmemstream_region_iterator_is_valid(iterator) && errno == ENODATA);
	pmemstream_region_iterator_delete(&iterator);
	free(seen);
	/* Dense: there are as many as the highest. */
	CHECK(total == committed);
	*appended = total;
}

static void reopen(void)
{
	opened_again(&model.opened);
	/* Handles ended with the stream, those of freed regions for ever. */
	for (size_t i = 0; i < atomic_load(&model.region_count); i++) {
		struct model_region *region = &model.regions[i];
		region->runtime = NULL;
		if (!atomic_load(&region->freed))
			CHECK(!pmemstream_region_runtime_initialize(model.opened.stream, region->region,
								    &region->runtime));
	}
}

static void run(uint64_t seed, const char *granularity, size_t block_size)
{
	struct worker workers[THREADS];
	pthread_t threads[THREADS];
	uint64_t appended, again;

	model.seed = seed;
	opened_new(&model.opened, granularity, FILE_BYTES, block_size);
	atomic_store(&model.region_count, 0);
	atomic_store(&model.living, 0);
	for (size_t i = 0; i < REGIONS_MAX; i++) {
		memset(&model.regions[i], 0, sizeof(model.regions[i]));
		pthread_mutex_init(&model.regions[i].lock, NULL);
	}
	for (unsigned i = 0; i < THREADS; i++)
		workers[i] = (struct worker){.seed = seed * 1000 + i + 1, .number = i};
	model.mover = data_mover_threads_new(1, 64, FUTURE_NOTIFIER_WAKER);
	model.sync = data_mover_sync_new();
	for (int phase = 0; phase < PHASES; phase++) {
		for (unsigned i = 0; i < THREADS; i++)
			CHECK(!pthread_create(&threads[i], NULL, work, &workers[i]));
		for (unsigned i = 0; i < THREADS; i++)
			pthread_join(threads[i], NULL);
		check_all(&appended);
		reopen();
		check_all(&again);
		CHECK(appended == again);
	}
	data_mover_threads_delete(model.mover);
	data_mover_sync_delete(model.sync);
	for (size_t i = 0; i < REGIONS_MAX; i++) {
		free(model.regions[i].noted);
		pthread_mutex_destroy(&model.regions[i].lock);
	}
	opened_free(&model.opened);
}

static void run_seeds(const char *granularity, size_t block_size)
{
	const char *wanted = getenv("STREAM_PROPERTY_SEED");

	for (uint64_t seed = 1; seed <= (strcmp(granularity, "PAGE") ? 4 : 2); seed++)
		run(wanted ? strtoull(wanted, NULL, 0) : seed, granularity, block_size);
}

static void threads_on_cache_lines_do_what_the_model_says(void **state)
{
	(void)state;
	run_seeds("CACHE_LINE", 512);
}

static void threads_without_flushes_do_what_the_model_says(void **state)
{
	(void)state;
	run_seeds("BYTE", 4096);
}

static void threads_with_small_blocks_do_what_the_model_says(void **state)
{
	(void)state;
	run_seeds("CACHE_LINE", 64);
}

static void threads_on_pages_do_what_the_model_says(void **state)
{
	(void)state;
	run_seeds("PAGE", 512);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(threads_on_cache_lines_do_what_the_model_says),
		cmocka_unit_test(threads_without_flushes_do_what_the_model_says),
		cmocka_unit_test(threads_with_small_blocks_do_what_the_model_says),
		cmocka_unit_test(threads_on_pages_do_what_the_model_says),
	};
	pthread_mutex_init(&model.allocating, NULL);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
