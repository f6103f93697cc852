/*
 * actor.c: does to a stream what the lines of its standard input say, through the public API alone, and prints what the
 * API then shows. tests/decoder/agree.py holds that against the second decoder.
 *
 *   create FILE BYTES    a file of zeros            append R SIZE COUNT   COUNT entries to region R (0: the oldest)
 *   open FILE BLOCK      map and open it            async R SIZE COUNT    the same, without a wait
 *   look FILE BLOCK      the same, read-only        fail R SIZE           an entry whose data mover fails
 *   close                delete the stream, unmap   wait                  until all are persisted
 *   dump                 one line of JSON           reserve R SIZE        left open
 *   kill                 SIGKILL to itself          publish R SIZE FINAL  reserve SIZE bytes, publish FINAL of them
 *   allocate BYTES       free R
 *   batch R SIZE COUNT   COUNT entries, in region R and the one behind it, or none where there is no room
 *   series NAME SIZE COUNT  entries to a series of small regions, as far as there is room
 *   grow FILE BYTES      open it by its path, let it grow where it can, append to region 0, close
 *
 * The granularity is that of PMEM2_FORCE_GRANULARITY. A command that fails ends the program, except open and look: then
 * dump prints the name of the errno.
 */
#include "base/crc64.h"

#include <errno.h>
#include <fcntl.h>
#include <libpmemstream.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct actor {
	int fd;
	struct pmem2_map *map;
	struct pmemstream *stream;
	int failed; /* errno of the last open */
	uint64_t last_timestamp;
	uint64_t written; /* entries, which seeds their data */
};

static void must(int bad, const char *what)
{
	if (!bad)
		return;
	fprintf(stderr, "%s: %s: %s\n", what, strerrorname_np(errno), pmemstream_errormsg());
	exit(1);
}

static void create(const char *path, size_t bytes)
{
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0644);

	must(fd < 0 || ftruncate(fd, (off_t)bytes), path);
	close(fd);
}

static void leave(struct actor *actor)
{
	pmemstream_delete(&actor->stream);
	if (actor->map)
		pmem2_map_delete(&actor->map);
	if (actor->fd >= 0)
		close(actor->fd);
	actor->fd = -1;
}

static void enter(struct actor *actor, const char *path, size_t block_size, int readonly)
{
	struct pmem2_config *config;
	struct pmem2_source *source;

	leave(actor);
	actor->fd = open(path, readonly ? O_RDONLY : O_RDWR);
	must(actor->fd < 0, path);
	must(pmem2_config_new(&config) || pmem2_source_from_fd(&source, actor->fd), path);
	must(pmem2_config_set_required_store_granularity(config, PMEM2_GRANULARITY_PAGE), path);
	must(readonly && pmem2_config_set_protection(config, PMEM2_PROT_READ), path);
	must(pmem2_map_new(&actor->map, config, source), pmem2_errormsg());
	pmem2_config_delete(&config);
	pmem2_source_delete(&source);
	actor->failed = pmemstream_from_map(&actor->stream, block_size, actor->map) ? errno : 0;
}

static void print_entries(struct pmemstream *stream, struct pmemstream_region region)
{
	struct pmemstream_entry_iterator *iterator;
	const char *between = "";

	must(pmemstream_entry_iterator_new(&iterator, stream, region), "entries");
	pmemstream_entry_iterator_seek_first(iterator);
	for (;; pmemstream_entry_iterator_next(iterator), between = ", ") {
		if (!pmemstream_entry_iterator_is_valid(iterator)) {
			struct pmemstream_entry entry = pmemstream_entry_iterator_get(iterator);
			size_t size = pmemstream_entry_size(stream, entry);
			const void *data = pmemstream_entry_data(stream, entry);
			must(!data, "entry_data");
			uint64_t crc = crc64(0, data, size);
			printf("%s{\"offset\": %zu, \"timestamp\": %zu, \"size\": %zu, \"crc\": %u}", between,
			       entry.offset, pmemstream_entry_timestamp(stream, entry), size,
			       (uint32_t)(crc ^ crc >> 32));
		} else if (errno == EBADMSG) {
			/* The API says the place in its message alone. */
			const char *at = strstr(pmemstream_errormsg(), ": entry at ");
			printf("%s{\"offset\": %lu, \"damage\": true}", between,
			       at ? strtoul(at + strlen(": entry at "), NULL, 10) : 0);
		} else {
			must(errno != ENODATA, "is_valid");
			break;
		}
	}
	pmemstream_entry_iterator_delete(&iterator);
}

