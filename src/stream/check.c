/*
 * check.c: pmemstream_check.
 *
 * Nothing is written: the file is open and mapped for reading alone. Both opinions count: the survey's, which tells of
 * every problem, and that of the recovery itself, which is what an opening will say; where only the second one finds
 * fault, it is reported as it is.
 */
#include "stream/check.h"

#include "base/error.h"
#include "base/export.h"
#include "stream/file.h"
#include "stream/path.h"
#include "stream/stream.h"

#include <errno.h>
#include <string.h>

int check_opens(const struct medium *medium)
{
	struct stream_options options = {.must_exist = true, .strict = true, .window = 2};
	struct medium copy;
	struct pmemstream *stream;

	/* Its own counters go with the stream. */
	if (medium_prepare(&copy, medium->ops, medium->base, medium->size, medium->granularity, false))
		return -1;
	if (stream_open(&stream, &copy, &options)) {
		int err = errno;
		medium_close(&copy);
		errno = err;
		return -1;
	}
	stream_discard(stream);
	medium_close(&copy);
	return 0;
}

static int ask_recovery(struct survey *survey)
{
	struct pmemstream_problem problem = {
		.kind = PMEMSTREAM_PROBLEM_OTHER,
		.severity = PMEMSTREAM_DAMAGE,
		.offset = SURVEY_NOWHERE,
		.region = SURVEY_NOWHERE,
		.consequence = "the stream cannot be opened for writing",
	};

	if (survey->damages || !check_opens(survey->medium))
		return 0;
	return errno == EBADMSG ? survey_report(survey, problem, "%s", error_message()) : -1;
}

int check_medium(struct medium *medium, bool deep, survey_callback *callback, void *arg)
{
	struct survey survey;
	int err = survey_begin(&survey, medium, deep, callback, arg);

	if (!err)
		err = survey_all(&survey);
	if (!err)
		err = ask_recovery(&survey);
	if (!err && survey.damages)
		err = error_set(EBADMSG, "damaged: %s%s", survey.first,
				survey.damages > 1 ? " (and there is more)" : "");
	survey_end(&survey);
	return err;
}

int check_unused(struct file *file)
{
	int locked = file_is_locked(file, FILE_LOCK_WRITER);

	if (locked <= 0)
		return locked;
	error_set(EWOULDBLOCK, "%s is open for writing elsewhere", file->path);
	return path_name_holder(file);
}

/* Every opening for writing changes the stream slots. */
void check_fingerprint(const struct medium *medium, unsigned char *to)
{
	memset(to, 0, CHECK_FINGERPRINT_BYTES);
	for (int i = 0; i < 2; i++) {
		uint64_t off = (uint64_t)(FORMAT_STREAM_SLOT_OFF + i * FORMAT_STREAM_SLOT_STRIDE);
		if (medium->size >= off + FORMAT_SLOT_BYTES)
			memcpy(to + i * FORMAT_SLOT_BYTES, medium->base + off, FORMAT_SLOT_BYTES);
	}
}

int check_still_unused(struct file *file, const struct medium *medium, const unsigned char *fingerprint)
{
	unsigned char now[CHECK_FINGERPRINT_BYTES];
	int locked = file_is_locked(file, FILE_LOCK_WRITER);

	check_fingerprint(medium, now);
	if (locked < 0 || (!locked && !memcmp(now, fingerprint, sizeof(now))))
		return locked;
	return error_set(EAGAIN, "%s was opened for writing meanwhile: what was found does not count", file->path);
}

static int check_file(struct file *file, uint32_t flags, survey_callback *callback, void *arg)
{
	unsigned char fingerprint[CHECK_FINGERPRINT_BYTES];
	struct medium medium;

	if (check_unused(file) || file_medium(file, &medium))
		return -1;
	check_fingerprint(&medium, fingerprint);
	int err = check_medium(&medium, flags & PMEMSTREAM_CHECK_DEEP, callback, arg);
	int kept = errno;
	bool canceled = err && kept == ECANCELED;
	if (err)
		error_prefix("%s", file->path);
	if (!canceled && check_still_unused(file, &medium, fingerprint)) {
		err = -1;
		kept = errno;
	}
	medium_close(&medium);
	errno = kept;
	return err;
}

EXPORT int pmemstream_check(const char *path, uint32_t flags,
			    int (*callback)(const struct pmemstream_event *event, void *arg), void *arg)
{
	struct file file;

	if (!path)
		return error_set(EINVAL, "no path");
	if (flags & ~(uint32_t)PMEMSTREAM_CHECK_DEEP)
		return error_set(EINVAL, "flags %#x cannot be used here", flags & ~(uint32_t)PMEMSTREAM_CHECK_DEEP);
	if (file_open(&file, path, false))
		return -1;
	int err = check_file(&file, flags, callback, arg);
	int kept = errno;
	file_close(&file);
	errno = kept;
	return err;
}
