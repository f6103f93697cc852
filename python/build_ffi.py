"""build_ffi.py MODULE OUTPUT: writes the C source of one of the package's cffi modules.

Both ways to build the package use it: Meson runs it (meson.build), setuptools imports it (setup.py). The C functions that
Python calls are those of native/*.h; what is declared here is compared with them by the C compiler.
"""

import sys

import cffi

FAILURE = """
    #define FAILURE_CLOSED ...
    #define FAILURE_FORKED ...
    #define FAILURE_INSIDE ...
    #define PATIENCE_ENDLESS ...
    int failure_errno(void);
    const char *failure_text(void);
    struct iovec { void *iov_base; size_t iov_len; ...; };
"""

PMEMLOG = FAILURE + """
    #define PMEMLOG_MIN_POOL ...
    #define PMEMLOG_MAJOR_VERSION ...
    #define PMEMLOG_MINOR_VERSION ...
    typedef struct pmemlog PMEMlogpool;
    struct logpool;
    struct logpool *logpool_create(const char *path, size_t bytes, unsigned mode);
    struct logpool *logpool_open(const char *path);
    int logpool_check(const char *path);
    const char *logpool_check_version(unsigned major, unsigned minor);
    int logpool_close(struct logpool *pool, int patience_ms);
    void logpool_release(struct logpool *pool);
    PMEMlogpool *logpool_handle(struct logpool *pool);
    int64_t logpool_tell(struct logpool *pool);
    int64_t logpool_nbyte(struct logpool *pool);
    int logpool_append(struct logpool *pool, const void *data, size_t bytes);
    int logpool_appendv(struct logpool *pool, const struct iovec *pieces, size_t count);
    int logpool_rewind(struct logpool *pool);
    extern "Python" int logpool_chunk(const void *data, size_t bytes, void *arg);
    int logpool_walk(struct logpool *pool, size_t chunk_bytes,
                     int (*chunk)(const void *data, size_t bytes, void *arg), void *arg);
    int64_t logpool_look(struct logpool *pool, const void **data, uint64_t *rewinds);
    int64_t logpool_read(struct logpool *pool, uint64_t off, void *to, size_t bytes, uint64_t rewinds);
"""

