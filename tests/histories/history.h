/*
 * history.h: one random history: lives of processes on a machine whose medium holds one stream.
 *
 *     play.c     the lives: opening, actions, and how each one ends
 *     actions.c  what a process does with its stream
 *     second.c   a second thread that comes in between
 *     damage.c   the medium damages what was acknowledged, and somebody has to say so
 *     check.c    compares what can be read with the shadow
 *
 * A broken promise is kept as text by history_violation; the first one counts, and ends the history.
 */
#ifndef HISTORIES_HISTORY_H
#define HISTORIES_HISTORY_H

#include "histories/machine.h"
#include "histories/mover.h"
#include "histories/random.h"
#include "histories/second.h"
#include "histories/shadow.h"
#include "stream/stream.h"

enum action {
	ACT_APPEND,
	ACT_ASYNC,
	ACT_MOVE,
	ACT_BATCH,
	ACT_WAIT,
	ACT_RESERVE,
	ACT_PUBLISH,
	ACT_ALLOCATE,
	ACT_FREE,
	ACT_ROUND,
	ACT_LOOK,
	ACT_FAULT,
	ACT_COUNT
};

/* What the medium damaged while nobody ran: an acknowledged entry, or something of the stream's own. */
struct damage {
	uint64_t timestamp; /* 0: no entry */
	bool in_header;
	bool vouched;     /* something that is still there says that the entry was durable */
	uint64_t own_off; /* a byte of a header, slot, record or word; 0: none */
};

/* What happened, to see that a campaign reaches what it is meant to reach. */
struct statistics {
	uint64_t histories, actions, openings, clean_openings, interrupted_openings;
	uint64_t kills, power_cuts, deaths_inside, entries_checked, entries_dropped, fillers_checked;
	uint64_t regions_made, regions_freed, faults, read_only_openings;
	uint64_t damages, damages_at_open, damages_at_read, damages_excepted, damages_healed;
};

struct history {
	/* The same for many histories. */
	struct machine machine;
	struct mover mover;
	struct second second;
	struct data_mover_sync *synchronous;
	struct shadow shadow;
	struct statistics statistics;
	enum medium_granularity granularity;
	unsigned steps_max;
	bool tracing;

	/* Of this one. */
	uint64_t seed;
	struct random random;
	struct stream_options options;
	unsigned weights[ACT_COUNT], weight_sum, data_bytes_max, regions_max;
	bool short_lives, has_second;
	bool decays; /* the medium may damage entries */
	bool faulty; /* a failed sync or write-back may show up */
	bool ended;  /* the damage was reported */
	unsigned step;
	uint64_t read_only_end; /* of the stream as a reader found it just now; UINT64_MAX: nobody looked */
	uint64_t reopened_at;   /* end of the stream when this process opened it */
	struct damage damage;
	struct pmemstream *stream;
	unsigned char *old[2]; /* what the medium held at some earlier time */
	size_t medium_bytes;
	char failure[1024];
};

/* Plays the history of a seed from an empty medium; 0, or -1: failure says why. */
int history_play(struct history *history, uint64_t seed);
void history_init(struct history *history, enum medium_granularity granularity, unsigned steps_max, bool tracing);
void history_free(struct history *history);

void history_violation(struct history *history, const char *format, ...) __attribute__((format(printf, 2, 3)));
void history_trace(struct history *history, const char *format, ...) __attribute__((format(printf, 2, 3)));

static inline bool history_failed(const struct history *history)
{
	return history->failure[0] != '\0';
}

/* actions.c: one action of the living process; afterwards machine.dead may be set. */
void action_take(struct history *history);
/* What the second thread does beside a call of the first. */
void action_of_second(struct history *history);
/* Marks what is persisted as promised, and looks at the order of the marks. */
void action_note_promises(struct history *history);

/* check.c */
void check_reopened(struct history *history);
void check_alive(struct history *history);

/* Opens for reading only, where a reopening is due, and leaves everything as it was. */
void check_read_only(struct history *history);

/* damage.c: after a power cut, before reopening. */
void damage_something(struct history *history);
/* The reopening failed with EBADMSG, or worked. */
void damage_reported_at_open(struct history *history);
void damage_opened(struct history *history);

#endif
