/*
 * iterate.c: reading the entries of a region from first to last, in a stream that this process did not write.
 *
 * The first walk after opening checks each entry's data, the second one finds them checked. Both go in two ways: one
 * entry after the other by five calls each, and many entries a call ("stream_views"). Beside them go two loops
 * over the same bytes of the same file: one steps from header to header and computes the same check of the data, the
 * other steps and reads them. Walks that only read add up all words of the data, the others the first ones; loop and
 * stream must come to the same sum.
 *
 * With --reader the stream is opened read-only, as beside a writer in another process, where each call has to look
 * whether it is outdated.
 */
#include "bench.h"

#include "base/crc64.h"
#include "base/endian.h"
#include "stream/format.h"

#include <errno.h>
#include <fcntl.h>
#include <libpmemstream.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum walk { FLOOR_VERIFIED, FLOOR_READ, OURS_VERIFIED, OURS_READ, VIEWS_VERIFIED, VIEWS_READ, WALKS };

enum { VIEWS = 16 };

static const char *const walk_names[WALKS][2] = {{"floor", "verified"},        {"floor", "read"},
						 {"stream", "verified"},       {"stream", "read"},
						 {"stream_views", "verified"}, {"stream_views", "read"}};

struct iterate {
	char path[BENCH_PATH_BYTES];
	uint64_t size, count;
	uint64_t first_off, stride; /* of the entries in the file */
	const char *base;           /* the floor's own map */
	size_t bytes;
	uint64_t sum, first_words_sum;
	bool reader;
};

static void check(int err, const char *what)
{
	if (err)
		bench_die(what, pmemstream_errormsg());
}

static inline uint64_t first_word(const void *data, size_t size)
{
	uint64_t word = 0;

	memcpy(&word, data, size < sizeof(word) ? size : sizeof(word));
	return word;
}

static inline uint64_t sum_words(const void *data, size_t size)
{
	uint64_t sum = 0, word;

	for (; size >= sizeof(word); size -= sizeof(word), data = (const char *)data + sizeof(word)) {
		memcpy(&word, data, sizeof(word));
		sum += word;
	}
	return sum + first_word(data, size);
}

static void make_stream(struct iterate *iterate, uint64_t *random)
{
	const struct pmemstream_config config = {.size = iterate->count * ((iterate->size + 128) / 64 * 64) +
							 (4 << 20)};
	char *data = malloc(iterate->size + 1);
	struct pmemstream_region region;
	struct pmemstream_entry first, second;
	struct pmemstream *stream;

	if (!data)
		bench_die("the data", "no memory");
	check(pmemstream_create(&stream, iterate->path, &config), iterate->path);
	uint64_t space = pmemstream_entry_space(stream, iterate->size);
	check(pmemstream_region_allocate(stream, space * iterate->count, &region), "a region");
	for (uint64_t i = 0; i < iterate->count; i++) {
		bench_fill(data, iterate->size, random);
		iterate->sum += sum_words(data, iterate->size);
		iterate->first_words_sum += first_word(data, iterate->size);
		check(pmemstream_append(stream, region, NULL, data, iterate->size,
					i == 1 ? &second
					: i    ? NULL
					       : &first),
		      "append");
	}
	iterate->first_off = first.offset;
	iterate->stride = second.offset - first.offset;
	pmemstream_delete(&stream);
	free(data);
}

static void map_stream(struct iterate *iterate)
{
	struct stat status;

	int fd = open(iterate->path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &status))
		bench_die(iterate->path, strerror(errno));
	iterate->bytes = (size_t)status.st_size;
	iterate->base = mmap(NULL, iterate->bytes, PROT_READ, MAP_SHARED | MAP_POPULATE, fd, 0);
	if (iterate->base == MAP_FAILED)
		bench_die(iterate->path, strerror(errno));
	close(fd);
}

/* Walks have names of their own, by which callgrind is told what to count. */
__attribute__((noinline)) uint64_t walk_checking(struct pmemstream *stream, struct pmemstream_region region,
						 uint64_t *count);
__attribute__((noinline)) uint64_t walk_reading(struct pmemstream *stream, struct pmemstream_region region,
						uint64_t *count);

__attribute__((noinline)) uint64_t walk_views_checking(struct pmemstream *stream, struct pmemstream_region region,
						       uint64_t *count);
