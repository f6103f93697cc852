/*
 * error.h: the one error idiom of the libraries.
 *
 * A function that fails returns -1 (or NULL), sets errno and leaves a message in a buffer of the calling thread.
 * Each level may put its own context in front of it: region "web" at 8192: entry at 8448: checksum mismatch.
 */
#ifndef BASE_ERROR_H
#define BASE_ERROR_H

#include <stddef.h>

enum { ERROR_MESSAGE_MAX = 8192 };

/* Sets errno to err and the message; returns -1, so that a caller can write: return error_set(EINVAL, "..."). */
int error_set(int err, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Like error_set for a failed system call: appends ": " and the text of errno, which stays as it is. */
int error_system(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Puts context in front of the message; keeps errno; returns -1. */
int error_prefix(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* The calling thread's message; never NULL, empty before the first failure or after error_clear. */
const char *error_message(void);
void error_clear(void);

#endif
