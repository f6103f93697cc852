/*
 * stream_repair.c: a repaired stream opens, shows everything that was not hit, reports what was lost, and goes on; a
 * repair that is cut off can be done again.
 */
#include "cut/cut.h"
#include "stream_known.h"

#include "base/error.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const struct {
	enum medium_granularity granularity;
	uint64_t block_size;
	uint32_t alignment;
} kinds[] = {{MEDIUM_CACHE_LINE, 64, 8}, {MEDIUM_CACHE_LINE, 4096, 64}, {MEDIUM_PAGE, 512, 8}};

/* A cut costs ten times as much under a sanitizer; and of threads, which are not used here, there is little to see. */
#if defined(__SANITIZE_THREAD__)
enum { FUZZ_ROUNDS = 60, CUT_ROUNDS = 1, CUT_STEP = 100 };
#elif defined(__SANITIZE_ADDRESS__)
enum { FUZZ_ROUNDS = 300, CUT_ROUNDS = 2, CUT_STEP = 16 };
#else
enum { FUZZ_ROUNDS = 600, CUT_ROUNDS = 20, CUT_STEP = 5 };
#endif

#define FOR_KINDS(i) for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)

static void begin(struct history *history, size_t kind, uint64_t seed, bool killed)
{
	history_begin(history, kinds[kind].granularity, kinds[kind].block_size, kinds[kind].alignment, seed);
	history_append(history, 20);
	history_close(history);
	history_open(history);
	history_append(history, 20);
	if (killed)
		history_kill(history);
	history_stop(history);
}

static bool is_intact(const struct history *history, const unsigned char *damaged, const struct known_entry *entry)
{
	return !memcmp(history->image + entry->off, damaged + entry->off, entry->bytes);
}

/* Repairs what was damaged, and looks at all that a repair promises. lost: how many entries may be missing. */
static void assert_repaired(struct history *history, unsigned lost, bool reported)
{
	unsigned char *damaged = malloc(history->medium.size);
	struct told told = {0};
	struct shown shown;

	assert_non_null(damaged);
	memcpy(damaged, history->medium.base, history->medium.size);
	if (history_repair(history, true, &told))
		fail_msg("dry run: %s", error_message());
	unsigned changes = told.changes;
	assert_memory_equal(damaged, history->medium.base, history->medium.size);
	if (history_repair(history, false, &told))
		fail_msg("repair: %s", error_message());
	assert_int_equal(told.changes, changes);
	if (history_check(history, true, &told))
		fail_msg("after the repair: %s", error_message());
	for (unsigned i = 0; i < told.problem_count; i++)
		assert_int_equal(told.problems[i].severity, PMEMSTREAM_KNOWN);
	assert_int_equal(told.known > 0, reported);
	unsigned known = told.known;
	history_show(history, &shown);
	assert_int_equal(shown.damaged, known);
	assert_true(shown.count + lost >= history->entry_count);
	for (unsigned i = 0; i < history->entry_count; i++)
		if (is_intact(history, damaged, &history->entries[i]) && !shown.shown[i])
			fail_msg("entry %u at %zu is intact and not shown", i, (size_t)history->entries[i].off);
	/* It goes on. */
	unsigned before = history->entry_count;
	uint64_t highest = history->entries[before - 1].timestamp;
	history_append(history, 10);
	assert_true(history->entries[before].timestamp > highest - lost);
	history_close(history);
	if (history_check(history, true, &told))
		fail_msg("after appending: %s", error_message());
	assert_int_equal(told.known, known);
	history->entry_count = before;
	history_restore(history);
	free(damaged);
}

static void nothing_to_repair_changes_nothing(void **state)
{
	(void)state;
	FOR_KINDS(i)
	{
		for (int killed = 0; killed < 2; killed++) {
			struct history history;
			struct told told = {0};
			begin(&history, i, 5, killed);
			assert_int_equal(history_repair(&history, false, &told), 0);
			assert_int_equal(told.changes, 0);
			assert_memory_equal(history.image, history.medium.base, history.medium.size);
			history_end(&history);
		}
	}
}

