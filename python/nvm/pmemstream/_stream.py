"""Streams, their regions, batches and series."""

import asyncio
import errno
import os
import threading
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Dict, Iterable, Iterator, List, Mapping, Optional, Type
from uuid import UUID

from nvm._common import PATIENCE_MS, Buffer, ClosedByWith, Path, close_at_exit, file_name, pieces, show_name
from nvm._pmemstream import ffi, lib
from nvm._view import Pin
from nvm.pmemstream._async import Hub, append, running_loop
from nvm.pmemstream._entry import NOWHERE, Entries, Entry, Follow, new_entry, wait
from nvm.pmemstream._errors import MissingError, StaleError, error_of, failure
from nvm.pmemstream._inspect import Extent

DEFAULT_WINDOW = 1024


@dataclass(frozen=True)
class Statistics:
    """How a stream does, since this process opened it where nothing else is said."""

    committed: int
    """Timestamp: iterators show all entries up to it."""
    persisted: int
    """Timestamp: all entries up to it are durable."""
    appended: int
    """Entries."""
    stored_bytes: int
    flushed_lines: int
    fences: int
    syncs: int
    """appended / syncs is how many entries shared a sync."""
    rounds: int
    """Checkpoints."""
    size: int
    """Bytes of the stream."""
    block_size: int
    regions: int
    used_bytes: int
    """What the entries of all regions take, with their headers."""
    free_bytes: int
    """In no region."""
    free_extents: int
    largest_free_bytes: int
    """The largest region that can be allocated."""
    created_ns: int
    """Nanoseconds since 1970 UTC."""
    epoch: int
    alignment: int
    uuid: UUID


@dataclass(frozen=True)
class RegionInfo:
    """What is known of a region."""

    label: str
    """"" for none."""
    offset: int
    generation: int
    """Rises in order of allocation, never used again."""
    size: int
    """Bytes for entries, used and free."""
    used: int
    """Bytes that its entries take, with their headers."""
    free: int
    allocated_ns: int
    """Nanoseconds since 1970 UTC."""
    checkpoint_ns: int
    """The same, of the last checkpoint that found new entries here, or of the allocation."""
    checkpoint_timestamp: int
    """All entries up to it lie in front of that checkpoint."""


def _label_bytes(label: str) -> bytes:
    encoded = os.fsencode(label)
    if b"\0" in encoded:
        raise ValueError("embedded null byte in a label")
    return encoded