# A struct stream_entry is four uint64_t for Python, which unpacks them at once: offset, timestamp, size, region.
STREAM = FAILURE + """
    #define EFD_NONBLOCK ...
    #define EFD_CLOEXEC ...
    int eventfd(unsigned count, int flags);
    struct pmemstream_config { uint64_t size, block_size; uint32_t alignment, flags, window, mode; uint64_t reservation_ns; ...; };
    struct pmemstream_region_info { uint64_t generation, size, used, allocated_ns, checkpoint_ns, checkpoint_timestamp;
        char label[64]; ...; };
    struct pmemstream_statistics { uint64_t committed, persisted, appended, stored_bytes, flushed_lines, fences, syncs,
        rounds, size, block_size, regions, used_bytes, free_bytes, free_extents, largest_free_bytes, created_ns;
        uint32_t epoch, alignment; unsigned char uuid[16]; ...; };
    struct pmemstream_series_config { uint64_t region_bytes, keep_bytes, keep_ns; ...; };
    #define PMEMSTREAM_READ_ONLY ...
    #define PMEMSTREAM_COMMITTED ...
    #define PMEMSTREAM_CREATE ...
    #define PMEMSTREAM_PREFAULT ...
    #define WAIT_COMMITTED ...
    #define WAIT_PERSISTED ...
    #define WAIT_NEWER ...

    struct stream; struct cursor; struct batch; struct series;
    struct stream_region { uint64_t offset, generation; ...; };
    struct stream *stream_open(const char *path, const struct pmemstream_config *config, int create);
    int stream_close(struct stream *stream, int patience_ms);
    void stream_release(struct stream *stream);
    int stream_is_closed(struct stream *stream);
    int stream_allocate(struct stream *stream, uint64_t bytes, const char *label, struct stream_region *region);
    int stream_free(struct stream *stream, const struct stream_region *region);
    int stream_find(struct stream *stream, const char *label, struct stream_region *region);
    int stream_list(struct stream *stream, struct stream_region *regions, size_t *count);
    int stream_info(struct stream *stream, const struct stream_region *region, struct pmemstream_region_info *info,
                    uint64_t *available);
    int stream_append(struct stream *stream, struct stream_region *region, const void *data, size_t bytes,
                      void *entry);
    int stream_appendv(struct stream *stream, struct stream_region *region, const struct iovec *pieces, size_t count,
                       void *entry);
    int stream_append_begin(struct stream *stream, struct stream_region *region, const void *data, size_t bytes,
                            void *entry);
    uintptr_t stream_look(struct stream *stream, uint64_t offset, uint64_t timestamp, size_t bytes);
    int stream_copy(struct stream *stream, uint64_t offset, uint64_t timestamp, size_t bytes, void *to);
    int64_t stream_committed(struct stream *stream);
    int64_t stream_persisted(struct stream *stream);
    int stream_wait(struct stream *stream, int what, uint64_t timestamp, uint64_t timeout_ns);
    int stream_cancel_waits(struct stream *stream);
    int stream_event(struct stream *stream);
    int64_t stream_entry_space(struct stream *stream, size_t bytes);
    int stream_resize(struct stream *stream, size_t bytes);
    int stream_statistics(struct stream *stream, struct pmemstream_statistics *statistics);
    struct cursor *cursor_new(struct stream *stream, const struct stream_region *region, uint64_t since, uint64_t until);
    int cursor_fill(struct cursor *cursor, void *entries, int room);
    int cursor_copy(struct cursor *cursor, void *entries, int room, void *to, size_t bytes);
    void cursor_release(struct cursor *cursor);
    struct batch *batch_new(struct stream *stream);
    int batch_add(struct batch *batch, struct stream_region *region, const void *data, size_t bytes);
    int batch_commit(struct batch *batch, void *entries, size_t *count);
    int batch_abort(struct batch *batch);
    void batch_release(struct batch *batch);
    struct series *series_new(struct stream *stream, const char *name, const struct pmemstream_series_config *config);
    int series_append(struct series *series, const void *data, size_t bytes, void *entry);
    int series_retain(struct series *series);
    int series_close(struct series *series);
    void series_release(struct series *series);
    int series_regions(struct stream *stream, const char *name, struct stream_region *regions, size_t *count);
    int persist_watch(struct stream *stream, int fd);
    int persist_unwatch(struct stream *stream, int fd);
    int persist_request(struct stream *stream, uint64_t timestamp);
    int persist_state(struct stream *stream, uint64_t *done, int *err);

    enum pmemstream_problem_kind { PMEMSTREAM_PROBLEM_HEADER_COPY, PMEMSTREAM_PROBLEM_SIZE,
        PMEMSTREAM_PROBLEM_STREAM_SLOT, PMEMSTREAM_PROBLEM_ALLOCATOR, PMEMSTREAM_PROBLEM_EXTENT,
        PMEMSTREAM_PROBLEM_REGION_HEADER, PMEMSTREAM_PROBLEM_REGION_LIMIT, PMEMSTREAM_PROBLEM_REGION_SLOT,
        PMEMSTREAM_PROBLEM_ENTRY_HEADER, PMEMSTREAM_PROBLEM_ENTRY_DATA, PMEMSTREAM_PROBLEM_MISSING,
        PMEMSTREAM_PROBLEM_ORDER, PMEMSTREAM_PROBLEM_EPOCH, PMEMSTREAM_PROBLEM_LOST, PMEMSTREAM_PROBLEM_OTHER, ... };
    enum pmemstream_severity { PMEMSTREAM_HARMLESS, PMEMSTREAM_KNOWN, PMEMSTREAM_DAMAGE, ... };
    enum pmemstream_event_kind { PMEMSTREAM_EVENT_PROBLEM, PMEMSTREAM_EVENT_PROGRESS, PMEMSTREAM_EVENT_CHANGE, ... };
    #define PMEMSTREAM_CHECK_DEEP ...
    #define PMEMSTREAM_DRY_RUN ...
    struct pmemstream_problem { enum pmemstream_problem_kind kind; enum pmemstream_severity severity; uint32_t repairable;
        uint64_t offset, bytes, region, timestamp; const char *cause, *consequence; ...; };
    struct pmemstream_event { enum pmemstream_event_kind kind; uint64_t done, total; struct pmemstream_problem problem;
        uint64_t offset, bytes; const void *before, *after; const char *text; ...; };
    struct pmemstream_field { const char *structure; uint64_t offset, bytes; const char *name, *value; ...; };
    struct pmemstream_extent { uint64_t offset, bytes, used; uint32_t is_region; ...; };
    extern "Python" int report_event(const struct pmemstream_event *event, void *arg);
    extern "Python" int report_field(const struct pmemstream_field *field, void *arg);
    int inspect_check(const char *path, uint32_t flags,
                      int (*callback)(const struct pmemstream_event *event, void *arg), void *arg);
    int inspect_repair(const char *path, uint32_t flags,
                       int (*callback)(const struct pmemstream_event *event, void *arg), void *arg);
    int inspect_describe(const char *path, uint64_t offset,
                         int (*callback)(const struct pmemstream_field *field, void *arg), void *arg);
    int inspect_extents(struct stream *stream, struct pmemstream_extent *extents, size_t *count);
"""

MODULES = {
    "_pmemstream": (STREAM, ["guard.h", "inspect.h"]),
    "_pmemlog": (PMEMLOG, ["guard.h", "logpool.h"]),
}


def ffi_of(module, **how):
    """The cffi description of a module; how: what the C compiler is told, for setuptools."""
    declarations, headers = MODULES[module]
    ffi = cffi.FFI()
    ffi.cdef(declarations)
    ffi.set_source(f"nvm.{module}", "#include <sys/eventfd.h>\n#include <sys/uio.h>\n" + "".join(f'#include "{name}"\n' for name in headers), **how)
    return ffi


if __name__ == "__main__":
    ffi_of(sys.argv[1]).emit_c_code(sys.argv[2])
