/*
 * poolset.h: what a pool set file says (docs/format/logpool.md, section 6). Text in, names and sizes out.
 */
#ifndef LOGPOOL_POOLSET_H
#define LOGPOOL_POOLSET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct poolset_part {
	char *path;
	uint64_t size; /* as the text says; may be more than an off_t holds */
	bool replica;  /* of the second copy, not of the first */
};

struct poolset {
	struct poolset_part *parts;
	size_t part_count;
	bool single_header, no_headers;
	bool local_replica, remote_replica;
};

enum { POOLSET_SIGNATURE_BYTES = 11, POOLSET_TEXT_MAX = 1 << 20 };

/* The first POOLSET_SIGNATURE_BYTES of a file say whether it is a pool set. */
bool poolset_recognise(const char *text, size_t bytes);

/*
 * Reads a pool set. 0, or -1 with NOT_A_POOL (name, reason and line in the message), ENOENT (an AUTO part that is
 * missing) or ENOMEM. text need not end in a zero byte. After 0 the caller calls poolset_free.
 */
int poolset_parse(struct poolset *set, const char *name, const char *text, size_t bytes);
void poolset_free(struct poolset *set);

#endif
