/*
 * shutdown.c: tells a pool whose device lost power while it was open from one that was closed or only killed.
 *
 * Crash  the 64 bytes are stored as one copy and made durable once. Torn, their checksum fails, and a state that does
 *        not check is initialised anew: the same as PMDK does, so a tear can hide an unsafe shutdown, never invent one.
 */
#include "logpool/shutdown.h"

#include "base/error.h"
#include "logpool/format.h"
#include "logpool/memory.h"

#include <errno.h>
#include <libpmem2.h>
#include <string.h>

enum { UNSAFE_COUNT_OFF = 0, ID_OFF = 8, DIRTY_OFF = 16, CHECKSUM_OFF = 56 };

static uint64_t checksum(const char *state)
{
	return format_checksum(state, SHUTDOWN_BYTES, CHECKSUM_OFF, SHUTDOWN_BYTES);
}

static int add_id(struct shutdown_devices *devices, const struct pmem2_source *source)
{
	size_t bytes = 0;

	/* Without libndctl, and for a file that is not on persistent memory, there is no id. */
	if (pmem2_source_device_id(source, NULL, &bytes) || !bytes)
		return 0;
	size_t padded = bytes + 4 - bytes % 4;
	char *id = memory_new(padded);
	if (!id)
		return -1;
	int err = pmem2_source_device_id(source, id, &bytes);
	if (!err)
		devices->id_sum += format_checksum(id, padded, padded, padded);
	memory_free(id);
	return err ? error_set(EIO, "the id of its device cannot be read: %s", pmem2_errormsg()) : 0;
}

int shutdown_add_device(struct shutdown_devices *devices, int fd)
{
	struct pmem2_source *source;
	uint64_t unsafe_count = 0;

	if (pmem2_source_from_fd(&source, fd))
		return error_set(ENOMEM, "no memory to ask for its device");
	int err = pmem2_source_device_usc(source, &unsafe_count);
	int result = 0;
	if (!err)
		devices->unsafe_count_sum += unsafe_count;
	else if (err != PMEM2_E_NOSUPP)
		result = error_set(EINVAL, "its device's count of unsafe shutdowns cannot be read: %s",
				   pmem2_errormsg());
	if (!result)
		result = add_id(devices, source);
	pmem2_source_delete(&source);
	return result;
}

int shutdown_validate(const char *page, const struct shutdown_devices *devices)
{
	const char *state = page + HEADER_SHUTDOWN_OFF;

	if (le64_load(state + CHECKSUM_OFF) != checksum(state))
		return 0;
	if (le64_load(state + UNSAFE_COUNT_OFF) == devices->unsafe_count_sum &&
	    le64_load(state + ID_OFF) == devices->id_sum)
		return 0;
	if (!state[DIRTY_OFF])
		return 0;
	return error_set(NOT_A_POOL, "its device lost power while the pool was open, or it was copied from another "
				     "device while open: what was in the caches may be missing. Restore a backup");
}

static int mark(struct medium *medium, const struct shutdown_devices *devices, bool open)
{
	char state[SHUTDOWN_BYTES] = {0};
	char *to = medium->base + HEADER_SHUTDOWN_OFF;

	le64_store(state + UNSAFE_COUNT_OFF, devices->unsafe_count_sum);
	le64_store(state + ID_OFF, devices->id_sum);
	state[DIRTY_OFF] = open;
	le64_store(state + CHECKSUM_OFF, checksum(state));
	medium_copy(medium, to, state, sizeof(state));
	return medium_persist(medium, to, sizeof(state));
}

int shutdown_mark_open(struct medium *medium, const struct shutdown_devices *devices)
{
	return mark(medium, devices, true);
}

int shutdown_mark_closed(struct medium *medium, const struct shutdown_devices *devices)
{
	return mark(medium, devices, false);
}
