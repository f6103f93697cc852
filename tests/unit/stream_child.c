/*
 * stream_child.c: a stream that another process writes.
 */
#include "stream_child.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

char path[64];

void new_path(void)
{
	static int number;

	snprintf(path, sizeof(path), "follow.%d.%d.stream", (int)getpid(), number++);
	unlink(path);
}

const struct pmemstream_config sized = {.size = STREAM_BYTES};
const struct pmemstream_config reading = {.flags = PMEMSTREAM_READ_ONLY};

/* The child's side: a writer that obeys letters. */
struct writer {
	struct pmemstream *stream;
	struct pmemstream_region region; /* where entries go */
	struct pmemstream_series *series;
	int number;
	unsigned char data[1000];
};

static int open_series(struct writer *writer, unsigned factor)
{
	const struct pmemstream_series_config config = {.region_bytes = factor * 4096, .keep_bytes = factor * 8192};

	return pmemstream_series_open(writer->stream, "log", &config, &writer->series);
}

static int append_to_series(struct writer *writer)
{
	if (!writer->series && open_series(writer, 1))
		return -1;
	writer->number++;
	memcpy(writer->data, &writer->number, sizeof(writer->number));
	return pmemstream_series_append(writer->series, writer->data, sizeof(writer->data), NULL);
}

static int carry_out(struct writer *writer, char order)
{
	struct pmemstream *stream = writer->stream;
	struct pmemstream_region *region = &writer->region;

	switch (order) {
	case 'c':
		return pmemstream_create(&writer->stream, path, &sized) ||
		       pmemstream_region_allocate_labeled(writer->stream, REGION_BYTES, "first", region);
	case 'n':
		return pmemstream_create(&writer->stream, path, &sized);
	case 'i':
		return pmemstream_region_allocate_labeled(stream, REGION_BYTES, "first", region);
	case 'o':
		if (pmemstream_open(&writer->stream, path, NULL))
			return -1;
		return pmemstream_region_find(writer->stream, "first", region) && errno != ENOENT;
	case '1':
		return pmemstream_region_find(stream, "first", region);
	case '2':
		return pmemstream_region_find(stream, "second", region);
	case 'a':
		writer->number++;
		return pmemstream_append(stream, *region, NULL, &writer->number, sizeof(writer->number), NULL);
	case 'r':
		return pmemstream_region_allocate_labeled(stream, REGION_BYTES, "second", region) ||
		       pmemstream_append(stream, *region, NULL, "new", 3, NULL);
	case 'f':
		return pmemstream_region_free(stream, *region) || pmemstream_region_find(stream, "first", region);
	case 'g':
		return pmemstream_resize(stream, 2 * STREAM_BYTES) ||
		       pmemstream_region_allocate_labeled(stream, 3 << 20, "grown", region) ||
		       pmemstream_append(stream, *region, NULL, "new", 3, NULL);
	case 's':
		return append_to_series(writer);
	case 'l':
		return open_series(writer, 32);
	case 'S':
		while (!append_to_series(writer))
			;
		return -1;
	case 'd':
		pmemstream_series_close(&writer->series);
		pmemstream_delete(&writer->stream);
		return 0;
	default:
		_exit(2);
	}
}

static void obey(int orders, int answers)
{
	struct writer writer = {.number = 0};
	char order, answer;

	while (read(orders, &order, 1) == 1) {
		int err = carry_out(&writer, order);
		answer = err ? 'n' : 'y';
		if (err)
			fprintf(stderr, "child at '%c': %s\n", order, pmemstream_errormsg());
		if (write(answers, &answer, 1) != 1)
			break;
	}
	_exit(0);
}

void start(struct child *child)
{
	int orders[2], answers[2];

	assert_int_equal(pipe(orders), 0);
	assert_int_equal(pipe(answers), 0);
	child->process = fork();
	assert_true(child->process >= 0);
	if (!child->process) {
		prctl(PR_SET_PDEATHSIG, SIGKILL); /* where the test fails */
		close(orders[1]);
		close(answers[0]);
		obey(orders[0], answers[1]);
	}
	close(orders[0]);
	close(answers[1]);
	child->orders = orders[1];
	child->answers = answers[0];
}

void tell_only(struct child *child, char order)
{
	assert_int_equal(write(child->orders, &order, 1), 1);
}

void hear(struct child *child)
{
	char answer;

	assert_int_equal(read(child->answers, &answer, 1), 1);
	assert_int_equal(answer, 'y');
}

void tell(struct child *child, const char *orders)
{
	for (; *orders; orders++) {
		tell_only(child, *orders);
		hear(child);
	}
}

void stop(struct child *child, int signal)
{
	if (signal)
		kill(child->process, signal);
	close(child->orders);
	close(child->answers);
	assert_int_equal(waitpid(child->process, NULL, 0), child->process);
}

uint64_t count(struct pmemstream *stream, const char *label)
{
	struct pmemstream_entry_iterator *iterator;
	struct pmemstream_region region;
	uint64_t entries = 0;

	assert_int_equal(pmemstream_region_find(stream, label, &region), 0);
	assert_int_equal(pmemstream_entry_iterator_new(&iterator, stream, region), 0);
	pmemstream_entry_iterator_seek_first(iterator);
	for (; !pmemstream_entry_iterator_is_valid(iterator); pmemstream_entry_iterator_next(iterator))
		entries++;
	assert_int_equal(errno, ENODATA);
	pmemstream_entry_iterator_delete(&iterator);
	return entries;
}
