/*
 * test_found.c: what random histories found in the engine, each as the shortest history that shows it.
 */
#include "base/crc32c.h"
#include "histories/machine.h"
#include "histories/mover.h"
#include "stream/checkpoint.h"
#include "stream/stream.h"

// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
// clang-format on
#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { MEDIUM_BYTES = 2 * MEDIUM_PAGE_BYTES, REGION_BYTES = 512, EVENTS_MAX = 1000 };

static const struct stream_options options = {.block_size = 64, .window = 4, .alignment = 8, .salt = 1};

static void nothing(void *context)
{
	(void)context;
}

static void begin(struct machine *machine, enum medium_granularity granularity)
{
	machine_init(machine, MEDIUM_BYTES, granularity);
	machine->at_death = nothing;
}

static int open_stream(struct machine *machine, struct pmemstream **stream)
{
	struct medium medium;

	*stream = NULL;
	assert_int_equal(cut_attach(machine->now, &medium), 0);
	int err = stream_open(stream, &medium, &options);
	if (err)
		medium_close(&medium);
	return err;
}

/* The process is gone: its memory is given back, and the medium stays as it was when it died. */
static void bury(struct machine *machine, struct pmemstream **stream)
{
	if (!machine->dead)
		machine_die(machine);
	if (*stream) {
		atomic_store(&(*stream)->failed, EIO);
		pmemstream_delete(stream);
	}
	machine_bury(machine);
}

/* The power fails, and nothing is left but what could not be lost. */
static void lose_power(struct machine *machine)
{
	char *image = malloc(MEDIUM_BYTES);

	assert_non_null(image);
	memcpy(image, cut_durable(machine->now), MEDIUM_BYTES);
	cut_restart(machine->now, image);
	free(image);
}

static void append(struct pmemstream *stream, struct pmemstream_region region, struct pmemstream_entry *entry)
{
	assert_int_equal(pmemstream_append(stream, region, NULL, "12345678", 8, entry), 0);
}

static void damage(struct machine *machine, struct pmemstream_entry entry)
{
	char *image = malloc(MEDIUM_BYTES);

	assert_non_null(image);
	memcpy(image, cut_durable(machine->now), MEDIUM_BYTES);
	image[entry.offset + FORMAT_ENTRY_HEADER_BYTES] ^= 1;
	cut_restart(machine->now, image);
	free(image);
}

/* A slot of the only region, valid on the medium, has P = 1. */
static bool slot_says_durable(struct machine *machine, struct pmemstream_region region)
{
	const unsigned char *base = cut_durable(machine->now);

	for (unsigned i = 0; i < 2; i++) {
		uint64_t off = region.offset + FORMAT_REGION_SLOT_OFF + i * FORMAT_SLOT_BYTES;
		struct format_region_slot slot;
		if (format_region_slot_decode(base + off, options.salt, 1, off, &slot) && slot.persisted == 1)
			return true;
	}
	return false;
}

/*
 * The real magic was in the caches only when the creating process was killed; the next one took the stream for created
 * and did not flush the magic. After a power cut the stream was "being created" again, and its entries were lost.
 */
static void a_creation_killed_anywhere_is_durable_once_it_was_opened(void **state)
{
	enum medium_granularity granularity = (enum medium_granularity)(uintptr_t)*state;
	bool died = true;

	for (unsigned n = 1; died && n < EVENTS_MAX; n++) {
		struct pmemstream_region region;
		struct pmemstream_entry entry;
		struct pmemstream *stream;
		struct machine machine;
		begin(&machine, granularity);
		machine_arm(&machine, n);
		open_stream(&machine, &stream);
		died = machine.dead;
		bury(&machine, &stream);
		cut_kill(machine.now);
		assert_int_equal(open_stream(&machine, &stream), 0);
		assert_int_equal(pmemstream_region_allocate(stream, REGION_BYTES, &region), 0);
		append(stream, region, &entry);
		bury(&machine, &stream);
		lose_power(&machine);
		assert_int_equal(open_stream(&machine, &stream), 0);
		assert_int_equal(pmemstream_committed_timestamp(stream), 1);
		assert_memory_equal(pmemstream_entry_data(stream, entry), "12345678", 8);
		bury(&machine, &stream);
		machine_free(&machine);
	}
	assert_false(died);
}

