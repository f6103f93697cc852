/*
 * harness.h: a machine on which a stream lives, dies and comes back, and what a caller knows about that stream.
 *
 * A machine is a cut (cut/cut.h) with a stream open on it. A script is a string of letters, one operation each:
 *
 *     region   first live one  newest live one
 *     append          a        A        and return durable
 *     append          d                 larger
 *     async append    s        S        copied at once, nobody waits
 *     async append    m        M        by a data mover that takes its time
 *     async append    i                 by a data mover that fails
 *     publish         r        R        reserve, write, publish less than was reserved
 *     async publish   q        Q
 *     reserve         x                 and leave it open;  y: and cancel
 *     batch           b                 two entries, first and newest region;  B: four
 *     append          g        G        large, from two pieces
 *     append          t        T        by another thread, behind a copy that is not finished;  T: a batch of two
 *     free            f        F
 *     allocate        n                 small;  N: large, with a label
 *     wait            w        persisted, for all that was submitted;  v: committed
 *     close and reopen         c
 *     kill the process, reopen k
 *     cut the power, reopen    p: nothing but durable words stay;  P: all stay;  h, H: some, by seed
 *     fail the next sync       e        (PAGE)
 *
 * What is known is what a correct caller knows: which entries and regions were submitted, which were acknowledged. It
 * is brought up to date before an operation begins (submitted) and after it returned (acknowledged), so that it holds
 * at any moment in between, and is compared with the stream after each opening: all that was acknowledged is there,
 * byte for byte, with its timestamp and epoch; what is there is a dense prefix of what was submitted; regions are there
 * in order of allocation, none that was freed; what the opening did not keep is struck out for ever, and told by its
 * epoch if it comes back with the same bytes. The bytes of an entry follow from its timestamp and size alone, so a
 * retry writes the same words once more: what a torn record needs to come alive.
 */
#ifndef CRASH_HARNESS_H
#define CRASH_HARNESS_H

#include "cut/cut.h"
#include "stream/stream.h"

enum { KNOWN_ENTRIES_MAX = 160, KNOWN_REGIONS_MAX = 48, MOVER_OPERATIONS = 64, SCRIPT_MAX = 160 };

struct known_entry {
	unsigned region; /* index */
	uint32_t bytes, epoch;
	bool may_hide; /* the mover failed: an entry or a filler */
	bool more;     /* of a batch, and not its last */
};

enum known_state { REGION_ALLOCATING, REGION_LIVE, REGION_FREEING, REGION_GONE };

struct known_region {
	uint64_t off, bytes;
	enum known_state state;
};

struct known {
	struct known_entry entries[KNOWN_ENTRIES_MAX]; /* by timestamp - 1 */
	uint64_t submitted, acknowledged;
	struct known_region regions[KNOWN_REGIONS_MAX]; /* in order of allocation */
	unsigned region_count;
	bool exists;     /* the stream was created, and that was acknowledged */
	bool exact;      /* the next opening must find what an earlier look did: */
	uint64_t expect; /* the end of the run */
};

struct config {
	const char *name;
	enum medium_granularity granularity;
	uint32_t alignment, window;
	uint64_t round_bytes, block_size;
	size_t media_bytes;
};

struct mover_operation {
	struct mover *mover;
	unsigned polls_left;
};

struct mover {
	struct vdm vdm;
	struct cut *cut;
	unsigned polls;    /* that an operation takes */
	bool owned, wakes; /* only its owner's polls count; takes the waker */
	pthread_t owner;
	struct mover_operation operations[MOVER_OPERATIONS];
	unsigned next;
};

struct machine {
	struct cut *cut;
	const struct config *config;
	struct pmemstream *stream; /* NULL: closed */
	struct known known;
	struct mover slow, failing, owned;
	bool failing_sync;             /* e: the next sync fails, if there is one */
	const struct cut_watch *watch; /* to be set again after a restart */
	uint64_t random;
};

enum outcome { DONE, SKIPPED, FAILED };

/* An empty medium; machine_on: a cut that the caller keeps, with what is known of it. */
void machine_begin(struct machine *machine, const struct config *config);
void machine_on(struct machine *machine, const struct config *config, struct cut *cut, const struct known *known);
/* Drops the stream's memory, touches no medium, deletes the cut of machine_begin. */
void machine_end(struct machine *machine);

/* Opens the stream, compares it with what is known, and learns what was kept. 0, or -1 with a message. errno is EIO and
 * the stream NULL where the opening itself failed by an injected sync. */
int machine_open(struct machine *machine);
/* The opening alone. */
int machine_attach(struct machine *machine);
/* Forgets the stream as a dying process does. */
void machine_drop(struct machine *machine);
/* Compares what iterators show now with what is known. */
int machine_compare(struct machine *machine);
/* A read-only opening must show a state that is allowed, and change nothing; what it finds the next opening must, too.
 */
int machine_look(struct machine *machine);

/* One operation. FAILED: with a message. SKIPPED: it has no meaning here and did nothing. */
enum outcome machine_do(struct machine *machine, char operation);
/* The same without a comparison behind it. */
enum outcome machine_try(struct machine *machine, char operation);
enum outcome machine_run(struct machine *machine, const char *script);

uint64_t machine_random(struct machine *machine);

/* Bytes of the entry with a timestamp. */
void entry_bytes(uint64_t timestamp, uint32_t bytes, unsigned char *to);

/* ---- Watching ---- */

struct watcher {
	struct machine *machine; /* whose knowledge counts */
	unsigned depth;
	unsigned deeper_one_in; /* of so many images one is recovered under watch again; 0: none */
	struct cut_plan plans[3];
	bool kills;      /* also kills at each moment, at depth 0 */
	unsigned levels; /* 1: images; 2: and images of their recovery; at most 3 */
	uint64_t images; /* checked, all levels */
	struct cut_watch watch;
};

void watcher_begin(struct watcher *watcher, struct machine *machine);
void watcher_end(struct watcher *watcher);

/* A script on a new machine, its last operation under watch; of an empty script, the creation. */
enum { FAILURE_BYTES = 4096 };
enum outcome watch_last(struct watcher *watcher, const struct config *config, const char *script,
			char failure[FAILURE_BYTES]);

/* What the test programs use: plans that are bounded. */
extern const struct watcher watcher_default;

#endif
