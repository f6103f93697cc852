/*
 * subject_sqlite.c: SQLite with a write-ahead log that is synced at each commit; an entry is a row and a transaction.
 *
 * synchronous=FULL is what its manual asks for where a transaction must survive a power cut in WAL mode. One connection
 * with locking_mode=EXCLUSIVE, which keeps the index of the log in ordinary memory; threads take turns on it.
 */
#include "subject.h"

#if defined(HAVE_SQLITE)

#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct log {
	sqlite3 *db;
	sqlite3_stmt *insert;
	pthread_mutex_t mutex;
};

static void run(struct log *log, const char *sql)
{
	if (sqlite3_exec(log->db, sql, NULL, NULL, NULL))
		bench_die(sql, sqlite3_errmsg(log->db));
}

/* It says yes to a mode that it does not change to. */
static void expect(struct log *log, const char *question, const char *wanted)
{
	sqlite3_stmt *asked;

	if (sqlite3_prepare_v2(log->db, question, -1, &asked, NULL) || sqlite3_step(asked) != SQLITE_ROW)
		bench_die(question, sqlite3_errmsg(log->db));
	const char *answer = (const char *)sqlite3_column_text(asked, 0);
	if (!answer || strcmp(answer, wanted))
		bench_die(question, answer ? answer : "no answer");
	sqlite3_finalize(asked);
}

static void *open_log(const struct subject_setup *setup, char *configuration)
{
	static const char pragmas[] = "PRAGMA locking_mode=EXCLUSIVE; PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL";
	struct log *log = calloc(1, sizeof(*log));
	char path[BENCH_PATH_BYTES];

	if (!log)
		bench_die("sqlite", "no memory");
	pthread_mutex_init(&log->mutex, NULL);
	snprintf(path, sizeof(path), "%s/sqlite.db", setup->folder);
	if (sqlite3_open(path, &log->db))
		bench_die(path, sqlite3_errmsg(log->db));
	run(log, pragmas);
	expect(log, "PRAGMA journal_mode", "wal");
	expect(log, "PRAGMA synchronous", "2"); /* FULL */
	expect(log, "PRAGMA locking_mode", "exclusive");
	run(log, "CREATE TABLE log (number INTEGER PRIMARY KEY, data BLOB)");
	if (sqlite3_prepare_v3(log->db, "INSERT INTO log (data) VALUES (?)", -1, SQLITE_PREPARE_PERSISTENT,
			       &log->insert, NULL))
		bench_die("sqlite", sqlite3_errmsg(log->db));
	snprintf(configuration, SUBJECT_CONFIGURATION_BYTES, "%s; %s; one prepared INSERT, a transaction each",
		 sqlite3_libversion(), pragmas);
	return log;
}

/* The rows go, the log's file and the pages of the table stay, as in a database that is in use. */
static void begin_log(void *state, unsigned threads)
{
	struct log *log = state;

	(void)threads;
	run(log, "DELETE FROM log; PRAGMA wal_checkpoint(RESTART)");
}

static void insert_one(struct log *log, const void *data, size_t size)
{
	pthread_mutex_lock(&log->mutex);
	if (sqlite3_bind_blob64(log->insert, 1, data, size, SQLITE_STATIC) ||
	    sqlite3_step(log->insert) != SQLITE_DONE || sqlite3_reset(log->insert))
		bench_die("sqlite", sqlite3_errmsg(log->db));
	pthread_mutex_unlock(&log->mutex);
}

static void append_log(void *state, unsigned thread, const void *data, size_t size, unsigned count,
		       uint32_t *samples_ns)
{
	struct log *log = state;

	(void)thread;
	SUBJECT_REPEAT(count, samples_ns, insert_one(log, data, size));
}

static void close_log(void *state)
{
	struct log *log = state;

	sqlite3_finalize(log->insert);
	sqlite3_close(log->db);
	pthread_mutex_destroy(&log->mutex);
	free(log);
}

const struct subject_kind subject_sqlite = {
	.name = "sqlite",
	.slow = true,
	.open = open_log,
	.begin = begin_log,
	.append = append_log,
	.close = close_log,
};

#else

const struct subject_kind subject_sqlite = {.name = "sqlite", .missing = "built without libsqlite3-dev"};

#endif
