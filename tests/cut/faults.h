/*
 * faults.h: lets the n-th allocation or the n-th msync of a test program fail.
 *
 * How     the linker's --wrap: it reaches the calls in the objects that are linked into the program (our static
 *         libraries and the test itself), not those inside shared libraries. Works under the sanitizers.
 * Counts  malloc, calloc, realloc, reallocarray, aligned_alloc, posix_memalign, strdup, strndup; all threads together.
 *         What fails sets errno to ENOMEM (posix_memalign returns it) and leaves the old block alone. A compiler may
 *         remove an allocation whose memory is not used.
 *
 *     for (unsigned n = 1;; n++) {
 *             faults_fail_allocation(n);
 *             struct thing *thing = thing_new();
 *             if (!faults_stop())
 *                     break;                  // thing_new made fewer than n allocations: it worked
 *             assert_null(thing);
 *             assert_int_equal(errno, ENOMEM);
 *     }
 */
#ifndef CUT_FAULTS_H
#define CUT_FAULTS_H

#include <stdbool.h>

/* The n-th allocation from now fails (1: the next), once. 0: none. */
void faults_fail_allocation(unsigned n);
/* The n-th allocation from now and all after it fail. */
void faults_fail_allocations_from(unsigned n);
/* The n-th msync from now fails with err without writing; and_all_later: so do those after it. 0: none. */
void faults_fail_msync(unsigned n, int err, bool and_all_later);

/* Nothing fails any more. Returns how many calls failed since the last faults_fail_*; keeps errno. */
unsigned faults_stop(void);

/* Calls of this thread between the two neither count nor fail; they nest. For the test's own. Hooks and watches of
 * cut.h run so: to arm a fault there ends the program. */
void faults_pause(void);
void faults_resume(void);

#endif
