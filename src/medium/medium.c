/*
 * medium.c: what every medium has, whatever stands behind its table of operations: the counters.
 *
 * Threads  a thread adds to the counters of its own slot without a locked instruction; threads that share the last
 *          slot lock. medium_counts may run beside them and sees each counter at some recent moment.
 */
#include "medium/medium.h"

#include "base/error.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int medium_prepare(struct medium *medium, const struct medium_ops *ops, void *base, size_t size,
		   enum medium_granularity granularity, bool writable)
{
	size_t bytes = THREAD_SLOT_COUNT * sizeof(struct medium_counters);
	struct medium_counters *counters = aligned_alloc(MEDIUM_LINE_BYTES, bytes);

	if (!counters)
		return error_set(ENOMEM, "no memory for %zu bytes of counters", bytes);
	memset(counters, 0, bytes);
	*medium = (struct medium){
		.ops = ops,
		.base = base,
		.size = size,
		.granularity = granularity,
		.writable = writable,
		.counters = counters,
	};
	return 0;
}

void medium_close(struct medium *medium)
{
	free(medium->counters);
	medium->counters = NULL;
}

struct medium_counts medium_counts(const struct medium *medium)
{
	struct medium_counts sum = {0};

	for (unsigned slot = 0; slot < THREAD_SLOT_COUNT; slot++) {
		struct medium_counters *of_slot = &medium->counters[slot];
		sum.stored_bytes += atomic_load_explicit(&of_slot->stored_bytes, memory_order_relaxed);
		sum.flushed_lines += atomic_load_explicit(&of_slot->flushed_lines, memory_order_relaxed);
		sum.fences += atomic_load_explicit(&of_slot->fences, memory_order_relaxed);
		sum.syncs += atomic_load_explicit(&of_slot->syncs, memory_order_relaxed);
	}
	return sum;
}

void medium_prefault(const struct medium *medium)
{
#ifdef MADV_POPULATE_WRITE
	if (!madvise(medium->base, medium->size, medium->writable ? MADV_POPULATE_WRITE : MADV_POPULATE_READ))
		return;
#endif
	/* Kernels before 5.14: a read of each page maps it, though a first store may still fault. */
	size_t page_bytes = (size_t)sysconf(_SC_PAGESIZE);
	for (size_t off = 0; off < medium->size; off += page_bytes)
		(void)*(volatile char *)(medium->base + off);
}
