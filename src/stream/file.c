/*
 * file.c: files of streams.
 *
 * Locks     open-file-description locks on two bytes of the volatile area. They sit on a descriptor of their own,
 *           close-on-exec, which a fork child closes at once: so they end with the process that took them, whatever
 *           its children and mappings do.
 * Mapping   into a reserved range of addresses, so that the stream can grow without moving. Nothing is stored here.
 * Creation  written extents: no later store can meet a full disk, no first sync has to convert extents.
 */
#include "stream/file.h"

#include "base/error.h"
#include "base/file_limit.h"
#include "stream/format.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <libpmem2.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { ZEROS_BYTES = 1 << 20 };
#define RESERVED_BYTES     (UINT64_C(64) << 30)
#define RESERVED_ALIGNMENT (UINT64_C(2) << 20)

static pthread_mutex_t open_mutex = PTHREAD_MUTEX_INITIALIZER;
static struct file *open_files;

static void close_locks_in_child(void)
{
	/* The child has one thread, and the mutex was taken for it before the fork. */
	for (struct file *file = open_files; file; file = file->next) {
		close(file->lock_fd);
		file->lock_fd = -1;
	}
	pthread_mutex_unlock(&open_mutex);
}

static void lock_list(void)
{
	pthread_mutex_lock(&open_mutex);
}

static void unlock_list(void)
{
	pthread_mutex_unlock(&open_mutex);
}

__attribute__((constructor)) static void watch_forks(void)
{
	pthread_atfork(lock_list, unlock_list, close_locks_in_child);
}

/* Makes the name of a file durable. */
static int sync_folder(const char *path)
{
	char *copy = strdup(path);

	if (!copy)
		return error_set(ENOMEM, "no memory for the path %s", path);
	int fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int err = fd < 0 || fsync(fd) ? error_system("the folder of %s", path) : 0;
	if (fd >= 0)
		close(fd);
	free(copy);
	return err;
}

static int write_zeros(int fd, const char *path, uint64_t from, uint64_t to)
{
	if (file_limit_check(path, to))
		return -1;
	int err = posix_fallocate(fd, (off_t)from, (off_t)(to - from));

	if (err)
		return error_set(err, "%s: cannot allocate %zu bytes: %s", path, (size_t)(to - from), strerror(err));
	char *zeros = calloc(1, ZEROS_BYTES);
	if (!zeros)
		return error_set(ENOMEM, "no memory for %d zeros", ZEROS_BYTES);
	while (from < to && !err) {
		/* The first page alone: the volatile area is stored to through the mapping, and whatever shares its
		 * folio in the page cache would be written back with it. */
		size_t most = from ? ZEROS_BYTES : MEDIUM_PAGE_BYTES;
		size_t piece = to - from < most ? (size_t)(to - from) : most;
		ssize_t written = pwrite(fd, zeros, piece, (off_t)from);
		if (written < 0 && errno != EINTR)
			err = error_system("%s: write at %zu", path, (size_t)from);
		else if (written > 0)
			from += (uint64_t)written;
	}
	free(zeros);
	if (!err && fsync(fd))
		err = error_system("%s: fsync", path);
	return err;
}

static struct flock lock_of(enum file_lock lock, bool writable)
{
	return (struct flock){
		.l_type = writable ? F_WRLCK : F_RDLCK,
		.l_whence = SEEK_SET,
		.l_start = FORMAT_VOLATILE_OFF + (lock == FILE_LOCK_READY),
		.l_len = 1,
	};
}

int file_look_again(struct file *file)
{
	struct stat status;

	if (fstat(file->fd, &status))
		return error_system("%s", file->path);
	if (!status.st_nlink)
		return error_set(ENOENT, "%s was removed", file->path);
	file->bytes = (uint64_t)status.st_size;
	return 0;
}

int file_fill(struct file *file, uint64_t bytes)
{
	if (write_zeros(file->fd, file->path, 0, bytes) || sync_folder(file->path))
		return -1;
	file->bytes = bytes;
	return 0;
}

static int pmem2_failed(const char *path, int err)
{
	/* libpmem2 returns -errno, or a code of its own below -100000. */
	return error_set(err > -100000 ? -err : EINVAL, "%s: cannot be mapped: %s", path, pmem2_errormsg());
}

/*
 * Reservations that no file uses any more, to be used again: libpmem2 1.12 reserves more than it gives back, up to a
 * GiB of addresses and one mapping for each, of which a process has 65,530. Under open_mutex.
 */
struct spare {
	struct pmem2_vm_reservation *reservation;
	struct spare *next;
};
static struct spare *spares;

static struct pmem2_vm_reservation *take_spare(uint64_t least)
{
	struct pmem2_vm_reservation *reservation = NULL;

	pthread_mutex_lock(&open_mutex);
	for (struct spare **link = &spares; *link && !reservation; link = &(*link)->next) {
		struct spare *spare = *link;
		if (pmem2_vm_reservation_get_size(spare->reservation) < least)
			continue;
		reservation = spare->reservation;
		*link = spare->next;
		free(spare);
		break;
	}
	pthread_mutex_unlock(&open_mutex);
	return reservation;
}

