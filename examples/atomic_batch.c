/*
 * atomic_batch.c: a transfer between two accounts that no power cut can tear.
 *
 * Each account has a region of its own. A transfer is two entries, one in each; as a batch they are there together or
 * not at all, at the cost of one fence or one sync. A balance is the sum of all entries of an account, read several at
 * a time.
 *
 * Build: cc -o atomic_batch atomic_batch.c $(pkg-config --cflags --libs libpmemstream)
 * Run:   ./atomic_batch
 */
#include <libpmemstream.h>

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CHECK(call)                                                                                                    \
	do {                                                                                                           \
		if (call) {                                                                                            \
			fprintf(stderr, "%s: %s\n", #call, pmemstream_errormsg());                                     \
			exit(1);                                                                                       \
		}                                                                                                      \
	} while (0)

static void transfer(struct pmemstream *stream, struct pmemstream_region from, struct pmemstream_region to,
		     int64_t amount)
{
	struct pmemstream_batch *batch;
	int64_t debit = -amount;

	CHECK(pmemstream_batch_begin(stream, &batch));
	CHECK(pmemstream_batch_add(batch, from, NULL, &debit, sizeof(debit)));
	CHECK(pmemstream_batch_add(batch, to, NULL, &amount, sizeof(amount)));
	CHECK(pmemstream_batch_commit(&batch, NULL));
}

static int64_t balance(struct pmemstream *stream, struct pmemstream_region account)
{
	struct pmemstream_entry_view views[16];
	struct pmemstream_entry_iterator *iterator;
	int64_t sum = 0;
	size_t count;

	CHECK(pmemstream_entry_iterator_new(&iterator, stream, account));
	pmemstream_entry_iterator_seek_first(iterator);
	while ((count = pmemstream_entry_iterator_read(iterator, views, 16)))
		for (size_t i = 0; i < count; i++) {
			int64_t amount;
			memcpy(&amount, views[i].data, sizeof(amount));
			sum += amount;
		}
	CHECK(errno != ENODATA); /* a damaged entry is no end */
	pmemstream_entry_iterator_delete(&iterator);
	return sum;
}

int main(void)
{
	char path[] = "atomic_batch.XXXXXX";
	struct pmemstream_config config = {.size = 4 << 20};
	struct pmemstream_region alice, bob;
	struct pmemstream *stream;

	int fd = mkstemp(path);
	if (fd < 0 || close(fd) || unlink(path)) /* only its name is wanted */
		return 1;
	CHECK(pmemstream_create(&stream, path, &config));
	CHECK(pmemstream_region_allocate_labeled(stream, 1 << 20, "alice", &alice));
	CHECK(pmemstream_region_allocate_labeled(stream, 1 << 20, "bob", &bob));
	for (int i = 1; i <= 100; i++)
		transfer(stream, i % 3 ? alice : bob, i % 3 ? bob : alice, i);
	pmemstream_delete(&stream);

	CHECK(pmemstream_open(&stream, path, NULL));
	CHECK(pmemstream_region_find(stream, "alice", &alice));
	CHECK(pmemstream_region_find(stream, "bob", &bob));
	int64_t of_alice = balance(stream, alice), of_bob = balance(stream, bob);
	printf("alice %" PRId64 ", bob %" PRId64 ", together %" PRId64 ", %" PRIu64 " entries\n", of_alice, of_bob,
	       of_alice + of_bob, pmemstream_persisted_timestamp(stream));
	pmemstream_delete(&stream);
	unlink(path);
	return of_alice + of_bob ? 1 : 0;
}
