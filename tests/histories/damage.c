/*
 * damage.c: one byte changes on the medium while no power is on.
 *
 * The promise: opening, or reading that entry, reports it. Excepted are the last entries of an unclean end, at most one
 * window of them, when neither a checkpoint, nor what the last recovery kept, nor the watermark of a later entry says
 * that they were durable. Here it is the observer who reads those off the medium before he damages it.
 */
#include "histories/history.h"

#include "stream/format.h"

#include <string.h>

static uint64_t promised_by_slots(const struct history *history)
{
	const unsigned char *base = cut_durable(history->machine.now);
	struct format_stream_slot slot, newest = {0};

	for (unsigned i = 0; i < 2; i++) {
		uint64_t off = FORMAT_STREAM_SLOT_OFF + i * FORMAT_STREAM_SLOT_STRIDE;
		if (format_stream_slot_decode(base + off, history->options.salt, off, &slot) &&
		    slot.sequence >= newest.sequence)
			newest = slot;
	}
	return newest.persisted > newest.kept ? newest.persisted : newest.kept;
}

/* A slot's P was durable when it was written, even if its round did not complete. */
static uint64_t promised_by_region(const struct history *history, const struct shadow_region *region)
{
	const unsigned char *header = (const unsigned char *)cut_durable(history->machine.now) + region->off;
	struct format_region_slot slot;
	uint64_t promised = 0;

	for (unsigned i = 0; i < 2; i++) {
		uint64_t off = FORMAT_REGION_SLOT_OFF + i * FORMAT_SLOT_BYTES;
		if (format_region_slot_decode(header + off, history->options.salt,
					      le64_load(header + FORMAT_REGION_CONSTANT_OFF), region->off + off,
					      &slot) &&
		    slot.persisted > promised)
			promised = slot.persisted;
	}
	return promised;
}

static uint64_t promised_by_record(const struct history *history)
{
	const unsigned char *base = cut_durable(history->machine.now);
	struct format_record record;

	return format_record_decode(base + FORMAT_RECORD_OFF, history->options.salt, &record) ? record.persisted : 0;
}

/* The lag of an entry's header on the medium is one of the few things that the shadow does not know. */
static bool vouches(const struct history *history, const struct shadow_entry *entry, uint64_t timestamp)
{
	const unsigned char *header = (const unsigned char *)cut_durable(history->machine.now) + entry->off;
	uint32_t lag = le32_load(header + 20);

	return lag != FORMAT_LAG_NONE && le64_load(header + 8) - lag >= timestamp;
}

static bool is_on_medium(const struct history *history, uint64_t timestamp)
{
	const struct shadow_entry *entry = &history->shadow.entries[timestamp - 1];
	const unsigned char *header = (const unsigned char *)cut_durable(history->machine.now) + entry->off;

	return history->shadow.regions[entry->region].state == REGION_LIVE && !entry->may_be_filler &&
	       le64_load(header + 8) == timestamp && (le64_load(header) & FORMAT_ENTRY_SIZE_MAX) == entry->size &&
	       !memcmp(header + FORMAT_ENTRY_HEADER_BYTES, entry->data, entry->size);
}

static void flip(struct history *history, uint64_t off)
{
	unsigned char *image = shadow_room(&history->shadow, history->medium_bytes);

	memcpy(image, cut_durable(history->machine.now), history->medium_bytes);
	image[off] ^= (unsigned char)(1 + random_below(&history->random, 255));
	cut_restart(history->machine.now, image);
	history->statistics.damages++;
}

/* A byte of the first page, or of a region's header. */
static void damage_own(struct history *history)
{
	struct random *random = &history->random;
	unsigned index = random_below(random, history->shadow.region_count);
	const struct shadow_region *region = &history->shadow.regions[index];
	uint64_t off = random_below(random, FORMAT_SECOND_COPY_NEAR + FORMAT_HEADER_BYTES);

	if (region->state != REGION_LIVE)
		return;
	if (random_one_in(random, 2))
		off = region->off + random_below(random, FORMAT_REGION_HEADER_BYTES);
	flip(history, off);
	history->damage = (struct damage){.own_off = off};
	history_trace(history, "the medium damages the byte at %zu", (size_t)off);
}

