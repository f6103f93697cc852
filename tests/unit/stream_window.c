/*
 * stream_window.c: slots of the window that are used again while another thread looks at them, and appends that stand
 * still with their place in a note or in a slot.
 *
 * Used again   what the other thread does is done inside of a flush of the scan itself, so that it comes at the worst
 *              moment each time.
 * Stand still  the test is an appender that has taken a timestamp and goes on when another thread has its answer.
 */
#include "stream/append.h"
#include "stream/checkpoint.h"
#include "stream/progress.h"

#include <errno.h>
#include <libminiasync.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>

#include <cmocka.h>

enum { MEDIUM_BYTES = 4 << 20, ENTRIES = 3, YIELDS = 2000, BATCH = 3, ROUNDS = 3000 };
#define END_NS UINT64_C(20000000000)

static struct medium_ops watched;
static const struct medium_ops *real;
static struct pmemstream *stream;
static struct pmemstream_region regions[2];
static struct pmemstream_entry entries[ENTRIES];
static bool in_scan, raises_one;

/* What was flushed since the scan began. */
static struct {
	const char *begin, *end;
} flushed[64];
static unsigned flushed_count;

/* The first flush of the scan: all its timestamps become durable, and the last one's slot is being filled anew, with a
 * longer entry than what is left of the medium behind the old one. raises_one: the flush of the first entry, and only
 * that one does. */
static void op_flush(struct medium *medium, const void *at, size_t bytes)
{
	assert_true((const char *)at >= medium->base && bytes <= MEDIUM_BYTES &&
		    (const char *)at + bytes <= medium->base + MEDIUM_BYTES);
	real->flush(medium, at, bytes);
	assert_true(flushed_count < 64);
	flushed[flushed_count].begin = at;
	flushed[flushed_count++].end = (const char *)at + bytes;
	if (!in_scan || (raises_one && at != stream_at(stream, entries[0].offset)))
		return;
	in_scan = false;
	if (raises_one) {
		atomic_store(&stream->persisted, 1);
		return;
	}
	atomic_store(&stream->persisted, ENTRIES);
	atomic_store(&window_slot(stream, ENTRIES)->bytes, MEDIUM_BYTES);
}

static void open_stream(struct pmemstream **opened, struct medium *medium, char **base)
{
	const struct stream_options options = {.block_size = 64, .salt = 1};

	*base = aligned_alloc(MEDIUM_PAGE_BYTES, MEDIUM_BYTES);
	memset(*base, 0, MEDIUM_BYTES);
	assert_int_equal(medium_from_range(medium, *base, MEDIUM_BYTES, MEDIUM_CACHE_LINE, true), 0);
	assert_int_equal(stream_open(opened, medium, &options), 0);
}

/* A stream whose flushes are watched, and three entries that were copied and are not durable, no two of them
 * neighbours, so that each is flushed by itself. */
static void begin_watched(struct medium *medium, char **base)
{
	struct data_mover_sync *sync = data_mover_sync_new();

	open_stream(&stream, medium, base);
	real = stream->medium.ops;
	watched = *real;
	watched.flush = op_flush;
	stream->medium.ops = &watched;
	flushed_count = 0;
	for (int i = 0; i < 2; i++)
		assert_int_equal(pmemstream_region_allocate(stream, 1 << 20, &regions[i]), 0);
	for (int i = 0; i < ENTRIES; i++)
		assert_int_equal(pmemstream_async_append(stream, data_mover_sync_get_vdm(sync), regions[i % 2], NULL,
							 "entry", 5, &entries[i]),
				 0);
	data_mover_sync_delete(sync);
	flushed_count = 0;
	in_scan = true;
}

static void a_slot_that_is_used_again_beside_a_scan_makes_it_flush_nothing_out_of_the_map(void **state)
{
	(void)state;
	struct window_scan scan;
	struct medium medium;
	char *base;

	begin_watched(&medium, &base);
	raises_one = false;
	window_scan(stream, ENTRIES, true, &scan);
	assert_false(in_scan);
	window_advance(stream, &scan);
	assert_int_equal(stream_persisted(stream), ENTRIES);
	pmemstream_delete(&stream);
	free(base);
}

