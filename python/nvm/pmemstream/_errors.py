"""Exceptions of nvm.pmemstream: one class for each cause, all of them OSErrors with errno, a message and the file's name."""

import errno
from typing import Any, Dict, Optional, Type

from nvm._pmemstream import ffi, lib


class StreamError(OSError):
    """What a stream's calls raise: errno, strerror with the place and the cause, filename."""


class InvalidError(StreamError, ValueError):
    """EINVAL: no stream, or an argument that is out of range. Also a ValueError."""


class MissingError(StreamError, FileNotFoundError):
    """ENOENT: no such file, or no region with this label. Also a FileNotFoundError."""


class ExistsError(StreamError, FileExistsError):
    """EEXIST: the file, or the label, is there already. Also a FileExistsError."""


class LockedError(StreamError, BlockingIOError):
    """EWOULDBLOCK: the stream is open for writing elsewhere; the message tells the process. Also a BlockingIOError."""


class AccessError(StreamError, PermissionError):
    """EACCES, EPERM: the file's permissions forbid it. Also a PermissionError."""


class FullError(StreamError):
    """ENOSPC: the region, the stream or the disk has no room."""


class DamagedError(StreamError):
    """EBADMSG: the stream is damaged at the place that the message tells. Iterators go on behind it at the next step."""


class StaleError(StreamError):
    """ESTALE: the region was freed, and its entries with it."""


class BusyError(StreamError):
    """EBUSY: somebody appends to the region, or has reserved its tail."""


class DeadlockError(StreamError):
    """EDEADLK: this thread holds a reservation and would have to wait for another thread's."""


class ReadOnlyError(StreamError):
    """EROFS: the stream was opened for reading only."""


class FailedError(StreamError):
    """EIO: a sync failed, now or earlier. The stream can only be read until it is opened again."""


class UnsupportedError(StreamError):
    """ENOTSUP: a stream of another layout or a later version."""


class BatchTooLargeError(StreamError):
    """E2BIG: more than half a window of entries in one batch."""


class CancelledError(StreamError):
    """ECANCELED: the wait was cancelled, or the stream closed by another thread. (Not asyncio's class of this name.)"""


class WriterGoneError(StreamError):
    """EOWNERDEAD: no process has the stream open for writing any more."""


class WaitTimeoutError(StreamError, TimeoutError):
    """ETIMEDOUT: it did not happen in time. Also a TimeoutError."""


class NoMemoryError(StreamError, MemoryError):
    """ENOMEM. Also a MemoryError."""


_KINDS: Dict[int, Type[StreamError]] = {
    errno.EINVAL: InvalidError, errno.ENOENT: MissingError, errno.EEXIST: ExistsError, errno.EWOULDBLOCK: LockedError,
    errno.EACCES: AccessError, errno.EPERM: AccessError, errno.ENOSPC: FullError, errno.EBADMSG: DamagedError,
    errno.ESTALE: StaleError, errno.EBUSY: BusyError, errno.EDEADLK: DeadlockError, errno.EROFS: ReadOnlyError,
    errno.EIO: FailedError, errno.ENOTSUP: UnsupportedError, errno.E2BIG: BatchTooLargeError,
    errno.ECANCELED: CancelledError, errno.EOWNERDEAD: WriterGoneError, errno.ETIMEDOUT: WaitTimeoutError,
    errno.ENOMEM: NoMemoryError,
}


def text_of_failure() -> str:
    """The message of the calling thread's last failure."""
    text: bytes = ffi.string(lib.failure_text())
    return text.decode("utf-8", "surrogateescape")


def error_of(number: int, text: str, filename: Any) -> StreamError:
    return _KINDS.get(number, StreamError)(number, text, filename)


def failure(filename: Any, what: str = "the stream") -> Exception:
    """The exception for what the calling thread's last call failed with."""
    number = lib.failure_errno()
    if number == lib.FAILURE_CLOSED:
        return ValueError(f"{what} is closed")
    if number < 0:
        return ValueError(f"{what}: {text_of_failure()}")
    return error_of(number, text_of_failure(), filename)


def last_errno() -> Optional[int]:
    return int(lib.failure_errno())
