/*
 * script.c: the operations of a script (harness.h lists the letters).
 *
 * What is submitted is known before the operation touches the medium, what is acknowledged after it returned: a watch
 * looks at what is known in between.
 */
#include "crash/harness.h"

#include "base/error.h"
#include "stream/persist.h"
#include "stream/progress.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

enum {
	SMALL_BYTES = 16,
	LARGE_BYTES = 72,
	PIECES_BYTES = 1100,
	REGION_BYTES = 700,
	LARGE_REGION_BYTES = 3000,
	BATCH_MAX = 4,
};

/* The first live region, or the newest where there is more than one; -1: none. */
static int region_of(const struct known *known, bool newest)
{
	int first = -1, last = -1;

	for (unsigned i = 0; i < known->region_count; i++)
		if (known->regions[i].state == REGION_LIVE) {
			first = first < 0 ? (int)i : first;
			last = (int)i;
		}
	return !newest ? first : first != last ? last : -1;
}

static bool is_full(int err)
{
	/* A reservation that the script left open is no failure either. */
	return err == ENOSPC || err == EBUSY || err == EEXIST;
}

/* What a call said: nothing happened, or it failed for a reason that is allowed. */
static enum outcome refused(struct machine *machine)
{
	if (is_full(errno))
		return SKIPPED;
	if (errno == EIO && atomic_load(&machine->stream->failed))
		return DONE;
	return FAILED;
}

static void submit(struct machine *machine, int region, uint32_t bytes, bool may_hide)
{
	struct known *known = &machine->known;

	known->entries[known->submitted++] = (struct known_entry){
		.region = (unsigned)region,
		.bytes = bytes,
		.epoch = machine->stream->epoch,
		.may_hide = may_hide,
	};
}

static void acknowledge(struct machine *machine, uint64_t timestamp)
{
	if (timestamp > machine->known.acknowledged)
		machine->known.acknowledged = timestamp;
}

enum how { SYNC_APPEND, ASYNC_APPEND, SLOW_APPEND, OWNED_APPEND, FAILING_APPEND };

static struct data_mover_sync *sync_mover;

static void delete_sync_mover(void)
{
	data_mover_sync_delete(sync_mover);
}

static struct vdm *sync_vdm(void)
{
	if (!sync_mover) {
		sync_mover = data_mover_sync_new();
		if (!sync_mover)
			abort();
		atexit(delete_sync_mover);
	}
	return data_mover_sync_get_vdm(sync_mover);
}

static struct vdm *mover_of(struct machine *machine, enum how how)
{
	return how == ASYNC_APPEND   ? sync_vdm()
	       : how == SLOW_APPEND  ? &machine->slow.vdm
	       : how == OWNED_APPEND ? &machine->owned.vdm
				     : &machine->failing.vdm;
}

/* Movers read it later: what an entry with a timestamp holds never changes, so one place for each is enough. */
static const unsigned char *lasting_bytes(uint64_t timestamp, uint32_t bytes)
{
	static unsigned char places[KNOWN_ENTRIES_MAX + 1][PIECES_BYTES];

	entry_bytes(timestamp, bytes, places[timestamp]);
	return places[timestamp];
}

static enum outcome append(struct machine *machine, int region, uint32_t bytes, enum how how)
{
	struct known *known = &machine->known;
	struct pmemstream *stream = machine->stream;

	if (region < 0 || known->submitted == KNOWN_ENTRIES_MAX)
		return SKIPPED;
	struct pmemstream_region where = {.offset = known->regions[region].off};
	uint64_t timestamp = known->submitted + 1;
	const unsigned char *data = lasting_bytes(timestamp, bytes);
	struct pmemstream_entry entry;
	int err;

