/*
 * actions.c: what a process does with its stream, and what the shadow makes of it.
 *
 * Order  an entry is submitted to the shadow in front of the call that may store it, and withdrawn when the call says
 *        that nothing was changed. Once the process is dead (machine.dead), the rest of the call is no part of the
 *        history: nothing more is noted.
 * Data   are chosen to be in the way: equal to what a dropped entry left at the same place, images of the medium at
 *        earlier times with headers and all, few different words.
 */
#include "histories/history.h"

#include "base/crc32c.h"
#include "stream/checkpoint.h"
#include "stream/window.h"

#include <errno.h>
#include <string.h>
#include <sys/uio.h>

enum { POLLS_MAX = 64, WINDOW_MAX = 16 };

void action_note_promises(struct history *history)
{
	struct shadow *shadow = &history->shadow;
	uint64_t persisted = history->stream ? stream_persisted(history->stream) : 0;

	if (persisted > shadow->count)
		history_violation(history, "persisted is %zu, but only %zu timestamps were given out",
				  (size_t)persisted, (size_t)shadow->count);
	else if (persisted && shadow_at(shadow, persisted)->more)
		history_violation(history, "persisted is %zu, inside a batch", (size_t)persisted);
	while (shadow->acknowledged < persisted && !history_failed(history)) {
		struct shadow_entry *entry = shadow_at(shadow, ++shadow->acknowledged);
		/* In this process its copy failed: from now on it can only be that. */
		if (entry->may_be_filler)
			entry->may_be_user = false;
	}
}

/* An error that the history made likely. */
static bool is_excused(const struct history *history)
{
	return errno == EIO && history->faulty;
}

static void unexpected(struct history *history, const char *what)
{
	history_violation(history, "%s: errno %d: %s", what, errno, pmemstream_errormsg());
}

/* What was submitted last was not stored, if the stream did not count it. */
static void withdraw_if_refused(struct history *history)
{
	while (history->shadow.count >= history->stream->next)
		shadow_withdraw(&history->shadow);
}

static void fill_fresh(struct history *history, unsigned char *data, uint32_t size)
{
	bool few = random_one_in(&history->random, 2);

	for (uint32_t i = 0; i < size; i += 8) {
		uint64_t word = few ? random_below(&history->random, 3) * UINT64_C(0x1111111111111111)
				    : random_next(&history->random);
		memcpy(data + i, &word, size - i < 8 ? size - i : 8);
	}
}

/* Like the records of many programs: the last four bytes are the CRC32C of the others. */
static void end_with_crc(unsigned char *data, uint32_t size)
{
	if (size >= 8)
		le32_store(data + size - 4, crc32c(0, data, size - 4));
}

/* The size that an entry at this place claims, or claimed: a retry has the same. */
static uint32_t retried_size(const struct history *history, const unsigned char *image, uint64_t off)
{
	return (uint32_t)(le64_load(image + off) & 0xffff) <= history->data_bytes_max
		       ? (uint32_t)(le64_load(image + off) & 0xffff)
		       : 0;
}

static const unsigned char *choose_image(struct history *history)
{
	uint32_t drawn = random_below(&history->random, 3);

	return drawn < 2 ? history->old[drawn] : (const unsigned char *)cut_medium(history->machine.now)->base;
}

/* Data for an entry whose header will be at off, with room for so many bytes. */
static uint32_t choose_data(struct history *history, uint64_t off, uint64_t room, unsigned char *data)
{
	struct random *random = &history->random;
	const unsigned char *image = choose_image(history);
	uint32_t kind = random_below(random, 8);
	uint32_t size = random_below(random, random_one_in(random, 3) ? history->data_bytes_max + 1 : 41);

	if (kind < 4)
		size &= ~7U;
	if (kind < 3)
		size = retried_size(history, image, off);
	if (size > room)
		size = (uint32_t)room;
	uint64_t from = off + FORMAT_ENTRY_HEADER_BYTES;
	if (kind == 4)
		from = 8 * random_below(random, (uint32_t)((history->medium_bytes - size) / 8));
	if (kind < 6)
		memcpy(data, image + from, size);
	else
		fill_fresh(history, data, size);
	if (kind == 7)
		end_with_crc(data, size);
	return size;
}

