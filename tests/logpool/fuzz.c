/*
 * fuzz.c: pools and pool set files with mutated bytes. Each is opened as it comes: refused with a message, or a pool
 * that works. Nothing may crash, hang, or write to a refused file; the sanitizers watch.
 *
 *   fuzz COUNT [SEED]     COUNT mutants; the same SEED makes the same ones
 *
 * Prints one TAP line; on failure the number of the mutant, which "fuzz 1 SEED+NUMBER" makes again.
 */
#include "base/endian.h"
#include "logpool/format.h"
#include "logpool/poolset.h"

#include <libpmemlog.h>

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { HEAD_BYTES = 8192, PART_COUNT = 3, CHECKSUM_OFF = 4088, INCOMPATIBLE_OFF = 16 };

static uint64_t random_state;

/* Sebastiano Vigna's splitmix64. */
static uint64_t next_random(void)
{
	uint64_t z = random_state += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return z ^ z >> 31;
}

static uint64_t below(uint64_t limit)
{
	return next_random() % limit;
}

static char folder[4096];
static uint64_t opened_count;

struct pool_files {
	const char *open_path;
	char paths[PART_COUNT][4200];
	unsigned part_count;
	char heads[PART_COUNT][HEAD_BYTES]; /* as they were made */
};

static void die(const char *what)
{
	printf("Bail out! %s: %s %s\n", what, strerror(errno), pmemlog_errormsg());
	exit(1);
}

static void write_at(const char *path, const void *data, size_t bytes, bool truncate_it)
{
	int fd = open(path, O_WRONLY | O_CREAT | (truncate_it ? O_TRUNC : 0), 0600);

	if (fd < 0 || pwrite(fd, data, bytes, 0) != (ssize_t)bytes)
		die(path);
	close(fd);
}

static void read_head(const char *path, char *head)
{
	int fd = open(path, O_RDONLY);

	memset(head, 0, HEAD_BYTES); /* a truncated file may have less */
	if (fd < 0 || pread(fd, head, HEAD_BYTES, 0) < 0)
		die(path);
	close(fd);
}

static void make_pool(struct pool_files *files, bool single)
{
	static char set_path[2][4200];
	char text[16384];
	int used = snprintf(text, sizeof(text), "PMEMPOOLSET\n%s", single ? "OPTION SINGLEHDR\n" : "");

	for (unsigned i = 0; i < files->part_count; i++) {
		snprintf(files->paths[i], sizeof(files->paths[i]), "%s/%u.%d.%u", folder, files->part_count, single, i);
		used += snprintf(text + used, sizeof(text) - (size_t)used, "2M %s\n", files->paths[i]);
	}
	files->open_path = files->paths[0];
	if (files->part_count > 1) {
		snprintf(set_path[single], sizeof(set_path[single]), "%s/set%d", folder, single);
		write_at(set_path[single], text, (size_t)used, true);
		files->open_path = set_path[single];
	}
	PMEMlogpool *pool = pmemlog_create(files->open_path, files->part_count > 1 ? 0 : PMEMLOG_MIN_POOL, 0600);
	if (!pool || pmemlog_append(pool, "hello", 5))
		die("create");
	pmemlog_close(pool);
	for (unsigned i = 0; i < files->part_count; i++)
		read_head(files->paths[i], files->heads[i]);
}

static void mutate_bytes(char *bytes, size_t size)
{
	static const uint64_t words[] = {0,    1,       2,         4096,       8191,      8192,       8193, 2097152,
					 4096, 2093056, INT32_MAX, UINT32_MAX, INT64_MAX, UINT64_MAX, 62,   1000000};
	size_t off = below(size);

	switch (below(4)) {
	case 0:
		bytes[off] = (char)next_random();
		break;
	case 1:
		bytes[off] ^= (char)(1 << below(8));
		break;
	case 2:
		le64_store(bytes + off / 8 * 8, words[below(sizeof(words) / sizeof(words[0]))]);
		break;
	default:
		for (size_t i = off; i < size && i < off + 24; i++)
			bytes[i] = (char)next_random();
	}
}

static void mutate_head(char *head)
{
	/* Where something is: fields, shutdown state, descriptor, scratch. Sometimes anywhere. */
	static const struct {
		size_t off, bytes;
	} places[] = {{0, 144},
		      {0, 144},
		      {HEADER_SHUTDOWN_OFF, 72},
		      {DESCRIPTOR_OFF, 24},
		      {DESCRIPTOR_OFF, 24},
		      {SCRATCH_OFF, 56},
		      {0, HEAD_BYTES}};

	for (uint64_t n = 1 + below(3); n > 0; n--) {
		size_t place = below(sizeof(places) / sizeof(places[0]));
		mutate_bytes(head + places[place].off, places[place].bytes);
	}
	if (below(4)) {
		bool half = le32_load(head + INCOMPATIBLE_OFF) & 2;
		le64_store(head + CHECKSUM_OFF,
			   format_checksum(head, HEADER_BYTES, CHECKSUM_OFF, half ? 2048 : HEADER_BYTES));
	}
	if (!below(4))
		le64_store(head + HEADER_SHUTDOWN_OFF + 56, format_checksum(head + HEADER_SHUTDOWN_OFF, 64, 56, 64));
}

static int count_bytes(const void *data, size_t bytes, void *sum)
{
	const unsigned char *at = data;

	for (size_t i = 0; i < bytes; i += 4096)
		*(volatile unsigned char *)&at[i];
	*(size_t *)sum += bytes;
	return 1;
}

