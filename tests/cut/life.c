/*
 * life.c: how a cut comes and goes, and the questions about it.
 *
 * Layout  one anonymous mapping: a page that only holds the address of the cut (read-only), the medium in whole pages,
 *         a page that faults. So a copied struct medium still finds its cut, and a store beyond either end faults.
 */
#include "base/error.h"
#include "cut/faults.h"
#include "cut/internal.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

_Noreturn void cut_die(const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	fputs("cut: ", stderr);
	vfprintf(stderr, format, arguments);
	fputc('\n', stderr);
	va_end(arguments);
	abort();
}

void *cut_allocate(void *old, size_t bytes)
{
	faults_pause();
	void *memory = realloc(old, bytes);
	faults_resume();

	if (!memory)
		cut_die("no memory for %zu bytes", bytes);
	return memory;
}

void cut_lock(struct cut *cut)
{
	pthread_mutex_lock(&cut->lock);
}

void cut_unlock(struct cut *cut)
{
	pthread_mutex_unlock(&cut->lock);
}

size_t cut_offset(const struct cut *cut, const void *at, size_t bytes, const char *what)
{
	uintptr_t off = (uintptr_t)at - (uintptr_t)cut->medium.base;

	if (off > cut->medium.size || bytes > cut->medium.size - off)
		cut_die("%s of %zu bytes at offset %lld of a medium of %zu bytes", what, bytes, (long long)off,
			cut->medium.size);
	return off;
}

bool ranges_hold(const struct ranges *ranges, size_t off)
{
	for (size_t i = 0; i < ranges->count; i++)
		if (off >= ranges->list[i].off && off < ranges->list[i].end)
			return true;
	return false;
}

void ranges_add(struct ranges *ranges, size_t off, size_t bytes)
{
	if (!bytes)
		return;
	ranges->list = cut_allocate(ranges->list, (ranges->count + 1) * sizeof(*ranges->list));
	ranges->list[ranges->count++] = (struct range){.off = off, .end = off + bytes};
}

void ranges_copy(struct ranges *to, const struct ranges *from)
{
	to->count = 0;
	for (size_t i = 0; i < from->count; i++)
		ranges_add(to, from->list[i].off, from->list[i].end - from->list[i].off);
}

static void *map_zeros(size_t bytes)
{
	void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (memory == MAP_FAILED)
		cut_die("no memory for %zu bytes", bytes);
	return memory;
}

static void guard(const struct cut *cut)
{
	char *end = cut->medium.base + cut->mapped_bytes;

	memcpy(cut->mapping, &cut, sizeof(cut));
	if (mprotect(cut->mapping, MEDIUM_PAGE_BYTES, PROT_READ) || mprotect(end, MEDIUM_PAGE_BYTES, PROT_NONE))
		cut_die("mprotect: %s", strerror(errno));
}

int cut_attach(struct cut *cut, struct medium *medium)
{
	return medium_prepare(medium, &cut_ops, cut->medium.base, cut->medium.size, cut->medium.granularity,
			      cut->medium.writable);
}

struct cut *cut_new(size_t size, enum medium_granularity granularity)
{
	if (!size || size % CUT_WORD_BYTES || size / CUT_WORD_BYTES >= UINT32_MAX)
		cut_die("a medium of %zu bytes", size);
	struct cut *cut = cut_allocate(NULL, sizeof(*cut));
	memset(cut, 0, sizeof(*cut));
	cut->mapped_bytes = (size + MEDIUM_PAGE_BYTES - 1) / MEDIUM_PAGE_BYTES * MEDIUM_PAGE_BYTES;
	cut->word_count = cut->mapped_bytes / CUT_WORD_BYTES;
	cut->mapping = map_zeros(cut->mapped_bytes + 2 * (size_t)MEDIUM_PAGE_BYTES);
	faults_pause();
	int err = medium_prepare(&cut->medium, &cut_ops, cut->mapping + MEDIUM_PAGE_BYTES, size, granularity, true);
	faults_resume();
	if (err)
		cut_die("%s", error_message());
	guard(cut);
	cut->known = map_zeros(cut->mapped_bytes);
	cut->durable = map_zeros(cut->mapped_bytes);
	cut->place = map_zeros(cut->word_count * sizeof(*cut->place));
	cut->page_dirty = cut_allocate(NULL, cut->mapped_bytes / MEDIUM_PAGE_BYTES);
	memset(cut->page_dirty, 0, cut->mapped_bytes / MEDIUM_PAGE_BYTES);