/* A live region that nobody reserved, with room for a header; -1: none. */
static int choose_region(struct history *history, bool reserved)
{
	struct shadow *shadow = &history->shadow;
	unsigned start = random_below(&history->random, shadow->region_count + 1);

	for (unsigned i = 0; i < shadow->region_count; i++) {
		unsigned index = (start + i) % shadow->region_count;
		const struct shadow_region *region = &shadow->regions[index];
		uint64_t left = region->off + region->bytes - region->tail_off;
		if (region->state == REGION_LIVE && region->reserved == reserved &&
		    (reserved || left >= shadow_space(shadow, 0)))
			return (int)index;
	}
	return -1;
}

/* Submits an entry with chosen data to a chosen region; NULL: there is no room anywhere. */
static struct shadow_entry *submit_somewhere(struct history *history)
{
	struct shadow *shadow = &history->shadow;
	int index = choose_region(history, false);

	if (index < 0)
		return NULL;
	const struct shadow_region *region = &shadow->regions[index];
	unsigned char *data = shadow_room(shadow, history->data_bytes_max);
	uint32_t size = choose_data(history, region->tail_off, shadow_fits(shadow, region), data);
	return shadow_submit(shadow, (unsigned)index, size, data);
}

static struct pmemstream_region region_of(const struct history *history, const struct shadow_entry *entry)
{
	return (struct pmemstream_region){.offset = history->shadow.regions[entry->region].off};
}

static void check_place(struct history *history, uint64_t timestamp, struct pmemstream_entry place)
{
	const struct shadow_entry *entry = shadow_at(&history->shadow, timestamp);

	if (place.offset != entry->off)
		history_violation(history, "an entry was put to %zu, not to %zu", (size_t)place.offset,
				  (size_t)entry->off);
	else if (pmemstream_entry_timestamp(history->stream, place) != timestamp)
		history_violation(history, "the entry at %zu got timestamp %zu, not %zu", (size_t)place.offset,
				  (size_t)pmemstream_entry_timestamp(history->stream, place), (size_t)timestamp);
}

static void check_durable(struct history *history, uint64_t timestamp, const char *what)
{
	if (stream_persisted(history->stream) < timestamp)
		history_violation(history, "%s returned, but persisted is %zu, not %zu", what,
				  (size_t)stream_persisted(history->stream), (size_t)timestamp);
}

/* In one piece or in two. */
static int append(struct history *history, const struct shadow_entry *entry, struct pmemstream_entry *place)
{
	struct pmemstream_region region = region_of(history, entry);

	if (!random_one_in(&history->random, 4))
		return pmemstream_append(history->stream, region, NULL, entry->data, entry->size, place);
	uint32_t first = random_below(&history->random, entry->size + 1);
	struct iovec parts[] = {
		{.iov_base = (void *)(uintptr_t)entry->data, .iov_len = first},
		{.iov_base = (void *)(uintptr_t)(entry->data + first), .iov_len = entry->size - first},
	};
	return pmemstream_appendv(history->stream, region, NULL, parts, 2, place);
}

static void act_append(struct history *history)
{
	struct shadow_entry *entry = submit_somewhere(history);
	struct pmemstream_entry place;

	if (!entry)
		return;
	uint64_t timestamp = history->shadow.count;
	history_trace(history, "append %zu: %u bytes to the region at %zu, at %zu", (size_t)timestamp, entry->size,
		      (size_t)region_of(history, entry).offset, (size_t)entry->off);
	history->mover.hurry = history->granularity == MEDIUM_PAGE || random_one_in(&history->random, 2);
	int err = append(history, entry, &place);
	history->mover.hurry = false;
	if (history->machine.dead)
		return;
	if (!err) {
		check_place(history, timestamp, place);
		check_durable(history, timestamp, "append");
	} else if (is_excused(history)) {
		withdraw_if_refused(history);
	} else {
		unexpected(history, "append");
	}
}