static void keep_spare(struct pmem2_vm_reservation **reservation)
{
	struct spare *spare = malloc(sizeof(*spare));

	if (!spare) {
		pmem2_vm_reservation_delete(reservation);
		return;
	}
	spare->reservation = *reservation;
	*reservation = NULL;
	pthread_mutex_lock(&open_mutex);
	spare->next = spares;
	spares = spare;
	pthread_mutex_unlock(&open_mutex);
}

/* Addresses for the file and for what it may become; less where so much is not to be had. */
static int reserve(struct file *file)
{
	uint64_t least = (file->bytes + RESERVED_ALIGNMENT - 1) / RESERVED_ALIGNMENT * RESERVED_ALIGNMENT;
	uint64_t bytes = file->bytes > RESERVED_BYTES / 4 ? least * 4 : RESERVED_BYTES;
	int err;

	file->reservation = take_spare(bytes);
	if (file->reservation)
		return 0;
	while ((err = pmem2_vm_reservation_new(&file->reservation, NULL, bytes)) && bytes > least)
		bytes = bytes / 2 > least ? bytes / 2 / RESERVED_ALIGNMENT * RESERVED_ALIGNMENT : least;
	return err ? pmem2_failed(file->path, err) : 0;
}

static int map(struct file *file, uint64_t from, uint64_t to)
{
	struct pmem2_config *config = NULL;
	struct pmem2_source *source = NULL;
	int err;

	err = pmem2_config_new(&config);
	if (!err)
		err = pmem2_config_set_required_store_granularity(config, PMEM2_GRANULARITY_PAGE);
	if (!err && !file->writable)
		err = pmem2_config_set_protection(config, PMEM2_PROT_READ);
	if (!err)
		err = pmem2_config_set_vm_reservation(config, file->reservation, from);
	if (!err && from)
		err = pmem2_config_set_offset(config, from);
	/* libpmem2 takes whole pages only, or else the whole file. */
	if (!err && to % (uint64_t)sysconf(_SC_PAGESIZE) == 0)
		err = pmem2_config_set_length(config, to - from);
	if (!err)
		err = pmem2_source_from_fd(&source, file->fd);
	if (!err)
		err = pmem2_map_new(&file->maps[file->map_count], config, source);
	if (err)
		pmem2_failed(file->path, err);
	int kept = errno;
	if (source)
		pmem2_source_delete(&source);
	if (config)
		pmem2_config_delete(&config);
	errno = kept;
	if (err)
		return -1;
	file->map_count++;
	file->bytes = to;
	return 0;
}

/* Another open file description of the same file, whatever its path names by now. */
static int open_again(int fd, bool writable)
{
	char path[40];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return open(path, (writable ? O_RDWR : O_RDONLY) | O_CLOEXEC);
}

/* With the mutex held since before lock_fd was opened. */
static void link_open(struct file *file)
{
	file->link = &open_files;
	file->next = open_files;
	if (open_files)
		open_files->link = &file->next;
	open_files = file;
}

static int open_descriptors(struct file *file, const struct file *other)
{
	struct stat status;

	file->fd = other ? open_again(other->fd, file->writable)
			 : open(file->path, (file->writable ? O_RDWR : O_RDONLY) | O_CLOEXEC | O_NONBLOCK);
	if (file->fd < 0 || fstat(file->fd, &status))
		return error_system("%s", file->path);
	if (!S_ISREG(status.st_mode))
		return error_set(EINVAL, "%s is no regular file", file->path);
	file->bytes = (uint64_t)status.st_size;
	pthread_mutex_lock(&open_mutex);
	file->lock_fd = open_again(file->fd, file->writable);
	link_open(file);
	pthread_mutex_unlock(&open_mutex);
	return file->lock_fd < 0 ? error_system("%s", file->path) : 0;
}

static int name(struct file *file, const char *path, bool writable)
{
	*file = (struct file){.path = strdup(path), .fd = -1, .lock_fd = -1, .writable = writable};
	return file->path ? 0 : error_set(ENOMEM, "no memory for the path %s", path);
}

static int open_file(struct file *file, const char *path, bool writable, const struct file *other)
{
	if (name(file, path, writable))
		return -1;
	if (!open_descriptors(file, other))
		return 0;
	int err = errno;
	file_close(file);
	errno = err;
	return -1;
}

int file_open(struct file *file, const char *path, bool writable)
{
	return open_file(file, path, writable, NULL);
}

int file_open_same(struct file *file, const struct file *other)
{
	return open_file(file, other->path, true, other);
}

static int open_new(struct file *file, mode_t mode)
{
	pthread_mutex_lock(&open_mutex);
	file->lock_fd = open(file->path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, mode);
	int err = errno;
	link_open(file);
	pthread_mutex_unlock(&open_mutex);
	errno = err;
	return file->lock_fd < 0 ? error_system("%s", file->path) : 0;
}

