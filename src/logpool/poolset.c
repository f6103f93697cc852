/*
 * poolset.c: reads pool set files.
 *
 * Line by line, each cut into words; a line is a part, an OPTION or a REPLICA. The grammar is PMDK's, its leniencies
 * included (a sign in front of a size, OPTIONSINGLEHDR in one word), but a size that overflows saturates instead of
 * wrapping.
 */
#include "logpool/poolset.h"

#include "base/checked.h"
#include "base/error.h"
#include "logpool/format.h"
#include "logpool/memory.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { WORDS_MAX = 3, PARTS_MAX = 4096 };

static const char signature[] = "PMEMPOOLSET";
static const char option_word[] = "OPTION";
static const char replica_word[] = "REPLICA";
static const char blanks[] = " \t";
static const char white[] = " \t\n\v\f\r";

static const struct unit {
	const char *name;
	uint64_t bytes;
} units[] = {
	{"", 1},
	{"B", 1},
	{"K", UINT64_C(1) << 10},
	{"M", UINT64_C(1) << 20},
	{"G", UINT64_C(1) << 30},
	{"T", UINT64_C(1) << 40},
	{"P", UINT64_C(1) << 50},
	{"KiB", UINT64_C(1) << 10},
	{"MiB", UINT64_C(1) << 20},
	{"GiB", UINT64_C(1) << 30},
	{"TiB", UINT64_C(1) << 40},
	{"PiB", UINT64_C(1) << 50},
	{"kB", UINT64_C(1000)},
	{"MB", UINT64_C(1000000)},
	{"GB", UINT64_C(1000000000)},
	{"TB", UINT64_C(1000000000000)},
	{"PB", UINT64_C(1000000000000000)},
};

bool poolset_recognise(const char *text, size_t bytes)
{
	return bytes >= POOLSET_SIGNATURE_BYTES && memcmp(text, signature, POOLSET_SIGNATURE_BYTES) == 0;
}

static int refuse(const char *reason)
{
	return error_set(NOT_A_POOL, "%s", reason);
}

static int parse_size(char *word, uint64_t *size)
{
	char *unit;
	uint64_t bytes;

	/* White space that does not separate words, such as a carriage return, does not matter either. */
	word += strspn(word, white);
	word[strcspn(word, white)] = '\0';
	if (!isdigit((unsigned char)word[word[0] == '+' || word[0] == '-']))
		return refuse("a size is a decimal number with an optional unit");
	/* A number that is too large saturates, a negative one wraps: both are refused where a file of that size would
	 * be made or compared. */
	uint64_t number = strtoull(word, &unit, 10);
	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
		if (strcmp(unit, units[i].name) != 0)
			continue;
		if (!checked_mul(number, units[i].bytes, &bytes))
			bytes = UINT64_MAX;
		if (!bytes)
			return refuse("a size of zero");
		*size = bytes;
		return 0;
	}
	return refuse(
		"a size with an unknown unit: units are B, K M G T P, KiB to PiB and kB to PB, with no blank before");
}

static int parse_part(struct poolset *set, char *size_word, char *path, bool replica)
{
	struct stat status;
	uint64_t size = 0;

	if (path[0] != '/')
		return refuse("the path of a part must be absolute");
	if (strcmp(size_word, "AUTO") == 0) {
		if (stat(path, &status))
			return error_system("AUTO part %s", path);
		return refuse("AUTO is for device DAX, which is not supported: write the part's size");
	}
	if (parse_size(size_word, &size))
		return -1;
	if (set->part_count == PARTS_MAX)
		return refuse("too many parts");
	struct poolset_part *parts = memory_resize(set->parts, (set->part_count + 1) * sizeof(*parts));
	if (!parts)
		return -1;
	set->parts = parts;
	char *copy = memory_text(path);
	if (!copy)
		return -1;
	parts[set->part_count++] = (struct poolset_part){.path = copy, .size = size, .replica = replica};
	return 0;
}

