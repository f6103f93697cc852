/*
 * event.h: a descriptor for event loops.
 */
#ifndef STREAM_EVENT_H
#define STREAM_EVENT_H

#include "stream/stream.h"

/* Before the stream is freed: ends the helper thread and closes the descriptor. */
void event_close(struct pmemstream *stream);

#endif
