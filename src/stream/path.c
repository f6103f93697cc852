/*
 * path.c: streams that own their file: create and open by path.
 *
 * Order   lock -> map -> recovery, which clears the volatile area -> area filled in -> second lock: from then on other
 * processes believe the area. At the end the area is marked dead before the locks fall with their descriptor.
 */
#include "stream/path.h"
#include "base/checked.h"
#include "base/error.h"
#include "base/export.h"
#include "stream/area.h"
#include "stream/file.h"
#include "stream/follow.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { DEFAULT_BLOCK_SIZE = 4096, DEFAULT_MODE = 0666, WINDOW_MAX = 1 << 20 };

static int check_config(const struct pmemstream_config *config, uint32_t known_flags)
{
	for (size_t i = 0; i < sizeof(config->reserved) / sizeof(config->reserved[0]); i++)
		if (config->reserved[i])
			return error_set(EINVAL, "a reserved word of the config is not zero");
	if (config->flags & ~known_flags)
		return error_set(EINVAL, "flags %#x cannot be used here", config->flags & ~known_flags);
	if (config->window && (!is_power_of_two(config->window) || config->window < 2 || config->window > WINDOW_MAX))
		return error_set(EINVAL, "a window of %u entries is no power of two from 2 to %d", config->window,
				 WINDOW_MAX);
	return 0;
}

static struct stream_options options_of(const struct pmemstream_config *config)
{
	return (struct stream_options){
		.alignment = config->alignment,
		.window = config->window,
		/* So that a moment and it can be added. */
		.reservation_ns = config->reservation_ns < INT64_MAX ? config->reservation_ns : INT64_MAX,
		.new_block_size = config->block_size ? config->block_size : DEFAULT_BLOCK_SIZE,
		.must_exist = !(config->flags & PMEMSTREAM_CREATE),
	};
}

int path_name_holder(struct file *file)
{
	uint64_t raw = 0;
	int err = errno;

	if (err == EWOULDBLOCK && pread(file->fd, &raw, sizeof(raw), AREA_PROCESS_OFF) == (ssize_t)sizeof(raw) && raw)
		error_set(err, "%s is open for writing elsewhere, by process %zu as it says itself", file->path,
			  (size_t)le64toh(raw));
	errno = err;
	return -1;
}

/* The size that the config asks for, in whole pages. */
static int file_bytes(const char *path, const struct pmemstream_config *config, uint64_t *bytes)
{
	if (!config->size)
		return error_set(EINVAL, "%s: config.size has to say how many bytes a new stream is to have", path);
	if (!checked_round_up(config->size, (uint64_t)sysconf(_SC_PAGESIZE), bytes) || *bytes > INT64_MAX)
		return error_set(EINVAL, "%s: a new stream cannot have the %zu bytes of config.size", path,
				 (size_t)config->size);
	return 0;
}

static int open_file(struct pmemstream **stream, struct file *file, const struct stream_options *options,
		     const struct pmemstream_config *config)
{
	struct pmemstream *opened;
	struct medium medium;
	uint64_t bytes;

	if (file->writable && !file->locked && file_lock(file, FILE_LOCK_WRITER))
		return path_name_holder(file);
	/* A creation that was cut: its file is empty, all zero, or says that it is being created. */
	if (!options->must_exist && file_look_again(file))
		return -1;
	if (!file->bytes && !options->must_exist && (file_bytes(file->path, config, &bytes) || file_fill(file, bytes)))
		return -1;
	if (file_medium(file, &medium))
		return -1;
	if (file->writable)
		medium_write_by_file(&medium, file->fd);
	if (config->flags & PMEMSTREAM_PREFAULT)
		medium_prefault(&medium);
	int err = file->writable ? stream_open(&opened, &medium, options)
				 : follow_open(&opened, file, &medium, options, config->flags & PMEMSTREAM_COMMITTED);
	if (err) {
		err = errno;
		medium_close(&medium);
		error_prefix("%s", file->path);
		errno = err;
		return -1;
	}
	opened->file = file;
	if (!opened->writable) {
		/* Features that allow reading only: nobody is kept from writing who knows them. */
		file_unlock(file, FILE_LOCK_WRITER);
	} else if (file->writable) {
		area_begin(opened);
		if (file_lock(file, FILE_LOCK_READY)) {
			err = errno;
			opened->file = NULL;
			pmemstream_delete(&opened);
			errno = err;
			return -1;
		}
	}
	*stream = opened;
	return 0;
}