	submit(machine, region, bytes, how == FAILING_APPEND);
	uint64_t tail_off = known->regions[region].off;
	if (how >= SLOW_APPEND) {
		uint64_t generation;
		struct region *found = region_find(stream, where, &generation);
		tail_off = atomic_load(&found->tail_off);
		if (tail_off + FORMAT_ENTRY_HEADER_BYTES + bytes <= atomic_load(&found->end_off))
			cut_allow_direct(machine->cut, stream_at(stream, tail_off + FORMAT_ENTRY_HEADER_BYTES), bytes);
	}
	if (how == SYNC_APPEND)
		err = pmemstream_append(stream, where, NULL, data, bytes, &entry);
	else
		err = pmemstream_async_append(stream, mover_of(machine, how), where, NULL, data, bytes, &entry);
	if (err) {
		enum outcome outcome = refused(machine);
		/* Its timestamp was taken, or not: only a failed sync leaves that open. */
		if (outcome != DONE || atomic_load(&stream->next) <= timestamp)
			known->submitted--;
		return outcome;
	}
	if (pmemstream_entry_timestamp(stream, entry) != timestamp)
		return error_set(EBADMSG, "the new entry's timestamp is %zu, not %zu",
				 (size_t)pmemstream_entry_timestamp(stream, entry), (size_t)timestamp),
		       FAILED;
	if (how == SYNC_APPEND)
		acknowledge(machine, timestamp);
	return DONE;
}

static enum outcome append_pieces(struct machine *machine, int region)
{
	struct known *known = &machine->known;

	if (region < 0 || known->submitted == KNOWN_ENTRIES_MAX)
		return SKIPPED;
	uint64_t timestamp = known->submitted + 1;
	unsigned char data[PIECES_BYTES];
	struct iovec pieces[2] = {{data, 100}, {data + 100, PIECES_BYTES - 100}};

	entry_bytes(timestamp, PIECES_BYTES, data);
	submit(machine, region, PIECES_BYTES, false);
	if (pmemstream_appendv(machine->stream, (struct pmemstream_region){.offset = known->regions[region].off}, NULL,
			       pieces, 2, NULL)) {
		enum outcome outcome = refused(machine);
		if (outcome != DONE || atomic_load(&machine->stream->next) <= timestamp)
			known->submitted--;
		return outcome;
	}
	acknowledge(machine, timestamp);
	return DONE;
}

static enum outcome commit_batch(struct machine *machine, int first, int newest, unsigned count)
{
	struct known *known = &machine->known;
	unsigned char data[SMALL_BYTES];
	struct pmemstream_batch *batch;

	if (first < 0 || known->submitted + count > KNOWN_ENTRIES_MAX || count > machine->stream->window / 2)
		return SKIPPED;
	if (pmemstream_batch_begin(machine->stream, &batch))
		return FAILED;
	uint64_t before = known->submitted;
	for (unsigned i = 0; i < count; i++) {
		int region = i % 2 && newest >= 0 ? newest : first;
		entry_bytes(before + i + 1, SMALL_BYTES, data);
		if (pmemstream_batch_add(batch, (struct pmemstream_region){.offset = known->regions[region].off}, NULL,
					 data, SMALL_BYTES)) {
			pmemstream_batch_abort(&batch);
			known->submitted = before;
			return FAILED;
		}
		submit(machine, region, SMALL_BYTES, false);
		known->entries[known->submitted - 1].more = i + 1 < count;
	}
	if (pmemstream_batch_commit(&batch, NULL)) {
		enum outcome outcome = refused(machine);
		pmemstream_batch_abort(&batch);
		if (outcome != DONE || atomic_load(&machine->stream->next) <= before + 1)
			known->submitted = before;
		return outcome;
	}
	acknowledge(machine, known->submitted);
	return DONE;
}

static enum outcome publish(struct machine *machine, int region, uint32_t bytes, bool sync)
{
	struct known *known = &machine->known;
	struct pmemstream *stream = machine->stream;

	if (region < 0 || known->submitted == KNOWN_ENTRIES_MAX)
		return SKIPPED;
	struct pmemstream_region where = {.offset = known->regions[region].off};
	uint64_t timestamp = known->submitted + 1;
	struct pmemstream_entry entry;
	void *data;

