/*
 * counted.h: a future for tests that completes at a given poll and writes down what happens to it.
 *
 * The history is a string of two letters for each event: p and the future's name for a poll, others by the tests.
 */
#ifndef TESTS_UNIT_COUNTED_H
#define TESTS_UNIT_COUNTED_H

#include <libminiasync.h>

#include <string.h>

struct counted_data {
	char name;
	int polls_needed, polls;
	int input;
	enum future_notifier_type takes;
};

struct counted_output {
	int result;
};

FUTURE(counted, struct counted_data, struct counted_output);

static char history[64];
static struct future_notifier *last_notifier;

static inline void note(char what, char who)
{
	size_t length = strlen(history);

	if (length + 2 >= sizeof(history))
		return;
	history[length] = what;
	history[length + 1] = who;
}

static inline void forget(void)
{
	memset(history, 0, sizeof(history));
}

static inline enum future_state counted_task(struct future_context *context, struct future_notifier *notifier)
{
	struct counted_data *data = future_context_get_data(context);
	struct counted_output *output = future_context_get_output(context);

	note('p', data->name);
	last_notifier = notifier;
	if (++data->polls < data->polls_needed) {
		if (notifier && data->takes)
			notifier->notifier_used = data->takes;
		return FUTURE_STATE_RUNNING;
	}
	output->result = data->input + 1;
	return FUTURE_STATE_COMPLETE;
}

static inline int counted_is_async(void *future, enum future_property property)
{
	struct counted *counted = future;

	return property == FUTURE_PROPERTY_ASYNC && counted->data.takes == FUTURE_NOTIFIER_WAKER;
}

static inline struct counted counted_new(char name, int polls_needed)
{
	struct counted future;

	memset(&future, 0, sizeof(future));
	FUTURE_INIT_EXT(&future, counted_task, counted_is_async);
	future.data.name = name;
	future.data.polls_needed = polls_needed;
	return future;
}

#endif
