/*
 * repair.h: the plan of a repair: what to write where, in which order.
 */
#ifndef STREAM_REPAIR_H
#define STREAM_REPAIR_H

#include "stream/survey.h"

/* Each is durable before the next begins. */
enum repair_phase {
	REPAIR_REDUNDANT, /* header copies, the allocator's words, region headers, limits */
	REPAIR_APPLIED,   /* the number that says that the allocator's words are in place */
	REPAIR_LOST,      /* headers over holes; entries that were dropped cannot come back */
	REPAIR_ANNOUNCED, /* stream slot: not clean; and where a round follows, all up to its P is vouched for */
	REPAIR_SLOTS,     /* region slots */
	REPAIR_ROUND,     /* stream slot: the round is complete, in the next epoch */
	REPAIR_COVERED,   /* slots of regions whose bad slot is what tells that they need one */
	REPAIR_MARKED, /* headers over entries whose data do not check: until then they lead to what is behind them */
};

struct repair_change {
	enum repair_phase phase;
	uint64_t off, bytes;
	const char *text;
	unsigned char to[FORMAT_HEADER_BYTES];
};

struct repair_plan {
	struct repair_change *changes; /* in the order of the phases */
	size_t count, room;
};

/* repair_plan.c: what makes a stream right that a deep survey can repair all of; the changes that would change
 * nothing are left out. 0, or -1 with ENOMEM, EOVERFLOW. */
int repair_plan(struct repair_plan *plan, const struct survey *survey);
void repair_plan_free(struct repair_plan *plan);

#endif