__attribute__((noinline)) uint64_t walk_views_reading(struct pmemstream *stream, struct pmemstream_region region,
						      uint64_t *count);

static uint64_t walk_floor(const struct iterate *iterate, bool verify)
{
	const unsigned char *at = (const unsigned char *)iterate->base + iterate->first_off;
	uint64_t sum = 0, alignment = iterate->stride % 64 ? 8 : 64;

	for (uint64_t i = 0; i < iterate->count; i++) {
		uint64_t size = le64_load(at) & FORMAT_ENTRY_SIZE_MAX;
		const unsigned char *data = at + FORMAT_ENTRY_HEADER_BYTES;
		if (verify && format_data_fold(crc64(0, data, size)) != le32_load(at + 24))
			bench_die("the floor", "the check of the data is not the one that streams have now");
		sum += verify ? first_word(data, size) : sum_words(data, size);
		at += (FORMAT_ENTRY_HEADER_BYTES + size + alignment - 1) & ~(alignment - 1);
	}
	return sum;
}

static inline uint64_t walk_stream(struct pmemstream *stream, struct pmemstream_region region, bool whole,
				   uint64_t *count)
{
	struct pmemstream_entry_iterator *at;
	uint64_t sum = 0;

	check(pmemstream_entry_iterator_new(&at, stream, region), "an iterator");
	for (pmemstream_entry_iterator_seek_first(at); !pmemstream_entry_iterator_is_valid(at);
	     pmemstream_entry_iterator_next(at), ++*count) {
		struct pmemstream_entry entry = pmemstream_entry_iterator_get(at);
		const void *data = pmemstream_entry_data(stream, entry);
		size_t size = pmemstream_entry_size(stream, entry);
		sum += whole ? sum_words(data, size) : first_word(data, size);
	}
	pmemstream_entry_iterator_delete(&at);
	return sum;
}

uint64_t walk_checking(struct pmemstream *stream, struct pmemstream_region region, uint64_t *count)
{
	return walk_stream(stream, region, false, count);
}

uint64_t walk_reading(struct pmemstream *stream, struct pmemstream_region region, uint64_t *count)
{
	return walk_stream(stream, region, true, count);
}

static inline uint64_t walk_views(struct pmemstream *stream, struct pmemstream_region region, bool whole,
				  uint64_t *count)
{
	struct pmemstream_entry_view views[VIEWS];
	struct pmemstream_entry_iterator *at;
	uint64_t sum = 0;
	size_t n;

	check(pmemstream_entry_iterator_new(&at, stream, region), "an iterator");
	pmemstream_entry_iterator_seek_first(at);
	for (; (n = pmemstream_entry_iterator_read(at, views, VIEWS)); *count += n)
		for (size_t i = 0; i < n; i++)
			sum += whole ? sum_words(views[i].data, views[i].size)
				     : first_word(views[i].data, views[i].size);
	pmemstream_entry_iterator_delete(&at);
	return sum;
}

uint64_t walk_views_checking(struct pmemstream *stream, struct pmemstream_region region, uint64_t *count)
{
	return walk_views(stream, region, false, count);
}

uint64_t walk_views_reading(struct pmemstream *stream, struct pmemstream_region region, uint64_t *count)
{
	return walk_views(stream, region, true, count);
}

static struct pmemstream_region only_region(struct pmemstream *stream)
{
	struct pmemstream_region_iterator *at;

	check(pmemstream_region_iterator_new(&at, stream), "regions");
	pmemstream_region_iterator_seek_first(at);
	struct pmemstream_region region = pmemstream_region_iterator_get(at);
	pmemstream_region_iterator_delete(&at);
	return region;
}

/* Nanoseconds an entry, or the program ends. */
static double timed(const struct iterate *iterate, enum walk walk, struct pmemstream *stream,
		    struct pmemstream_region region)
{
	static uint64_t (*const walks[WALKS])(struct pmemstream *, struct pmemstream_region, uint64_t *) = {
		[OURS_VERIFIED] = walk_checking,
		[OURS_READ] = walk_reading,
		[VIEWS_VERIFIED] = walk_views_checking,
		[VIEWS_READ] = walk_views_reading,
	};
	bool whole = walk == FLOOR_READ || walk == OURS_READ || walk == VIEWS_READ;
	uint64_t count = 0;

