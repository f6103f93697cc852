/*
 * chained_copies.c: copies a text twice, one copy after the other, by a data mover with threads.
 *
 *   Build: cc -o chained_copies chained_copies.c $(pkg-config --cflags --libs libminiasync)
 *   Run:   ./chained_copies
 *
 * The two copies are the entries of a chain, so that for the program they are one future. The second does not exist
 * until the first has completed: it copies what the first one says it has written.
 */
#include <libminiasync.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct copies {
	FUTURE_CHAIN_ENTRY(struct vdm_operation_future, first);
	FUTURE_CHAIN_ENTRY_LAST(struct vdm_operation_future, second);
	/* What the functions below need; a chain may carry data behind its last entry. */
	struct vdm *vdm;
	char *target;
	size_t bytes;
};

struct copies_result {
	int failed;
};

FUTURE(copies_future, struct copies, struct copies_result);

/* Begins the second copy, when the first has completed. */
static void make_second(void *future, struct future_context *chain, void *arg)
{
	struct copies *copies = future_context_get_data(chain);
	struct vdm_operation_future *second = future;
	void *source = copies->first.fut.output.output.memcpy.dest;

	(void)arg;
	*second = vdm_memcpy(copies->vdm, copies->target, source, copies->bytes, 0);
}

static void report(const char *which, const struct vdm_operation_output *output)
{
	if (output->result == VDM_SUCCESS)
		printf("%s copy: done\n", which);
	else
		printf("%s copy: failed with result %d\n", which, (int)output->result);
}

static void after_first(struct future_context *first, struct future_context *second, void *arg)
{
	(void)second;
	(void)arg;
	report("first", future_context_get_output(first));
}

/* The next context of the last entry is that of the chain: here its result is filled in. */
static void after_second(struct future_context *second, struct future_context *chain, void *arg)
{
	struct copies *copies = future_context_get_data(chain);
	struct copies_result *result = future_context_get_output(chain);
	struct vdm_operation_output *output = future_context_get_output(second);

	(void)arg;
	report("second", output);
	result->failed = copies->first.fut.output.result != VDM_SUCCESS || output->result != VDM_SUCCESS;
}

static int copy_twice(struct vdm *vdm, struct runtime *runtime)
{
	char text[] = "what is written down stays", between[sizeof(text)] = "", target[sizeof(text)] = "";
	struct copies_future chain;

	FUTURE_CHAIN_ENTRY_INIT(&chain.data.first, vdm_memcpy(vdm, between, text, sizeof(text), 0), after_first, NULL);
	FUTURE_CHAIN_ENTRY_LAZY_INIT(&chain.data.second, make_second, NULL, after_second, NULL);
	FUTURE_CHAIN_INIT(&chain);
	chain.data.vdm = vdm;
	chain.data.target = target;
	chain.data.bytes = sizeof(text);

	printf("chain: %zu bytes, twice, %s\n", sizeof(text),
	       future_has_property(FUTURE_AS_RUNNABLE(&chain), FUTURE_PROPERTY_ASYNC) ? "by other threads"
										      : "by this thread");
	runtime_wait(runtime, FUTURE_AS_RUNNABLE(&chain));
	printf("target: \"%s\"\n", target);
	if (FUTURE_OUTPUT(&chain)->failed || strcmp(target, text) != 0) {
		fprintf(stderr, "chained_copies: the text did not arrive\n");
		return EXIT_FAILURE;
	}
	return EXIT_SUCCESS;
}

int main(void)
{
	struct data_mover_threads *mover = data_mover_threads_default();
	struct runtime *runtime = runtime_new();
	int status = EXIT_FAILURE;

	if (mover && runtime)
		status = copy_twice(data_mover_threads_get_vdm(mover), runtime);
	else
		perror("chained_copies");
	runtime_delete(runtime);
	data_mover_threads_delete(mover);
	return status;
}
