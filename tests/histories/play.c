/*
 * play.c: a history: lives of processes, one after the other, on one medium.
 *
 * A life opens the stream (creates it, the first time), takes actions, and ends: closed, killed or by a power cut, the
 * latter two between two calls or inside of one, opening and closing included. After a kill the caches stay; after a
 * power cut a random image of the medium does. A failed sync makes the stream read-only for the rest of the life.
 */
#include "histories/history.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PAGES_MAX = 3 };

void history_violation(struct history *history, const char *format, ...)
{
	va_list arguments;

	if (history_failed(history))
		return;
	va_start(arguments, format);
	vsnprintf(history->failure, sizeof(history->failure), format, arguments);
	va_end(arguments);
	history_trace(history, "VIOLATION: %s", history->failure);
}

void history_trace(struct history *history, const char *format, ...)
{
	va_list arguments;

	if (!history->tracing)
		return;
	printf("# %3u  ", history->step);
	va_start(arguments, format);
	vprintf(format, arguments);
	va_end(arguments);
	putchar('\n');
	fflush(stdout);
}

static void note_death(void *context)
{
	action_note_promises(context);
}

void history_init(struct history *history, enum medium_granularity granularity, unsigned steps_max, bool tracing)
{
	size_t bytes = PAGES_MAX * (size_t)MEDIUM_PAGE_BYTES;

	memset(history, 0, sizeof(*history));
	history->granularity = granularity;
	history->steps_max = steps_max;
	history->tracing = tracing;
	history->medium_bytes = bytes;
	machine_init(&history->machine, bytes, granularity);
	history->machine.at_death = note_death;
	history->machine.context = history;
	mover_init(&history->mover, &history->machine);
	history->synchronous = data_mover_sync_new();
	second_init(history);
	for (unsigned i = 0; i < 2; i++)
		history->old[i] = calloc(1, bytes);
	if (!history->synchronous || !history->old[0] || !history->old[1])
		abort();
}

void history_free(struct history *history)
{
	second_free(history);
	machine_free(&history->machine);
	data_mover_sync_delete(history->synchronous);
	for (unsigned i = 0; i < 2; i++)
		free(history->old[i]);
}

/* Torn records and reused places are rare where much else goes on. */
static void mostly_allocate(unsigned *weights)
{
	for (unsigned i = 0; i < ACT_COUNT; i++)
		weights[i] = i == ACT_ALLOCATE || i == ACT_FREE ? 8 : i == ACT_APPEND || i == ACT_ROUND;
}

/* Each history has its own habits: what it does often, and what never. */
static void choose_habits(struct history *history, uint64_t seed)
{
	static const unsigned often[] = {0, 1, 3, 8};
	struct random *random = &history->random;

	history->seed = seed;
	random->state = seed;
	random_next(random);
	history->options = (struct stream_options){.block_size = 64, .reservation_ns = 1, .salt = 0x5eed};
	history->options.alignment = random_one_in(random, 3) ? 64 : 8;
	history->options.window = 4U << random_below(random, 3);
	history->options.round_bytes = random_one_in(random, 2) ? 1 << 20 : 32U << random_below(random, 5);
	history->options.one_pass_bytes = history->options.round_bytes < 1 << 20 ? 33 : 0;
	for (unsigned i = 0; i < ACT_COUNT; i++)
		history->weights[i] = often[random_below(random, 4)];
	history->weights[ACT_APPEND] += 2;
	history->weights[ACT_ALLOCATE] += 1;
	if (random_one_in(random, 6))
		mostly_allocate(history->weights);
	if (history->weights[ACT_LOOK] > 1)
		history->weights[ACT_LOOK] = 1;
	if (history->weights[ACT_FAULT] > 1 || random_one_in(random, 2))
		history->weights[ACT_FAULT] = 0;
	history->short_lives = random_one_in(random, 3);
	history->has_second = random_one_in(random, 4);
	if (history->short_lives && random_one_in(random, 2))
		history->weights[ACT_ROUND] = history->weights[ACT_FREE] = 0;
	history->weight_sum = 0;
	for (unsigned i = 0; i < ACT_COUNT; i++)
		history->weight_sum += history->weights[i];
	history->data_bytes_max = random_one_in(random, 2) ? 48 : 200;
	history->regions_max = 1 + random_below(random, 4);
	history->decays = random_one_in(random, 4);
	history->faulty = history->ended = false;
	history->damage = (struct damage){0};
	history->step = 0;
	history->stream = NULL;
	history->failure[0] = '\0';
}

/* Gives the library's memory back without another word to the medium. */
static void drop_process(struct history *history)
{
	if (history->stream) {
		atomic_store(&history->stream->failed, EIO);
		pmemstream_delete(&history->stream);
	}
	mover_forget(&history->mover);
}

