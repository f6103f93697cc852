/*
 * faults.c: every sync fails once, every allocation fails once.
 *
 * A failed sync is latched: changes are EIO, reading goes on, the next opening works and has lost nothing that was
 * acknowledged. A failed allocation is ENOMEM, nothing is leaked (AddressSanitizer looks), nothing has changed.
 */
#include "crash/harness.h"

#include "base/error.h"
#include "cut/faults.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const struct config pages = {"pages", MEDIUM_PAGE, 8, 8, 150, 0, 16384};
static const struct config lines = {"lines", MEDIUM_CACHE_LINE, 8, 8, 150, 0, 16384};

static void must(const struct machine *machine, bool worked, const char *what)
{
	(void)machine;
	if (!worked)
		fail_msg("%s: %s", what, error_message());
}

static void changes_are_refused(struct machine *machine)
{
	struct pmemstream *stream = machine->stream;
	struct pmemstream_region region;

	assert_int_equal(pmemstream_region_allocate(stream, 64, &region), -1);
	assert_int_equal(errno, EIO);
	for (unsigned i = 0; i < machine->known.region_count; i++) {
		if (machine->known.regions[i].state != REGION_LIVE)
			continue;
		region.offset = machine->known.regions[i].off;
		assert_int_equal(pmemstream_append(stream, region, NULL, "x", 1, NULL), -1);
		assert_int_equal(errno, EIO);
		assert_int_equal(pmemstream_region_free(stream, region), -1);
		assert_int_equal(errno, EIO);
	}
	must(machine, !machine_compare(machine), "reading behind a failed sync");
}

/* Whether the n-th sync of the script was reached. */
static bool fail_sync(const char *script, unsigned n, bool and_all_later, char life)
{
	struct machine machine;
	char what[100];

	snprintf(what, sizeof(what), "\"%s\", sync %u fails%s, then %c", script, n,
		 and_all_later ? ", and all later" : "", life);
	machine_begin(&machine, &pages);
	machine.failing_sync = true;
	cut_fail_sync(machine.cut, n, EIO, and_all_later);
	int err = machine_open(&machine);
	if (err) {
		assert_int_equal(errno, EIO);
		assert_null(machine.stream);
	} else {
		must(&machine, machine_run(&machine, script) != FAILED, what);
	}
	bool reached = err || atomic_load(&machine.stream->failed);
	if (!err && reached)
		changes_are_refused(&machine);
	cut_fail_sync(machine.cut, 0, 0, false);
	if (err)
		must(&machine, !machine_open(&machine), what);
	must(&machine, machine_run(&machine, (char[]){life, '\0'}) != FAILED, what);
	must(&machine, machine_run(&machine, "naAkpaP") != FAILED, what);
	machine_end(&machine);
	return reached;
}

static void any_sync_may_fail_and_nothing_acknowledged_is_lost(void **state)
{
	static const char *const scripts[] = {"nnaAsSwrqwddf", "nabBnfaAAddd", "nnmSwtTaf", "nNggFsda"};
	unsigned cases = 0;
	(void)state;

	for (size_t s = 0; s < sizeof(scripts) / sizeof(scripts[0]); s++)
		for (const char *life = "ckpPh"; *life; life++)
			for (unsigned later = 0; later < 2; later++) {
				unsigned n = 1;
				while (fail_sync(scripts[s], n, later, *life))
					n++;
				assert_true(n > 10);
				cases += n;
			}
	print_message("# %u cases\n", cases);
}

/* How often the n-th allocation of an operation was made to fail, n = 1 and up. */
static unsigned fail_allocations(const struct config *config, const char *front, char operation)
{
	unsigned n = 0;

	for (bool failed = true; failed;) {
		struct machine machine;
		machine_begin(&machine, config);
		must(&machine, !machine_open(&machine) && machine_run(&machine, front) != FAILED, front);
		faults_fail_allocation(++n);
		errno = 0;
		enum outcome outcome = machine_try(&machine, operation);
		int err = errno;
		failed = faults_stop();
		if (outcome == FAILED)
			assert_int_equal(err, ENOMEM);
		assert_true(failed || outcome != FAILED);
		must(&machine, !machine_compare(&machine), "behind a failed allocation");
		must(&machine, machine_run(&machine, "aAwk") != FAILED, "behind a failed allocation");
		machine_end(&machine);
	}
	return n - 1;
}

