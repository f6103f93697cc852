/*
 * append.c: durable appends, one after the other in each thread, to our stream, to the floor and to its peers.
 */
#include "compare.h"

int main(int argc, char **argv)
{
	struct compare compare = {
		.work = "append",
		.medium = "memory",
		.subjects = "floor,stream,libpmemlog,sqlite,lmdb,rocksdb",
		.sizes = {{64, 256, 1024, 4096}, 4},
		.threads = {{1}, 1},
		.rounds = 11,
		.seed = 1,
	};
	const struct bench_option options[] = {
		{"medium", BENCH_TEXT, &compare.medium, "memory (cache lines) or disk (syncs)"},
		{"folder", BENCH_TEXT, &compare.folder, "where to put files (memory: /dev/shm, disk: here)"},
		{"subjects", BENCH_TEXT, &compare.subjects,
		 "also store, floor_checks, floor_counted, floor_ordered, our_libpmemlog"},
		{"sizes", BENCH_LIST, &compare.sizes, "bytes of an entry"},
		{"threads", BENCH_LIST, &compare.threads, "how many threads append"},
		{"own-regions", BENCH_FLAG, &compare.own_regions, "a region of the stream for each thread"},
		{"rounds", BENCH_NUMBER, &compare.rounds, "measured rounds"},
		{"count", BENCH_NUMBER, &compare.count, "entries a round; 0: by medium and size"},
		{"latencies", BENCH_FLAG, &compare.latencies, "also the time of single appends, by percentiles"},
		{"seed", BENCH_NUMBER, &compare.seed, "of the order in each round, and of the data"},
		{"json", BENCH_FLAG, &compare.json, "print JSON"},
		{0},
	};

	bench_parse(argc, argv, "Durable appends, in turn on each subject; nanoseconds an entry, over all threads.",
		    options);
	compare_run(&compare);
	return 0;
}
