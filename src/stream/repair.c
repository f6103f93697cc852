/*
 * repair.c: pmemstream_repair.
 *
 * Order   a deep survey -> the plan -> the plan on a private copy, which has to open -> what was read and is relied
 *         on is made durable -> the plan, phase by phase (repair.h says why in this order).
 * Crash   everything of the plan is found again by the next survey; tests/unit/stream_repair.c cuts at each moment.
 *
 * The writer's lock is held throughout.
 */
#include "stream/repair.h"

#include "base/error.h"
#include "base/export.h"
#include "stream/check.h"
#include "stream/file.h"
#include "stream/path.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

struct carrier {
	struct medium *medium;
	uint64_t begin_off, end_off; /* of what is to be made durable together */
};

static void add(struct carrier *carrier, uint64_t off, uint64_t bytes)
{
	if (!carrier->end_off || off < carrier->begin_off)
		carrier->begin_off = off;
	if (off + bytes > carrier->end_off)
		carrier->end_off = off + bytes;
	medium_flush(carrier->medium, carrier->medium->base + off, bytes);
}

/* Bytes that may be in the caches only. */
static void add_read(struct carrier *carrier, uint64_t off, uint64_t bytes)
{
	medium_redirty(carrier->medium, carrier->medium->base + off, bytes);
	add(carrier, off, bytes);
}

static int make_durable(struct carrier *carrier)
{
	struct medium *medium = carrier->medium;
	uint64_t bytes = carrier->end_off - carrier->begin_off;

	if (!carrier->end_off)
		return 0;
	carrier->end_off = 0;
	if (medium->granularity != MEDIUM_PAGE) {
		medium_fence(medium);
		return 0;
	}
	if (medium_sync(medium, medium->base + carrier->begin_off, bytes))
		return error_set(EIO, "a sync of the repair failed (errno %d): run it again", errno);
	return 0;
}

/* What the plan stands on. */
static int keep(struct carrier *carrier, const struct survey *survey)
{
	uint64_t offs[2] = {0, format_second_copy_off(survey->header.block_size)};

	for (unsigned i = 0; i < 2; i++)
		if (survey->copy_valid[i])
			add_read(carrier, offs[i], FORMAT_HEADER_BYTES);
	add_read(carrier, FORMAT_STREAM_SLOT_OFF + (uint64_t)survey->current * FORMAT_STREAM_SLOT_STRIDE,
		 FORMAT_SLOT_BYTES);
	add_read(carrier, FORMAT_RECORD_OFF, FORMAT_RECORD_BYTES);
	add_read(carrier, FORMAT_APPLIED_OFF, 2 * sizeof(uint64_t));
	for (size_t i = 0; i < survey->extent_count; i++)
		add_read(carrier, survey->extents[i].off, sizeof(uint64_t));
	for (size_t i = 0; i < survey->region_count; i++)
		add_read(carrier, survey->regions[i].off, FORMAT_REGION_HEADER_BYTES);
	for (size_t i = 0; i < survey->entry_count; i++)
		add_read(carrier, survey->entries[i].off, survey->entries[i].bytes);
	return make_durable(carrier);
}

static int tell(const struct survey *survey, const struct repair_change *change)
{
	struct pmemstream_event event = {
		.kind = PMEMSTREAM_EVENT_CHANGE,
		.offset = change->off,
		.bytes = change->bytes,
		.before = survey_at(survey, change->off),
		.after = change->to,
		.text = change->text,
	};

	if (survey->callback && survey->callback(&event, survey->arg))
		return error_set(ECANCELED, "the callback ended it");
	return 0;
}

static int carry_out(struct survey *survey, const struct repair_plan *plan, bool dry_run)
{
	struct carrier carrier = {.medium = survey->medium};

	if (!dry_run && plan->count && keep(&carrier, survey))
		return -1;
	for (size_t i = 0; i < plan->count; i++) {
		const struct repair_change *change = &plan->changes[i];
		if (i && change->phase != plan->changes[i - 1].phase && make_durable(&carrier))
			return -1;
		if (tell(survey, change))
			return -1;
		if (dry_run)
			continue;
		medium_copy(survey->medium, survey->medium->base + change->off, change->to, change->bytes);
		add(&carrier, change->off, change->bytes);
	}
	return make_durable(&carrier);
}

