/*
 * append.h: what all ways of adding an entry share (append.c, reserve.c, batch.c).
 */
#ifndef STREAM_APPEND_H
#define STREAM_APPEND_H

#include "stream/window.h"

/* A number of its own for each thread that ever lived: who holds a reservation. */
uint64_t append_thread_token(void);

/* Why a region cannot take an entry at once. Positive verdicts are errno values that end the attempt. */
enum { ADMIT_OK = 0, ADMIT_WINDOW_FULL = -1, ADMIT_RESERVED = -2 };

/* Under the order lock: may this thread add count entries, which take space bytes together, to the region now? */
int append_admit(struct pmemstream *stream, struct region *region, uint64_t generation, uint64_t space, uint64_t count);

/* What an entry takes; UINT64_MAX, which fits nowhere, where size is more than an entry can have. */
static inline uint64_t append_space(struct pmemstream *stream, uint64_t size)
{
	return size > FORMAT_ENTRY_SIZE_MAX ? UINT64_MAX : format_entry_space(size, stream->alignment);
}

/* Whether an entry of that size, if it is a large one, can still fit. What cannot is not to be read, since a size that
 * is wrong may reach behind the caller's memory: append_take refuses it. */
bool append_may_fit(struct pmemstream *stream, struct region *region, uint64_t size);

/* Waits, without the order lock, for what append_admit named, until deadline_ns of CLOCK_MONOTONIC, which it sets when
 * it is 0. 0: try again, or -1 with errno and message. */
int append_wait(struct pmemstream *stream, struct region *region, uint64_t generation, uint64_t space, int verdict,
		uint64_t *deadline_ns);

/* Takes place and timestamp for an entry, and writes down where it lies: in the thread's note (window_own_note) until
 * append_finish, or in the slot if that is NULL. 0, or -1 with errno and message and nothing changed. */
int append_take(struct pmemstream *stream, struct region *region, uint64_t generation, uint64_t size,
		struct window_note *note, struct ticket *ticket);

/* The header of a ticket's entry as it goes to the medium, and in fields. */
void append_header(struct pmemstream *stream, const struct ticket *ticket, uint32_t data_crc, uint16_t flags,
		   struct format_entry *entry, unsigned char *encoded);

/* Header and data to the medium; on media with lines the calling thread's next fence makes them durable, with the
 * limit. */
void append_store(struct pmemstream *stream, const struct ticket *ticket, const unsigned char *header, const void *data,
		  uint64_t size);
/* Flushes an entry that was stored by ordinary stores, and the limit if the entry raised it. */
void append_flush(struct pmemstream *stream, const struct ticket *ticket);
void append_flush_limit(struct pmemstream *stream, const struct ticket *ticket);

/* Makes entries with consecutive timestamps durable that this thread stored, the tickets first to last of one array,
 * and runs a round where one is due. 0, or -1 with EIO or ECANCELED. The stream is not to be touched behind it: it may
 * be deleted. */
int append_finish(struct pmemstream *stream, const struct ticket *first, const struct ticket *last);

/* At the end of an asynchronous append: runs a round where one is due. */
void append_done(struct pmemstream *stream, const struct ticket *ticket);

#endif