	if (pmemstream_reserve(stream, where, NULL, bytes + 8, &entry, &data))
		return refused(machine);
	cut_allow_direct(machine->cut, data, bytes + 8);
	entry_bytes(timestamp, bytes, data);
	submit(machine, region, bytes, false);
	if (sync ? pmemstream_publish(stream, where, NULL, entry, bytes)
		 : pmemstream_async_publish(stream, where, NULL, entry, bytes)) {
		enum outcome outcome = refused(machine);
		if (outcome != DONE || atomic_load(&stream->next) <= timestamp)
			known->submitted--;
		return outcome;
	}
	if (sync)
		acknowledge(machine, timestamp);
	return DONE;
}

static enum outcome reserve(struct machine *machine, int region, bool cancel)
{
	struct pmemstream_entry entry;
	void *data;

	if (region < 0)
		return SKIPPED;
	struct pmemstream_region where = {.offset = machine->known.regions[region].off};
	if (pmemstream_reserve(machine->stream, where, NULL, SMALL_BYTES, &entry, &data))
		return refused(machine);
	cut_allow_direct(machine->cut, data, SMALL_BYTES);
	entry_bytes(machine->known.submitted + 1, SMALL_BYTES, data);
	return cancel && pmemstream_cancel(machine->stream, where, NULL, entry) ? FAILED : DONE;
}

static enum outcome wait_for(struct machine *machine, bool persisted)
{
	uint64_t timestamp = machine->known.submitted;

	if (!timestamp || (persisted ? pmemstream_persisted_timestamp(machine->stream)
				     : pmemstream_committed_timestamp(machine->stream)) >= timestamp)
		return SKIPPED;
	struct pmemstream_async_wait_fut future = persisted
							  ? pmemstream_async_wait_persisted(machine->stream, timestamp)
							  : pmemstream_async_wait_committed(machine->stream, timestamp);
	FUTURE_BUSY_POLL(&future);
	if (FUTURE_OUTPUT(&future)->error_code && !machine->known.entries[timestamp - 1].may_hide)
		return refused(machine);
	if (persisted && pmemstream_persisted_timestamp(machine->stream) >= timestamp)
		acknowledge(machine, timestamp);
	return DONE;
}

static enum outcome allocate(struct machine *machine, bool large)
{
	struct known *known = &machine->known;
	struct pmemstream_region region;

	if (known->region_count == KNOWN_REGIONS_MAX)
		return SKIPPED;
	struct known_region *made = &known->regions[known->region_count++];
	*made = (struct known_region){.bytes = large ? LARGE_REGION_BYTES : REGION_BYTES, .state = REGION_ALLOCATING};
	char label[24] = "";
	if (large)
		snprintf(label, sizeof(label), "region %u", known->region_count);
	if (pmemstream_region_allocate_labeled(machine->stream, made->bytes, label, &region)) {
		enum outcome outcome = refused(machine);
		if (outcome != DONE)
			known->region_count--;
		return outcome;
	}
	made->off = region.offset;
	made->state = REGION_LIVE;
	return DONE;
}

static enum outcome free_region(struct machine *machine, int index)
{
	if (index < 0)
		return SKIPPED;
	struct known_region *region = &machine->known.regions[index];
	region->state = REGION_FREEING;
	if (pmemstream_region_free(machine->stream, (struct pmemstream_region){.offset = region->off})) {
		enum outcome outcome = refused(machine);
		if (outcome != DONE)
			region->state = REGION_LIVE;
		return outcome;
	}
	region->state = REGION_GONE;
	for (uint64_t t = machine->known.submitted; t; t--)
		if (machine->known.entries[t - 1].region == (unsigned)index) {
			acknowledge(machine, t);
			break;
		}
	return DONE;
}

struct beside {
	struct machine *machine;
	int region;
	bool batch;
	_Atomic pid_t thread;
	enum outcome outcome;
};

