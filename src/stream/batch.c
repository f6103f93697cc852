/*
 * batch.c: several entries, in any regions, that become visible and durable all or none.
 *
 * Order  entries are gathered in memory -> order lock: room in every region and in the window, then one run of
 *        consecutive timestamps -> headers, all but the last with MORE, and data to the medium -> one fence or sync.
 * Crash  recovery takes entries with MORE off the end of its run, so it never ends inside a batch. committed,
 *        persisted, the P of a round and watermarks never rest inside one either.
 * Cost   one fence however many entries and regions. The order lock is held for the whole run of timestamps, some ten
 *        nanoseconds an entry, which the limit of half a window bounds.
 */
#include "stream/append.h"

#include "base/error.h"
#include "base/export.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct part {
	struct region *region;
	uint64_t generation;
	uint64_t size;
	size_t data_off; /* in the batch's memory */
	uint32_t data_crc;
};

struct pmemstream_batch {
	struct pmemstream *stream;
	struct part *parts;
	size_t count, room;
	char *data;
	size_t data_bytes, data_room;
};

/* What a batch wants of one region. */
struct demand {
	struct region *region;
	uint64_t generation, space;
};

EXPORT int pmemstream_batch_begin(struct pmemstream *stream, struct pmemstream_batch **batch)
{
	if (!stream || !batch)
		return error_set(EINVAL, "no %s", stream ? "place for the batch" : "stream");
	if (stream_writable(stream))
		return -1;
	struct pmemstream_batch *made = calloc(1, sizeof(*made));
	if (!made)
		return error_set(ENOMEM, "no memory for a batch");
	made->stream = stream;
	*batch = made;
	return 0;
}

static int grow(void **array, size_t *room, size_t wanted, size_t item_bytes)
{
	if (wanted <= *room)
		return 0;
	size_t more = wanted > *room * 2 ? wanted : *room * 2;
	void *larger = more > SIZE_MAX / item_bytes ? NULL : realloc(*array, more * item_bytes);
	if (!larger)
		return error_set(ENOMEM, "no memory for a batch of %zu entries or bytes", more);
	*array = larger;
	*room = more;
	return 0;
}

EXPORT int pmemstream_batch_add(struct pmemstream_batch *batch, struct pmemstream_region region,
				struct pmemstream_region_runtime *region_runtime, const void *data, size_t size)
{
	uint64_t generation;

	if (!batch || (!data && size))
		return error_set(EINVAL, "no %s", batch ? "data" : "batch");
	struct region *found = region_resolve(batch->stream, region, region_runtime, &generation);
	if (!found)
		return -1;
	if (batch->count >= batch->stream->window / 2)
		return error_set(E2BIG, "a batch has at most %zu entries, half the stream's window",
				 (size_t)batch->stream->window / 2);
	/* What fits no empty region is not to be read: see append_may_fit. What fits no longer is commit's to say. */
	uint64_t region_bytes = atomic_load_explicit(&found->end_off, memory_order_acquire) - region.offset;
	if (append_space(batch->stream, size) > region_bytes - FORMAT_REGION_HEADER_BYTES)
		return error_set(ENOSPC, "an entry of %zu bytes does not fit the region at %zu", size,
				 (size_t)region.offset);
	if (grow((void **)&batch->parts, &batch->room, batch->count + 1, sizeof(*batch->parts)) ||
	    grow((void **)&batch->data, &batch->data_room, batch->data_bytes + size, 1))
		return -1;
	if (size)
		memcpy(batch->data + batch->data_bytes, data, size);
	batch->parts[batch->count++] = (struct part){
		.region = found,
		.generation = generation,
		.size = size,
		.data_off = batch->data_bytes,
		.data_crc = format_data_crc(data, size),
	};
	batch->data_bytes += size;
	return 0;
}

EXPORT void pmemstream_batch_abort(struct pmemstream_batch **batch)
{
	if (!batch || !*batch)
		return;
	free((*batch)->parts);
	free((*batch)->data);
	free(*batch);
	*batch = NULL;
}

