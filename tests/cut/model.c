/*
 * model.c: the undurable words, their values, and what makes them durable (rules: cut.h).
 *
 * Invariants  word i has a place  <=>  it has two values or more since it was durable last.
 *             versions[0].value == durable[i], the last value == known[i]; stamps rise.
 *             A word without a place: durable[i] == known[i].
 * A pending flush names a stamp, not a version: settling takes the newest version that is not younger, so a version
 * that was forgotten in between only makes the settled value older, which is on the safe side.
 */
#include "cut/internal.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

/* The thread number that holds what a killed process left on BYTE. */
enum { THE_DEAD = 0 };

uint64_t model_thread(void)
{
	/* Never used again, unlike thread_slot: what a dead thread left unfenced must stay unfenced. */
	static _Atomic uint64_t last;
	static _Thread_local uint64_t own;

	if (!own)
		own = atomic_fetch_add(&last, 1) + 1;
	return own;
}

static struct thread *find_thread(struct cut *cut, uint64_t id)
{
	for (size_t i = 0; i < cut->thread_count; i++)
		if (cut->threads[i].id == id)
			return &cut->threads[i];
	/* Threads come and go by the thousand; one without anything pending is as good as new. */
	for (size_t i = 0; i < cut->thread_count; i++)
		if (!cut->threads[i].count) {
			cut->threads[i].id = id;
			return &cut->threads[i];
		}
	cut->threads = cut_allocate(cut->threads, (cut->thread_count + 1) * sizeof(*cut->threads));
	cut->threads[cut->thread_count] = (struct thread){.id = id};
	return &cut->threads[cut->thread_count++];
}

static int by_index_then_stamp(const void *left, const void *right)
{
	const struct pending *a = left, *b = right;

	if (a->index != b->index)
		return a->index < b->index ? -1 : 1;
	return a->stamp < b->stamp ? -1 : a->stamp > b->stamp;
}

/* Keeps the newest stamp of each word that is still undurable: a thread may store for ever and never fence. */
static void compact_pending(const struct cut *cut, struct thread *thread)
{
	size_t kept = 0;

	qsort(thread->pending, thread->count, sizeof(*thread->pending), by_index_then_stamp);
	for (size_t i = 0; i < thread->count; i++) {
		struct pending *pending = &thread->pending[i];
		if (!cut->place[pending->index])
			continue;
		if (i + 1 < thread->count && pending[1].index == pending->index)
			continue;
		thread->pending[kept++] = *pending;
	}
	thread->count = kept;
}

static void add_pending(struct cut *cut, struct thread *thread, uint32_t index, uint64_t stamp)
{
	if (thread->count == thread->room) {
		if (thread->count)
			compact_pending(cut, thread);
		if (thread->count * 2 >= thread->room) {
			thread->room = thread->room ? thread->room * 2 : 64;
			thread->pending = cut_allocate(thread->pending, thread->room * sizeof(*thread->pending));
		}
	}
	thread->pending[thread->count++] = (struct pending){.stamp = stamp, .index = index};
}

static struct word *find_word(struct cut *cut, size_t index)
{
	return cut->place[index] ? &cut->undurable[cut->place[index] - 1] : NULL;
}

static struct word *add_word(struct cut *cut, uint32_t index)
{
	if (cut->undurable_count == cut->undurable_room) {
		cut->undurable_room = cut->undurable_room ? cut->undurable_room * 2 : 64;
		cut->undurable = cut_allocate(cut->undurable, cut->undurable_room * sizeof(*cut->undurable));
	}
	struct word *word = &cut->undurable[cut->undurable_count++];
	*word = (struct word){.index = index, .count = 1, .room = VERSIONS_FEW};
	word->few[0].value = cut->durable[index];
	cut->place[index] = cut->undurable_count;
	return word;
}

