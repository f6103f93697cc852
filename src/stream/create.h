/*
 * create.h: telling an empty map from a stream and from anything else, and making a stream of an empty one.
 */
#ifndef STREAM_CREATE_H
#define STREAM_CREATE_H

#include "stream/stream.h"

enum found { FOUND_ERROR = -1, FOUND_STREAM, FOUND_EMPTY };

/* Looks at a map without changing it. FOUND_STREAM: the header, and which of its copies are valid. FOUND_ERROR with
 * EINVAL (no stream), ENOTSUP (a layout or a feature that this library does not know), EBADMSG (a damaged stream). */
enum found create_recognise(const struct medium *medium, struct format_header *header, bool copy_valid[2]);

/* Makes a stream of an empty map; stream->header says how. 0, or -1 with EIO. A cut leaves an empty map or one that
 * says that it is being created. */
int create_stream(struct pmemstream *stream);

#endif
