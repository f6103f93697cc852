/*
 * stream_known.c: streams in memory whose every entry is known.
 */
#include "stream_known.h"

#include "base/error.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { REGION_BYTES = 24 << 10, MEDIUM_BYTES = 128 << 10 };

uint64_t damage_random(uint64_t *seed)
{
	*seed ^= *seed >> 12;
	*seed ^= *seed << 25;
	*seed ^= *seed >> 27;
	return *seed * UINT64_C(2685821657736338717);
}

void history_open(struct history *history)
{
	struct stream_options options = {
		.block_size = history->block_size,
		.alignment = history->alignment,
		.window = 64,
		.salt = 7,
		.round_bytes = 4096,
	};
	struct medium medium;

	assert_int_equal(medium_prepare(&medium, history->medium.ops, history->medium.base, history->medium.size,
					history->medium.granularity, true),
			 0);
	medium.copy_fn = history->medium.copy_fn;
	medium.flush_fn = history->medium.flush_fn;
	medium.drain_fn = history->medium.drain_fn;
	if (stream_open(&history->stream, &medium, &options))
		fail_msg("open: %s", error_message());
}

void history_close(struct history *history)
{
	pmemstream_delete(&history->stream);
}

void history_kill(struct history *history)
{
	free(history->stream->medium.counters);
	stream_discard(history->stream);
	history->stream = NULL;
}

void history_begin(struct history *history, enum medium_granularity granularity, uint64_t block_size,
		   uint32_t alignment, uint64_t seed)
{
	void *memory = aligned_alloc(MEDIUM_PAGE_BYTES, MEDIUM_BYTES);

	assert_non_null(memory);
	memset(memory, 0, MEDIUM_BYTES);
	*history = (struct history){.block_size = block_size, .alignment = alignment, .first_seed = seed, .seed = seed};
	assert_int_equal(medium_from_range(&history->medium, memory, MEDIUM_BYTES, granularity, true), 0);
	history_open(history);
	/* The regions do not begin with the first, nor end with the last extent. */
	struct pmemstream_region freed;
	assert_int_equal(pmemstream_region_allocate(history->stream, 1000, &freed), 0);
	for (unsigned i = 0; i < DAMAGE_REGIONS; i++) {
		char label[] = {'r', (char)('0' + i), '\0'};
		assert_int_equal(
			pmemstream_region_allocate_labeled(history->stream, REGION_BYTES, label, &history->regions[i]),
			0);
	}
	assert_int_equal(pmemstream_region_free(history->stream, freed), 0);
}

static void fill(uint64_t *seed, unsigned char *to, size_t bytes)
{
	for (size_t i = 0; i < bytes; i++)
		to[i] = (unsigned char)(damage_random(seed) >> 40);
}

static void know(struct history *history, struct pmemstream_entry entry, unsigned region, size_t bytes)
{
	assert_true(history->entry_count < DAMAGE_ENTRIES_MAX);
	history->entries[history->entry_count++] = (struct known_entry){
		.off = entry.offset,
		.bytes = FORMAT_ENTRY_HEADER_BYTES + bytes,
		.timestamp = pmemstream_entry_timestamp(history->stream, entry),
		.region = region,
	};
}

static void append_batch(struct history *history)
{
	struct pmemstream_batch *batch;
	struct pmemstream_entry entries[3];
	unsigned char data[64];

	fill(&history->seed, data, sizeof(data));
	assert_int_equal(pmemstream_batch_begin(history->stream, &batch), 0);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(pmemstream_batch_add(batch, history->regions[i], NULL, data, 10 * i), 0);
	assert_int_equal(pmemstream_batch_commit(&batch, entries), 0);
	for (unsigned i = 0; i < 3; i++)
		know(history, entries[i], i, 10 * (size_t)i);
}

void history_append(struct history *history, unsigned count)
{
	unsigned char data[200];

	for (unsigned i = 0; i < count; i++) {
		struct pmemstream_entry entry;
		unsigned region = (unsigned)(damage_random(&history->seed) >> 33) % DAMAGE_REGIONS;
		size_t bytes = (size_t)(damage_random(&history->seed) >> 33) % sizeof(data);
		if (i % 7 == 6) {
			append_batch(history);
			continue;
		}
		fill(&history->seed, data, bytes);
		if (pmemstream_append(history->stream, history->regions[region], NULL, data, bytes, &entry))
			fail_msg("append: %s", error_message());
		know(history, entry, region, bytes);
	}
}

void history_stop(struct history *history)
{
	if (history->stream)
		history_close(history);
	history->image = malloc(history->medium.size);
	assert_non_null(history->image);
	memcpy(history->image, history->medium.base, history->medium.size);
}

void history_restore(struct history *history)
{
	memcpy(history->medium.base, history->image, history->medium.size);
}

void history_end(struct history *history)
{
	if (history->stream)
		history_close(history);
	free(history->medium.base);
	medium_close(&history->medium);
	free(history->image);
}

uint64_t slot_in_use_off(const struct history *history)
{
	const char *base = history->medium.base;
	uint64_t second_off = FORMAT_STREAM_SLOT_OFF + FORMAT_STREAM_SLOT_STRIDE;

	return le64_load(base + FORMAT_STREAM_SLOT_OFF) > le64_load(base + second_off)
		       ? (uint64_t)FORMAT_STREAM_SLOT_OFF
		       : second_off;
}

uint64_t region_slot_in_use_off(const struct history *history, unsigned region)
{
	uint64_t off = history->regions[region].offset + FORMAT_REGION_SLOT_OFF;
	const char *base = history->medium.base;

	return le64_load(base + off) > le64_load(base + off + FORMAT_SLOT_BYTES) ? off : off + FORMAT_SLOT_BYTES;
}