static int parse_options(struct poolset *set, char *names)
{
	char *rest;
	char *name = strtok_r(names, blanks, &rest);

	if (!name)
		return refuse("OPTION without a name");
	for (; name; name = strtok_r(NULL, blanks, &rest)) {
		if (strcmp(name, "SINGLEHDR") == 0)
			set->single_header = true;
		else if (strcmp(name, "NOHDRS") == 0)
			set->no_headers = true;
		else
			return refuse("unknown option: there are SINGLEHDR and NOHDRS");
	}
	return 0;
}

static bool replica_is_empty(const struct poolset *set)
{
	return set->local_replica && !set->remote_replica &&
	       (!set->part_count || !set->parts[set->part_count - 1].replica);
}

static int parse_replica(struct poolset *set, char **words, size_t word_count, bool *in_remote)
{
	if (strcmp(words[0], replica_word) != 0)
		return refuse("exactly REPLICA expected");
	if (!set->part_count)
		return refuse("REPLICA before the first part");
	if (replica_is_empty(set))
		return refuse("REPLICA without parts");
	if (word_count == 2)
		return refuse("REPLICA takes nothing, or a host and a descriptor");
	*in_remote = word_count == 3;
	if (*in_remote && words[2][0] == '/')
		return refuse("the descriptor of a remote replica is a relative path");
	set->remote_replica |= *in_remote;
	set->local_replica |= !*in_remote;
	return 0;
}

static int parse_line(struct poolset *set, char *line, bool *in_remote)
{
	char *words[WORDS_MAX + 1];
	size_t word_count = 0;
	char *rest;

	line[strcspn(line, "#")] = '\0';
	if (strncmp(line, option_word, strlen(option_word)) == 0)
		return parse_options(set, line + strlen(option_word));
	for (char *word = strtok_r(line, blanks, &rest); word && word_count <= WORDS_MAX;
	     word = strtok_r(NULL, blanks, &rest))
		words[word_count++] = word;
	if (word_count && strncmp(words[0], replica_word, strlen(replica_word)) == 0)
		return word_count > WORDS_MAX ? refuse("REPLICA takes nothing, or a host and a descriptor")
					      : parse_replica(set, words, word_count, in_remote);
	if (word_count != 2)
		return refuse("a line is a size and a path, an OPTION, or a REPLICA");
	if (*in_remote)
		return refuse("a remote replica has no parts here");
	return parse_part(set, words[0], words[1], set->local_replica || set->remote_replica);
}

static int parse_lines(struct poolset *set, const char *name, char *text)
{
	bool in_remote = false;
	size_t number = 1;
	char *next;

	for (char *line = text; line; line = next, number++) {
		size_t length = strcspn(line, "\n");

		next = line[length] ? line + length + 1 : NULL;
		line[length] = '\0';
		bool is_last = !next && !length;
		if (length && line[length - 1] == '\r')
			line[length - 1] = '\0';
		int err = 0;
		if (number == 1) {
			if (strcmp(line, signature) != 0 || !next)
				err = refuse("the first line must be PMEMPOOLSET and nothing else");
		} else if (line[0] && line[0] != '#' && !is_last) {
			err = parse_line(set, line, &in_remote);
		}
		if (err)
			return error_prefix("pool set %s, line %zu", name, number);
	}
	if (!set->part_count)
		refuse("it has no parts");
	else if (replica_is_empty(set))
		refuse("a replica without parts");
	else
		return 0;
	return error_prefix("pool set %s", name);
}

int poolset_parse(struct poolset *set, const char *name, const char *text, size_t bytes)
{
	*set = (struct poolset){0};
	if (memchr(text, '\0', bytes))
		return error_set(NOT_A_POOL, "pool set %s: a zero byte in it", name);
	char *copy = memory_new(bytes + 1);
	if (!copy)
		return -1;
	memcpy(copy, text, bytes);
	int err = parse_lines(set, name, copy);
	memory_free(copy);
	if (err)
		poolset_free(set);
	return err;
}

void poolset_free(struct poolset *set)
{
	int err = errno;

	for (size_t i = 0; i < set->part_count; i++)
		memory_free(set->parts[i].path);
	memory_free(set->parts);
	*set = (struct poolset){0};
	errno = err;
}
