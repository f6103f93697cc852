/*
 * bench.h: what the benchmark programs share: options, clock, random order, a folder for files, results.
 *
 * A result is one line: for people, or with --json one JSON object a line, which scripts/bench.py gathers.
 */
#ifndef BENCH_BENCH_H
#define BENCH_BENCH_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { BENCH_LIST_MAX = 16, BENCH_ROUNDS_MAX = 99, BENCH_PATH_BYTES = 4096 };

struct bench_list {
	uint64_t values[BENCH_LIST_MAX];
	unsigned count;
};

enum bench_option_kind { BENCH_LIST, BENCH_NUMBER, BENCH_TEXT, BENCH_FLAG };

/* A program has the options that it lists, ended by one without a name. What a value holds is the default. */
struct bench_option {
	const char *name;
	enum bench_option_kind kind;
	void *value; /* struct bench_list, uint64_t, const char *, bool */
	const char *help;
};

/* Reads --NAME=VALUE and --NAME; numbers may end in K, M or G. Answers --help, exits with 2 where it does not
 * understand. */
void bench_parse(int argc, char **argv, const char *about, const struct bench_option *options);

/* Says what failed and why, and ends the program. */
void bench_die(const char *what, const char *why) __attribute__((noreturn));

/* True for disk, false for memory; anything else ends the program. */
bool bench_medium_is_disk(const char *medium);

/* Makes an empty folder in the medium's usual place (memory: /dev/shm, disk: the current folder) or in where, and tells
 * the libraries by their environment variables how to treat files there. It goes with the program. */
const char *bench_folder(bool disk, const char *where);

/* A file of bytes, all of them written, mapped for reading and writing; its descriptor goes to fd. */
char *bench_map_written(const char *path, size_t bytes, int *fd);

uint64_t bench_now_ns(void);

/* Starts one of so many threads, on a processor of its own where there are as many: a scheduler leaves new threads on
 * one processor for longer than a round takes. */
pthread_t bench_thread(unsigned number, unsigned threads, void *(*run)(void *), void *argument);

/* Numbers that repeat with their seed (not 0). */
uint64_t bench_random(uint64_t *state);
void bench_shuffle(unsigned *order, unsigned count, uint64_t *state);
void bench_fill(void *to, size_t bytes, uint64_t *state);

/* Sorts the values. */
double bench_median(double *values, unsigned count);

/* Page faults of this process so far. */
uint64_t bench_page_faults(void);

/* Bytes of file pages that this process made dirty so far, each time one became so; 0 where the kernel does not tell.
 */
uint64_t bench_written_bytes(void);

/* A number that stands behind "KEY:" in a file of /proc; 0 if it is not there. */
uint64_t bench_proc_number(const char *path, const char *key);

struct bench_result {
	char line[16384];
	size_t used;
	bool json;
};

/* work: what was done. Then texts and numbers; then the end, which prints the line. */
void bench_result_begin(struct bench_result *result, bool json, const char *work);
void bench_result_text(struct bench_result *result, const char *key, const char *text);
void bench_result_number(struct bench_result *result, const char *key, double value);
/* The rounds of a measurement in order; for people their median, fastest and slowest. */
void bench_result_rounds(struct bench_result *result, const char *key, const double *values, unsigned count);
void bench_result_end(struct bench_result *result);

#endif
