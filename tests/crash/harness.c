/*
 * harness.c: operations on a machine, and what is known before and after each of them.
 */
#include "crash/harness.h"

#include "walks.h"

#include "base/error.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ENTRY_BYTES_MAX = 1200 };

void entry_bytes(uint64_t timestamp, uint32_t bytes, unsigned char *to)
{
	for (uint32_t i = 0; i < bytes; i++)
		to[i] = (unsigned char)(timestamp * 151 + i * 7 + 1);
}

uint64_t machine_random(struct machine *machine)
{
	/* splitmix64 (Steele, Lea, Flood, OOPSLA 2014). */
	uint64_t z = machine->random += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return z ^ z >> 31;
}

/* ---- A data mover that copies at its n-th poll ---- */

static void *mover_new(struct vdm *vdm, const enum vdm_operation_type type)
{
	struct mover *mover = (struct mover *)vdm;
	unsigned index = mover->next++ % MOVER_OPERATIONS;

	(void)type;
	mover->operations[index] = (struct mover_operation){.mover = mover, .polls_left = mover->polls};
	return &mover->operations[index];
}

static int mover_begin(void *data, const struct vdm_operation *operation, struct future_notifier *notifier)
{
	const struct mover_operation *own = data;

	(void)operation;
	/* It never wakes anybody: whoever waits is woken by what else happens. */
	if (own->mover->wakes && notifier)
		notifier->notifier_used = FUTURE_NOTIFIER_WAKER;
	return 0;
}

static bool polled(struct mover_operation *own)
{
	if (own->mover->owned && !pthread_equal(own->mover->owner, pthread_self()))
		return false;
	if (!own->polls_left)
		return true;
	own->polls_left--;
	return false;
}

static enum future_state mover_check(void *data, const struct vdm_operation *operation)
{
	if (!polled(data))
		return FUTURE_STATE_RUNNING;
	memcpy(operation->data.memcpy.dest, operation->data.memcpy.src, operation->data.memcpy.n);
	return FUTURE_STATE_COMPLETE;
}

static enum future_state failing_check(void *data, const struct vdm_operation *operation)
{
	(void)operation;
	return polled(data) ? FUTURE_STATE_COMPLETE : FUTURE_STATE_RUNNING;
}

static void mover_delete(void *data, const struct vdm_operation *operation, struct vdm_operation_output *output)
{
	(void)data;
	(void)operation;
	output->type = VDM_OPERATION_MEMCPY;
	output->result = VDM_SUCCESS;
}

static void failing_delete(void *data, const struct vdm_operation *operation, struct vdm_operation_output *output)
{
	(void)data;
	(void)operation;
	output->type = VDM_OPERATION_MEMCPY;
	output->result = VDM_ERROR_JOB_CORRUPTED;
}

static void make_mover(struct mover *mover, bool fails)
{
	*mover = (struct mover){
		.vdm = {.op_new = mover_new,
			.op_start = mover_begin,
			.op_check = fails ? failing_check : mover_check,
			.op_delete = fails ? failing_delete : mover_delete},
		.polls = 2,
	};
}

/* ---- Life ---- */

void machine_on(struct machine *machine, const struct config *config, struct cut *cut, const struct known *known)
{
	*machine = (struct machine){.cut = cut, .config = config, .random = 1};
	if (known)
		machine->known = *known;
	make_mover(&machine->slow, false);
	make_mover(&machine->failing, true);
	make_mover(&machine->owned, false);
	machine->owned.owned = machine->owned.wakes = true;
	machine->owned.owner = pthread_self();
}

void machine_begin(struct machine *machine, const struct config *config)
{
	struct cut *cut = cut_new(config->media_bytes, config->granularity);

	machine_on(machine, config, cut, NULL);
	cut_scratch(cut, cut_medium(cut)->base + FORMAT_VOLATILE_OFF, FORMAT_VOLATILE_BYTES);
}

void machine_drop(struct machine *machine)
{
	if (!machine->stream)
		return;
	/* What is not writable is not written to at deletion either. */
	machine->stream->writable = false;
	pmemstream_delete(&machine->stream);
}

void machine_end(struct machine *machine)
{
	machine_drop(machine);
	cut_delete(machine->cut);
	machine->cut = NULL;
}

int machine_attach(struct machine *machine)
{
	const struct config *config = machine->config;
	struct stream_options options = {
		.block_size = config->block_size ? config->block_size : FORMAT_BLOCK_MIN,
		.alignment = config->alignment,
		.window = config->window,
		.round_bytes = config->round_bytes,
		.one_pass_bytes = 64, /* its large entries, not its small ones */
		.salt = 42,
	};
	struct medium medium;

	if (cut_attach(machine->cut, &medium))
		return -1;
	if (stream_open(&machine->stream, &medium, &options)) {
		int err = errno;
		medium_close(&medium);
		errno = err;
		machine->stream = NULL;
		return -1;
	}
	return 0;
}

