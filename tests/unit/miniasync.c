/*
 * miniasync.c: tests of what is inline in libminiasync's headers: futures, chains, the calls of a mover.
 */
#include "counted.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void constants_and_sizes_are_those_that_callers_were_compiled_with(void **state)
{
	(void)state;
	struct wait_data {
		void *stream;
		uint64_t words[4];
	};
	struct wait_output {
		int error_code;
	};
	FUTURE(wait_fut, struct wait_data, struct wait_output);
	static const struct {
		const char *what;
		size_t found, expected;
	} rows[] = {
		{"FUTURE_STATE_IDLE", FUTURE_STATE_IDLE, 0},
		{"FUTURE_STATE_COMPLETE", FUTURE_STATE_COMPLETE, 1},
		{"FUTURE_STATE_RUNNING", FUTURE_STATE_RUNNING, 2},
		{"FUTURE_NOTIFIER_NONE", FUTURE_NOTIFIER_NONE, 0},
		{"FUTURE_NOTIFIER_WAKER", FUTURE_NOTIFIER_WAKER, 1},
		{"FUTURE_NOTIFIER_POLLER", FUTURE_NOTIFIER_POLLER, 2},
		{"FUTURE_PROPERTY_ASYNC", FUTURE_PROPERTY_ASYNC, 0},
		{"FUTURE_CHAIN_FLAG_ENTRY_LAST", FUTURE_CHAIN_FLAG_ENTRY_LAST, 1},
		{"FUTURE_CHAIN_FLAG_ENTRY_PROCESSED", FUTURE_CHAIN_FLAG_ENTRY_PROCESSED, 2},
		{"FUTURE_CHAIN_VALID_FLAGS", FUTURE_CHAIN_VALID_FLAGS, 3},
		{"VDM_OPERATION_MEMCPY", VDM_OPERATION_MEMCPY, 0},
		{"VDM_OPERATION_MEMMOVE", VDM_OPERATION_MEMMOVE, 1},
		{"VDM_OPERATION_MEMSET", VDM_OPERATION_MEMSET, 2},
		{"VDM_OPERATION_FLUSH", VDM_OPERATION_FLUSH, 3},
		{"VDM_SUCCESS", VDM_SUCCESS, 0},
		{"VDM_ERROR_OUT_OF_MEMORY", VDM_ERROR_OUT_OF_MEMORY, 1},
		{"VDM_ERROR_JOB_CORRUPTED", VDM_ERROR_JOB_CORRUPTED, 2},
		{"VDM_F_MEM_DURABLE", VDM_F_MEM_DURABLE, 1},
		{"VDM_F_NO_CACHE_HINT", VDM_F_NO_CACHE_HINT, 2},
		{"VDM_F_VALID_FLAGS", VDM_F_VALID_FLAGS, 3},
		{"VDM_OPERATION_DATA_MAX_SIZE", VDM_OPERATION_DATA_MAX_SIZE, 40},
		{"struct future_context", sizeof(struct future_context), 24},
		{"struct future", sizeof(struct future), 40},
		{"struct future_notifier", sizeof(struct future_notifier), 32},
		{"struct vdm_operation", sizeof(struct vdm_operation), 48},
		{"struct vdm_operation_data", sizeof(struct vdm_operation_data), 64},
		{"struct vdm_operation_output", sizeof(struct vdm_operation_output), 16},
		{"struct vdm_operation_future", sizeof(struct vdm_operation_future), 120},
		{"struct vdm", sizeof(struct vdm), 48},
		{"struct wait_fut", sizeof(struct wait_fut), 88},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++)
		if (rows[i].found != rows[i].expected)
			fail_msg("%s is %zu, not %zu", rows[i].what, rows[i].found, rows[i].expected);
}