static bool was_flushed(uint64_t off)
{
	const char *at = stream_at(stream, off);

	for (unsigned i = 0; i < flushed_count; i++)
		if (flushed[i].begin <= at && at + FORMAT_ENTRY_HEADER_BYTES + 5 <= flushed[i].end)
			return true;
	return false;
}

static void an_append_that_is_overtaken_while_it_flushes_older_ones_flushes_the_rest(void **state)
{
	(void)state;
	struct medium medium;
	char *base;

	begin_watched(&medium, &base);
	raises_one = true;
	assert_int_equal(pmemstream_append(stream, regions[0], NULL, "later", 5, NULL), 0);
	assert_false(in_scan);
	assert_int_equal(stream_persisted(stream), ENTRIES + 1);
	for (int i = 1; i < ENTRIES; i++)
		assert_true(was_flushed(entries[i].offset));
	pmemstream_delete(&stream);
	free(base);
}

struct standstill {
	struct pmemstream *stream;
	struct medium medium;
	char *base;
	struct pmemstream_region region;
	struct pmemstream_region_runtime *runtime;
	bool noted; /* where the entry lies, or it stands in the slot */
	struct ticket ticket;
	struct pmemstream_entry entries[BATCH];
	/* What another thread asks, and what it was told. */
	uint64_t (*question)(struct standstill *standstill);
	uint64_t answer;
	int answer_errno;
	_Atomic bool asked, answered;
};

static uint64_t ask_safe_off(struct standstill *standstill)
{
	return window_safe_off(standstill->stream, standstill->ticket.region);
}

static uint64_t ask_for_region(struct standstill *standstill)
{
	return (uint64_t)pmemstream_region_free(standstill->stream, standstill->region);
}

/* As far as a checkpoint says that the region's entries are durable. */
static uint64_t ask_for_checkpoint(struct standstill *standstill)
{
	pthread_mutex_lock(&standstill->stream->admin);
	int err = checkpoint_round(standstill->stream, 0);
	pthread_mutex_unlock(&standstill->stream->admin);
	return err ? 0 : standstill->ticket.region->round_off;
}

static void *ask(void *argument)
{
	struct standstill *standstill = argument;

	atomic_store(&standstill->asked, true);
	errno = 0;
	standstill->answer = standstill->question(standstill);
	standstill->answer_errno = errno;
	atomic_store(&standstill->answered, true);
	return NULL;
}

static void begin_standstill(struct standstill *standstill, bool noted)
{
	*standstill = (struct standstill){.noted = noted};
	open_stream(&standstill->stream, &standstill->medium, &standstill->base);
	assert_int_equal(pmemstream_region_allocate(standstill->stream, 1 << 20, &standstill->region), 0);
	assert_int_equal(
		pmemstream_region_runtime_initialize(standstill->stream, standstill->region, &standstill->runtime), 0);
	assert_int_equal(
		pmemstream_append(standstill->stream, standstill->region, standstill->runtime, "first", 5, NULL), 0);
}

/* Another thread asks; returns when it waits, or has its answer. */
static pthread_t let_ask(struct standstill *standstill, uint64_t (*question)(struct standstill *))
{
	pthread_t other;

	standstill->question = question;
	standstill->asked = standstill->answered = false;
	assert_int_equal(pthread_create(&other, NULL, ask, standstill), 0);
	for (unsigned i = 0; !(atomic_load(&standstill->asked) && i >= YIELDS) && !atomic_load(&standstill->answered);
	     i++)
		sched_yield();
	return other;
}

static void await_answer(struct standstill *standstill, pthread_t other)
{
	uint64_t end_ns = progress_now_ns() + END_NS;

	while (!atomic_load(&standstill->answered)) {
		if (progress_now_ns() > end_ns)
			fail_msg("the other thread waits for ever");
		sched_yield();
	}
	pthread_join(other, NULL);
}

