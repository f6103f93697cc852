/*
 * follow.c: a read-only stream beside a writer in another process.
 *
 * View      what the reader knows: regions with tails, how far it shows, the epoch (view.c). It is made anew when the
 *           epoch, the size or the allocator's applied number changed, or the stream slots while no writer lives. In
 *           between only the tails move: behind a tail an entry counts if it is of the writer's epoch and not above
 *           what the writer published; an entry that an earlier recovery dropped is of an older epoch.
 * Freed     what is read may be overwritten once the writer freed its region. The applied number changes first: who
 *           finds it unchanged after reading has read what belonged to the region.
 * Damage    a tail that does not move may be the end, or stand before a damaged header. So where something was
 *           published since, a view is made now and then (at a hundredth of the time at most), which finds what is
 *           missing: the tail is moved over it, and who reads there is told; or, where its place is unknown, everybody
 *           who comes to an end in front of the missing timestamp is told, once.
 * Threads   the admin mutex makes it one look at a time; iterators go on beside it as they do beside a writer.
 * Writer    never waits for a reader: the only thing that a reader writes is the sleepers word, where the file's
 *           permissions let it.
 */
#include "stream/follow.h"

#include "base/error.h"
#include "stream/allocator.h"
#include "stream/file.h"
#include "stream/iterator.h"
#include "stream/progress.h"
#include "stream/view.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SLEEP_MIN_NS = 1000000, SLEEP_MAX_NS = 50000000 };
/* Between two views that are made only to find damage. */
enum { VOUCH_INTERVAL_NS = 100000000, VOUCH_SHARE = 100 };

/* Under the stream's admin mutex, but for what is atomic. */
struct follower {
	struct stream_options options;
	bool committed;                /* show what is committed, not what is durable */
	uint64_t deaths, told_deaths;  /* of writers: seen, and reported by a wait */
	struct fingerprint print;      /* of the view */
	_Atomic uint64_t applied_word; /* the same as in print */
	uint64_t vouched;              /* all published up to it was found, or told to be missing */
	uint64_t next_vouch_ns;
	bool refused; /* the last view could not be made: it is damaged, and this was the fingerprint */
	struct fingerprint refused_print;
	uint64_t troubles; /* the last serial number of one */
	char text[256];
	struct file page_file; /* the first page, writable: to register as a sleeper */
	struct medium page;
	bool registers;
	_Atomic uint64_t cancels;
};

/* Registering needs the first page writable; without permission the reader sleeps in timed waits instead. */
static void prepare_registration(struct follower *follower, const struct file *file)
{
	if (file_open_same(&follower->page_file, file))
		return;
	follower->registers = !file_medium_page(&follower->page_file, &follower->page);
	if (!follower->registers)
		file_close(&follower->page_file);
	error_clear();
}

/* Remembers what a new view says of damage. */
static void note_trouble(struct pmemstream *stream, uint64_t missing, const char *text)
{
	struct follower *follower = stream->follower;

	atomic_store(&stream->missing, missing);
	if (!text[0]) {
		follower->text[0] = '\0';
		atomic_store(&stream->trouble, 0);
	} else if (strcmp(follower->text, text)) {
		snprintf(follower->text, sizeof(follower->text), "%s", text);
		atomic_store(&stream->trouble, ++follower->troubles);
	}
}

static void note_view(struct pmemstream *stream, const struct view *view, uint64_t missing)
{
	struct follower *follower = stream->follower;

	if (follower->print.area.live && !view->print.area.live)
		follower->deaths++;
	follower->print = view->print;
	follower->refused = false;
	follower->vouched = view->print.area.live ? view->limit : 0;
	atomic_store_explicit(&follower->applied_word, view->print.applied_word, memory_order_release);
	note_trouble(stream, missing, view->text);
}

int follow_open(struct pmemstream **stream, struct file *file, struct medium *medium,
		const struct stream_options *options, bool committed)
{
	struct view view;
	struct follower *follower = calloc(1, sizeof(*follower));

	if (!follower)
		return error_set(ENOMEM, "no memory to follow %s", file->path);
	if (view_read(file, medium, options, committed, &view)) {
		int err = errno;
		free(follower);
		errno = err;
		return -1;
	}
	follower->options = *options;
	follower->committed = committed;
	prepare_registration(follower, file);
	view.stream->follower = follower;
	note_view(view.stream, &view, view.stream->missing);
	*stream = view.stream;
	return 0;
}

