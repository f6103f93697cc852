/*
 * exhaustive.c: every short sequence of operations, cut at every moment of its last operation.
 *
 * What comes in front of the last operation was watched as a shorter sequence. So all sequences up to a length are
 * watched from their beginning to their end, on each granularity.
 */
#include "crash/harness.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

struct campaign {
	const struct config *config;
	const char *alphabet;
	unsigned length;
	uint64_t sequences, images;
	char failure[FAILURE_BYTES];
};

static const struct config configs[] = {
	{"bytes", MEDIUM_BYTE, 8, 4, 100, 0, 12288},
	{"lines", MEDIUM_CACHE_LINE, 8, 4, 100, 0, 12288},
	{"aligned lines", MEDIUM_CACHE_LINE, 64, 4, 1 << 20, 0, 12288},
	{"pages", MEDIUM_PAGE, 8, 4, 100, 0, 12288},
};

static enum outcome run(struct campaign *campaign, const char *script)
{
	struct watcher watcher = watcher_default;
	enum outcome outcome = watch_last(&watcher, campaign->config, script, campaign->failure);

	campaign->images += watcher.images;
	campaign->sequences++;
	return outcome;
}

static void all_behind(struct campaign *campaign, char *script, size_t front, unsigned length)
{
	for (const char *operation = campaign->alphabet; *operation && !campaign->failure[0]; operation++) {
		size_t end = strlen(script);
		script[end] = *operation;
		script[end + 1] = '\0';
		if (run(campaign, script) == DONE && length > 1)
			all_behind(campaign, script, front, length - 1);
		script[end] = '\0';
	}
}

static void all_sequences(const struct config *config, const char *front, const char *alphabet, unsigned length)
{
	struct campaign campaign = {.config = config, .alphabet = alphabet, .length = length};
	char script[SCRIPT_MAX];

	snprintf(script, sizeof(script), "%s", front);
	run(&campaign, "");
	all_behind(&campaign, script, strlen(front), length);
	if (campaign.failure[0])
		fail_msg("%s", campaign.failure);
	print_message("# %s, behind \"%s\": %zu sequences, %zu images\n", config->name, front,
		      (size_t)campaign.sequences, (size_t)campaign.images);
}

static const char all_operations[] = "aAdsSmirqxybwnfFckpPhe";
/* Without those that differ little from others. */
static const char main_operations[] = "aAbsmwnfckPe";

static void everywhere(const char *front, const char *alphabet, unsigned length)
{
#ifdef CRASH_SHORT
	length--;
#endif
	for (size_t i = 0; i < sizeof(configs) / sizeof(configs[0]); i++)
		all_sequences(&configs[i], front, alphabet, length);
}

static void two_operations_on_one_region_survive_any_cut(void **state)
{
	(void)state;
	everywhere("n", all_operations, 2);
}

static void three_operations_survive_any_cut(void **state)
{
	(void)state;
	everywhere("n", main_operations, 3);
}

static void two_operations_behind_a_recovery_survive_any_cut(void **state)
{
	(void)state;
	everywhere("nnaAsSp", all_operations, 2);
}

static void two_operations_on_a_full_window_survive_any_cut(void **state)
{
	(void)state;
	everywhere("nnasSmS", main_operations, 2);
}

static void two_operations_beside_a_freed_region_survive_any_cut(void **state)
{
	(void)state;
	everywhere("nanAfsk", main_operations, 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(two_operations_on_one_region_survive_any_cut),
		cmocka_unit_test(three_operations_survive_any_cut),
		cmocka_unit_test(two_operations_behind_a_recovery_survive_any_cut),
		cmocka_unit_test(two_operations_on_a_full_window_survive_any_cut),
		cmocka_unit_test(two_operations_beside_a_freed_region_survive_any_cut),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
