/*
 * watch.c: hooks, and the usual loop of a crash test: at each moment, for each image, reopen and check.
 */
#include "base/error.h"
#include "cut/internal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void cut_hook(struct cut *cut, unsigned kinds, void (*hook)(struct cut *, const struct cut_event *, void *),
	      void *context)
{
	cut_lock(cut);
	cut->hook = (struct hook){.call = hook, .context = context, .kinds = hook ? kinds : 0};
	cut_unlock(cut);
}

static const char *event_text(const struct cut_event *event)
{
	switch (event->kind) {
	case CUT_STORE:
		return "store";
	case CUT_FLUSH:
		return "flush";
	case CUT_FENCE:
		return "fence";
	case CUT_SYNC:
		return "sync";
	case CUT_REDIRTY:
		return "redirty";
	default:
		return "end";
	}
}

static void keep_failure(struct cut *cut, const struct cut_moment *moment, uint64_t seed)
{
	enum { FAILURE_BYTES = ERROR_MESSAGE_MAX + 1024 };
	const struct cut_event *event = &moment->event;
	char where[256] = "at the end";

	if (event->kind != CUT_NOW)
		snprintf(where, sizeof(where), "%s event %" PRIu64 ", a %s at offset %zu by %s",
			 event->after ? "after" : "before", event->number, event_text(event), event->off,
			 cut_site_text(event->site));
	cut->failure = cut_allocate(NULL, FAILURE_BYTES);
	int length = snprintf(cut->failure, FAILURE_BYTES, "%s %s, image %" PRIu64 ", %s: %s",
			      moment->killed ? "process kill" : "power cut", where, moment->image, moment->text,
			      error_message());
	/* Of watches inside watches, only the innermost says it. */
	if (length > 0 && length < FAILURE_BYTES && !strstr(cut->failure, "CUT_SEED="))
		snprintf(cut->failure + length, FAILURE_BYTES - (size_t)length, " (repeat with CUT_SEED=%" PRIu64 ")",
			 seed);
}

static void check_one(struct cut *cut, struct cut_moment *moment, uint64_t seed)
{
	if (getenv("CUT_TRACE"))
		fprintf(stderr, "cut: event %" PRIu64 " %s %s image %" PRIu64 " %s\n", moment->event.number,
			moment->event.after ? "after" : "before", event_text(&moment->event), moment->image,
			moment->text);
	cut->images_checked++;
	error_clear();
	if (cut->watch.check(cut->after, moment, cut->watch.context))
		keep_failure(cut, moment, seed);
}

static struct cut *make_after(struct cut *cut)
{
	if (!cut->after) {
		cut->after = cut_new(cut->medium.size, cut->medium.granularity);
		cut->image = cut_allocate(cut->image, cut->medium.size);
	}
	ranges_copy(&cut->after->scratch, &cut->scratch);
	cut->after->seen_stores = cut->seen_stores;
	return cut->after;
}

static void check_kill(struct cut *cut, const struct cut_event *event, uint64_t seed)
{
	struct cut_moment moment = {.event = *event, .killed = true, .text = "caches stay"};

	cut_copy(make_after(cut), cut);
	cut_kill(cut->after);
	check_one(cut, &moment, seed);
}

static void check_images(struct cut *cut, const struct cut_event *event, uint64_t seed)
{
	/* From the seed of the watch, each moment gets another one of its own. */
	uint64_t own_seed = seed ^ cut->moments * UINT64_C(0xff51afd7ed558ccd);
	struct cut_images *images = images_begin(cut, &cut->watch.plan, own_seed);
	struct cut_moment moment = {.event = *event};

	make_after(cut);
	while (!cut->failure && cut_images_next(images, cut->image)) {
		moment.image++;
		moment.text = cut_images_text(images);
		cut_restart(cut->after, cut->image);
		check_one(cut, &moment, seed);
	}
	cut_images_end(images);
}

static void check_moment(struct cut *cut, const struct cut_event *event)
{
	uint64_t seed = plan_seed(&cut->watch.plan);

	if (cut->failure)
		return;
	if (cut_verify_no_bypass(cut)) {
		struct cut_moment moment = {.event = *event, .text = "no image"};
		keep_failure(cut, &moment, seed);
		return;
	}
	if (cut->watch.kills)
		check_kill(cut, event, seed);
	if (!cut->failure)
		check_images(cut, event, seed);
}

static void watch_event(struct cut *cut, const struct cut_event *event, void *context)
{
	(void)context;
	cut->moments++;
	if (!cut->watch.every || cut->moments % cut->watch.every == 0)
		check_moment(cut, event);
}

void cut_watch(struct cut *cut, const struct cut_watch *watch)
{
	cut_lock(cut);
	cut->watch_hook = (struct hook){0};
	cut->watch = watch ? *watch : (struct cut_watch){0};
	if (watch) {
		unsigned kinds = watch->kinds ? watch->kinds : CUT_FENCE | CUT_SYNC | CUT_NOW;
		cut->watch_hook = (struct hook){.call = watch_event, .kinds = kinds};
	}
	cut_unlock(cut);
}

int cut_check_now(struct cut *cut)
{
	struct cut_event event = {.kind = CUT_NOW};

	cut_lock(cut);
	event.number = cut->event_number;
	cut->moments++;
	if (cut->watch.check && cut->watch_hook.kinds & CUT_NOW)
		check_moment(cut, &event);
	bool failed = cut->failure;
	cut_unlock(cut);
	return failed ? error_set(EIO, "%s", cut->failure) : 0;
}

const char *cut_failure(struct cut *cut)
{
	return cut->failure;
}

uint64_t cut_images_checked(struct cut *cut)
{
	cut_lock(cut);
	uint64_t checked = cut->images_checked;
	cut_unlock(cut);
	return checked;
}
