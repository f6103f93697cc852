/*
 * rules.c: for each rule of recovery (docs/format/stream.md, section 7) a history that goes wrong without it.
 *
 * Some histories are made by hand: an image of what a power cut may leave, word by word, or of what damage does.
 * tests/crash/breaks.py takes each rule out of the engine and expects the test to fail.
 */
#include "crash/harness.h"

#include "base/error.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { MEDIA_BYTES = 16384, ENTRY_SPACE = 48 };

static const struct config lines = {"lines", MEDIUM_CACHE_LINE, 8, 8, 1 << 20, 0, MEDIA_BYTES};
static const struct config rounds = {"lines, many rounds", MEDIUM_CACHE_LINE, 8, 8, 100, 0, MEDIA_BYTES};
static const struct config pages = {"pages", MEDIUM_PAGE, 8, 8, 1 << 20, 0, MEDIA_BYTES};

static void begin(struct machine *machine, const struct config *config, const char *script)
{
	machine_begin(machine, config);
	if (machine_open(machine) || machine_run(machine, script) == FAILED)
		fail_msg("script \"%s\": %s", script, error_message());
}

static void run(struct machine *machine, const char *script)
{
	if (machine_run(machine, script) == FAILED)
		fail_msg("script \"%s\": %s", script, error_message());
}

/* The power is cut, and the medium holds the image. */
static int reopen_on(struct machine *machine, const char *image)
{
	machine_drop(machine);
	cut_restart(machine->cut, image);
	return machine_open(machine);
}

static void must_reopen_on(struct machine *machine, const char *image)
{
	if (reopen_on(machine, image))
		fail_msg("%s", error_message());
}

static void must_be_damaged_on(struct machine *machine, const char *image)
{
	assert_int_equal(reopen_on(machine, image), -1);
	assert_int_equal(errno, EBADMSG);
	assert_null(machine->stream);
	assert_non_null(strstr(error_message(), "damaged: "));
}

static void take_durable(struct machine *machine, char image[MEDIA_BYTES])
{
	memcpy(image, cut_durable(machine->cut), MEDIA_BYTES);
}

static void take_stored(struct machine *machine, char image[MEDIA_BYTES])
{
	memcpy(image, cut_medium(machine->cut)->base, MEDIA_BYTES);
}

static uint64_t entry_off(const struct machine *machine, unsigned region, unsigned number)
{
	return machine->known.regions[region].off + FORMAT_REGION_HEADER_BYTES + number * (uint64_t)ENTRY_SPACE;
}

/* Every outcome of the last operation, on lines and pages. */
static void survives(const char *script)
{
	char failure[FAILURE_BYTES];
	const struct config *configs[] = {&lines, &rounds, &pages};

	for (int i = 0; i < 3; i++) {
		struct watcher watcher = watcher_default;
		watcher.deeper_one_in = 5;
		if (watch_last(&watcher, configs[i], script, failure) == FAILED)
			fail_msg("%s", failure);
		assert_true(watcher.images > 10);
	}
}

static void a_creation_that_was_killed_is_made_durable_by_the_next_opening(void **state)
{
	(void)state;
	survives("");
}

/* 1 is torn, 2 is whole behind it: recovery drops both. The words of 1 that were missing are written again, equal, by a
 * retry that does not get further: 1 and 2 are whole now, but were dropped. */
static void a_dropped_record_that_a_retry_completes_stays_dropped(void **state)
{
	char image[MEDIA_BYTES], all[MEDIA_BYTES];
	struct machine machine;
	(void)state;

	begin(&machine, &lines, "nss");
	uint64_t data_off = entry_off(&machine, 0, 0) + FORMAT_ENTRY_HEADER_BYTES;
	take_stored(&machine, all);
	memcpy(image, all, MEDIA_BYTES);
	memset(image + data_off, 0, 8);
	must_reopen_on(&machine, image);
	assert_int_equal(machine.known.acknowledged, 0);
	take_durable(&machine, image);
	run(&machine, "s"); /* the retry */
	memcpy(image + data_off, all + data_off, 8);
	must_reopen_on(&machine, image);
	assert_int_equal(machine.known.acknowledged, 0);
	machine_end(&machine);
}

static void what_recovery_kept_is_durable_before_the_epoch_rises(void **state)
{
	(void)state;
	survives("nsk");
	survives("nnsSk");
	survives("nnsSck");
}

static void the_epoch_is_durable_before_the_first_store(void **state)
{
	(void)state;
	survives("nak");
	survives("nap");
	survives("nac");
}

static void slots_of_a_round_that_never_completed_are_ignored(void **state)
{
	(void)state;
	survives("nnaAdc");
	survives("nnaAdcaAc");
	survives("nnsssw");
	survives("nnsSsSw");
}

static void a_region_is_freed_only_behind_a_round(void **state)
{
	(void)state;
	survives("nnaAf");
	survives("nnasSF");
	survives("nnaAkaF");
}

static void a_record_of_the_allocator_that_was_cut_is_carried_out_or_not(void **state)
{
	(void)state;
	survives("nnf");
	survives("nnafn");
	survives("nn");
	survives("nnnfF");
}

