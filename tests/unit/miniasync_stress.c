/*
 * miniasync_stress.c: many futures over several movers, waited for by several threads in every way there is.
 *
 * Each thread plays rounds drawn from a seed: it makes a mover of its own beside those that all threads share, makes
 * futures and chains on them, waits for them by a runtime or by polling in random order, deletes its own mover at a
 * random moment, and compares every byte. The seed of a round is printed when it fails;
 * MINIASYNC_STRESS_SEED=SEED test_miniasync_stress plays that round alone, in every thread.
 */
#include <libminiasync.h>

#include <inttypes.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { PLAYERS = 4, ROUNDS = 60, SHARED = 3, COPIES = 48, BYTES_MAX = 700 };

struct shared {
	struct data_mover_threads *threads[2];
	struct data_mover_sync *sync;
	struct runtime *runtime;
};

struct player {
	struct shared *shared;
	uint64_t seed;
	const char *fault;
};

/* A chain that copies from -> between -> to; the second copy is made when the first has completed. */
struct pair_data {
	FUTURE_CHAIN_ENTRY(struct vdm_operation_future, first);
	FUTURE_CHAIN_ENTRY_LAST(struct vdm_operation_future, second);
	struct copy *copy;
};

FUTURE(pair, struct pair_data, int);

struct copy {
	struct pair chain;
	struct vdm *vdm, *second_vdm;
	struct vdm_operation_future first; /* keeps a mover of the player's own in use until it is complete */
	size_t bytes;
	uint64_t flags;
	bool chained;
	char from[BYTES_MAX], between[BYTES_MAX], to[BYTES_MAX];
};

static uint64_t draw(uint64_t *seed)
{
	uint64_t x = *seed += 0x9e3779b97f4a7c15;

	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9;
	x = (x ^ x >> 27) * 0x94d049bb133111eb;
	return x ^ x >> 31;
}

static void make_second(void *future, struct future_context *chain, void *arg)
{
	struct copy *copy = ((struct pair_data *)future_context_get_data(chain))->copy;

	(void)arg;
	*(struct vdm_operation_future *)future =
		vdm_memmove(copy->second_vdm, copy->to, copy->between, copy->bytes, copy->flags);
}

static void count_map(struct future_context *entry, struct future_context *next, void *arg)
{
	(void)entry;
	(void)next;
	*(int *)arg += 1;
}

static struct future *copy_begin(struct copy *copy, uint64_t *seed, struct vdm *vdm, struct vdm *second_vdm, int *maps)
{
	memset(copy, 0, sizeof(*copy));
	copy->bytes = draw(seed) % (BYTES_MAX + 1);
	copy->flags = draw(seed) % (VDM_F_VALID_FLAGS + 1);
	copy->chained = draw(seed) % 2;
	copy->second_vdm = second_vdm;
	for (size_t i = 0; i < copy->bytes; i++)
		copy->from[i] = (char)draw(seed);
	if (!copy->chained) {
		copy->first = vdm_memcpy(vdm, copy->to, copy->from, copy->bytes, copy->flags);
		return FUTURE_AS_RUNNABLE(&copy->first);
	}
	copy->chain.data.copy = copy;
	FUTURE_CHAIN_ENTRY_INIT(&copy->chain.data.first,
				vdm_memcpy(vdm, copy->between, copy->from, copy->bytes, copy->flags), count_map, maps);
	FUTURE_CHAIN_ENTRY_LAZY_INIT(&copy->chain.data.second, make_second, NULL, count_map, maps);
	FUTURE_CHAIN_INIT(&copy->chain);
	return FUTURE_AS_RUNNABLE(&copy->chain);
}

static const char *copy_verify(const struct copy *copy)
{
	if (memcmp(copy->to, copy->from, copy->bytes) != 0)
		return "a copy differs from its source";
	for (size_t i = copy->bytes; i < BYTES_MAX; i++)
		if (copy->to[i])
			return "a copy is longer than its source";
	if (copy->chained && copy->chain.data.second.fut.output.result != VDM_SUCCESS)
		return "the second copy of a chain failed";
	if (!copy->chained && copy->first.output.result != VDM_SUCCESS)
		return "a copy failed";
	return NULL;
}