/*
 * The region's slot of a round was durable, the stream's was not. The only entry was damaged and dropped without a
 * word, though the slot shows that it was durable; the slot began to count with the next round and pointed behind the
 * hole.
 */
static void a_slot_of_a_round_that_did_not_complete_vouches_for_its_entries(void **state)
{
	enum medium_granularity granularity = (enum medium_granularity)(uintptr_t)*state;
	unsigned vouched = 0;
	bool died = true;

	for (unsigned n = 1; died && n < EVENTS_MAX; n++) {
		struct pmemstream_region region;
		struct pmemstream_entry entry;
		struct pmemstream *stream;
		struct machine machine;
		begin(&machine, granularity);
		assert_int_equal(open_stream(&machine, &stream), 0);
		assert_int_equal(pmemstream_region_allocate(stream, REGION_BYTES, &region), 0);
		append(stream, region, &entry);
		machine_arm(&machine, n);
		pthread_mutex_lock(&stream->admin);
		checkpoint_round(stream, 0);
		pthread_mutex_unlock(&stream->admin);
		died = machine.dead;
		bury(&machine, &stream);
		lose_power(&machine);
		damage(&machine, entry);
		if (slot_says_durable(&machine, region)) {
			vouched++;
			if (open_stream(&machine, &stream) == 0) {
				/* The round completed: the entry lies in front of the slots, and reading it reports it.
				 */
				assert_int_equal(pmemstream_committed_timestamp(stream), 1);
				assert_null(pmemstream_entry_data(stream, entry));
			} else {
				assert_int_equal(errno, EBADMSG);
			}
			bury(&machine, &stream);
		}
		machine_free(&machine);
	}
	assert_false(died);
	assert_true(vouched >= 2);
}

/* After a failed sync the stream was deleted under a mover that still copied into the map. */
static void closing_after_a_failed_sync_finishes_the_copies(void **state)
{
	struct pmemstream_region region;
	struct pmemstream *stream;
	struct machine machine;
	struct mover mover;

	(void)state;
	begin(&machine, MEDIUM_PAGE);
	mover_init(&mover, &machine);
	assert_int_equal(open_stream(&machine, &stream), 0);
	assert_int_equal(pmemstream_region_allocate(stream, REGION_BYTES, &region), 0);
	mover.next.polls = 3;
	assert_int_equal(pmemstream_async_append(stream, &mover.vdm, region, NULL, "12345678", 8, NULL), 0);
	cut_fail_sync(machine.now, 1, EIO, false);
	assert_int_equal(pmemstream_region_allocate(stream, REGION_BYTES, &region), -1);
	assert_int_equal(errno, EIO);
	assert_int_equal(mover_count(&mover), 1);
	pmemstream_delete(&stream);
	assert_int_equal(mover_count(&mover), 0);
	machine_free(&machine);
}

static void damage_stream_slot_in_use(struct machine *machine)
{
	char image[MEDIUM_BYTES];
	uint64_t used_off = 0, highest = 0;

	memcpy(image, cut_durable(machine->now), MEDIUM_BYTES);
	for (unsigned i = 0; i < 2; i++) {
		uint64_t off = FORMAT_STREAM_SLOT_OFF + i * FORMAT_STREAM_SLOT_STRIDE;
		struct format_stream_slot slot;
		if (!format_stream_slot_decode((unsigned char *)image + off, options.salt, off, &slot) ||
		    slot.sequence < highest)
			continue;
		highest = slot.sequence;
		used_off = off;
	}
	assert_int_not_equal(used_off, 0);
	image[used_off + 17] ^= 1;
	cut_restart(machine->now, image);
}

/* The only witness of the timestamps of a freed region was the stream slot; when it was damaged, they were used again.
 */
