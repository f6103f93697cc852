/*
 * test_log.c: the append protocol of libpmemlog on simulated media, under every cut, kill and failing sync.
 *
 * The promise  after any cut the descriptor is valid, and the log holds what the last call that returned left, or what
 *              the call under way was to leave: never part of an append, never a byte of another one.
 * Argument     a pattern: only the cases whose names match. mutate.py runs '*cut*', the crash tests alone.
 */
#include "base/error.h"
#include "cut/cut.h"
#include "cut/faults.h"
#include "logpool/format.h"
#include "logpool/log.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { LOG_BYTES = 16384, POOL_BYTES = LOG_START_OFF + LOG_BYTES };

struct opened {
	struct log log;
	struct log_shared shared;
};

static int open_on(struct opened *opened, struct cut *cut)
{
	return log_attach(&opened->log, &opened->shared, cut_medium(cut), false);
}

static struct cut *new_log(enum medium_granularity granularity)
{
	struct cut *cut = cut_new(POOL_BYTES, granularity);

	assert_int_equal(log_format(cut_medium(cut)), 0);
	return cut;
}

struct content {
	size_t used;
	char bytes[LOG_BYTES];
};

static int take_content(const void *data, size_t bytes, void *context)
{
	struct content *content = context;

	content->used = bytes;
	memcpy(content->bytes, data, bytes);
	return 1;
}

static bool same_content(const struct content *a, const struct content *b)
{
	return a->used == b->used && memcmp(a->bytes, b->bytes, a->used) == 0;
}

/* ---- One thread: a script of calls ---- */

enum call { APPEND, APPENDV, REWIND };

struct step {
	enum call call;
	size_t bytes;
};

static const struct step script[] = {
	{APPEND, 5},    {APPEND, 0},    {APPEND, 60}, {APPEND, 64},    {APPENDV, 7},   {APPENDV, 300},
	{APPEND, 1000}, {REWIND, 0},    {APPEND, 63}, {APPENDV, 2000}, {APPEND, 4096}, {REWIND, 0},
	{APPEND, 9000}, {APPEND, 7384}, {APPEND, 1},  {REWIND, 0},     {APPENDV, 128},
};

struct run {
	struct content before, after;
	struct run *again; /* the next life */
};

static void make_data(char *data, size_t bytes, size_t seed)
{
	for (size_t i = 0; i < bytes; i++)
		data[i] = (char)(seed * 31 + i * 7 + i / 256 + 1);
}

/* What the log holds when the step succeeded on content. */
static bool predict(struct content *content, const struct step *step, size_t seed)
{
	if (step->call == REWIND) {
		content->used = 0;
		return true;
	}
	if (step->bytes > LOG_BYTES - content->used || content->used == LOG_BYTES)
		return false;
	make_data(content->bytes + content->used, step->bytes, seed);
	content->used += step->bytes;
	return true;
}

static int perform(struct log *log, const struct step *step, size_t seed)
{
	char data[LOG_BYTES];
	size_t third = step->bytes / 3;

	if (step->call == REWIND)
		return log_rewind(log);
	make_data(data, step->bytes, seed);
	struct iovec whole = {data, step->bytes};
	struct iovec pieces[] = {
		{data, third}, {NULL, 0}, {data + third, 1}, {data + third + 1, step->bytes - third - 1}};
	return step->call == APPEND ? log_append(log, &whole, 1) : log_append(log, pieces, 4);
}

static int open_and_compare(struct opened *opened, struct cut *cut, const struct run *run)
{
	struct content found;

	/* A sync that was made to fail may hit the first opening. */
	if (open_on(opened, cut) && open_on(opened, cut))
		return -1;
	log_walk(&opened->log, 0, take_content, &found);
	if (!same_content(&found, &run->before) && !same_content(&found, &run->after))
		return error_set(EBADMSG, "the log holds %zu bytes, neither the %zu before nor the %zu after the call",
				 found.used, run->before.used, run->after.used);
	return 0;
}