static void remove_word(struct cut *cut, struct word *word)
{
	struct word *last = &cut->undurable[cut->undurable_count - 1];

	if (word->room > VERSIONS_FEW)
		free(word->many);
	cut->place[word->index] = 0;
	if (word != last) {
		*word = *last;
		cut->place[word->index] = (uint32_t)(word - cut->undurable) + 1;
	}
	cut->undurable_count--;
}

static void add_version(struct word *word, struct version version)
{
	struct version *versions = word_versions(word);

	if (word->count == VERSIONS_MAX) {
		size_t forgotten = 1 + version.stamp % (VERSIONS_MAX - 2);
		memmove(versions + forgotten, versions + forgotten + 1,
			(word->count - forgotten - 1) * sizeof(*versions));
		word->count--;
	} else if (word->count == word->room) {
		struct version *many =
			cut_allocate(word->room > VERSIONS_FEW ? word->many : NULL, word->room * 2 * sizeof(*many));
		if (word->room == VERSIONS_FEW)
			memcpy(many, word->few, sizeof(word->few));
		word->many = many;
		word->room *= 2;
		versions = many;
	}
	versions[word->count++] = version;
}

/* The word is durable as of the stamp, or as of something newer. */
static void settle(struct cut *cut, size_t index, uint64_t stamp)
{
	struct word *word = find_word(cut, index);

	if (!word)
		return;
	struct version *versions = word_versions(word);
	uint32_t newest = word->count - 1;
	while (newest && versions[newest].stamp > stamp)
		newest--;
	cut->durable[index] = versions[newest].value;
	if (newest == word->count - 1) {
		remove_word(cut, word);
	} else if (newest) {
		memmove(versions, versions + newest, (word->count - newest) * sizeof(*versions));
		word->count -= newest;
	}
}

static void store_word(struct cut *cut, struct thread *thread, size_t index, uint64_t value, bool streamed)
{
	struct word *word = find_word(cut, index);

	if (value != cut->known[index]) {
		if (!word)
			word = add_word(cut, (uint32_t)index);
		add_version(word, (struct version){.value = value, .stamp = cut->stamp, .streamed = streamed});
		cut->known[index] = value;
	} else if (!word) {
		return;
	} else if (!streamed) {
		/* The same value again, by an ordinary store: a flush can see it now. */
		word_versions(word)[word->count - 1].streamed = false;
	}
	if (thread && (streamed || cut->medium.granularity == MEDIUM_BYTE))
		add_pending(cut, thread, (uint32_t)index, cut->stamp);
}

static void store(struct cut *cut, struct thread *thread, size_t off, const void *from, size_t bytes, bool streamed)
{
	const char *source = from;
	size_t end = off + bytes;

	cut->stamp++;
	if (cut->medium.granularity == MEDIUM_PAGE)
		streamed = false;
	while (off < end) {
		size_t index = off / CUT_WORD_BYTES, inside = off % CUT_WORD_BYTES;
		size_t part = CUT_WORD_BYTES - inside < end - off ? CUT_WORD_BYTES - inside : end - off;
		uint64_t value = cut->known[index];
		memcpy((char *)&value + inside, source, part);
		store_word(cut, thread, index, value, streamed);
		cut->page_dirty[off / MEDIUM_PAGE_BYTES] = 1;
		off += part;
		source += part;
	}
}

void model_store(struct cut *cut, size_t off, const void *from, size_t bytes, bool streamed)
{
	store(cut, find_thread(cut, model_thread()), off, from, bytes, streamed);
}

/* Word by word where the memory differs, so that pages nobody stored to stay clean. */
static void store_differences(struct cut *cut, struct thread *thread, size_t off, size_t bytes)
{
	size_t end = off + bytes;

	while (off < end) {
		size_t part = CUT_WORD_BYTES - off % CUT_WORD_BYTES;
		part = part < end - off ? part : end - off;
		if (memcmp(cut->medium.base + off, (char *)cut->known + off, part) != 0)
			store(cut, thread, off, cut->medium.base + off, part, false);
		off += part;
	}
}

