/*
 * handover.c: how long a line takes from one processor to another.
 *
 * What two threads do together takes some such ways, and on some machines a way is five times as long as a moment ago:
 * a host moves a virtual machine's processors, a scheduler moves threads. So it is measured beside what they do.
 */
#include "handover.h"

#include "base/spinlock.h"
#include "bench.h"

#include <stdatomic.h>

enum { WAYS = 2000, FIRST_WAYS = 200 };

static _Alignas(128) _Atomic unsigned word;

/* Raises the word from first to last - 1, each second time: the other thread does the others. */
static void pass(unsigned first, unsigned last)
{
	for (unsigned mine = first; mine < last; mine += 2) {
		for (unsigned turn = 0; atomic_load_explicit(&word, memory_order_acquire) != mine; turn++)
			spinlock_backoff(turn);
		atomic_store_explicit(&word, mine + 1, memory_order_release);
	}
}

static void *pass_odd(void *unused)
{
	(void)unused;
	pass(1, WAYS);
	return NULL;
}

static void *pass_even(void *ns)
{
	pass(0, FIRST_WAYS); /* they wait for the other thread to be started */
	uint64_t begin_ns = bench_now_ns();
	pass(FIRST_WAYS, WAYS);
	*(double *)ns = (double)(bench_now_ns() - begin_ns) / (WAYS - FIRST_WAYS);
	return NULL;
}

double handover_ns(void)
{
	double ns;

	atomic_store(&word, 0);
	pthread_t odd = bench_thread(1, 2, pass_odd, NULL);
	pthread_t even = bench_thread(0, 2, pass_even, &ns);
	pthread_join(odd, NULL);
	pthread_join(even, NULL);
	return ns;
}