static void dump(struct actor *actor)
{
	struct pmemstream *stream = actor->stream;
	struct pmemstream_region_iterator *iterator;
	const char *between = "";

	if (actor->failed) {
		/* ENOTSUP and EOPNOTSUPP are one number. */
		printf("{\"status\": \"%s\"}\n", actor->failed == ENOTSUP ? "ENOTSUP" : strerrorname_np(actor->failed));
		return;
	}
	printf("{\"status\": \"ok\", \"end\": %zu, \"persisted\": %zu, \"alignment\": %zu, \"regions\": [",
	       pmemstream_committed_timestamp(stream), pmemstream_persisted_timestamp(stream),
	       pmemstream_entry_space(stream, 1) % 64 ? (size_t)8 : (size_t)64);
	must(pmemstream_region_iterator_new(&iterator, stream), "regions");
	pmemstream_region_iterator_seek_first(iterator);
	for (; !pmemstream_region_iterator_is_valid(iterator); between = ", ") {
		struct pmemstream_region region = pmemstream_region_iterator_get(iterator);
		printf("%s{\"offset\": %zu, \"bytes\": %zu, \"free\": %zu, \"entries\": [", between, region.offset,
		       pmemstream_region_size(stream, region), pmemstream_region_usable_size(stream, region));
		print_entries(stream, region);
		printf("]}");
		pmemstream_region_iterator_next(iterator);
	}
	pmemstream_region_iterator_delete(&iterator);
	printf("]}\n");
}

static struct pmemstream_region region_at(struct actor *actor, unsigned long index)
{
	struct pmemstream_region_iterator *iterator;

	must(pmemstream_region_iterator_new(&iterator, actor->stream), "regions");
	pmemstream_region_iterator_seek_first(iterator);
	while (index--)
		pmemstream_region_iterator_next(iterator);
	struct pmemstream_region region = pmemstream_region_iterator_get(iterator);
	pmemstream_region_iterator_delete(&iterator);
	return region;
}

static void fill(struct actor *actor, unsigned char *data, size_t size)
{
	uint64_t value = ++actor->written * UINT64_C(0x9e3779b97f4a7c15);

	for (size_t i = 0; i < size; i++, value = value * 6364136223846793005 + 1442695040888963407)
		data[i] = (unsigned char)(value >> 56);
}

static enum future_state failing_check(void *data, const struct vdm_operation *operation)
{
	(void)data, (void)operation;
	return FUTURE_STATE_COMPLETE;
}

static void *failing_new(struct vdm *vdm, const enum vdm_operation_type type)
{
	(void)type;
	return vdm;
}

static void failing_delete(void *data, const struct vdm_operation *operation, struct vdm_operation_output *output)
{
	(void)data;
	output->type = operation->type;
	output->result = VDM_ERROR_JOB_CORRUPTED;
}

static int failing_start(void *data, const struct vdm_operation *operation, struct future_notifier *notifier)
{
	(void)data, (void)operation;
	if (notifier)
		notifier->notifier_used = FUTURE_NOTIFIER_NONE;
	return 0;
}

static void wait_all(struct actor *actor)
{
	struct pmemstream_async_wait_fut wait;

	if (!actor->last_timestamp)
		return;
	wait = pmemstream_async_wait_persisted(actor->stream, actor->last_timestamp);
	while (future_poll(FUTURE_AS_RUNNABLE(&wait), NULL) != FUTURE_STATE_COMPLETE)
		;
}

static void append(struct actor *actor, const char *verb, struct pmemstream_region region, size_t size)
{
	static struct vdm failing = {.op_new = failing_new,
				     .op_delete = failing_delete,
				     .op_start = failing_start,
				     .op_check = failing_check};
	static unsigned char data[1 << 17];
	static struct data_mover_sync *mover;
	struct pmemstream_entry entry;

	if (!mover)
		mover = data_mover_sync_new();
	must(!mover || size > sizeof(data), verb);
	fill(actor, data, size);
	if (!strcmp(verb, "append")) {
		must(pmemstream_append(actor->stream, region, NULL, data, size, &entry), verb);
		return;
	}
	struct vdm *vdm = !strcmp(verb, "fail") ? &failing : data_mover_sync_get_vdm(mover);
	must(pmemstream_async_append(actor->stream, vdm, region, NULL, data, size, &entry), verb);
	actor->last_timestamp = pmemstream_entry_timestamp(actor->stream, entry);
}