static void any_allocation_of_an_operation_may_fail(void **state)
{
	static const struct config *const configs[] = {&lines, &pages};
	(void)state;

	for (int c = 0; c < 2; c++) {
		for (const char *operation = "aAdsSmirRqQxybgwvfF"; *operation; operation++)
			fail_allocations(configs[c], "nnaAsmS", *operation);
		assert_true(fail_allocations(configs[c], "nnaA", 'm') > 0);
		assert_true(fail_allocations(configs[c], "nnaA", 'b') > 1);
	}
	/* Regions come by twenty, the table of extents doubles. */
	struct config large = lines;
	large.media_bytes = 40960;
	unsigned failures = 0;
	char front[32] = "";
	for (size_t count = 0; count < 24; count++) {
		failures += fail_allocations(&large, front, 'n');
		front[count] = 'n';
	}
	assert_true(failures > 2);
}

static void any_allocation_of_an_opening_may_fail(void **state)
{
	static const struct config *const configs[] = {&lines, &pages};
	static const char *const fronts[] = {"", "nnaAsS", "nnnaAfsc"};
	(void)state;

	for (int i = 0; i < 6; i++) {
		unsigned n = 0;
		bool failed = true;
		struct machine machine;
		machine_begin(&machine, configs[i % 2]);
		if (*fronts[i / 2]) {
			must(&machine, !machine_open(&machine) && machine_run(&machine, fronts[i / 2]) != FAILED,
			     "front");
			machine_drop(&machine);
		}
		while (failed) {
			faults_fail_allocation(++n);
			int err = machine_attach(&machine);
			int reason = errno;
			failed = faults_stop();
			assert_true(failed ? err && reason == ENOMEM : !err);
		}
		assert_true(n > 4);
		machine_drop(&machine);
		must(&machine, !machine_open(&machine), "opening behind failed allocations");
		machine_end(&machine);
	}
}

static void any_allocation_of_iterators_and_handles_may_fail(void **state)
{
	struct pmemstream_entry_iterator *entries = NULL;
	struct pmemstream_region_iterator *regions = NULL;
	struct pmemstream_region_runtime *runtime = NULL;
	struct machine machine;
	(void)state;

	machine_begin(&machine, &lines);
	must(&machine, !machine_open(&machine) && machine_run(&machine, "na") != FAILED, "front");
	struct pmemstream_region region = {.offset = machine.known.regions[0].off};

	faults_fail_allocation(1);
	assert_int_equal(pmemstream_entry_iterator_new(&entries, machine.stream, region), -1);
	assert_int_equal(errno, ENOMEM);
	faults_fail_allocation(1);
	assert_int_equal(pmemstream_region_iterator_new(&regions, machine.stream), -1);
	assert_int_equal(errno, ENOMEM);
	faults_fail_allocation(1);
	assert_int_equal(pmemstream_region_runtime_initialize(machine.stream, region, &runtime), -1);
	assert_int_equal(errno, ENOMEM);
	assert_true(!entries && !regions && !runtime);
	/* Deleting makes no allocation, or does without it. */
	faults_fail_allocations_from(1);
	pmemstream_delete(&machine.stream);
	faults_stop();
	assert_null(machine.stream);
	must(&machine, !machine_open(&machine), "opening behind a deletion without memory");
	machine_end(&machine);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(any_sync_may_fail_and_nothing_acknowledged_is_lost),
		cmocka_unit_test(any_allocation_of_an_operation_may_fail),
		cmocka_unit_test(any_allocation_of_an_opening_may_fail),
		cmocka_unit_test(any_allocation_of_iterators_and_handles_may_fail),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
