/*
 * check.c: pmemstream check: validates a stream without writing to it.
 */
#include "tool/opening.h"
#include "tool/output.h"
#include "tool/problems.h"
#include "tool/report.h"
#include "tool/text.h"
#include "tool/tool.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static const char help[] = "usage: pmemstream check FILE [--deep] [--json]\n"
			   "\n"
			   "Checks a stream that no process writes to, and changes nothing. Tells each problem with "
			   "its place, its cause, and\n"
			   "what it means: 'harmless' is what a power cut may leave, 'known' was accepted by a repair, "
			   "'damage' is a loss, or\n"
			   "cannot be told without a repair.\n"
			   "\n"
			   "      --deep  read all entries, too; without it, those that no checkpoint covers\n"
			   "      --json  an object with the list of problems\n"
			   "\n"
			   "The exit status is 3 if there is damage.\n";

static const struct option options[] = {
	{"deep", no_argument, NULL, 'd'},
	{"json", no_argument, NULL, 'j'},
	OPTIONS_COMMON,
};

static int handle(const struct pmemstream_event *event, void *argument)
{
	struct problems *problems = argument;

	if (event->kind == PMEMSTREAM_EVENT_PROBLEM)
		problems_print(problems, &event->problem);
	else if (event->kind == PMEMSTREAM_EVENT_PROGRESS)
		problems_progress(problems, event);
	return !output_works();
}

static int finish(struct problems *problems, int result, int err, uint32_t flags)
{
	bool damaged = result && err == EBADMSG;
	int status = damaged ? TOOL_DAMAGE : result && err != ECANCELED ? TOOL_FAILED : TOOL_DONE;

	progress_wipe(&problems->bar);
	if (problems->json)
		printf("%s],\"damage\":%s,\"complete\":%s}\n", problems->count ? "\n" : "", damaged ? "true" : "false",
		       status == TOOL_FAILED ? "false" : "true");
	errno = err;
	if (status == TOOL_FAILED)
		return report_stream(problems->path, "check");
	if (problems->json)
		return status;
	text_write(stdout, problems->path, strlen(problems->path), TEXT_ONE_LINE);
	if (damaged) {
		printf(": damaged: %zu of %zu problems are damage%s\n", (size_t)problems->damage,
		       (size_t)problems->count,
		       problems->unrepairable ? ", some beyond repair"
					      : " ('pmemstream repair' shows what it would do before it does it)");
		/* The library always has something to say, also where it could tell no place. */
		if (!problems->damage)
			report("%s", pmemstream_errormsg());
	} else {
		printf(": sound%s", flags & PMEMSTREAM_CHECK_DEEP ? ", every entry" : "");
		if (problems->count)
			printf(" (%zu harmless, %zu known)", (size_t)problems->harmless, (size_t)problems->known);
		putchar('\n');
	}
	return status;
}

static int run(int argc, char **argv)
{
	struct problems problems = {0};
	uint32_t flags = 0;
	int option, status;

	while ((option = options_next(&command_check, argc, argv, "", options, &status)) != OPTIONS_END) {
		if (option == OPTIONS_LEAVE)
			return status;
		if (option == 'd')
			flags |= PMEMSTREAM_CHECK_DEEP;
		else
			problems.json = true;
	}
	if (!options_operands(&command_check, argc, 1, 1, "FILE"))
		return TOOL_USAGE;
	problems.path = argv[optind];
	report_bus_errors(problems.path);
	progress_begin(&problems.bar, "check");
	if (problems.json)
		fputs("{\"problems\":[", stdout);
	int result = pmemstream_check(problems.path, flags, handle, &problems);
	return finish(&problems, result, errno, flags);
}

const struct command command_check = {"check", "validate without writing", help, run};