static void poll_in_turn(struct future *futures[], size_t count, uint64_t *seed)
{
	size_t complete = 0;

	while (complete < count) {
		size_t begin = draw(seed) % count;

		complete = 0;
		for (size_t i = 0; i < count; i++)
			complete += future_poll(futures[(begin + i) % count], NULL) == FUTURE_STATE_COMPLETE;
		sched_yield();
	}
}

static const char *play_round(struct shared *shared, struct copy *copies, uint64_t seed)
{
	size_t ring = draw(&seed) % 9 + 1, nthreads = draw(&seed) % 2 + 1;
	struct data_mover_threads *own =
		data_mover_threads_new(nthreads, ring, draw(&seed) % 4 ? FUTURE_NOTIFIER_WAKER : FUTURE_NOTIFIER_NONE);
	struct runtime *runtime = draw(&seed) % 2 ? runtime_new() : shared->runtime;
	struct vdm *vdms[SHARED + 1] = {
		data_mover_threads_get_vdm(shared->threads[0]), data_mover_threads_get_vdm(shared->threads[1]),
		data_mover_sync_get_vdm(shared->sync), own ? data_mover_threads_get_vdm(own) : NULL};
	struct future *futures[COPIES];
	size_t count = draw(&seed) % COPIES + 1;
	unsigned way = (unsigned)(draw(&seed) % 4);
	int maps = 0, chains = 0;
	const char *fault = NULL;

	if (!own || !runtime)
		return "no memory";
	for (size_t i = 0; i < count; i++) {
		futures[i] = copy_begin(&copies[i], &seed, vdms[draw(&seed) % (SHARED + 1)], vdms[draw(&seed) % SHARED],
					&maps);
		chains += copies[i].chained;
	}
	for (size_t polls = draw(&seed) % (2 * count); polls > 0; polls--)
		future_poll(futures[draw(&seed) % count], NULL);
	if (way % 2)
		data_mover_threads_delete(own);
	if (way / 2)
		runtime_wait_multiple(runtime, futures, count);
	else
		poll_in_turn(futures, count, &seed);
	if (way % 2 == 0)
		data_mover_threads_delete(own);
	if (runtime != shared->runtime)
		runtime_delete(runtime);
	for (size_t i = 0; i < count && !fault; i++)
		fault = copy_verify(&copies[i]);
	return !fault && maps != 2 * chains ? "a map ran twice or not at all" : fault;
}

static void *play(void *arg)
{
	struct player *player = arg;
	struct copy *copies = calloc(COPIES, sizeof(*copies));
	const char *alone = getenv("MINIASYNC_STRESS_SEED");
	uint64_t seed = player->seed;

	if (!copies) {
		player->fault = "no memory";
		return NULL;
	}
	for (int round = 0; round < ROUNDS && !player->fault; round++) {
		player->seed = alone ? strtoull(alone, NULL, 0) : draw(&seed);
		player->fault = play_round(player->shared, copies, player->seed);
	}
	free(copies);
	return NULL;
}

static void copies_over_several_movers_by_several_threads_are_all_made(void **state)
{
	(void)state;
	struct shared shared = {.threads = {data_mover_threads_new(2, 4, FUTURE_NOTIFIER_WAKER),
					    data_mover_threads_new(1, 16, FUTURE_NOTIFIER_WAKER)},
				.sync = data_mover_sync_new(),
				.runtime = runtime_new()};
	struct player players[PLAYERS];
	pthread_t threads[PLAYERS];

	for (uint64_t i = 0; i < PLAYERS; i++) {
		players[i] = (struct player){.shared = &shared, .seed = 1000 * (i + 1)};
		assert_int_equal(pthread_create(&threads[i], NULL, play, &players[i]), 0);
	}
	for (int i = 0; i < PLAYERS; i++) {
		pthread_join(threads[i], NULL);
		if (players[i].fault)
			print_error("# %s; again: MINIASYNC_STRESS_SEED=0x%" PRIx64 " test_miniasync_stress\n",
				    players[i].fault, players[i].seed);
	}
	for (int i = 0; i < PLAYERS; i++)
		assert_null(players[i].fault);
	data_mover_threads_delete(shared.threads[0]);
	data_mover_threads_delete(shared.threads[1]);
	data_mover_sync_delete(shared.sync);
	runtime_delete(shared.runtime);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(copies_over_several_movers_by_several_threads_are_all_made),
	};

	return cmocka_run_group_tests_name("miniasync_stress", tests, NULL, NULL);
}
