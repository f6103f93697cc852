"""Entries, and iteration over them."""

import errno
import threading
import time
from typing import TYPE_CHECKING, Any, Iterator, List, Optional

from nvm._pmemstream import ffi, lib
from nvm.pmemstream._errors import error_of, failure

if TYPE_CHECKING:
    from nvm.pmemstream._stream import Region, Stream

FOREVER = (1 << 64) - 1
NOWHERE = (1 << 64) - 1
_PORTION = 64 # entries that an iterator fetches at once
_VALUES_BYTES = 1 << 16 # of entries that are copied at once
_AGES = 1e9 # seconds, as long as for ever
_TURN_SECONDS = 0.1 # after which the main thread looks for Ctrl-C


def wait(stream: "Stream", what: int, timestamp: int, timeout: Optional[float]) -> None:
    """Waits in the library, without Python's lock. The main thread waits in turns, so that signals are handled."""
    deadline = None if timeout is None else time.monotonic() + max(timeout, 0)
    in_turns = threading.current_thread() is threading.main_thread()
    cancels = stream._cancels
    while True:
        left = None if deadline is None else max(deadline - time.monotonic(), 0)
        last_turn = left is not None and (not in_turns or left <= _TURN_SECONDS)
        seconds = left if last_turn else _TURN_SECONDS if in_turns else None
        limit = FOREVER if seconds is None else int(min(seconds, _AGES) * 1e9)
        if not lib.stream_wait(stream._handle, what, timestamp, limit):
            return
        if lib.failure_errno() != errno.ETIMEDOUT or last_turn:
            raise failure(stream.path)
        if stream._cancels != cancels: # between two turns
            raise error_of(errno.ECANCELED, "the wait was cancelled", stream.path)


_new_entry = ffi.new_allocator(should_clear_after_alloc=False)
_ENTRY, _BYTES = ffi.typeof("uint64_t[4]"), ffi.typeof("char[]")


def new_entry() -> Any:
    """Room for what C tells of an entry."""
    return _new_entry(_ENTRY)


def _new_bytes(size: int) -> Any:
    return _new_entry(_BYTES, size)


class Entry:
    """One record of a stream: what was appended, when in the stream's order, and where.

    timestamp  its number in the whole stream, from 1
    size       bytes
    offset     its place in the file, the same as long as its region exists

    An entry holds no memory of the stream. Its bytes are fetched by data (without a copy) or bytes(entry); both raise
    StaleError when its region was freed meanwhile, and ValueError when the stream is closed.
    """

    __slots__ = ("_stream", "offset", "timestamp", "size", "_region_offset")

    def __init__(self, stream: "Stream", offset: int, timestamp: int, size: int, region_offset: int) -> None:
        self._stream = stream
        self.offset = offset
        self.timestamp = timestamp
        self.size = size
        self._region_offset = region_offset

    @property
    def region(self) -> "Region":
        """The region it lies in. StaleError if that was freed."""
        region = self._stream._region_at(self._place_of_region())
        self._look() # or it is another region, at the same place
        return region

    def _place_of_region(self) -> int:
        if self._region_offset == NOWHERE:
            around = self._stream._offset_of_region_around(self.offset)
            self._look() # it is there, so its region is the one that was found
            self._region_offset = around
        return self._region_offset

    def _look(self) -> int:
        """The address of its bytes."""
        address = int(lib.stream_look(self._stream._handle, self.offset, self.timestamp, self.size))
        if not address:
            raise failure(self._stream.path)
        return address

    @property
    def data(self) -> memoryview:
        """Its bytes in place: a read-only memoryview. While it or a slice of it exists, closing the stream and freeing the
        region raise BufferError. What frees regions elsewhere (a series' retention, another process) lets the bytes change."""
        pin = self._stream._pin_of(self._place_of_region()) # before the look: whoever frees the region shuts this one
        return pin.view(self._look(), self.size)

    def __bytes__(self) -> bytes:
        to = _new_bytes(self.size)
        if lib.stream_copy(self._stream._handle, self.offset, self.timestamp, self.size, to):
            raise failure(self._stream.path)
        return bytes(ffi.buffer(to, self.size))

    def __len__(self) -> int:
        return self.size

    def __bool__(self) -> bool:
        return True

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Entry):
            return NotImplemented
        return self._stream is other._stream and (self.offset, self.timestamp) == (other.offset, other.timestamp)

    def __hash__(self) -> int:
        return hash((self.offset, self.timestamp))

    def __repr__(self) -> str:
        return f"<nvm.pmemstream.Entry {self.timestamp}: {self.size} bytes at {self.offset}>"


