/*
 * test_faults.c: the n-th allocation and the n-th msync fail, once or from then on, and nothing else does.
 */
#include "base/error.h"
#include "cut/faults.h"
#include "medium/medium.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <cmocka.h>

static void *by_malloc(void)
{
	return malloc(10);
}

static void *by_calloc(void)
{
	return calloc(2, 5);
}

static void *by_realloc(void)
{
	return realloc(NULL, 10);
}

static void *by_reallocarray(void)
{
	return reallocarray(NULL, 2, 5);
}

static void *by_aligned_alloc(void)
{
	return aligned_alloc(64, 64);
}

static void *by_posix_memalign(void)
{
	void *memory = NULL;

	errno = posix_memalign(&memory, 64, 64);
	return memory;
}

static void *by_strdup(void)
{
	/* Not a constant, or the compiler may call something else. */
	const char *volatile text = "text";

	return strdup(text);
}

static void *by_strndup(void)
{
	const char *volatile text = "text";

	return strndup(text, 2);
}

/* Volatile: a compiler that sees an allocation and its free may remove both. */
static void *(*const volatile allocators[])(void) = {by_malloc,        by_calloc,         by_realloc, by_reallocarray,
						     by_aligned_alloc, by_posix_memalign, by_strdup,  by_strndup};
enum { ALLOCATORS = sizeof(allocators) / sizeof(allocators[0]) };

static void the_nth_allocation_of_any_kind_fails_and_no_other(void **state)
{
	(void)state;
	for (unsigned n = 1; n <= ALLOCATORS; n++) {
		faults_fail_allocation(n);
		for (unsigned i = 1; i <= ALLOCATORS; i++) {
			errno = 0;
			void *memory = allocators[i - 1]();
			if ((memory == NULL) != (i == n))
				fail_msg("allocation %u: got %p when %u was to fail", i, memory, n);
			assert_int_equal(errno, i == n ? ENOMEM : 0);
			free(memory);
		}
		assert_int_equal(faults_stop(), 1);
	}
}

static void all_allocations_from_the_nth_fail_until_stopped(void **state)
{
	(void)state;
	faults_fail_allocations_from(3);
	for (unsigned i = 1; i <= ALLOCATORS; i++) {
		void *memory = allocators[i - 1]();
		assert_int_equal(memory == NULL, i >= 3);
		free(memory);
	}
	assert_int_equal(faults_stop(), ALLOCATORS - 2);
	free(allocators[0]());
	assert_int_equal(faults_stop(), ALLOCATORS - 2);
}

static void paused_allocations_neither_count_nor_fail(void **state)
{
	(void)state;
	faults_fail_allocation(1);
	faults_pause();
	void *memory = allocators[0]();
	assert_non_null(memory);
	faults_resume();
	/* The old block stays when realloc fails. */
	void *larger = realloc(memory, 100);
	assert_int_equal(faults_stop(), 1);
	if (larger)
		fail_msg("realloc did not fail");
	else
		free(memory);
}

static void allocations_inside_our_libraries_fail_too(void **state)
{
	(void)state;
	struct medium medium;
	_Alignas(4096) static char memory[4096];
	unsigned n = 1;

	for (;; n++) {
		memset(&medium, 7, sizeof(medium));
		faults_fail_allocation(n);
		int err = medium_from_range(&medium, memory, sizeof(memory), MEDIUM_PAGE, true);
		if (!faults_stop()) {
			assert_int_equal(err, 0);
			medium_close(&medium);
			break;
		}
		assert_int_equal(err, -1);
		assert_int_equal(errno, ENOMEM);
	}
	assert_true(n > 1);
}

static void the_nth_msync_fails_with_the_error_asked_for(void **state)
{
	(void)state;
	static const int errors[] = {EIO, ENOSPC};
	char *memory = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct medium medium;

	assert_ptr_not_equal(memory, MAP_FAILED);
	assert_int_equal(medium_from_range(&medium, memory, 4096, MEDIUM_PAGE, true), 0);
	for (int i = 0; i < 2; i++) {
		faults_fail_msync(2, errors[i], i == 1);
		for (unsigned n = 1; n <= 4; n++) {
			bool fails = i == 1 ? n >= 2 : n == 2;
			errno = 0;
			assert_int_equal(medium_sync(&medium, memory, 100), fails ? -1 : 0);
			assert_int_equal(errno, fails ? errors[i] : 0);
			/* An allocation counts apart from it. */
			free(allocators[0]());
		}
		assert_int_equal(faults_stop(), i == 1 ? 3 : 1);
		assert_int_equal(medium_sync(&medium, memory, 100), 0);
	}
	medium_close(&medium);
	munmap(memory, 4096);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_nth_allocation_of_any_kind_fails_and_no_other),
		cmocka_unit_test(all_allocations_from_the_nth_fail_until_stopped),
		cmocka_unit_test(paused_allocations_neither_count_nor_fail),
		cmocka_unit_test(allocations_inside_our_libraries_fail_too),
		cmocka_unit_test(the_nth_msync_fails_with_the_error_asked_for),
	};

	return cmocka_run_group_tests_name("faults", tests, NULL, NULL);
}
