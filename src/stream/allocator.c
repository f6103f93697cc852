/*
 * allocator.c: allocates and frees regions through one redo record.
 *
 * Order    the new region's header and slots -> fence -> record -> fence -> its words in place -> fence -> applied
 *          number -> fence -> known to this process. To free, first the tail is taken from appenders, persisted
 *          reaches the highest timestamp given out in the region, and a round completes: else timestamps vanish that
 *          later ones stand on.
 * Crash    in front of the record nothing happened; behind it recovery carries it out (recover_write.c), once: the
 *          record counts only with the number behind the applied one and in the epoch in which it was written.
 * Threads  the admin mutex makes it one change at a time. Appends to other regions go on beside it.
 */
#include "stream/allocator.h"

#include "base/checked.h"
#include "base/error.h"
#include "stream/checkpoint.h"
#include "stream/durable.h"
#include "stream/mover.h"
#include "stream/persist.h"
#include "stream/progress.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

static uint64_t extent_word(struct pmemstream *stream, uint64_t off, uint64_t bytes, bool used)
{
	uint64_t value = bytes / stream->header.block_size | (used ? FORMAT_EXTENT_USED : 0);

	return format_checked_encode(stream->header.salt, off, value);
}

static void add_word(struct format_record *record, uint64_t off, uint64_t word)
{
	record->words[record->count].off = off;
	record->words[record->count].word = word;
	record->count++;
}

int allocator_apply(struct pmemstream *stream, const struct format_record *record)
{
	struct durable durable;

	durable_begin(&durable, stream);
	for (uint32_t i = 0; i < record->count; i++) {
		medium_store8(&stream->medium, stream_at(stream, record->words[i].off), htole64(record->words[i].word));
		durable_add(&durable, record->words[i].off, sizeof(uint64_t));
	}
	if (durable_end(&durable))
		return -1;
	uint64_t number = htole64(format_checked_encode(stream->header.salt, FORMAT_APPLIED_OFF, record->number));
	if (durable_copy(stream, FORMAT_APPLIED_OFF, &number, sizeof(number)))
		return -1;
	stream->applied = record->number;
	return 0;
}

static int carry_out(struct pmemstream *stream, struct format_record *record)
{
	unsigned char encoded[FORMAT_RECORD_BYTES];

	if (stream->applied >= FORMAT_CHECKED_MAX - 1)
		return error_set(EOVERFLOW, "the stream has used up its %zu numbers of allocations",
				 (size_t)FORMAT_CHECKED_MAX);
	record->number = stream->applied + 1;
	record->epoch = stream->epoch;
	record->persisted = stream_persisted(stream);
	format_record_encode(encoded, stream->header.salt, record);
	if (durable_copy(stream, FORMAT_RECORD_OFF, encoded, sizeof(encoded)))
		return -1;
	return allocator_apply(stream, record);
}

/* Writes the header of a region, all but its extent word, where an extent is still free. */
static int write_region(struct pmemstream *stream, uint64_t off, const struct format_region *fields)
{
	unsigned char header[FORMAT_REGION_HEADER_BYTES] = {0};
	uint64_t salt = stream->header.salt;
	struct format_region_slot slot = {.tail_off = FORMAT_REGION_HEADER_BYTES, .time_ns = fields->created_ns};

	format_region_encode(header, salt, off, fields);
	le64_store(header + FORMAT_REGION_LIMIT_OFF,
		   format_checked_encode(salt, fields->generation, FORMAT_REGION_HEADER_BYTES / FORMAT_LIMIT_UNIT));
	for (unsigned i = 0; i < 2; i++) {
		uint64_t slot_off = FORMAT_REGION_SLOT_OFF + i * FORMAT_SLOT_BYTES;
		format_region_slot_encode(header + slot_off, salt, fields->generation, off + slot_off, &slot);
	}
	return durable_copy(stream, off + FORMAT_REGION_LIMIT_OFF, header + FORMAT_REGION_LIMIT_OFF,
			    sizeof(header) - FORMAT_REGION_LIMIT_OFF);
}

void allocator_fill_region(struct pmemstream *stream, struct region *region, uint64_t off, uint64_t end_off,
			   uint64_t generation, uint64_t tail_off, uint64_t limit_off)
{
	atomic_store_explicit(&region->off, off, memory_order_release);
	atomic_store_explicit(&region->end_off, end_off, memory_order_release);
	atomic_store_explicit(&region->tail_off, tail_off, memory_order_release);
	atomic_store_explicit(&region->verified_off, off + FORMAT_REGION_HEADER_BYTES, memory_order_release);
	atomic_store_explicit(&region->runtime, NULL, memory_order_release);
	region->trusted_off = tail_off;
	region->seed = format_entry_seed(stream->header.salt, generation);
	region->closed = region->reserved = region->grew = false;
	region->slot = 0;
	region->limit_off = limit_off;
	region->last_timestamp = 0;
	region->holder = region->reserved_bytes = 0;
	region->slot_off = region->round_off = tail_off;
	atomic_store_explicit(&region->covered, 0, memory_order_release);
	atomic_store_explicit(&region->covered_off, 0, memory_order_release);
	region->next_grown = region->next_reserved = NULL;
	/* Last: who sees the generation sees what it belongs to. */
	atomic_store_explicit(&region->generation, generation, memory_order_release);
}

