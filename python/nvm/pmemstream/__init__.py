"""A log of records in regions, which survives a power cut at any moment, on ordinary files and persistent memory.

    >>> from nvm import pmemstream
    >>> with pmemstream.open(path, create=True, size=1 << 20) as stream:
    ...     words = stream.regions.get_or_create("words", 64 << 10)
    ...     entry = words.append(b"hello")
    ...     print(entry.timestamp, [bytes(entry) for entry in stream])
    1 [b'hello']

When an append has returned, or was awaited, its entry survives a loss of power, and so does every entry of the stream with a
smaller timestamp. What is readable after a crash is a prefix of the stream in the order of timestamps. Damage is reported.

Threads: any number may use a stream at once; an iterator, a batch and a series are used by one at a time, others wait. Python's lock
is released while the library works. Processes: one writes, others may read and follow. A child of fork must open the
stream itself: what it inherits raises ValueError.

Failures are OSErrors, a class for each cause: StreamError and those derived from it. Use after close is a ValueError.
"""

from nvm.pmemstream._entry import Entries, Entry, Follow
from nvm.pmemstream._errors import (AccessError, BatchTooLargeError, BusyError, CancelledError, DamagedError, DeadlockError,
                                    ExistsError, FailedError, FullError, InvalidError, LockedError, MissingError,
                                    NoMemoryError, ReadOnlyError, StaleError, StreamError, UnsupportedError, WaitTimeoutError,
                                    WriterGoneError)
from nvm.pmemstream._inspect import (Change, Extent, Field, Problem, ProblemKind, Report, Severity, check, describe, repair)
from nvm.pmemstream._stream import (Batch, Region, RegionInfo, Regions, Series, Statistics, Stream, create, open)

__all__ = ["AccessError", "Batch", "BatchTooLargeError", "BusyError", "CancelledError", "Change", "DamagedError",
           "DeadlockError", "Entries", "Entry", "ExistsError", "Extent", "FailedError", "Field", "Follow", "FullError",
           "InvalidError", "LockedError", "MissingError", "NoMemoryError", "Problem", "ProblemKind", "ReadOnlyError",
           "Region", "RegionInfo", "Regions", "Report", "Series", "Severity", "StaleError", "Statistics", "Stream",
           "StreamError", "UnsupportedError", "WaitTimeoutError", "WriterGoneError", "check", "create", "describe",
           "open", "repair"]