static void damage_entry(struct history *history)
{
	struct shadow *shadow = &history->shadow;
	struct random *random = &history->random;

	uint64_t back = random_below(random, random_one_in(random, 2) ? 4 : (uint32_t)shadow->acknowledged);
	uint64_t timestamp = back < shadow->acknowledged ? shadow->acknowledged - back : shadow->acknowledged;
	if (!is_on_medium(history, timestamp))
		return;
	const struct shadow_entry *entry = shadow_at(shadow, timestamp);
	bool vouched = timestamp <= promised_by_slots(history) || timestamp <= promised_by_record(history);
	for (uint64_t t = timestamp + 1; t <= shadow->acknowledged; t++)
		if (is_on_medium(history, t) && vouches(history, shadow_at(shadow, t), timestamp))
			vouched = true;
	for (unsigned i = 0; i < shadow->region_count; i++)
		if (shadow->regions[i].state == REGION_LIVE &&
		    promised_by_region(history, &shadow->regions[i]) >= timestamp)
			vouched = true;

	uint32_t place = random_below(random, FORMAT_ENTRY_HEADER_BYTES + entry->size);
	flip(history, entry->off + place);
	history->damage = (struct damage){
		.timestamp = timestamp, .in_header = place < FORMAT_ENTRY_HEADER_BYTES, .vouched = vouched};
	history_trace(history, "the medium damages byte %u of timestamp %zu at %zu%s", place, (size_t)timestamp,
		      (size_t)entry->off, vouched ? "" : ", for which nothing vouches");
}

void damage_something(struct history *history)
{
	if (!history->shadow.acknowledged || history->damage.timestamp || history->damage.own_off)
		return;
	if (random_one_in(&history->random, 3))
		damage_own(history);
	else
		damage_entry(history);
}

void damage_reported_at_open(struct history *history)
{
	history_trace(history, "opening reports it: %s", pmemstream_errormsg());
	history->statistics.damages_at_open++;
	history->ended = true;
}

void damage_opened(struct history *history)
{
	struct shadow *shadow = &history->shadow;
	uint64_t kept = pmemstream_committed_timestamp(history->stream);
	uint64_t damaged = history->damage.timestamp, first = damaged;

	if (history->damage.own_off) {
		/* A copy of it, or nothing at all, was needed: all must be as if nothing had happened. */
		history->statistics.damages_healed++;
		history->damage.own_off = 0;
		return;
	}
	if (kept >= damaged) {
		/* check.c asks for the report at the entry's place. */
		history->statistics.damages_at_read++;
		history->ended = true;
		return;
	}
	/* Nothing is shown of a batch that is not whole. */
	while (first > 1 && shadow_at(shadow, first - 1)->more)
		first--;
	if (history->damage.vouched)
		history_violation(history,
				  "timestamp %zu was damaged and is gone without a word, though it was vouched for",
				  (size_t)damaged);
	else if (shadow->acknowledged - kept > history->options.window)
		history_violation(history,
				  "timestamp %zu was damaged, and everything behind %zu of %zu is gone: more than "
				  "a window",
				  (size_t)damaged, (size_t)kept, (size_t)shadow->acknowledged);
	else if (kept + 1 < first)
		history_violation(history, "timestamp %zu was damaged, and the stream ends at %zu already",
				  (size_t)damaged, (size_t)kept);
	history_trace(history, "nobody can tell that timestamp %zu was there", (size_t)damaged);
	history->statistics.damages_excepted++;
	shadow->acknowledged = first - 1;
	history->damage.timestamp = 0;
}