static void take(struct standstill *standstill)
{
	struct pmemstream *log = standstill->stream;
	uint64_t persisted = stream_persisted(log);

	spinlock_take(&log->order);
	window_take(log, standstill->runtime->region, 5, persisted, standstill->noted ? window_own_note(log) : NULL,
		    false, &standstill->ticket);
	spinlock_leave(&log->order);
}

static void finish(struct standstill *standstill)
{
	struct pmemstream *log = standstill->stream;
	unsigned char header[FORMAT_ENTRY_HEADER_BYTES];
	struct format_entry entry;

	append_header(log, &standstill->ticket, format_data_crc("later", 5), 0, &entry, header);
	append_store(log, &standstill->ticket, header, "later", 5);
	assert_int_equal(append_finish(log, &standstill->ticket, &standstill->ticket), 0);
}

/* Takes a timestamp, lets another thread ask, and ends the append after its answer. */
static void stand_still_beside(struct standstill *standstill, uint64_t (*question)(struct standstill *))
{
	take(standstill);
	await_answer(standstill, let_ask(standstill, question));
	finish(standstill);
}

static void end_standstill(struct standstill *standstill)
{
	pmemstream_delete(&standstill->stream);
	free(standstill->base);
}

static void entries_are_shown_only_up_to_one_in_flight(void **state)
{
	(void)state;

	for (int noted = 0; noted < 2; noted++) {
		struct standstill standstill;
		begin_standstill(&standstill, noted);
		stand_still_beside(&standstill, ask_safe_off);
		assert_int_equal(standstill.answer, standstill.ticket.off);
		assert_int_equal(window_safe_off(standstill.stream, standstill.ticket.region),
				 standstill.ticket.off + append_space(standstill.stream, 5));
		end_standstill(&standstill);
	}
}

static void a_region_is_busy_while_an_append_to_it_is_in_flight(void **state)
{
	(void)state;

	for (int noted = 0; noted < 2; noted++) {
		struct standstill standstill;
		begin_standstill(&standstill, noted);
		stand_still_beside(&standstill, ask_for_region);
		assert_int_equal(standstill.answer, UINT64_MAX);
		assert_int_equal(standstill.answer_errno, EBUSY);
		assert_int_equal(pmemstream_region_free(standstill.stream, standstill.region), 0);
		end_standstill(&standstill);
	}
}

static void a_checkpoint_ends_in_front_of_an_entry_in_flight(void **state)
{
	(void)state;

	for (int noted = 0; noted < 2; noted++) {
		struct standstill standstill;
		begin_standstill(&standstill, noted);
		stand_still_beside(&standstill, ask_for_checkpoint);
		assert_int_equal(standstill.answer, standstill.ticket.off);
		end_standstill(&standstill);
	}
}

/* As after a jump out of the append. */
static void a_thread_that_appends_again_leaves_the_first_entry_in_its_slot(void **state)
{
	(void)state;
	struct standstill standstill;

	begin_standstill(&standstill, true);
	take(&standstill);
	struct ticket first = standstill.ticket;
	assert_int_equal(slot_timestamp(atomic_load(&first.slot->word)), 0);
	take(&standstill);
	assert_int_equal(slot_timestamp(atomic_load(&first.slot->word)), first.timestamp);
	await_answer(&standstill, let_ask(&standstill, ask_safe_off));
	assert_int_equal(standstill.answer, first.off);
	await_answer(&standstill, let_ask(&standstill, ask_for_checkpoint));
	assert_int_equal(standstill.answer, first.off);
	struct ticket second = standstill.ticket;
	standstill.ticket = first;
	finish(&standstill);
	assert_int_equal(atomic_load(&first.note->timestamp), 0);
	standstill.ticket = second;
	finish(&standstill);
	assert_int_equal(stream_persisted(standstill.stream), second.timestamp);
	end_standstill(&standstill);
}

struct beside {
	struct pmemstream *stream;
	struct pmemstream_region region;
	_Atomic bool ends;
	bool failed;
};