static void what_has_a_second_copy_is_restored_byte_by_byte(void **state)
{
	(void)state;
	FOR_KINDS(i)
	{
		for (int killed = 0; killed < 2; killed++) {
			struct history history;
			struct told told = {0};
			begin(&history, i, 6, killed);
			uint64_t region_off = history.regions[1].offset;
			const uint64_t offs[] = {30,
						 format_second_copy_off(kinds[i].block_size) + 8,
						 FORMAT_APPLIED_OFF + 1,
						 FORMAT_NEXT_GENERATION_OFF + 7,
						 region_off + 2,
						 region_off + 24,
						 region_off + 60,
						 history.regions[2].offset + 7};
			for (size_t o = 0; o < sizeof(offs) / sizeof(offs[0]); o++) {
				flip(&history, offs[o], 1);
				if (history_repair(&history, false, &told))
					fail_msg("damage at %zu: %s", (size_t)offs[o], error_message());
				assert_int_equal(told.changes, 1);
				assert_memory_equal(history.image, history.medium.base, history.medium.size);
			}
			history_end(&history);
		}
	}
}

static void a_free_extent_is_found_again(void **state)
{
	(void)state;
	FOR_KINDS(i)
	{
		struct history history;
		begin(&history, i, 7, false);
		/* In front of the first region, where a freed one has left its header, and behind the last one. */
		uint64_t arena_off = format_arena_off(kinds[i].block_size);
		assert_true(arena_off < history.regions[0].offset);
		flip(&history, arena_off, 3);
		assert_repaired(&history, 0, false);
		history_end(&history);
	}
}

static void a_torn_slot_is_put_right(void **state)
{
	(void)state;
	FOR_KINDS(i)
	{
		for (int killed = 0; killed < 2; killed++) {
			struct history history;
			begin(&history, i, 8, killed);
			for (unsigned s = 0; s < 2; s++) {
				flip(&history, 512 + 512 * s, 60);
				assert_repaired(&history, 0, false);
				for (unsigned r = 0; r < DAMAGE_REGIONS; r++) {
					flip(&history, history.regions[r].offset + 128 + 64 * s, 8);
					assert_repaired(&history, 0, false);
				}
			}
			flip(&history, history.regions[1].offset + 8, 8);
			assert_repaired(&history, 0, false);
			history_end(&history);
		}
	}
}

static void a_damaged_entry_is_the_only_one_that_is_lost(void **state)
{
	(void)state;
	FOR_KINDS(i)
	{
		for (int killed = 0; killed < 2; killed++) {
			struct history history;
			begin(&history, i, 9 + i, killed);
			/* Of a killed one the last entries are those that nobody vouches for. */
			unsigned count = history.entry_count - (killed ? 4 : 0);
			for (unsigned e = 0; e < count; e++) {
				const struct known_entry *entry = &history.entries[e];
				flip(&history, entry->off + 12, 1);
				assert_repaired(&history, 1, true);
				if (entry->bytes == FORMAT_ENTRY_HEADER_BYTES)
					continue;
				flip(&history, entry->off + FORMAT_ENTRY_HEADER_BYTES, 1);
				assert_repaired(&history, 1, true);
			}
			history_end(&history);
		}
	}
}

static void a_sector_of_entries_is_one_lost_stretch(void **state)
{
	(void)state;
	FOR_KINDS(i)
	{
		for (int killed = 0; killed < 2; killed++) {
			struct history history;
			begin(&history, i, 13 + i, killed);
			for (unsigned r = 0; r < DAMAGE_REGIONS; r++) {
				uint64_t off = history.regions[r].offset / 512 * 512 + 512;
				unsigned hit = 0;
				for (unsigned e = 0; e < history.entry_count; e++) {
					const struct known_entry *entry = &history.entries[e];
					hit += entry->off < off + 512 && entry->off + entry->bytes > off;
				}
				if (!hit)
					continue;
				memset(history.medium.base + off, 0, 512);
				assert_repaired(&history, hit, true);
			}
			history_end(&history);
		}
	}
}