void follow_close(struct pmemstream *stream)
{
	struct follower *follower = stream->follower;

	if (follower->registers) {
		medium_close(&follower->page);
		file_close(&follower->page_file);
	}
	free(follower);
	stream->follower = NULL;
}

/* A known region's tail as the fresh view has it. It goes back where a recovery dropped what was committed only. */
static void move_tail(struct pmemstream *stream, struct region *known, struct region *fresh)
{
	uint64_t tail_off = fresh->tail_off;

	known->last_timestamp = fresh->last_timestamp;
	if (tail_off == known->tail_off)
		return;
	atomic_store_explicit(&known->trusted_off, UINT64_MAX, memory_order_release);
	if (tail_off < known->tail_off) {
		pthread_mutex_lock(&stream->rare);
		index_free(known);
		pthread_mutex_unlock(&stream->rare);
		if (known->verified_off > tail_off)
			atomic_store_explicit(&known->verified_off, tail_off, memory_order_release);
	}
	atomic_store_explicit(&known->tail_off, tail_off, memory_order_release);
}

/* Takes one region of a fresh view over: into the same region where it is known, else into a new one. */
static struct region *take_over(struct pmemstream *stream, struct region *fresh)
{
	uint64_t off;
	struct region *known = extents_find(&stream->extents, fresh->off, &off);

	if (known && known->generation == fresh->generation) {
		move_tail(stream, known, fresh);
		return known;
	}
	struct region *made = region_new(stream);
	if (!made)
		return NULL;
	uint64_t generation = fresh->generation;
	allocator_fill_region(stream, made, fresh->off, fresh->end_off, generation, fresh->tail_off, fresh->limit_off);
	atomic_store_explicit(&made->trusted_off, fresh->trusted_off, memory_order_release);
	made->last_timestamp = fresh->last_timestamp;
	return made;
}

static int merge(struct pmemstream *stream, struct pmemstream *view)
{
	size_t count = extents_count(&view->extents), former_count = extents_count(&stream->extents);
	struct extent_view *extents = calloc(count + former_count, sizeof(*extents));
	struct extent_view *former = extents + count;

	if (!extents || extents_reserve(&stream->extents, count)) {
		free(extents);
		return error_set(ENOMEM, "no memory for %zu extents", count);
	}
	for (size_t i = 0; i < former_count; i++)
		former[i] = extents_get(&stream->extents, i);
	for (size_t i = 0; i < count; i++) {
		extents[i] = extents_get(&view->extents, i);
		if (!extents[i].region)
			continue;
		extents[i].region = take_over(stream, extents[i].region);
		if (!extents[i].region) {
			free(extents);
			return -1;
		}
	}
	extents_replace(&stream->extents, extents, count);
	/* What is not there any more was freed. */
	for (size_t i = 0; i < former_count; i++) {
		uint64_t off;
		if (former[i].region && extents_find(&stream->extents, former[i].off, &off) != former[i].region)
			region_release(stream, former[i].region);
	}
	free(extents);
	stream->header.size = view->header.size; /* nothing else of it changes */
	atomic_store(&stream->epoch, view->epoch);
	atomic_store(&stream->damaged, view->damaged);
	return 0;
}

/* Makes a new view. 0; or -1 with errno and all as it was, EAGAIN: later. */
static int renew(struct pmemstream *stream)
{
	struct follower *follower = stream->follower;
	struct view view;

	if (view_read(stream->file, &stream->medium, &follower->options, follower->committed, &view)) {
		if (errno != EBADMSG)
			return -1;
		note_trouble(stream, 0, error_message());
		follower->refused = !view_fingerprint(stream->file, &stream->medium, &follower->refused_print);
		errno = EBADMSG;
		return -1;
	}
	int err = merge(stream, view.stream);
	if (!err && !view.print.area.live) {
		atomic_store(&stream->committed, atomic_load(&view.stream->committed));
		atomic_store(&stream->persisted, atomic_load(&view.stream->persisted));
	}
	uint64_t missing = view.stream->missing;
	stream_discard(view.stream);
	if (!err)
		note_view(stream, &view, missing);
	return err;
}

static int tell_trouble(struct pmemstream *stream)
{
	return error_set(EBADMSG, "%s", stream->follower->text);
}

