/*
 * faults.c: the wrapped functions (faults.h). A failing call never reaches the real one.
 */
#include "cut/faults.h"

#include <errno.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

void *__real_malloc(size_t bytes);
void *__real_calloc(size_t count, size_t bytes);
void *__real_realloc(void *old, size_t bytes);
void *__real_reallocarray(void *old, size_t count, size_t bytes);
void *__real_aligned_alloc(size_t alignment, size_t bytes);
int __real_posix_memalign(void **memory, size_t alignment, size_t bytes);
char *__real_strdup(const char *text);
char *__real_strndup(const char *text, size_t bytes);
int __real_msync(void *at, size_t bytes, int flags);

void *__wrap_malloc(size_t bytes);
void *__wrap_calloc(size_t count, size_t bytes);
void *__wrap_realloc(void *old, size_t bytes);
void *__wrap_reallocarray(void *old, size_t count, size_t bytes);
void *__wrap_aligned_alloc(size_t alignment, size_t bytes);
int __wrap_posix_memalign(void **memory, size_t alignment, size_t bytes);
char *__wrap_strdup(const char *text);
char *__wrap_strndup(const char *text, size_t bytes);
int __wrap_msync(void *at, size_t bytes, int flags);

/* Counts down; the call that takes it from 1 to 0 fails. 0: off. */
struct countdown {
	_Atomic unsigned left;
	_Atomic bool later;
	_Atomic int err;
};

static struct countdown allocations, msyncs;
static _Atomic unsigned failed;
static _Thread_local unsigned paused;

static void arm(struct countdown *countdown, unsigned n, bool later, int err)
{
	if (n && paused) {
		fputs("faults: armed where nothing can fail\n", stderr);
		abort();
	}
	atomic_store(&countdown->left, 0);
	atomic_store(&countdown->later, later);
	atomic_store(&countdown->err, err);
	atomic_store(&failed, 0);
	atomic_store(&countdown->left, n);
}

static bool fails(struct countdown *countdown)
{
	unsigned left = atomic_load(&countdown->left);

	if (paused)
		return false;
	while (left)
		if (atomic_compare_exchange_weak(&countdown->left, &left,
						 left == 1 && atomic_load(&countdown->later) ? 1 : left - 1))
			break;
	if (left != 1)
		return false;
	atomic_fetch_add(&failed, 1);
	errno = atomic_load(&countdown->err);
	return true;
}

void faults_fail_allocation(unsigned n)
{
	arm(&allocations, n, false, ENOMEM);
}

void faults_fail_allocations_from(unsigned n)
{
	arm(&allocations, n, true, ENOMEM);
}

void faults_fail_msync(unsigned n, int err, bool and_all_later)
{
	arm(&msyncs, n, and_all_later, err);
}

unsigned faults_stop(void)
{
	atomic_store(&allocations.left, 0);
	atomic_store(&msyncs.left, 0);
	return atomic_load(&failed);
}

void faults_pause(void)
{
	paused++;
}

void faults_resume(void)
{
	paused--;
}

void *__wrap_malloc(size_t bytes)
{
	return fails(&allocations) ? NULL : __real_malloc(bytes);
}

void *__wrap_calloc(size_t count, size_t bytes)
{
	return fails(&allocations) ? NULL : __real_calloc(count, bytes);
}

void *__wrap_realloc(void *old, size_t bytes)
{
	return fails(&allocations) ? NULL : __real_realloc(old, bytes);
}

void *__wrap_reallocarray(void *old, size_t count, size_t bytes)
{
	return fails(&allocations) ? NULL : __real_reallocarray(old, count, bytes);
}

void *__wrap_aligned_alloc(size_t alignment, size_t bytes)
{
	return fails(&allocations) ? NULL : __real_aligned_alloc(alignment, bytes);
}

int __wrap_posix_memalign(void **memory, size_t alignment, size_t bytes)
{
	return fails(&allocations) ? ENOMEM : __real_posix_memalign(memory, alignment, bytes);
}

char *__wrap_strdup(const char *text)
{
	return fails(&allocations) ? NULL : __real_strdup(text);
}

char *__wrap_strndup(const char *text, size_t bytes)
{
	return fails(&allocations) ? NULL : __real_strndup(text, bytes);
}

int __wrap_msync(void *at, size_t bytes, int flags)
{
	return fails(&msyncs) ? -1 : __real_msync(at, bytes, flags);
}