static int check_label(struct pmemstream *stream, const char *label)
{
	size_t length = strnlen(label, FORMAT_LABEL_BYTES);
	size_t count = extents_count(&stream->extents);

	if (length >= FORMAT_LABEL_BYTES)
		return error_set(EINVAL, "a label has at most %d bytes", FORMAT_LABEL_BYTES - 1);
	for (size_t i = 0; length && i < count; i++) {
		struct extent_view extent = extents_get(&stream->extents, i);
		const char *other = stream_at(stream, extent.off + FORMAT_REGION_LABEL_OFF);
		if (extent.region && !strncmp(label, other, FORMAT_LABEL_BYTES))
			return error_set(EEXIST, "the label \"%s\" is taken by the region at %zu", label,
					 (size_t)extent.off);
	}
	return 0;
}

static int allocate(struct pmemstream *stream, uint64_t size, const char *label, uint64_t *off)
{
	struct format_record record = {0};
	struct format_region fields = {.generation = stream->next_generation, .created_ns = stream_time_ns()};
	struct extent_change change;
	uint64_t bytes;

	if (stream_writable(stream) || check_label(stream, label) || extents_reserve(&stream->extents, 1))
		return -1;
	if (!checked_add(size, FORMAT_REGION_HEADER_BYTES, &bytes) ||
	    !checked_round_up(bytes, stream->header.block_size, &bytes) ||
	    !extents_fit(&stream->extents, bytes, &change))
		return error_set(
			ENOSPC,
			"no free place for a region of %zu bytes and its header of %d: pmemstream_get_statistics tells "
			"the largest that can be had",
			(size_t)size, FORMAT_REGION_HEADER_BYTES);
	if (fields.generation >= FORMAT_CHECKED_MAX)
		return error_set(EOVERFLOW, "the stream has used up its %zu generations of regions",
				 (size_t)FORMAT_CHECKED_MAX);
	struct region *region = region_new(stream);
	if (!region)
		return -1;

	fields.extent_bytes = bytes;
	memcpy(fields.label, label, strlen(label));
	add_word(&record, change.off, extent_word(stream, change.off, bytes, true));
	if (change.rest_bytes)
		add_word(&record, change.rest_off, extent_word(stream, change.rest_off, change.rest_bytes, false));
	add_word(&record, FORMAT_NEXT_GENERATION_OFF,
		 format_checked_encode(stream->header.salt, FORMAT_NEXT_GENERATION_OFF, fields.generation + 1));
	if (write_region(stream, change.off, &fields) || carry_out(stream, &record)) {
		region_release(stream, region);
		return -1;
	}
	stream->next_generation++;
	uint64_t data_off = change.off + FORMAT_REGION_HEADER_BYTES;
	allocator_fill_region(stream, region, change.off, change.off + bytes, fields.generation, data_off, data_off);
	extents_apply(&stream->extents, &change, region);
	*off = change.off;
	return 0;
}

int allocator_allocate(struct pmemstream *stream, uint64_t size, const char *label, uint64_t *off)
{
	if (!size)
		return error_set(EINVAL, "a region of 0 bytes");
	pthread_mutex_lock(&stream->admin);
	int err = allocate(stream, size, label, off);
	pthread_mutex_unlock(&stream->admin);
	return err;
}

/* Under the order lock: is some thread, or a mover, still copying into the region? */
static bool append_inside(struct pmemstream *stream, const struct region *region)
{
	uint64_t next = atomic_load_explicit(&stream->next, memory_order_relaxed);

	for (uint64_t t = stream_persisted(stream) + 1; t < next; t++) {
		struct window_place place;
		if (window_find(stream, t, &place) && place.taken && place.region == region)
			return true;
	}
	return false;
}

static int close_region(struct pmemstream *stream, struct region *region, uint64_t generation, uint64_t *last)
{
	int err = 0;

	spinlock_take(&stream->order);
	if (atomic_load_explicit(&region->generation, memory_order_relaxed) != generation)
		err = EINVAL;
	else if (region->reserved || append_inside(stream, region))
		err = EBUSY;
	else
		region->closed = true;
	*last = region->last_timestamp;
	spinlock_leave(&stream->order);
	return err;
}

static int free_closed(struct pmemstream *stream, struct region *region, uint64_t last)
{
	struct format_record record = {0};
	struct extent_change change;

	if (persist_until(stream, last, UINT64_MAX) || checkpoint_round(stream, 0))
		return -1;
	if (!extents_merge(&stream->extents, region->off, &change))
		return error_set(EINVAL, "no region begins at offset %zu", (size_t)region->off);
	add_word(&record, change.off, extent_word(stream, change.off, change.bytes, false));
	if (carry_out(stream, &record))
		return -1;
	extents_apply(&stream->extents, &change, NULL);
	/* From here on every copy of its offset, handle or iterator finds nothing. */
	spinlock_take(&stream->order);
	atomic_store_explicit(&region->generation, 0, memory_order_release);
	spinlock_leave(&stream->order);
	/* The round covered all of it, so no list holds it any more. */
	assert(!region->grew);
	region_release(stream, region);
	return 0;
}

int allocator_free(struct pmemstream *stream, struct pmemstream_region region)
{
	uint64_t generation, last;
	char name[96];

	pthread_mutex_lock(&stream->admin);
	struct region *found = region_find_known(stream, region, &generation);
	int err = found && !stream_writable(stream) ? 0 : -1;
	if (!err) {
		/* A copy that is done but was not looked at since is no append inside. */
		mover_poll(stream, UINT64_MAX);
		int refused = close_region(stream, found, generation, &last);
		if (refused) {
			err = error_set(refused, "%s cannot be freed: an append or an open reservation is inside",
					region_name(stream, found, name));
		} else {
			err = free_closed(stream, found, last);
			if (err) {
				spinlock_take(&stream->order);
				found->closed = false;
				spinlock_leave(&stream->order);
			}
		}
	}
	pthread_mutex_unlock(&stream->admin);
	return err;
}