/* Under the admin mutex. */
static int look(struct pmemstream *stream)
{
	struct follower *follower = stream->follower;
	struct fingerprint print;
	int err = 0;

	if (view_fingerprint(stream->file, &stream->medium, &print))
		return -1;
	if (!view_holds(&follower->print, &print)) {
		if (!print.area.live && file_is_locked(stream->file, FILE_LOCK_WRITER) > 0)
			return 0; /* a writer recovers: what is known stays until it is ready */
		if (follower->refused && view_holds(&follower->refused_print, &print))
			err = tell_trouble(stream);
		else
			err = renew(stream);
		if (!err)
			print = follower->print;
	}
	/* Also where the view could not be renewed: the regions that are known go on. */
	if (print.area.live && print.area.epoch == stream->epoch) {
		atomic_store_explicit(&stream->persisted, print.area.persisted, memory_order_release);
		atomic_store_explicit(&stream->committed,
				      follower->committed ? print.area.committed : print.area.persisted,
				      memory_order_release);
	}
	return err;
}

int follow_look(struct pmemstream *stream)
{
	pthread_mutex_lock(&stream->admin);
	int err = look(stream);
	pthread_mutex_unlock(&stream->admin);
	return err;
}

bool follow_outdated(struct pmemstream *stream)
{
	struct follower *follower = stream->follower;

	/* What was read before must not be read later than this. */
	atomic_thread_fence(memory_order_acquire);
	return area_load8(&stream->medium, FORMAT_APPLIED_OFF) !=
	       atomic_load_explicit(&follower->applied_word, memory_order_acquire);
}

/* Moves the tail over the entries that the writer added and published. False: what follows is of a later time for
 * certain. */
static bool walk(struct pmemstream *stream, struct region *region)
{
	uint64_t shown = atomic_load_explicit(&stream->committed, memory_order_acquire);
	uint64_t off = atomic_load_explicit(&region->tail_off, memory_order_relaxed);
	uint64_t end_off = atomic_load_explicit(&region->end_off, memory_order_relaxed);
	struct format_entry entry;

	while (end_off - off >= FORMAT_ENTRY_HEADER_BYTES &&
	       format_entry_decode(stream_at(stream, off), region->seed, off, end_off - off, &entry) &&
	       entry.epoch == stream->epoch) {
		if (entry.timestamp > shown)
			return false;
		/* The data are checked by who reads them. */
		atomic_store_explicit(&region->trusted_off, UINT64_MAX, memory_order_release);
		off += format_entry_space(entry.size, stream->alignment);
		region->last_timestamp = entry.timestamp;
		atomic_store_explicit(&region->tail_off, off, memory_order_release);
	}
	return end_off - off >= FORMAT_ENTRY_HEADER_BYTES;
}

/* Looks whether all that was published is there. */
static void vouch(struct pmemstream *stream)
{
	struct follower *follower = stream->follower;
	uint64_t began_ns = progress_now_ns();

	renew(stream);
	uint64_t ended_ns = progress_now_ns();
	uint64_t pause_ns = (ended_ns - began_ns) * VOUCH_SHARE;
	follower->next_vouch_ns = ended_ns + (pause_ns > VOUCH_INTERVAL_NS ? pause_ns : VOUCH_INTERVAL_NS);
}

bool follow_vouch(struct pmemstream *stream, uint64_t timestamp)
{
	pthread_mutex_lock(&stream->admin);
	bool wanted = !look(stream) && stream->follower->print.area.live && stream->follower->vouched < timestamp;
	if (wanted)
		vouch(stream);
	bool done = wanted && stream->follower->vouched >= timestamp;
	pthread_mutex_unlock(&stream->admin);
	return done;
}

int follow_tell_trouble(struct pmemstream *stream)
{
	pthread_mutex_lock(&stream->admin);
	int err = tell_trouble(stream);
	pthread_mutex_unlock(&stream->admin);
	return err;
}

/* Under the admin mutex: at the end of a region, for somebody who was told of damage up to a serial number. */
static int judge_end(struct pmemstream *stream, struct region *region, uint64_t told)
{
	uint64_t missing = stream->missing;

	if (stream->trouble > told && (!missing || region->last_timestamp < missing))
		return tell_trouble(stream);
	return 0;
}