/* file is open; on failure it is closed. made: by this call, which removes it where no stream comes of it. */
static int open_stream(struct pmemstream **stream, struct file *file, const struct stream_options *options,
		       const struct pmemstream_config *config, bool made)
{
	if (!open_file(stream, file, options, config))
		return 0;
	int err = errno;
	if (made)
		file_remove(file);
	path_release(file);
	errno = err;
	return -1;
}

static int open_path(struct pmemstream **stream, const char *path, const struct stream_options *options,
		     const struct pmemstream_config *config)
{
	struct file *file = malloc(sizeof(*file));

	if (!file)
		return error_set(ENOMEM, "no memory to open %s", path);
	if (!file_open(file, path, !(config->flags & PMEMSTREAM_READ_ONLY)))
		return open_stream(stream, file, options, config, false);
	free(file);
	return -1;
}

static int create(struct pmemstream **stream, const char *path, const struct pmemstream_config *config)
{
	struct stream_options options = options_of(config);
	uint64_t bytes;

	options.must_exist = false;
	if (file_bytes(path, config, &bytes))
		return -1;
	struct file *file = malloc(sizeof(*file));
	if (!file)
		return error_set(ENOMEM, "no memory to create %s", path);
	if (!file_create(file, path, bytes, (mode_t)(config->mode ? config->mode : DEFAULT_MODE)))
		return open_stream(stream, file, &options, config, true);
	free(file);
	return -1;
}

EXPORT int pmemstream_create(struct pmemstream **stream, const char *path, const struct pmemstream_config *config)
{
	if (!stream || !path || !config)
		return error_set(EINVAL, "no %s", !stream ? "place for the stream" : !path ? "path" : "config");
	if (check_config(config, PMEMSTREAM_CREATE | PMEMSTREAM_PREFAULT))
		return -1;
	return create(stream, path, config);
}

EXPORT int pmemstream_open(struct pmemstream **stream, const char *path, const struct pmemstream_config *config)
{
	static const struct pmemstream_config defaults;
	const struct pmemstream_config *used = config ? config : &defaults;

	if (!stream || !path)
		return error_set(EINVAL, "no %s", stream ? "path" : "place for the stream");
	if (check_config(used, PMEMSTREAM_READ_ONLY | PMEMSTREAM_COMMITTED | PMEMSTREAM_CREATE | PMEMSTREAM_PREFAULT))
		return -1;
	if ((used->flags & PMEMSTREAM_COMMITTED) && !(used->flags & PMEMSTREAM_READ_ONLY))
		return error_set(EINVAL, "PMEMSTREAM_COMMITTED is for reading: it needs PMEMSTREAM_READ_ONLY");
	if ((used->flags & PMEMSTREAM_CREATE) && (used->flags & PMEMSTREAM_READ_ONLY))
		return error_set(EINVAL, "a stream cannot be created for reading only");
	struct stream_options options = options_of(used);
	if (!open_path(stream, path, &options, used))
		return 0;
	if (errno != ENOENT || !(used->flags & PMEMSTREAM_CREATE))
		return -1;
	if (!create(stream, path, used))
		return 0;
	/* Somebody else made it between the two calls. */
	return errno == EEXIST ? open_path(stream, path, &options, used) : -1;
}

void path_close(struct pmemstream *stream)
{
	if (stream->published)
		area_end(stream);
	if (stream->follower)
		follow_close(stream);
}

void path_release(struct file *file)
{
	if (!file)
		return;
	file_close(file);
	free(file);
}