static void a_future_is_polled_until_it_is_complete_and_never_again(void **state)
{
	(void)state;
	struct counted future = counted_new('a', 3);
	struct future_notifier notifier = {.notifier_used = FUTURE_NOTIFIER_NONE};

	forget();
	future.data.input = 41;
	assert_int_equal(FUTURE_STATE(&future), FUTURE_STATE_IDLE);
	assert_int_equal(future_poll(FUTURE_AS_RUNNABLE(&future), NULL), FUTURE_STATE_RUNNING);
	assert_null(last_notifier);
	assert_int_equal(future_poll(FUTURE_AS_RUNNABLE(&future), &notifier), FUTURE_STATE_RUNNING);
	assert_ptr_equal(last_notifier, &notifier);
	assert_int_equal(FUTURE_STATE(&future), FUTURE_STATE_RUNNING);
	FUTURE_BUSY_POLL(&future);
	assert_int_equal(future_poll(FUTURE_AS_RUNNABLE(&future), NULL), FUTURE_STATE_COMPLETE);
	assert_int_equal(FUTURE_STATE(&future), FUTURE_STATE_COMPLETE);
	assert_int_equal(FUTURE_DATA(&future)->polls, 3);
	assert_int_equal(FUTURE_OUTPUT(&future)->result, 42);
}

static void a_future_complete_from_the_beginning_has_no_task_but_sizes(void **state)
{
	(void)state;
	struct counted future;

	memset(&future, 0xa5, sizeof(future));
	future.output.result = 7;
	FUTURE_INIT_COMPLETE(&future);
	assert_int_equal(future_poll(&future.base, NULL), FUTURE_STATE_COMPLETE);
	assert_int_equal(FUTURE_OUTPUT(&future)->result, 7);
	assert_int_equal(future_context_get_size(&future.base.context),
			 sizeof(struct counted_data) + sizeof(struct counted_output));
	assert_false(future_has_property(&future.base, FUTURE_PROPERTY_ASYNC));
}

static void the_context_finds_data_and_output_of_any_type(void **state)
{
	(void)state;
	struct odd {
		char bytes[3];
	};
	FUTURE(odd_then_word, struct odd, uint64_t);
	FUTURE(word_then_odd, uint64_t, struct odd);
	FUTURE(char_then_short, char, short);
	struct odd_then_word first;
	struct word_then_odd second;
	struct char_then_short third;

	FUTURE_INIT(&first, counted_task);
	FUTURE_INIT(&second, counted_task);
	FUTURE_INIT(&third, counted_task);
	assert_ptr_equal(future_context_get_data(&first.base.context), &first.data);
	assert_ptr_equal(future_context_get_output(&first.base.context), &first.output);
	assert_ptr_equal(future_context_get_data(&second.base.context), &second.data);
	assert_ptr_equal(future_context_get_output(&second.base.context), &second.output);
	assert_ptr_equal(future_context_get_output(&third.base.context), &third.output);
	assert_int_equal(first.base.context.output_size, sizeof(uint64_t));
	assert_false(future_has_property(&first.base, FUTURE_PROPERTY_ASYNC));
	FUTURE_INIT_EXT(&first, counted_task, NULL);
	assert_false(future_has_property(&first.base, FUTURE_PROPERTY_ASYNC));
}

static void mark(void *data)
{
	*(int *)data += 1;
}

static void a_waker_is_called_with_its_data(void **state)
{
	(void)state;
	int woken = 0;
	struct future_waker waker = {.data = &woken, .wake = mark};

	FUTURE_WAKER_WAKE(&waker);
	assert_int_equal(woken, 1);
}

/* A caller's own mover: refuses some times to begin, needs some checks, then does the work in op_delete. */
struct own_mover {
	struct vdm vdm;
	int refusals, checks_needed;
	int news, starts, checks, deletes;
	int token;
	struct vdm_operation seen;
};

static void *own_new(struct vdm *vdm, const enum vdm_operation_type type)
{
	struct own_mover *mover = (struct own_mover *)vdm;

	mover->news++;
	mover->seen.type = type;
	return mover->token ? mover : NULL;
}

static int own_start(void *data, const struct vdm_operation *operation, struct future_notifier *notifier)
{
	struct own_mover *mover = data;

	last_notifier = notifier;
	mover->starts++;
	if (mover->refusals-- > 0)
		return 11;
	assert_int_equal(mover->seen.type, operation->type);
	mover->seen = *operation;
	return 0;
}

static enum future_state own_check(void *data, const struct vdm_operation *operation)
{
	struct own_mover *mover = data;

