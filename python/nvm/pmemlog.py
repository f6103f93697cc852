"""Append-only logs of bytes in pool files of PMDK's libpmemlog.

    >>> from nvm import pmemlog
    >>> with pmemlog.create(path) as pool:
    ...     pool.append(b"first,")
    ...     pool.append(b"second")
    ...     pool.walk(print)
    0
    0
    b'first,second'

The names, arguments and results are those of pynvm's module of this name, so that scripts written for it run. What was
wrong with it is not here: bytes of value zero survive a walk, sizes beyond 2 GiB are right, a pool that was closed
raises ValueError, and so on. New programs should look at nvm.pmemstream, which has records and checksums.

Durability: an append or rewind that returned 0 survives a power cut, all or nothing.
Threads: any number may use a pool at once; Python's lock is released while the library waits for the medium.
Processes: a pool is locked while it is open. Children of fork share it.
"""

import errno
import operator
import threading
import weakref
from typing import Any, Callable, Iterable, Iterator, Optional

from nvm._common import PATIENCE_MS, Buffer, ClosedByWith, Path, close_at_exit, file_name, pieces, show_name
from nvm._pmemlog import ffi, lib
from nvm._view import Pin

__all__ = ["PMEMLOG_MIN_POOL", "PMEMLOG_MAJOR_VERSION", "PMEMLOG_MINOR_VERSION", "InvalidPoolError", "LogPool",
           "NoMemoryError", "check", "check_version", "create", "errormsg", "get_errno", "open"]

PMEMLOG_MIN_POOL: int = lib.PMEMLOG_MIN_POOL
"""Bytes of the smallest pool: 2 MiB."""
PMEMLOG_MAJOR_VERSION: int = lib.PMEMLOG_MAJOR_VERSION
PMEMLOG_MINOR_VERSION: int = lib.PMEMLOG_MINOR_VERSION

_PIECE = 1 << 16 # bytes that iter() shows at once


class InvalidPoolError(OSError, ValueError):
    """EINVAL: no valid pool, or an argument that fits none. Both an OSError, with errno and filename, and a ValueError."""


class NoMemoryError(OSError, MemoryError):
    """ENOMEM, as an OSError with errno and filename and as a MemoryError."""


def get_errno() -> int:
    """errno of the calling thread's last call in this module that failed; 0 before any did."""
    return max(int(lib.failure_errno()), 0)


def errormsg() -> str:
    """What the calling thread's last call in this module that failed has to say; "" before any did."""
    text: bytes = ffi.string(lib.failure_text())
    return text.decode("utf-8", "surrogateescape")


def _opening_error(filename: Path) -> OSError:
    kinds = {errno.EINVAL: InvalidPoolError, errno.ENOMEM: NoMemoryError}
    return kinds.get(get_errno(), OSError)(get_errno(), errormsg(), filename)


def create(filename: Path, pool_size: int = PMEMLOG_MIN_POOL, mode: int = 0o666, *, strict: bool = False) -> "LogPool":
    """Creates a pool and opens it, empty and durably so.

    filename   str, bytes or path object; must not exist. With pool_size 0: an existing file whose first 4096 bytes are
               zero, or a pool set file.
    pool_size  bytes of the file, at least PMEMLOG_MIN_POOL; what is no multiple of 4096 is not used.
    mode       permissions of the file, taken literally: the umask does not apply.
    strict     a failing append raises OSError instead of returning -1.

    Raises InvalidPoolError (EINVAL, also a ValueError), FileExistsError, FileNotFoundError, BlockingIOError (locked),
    PermissionError, NoMemoryError (also a MemoryError), OSError (ENOSPC and others); no file is left then.
    """
    return LogPool(_Pool.opened(lib.logpool_create(file_name(filename), pool_size, mode), filename), strict=strict)


def open(filename: Path, *, strict: bool = False) -> "LogPool":
    """Opens an existing pool by its file or pool set file, and locks it until it is closed.

    Raises InvalidPoolError (no valid pool), FileNotFoundError, BlockingIOError (open already, here or elsewhere),
    PermissionError, NoMemoryError, OSError.
    """
    return LogPool(_Pool.opened(lib.logpool_open(file_name(filename)), filename), strict=strict)


def check(filename: Path) -> bool:
    """True if open would accept the pool. False if not, or if it cannot be read: errormsg() says why. Changes nothing."""
    return int(lib.logpool_check(file_name(filename))) == 1


def check_version(major_required: int, minor_required: int) -> bool:
    """True if the library can serve a program written for this version of its interface; else raises RuntimeError."""
    text = lib.logpool_check_version(major_required, minor_required)
    if text != ffi.NULL:
        raise RuntimeError(ffi.string(text).decode())
    return True