static void *run_beside(void *context)
{
	struct beside *beside = context;

	atomic_store(&beside->thread, gettid());
	beside->outcome = beside->batch ? commit_batch(beside->machine, beside->region, -1, 2)
					: append(beside->machine, beside->region, SMALL_BYTES, SYNC_APPEND);
	return NULL;
}

/* It is counted as a waiter a little before it sleeps, and looks once more in between. */
static bool is_asleep(struct pmemstream *stream, struct beside *beside)
{
	char path[64], line[256] = "";

	if (!atomic_load(&stream->progress.waiters))
		return false;
	snprintf(path, sizeof(path), "/proc/self/task/%d/stat", (int)atomic_load(&beside->thread));
	FILE *stat = fopen(path, "re");
	if (!stat)
		return false;
	char *state = fgets(line, sizeof(line), stat) ? strrchr(line, ')') : NULL;
	fclose(stat);
	return state && state[1] == ' ' && state[2] == 'S';
}

/*
 * Another thread fences its own entry behind one that is still being copied, and sleeps; this thread finishes the copy
 * and fences for that alone. The other one is woken only then, and the watch is off meanwhile, which would hold this
 * thread up: who woke between copy and fence would fence again, which would hide that the first of its fences is
 * missing.
 */
static enum outcome append_beside(struct machine *machine, int region, bool batch)
{
	struct beside beside = {.machine = machine, .region = region, .batch = batch};
	pthread_t thread;

	if (machine->failing_sync || machine->stream->window < 8 ||
	    append(machine, region, SMALL_BYTES, OWNED_APPEND) == SKIPPED)
		return SKIPPED;
	uint64_t first = machine->known.submitted;
	cut_watch(machine->cut, NULL);
	/* BYTE: who finds an entry copied has seen its stores, and may be the one whose fence counts for them. */
	if (machine->config->granularity == MEDIUM_BYTE)
		cut_set_seen_stores(machine->cut, true);
	if (pthread_create(&thread, NULL, run_beside, &beside))
		abort();
	/* It comes back at once where it found no room. */
	bool joined = false;
	while (!is_asleep(machine->stream, &beside) && !joined) {
		joined = !pthread_tryjoin_np(thread, NULL);
		sched_yield();
	}
	uint32_t waiters = atomic_exchange(&machine->stream->progress.waiters, 0);
	while (persist_try(machine->stream, first) == 0)
		sched_yield();
	atomic_fetch_add(&machine->stream->progress.waiters, waiters);
	progress_wake(machine->stream);
	if (!joined)
		pthread_join(thread, NULL);
	cut_set_seen_stores(machine->cut, false);
	if (machine->watch)
		cut_watch(machine->cut, machine->watch);
	return beside.outcome == FAILED || wait_for(machine, true) == FAILED ? FAILED : DONE;
}

/* An opening whose sync was made to fail is tried again, as a caller would. */
static enum outcome open_again(struct machine *machine)
{
	for (int turn = 0; turn < 3; turn++) {
		if (!machine_open(machine))
			return DONE;
		if (machine->stream || errno != EIO)
			return FAILED;
	}
	return FAILED;
}

static enum outcome kill_and_open(struct machine *machine)
{
	machine_drop(machine);
	cut_kill(machine->cut);
	cut_allow_none(machine->cut);
	return open_again(machine);
}

static enum outcome close_and_open(struct machine *machine)
{
	struct known *known = &machine->known;
	bool failed = atomic_load(&machine->stream->failed);

	/* Started appends are finished and made durable. */
	uint64_t last = known->submitted;
	pmemstream_delete(&machine->stream);
	if (!failed && !machine->failing_sync)
		acknowledge(machine, last);
	cut_undurable_words(machine->cut);
	return open_again(machine);
}

static enum outcome cut_and_open(struct machine *machine, char how)
{
	size_t bytes = machine->config->media_bytes;
	char *image = malloc(bytes);