int follow_safe_off(struct pmemstream *stream, struct region *region, uint64_t off, uint64_t told, uint64_t *safe_off)
{
	struct follower *follower = stream->follower;

	pthread_mutex_lock(&stream->admin);
	int err = look(stream), kept = errno;
	if (follower->print.area.live) {
		bool doubtful = walk(stream, region);
		bool behind = atomic_load_explicit(&stream->committed, memory_order_relaxed) > follower->vouched;
		if (!err && doubtful && behind && off >= region->tail_off &&
		    progress_now_ns() >= follower->next_vouch_ns)
			vouch(stream);
	}
	*safe_off = atomic_load_explicit(&region->tail_off, memory_order_relaxed);
	if (off < *safe_off)
		err = 0;
	else if (!err || kept == EBADMSG || kept == EAGAIN)
		err = judge_end(stream, region, told);
	else
		errno = kept;
	pthread_mutex_unlock(&stream->admin);
	return err;
}

void follow_walk(struct pmemstream *stream, struct region *region)
{
	pthread_mutex_lock(&stream->admin);
	look(stream); /* whatever it says, what is known is looked at */
	if (stream->follower->print.area.live)
		walk(stream, region);
	pthread_mutex_unlock(&stream->admin);
}

void follow_walk_all(struct pmemstream *stream)
{
	pthread_mutex_lock(&stream->admin);
	look(stream);
	if (stream->follower->print.area.live)
		for (size_t i = 0; i < extents_count(&stream->extents); i++) {
			struct region *region = extents_get(&stream->extents, i).region;
			if (region)
				walk(stream, region);
		}
	pthread_mutex_unlock(&stream->admin);
}

/* 0 reached, 1 not yet, -1 with errno. known: deaths that this waiter was told of. */
static int look_for(struct pmemstream *stream, uint64_t timestamp, uint64_t *known)
{
	struct follower *follower = stream->follower;

	pthread_mutex_lock(&stream->admin);
	int err = look(stream), kept = errno;
	bool reached = atomic_load_explicit(&stream->committed, memory_order_relaxed) >= timestamp;
	bool died = !err && !reached && !follower->print.area.live && follower->deaths > *known;
	if (died)
		*known = follower->deaths;
	pthread_mutex_unlock(&stream->admin);
	if (reached)
		return 0;
	if (died)
		return error_set(EOWNERDEAD, "the process that wrote the stream has closed it or died");
	errno = kept;
	return err && kept != EAGAIN ? -1 : 1;
}

static int wait_for(struct pmemstream *stream, uint64_t timestamp, uint64_t deadline_ns, uint64_t *known)
{
	struct follower *follower = stream->follower;
	uint64_t cancels = atomic_load(&follower->cancels), sleep_ns = SLEEP_MIN_NS;
	bool registered = false;

	for (;;) {
		uint32_t futex = area_futex(stream);
		int verdict = look_for(stream, timestamp, known);
		uint64_t now = progress_now_ns();
		if (verdict <= 0)
			return verdict;
		if (atomic_load(&follower->cancels) != cancels || atomic_load(&stream->closing))
			return error_set(ECANCELED, "the wait was cancelled");
		if (now >= deadline_ns)
			return error_set(ETIMEDOUT, "no entry with timestamp %zu in time", (size_t)timestamp);
		if (follower->registers && !registered) {
			area_register(&follower->page);
			registered = true;
			continue; /* look again, now that the writer will wake us */
		}
		if (registered)
			sleep_ns = SLEEP_MAX_NS;
		area_sleep(stream, futex, deadline_ns - now < sleep_ns ? deadline_ns - now : sleep_ns);
		sleep_ns = sleep_ns * 2 < SLEEP_MAX_NS ? sleep_ns * 2 : SLEEP_MAX_NS;
		registered = false;
	}
}

int follow_wait(struct pmemstream *stream, uint64_t timestamp, uint64_t deadline_ns, uint64_t *deaths)
{
	struct follower *follower = stream->follower;
	uint64_t known;

	if (deaths)
		return wait_for(stream, timestamp, deadline_ns, deaths);
	pthread_mutex_lock(&stream->admin);
	known = follower->told_deaths;
	pthread_mutex_unlock(&stream->admin);
	int err = wait_for(stream, timestamp, deadline_ns, &known), kept = errno;
	pthread_mutex_lock(&stream->admin);
	if (known > follower->told_deaths)
		follower->told_deaths = known;
	pthread_mutex_unlock(&stream->admin);
	errno = kept;
	return err;
}

void follow_pause(struct pmemstream *stream)
{
	area_sleep(stream, area_futex(stream), SLEEP_MAX_NS);
}

void follow_cancel(struct pmemstream *stream)
{
	atomic_fetch_add(&stream->follower->cancels, 1);
	follow_wake(stream);
}

void follow_wake(struct pmemstream *stream)
{
	area_wake_sleepers(stream);
}
