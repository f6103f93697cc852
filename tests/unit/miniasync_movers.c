/*
 * miniasync_movers.c: tests of what the two data movers have in common.
 */
#include <libminiasync.h>

#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { SYNC, THREADS, MOVER_KINDS };

struct mover {
	struct data_mover_sync *sync;
	struct data_mover_threads *threads;
	struct vdm *vdm;
};

static struct mover mover_new(int kind)
{
	struct mover mover = {0};

	if (kind == SYNC) {
		mover.sync = data_mover_sync_new();
		assert_non_null(mover.sync);
		mover.vdm = data_mover_sync_get_vdm(mover.sync);
	} else {
		mover.threads = data_mover_threads_new(2, 4, FUTURE_NOTIFIER_WAKER);
		assert_non_null(mover.threads);
		mover.vdm = data_mover_threads_get_vdm(mover.threads);
	}
	return mover;
}

static void mover_delete(struct mover *mover)
{
	data_mover_sync_delete(mover->sync);
	data_mover_threads_delete(mover->threads);
}

static void finish(struct vdm_operation_future *future)
{
	while (future_poll(&future->base, NULL) != FUTURE_STATE_COMPLETE)
		sched_yield();
}

static void count_wake(void *data)
{
	atomic_fetch_add((atomic_int *)data, 1);
}

static void fill(char *at, size_t bytes, unsigned seed)
{
	for (size_t i = 0; i < bytes; i++)
		at[i] = (char)(i * 7 + i / 251 + seed);
}

enum { AREA = 5000 };
static const size_t sizes[] = {0, 1, 7, 15, 16, 63, 64, 65, 127, 128, 200, 255, 1000, 4096};

/* Each operation, size, alignment and flag, against the C library; what lies around the destination stays. */
static void compare_with_library(struct vdm *vdm, int operation, size_t bytes, size_t shift, uint64_t flags)
{
	static char from[AREA], to[AREA], expected[AREA];
	struct vdm_operation_future future;
	void *dest = to + 100 + shift;

	fill(from, AREA, 1);
	fill(to, AREA, 2);
	memcpy(expected, to, AREA);
	switch (operation) {
	case 0:
		memcpy(expected + 100 + shift, from + 50 + shift / 3, bytes);
		future = vdm_memcpy(vdm, dest, from + 50 + shift / 3, bytes, flags);
		break;
	case 1:
		memmove(expected + 100 + shift, expected + 80, bytes);
		future = vdm_memmove(vdm, dest, to + 80, bytes, flags);
		break;
	case 2:
		memmove(expected + 100 + shift, expected + 300, bytes);
		future = vdm_memmove(vdm, dest, to + 300, bytes, flags);
		break;
	case 3:
		memset(expected + 100 + shift, 0xe7, bytes);
		future = vdm_memset(vdm, dest, 0xe7, bytes, flags);
		break;
	default:
		future = vdm_flush(vdm, dest, bytes, flags);
		break;
	}
	finish(&future);
	assert_int_equal(FUTURE_OUTPUT(&future)->result, VDM_SUCCESS);
	assert_ptr_equal(FUTURE_OUTPUT(&future)->output.memset.str, operation > 3 ? NULL : dest);
	assert_memory_equal(to, expected, AREA);
}

static void each_operation_does_what_the_c_library_does(void **state)
{
	(void)state;
	for (int kind = 0; kind < MOVER_KINDS; kind++) {
		struct mover mover = mover_new(kind);

		for (int operation = 0; operation < 5; operation++)
			for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++)
				for (size_t shift = 0; shift < 66; shift += 13)
					for (uint64_t flags = 0; flags <= VDM_F_VALID_FLAGS; flags++)
						compare_with_library(mover.vdm, operation, sizes[i], shift, flags);
		mover_delete(&mover);
	}
}

static void the_sync_mover_completes_in_the_first_poll_and_takes_no_notifier(void **state)
{
	(void)state;
	struct mover mover = mover_new(SYNC);
	atomic_int wakes = 0;
	struct future_notifier notifier = {.waker = {&wakes, count_wake}, .notifier_used = FUTURE_NOTIFIER_WAKER};
	char to[4] = "", from[4] = "abc";
	struct vdm_operation_future future = vdm_memcpy(mover.vdm, to, from, sizeof(to), 0);

	assert_false(future_has_property(&future.base, FUTURE_PROPERTY_ASYNC));
	assert_string_equal(to, "");
	assert_int_equal(future_poll(&future.base, &notifier), FUTURE_STATE_COMPLETE);
	assert_string_equal(to, "abc");
	assert_int_equal(notifier.notifier_used, FUTURE_NOTIFIER_NONE);
	mover_delete(&mover);
	assert_int_equal(wakes, 0);
}

static void a_mover_promises_only_what_it_can_know(void **state)
{
	(void)state;
	for (int kind = 0; kind < MOVER_KINDS; kind++) {
		struct mover mover = mover_new(kind);

		assert_true(vdm_is_supported(mover.vdm, VDM_F_NO_CACHE_HINT));
		assert_false(vdm_is_supported(mover.vdm, VDM_F_MEM_DURABLE));
		mover_delete(&mover);
	}
}

