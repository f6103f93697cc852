/*
 * miniasync_chain.c: tests of chains: what runs when, with which arguments, how often.
 *
 * The history of a run (see counted.h) is compared as a whole: iB is the init function of entry B, mA the map function
 * of entry A, pA a poll of entry A.
 */
#include "counted.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

struct three {
	FUTURE_CHAIN_ENTRY(struct counted, a);
	FUTURE_CHAIN_ENTRY(struct counted, b);
	FUTURE_CHAIN_ENTRY_LAST(struct counted, c);
	char own[100]; /* a caller's data behind the last entry */
};

struct three_output {
	int result;
};

FUTURE(chain, struct three, struct three_output);

/* Adds 100 to the result on its way to the next input, or to the output of the chain. */
static void hand_over(struct future_context *entry, struct future_context *next, void *arg)
{
	struct counted_data *data = future_context_get_data(entry);
	struct counted_output *output = future_context_get_output(entry);

	assert_int_equal(entry->state, FUTURE_STATE_COMPLETE);
	note('m', data->name);
	if (data->name != 'C') {
		struct counted_data *next_data = future_context_get_data(next);

		assert_int_equal(next->state, FUTURE_STATE_IDLE);
		assert_int_equal(next_data->name, data->name + 1);
		assert_int_equal(next_data->polls, 0);
		next_data->input = output->result + 100;
	} else {
		struct three_output *of_chain = future_context_get_output(next);

		of_chain->result = output->result + 100;
	}
	if (arg)
		*(int *)arg += 1;
}

struct late {
	char name;
	int polls_needed;
	struct future_context *chain;
};

static void init_late(void *future, struct future_context *chain, void *arg)
{
	struct late *late = arg;

	note('i', late->name);
	late->chain = chain;
	*(struct counted *)future = counted_new(late->name, late->polls_needed);
}

static struct chain chain_new(int a, int b, int c)
{
	struct chain chain;

	memset(&chain, 0xa5, sizeof(chain));
	FUTURE_CHAIN_ENTRY_INIT(&chain.data.a, counted_new('A', a), hand_over, NULL);
	FUTURE_CHAIN_ENTRY_INIT(&chain.data.b, counted_new('B', b), hand_over, NULL);
	FUTURE_CHAIN_ENTRY_INIT(&chain.data.c, counted_new('C', c), hand_over, NULL);
	FUTURE_CHAIN_INIT(&chain);
	return chain;
}

static void entries_run_in_order_and_hand_their_results_on(void **state)
{
	(void)state;
	struct chain chain = chain_new(1, 2, 1);
	int mapped = 0;

	forget();
	chain.data.a.map_arg = &mapped;
	assert_int_equal(FUTURE_STATE(&chain), FUTURE_STATE_IDLE);
	assert_int_equal(future_poll(FUTURE_AS_RUNNABLE(&chain), NULL), FUTURE_STATE_RUNNING);
	assert_string_equal(history, "pAmApB");
	assert_true(FUTURE_CHAIN_ENTRY_IS_PROCESSED(&chain.data.a));
	assert_false(FUTURE_CHAIN_ENTRY_IS_PROCESSED(&chain.data.b));
	assert_int_equal(future_poll(FUTURE_AS_RUNNABLE(&chain), NULL), FUTURE_STATE_COMPLETE);
	assert_string_equal(history, "pAmApBpBmBpCmC");
	assert_int_equal(mapped, 1);
	assert_true(FUTURE_CHAIN_ENTRY_IS_PROCESSED(&chain.data.c));
	assert_int_equal(future_poll(FUTURE_AS_RUNNABLE(&chain), NULL), FUTURE_STATE_COMPLETE);
	assert_string_equal(history, "pAmApBpBmBpCmC");
	assert_int_equal(FUTURE_OUTPUT(&chain)->result, 3 + 300);
	assert_int_equal((unsigned char)chain.data.own[0], 0xa5);
}

static void one_poll_goes_on_through_all_entries_that_complete_in_it(void **state)
{
	(void)state;
	struct chain chain = chain_new(1, 1, 1);

	forget();
	assert_int_equal(future_poll(FUTURE_AS_RUNNABLE(&chain), NULL), FUTURE_STATE_COMPLETE);
	assert_string_equal(history, "pAmApBmBpCmC");
}

