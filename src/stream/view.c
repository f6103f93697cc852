/*
 * view.c: reads a stream as it is at one moment, while another process may be writing it.
 *
 * Beside a writer the reading is repeated until the fingerprint was the same before and after: the epoch, the
 * allocator's applied number, the size. What does not check while something changed is no damage. What does not check
 * in the same words, again and again, while not even a checkpoint was written, is: then damage in front of the entries
 * is an error, and damage among the entries is read around, as in a stream that nobody writes (recover_everything).
 * Without a writer, the stream slots have to be the same, and the first thing that does not check is damage.
 */
#include "stream/view.h"

#include "base/error.h"
#include "stream/file.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

enum { TRIES = 400, TRY_NS = 1000000, SURE_TRIES = 20 };

int view_fingerprint(struct file *file, struct medium *medium, struct fingerprint *print)
{
	if (medium->size < MEDIUM_PAGE_BYTES)
		return error_set(EINVAL, "too small for a stream");
	if (area_look(file, medium, &print->area))
		return -1;
	print->applied_word = area_load8(medium, FORMAT_APPLIED_OFF);
	print->size_word = area_load8(medium, FORMAT_SIZE_OFF);
	for (int i = 0; i < 2; i++)
		memcpy(print->slots[i], medium->base + FORMAT_STREAM_SLOT_OFF + i * FORMAT_STREAM_SLOT_STRIDE,
		       FORMAT_SLOT_BYTES);
	return 0;
}

bool view_holds(const struct fingerprint *then, const struct fingerprint *now)
{
	if (then->area.live != now->area.live || then->applied_word != now->applied_word ||
	    then->size_word != now->size_word)
		return false;
	return then->area.live ? then->area.epoch == now->area.epoch
			       : !memcmp(then->slots, now->slots, sizeof(then->slots));
}

static void nap(uint64_t ns)
{
	struct timespec interval = {.tv_nsec = (long)ns};

	nanosleep(&interval, NULL);
}

/* Maps what the writer made the file grow by. */
static int map_growth(struct file *file, struct medium *medium)
{
	struct format_header header;
	struct stat status;

	if (!format_header_decode((const unsigned char *)medium->base, &header) || header.size <= file->bytes)
		return 0;
	if (fstat(file->fd, &status))
		return error_system("%s", file->path);
	if ((uint64_t)status.st_size < header.size)
		return 0;
	if (file_map_more(file, header.size))
		return -1;
	medium->size = header.size;
	return 0;
}

/* One reading. 0 and the stream; 1: something changed meanwhile; 2: it is damaged, says the text, as far as one
 * reading can tell; -1: an error. */
static int read_once(struct file *file, struct medium *medium, struct stream_options *options, bool committed,
		     struct view *view)
{
	struct fingerprint after;

	if (view_fingerprint(file, medium, &view->print) || map_growth(file, medium))
		return -1;
	bool live = view->print.area.live;
	int recovering = live ? 0 : file_is_locked(file, FILE_LOCK_WRITER);
	if (recovering < 0)
		return -1;
	if (recovering)
		return 1;
	options->live = live;
	options->live_limit = committed ? view->print.area.committed : view->print.area.persisted;
	view->limit = options->live_limit;
	int err = stream_open(&view->stream, medium, options), kept = errno;
	snprintf(view->text, sizeof(view->text), "%s", error_message());
	if (view_fingerprint(file, medium, &after) || !view_holds(&view->print, &after)) {
		if (!err)
			stream_discard(view->stream);
		return 1;
	}
	if (!err)
		return 0;
	errno = kept;
	if (!live || kept != EBADMSG)
		return -1; /* nobody changed anything: it is so */
	return memcmp(view->print.slots, after.slots, sizeof(after.slots)) ? 1 : 2;
}

int view_read(struct file *file, struct medium *medium, const struct stream_options *options, bool committed,
	      struct view *view)
{
	struct stream_options tried = *options;
	char former[sizeof(view->text)] = "";
	unsigned same_count = 0;

	for (unsigned attempt = 0; attempt <= TRIES; attempt++) {
		int verdict = read_once(file, medium, &tried, committed, view);
		if (verdict < 0)
			return -1;
		if (verdict == 0) {
			if (!view->stream->missing)
				view->text[0] = '\0';
			return 0;
		}
		if (verdict == 2) {
			same_count = strcmp(former, view->text) ? 0 : same_count + 1;
			memcpy(former, view->text, sizeof(former));
			if (same_count >= SURE_TRIES && tried.around_damage)
				return error_set(EBADMSG, "%s", former);
			if (same_count >= SURE_TRIES) {
				tried.around_damage = true;
				same_count = 0;
			}
		}
		nap(TRY_NS);
	}
	return error_set(EAGAIN, "a writer changes the stream faster than it can be read");
}