static int compare_demands(const void *a, const void *b)
{
	const struct demand *left = a, *right = b;

	if (left->region != right->region)
		return (uintptr_t)left->region < (uintptr_t)right->region ? -1 : 1;
	if (left->generation != right->generation)
		return left->generation < right->generation ? -1 : 1;
	return 0;
}

/* Sums up what each region has to give; the number of regions. */
static size_t sum_demands(const struct pmemstream_batch *batch, struct demand *demands)
{
	size_t used = 0;

	for (size_t i = 0; i < batch->count; i++)
		demands[i] =
			(struct demand){.region = batch->parts[i].region,
					.generation = batch->parts[i].generation,
					.space = format_entry_space(batch->parts[i].size, batch->stream->alignment)};
	qsort(demands, batch->count, sizeof(*demands), compare_demands);
	for (size_t i = 0; i < batch->count; i++) {
		if (used && !compare_demands(&demands[used - 1], &demands[i]))
			demands[used - 1].space += demands[i].space;
		else
			demands[used++] = demands[i];
	}
	return used;
}

static int take(struct pmemstream_batch *batch, struct demand *demands, struct ticket *tickets)
{
	struct pmemstream *stream = batch->stream;
	size_t demand_count = sum_demands(batch, demands);
	uint64_t deadline_ns = 0;

	for (;;) {
		uint64_t persisted = stream_persisted(stream);
		int verdict = ADMIT_OK;
		size_t at = 0;

		spinlock_take(&stream->order);
		for (; at < demand_count && verdict == ADMIT_OK; at++)
			verdict = append_admit(stream, demands[at].region, demands[at].generation, demands[at].space,
					       batch->count);
		for (size_t i = 0; verdict == ADMIT_OK && i < batch->count; i++)
			window_take(stream, batch->parts[i].region, batch->parts[i].size, persisted, NULL,
				    i + 1 < batch->count, &tickets[i]);
		spinlock_leave(&stream->order);
		if (verdict == ADMIT_OK)
			return 0;
		if (append_wait(stream, demands[at - 1].region, demands[at - 1].generation, demands[at - 1].space,
				verdict, &deadline_ns))
			return -1;
	}
}

static void store(struct pmemstream_batch *batch, const struct ticket *tickets)
{
	struct pmemstream *stream = batch->stream;
	unsigned char header[FORMAT_ENTRY_HEADER_BYTES];
	struct format_entry entry;

	for (size_t i = 0; i < batch->count; i++) {
		const struct part *part = &batch->parts[i];
		append_header(stream, &tickets[i], part->data_crc, i + 1 < batch->count ? FORMAT_MORE : 0, &entry,
			      header);
		append_store(stream, &tickets[i], header, batch->data + part->data_off, part->size);
	}
}

EXPORT int pmemstream_batch_commit(struct pmemstream_batch **batch, struct pmemstream_entry *entries)
{
	if (!batch || !*batch)
		return error_set(EINVAL, "no batch");
	struct pmemstream *stream = (*batch)->stream;
	size_t count = (*batch)->count;
	int err = -1;

	if (stream_writable(stream))
		return -1;
	/* One more than none, so that NULL means no memory. */
	struct ticket *tickets = calloc(count + 1, sizeof(*tickets));
	struct demand *demands = calloc(count + 1, sizeof(*demands));
	if (!tickets || !demands) {
		error_set(ENOMEM, "no memory to commit a batch of %zu entries", count);
		goto free_memory;
	}
	if (count) {
		if (take(*batch, demands, tickets))
			goto free_memory;
		store(*batch, tickets);
		if (append_finish(stream, tickets, tickets + count - 1))
			goto end_batch;
	}
	for (size_t i = 0; entries && i < count; i++)
		entries[i].offset = tickets[i].off;
	err = 0;
end_batch:
	pmemstream_batch_abort(batch);
free_memory:
	free(tickets);
	free(demands);
	return err;
}