class Region:
    """A part of a stream that entries are appended to; iterable. Made by stream.regions and stream.allocate.

    offset      its place in the file
    generation  tells it from any other region at this place
    """

    def __init__(self, stream: "Stream", offset: int, generation: int) -> None:
        self._stream = stream
        self._raw = ffi.new("struct stream_region *", {"offset": offset, "generation": generation})
        self.offset = offset
        self.generation = generation

    def _label_if_there(self) -> str:
        try:
            return self.label
        except StaleError:
            return ""

    def info(self) -> RegionInfo:
        """All that is known of it. Raises StaleError if it was freed."""
        raw, free = ffi.new("struct pmemstream_region_info *"), ffi.new("uint64_t *")
        if lib.stream_info(self._stream._handle, self._raw, raw, free):
            raise failure(self._stream.path)
        return RegionInfo(os.fsdecode(ffi.string(raw.label)), self.offset, raw.generation, raw.size, raw.used, free[0],
                          raw.allocated_ns, raw.checkpoint_ns, raw.checkpoint_timestamp)

    @property
    def label(self) -> str:
        """Its label, "" for none."""
        return self.info().label

    @property
    def size(self) -> int:
        """Bytes for entries, used and free; at least what it was allocated with."""
        return self.info().size

    @property
    def free_bytes(self) -> int:
        """Bytes that are free: an entry fits if stream.entry_space of its size does."""
        return self.info().free

    def append(self, data: Buffer) -> Entry:
        """Appends an entry of the bytes of a buffer (bytes, bytearray, memoryview, array.array, ...), also of none.

        On return the entry is visible and durable, and so is every entry of the stream with a smaller timestamp. Threads
        that append at the same time share a sync.

        Raises FullError, StaleError, BusyError, ReadOnlyError: nothing was changed; FailedError, CancelledError: the entry may
        be there after the next opening; ValueError if the stream is closed; TypeError for what has no buffer.
        """
        buffer, raw = ffi.from_buffer(data), new_entry()
        if lib.stream_append(self._stream._handle, self._raw, buffer, len(buffer), raw):
            raise failure(self._stream.path)
        return Entry(self._stream, *ffi.unpack(raw, 4))

    def appendv(self, buffers: Iterable[Buffer]) -> Entry:
        """Appends one entry that is gathered from several buffers."""
        vectors, kept = pieces(ffi, buffers)
        raw = new_entry()
        if lib.stream_appendv(self._stream._handle, self._raw, vectors, len(kept), raw):
            raise failure(self._stream.path)
        return Entry(self._stream, *ffi.unpack(raw, 4))

    async def append_async(self, data: Buffer) -> Entry:
        """append for asyncio: `entry = await region.append_async(data)`.

        The bytes are copied when the coroutine first runs; the entry is durable when it is done. Appends that are on their
        way together share one sync, which a thread of the stream's own waits for, so that the loop goes on meanwhile. Up to half a window
        (512) are on their way, more wait for room. Cancelling gives up the wait, not the entry.
        """
        return await append(self._stream, self._raw, data)

    def entries(self, since: int = 0, until: Optional[int] = None) -> Entries:
        """Iterates over committed entries with since <= timestamp < until, in order."""
        return Entries(self._stream, self._raw, since, until)

    def __iter__(self) -> Entries:
        return self.entries()

    def follow(self, since: int = 0, *, timeout: Optional[float] = None, writer_only: bool = False) -> Follow:
        """Iterates over entries from since on, and waits for more: see Follow."""
        return Follow(self._stream, self._raw, since, timeout, writer_only)

    def free(self) -> None:
        """Frees the region with all its entries, durably: the only way to remove entries.

        Raises BufferError while a memoryview of one of its entries exists, StaleError if it was freed, BusyError, ReadOnlyError,
        FailedError.
        """
        self._stream._free(self)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Region):
            return NotImplemented
        return self._stream is other._stream and self.generation == other.generation

    def __hash__(self) -> int:
        return hash(self.generation)

    def __repr__(self) -> str:
        return f"<nvm.pmemstream.Region at {self.offset}, generation {self.generation}>"


class Regions(Mapping[str, Region]):
    """A stream's regions by label, in order of allocation. Those without a label are in all() alone."""

    def __init__(self, stream: "Stream") -> None:
        self._stream = stream

    def __getitem__(self, label: str) -> Region:
        if not isinstance(label, str) or not label:
            raise KeyError(label)
        raw = ffi.new("struct stream_region *")
        if lib.stream_find(self._stream._handle, _label_bytes(label), raw):
            error = failure(self._stream.path)
            if isinstance(error, MissingError) or len(_label_bytes(label)) > 63:
                raise KeyError(label) from None
            raise error
        return Region(self._stream, raw.offset, raw.generation)

    def __iter__(self) -> Iterator[str]:
        return iter([label for label in (region._label_if_there() for region in self.all()) if label])

    def __len__(self) -> int:
        return len(list(iter(self)))

    def create(self, label: str, size: int) -> Region:
        """Allocates a region for entries of together at least size bytes, headers and padding included (entry_space of the
        stream tells). Durable on return.

        label  up to 63 bytes, unique in the stream.

        Raises ExistsError, FullError, InvalidError, ReadOnlyError, FailedError.
        """
        if not label:
            raise ValueError("a label is not empty")
        return self._stream.allocate(size, label)

    def get_or_create(self, label: str, size: int) -> Region:
        """The region with this label, or a new one of at least size bytes."""
        while True:
            try:
                return self[label]
            except KeyError:
                pass
            try:
                return self.create(label, size)
            except FileExistsError:
                pass # another thread was faster

    def __delitem__(self, label: str) -> None:
        self[label].free()

    def all(self) -> List[Region]:
        """Every region, with or without a label, in order of allocation."""
        return self._stream._regions(lambda raw, count: lib.stream_list(self._stream._handle, raw, count))

    def __repr__(self) -> str:
        return f"<nvm.pmemstream.Regions {list(self)}>"


