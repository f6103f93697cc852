/*
 * miniasync_caller.cpp: a caller in C++17, strict, of the whole interface of libminiasync; links the shared library.
 *
 * What has to compile here: every macro, designated initialisers left out (they are C++20), tasks and maps as functions
 * with C linkage or without, lambdas without captures. Speaks TAP without help, for cmocka is C.
 */
#include <libminiasync.h>

#include <cstdio>
#include <cstring>

static int failed, cases;

static void claim(bool holds, const char *sentence)
{
	std::printf("%sok %d - %s\n", holds ? "" : "not ", ++cases, sentence);
	failed += !holds;
}

struct sum_data {
	int left, right;
};

struct sum_output {
	int sum;
};

FUTURE(sum_future, struct sum_data, struct sum_output);

static enum future_state sum_task(struct future_context *context, struct future_notifier *notifier)
{
	auto *data = static_cast<sum_data *>(future_context_get_data(context));
	auto *output = static_cast<sum_output *>(future_context_get_output(context));

	if (notifier)
		notifier->notifier_used = FUTURE_NOTIFIER_NONE;
	output->sum = data->left + data->right;
	return FUTURE_STATE_COMPLETE;
}

static int is_async(void *, enum future_property property)
{
	return property == FUTURE_PROPERTY_ASYNC;
}

static sum_future sum(int left, int right)
{
	sum_future future;

	future.data.left = left;
	future.data.right = right;
	FUTURE_INIT_EXT(&future, sum_task, is_async);
	return future;
}

struct chain_data {
	FUTURE_CHAIN_ENTRY(struct sum_future, first);
	FUTURE_CHAIN_ENTRY(struct sum_future, second);
	FUTURE_CHAIN_ENTRY_LAST(struct vdm_operation_future, copy);
	struct vdm *vdm;
	int copied;
};

struct chain_output {
	int result;
};

FUTURE(chain_future, struct chain_data, struct chain_output);

static void carry_sum(struct future_context *entry, struct future_context *next, void *)
{
	static_cast<sum_data *>(future_context_get_data(next))->left =
		static_cast<sum_output *>(future_context_get_output(entry))->sum;
}

static void make_copy(void *future, struct future_context *chain, void *)
{
	auto *data = static_cast<chain_data *>(future_context_get_data(chain));

	*static_cast<vdm_operation_future *>(future) =
		vdm_memcpy(data->vdm, &data->copied, &data->second.fut.output.sum, sizeof(int), 0);
}

static void test_futures()
{
	sum_future future = sum(1, 2), complete;
	struct future_waker waker = {&future, [](void *data) { static_cast<sum_future *>(data)->data.left = 7; }};
	struct future_notifier notifier = {waker, {nullptr}, FUTURE_NOTIFIER_WAKER, 0};

	claim(FUTURE_STATE(&future) == FUTURE_STATE_IDLE && future_has_property(&future.base, FUTURE_PROPERTY_ASYNC),
	      "a future is initialised");
	claim(future_poll(FUTURE_AS_RUNNABLE(&future), &notifier) == FUTURE_STATE_COMPLETE &&
		      FUTURE_OUTPUT(&future)->sum == 3,
	      "a future is polled");
	FUTURE_WAKER_WAKE(&notifier.waker);
	claim(FUTURE_DATA(&future)->left == 7, "a lambda is a waker");
	FUTURE_INIT_COMPLETE(&complete);
	FUTURE_BUSY_POLL(&complete);
	FUTURE_INIT(&complete, sum_task);
	claim(future_context_get_size(&complete.base.context) == sizeof(sum_data) + sizeof(sum_output),
	      "sizes are known");
}

