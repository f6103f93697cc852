"""What an event loop needs of a stream: appends that share syncs, and news without a thread for each who waits.

A Hub serves one event loop for one stream. Appends leave the timestamp that they wait for in it; at the end of the loop's turn
the highest one is asked of the stream's persisting thread (native/persist.c), which answers through an eventfd when a sync has
covered it. News come through a copy of the library's eventfd, shared by all hubs of the stream: whoever reads it wakes all.
"""

import asyncio
import errno
import heapq
import itertools
import os
import time
from typing import TYPE_CHECKING, Any, List, Optional, Set, Tuple

from nvm._pmemstream import ffi, lib
from nvm.pmemstream._entry import FOREVER, Entry, Follow, new_entry
from nvm.pmemstream._errors import error_of, failure

if TYPE_CHECKING:
    from nvm.pmemstream._stream import Stream

Waiter = Tuple[int, int, "asyncio.Future[None]", bool]


class Hub:
    """One event loop's view of one stream. Its methods are called in the loop's thread, but for finish and wake_from."""

    def __init__(self, stream: "Stream", loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.room = asyncio.Semaphore(max(1, stream._window // 2))
        self._stream = stream
        self._waiting: List[Waiter] = [] # a heap
        self._number = itertools.count()
        self._highest = 0 # timestamp that an append of ours was given
        self._asked = False
        self._commit_fd = self._news_fd = -1
        self._news: "Set[asyncio.Future[None]]" = set()
        self.cancels = 0

    # Durability.

    def _watch(self) -> None:
        if self._commit_fd >= 0:
            return
        fd = lib.eventfd(0, lib.EFD_NONBLOCK | lib.EFD_CLOEXEC)
        if fd < 0:
            raise OSError(ffi.errno, os.strerror(ffi.errno))
        if lib.persist_watch(self._stream._handle, fd):
            error = failure(self._stream.path)
            os.close(fd)
            raise error
        self._commit_fd = fd
        self.loop.add_reader(fd, self._told)

    def persisted(self, timestamp: int, is_append: bool) -> "asyncio.Future[None]":
        """A future of everything up to a timestamp being durable. is_append: it takes a place of the room."""
        self._watch()
        future: "asyncio.Future[None]" = self.loop.create_future()
        heapq.heappush(self._waiting, (timestamp, next(self._number), future, is_append))
        if is_append:
            self._highest = max(self._highest, timestamp)
        if not self._asked:
            self._asked = True
            self.loop.call_soon(self._ask)
        return future

    def _ask(self) -> None:
        self._asked = False
        if not self._waiting:
            return
        # Only what was given out can be made durable; a wait for more is asked for again when there is more.
        highest = min(max(timestamp for timestamp, _, _, _ in self._waiting), max(self._stream._committed_or_0(), self._highest))
        if highest:
            lib.persist_request(self._stream._handle, highest)
        self._settle()

    def _told(self) -> None:
        try:
            os.read(self._commit_fd, 8)
        except BlockingIOError:
            pass
        self._settle()

    def _settle(self) -> None:
        done, err = ffi.new("uint64_t *"), ffi.new("int *")
        if lib.persist_state(self._stream._handle, done, err):
            return # closing: finish settles
        self._settle_up_to(done[0], err[0])

    def _settle_up_to(self, done: int, err: int) -> None:
        while self._waiting and (err or self._waiting[0][0] <= done):
            _, _, future, is_append = heapq.heappop(self._waiting)
            if is_append:
                self.room.release()
            if future.done():
                continue
            if err:
                future.set_exception(error_of(err, "what was appended could not be made durable", self._stream.path))
            else:
                future.set_result(None)

    # News.

    def news(self) -> "asyncio.Future[None]":
        """A future of something new, perhaps."""
        if self._news_fd < 0:
            fd = lib.stream_event(self._stream._handle)
            if fd < 0:
                raise failure(self._stream.path)
            self._news_fd = os.dup(fd)
            self.loop.add_reader(self._news_fd, self._new)
        future: "asyncio.Future[None]" = self.loop.create_future()
        self._news.add(future)
        future.add_done_callback(self._news.discard)
        return future

    def _new(self) -> None:
        try:
            os.read(self._news_fd, 8)
        except BlockingIOError:
            pass
        self._stream._wake_hubs()

    def wake(self) -> None:
        for future in list(self._news):
            if not future.done():
                future.set_result(None)

    def wake_from(self, cancel: bool) -> None:
        """wake, from any thread."""
        if cancel:
            self.cancels += 1
        try:
            self.loop.call_soon_threadsafe(self.wake)
        except RuntimeError:
            pass # the loop is closed

    # The end.

    def finish(self) -> None:
        """Before the stream is closed, in any thread: makes durable what was appended, tells those who wait."""
        err, highest = 0, self._highest
        if highest and lib.stream_wait(self._stream._handle, lib.WAIT_PERSISTED, highest, FOREVER):
            err = max(lib.failure_errno(), 0) or errno.ECANCELED
        if running_loop() is self.loop:
            self._end(highest, err)
            return
        try:
            self.loop.call_soon_threadsafe(self._end, highest, err)
        except RuntimeError: # the loop is closed
            self._close_descriptors()

    def _end(self, highest: int, err: int) -> None:
        self._settle_up_to(highest, err)
        self._settle_up_to(0, errno.ECANCELED)
        for fd in (self._commit_fd, self._news_fd):
            if fd >= 0:
                self.loop.remove_reader(fd)
        self._close_descriptors()
        self.wake()

    def _close_descriptors(self) -> None:
        if self._commit_fd >= 0:
            lib.persist_unwatch(self._stream._handle, self._commit_fd)
            os.close(self._commit_fd)
        if self._news_fd >= 0:
            os.close(self._news_fd)
        self._commit_fd = self._news_fd = -1


def running_loop() -> Optional[asyncio.AbstractEventLoop]:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


async def append(stream: "Stream", region: Any, data: Any) -> Entry:
    """Appends, and is done when the entry is durable."""
    hub = stream._hub()
    await hub.room.acquire()
    raw = new_entry()
    try:
        stream._check_not_ended() # while this waited for room; what is begun from here on is told by finish
        hub._watch()
        buffer = ffi.from_buffer(data)
        if lib.stream_append_begin(stream._handle, region, buffer, len(buffer), raw):
            raise failure(stream.path)
    except BaseException:
        hub.room.release()
        raise
    entry = Entry(stream, *ffi.unpack(raw, 4))
    await hub.persisted(entry.timestamp, True)
    return entry


async def next_of(follow: Follow) -> Optional[Entry]:
    """The next entry that is followed; None when following has ended."""
    stream, timeout = follow._stream, follow._timeout
    deadline = None if timeout is None else time.monotonic() + timeout
    try:
        hub = stream._hub()
        cancels = hub.cancels
        while True:
            waiter = hub.news() # before the look, so that nothing comes unseen in between
            entry = follow._next_if_any()
            if entry is not None or hub.cancels != cancels or stream._ended: # then nobody tells the waiter
                waiter.cancel()
                return entry
            left = None if deadline is None else max(deadline - time.monotonic(), 0)
            await asyncio.wait([waiter], timeout=left)
            waiter.cancel()
            if left is not None and deadline is not None and time.monotonic() >= deadline:
                return follow._next_if_any()
    except ValueError:
        if stream.closed or stream._ended:
            return None
        raise