/* The record that frees the second region loses its first word. A later record begins with the same number, and no
 * other word of it gets there. */
static void a_record_counts_only_in_its_epoch(void **state)
{
	unsigned char encoded[FORMAT_RECORD_BYTES];
	char image[MEDIA_BYTES];
	struct machine machine;
	(void)state;

	begin(&machine, &lines, "nnaA");
	struct pmemstream *stream = machine.stream;
	uint64_t salt = stream->header.salt, off = machine.known.regions[1].off;
	uint64_t blocks = extents_get(&stream->extents, 1).bytes / stream->header.block_size;
	struct format_record record = {.number = stream->applied + 1, .epoch = stream->epoch, .count = 1};
	record.words[0].off = off;
	record.words[0].word = format_checked_encode(salt, off, blocks);
	format_record_encode(encoded, salt, &record);

	take_durable(&machine, image);
	memcpy(image + FORMAT_RECORD_OFF + 8, encoded + 8, sizeof(encoded) - 8);
	must_reopen_on(&machine, image);
	take_durable(&machine, image);
	memcpy(image + FORMAT_RECORD_OFF, encoded, 8);
	must_reopen_on(&machine, image);
	assert_int_equal(machine.known.regions[1].state, REGION_LIVE);
	machine_end(&machine);
}

static void the_limit_that_an_entry_raised_is_durable_with_it(void **state)
{
	(void)state;
	survives("na");
	survives("nsw");
	survives("nr");
	survives("nqw");
	survives("nsk");
}

/* 1 of epoch 2 in the second region is torn and dropped; 1 of epoch 3 goes to the first region; then the torn one is
 * completed. */
static void two_of_one_timestamp(struct machine *machine, char image[MEDIA_BYTES])
{
	char all[MEDIA_BYTES];

	begin(machine, &lines, "nnS");
	uint64_t data_off = entry_off(machine, 1, 0) + FORMAT_ENTRY_HEADER_BYTES;
	take_stored(machine, all);
	memcpy(image, all, MEDIA_BYTES);
	memset(image + data_off, 0, 8);
	must_reopen_on(machine, image);
	assert_int_equal(machine->known.acknowledged, 0);
	run(machine, "a");
	take_durable(machine, image);
	memcpy(image + data_off, all + data_off, 8);
}

static void of_two_entries_with_one_timestamp_the_higher_epoch_wins(void **state)
{
	char image[MEDIA_BYTES];
	struct machine machine;
	(void)state;

	two_of_one_timestamp(&machine, image);
	must_reopen_on(&machine, image);
	assert_int_equal(machine.known.acknowledged, 1);
	machine_end(&machine);
}

static void a_dropped_entry_cannot_stand_in_for_a_damaged_one(void **state)
{
	char image[MEDIA_BYTES];
	struct machine machine;
	(void)state;

	two_of_one_timestamp(&machine, image);
	must_reopen_on(&machine, image);
	take_durable(&machine, image);
	image[entry_off(&machine, 0, 0) + 1] ^= 1;
	must_be_damaged_on(&machine, image);
	machine_end(&machine);
}

static void what_the_last_recovery_kept_must_be_there(void **state)
{
	char image[MEDIA_BYTES];
	struct machine machine;
	(void)state;

	begin(&machine, &lines, "nap");
	take_durable(&machine, image);
	image[entry_off(&machine, 0, 0) + 1] ^= 1;
	must_be_damaged_on(&machine, image);
	machine_end(&machine);
}

static void an_entry_behind_a_bad_header_shows_what_is_missing(void **state)
{
	char image[MEDIA_BYTES];
	struct machine machine;
	(void)state;

	begin(&machine, &lines, "naaa");
	take_durable(&machine, image);
	image[entry_off(&machine, 0, 1) + 1] ^= 1;
	must_be_damaged_on(&machine, image);
	machine_end(&machine);
}

static void an_entry_behind_bad_data_shows_what_is_missing(void **state)
{
	char image[MEDIA_BYTES];
	struct machine machine;
	(void)state;

	begin(&machine, &lines, "naaa");
	take_durable(&machine, image);
	image[entry_off(&machine, 0, 1) + FORMAT_ENTRY_HEADER_BYTES] ^= 1;
	must_be_damaged_on(&machine, image);
	machine_end(&machine);
}

static void an_entry_of_an_epoch_to_come_is_damage(void **state)
{
	char image[MEDIA_BYTES];
	struct machine machine;
	(void)state;

	begin(&machine, &lines, "nap");
	run(&machine, "a");
	unsigned slot = machine.stream->stream_slot;
	take_durable(&machine, image);
	/* The slot that raised the epoch is gone; the one in front of it checks. */
	image[FORMAT_STREAM_SLOT_OFF + slot * FORMAT_STREAM_SLOT_STRIDE + 3] ^= 1;
	must_be_damaged_on(&machine, image);
	machine_end(&machine);
}