static void test_chain(struct vdm *vdm, struct runtime *runtime, const char *sentence)
{
	chain_future chain;
	struct future *futures[] = {FUTURE_AS_RUNNABLE(&chain)};

	chain.data.vdm = vdm;
	chain.data.copied = 0;
	FUTURE_CHAIN_ENTRY_INIT(&chain.data.first, sum(1, 2), carry_sum, nullptr);
	FUTURE_CHAIN_ENTRY_INIT(&chain.data.second, sum(0, 39), nullptr, nullptr);
	FUTURE_CHAIN_ENTRY_LAZY_INIT(
		&chain.data.copy, make_copy, nullptr,
		[](struct future_context *, struct future_context *context, void *arg) {
			static_cast<chain_output *>(future_context_get_output(context))->result =
				*static_cast<int *>(arg);
		},
		&chain.data.copied);
	FUTURE_CHAIN_INIT(&chain);
	runtime_wait_multiple(runtime, futures, 1);
	claim(FUTURE_OUTPUT(&chain)->result == 42 && FUTURE_CHAIN_ENTRY_IS_PROCESSED(&chain.data.first) &&
		      FUTURE_CHAIN_ENTRY_IS_LAST(&chain.data.copy) &&
		      FUTURE_CHAIN_ENTRY_IS_INITIALIZED(&chain.data.copy) &&
		      !FUTURE_CHAIN_ENTRY_HAS_FLAG(&chain.data.first, FUTURE_CHAIN_FLAG_ENTRY_LAST),
	      sentence);
}

static void test_operations(struct vdm *vdm, struct runtime *runtime)
{
	char to[4] = "", from[4] = "abc";
	auto copy = vdm_memcpy(vdm, to, from, sizeof(to), VDM_F_NO_CACHE_HINT);
	auto flush = vdm_flush(vdm, to, sizeof(to), 0);

	runtime_wait(runtime, FUTURE_AS_RUNNABLE(&copy));
	runtime_wait(runtime, FUTURE_AS_RUNNABLE(&flush));
	claim(FUTURE_OUTPUT(&copy)->result == VDM_SUCCESS && FUTURE_OUTPUT(&copy)->output.memcpy.dest == to &&
		      std::strcmp(to, "abc") == 0,
	      "a mover copies");
	auto move = vdm_memmove(vdm, to, to + 1, 2, 0);
	runtime_wait(runtime, FUTURE_AS_RUNNABLE(&move));
	claim(std::strcmp(to, "bcc") == 0, "a mover moves");
	auto set = vdm_memset(vdm, to, 'x', 3, 0);
	runtime_wait(runtime, FUTURE_AS_RUNNABLE(&set));
	claim(std::strcmp(to, "xxx") == 0, "a mover sets");
	claim(vdm_is_supported(vdm, VDM_F_NO_CACHE_HINT) != 0, "a mover is asked for a capability");
	vdm_set_has_property_fn(vdm, is_async);
}

int main()
{
	struct data_mover_threads *threads = data_mover_threads_new(1, 4, FUTURE_NOTIFIER_WAKER);
	struct data_mover_threads *by_default = data_mover_threads_default();
	struct data_mover_sync *sync = data_mover_sync_new();
	struct runtime *runtime = runtime_new();

	claim(threads && by_default && sync && runtime, "movers and a runtime are made");
	data_mover_threads_set_memcpy_fn(
		threads, [](void *dst, const void *src, size_t n, unsigned) { return std::memcpy(dst, src, n); });
	data_mover_threads_set_memmove_fn(threads, nullptr);
	data_mover_threads_set_memset_fn(threads, nullptr);
	test_futures();
	test_chain(data_mover_sync_get_vdm(sync), runtime, "a chain runs on the sync mover");
	test_chain(data_mover_threads_get_vdm(threads), runtime, "a chain runs on the threaded mover");
	test_operations(data_mover_threads_get_vdm(by_default), runtime);
	data_mover_threads_delete(threads);
	data_mover_threads_delete(by_default);
	data_mover_sync_delete(sync);
	runtime_delete(runtime);
	std::printf("1..%d\n", cases);
	return failed != 0;
}