	(void)operation;
	return ++mover->checks < mover->checks_needed ? FUTURE_STATE_RUNNING : FUTURE_STATE_COMPLETE;
}

static void own_delete(void *data, const struct vdm_operation *operation, struct vdm_operation_output *output)
{
	struct own_mover *mover = data;

	mover->deletes++;
	output->type = operation->type;
	output->result = VDM_SUCCESS;
	output->output.memcpy.dest = operation->data.memcpy.dest;
}

static struct own_mover own_mover_new(void)
{
	return (struct own_mover){
		.vdm = {.op_new = own_new, .op_delete = own_delete, .op_start = own_start, .op_check = own_check},
		.token = 1};
}

static void an_operation_that_cannot_begin_is_begun_again_at_each_poll(void **state)
{
	(void)state;
	struct own_mover mover = own_mover_new();
	struct future_notifier notifier = {.notifier_used = FUTURE_NOTIFIER_NONE};
	char to[4], from[4];

	mover.refusals = 2;
	mover.checks_needed = 2;
	struct vdm_operation_future future = vdm_memcpy(&mover.vdm, to, from, sizeof(to), 0);
	assert_int_equal(FUTURE_STATE(&future), FUTURE_STATE_IDLE);
	assert_int_equal(mover.starts, 0);
	assert_int_equal(future_poll(&future.base, &notifier), FUTURE_STATE_IDLE);
	assert_ptr_equal(last_notifier, &notifier);
	assert_int_equal(future_poll(&future.base, NULL), FUTURE_STATE_IDLE);
	assert_null(last_notifier);
	assert_int_equal(mover.checks, 0);
	assert_int_equal(future_poll(&future.base, NULL), FUTURE_STATE_RUNNING);
	assert_int_equal(mover.starts, 3);
	assert_int_equal(mover.deletes, 0);
	assert_int_equal(future_poll(&future.base, NULL), FUTURE_STATE_COMPLETE);
	assert_int_equal(future_poll(&future.base, NULL), FUTURE_STATE_COMPLETE);
	assert_int_equal(mover.news, 1);
	assert_int_equal(mover.starts, 3);
	assert_int_equal(mover.checks, 2);
	assert_int_equal(mover.deletes, 1);
	assert_int_equal(FUTURE_OUTPUT(&future)->result, VDM_SUCCESS);
	assert_ptr_equal(FUTURE_OUTPUT(&future)->output.memcpy.dest, to);
}

static void each_operation_reaches_the_mover_with_its_arguments(void **state)
{
	(void)state;
	struct own_mover mover = own_mover_new();
	char to[8], from[8];
	struct vdm_operation_future future;

	future = vdm_memcpy(&mover.vdm, to, from, 5, VDM_F_MEM_DURABLE);
	FUTURE_BUSY_POLL(&future);
	assert_int_equal(mover.seen.type, VDM_OPERATION_MEMCPY);
	assert_ptr_equal(mover.seen.data.memcpy.dest, to);
	assert_ptr_equal(mover.seen.data.memcpy.src, from);
	assert_int_equal(mover.seen.data.memcpy.n, 5);
	assert_int_equal(mover.seen.data.memcpy.flags, VDM_F_MEM_DURABLE);

	future = vdm_memmove(&mover.vdm, to, from, 6, VDM_F_NO_CACHE_HINT);
	FUTURE_BUSY_POLL(&future);
	assert_int_equal(mover.seen.type, VDM_OPERATION_MEMMOVE);
	assert_ptr_equal(mover.seen.data.memmove.dest, to);
	assert_ptr_equal(mover.seen.data.memmove.src, from);
	assert_int_equal(mover.seen.data.memmove.n, 6);
	assert_int_equal(mover.seen.data.memmove.flags, VDM_F_NO_CACHE_HINT);

	future = vdm_memset(&mover.vdm, to, 'x', 7, 1ULL << 40);
	FUTURE_BUSY_POLL(&future);
	assert_int_equal(mover.seen.type, VDM_OPERATION_MEMSET);
	assert_ptr_equal(mover.seen.data.memset.str, to);
	assert_int_equal(mover.seen.data.memset.c, 'x');
	assert_int_equal(mover.seen.data.memset.n, 7);
	assert_true(mover.seen.data.memset.flags == 1ULL << 40);

	future = vdm_flush(&mover.vdm, to, 8, 0);
	FUTURE_BUSY_POLL(&future);
	assert_int_equal(mover.seen.type, VDM_OPERATION_FLUSH);
	assert_ptr_equal(mover.seen.data.flush.dest, to);
	assert_int_equal(mover.seen.data.flush.n, 8);
	assert_int_equal(mover.seen.data.flush.flags, 0);
}

