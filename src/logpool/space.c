/*
 * space.c: reserves one range of addresses and maps the parts into it, by libpmem2's reservations.
 *
 * The pool begins at a multiple of 2 MiB, so that huge pages can serve it; the state pages lie directly below. The
 * granularity is libpmem2's verdict on the files, the coarsest of all parts, unless PMEM_IS_PMEM_FORCE overrules it.
 */
#include "logpool/space.h"

#include "base/checked.h"
#include "base/error.h"
#include "logpool/memory.h"

#include <errno.h>
#include <libpmem2.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { FRONT_BYTES = 2 << 20 };

static int error_pmem2(int err, const char *what)
{
	/* libpmem2 gives negated errno values, or numbers of its own far below. */
	return error_set(err > PMEM2_E_UNKNOWN ? -err : EINVAL, "%s: %s", what, pmem2_errormsg());
}

static enum medium_granularity coarsest(enum medium_granularity granularity, const struct pmem2_map *map)
{
	switch (pmem2_map_get_store_granularity((struct pmem2_map *)(uintptr_t)map)) {
	case PMEM2_GRANULARITY_PAGE:
		return MEDIUM_PAGE;
	case PMEM2_GRANULARITY_CACHE_LINE:
		return granularity == MEDIUM_BYTE ? MEDIUM_CACHE_LINE : granularity;
	default:
		return granularity;
	}
}

/* What a program that sets libpmem's variable expects; read at each open. */
static enum medium_granularity overruled(enum medium_granularity granularity)
{
	const char *force = secure_getenv("PMEM_IS_PMEM_FORCE");

	if (force && strcmp(force, "1") == 0 && granularity == MEDIUM_PAGE)
		return MEDIUM_CACHE_LINE;
	if (force && strcmp(force, "0") == 0)
		return MEDIUM_PAGE;
	return granularity;
}

static int reserve(struct space *space)
{
	const char *hint = secure_getenv("PMEM_MMAP_HINT");
	uintptr_t wanted = hint ? (uintptr_t)strtoull(hint, NULL, 16) : 0;
	size_t bytes = FRONT_BYTES + space->size;
	int err = -1;

	if (wanted > FRONT_BYTES && wanted % MEDIUM_PAGE_BYTES == 0)
		err = pmem2_vm_reservation_new(&space->reservation, (void *)(wanted - FRONT_BYTES), bytes);
	if (err)
		err = pmem2_vm_reservation_new(&space->reservation, NULL, bytes);
	if (err) {
		space->reservation = NULL;
		return error_pmem2(err, "reserve addresses");
	}
	space->base = (char *)pmem2_vm_reservation_get_address(space->reservation) + FRONT_BYTES;
	return 0;
}

static int map_state(struct space *space, enum space_mode mode)
{
	int shared = mode == SPACE_SHARED ? MAP_SHARED : MAP_PRIVATE;
	const int protection = PROT_READ | PROT_WRITE;

	if (mmap(space_own_state(space->base), SPACE_STATE_BYTES, protection, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED,
		 -1, 0) == MAP_FAILED ||
	    mmap(space_shared_state(space->base), SPACE_STATE_BYTES, protection, shared | MAP_ANONYMOUS | MAP_FIXED, -1,
		 0) == MAP_FAILED)
		return error_system("map %d bytes of run-time state", 2 * SPACE_STATE_BYTES);
	return 0;
}

static int map_part(struct space *space, const struct parts *parts, size_t index, size_t pool_off, enum space_mode mode)
{
	struct pmem2_config *config = NULL;
	struct pmem2_source *source = NULL;
	struct pmem2_map *map;

	int err = pmem2_config_new(&config);
	if (!err)
		err = pmem2_source_from_fd(&source, parts->parts[index].fd);
	if (!err)
		err = pmem2_config_set_required_store_granularity(config, PMEM2_GRANULARITY_PAGE);
	if (!err)
		err = pmem2_config_set_offset(config, parts_file_off(parts, index));
	if (!err)
		err = pmem2_config_set_length(config, parts_pool_bytes(parts, index));
	if (!err)
		err = pmem2_config_set_sharing(config, mode == SPACE_SHARED ? PMEM2_SHARED : PMEM2_PRIVATE);
	if (!err)
		err = pmem2_config_set_protection(config, mode == SPACE_LOOK ? PMEM2_PROT_READ
									     : PMEM2_PROT_READ | PMEM2_PROT_WRITE);
	if (!err)
		err = pmem2_config_set_vm_reservation(config, space->reservation, FRONT_BYTES + pool_off);
	if (!err)
		err = pmem2_map_new(&map, config, source);
	if (!err) {
		space->maps[space->map_count++] = map;
		space->granularity = coarsest(space->granularity, map);
	}
	int result = err ? error_pmem2(err, parts->parts[index].path) : 0;
	pmem2_source_delete(&source);
	pmem2_config_delete(&config);
	return result;
}

static int map_all(struct space *space, const struct parts *parts, enum space_mode mode)
{
	size_t pool_off = 0;

	if (reserve(space) || map_state(space, mode))
		return -1;
	for (size_t i = 0; i < parts->count; i++) {
		if (map_part(space, parts, i, pool_off, mode))
			return -1;
		pool_off += parts_pool_bytes(parts, i);
	}
	/* What vanishes needs no write-back. */
	space->granularity = mode == SPACE_SHARED ? overruled(space->granularity) : MEDIUM_BYTE;
	return 0;
}

int space_map(struct space *space, const struct parts *parts, enum space_mode mode)
{
	uint64_t size = 0;

	*space = (struct space){.granularity = MEDIUM_BYTE};
	for (size_t i = 0; i < parts->count; i++)
		if (!checked_add(size, parts_pool_bytes(parts, i), &size) || size > SIZE_MAX / 2)
			return error_set(ENOMEM, "the parts are larger together than this machine can map");
	space->size = (size_t)size;
	space->maps = memory_new(parts->count * sizeof(struct pmem2_map *));
	if (space->maps && !map_all(space, parts, mode))
		return 0;
	space_unmap(space);
	return -1;
}

void space_unmap(struct space *space)
{
	int err = errno;

	for (size_t i = 0; i < space->map_count; i++)
		pmem2_map_delete(&space->maps[i]);
	if (space->reservation)
		pmem2_vm_reservation_delete(&space->reservation);
	memory_free(space->maps);
	*space = (struct space){0};
	errno = err;
}
