/*
 * one_pass.h: copies data past the cache and computes their CRC-64 on the way.
 */
#ifndef MEDIUM_ONE_PASS_H
#define MEDIUM_ONE_PASS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { ONE_PASS_FIRST_BYTES = 32 };

/* Whether this processor can; set before main, cleared by tests. */
extern bool one_pass_possible;

/*
 * Stores data from byte 32 on to a line-aligned place, past the cache: durable at the thread's next fence. bytes is 32
 * and whole lines. Returns the CRC-64 (base/crc64.h) of all data, the first 32 bytes included.
 */
uint64_t one_pass(char *to, const char *data, size_t bytes);

#endif