/* The process is over: what is left of the machine. */
static void end_life(struct history *history)
{
	struct random *random = &history->random;
	if (history->machine.dead)
		history->statistics.deaths_inside++;
	else
		machine_die(&history->machine);
	drop_process(history);
	machine_bury(&history->machine);
	if (random_one_in(random, 2)) {
		history_trace(history, "-- killed%s", history->machine.where);
		cut_kill(history->machine.now);
		cut_allow_none(history->machine.now);
		history->statistics.kills++;
		if (random_one_in(random, 2))
			cut_fail_sync(history->machine.now, 0, 0, false);
		return;
	}
	history_trace(history, "-- power cut%s", history->machine.where);
	cut_power(history->machine.now, random_next(random));
	history->faulty = false;
	history->statistics.power_cuts++;
	if (history->decays && random_one_in(random, 4))
		damage_something(history);
}

static void open_failed(struct history *history)
{
	if (errno == EBADMSG && (history->damage.timestamp || history->damage.own_off))
		damage_reported_at_open(history);
	else if (errno == EIO && history->faulty)
		history_trace(history, "opening fails: %s", pmemstream_errormsg());
	else
		history_violation(history, "opening fails: errno %d: %s", errno, pmemstream_errormsg());
}

/* True: the stream is open and was found right. */
static bool open_stream(struct history *history)
{
	struct medium medium;

	history->read_only_end = UINT64_MAX;
	if (random_one_in(&history->random, 16))
		check_read_only(history);
	if (random_one_in(&history->random, 4))
		machine_arm(&history->machine, 1 + random_below(&history->random, 40));
	if (cut_attach(history->machine.now, &medium))
		abort();
	medium.ops = second_ops(history);
	history_trace(history, "open");
	history->statistics.openings++;
	if (stream_open(&history->stream, &medium, &history->options)) {
		int err = errno;
		medium_close(&medium);
		errno = err;
		history->stream = NULL;
		if (!history->machine.dead)
			open_failed(history);
		else
			history->statistics.interrupted_openings++;
		return false;
	}
	if (history->machine.dead) {
		history->statistics.interrupted_openings++;
		return false;
	}
	machine_arm(&history->machine, 0);
	if (history->damage.timestamp || history->damage.own_off)
		damage_opened(history);
	if (!history_failed(history))
		check_reopened(history);
	history_trace(history, "opened: %zu timestamps", (size_t)history->shadow.count);
	history->reopened_at = history->shadow.count;
	return !history_failed(history) && !history->ended;
}

static void remember_medium(struct history *history)
{
	unsigned char *old = history->old[random_below(&history->random, 2)];

	memcpy(old, cut_medium(history->machine.now)->base, history->medium_bytes);
}

static void check_bypass(struct history *history)
{
	if (cut_verify_no_bypass(history->machine.now))
		history_violation(history, "%s", pmemstream_errormsg());
}

static void close_stream(struct history *history)
{
	history_trace(history, "close");
	bool failed = atomic_load(&history->stream->failed);
	pmemstream_delete(&history->stream);
	if (history->machine.dead)
		return;
	if (mover_count(&history->mover))
		history_violation(history, "%u copies are still in the hands of a mover", mover_count(&history->mover));
	mover_forget(&history->mover);
	if (!failed && !history->faulty)
		history->shadow.acknowledged = history->shadow.count;
}

/* True: the medium is as the process left it; nothing ended it. */
static bool live(struct history *history)
{
	struct random *random = &history->random;
	struct machine *machine = &history->machine;
	unsigned actions = 1 + random_below(random, history->short_lives ? 3 : random_one_in(random, 3) ? 30 : 8);

	if (!random_one_in(random, 4))
		machine_arm(machine,
			    1 + random_below(random, history->short_lives || random_one_in(random, 2) ? 20 : 150));
	while (actions-- && history->step < history->steps_max && !shadow_is_full(&history->shadow)) {
		history->step++;
		action_take(history);
		if (machine->dead || history_failed(history))
			return false;
		action_note_promises(history);
		if (random_one_in(random, 8))
			remember_medium(history);
	}
	check_bypass(history);
	if (history_failed(history) || !random_one_in(random, 3))
		return false;
	close_stream(history);
	if (machine->dead || history_failed(history))
		return false;
	machine_arm(machine, 0);
	history->statistics.clean_openings++;
	return random_one_in(random, 2);
}

int history_play(struct history *history, uint64_t seed)
{
	choose_habits(history, seed);
	shadow_reset(&history->shadow, history->options.alignment);
	machine_reset(&history->machine);
	/* Caches are durable there: a thread's fence also stands for what it saw of another's ordinary stores. */
	cut_set_seen_stores(history->machine.now, history->has_second);
	machine_set_clock(UINT64_C(1700000000000000000));
	for (unsigned i = 0; i < 2; i++)
		memset(history->old[i], 0, history->medium_bytes);
	history_trace(history, "window %u, alignment %u, rounds every %zu bytes", history->options.window,
		      history->options.alignment, (size_t)history->options.round_bytes);
	for (bool last = false; !history_failed(history) && !history->ended;) {
		bool opened = open_stream(history);
		if (opened && last)
			break;
		if (opened && live(history))
			continue;
		if (history_failed(history) || history->ended)
			break;
		end_life(history);
		last = history->step >= history->steps_max || shadow_is_full(&history->shadow);
	}
	machine_arm(&history->machine, 0);
	drop_process(history);
	history->machine.dead = false;
	history->statistics.histories++;
	return history_failed(history) ? -1 : 0;
}