/* ---- Comparing ---- */

static int wrong(const char *format, ...) __attribute__((format(printf, 1, 2)));

static int wrong(const char *format, ...)
{
	char text[400];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	return error_set(EBADMSG, "%s", text);
}

static int compare_entry(struct machine *machine, struct pmemstream_region region, struct pmemstream_entry entry,
			 uint64_t timestamp)
{
	uint64_t generation;
	const struct region *found = region_find(machine->stream, region, &generation);
	const struct known_entry *known = &machine->known.entries[timestamp - 1];
	unsigned char expected[ENTRY_BYTES_MAX];
	const unsigned char *header = stream_at(machine->stream, entry.offset);
	const void *data = pmemstream_entry_data(machine->stream, entry);

	if (pmemstream_entry_size(machine->stream, entry) != known->bytes || !data)
		return wrong("entry %zu has %zu bytes instead of %u", (size_t)timestamp,
			     pmemstream_entry_size(machine->stream, entry), known->bytes);
	entry_bytes(timestamp, known->bytes, expected);
	if (memcmp(data, expected, known->bytes) != 0)
		return wrong("entry %zu is not what was appended", (size_t)timestamp);
	if (le32_load(header + 16) != known->epoch)
		return wrong("entry %zu is of epoch %u, not of %u: it was dropped and came back", (size_t)timestamp,
			     le32_load(header + 16), known->epoch);
	/* Else the search for evidence would end in front of it. */
	if (timestamp <= machine->known.acknowledged && entry.offset >= found->limit_off)
		return wrong("entry %zu was acknowledged, but the limit of its region, %zu, was not durable",
			     (size_t)timestamp, (size_t)found->limit_off);
	return 0;
}

/* The next timestamp of a region behind one; UINT64_MAX: none up to last. */
static uint64_t next_of_region(const struct known *known, unsigned region, uint64_t behind, uint64_t last)
{
	for (uint64_t t = behind + 1; t <= last; t++)
		if (known->entries[t - 1].region == region)
			return t;
	return UINT64_MAX;
}

static int compare_entries(struct machine *machine, const struct known *known, unsigned index, uint64_t last)
{
	struct pmemstream_region region = {.offset = known->regions[index].off};
	struct pmemstream_entry_iterator *iterator;
	uint64_t expected = next_of_region(known, index, 0, last);
	int err = 0;

	if (pmemstream_entry_iterator_new(&iterator, machine->stream, region))
		return -1;
	pmemstream_entry_iterator_seek_first(iterator);
	while (!err && !pmemstream_entry_iterator_is_valid(iterator)) {
		struct pmemstream_entry entry = pmemstream_entry_iterator_get(iterator);
		uint64_t timestamp = pmemstream_entry_timestamp(machine->stream, entry);
		while (expected < timestamp && known->entries[expected - 1].may_hide)
			expected = next_of_region(known, index, expected, last);
		if (timestamp != expected)
			err = wrong("region %u shows timestamp %zu where %zd was expected (kept are %zu)", index,
				    (size_t)timestamp, (ssize_t)expected, (size_t)last);
		else
			err = compare_entry(machine, region, entry, timestamp);
		expected = next_of_region(known, index, timestamp, last);
		pmemstream_entry_iterator_next(iterator);
	}
	if (!err && errno != ENODATA)
		err = wrong("region %u: %s", index, pmemstream_errormsg());
	while (expected != UINT64_MAX && known->entries[expected - 1].may_hide)
		expected = next_of_region(known, index, expected, last);
	if (!err && expected != UINT64_MAX)
		err = wrong("region %u ends before timestamp %zu (kept are %zu)", index, (size_t)expected,
			    (size_t)last);
	pmemstream_entry_iterator_delete(&iterator);
	const char *different = err ? NULL : walks_differ(machine->stream, region, last % 2);
	if (different)
		err = wrong("region %u: %s", index, different);
	return err;
}

/* Which known region the one at an offset is: the next one that is alive or may be. */
static int match_region(struct machine *machine, struct known *known, uint64_t off, unsigned *index)
{
	for (; *index < known->region_count; ++*index) {
		struct known_region *region = &known->regions[*index];
		struct pmemstream_region name = {.offset = off};
		if (region->state == REGION_GONE)
			continue;
		if (region->state == REGION_ALLOCATING)
			region->off = off;
		else if (region->off != off && region->state == REGION_FREEING) {
			region->state = REGION_GONE;
			continue;
		}
		if (region->off != off)
			return wrong("region %u is at %zu instead of %zu", *index, (size_t)off, (size_t)region->off);
		if (pmemstream_region_size(machine->stream, name) < region->bytes)
			return wrong("region %u has %zu bytes instead of %zu", *index,
				     pmemstream_region_size(machine->stream, name), (size_t)region->bytes);
		region->state = REGION_LIVE;
		++*index;
		return 0;
	}
	return wrong("a region at %zu is there that was freed or never allocated", (size_t)off);
}