/* One life after a cut or kill: open, compare; now and then append over what the last life may have left behind. */
static int live(struct cut *after, const struct cut_moment *moment, void *context)
{
	static const struct step steps[] = {{APPEND, 70}, {REWIND, 0}, {APPENDV, 40}};
	struct run *run = context, *again = run->again;
	struct opened opened;

	if (open_and_compare(&opened, after, run))
		return -1;
	if (!again || (!moment->killed && moment->image % 11)) {
		log_detach(&opened.log);
		return 0;
	}
	log_walk(&opened.log, 0, take_content, &again->before);
	again->after = again->before;
	struct cut_watch watch = {
		.plan = {.all_below = 16, .samples = 4, .single_max = 4}, .check = live, .context = again};
	cut_watch(after, &watch);
	for (size_t i = 0; i < 3; i++) {
		if (predict(&again->after, &steps[i], 1000 + i) && perform(&opened.log, &steps[i], 1000 + i))
			break;
		again->before = again->after;
	}
	log_detach(&opened.log);
	return cut_check_now(after);
}

static void run_script(enum medium_granularity granularity, unsigned fail_sync_at)
{
	static struct run second, first; /* large */
	struct cut_watch watch = {.plan = {.all_below = 64, .samples = 12, .single_max = 12},
				  .kills = true,
				  .check = live,
				  .context = &first};
	struct cut *cut = new_log(granularity);
	struct opened opened;
	bool failed = false;

	first = (struct run){.again = &second};
	assert_int_equal(open_on(&opened, cut), 0);
	cut_watch(cut, &watch);
	cut_fail_sync(cut, fail_sync_at, EIO, false);
	for (size_t i = 0; i < sizeof(script) / sizeof(script[0]); i++) {
		bool fits = predict(&first.after, &script[i], i);
		int err = perform(&opened.log, &script[i], i);

		if (failed || !fits)
			assert_int_equal(err, -1);
		if (failed)
			assert_int_equal(errno, EIO);
		else if (!fits)
			assert_int_equal(errno, ENOSPC);
		if (failed || err) {
			/* What failed may be there after a cut, but not for those who ask this log. */
			assert_int_equal(log_used_bytes(&opened.log), first.before.used);
			failed |= fits;
			if (!fits)
				first.after = first.before;
			if (failed)
				break;
			continue;
		}
		first.before = first.after;
		assert_int_equal(log_used_bytes(&opened.log), first.before.used);
	}
	assert_int_equal(failed, fail_sync_at != 0);
	if (failed) {
		assert_true(log_has_failed(&opened.log));
		uint64_t syncs = cut_counts(cut).syncs;
		assert_int_equal(perform(&opened.log, &script[0], 0), -1);
		assert_int_equal(errno, EIO);
		log_rewind(&opened.log);
		assert_int_equal(cut_counts(cut).syncs, syncs);
	}
	cut_check_now(cut);
	if (cut_failure(cut))
		fail_msg("granularity %d, failing sync %u: %s", granularity, fail_sync_at, cut_failure(cut));
	assert_int_equal(cut_verify_no_bypass(cut), 0);
	assert_true(cut_images_checked(cut) > (fail_sync_at ? 2 : 500));
	log_detach(&opened.log);
	cut_delete(cut);
}

static void append_appendv_and_rewind_are_atomic_under_every_cut(void **state)
{
	(void)state;
	for (int g = 0; g < 3; g++)
		run_script((enum medium_granularity)g, 0);
}

static void a_sync_that_fails_is_latched_and_no_cut_tears(void **state)
{
	(void)state;
	/* Two syncs an append, one a rewind. */
	for (unsigned n = 1; n <= 24; n++)
		run_script(MEDIUM_PAGE, n);
}

/* ---- Creation ---- */

static int check_created(struct cut *after, const struct cut_moment *moment, void *context)
{
	struct opened opened;

	(void)moment;
	(void)context;
	if (!*cut_medium(after)->base)
		return 0;
	if (open_on(&opened, after))
		return -1;
	int err = log_used_bytes(&opened.log) ? error_set(EBADMSG, "a new log that is not empty") : 0;
	log_detach(&opened.log);
	return err;
}