static void act_async(struct history *history, bool own)
{
	struct shadow_entry *entry = submit_somewhere(history);
	struct vdm *vdm = own ? &history->mover.vdm : data_mover_sync_get_vdm(history->synchronous);
	struct random *random = &history->random;
	struct pmemstream_entry place;

	if (!entry)
		return;
	uint64_t timestamp = history->shadow.count;
	/* One after the other: an initializer leaves it to the compiler which of its numbers is drawn first. */
	history->mover.next.polls = random_below(random, 4);
	history->mover.next.fails = random_one_in(random, 4);
	history->mover.next.copied_256 = 128 * random_below(random, 3);
	entry->may_be_filler = own && entry->size && history->mover.next.fails;
	history_trace(history, "async append %zu: %u bytes to the region at %zu, at %zu%s%s",
		      (size_t)history->shadow.count, entry->size, (size_t)region_of(history, entry).offset,
		      (size_t)entry->off, own ? ", by the mover" : "", entry->may_be_filler ? ", which will fail" : "");
	int err = pmemstream_async_append(history->stream, vdm, region_of(history, entry), NULL, entry->data,
					  entry->size, &place);
	if (history->machine.dead)
		return;
	if (!err)
		check_place(history, timestamp, place);
	else if (is_excused(history))
		withdraw_if_refused(history);
	else
		unexpected(history, "async append");
}

static struct pmemstream_batch *gather(struct history *history, uint64_t count)
{
	struct pmemstream_batch *batch = NULL;

	if (pmemstream_batch_begin(history->stream, &batch)) {
		if (!is_excused(history))
			unexpected(history, "batch_begin");
		return NULL;
	}
	for (uint64_t i = 0; i < count; i++) {
		struct shadow_entry *entry = submit_somewhere(history);
		if (!entry)
			break;
		history_trace(history, "batch: %zu: %u bytes to the region at %zu, at %zu",
			      (size_t)history->shadow.count, entry->size, (size_t)region_of(history, entry).offset,
			      (size_t)entry->off);
		if (pmemstream_batch_add(batch, region_of(history, entry), NULL, entry->data, entry->size))
			unexpected(history, "batch_add");
	}
	return batch;
}

static void act_batch(struct history *history)
{
	struct shadow *shadow = &history->shadow;
	struct pmemstream_entry places[WINDOW_MAX / 2];
	uint64_t before = shadow->count;
	struct pmemstream_batch *batch =
		gather(history, 1 + random_below(&history->random, history->options.window / 2));

	if (!batch)
		return;
	if (random_one_in(&history->random, 8)) {
		history_trace(history, "abort the batch");
		pmemstream_batch_abort(&batch);
		withdraw_if_refused(history);
		return;
	}
	uint64_t last = shadow->count;
	for (uint64_t t = before + 1; t < last; t++)
		shadow_at(shadow, t)->more = true;
	history_trace(history, "commit the batch");
	history->mover.hurry = history->granularity == MEDIUM_PAGE || random_one_in(&history->random, 2);
	int err = pmemstream_batch_commit(&batch, places);
	int reason = errno;
	history->mover.hurry = false;
	pmemstream_batch_abort(&batch);
	errno = reason;
	if (history->machine.dead)
		return;
	if (err && !is_excused(history))
		unexpected(history, "batch_commit");
	if (err) {
		withdraw_if_refused(history);
		return;
	}
	for (uint64_t t = before + 1; t <= last; t++)
		check_place(history, t, places[t - before - 1]);
	if (last > before)
		check_durable(history, last, "batch_commit");
}

