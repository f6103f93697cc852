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

/* After a lock was refused: adds who holds it, as far as he told. Returns -1, keeps errno. */
int path_name_holder(struct file *file);

#endif
