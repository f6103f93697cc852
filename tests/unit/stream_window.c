/*
 * stream_window.c: slots of the window that are used again while another thread looks at them.
 *
 * What the other thread does is done inside of a flush of the scan itself, so that it comes at the worst moment each
 * time.
 */
#include "stream/window.h"

#include <libminiasync.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { MEDIUM_BYTES = 4 << 20, ENTRIES = 3 };

static struct medium_ops watched;
static const struct medium_ops *real;
static struct pmemstream *stream;
static bool in_scan;

/* The first flush of the scan: all its timestamps become durable, and the last one's slot is being filled anew, with a
 * longer entry than what is left of the medium behind the old one. */
static void op_flush(struct medium *medium, const void *at, size_t bytes)
{
	assert_true((const char *)at >= medium->base && bytes <= MEDIUM_BYTES &&
		    (const char *)at + bytes <= medium->base + MEDIUM_BYTES);
	real->flush(medium, at, bytes);
	if (!in_scan)
		return;
	in_scan = false;
	atomic_store(&stream->persisted, ENTRIES);
	atomic_store(&window_slot(stream, ENTRIES)->bytes, MEDIUM_BYTES);
}

static void a_slot_that_is_used_again_beside_a_scan_makes_it_flush_nothing_out_of_the_map(void **state)
{
	(void)state;
	const struct stream_options options = {.block_size = 64, .salt = 1};
	struct data_mover_sync *sync = data_mover_sync_new();
	char *base = aligned_alloc(MEDIUM_PAGE_BYTES, MEDIUM_BYTES);
	struct pmemstream_region regions[2];
	struct window_scan scan;
	struct medium medium;

	memset(base, 0, MEDIUM_BYTES);
	assert_int_equal(medium_from_range(&medium, base, MEDIUM_BYTES, MEDIUM_CACHE_LINE, true), 0);
	assert_int_equal(stream_open(&stream, &medium, &options), 0);
	real = stream->medium.ops;
	watched = *real;
	watched.flush = op_flush;
	stream->medium.ops = &watched;
	for (int i = 0; i < 2; i++)
		assert_int_equal(pmemstream_region_allocate(stream, 1 << 20, &regions[i]), 0);
	/* No neighbours, so each is flushed by itself. */
	for (int i = 0; i < ENTRIES; i++)
		assert_int_equal(pmemstream_async_append(stream, data_mover_sync_get_vdm(sync), regions[i % 2], NULL,
							 "entry", 5, NULL),
				 0);
	in_scan = true;
	window_scan(stream, ENTRIES, true, &scan);
	assert_false(in_scan);
	window_advance(stream, &scan);
	assert_int_equal(stream_persisted(stream), ENTRIES);
	pmemstream_delete(&stream);
	data_mover_sync_delete(sync);
	free(base);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_slot_that_is_used_again_beside_a_scan_makes_it_flush_nothing_out_of_the_map),
	};

	return cmocka_run_group_tests_name("stream_window", tests, NULL, NULL);
}
