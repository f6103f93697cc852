/*
 * cache.h: the processor's caches, for the movers' own copy functions. See cache.c.
 */
#ifndef MINIASYNC_CACHE_H
#define MINIASYNC_CACHE_H

#include <stddef.h>

/* Writes the lines of a range back towards memory and waits for that (where the processor has a way to say so). */
void cache_write_back(const void *at, size_t bytes);

/* memcpy and memset that leave no lines of the destination in the caches where that can be avoided, fence included. */
void cache_stream_copy(void *to, const void *from, size_t bytes);
void cache_stream_set(void *to, int c, size_t bytes);

#endif
