/*
 * hello_stream.c: a log in a file, from nothing to reading it back.
 *
 *   Build: cc -o hello_stream hello_stream.c $(pkg-config --cflags --libs libpmemstream)
 *   Run:   ./hello_stream hello.stream first
 *   Run:   ./hello_stream hello.stream second
 *
 * Each run appends its words, each as an entry, and prints all that are there.
 */
#include <libpmemstream.h>
#include <stdio.h>
#include <string.h>

static int fail(void)
{
	fprintf(stderr, "%s\n", pmemstream_errormsg());
	return 1;
}

int main(int argc, char **argv)
{
	struct pmemstream_config config = {.size = 1 << 20, .flags = PMEMSTREAM_CREATE};
	struct pmemstream_region words;
	struct pmemstream_entry_iterator *at;
	struct pmemstream *log;

	if (pmemstream_open(&log, argc > 1 ? argv[1] : "hello.stream", &config))
		return fail();
	if (pmemstream_region_find(log, "words", &words) &&
	    pmemstream_region_allocate_labeled(log, 64 << 10, "words", &words))
		return fail();

	/* When pmemstream_append has returned, the entry survives a power cut. */
	for (int i = 2; i < argc; i++)
		if (pmemstream_append(log, words, NULL, argv[i], strlen(argv[i]), NULL))
			return fail();

	if (pmemstream_entry_iterator_new(&at, log, words))
		return fail();
	for (pmemstream_entry_iterator_seek_first(at); pmemstream_entry_iterator_is_valid(at) == 0;
	     pmemstream_entry_iterator_next(at)) {
		struct pmemstream_entry entry = pmemstream_entry_iterator_get(at);
		printf("%zu: %.*s\n", (size_t)pmemstream_entry_timestamp(log, entry),
		       (int)pmemstream_entry_size(log, entry), (const char *)pmemstream_entry_data(log, entry));
	}
	pmemstream_entry_iterator_delete(&at);
	pmemstream_delete(&log);
	return 0;
}