	pthread_mutexattr_t recursive;
	pthread_mutexattr_init(&recursive);
	pthread_mutexattr_settype(&recursive, PTHREAD_MUTEX_RECURSIVE);
	pthread_mutex_init(&cut->lock, &recursive);
	pthread_mutexattr_destroy(&recursive);
	return cut;
}

void cut_delete(struct cut *cut)
{
	if (!cut)
		return;
	cut_delete(cut->after);
	model_free(cut);
	free(cut->direct.list);
	free(cut->scratch.list);
	free(cut->image);
	free(cut->failure);
	free(cut->page_dirty);
	munmap(cut->place, cut->word_count * sizeof(*cut->place));
	munmap(cut->durable, cut->mapped_bytes);
	munmap(cut->known, cut->mapped_bytes);
	medium_close(&cut->medium);
	munmap(cut->mapping, cut->mapped_bytes + 2 * (size_t)MEDIUM_PAGE_BYTES);
	pthread_mutex_destroy(&cut->lock);
	free(cut);
}

struct medium *cut_medium(struct cut *cut)
{
	return &cut->medium;
}

static void set_writable(struct cut *cut, bool writable)
{
	if (writable != cut->medium.writable &&
	    mprotect(cut->medium.base, cut->mapped_bytes, writable ? PROT_READ | PROT_WRITE : PROT_READ))
		cut_die("mprotect: %s", strerror(errno));
	cut->medium.writable = writable;
}

static void forget_run(struct cut *cut)
{
	cut->hook = cut->watch_hook = (struct hook){0};
	cut->counts = (struct cut_counts){0};
	cut->event_number = cut->moments = cut->images_checked = 0;
	memset(cut->drop_at, 0, sizeof(cut->drop_at));
	free(cut->failure);
	cut->failure = NULL;
}

void cut_machine_restart(struct cut *cut)
{
	cut_set_writable(cut, true);
	model_forget(cut);
	forget_run(cut);
	cut->direct.count = 0;
	cut->fail_sync_at = 0;
	cut->fail_sync_later = false;
	cut->writeback_error = 0;
}

void cut_restart(struct cut *cut, const void *image)
{
	cut_lock(cut);
	cut_machine_restart(cut);
	model_reset(cut, image);
	cut_unlock(cut);
}

/* Both of one size and granularity; the caller holds the lock of `from`, `to` is his alone. */
void cut_copy(struct cut *to, struct cut *from)
{
	set_writable(to, true);
	model_copy(to, from);
	forget_run(to);
	ranges_copy(&to->direct, &from->direct);
	ranges_copy(&to->scratch, &from->scratch);
	to->fail_sync_at = from->fail_sync_at;
	to->fail_sync_error = from->fail_sync_error;
	to->fail_sync_later = from->fail_sync_later;
	memcpy(to->drop_at, from->drop_at, sizeof(to->drop_at));
}

struct cut *cut_clone(struct cut *cut)
{
	struct cut *clone = cut_new(cut->medium.size, cut->medium.granularity);

	cut_lock(cut);
	cut_copy(clone, cut);
	cut_set_writable(clone, cut->medium.writable);
	cut_unlock(cut);
	return clone;
}

void cut_kill(struct cut *cut)
{
	cut_lock(cut);
	model_absorb_direct(cut);
	model_kill(cut);
	cut_unlock(cut);
}

void cut_set_writable(struct cut *cut, bool writable)
{
	cut_lock(cut);
	set_writable(cut, writable);
	cut_unlock(cut);
}