class _Pool:
    """An open pool. Several LogPools may stand for one."""

    by_address: "weakref.WeakValueDictionary[int, _Pool]" = weakref.WeakValueDictionary()

    def __init__(self, handle: Any, filename: Path) -> None:
        self.handle = handle
        self.filename = filename
        self.address = int(ffi.cast("uintptr_t", lib.logpool_handle(handle)))
        self.pin = Pin(handle)
        self.by_address[self.address] = self
        close_at_exit(self)

    @classmethod
    def opened(cls, handle: Any, filename: Path) -> "_Pool":
        if handle == ffi.NULL:
            raise _opening_error(filename)
        return cls(ffi.gc(handle, lib.logpool_release), filename)

    def fail(self) -> Exception:
        """The exception for what a call on the pool just failed with."""
        kind = lib.failure_errno()
        if kind == lib.FAILURE_CLOSED:
            return ValueError("the pool is closed")
        if kind == lib.FAILURE_INSIDE:
            return RuntimeError(errormsg())
        return OSError(kind, errormsg(), self.filename)

    def close(self) -> None:
        if not self.pin.shut():
            if lib.logpool_handle(self.handle) == ffi.NULL:
                return # closed already, or another thread does it
            raise BufferError("a memoryview of the log still exists; release it before the pool is closed")
        if lib.logpool_close(self.handle, lib.PATIENCE_ENDLESS):
            self.pin.reopen()
            raise self.fail()
        if self.by_address.get(self.address) is self:
            del self.by_address[self.address]

    def _end(self) -> None:
        """At the end of the interpreter: whoever still looks at the bytes keeps the pool open until the process ends."""
        if self.pin.shut():
            lib.logpool_close(self.handle, PATIENCE_MS)


_walks = threading.local() # .error: what the callback of this thread's innermost walk raised


def _keep_error(kind: Any, error: Any, traceback: Any) -> int:
    _walks.error = error.with_traceback(traceback)
    return 0


@ffi.def_extern(error=0, onerror=_keep_error) # type: ignore[misc]
def logpool_chunk(data: Any, size: int, argument: Any) -> int:
    result = ffi.from_handle(argument)(bytes(ffi.buffer(data, size)))
    return 1 if result is None or result else 0


def _no_append(pool: _Pool, strict: bool) -> int:
    """What an append that failed comes to: -1, or an exception."""
    if strict or lib.failure_errno() < 0:
        raise pool.fail()
    return -1