static void a_header_that_any_cut_leaves_stands_before_an_empty_log(void **state)
{
	(void)state;
	for (int g = 0; g < 3; g++) {
		struct cut *cut = cut_new(POOL_BYTES, (enum medium_granularity)g);
		struct medium *medium = cut_medium(cut);
		struct cut_watch watch = {.kills = true, .check = check_created};
		char garbage[POOL_BYTES - DESCRIPTOR_OFF];

		/* What an earlier use of the file left. */
		memset(garbage, 'g', sizeof(garbage));
		medium_copy(medium, medium->base + DESCRIPTOR_OFF, garbage, sizeof(garbage));
		assert_int_equal(medium_persist(medium, medium->base + DESCRIPTOR_OFF, sizeof(garbage)), 0);
		cut_watch(cut, &watch);
		assert_int_equal(log_format(medium), 0);
		medium_copy(medium, medium->base, "PMEMLOG", 8);
		cut_check_now(cut);
		if (cut_failure(cut))
			fail_msg("granularity %d: %s", g, cut_failure(cut));
		cut_delete(cut);
	}
}

/* ---- Several threads ---- */

enum { WRITERS = 3, RECORDS = 12, RECORD_MAX = 130 };

/* A record of writer w: its length, w, its number, then bytes that follow from both. */
static size_t make_record(char *record, unsigned writer, unsigned number)
{
	size_t bytes = 8 + (writer * 37 + number * 29) % (RECORD_MAX - 8);

	record[0] = (char)bytes;
	record[1] = (char)writer;
	record[2] = (char)number;
	make_data(record + 3, bytes - 3, writer * 100 + number);
	return bytes;
}

struct crowd {
	struct log *log;
	_Atomic unsigned acknowledged[WRITERS];
};

struct writer {
	struct crowd *crowd;
	unsigned number;
	pthread_t thread;
	int err;
};

static void *write_records(void *context)
{
	struct writer *writer = context;

	for (unsigned i = 0; i < RECORDS && !writer->err; i++) {
		char record[RECORD_MAX + 1];
		struct iovec vector = {record, make_record(record, writer->number, i)};

		writer->err = log_append(writer->crowd->log, &vector, 1);
		if (!writer->err)
			atomic_fetch_add(&writer->crowd->acknowledged[writer->number], 1);
	}
	return NULL;
}

static int check_records(struct log *log, const unsigned *acknowledged)
{
	struct content content;
	unsigned next[WRITERS] = {0};
	char record[RECORD_MAX + 1];

	log_walk(log, 0, take_content, &content);
	for (size_t off = 0; off < content.used;) {
		unsigned writer = (unsigned char)content.bytes[off + 1];
		if (writer >= WRITERS)
			return error_set(EBADMSG, "at %zu: no record begins here", off);
		size_t bytes = make_record(record, writer, next[writer]);
		if (bytes > content.used - off || memcmp(record, content.bytes + off, bytes) != 0)
			return error_set(EBADMSG, "at %zu: record %u of writer %u is torn or out of order", off,
					 next[writer], writer);
		next[writer]++;
		off += bytes;
	}
	for (unsigned i = 0; i < WRITERS; i++)
		if (next[i] < acknowledged[i])
			return error_set(EBADMSG, "writer %u: %u records acknowledged, %u there", i, acknowledged[i],
					 next[i]);
	return 0;
}

static int check_crowd(struct cut *after, const struct cut_moment *moment, void *context)
{
	struct crowd *crowd = context;
	struct opened opened;
	unsigned acknowledged[WRITERS];

	(void)moment;
	for (unsigned i = 0; i < WRITERS; i++)
		acknowledged[i] = atomic_load(&crowd->acknowledged[i]);
	if (open_on(&opened, after))
		return -1;
	int err = check_records(&opened.log, acknowledged);
	log_detach(&opened.log);
	return err;
}

