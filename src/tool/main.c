/*
 * main.c: pmemstream(1): finds the command and runs it.
 */
#include "tool/output.h"
#include "tool/report.h"
#include "tool/text.h"
#include "tool/tool.h"

#include <stdio.h>
#include <string.h>

static const struct command *const commands[] = {
	&command_create, &command_region, &command_append, &command_cat,   &command_tail, &command_info,
	&command_check,  &command_repair, &command_dump,   &command_bench, &command_log,  &command_convert,
};

enum { COMMAND_COUNT = sizeof(commands) / sizeof(commands[0]) };

static void print_help(void)
{
	fputs("usage: pmemstream COMMAND FILE [OPTION]...\n"
	      "\n"
	      "Works with streams: logs of labelled regions that survive any power cut.\n"
	      "\n",
	      stdout);
	for (size_t i = 0; i < COMMAND_COUNT; i++)
		printf("  %-9s %s\n", commands[i]->name, commands[i]->summary);
	fputs("\n"
	      "'pmemstream COMMAND --help' and 'man pmemstream' tell more. To begin with:\n"
	      "\n"
	      "  pmemstream create my.stream --size 64M\n"
	      "  dmesg | pmemstream append my.stream --region kernel --create 16M\n"
	      "  pmemstream info my.stream\n"
	      "\n"
	      "Exit status: 0 done, 1 failed, 2 wrong usage, 3 damage found.\n",
	      stdout);
}

int main(int argc, char **argv)
{
	const char *name = argc > 1 ? argv[1] : NULL;

	output_begin();
	text_begin();
	if (!name) {
		report("a command is missing ('pmemstream --help' lists them)");
		return TOOL_USAGE;
	}
	if (!strcmp(name, "--help") || !strcmp(name, "-h")) {
		print_help();
		return output_end(TOOL_DONE);
	}
	if (!strcmp(name, "--version")) {
		puts("pmemstream " TOOL_VERSION);
		return output_end(TOOL_DONE);
	}
	for (size_t i = 0; i < COMMAND_COUNT; i++)
		if (!strcmp(commands[i]->name, name))
			return output_end(commands[i]->run(argc - 1, argv + 1));
	report("%s is no command ('pmemstream --help' lists them)", name);
	return TOOL_USAGE;
}
