/*
 * one_pass.c: copies data past the cache and computes their CRC-64 on the way.
 *
 * A long copy waits for the medium, line by line, so what is computed between the lines costs nothing; computed in
 * front of them it costs its full time (docs/design/performance.md).
 *
 * A CRC is the remainder of the data, a polynomial over GF(2) with its first bit as the highest power, by P. 128 bits
 * that stand 512 bits further on are worth H x^576 + L x^512 there, where H and L are their halves; any remainder of
 * those powers by P does as well, and two products of 64 by 64 bits fit in 128. So each line is folded into the next
 * one, 16 bytes by 16, and the last line has the CRC of them all, which is ISA-L's to compute.
 */
#include "medium/one_pass.h"

#include "base/crc64.h"

#include <string.h>

bool one_pass_possible;

#if defined(__x86_64__)
#include <immintrin.h>

enum { LINE_BYTES = 64, HALF_BYTES = 32 };

/* x^512 and x^576 by x^64 + 0xad93d23594c935a9. */
#define X_TO_512 INT64_C(0x4e501e58ca43d25e)
#define X_TO_576 INT64_C(0x13c961588f27f643)

#define TARGET __attribute__((target("avx2,vpclmulqdq")))

__attribute__((constructor)) static void ask_processor(void)
{
	__builtin_cpu_init();
	one_pass_possible = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("vpclmulqdq");
}

/* First bit highest, in each 16 bytes; and back. */
TARGET static inline __m256i turn(__m256i half)
{
	return _mm256_shuffle_epi8(
		half, _mm256_broadcastsi128_si256(_mm_set_epi8(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15)));
}

TARGET static inline __m256i fold(__m256i half, __m256i onto)
{
	__m256i powers = _mm256_broadcastsi128_si256(_mm_set_epi64x(X_TO_576, X_TO_512));
	__m256i low = _mm256_clmulepi64_epi128(half, powers, 0x00);
	__m256i high = _mm256_clmulepi64_epi128(half, powers, 0x11);

	return _mm256_xor_si256(_mm256_xor_si256(high, low), turn(onto));
}

TARGET uint64_t one_pass(char *to, const char *data, size_t bytes)
{
	_Alignas(LINE_BYTES) char last[LINE_BYTES];

	/* The first half line stands behind zeros, which are worth nothing. A CRC begins with all bits of its register
	 * set, which is to add them to the first 8 bytes. */
	__m256i front = _mm256_setzero_si256();
	__m256i back = _mm256_loadu_si256((const __m256i *)data);
	back = turn(_mm256_xor_si256(back, _mm256_set_epi64x(0, 0, 0, -1)));
	for (size_t off = ONE_PASS_FIRST_BYTES; off < bytes; off += LINE_BYTES, to += LINE_BYTES) {
		__m256i next_front = _mm256_loadu_si256((const __m256i *)(data + off));
		__m256i next_back = _mm256_loadu_si256((const __m256i *)(data + off + HALF_BYTES));
		_mm256_stream_si256((__m256i *)to, next_front);
		_mm256_stream_si256((__m256i *)(to + HALF_BYTES), next_back);
		front = fold(front, next_front);
		back = fold(back, next_back);
	}
	_mm256_store_si256((__m256i *)last, turn(front));
	_mm256_store_si256((__m256i *)(last + HALF_BYTES), turn(back));
	/* All bits of the register are in the data already: it goes on from 0. */
	return crc64(UINT64_MAX, last, LINE_BYTES);
}
#else
uint64_t one_pass(char *to, const char *data, size_t bytes)
{
	memcpy(to, data + ONE_PASS_FIRST_BYTES, bytes - ONE_PASS_FIRST_BYTES);
	return crc64(0, data, bytes);
}
#endif
