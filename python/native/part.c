/*
 * part.c: what belongs to a stream ends with it, though Python may keep it for longer.
 *
 * Order    guard_enter -> the part's mutex -> the library. A stream is closed when nobody is inside: then every part is
 *          ended, before the stream itself.
 * Memory   a part keeps the struct of its stream, not what is open in it.
 * Fork     a child gives nothing back: its copies of locks and lists may have been taken in the middle of a change.
 */
#include "part.h"

#include <stdlib.h>

void part_begin(struct part *part, struct stream *owner, void (*end)(struct part *part))
{
	part->owner = owner;
	part->end = end;
	pthread_mutex_init(&part->mutex, NULL);
	atomic_fetch_add(&owner->references, 1);
	pthread_mutex_lock(&owner->parts_mutex);
	part->next = owner->parts;
	part->link = &owner->parts;
	if (part->next)
		part->next->link = &part->next;
	owner->parts = part;
	pthread_mutex_unlock(&owner->parts_mutex);
}

/* Under the owner's mutex. */
static void take_out(struct part *part)
{
	*part->link = part->next;
	if (part->next)
		part->next->link = part->link;
	part->link = NULL;
	part->end(part);
}

void part_end(struct part *part)
{
	pthread_mutex_lock(&part->owner->parts_mutex);
	if (part->link)
		take_out(part);
	pthread_mutex_unlock(&part->owner->parts_mutex);
}

void parts_end_all(struct stream *stream)
{
	pthread_mutex_lock(&stream->parts_mutex);
	while (stream->parts)
		take_out(stream->parts);
	pthread_mutex_unlock(&stream->parts_mutex);
}

int part_enter(struct part *part, struct stay *stay)
{
	if (guard_enter(&part->owner->guard, stay))
		return -1;
	pthread_mutex_lock(&part->mutex);
	if (part->link)
		return 0;
	part_leave(part, stay);
	return failure_set(FAILURE_CLOSED, "it is over");
}

void part_leave(struct part *part, struct stay *stay)
{
	pthread_mutex_unlock(&part->mutex);
	guard_leave(stay);
}

void part_release(struct part *part)
{
	struct stream *owner = part->owner;

	if (guard_is_foreign(&owner->guard))
		return;
	part_end(part);
	pthread_mutex_destroy(&part->mutex);
	free(part);
	stream_unreference(owner);
}