/* Walks over the regions; in known what was under way is decided by what is there. */
static int compare_regions(struct machine *machine, struct known *known)
{
	struct pmemstream_region_iterator *iterator;
	unsigned index = 0;
	int err = 0;

	if (pmemstream_region_iterator_new(&iterator, machine->stream))
		return -1;
	pmemstream_region_iterator_seek_first(iterator);
	while (!err && !pmemstream_region_iterator_is_valid(iterator)) {
		err = match_region(machine, known, pmemstream_region_iterator_get(iterator).offset, &index);
		pmemstream_region_iterator_next(iterator);
	}
	pmemstream_region_iterator_delete(&iterator);
	for (; !err && index < known->region_count; index++) {
		struct known_region *region = &known->regions[index];
		if (region->state == REGION_LIVE)
			err = wrong("region %u at %zu is missing", index, (size_t)region->off);
		region->state = REGION_GONE;
	}
	/* One that never came to be gets no place in the order. */
	while (known->region_count && known->regions[known->region_count - 1].state == REGION_GONE &&
	       !known->regions[known->region_count - 1].off)
		known->region_count--;
	return err;
}

static int compare_all(struct machine *machine, const struct known *known, uint64_t last)
{
	for (unsigned i = 0; i < known->region_count; i++)
		if (known->regions[i].state != REGION_GONE && compare_entries(machine, known, i, last))
			return -1;
	return 0;
}

int machine_compare(struct machine *machine)
{
	struct known known = machine->known;
	uint64_t committed = pmemstream_committed_timestamp(machine->stream);

	if (committed > known.submitted || committed < known.acknowledged)
		return wrong("committed is %zu, though %zu were submitted and %zu acknowledged", (size_t)committed,
			     (size_t)known.submitted, (size_t)known.acknowledged);
	/* An allocation or freeing that failed by a sync is undecided until the next opening. */
	for (unsigned i = 0; i < known.region_count; i++)
		if (known.regions[i].state == REGION_ALLOCATING)
			known.regions[i].state = REGION_GONE;
	if (compare_regions(machine, &known))
		return -1;
	return compare_all(machine, &known, committed);
}

static int freed_too_early(const struct known *before, const struct known *after, uint64_t kept)
{
	for (unsigned i = 0; i < after->region_count; i++) {
		if (before->regions[i].state != REGION_FREEING || after->regions[i].state != REGION_GONE)
			continue;
		for (uint64_t t = kept + 1; t <= before->submitted; t++)
			if (before->entries[t - 1].region == i)
				return wrong("region %u was freed before its timestamp %zu was durable", i, (size_t)t);
	}
	return 0;
}

static int compare_opened(struct machine *machine, struct known *known, uint64_t kept)
{
	if (kept < known->acknowledged || kept > known->submitted)
		return wrong("%zu timestamps are there, of which %zu were acknowledged and %zu submitted", (size_t)kept,
			     (size_t)known->acknowledged, (size_t)known->submitted);
	if (kept && known->entries[kept - 1].more)
		return wrong("%zu timestamps are there, the last of them in the middle of a batch", (size_t)kept);
	if (known->exact && kept != known->expect)
		return wrong("%zu timestamps are there; a recovery that was cut had found %zu", (size_t)kept,
			     (size_t)known->expect);
	if (compare_regions(machine, known) || freed_too_early(&machine->known, known, kept))
		return -1;
	return compare_all(machine, known, kept);
}

int machine_open(struct machine *machine)
{
	struct known known = machine->known;

	if (machine_attach(machine))
		return -1;
	uint64_t kept = pmemstream_committed_timestamp(machine->stream);
	if (pmemstream_persisted_timestamp(machine->stream) != kept)
		return wrong("persisted is %zu and committed %zu after an opening",
			     (size_t)pmemstream_persisted_timestamp(machine->stream), (size_t)kept);
	if (compare_opened(machine, &known, kept))
		return -1;
	known.submitted = known.acknowledged = kept;
	known.exists = true;
	known.exact = false;
	machine->known = known;
	return 0;
}

int machine_look(struct machine *machine)
{
	struct known known = machine->known;

	if (!known.exists)
		return 0;
	cut_set_writable(machine->cut, false);
	int err = machine_attach(machine);
	if (!err) {
		uint64_t kept = pmemstream_committed_timestamp(machine->stream);
		err = compare_opened(machine, &known, kept);
		machine->known.exact = !err;
		machine->known.expect = kept;
		pmemstream_delete(&machine->stream);
	}
	cut_set_writable(machine->cut, true);
	return err;
}
