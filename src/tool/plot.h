/*
 * plot.h: results of bench as pictures.
 */
#ifndef TOOL_PLOT_H
#define TOOL_PLOT_H

#include "tool/measure.h"

/* A name for people: size, kind of durability and threads: "64 B each x4". Good until the next call. */
const char *plot_name(const struct measure_result *result);

/* A histogram of latencies on standard output, in buckets that double, as wide as the terminal. */
void plot_histogram(const struct measure_result *result);

/* Latency over percentile of all results, drawn by gnuplot into a file that is made or replaced. 0, or -1, reported. */
int plot_svg(const struct measure_result *results, size_t count, const char *path);

#endif
