/*
 * area.h: the volatile area, through which a writer tells other processes how far it is (docs/format/stream.md, section
 * 9).
 *
 * The writer publishes committed and persisted there; both only rise while it lives. Who owns the next timestamp
 * exclusively may store plainly, in front of the stream's own word; everybody else raises, and behind it, so that the
 * published word lags for a moment: whoever reports the timestamp raises it, too (persist_told). A reader believes the
 * area only while the writer's second lock is held, and asks again after reading. Nothing here is ever made durable on
 * purpose.
 */
#ifndef STREAM_AREA_H
#define STREAM_AREA_H

#include "stream/stream.h"

enum {
	AREA_COMMITTED_OFF = FORMAT_VOLATILE_OFF,
	AREA_PERSISTED_OFF = FORMAT_VOLATILE_OFF + 8,
	AREA_FUTEX_OFF = FORMAT_VOLATILE_OFF + 64,
	AREA_SLEEPERS_OFF = FORMAT_VOLATILE_OFF + 68,
	AREA_EPOCH_OFF = FORMAT_VOLATILE_OFF + 128,
	AREA_STATE_OFF = FORMAT_VOLATILE_OFF + 132,
	AREA_PROCESS_OFF = FORMAT_VOLATILE_OFF + 136,
};

/* Writer: begins and ends publishing. */
void area_begin(struct pmemstream *stream);
void area_end(struct pmemstream *stream);
/* Wakes other processes that sleep on the futex word, if any said so. */
void area_wake(struct pmemstream *stream);
/* Wakes all that sleep on the futex word, whether they said so or not. */
void area_wake_sleepers(struct pmemstream *stream);
void area_publish_committed(struct pmemstream *stream);

static inline uint64_t area_load8(const struct medium *medium, uint64_t off)
{
	return le64toh(__atomic_load_n((uint64_t *)(medium->base + off), __ATOMIC_ACQUIRE));
}

static inline uint32_t area_load4(const struct medium *medium, uint64_t off)
{
	return le32toh(__atomic_load_n((uint32_t *)(medium->base + off), __ATOMIC_ACQUIRE));
}

/* Before persisted is raised by the only thread that can raise it now: who goes on from there finds it stored. */
static inline void area_store_persisted(struct pmemstream *stream, uint64_t timestamp)
{
	if (__builtin_expect(stream->published, 0))
		medium_tell8(&stream->medium, stream_at(stream, AREA_PERSISTED_OFF), htole64(timestamp));
}

/* The same for committed. */
static inline void area_store_committed(struct pmemstream *stream, uint64_t timestamp)
{
	if (stream->published)
		medium_tell8(&stream->medium, stream_at(stream, AREA_COMMITTED_OFF), htole64(timestamp));
}

/* By any thread, after it raised persisted to the timestamp or found it there. */
static inline void area_raise_persisted(struct pmemstream *stream, uint64_t timestamp)
{
	if (__builtin_expect(stream->published, 0))
		medium_raise8(&stream->medium, stream_at(stream, AREA_PERSISTED_OFF), timestamp);
}

static inline bool area_has_sleepers(struct pmemstream *stream)
{
	return __builtin_expect(stream->published, 0) && area_load4(&stream->medium, AREA_SLEEPERS_OFF) != 0;
}

/* What a reader finds there. */
struct area_view {
	bool live; /* a writer is ready; the rest means nothing otherwise */
	uint32_t epoch;
	uint64_t committed, persisted, process;
};

/* 0, or -1 with errno of the query. */
struct file;
int area_look(struct file *file, const struct medium *medium, struct area_view *view);

/* Reader: reads the futex word, registers where it may write (first_page: a medium of the file's first page), looks
 * once more, and sleeps until the writer wakes it or the time is over. Who could not register is woken by nobody. */
uint32_t area_futex(struct pmemstream *stream);
void area_register(struct medium *first_page);
void area_sleep(struct pmemstream *stream, uint32_t expected, uint64_t limit_ns);

#endif
