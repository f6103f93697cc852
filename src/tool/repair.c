/*
 * repair.c: pmemstream repair: makes a damaged stream one that can be opened.
 *
 * First a dry run, which shows all that would be changed; then, if that is wanted, the repair, which keeps the bytes in
 * front of each change. A kill or a power cut in between leaves a stream that can be repaired again.
 */
#include "tool/backup.h"
#include "tool/output.h"
#include "tool/problems.h"
#include "tool/report.h"
#include "tool/text.h"
#include "tool/tool.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char help[] = "usage: pmemstream repair FILE [--yes | --dry-run]\n"
			   "\n"
			   "Makes a damaged stream one that can be opened again: restores what has a second copy, and "
			   "marks damaged entries as\n"
			   "lost. Nothing that is valid is dropped. Shows what it will change, asks, and keeps the "
			   "bytes that it changes in\n"
			   "FILE.before-repair-N, from which 'xxd -r FILE.before-repair-N FILE' puts them back.\n"
			   "\n"
			   "  -y, --yes      do not ask\n"
			   "      --dry-run  show what would be changed, and change nothing\n"
			   "\n"
			   "The exit status is 3 if the stream cannot be repaired, 1 if it was not.\n";

static const struct option options[] = {
	{"yes", no_argument, NULL, 'y'},
	{"dry-run", no_argument, NULL, 'n'},
	OPTIONS_COMMON,
};

struct job {
	struct problems problems;
	struct backup backup;
	bool dry, no_backup;
	uint64_t changes, bytes;
};

static int handle(const struct pmemstream_event *event, void *argument)
{
	struct job *job = argument;

	switch (event->kind) {
	case PMEMSTREAM_EVENT_PROBLEM:
		if (job->dry)
			problems_print(&job->problems, &event->problem);
		return 0;
	case PMEMSTREAM_EVENT_PROGRESS:
		problems_progress(&job->problems, event);
		return 0;
	case PMEMSTREAM_EVENT_CHANGE:
		break;
	}
	progress_wipe(&job->problems.bar);
	job->changes++;
	job->bytes += event->bytes;
	if (job->dry) {
		printf("change %zu: %zu bytes at %zu: ", (size_t)job->changes, (size_t)event->bytes,
		       (size_t)event->offset);
		text_write(stdout, event->text, strlen(event->text), TEXT_ONE_LINE);
		putchar('\n');
		return 0;
	}
	job->no_backup = backup_keep(&job->backup, job->problems.path, event->offset, event->before, event->bytes);
	return job->no_backup;
}

/* One run of the repair. TOOL_DONE, or what was reported. */
static int repair(struct job *job, bool dry)
{
	job->dry = dry;
	job->changes = job->bytes = 0;
	progress_begin(&job->problems.bar, dry ? "look" : "repair");
	int result = pmemstream_repair(job->problems.path, dry ? PMEMSTREAM_DRY_RUN : 0, handle, job);
	int err = errno;
	progress_wipe(&job->problems.bar);
	if (!result)
		return TOOL_DONE;
	if (job->no_backup)
		return TOOL_FAILED;
	if (err == EBADMSG) {
		report("%s cannot be repaired, and was not changed: %s", job->problems.path, pmemstream_errormsg());
		return TOOL_DAMAGE;
	}
	errno = err;
	return report_stream(job->problems.path, "repair");
}

/* Whether the user wants it. */
static bool agreed(const struct job *job)
{
	char *line = NULL;
	size_t room = 0;

	if (!isatty(STDIN_FILENO)) {
		report("nothing was changed: give --yes to make these changes");
		return false;
	}
	printf("\nMake %s (%zu bytes) in ", job->changes == 1 ? "this change" : "these changes", (size_t)job->bytes);
	text_write(stdout, job->problems.path, strlen(job->problems.path), TEXT_ONE_LINE);
	fputs("? [y/N] ", stdout);
	fflush(stdout);
	bool yes = getline(&line, &room, stdin) > 0 && (line[0] == 'y' || line[0] == 'Y');
	free(line);
	if (!yes)
		report("nothing was changed");
	return yes;
}

static int run(int argc, char **argv)
{
	struct job job = {.backup.descriptor = -1};
	bool yes = false, dry = false;
	int option, status;

	while ((option = options_next(&command_repair, argc, argv, "y", options, &status)) != OPTIONS_END) {
		if (option == OPTIONS_LEAVE)
			return status;
		if (option == 'y')
			yes = true;
		else
			dry = true;
	}
	if (!options_operands(&command_repair, argc, 1, 1, "FILE"))
		return TOOL_USAGE;
	if (yes && dry)
		return options_wrong(&command_repair, "--yes and --dry-run exclude one another");
	job.problems.path = argv[optind];
	report_bus_errors(job.problems.path);
	status = repair(&job, true);
	if (status)
		return status;
	if (!job.changes) {
		text_write(stdout, job.problems.path, strlen(job.problems.path), TEXT_ONE_LINE);
		puts(": nothing to repair");
		return TOOL_DONE;
	}
	if (dry)
		return TOOL_DONE;
	if (!yes && !agreed(&job))
		return TOOL_FAILED;
	status = repair(&job, false);
	backup_end(&job.backup);
	if (!status) {
		printf("repaired: %zu change%s, %zu bytes; what was there before is in ", (size_t)job.changes,
		       job.changes == 1 ? "" : "s", (size_t)job.bytes);
		text_write(stdout, job.backup.name, strlen(job.backup.name), TEXT_ONE_LINE);
		putchar('\n');
	}
	return status;
}

const struct command command_repair = {"repair", "make a damaged stream usable again", help, run};
