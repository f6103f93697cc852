/*
 * watcher.c: looks at every outcome of a power cut or kill: reopens, compares, goes on, and is cut again.
 *
 * Levels  images of the operation under way; of those some are recovered under watch, so that recovery itself is cut;
 *         of those images some again. What is known at a level below is a copy: a recovery that completed settles it.
 */
#include "crash/harness.h"

#include "base/error.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

const struct watcher watcher_default = {
	.deeper_one_in = 23,
	.plans = {{.all_below = 64, .samples = 10, .single_max = 12},
		  {.all_below = 8, .samples = 5, .single_max = 4},
		  {.all_below = 4, .samples = 5, .single_max = 2}},
	.kills = true,
	.levels = 2,
};

static int live(struct cut *after, const struct cut_moment *moment, void *context);

/* Something acknowledged: an entry, in a new region where there is none that takes it. */
static enum outcome add(struct machine *machine, bool newest)
{
	enum outcome outcome = newest ? machine_do(machine, 'A') : SKIPPED;

	if (outcome == SKIPPED)
		outcome = machine_do(machine, 'a');
	if (outcome == SKIPPED)
		outcome = machine_do(machine, 'n');
	return outcome;
}

/* What comes after an opening: the stream takes entries again, and keeps them. */
static int go_on(struct machine *machine, const struct cut_moment *moment)
{
	uint64_t number = moment->image + moment->event.number;
	char life = moment->killed || number % 3 == 0 ? 'p' : number % 3 == 1 ? 'k' : 'P';

	return add(machine, number % 2) == FAILED || machine_do(machine, life) == FAILED ? -1 : 0;
}

static int live_on(struct watcher *watcher, struct machine *machine, const struct cut_moment *moment, bool deeper)
{
	struct watcher below = *watcher;

	if (!moment->killed && (deeper || moment->image % 5 == 0) && machine_look(machine))
		return -1;
	/* A look at the caches tells nothing about what a later cut leaves. */
	if (moment->killed)
		machine->known.exact = false;
	if (deeper) {
		below.machine = machine;
		below.depth++;
		below.watch = (struct cut_watch){.plan = watcher->plans[below.depth], .check = live, .context = &below};
		below.images = 0;
		cut_watch(machine->cut, &below.watch);
	}
	int err = machine_open(machine);
	if (!err && deeper) {
		/* Under watch still: an entry, so that what was dropped is seen to stay dropped, or another change. */
		enum outcome outcome = machine_do(machine, "anaf"[(moment->image + moment->event.number) % 4]);
		if (outcome == SKIPPED)
			outcome = add(machine, false);
		err = outcome == FAILED || cut_check_now(machine->cut) ? -1 : 0;
		cut_watch(machine->cut, NULL);
	}
	watcher->images += deeper ? below.images : 0;
	if (!err && cut_failure(machine->cut))
		err = error_set(EBADMSG, "%s", cut_failure(machine->cut));
	if (!err)
		err = go_on(machine, moment);
	return err;
}

static int live(struct cut *after, const struct cut_moment *moment, void *context)
{
	struct watcher *watcher = context;
	struct machine machine;
	bool deeper = watcher->depth + 1 < watcher->levels &&
		      (moment->killed || (watcher->deeper_one_in &&
					  (moment->image + moment->event.number * 7) % watcher->deeper_one_in == 0));

	watcher->images++;
	machine_on(&machine, watcher->machine->config, after, &watcher->machine->known);
	machine.random = moment->event.number * 1000 + moment->image;
	cut_fail_sync(after, 0, 0, false);
	cut_allow_none(after);
	int err = live_on(watcher, &machine, moment, deeper);
	machine_drop(&machine);
	return err;
}

void watcher_begin(struct watcher *watcher, struct machine *machine)
{
	watcher->machine = machine;
	watcher->watch = (struct cut_watch){
		.plan = watcher->plans[0], .kills = watcher->kills, .check = live, .context = watcher};
	machine->watch = &watcher->watch;
	cut_watch(machine->cut, &watcher->watch);
}

void watcher_end(struct watcher *watcher)
{
	watcher->machine->watch = NULL;
	cut_watch(watcher->machine->cut, NULL);
}

/* All but the last operation. */
static enum outcome run_front(struct machine *machine, const char *script)
{
	enum outcome outcome = machine_open(machine) ? FAILED : DONE;

	for (; script[0] && script[1] && outcome != FAILED; script++)
		outcome = machine_do(machine, *script);
	return outcome;
}

enum outcome watch_last(struct watcher *watcher, const struct config *config, const char *script,
			char failure[FAILURE_BYTES])
{
	struct machine machine;
	enum outcome outcome = DONE;

	machine_begin(&machine, config);
	if (*script)
		outcome = run_front(&machine, script);
	if (outcome != FAILED) {
		watcher_begin(watcher, &machine);
		outcome = *script                  ? machine_do(&machine, script[strlen(script) - 1])
			  : machine_open(&machine) ? FAILED
						   : DONE;
		if (outcome != FAILED && (cut_check_now(machine.cut) || cut_failure(machine.cut)))
			outcome = FAILED;
		watcher_end(watcher);
	}
	if (outcome == FAILED)
		snprintf(failure, FAILURE_BYTES, "%s, script \"%s\": %s", config->name, script,
			 cut_failure(machine.cut) ? cut_failure(machine.cut) : error_message());
	machine_end(&machine);
	return outcome;
}
