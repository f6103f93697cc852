/*
 * base.c: tests of src/base: checksums, checked arithmetic, byte order, error messages, thread slots.
 */
#include "base/checked.h"
#include "base/crc32c.h"
#include "base/crc64.h"
#include "base/endian.h"
#include "base/error.h"
#include "base/thread_slot.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static void crc32c_gives_the_check_value_of_rfc_3720(void **state)
{
	(void)state;
	unsigned char ascending[32];

	for (unsigned i = 0; i < sizeof(ascending); i++)
		ascending[i] = (unsigned char)i;
	assert_int_equal(crc32c(0, "123456789", 9), 0xe3069283);
	assert_int_equal(crc32c(0, ascending, sizeof(ascending)), 0x46dd794e);
	assert_int_equal(crc32c(0, NULL, 0), 0);
}

static void crc32c_in_pieces_equals_crc32c_at_once(void **state)
{
	(void)state;
	char data[257];

	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (char)(i * 7 + 3);
	for (size_t cut = 0; cut <= sizeof(data); cut++)
		assert_int_equal(crc32c(crc32c(0, data, cut), data + cut, sizeof(data) - cut),
				 crc32c(0, data, sizeof(data)));
}

static void crc32c_behind_a_word_equals_crc32c_of_both(void **state)
{
	(void)state;
	unsigned char both[8 + 200];

	for (size_t i = 8; i < sizeof(both); i++)
		both[i] = (unsigned char)(i * 11 + 5);
	for (size_t bytes = 0; bytes <= sizeof(both) - 8; bytes++) {
		uint64_t word = UINT64_C(0x0123456789abcdef) * (bytes + 1);
		le64_store(both, word);
		assert_int_equal(crc32c_behind(0x5eed, word, both + 8, bytes), crc32c(0x5eed, both, 8 + bytes));
	}
}

static void crc64_gives_its_check_value_at_once_and_in_pieces(void **state)
{
	(void)state;

	assert_true(crc64(0, "123456789", 9) == UINT64_C(0xdcf90fb7d3a994f3));
	assert_true(crc64(crc64(0, "1234", 4), "56789", 5) == UINT64_C(0xdcf90fb7d3a994f3));
	assert_true(crc64(0, NULL, 0) == 0);
}

static void checked_arithmetic_refuses_what_wraps(void **state)
{
	(void)state;
	uint64_t result = 7;

	assert_true(checked_add(UINT64_MAX - 1, 1, &result));
	assert_true(result == UINT64_MAX);
	assert_false(checked_add(UINT64_MAX, 1, &result));
	assert_false(checked_mul(UINT64_MAX / 2, 3, &result));
	assert_true(checked_round_up(65, 64, &result));
	assert_true(result == 128);
	assert_false(checked_round_up(UINT64_MAX - 5, 64, &result));
	assert_true(is_power_of_two(64));
	assert_false(is_power_of_two(0));
	assert_false(is_power_of_two(96));
}

static void integers_on_media_are_little_endian_at_any_address(void **state)
{
	(void)state;
	unsigned char bytes[16] = {0};

	le64_store(bytes + 1, 0x0102030405060708);
	assert_int_equal(bytes[1], 8);
	assert_int_equal(bytes[8], 1);
	assert_true(le64_load(bytes + 1) == 0x0102030405060708);
	le32_store(bytes + 3, 0xa1b2c3d4);
	assert_int_equal(bytes[3], 0xd4);
	assert_true(le32_load(bytes + 3) == 0xa1b2c3d4);
	le16_store(bytes + 5, 0xbeef);
	assert_int_equal(bytes[5], 0xef);
	assert_int_equal(le16_load(bytes + 5), 0xbeef);
}

static void each_level_prefixes_the_message_and_errno_stays(void **state)
{
	(void)state;
	assert_int_equal(error_set(EBADMSG, "entry at %d: checksum mismatch", 8448), -1);
	assert_int_equal(error_prefix("region \"%s\" at %d", "web", 8192), -1);
	assert_string_equal(error_message(), "region \"web\" at 8192: entry at 8448: checksum mismatch");
	assert_int_equal(errno, EBADMSG);
	errno = ENOSPC;
	error_system("fallocate of %d bytes", 17);
	assert_string_equal(error_message(), "fallocate of 17 bytes: No space left on device");
	assert_int_equal(errno, ENOSPC);
	error_clear();
	assert_string_equal(error_message(), "");
}

static void a_message_longer_than_the_buffer_is_cut_not_overrun(void **state)
{
	(void)state;
	static char longest[ERROR_MESSAGE_MAX * 2];

	memset(longest, 'x', sizeof(longest) - 1);
	error_set(EINVAL, "%s", longest);
	assert_int_equal(strlen(error_message()), ERROR_MESSAGE_MAX - 1);
	for (int i = 0; i < 5; i++)
		error_prefix("%s", longest);
	assert_int_equal(strlen(error_message()), ERROR_MESSAGE_MAX - 1);
	assert_int_equal(errno, EINVAL);
}

enum { MANY_THREADS = 200 };
static pthread_barrier_t all_have_one;

static void *take_slot(void *number)
{
	*(unsigned *)number = thread_slot();
	pthread_barrier_wait(&all_have_one);
	return NULL;
}

static void living_threads_never_share_a_slot_but_the_last(void **state)
{
	(void)state;
	for (int round = 0; round < 3; round++) {
		pthread_t threads[MANY_THREADS];
		unsigned numbers[MANY_THREADS];
		unsigned users[THREAD_SLOT_COUNT] = {0};
		unsigned own = thread_slot();

		pthread_barrier_init(&all_have_one, NULL, MANY_THREADS);
		for (int i = 0; i < MANY_THREADS; i++)
			assert_int_equal(pthread_create(&threads[i], NULL, take_slot, &numbers[i]), 0);
		for (int i = 0; i < MANY_THREADS; i++)
			pthread_join(threads[i], NULL);
		pthread_barrier_destroy(&all_have_one);
		users[own]++;
		for (int i = 0; i < MANY_THREADS; i++)
			users[numbers[i]]++;
		for (int slot = 0; slot < THREAD_SLOT_SHARED; slot++)
			assert_int_equal(users[slot], 1); /* more threads than slots: each is taken, by one */
		assert_int_equal(users[THREAD_SLOT_SHARED], MANY_THREADS + 1 - THREAD_SLOT_SHARED);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(crc32c_gives_the_check_value_of_rfc_3720),
		cmocka_unit_test(crc32c_in_pieces_equals_crc32c_at_once),
		cmocka_unit_test(crc32c_behind_a_word_equals_crc32c_of_both),
		cmocka_unit_test(crc64_gives_its_check_value_at_once_and_in_pieces),
		cmocka_unit_test(checked_arithmetic_refuses_what_wraps),
		cmocka_unit_test(integers_on_media_are_little_endian_at_any_address),
		cmocka_unit_test(each_level_prefixes_the_message_and_errno_stays),
		cmocka_unit_test(a_message_longer_than_the_buffer_is_cut_not_overrun),
		cmocka_unit_test(living_threads_never_share_a_slot_but_the_last),
	};

	return cmocka_run_group_tests_name("base", tests, NULL, NULL);
}
