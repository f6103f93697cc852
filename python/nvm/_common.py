"""What the modules of this package share: file names, buffers, and an orderly end of the interpreter."""

import atexit
import os
import weakref
from types import TracebackType
from typing import Any, List, Optional, Protocol, Tuple, Type, Union

Path = Union[str, bytes, "os.PathLike[str]", "os.PathLike[bytes]"]
# bytes, bytearray, memoryview, array.array, mmap, ...: whatever lies in one piece of memory.
Buffer = Any


class Closes(Protocol):
    def _end(self) -> None: ...


class ClosedByWith:
    """The end of a `with` block for what memoryviews may keep open."""

    def close(self) -> None:
        raise NotImplementedError

    def __exit__(self, kind: Optional[Type[BaseException]], error: Optional[BaseException],
                 traceback: Optional[TracebackType]) -> None:
        try:
            self.close()
        except BufferError:
            if error is None:
                raise
            # The exception may itself hold the view, by its traceback; the handle is closed when that is gone.


def file_name(path: Path) -> bytes:
    """The name as the C library wants it. Raises TypeError, and ValueError for a name with a NUL in it."""
    name = os.fsencode(path)
    if b"\0" in name:
        raise ValueError("embedded null byte in a file name")
    return name


def show_name(path: Path) -> str:
    """The name for people."""
    return os.fsdecode(path)


def pieces(ffi: Any, data: Any) -> Tuple[Any, List[Any]]:
    """An array of struct iovec for a sequence of buffers, and what keeps their memory in place."""
    buffers = [ffi.from_buffer(piece) for piece in data]
    vectors = ffi.new("struct iovec[]", len(buffers))
    for vector, buffer in zip(vectors, buffers):
        vector.iov_base = buffer
        vector.iov_len = len(buffer)
    return vectors, buffers


# Daemon threads may stay inside a call for ever; the interpreter does not wait for them, so neither do we for long.
PATIENCE_MS = 1000

_open: "weakref.WeakSet[Any]" = weakref.WeakSet()


def close_at_exit(handle: Closes) -> None:
    """Closes a handle when the interpreter ends, unless nobody has it any more by then."""
    _open.add(handle)


def _close_all() -> None:
    for handle in list(_open):
        handle._end()


atexit.register(_close_all)