void cut_set_seen_stores(struct cut *cut, bool seen)
{
	cut_lock(cut);
	cut->seen_stores = seen;
	cut_unlock(cut);
}

const void *cut_durable(struct cut *cut)
{
	return cut->durable;
}

bool cut_is_durable(struct cut *cut, const void *at, size_t bytes)
{
	bool durable = true;

	cut_lock(cut);
	size_t off = cut_offset(cut, at, bytes, "question");
	for (size_t word = off / CUT_WORD_BYTES; word * CUT_WORD_BYTES < off + bytes; word++)
		durable = durable && !cut->place[word];
	cut_unlock(cut);
	return durable;
}

bool cut_page_is_dirty(struct cut *cut, const void *at)
{
	cut_lock(cut);
	bool dirty = cut->page_dirty[cut_offset(cut, at, 1, "question") / MEDIUM_PAGE_BYTES];
	cut_unlock(cut);
	return dirty;
}

struct cut_counts cut_counts(struct cut *cut)
{
	cut_lock(cut);
	struct cut_counts counts = cut->counts;
	cut_unlock(cut);
	return counts;
}

void cut_counts_reset(struct cut *cut)
{
	cut_lock(cut);
	cut->counts = (struct cut_counts){0};
	cut_unlock(cut);
}

void cut_allow_direct(struct cut *cut, const void *at, size_t bytes)
{
	cut_lock(cut);
	ranges_add(&cut->direct, cut_offset(cut, at, bytes, "direct range"), bytes);
	cut_unlock(cut);
}

void cut_allow_none(struct cut *cut)
{
	cut_lock(cut);
	cut->direct.count = 0;
	cut_unlock(cut);
}

void cut_scratch(struct cut *cut, const void *at, size_t bytes)
{
	cut_lock(cut);
	ranges_add(&cut->scratch, cut_offset(cut, at, bytes, "scratch range"), bytes);
	cut_unlock(cut);
}

/* Compares up to the next direct range, then goes on behind it; a mover may be at work inside. */
int cut_verify_no_bypass(struct cut *cut)
{
	int err = 0;

	cut_lock(cut);
	const char *known = (const char *)cut->known, *memory = cut->medium.base;
	for (size_t off = 0; off < cut->mapped_bytes && !err;) {
		size_t end = cut->mapped_bytes;
		const struct range *inside = NULL;
		for (size_t i = 0; i < cut->direct.count; i++) {
			const struct range *range = &cut->direct.list[i];
			if (off >= range->off && off < range->end)
				inside = range;
			else if (range->off >= off && range->off < end)
				end = range->off;
		}
		if (inside) {
			off = inside->end;
			continue;
		}
		if (memcmp(memory + off, known + off, end - off) != 0) {
			while (memory[off] == known[off])
				off++;
			err = error_set(EINVAL, "byte at offset %zu was stored without the medium's table", off);
		}
		off = end;
	}
	cut_unlock(cut);
	return err;
}

void cut_fail_sync(struct cut *cut, unsigned n, int err, bool and_all_later)
{
	cut_lock(cut);
	cut->fail_sync_at = n;
	cut->fail_sync_error = err;
	cut->fail_sync_later = n && and_all_later;
	cut_unlock(cut);
}

void cut_fail_writeback(struct cut *cut, const void *at, size_t bytes, int err)
{
	cut_lock(cut);
	model_forget_dirty(cut, cut_offset(cut, at, bytes, "write-back"), bytes);
	cut->writeback_error = err;
	cut_unlock(cut);
}

void cut_drop(struct cut *cut, enum cut_kind kind, unsigned n)
{
	if (kind != CUT_FLUSH && kind != CUT_FENCE && kind != CUT_SYNC && kind != CUT_REDIRTY)
		cut_die("only a flush, fence, sync or redirty can be dropped");
	cut_lock(cut);
	cut->drop_at[kind] = n;
	cut_unlock(cut);
}