/* As above, but what is left says CLEAN. */
static void a_clean_mark_in_front_of_a_lost_slot_is_not_believed(void **state)
{
	char image[MEDIA_BYTES];
	struct machine machine;
	(void)state;

	begin(&machine, &lines, "naca");
	unsigned slot = machine.stream->stream_slot;
	take_durable(&machine, image);
	image[FORMAT_STREAM_SLOT_OFF + slot * FORMAT_STREAM_SLOT_STRIDE + 3] ^= 1;
	must_be_damaged_on(&machine, image);
	machine_end(&machine);
}

static uint64_t region_slot_off(const struct machine *machine, unsigned slot)
{
	return machine->known.regions[0].off + FORMAT_REGION_SLOT_OFF + slot * (uint64_t)FORMAT_SLOT_BYTES;
}

/* The region's newest slot is damaged; what it covered is not above P any more. */
static void a_slot_that_was_needed_and_does_not_check_is_damage(void **state)
{
	char image[MEDIA_BYTES];
	struct machine machine;
	uint64_t generation;
	(void)state;

	begin(&machine, &lines, "naac");
	struct pmemstream_region name = {.offset = machine.known.regions[0].off};
	unsigned slot = region_find(machine.stream, name, &generation)->slot;
	take_durable(&machine, image);
	image[region_slot_off(&machine, slot) + 3] ^= 1;
	must_be_damaged_on(&machine, image);
	machine_end(&machine);
}

static void a_slot_that_was_not_needed_and_does_not_check_is_written_anew(void **state)
{
	char image[MEDIA_BYTES];
	struct format_region_slot fields;
	struct machine machine;
	uint64_t generation;
	(void)state;

	begin(&machine, &lines, "naacaac");
	struct pmemstream_region name = {.offset = machine.known.regions[0].off};
	struct region *region = region_find(machine.stream, name, &generation);
	uint64_t off = region_slot_off(&machine, 1U - region->slot);
	take_durable(&machine, image);
	image[off + 3] ^= 1;
	must_reopen_on(&machine, image);
	assert_true(format_region_slot_decode((const unsigned char *)cut_durable(machine.cut) + off,
					      machine.stream->header.salt, generation, off, &fields));
	machine_end(&machine);
}

static void the_slots_of_a_clean_end_are_made_durable_by_the_next_opening(void **state)
{
	(void)state;
	survives("nac");
	survives("naca");
	survives("nacac");
}

static void a_batch_is_there_whole_or_not_at_all(void **state)
{
	(void)state;
	survives("nnb");
	survives("nnaB");
	survives("nnsBk");
}

/* Every path by which an entry becomes durable behind others. */
static void entries_in_front_that_others_copied_are_durable_too(void **state)
{
	(void)state;
	survives("nsa");
	survives("nnsA");
	survives("nnsSma");
	survives("nnmA");
	survives("nnmSw");
	survives("nnt");
	survives("nnT");
}

static void a_failed_sync_and_what_comes_behind_it_lose_nothing(void **state)
{
	(void)state;
	survives("naeak");
	survives("nnaesSwk");
	survives("nnaenk");
	survives("nnaefk");
	survives("nnaeakp");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_creation_that_was_killed_is_made_durable_by_the_next_opening),
		cmocka_unit_test(a_dropped_record_that_a_retry_completes_stays_dropped),
		cmocka_unit_test(what_recovery_kept_is_durable_before_the_epoch_rises),
		cmocka_unit_test(the_epoch_is_durable_before_the_first_store),
		cmocka_unit_test(slots_of_a_round_that_never_completed_are_ignored),
		cmocka_unit_test(a_region_is_freed_only_behind_a_round),
		cmocka_unit_test(a_record_of_the_allocator_that_was_cut_is_carried_out_or_not),
		cmocka_unit_test(a_record_counts_only_in_its_epoch),
		cmocka_unit_test(the_limit_that_an_entry_raised_is_durable_with_it),
		cmocka_unit_test(of_two_entries_with_one_timestamp_the_higher_epoch_wins),
		cmocka_unit_test(a_dropped_entry_cannot_stand_in_for_a_damaged_one),
		cmocka_unit_test(what_the_last_recovery_kept_must_be_there),
		cmocka_unit_test(an_entry_behind_a_bad_header_shows_what_is_missing),
		cmocka_unit_test(an_entry_behind_bad_data_shows_what_is_missing),
		cmocka_unit_test(an_entry_of_an_epoch_to_come_is_damage),
		cmocka_unit_test(a_clean_mark_in_front_of_a_lost_slot_is_not_believed),
		cmocka_unit_test(a_slot_that_was_needed_and_does_not_check_is_damage),
		cmocka_unit_test(a_slot_that_was_not_needed_and_does_not_check_is_written_anew),
		cmocka_unit_test(the_slots_of_a_clean_end_are_made_durable_by_the_next_opening),
		cmocka_unit_test(a_batch_is_there_whole_or_not_at_all),
		cmocka_unit_test(entries_in_front_that_others_copied_are_durable_too),
		cmocka_unit_test(a_failed_sync_and_what_comes_behind_it_lose_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
