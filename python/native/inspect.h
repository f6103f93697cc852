/*
 * inspect.h: checking, repairing and describing files that nobody has open, as nvm.pmemstream calls it.
 */
#ifndef NATIVE_INSPECT_H
#define NATIVE_INSPECT_H

#include "stream.h"

typedef int (*inspect_event_fn)(const struct pmemstream_event *event, void *arg);
typedef int (*inspect_field_fn)(const struct pmemstream_field *field, void *arg);

int inspect_check(const char *path, uint32_t flags, inspect_event_fn callback, void *arg);
int inspect_repair(const char *path, uint32_t flags, inspect_event_fn callback, void *arg);
int inspect_describe(const char *path, uint64_t offset, inspect_field_fn callback, void *arg);
int inspect_extents(struct stream *stream, struct pmemstream_extent *extents, size_t *count);

#endif
