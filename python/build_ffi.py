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

MODULES = {
    "_pmemlog": (PMEMLOG, ["guard.h", "logpool.h"]),
}


def ffi_of(module, **how):
    """The cffi description of a module; how: what the C compiler is told, for setuptools."""
    declarations, headers = MODULES[module]
    ffi = cffi.FFI()
    ffi.cdef(declarations)
    ffi.set_source(f"nvm.{module}", "#include <sys/uio.h>\n" + "".join(f'#include "{name}"\n' for name in headers), **how)
    return ffi


if __name__ == "__main__":
    ffi_of(sys.argv[1]).emit_c_code(sys.argv[2])