static void an_unknown_operation_is_reported_as_corrupted(void **state)
{
	(void)state;
	for (int kind = 0; kind < MOVER_KINDS; kind++) {
		struct mover mover = mover_new(kind);
		char to[4] = "abc";
		struct vdm_operation_future future = vdm_memset(mover.vdm, to, 0, sizeof(to), 0);

		future.data.operation.type = (enum vdm_operation_type)77;
		finish(&future);
		assert_int_equal(FUTURE_OUTPUT(&future)->result, VDM_ERROR_JOB_CORRUPTED);
		assert_string_equal(to, "abc");
		mover_delete(&mover);
	}
}

static void futures_of_a_deleted_mover_complete(void **state)
{
	(void)state;
	for (int kind = 0; kind < MOVER_KINDS; kind++) {
		struct mover mover = mover_new(kind);
		atomic_int wakes = 0;
		struct future_notifier notifier = {.waker = {&wakes, count_wake},
						   .notifier_used = FUTURE_NOTIFIER_WAKER};
		char to[3][4] = {""};
		struct vdm_operation_future futures[3];

		for (int i = 0; i < 3; i++)
			futures[i] = vdm_memset(mover.vdm, to[i], 'a' + i, 3, 0);
		future_poll(&futures[0].base, NULL);
		mover_delete(&mover);
		for (int i = 0; i < 3; i++) {
			assert_int_equal(future_poll(&futures[i].base, &notifier), FUTURE_STATE_COMPLETE);
			assert_int_equal(FUTURE_OUTPUT(&futures[i])->result, VDM_SUCCESS);
		}
		assert_int_equal(notifier.notifier_used, FUTURE_NOTIFIER_NONE);
		assert_string_equal(to[0], "aaa");
		assert_string_equal(to[1], "bbb");
		assert_string_equal(to[2], "ccc");
		assert_int_equal(wakes, 0);
	}
}

static void an_operation_given_up_before_it_was_begun_says_that_nothing_was_done(void **state)
{
	(void)state;
	struct mover mover = mover_new(THREADS);
	struct vdm_operation operation = {.type = VDM_OPERATION_MEMSET};
	struct vdm_operation_output output;
	void *data = mover.vdm->op_new(mover.vdm, operation.type);

	mover.vdm->op_delete(data, &operation, &output);
	assert_int_equal(output.result, VDM_ERROR_JOB_CORRUPTED);
	mover_delete(&mover);
}

struct copies {
	FUTURE_CHAIN_ENTRY(struct vdm_operation_future, first);
	FUTURE_CHAIN_ENTRY_LAST(struct vdm_operation_future, second);
};

struct copies_output {
	int mapped;
};

FUTURE(copies_future, struct copies, struct copies_output);

static void take_source(struct future_context *entry, struct future_context *next, void *arg)
{
	struct vdm_operation_output *output = future_context_get_output(entry);
	struct vdm_operation_data *data = future_context_get_data(next);

	(void)arg;
	data->operation.data.memcpy.src = output->output.memcpy.dest;
}

static void count_map(struct future_context *entry, struct future_context *next, void *arg)
{
	struct copies_output *output = future_context_get_output(next);

	(void)entry;
	(void)arg;
	output->mapped++;
}

static void a_chain_copies_what_its_first_entry_copied(void **state)
{
	(void)state;
	for (int kind = 0; kind < MOVER_KINDS; kind++) {
		struct mover mover = mover_new(kind);
		char from[64], between[64] = "", to[64] = "";
		struct copies_future chain;

		fill(from, sizeof(from), 3);
		memset(&chain, 0, sizeof(chain));
		FUTURE_CHAIN_ENTRY_INIT(&chain.data.first, vdm_memcpy(mover.vdm, between, from, sizeof(from), 0),
					take_source, NULL);
		FUTURE_CHAIN_ENTRY_INIT(&chain.data.second, vdm_memcpy(mover.vdm, to, NULL, sizeof(to), 0), count_map,
					NULL);
		FUTURE_CHAIN_INIT(&chain);
		assert_int_equal(future_has_property(&chain.base, FUTURE_PROPERTY_ASYNC), kind == THREADS);
		while (future_poll(&chain.base, NULL) != FUTURE_STATE_COMPLETE)
			sched_yield();
		mover_delete(&mover);
		assert_memory_equal(to, from, sizeof(to));
		assert_int_equal(chain.output.mapped, 1);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_operation_does_what_the_c_library_does),
		cmocka_unit_test(the_sync_mover_completes_in_the_first_poll_and_takes_no_notifier),
		cmocka_unit_test(a_mover_promises_only_what_it_can_know),
		cmocka_unit_test(an_unknown_operation_is_reported_as_corrupted),
		cmocka_unit_test(futures_of_a_deleted_mover_complete),
		cmocka_unit_test(an_operation_given_up_before_it_was_begun_says_that_nothing_was_done),
		cmocka_unit_test(a_chain_copies_what_its_first_entry_copied),
	};

	return cmocka_run_group_tests_name("miniasync_movers", tests, NULL, NULL);
}
