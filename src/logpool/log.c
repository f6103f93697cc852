/*
 * log.c: a log's life on its medium, and its reads that take no lock.
 *
 * On media there are three words: start, end and write_offset. They are checked here once; afterwards positions are
 * kept in log_shared, and the medium is only written. Forked children share log_shared, so their appends are seen.
 */
#include "logpool/log.h"

#include "base/error.h"
#include "logpool/format.h"
#include "logpool/lock.h"
#include "logpool/walk.h"

#include <errno.h>
#include <string.h>

/* A commit on line media takes well below a microsecond; a process switch takes more. On page media it takes long. */
enum { SPIN_COUNT_LINES = 1024, SPIN_COUNT_PAGES = 1 };

int log_format(struct medium *medium)
{
	char descriptor[DESCRIPTOR_BYTES + SCRATCH_BYTES] = {0};
	char *to = medium->base + DESCRIPTOR_OFF;

	le64_store(descriptor + DESCRIPTOR_START_OFF - DESCRIPTOR_OFF, LOG_START_OFF);
	le64_store(descriptor + DESCRIPTOR_END_OFF - DESCRIPTOR_OFF, medium->size);
	le64_store(descriptor + DESCRIPTOR_WRITE_OFF - DESCRIPTOR_OFF, LOG_START_OFF);
	medium_copy(medium, to, descriptor, sizeof(descriptor));
	return medium_persist(medium, to, sizeof(descriptor));
}

static int validate_descriptor(const char *descriptor, uint64_t size)
{
	uint64_t start_off = le64_load(descriptor + DESCRIPTOR_START_OFF - DESCRIPTOR_OFF);
	uint64_t end_off = le64_load(descriptor + DESCRIPTOR_END_OFF - DESCRIPTOR_OFF);
	uint64_t write_off = le64_load(descriptor + DESCRIPTOR_WRITE_OFF - DESCRIPTOR_OFF);

	if (start_off != LOG_START_OFF || end_off != size)
		return error_set(NOT_A_POOL,
				 "the log is said to lie from %llu to %llu, the pool has it from %d to %llu",
				 (unsigned long long)start_off, (unsigned long long)end_off, LOG_START_OFF,
				 (unsigned long long)size);
	if (write_off < start_off || write_off > end_off)
		return error_set(NOT_A_POOL, "the end of the log's content is said to be at %llu, outside %llu to %llu",
				 (unsigned long long)write_off, (unsigned long long)start_off,
				 (unsigned long long)end_off);
	return 0;
}

/*
 * What was read may be in a cache alone: the last process may have died between store and write-back, or its write-back
 * failed. Appends are about to overwrite what another write_offset, still on the medium, would cover. So the word is
 * stored once more and made durable first. Scratch is where PMDK's library leaves addresses of its process.
 */
static int settle_descriptor(struct medium *medium, uint64_t write_off)
{
	static const char zeros[SCRATCH_BYTES];
	char *scratch = medium->base + SCRATCH_OFF;

	if (memcmp(scratch, zeros, sizeof(zeros)) != 0)
		medium_copy(medium, scratch, zeros, sizeof(zeros));
	medium_store8(medium, (uint64_t *)(medium->base + DESCRIPTOR_WRITE_OFF), htole64(write_off));
	return medium_persist(medium, medium->base + DESCRIPTOR_OFF, DESCRIPTOR_BYTES + SCRATCH_BYTES);
}

int log_attach(struct log *log, struct log_shared *shared, struct medium *medium, bool read_only)
{
	char descriptor[DESCRIPTOR_BYTES];

	if (medium->size < LOG_START_OFF)
		return error_set(NOT_A_POOL, "%zu bytes are too few for a log", medium->size);
	memcpy(descriptor, medium->base + DESCRIPTOR_OFF, sizeof(descriptor));
	if (validate_descriptor(descriptor, medium->size))
		return -1;
	uint64_t write_off = le64_load(descriptor + DESCRIPTOR_WRITE_OFF - DESCRIPTOR_OFF);
	if (!read_only && settle_descriptor(medium, write_off))
		return -1;

	memset(log, 0, sizeof(*log));
	memset(shared, 0, sizeof(*shared));
	log->medium = medium;
	log->shared = shared;
	log->end_off = medium->size;
	log->spin_count = medium->granularity == MEDIUM_PAGE ? SPIN_COUNT_PAGES : SPIN_COUNT_LINES;
	log->read_only = read_only;
	atomic_init(&shared->tail_off, write_off);
	atomic_init(&shared->durable_off, write_off);
	uint64_t line_off = write_off & ~(uint64_t)(MEDIUM_LINE_BYTES - 1);
	memcpy(shared->line, medium->base + line_off, write_off - line_off);
	if (lock_init(&shared->tail_lock) || lock_init(&shared->commit_lock))
		return -1;
	return walk_attach(log);
}

void log_detach(struct log *log)
{
	walk_detach(log);
}

uint64_t log_used_bytes(const struct log *log)
{
	return atomic_load_explicit(&log->shared->durable_off, memory_order_acquire) - LOG_START_OFF;
}

uint64_t log_capacity_bytes(const struct log *log)
{
	return log->end_off - LOG_START_OFF;
}

bool log_has_failed(const struct log *log)
{
	return atomic_load_explicit(&log->shared->failed, memory_order_acquire) != 0;
}
