/*
 * subject_lmdb.c: LMDB with its defaults, which sync at each commit; an entry is a record and a transaction.
 *
 * Keys count up, so MDB_APPEND saves the search. MDB_WRITEMAP, which would save a copy, is not taken: its manual warns
 * that a stray store through the map then damages the file.
 */
#include "subject.h"

#if defined(HAVE_LMDB)

#include <endian.h>
#include <lmdb.h>
#include <stdio.h>
#include <stdlib.h>

static const size_t map_bytes = (size_t)4 << 30;

struct log {
	MDB_env *env;
	MDB_dbi dbi;
	bool reuses;
	uint64_t number; /* of the last record; a writing transaction is held by one thread at a time */
};

static void check(int err, const char *what)
{
	if (err)
		bench_die(what, mdb_strerror(err));
}

static void *open_log(const struct subject_setup *setup, char *configuration)
{
	struct log *log = calloc(1, sizeof(*log));
	char path[BENCH_PATH_BYTES];
	MDB_txn *txn;

	if (!log)
		bench_die("lmdb", "no memory");
	snprintf(path, sizeof(path), "%s/lmdb.db", setup->folder);
	check(mdb_env_create(&log->env), "lmdb");
	check(mdb_env_set_mapsize(log->env, map_bytes), "lmdb");
	check(mdb_env_open(log->env, path, MDB_NOSUBDIR, 0600), path);
	check(mdb_txn_begin(log->env, NULL, 0, &txn), "lmdb");
	check(mdb_dbi_open(txn, NULL, 0, &log->dbi), "lmdb");
	check(mdb_txn_commit(txn), "lmdb");
	log->reuses = setup->disk;
	snprintf(configuration, SUBJECT_CONFIGURATION_BYTES,
		 "%s; MDB_NOSUBDIR, no other flag of the environment; MDB_APPEND, a transaction each; %s",
		 mdb_version(NULL, NULL, NULL), log->reuses ? "uses its pages again" : "grows");
	return log;
}

/* What is kinder: on disk, where it costs a sync more to grow, the records of the last round go and their pages are
 * used again; in memory it grows, which saves the search for free pages. */
static void begin_log(void *state, unsigned threads)
{
	struct log *log = state;
	MDB_txn *txn;

	(void)threads;
	if (!log->reuses)
		return;
	check(mdb_txn_begin(log->env, NULL, 0, &txn), "lmdb");
	check(mdb_drop(txn, log->dbi, 0), "lmdb");
	check(mdb_txn_commit(txn), "lmdb");
}

static void put_one(struct log *log, const void *data, size_t size)
{
	MDB_txn *txn;

	check(mdb_txn_begin(log->env, NULL, 0, &txn), "mdb_txn_begin");
	uint64_t number = htobe64(++log->number);
	MDB_val key = {sizeof(number), &number}, value = {size, (void *)(uintptr_t)data};
	check(mdb_put(txn, log->dbi, &key, &value, MDB_APPEND), "mdb_put");
	check(mdb_txn_commit(txn), "mdb_txn_commit");
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

	mdb_env_close(log->env);
	free(log);
}

const struct subject_kind subject_lmdb = {
	.name = "lmdb",
	.slow = true,
	.open = open_log,
	.begin = begin_log,
	.append = append_log,
	.close = close_log,
};

#else

const struct subject_kind subject_lmdb = {.name = "lmdb", .missing = "built without liblmdb-dev"};

#endif