static void *append_beside(void *argument)
{
	struct beside *beside = argument;

	while (!atomic_load(&beside->ends) && !beside->failed)
		beside->failed =
			pmemstream_append(beside->stream, beside->region, NULL, "beside", 6, NULL) && errno != ENOSPC;
	return NULL;
}

/* The last entry that a checkpoint takes for covered is one that it knew to be durable. */
static void assert_covered(struct pmemstream *log, struct pmemstream_region region)
{
	struct pmemstream_region_info info;

	assert_int_equal(pmemstream_region_get_info(log, region, &info), 0);
	if (!info.checkpoint_used)
		return;
	struct pmemstream_entry last = {region.offset + FORMAT_REGION_HEADER_BYTES + info.checkpoint_used -
					append_space(log, 6)};
	assert_true(pmemstream_entry_timestamp(log, last) <= info.checkpoint_timestamp);
}

static void a_checkpoint_beside_appenders_covers_nothing_newer_than_it_says(void **state)
{
	(void)state;
	struct standstill standstill;
	struct beside beside[2];
	pthread_t threads[2];

	begin_standstill(&standstill, true);
	for (int i = 0; i < 2; i++) {
		beside[i] = (struct beside){.stream = standstill.stream};
		assert_int_equal(pmemstream_region_allocate(standstill.stream, 1 << 20, &beside[i].region), 0);
		assert_int_equal(pthread_create(&threads[i], NULL, append_beside, &beside[i]), 0);
	}
	for (int round = 0; round < ROUNDS; round++) {
		pthread_mutex_lock(&standstill.stream->admin);
		assert_int_equal(checkpoint_round(standstill.stream, 0), 0);
		pthread_mutex_unlock(&standstill.stream->admin);
		for (int i = 0; i < 2; i++)
			assert_covered(standstill.stream, beside[i].region);
	}
	for (int i = 0; i < 2; i++) {
		atomic_store(&beside[i].ends, true);
		pthread_join(threads[i], NULL);
		assert_false(beside[i].failed);
	}
	end_standstill(&standstill);
}

/* Ways to append one or several entries and be told that they are durable. */
static uint64_t ask_to_append(struct standstill *standstill)
{
	return (uint64_t)pmemstream_append(standstill->stream, standstill->region, standstill->runtime, "newer", 5,
					   standstill->entries);
}

static uint64_t ask_to_gather(struct standstill *standstill)
{
	static char long_piece[8192];
	const struct iovec pieces[] = {{long_piece, sizeof(long_piece)}, {"newer", 5}};

	return (uint64_t)pmemstream_appendv(standstill->stream, standstill->region, standstill->runtime, pieces, 2,
					    standstill->entries);
}

static uint64_t ask_to_publish(struct standstill *standstill)
{
	void *data;

	if (pmemstream_reserve(standstill->stream, standstill->region, standstill->runtime, 5, standstill->entries,
			       &data))
		return UINT64_MAX;
	memcpy(data, "newer", 5);
	return (uint64_t)pmemstream_publish(standstill->stream, standstill->region, standstill->runtime,
					    standstill->entries[0], 5);
}

static uint64_t ask_for_batch(struct standstill *standstill)
{
	struct pmemstream_batch *batch;

	if (pmemstream_batch_begin(standstill->stream, &batch))
		return UINT64_MAX;
	for (int i = 0; i < BATCH; i++)
		if (pmemstream_batch_add(batch, standstill->region, standstill->runtime, "part", 4))
			return UINT64_MAX;
	return (uint64_t)pmemstream_batch_commit(&batch, standstill->entries);
}

static const struct way {
	uint64_t (*ask)(struct standstill *standstill);
	unsigned count;
} ways[] = {{ask_to_append, 1}, {ask_to_gather, 1}, {ask_to_publish, 1}, {ask_for_batch, BATCH}};

enum { WAYS = sizeof(ways) / sizeof(*ways) };

/* What the headers of a way's entries vouch for: all up to so many timestamps in front of the first. */
static void assert_lags(struct standstill *standstill, const struct way *way, uint32_t first)
{
	for (unsigned i = 0; i < way->count; i++) {
		const unsigned char *header = stream_at(standstill->stream, standstill->entries[i].offset);
		assert_int_equal(le32_load(header + 20), first + i);
	}
}

