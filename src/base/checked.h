/*
 * checked.h: arithmetic that cannot wrap unseen. True means that the result fits and was stored.
 */
#ifndef BASE_CHECKED_H
#define BASE_CHECKED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

static inline bool checked_add(uint64_t a, uint64_t b, uint64_t *sum)
{
	return !__builtin_add_overflow(a, b, sum);
}

static inline bool checked_mul(uint64_t a, uint64_t b, uint64_t *product)
{
	return !__builtin_mul_overflow(a, b, product);
}

/* Rounds up to a multiple of alignment, a power of two. */
static inline bool checked_round_up(uint64_t value, uint64_t alignment, uint64_t *rounded)
{
	if (__builtin_add_overflow(value, alignment - 1, rounded))
		return false;
	*rounded &= ~(alignment - 1);
	return true;
}

static inline uint64_t round_down(uint64_t value, uint64_t alignment)
{
	return value & ~(alignment - 1);
}

static inline bool is_power_of_two(uint64_t value)
{
	return value != 0 && (value & (value - 1)) == 0;
}

#endif
