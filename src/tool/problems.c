/*
 * problems.c: what pmemstream_check and pmemstream_repair find, for people and as JSON.
 */
#include "tool/problems.h"

#include "tool/text.h"

#include <stdio.h>
#include <string.h>

/* By enum pmemstream_problem_kind; with underscores for blanks in JSON. */
static const char *const kinds[] = {
	"problem",       "header copy",  "file size",    "stream slot", "allocator",  "extent",
	"region header", "region limit", "region slot",  "entries",     "entry data", "missing entries",
	"order",         "epoch",        "lost stretch", "other",
};

static const char *const severities[] = {"unknown", "harmless", "known", "damage"};

static const char *kind_of(const struct pmemstream_problem *problem)
{
	unsigned kind = problem->kind;

	return kinds[kind < sizeof(kinds) / sizeof(kinds[0]) ? kind : 0];
}

static const char *severity_of(const struct pmemstream_problem *problem)
{
	unsigned severity = problem->severity;

	return severities[severity < sizeof(severities) / sizeof(severities[0]) ? severity : 0];
}

static void print_place(const struct pmemstream_problem *problem)
{
	if (problem->offset != UINT64_MAX)
		printf(" at %zu", (size_t)problem->offset);
	if (problem->offset != UINT64_MAX && problem->bytes)
		printf(", %zu bytes", (size_t)problem->bytes);
	if (problem->region != UINT64_MAX && problem->region != problem->offset)
		printf(", region @%zu", (size_t)problem->region);
	if (problem->timestamp)
		printf(", timestamp %zu", (size_t)problem->timestamp);
}

static void print_text(const char *text)
{
	text_write(stdout, text ? text : "", text ? strlen(text) : 0, TEXT_ONE_LINE);
}

static void print_json(const struct problems *problems, const struct pmemstream_problem *problem)
{
	printf("%s\n  {\"kind\":\"", problems->count ? "," : "");
	for (const char *at = kind_of(problem); *at; at++)
		putchar(*at == ' ' ? '_' : *at);
	printf("\",\"severity\":\"%s\",\"repairable\":%s", severity_of(problem),
	       problem->repairable ? "true" : "false");
	if (problem->offset != UINT64_MAX)
		printf(",\"offset\":%zu,\"bytes\":%zu", (size_t)problem->offset, (size_t)problem->bytes);
	if (problem->region != UINT64_MAX)
		printf(",\"region\":%zu", (size_t)problem->region);
	if (problem->timestamp)
		printf(",\"timestamp\":%zu", (size_t)problem->timestamp);
	fputs(",\"cause\":", stdout);
	text_json_string(stdout, problem->cause ? problem->cause : "");
	fputs(",\"consequence\":", stdout);
	text_json_string(stdout, problem->consequence ? problem->consequence : "");
	putchar('}');
}

void problems_print(struct problems *problems, const struct pmemstream_problem *problem)
{
	progress_wipe(&problems->bar);
	if (problems->json) {
		print_json(problems, problem);
	} else {
		printf("%s: %s", severity_of(problem), kind_of(problem));
		print_place(problem);
		fputs("\n    ", stdout);
		print_text(problem->cause);
		fputs("\n    ", stdout);
		print_text(problem->consequence);
		putchar('\n');
	}
	problems->count++;
	problems->damage += problem->severity == PMEMSTREAM_DAMAGE;
	problems->known += problem->severity == PMEMSTREAM_KNOWN;
	problems->harmless += problem->severity == PMEMSTREAM_HARMLESS;
	problems->unrepairable += problem->severity == PMEMSTREAM_DAMAGE && !problem->repairable;
}

void problems_progress(struct problems *problems, const struct pmemstream_event *event)
{
	progress_draw(&problems->bar, event->done, event->total, "");
}
