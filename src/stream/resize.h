/*
 * resize.h: growing a stream.
 */
#ifndef STREAM_RESIZE_H
#define STREAM_RESIZE_H

#include "stream/stream.h"

/* Under the admin mutex: the stream gets bytes bytes, more than it has. Its file grows where the map does not reach so
 * far. 0, or -1 with EINVAL, EFBIG, EROFS, EIO, ENOMEM and the errors of file_grow. */
int resize_grow(struct pmemstream *stream, uint64_t bytes);

#endif
