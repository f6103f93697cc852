"""Checking, repairing and describing the stream in a file that nobody has open for writing."""

import enum
import errno
import threading
from dataclasses import dataclass, field
from typing import Any, Callable, List, Optional

from nvm._common import Path, file_name
from nvm._pmemstream import ffi, lib
from nvm.pmemstream._errors import failure, text_of_failure

_NOWHERE = (1 << 64) - 1

Progress = Callable[[int, int], Any]


class ProblemKind(enum.IntEnum):
    """What a problem is about."""

    HEADER_COPY = lib.PMEMSTREAM_PROBLEM_HEADER_COPY
    SIZE = lib.PMEMSTREAM_PROBLEM_SIZE
    STREAM_SLOT = lib.PMEMSTREAM_PROBLEM_STREAM_SLOT
    ALLOCATOR = lib.PMEMSTREAM_PROBLEM_ALLOCATOR
    EXTENT = lib.PMEMSTREAM_PROBLEM_EXTENT
    REGION_HEADER = lib.PMEMSTREAM_PROBLEM_REGION_HEADER
    REGION_LIMIT = lib.PMEMSTREAM_PROBLEM_REGION_LIMIT
    REGION_SLOT = lib.PMEMSTREAM_PROBLEM_REGION_SLOT
    ENTRY_HEADER = lib.PMEMSTREAM_PROBLEM_ENTRY_HEADER
    ENTRY_DATA = lib.PMEMSTREAM_PROBLEM_ENTRY_DATA
    MISSING = lib.PMEMSTREAM_PROBLEM_MISSING
    ORDER = lib.PMEMSTREAM_PROBLEM_ORDER
    EPOCH = lib.PMEMSTREAM_PROBLEM_EPOCH
    LOST = lib.PMEMSTREAM_PROBLEM_LOST
    OTHER = lib.PMEMSTREAM_PROBLEM_OTHER


class Severity(enum.IntEnum):
    """How bad a problem is. HARMLESS: a power cut may leave it, nothing is lost. KNOWN: damage that a repair has accepted.
    DAMAGE: something is lost, or cannot be told without a repair."""

    HARMLESS = lib.PMEMSTREAM_HARMLESS
    KNOWN = lib.PMEMSTREAM_KNOWN
    DAMAGE = lib.PMEMSTREAM_DAMAGE


@dataclass(frozen=True)
class Problem:
    """What a check found."""

    kind: ProblemKind
    severity: Severity
    repairable: bool
    """repair puts it right, or marks it as lost."""
    offset: Optional[int]
    """Place in the file; None: nowhere."""
    size: int
    """Bytes."""
    region: Optional[int]
    """Offset of the region it is in; None: in none."""
    timestamp: Optional[int]
    """The lowest one that is concerned; None: none."""
    cause: str
    consequence: str


@dataclass(frozen=True)
class Change:
    """A place that a repair wrote, or would write."""

    offset: int
    before: bytes
    after: bytes
    reason: str


@dataclass
class Report:
    """What check or repair has to say."""

    sound: bool = True
    """No damage: an opening for writing would succeed."""
    message: str = ""
    """Of the first damage."""
    problems: List[Problem] = field(default_factory=list)
    """All problems, also harmless ones."""
    changes: List[Change] = field(default_factory=list)
    """Of a repair."""


@dataclass(frozen=True)
class Field:
    """A field of a structure in the file, as text."""

    structure: str
    offset: int
    """Of the structure."""
    size: int
    name: str
    value: str


@dataclass(frozen=True)
class Extent:
    """A stretch of the stream: a region, or free."""

    offset: int
    size: int
    used: int
    """By entries."""
    is_region: bool


def _text(pointer: Any) -> str:
    return str(ffi.string(pointer).decode("utf-8", "surrogateescape")) if pointer else ""


def _or_none(number: int, none: int) -> Optional[int]:
    return None if number == none else number


_running = threading.local() # .error: what was raised in the callback of this thread's call


def _keep_error(kind: Any, error: Any, traceback: Any) -> int:
    _running.error = error.with_traceback(traceback)
    return 1


@ffi.def_extern(error=1, onerror=_keep_error) # type: ignore[misc]
def report_event(event: Any, argument: Any) -> int:
    report, progress = ffi.from_handle(argument)
    if event.kind == lib.PMEMSTREAM_EVENT_PROBLEM:
        raw = event.problem
        report.problems.append(Problem(ProblemKind(raw.kind), Severity(raw.severity), bool(raw.repairable),
                                       _or_none(raw.offset, _NOWHERE), raw.bytes, _or_none(raw.region, _NOWHERE),
                                       _or_none(raw.timestamp, 0), _text(raw.cause), _text(raw.consequence)))
    elif event.kind == lib.PMEMSTREAM_EVENT_CHANGE:
        report.changes.append(Change(event.offset, bytes(ffi.buffer(event.before, event.bytes)),
                                     bytes(ffi.buffer(event.after, event.bytes)), _text(event.text)))
    elif progress is not None:
        progress(event.done, event.total)
    return 0


@ffi.def_extern(error=1, onerror=_keep_error) # type: ignore[misc]
def report_field(raw: Any, argument: Any) -> int:
    ffi.from_handle(argument).append(Field(_text(raw.structure), raw.offset, raw.bytes, _text(raw.name), _text(raw.value)))
    return 0


def _call(function: Any, path: Path, number: int, callback: Any, argument: Any) -> bool:
    """False if the call failed; what was raised in the callback is raised here."""
    _running.error = None
    handle = ffi.new_handle(argument)
    failed = function(file_name(path), number, callback, handle)
    error, _running.error = _running.error, None
    if error is not None:
        try:
            raise error
        finally:
            del error
    return not failed


def check(path: Path, *, deep: bool = False, progress: Optional[Progress] = None) -> Report:
    """Checks the stream in a file, without changing a byte.

    deep      read and check every entry, not only what an opening reads
    progress  called with bytes read and bytes to be read; what it raises ends the check

    Raises LockedError (open for writing somewhere: what is just being written cannot be told from damage), MissingError,
    InvalidError (no stream), UnsupportedError, AccessError, NoMemoryError. Damage raises nothing: see Report.
    """
    report = Report()
    flags = lib.PMEMSTREAM_CHECK_DEEP if deep else 0
    if not _call(lib.inspect_check, path, flags, lib.report_event, (report, progress)):
        if lib.failure_errno() != errno.EBADMSG:
            raise failure(path)
        report.sound, report.message = False, text_of_failure()
    return report


def repair(path: Path, *, dry_run: bool = False, progress: Optional[Progress] = None) -> Report:
    """Makes a damaged stream one that can be opened, and loses nothing that is valid. What is given up is reported by
    iterators as DamagedError. Durable on return; a power cut meanwhile leaves a stream that can be repaired again.

    dry_run  change nothing, but report what would be changed

    Raises DamagedError (it cannot be repaired, and nothing was written), LockedError, MissingError, InvalidError, UnsupportedError,
    AccessError, FailedError, NoMemoryError.
    """
    report = Report()
    flags = lib.PMEMSTREAM_DRY_RUN if dry_run else 0
    if not _call(lib.inspect_repair, path, flags, lib.report_event, (report, progress)):
        raise failure(path)
    return report


def describe(path: Path, offset: int) -> List[Field]:
    """All fields of the structures that an offset of the file lies in; for debugging, also where it is damaged.

    Raises InvalidError (behind the end; no stream), DamagedError (both copies of the header), MissingError, AccessError.
    """
    fields: List[Field] = []
    if not _call(lib.inspect_describe, path, offset, lib.report_field, fields):
        raise failure(path)
    return fields