static void start_copied(struct standstill *standstill)
{
	struct data_mover_sync *mover = data_mover_sync_new();

	assert_int_equal(pmemstream_async_append(standstill->stream, data_mover_sync_get_vdm(mover), standstill->region,
						 standstill->runtime, "copied", 6, standstill->entries),
			 0);
	data_mover_sync_delete(mover);
}

static void a_note_that_has_served_changes_no_slot(void **state)
{
	(void)state;
	struct standstill standstill;

	begin_standstill(&standstill, true);
	/* Of an entry that is durable: its slot may be in use for another one. */
	uint64_t durable = stream_persisted(standstill.stream);
	struct window_note *note = window_own_note(standstill.stream);
	atomic_store(&note->timestamp, durable);
	assert_int_equal(ask_to_append(&standstill), 0);
	assert_int_equal(atomic_load(&window_slot(standstill.stream, durable)->word), 0);
	/* Of one that its slot says more of. */
	start_copied(&standstill);
	uint64_t copied = durable + 2, word = atomic_load(&window_slot(standstill.stream, copied)->word);
	assert_int_equal(slot_state(word), SLOT_COPIED);
	atomic_store(&note->timestamp, copied);
	assert_int_equal(ask_to_append(&standstill), 0);
	assert_int_equal(atomic_load(&window_slot(standstill.stream, copied)->word), word);
	end_standstill(&standstill);
}

static void append_copied(struct standstill *standstill)
{
	start_copied(standstill);
	assert_int_equal(pmemstream_wait_persisted(standstill->stream,
						   pmemstream_committed_timestamp(standstill->stream), UINT64_MAX),
			 0);
}

static struct beside_reader {
	struct pmemstream *stream;
	struct region *region;
	_Atomic uint64_t in_flight_off; /* of the first entry that is not finished; 0: none for the moment */
	_Atomic uint64_t begun;
	_Atomic bool ends;
	uint64_t wrong;
} reader;

static void *read_beside(void *argument)
{
	(void)argument;
	while (!atomic_load(&reader.ends)) {
		uint64_t off = atomic_load(&reader.in_flight_off);
		atomic_fetch_add(&reader.begun, 1);
		uint64_t safe_off = window_safe_off(reader.stream, reader.region);
		if (off && atomic_load(&reader.in_flight_off) == off)
			reader.wrong += safe_off > off;
	}
	return NULL;
}

static void a_note_that_is_written_anew_is_not_read_in_parts(void **state)
{
	(void)state;
	struct standstill standstill;
	pthread_t thread;

	begin_standstill(&standstill, true);
	reader = (struct beside_reader){.stream = standstill.stream, .region = standstill.runtime->region};
	assert_int_equal(pthread_create(&thread, NULL, read_beside, NULL), 0);
	for (int round = 0; round < 7000; round++) {
		take(&standstill);
		struct ticket first = standstill.ticket;
		atomic_store(&reader.in_flight_off, first.off);
		/* It is written while the other thread looks, a little later in each round. */
		for (uint64_t begun = atomic_load(&reader.begun); atomic_load(&reader.begun) < begun + 2;)
			spinlock_backoff(0);
		for (int i = 0; i < round % 32; i++)
			atomic_signal_fence(memory_order_seq_cst);
		take(&standstill);
		/* Long enough for the look to end. */
		for (uint64_t begun = atomic_load(&reader.begun); atomic_load(&reader.begun) < begun + 1;)
			spinlock_backoff(0);
		atomic_store(&reader.in_flight_off, 0);
		struct ticket second = standstill.ticket;
		standstill.ticket = first;
		finish(&standstill);
		standstill.ticket = second;
		finish(&standstill);
	}
	atomic_store(&reader.ends, true);
	pthread_join(thread, NULL);
	assert_int_equal(reader.wrong, 0);
	end_standstill(&standstill);
}

static pthread_barrier_t numbered, released;

