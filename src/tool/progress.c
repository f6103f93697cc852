/*
 * progress.c: a bar on standard error for long work, where that is a terminal; nothing elsewhere.
 */
#include "tool/progress.h"

#include "tool/text.h"

#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#define FIRST_NS UINT64_C(500000000)
#define AGAIN_NS UINT64_C(100000000)

enum { BAR_COLUMNS = 30 };

uint64_t progress_now_ns(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec;
}

void progress_begin(struct progress *progress, const char *what)
{
	*progress = (struct progress){.what = what, .begin_ns = progress_now_ns()};
}

/* The line must not wrap, or it could not be wiped. */
static int columns(void)
{
	struct winsize size;

	return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) || !size.ws_col ? 79 : size.ws_col - 1;
}

void progress_draw(struct progress *progress, uint64_t done, uint64_t total, const char *detail)
{
	uint64_t now = progress_now_ns();
	char line[256], bar[BAR_COLUMNS + 1];

	if (now - progress->begin_ns < FIRST_NS || now - progress->drawn_ns < AGAIN_NS || !isatty(STDERR_FILENO))
		return;
	progress->drawn_ns = now;
	progress->shown = true;
	if (total) {
		double part = done < total ? (double)done / (double)total : 1.0;
		int filled = (int)(part * BAR_COLUMNS);
		memset(bar, '.', BAR_COLUMNS);
		memset(bar, '#', (size_t)filled);
		bar[BAR_COLUMNS] = '\0';
		snprintf(line, sizeof(line), "%s [%s] %3.0f%% %s", progress->what, bar, part * 100, detail);
	} else {
		snprintf(line, sizeof(line), "%s %s", progress->what, detail);
	}
	fprintf(stderr, "\r\033[K%.*s", columns(), line);
	fflush(stderr);
}

void progress_wipe(struct progress *progress)
{
	if (progress->shown)
		fputs("\r\033[K", stderr);
	progress->shown = false;
}
