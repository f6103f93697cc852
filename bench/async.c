/*
 * async.c: entries that are started in batches and then waited for once, beside records of which several share a fence.
 */
#include "compare.h"

int main(int argc, char **argv)
{
	uint64_t batch = 1000, fence_every = 64;
	struct compare compare = {
		.work = "async",
		.medium = "memory",
		.subjects = "floor,stream_async,libpmemlog",
		.sizes = {{64}, 1},
		.threads = {{1}, 1},
		.rounds = 15,
		.seed = 1,
	};
	const struct bench_option options[] = {
		{"medium", BENCH_TEXT, &compare.medium, "memory (cache lines) or disk (syncs)"},
		{"folder", BENCH_TEXT, &compare.folder, "where to put files (memory: /dev/shm, disk: here)"},
		{"subjects", BENCH_TEXT, &compare.subjects, "what to append to"},
		{"sizes", BENCH_LIST, &compare.sizes, "bytes of an entry"},
		{"batch", BENCH_NUMBER, &batch, "entries that are started before one wait"},
		{"fence-every", BENCH_NUMBER, &fence_every, "records of the floor that share a fence"},
		{"rounds", BENCH_NUMBER, &compare.rounds, "measured rounds"},
		{"count", BENCH_NUMBER, &compare.count, "entries a round; 0: by medium and size"},
		{"seed", BENCH_NUMBER, &compare.seed, "of the order in each round, and of the data"},
		{"json", BENCH_FLAG, &compare.json, "print JSON"},
		{0},
	};

	bench_parse(argc, argv, "Appends that share an ordering, in turn on each subject; nanoseconds an entry.",
		    options);
	if (!batch || batch > 1 << 20 || !fence_every || fence_every > 1 << 20)
		bench_die("--batch, --fence-every", "1 to 2^20");
	compare.batch = (unsigned)batch;
	compare.fence_every = (unsigned)fence_every;
	compare_run(&compare);
	return 0;
}