/* What comes out has to open, or nothing is done. */
static int try_out(const struct survey *survey, const struct repair_plan *plan, unsigned char *trial)
{
	struct medium medium = *survey->medium;

	if (!trial)
		return 0;
	for (size_t i = 0; i < plan->count; i++)
		memcpy(trial + plan->changes[i].off, plan->changes[i].to, plan->changes[i].bytes);
	medium.base = (char *)trial;
	if (!check_opens(&medium))
		return 0;
	if (errno == EBADMSG)
		error_prefix("nothing was changed, since after the repair the stream still could not be opened");
	return -1;
}

static int repair(struct survey *survey, unsigned char *trial, bool dry_run)
{
	struct repair_plan plan = {0};

	if (survey_all(survey))
		return -1;
	if (survey->header.read_only)
		return error_set(ENOTSUP,
				 "the stream uses features that this library does not know (bits %#x): it can "
				 "only read it",
				 survey->header.read_only);
	if (survey->refusals)
		return error_set(EBADMSG, "cannot be repaired: %s", survey->first_refusal);
	int err = repair_plan(&plan, survey);
	if (!err)
		err = try_out(survey, &plan, trial);
	if (!err)
		err = carry_out(survey, &plan, dry_run);
	int kept = errno;
	repair_plan_free(&plan);
	errno = kept;
	return err;
}

int repair_medium(struct medium *medium, unsigned char *trial, bool dry_run, survey_callback *callback, void *arg)
{
	struct survey survey;
	int err = survey_begin(&survey, medium, true, callback, arg);

	if (!err)
		err = repair(&survey, trial, dry_run);
	int kept = errno;
	survey_end(&survey);
	errno = kept;
	return err;
}

static int repair_map(struct file *file, struct medium *medium, bool dry_run, survey_callback *callback, void *arg)
{
	unsigned char fingerprint[CHECK_FINGERPRINT_BYTES];
	void *trial = mmap(NULL, medium->size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_NORESERVE, file->fd, 0);

	if (trial == MAP_FAILED)
		return error_system("%s: private map", file->path);
	check_fingerprint(medium, fingerprint);
	int err = repair_medium(medium, trial, dry_run, callback, arg);
	int kept = errno;
	munmap(trial, medium->size);
	if (err)
		error_prefix("%s", file->path);
	if (dry_run && (!err || kept != ECANCELED) && check_still_unused(file, medium, fingerprint)) {
		err = -1;
		kept = errno;
	}
	errno = kept;
	return err;
}

static int repair_file(struct file *file, bool dry_run, survey_callback *callback, void *arg)
{
	struct medium medium;

	if (dry_run ? check_unused(file) : file_lock(file, FILE_LOCK_WRITER))
		return dry_run ? -1 : path_name_holder(file);
	if (file_medium(file, &medium))
		return -1;
	int err = repair_map(file, &medium, dry_run, callback, arg);
	int kept = errno;
	medium_close(&medium);
	errno = kept;
	return err;
}

EXPORT int pmemstream_repair(const char *path, uint32_t flags,
			     int (*callback)(const struct pmemstream_event *event, void *arg), void *arg)
{
	bool dry_run = flags & PMEMSTREAM_DRY_RUN;
	struct file file;

	if (!path)
		return error_set(EINVAL, "no path");
	if (flags & ~(uint32_t)PMEMSTREAM_DRY_RUN)
		return error_set(EINVAL, "flags %#x cannot be used here", flags & ~(uint32_t)PMEMSTREAM_DRY_RUN);
	if (file_open(&file, path, !dry_run))
		return -1;
	int err = repair_file(&file, dry_run, callback, arg);
	int kept = errno;
	file_close(&file);
	errno = kept;
	return err;
}
