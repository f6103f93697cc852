/*
 * test_words.h: what the tests of the crash model share. The stores go through the functions of medium.h, as those of
 * the code under test do. `values` asks for the set of values that one word may have after a power cut.
 */
#ifndef CUT_TEST_WORDS_H
#define CUT_TEST_WORDS_H

#include "base/error.h"
#include "cut/cut.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { BYTES = 16 * MEDIUM_PAGE_BYTES };

static inline uint64_t *word(struct cut *cut, size_t index)
{
	return (uint64_t *)cut_medium(cut)->base + index;
}

static inline void store(struct cut *cut, size_t index, uint64_t value)
{
	medium_store8(cut_medium(cut), word(cut, index), value);
}

static inline void stream(struct cut *cut, size_t index, uint64_t value)
{
	uint64_t line[8] = {value, value, value, value, value, value, value, value};

	medium_stream(cut_medium(cut), word(cut, index), line, 8, line + 1, 56);
}

static inline void flush(struct cut *cut, size_t index)
{
	medium_flush(cut_medium(cut), word(cut, index), 8);
}

static inline void fence(struct cut *cut)
{
	medium_fence(cut_medium(cut));
}

static inline int sync_word(struct cut *cut, size_t index)
{
	return medium_sync(cut_medium(cut), word(cut, index), 8);
}

/* The bits of the values (below 64) that the word has in any image. */
static inline uint64_t values(struct cut *cut, size_t index)
{
	uint64_t seen = 0, *image = malloc(BYTES);
	struct cut_images *images = cut_images_begin(cut, &(struct cut_plan){.samples = 8});

	while (cut_images_next(images, image)) {
		assert_true(image[index] < 64);
		seen |= UINT64_C(1) << image[index];
	}
	cut_images_end(images);
	free(image);
	return seen;
}

#define VALUES_2(a, b)    (UINT64_C(1) << (a) | UINT64_C(1) << (b))
#define VALUES_3(a, b, c) (VALUES_2(a, b) | UINT64_C(1) << (c))
#define VALUES_1(a)       (UINT64_C(1) << (a))

static inline void in_another_thread(struct cut *cut, void *(*run)(void *))
{
	pthread_t thread;

	assert_int_equal(pthread_create(&thread, NULL, run, cut), 0);
	assert_int_equal(pthread_join(thread, NULL), 0);
}

static inline void *fence_only(void *cut)
{
	fence(cut);
	return NULL;
}

static inline void *flush_and_fence(void *cut)
{
	flush(cut, 0);
	fence(cut);
	return NULL;
}

static inline void *store_1(void *cut)
{
	store(cut, 0, 1);
	return NULL;
}

static inline void *stream_1(void *cut)
{
	stream(cut, 0, 1);
	return NULL;
}

#endif