static void publish(struct actor *actor, struct pmemstream_region region, size_t reserved, size_t size)
{
	struct pmemstream_entry entry;
	void *data;

	must(pmemstream_reserve(actor->stream, region, NULL, reserved, &entry, &data), "reserve");
	fill(actor, data, reserved);
	if (size != SIZE_MAX)
		must(pmemstream_publish(actor->stream, region, NULL, entry, size), "publish");
}

static void batch(struct actor *actor, unsigned long index, size_t size, unsigned long count)
{
	struct pmemstream_region regions[2] = {region_at(actor, index), region_at(actor, index + 1)};
	unsigned char data[4096];
	struct pmemstream_batch *made;
	int err = 0;

	must(size > sizeof(data) || pmemstream_batch_begin(actor->stream, &made), "batch");
	for (unsigned long i = 0; i < count && !err; i++) {
		struct pmemstream_region region = regions[i % 2].offset == UINT64_MAX ? regions[0] : regions[i % 2];
		fill(actor, data, size);
		err = pmemstream_batch_add(made, region, NULL, data, size);
	}
	err = err || pmemstream_batch_commit(&made, NULL);
	must(err && errno != ENOSPC, "batch");
	pmemstream_batch_abort(&made);
}

static void append_to_series(struct actor *actor, const char *name, size_t size, unsigned long count)
{
	const struct pmemstream_series_config config = {.region_bytes = 1000, .keep_bytes = 1200};
	struct pmemstream_series *series;
	unsigned char data[900];
	int err = 0;

	must(size > sizeof(data) || pmemstream_series_open(actor->stream, name, &config, &series), "series");
	for (unsigned long i = 0; i < count && !err; i++) {
		fill(actor, data, size);
		err = pmemstream_series_append(series, data, size, NULL);
	}
	/* Another one may hold the newest region's tail for ever. */
	must(err && errno != ENOSPC && errno != EBUSY, "series");
	pmemstream_series_close(&series);
}

static void grow(struct actor *actor, const char *path, size_t bytes)
{
	struct pmemstream *stream;

	leave(actor);
	must(pmemstream_open(&stream, path, NULL), path);
	must(pmemstream_resize(stream, bytes) && errno != ENOTSUP, "grow");
	actor->stream = stream;
	unsigned char data[20];
	fill(actor, data, sizeof(data));
	must(pmemstream_append(stream, region_at(actor, 0), NULL, data, sizeof(data), NULL) && errno != ENOSPC &&
		     errno != EINVAL,
	     "append");
	pmemstream_delete(&actor->stream);
}

static void act(struct actor *actor, const char *verb, char *word, unsigned long a, unsigned long b)
{
	unsigned long number = strtoul(word, NULL, 10);

	if (!strcmp(verb, "create"))
		create(word, a);
	else if (!strcmp(verb, "open") || !strcmp(verb, "look"))
		enter(actor, word, a, !strcmp(verb, "look"));
	else if (!strcmp(verb, "close"))
		leave(actor);
	else if (!strcmp(verb, "dump"))
		dump(actor);
	else if (!strcmp(verb, "kill"))
		raise(SIGKILL);
	else if (!strcmp(verb, "allocate"))
		must(pmemstream_region_allocate(actor->stream, number, NULL), verb);
	else if (!strcmp(verb, "free"))
		must(pmemstream_region_free(actor->stream, region_at(actor, number)), verb);
	else if (!strcmp(verb, "wait"))
		wait_all(actor);
	else if (!strcmp(verb, "batch"))
		batch(actor, number, a, b);
	else if (!strcmp(verb, "series"))
		append_to_series(actor, word, a, b);
	else if (!strcmp(verb, "grow"))
		grow(actor, word, a);
	else if (!strcmp(verb, "reserve"))
		publish(actor, region_at(actor, number), a, SIZE_MAX);
	else if (!strcmp(verb, "publish"))
		publish(actor, region_at(actor, number), a, b);
	else if (!strcmp(verb, "append") || !strcmp(verb, "async") || !strcmp(verb, "fail"))
		for (unsigned long i = 0; i < (b ? b : 1); i++)
			append(actor, verb, region_at(actor, number), a);
	else
		must(1, verb);
	fflush(stdout);
}

int main(void)
{
	struct actor actor = {.fd = -1};
	char line[4096], verb[16], word[4000];

	while (fgets(line, sizeof(line), stdin)) {
		unsigned long a = 0, b = 0;
		word[0] = '\0';
		if (sscanf(line, "%15s %3999s %lu %lu", verb, word, &a, &b) > 0)
			act(&actor, verb, word, a, b);
	}
	leave(&actor);
	return 0;
}