void model_written(struct cut *cut, size_t off, size_t bytes)
{
	struct thread *thread = find_thread(cut, model_thread());

	store_differences(cut, thread, off, bytes);
	if (!bytes || cut->medium.granularity != MEDIUM_BYTE)
		return;
	/* What images found there before (model_absorb_direct) was this thread's all the time. */
	for (size_t index = off / CUT_WORD_BYTES; index <= (off + bytes - 1) / CUT_WORD_BYTES; index++)
		if (cut->place[index])
			add_pending(cut, thread, (uint32_t)index, cut->stamp);
}

void model_absorb_direct(struct cut *cut)
{
	for (size_t i = 0; i < cut->direct.count; i++)
		store_differences(cut, NULL, cut->direct.list[i].off,
				  cut->direct.list[i].end - cut->direct.list[i].off);
}

void model_flush(struct cut *cut, size_t off, size_t bytes)
{
	struct thread *thread = find_thread(cut, model_thread());

	if (!bytes || cut->medium.granularity != MEDIUM_CACHE_LINE)
		return;
	size_t index = off / MEDIUM_LINE_BYTES * WORDS_PER_LINE;
	size_t last = ((off + bytes - 1) / MEDIUM_LINE_BYTES + 1) * WORDS_PER_LINE - 1;
	for (; index <= last && index < cut->word_count; index++) {
		struct word *word = find_word(cut, index);
		if (!word)
			continue;
		struct version *versions = word_versions(word);
		uint32_t seen = word->count - 1;
		while (seen && versions[seen].streamed)
			seen--;
		if (seen)
			add_pending(cut, thread, (uint32_t)index, versions[seen].stamp);
	}
}

/* Backwards: settling a word puts the last one, which was looked at already, into its place. */
static void settle_seen_stores(struct cut *cut)
{
	for (uint32_t i = cut->undurable_count; i-- > 0;) {
		struct version *versions = word_versions(&cut->undurable[i]);
		uint32_t seen = cut->undurable[i].count - 1;
		while (seen && versions[seen].streamed)
			seen--;
		if (seen)
			settle(cut, cut->undurable[i].index, versions[seen].stamp);
	}
}

static void settle_pending(struct cut *cut, struct thread *thread)
{
	for (size_t i = 0; i < thread->count; i++)
		settle(cut, thread->pending[i].index, thread->pending[i].stamp);
	thread->count = 0;
}

void model_fence(struct cut *cut)
{
	settle_pending(cut, find_thread(cut, model_thread()));
	settle_pending(cut, find_thread(cut, THE_DEAD));
	if (cut->medium.granularity == MEDIUM_BYTE && cut->seen_stores)
		settle_seen_stores(cut);
}

static void page_span(size_t off, size_t bytes, size_t *first, size_t *end)
{
	*first = off / MEDIUM_PAGE_BYTES;
	*end = bytes ? (off + bytes - 1) / MEDIUM_PAGE_BYTES + 1 : *first;
}

void model_sync_pages(struct cut *cut, size_t off, size_t bytes)
{
	size_t page, end;

	for (page_span(off, bytes, &page, &end); page < end; page++) {
		if (!cut->page_dirty[page])
			continue;
		cut->page_dirty[page] = 0;
		cut->counts.pages_written++;
		for (size_t index = page * WORDS_PER_PAGE; index < (page + 1) * WORDS_PER_PAGE; index++)
			if (cut->place[index])
				settle(cut, index, cut->stamp);
	}
}

void model_forget_dirty(struct cut *cut, size_t off, size_t bytes)
{
	size_t page, end;

	for (page_span(off, bytes, &page, &end); page < end; page++)
		cut->page_dirty[page] = 0;
}