static void a_mover_out_of_memory_gives_a_complete_future_that_says_so(void **state)
{
	(void)state;
	struct own_mover mover = own_mover_new();
	char to[4], from[4];

	mover.token = 0;
	struct vdm_operation_future futures[] = {
		vdm_memcpy(&mover.vdm, to, from, sizeof(to), 0),
		vdm_memmove(&mover.vdm, to, from, sizeof(to), 0),
		vdm_memset(&mover.vdm, to, 0, sizeof(to), 0),
		vdm_flush(&mover.vdm, to, sizeof(to), 0),
	};
	for (int i = 0; i < 4; i++) {
		assert_int_equal(FUTURE_STATE(&futures[i]), FUTURE_STATE_COMPLETE);
		assert_int_equal(future_poll(&futures[i].base, NULL), FUTURE_STATE_COMPLETE);
		assert_int_equal(FUTURE_OUTPUT(&futures[i])->result, VDM_ERROR_OUT_OF_MEMORY);
		assert_int_equal(FUTURE_OUTPUT(&futures[i])->type, i);
	}
	assert_int_equal(mover.starts + mover.deletes, 0);
}

static int always(void *future, enum future_property property)
{
	(void)future;
	return property == FUTURE_PROPERTY_ASYNC;
}

static void the_mover_answers_for_the_properties_of_its_futures(void **state)
{
	(void)state;
	struct own_mover mover = own_mover_new();
	char to[4];
	struct vdm_operation_future before = vdm_memset(&mover.vdm, to, 0, sizeof(to), 0);

	vdm_set_has_property_fn(&mover.vdm, always);
	struct vdm_operation_future after = vdm_memset(&mover.vdm, to, 0, sizeof(to), 0);
	assert_false(future_has_property(&before.base, FUTURE_PROPERTY_ASYNC));
	assert_true(future_has_property(&after.base, FUTURE_PROPERTY_ASYNC));
}

static void a_capability_is_supported_if_all_of_its_bits_are(void **state)
{
	(void)state;
	struct vdm vdm = {.capabilities = VDM_F_NO_CACHE_HINT};

	assert_true(vdm_is_supported(&vdm, VDM_F_NO_CACHE_HINT));
	assert_false(vdm_is_supported(&vdm, VDM_F_MEM_DURABLE));
	assert_false(vdm_is_supported(&vdm, VDM_F_MEM_DURABLE | VDM_F_NO_CACHE_HINT));
	vdm.capabilities |= VDM_F_MEM_DURABLE;
	assert_true(vdm_is_supported(&vdm, VDM_F_MEM_DURABLE | VDM_F_NO_CACHE_HINT));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(constants_and_sizes_are_those_that_callers_were_compiled_with),
		cmocka_unit_test(a_future_is_polled_until_it_is_complete_and_never_again),
		cmocka_unit_test(a_future_complete_from_the_beginning_has_no_task_but_sizes),
		cmocka_unit_test(the_context_finds_data_and_output_of_any_type),
		cmocka_unit_test(a_waker_is_called_with_its_data),
		cmocka_unit_test(an_operation_that_cannot_begin_is_begun_again_at_each_poll),
		cmocka_unit_test(each_operation_reaches_the_mover_with_its_arguments),
		cmocka_unit_test(a_mover_out_of_memory_gives_a_complete_future_that_says_so),
		cmocka_unit_test(the_mover_answers_for_the_properties_of_its_futures),
		cmocka_unit_test(a_capability_is_supported_if_all_of_its_bits_are),
	};

	return cmocka_run_group_tests_name("miniasync", tests, NULL, NULL);
}