static void act_wait(struct history *history, unsigned polls)
{
	struct shadow *shadow = &history->shadow;
	struct random *random = &history->random;

	if (!shadow->count)
		return;
	uint64_t first = shadow->acknowledged < shadow->count ? shadow->acknowledged : shadow->count - 1;
	uint64_t timestamp = first + 1 + random_below(random, (uint32_t)(shadow->count - first));
	if (random_one_in(random, 2))
		timestamp = shadow->count;
	bool persisted = !random_one_in(random, 3);
	history_trace(history, "wait until %zu is %s%s", (size_t)timestamp, persisted ? "persisted" : "committed",
		      polls == 1 ? ", one poll" : "");
	struct pmemstream_async_wait_fut wait = persisted ? pmemstream_async_wait_persisted(history->stream, timestamp)
							  : pmemstream_async_wait_committed(history->stream, timestamp);
	enum future_state state = FUTURE_STATE_RUNNING;
	for (unsigned i = 0; i < polls && state == FUTURE_STATE_RUNNING; i++)
		state = future_poll(FUTURE_AS_RUNNABLE(&wait), NULL);
	if (history->machine.dead)
		return;
	if (state != FUTURE_STATE_COMPLETE) {
		if (polls == POLLS_MAX)
			history_violation(history, "a wait for %zu does not end", (size_t)timestamp);
		return;
	}
	uint64_t reached = persisted ? pmemstream_persisted_timestamp(history->stream)
				     : pmemstream_committed_timestamp(history->stream);
	bool failed_copy =
		shadow_at(shadow, timestamp)->may_be_filler && reached >= timestamp && history->reopened_at < timestamp;
	if (FUTURE_OUTPUT(&wait)->error_code ? !failed_copy && !is_excused(history) : failed_copy)
		history_violation(history, "a wait for %zu gave %d", (size_t)timestamp,
				  FUTURE_OUTPUT(&wait)->error_code);
	else if (reached < timestamp && !is_excused(history))
		history_violation(history, "a wait for %zu ended at %zu", (size_t)timestamp, (size_t)reached);
}

static void act_reserve(struct history *history)
{
	struct shadow *shadow = &history->shadow;
	int index = choose_region(history, false);
	struct pmemstream_entry place;
	void *data;

	if (index < 0)
		return;
	struct shadow_region *region = &shadow->regions[index];
	unsigned char *wanted = shadow_room(shadow, history->data_bytes_max);
	uint32_t size = choose_data(history, region->tail_off, shadow_fits(shadow, region), wanted);
	history_trace(history, "reserve %u bytes in the region at %zu, at %zu", size, (size_t)region->off,
		      (size_t)region->tail_off);
	if (pmemstream_reserve(history->stream, (struct pmemstream_region){.offset = region->off}, NULL, size, &place,
			       &data)) {
		if (!history->machine.dead && !is_excused(history))
			unexpected(history, "reserve");
		return;
	}
	cut_allow_direct(history->machine.now, data, size);
	memcpy(data, wanted, size);
	if (place.offset != region->tail_off)
		history_violation(history, "reserved at %zu, not at %zu", (size_t)place.offset,
				  (size_t)region->tail_off);
	region->reserved = true;
	region->reserved_bytes = size;
}

static void cancel(struct history *history, struct shadow_region *region)
{
	struct pmemstream_entry place = {.offset = region->tail_off};

	history_trace(history, "cancel the reservation at %zu", (size_t)place.offset);
	if (pmemstream_cancel(history->stream, (struct pmemstream_region){.offset = region->off}, NULL, place)) {
		if (!is_excused(history))
			unexpected(history, "cancel");
		return;
	}
	region->reserved = false;
}

static void act_publish(struct history *history)
{
	struct shadow *shadow = &history->shadow;
	int index = choose_region(history, true);

	if (index < 0)
		return;
	struct shadow_region *region = &shadow->regions[index];
	if (random_one_in(&history->random, 4)) {
		cancel(history, region);
		return;
	}
	uint32_t size = region->reserved_bytes;
	if (random_one_in(&history->random, 4))
		size = random_below(&history->random, size + 1);
	unsigned char *data = shadow_room(shadow, history->data_bytes_max);
	memcpy(data, cut_medium(history->machine.now)->base + region->tail_off + FORMAT_ENTRY_HEADER_BYTES, size);
	const struct shadow_entry *entry = shadow_submit(shadow, (unsigned)index, size, data);
	struct pmemstream_entry place = {.offset = entry->off};
	uint64_t timestamp = shadow->count;
	bool async = random_one_in(&history->random, 2);
	history_trace(history, "%spublish %zu: %u bytes in the region at %zu, at %zu", async ? "async " : "",
		      (size_t)shadow->count, size, (size_t)region->off, (size_t)entry->off);
	history->mover.hurry = true;
	int err = (async ? pmemstream_async_publish : pmemstream_publish)(
		history->stream, (struct pmemstream_region){.offset = region->off}, NULL, place, size);
	history->mover.hurry = false;
	if (history->machine.dead)
		return;
	if (err && !is_excused(history))
		unexpected(history, "publish");
	region->reserved = false;
	if (err) {
		withdraw_if_refused(history);
		return;
	}
	check_place(history, timestamp, place);
	if (!async)
		check_durable(history, timestamp, "publish");
}

