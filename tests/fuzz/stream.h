/*
 * stream.h: one input of the stream's fuzzing; see stream.c.
 */
#ifndef TESTS_FUZZ_STREAM_H
#define TESTS_FUZZ_STREAM_H

#include <stddef.h>
#include <stdint.h>

/* How often the changed stream could be opened for writing: 0, 1 or 2. Aborts where a claim does not hold. */
int fuzz_stream(const uint8_t *input, size_t bytes);

#endif