static void a_lazy_entry_is_initialised_before_the_map_that_feeds_it_and_not_earlier(void **state)
{
	(void)state;
	struct chain chain;
	struct late b = {.name = 'B', .polls_needed = 2}, c = {.name = 'C', .polls_needed = 1};

	memset(&chain, 0xa5, sizeof(chain));
	FUTURE_CHAIN_ENTRY_INIT(&chain.data.a, counted_new('A', 2), hand_over, NULL);
	FUTURE_CHAIN_ENTRY_LAZY_INIT(&chain.data.b, init_late, &b, hand_over, NULL);
	FUTURE_CHAIN_ENTRY_LAZY_INIT(&chain.data.c, init_late, &c, hand_over, NULL);
	FUTURE_CHAIN_INIT(&chain);
	forget();
	assert_true(FUTURE_CHAIN_ENTRY_IS_INITIALIZED(&chain.data.a));
	assert_false(FUTURE_CHAIN_ENTRY_IS_INITIALIZED(&chain.data.b));
	future_poll(FUTURE_AS_RUNNABLE(&chain), NULL);
	assert_string_equal(history, "pA");
	assert_false(FUTURE_CHAIN_ENTRY_IS_INITIALIZED(&chain.data.b));
	future_poll(FUTURE_AS_RUNNABLE(&chain), NULL);
	assert_string_equal(history, "pApAiBmApB");
	assert_true(FUTURE_CHAIN_ENTRY_IS_INITIALIZED(&chain.data.b));
	assert_false(FUTURE_CHAIN_ENTRY_IS_INITIALIZED(&chain.data.c));
	assert_ptr_equal(b.chain, &chain.base.context);
	assert_int_equal(future_poll(FUTURE_AS_RUNNABLE(&chain), NULL), FUTURE_STATE_COMPLETE);
	assert_string_equal(history, "pApAiBmApBpBiCmBpCmC");
	assert_int_equal(FUTURE_OUTPUT(&chain)->result, 3 + 300);
}

static void a_lazy_first_entry_is_initialised_by_the_first_poll(void **state)
{
	(void)state;
	struct chain chain = chain_new(1, 1, 1);
	struct late a = {.name = 'A', .polls_needed = 2};

	FUTURE_CHAIN_ENTRY_LAZY_INIT(&chain.data.a, init_late, &a, hand_over, NULL);
	forget();
	future_poll(FUTURE_AS_RUNNABLE(&chain), NULL);
	assert_string_equal(history, "iApA");
	future_poll(FUTURE_AS_RUNNABLE(&chain), NULL);
	assert_string_equal(history, "iApApAmApBmBpCmC");
}

static void maps_are_optional_and_complete_entries_are_not_polled(void **state)
{
	(void)state;
	struct chain chain = chain_new(1, 1, 1);

	chain.data.a.map = NULL;
	FUTURE_INIT_COMPLETE(&chain.data.b.fut);
	chain.data.b.fut.output.result = 5;
	forget();
	assert_int_equal(future_poll(FUTURE_AS_RUNNABLE(&chain), NULL), FUTURE_STATE_COMPLETE);
	assert_string_equal(history, "pAmBpCmC");
}

static void only_the_last_entry_has_the_flag_of_the_last(void **state)
{
	(void)state;
	struct chain chain = chain_new(1, 1, 1);

	assert_false(FUTURE_CHAIN_ENTRY_IS_LAST(&chain.data.a));
	assert_false(FUTURE_CHAIN_ENTRY_IS_LAST(&chain.data.b));
	assert_true(FUTURE_CHAIN_ENTRY_IS_LAST(&chain.data.c));
	FUTURE_CHAIN_ENTRY_LAZY_INIT(&chain.data.c, init_late, NULL, NULL, NULL);
	assert_int_equal(chain.data.c.flags, FUTURE_CHAIN_FLAG_ENTRY_LAST);
	FUTURE_CHAIN_ENTRY_LAZY_INIT(&chain.data.a, init_late, NULL, NULL, NULL);
	assert_int_equal(chain.data.a.flags, 0);
	assert_int_equal(offsetof(struct three, b), sizeof(chain.data.a));
	assert_int_equal(sizeof(chain.data.a), 40 + sizeof(struct counted));
}

