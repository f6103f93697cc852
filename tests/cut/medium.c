/*
 * medium.c: the table of operations. Each one is an event: lock, hooks, the operation, hooks, unlock.
 *
 * The address that an operation returns to is the place in the code under test: the functions of medium/medium.h are
 * inlined there.
 */
#include "base/error.h"
#include "cut/faults.h"
#include "cut/internal.h"

#include <endian.h>
#include <errno.h>
#include <string.h>

#define CALLER ((uintptr_t)__builtin_return_address(0))

/* The page in front of the medium holds the address of its cut (life.c). */
static struct cut *cut_of(const struct medium *medium)
{
	struct cut *cut;

	memcpy(&cut, medium->base - MEDIUM_PAGE_BYTES, sizeof(cut));
	return cut;
}

static void call_hook(struct cut *cut, const struct hook *hook, const struct cut_event *event)
{
	if (!(hook->kinds & event->kind))
		return;
	/* The code under test must not notice: neither its errno, nor its message, nor its count of allocations. */
	char message[ERROR_MESSAGE_MAX];
	int err = errno;
	strcpy(message, error_message());
	faults_pause();
	cut->in_hook = true;
	hook->call(cut, event, hook->context);
	cut->in_hook = false;
	faults_resume();
	error_set(err, "%s", message);
}

static void call_hooks(struct cut *cut, const struct cut_event *event)
{
	call_hook(cut, &cut->hook, event);
	call_hook(cut, &cut->watch_hook, event);
}

static const char *kind_text(enum cut_kind kind)
{
	return kind == CUT_STORE ? "store" : kind == CUT_FLUSH ? "flush" : kind == CUT_SYNC ? "sync" : "redirty";
}

static struct cut *begin(struct medium *medium, struct cut_event *event, const void *at)
{
	struct cut *cut = cut_of(medium);

	cut_lock(cut);
	if (cut->in_hook)
		cut_die("a hook uses the medium whose event it sees");
	if (at)
		event->off = cut_offset(cut, at, event->bytes, kind_text(event->kind));
	if (!cut->medium.writable && event->kind & (CUT_STORE | CUT_REDIRTY))
		cut_die("%s at offset %zu of a read-only medium, by %s", kind_text(event->kind), event->off,
			cut_site_text(event->site));
	event->number = ++cut->event_number;
	call_hooks(cut, event);
	return cut;
}

static void end(struct cut *cut, struct cut_event *event)
{
	event->after = true;
	call_hooks(cut, event);
	cut_unlock(cut);
}

/* True: the source is to be taken as lacking this operation. */
static bool dropped(struct cut *cut, const struct cut_event *event)
{
	bool muted = site_called(event->site, event->kind);
	bool counted_out = cut->drop_at[event->kind] && --cut->drop_at[event->kind] == 0;

	return muted || counted_out;
}

static void op_copy(struct medium *medium, void *to, const void *from, size_t bytes)
{
	struct cut_event event = {.kind = CUT_STORE, .bytes = bytes, .site = CALLER};
	struct cut *cut = begin(medium, &event, to);

	cut->counts.stores++;
	if (bytes) {
		memcpy(to, from, bytes);
		model_store(cut, event.off, to, bytes, false);
	}
	end(cut, &event);
}

/* Head and data as two copies: a word that both reach holds something in between. */
static void store_both(struct medium *medium, void *to, const void *head, size_t head_bytes, const void *data,
		       size_t data_bytes, uintptr_t site)
{
	struct cut_event event = {.kind = CUT_STORE, .bytes = head_bytes + data_bytes, .site = site};
	struct cut *cut = begin(medium, &event, to);

	cut->counts.stores++;
	if (head_bytes)
		memcpy(to, head, head_bytes);
	if (data_bytes)
		memcpy((char *)to + head_bytes, data, data_bytes);
	model_store(cut, event.off, to, head_bytes, false);
	model_store(cut, event.off + head_bytes, (char *)to + head_bytes, data_bytes, false);
	end(cut, &event);
}

static void op_record(struct medium *medium, void *to, const void *head, size_t head_bytes, const void *data,
		      size_t data_bytes)
{
	store_both(medium, to, head, head_bytes, data, data_bytes, CALLER);
}

static void op_stream(struct medium *medium, void *to, const void *head, size_t head_bytes, const void *data,
		      size_t data_bytes)
{
	size_t used = head_bytes + data_bytes;
	size_t padded = (used + MEDIUM_LINE_BYTES - 1) / MEDIUM_LINE_BYTES * MEDIUM_LINE_BYTES;
	struct cut_event event = {.kind = CUT_STORE, .bytes = padded, .site = CALLER};

	if (medium->granularity == MEDIUM_PAGE) {
		store_both(medium, to, head, head_bytes, data, data_bytes, CALLER);
		return;
	}
	struct cut *cut = begin(medium, &event, to);
	if (event.off % MEDIUM_LINE_BYTES)
		cut_die("stream to offset %zu, which begins no cache line", event.off);
	cut->counts.stores++;
	if (head_bytes)
		memcpy(to, head, head_bytes);
	if (data_bytes)
		memcpy((char *)to + head_bytes, data, data_bytes);
	memset((char *)to + used, 0, padded - used);
	model_store(cut, event.off, to, padded, true);
	end(cut, &event);
}