class Batch:
    """Entries, in any regions, that become visible and durable all or none, with consecutive timestamps.

    with stream.batch() as batch:
        batch.append(accounts, b"-5")
        batch.append(orders, b"5")
    print(batch.entries)

    The end of the block commits it; an exception inside aborts it, and it has left no trace. One thread at a time.
    """

    def __init__(self, stream: "Stream") -> None:
        handle = lib.batch_new(stream._handle)
        if handle == ffi.NULL:
            raise failure(stream.path)
        self._stream = stream
        self._batch = ffi.gc(handle, lib.batch_release)
        self.entries: List[Entry] = []
        """What was committed, in order of append."""

    def append(self, region: Region, data: Buffer) -> None:
        """Adds an entry; its bytes are copied. Raises BatchTooLargeError, FullError (fits no region of that size), StaleError,
        ValueError if the batch is over."""
        if not isinstance(region, Region) or region._stream is not self._stream:
            raise ValueError("the region is of another stream")
        buffer = ffi.from_buffer(data)
        if lib.batch_add(self._batch, region._raw, buffer, len(buffer)):
            raise failure(self._stream.path, "the batch")

    def commit(self) -> List[Entry]:
        """Appends all, durably, with one fence or sync, and ends the batch.

        Raises FullError, StaleError, BusyError: nothing was appended, and the batch is as it was; FailedError, CancelledError: all
        or none may be there after the next opening; ValueError if the batch is over.
        """
        count, room = ffi.new("size_t *"), 16
        while True:
            raw = ffi.new("uint64_t[]", 4 * room)
            count[0] = room
            if lib.batch_commit(self._batch, raw, count):
                raise failure(self._stream.path, "the batch")
            if count[0] <= room:
                break
            room = count[0] + 16
        numbers = iter(ffi.unpack(raw, 4 * count[0]) if count[0] else ())
        self.entries = [Entry(self._stream, *entry) for entry in zip(numbers, numbers, numbers, numbers)]
        return self.entries

    def abort(self) -> None:
        """Forgets the batch. Harmless when it is over."""
        lib.batch_abort(self._batch)

    def __enter__(self) -> "Batch":
        return self

    def __exit__(self, kind: Optional[Type[BaseException]], error: Optional[BaseException],
                 traceback: Optional[TracebackType]) -> None:
        try:
            if error is None:
                self.commit()
        finally:
            self.abort()


class Series:
    """A log without an end, in regions labelled NAME.0, NAME.1, ...; the oldest ones are freed by retention.

    The newest region is appended to; when it is full the next is allocated, and retention frees whole regions from the front.
    """

    def __init__(self, stream: "Stream", name: str, region_size: int, keep_bytes: int, keep_seconds: float) -> None:
        config = ffi.new("struct pmemstream_series_config *", {
            "region_bytes": region_size, "keep_bytes": keep_bytes, "keep_ns": int(keep_seconds * 1e9)})
        handle = lib.series_new(stream._handle, _label_bytes(name), config)
        if handle == ffi.NULL:
            raise failure(stream.path)
        self.name = name
        self._stream = stream
        self._series = ffi.gc(handle, lib.series_release)

    def append(self, data: Buffer) -> Entry:
        """Appends an entry, visible and durable on return. Raises FullError: it fits no region, or the stream has no room
        though retention freed what it could; and what Region.append raises."""
        buffer, raw = ffi.from_buffer(data), new_entry()
        if lib.series_append(self._series, buffer, len(buffer), raw):
            raise failure(self._stream.path, "the series")
        return Entry(self._stream, *ffi.unpack(raw, 4))

    def retain(self) -> None:
        """Frees what retention does not want now. What somebody appends to stays until the next time."""
        if lib.series_retain(self._series):
            raise failure(self._stream.path, "the series")

    def regions(self) -> List[Region]:
        """Its regions, oldest first."""
        name = _label_bytes(self.name)
        return self._stream._regions(lambda raw, count: lib.series_regions(self._stream._handle, name, raw, count))

    def __iter__(self) -> Iterator[Entry]:
        """Its entries, oldest first."""
        for region in self.regions():
            yield from region

    def close(self) -> None:
        """Ends the use of the series; the stream stays open. Again, it does nothing."""
        lib.series_close(self._series)

    def __enter__(self) -> "Series":
        return self

    def __exit__(self, kind: Optional[Type[BaseException]], error: Optional[BaseException],
                 traceback: Optional[TracebackType]) -> None:
        self.close()


