/*
 * plot.c: results of bench as pictures: histograms of characters, and curves by gnuplot.
 *
 * gnuplot gets its commands and the data through a pipe, and draws to its standard output, which is the file: it never
 * learns the name.
 */
#include "tool/plot.h"

#include "tool/output.h"
#include "tool/report.h"
#include "tool/text.h"

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { BUCKETS = 40, LABEL_COLUMNS = 22 };

extern char **environ;

const char *plot_name(const struct measure_result *result)
{
	static char name[64];

	if (result->of.what == MEASURE_FLOOR)
		snprintf(name, sizeof(name), "%s floor", text_size(result->of.bytes));
	else
		snprintf(name, sizeof(name), "%s %s x%u", text_size(result->of.bytes),
			 result->of.what == MEASURE_EACH ? "each" : "batch", result->of.threads);
	return name;
}

static unsigned bucket_of(uint64_t ns)
{
	unsigned bucket = 63 - (unsigned)__builtin_clzll(ns | 1);

	return bucket < BUCKETS ? bucket : BUCKETS - 1;
}

static const char *time_of(uint64_t ns)
{
	static char text[4][32];
	static unsigned next;
	char *to = text[next++ % 4];

	if (ns < 10000)
		snprintf(to, sizeof(text[0]), "%zu ns", (size_t)ns);
	else if (ns < 10000000)
		snprintf(to, sizeof(text[0]), "%zu us", (size_t)(ns / 1000));
	else
		snprintf(to, sizeof(text[0]), "%zu ms", (size_t)(ns / 1000000));
	return to;
}

void plot_histogram(const struct measure_result *result)
{
	size_t counts[BUCKETS] = {0}, most = 0, columns = output_columns() - LABEL_COLUMNS - 8;
	unsigned first = BUCKETS, last = 0;

	for (size_t i = 0; i < result->count; i++)
		counts[bucket_of(result->latencies_ns[i])]++;
	for (unsigned i = 0; i < BUCKETS; i++) {
		most = counts[i] > most ? counts[i] : most;
		if (counts[i]) {
			first = i < first ? i : first;
			last = i;
		}
	}
	printf("\n%s\n", plot_name(result));
	for (unsigned i = first; i <= last; i++) {
		double part = (double)counts[i] / (double)result->count;
		printf("  %8s .. %-8s ", time_of(UINT64_C(1) << i), time_of(UINT64_C(2) << i));
		for (size_t column = 0; column < (size_t)((double)counts[i] / (double)most * (double)columns + 0.5);
		     column++)
			fputs(text_is_unicode() ? "█" : "#", stdout);
		printf(" %.1f%%\n", part * 100);
	}
}

static void write_curve(FILE *to, const struct measure_result *result)
{
	/* From the middle to the slowest of a hundred thousand; the axis is the share that is slower. */
	for (double slower = 0.5; slower >= 1e-5 && (double)result->count * slower >= 1; slower /= 1.3) {
		size_t at = (size_t)((double)result->count * (1 - slower));
		fprintf(to, "%g %g\n", slower,
			(double)result->latencies_ns[at < result->count ? at : result->count - 1] / 1000);
	}
	fputs("e\n", to);
}

static void write_commands(FILE *to, const struct measure_result *results, size_t count)
{
	fputs("set terminal svg size 900,560 background rgb 'white'\nset title 'How long a durable append takes'\n"
	      "set xlabel 'share of appends that take longer'\n"
	      "set ylabel 'microseconds'\nset logscale xy\nset xrange [0.5:1e-5] reverse\nset format x '%g'\nset grid\n"
	      "set key outside right\nplot ",
	      to);
	for (size_t i = 0; i < count; i++)
		fprintf(to, "%s'-' with lines lw 2 title '%s'", i ? ", " : "", plot_name(&results[i]));
	fputc('\n', to);
	for (size_t i = 0; i < count; i++)
		write_curve(to, &results[i]);
}

/* gnuplot, reading from one descriptor and drawing to the other. 0, or an error number. */
static int start_gnuplot(int from, int picture, int unused, pid_t *child)
{
	char name[] = "gnuplot", *arguments[] = {name, NULL};
	posix_spawn_file_actions_t actions;

	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_adddup2(&actions, from, STDIN_FILENO);
	posix_spawn_file_actions_adddup2(&actions, picture, STDOUT_FILENO);
	posix_spawn_file_actions_addclose(&actions, unused);
	int err = posix_spawnp(child, name, &actions, NULL, arguments, environ);
	posix_spawn_file_actions_destroy(&actions);
	return err;
}

/* Leaves no picture behind where there was none. -1. */
static int give_up(const char *path, bool is_new)
{
	if (is_new)
		unlink(path);
	return -1;
}

int plot_svg(const struct measure_result *results, size_t count, const char *path)
{
	int ends[2], status = 0;
	pid_t child;

	bool is_new = access(path, F_OK) != 0;
	int picture = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
	if (picture < 0) {
		report("the plot cannot be written to %s: %s (choose another place)", path, strerror(errno));
		return -1;
	}
	if (pipe(ends)) {
		report_system("pipe");
		close(picture);
		return give_up(path, is_new);
	}
	int err = start_gnuplot(ends[0], picture, ends[1], &child);
	close(ends[0]);
	close(picture);
	if (err) {
		close(ends[1]);
		report("gnuplot cannot be run, so there is no plot: %s (on Debian: apt install gnuplot-nox)",
		       strerror(err));
		return give_up(path, is_new);
	}
	FILE *to = fdopen(ends[1], "w");
	if (to) {
		write_commands(to, results, count);
		err = fclose(to);
	} else {
		close(ends[1]);
	}
	if (waitpid(child, &status, 0) != child || status || err || !to) {
		report("gnuplot did not make %s", path);
		return give_up(path, is_new);
	}
	return 0;
}