static void run_crowd(enum medium_granularity granularity)
{
	struct cut *cut = new_log(granularity);
	struct opened opened;
	struct crowd crowd = {.log = &opened.log};
	struct writer writers[WRITERS];
	/* Before an operation alone: after one, an append may be acknowledged between the image and the look. */
	struct cut_watch watch = {
		.plan = {.all_below = 16, .samples = 6, .single_max = 6}, .check = check_crowd, .context = &crowd};

	assert_int_equal(open_on(&opened, cut), 0);
	cut_watch(cut, &watch);
	for (unsigned i = 0; i < WRITERS; i++) {
		writers[i] = (struct writer){.crowd = &crowd, .number = i};
		assert_int_equal(pthread_create(&writers[i].thread, NULL, write_records, &writers[i]), 0);
	}
	for (unsigned i = 0; i < WRITERS; i++) {
		pthread_join(writers[i].thread, NULL);
		assert_int_equal(writers[i].err, 0);
	}
	cut_check_now(cut);
	if (cut_failure(cut))
		fail_msg("granularity %d: %s", granularity, cut_failure(cut));
	unsigned all[WRITERS] = {RECORDS, RECORDS, RECORDS};
	assert_int_equal(check_records(&opened.log, all), 0);
	log_detach(&opened.log);
	cut_delete(cut);
}

static void concurrent_appends_are_never_torn_by_a_cut(void **state)
{
	(void)state;
	for (int g = 0; g < 3; g++)
		run_crowd((enum medium_granularity)g);
}

/* ---- What a call costs ---- */

static void an_append_costs_two_fences_or_two_syncs_and_a_rewind_one(void **state)
{
	(void)state;
	for (int g = 0; g < 3; g++) {
		struct cut *cut = new_log((enum medium_granularity)g);
		struct opened opened;
		bool page = g == MEDIUM_PAGE;

		assert_int_equal(open_on(&opened, cut), 0);
		cut_counts_reset(cut);
		assert_int_equal(perform(&opened.log, &(struct step){APPEND, 100}, 1), 0);
		assert_int_equal(cut_counts(cut).fences, page ? 0 : 2);
		assert_int_equal(cut_counts(cut).syncs, page ? 2 : 0);
		assert_int_equal(cut_counts(cut).flushes, 0);
		cut_counts_reset(cut);
		assert_int_equal(perform(&opened.log, &(struct step){APPENDV, 100}, 1), 0);
		assert_int_equal(cut_counts(cut).fences + cut_counts(cut).syncs, 2);
		cut_counts_reset(cut);
		assert_int_equal(perform(&opened.log, &(struct step){APPEND, 0}, 1), 0);
		assert_int_equal(cut_counts(cut).stores, 0);
		assert_int_equal(cut_counts(cut).fences + cut_counts(cut).syncs, 0);
		assert_int_equal(log_rewind(&opened.log), 0);
		assert_int_equal(cut_counts(cut).fences + cut_counts(cut).syncs, 1);
		log_detach(&opened.log);
		cut_delete(cut);
	}
}

static void appends_that_come_together_share_their_syncs(void **state)
{
	(void)state;
	/* Three appends are copied, none is committed: as if two processes had died before their commit. The third
	 * leads for all. */
	struct cut *cut = new_log(MEDIUM_PAGE);
	struct opened opened;
	char data[100] = "data";

	assert_int_equal(open_on(&opened, cut), 0);
	for (int i = 0; i < 2; i++) {
		uint64_t tail_off = atomic_load(&opened.shared.tail_off);
		medium_copy(cut_medium(cut), cut_medium(cut)->base + tail_off, data, sizeof(data));
		atomic_store(&opened.shared.tail_off, tail_off + sizeof(data));
	}
	cut_counts_reset(cut);
	struct iovec vector = {data, sizeof(data)};
	assert_int_equal(log_append(&opened.log, &vector, 1), 0);
	assert_int_equal(cut_counts(cut).syncs, 2);
	assert_int_equal(log_used_bytes(&opened.log), 300);
	log_detach(&opened.log);
	cut_delete(cut);
}

/* ---- A process that dies ---- */