class Stream(ClosedByWith):
    """A stream that create() or open() opened; a context manager, which closes it. iter() is entries().

    path     the file's name as it was given
    regions  the regions by label
    """

    def __init__(self, handle: Any, path: Path, config: Any) -> None:
        self.path = path
        self.regions = Regions(self)
        self.read_only = bool(config.flags & lib.PMEMSTREAM_READ_ONLY)
        """Whether it was opened for reading only."""
        self._ended = False # closing has begun: what iterators have fetched does not count
        self._cancels = 0 # how often waits were cancelled
        self._handle = ffi.gc(handle, lib.stream_release)
        self._window: int = config.window or DEFAULT_WINDOW
        self._pin = Pin(self._handle)
        self._pins: Dict[int, Pin] = {} # by a region's offset
        self._hubs: Dict[int, Hub] = {} # by the id of the event loop
        self._mutex = threading.Lock() # of the two above, and of closing
        close_at_exit(self)

    # Regions.

    def _regions(self, fill: Any) -> List[Region]:
        count, room = ffi.new("size_t *"), 16
        while True:
            raw = ffi.new("struct stream_region[]", room)
            count[0] = room
            if fill(raw, count):
                raise failure(self.path)
            if count[0] <= room:
                return [Region(self, raw[i].offset, raw[i].generation) for i in range(count[0])]
            room = count[0] + 16

    def _region_at(self, offset: int) -> Region:
        for region in self.regions.all():
            if region.offset == offset:
                return region
        raise error_of(errno.ESTALE, "the region was freed", self.path)

    def _offset_of_region_around(self, offset: int) -> int:
        return max((region.offset for region in self.regions.all() if region.offset < offset), default=NOWHERE)

    def allocate(self, size: int, label: str = "") -> Region:
        """Allocates a region: see Regions.create. Without a label it is found by iteration over regions.all() alone."""
        raw = ffi.new("struct stream_region *")
        if lib.stream_allocate(self._handle, size, _label_bytes(label), raw):
            raise failure(self.path)
        return Region(self, raw.offset, raw.generation)

    def _pin_of(self, region_offset: int) -> Pin:
        with self._mutex:
            pin = self._pins.get(region_offset)
            if pin is None:
                pin = self._pins[region_offset] = Pin(self._handle, self._pin)
            return pin

    def _free(self, region: Region) -> None:
        pin = self._pin_of(region.offset)
        if not pin.shut():
            raise BufferError("a memoryview of an entry of the region still exists; release it before the region is freed")
        try:
            if lib.stream_free(self._handle, region._raw):
                raise failure(self.path)
        except BaseException: # also Ctrl-C
            pin.reopen()
            raise
        with self._mutex: # the next region at this place gets another pin
            if self._pins.get(region.offset) is pin:
                del self._pins[region.offset]

    # Entries.

    def entries(self, since: int = 0, until: Optional[int] = None) -> Entries:
        """Iterates over the committed entries of all regions with since <= timestamp < until, in the order of time."""
        return Entries(self, ffi.NULL, since, until)

    def __iter__(self) -> Entries:
        return self.entries()

    def follow(self, since: int = 0, *, timeout: Optional[float] = None, writer_only: bool = False) -> Follow:
        """Iterates over the entries of all regions from since on, and waits for more: see Follow."""
        return Follow(self, ffi.NULL, since, timeout, writer_only)

    def entry_space(self, size: int) -> int:
        """Bytes that an entry of size bytes takes in its region."""
        return self._number(lib.stream_entry_space(self._handle, size))

    def batch(self) -> Batch:
        """An empty batch: see Batch. Raises ReadOnlyError, FailedError."""
        return Batch(self)

    def series(self, name: str, region_size: int, *, keep_bytes: int = 0, keep_seconds: float = 0) -> Series:
        """Opens a series, which begins to exist with its first entry. It should be open once at a time.

        name          1 to 43 bytes
        region_size   bytes of each region; an entry with its header has to fit
        keep_bytes    free the oldest region when at least so much is left behind it; 0: no limit
        keep_seconds  free the oldest region when its last checkpoint is older; 0: no limit
        """
        return Series(self, name, region_size, keep_bytes, keep_seconds)

    # Time.

    def _number(self, value: int) -> int:
        if value < 0:
            raise failure(self.path)
        return value

    @property
    def committed(self) -> int:
        """Timestamp: iterators show all entries up to it. 0 in a new stream."""
        return self._number(lib.stream_committed(self._handle))

    def _committed_or_0(self) -> int:
        return max(int(lib.stream_committed(self._handle)), 0)

    @property
    def persisted(self) -> int:
        """Timestamp: all entries up to it are durable. 0 in a new stream."""
        return self._number(lib.stream_persisted(self._handle))

    def wait_committed(self, timestamp: int, timeout: Optional[float] = None) -> None:
        """Waits until all entries up to a timestamp are committed, also if it was not given out yet.

        timeout  seconds; None waits for ever. Ctrl-C and other signals are handled meanwhile.

        Raises WaitTimeoutError, CancelledError (cancel_waits, or another thread closes the stream), FailedError.
        """
        wait(self, lib.WAIT_COMMITTED, timestamp, timeout)

    def wait_persisted(self, timestamp: int, timeout: Optional[float] = None) -> None:
        """Waits until all entries up to a timestamp are durable: as wait_committed."""
        wait(self, lib.WAIT_PERSISTED, timestamp, timeout)

    async def wait_persisted_async(self, timestamp: int) -> None:
        """wait_persisted for asyncio, for timestamps that were given out: `await stream.wait_persisted_async(timestamp)`.
        InvalidError for one above committed."""
        if not 0 < timestamp <= self.committed:
            raise error_of(errno.EINVAL, f"{timestamp} is the timestamp of no entry", self.path)
        await self._hub().persisted(timestamp, False)

    def wait_newer(self, timestamp: int, timeout: Optional[float] = None) -> None:
        """Waits for entries with a higher timestamp, in this process or, in a read-only stream, in the one that writes.

        Raises WaitTimeoutError, CancelledError, FailedError; WriterGoneError: read-only, and no process has the stream open for
        writing any more (a later call waits for the next one).
        """
        wait(self, lib.WAIT_NEWER, timestamp, timeout)

    def cancel_waits(self) -> None:
        """Lets every wait of other threads end with CancelledError, and everybody who follows stop."""
        self._cancels += 1
        if lib.stream_cancel_waits(self._handle):
            raise failure(self.path)
        for hub in self._all_hubs():
            hub.wake_from(True)

    # The whole.

    def resize(self, size: int) -> None:
        """Lets the stream grow to size bytes, rounded up to whole pages, while it is in use; durable on return. Raises
        InvalidError (smaller than it is), FullError, ReadOnlyError, UnsupportedError, FailedError."""
        if lib.stream_resize(self._handle, size):
            raise failure(self.path)

    def extents(self) -> List[Extent]:
        """The stream's regions and what is free between them, in order of place."""
        count, room = ffi.new("size_t *"), 64
        while True:
            raw = ffi.new("struct pmemstream_extent[]", room)
            count[0] = room
            if lib.inspect_extents(self._handle, raw, count):
                raise failure(self.path)
            if count[0] <= room:
                return [Extent(raw[i].offset, raw[i].bytes, raw[i].used, bool(raw[i].is_region)) for i in range(count[0])]
            room = count[0] + 64

    def statistics(self) -> Statistics:
        """Counts and sizes."""
        raw = ffi.new("struct pmemstream_statistics *")
        if lib.stream_statistics(self._handle, raw):
            raise failure(self.path)
        return Statistics(**{name: getattr(raw, name) for name in Statistics.__dataclass_fields__ if name != "uuid"},
                          uuid=UUID(bytes=bytes(raw.uuid)))

    @property
    def closed(self) -> bool:
        """Whether it was closed."""
        return bool(lib.stream_is_closed(self._handle))

    def _check_not_ended(self) -> None:
        if self._ended:
            raise ValueError("the stream is closed")

    def _hub(self) -> Hub:
        self._check_not_ended() # the hubs are told only once
        loop = asyncio.get_running_loop()
        with self._mutex:
            for key in [key for key, hub in self._hubs.items() if hub.loop.is_closed()]:
                self._hubs.pop(key)._close_descriptors()
            hub = self._hubs.get(id(loop))
            if hub is None:
                if lib.stream_is_closed(self._handle):
                    raise failure(self.path)
                hub = self._hubs[id(loop)] = Hub(self, loop)
            return hub

    def _all_hubs(self) -> List[Hub]:
        with self._mutex:
            return list(self._hubs.values())

    def _wake_hubs(self) -> None:
        for hub in self._all_hubs():
            if running_loop() is hub.loop:
                hub.wake()
            else:
                hub.wake_from(False)

    def _close(self, patience_ms: int) -> None:
        if not self._pin.shut():
            if self.closed:
                return
            raise BufferError("a memoryview of an entry still exists; release it before the stream is closed")
        self._ended = True
        try:
            for hub in self._all_hubs():
                hub.finish()
        except BaseException: # Ctrl-C
            self._ended = False
            self._pin.reopen()
            raise
        with self._mutex:
            self._hubs.clear()
        lib.stream_close(self._handle, patience_ms)

    def close(self) -> None:
        """Closes the stream: started appends are made durable, checkpoints and a mark of the clean end written, the file
        unlocked. Waits of other threads end with CancelledError, their other calls are waited for. Iterators, batches and
        series of the stream are over. Again, it does nothing; any other use raises ValueError.

        Raises BufferError while a memoryview of an entry exists.
        """
        self._close(lib.PATIENCE_ENDLESS)

    def _end(self) -> None:
        try:
            self._close(PATIENCE_MS)
        except BufferError:
            pass # whoever looks at the bytes keeps them until the process ends

    def __enter__(self) -> "Stream":
        self.committed # one that is closed says so
        return self

    def __repr__(self) -> str:
        name = show_name(self.path)
        try:
            return f"<nvm.pmemstream.Stream {name!r}: {self.committed} entries committed>"
        except ValueError:
            return f"<nvm.pmemstream.Stream {name!r}: closed>"


