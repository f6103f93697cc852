/*
 * journal.c: keeps this machine's logs and package changelogs in a stream, is killed half-way, and goes on.
 *
 *   Build: cc -o journal journal.c $(pkg-config --cflags --libs libpmemstream zlib)
 *   Run:   ./journal journal.stream 20000
 *
 * usage: journal FILE [LINES]; an older FILE is replaced, a whole one is left behind. At most LINES lines (200,000).
 *
 * The parent reads the lines and is the witness. Its first child appends them, each thread the lines of some of the
 * files to a region of their own, and tells the parent through a pipe what was acknowledged: what
 * pmemstream_wait_persisted has returned for. When that is half of all, the parent kills the child. The second child
 * opens the stream again, compares what is there with what was submitted, and appends the rest. At last the parent
 * reads the whole stream, while nobody writes. The exit status is 0 if nothing that was acknowledged was lost, and
 * nothing is there that was not submitted.
 *
 * A kill takes the process, not the page cache. What a power cut leaves is what the tests of the library are about.
 */
#define _XOPEN_SOURCE 700 /* nftw */

#include <errno.h>
#include <ftw.h>
#include <libpmemstream.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <zlib.h>

enum { GROUPS = 8, BATCH = 64, FILE_LINES = 2000, FILE_BYTES = 1 << 20, ENOUGH_LINES = 10000 };
enum { NAME_BYTES = 28, MOST_LINES = 200000, MOST_BYTES = 64 << 20, MOST_FILES = 20000 };

struct line {
	const char *text;
	size_t bytes;
};

/* A file that lines came from. */
struct source {
	const char *path;
	size_t first; /* line */
};

/* The lines of some of the files, which go to one region. */
struct group {
	char from[NAME_BYTES], to[NAME_BYTES], label[64]; /* first and last name; of the region */
	size_t first, count;
};

static struct {
	struct line *lines;
	size_t count, bytes, most, file_count, source_count, group_count;
	char *files[MOST_FILES];
	struct source sources[MOST_FILES];
	struct group groups[GROUPS];
} corpus;

/* What a child tells the parent: so many lines of a group are in the stream, found or acknowledged. */
struct report {
	enum report_kind { FOUND, ACKNOWLEDGED, SYNCED } kind; /* SYNCED: so many fences and syncs were made */
	unsigned group;
	size_t count;
};

struct writer {
	struct pmemstream *stream;
	struct pmemstream_region region;
	unsigned group;
	size_t from;
	int reports;
};

static void die(const char *what)
{
	fprintf(stderr, "journal: %s: %s\n", what, errno ? strerror(errno) : "failed");
	exit(2);
}

/* The same where the library has more to say. */
static void die_stream(const char *what)
{
	fprintf(stderr, "journal: %s: %s\n", what, pmemstream_errormsg());
	exit(2);
}