static void a_process_that_dies_under_the_locks_stops_nobody(void **state)
{
	(void)state;
	const int shared = MAP_SHARED | MAP_ANONYMOUS;
	char *base = mmap(NULL, POOL_BYTES, PROT_READ | PROT_WRITE, shared, -1, 0);
	struct log_shared *state_shared = mmap(NULL, MEDIUM_PAGE_BYTES, PROT_READ | PROT_WRITE, shared, -1, 0);
	struct medium medium;
	struct log log;
	char data[100];

	assert_int_equal(medium_from_range(&medium, base, POOL_BYTES, MEDIUM_CACHE_LINE, true), 0);
	assert_int_equal(log_format(&medium), 0);
	assert_int_equal(log_attach(&log, state_shared, &medium, false), 0);
	struct iovec vector = {data, sizeof(data)};
	make_data(data, sizeof(data), 1);
	assert_int_equal(log_append(&log, &vector, 1), 0);

	pid_t child = fork();
	if (!child) {
		/* Dies with both locks and half a line in the shared buffer. */
		lock_take(&state_shared->tail_lock, 1);
		lock_take(&state_shared->commit_lock, 1);
		memset(state_shared->line, 'X', sizeof(state_shared->line));
		_exit(0);
	}
	assert_int_equal(waitpid(child, NULL, 0), child);
	assert_int_equal(log_append(&log, &vector, 1), 0);
	assert_int_equal(log_used_bytes(&log), 200);
	assert_memory_equal(base + LOG_START_OFF, data, 100);
	assert_memory_equal(base + LOG_START_OFF + 100, data, 100);
	log_detach(&log);
	medium_close(&medium);
	munmap(base, POOL_BYTES);
	munmap(state_shared, MEDIUM_PAGE_BYTES);
}

static void parent_and_child_append_side_by_side(void **state)
{
	(void)state;
	const int shared = MAP_SHARED | MAP_ANONYMOUS;
	for (int g = 0; g < 3; g++) {
		char *base = mmap(NULL, POOL_BYTES, PROT_READ | PROT_WRITE, shared, -1, 0);
		struct log_shared *state_shared = mmap(NULL, MEDIUM_PAGE_BYTES, PROT_READ | PROT_WRITE, shared, -1, 0);
		struct medium medium;
		struct log log;
		struct crowd crowd = {.log = &log};
		int status;

		assert_int_equal(medium_from_range(&medium, base, POOL_BYTES, (enum medium_granularity)g, true), 0);
		assert_int_equal(log_format(&medium), 0);
		assert_int_equal(log_attach(&log, state_shared, &medium, false), 0);
		pid_t child = fork();
		struct writer writer = {.crowd = &crowd, .number = child ? 0 : 1};
		write_records(&writer);
		if (!child)
			_exit(writer.err ? 1 : 0);
		assert_int_equal(waitpid(child, &status, 0), child);
		assert_int_equal(status, 0);
		unsigned all[WRITERS] = {RECORDS, RECORDS, 0};
		if (check_records(&log, all))
			fail_msg("granularity %d: %s", g, error_message());
		log_detach(&log);
		medium_close(&medium);
		munmap(base, POOL_BYTES);
		munmap(state_shared, MEDIUM_PAGE_BYTES);
	}
}

/* ---- Walks ---- */

struct nested {
	struct log *log, *other;
	int calls;
};

static int change_inside(const void *data, size_t bytes, void *context)
{
	struct nested *nested = context;
	struct iovec vector = {(void *)(uintptr_t) "x", 1};

	(void)data;
	(void)bytes;
	nested->calls++;
	errno = 0;
	assert_int_equal(log_append(nested->log, &vector, 1), -1);
	assert_int_equal(errno, EDEADLK);
	errno = 0;
	assert_int_equal(log_rewind(nested->log), -1);
	assert_int_equal(errno, EDEADLK);
	assert_int_equal(log_append(nested->other, &vector, 1), 0);
	if (nested->calls == 1)
		log_walk(nested->log, 1, change_inside, nested);
	return 0;
}