def _config(size: int, block_size: int, alignment: int, window: int, mode: int, reservation_timeout: float, flags: int) -> Any:
    return ffi.new("struct pmemstream_config *", {
        "size": size, "block_size": block_size, "alignment": alignment, "window": window, "mode": mode, "flags": flags,
        "reservation_ns": int(reservation_timeout * 1e9)})


def _opened(path: Path, config: Any, create_it: int) -> Stream:
    handle = lib.stream_open(file_name(path), config, create_it)
    if handle == ffi.NULL:
        raise failure(path)
    return Stream(handle, path, config)


def create(path: Path, size: int, *, block_size: int = 0, alignment: int = 0, window: int = 0, mode: int = 0o666,
           prefault: bool = False, reservation_timeout: float = 0) -> Stream:
    """Creates a file, which must not exist, with an empty stream, and opens it for writing.

    path        str, bytes or path object
    size        bytes of the file, rounded up to whole pages; every block is written, so that no append meets a full disk
    block_size  alignment of regions, a power of two and a multiple of 64; 0: 4096
    alignment   of entries, 8 or 64; 0: 64 on media with cache lines, 8 on page media
    window      entries that may be on their way at once, a power of two from 2 to 2^20; 0: 1024
    mode        permissions, less the umask
    prefault    touch every page
    reservation_timeout  seconds to wait for a C program's reservation in this process; 0: one second

    The file's name is durable on return. Raises InvalidError, ExistsError, FullError, AccessError, MissingError (no such folder),
    ReadOnlyError (file system), NoMemoryError; no file is left then. LockedError: somebody opened it first.
    """
    flags = lib.PMEMSTREAM_PREFAULT if prefault else 0
    return _opened(path, _config(size, block_size, alignment, window, mode, reservation_timeout, flags), 1)