uint64_t region_tail_off(const struct history *history, unsigned region)
{
	return history->regions[region].offset +
	       le64_load(history->medium.base + region_slot_in_use_off(history, region) + 8);
}

void flip(struct history *history, uint64_t off, uint64_t bytes)
{
	for (uint64_t i = 0; i < bytes; i++)
		history->medium.base[off + i] ^= 0x5a;
}

int told_event(const struct pmemstream_event *event, void *arg)
{
	struct told *told = arg;

	switch (event->kind) {
	case PMEMSTREAM_EVENT_PROBLEM:
		assert_true(event->problem.cause[0] && event->problem.consequence[0]);
		if (told->problem_count < DAMAGE_PROBLEMS_MAX)
			told->problems[told->problem_count++] = event->problem;
		told->damages += event->problem.severity == PMEMSTREAM_DAMAGE;
		told->known += event->problem.severity == PMEMSTREAM_KNOWN;
		/* Recovery has nothing to add. */
		if (event->problem.kind == PMEMSTREAM_PROBLEM_OTHER)
			fail_msg("only recovery found: %s", event->problem.cause);
		return 0;
	case PMEMSTREAM_EVENT_PROGRESS:
		assert_true(event->done >= told->done && event->done <= event->total);
		told->done = event->done;
		told->total = event->total;
		return 0;
	default:
		if (told->stop_after && told->changes == told->stop_after)
			return 1;
		told->changes++;
		assert_true(event->bytes >= 1 && event->bytes <= FORMAT_HEADER_BYTES && event->text[0]);
		assert_ptr_equal(event->before, told->history->medium.base + event->offset);
		assert_memory_not_equal(event->before, event->after, event->bytes);
		return 0;
	}
}

const struct pmemstream_problem *told_find(const struct told *told, enum pmemstream_problem_kind kind, uint64_t off)
{
	for (unsigned i = 0; i < told->problem_count; i++)
		if (told->problems[i].kind == kind && told->problems[i].offset == off)
			return &told->problems[i];
	for (unsigned i = 0; i < told->problem_count; i++)
		print_message("# problem %d at %zu\n", told->problems[i].kind, (size_t)told->problems[i].offset);
	fail_msg("no problem of kind %d at %zu", kind, (size_t)off);
	return NULL;
}

int history_check(struct history *history, bool deep, struct told *told)
{
	unsigned char *before = malloc(history->medium.size);

	assert_non_null(before);
	memcpy(before, history->medium.base, history->medium.size);
	*told = (struct told){.history = history};
	int err = check_medium(&history->medium, deep, told_event, told);
	int kept = errno;
	assert_memory_equal(before, history->medium.base, history->medium.size);
	free(before);
	errno = kept;
	return err;
}

int history_repair(struct history *history, bool dry_run, struct told *told)
{
	unsigned char *trial = malloc(history->medium.size);
	unsigned stop_after = told->stop_after;

	assert_non_null(trial);
	memcpy(trial, history->medium.base, history->medium.size);
	*told = (struct told){.history = history, .stop_after = stop_after};
	int err = repair_medium(&history->medium, trial, dry_run, told_event, told);
	int kept = errno;
	free(trial);
	errno = kept;
	return err;
}

static void show_entry(struct history *history, struct pmemstream_entry entry, struct shown *shown)
{
	for (unsigned i = 0; i < history->entry_count; i++) {
		const struct known_entry *known = &history->entries[i];
		if (known->off != entry.offset)
			continue;
		assert_int_equal(pmemstream_entry_timestamp(history->stream, entry), known->timestamp);
		assert_int_equal(pmemstream_entry_size(history->stream, entry) + FORMAT_ENTRY_HEADER_BYTES,
				 known->bytes);
		const void *data = pmemstream_entry_data(history->stream, entry);
		if (memcmp(data, history->image + entry.offset + FORMAT_ENTRY_HEADER_BYTES,
			   known->bytes - FORMAT_ENTRY_HEADER_BYTES))
			fail_msg("seed %zu: the entry at %zu shows other data", (size_t)history->first_seed,
				 (size_t)entry.offset);
		shown->shown[i] = true;
		shown->count++;
		return;
	}
	fail_msg("an entry at %zu that nobody wrote", (size_t)entry.offset);
}

static void show_region(struct history *history, unsigned region, struct shown *shown)
{
	struct pmemstream_entry_iterator *iterator;
	uint64_t last = 0;

	assert_int_equal(pmemstream_entry_iterator_new(&iterator, history->stream, history->regions[region]), 0);
	pmemstream_entry_iterator_seek_first(iterator);
	for (;; pmemstream_entry_iterator_next(iterator)) {
		if (!pmemstream_entry_iterator_is_valid(iterator)) {
			struct pmemstream_entry entry = pmemstream_entry_iterator_get(iterator);
			uint64_t timestamp = pmemstream_entry_timestamp(history->stream, entry);
			assert_true(timestamp > last);
			last = timestamp;
			show_entry(history, entry, shown);
		} else if (errno == EBADMSG) {
			assert_true(shown->damaged++ < 10000);
		} else {
			break;
		}
	}
	assert_int_equal(errno, ENODATA);
	pmemstream_entry_iterator_delete(&iterator);
}

void history_show(struct history *history, struct shown *shown)
{
	*shown = (struct shown){0};
	history_open(history);
	for (unsigned i = 0; i < DAMAGE_REGIONS; i++)
		show_region(history, i, shown);
}
