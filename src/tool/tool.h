/*
 * tool.h: what the commands of pmemstream(1) share.
 *
 * A command is a function that gets argc and argv as main does, with its own name as argv[0], and returns an exit
 * status. It uses public headers only. Messages go to standard error, one line each; results to standard output.
 */
#ifndef TOOL_TOOL_H
#define TOOL_TOOL_H

#include <getopt.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The exit statuses that pmemstream(1) documents. */
enum tool_status { TOOL_DONE = 0, TOOL_FAILED = 1, TOOL_USAGE = 2, TOOL_DAMAGE = 3 };

struct command {
	const char *name;
	const char *summary; /* one line of the list of commands */
	const char *help;    /* all of what --help prints */
	int (*run)(int argc, char **argv);
};

extern const struct command command_append, command_bench, command_cat, command_check, command_convert, command_create,
	command_dump, command_info, command_log, command_region, command_repair, command_tail;

/* What options_next returns besides the values of struct option. */
enum { OPTIONS_END = -1, OPTIONS_LEAVE = -2 };

/*
 * The next option of a command, like getopt_long; options and operands come in any order. OPTIONS_LEAVE: --help was
 * answered or an error reported, and the command ends with *status. At OPTIONS_END argv[optind] is the first operand.
 * Every table ends with OPTIONS_COMMON.
 */
int options_next(const struct command *command, int argc, char **argv, const char *letters,
		 const struct option *options, int *status);
#define OPTIONS_COMMON                                                                                                 \
	{"help", no_argument, NULL, 'h'},                                                                              \
	{                                                                                                              \
		NULL, 0, NULL, 0                                                                                       \
	}

/* Reports wrong usage in one line and says where help is; returns TOOL_USAGE. */
int options_wrong(const struct command *command, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Whether there are as many operands as wanted; says so if not. names: "FILE LABEL", for the message. */
bool options_operands(const struct command *command, int argc, int least, int most, const char *names);

/*
 * Numbers on the command line. false, and the reason as options_wrong reports it, if text is no number in range.
 * Sizes: 4096, 64K, 64KiB, 1G (powers of 1024), 64KB (powers of 1000).
 */
bool options_size(const struct command *command, const char *option, const char *text, uint64_t *bytes);
bool options_number(const struct command *command, const char *option, const char *text, uint64_t least,
		    uint64_t *number);

/* Seconds with decimals, above 0 and up to an hour: in nanoseconds. */
bool options_seconds(const struct command *command, const char *option, const char *text, uint64_t *ns);

/* The place of text in a list of words that ends with NULL; -1, reported, if it is none of them. */
int options_word(const struct command *command, const char *option, const char *text, const char *const *words);

#endif
