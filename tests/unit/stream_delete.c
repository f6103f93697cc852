/*
 * stream_delete.c: deleting a stream while other threads wait in it: they leave with ECANCELED, and touch it no more.
 */
#include "stream_map.h"
#include "stream_mover.h"

#include "stream/stream.h"

#include <pthread.h>
#include <sched.h>

enum { FILE_BYTES = 1 << 20, BLOCK = 512, THREADS = 3, ROUNDS = 10 };

enum call { APPEND, RESERVE, WAIT_COMMITTED, WAIT_PERSISTED, WAIT_NEWER, APPEND_BEHIND_A_COPY, CALLS };

struct waiting {
	pthread_t thread;
	struct pmemstream *stream;
	struct pmemstream_region region;
	enum call call;
	int result, err;
};

static void *wait_inside(void *argument)
{
	struct waiting *waiting = argument;
	struct pmemstream_entry entry;
	void *data;

	switch (waiting->call) {
	case APPEND:
	case APPEND_BEHIND_A_COPY:
		waiting->result = pmemstream_append(waiting->stream, waiting->region, NULL, "x", 1, &entry);
		break;
	case RESERVE:
		waiting->result = pmemstream_reserve(waiting->stream, waiting->region, NULL, 1, &entry, &data);
		break;
	case WAIT_COMMITTED:
		waiting->result = pmemstream_wait_committed(waiting->stream, 1000, UINT64_MAX);
		break;
	case WAIT_PERSISTED:
		waiting->result = pmemstream_wait_persisted(waiting->stream, 1000, UINT64_MAX);
		break;
	default:
		waiting->result = pmemstream_wait_newer(waiting->stream, 1000, UINT64_MAX);
	}
	waiting->err = errno;
	return NULL;
}

static void delete_among(struct opened *opened, enum call call)
{
	struct waiting waiting[THREADS];
	struct manual_mover mover;
	struct pmemstream_entry entry;
	void *data;
	struct pmemstream_region region = region_of(opened->stream, 10000), other = region_of(opened->stream, 10000);

	append_text(opened->stream, region, "kept");
	manual_mover_init(&mover);
	if (call == APPEND_BEHIND_A_COPY)
		assert_int_equal(pmemstream_async_append(opened->stream, &mover.vdm, other, NULL, "y", 1, NULL), 0);
	else
		assert_int_equal(pmemstream_reserve(opened->stream, region, NULL, 100, &entry, &data), 0);
	for (int i = 0; i < THREADS; i++) {
		waiting[i] = (struct waiting){.stream = opened->stream, .region = region, .call = call};
		assert_int_equal(pthread_create(&waiting[i].thread, NULL, wait_inside, &waiting[i]), 0);
	}
	/* The waits that block count themselves, and again the loop that they are in. */
	unsigned each = call == WAIT_COMMITTED || call == WAIT_PERSISTED ? 2 : 1;
	while (atomic_load(&opened->stream->progress.inside) < THREADS * each)
		sched_yield();
	/* Those that wait for a copy are told at once; delete itself waits for it. */
	if (call == APPEND_BEHIND_A_COPY)
		manual_mover_release(&mover);
	pmemstream_delete(&opened->stream);
	for (int i = 0; i < THREADS; i++) {
		pthread_join(waiting[i].thread, NULL);
		if (waiting[i].result && waiting[i].err != ECANCELED)
			fail_msg("call %d: errno %d", call, waiting[i].err);
		/* An append that waited for the copy may have been in time. */
		if (!waiting[i].result && call != APPEND_BEHIND_A_COPY)
			fail_msg("call %d succeeded", call);
	}
	assert_int_equal(pmemstream_from_map(&opened->stream, BLOCK, opened->file.map), 0);
	if (call != APPEND_BEHIND_A_COPY)
		assert_texts(opened->stream, region, "kept", NULL);
	else
		assert_texts(opened->stream, other, "y", NULL);
}

static void who_waits_when_the_stream_is_deleted_gets_ecanceled(void **state)
{
	(void)state;
	for (int g = 0; g < MAP_GRANULARITIES; g++)
		for (enum call call = 0; call < CALLS; call++)
			for (int round = 0; round < (g == 2 ? ROUNDS / 5 : ROUNDS); round++) {
				struct opened opened;
				opened_new(&opened, map_granularities[g], FILE_BYTES, BLOCK);
				delete_among(&opened, call);
				opened_free(&opened);
			}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(who_waits_when_the_stream_is_deleted_gets_ecanceled),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