	if (!image)
		abort();
	machine_drop(machine);
	if (how == 'p') {
		memcpy(image, cut_durable(machine->cut), bytes);
	} else if (how == 'P') {
		memcpy(image, cut_medium(machine->cut)->base, bytes);
	} else {
		struct cut_plan plan = {.seed = machine_random(machine) | 1, .all_below = 1, .samples = 10};
		struct cut_images *images = cut_images_begin(machine->cut, &plan);
		unsigned skip = 0;
		/* The last ones are the mixed samples. */
		while (cut_images_next(images, image))
			skip++;
		cut_images_end(images);
		images = cut_images_begin(machine->cut, &plan);
		skip -= (unsigned)(machine_random(machine) % (skip < 10 ? skip : 10));
		while (skip-- && cut_images_next(images, image))
			;
		cut_images_end(images);
	}
	cut_restart(machine->cut, image);
	free(image);
	machine->failing_sync = false;
	if (machine->watch)
		cut_watch(machine->cut, machine->watch);
	return open_again(machine);
}

static enum outcome fail_next_sync(struct machine *machine)
{
	if (machine->config->granularity != MEDIUM_PAGE || machine->failing_sync)
		return SKIPPED;
	machine->failing_sync = true;
	cut_fail_sync(machine->cut, 1, EIO, false);
	return DONE;
}

static bool is_life(char operation)
{
	return strchr("ckpPhH", operation);
}

static enum outcome change(struct machine *machine, char operation)
{
	bool newest = operation >= 'A' && operation <= 'Z';
	int region = region_of(&machine->known, newest);

	switch (newest ? operation - 'A' + 'a' : operation) {
	case 'a':
		return append(machine, region, SMALL_BYTES, SYNC_APPEND);
	case 'd':
		return append(machine, region, LARGE_BYTES, SYNC_APPEND);
	case 's':
		return append(machine, region, SMALL_BYTES, ASYNC_APPEND);
	case 'm':
		return append(machine, region, SMALL_BYTES, SLOW_APPEND);
	case 'i':
		return append(machine, region, SMALL_BYTES, FAILING_APPEND);
	case 'r':
		return publish(machine, region, SMALL_BYTES, true);
	case 'q':
		return publish(machine, region, SMALL_BYTES, false);
	case 'x':
	case 'y':
		return reserve(machine, region, operation == 'y');
	case 't':
		return append_beside(machine, region, newest);
	case 'g':
		return append_pieces(machine, region);
	case 'b':
		return commit_batch(machine, region_of(&machine->known, false), region_of(&machine->known, true),
				    newest ? BATCH_MAX : 2);
	case 'w':
		return wait_for(machine, true);
	case 'v':
		return wait_for(machine, false);
	case 'n':
		return allocate(machine, newest);
	case 'f':
		return free_region(machine, region);
	case 'e':
		return fail_next_sync(machine);
	default:
		abort();
	}
}

enum outcome machine_try(struct machine *machine, char operation)
{
	enum outcome outcome;

	if (is_life(operation)) {
		outcome = operation == 'c'   ? close_and_open(machine)
			  : operation == 'k' ? kill_and_open(machine)
					     : cut_and_open(machine, operation);
	} else {
		/* A stream whose sync failed can only be read. */
		if (atomic_load(&machine->stream->failed))
			return SKIPPED;
		outcome = change(machine, operation);
		/* The failure may have been latched by a round behind an append that succeeded. */
		if (atomic_load(&machine->stream->failed))
			machine->failing_sync = false;
	}
	return outcome;
}

enum outcome machine_do(struct machine *machine, char operation)
{
	enum outcome outcome = machine_try(machine, operation);

	return outcome == DONE && machine_compare(machine) ? FAILED : outcome;
}

enum outcome machine_run(struct machine *machine, const char *script)
{
	enum outcome outcome = DONE;

	for (; *script && outcome != FAILED; script++)
		outcome = machine_do(machine, *script);
	return outcome;
}