class LogPool(ClosedByWith):
    """A log pool opened or created by open() or create(). A context manager, which closes it.

    len() is the usable space, as with nbyte(). iter() shows the log's bytes in pieces. A pool that nobody refers to any
    more is closed; memoryviews of it count as references.

    log_pool  the C handle of a pool that is open (the log_pool attribute of another LogPool), which both then stand for.
              ValueError if it is none.
    """

    def __init__(self, log_pool: Any, *, strict: bool = False) -> None:
        if isinstance(log_pool, _Pool):
            pool: Optional[_Pool] = log_pool
        elif isinstance(log_pool, ffi.CData) and ffi.typeof(log_pool).kind == "pointer":
            pool = _Pool.by_address.get(int(ffi.cast("uintptr_t", log_pool)))
        else:
            raise TypeError("LogPool needs the C handle of an open pool; open() and create() make one")
        if pool is None:
            raise ValueError("no open pool has this C handle")
        self._pool = pool
        self.strict = strict

    @property
    def log_pool(self) -> Any:
        """The C handle, a PMEMlogpool *. ValueError when the pool is closed."""
        handle = lib.logpool_handle(self._pool.handle)
        if handle == ffi.NULL:
            raise self._pool.fail()
        return handle

    @property
    def closed(self) -> bool:
        """Whether it was closed."""
        return bool(lib.logpool_handle(self._pool.handle) == ffi.NULL)

    def append(self, buf: Buffer) -> int:
        """Appends the bytes of a buffer, all or nothing, without a copy: bytes, bytearray, memoryview, array.array and
        whatever else has a buffer in one piece; a str is encoded as UTF-8.

        Returns 0, and the bytes are durable. On failure returns -1, the log is as it was, get_errno() and errormsg() say
        why; if the pool is strict, raises OSError instead: ENOSPC (more than is free), EROFS, EIO (a write-back failed:
        then the bytes may or may not be there after the next opening).

        Raises ValueError if the pool is closed, RuntimeError from inside a walk of the same pool.
        """
        data = ffi.from_buffer(buf.encode() if isinstance(buf, str) else buf)
        if lib.logpool_append(self._pool.handle, data, len(data)):
            return _no_append(self._pool, self.strict)
        return 0

    def appendv(self, bufs: Iterable[Buffer]) -> int:
        """Appends several buffers, one behind the other, as one append."""
        vectors, buffers = pieces(ffi, bufs)
        if lib.logpool_appendv(self._pool.handle, vectors, len(buffers)):
            return _no_append(self._pool, self.strict)
        return 0

    def _number(self, value: int) -> int:
        if value < 0:
            raise self._pool.fail()
        return value

    def tell(self) -> int:
        """The number of bytes in the log, which is where the next append goes."""
        return self._number(lib.logpool_tell(self._pool.handle))

    def nbyte(self) -> int:
        """How many bytes the log can hold."""
        return self._number(lib.logpool_nbyte(self._pool.handle))

    def __len__(self) -> int:
        return self.nbyte()

    def rewind(self) -> None:
        """Empties the log, durably.

        Raises OSError (EROFS, EIO), and the log is as it was; BufferError while a memoryview of it exists; RuntimeError
        from inside a walk; ValueError if the pool is closed.
        """
        if not self._pool.pin.shut():
            self.tell() # a pool that is closed says so
            raise BufferError("a memoryview of the log still exists; release it before the log is rewound")
        try:
            failed = lib.logpool_rewind(self._pool.handle)
        finally:
            self._pool.pin.reopen() # also when Ctrl-C comes
        if failed:
            raise self._pool.fail()

    def walk(self, func: Callable[[bytes], Optional[int]], chunk_size: int = 0) -> None:
        """Calls func with the log's bytes as they were when the walk began.

        func        gets a bytes object; 0 ends the walk, 1 or None goes on. What it raises ends the walk and is raised.
        chunk_size  bytes of each chunk but the last, which has what is left. 0: one call with all of it, also when it
                    is empty.

        Appends of other threads go on meanwhile; an append, rewind or close from inside func raises RuntimeError.
        """
        if not callable(func):
            raise TypeError("walk needs a function")
        _walks.error = None
        callback = ffi.new_handle(func)
        failed = lib.logpool_walk(self._pool.handle, operator.index(chunk_size), lib.logpool_chunk, callback)
        error, _walks.error = _walks.error, None
        if error is not None:
            try:
                raise error
            finally:
                del error # or the traceback would keep this frame, and itself
        if failed:
            raise self._pool.fail()

    def chunks(self, chunk_size: int = 0) -> Iterator[bytes]:
        """Iterates over the log's bytes, as they were at the first step, in pieces of chunk_size, the last with what is
        left; 0: in one piece. Unlike in a walk, the pool can be appended to meanwhile, and closed (ValueError at the
        next step); a rewind raises RuntimeError at the next step."""
        step = operator.index(chunk_size)
        if step < 0:
            raise ValueError("a chunk has no negative size")
        return self._read(step)

    def _read(self, step: int) -> Iterator[bytes]:
        data, rewinds = ffi.new("const void **"), ffi.new("uint64_t *")
        size = self._number(lib.logpool_look(self._pool.handle, data, rewinds))
        offset = 0
        while offset < size:
            piece = bytearray(min(step or size, size - offset))
            got = lib.logpool_read(self._pool.handle, offset, ffi.from_buffer(piece), len(piece), rewinds[0])
            if got < 0 and lib.failure_errno() == errno.ESTALE:
                raise RuntimeError("the log was rewound while it was iterated over")
            self._number(got)
            yield bytes(piece)
            offset += len(piece)

    def __iter__(self) -> Iterator[bytes]:
        return self.chunks(_PIECE)

    def view(self) -> memoryview:
        """The log's bytes as they are now, without a copy: a read-only memoryview. While it, or a slice of it, exists,
        close and rewind raise BufferError: view.release(), or `with pool.view() as view:`. BufferError while another thread
        rewinds or closes."""
        data, rewinds = ffi.new("const void **"), ffi.new("uint64_t *")
        size = self._number(lib.logpool_look(self._pool.handle, data, rewinds))
        try:
            return self._pool.pin.view(int(ffi.cast("uintptr_t", data[0])), size)
        except ValueError:
            self.tell() # a pool that is closed says so
            raise BufferError("another thread is rewinding or closing the log") from None

    def close(self) -> None:
        """Closes the pool and unlocks its file; waits for the calls of other threads. Again, it does nothing. Any other
        use after it raises ValueError.

        Raises BufferError while a memoryview of the log exists, RuntimeError from inside a walk of the same thread.
        """
        self._pool.close()

    def __enter__(self) -> "LogPool":
        self.tell() # a pool that is closed says so
        return self

    def __repr__(self) -> str:
        name = show_name(self._pool.filename)
        try:
            return f"<nvm.pmemlog.LogPool {name!r}: {self.tell()} of {self.nbyte()} bytes>"
        except ValueError:
            return f"<nvm.pmemlog.LogPool {name!r}: closed>"