/* The largest gap between what the shadow knows to be there. */
static uint64_t largest_gap(const struct history *history)
{
	const struct shadow *shadow = &history->shadow;
	uint64_t off = history->stream->arena_off, largest = 0;

	for (;;) {
		uint64_t next_off = history->medium_bytes, next_end = 0;
		for (unsigned i = 0; i < shadow->region_count; i++) {
			const struct shadow_region *region = &shadow->regions[i];
			if (region->state != REGION_LIVE || region->off < off || region->off >= next_off)
				continue;
			next_off = region->off;
			next_end = region->off + region->bytes;
		}
		if (next_off - off > largest)
			largest = next_off - off;
		if (!next_end)
			return largest;
		off = next_end;
	}
}

static void check_new_region(struct history *history, const struct shadow_region *made)
{
	for (unsigned i = 0; i + 1 < history->shadow.region_count; i++) {
		const struct shadow_region *other = &history->shadow.regions[i];
		if (other->state != REGION_GONE && made->off < other->off + other->bytes &&
		    other->off < made->off + made->bytes)
			history_violation(history, "a region was made at %zu, inside the one at %zu", (size_t)made->off,
					  (size_t)other->off);
	}
}

static void act_allocate(struct history *history)
{
	struct shadow *shadow = &history->shadow;
	static const uint32_t at_most[] = {320, 320, 320, 900, 900, 5000};
	uint64_t size = 1 + random_below(&history->random, at_most[random_below(&history->random, 6)]);
	uint64_t gap = largest_gap(history);
	/* All that is left: then no word of an extent lies behind its entries. */
	if (gap > FORMAT_REGION_HEADER_BYTES && random_one_in(&history->random, 6))
		size = gap - FORMAT_REGION_HEADER_BYTES;
	uint64_t bytes = (size + FORMAT_REGION_HEADER_BYTES + 63) & ~(uint64_t)63;
	struct pmemstream_region region;
	unsigned live = 0;

	for (unsigned i = 0; i < shadow->region_count; i++)
		live += shadow->regions[i].state != REGION_GONE;
	if (live >= history->regions_max)
		return;
	struct shadow_region *made = &shadow->regions[shadow_add_region(shadow, bytes)];
	history_trace(history, "allocate a region of %zu bytes", (size_t)size);
	int err = pmemstream_region_allocate(history->stream, size, &region);
	if (history->machine.dead)
		return;
	if (!err) {
		history_trace(history, "  at %zu", (size_t)region.offset);
		made->state = REGION_LIVE;
		made->off = region.offset;
		made->tail_off = region.offset + FORMAT_REGION_HEADER_BYTES;
		history->statistics.regions_made++;
		check_new_region(history, made);
	} else if (errno == ENOSPC && gap < bytes) {
		shadow->region_count--;
	} else if (!is_excused(history)) {
		unexpected(history, "allocate");
	}
}

/* An append whose data a mover still copies keeps its region. */
static bool mover_inside(const struct history *history, unsigned index)
{
	struct pmemstream *stream = history->stream;

	for (uint64_t t = stream_persisted(stream) + 1; t < stream->next; t++) {
		const struct window_slot *slot = &stream->slots[t & (stream->window - 1)];
		bool taken = slot_timestamp(slot->word) != t || slot_state(slot->word) == SLOT_TAKEN;
		if (history->shadow.entries[t - 1].region == index && taken)
			return true;
	}
	return false;
}

static void act_free(struct history *history)
{
	int index = choose_region(history, random_one_in(&history->random, 8));

	if (index < 0)
		return;
	struct shadow_region *region = &history->shadow.regions[index];
	/* A copy may be found to be done when the region is freed. */
	bool busy = region->reserved || mover_inside(history, (unsigned)index);
	history_trace(history, "free the region at %zu%s", (size_t)region->off, busy ? ", which is busy" : "");
	region->state = REGION_BEING_FREED;
	history->mover.hurry = random_one_in(&history->random, 2);
	int err = pmemstream_region_free(history->stream, (struct pmemstream_region){.offset = region->off});
	history->mover.hurry = false;
	if (history->machine.dead)
		return;
	if (!err) {
		region->state = REGION_GONE;
		history->statistics.regions_freed++;
		if (region->reserved)
			history_violation(history, "the busy region at %zu was freed", (size_t)region->off);
	} else if (busy && errno == EBUSY) {
		region->state = REGION_LIVE;
	} else if (!is_excused(history)) {
		unexpected(history, "free");
	}
}

