/*
 * log.h: the log inside a pool: append, rewind, tell and walk on a medium that holds one.
 *
 * Knows the descriptor (docs/format/logpool.md, section 4) and nothing of files, headers or pool sets, so that tests
 * can run it on any medium.
 */
#ifndef LOGPOOL_LOG_H
#define LOGPOOL_LOG_H

#include "logpool/lock.h"
#include "medium/medium.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

/*
 * What all processes that inherited an open log share. Offsets count from the start of the pool.
 * start <= durable_off <= tail_off <= end.
 */
struct log_shared {
	/* Appenders, one after the other: where the next append goes. Changed under tail_lock (and commit_lock, by
	 * rewind). line holds the bytes of the unfinished line in front of tail_off, for line media. */
	_Alignas(MEDIUM_LINE_BYTES) struct lock tail_lock;
	_Atomic uint64_t tail_off;
	_Alignas(MEDIUM_LINE_BYTES) char line[MEDIUM_LINE_BYTES];

	/* Committers, one for all: up to where the medium says so, durably. Changed under commit_lock. */
	_Alignas(MEDIUM_LINE_BYTES) struct lock commit_lock;
	_Atomic uint32_t commits;  /* changes with each commit: what waiters sleep on */
	_Atomic uint32_t sleepers; /* not zero: wake them; too high after a sleeper was killed, which costs a call */
	_Atomic uint64_t durable_off;

	_Alignas(MEDIUM_LINE_BYTES) _Atomic int failed; /* errno of the first write-back that failed; never cleared */
};

/* What each process has of its own. */
struct log {
	struct medium *medium;
	struct log_shared *shared;
	uint64_t end_off;
	unsigned spin_count;
	bool read_only;
	pthread_rwlock_t walkers; /* walks read-lock it, rewind write-locks it */
	_Atomic pid_t walkers_pid;
};

/* Writes the descriptor of an empty log and zeroed scratch, durably; 0, or -1 with errno. */
int log_format(struct medium *medium);

/*
 * Reads the descriptor of the medium and starts to work on it. 0, or -1 with NOT_A_POOL, or with errno when the locks
 * cannot be made or writing the descriptor back failed. Both structs and the medium are the caller's, must stay where
 * they are, and shared must be in memory that forks share if the medium is. log_detach ends it.
 */
int log_attach(struct log *log, struct log_shared *shared, struct medium *medium, bool read_only);
void log_detach(struct log *log);

/*
 * The calls behind pmemlog_append, _appendv, _rewind, _tell, _nbyte and _walk; the manual pages tell what they do.
 * -1 with errno: ENOSPC, EROFS, EDEADLK (inside a callback of log_walk on the same log), EIO or what the sync gave.
 */
int log_append(struct log *log, const struct iovec *vector, size_t vector_count);
int log_rewind(struct log *log);
uint64_t log_used_bytes(const struct log *log);
uint64_t log_capacity_bytes(const struct log *log);
int log_walk(struct log *log, size_t chunk_bytes, int (*callback)(const void *data, size_t bytes, void *context),
	     void *context);

/* True while this thread runs a callback of log_walk on this log. */
bool log_is_walking(const struct log *log);

/* A write-back failed: the medium may lack what was stored since. */
bool log_has_failed(const struct log *log);

#endif
