/*
 * options.c: reads the command line: getopt_long, numbers, sizes, words.
 */
#include "tool/report.h"
#include "tool/tool.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Says what getopt_long did not like: it leaves 0 in optopt for a long option that is unknown or not unique. */
static int wrong_option(const struct command *command, const char *text, const struct option *options)
{
	bool is_long = !strncmp(text, "--", 2);
	size_t bytes = strcspn(text, "=");
	int alike = 0;

	if (!is_long)
		return options_wrong(command, "option -%c is not known", optopt);
	for (; options->name; options++)
		alike += !strncmp(options->name, text + 2, bytes - 2);
	return options_wrong(command, "option %.*s %s", (int)bytes, text,
			     alike > 1 ? "is not unique: write more of it"
			     : optopt  ? "takes no value"
				       : "is not known");
}

int options_next(const struct command *command, int argc, char **argv, const char *letters,
		 const struct option *options, int *status)
{
	char with_help[64];
	int value;

	/* The colon keeps getopt quiet and tells a missing argument from an unknown option. */
	snprintf(with_help, sizeof(with_help), ":%sh", letters);
	opterr = 0;
	value = getopt_long(argc, argv, with_help, options, NULL);
	if (value == 'h') {
		fputs(command->help, stdout);
		*status = TOOL_DONE;
		return OPTIONS_LEAVE;
	}
	if (value == ':') {
		*status = options_wrong(command, "%s needs a value", argv[optind - 1]);
		return OPTIONS_LEAVE;
	}
	if (value == '?') {
		*status = wrong_option(command, argv[optind - 1], options);
		return OPTIONS_LEAVE;
	}
	return value;
}

int options_wrong(const struct command *command, const char *format, ...)
{
	char message[1024];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(message, sizeof(message), format, arguments);
	va_end(arguments);
	report("%s: %s ('pmemstream %s --help' tells more)", command->name, message, command->name);
	return TOOL_USAGE;
}

bool options_operands(const struct command *command, int argc, int least, int most, const char *names)
{
	int count = argc - optind;

	if (count >= least && (most < 0 || count <= most))
		return true;
	options_wrong(command, "%s; give %s", count < least ? "an operand is missing" : "too many operands", names);
	return false;
}

/* What a size's suffix multiplies with; 0: no suffix of a size. */
static uint64_t multiplier(const char *suffix)
{
	static const char letters[] = "KMGTP";
	const char *letter = *suffix ? strchr(letters, toupper((unsigned char)*suffix)) : NULL;
	uint64_t base = 1024, product = 1;

	if (!*suffix || !strcmp(suffix, "B"))
		return 1;
	if (!letter)
		return 0;
	if (!strcmp(suffix + 1, "B"))
		base = 1000;
	else if (suffix[1] && strcmp(suffix + 1, "iB"))
		return 0;
	for (const char *at = letters; at <= letter; at++)
		product *= base;
	return product;
}

/* Digits, and where they end; false if there are none or too many. strtoull would take signs and blanks, too. */
static bool digits(const char *text, uint64_t *value, const char **end)
{
	char *behind;

	if (!isdigit((unsigned char)*text))
		return false;
	errno = 0;
	*value = strtoull(text, &behind, 10);
	*end = behind;
	return !errno;
}

bool options_size(const struct command *command, const char *option, const char *text, uint64_t *bytes)
{
	uint64_t value, factor, product;
	const char *suffix;

	if (!digits(text, &value, &suffix) || !(factor = multiplier(suffix))) {
		options_wrong(command, "%s %s is no size: write 4096, 64K, 1M or 1GiB", option, text);
		return false;
	}
	if (__builtin_mul_overflow(value, factor, &product) || product > INT64_MAX) {
		options_wrong(command, "%s %s is more than a file can have", option, text);
		return false;
	}
	if (!product) {
		options_wrong(command, "%s %s is nothing", option, text);
		return false;
	}
	*bytes = product;
	return true;
}

bool options_number(const struct command *command, const char *option, const char *text, uint64_t least,
		    uint64_t *number)
{
	uint64_t value;
	const char *end;

	bool hexadecimal = !strncmp(text, "0x", 2) && isxdigit((unsigned char)text[2]);

	if (hexadecimal) {
		char *behind;
		errno = 0;
		value = strtoull(text, &behind, 16);
		end = errno ? text : behind;
	} else if (!digits(text, &value, &end)) {
		end = text;
	}
	if (end == text || *end || value < least) {
		options_wrong(command, "%s %s is no number from %zu on", option, text, (size_t)least);
		return false;
	}
	*number = value;
	return true;
}

bool options_seconds(const struct command *command, const char *option, const char *text, uint64_t *ns)
{
	enum { MOST = 3600 };
	char *end = NULL;
	double seconds = strspn(text, "0123456789.") == strlen(text) ? strtod(text, &end) : 0;

	if (!end || end == text || *end || !(seconds > 0 && seconds <= MOST)) {
		options_wrong(command, "%s %s is no number of seconds above 0 and up to %d", option, text, MOST);
		return false;
	}
	*ns = (uint64_t)(seconds * 1e9);
	return true;
}

int options_word(const struct command *command, const char *option, const char *text, const char *const *words)
{
	char all[256] = "";

	for (int i = 0; words[i]; i++) {
		if (!strcmp(words[i], text))
			return i;
		size_t used = strlen(all);
		snprintf(all + used, sizeof(all) - used, "%s%s", i ? ", " : "", words[i]);
	}
	options_wrong(command, "%s cannot be %s; it is one of %s", option, text, all);
	return -1;
}
