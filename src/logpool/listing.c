/*
 * listing.c: from a path to the list of part files, none of them opened yet.
 */
#include "logpool/listing.h"

#include "base/checked.h"
#include "base/error.h"
#include "logpool/memory.h"
#include "logpool/poolset.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char suffix[] = ".pmem";
static const char first_name[] = "000000.pmem";

static struct part *add(struct parts *parts, const char *path, uint64_t wanted)
{
	struct part *grown = memory_resize(parts->parts, (parts->count + 1) * sizeof(*grown));

	if (!grown)
		return NULL;
	parts->parts = grown;
	char *copy = memory_text(path);
	if (!copy)
		return NULL;
	grown[parts->count] = (struct part){.path = copy, .fd = -1, .wanted = wanted};
	return &grown[parts->count++];
}

int listing_of_file(struct parts *parts, const char *path)
{
	*parts = (struct parts){.set_fd = -1};
	if (add(parts, path, 0))
		return 0;
	parts_close(parts);
	return -1;
}

/* The number of a part's file name; false for other files. */
static bool part_number(const char *name, unsigned long *number)
{
	size_t digits = strspn(name, "0123456789");

	if (!digits || digits > 9 || strcmp(name + digits, suffix) != 0)
		return false;
	*number = strtoul(name, NULL, 10);
	return true;
}

static int by_number(const void *a, const void *b)
{
	unsigned long first = 0, second = 0;

	part_number(strrchr(((const struct part *)a)->path, '/') + 1, &first);
	part_number(strrchr(((const struct part *)b)->path, '/') + 1, &second);
	return (first > second) - (first < second);
}

/* EFAULT is what PMDK's library says to a gap. */
static int check_numbers(const struct parts *parts)
{
	for (size_t i = 0; i < parts->count; i++) {
		unsigned long number = 0;

		part_number(strrchr(parts->parts[i].path, '/') + 1, &number);
		if (number != i)
			return error_set(EFAULT, "part %06zu%s is missing in its directories, or is there twice", i,
					 suffix);
	}
	return 0;
}

static int add_in_directory(struct parts *parts, const char *directory, const char *name, uint64_t wanted)
{
	size_t bytes = strlen(directory) + 1 + strlen(name) + 1;
	char *path = memory_new(bytes);

	if (!path)
		return -1;
	snprintf(path, bytes, "%s/%s", directory, name);
	struct part *part = add(parts, path, wanted);
	memory_free(path);
	return part ? 0 : -1;
}

static int add_directory(struct parts *parts, const char *path)
{
	DIR *directory = opendir(path);
	unsigned long number;
	int err = 0;

	if (!directory)
		return error_system("open directory %s", path);
	errno = 0;
	for (struct dirent *entry; !err && (entry = readdir(directory));)
		if (part_number(entry->d_name, &number))
			err = add_in_directory(parts, path, entry->d_name, 0);
	if (!err && errno)
		err = error_system("read directory %s", path);
	int kept = errno;
	closedir(directory);
	errno = kept;
	return err;
}

static int list_directories(struct parts *parts, const struct poolset *set, bool creating)
{
	uint64_t reserved = 0;

	for (size_t i = 0; i < set->part_count; i++) {
		if (add_directory(parts, set->parts[i].path))
			return -1;
		if (!checked_add(reserved, set->parts[i].size, &reserved))
			reserved = UINT64_MAX;
	}
	if (!parts->count && !creating)
		return error_set(ENOENT, "no part in its directories");
	if (!set->single_header)
		return error_set(NOT_A_POOL, "directories as parts need the option SINGLEHDR");
	if (creating && reserved < FORMAT_PART_MIN_BYTES)
		return error_set(NOT_A_POOL, "%llu bytes are reserved, a pool needs at least %d",
				 (unsigned long long)reserved, FORMAT_PART_MIN_BYTES);
	if (!parts->count)
		return add_in_directory(parts, set->parts[0].path, first_name, FORMAT_PART_MIN_BYTES);
	qsort(parts->parts, parts->count, sizeof(parts->parts[0]), by_number);
	return check_numbers(parts);
}