void model_redirty(struct cut *cut, size_t off, size_t bytes)
{
	size_t page, end;

	for (page_span(off, bytes, &page, &end); page < end; page++)
		cut->page_dirty[page] = 1;
}

/*
 * What was streamed has left the dead threads' write buffers when another process runs: a flush can see it now.
 * BYTE knows no flush: there, what the next process can see is in a durable cache. A fence of its own is asked for all
 * the same.
 */
void model_kill(struct cut *cut)
{
	struct thread *dead = find_thread(cut, THE_DEAD);

	for (size_t i = 0; i < cut->thread_count; i++)
		cut->threads[i].count = 0;
	for (uint32_t i = 0; i < cut->undurable_count; i++) {
		struct version *versions = word_versions(&cut->undurable[i]);
		for (uint32_t v = 0; v < cut->undurable[i].count; v++)
			versions[v].streamed = false;
		if (cut->medium.granularity == MEDIUM_BYTE)
			add_pending(cut, dead, cut->undurable[i].index, cut->stamp);
	}
}

static void forget_words(struct cut *cut)
{
	for (uint32_t i = 0; i < cut->undurable_count; i++) {
		cut->place[cut->undurable[i].index] = 0;
		if (cut->undurable[i].room > VERSIONS_FEW)
			free(cut->undurable[i].many);
	}
	cut->undurable_count = 0;
}

void model_forget(struct cut *cut)
{
	forget_words(cut);
	for (size_t i = 0; i < cut->thread_count; i++)
		cut->threads[i].count = 0;
	memset(cut->page_dirty, 0, cut->mapped_bytes / MEDIUM_PAGE_BYTES);
}

void model_reset(struct cut *cut, const void *image)
{
	size_t size = cut->medium.size;

	model_forget(cut);
	memcpy(cut->medium.base, image, size);
	memcpy(cut->known, image, size);
	memcpy(cut->durable, image, size);
}

void model_copy(struct cut *to, struct cut *from)
{
	forget_words(to);
	memcpy(to->medium.base, from->medium.base, from->medium.size);
	memcpy(to->known, from->known, from->medium.size);
	memcpy(to->durable, from->durable, from->medium.size);
	memcpy(to->page_dirty, from->page_dirty, from->mapped_bytes / MEDIUM_PAGE_BYTES);
	if (to->undurable_room < from->undurable_count) {
		to->undurable_room = from->undurable_count;
		to->undurable = cut_allocate(to->undurable, to->undurable_room * sizeof(*to->undurable));
	}
	to->undurable_count = from->undurable_count;
	for (uint32_t i = 0; i < from->undurable_count; i++) {
		struct word *word = &to->undurable[i];
		*word = from->undurable[i];
		to->place[word->index] = i + 1;
		if (word->room <= VERSIONS_FEW)
			continue;
		word->many = cut_allocate(NULL, word->room * sizeof(*word->many));
		memcpy(word->many, from->undurable[i].many, word->count * sizeof(*word->many));
	}
	for (size_t i = 0; i < to->thread_count; i++)
		free(to->threads[i].pending);
	to->thread_count = from->thread_count;
	to->threads = cut_allocate(to->threads, (from->thread_count + 1) * sizeof(*to->threads));
	for (size_t i = 0; i < from->thread_count; i++) {
		struct thread *thread = &to->threads[i];
		*thread = from->threads[i];
		thread->pending = cut_allocate(NULL, (thread->room + 1) * sizeof(*thread->pending));
		if (thread->count)
			memcpy(thread->pending, from->threads[i].pending, thread->count * sizeof(*thread->pending));
	}
	to->stamp = from->stamp;
	to->seen_stores = from->seen_stores;
	to->writeback_error = from->writeback_error;
}

void model_free(struct cut *cut)
{
	forget_words(cut);
	for (size_t i = 0; i < cut->thread_count; i++)
		free(cut->threads[i].pending);
	free(cut->threads);
	free(cut->undurable);
}