/* The checkpoint in use, and the first entry behind the other one: what it covered stands behind a hole. */
static void entries_of_a_lost_checkpoint_are_kept_behind_a_hole(void **state)
{
	(void)state;
	FOR_KINDS(i)
	{
		for (unsigned r = 0; r < DAMAGE_REGIONS; r++) {
			struct history history;
			begin(&history, i, 70 + i, true);
			uint64_t slot_off = region_slot_in_use_off(&history, r);
			uint64_t other_off =
				(slot_off - history.regions[r].offset) == 128 ? slot_off + 64 : slot_off - 64;
			uint64_t tail_off = history.regions[r].offset + le64_load(history.medium.base + other_off + 8);
			assert_true(tail_off < region_tail_off(&history, r));
			flip(&history, slot_off + 8, 8);
			flip(&history, tail_off + 12, 1);
			assert_repaired(&history, 1, true);
			history_end(&history);
		}
	}
}

/* The device kept everything but what was written to the stream's checkpoints. */
static void a_clean_end_that_is_older_than_the_regions_is_not_believed(void **state)
{
	(void)state;
	FOR_KINDS(i)
	{
		struct history history;
		struct told told;
		history_begin(&history, kinds[i].granularity, kinds[i].block_size, kinds[i].alignment, 90 + i);
		history_append(&history, 20);
		history_close(&history);
		unsigned char slots[1024];
		memcpy(slots, history.medium.base + 512, sizeof(slots));
		history_open(&history);
		history_append(&history, 20);
		history_stop(&history);
		memcpy(history.medium.base + 512, slots, sizeof(slots));
		assert_int_equal(history_check(&history, false, &told), -1);
		assert_int_equal(errno, EBADMSG);
		assert_repaired(&history, 0, false);
		history_end(&history);
	}
}

static void what_cannot_be_proven_is_refused_untouched(void **state)
{
	(void)state;
	FOR_KINDS(i)
	{
		struct history history;
		struct told told = {0};
		begin(&history, i, 21, true);
		uint64_t off = history.regions[1].offset;
		const uint64_t pairs[][2] = {{512, 1024},
					     {0, format_second_copy_off(kinds[i].block_size)},
					     {off + 128, off + 192},
					     {off + 16, off + 17},
					     {off, off + 40},
					     {off, FORMAT_APPLIED_OFF},
					     {FORMAT_APPLIED_OFF, FORMAT_NEXT_GENERATION_OFF}};
		for (size_t p = 0; p < sizeof(pairs) / sizeof(pairs[0]); p++) {
			flip(&history, pairs[p][0] + (p == 1 ? 20 : 0), 1);
			flip(&history, pairs[p][1] + (p == 1 ? 20 : 0), 1);
			unsigned char *damaged = malloc(history.medium.size);
			memcpy(damaged, history.medium.base, history.medium.size);
			assert_int_equal(history_repair(&history, false, &told), -1);
			assert_int_equal(errno, EBADMSG);
			assert_int_equal(told.changes, 0);
			assert_memory_equal(damaged, history.medium.base, history.medium.size);
			free(damaged);
			history_restore(&history);
		}
		history_end(&history);
	}
}

/* ---- Random damage ---- */

static void hit_at_random(struct history *history, uint64_t *seed, bool *only_entries)
{
	unsigned hits = 1 + (unsigned)(damage_random(seed) >> 33) % 4;

	*only_entries = true;
	for (unsigned h = 0; h < hits; h++) {
		unsigned region = (unsigned)(damage_random(seed) >> 33) % DAMAGE_REGIONS;
		uint64_t begin_off = history->regions[region].offset, bytes = 3000;
		switch ((damage_random(seed) >> 33) % 4) {
		case 0: /* anywhere in front */
			begin_off = 0;
			bytes = 4096 + 512;
			*only_entries = false;
			break;
		case 1: /* a region's header */
			bytes = FORMAT_REGION_HEADER_BYTES;
			*only_entries = false;
			break;
		default:
			begin_off += FORMAT_REGION_HEADER_BYTES;
		}
		uint64_t off = begin_off + (damage_random(seed) >> 33) % bytes;
		switch ((damage_random(seed) >> 33) % 3) {
		case 0:
			flip(history, off, 1);
			break;
		case 1:
			history->medium.base[off] =
				(char)(history->medium.base[off] ^ (1 << (damage_random(seed) >> 61)));
			break;
		default:
			if (*only_entries && off / 512 * 512 < begin_off)
				flip(history, off, 16);
			else
				memset(history->medium.base + off / 512 * 512, (int)(damage_random(seed) >> 63) * 255,
				       512);
		}
	}
}

