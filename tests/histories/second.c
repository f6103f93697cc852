/*
 * second.c: hands control to the second thread and back.
 *
 * What it does never waits for the first thread: one poll of a wait, or an append by copying where the window has room.
 * While the order lock is held it stays away; mutexes that the first thread may hold are only tried by these calls.
 * Each operation here ends by calling the simulator's own, which therefore sees the place in the library it came from.
 */
#include "histories/second.h"

#include "cut/internal.h"
#include "histories/history.h"

#include <stdlib.h>

static struct history *owner;

static void *run(void *context)
{
	struct history *history = context;
	struct second *second = &history->second;

	for (;;) {
		while (sem_wait(&second->go))
			;
		if (second->ends)
			return NULL;
		action_of_second(history);
		sem_post(&second->done);
	}
}

void second_init(struct history *history)
{
	struct second *second = &history->second;

	owner = history;
	if (sem_init(&second->go, 0, 0) || sem_init(&second->done, 0, 0) ||
	    pthread_create(&second->thread, NULL, run, history))
		abort();
}

void second_free(struct history *history)
{
	struct second *second = &history->second;

	second->ends = true;
	sem_post(&second->go);
	pthread_join(second->thread, NULL);
	sem_destroy(&second->go);
	sem_destroy(&second->done);
}

static void give_way(void)
{
	struct second *second = &owner->second;

	if (!second->invited || second->running || owner->machine.dead || history_failed(owner) ||
	    atomic_load(&owner->stream->order.held) || !random_one_in(&owner->random, 4))
		return;
	second->running = true;
	sem_post(&second->go);
	while (sem_wait(&second->done))
		;
	second->running = false;
}

static void op_copy(struct medium *medium, void *to, const void *from, size_t bytes)
{
	give_way();
	cut_ops.copy(medium, to, from, bytes);
}

static void op_stream(struct medium *medium, void *to, const void *head, size_t head_bytes, const void *data,
		      size_t data_bytes)
{
	give_way();
	cut_ops.stream(medium, to, head, head_bytes, data, data_bytes);
}

static void op_record(struct medium *medium, void *to, const void *head, size_t head_bytes, const void *data,
		      size_t data_bytes)
{
	give_way();
	cut_ops.record(medium, to, head, head_bytes, data, data_bytes);
}

static void op_store8(struct medium *medium, uint64_t *to, uint64_t value)
{
	give_way();
	cut_ops.store8(medium, to, value);
}

static void op_stream8(struct medium *medium, uint64_t *to, uint64_t value)
{
	give_way();
	cut_ops.stream8(medium, to, value);
}

static void op_raise8(struct medium *medium, uint64_t *at, uint64_t value)
{
	give_way();
	cut_ops.raise8(medium, at, value);
}

static uint32_t op_exchange4(struct medium *medium, uint32_t *at, uint32_t value)
{
	give_way();
	return cut_ops.exchange4(medium, at, value);
}

static void op_flush(struct medium *medium, const void *at, size_t bytes)
{
	give_way();
	cut_ops.flush(medium, at, bytes);
}

static void op_fence(struct medium *medium)
{
	give_way();
	cut_ops.fence(medium);
}

static int op_sync(struct medium *medium, const void *at, size_t bytes)
{
	give_way();
	return cut_ops.sync(medium, at, bytes);
}

static void op_written(struct medium *medium, const void *at, size_t bytes)
{
	give_way();
	cut_ops.written(medium, at, bytes);
}

static void op_redirty(struct medium *medium, const void *at, size_t bytes)
{
	give_way();
	cut_ops.redirty(medium, at, bytes);
}

const struct medium_ops *second_ops(struct history *history)
{
	static const struct medium_ops ops = {
		.copy = op_copy,
		.stream = op_stream,
		.record = op_record,
		.store8 = op_store8,
		.stream8 = op_stream8,
		.exchange4 = op_exchange4,
		.raise8 = op_raise8,
		.flush = op_flush,
		.fence = op_fence,
		.sync = op_sync,
		.written = op_written,
		.redirty = op_redirty,
	};

	return history->has_second ? &ops : &cut_ops;
}