static void a_chain_without_that_flag_ends_where_its_data_ends(void **state)
{
	(void)state;
	struct two {
		FUTURE_CHAIN_ENTRY(struct counted, a);
		FUTURE_CHAIN_ENTRY(struct counted, b);
	};
	FUTURE(plain_chain, struct two, struct three_output);
	struct plain_chain chain;

	memset(&chain, 0xa5, sizeof(chain));
	FUTURE_CHAIN_ENTRY_INIT(&chain.data.a, counted_new('A', 1), NULL, NULL);
	FUTURE_CHAIN_ENTRY_INIT(&chain.data.b, counted_new('B', 1), NULL, NULL);
	FUTURE_CHAIN_INIT(&chain);
	forget();
	assert_int_equal(future_poll(FUTURE_AS_RUNNABLE(&chain), NULL), FUTURE_STATE_COMPLETE);
	assert_string_equal(history, "pApB");
}

static void entries_of_odd_sizes_are_found(void **state)
{
	(void)state;
	struct odd {
		char bytes[13];
	};
	FUTURE(odd_future, struct odd, struct odd);
	struct mixed {
		FUTURE_CHAIN_ENTRY(struct odd_future, a);
		FUTURE_CHAIN_ENTRY(struct counted, b);
		FUTURE_CHAIN_ENTRY(struct odd_future, c);
		FUTURE_CHAIN_ENTRY_LAST(struct counted, d);
		uint64_t own;
	};
	FUTURE(mixed_chain, struct mixed, char);
	struct mixed_chain chain;
	struct odd_future odd;

	memset(&chain, 0xa5, sizeof(chain));
	memset(&odd, 0, sizeof(odd));
	FUTURE_INIT_COMPLETE(&odd);
	FUTURE_CHAIN_ENTRY_INIT(&chain.data.a, odd, NULL, NULL);
	FUTURE_CHAIN_ENTRY_INIT(&chain.data.b, counted_new('B', 2), NULL, NULL);
	FUTURE_CHAIN_ENTRY_INIT(&chain.data.c, odd, NULL, NULL);
	FUTURE_CHAIN_ENTRY_INIT(&chain.data.d, counted_new('D', 1), NULL, NULL);
	FUTURE_CHAIN_INIT(&chain);
	forget();
	FUTURE_BUSY_POLL(&chain);
	assert_string_equal(history, "pBpBpD");
}

static void the_properties_of_a_chain_are_those_of_its_first_unfinished_entry(void **state)
{
	(void)state;
	struct chain chain = chain_new(2, 2, 1);
	struct late c = {.name = 'C', .polls_needed = 2};

	chain.data.b.fut.data.takes = FUTURE_NOTIFIER_WAKER;
	FUTURE_CHAIN_ENTRY_LAZY_INIT(&chain.data.c, init_late, &c, NULL, NULL);
	assert_false(future_has_property(FUTURE_AS_RUNNABLE(&chain), FUTURE_PROPERTY_ASYNC));
	future_poll(FUTURE_AS_RUNNABLE(&chain), NULL);
	assert_false(future_has_property(FUTURE_AS_RUNNABLE(&chain), FUTURE_PROPERTY_ASYNC));
	future_poll(FUTURE_AS_RUNNABLE(&chain), NULL);
	assert_true(future_has_property(FUTURE_AS_RUNNABLE(&chain), FUTURE_PROPERTY_ASYNC));
	future_poll(FUTURE_AS_RUNNABLE(&chain), NULL);
	assert_false(future_has_property(FUTURE_AS_RUNNABLE(&chain), FUTURE_PROPERTY_ASYNC));
	future_poll(FUTURE_AS_RUNNABLE(&chain), NULL);
	assert_int_equal(FUTURE_STATE(&chain), FUTURE_STATE_COMPLETE);
	assert_false(future_has_property(FUTURE_AS_RUNNABLE(&chain), FUTURE_PROPERTY_ASYNC));
}

static void asking_an_idle_chain_for_a_property_initialises_its_first_entry_once(void **state)
{
	(void)state;
	struct chain chain = chain_new(1, 1, 1);
	struct late a = {.name = 'A', .polls_needed = 1};

	FUTURE_CHAIN_ENTRY_LAZY_INIT(&chain.data.a, init_late, &a, NULL, NULL);
	forget();
	assert_false(future_has_property(FUTURE_AS_RUNNABLE(&chain), FUTURE_PROPERTY_ASYNC));
	assert_string_equal(history, "iA");
	future_poll(FUTURE_AS_RUNNABLE(&chain), NULL);
	assert_string_equal(history, "iApApBmBpCmC");
}