static void random_damage_is_told_and_repaired(void **state)
{
	(void)state;
	unsigned repaired = 0, refused = 0;
	uint64_t base = getenv("REPAIR_SEED") ? strtoull(getenv("REPAIR_SEED"), NULL, 0) : 1;
	uint64_t rounds = getenv("REPAIR_ROUNDS") ? strtoull(getenv("REPAIR_ROUNDS"), NULL, 0) : FUZZ_ROUNDS;

	for (uint64_t seed = base; seed < base + rounds; seed++) {
		struct history history;
		struct told told = {0};
		uint64_t random = seed * 77777;
		bool only_entries, killed = seed % 2;
		begin(&history, seed % 3, seed, killed);
		hit_at_random(&history, &random, &only_entries);
		int light = history_check(&history, false, &told);
		if (light && errno != EBADMSG && errno != EINVAL && errno != ENOTSUP)
			fail_msg("seed %zu: check left errno %d", (size_t)seed, errno);
		history_check(&history, true, &told);
		bool deep_repairable = true;
		for (unsigned i = 0; i < told.problem_count; i++)
			deep_repairable = deep_repairable && (told.problems[i].severity != PMEMSTREAM_DAMAGE ||
							      told.problems[i].repairable);
		if (only_entries && !killed) {
			assert_repaired(&history, history.entry_count, told.damages > 0);
			repaired++;
		} else if (!history_repair(&history, false, &told)) {
			struct shown shown;
			if (!deep_repairable)
				fail_msg("seed %zu: repaired what was called beyond repair", (size_t)seed);
			if (history_check(&history, true, &told))
				fail_msg("seed %zu: after the repair: %s", (size_t)seed, error_message());
			history_show(&history, &shown);
			history_close(&history);
			repaired++;
		} else {
			if (errno != EBADMSG && errno != EINVAL && errno != ENOTSUP)
				fail_msg("seed %zu: repair left errno %d: %s", (size_t)seed, errno, error_message());
			if (errno == EBADMSG && deep_repairable && told.damages)
				fail_msg("seed %zu: refused what was called repairable: %s", (size_t)seed,
					 error_message());
			assert_int_equal(told.changes, 0);
			refused++;
		}
		history_end(&history);
	}
	print_message("# %u repaired, %u refused\n", repaired, refused);
	assert_true(repaired > refused);
}

/* ---- Cut off ---- */

struct cut_repair {
	struct history *history;
	struct shown expected;
	unsigned known;
};

static int repair_cut(struct cut *cut)
{
	struct medium *medium = cut_medium(cut);
	unsigned char *trial = malloc(medium->size);

	memcpy(trial, medium->base, medium->size);
	int err = repair_medium(medium, trial, false, NULL, NULL);
	free(trial);
	return err;
}

/* A repair that was cut off, done again, shows the same entries. */
static int repair_again(struct cut *after, const struct cut_moment *moment, void *context)
{
	struct cut_repair *expected = context;
	struct history seen = *expected->history;
	struct medium *medium = cut_medium(after);
	struct told told = {.history = &seen};
	struct shown shown;

	(void)moment;
	/* In between it is never a stream that opens and lacks something. */
	if (!check_opens(medium)) {
		seen.medium = *medium;
		history_show(&seen, &shown);
		history_kill(&seen);
		for (unsigned i = 0; i < expected->history->entry_count; i++)
			if (expected->expected.shown[i] && !shown.shown[i])
				return error_set(EBADMSG, "entry %u is gone without a repair", i);
	} else {
		error_clear();
	}
	if (repair_cut(after))
		return error_prefix("again");
	if (check_medium(medium, true, told_event, &told))
		return -1;
	seen.medium = *medium;
	history_show(&seen, &shown);
	history_kill(&seen);
	for (unsigned i = 0; i < expected->history->entry_count; i++)
		if (expected->expected.shown[i] && !shown.shown[i])
			return error_set(EBADMSG, "entry %u is gone", i);
	/* Words of a mark may mend the header that they were to replace; marks beside each other become one. */
	if (shown.count == expected->expected.count && !told.known && expected->known)
		return error_set(EBADMSG, "no lost stretch is left of %u", expected->known);
	return 0;
}