/* Tells how many parts are directories; -1 with EEXIST when two are the same one. */
static int count_directories(const struct poolset *set, size_t *count)
{
	struct stat status, other;

	*count = 0;
	for (size_t i = 0; i < set->part_count; i++) {
		if (stat(set->parts[i].path, &status) || !S_ISDIR(status.st_mode))
			continue;
		++*count;
		for (size_t j = 0; j < i; j++)
			if (!stat(set->parts[j].path, &other) && other.st_dev == status.st_dev &&
			    other.st_ino == status.st_ino)
				return error_set(EEXIST, "directory %s is named twice", set->parts[i].path);
	}
	return 0;
}

static int refuse_replicas(const struct poolset *set, bool creating)
{
	if (!set->local_replica && !set->remote_replica)
		return 0;
	for (size_t i = 0; i < set->part_count && !creating; i++)
		if (access(set->parts[i].path, F_OK))
			return error_system("%s", set->parts[i].path);
	if (set->remote_replica && !creating)
		return error_set(ENOENT, "remote replicas are not supported");
	return error_set(ENOTSUP, "replicas are not supported for log pools");
}

static int list_set(struct parts *parts, const struct poolset *set, bool creating)
{
	size_t directory_count;

	parts->single_header = set->single_header;
	parts->no_headers = set->no_headers;
	if (refuse_replicas(set, creating))
		return -1;
	if (set->no_headers && creating)
		return error_set(NOT_A_POOL, "the option NOHDRS is not supported for log pools");
	if (count_directories(set, &directory_count))
		return -1;
	if (directory_count == set->part_count)
		return list_directories(parts, set, creating);
	if (directory_count)
		return error_set(NOT_A_POOL, "files and directories mixed");
	for (size_t i = 0; i < set->part_count; i++)
		if (!add(parts, set->parts[i].path, set->parts[i].size))
			return -1;
	return 0;
}

static int read_set(struct poolset *set, const char *path, int fd, uint64_t size)
{
	if (size > POOLSET_TEXT_MAX)
		return error_set(NOT_A_POOL, "pool set %s: more than %d bytes", path, POOLSET_TEXT_MAX);
	char *text = memory_new(size + 1);
	if (!text)
		return -1;
	ssize_t got = pread(fd, text, size, 0);
	int err = got < 0 ? error_system("read %s", path) : poolset_parse(set, path, text, (size_t)got);
	memory_free(text);
	return err;
}

/* Takes fd over when it is a pool set: locked until parts_close, so that two do not create its parts at a time. */
static int list_opened(struct parts *parts, const char *path, int *fd, bool creating)
{
	char start[POOLSET_SIGNATURE_BYTES];
	struct stat status;
	struct poolset set;

	ssize_t got = pread(*fd, start, sizeof(start), 0);
	if (got < 0)
		return error_system("read %s", path);
	if (!poolset_recognise(start, (size_t)got))
		return add(parts, path, 0) ? 0 : -1;
	parts->set_fd = *fd;
	*fd = -1;
	if (parts_lock(parts->set_fd, path))
		return -1;
	if (fstat(parts->set_fd, &status))
		return error_system("stat %s", path);
	if (read_set(&set, path, parts->set_fd, (uint64_t)status.st_size))
		return -1;
	int err = list_set(parts, &set, creating);
	if (err)
		error_prefix("pool set %s", path);
	poolset_free(&set);
	return err;
}

int listing_of_existing(struct parts *parts, const char *path, bool creating)
{
	struct stat status;

	*parts = (struct parts){.set_fd = -1};
	if (!path)
		return error_set(EINVAL, "no path");
	if (stat(path, &status))
		return error_system("%s", path);
	if (!S_ISREG(status.st_mode))
		return error_set(EINVAL, "%s is no regular file", path);
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd < 0)
		return error_system("open %s", path);
	int err = list_opened(parts, path, &fd, creating);
	int kept = errno;
	if (fd >= 0)
		close(fd);
	errno = kept;
	if (err)
		parts_close(parts);
	return err;
}