def open(path: Path, *, read_only: bool = False, committed: bool = False, create: bool = False, size: int = 0,
         block_size: int = 0, alignment: int = 0, window: int = 0, mode: int = 0o666, prefault: bool = False,
         reservation_timeout: float = 0) -> Stream:
    """Opens the stream of a file, for writing: it is locked as long as the stream is open and the process lives.

    read_only  change nothing, and follow the process that has it open for writing, if one has
    committed  with read_only: see another process's entries when they are committed, not when they are durable; a power cut
               may take such entries back
    create     create the stream where there is no file, as create() with the same settings; then size is needed
    The rest is as with create(). All that is readable is durable.

    Raises MissingError, LockedError (open for writing elsewhere), InvalidError (no stream), DamagedError, UnsupportedError,
    AccessError, FailedError, NoMemoryError; read-only: StreamError with EAGAIN, a writer changes it faster than it can be read.
    """
    flags = 0
    for wanted, flag in ((read_only, lib.PMEMSTREAM_READ_ONLY), (committed, lib.PMEMSTREAM_COMMITTED),
                         (create, lib.PMEMSTREAM_CREATE), (prefault, lib.PMEMSTREAM_PREFAULT)):
        flags |= flag if wanted else 0
    return _opened(path, _config(size, block_size, alignment, window, mode, reservation_timeout, flags), 0)
