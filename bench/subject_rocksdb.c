/*
 * subject_rocksdb.c: RocksDB with its write-ahead log synced at each write; an entry is a record and a write.
 *
 * Log files are used again (recycle_log_file_num), which its manual advises for synced writes: a sync then need not
 * write the file's size. Nothing is compressed: the data are random.
 */
#include "subject.h"

#if defined(HAVE_ROCKSDB)

#include <endian.h>
#include <rocksdb/c.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

struct log {
	rocksdb_options_t *options;
	rocksdb_writeoptions_t *write;
	rocksdb_t *db;
	_Atomic uint64_t number;
};

static void check(char *error, const char *what)
{
	if (error)
		bench_die(what, error);
}

static void *open_log(const struct subject_setup *setup, char *configuration)
{
	struct log *log = calloc(1, sizeof(*log));
	char path[BENCH_PATH_BYTES];
	char *error = NULL;

	if (!log)
		bench_die("rocksdb", "no memory");
	log->options = rocksdb_options_create();
	log->write = rocksdb_writeoptions_create();
	rocksdb_options_set_create_if_missing(log->options, 1);
	rocksdb_options_set_compression(log->options, rocksdb_no_compression);
	rocksdb_writeoptions_set_sync(log->write, 1);
	snprintf(path, sizeof(path), "%s/rocksdb", setup->folder);
	log->db = rocksdb_open(log->options, path, &error);
	check(error, path);
	snprintf(configuration, SUBJECT_CONFIGURATION_BYTES,
		 "WriteOptions.sync=true, no compression, else defaults; one Put an entry");
	return log;
}

static void begin_log(void *state, unsigned threads)
{
	(void)state;
	(void)threads;
}

static void put_one(struct log *log, const void *data, size_t size)
{
	uint64_t number = htobe64(atomic_fetch_add(&log->number, 1));
	char *error = NULL;

	rocksdb_put(log->db, log->write, (const char *)&number, sizeof(number), data, size, &error);
	check(error, "rocksdb_put");
}

static void append_log(void *state, unsigned thread, const void *data, size_t size, unsigned count,
		       uint32_t *samples_ns)
{
	struct log *log = state;

	(void)thread;
	SUBJECT_REPEAT(count, samples_ns, put_one(log, data, size));
}

static void close_log(void *state)
{
	struct log *log = state;

	rocksdb_close(log->db);
	rocksdb_writeoptions_destroy(log->write);
	rocksdb_options_destroy(log->options);
	free(log);
}

const struct subject_kind subject_rocksdb = {
	.name = "rocksdb",
	.slow = true,
	.open = open_log,
	.begin = begin_log,
	.append = append_log,
	.close = close_log,
};

#else

const struct subject_kind subject_rocksdb = {.name = "rocksdb", .missing = "built without librocksdb-dev"};

#endif