static void act_round(struct history *history)
{
	struct pmemstream *stream = history->stream;

	history_trace(history, "a checkpoint round at %zu", (size_t)stream_persisted(stream));
	pthread_mutex_lock(&stream->admin);
	int err = checkpoint_round(stream, 0);
	pthread_mutex_unlock(&stream->admin);
	if (err && !history->machine.dead && !is_excused(history))
		unexpected(history, "a round");
}

static void act_fault(struct history *history)
{
	struct random *random = &history->random;
	struct cut *cut = history->machine.now;

	if (history->granularity != MEDIUM_PAGE)
		return;
	history->faulty = true;
	history->statistics.faults++;
	if (random_one_in(random, 2)) {
		unsigned n = 1 + random_below(random, 4);
		bool later = random_one_in(random, 3);
		history_trace(history, "the %u. sync from now %s fail", n, later ? "and all later ones" : "will");
		cut_fail_sync(cut, n, random_one_in(random, 2) ? EIO : ENOSPC, later);
	} else {
		size_t pages = history->medium_bytes / MEDIUM_PAGE_BYTES;
		size_t first = random_below(random, (uint32_t)pages);
		size_t count = 1 + random_below(random, (uint32_t)(pages - first));
		history_trace(history, "the system fails to write back %zu pages from %zu", count,
			      first * MEDIUM_PAGE_BYTES);
		cut_fail_writeback(cut, cut_medium(cut)->base + first * MEDIUM_PAGE_BYTES, count * MEDIUM_PAGE_BYTES,
				   EIO);
	}
}

static void act_look(struct history *history)
{
	/* With an allocation or a free that failed nobody knows what there is. */
	for (unsigned i = 0; i < history->shadow.region_count; i++)
		if (history->shadow.regions[i].state == REGION_BEING_MADE ||
		    history->shadow.regions[i].state == REGION_BEING_FREED)
			return;
	history_trace(history, "look at everything");
	check_alive(history);
}

static enum action choose(struct history *history)
{
	unsigned drawn = random_below(&history->random, history->weight_sum);

	for (unsigned i = 0; i < ACT_COUNT; i++) {
		if (drawn < history->weights[i])
			return (enum action)i;
		drawn -= history->weights[i];
	}
	return ACT_APPEND;
}

void action_of_second(struct history *history)
{
	struct pmemstream *stream = history->stream;
	/* Not while the first thread has yet to take what it announced to the shadow. */
	bool settled = stream->next == history->shadow.count + 1 && !shadow_is_full(&history->shadow);
	/* An append may run a round, which waits until the first thread has synced. */
	if (stream->group.taken)
		settled = false;

	history_trace(history, "  and the second thread:");
	if (settled && stream->next - stream_persisted(stream) <= stream->window && random_one_in(&history->random, 3))
		act_async(history, false);
	else
		act_wait(history, 1);
}

void action_take(struct history *history)
{
	history->second.invited = history->has_second;
	switch (choose(history)) {
	case ACT_ASYNC:
		act_async(history, false);
		break;
	case ACT_MOVE:
		act_async(history, true);
		break;
	case ACT_BATCH:
		act_batch(history);
		break;
	case ACT_WAIT:
		act_wait(history, random_one_in(&history->random, 4) ? 1 : POLLS_MAX);
		break;
	case ACT_RESERVE:
		act_reserve(history);
		break;
	case ACT_PUBLISH:
		act_publish(history);
		break;
	case ACT_ALLOCATE:
		act_allocate(history);
		break;
	case ACT_FREE:
		act_free(history);
		break;
	case ACT_ROUND:
		act_round(history);
		break;
	case ACT_LOOK:
		act_look(history);
		break;
	case ACT_FAULT:
		act_fault(history);
		break;
	default:
		act_append(history);
	}
	history->second.invited = false;
	history->statistics.actions++;
}
