"""Checking, repairing and describing from Python, held against the C header and against damage that is planted."""

import os
import pathlib
import re

import pytest

from nvm import pmemstream

MIB = 1 << 20


@pytest.fixture
def entries(path):
    """A file of 50 entries."""
    with pmemstream.create(path, MIB) as stream:
        region = stream.regions.create("words", 64 << 10)
        return [region.append(b"number %03d" % i) for i in range(50)]


def spoil(path, offset):
    with open(path, "r+b") as file:
        file.seek(offset)
        byte = file.read(1)
        file.seek(offset)
        file.write(bytes([byte[0] ^ 1]))


def test_a_sound_stream_has_no_problem(path, entries):
    steps = []
    report = pmemstream.check(path, deep=True, progress=lambda done, total: steps.append((done, total)))
    assert report.sound and not report.problems and not report.message and steps
    assert all(0 <= done <= total for done, total in steps)


def test_damage_is_found_repaired_and_known(path, entries):
    for index in (10, 11, 30):
        spoil(path, entries[index].offset + 33)
    before = pathlib.Path(path).read_bytes()
    report = pmemstream.check(path, deep=True)
    assert not report.sound and report.message
    places = [p.offset for p in report.problems if p.severity == pmemstream.Severity.DAMAGE]
    assert set(places) >= {entries[10].offset, entries[30].offset}
    problem = report.problems[0]
    assert problem.repairable and problem.cause and problem.consequence and problem.region is not None
    assert isinstance(problem.kind, pmemstream.ProblemKind)
    planned = pmemstream.repair(path, dry_run=True)
    assert planned.changes and pathlib.Path(path).read_bytes() == before
    for change in planned.changes:
        assert before[change.offset:change.offset + len(change.before)] == change.before != change.after and change.reason
    done = pmemstream.repair(path)
    assert [(c.offset, c.reason) for c in done.changes] == [(c.offset, c.reason) for c in planned.changes]
    assert pmemstream.check(path, deep=True).sound
    with pmemstream.open(path) as stream:
        seen, iterator = [], iter(stream)
        while True:
            try:
                seen.append(int(bytes(next(iterator))[-3:]))
            except pmemstream.DamagedError:
                continue
            except StopIteration:
                break
        assert seen == [i for i in range(50) if i not in (10, 11, 30)]


def test_what_a_callback_raises_ends_the_call(path, entries):
    class Own(BaseException):
        pass

    def fail(done, total):
        raise Own

    for call in (pmemstream.check, pmemstream.repair):
        with pytest.raises(Own):
            call(path, progress=fail)
    assert pmemstream.check(path).sound


def test_describe_tells_the_fields_around_an_offset(path, entries):
    fields = pmemstream.describe(path, entries[7].offset)
    by_structure = {}
    for field in fields:
        by_structure.setdefault(field.structure, {})[field.name] = field.value
    assert by_structure["entry"]["timestamp"] == "8" and any("words" in value for f in by_structure.values() for value in f.values())
    with pytest.raises(pmemstream.InvalidError):
        pmemstream.describe(path, 1 << 40)


def test_failures_have_their_kinds(path, folder):
    for call in (pmemstream.check, pmemstream.repair, lambda name: pmemstream.describe(name, 0)):
        with pytest.raises(pmemstream.MissingError) as caught:
            call(path)
        assert caught.value.filename == path
        with pytest.raises(pmemstream.StreamError):
            call(folder)
    with pmemstream.create(path, MIB):
        for call in (pmemstream.check, pmemstream.repair):
            with pytest.raises(pmemstream.LockedError):
                call(path)


def test_extents_fill_the_stream(path):
    with pmemstream.create(path, 2 * MIB) as stream:
        regions = [stream.allocate(10000) for _ in range(100)]
        regions[50].append(b"x" * 100)
        regions[10].free()
        extents = stream.extents()
        for one, next_one in zip(extents, extents[1:]):
            assert one.offset + one.size == next_one.offset
        assert [e.offset for e in extents if e.is_region] == [r.offset for r in regions if r is not regions[10]]
        assert sum(e.used for e in extents) == stream.entry_space(100)
        assert sum(e.size for e in extents if not e.is_region) >= stream.statistics().free_bytes


def test_the_kinds_are_those_of_the_header():
    header = (pathlib.Path(os.environ["TESTS_SOURCE"]).parent / "include" / "libpmemstream.h").read_text()
    kinds = dict(re.findall(r"PMEMSTREAM_PROBLEM_(\w+) = (\d+)", header))
    assert kinds == {kind.name: str(kind.value) for kind in pmemstream.ProblemKind}
    levels = dict(re.findall(r"PMEMSTREAM_(HARMLESS|KNOWN|DAMAGE) = (\d+)", header))
    assert levels == {level.name: str(level.value) for level in pmemstream.Severity}


def test_every_function_of_the_library_is_reached():
    """The C functions that no part of the package calls, and why."""
    root = pathlib.Path(os.environ["TESTS_SOURCE"]).parent
    symbols = set(re.findall(r"^(pmemstream_\w+)@", (root / "tests" / "abi" / "libpmemstream.symbols").read_text(), re.MULTILINE))
    native = "\n".join(path.read_text() for path in (root / "python" / "native").glob("*.c"))
    unused = {symbol for symbol in symbols if not re.search(rf"\b{symbol}\(", native)}
    assert unused == {
        "pmemstream_from_map",  # by path alone: a map of the caller's could go away
        "pmemstream_region_allocate", "pmemstream_region_size",  # others say the same and more
        "pmemstream_async_wait_committed", "pmemstream_async_wait_persisted", # persist.c waits with a thread
        "pmemstream_global_iterator_is_valid", "pmemstream_global_iterator_seek_first",
        "pmemstream_entry_iterator_is_valid", "pmemstream_region_iterator_is_valid", # get tells
        # Memory that Python code could write to after it was acknowledged:
        "pmemstream_reserve", "pmemstream_publish", "pmemstream_async_publish", "pmemstream_cancel"}