static void *keep_a_number(void *argument)
{
	(void)argument;
	thread_slot();
	pthread_barrier_wait(&numbered);
	pthread_barrier_wait(&released);
	return NULL;
}

static void a_thread_without_a_number_appends_too(void **state)
{
	(void)state;
	pthread_t threads[THREAD_SLOT_SHARED];
	struct standstill standstill;

	begin_standstill(&standstill, false);
	pthread_barrier_init(&numbered, NULL, THREAD_SLOT_SHARED + 1);
	pthread_barrier_init(&released, NULL, THREAD_SLOT_SHARED + 1);
	for (int i = 0; i < THREAD_SLOT_SHARED; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, keep_a_number, NULL), 0);
	pthread_barrier_wait(&numbered);
	await_answer(&standstill, let_ask(&standstill, ask_to_append));
	assert_int_equal(standstill.answer, 0);
	uint64_t last = stream_persisted(standstill.stream);
	assert_int_equal(slot_timestamp(atomic_load(&window_slot(standstill.stream, last)->word)), last);
	pthread_barrier_wait(&released);
	for (int i = 0; i < THREAD_SLOT_SHARED; i++)
		pthread_join(threads[i], NULL);
	end_standstill(&standstill);
}

static void an_append_is_not_acknowledged_before_an_older_one(void **state)
{
	(void)state;

	for (unsigned i = 0; i < 2 * WAYS; i++) {
		const struct way *way = &ways[i / 2];
		struct standstill standstill;
		begin_standstill(&standstill, i % 3 != 0);
		if (i % 2)
			append_copied(&standstill);
		take(&standstill);
		pthread_t other = let_ask(&standstill, way->ask);
		assert_false(atomic_load(&standstill.answered));
		assert_int_equal(stream_persisted(standstill.stream), standstill.ticket.timestamp - 1);
		finish(&standstill);
		await_answer(&standstill, other);
		assert_int_equal(standstill.answer, 0);
		assert_int_equal(stream_persisted(standstill.stream), standstill.ticket.timestamp + way->count);
		end_standstill(&standstill);
	}
}

/* The wait counts once, and the append around it once more, until its round is done. */
static void an_append_with_a_round_due_is_inside_until_that_is_done(void **state)
{
	(void)state;
	uint64_t end_ns = progress_now_ns() + END_NS;
	struct standstill standstill;

	begin_standstill(&standstill, true);
	uint64_t rounds = standstill.stream->rounds_done;
	take(&standstill);
	standstill.stream->round_bytes = 1;
	pthread_t other = let_ask(&standstill, ask_to_append);
	while (atomic_load(&standstill.stream->progress.inside) < 2) {
		if (progress_now_ns() > end_ns)
			fail_msg("a delete would not wait for its round");
		sched_yield();
	}
	finish(&standstill);
	await_answer(&standstill, other);
	assert_int_equal(standstill.answer, 0);
	assert_true(standstill.stream->rounds_done > rounds);
	assert_int_equal(atomic_load(&standstill.stream->progress.inside), 0);
	end_standstill(&standstill);
}

static void an_entry_vouches_for_all_that_was_acknowledged_before_it_began(void **state)
{
	(void)state;
	struct standstill standstill;

	begin_standstill(&standstill, true);
	for (int i = 0; i < 3; i++)
		for (unsigned w = 0; w < WAYS; w++) {
			assert_int_equal(ways[w].ask(&standstill), 0);
			assert_lags(&standstill, &ways[w], 1);
			append_copied(&standstill);
			assert_lags(&standstill, &ways[0], 1);
			await_answer(&standstill, let_ask(&standstill, ways[w].ask));
			assert_lags(&standstill, &ways[w], 1);
		}
	/* And for no more: one stands still in front. */
	take(&standstill);
	start_copied(&standstill);
	assert_lags(&standstill, &ways[0], 2);
	finish(&standstill);
	end_standstill(&standstill);
}

