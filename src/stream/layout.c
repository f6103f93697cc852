/*
 * layout.c: what lies where in a stream that is open.
 */
#include "base/error.h"
#include "base/export.h"
#include "stream/follow.h"

#include <errno.h>

EXPORT int pmemstream_list_extents(struct pmemstream *stream, struct pmemstream_extent *extents, size_t *count)
{
	if (!stream || !count || (*count && !extents))
		return error_set(EINVAL, "no %s",
				 !stream  ? "stream"
				 : !count ? "place for the count"
					  : "place for the extents");
	if (stream->follower)
		follow_look(stream);
	pthread_mutex_lock(&stream->admin);
	size_t found = extents_count(&stream->extents);
	for (size_t i = 0; i < found && i < *count; i++) {
		struct extent_view view = extents_get(&stream->extents, i);
		extents[i] = (struct pmemstream_extent){.offset = view.off, .bytes = view.bytes};
		if (!view.region)
			continue;
		extents[i].is_region = 1;
		extents[i].used = atomic_load_explicit(&view.region->tail_off, memory_order_acquire) - view.off -
				  FORMAT_REGION_HEADER_BYTES;
	}
	pthread_mutex_unlock(&stream->admin);
	*count = found;
	return 0;
}
