/*
 * path.h: ending a stream that owns its file.
 */
#ifndef STREAM_PATH_H
#define STREAM_PATH_H

struct file;
struct pmemstream;

/* Before the stream's memory is freed: other processes are told that the writer ends. */
void path_close(struct pmemstream *stream);
/* After it: unmaps, unlocks and frees the file. NULL does nothing. */
void path_release(struct file *file);

#endif