/* What is wrong with a pool that opened; NULL if nothing. */
static const char *use_pool(PMEMlogpool *pool)
{
	long long used = pmemlog_tell(pool);
	size_t room = pmemlog_nbyte(pool), seen = 0;

	if (used < 0 || (size_t)used > room)
		return "tell is beyond nbyte";
	pmemlog_walk(pool, 1 + below(5000000), count_bytes, &seen);
	if (seen != (size_t)used)
		return "a walk shows more or less than tell";
	if (pmemlog_append(pool, "more", 4)) {
		if (errno != ENOSPC && errno != EROFS)
			return pmemlog_errormsg();
	} else if (pmemlog_tell(pool) != used + 4) {
		return "an append did not advance tell by its size";
	}
	pmemlog_rewind(pool);
	return NULL;
}

static const char *try_path(const char *path, const struct pool_files *files)
{
	char before[HEAD_BYTES], after[HEAD_BYTES];

	read_head(files->paths[0], before);
	int judged = pmemlog_check(path);
	if (judged != 1 && !pmemlog_errormsg()[0])
		return "check said no without a message";
	PMEMlogpool *pool = pmemlog_open(path);
	if (!!pool != (judged == 1))
		return "check and open disagree";
	if (!pool) {
		if (!pmemlog_errormsg()[0] || !errno)
			return "refused without a message";
		read_head(files->paths[0], after);
		return memcmp(before, after, HEAD_BYTES) ? "a refused pool was written to" : NULL;
	}
	opened_count++;
	const char *problem = use_pool(pool);
	pmemlog_close(pool);
	return problem;
}

static const char *fuzz_heads(struct pool_files *files)
{
	unsigned part = (unsigned)below(files->part_count);

	for (unsigned i = 0; i < files->part_count; i++) {
		char head[HEAD_BYTES];
		memcpy(head, files->heads[i], sizeof(head));
		if (i == part)
			mutate_head(head);
		write_at(files->paths[i], head, sizeof(head), false);
	}
	if (!below(8) && truncate(files->paths[part], (off_t)below(3 << 20)))
		die("truncate");
	const char *problem = try_path(files->open_path, files);
	if (truncate(files->paths[part], PMEMLOG_MIN_PART))
		die("truncate");
	return problem;
}

static const char *const words[] = {"PMEMPOOLSET\n",
				    "OPTION",
				    "SINGLEHDR",
				    "NOHDRS",
				    "REPLICA",
				    "AUTO",
				    "2M",
				    "2097152",
				    "0",
				    "-1",
				    "99999999999999999999",
				    "18014398509481984K",
				    "3MiB",
				    " ",
				    "\t",
				    "\n",
				    "\r\n",
				    "#",
				    "/",
				    "host desc",
				    "\v",
				    "P"};

static const char *fuzz_set(const struct pool_files *files)
{
	char text[20000], path[4200];
	size_t used = 0;

	for (unsigned i = 0; i < files->part_count; i++)
		write_at(files->paths[i], files->heads[i], HEAD_BYTES, false);
	if (below(8))
		used = (size_t)snprintf(text, sizeof(text), "PMEMPOOLSET\n");
	for (uint64_t n = below(12); n > 0; n--) {
		if (below(3))
			used += (size_t)snprintf(text + used, sizeof(text) - used, "%s%s",
						 words[below(sizeof(words) / sizeof(words[0]))], below(2) ? " " : "");
		else
			used += (size_t)snprintf(text + used, sizeof(text) - used, "2M %s\n",
						 files->paths[below(files->part_count)]);
	}
	if (used && below(2))
		text[below(used)] = (char)next_random();
	snprintf(path, sizeof(path), "%s/mutant", folder);
	write_at(path, text, used, true);

	/* In a block of its own size, so that a read behind the end is seen. */
	struct poolset set;
	char *exact = malloc(used ? used : 1);
	if (!exact)
		die("malloc");
	memcpy(exact, text, used);
	if (!poolset_parse(&set, "mutant", exact, used))
		poolset_free(&set);
	free(exact);
	return try_path(path, files);
}

int main(int argc, char **argv)
{
	static struct pool_files plain = {.part_count = 1}, several = {.part_count = 3}, single = {.part_count = 2};
	uint64_t count = argc > 1 ? strtoull(argv[1], NULL, 0) : 1000;
	uint64_t seed = argc > 2 ? strtoull(argv[2], NULL, 0) : 1;
	const char *problem = NULL;
	uint64_t number = 0;

	setenv("PMEM_IS_PMEM_FORCE", "1", 1); /* no msync: this is about what is read */
	snprintf(folder, sizeof(folder), "%s/fuzz.XXXXXX", getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp");
	if (!mkdtemp(folder))
		die(folder);
	make_pool(&plain, false);
	make_pool(&several, false);
	make_pool(&single, true);
	for (; number < count && !problem; number++) {
		struct pool_files *files[] = {&plain, &plain, &several, &single};

		random_state = (seed + number) * UINT64_C(0x2545f4914f6cdd1d);
		uint64_t kind = below(6);
		problem = kind < 4 ? fuzz_heads(files[kind]) : fuzz_set(kind == 4 ? &several : &single);
	}
	if (!problem && count >= 1000 && (opened_count < count / 20 || opened_count > count - count / 20))
		problem = "too few or too many mutants open: the mutations are not what they should be";
	printf("%sok 1 - %llu mutants of pools and pool sets are refused with a message, or work\n",
	       problem ? "not " : "", (unsigned long long)count);
	if (problem)
		printf("# %s; repeat by: %s 1 %llu; files in %s\n", problem, argv[0],
		       (unsigned long long)(seed + number - 1), folder);
	printf("1..1\n");
	if (!problem) {
		char command[5000];
		snprintf(command, sizeof(command), "rm -rf '%s'", folder);
		return system(command) ? 1 : 0;
	}
	return 1;
}