	uint64_t begin_ns = bench_now_ns();
	uint64_t sum = stream ? walks[walk](stream, region, &count) : walk_floor(iterate, !whole);
	uint64_t passed_ns = bench_now_ns() - begin_ns;
	if (sum != (whole ? iterate->sum : iterate->first_words_sum) || (stream && count != iterate->count))
		bench_die(walk_names[walk][0], "did not read what was appended");
	return (double)passed_ns / (double)iterate->count;
}

static void run_round(const struct iterate *iterate, uint64_t *random, double *ns)
{
	const struct pmemstream_config config = {.flags = PMEMSTREAM_PREFAULT |
							  (iterate->reader ? PMEMSTREAM_READ_ONLY : 0)};
	/* The second walk of a stream is the one that finds its entries checked: these two stay in order. */
	unsigned order[4] = {0, 1, 2, 3};

	bench_shuffle(order, 4, random);
	for (unsigned i = 0; i < 4; i++) {
		if (order[i] < 2) {
			ns[order[i]] = timed(iterate, order[i], NULL, (struct pmemstream_region){0});
			continue;
		}
		struct pmemstream *stream;
		check(pmemstream_open(&stream, iterate->path, &config), iterate->path);
		struct pmemstream_region region = only_region(stream);
		enum walk first = order[i] == 2 ? OURS_VERIFIED : VIEWS_VERIFIED;
		ns[first] = timed(iterate, first, stream, region);
		ns[first + 1] = timed(iterate, first + 1, stream, region);
		pmemstream_delete(&stream);
	}
}

int main(int argc, char **argv)
{
	static struct iterate iterate;
	static double rounds_ns[WALKS][BENCH_ROUNDS_MAX];
	uint64_t bytes = 64 << 20, rounds = 11, seed = 1;
	const char *medium = "memory", *where = NULL;
	bool json = false;
	iterate.size = 64;
	const struct bench_option options[] = {
		{"medium", BENCH_TEXT, &medium, "memory (cache lines) or disk (syncs): how entries are aligned"},
		{"folder", BENCH_TEXT, &where, "where to put files (memory: /dev/shm, disk: here)"},
		{"size", BENCH_NUMBER, &iterate.size, "bytes of an entry"},
		{"bytes", BENCH_NUMBER, &bytes, "of all entries, headers and padding included"},
		{"reader", BENCH_FLAG, &iterate.reader, "open the stream read-only"},
		{"rounds", BENCH_NUMBER, &rounds, "measured rounds"},
		{"seed", BENCH_NUMBER, &seed, "of the order in each round, and of the data"},
		{"json", BENCH_FLAG, &json, "print JSON"},
		{0},
	};

	bench_parse(argc, argv, "Walks over the entries of a region; nanoseconds an entry.", options);
	bool disk = bench_medium_is_disk(medium);
	uint64_t alignment = disk ? 8 : 64;
	if (!rounds || rounds > BENCH_ROUNDS_MAX || !seed || iterate.size > 1 << 20)
		bench_die("options", "rounds 1 to 99, seed from 1, size up to 1M");
	iterate.count = bytes / ((FORMAT_ENTRY_HEADER_BYTES + iterate.size + alignment - 1) / alignment * alignment);
	if (iterate.count < 2)
		bench_die("--bytes", "room for two entries at least");
	snprintf(iterate.path, sizeof(iterate.path), "%s/iterate.stream", bench_folder(disk, where));
	make_stream(&iterate, &seed);
	map_stream(&iterate);
	for (int round = -1; round < (int)rounds; round++) {
		double ns[WALKS];
		run_round(&iterate, &seed, ns);
		for (int walk = 0; walk < WALKS && round >= 0; walk++)
			rounds_ns[walk][round] = ns[walk];
	}
	for (int walk = 0; walk < WALKS; walk++) {
		struct bench_result result;
		bench_result_begin(&result, json, "iterate");
		bench_result_text(&result, "medium", medium);
		bench_result_text(&result, "subject", walk_names[walk][0]);
		bench_result_text(&result, "data", walk_names[walk][1]);
		bench_result_number(&result, "bytes", (double)iterate.size);
		bench_result_number(&result, "entries", (double)iterate.count);
		bench_result_rounds(&result, "ns", rounds_ns[walk], (unsigned)rounds);
		bench_result_end(&result);
	}
	return 0;
}