static void timestamps_of_a_freed_region_outlive_the_stream_slot(void **state)
{
	struct pmemstream_region region;
	struct pmemstream_entry entry;
	struct pmemstream *stream;
	struct machine machine;

	(void)state;
	begin(&machine, MEDIUM_CACHE_LINE);
	assert_int_equal(open_stream(&machine, &stream), 0);
	assert_int_equal(pmemstream_region_allocate(stream, REGION_BYTES, &region), 0);
	append(stream, region, &entry);
	assert_int_equal(pmemstream_region_free(stream, region), 0);
	bury(&machine, &stream);
	lose_power(&machine);
	damage_stream_slot_in_use(&machine);
	assert_int_equal(open_stream(&machine, &stream), -1);
	assert_int_equal(errno, EBADMSG);
	machine_free(&machine);
}

static bool has_region(struct pmemstream *stream)
{
	return stream->extents.first;
}

/*
 * The stream slot in use was damaged while a record was pending: opening took the older one, did not count the record,
 * and raised the epoch to that of the record, so that it counted at the opening after.
 */
static void a_record_that_did_not_count_never_does(void **state)
{
	unsigned reported = 0;
	bool died = true;

	(void)state;
	for (unsigned n = 1; died && n < EVENTS_MAX; n++) {
		struct pmemstream_region region;
		struct pmemstream *stream;
		struct machine machine;
		begin(&machine, MEDIUM_CACHE_LINE);
		assert_int_equal(open_stream(&machine, &stream), 0);
		machine_arm(&machine, n);
		pmemstream_region_allocate(stream, REGION_BYTES, &region);
		died = machine.dead;
		bury(&machine, &stream);
		lose_power(&machine);
		damage_stream_slot_in_use(&machine);
		if (open_stream(&machine, &stream) == 0) {
			bool had = has_region(stream);
			bury(&machine, &stream);
			cut_kill(machine.now);
			assert_int_equal(open_stream(&machine, &stream), 0);
			assert_int_equal(has_region(stream), had);
		} else {
			assert_int_equal(errno, EBADMSG);
			reported++;
		}
		bury(&machine, &stream);
		machine_free(&machine);
	}
	assert_false(died);
	assert_true(reported >= 2);
}

enum { RECORD_BYTES = 24 };

/* A user's record that ends with its own CRC32C. */
static void make_record(unsigned char *record, int byte)
{
	memset(record, byte, RECORD_BYTES - 4);
	le32_store(record + RECORD_BYTES - 4, crc32c(0, record, RECORD_BYTES - 4));
}

/*
 * The place of a freed region was used again, and of a new entry only the header reached the medium. What an older
 * record had left behind it had the CRC32C of the new data, as all records that end with their own do.
 */
static void an_old_record_with_its_own_crc_does_not_pass_for_a_new_one(void **state)
{
	struct data_mover_sync *mover = data_mover_sync_new();
	unsigned char older[RECORD_BYTES], newer[RECORD_BYTES];
	struct pmemstream_region region;
	struct pmemstream_entry first, second;
	struct pmemstream *stream;
	struct machine machine;
	char image[MEDIUM_BYTES];

	(void)state;
	make_record(older, 1);
	make_record(newer, 2);
	begin(&machine, MEDIUM_CACHE_LINE);
	assert_int_equal(open_stream(&machine, &stream), 0);
	assert_int_equal(pmemstream_region_allocate(stream, REGION_BYTES, &region), 0);
	assert_int_equal(pmemstream_append(stream, region, NULL, older, RECORD_BYTES, &first), 0);
	assert_int_equal(pmemstream_region_free(stream, region), 0);
	assert_int_equal(pmemstream_region_allocate(stream, REGION_BYTES, &region), 0);
	assert_int_equal(pmemstream_async_append(stream, data_mover_sync_get_vdm(mover), region, NULL, newer,
						 RECORD_BYTES, &second),
			 0);
	assert_int_equal(second.offset, first.offset);
	memcpy(image, cut_durable(machine.now), MEDIUM_BYTES);
	memcpy(image + second.offset, cut_medium(machine.now)->base + second.offset, FORMAT_ENTRY_HEADER_BYTES);
	bury(&machine, &stream);
	cut_restart(machine.now, image);
	assert_int_equal(open_stream(&machine, &stream), 0);
	assert_int_equal(pmemstream_committed_timestamp(stream), 1);
	bury(&machine, &stream);
	machine_free(&machine);
	data_mover_sync_delete(mover);
}