static void store8(struct medium *medium, uint64_t *to, uint64_t value, bool streamed, uintptr_t site)
{
	struct cut_event event = {.kind = CUT_STORE, .bytes = sizeof(value), .site = site};
	struct cut *cut = begin(medium, &event, to);

	if (event.off % sizeof(value))
		cut_die("8-byte store to offset %zu, which is not aligned", event.off);
	cut->counts.stores++;
	__atomic_store_n(to, value, __ATOMIC_RELEASE);
	model_store(cut, event.off, &value, sizeof(value), streamed);
	end(cut, &event);
}

static void op_store8(struct medium *medium, uint64_t *to, uint64_t value)
{
	store8(medium, to, value, false, CALLER);
}

static void op_stream8(struct medium *medium, uint64_t *to, uint64_t value)
{
	store8(medium, to, value, true, CALLER);
}

static void op_raise8(struct medium *medium, uint64_t *at, uint64_t value)
{
	/* Under the cut's lock nobody stores between the look and the store. */
	struct cut_event event = {.kind = CUT_STORE, .bytes = sizeof(value), .site = CALLER};
	struct cut *cut = begin(medium, &event, at);

	if (event.off % sizeof(value))
		cut_die("8-byte raise at offset %zu, which is not aligned", event.off);
	cut->counts.stores++;
	if (le64toh(*at) < value) {
		uint64_t raised = htole64(value);
		__atomic_store_n(at, raised, __ATOMIC_SEQ_CST);
		model_store(cut, event.off, &raised, sizeof(raised), false);
	}
	end(cut, &event);
}

static uint32_t op_exchange4(struct medium *medium, uint32_t *at, uint32_t value)
{
	struct cut_event event = {.kind = CUT_STORE, .bytes = sizeof(value), .site = CALLER};
	struct cut *cut = begin(medium, &event, at);

	if (event.off % sizeof(value))
		cut_die("4-byte exchange at offset %zu, which is not aligned", event.off);
	cut->counts.stores++;
	uint32_t old = __atomic_exchange_n(at, value, __ATOMIC_SEQ_CST);
	model_store(cut, event.off, &value, sizeof(value), false);
	end(cut, &event);
	return old;
}

static void op_flush(struct medium *medium, const void *at, size_t bytes)
{
	struct cut_event event = {.kind = CUT_FLUSH, .bytes = bytes, .site = CALLER};
	struct cut *cut = begin(medium, &event, at);

	cut->counts.flushes++;
	if (!dropped(cut, &event))
		model_flush(cut, event.off, bytes);
	end(cut, &event);
}

static void op_fence(struct medium *medium)
{
	struct cut_event event = {.kind = CUT_FENCE, .site = CALLER};
	struct cut *cut = begin(medium, &event, NULL);

	cut->counts.fences++;
	if (!dropped(cut, &event))
		model_fence(cut);
	end(cut, &event);
}

static int sync_error(struct cut *cut)
{
	int err = cut->writeback_error;

	cut->writeback_error = 0;
	if (cut->fail_sync_at && --cut->fail_sync_at == 0) {
		err = cut->fail_sync_error;
		cut->fail_sync_at = cut->fail_sync_later ? 1 : 0;
	}
	return err;
}

static int op_sync(struct medium *medium, const void *at, size_t bytes)
{
	struct cut_event event = {.kind = CUT_SYNC, .bytes = bytes, .site = CALLER};
	struct cut *cut = begin(medium, &event, at);
	int err = 0;

	cut->counts.syncs++;
	if (!dropped(cut, &event)) {
		err = sync_error(cut);
		if (err) {
			model_forget_dirty(cut, event.off, bytes);
		} else if (cut->medium.granularity == MEDIUM_PAGE) {
			model_sync_pages(cut, event.off, bytes);
		} else {
			model_flush(cut, event.off, bytes);
			model_fence(cut);
		}
	}
	size_t off = event.off;
	end(cut, &event);
	return err ? error_set(err, "injected failure of a sync of %zu bytes at offset %zu", bytes, off) : 0;
}

static void op_written(struct medium *medium, const void *at, size_t bytes)
{
	struct cut_event event = {.kind = CUT_STORE, .bytes = bytes, .site = CALLER};
	struct cut *cut = begin(medium, &event, at);

	cut->counts.stores++;
	model_written(cut, event.off, bytes);
	end(cut, &event);
}

static void op_redirty(struct medium *medium, const void *at, size_t bytes)
{
	struct cut_event event = {.kind = CUT_REDIRTY, .bytes = bytes, .site = CALLER};
	struct cut *cut = begin(medium, &event, at);

	if (!dropped(cut, &event))
		model_redirty(cut, event.off, bytes);
	end(cut, &event);
}

const struct medium_ops cut_ops = {
	.copy = op_copy,
	.stream = op_stream,
	.record = op_record,
	.store8 = op_store8,
	.stream8 = op_stream8,
	.exchange4 = op_exchange4,
	.raise8 = op_raise8,
	.flush = op_flush,
	.fence = op_fence,
	.sync = op_sync,
	.written = op_written,
	.redirty = op_redirty,
};