static double now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static int note_file(const char *path, const struct stat *status, int type, struct FTW *where)
{
	const char *name = path + where->base;
	bool wanted = !strncmp(path, "/usr/share/doc/", 15) ? !strncmp(name, "changelog", 9) : true;

	if (type == FTW_F && S_ISREG(status->st_mode) && wanted && corpus.file_count < MOST_FILES) {
		corpus.files[corpus.file_count] = strdup(path);
		if (!corpus.files[corpus.file_count++])
			die("strdup");
	}
	return 0;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Adds the lines of one file, packed or not; what cannot be read, or holds zero bytes, is no text and is left out. */
static void read_file(const char *path)
{
	gzFile file = gzopen(path, "rb");
	char *text = file ? malloc(FILE_BYTES) : NULL;
	int bytes = text ? gzread(file, text, FILE_BYTES) : -1;
	size_t taken = 0;

	if (file)
		gzclose(file);
	if (bytes <= 0 || memchr(text, '\0', (size_t)bytes)) {
		free(text);
		return;
	}
	corpus.sources[corpus.source_count++] = (struct source){.path = path, .first = corpus.count};
	for (char *at = text, *end = text + bytes; at < end && taken < FILE_LINES && corpus.count < corpus.most;
	     taken++) {
		char *behind = memchr(at, '\n', (size_t)(end - at));
		size_t length = (size_t)((behind ? behind : end) - at);
		if (corpus.bytes + length > MOST_BYTES)
			break;
		corpus.lines[corpus.count++] = (struct line){.text = at, .bytes = length};
		corpus.bytes += length;
		at += length + 1;
	}
}

/* Files below some folders, in order of their names; the lines stay in memory until the end. */
static void read_folders(const char *const *folders)
{
	size_t first = corpus.file_count;

	for (; *folders; folders++)
		nftw(*folders, note_file, 16, FTW_PHYS);
	qsort(corpus.files + first, corpus.file_count - first, sizeof(*corpus.files), by_name);
	for (size_t i = first; i < corpus.file_count && corpus.count < corpus.most; i++)
		read_file(corpus.files[i]);
}

/* What a file's lines are called after: the package whose changelog it is, or the folder. */
static void name_of(const char *path, char *name)
{
	static const char doc[] = "/usr/share/doc/";
	const char *from = path, *end = path;

	if (!strncmp(path, doc, sizeof(doc) - 1)) {
		from += sizeof(doc) - 1;
		end = from + strcspn(from, "/");
	} else {
		for (int parts = strncmp(path, "/usr/", 5) ? 2 : 3; parts && *end; parts--)
			end += 1 + strcspn(end + 1, "/");
	}
	snprintf(name, NAME_BYTES, "%.*s", (int)(end - from), from);
}

/* Files go to groups in their order, to each about as many lines; those of one name stay together. */
static void add_to_group(const struct source *source, size_t end)
{
	struct group *group = corpus.group_count ? &corpus.groups[corpus.group_count - 1] : NULL;
	size_t even_share = corpus.count * corpus.group_count / GROUPS;
	char name[NAME_BYTES];

	name_of(source->path, name);
	if (!group || (corpus.group_count < GROUPS && strcmp(group->to, name) &&
		       (source->first >= even_share || (group->to[0] == '/') != (name[0] == '/')))) {
		group = &corpus.groups[corpus.group_count++];
		*group = (struct group){.first = source->first};
		memcpy(group->from, name, sizeof(name));
	}
	group->count = end - group->first;
	memcpy(group->to, name, sizeof(name));
	bool one = !strcmp(group->from, group->to);
	snprintf(group->label, sizeof(group->label), "%s%s%s", group->from, one ? "" : " .. ", one ? "" : group->to);
}

static void read_corpus(size_t most)
{
	static const char *const logs[] = {"/var/log", "/usr/share/doc", NULL};
	static const char *const more[] = {"/usr/share/common-licenses", "/usr/share/perl", "/usr/include", NULL};

	corpus.most = most;
	corpus.lines = calloc(most, sizeof(*corpus.lines));
	if (!corpus.lines)
		die("no memory");
	read_folders(logs);
	if (corpus.count < ENOUGH_LINES)
		read_folders(more);
	for (size_t i = 0; i < corpus.source_count; i++)
		add_to_group(&corpus.sources[i],
			     i + 1 < corpus.source_count ? corpus.sources[i + 1].first : corpus.count);
}

static const struct line *line_of(unsigned group, size_t number)
{
	return &corpus.lines[corpus.groups[group].first + number];
}

/* How many lines of a group the stream holds, in order and without a difference; -1 if an entry is something else. */
static ssize_t compare(struct pmemstream *stream, struct pmemstream_region region, unsigned group)
{
	struct pmemstream_entry_iterator *iterator;
	ssize_t count = 0;

	if (pmemstream_entry_iterator_new(&iterator, stream, region))
		die_stream("iterator");
	pmemstream_entry_iterator_seek_first(iterator);
	for (; !pmemstream_entry_iterator_is_valid(iterator); pmemstream_entry_iterator_next(iterator)) {
		struct pmemstream_entry entry = pmemstream_entry_iterator_get(iterator);
		const struct line *line = line_of(group, (size_t)count);
		if ((size_t)count == corpus.groups[group].count ||
		    pmemstream_entry_size(stream, entry) != line->bytes ||
		    memcmp(pmemstream_entry_data(stream, entry), line->text, line->bytes))
			break;
		count++;
	}
	if (!pmemstream_entry_iterator_is_valid(iterator) || errno != ENODATA) {
		fprintf(stderr, "journal: region \"%s\": entry %zd is not what was submitted: %s\n",
			corpus.groups[group].label, count, pmemstream_errormsg());
		count = -1;
	}
	pmemstream_entry_iterator_delete(&iterator);
	return count;
}

static void tell(int reports, enum report_kind kind, unsigned group, size_t count)
{
	struct report report = {.kind = kind, .group = group, .count = count};

	/* Less than PIPE_BUF: whole, and not mixed with another thread's. */
	if (write(reports, &report, sizeof(report)) != sizeof(report))
		die("pipe");
}

/* Appends a group's lines from one on. A batch is on its way at once; the threads' batches share their syncs. */
static void *write_group(void *argument)
{
	struct writer *writer = argument;
	struct data_mover_sync *mover = data_mover_sync_new();
	size_t count = corpus.groups[writer->group].count;

	if (!mover)
		die("data mover");
	for (size_t at = writer->from; at < count;) {
		size_t end = at + BATCH < count ? at + BATCH : count;
		struct pmemstream_entry entry;
		for (; at < end; at++) {
			const struct line *line = line_of(writer->group, at);
			if (pmemstream_async_append(writer->stream, data_mover_sync_get_vdm(mover), writer->region,
						    NULL, line->text, line->bytes, &entry))
				die_stream("append");
		}
		uint64_t timestamp = pmemstream_entry_timestamp(writer->stream, entry);
		if (pmemstream_wait_persisted(writer->stream, timestamp, UINT64_MAX))
			die_stream("wait");
		tell(writer->reports, ACKNOWLEDGED, writer->group, end);
	}
	data_mover_sync_delete(mover);
	return NULL;
}

static void write_all(struct pmemstream *stream, const struct pmemstream_region *regions, const size_t *from,
		      int reports)
{
	struct writer writers[GROUPS];
	pthread_t threads[GROUPS];

	for (unsigned i = 0; i < corpus.group_count; i++) {
		writers[i] = (struct writer){
			.stream = stream, .region = regions[i], .group = i, .from = from[i], .reports = reports};
		errno = pthread_create(&threads[i], NULL, write_group, &writers[i]);
		if (errno)
			die("thread");
	}
	for (unsigned i = 0; i < corpus.group_count; i++)
		pthread_join(threads[i], NULL);
}

/* The first child: makes the stream and appends all lines. It is killed on the way. */
static void begin_journal(const char *path, int reports)
{
	/* An entry takes 32 bytes and its data, rounded up to 64 at the most; a region has a header. */
	struct pmemstream_config config = {.size = (2 << 20) + corpus.bytes + corpus.count * 95};
	struct pmemstream_region regions[GROUPS];
	struct pmemstream *stream;
	size_t from[GROUPS] = {0};

	if (pmemstream_create(&stream, path, &config))
		die_stream(path);
	for (unsigned i = 0; i < corpus.group_count; i++) {
		size_t bytes = 64;
		for (size_t at = 0; at < corpus.groups[i].count; at++)
			bytes += pmemstream_entry_space(stream, line_of(i, at)->bytes);
		if (pmemstream_region_allocate_labeled(stream, bytes, corpus.groups[i].label, &regions[i]))
			die_stream("allocate");
	}
	write_all(stream, regions, from, reports);
	pmemstream_delete(&stream);
}

/* Opens the stream, finds the groups' regions, and counts the lines in each; false if one is not as submitted. */
static bool open_journal(const char *path, uint32_t flags, struct pmemstream **stream,
			 struct pmemstream_region *regions, size_t *found)
{
	struct pmemstream_config config = {.flags = flags};
	bool same = true;

	if (pmemstream_open(stream, path, &config))
		die_stream(path);
	for (unsigned i = 0; i < corpus.group_count; i++) {
		if (pmemstream_region_find(*stream, corpus.groups[i].label, &regions[i]))
			die_stream(corpus.groups[i].label);
		ssize_t count = compare(*stream, regions[i], i);
		same = same && count >= 0;
		found[i] = count < 0 ? 0 : (size_t)count;
	}
	return same;
}

/* The second child: says what is there, and appends the rest. */
static void resume_journal(const char *path, int reports)
{
	struct pmemstream_region regions[GROUPS];
	struct pmemstream *stream;
	size_t found[GROUPS];

	if (!open_journal(path, 0, &stream, regions, found))
		exit(1);
	for (unsigned i = 0; i < corpus.group_count; i++)
		tell(reports, FOUND, i, found[i]);
	write_all(stream, regions, found, reports);

	struct pmemstream_statistics statistics;
	if (pmemstream_get_statistics(stream, &statistics))
		die_stream("statistics");
	tell(reports, SYNCED, 0, statistics.syncs + statistics.fences);
	pmemstream_delete(&stream);
}

struct outcome {
	size_t acknowledged[GROUPS], found[GROUPS]; /* lines from the start of each group */
	size_t syncs;
	double seconds;
	bool killed, fine;
};

static size_t sum(const size_t *counts)
{
	size_t all = 0;

	for (unsigned i = 0; i < corpus.group_count; i++)
		all += counts[i];
	return all;
}

/* Runs a child and notes what it tells, also what was still in the pipe when it died. */
static struct outcome run(void (*work)(const char *, int), const char *path, size_t kill_at)
{
	struct outcome outcome = {0};
	struct report report;
	double begin = now();
	int ends[2], status;

	if (pipe(ends))
		die("pipe");
	pid_t child = fork();
	if (child < 0)
		die("fork");
	if (!child) {
		close(ends[0]);
		work(path, ends[1]);
		_exit(0);
	}
	close(ends[1]);
	while (read(ends[0], &report, sizeof(report)) == sizeof(report)) {
		if (report.kind == SYNCED)
			outcome.syncs = report.count;
		else
			(report.kind == FOUND ? outcome.found : outcome.acknowledged)[report.group] = report.count;
		if (!outcome.killed && kill_at && sum(outcome.acknowledged) >= kill_at)
			outcome.killed = !kill(child, SIGKILL);
	}
	close(ends[0]);
	if (waitpid(child, &status, 0) != child)
		die("waitpid");
	outcome.seconds = now() - begin;
	outcome.fine = outcome.killed ? WIFSIGNALED(status) : WIFEXITED(status) && !WEXITSTATUS(status);
	return outcome;
}

int main(int argc, char **argv)
{
	size_t most = argc > 2 ? strtoul(argv[2], NULL, 10) : MOST_LINES;
	struct pmemstream_region regions[GROUPS];
	struct pmemstream *stream;
	size_t whole[GROUPS], lost = 0;

	if (argc < 2 || argc > 3 || !most || most > MOST_LINES) {
		fprintf(stderr, "usage: journal FILE [LINES]    (1 to %d lines)\n", MOST_LINES);
		return 2;
	}
	read_corpus(most);
	if (!corpus.count)
		die("no text is to be found in /var/log and /usr/share/doc");
	if (unlink(argv[1]) && errno != ENOENT)
		die(argv[1]);
	printf("%zu lines of logs and changelogs, %zu bytes, to %zu regions of %s\n", corpus.count, corpus.bytes,
	       corpus.group_count, argv[1]);
	fflush(stdout);

	struct outcome first = run(begin_journal, argv[1], (corpus.count + 1) / 2);
	size_t acknowledged = sum(first.acknowledged);
	if (!first.killed || !first.fine) {
		fprintf(stderr, "journal: the first run was to be killed half-way, but ended by itself\n");
		return 2;
	}
	printf("first run   killed after %.2f s, %zu entries acknowledged\n", first.seconds, acknowledged);
	fflush(stdout);

	struct outcome second = run(resume_journal, argv[1], 0);
	for (unsigned i = 0; i < corpus.group_count; i++)
		if (second.found[i] < first.acknowledged[i])
			lost += first.acknowledged[i] - second.found[i];
	size_t rest = corpus.count - sum(second.found);
	printf("second run  %zu entries found, the other %zu appended in %.2f s with %zu fences and syncs\n",
	       sum(second.found), rest, second.seconds, second.syncs);

	bool same = open_journal(argv[1], PMEMSTREAM_READ_ONLY, &stream, regions, whole);
	printf("afterwards  %zu entries read, %s\n", sum(whole),
	       same && sum(whole) == corpus.count ? "all as they were submitted" : "which is not what was submitted");
	pmemstream_delete(&stream);
	printf("%.0f entries and %.1f MB per second, %zu threads; acknowledged but lost: %zu\n",
	       (double)(acknowledged + rest) / (first.seconds + second.seconds),
	       (double)corpus.bytes / 1e6 / (first.seconds + second.seconds), corpus.group_count, lost);
	return lost || !same || !second.fine || sum(whole) != corpus.count;
}