/* Whoever finds the file before it is locked, and may create, makes a stream of it that is his. */
static int lock_new(struct file *file)
{
	struct stat status;

	if (file_lock(file, FILE_LOCK_WRITER))
		return errno == EWOULDBLOCK ? error_set(EWOULDBLOCK, "%s is being created elsewhere", file->path) : -1;
	if (fstat(file->lock_fd, &status))
		return error_system("%s", file->path);
	if (!status.st_size)
		return 0;
	file->locked = false;
	return error_set(EEXIST, "%s was created elsewhere meanwhile", file->path);
}

static int fill_new(struct file *file, uint64_t bytes)
{
	file->fd = open_again(file->lock_fd, true);
	return file->fd < 0 ? error_system("%s", file->path) : file_fill(file, bytes);
}

int file_create(struct file *file, const char *path, uint64_t bytes, mode_t mode)
{
	if (name(file, path, true))
		return -1;
	if (!open_new(file, mode) && !lock_new(file) && !fill_new(file, bytes))
		return 0;
	int err = errno;
	file_remove(file);
	file_close(file);
	errno = err;
	return -1;
}

void file_remove(struct file *file)
{
	int err = errno;
	struct stat status;

	/* Without the lock it may be somebody's stream; without a name, the name may be another file's. */
	if (file->locked && !fstat(file->lock_fd, &status) && status.st_nlink)
		unlink(file->path);
	errno = err;
}

void file_close(struct file *file)
{
	while (file->map_count)
		pmem2_map_delete(&file->maps[--file->map_count]);
	if (file->reservation)
		keep_spare(&file->reservation);
	pthread_mutex_lock(&open_mutex);
	if (file->link) {
		*file->link = file->next;
		if (file->next)
			file->next->link = file->link;
	}
	if (file->lock_fd >= 0)
		close(file->lock_fd);
	pthread_mutex_unlock(&open_mutex);
	if (file->fd >= 0)
		close(file->fd);
	free(file->path);
	*file = (struct file){.fd = -1, .lock_fd = -1};
}

int file_medium(struct file *file, struct medium *medium)
{
	if (!file->bytes)
		return error_set(EINVAL, "%s is empty: PMEMSTREAM_CREATE and config.size make a stream of it",
				 file->path);
	if (reserve(file) || map(file, 0, file->bytes))
		return -1;
	return medium_from_map(medium, file->maps[0], file->writable);
}

int file_medium_page(struct file *file, struct medium *medium)
{
	file->bytes = MEDIUM_PAGE_BYTES;
	return file_medium(file, medium);
}

/* Whether what the file grows by could be mapped behind what is. */
static int check_growth(const struct file *file, uint64_t bytes)
{
	if (file->map_count == FILE_MAPS)
		return error_set(ENOTSUP, "%s has grown %d times: close and open it to let it grow again", file->path,
				 FILE_MAPS - 1);
	if (bytes > pmem2_vm_reservation_get_size(file->reservation) || file->bytes % (uint64_t)sysconf(_SC_PAGESIZE))
		return error_set(ENOTSUP, "%s: no addresses were reserved for %zu bytes: close and open it", file->path,
				 (size_t)bytes);
	return 0;
}

int file_map_more(struct file *file, uint64_t bytes)
{
	return check_growth(file, bytes) ? -1 : map(file, file->bytes, bytes);
}

int file_grow(struct file *file, uint64_t bytes)
{
	uint64_t former = file->bytes;

	if (check_growth(file, bytes))
		return -1; /* before anything is written */
	if (!write_zeros(file->fd, file->path, former, bytes) && !file_map_more(file, bytes))
		return 0;
	int err = errno;
	if (ftruncate(file->fd, (off_t)former))
		err = errno;
	errno = err;
	return -1;
}

int file_lock(struct file *file, enum file_lock lock)
{
	struct flock wanted = lock_of(lock, true);

	if (!fcntl(file->lock_fd, F_OFD_SETLK, &wanted)) {
		file->locked = file->locked || lock == FILE_LOCK_WRITER;
		return 0;
	}
	if (errno == EAGAIN || errno == EACCES)
		return error_set(EWOULDBLOCK, "%s is open for writing elsewhere", file->path);
	return error_system("%s: lock", file->path);
}

void file_unlock(struct file *file, enum file_lock lock)
{
	struct flock wanted = lock_of(lock, true);

	wanted.l_type = F_UNLCK;
	fcntl(file->lock_fd, F_OFD_SETLK, &wanted);
	file->locked = file->locked && lock != FILE_LOCK_WRITER;
}

int file_is_locked(struct file *file, enum file_lock lock)
{
	/* A query tells of any lock that a write lock would meet; it takes none, also on a read-only descriptor. */
	struct flock wanted = lock_of(lock, true);

	if (fcntl(file->lock_fd, F_OFD_GETLK, &wanted))
		return error_system("%s: query of a lock", file->path);
	return wanted.l_type != F_UNLCK;
}
