/*
 * inspect.c: the library's calls that work on a file; they need no guard, and their callbacks run in the calling
 * thread.
 */
#include "inspect.h"

#include "part.h"

int inspect_check(const char *path, uint32_t flags, inspect_event_fn callback, void *arg)
{
	return pmemstream_check(path, flags, callback, arg) ? stream_failure() : 0;
}

int inspect_repair(const char *path, uint32_t flags, inspect_event_fn callback, void *arg)
{
	return pmemstream_repair(path, flags, callback, arg) ? stream_failure() : 0;
}

int inspect_describe(const char *path, uint64_t offset, inspect_field_fn callback, void *arg)
{
	return pmemstream_describe(path, offset, callback, arg) ? stream_failure() : 0;
}

int inspect_extents(struct stream *stream, struct pmemstream_extent *extents, size_t *count)
{
	struct stay stay;

	if (guard_enter(&stream->guard, &stay))
		return -1;
	int err = pmemstream_list_extents(stream->stream, extents, count) ? stream_failure() : 0;
	guard_leave(&stay);
	return err;
}