static void cut_the_repair(struct history *history)
{
	struct cut_repair expected = {.history = history};
	struct cut_watch watch = {
		.plan = {.all_below = 64, .samples = 16, .single_max = 16},
		.check = repair_again,
		.context = &expected,
	};
	struct told told = {0};
	struct cut *cut = cut_new(history->medium.size, history->medium.granularity);

	cut_restart(cut, history->medium.base);
	assert_int_equal(history_repair(history, false, &told), 0);
	assert_int_equal(history_check(history, true, &told), 0);
	expected.known = told.known;
	history_show(history, &expected.expected);
	history_close(history);
	cut_watch(cut, &watch);
	if (repair_cut(cut))
		fail_msg("%s", error_message());
	cut_check_now(cut);
	if (cut_failure(cut))
		fail_msg("%s", cut_failure(cut));
	assert_int_equal(cut_verify_no_bypass(cut), 0);
	assert_true(cut_images_checked(cut) > 3);
	cut_delete(cut);
	history_restore(history);
}

static void a_repair_that_is_cut_off_can_be_done_again(void **state)
{
	(void)state;
	FOR_KINDS(i)
	{
		struct history history;
		begin(&history, i, 40 + i, true);
		uint64_t tail_off = region_tail_off(&history, 0);
		for (unsigned e = 4; e + 6 < history.entry_count; e += CUT_STEP) {
			flip(&history, history.entries[e].off + 9, 1);
			flip(&history, history.entries[e + 3].off + 40, 1);
			cut_the_repair(&history);
		}
		/* Behind the checkpoint, with the checkpoint in use. */
		flip(&history, region_slot_in_use_off(&history, 0) + 9, 1);
		cut_the_repair(&history);
		flip(&history, slot_in_use_off(&history) + 9, 1);
		cut_the_repair(&history);
		flip(&history, region_slot_in_use_off(&history, 1) + 9, 1);
		flip(&history, tail_off + 9, 1);
		flip(&history, history.regions[2].offset, 1);
		flip(&history, 70, 1);
		cut_the_repair(&history);
		history_end(&history);
	}
}

static void a_repair_of_random_damage_that_is_cut_off_can_be_done_again(void **state)
{
	(void)state;
	uint64_t base = getenv("REPAIR_SEED") ? strtoull(getenv("REPAIR_SEED"), NULL, 0) : 1;
	uint64_t rounds = getenv("REPAIR_CUTS") ? strtoull(getenv("REPAIR_CUTS"), NULL, 0) : CUT_ROUNDS;

	for (uint64_t seed = base; seed < base + rounds; seed++) {
		struct history history;
		struct told told = {0};
		uint64_t random = seed * 99991;
		bool only_entries;
		begin(&history, seed % 3, seed, true);
		hit_at_random(&history, &random, &only_entries);
		print_message("# seed %zu\n", (size_t)seed);
		if (!history_repair(&history, true, &told) && told.changes)
			cut_the_repair(&history);
		history_end(&history);
	}
}

/* ---- By path ---- */

static int write_backup(const struct pmemstream_event *event, void *arg)
{
	struct medium *backup = arg;

	if (event->kind == PMEMSTREAM_EVENT_CHANGE) {
		assert_memory_equal(backup->base + event->offset, event->before, event->bytes);
		memcpy(backup->base + event->offset, event->after, event->bytes);
	}
	return 0;
}

