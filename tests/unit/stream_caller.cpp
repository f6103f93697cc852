/*
 * stream_caller.cpp: a C++17 caller of libpmemstream, as existing ones are written: objects placed in reservations, waits
 * as values.
 */
#include <libpmemstream.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <new>
#include <type_traits>
#include <unistd.h>

namespace
{

struct alignas(8) measurement {
	measurement(double value_, int unit_) : value(value_), unit(unit_)
	{
	}
	double value;
	int unit;
};

static_assert(sizeof(pmemstream_async_wait_fut) == 88, "the wait functions return it by value");
static_assert(std::is_trivially_copyable<pmemstream_async_wait_fut>::value, "a future is plain data");

int failures = 0;

void check(bool holds, const char *claim)
{
	if (!holds) {
		std::printf("# %s: %s\n", claim, pmemstream_errormsg());
		failures++;
	}
}

pmem2_map *map_file(int fd)
{
	pmem2_config *config;
	pmem2_source *source;
	pmem2_map *map = nullptr;

	if (pmem2_config_new(&config) || pmem2_source_from_fd(&source, fd))
		return nullptr;
	pmem2_config_set_required_store_granularity(config, PMEM2_GRANULARITY_PAGE);
	if (pmem2_map_new(&map, config, source))
		map = nullptr;
	pmem2_source_delete(&source);
	pmem2_config_delete(&config);
	return map;
}

void append_objects(pmemstream *stream, pmemstream_region region)
{
	pmemstream_entry entry;
	void *place;

	check(!pmemstream_reserve(stream, region, nullptr, sizeof(measurement), &entry, &place), "reserve");
	new (place) measurement(36.6, 1);
	check(!pmemstream_publish(stream, region, nullptr, entry, sizeof(measurement)), "publish");
	data_mover_sync *mover = data_mover_sync_new();
	measurement second(37.2, 2);
	check(!pmemstream_async_append(stream, data_mover_sync_get_vdm(mover), region, nullptr, &second, sizeof(second),
				       &entry),
	      "async_append");
	auto wait = pmemstream_async_wait_persisted(stream, pmemstream_entry_timestamp(stream, entry));
	FUTURE_BUSY_POLL(&wait);
	check(wait.output.error_code == 0, "wait_persisted");
	data_mover_sync_delete(mover);
}

void read_objects(pmemstream *stream, pmemstream_region region)
{
	pmemstream_entry_iterator *iterator;
	int unit = 0;

	check(!pmemstream_entry_iterator_new(&iterator, stream, region), "iterator_new");
	pmemstream_entry_iterator_seek_first(iterator);
	for (; !pmemstream_entry_iterator_is_valid(iterator); pmemstream_entry_iterator_next(iterator)) {
		auto entry = pmemstream_entry_iterator_get(iterator);
		auto *found = static_cast<const measurement *>(pmemstream_entry_data(stream, entry));
		check(found->unit == ++unit, "objects come in order");
	}
	check(unit == 2, "two objects are there");
	pmemstream_entry_iterator_delete(&iterator);
}

} // namespace

int main()
{
	char path[] = "stream_caller.XXXXXX";
	int fd = mkstemp(path);
	pmemstream *stream = nullptr;
	pmemstream_region region;

	unlink(path);
	check(fd >= 0 && !ftruncate(fd, 1 << 20), "a file");
	pmem2_map *map = map_file(fd);
	check(map && !pmemstream_from_map(&stream, 4096, map), "from_map");
	check(!pmemstream_region_allocate(stream, 10000, &region), "region_allocate");
	append_objects(stream, region);
	pmemstream_delete(&stream);
	check(!pmemstream_from_map(&stream, 4096, map), "from_map again");
	read_objects(stream, region);
	pmemstream_delete(&stream);
	pmem2_map_delete(&map);
	close(fd);
	std::printf("1..1\n%s 1 - a_caller_in_c++17_places_objects_in_entries\n", failures ? "not ok" : "ok");
	return failures != 0;
}