class Entries(Iterator[Entry]):
    """Iterates over committed entries, in the order of their timestamps.

    Behind the last one it ends, and goes on when it is asked again after more was committed. At damage it raises
    DamagedError, and goes on behind that at the next step. After the region was freed it raises StaleError, after the stream
    was closed ValueError.
    """

    def __init__(self, stream: "Stream", region: Any, since: int, until: Optional[int]) -> None:
        # What is 0 begins with the first.
        handle = lib.cursor_new(stream._handle, region, since, FOREVER if until is None else until)
        if handle == ffi.NULL:
            raise failure(stream.path)
        self._stream = stream
        self._cursor = ffi.gc(handle, lib.cursor_release)
        self._portion = ffi.new("uint64_t[]", 4 * _PORTION)
        self._ready: List[Entry] = [] # the last one is next
        self._turn = threading.RLock() # of the portion, and of replacing what is ready

    def _fetch(self) -> Entry:
        """The next entry, when none is ready."""
        stream = self._stream
        if stream.closed: # and in a child of fork, where nobody may be there to leave his turn
            raise failure(stream.path)
        with self._turn:
            if self._ready and not stream._ended:
                return next(self) # another thread has fetched meanwhile
            count = lib.cursor_fill(self._cursor, self._portion, _PORTION)
            if count < 0:
                raise failure(stream.path)
            if not count:
                raise StopIteration
            numbers = iter(ffi.unpack(self._portion, 4 * count))
            ready = [Entry(stream, *raw) for raw in zip(numbers, numbers, numbers, numbers)]
            ready.reverse()
            entry = ready.pop()
            self._ready = ready
            return entry

    def __iter__(self) -> "Entries":
        return self

    def __next__(self) -> Entry:
        if not self._ready or self._stream._ended:
            return self._fetch()
        try:
            return self._ready.pop()
        except IndexError:
            return self._fetch() # another thread was faster

    def values(self) -> Iterator[bytes]:
        """Iterates over the entries' bytes from here on, copied in large portions: several times as fast as bytes(entry) of
        each. What the iterator has fetched comes first."""
        while self._ready:
            entry = next(self, None)
            if entry is not None: # or another thread was faster
                yield bytes(entry)
        room = _VALUES_BYTES
        to, portion = _new_bytes(room), ffi.new("uint64_t[]", 4 * _PORTION)
        while True:
            count = lib.cursor_copy(self._cursor, portion, _PORTION, to, room)
            if count < 0:
                raise failure(self._stream.path)
            sizes = ffi.unpack(portion, 4 * min(count, _PORTION))[2::4] if count else ()
            if count > _PORTION: # not even one fits
                room = sizes[0]
                to = _new_bytes(room)
                continue
            if not count:
                return
            copied, begin = bytes(ffi.buffer(to, sum(sizes))), 0
            for size in sizes:
                if self._stream._ended:
                    break # and the next portion says so
                yield copied[begin:begin + size]
                begin += size


class Follow(Iterator[Entry]):
    """Iterates over entries for ever: behind the last one it waits for more, in this process or, in a stream that was opened
    read-only, in the one that writes. `for` waits with the thread, `async for` with the event loop.

    It ends after `timeout` seconds without an entry, after stream.cancel_waits(), and when the stream is closed; in a
    read-only stream also when the writing process has gone, if writer_only is set, else it waits for the next one.
    """

    def __init__(self, stream: "Stream", region: Any, since: int, timeout: Optional[float], writer_only: bool) -> None:
        self._entries = Entries(stream, region, since, None)
        self._stream = stream
        self._timeout = timeout
        self._writer_only = writer_only
        self._committed = 0 # what was committed when the last entry had been shown

    def __iter__(self) -> "Follow":
        return self

    def _next_if_any(self) -> Optional[Entry]:
        # Asked before: what is committed later wakes the wait.
        committed = self._stream.committed if not self._entries._ready else self._committed
        entry = next(self._entries, None)
        self._committed = committed
        return entry

    def __next__(self) -> Entry:
        deadline = None if self._timeout is None else time.monotonic() + self._timeout
        while True:
            try:
                entry = self._next_if_any()
                if entry is not None:
                    return entry
                wait(self._stream, lib.WAIT_NEWER, self._committed,
                     None if deadline is None else deadline - time.monotonic())
            except OSError as error:
                if error.errno in (errno.ECANCELED, errno.ETIMEDOUT):
                    break
                if error.errno != errno.EOWNERDEAD:
                    raise
                if self._writer_only:
                    entry = self._next_if_any() # what it left
                    if entry is not None:
                        return entry
                    break
            except ValueError:
                if not self._stream.closed:
                    raise
                break
        raise StopIteration

    def __aiter__(self) -> "Follow":
        return self

    async def __anext__(self) -> Entry:
        from nvm.pmemstream._async import next_of

        entry = await next_of(self)
        if entry is None:
            raise StopAsyncIteration
        return entry