/* As if the thread that raised persisted lost its processor before it told other processes. */
static uint64_t raise_alone(struct standstill *standstill)
{
	take(standstill);
	atomic_store(&standstill->stream->persisted, standstill->ticket.timestamp);
	window_end(standstill->ticket.note);
	assert_int_equal(area_load8(&standstill->stream->medium, AREA_PERSISTED_OFF), standstill->ticket.timestamp - 1);
	return standstill->ticket.timestamp;
}

static void assert_told(struct standstill *standstill)
{
	assert_int_equal(area_load8(&standstill->stream->medium, AREA_PERSISTED_OFF), standstill->ticket.timestamp);
}

static void who_is_told_that_an_entry_is_durable_finds_other_processes_told(void **state)
{
	(void)state;
	struct standstill standstill;

	begin_standstill(&standstill, true);
	area_begin(standstill.stream);
	uint64_t timestamp = raise_alone(&standstill);
	assert_int_equal(pmemstream_persisted_timestamp(standstill.stream), timestamp);
	assert_told(&standstill);
	timestamp = raise_alone(&standstill);
	assert_int_equal(pmemstream_wait_persisted(standstill.stream, timestamp, UINT64_MAX), 0);
	assert_told(&standstill);
	timestamp = raise_alone(&standstill);
	struct pmemstream_async_wait_fut future = pmemstream_async_wait_persisted(standstill.stream, timestamp);
	assert_int_equal(future_poll(FUTURE_AS_RUNNABLE(&future), NULL), FUTURE_STATE_COMPLETE);
	assert_told(&standstill);
	timestamp = raise_alone(&standstill);
	assert_int_equal(pmemstream_committed_timestamp(standstill.stream), timestamp);
	assert_told(&standstill);
	timestamp = raise_alone(&standstill);
	assert_int_equal(pmemstream_wait_committed(standstill.stream, timestamp, UINT64_MAX), 0);
	assert_told(&standstill);
	await_answer(&standstill, let_ask(&standstill, ask_to_append));
	standstill.ticket.timestamp++;
	assert_told(&standstill);
	area_end(standstill.stream);
	end_standstill(&standstill);
}

static void entries_of_a_batch_say_so_in_their_slots(void **state)
{
	(void)state;
	struct standstill standstill;

	begin_standstill(&standstill, true);
	assert_int_equal(ask_for_batch(&standstill), 0);
	uint64_t last = stream_persisted(standstill.stream);
	for (uint64_t timestamp = last - BATCH + 1; timestamp <= last; timestamp++)
		assert_int_equal(atomic_load(&window_slot(standstill.stream, timestamp)->word) & SLOT_MORE,
				 timestamp < last ? SLOT_MORE : 0);
	end_standstill(&standstill);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_slot_that_is_used_again_beside_a_scan_makes_it_flush_nothing_out_of_the_map),
		cmocka_unit_test(an_append_that_is_overtaken_while_it_flushes_older_ones_flushes_the_rest),
		cmocka_unit_test(entries_are_shown_only_up_to_one_in_flight),
		cmocka_unit_test(a_region_is_busy_while_an_append_to_it_is_in_flight),
		cmocka_unit_test(a_checkpoint_ends_in_front_of_an_entry_in_flight),
		cmocka_unit_test(a_thread_that_appends_again_leaves_the_first_entry_in_its_slot),
		cmocka_unit_test(a_note_that_has_served_changes_no_slot),
		cmocka_unit_test(a_checkpoint_beside_appenders_covers_nothing_newer_than_it_says),
		cmocka_unit_test(a_note_that_is_written_anew_is_not_read_in_parts),
		cmocka_unit_test(a_thread_without_a_number_appends_too),
		cmocka_unit_test(an_append_is_not_acknowledged_before_an_older_one),
		cmocka_unit_test(an_append_with_a_round_due_is_inside_until_that_is_done),
		cmocka_unit_test(an_entry_vouches_for_all_that_was_acknowledged_before_it_began),
		cmocka_unit_test(who_is_told_that_an_entry_is_durable_finds_other_processes_told),
		cmocka_unit_test(entries_of_a_batch_say_so_in_their_slots),
	};

	return cmocka_run_group_tests_name("stream_window", tests, NULL, NULL);
}