static struct pmemstream *shared;
static struct medium_ops interrupted;
static struct cut *cut_of_shared;

static void *poll_persisted(void *context)
{
	(void)context;
	pmemstream_wait_persisted(shared, 2, 0);
	return NULL;
}

/* In front of the first sync another thread leads a group, and that sync is to fail. */
static int sync_beside_another(struct medium *medium, const void *at, size_t bytes)
{
	pthread_t thread;

	shared->medium.ops = cut_medium(cut_of_shared)->ops;
	cut_fail_sync(cut_of_shared, 1, EIO, false);
	assert_int_equal(pthread_create(&thread, NULL, poll_persisted, NULL), 0);
	assert_int_equal(pthread_join(thread, NULL), 0);
	return shared->medium.ops->sync(medium, at, bytes);
}

/*
 * A group's sync failed beside a round and left the round's pages clean. The round's own sync then succeeded without
 * writing its slots, and the stream slot declared them complete: all entries of the region were gone.
 */
static void a_round_beside_a_sync_that_fails_does_not_complete(void **state)
{
	struct data_mover_sync *mover = data_mover_sync_new();
	struct pmemstream_region region;
	struct pmemstream_entry entry;
	struct machine machine;

	(void)state;
	begin(&machine, MEDIUM_PAGE);
	assert_int_equal(open_stream(&machine, &shared), 0);
	assert_int_equal(pmemstream_region_allocate(shared, REGION_BYTES, &region), 0);
	append(shared, region, &entry);
	assert_int_equal(pmemstream_async_append(shared, data_mover_sync_get_vdm(mover), region, NULL, "2", 1, NULL),
			 0);
	cut_of_shared = machine.now;
	interrupted = *shared->medium.ops;
	interrupted.sync = sync_beside_another;
	shared->medium.ops = &interrupted;
	pthread_mutex_lock(&shared->admin);
	int err = checkpoint_round(shared, 0);
	pthread_mutex_unlock(&shared->admin);
	assert_int_equal(err, -1);
	assert_int_equal(errno, EIO);
	bury(&machine, &shared);
	lose_power(&machine);
	assert_int_equal(open_stream(&machine, &shared), 0);
	assert_memory_equal(pmemstream_entry_data(shared, entry), "12345678", 8);
	bury(&machine, &shared);
	machine_free(&machine);
	data_mover_sync_delete(mover);
}

#define ON(test, granularity)                                                                                          \
	{                                                                                                              \
#test " (" #granularity ")", test, NULL, NULL, (void *)(uintptr_t)(granularity)                        \
	}

int main(void)
{
	const struct CMUnitTest tests[] = {
		ON(a_creation_killed_anywhere_is_durable_once_it_was_opened, MEDIUM_BYTE),
		ON(a_creation_killed_anywhere_is_durable_once_it_was_opened, MEDIUM_CACHE_LINE),
		ON(a_creation_killed_anywhere_is_durable_once_it_was_opened, MEDIUM_PAGE),
		ON(a_slot_of_a_round_that_did_not_complete_vouches_for_its_entries, MEDIUM_BYTE),
		ON(a_slot_of_a_round_that_did_not_complete_vouches_for_its_entries, MEDIUM_CACHE_LINE),
		ON(a_slot_of_a_round_that_did_not_complete_vouches_for_its_entries, MEDIUM_PAGE),
		cmocka_unit_test(timestamps_of_a_freed_region_outlive_the_stream_slot),
		cmocka_unit_test(a_record_that_did_not_count_never_does),
		cmocka_unit_test(an_old_record_with_its_own_crc_does_not_pass_for_a_new_one),
		cmocka_unit_test(a_round_beside_a_sync_that_fails_does_not_complete),
		cmocka_unit_test(closing_after_a_failed_sync_finishes_the_copies),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