static void changes_from_inside_a_walk_are_refused_and_after_it_allowed(void **state)
{
	(void)state;
	struct cut *cut = new_log(MEDIUM_CACHE_LINE), *other_cut = new_log(MEDIUM_CACHE_LINE);
	struct opened opened, other;
	struct iovec vector = {(void *)(uintptr_t) "content", 7};

	assert_int_equal(open_on(&opened, cut), 0);
	assert_int_equal(open_on(&other, other_cut), 0);
	assert_int_equal(log_append(&opened.log, &vector, 1), 0);
	struct nested nested = {.log = &opened.log, .other = &other.log};
	log_walk(&opened.log, 0, change_inside, &nested);
	assert_int_equal(nested.calls, 2);
	assert_int_equal(log_append(&opened.log, &vector, 1), 0);
	assert_int_equal(log_rewind(&opened.log), 0);
	log_detach(&opened.log);
	log_detach(&other.log);
	cut_delete(cut);
	cut_delete(other_cut);
}

static int end_thread(const void *data, size_t bytes, void *context)
{
	(void)data;
	(void)bytes;
	(void)context;
	pthread_exit(NULL);
}

static void *walk_and_end(void *log)
{
	log_walk(log, 0, end_thread, NULL);
	return NULL;
}

static void a_callback_that_ends_its_thread_ends_the_walk(void **state)
{
	(void)state;
	struct cut *cut = new_log(MEDIUM_CACHE_LINE);
	struct opened opened;
	pthread_t thread;

	assert_int_equal(open_on(&opened, cut), 0);
	assert_int_equal(pthread_create(&thread, NULL, walk_and_end, &opened.log), 0);
	pthread_join(thread, NULL);
	/* Would wait for ever if the walk still held its lock. */
	assert_int_equal(log_rewind(&opened.log), 0);
	log_detach(&opened.log);
	cut_delete(cut);
}

/* ---- Descriptors ---- */

static void a_descriptor_that_does_not_fit_is_refused(void **state)
{
	(void)state;
	struct cut *cut = new_log(MEDIUM_CACHE_LINE);
	struct medium *medium = cut_medium(cut);
	struct opened opened;
	const uint64_t wrong[][3] = {
		{8191, POOL_BYTES, 8192}, {8192, POOL_BYTES - 1, 8192},       {8192, POOL_BYTES + 4096, 8192},
		{8192, POOL_BYTES, 8191}, {8192, POOL_BYTES, POOL_BYTES + 1}, {8192, POOL_BYTES, UINT64_MAX},
		{0, POOL_BYTES, 8192},    {8192, UINT64_MAX, 8192},
	};

	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		for (size_t j = 0; j < 3; j++)
			medium_store8(medium, (uint64_t *)(medium->base + DESCRIPTOR_OFF) + j, wrong[i][j]);
		assert_int_equal(open_on(&opened, cut), -1);
		assert_int_equal(errno, NOT_A_POOL);
	}
	cut_delete(cut);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(append_appendv_and_rewind_are_atomic_under_every_cut),
		cmocka_unit_test(a_sync_that_fails_is_latched_and_no_cut_tears),
		cmocka_unit_test(a_header_that_any_cut_leaves_stands_before_an_empty_log),
		cmocka_unit_test(concurrent_appends_are_never_torn_by_a_cut),
		cmocka_unit_test(an_append_costs_two_fences_or_two_syncs_and_a_rewind_one),
		cmocka_unit_test(appends_that_come_together_share_their_syncs),
		cmocka_unit_test(a_process_that_dies_under_the_locks_stops_nobody),
		cmocka_unit_test(parent_and_child_append_side_by_side),
		cmocka_unit_test(changes_from_inside_a_walk_are_refused_and_after_it_allowed),
		cmocka_unit_test(a_callback_that_ends_its_thread_ends_the_walk),
		cmocka_unit_test(a_descriptor_that_does_not_fit_is_refused),
	};

	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests_name("logpool_log", tests, NULL, NULL);
}