static void the_notifier_says_what_the_entry_took_that_the_chain_stopped_at(void **state)
{
	(void)state;
	struct chain chain = chain_new(2, 2, 2);
	struct future_notifier notifier = {.notifier_used = FUTURE_NOTIFIER_NONE};

	chain.data.a.fut.data.takes = FUTURE_NOTIFIER_WAKER;
	chain.data.c.fut.data.takes = FUTURE_NOTIFIER_POLLER;
	future_poll(FUTURE_AS_RUNNABLE(&chain), &notifier);
	assert_int_equal(notifier.notifier_used, FUTURE_NOTIFIER_WAKER);
	future_poll(FUTURE_AS_RUNNABLE(&chain), &notifier); /* completes A, which left its mark; B takes nothing */
	assert_int_equal(notifier.notifier_used, FUTURE_NOTIFIER_NONE);
	future_poll(FUTURE_AS_RUNNABLE(&chain), &notifier);
	assert_int_equal(notifier.notifier_used, FUTURE_NOTIFIER_POLLER);
}

static void a_chain_can_be_an_entry_of_a_chain(void **state)
{
	(void)state;
	struct outer {
		FUTURE_CHAIN_ENTRY(struct chain, inner);
		FUTURE_CHAIN_ENTRY_LAST(struct counted, d);
	};
	FUTURE(outer_chain, struct outer, char);
	struct outer_chain outer;

	memset(&outer, 0xa5, sizeof(outer));
	FUTURE_CHAIN_ENTRY_INIT(&outer.data.inner, chain_new(1, 2, 1), NULL, NULL);
	FUTURE_CHAIN_ENTRY_INIT(&outer.data.d, counted_new('D', 1), NULL, NULL);
	FUTURE_CHAIN_INIT(&outer);
	forget();
	assert_int_equal(future_poll(FUTURE_AS_RUNNABLE(&outer), NULL), FUTURE_STATE_RUNNING);
	assert_string_equal(history, "pAmApB");
	assert_int_equal(future_poll(FUTURE_AS_RUNNABLE(&outer), NULL), FUTURE_STATE_COMPLETE);
	assert_string_equal(history, "pAmApBpBmBpCmCpD");
	assert_int_equal(outer.data.inner.fut.output.result, 3 + 300);
}

static void an_idle_chain_can_be_copied_and_the_copy_run(void **state)
{
	(void)state;
	struct chain original = chain_new(1, 2, 1), copy = original;

	memset(&original, 0xff, sizeof(original));
	FUTURE_BUSY_POLL(&copy);
	assert_int_equal(FUTURE_OUTPUT(&copy)->result, 3 + 300);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(entries_run_in_order_and_hand_their_results_on),
		cmocka_unit_test(one_poll_goes_on_through_all_entries_that_complete_in_it),
		cmocka_unit_test(a_lazy_entry_is_initialised_before_the_map_that_feeds_it_and_not_earlier),
		cmocka_unit_test(a_lazy_first_entry_is_initialised_by_the_first_poll),
		cmocka_unit_test(maps_are_optional_and_complete_entries_are_not_polled),
		cmocka_unit_test(only_the_last_entry_has_the_flag_of_the_last),
		cmocka_unit_test(a_chain_without_that_flag_ends_where_its_data_ends),
		cmocka_unit_test(entries_of_odd_sizes_are_found),
		cmocka_unit_test(the_properties_of_a_chain_are_those_of_its_first_unfinished_entry),
		cmocka_unit_test(asking_an_idle_chain_for_a_property_initialises_its_first_entry_once),
		cmocka_unit_test(the_notifier_says_what_the_entry_took_that_the_chain_stopped_at),
		cmocka_unit_test(a_chain_can_be_an_entry_of_a_chain),
		cmocka_unit_test(an_idle_chain_can_be_copied_and_the_copy_run),
	};

	return cmocka_run_group_tests_name("miniasync_chain", tests, NULL, NULL);
}
