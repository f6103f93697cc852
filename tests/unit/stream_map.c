/*
 * stream_map.c: files, maps and streams for the tests of libpmemstream.
 */
#include "stream_map.h"

#include "../walks.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

const char *const map_granularities[MAP_GRANULARITIES] = {"BYTE", "CACHE_LINE", "PAGE"};

void mapped_new(struct mapped *mapped, const char *granularity, size_t bytes)
{
	char path[] = "stream.XXXXXX";

	*mapped = (struct mapped){.bytes = bytes, .granularity = granularity};
	mapped->fd = mkstemp(path);
	assert_true(mapped->fd >= 0);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(ftruncate(mapped->fd, (off_t)bytes), 0);
	mapped_again(mapped, PMEM2_PROT_READ | PMEM2_PROT_WRITE, PMEM2_SHARED);
}

void mapped_again(struct mapped *mapped, unsigned protection, enum pmem2_sharing_type sharing)
{
	struct pmem2_config *config;
	struct pmem2_source *source;

	if (mapped->map)
		pmem2_map_delete(&mapped->map);
	setenv("PMEM2_FORCE_GRANULARITY", mapped->granularity, 1);
	assert_int_equal(pmem2_config_new(&config), 0);
	assert_int_equal(pmem2_config_set_required_store_granularity(config, PMEM2_GRANULARITY_PAGE), 0);
	assert_int_equal(pmem2_config_set_protection(config, protection), 0);
	assert_int_equal(pmem2_config_set_sharing(config, sharing), 0);
	assert_int_equal(pmem2_source_from_fd(&source, mapped->fd), 0);
	assert_int_equal(pmem2_map_new(&mapped->map, config, source), 0);
	pmem2_source_delete(&source);
	pmem2_config_delete(&config);
}

void mapped_resize(struct mapped *mapped, size_t bytes)
{
	pmem2_map_delete(&mapped->map);
	assert_int_equal(ftruncate(mapped->fd, (off_t)bytes), 0);
	mapped->bytes = bytes;
	mapped_again(mapped, PMEM2_PROT_READ | PMEM2_PROT_WRITE, PMEM2_SHARED);
}

void mapped_free(struct mapped *mapped)
{
	pmem2_map_delete(&mapped->map);
	close(mapped->fd);
}

unsigned char *mapped_content(const struct mapped *mapped)
{
	unsigned char *content = malloc(mapped->bytes);

	assert_non_null(content);
	assert_int_equal(pread(mapped->fd, content, mapped->bytes, 0), mapped->bytes);
	return content;
}

void mapped_write(const struct mapped *mapped, const void *from, size_t bytes, size_t off)
{
	assert_int_equal(pwrite(mapped->fd, from, bytes, (off_t)off), bytes);
}

static void open_in(struct opened *opened)
{
	if (pmemstream_from_map(&opened->stream, opened->block_size, opened->file.map))
		fail_msg("from_map: %s", pmemstream_errormsg());
}

void opened_new(struct opened *opened, const char *granularity, size_t bytes, size_t block_size)
{
	*opened = (struct opened){.block_size = block_size};
	mapped_new(&opened->file, granularity, bytes);
	open_in(opened);
}

void opened_again(struct opened *opened)
{
	pmemstream_delete(&opened->stream);
	mapped_again(&opened->file, PMEM2_PROT_READ | PMEM2_PROT_WRITE, PMEM2_SHARED);
	open_in(opened);
}

void opened_read_only(struct opened *opened)
{
	pmemstream_delete(&opened->stream);
	mapped_again(&opened->file, PMEM2_PROT_READ, PMEM2_SHARED);
	open_in(opened);
}

void opened_free(struct opened *opened)
{
	pmemstream_delete(&opened->stream);
	assert_null(opened->stream);
	mapped_free(&opened->file);
}

struct pmemstream_region region_of(struct pmemstream *stream, size_t bytes)
{
	struct pmemstream_region region;

	if (pmemstream_region_allocate(stream, bytes, &region))
		fail_msg("region_allocate of %zu: %s", bytes, pmemstream_errormsg());
	return region;
}

struct pmemstream_entry append_text(struct pmemstream *stream, struct pmemstream_region region, const char *text)
{
	struct pmemstream_entry entry;

	if (pmemstream_append(stream, region, NULL, text, strlen(text), &entry))
		fail_msg("append of \"%s\": %s", text, pmemstream_errormsg());
	return entry;
}

void assert_texts(struct pmemstream *stream, struct pmemstream_region region, ...)
{
	struct pmemstream_entry_iterator *iterator;
	const char *text;
	va_list texts;

	assert_int_equal(pmemstream_entry_iterator_new(&iterator, stream, region), 0);
	pmemstream_entry_iterator_seek_first(iterator);
	va_start(texts, region);
	while ((text = va_arg(texts, const char *))) {
		if (pmemstream_entry_iterator_is_valid(iterator))
			fail_msg("\"%s\" is not there: %s", text, pmemstream_errormsg());
		struct pmemstream_entry entry = pmemstream_entry_iterator_get(iterator);
		assert_int_equal(pmemstream_entry_size(stream, entry), strlen(text));
		assert_memory_equal(pmemstream_entry_data(stream, entry), text, strlen(text));
		pmemstream_entry_iterator_next(iterator);
	}
	va_end(texts);
	assert_fails(stream, pmemstream_entry_iterator_is_valid(iterator), ENODATA);
	pmemstream_entry_iterator_delete(&iterator);
	assert_null(iterator);
}

size_t count_entries(struct pmemstream *stream, struct pmemstream_region region)
{
	struct pmemstream_entry_iterator *iterator;
	size_t count = 0;

	assert_int_equal(pmemstream_entry_iterator_new(&iterator, stream, region), 0);
	pmemstream_entry_iterator_seek_first(iterator);
	for (; !pmemstream_entry_iterator_is_valid(iterator); pmemstream_entry_iterator_next(iterator))
		count++;
	assert_int_equal(errno, ENODATA);
	pmemstream_entry_iterator_delete(&iterator);
	const char *different = walks_differ(stream, region, count % 2);
	if (different)
		fail_msg("%s", different);
	return count;
}

void wait_persisted(struct pmemstream *stream, uint64_t timestamp)
{
	struct pmemstream_async_wait_fut wait = pmemstream_async_wait_persisted(stream, timestamp);

	FUTURE_BUSY_POLL(&wait);
	assert_int_equal(wait.output.error_code, 0);
}

void provoke(struct pmemstream *stream)
{
	assert_int_equal(pmemstream_entry_space(stream, SIZE_MAX), 0);
	assert_true(strstr(pmemstream_errormsg(), "an entry has at most"));
	errno = 0;
}

void assert_error_was_set(struct pmemstream *stream, int err, const char *call)
{
	int found = errno;
	char *message = strdup(pmemstream_errormsg());

	(void)stream;
	assert_non_null(message);
	if (found != err)
		fail_msg("%s left errno %d (%s), not %d: %s", call, found, strerror(found), err, message);
	if (!message[0] || strstr(message, "an entry has at most"))
		fail_msg("%s left no message of its own: \"%s\"", call, message);
	free(message);
	errno = found;
}
