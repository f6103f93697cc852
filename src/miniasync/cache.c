/*
 * cache.c: writes cache lines back, and stores past the caches.
 *
 * The libraries that map persistent memory do this through src/medium. This library stands on no mapping and on no
 * other library, and must do it for memory of any kind; so it has the few instructions itself.
 *
 * Order      Everything here ends with the fence that makes it finished for other threads too: non-temporal stores are
 *            not ordered by the release store with which a mover says "complete". The fence comes last, always.
 * Lines      64 bytes on every x86-64 processor; AArch64 says it in CTR_EL0. A partial line is written back whole.
 * Threads    A line is written back from whichever cache holds it, whoever stored to it.
 *
 * On other processors writing back is a full fence only, and the stores are ordinary ones.
 */
#include "miniasync/cache.h"

#include <stdatomic.h>
#include <stdint.h>
#include <string.h>

#if defined(__x86_64__)

#include <cpuid.h>
#include <immintrin.h>

enum { LINE_BYTES = 64 };
enum write_back { UNKNOWN, CLFLUSH, CLFLUSHOPT, CLWB };

static enum write_back ask_processor(void)
{
	unsigned eax, ebx, ecx, edx;

	if (!__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx))
		return CLFLUSH;
	if (ebx & 1U << 24)
		return CLWB;
	return ebx & 1U << 23 ? CLFLUSHOPT : CLFLUSH;
}

__attribute__((target("clwb"))) static void write_back_clwb(char *line, const char *end)
{
	for (; line < end; line += LINE_BYTES)
		_mm_clwb(line);
}

__attribute__((target("clflushopt"))) static void write_back_clflushopt(char *line, const char *end)
{
	for (; line < end; line += LINE_BYTES)
		_mm_clflushopt(line);
}

static void write_back_clflush(char *line, const char *end)
{
	for (; line < end; line += LINE_BYTES)
		_mm_clflush(line);
}

void cache_write_back(const void *at, size_t bytes)
{
	static _Atomic enum write_back known;
	enum write_back way = atomic_load_explicit(&known, memory_order_relaxed);
	const char *end = (const char *)at + bytes;
	char *line = (char *)((uintptr_t)at / LINE_BYTES * LINE_BYTES);

	if (bytes == 0)
		return;
	if (way == UNKNOWN) {
		way = ask_processor();
		atomic_store_explicit(&known, way, memory_order_relaxed);
	}
	if (way == CLWB)
		write_back_clwb(line, end);
	else if (way == CLFLUSHOPT)
		write_back_clflushopt(line, end);
	else
		write_back_clflush(line, end);
	_mm_sfence();
}

/* Bytes up to the first line of the destination, no more than there are. */
static size_t bytes_to_line(const void *to, size_t bytes)
{
	size_t head = (LINE_BYTES - (uintptr_t)to % LINE_BYTES) % LINE_BYTES;

	return head < bytes ? head : bytes;
}

void cache_stream_copy(void *to, const void *from, size_t bytes)
{
	size_t head = bytes_to_line(to, bytes);
	char *destination = (char *)to + head;
	const char *source = (const char *)from + head;
	size_t left = bytes - head;

	if (head)
		memcpy(to, from, head);
	for (; left >= LINE_BYTES; left -= LINE_BYTES) {
		for (size_t part = 0; part < LINE_BYTES; part += sizeof(__m128i)) {
			__m128i value = _mm_loadu_si128((const __m128i *)(const void *)(source + part));

			_mm_stream_si128((__m128i *)(void *)(destination + part), value);
		}
		destination += LINE_BYTES;
		source += LINE_BYTES;
	}
	if (left)
		memcpy(destination, source, left);
	_mm_sfence();
}

void cache_stream_set(void *to, int c, size_t bytes)
{
	size_t head = bytes_to_line(to, bytes);
	char *destination = (char *)to + head;
	size_t left = bytes - head;
	__m128i value = _mm_set1_epi8((char)c);

	if (head)
		memset(to, c, head);
	for (; left >= LINE_BYTES; left -= LINE_BYTES) {
		for (size_t part = 0; part < LINE_BYTES; part += sizeof(__m128i))
			_mm_stream_si128((__m128i *)(void *)(destination + part), value);
		destination += LINE_BYTES;
	}
	if (left)
		memset(destination, c, left);
	_mm_sfence();
}

#else

#if defined(__aarch64__)

#include <asm/hwcap.h>
#include <sys/auxv.h>

void cache_write_back(const void *at, size_t bytes)
{
	uint64_t cache_type;

	__asm__("mrs %0, ctr_el0" : "=r"(cache_type));
	uintptr_t line_bytes = (uintptr_t)4 << (cache_type >> 16 & 15);
	uintptr_t end = (uintptr_t)at + bytes;
	int to_persistence = (getauxval(AT_HWCAP) & HWCAP_DCPOP) != 0;

	if (bytes == 0)
		return;
	for (uintptr_t line = (uintptr_t)at / line_bytes * line_bytes; line < end; line += line_bytes) {
		if (to_persistence) /* dc cvap, by its encoding: older assemblers do not know the name */
			__asm__ __volatile__("sys #3, c7, c12, #1, %0" ::"r"(line) : "memory");
		else
			__asm__ __volatile__("dc cvac, %0" ::"r"(line) : "memory");
	}
	__asm__ __volatile__("dsb sy" ::: "memory");
}

#else

void cache_write_back(const void *at, size_t bytes)
{
	(void)at;
	(void)bytes;
	atomic_thread_fence(memory_order_seq_cst);
}

#endif

void cache_stream_copy(void *to, const void *from, size_t bytes)
{
	if (bytes)
		memcpy(to, from, bytes);
}

void cache_stream_set(void *to, int c, size_t bytes)
{
	if (bytes)
		memset(to, c, bytes);
}

#endif