static void changes_told_are_the_changes_made(void **state)
{
	(void)state;
	struct pmemstream_config config = {.size = 1 << 20};
	struct pmemstream *stream;
	struct pmemstream_region region;
	struct pmemstream_entry entries[10];
	char path[64];
	struct medium copy = {.base = malloc(1 << 20)};
	char *now = malloc(1 << 20);

	snprintf(path, sizeof(path), "repair.%d.stream", (int)getpid());
	unlink(path);
	assert_int_equal(pmemstream_create(&stream, path, &config), 0);
	assert_int_equal(pmemstream_region_allocate(stream, 10000, &region), 0);
	for (int i = 0; i < 10; i++)
		assert_int_equal(pmemstream_append(stream, region, NULL, "0123456789", 10, &entries[i]), 0);
	pmemstream_delete(&stream);
	int fd = open(path, O_RDWR | O_CLOEXEC);
	assert_int_equal(pwrite(fd, "?", 1, (off_t)entries[3].offset + 35), 1);
	assert_int_equal(pwrite(fd, "?", 1, (off_t)entries[7].offset + 20), 1);
	assert_int_equal(pwrite(fd, "?", 1, 33), 1);
	assert_int_equal(pread(fd, copy.base, 1 << 20, 0), 1 << 20);
	assert_int_equal(pmemstream_check(path, PMEMSTREAM_CHECK_DEEP, NULL, NULL), -1);
	assert_int_equal(errno, EBADMSG);
	assert_int_equal(pmemstream_repair(path, PMEMSTREAM_DRY_RUN, NULL, NULL), 0);
	assert_int_equal(pread(fd, now, 1 << 20, 0), 1 << 20);
	assert_memory_equal(now, copy.base, 1 << 20);
	if (pmemstream_repair(path, 0, write_backup, &copy))
		fail_msg("%s", pmemstream_errormsg());
	assert_int_equal(pread(fd, now, 1 << 20, 0), 1 << 20);
	assert_memory_equal(now, copy.base, 1 << 20);
	assert_int_equal(pmemstream_check(path, PMEMSTREAM_CHECK_DEEP, NULL, NULL), 0);
	assert_int_equal(pmemstream_open(&stream, path, NULL), 0);
	assert_int_equal(pmemstream_entry_timestamp(stream, entries[9]), 10);
	assert_null(pmemstream_entry_data(stream, entries[3]));
	pmemstream_delete(&stream);
	close(fd);
	free(copy.base);
	free(now);
	unlink(path);
}

static void a_repair_that_the_callback_ends_can_be_done_again(void **state)
{
	(void)state;
	struct history history;
	struct told told = {.stop_after = 2};

	begin(&history, 0, 50, true);
	const struct known_entry *entry = &history.entries[history.entry_count - 8];
	flip(&history, entry->off + 9, 1);
	flip(&history, 40, 1);
	assert_int_equal(history_repair(&history, false, &told), -1);
	assert_int_equal(errno, ECANCELED);
	assert_int_equal(told.changes, 2);
	assert_int_equal(history_check(&history, false, &told), -1);
	assert_repaired(&history, 1, true);
	history_end(&history);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_to_repair_changes_nothing),
		cmocka_unit_test(what_has_a_second_copy_is_restored_byte_by_byte),
		cmocka_unit_test(a_free_extent_is_found_again),
		cmocka_unit_test(a_torn_slot_is_put_right),
		cmocka_unit_test(a_damaged_entry_is_the_only_one_that_is_lost),
		cmocka_unit_test(a_sector_of_entries_is_one_lost_stretch),
		cmocka_unit_test(entries_of_a_lost_checkpoint_are_kept_behind_a_hole),
		cmocka_unit_test(a_clean_end_that_is_older_than_the_regions_is_not_believed),
		cmocka_unit_test(what_cannot_be_proven_is_refused_untouched),
		cmocka_unit_test(random_damage_is_told_and_repaired),
		cmocka_unit_test(a_repair_that_is_cut_off_can_be_done_again),
		cmocka_unit_test(a_repair_of_random_damage_that_is_cut_off_can_be_done_again),
		cmocka_unit_test(changes_told_are_the_changes_made),
		cmocka_unit_test(a_repair_that_the_callback_ends_can_be_done_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
