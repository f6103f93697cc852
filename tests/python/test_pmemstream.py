"""nvm.pmemstream: what it promises, and that nothing done to it reaches memory that is gone."""

import array
import errno
import gc
import os
import pathlib
import signal
import subprocess
import sys
import threading
import time
import tracemalloc

import pytest

from conftest import in_threads, output_of
from nvm import pmemstream

KIB, MIB = 1 << 10, 1 << 20


@pytest.fixture
def stream(path):
    with pmemstream.create(path, 2 * MIB) as opened:
        yield opened


@pytest.fixture
def region(stream):
    return stream.regions.create("words", 256 * KIB)


def texts(entries):
    return [bytes(entry) for entry in entries]


# Opening.

def test_what_was_appended_is_there_after_reopening(path):
    with pmemstream.create(path, MIB) as stream:
        entry = stream.regions.create("words", 64 * KIB).append(b"kept")
        stream.regions.create("more", 64 * KIB).append(b"also")
    with pmemstream.open(path) as stream:
        assert list(stream.regions) == ["words", "more"] and len(stream.regions) == 2
        assert texts(stream) == [b"kept", b"also"]
        again = next(iter(stream.regions["words"]))
        assert (again.offset, again.timestamp, again.size) == (entry.offset, entry.timestamp, 4)
        assert stream.regions["words"].label == "words"


def test_settings_arrive_in_the_library(path):
    with pmemstream.create(path, 5 * MIB + 1, block_size=64 * KIB, alignment=64, window=64, mode=0o600, prefault=True) as stream:
        statistics = stream.statistics()
        assert (statistics.size, statistics.block_size, statistics.alignment) == (5 * MIB + 4096, 64 * KIB, 64)
        assert stream.entry_space(1) == 64
        with pytest.raises(pmemstream.BatchTooLargeError), stream.batch() as batch:
            region = stream.allocate(MIB)
            for _ in range(33):
                batch.append(region, b"")
    assert os.stat(path).st_mode & 0o777 == 0o600
    with pmemstream.open(path, create=True, size=MIB) as stream:
        assert stream.statistics().size == 5 * MIB + 4096


def test_failures_of_opening_have_their_kinds(path, folder):
    for call, kind, builtin in (
            (lambda: pmemstream.open(path), pmemstream.MissingError, FileNotFoundError),
            (lambda: pmemstream.create(path, 0), pmemstream.InvalidError, ValueError),
            (lambda: pmemstream.create(path, MIB, window=3), pmemstream.InvalidError, ValueError),
            (lambda: pmemstream.open(folder), pmemstream.StreamError, OSError),
            (lambda: pmemstream.open(path, create=True, read_only=True), pmemstream.InvalidError, ValueError),
            (lambda: pmemstream.create(folder / "no" / "file", MIB), pmemstream.MissingError, FileNotFoundError)):
        with pytest.raises(kind) as caught:
            call()
        assert isinstance(caught.value, builtin) and isinstance(caught.value, OSError)
        assert caught.value.errno and caught.value.strerror and caught.value.filename is not None
    with pmemstream.create(path, MIB):
        with pytest.raises(pmemstream.LockedError) as caught:
            pmemstream.open(path)
        assert isinstance(caught.value, BlockingIOError) and str(os.getpid()) in str(caught.value)
        with pytest.raises(FileExistsError):
            pmemstream.create(path, MIB)
    for wrong in ("a\0b", None, 3.5):
        with pytest.raises((ValueError, TypeError)):
            pmemstream.open(wrong)
    for arguments in ({"size": -1}, {"size": "x"}, {"size": 1 << 65}, {"size": MIB, "window": -1}):
        with pytest.raises((OverflowError, TypeError)):
            pmemstream.create(path + "2", **arguments)
    assert not os.path.exists(path + "2")


def test_a_damaged_file_is_refused_with_its_place(path):
    with pmemstream.create(path, MIB) as stream:
        stream.regions.create("words", 64 * KIB).append(b"acknowledged")
    with open(path, "r+b") as file:
        data = file.read().replace(b"acknowledged", b"acknowledGed")
        file.seek(0)
        file.write(data)
    with pmemstream.open(path) as stream:
        with pytest.raises(pmemstream.DamagedError) as caught:
            list(stream)
        assert caught.value.errno == errno.EBADMSG and "words" in caught.value.strerror


def test_iteration_goes_on_behind_damage(path):
    with pmemstream.create(path, MIB) as stream:
        region = stream.regions.create("words", 64 * KIB)
        entries = [region.append(b"number %03d" % i) for i in range(100)]
    with open(path, "r+b") as file:
        for index in (5, 6, 50):
            file.seek(entries[index].offset + 32)
            file.write(b"N")
    for read_only in (False, True):
        with pmemstream.open(path, read_only=read_only) as stream:
            for iterator in (iter(stream), iter(stream.regions["words"])):
                seen, errors = [], 0
                while True:
                    try:
                        entry = next(iterator)
                    except pmemstream.DamagedError:
                        errors += 1
                    except StopIteration:
                        break
                    else:
                        seen.append(int(bytes(entry)[-3:]))
                assert seen == [i for i in range(100) if i not in (5, 6, 50)] and errors == 3
            for whole in (stream, stream.regions["words"]):
                values = whole.entries().values()
                assert [int(next(values)[-3:]) for _ in range(5)] == list(range(5))
                with pytest.raises(pmemstream.DamagedError):
                    next(values)


# Regions.

def test_regions_are_a_mapping_by_label(stream):
    regions = stream.regions
    words = regions.create("words", 10000)
    nameless = stream.allocate(20000)
    more = regions.get_or_create("m\u00f6re", 10000)
    assert regions.get_or_create("words", 1) == words
    assert list(regions.items()) == [("words", words), ("m\u00f6re", more)]
    assert "words" in regions and "nothing" not in regions and "" not in regions and 5 not in regions
    assert regions.get("nothing") is None and regions.all() == [words, nameless, more]
    assert words.size >= 10000 and nameless.label == "" and words.free_bytes == words.size
    with pytest.raises(KeyError):
        regions["nothing"]
    with pytest.raises(KeyError):
        regions["x" * 100]
    with pytest.raises(pmemstream.ExistsError):
        regions.create("words", 10000)
    with pytest.raises(pmemstream.FullError):
        regions.create("huge", 1 << 40)
    for wrong in ("", "x" * 64, "a\0b"):
        with pytest.raises(ValueError):
            regions.create(wrong, 10000)
    del regions["words"]
    with pytest.raises(KeyError):
        del regions["words"]
    assert len(regions) == 1 and len({words, nameless, more}) == 3


def test_a_freed_region_is_stale_for_ever(stream, region):
    entry, iterator = region.append(b"x"), iter(region)
    region.free()
    again = stream.regions.create("words", 256 * KIB)
    assert again.offset == region.offset and again != region
    other = again.append(b"y")
    for use in (region.free, region.info, lambda: region.append(b""), lambda: region.appendv([]), lambda: list(region),
                lambda: next(iterator), lambda: bytes(entry), lambda: entry.data):
        with pytest.raises(pmemstream.StaleError):
            use()
    with pytest.raises(pmemstream.StaleError), stream.batch() as batch:
        batch.append(region, b"")
    assert texts(again) == [bytes(other)] == [b"y"]


def test_a_region_of_one_stream_is_none_of_another(stream, region, path):
    with pmemstream.create(path + "2", MIB) as other:
        with pytest.raises(ValueError):
            other.batch().append(region, b"")


# Entries.

def test_any_buffer_is_an_entry(stream, region):
    numbers = array.array("d", [1.5, 2.5])
    for data in (b"", b"bytes", bytearray(b"array"), memoryview(b"xviewx")[1:5], numbers, bytes(100000)):
        entry = region.append(data)
        assert bytes(entry) == bytes(data) and len(entry) == entry.size == len(bytes(data)) and entry
    assert bytes(region.appendv([b"a", b"", bytearray(b"b")])) == b"ab" and bytes(region.appendv([])) == b""
    for wrong in ("text", 5, None, [b"a"]):
        with pytest.raises(TypeError):
            region.append(wrong)
    with pytest.raises((TypeError, BufferError, ValueError)):
        region.append(memoryview(b"abcd")[::2])
    with pytest.raises(pmemstream.FullError) as caught:
        region.append(bytes(MIB))
    assert caught.value.errno == errno.ENOSPC


def test_an_entry_knows_its_region_and_time(stream, region):
    other = stream.regions.create("other", 10000)
    first, second, third = region.append(b"1"), other.append(b"2"), region.append(b"3")
    assert [first.timestamp, second.timestamp, third.timestamp] == [1, 2, 3]
    assert (first.region, second.region) == (region, other)
    assert list(stream) == [first, second, third] and len({*stream, *region}) == 3
    assert [entry.region for entry in stream] == [region, other, region]
    assert first != second and first != 5 and "1: 1 bytes" in repr(first)


def test_an_entry_that_was_tampered_with_reads_nothing_else(stream, region):
    region.append(b"before")
    for name, values in (("size", (0, 5, 7, 1 << 40, -1)), ("offset", (0, 1, 1 << 50, -8)), ("timestamp", (0, 1, 3, 1 << 63))):
        for value in values:
            entry = region.append(b"target")
            setattr(entry, name, value)
            for use in (lambda: bytes(entry), lambda: entry.data):
                with pytest.raises((OSError, OverflowError, ValueError, MemoryError, SystemError)):
                    use()


def test_iteration_is_by_time_since_and_until(stream, region):
    other = stream.regions.create("other", 64 * KIB)
    for i in range(1, 301):
        (region, other)[i % 3 == 0].append(b"%d" % i)
    assert [int(text) for text in texts(stream)] == list(range(1, 301))
    assert [int(text) for text in texts(other)] == list(range(3, 301, 3))
    for since, until in ((0, None), (1, 301), (100, 200), (299, 1000), (301, None), (50, 50), (60, 10), (7, 8)):
        expected = [i for i in range(max(since, 1), min(until or 301, 301))]
        assert [entry.timestamp for entry in stream.entries(since, until)] == expected
        assert [entry.timestamp for entry in other.entries(since, until)] == [i for i in expected if i % 3 == 0]
    for wrong in (-1, 1 << 64):
        with pytest.raises(OverflowError):
            stream.entries(wrong)


def test_values_are_the_bytes_of_the_entries(stream, region):
    other = stream.regions.create("other", MIB)
    contents = [bytes([i % 256]) * size for i, size in enumerate([0, 1, 100, 70000, 5, 200000, 0, 65536, 65537] + [1000] * 200)]
    for i, content in enumerate(contents):
        (region if len(content) < 10 else other).append(content)
    assert list(stream.entries().values()) == contents
    assert list(stream.entries(3, 9).values()) == contents[2:8] and list(stream.entries(500).values()) == []
    begun = iter(stream)
    next(begun)
    assert list(begun.values()) == contents[1:]
    with pmemstream.open(stream.path, read_only=True) as reader:
        there = reader.regions["other"]
        longer = [content for content in contents if len(content) >= 10]
        assert list(there.entries().values()) == longer and list(there.entries(5, 9).values()) == longer[2:4]
        values, values_there = other.entries().values(), there.entries().values()
        assert next(values) == next(values_there) == longer[0]
        other.free()
        for left in (values, values_there):
            with pytest.raises(pmemstream.StaleError):
                next(left)


def test_an_iterator_goes_on_when_more_is_there(stream, region):
    iterator = iter(stream)
    assert list(iterator) == []
    region.append(b"a")
    stream.regions.create("later", 10000).append(b"b")
    assert texts(iterator) == [b"a", b"b"] and list(iterator) == []


def test_a_view_is_read_only_and_without_a_copy(stream, region):
    entry = region.append(b"abcdef")
    with entry.data as view:
        assert view.readonly and view.nbytes == 6 and view == b"abcdef" and view.c_contiguous
        with pytest.raises(TypeError):
            view[0] = 1
        with pytest.raises((TypeError, ValueError)):
            memoryview(view.obj)[0] = 1


def test_a_view_keeps_region_and_stream(path):
    stream = pmemstream.create(path, MIB)
    region, other = stream.regions.create("words", 10000), stream.regions.create("other", 10000)
    part = region.append(b"abcdef").data[1:3]
    for change in (stream.close, region.free):
        with pytest.raises(BufferError):
            change()
    other.free()
    region.append(b"more")
    assert bytes(part) == b"bc" and texts(region) == [b"abcdef", b"more"]
    part.release()
    region.free()
    stream.close()


def test_a_view_of_a_series_keeps_its_region(stream):
    with stream.series("log", 8 * KIB) as series:
        with series.append(b"abc").data as view:
            with pytest.raises(BufferError):
                stream.regions["log.0"].free()
            assert view == b"abc"
    stream.regions["log.0"].free()


def test_an_entry_takes_no_later_region_for_its_own(stream, region):
    entry = region.append(b"abc")
    with stream.series("log", 8 * KIB) as series:
        of_series = series.append(b"def")
    region.free()
    del stream.regions["log.0"]
    assert stream.regions.create("other", 256 * KIB).offset == region.offset
    for gone in (entry, of_series):
        with pytest.raises(pmemstream.StaleError):
            gone.region # noqa: B018


def test_a_view_outlives_every_name_of_its_stream(path):
    stream = pmemstream.create(path, MIB)
    view = stream.regions.create("words", 10000).append(b"abcdef").data
    del stream
    gc.collect()
    assert bytes(view) == b"abcdef"
    with pytest.raises(pmemstream.LockedError):
        pmemstream.open(path)
    del view
    pmemstream.open(path).close()


def test_a_view_in_a_traceback_hides_no_exception(path):
    def look(stream):
        view = stream.regions.create("words", 10000).append(b"abc").data
        raise KeyError(len(view))

    with pytest.raises(KeyError):
        with pmemstream.create(path, MIB) as stream:
            look(stream)


# Batches and series.

def test_a_batch_is_there_whole_or_not_at_all(stream, region):
    other = stream.regions.create("other", 10000)
    with stream.batch() as batch:
        batch.append(region, b"1")
        batch.append(other, bytearray(b"2"))
        assert list(stream) == []
    assert texts(batch.entries) == texts(stream) == [b"1", b"2"]
    assert [entry.timestamp for entry in batch.entries] == [1, 2] and batch.entries[1].region == other
    with pytest.raises(ZeroDivisionError), stream.batch() as batch:
        batch.append(region, b"3")
        1 / 0
    with pytest.raises(pmemstream.FullError), stream.batch() as batch:
        batch.append(region, b"3")
        batch.append(other, bytes(9000))
        batch.append(other, bytes(9000))
    with stream.batch() as batch:
        pass
    assert texts(stream) == [b"1", b"2"] and stream.committed == 2, "what was aborted took no timestamp"
    for use in (lambda: batch.append(region, b""), batch.commit):
        with pytest.raises(ValueError):
            use()
    batch.abort()
    syncs = stream.statistics().syncs
    with stream.batch() as batch:
        for i in range(200):
            batch.append(region, b"%d" % i)
    assert stream.statistics().syncs - syncs == 1


def test_threads_add_to_a_batch_while_it_is_committed(stream):
    stream.resize(8 * MIB)
    for turn in range(15):
        region = stream.regions.create("batch", 5 * MIB)
        batch, begin = stream.batch(), threading.Barrier(13)
        text = bytes(400 * KIB) # whoever adds it holds up the others, and they the commit

        def add(batch=batch, region=region, text=text, begin=begin):
            begin.wait()
            try:
                batch.append(region, text)
            except ValueError:
                pass # it was over

        def commit(batch=batch, begin=begin):
            begin.wait()
            time.sleep(0.0002)
            batch.commit()

        in_threads(commit, *[add] * 12)
        assert [entry.timestamp for entry in batch.entries] == [entry.timestamp for entry in region], turn
        region.free()


def test_a_series_keeps_the_newest(stream):
    with stream.series("log", 8 * KIB, keep_bytes=16 * KIB) as series:
        assert series.regions() == [] and list(series) == []
        for i in range(1000):
            entry = series.append(b"%05d" % i + bytes(100))
        there = [int(bytes(entry)[:5]) for entry in series]
        assert there == list(range(there[0], 1000)) and 100 < len(there) < 300
        labels = [region.label for region in series.regions()]
        assert all(label.startswith("log.") for label in labels) and labels == list(stream.regions)
        assert entry.region == series.regions()[-1]
        with pytest.raises(pmemstream.FullError):
            series.append(bytes(10000))
        series.retain()
    with pytest.raises(ValueError):
        series.append(b"")
    for name, size in (("", 8 * KIB), ("x" * 44, 8 * KIB), ("log", 0)):
        with pytest.raises(ValueError):
            stream.series(name, size)
    with pytest.raises((OverflowError, TypeError)):
        stream.series("log", -1)


# Waits.

def test_waits_have_a_time_limit(stream, region):
    entry = region.append(b"x")
    stream.wait_committed(entry.timestamp)
    stream.wait_persisted(entry.timestamp, 0)
    stream.wait_newer(0)
    for wait, timestamp in ((stream.wait_committed, 2), (stream.wait_persisted, 2), (stream.wait_newer, 1)):
        for timeout in (0, 0.01, 0.15):
            begin = time.monotonic()
            with pytest.raises(TimeoutError) as caught:
                wait(timestamp, timeout)
            assert caught.value.errno == errno.ETIMEDOUT and time.monotonic() - begin >= timeout
    for wait in (stream.wait_committed, stream.wait_persisted):
        with pytest.raises(pmemstream.InvalidError):
            wait(0)


def test_a_wait_sees_what_another_thread_appends(stream, region):
    for wait, timestamp in ((stream.wait_committed, 1), (stream.wait_persisted, 2), (stream.wait_newer, 2)):
        began = threading.Event()
        in_threads(lambda: (began.set(), wait(timestamp)), lambda: (began.wait(), region.append(b"x")))
    assert stream.committed == stream.persisted == 3


def test_cancel_ends_the_waits_of_other_threads(stream):
    ended = []

    def waiting(wait):
        try:
            wait(100)
        except pmemstream.CancelledError:
            ended.append(1)

    def cancelling():
        while len(ended) < 3:
            stream.cancel_waits()
            time.sleep(0.001)

    in_threads(*[lambda w=w: waiting(w) for w in (stream.wait_committed, stream.wait_persisted, stream.wait_newer)], cancelling)


def test_closing_ends_the_waits_of_other_threads(path):
    for turn in range(5):
        stream = pmemstream.create(f"{path}{turn}", MIB)
        began = [threading.Event() for _ in range(3)]

        def waiting(index, wait):
            began[index].set()
            with pytest.raises((pmemstream.CancelledError, ValueError)):
                wait(100)

        def close():
            for event in began:
                event.wait()
            stream.close()

        in_threads(*[lambda i=i, w=w: waiting(i, w) for i, w in
                     enumerate((stream.wait_committed, stream.wait_persisted, stream.wait_newer))], close)


def test_a_signal_ends_a_wait_of_the_main_thread(stream):
    def handler(number, frame):
        raise InterruptedError

    former = signal.signal(signal.SIGUSR1, handler)
    try:
        threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGUSR1)).start()
        with pytest.raises(InterruptedError):
            stream.wait_newer(100)
    finally:
        signal.signal(signal.SIGUSR1, former)


def test_following_waits_for_more(stream, region):
    seen = []

    def follow():
        for entry in region.follow(since=2):
            seen.append(bytes(entry))
            if len(seen) == 300:
                break

    in_threads(follow, lambda: [region.append(b"%d" % i) for i in range(1, 302)])
    assert seen == [b"%d" % i for i in range(2, 302)]
    assert texts(stream.follow(timeout=0.01))[:2] == [b"1", b"2"]


def test_following_ends_with_the_stream(path):
    stream = pmemstream.create(path, MIB)
    stream.regions.create("words", 10000).append(b"x")
    shown, seen = threading.Event(), []

    def follow():
        for entry in stream.follow():
            seen.append(bytes(entry))
            shown.set()

    in_threads(follow, lambda: (shown.wait(), stream.close()))
    assert seen == [b"x"]


# The stream as a whole.

def test_statistics_count_what_was_done(stream, region):
    before = stream.statistics()
    for i in range(10):
        region.append(b"x")
    after = stream.statistics()
    assert (after.appended - before.appended, after.syncs - before.syncs, after.regions) == (10, 10, 1)
    assert (after.committed, after.persisted) == (10, 10) and after.uuid == before.uuid and after.created_ns > 1.6e18
    assert after.used_bytes == 10 * stream.entry_space(1)


def test_a_stream_grows_while_it_is_looked_at(stream, region):
    view = region.append(b"abc").data
    stream.resize(8 * MIB)
    stream.regions.create("large", 4 * MIB).append(bytes(3 * MIB))
    assert bytes(view) == b"abc"
    view.release()
    with pytest.raises(pmemstream.InvalidError):
        stream.resize(MIB)


def test_a_reader_changes_nothing(path):
    with pmemstream.create(path, MIB) as stream:
        stream.regions.create("words", 10000).append(b"x")
    with pmemstream.open(path, read_only=True) as stream:
        region = stream.regions["words"]
        assert texts(stream) == [b"x"] and stream.read_only
        for change in (lambda: region.append(b""), region.free, lambda: stream.allocate(5000), stream.batch,
                       lambda: stream.resize(4 * MIB), lambda: stream.series("s", 5000)):
            with pytest.raises(pmemstream.ReadOnlyError):
                change()
        with pytest.raises(TimeoutError):
            stream.wait_persisted(5, 0.05)


def test_a_reader_follows_another_process(path):
    with pmemstream.create(path, MIB) as stream:
        stream.regions.create("words", 64 * KIB)
    writer = subprocess.Popen([sys.executable, "-B", "-c", """if True:
        import sys
        from nvm import pmemstream
        with pmemstream.open(sys.argv[1]) as stream:
            print("open", flush=True)
            sys.stdin.readline()
            for i in range(200):
                stream.regions["words"].append(b"%d" % i)
            sys.stdin.readline()
        """, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert writer.stdout.readline() == "open\n"
    with pmemstream.open(path, read_only=True) as stream:
        writer.stdin.write("go\n")
        writer.stdin.flush()
        seen = []
        for entry in stream.follow(writer_only=True):
            seen.append(int(bytes(entry)))
            if len(seen) == 150:
                writer.communicate("end\n")
        assert seen == list(range(200)) and stream.persisted == 200
    assert writer.returncode == 0


def test_close_is_harmless_again_and_any_use_raises(path):
    stream = pmemstream.create(path, MIB)
    region = stream.regions.create("words", 100000)
    entry, iterator, batch, series = region.append(b"x"), iter(stream), stream.batch(), stream.series("s", 10000)
    series.append(b"x")
    stream.close()
    stream.close()
    assert stream.closed and "closed" in repr(stream)
    for use in (lambda: stream.committed, lambda: stream.persisted, lambda: list(stream), lambda: next(iterator), stream.batch,
                lambda: stream.allocate(5000), lambda: stream.regions["words"], lambda: list(stream.regions), region.info,
                lambda: region.append(b""), lambda: region.appendv([b""]), lambda: list(region), region.free, lambda: entry.data,
                lambda: bytes(entry), lambda: entry.region, lambda: batch.append(region, b""), batch.commit, series.retain,
                lambda: series.append(b""), lambda: list(series), stream.statistics, lambda: stream.resize(2 * MIB),
                lambda: stream.wait_newer(0), lambda: stream.wait_persisted(1), stream.cancel_waits, stream.__enter__,
                lambda: stream.series("s", 10000), lambda: stream.entry_space(1), lambda: stream.entries()):
        with pytest.raises(ValueError):
            use()
    batch.abort()
    series.close()


def test_a_stream_in_a_cycle_is_closed(path):
    stream = pmemstream.create(path, MIB)
    region = stream.regions.create("words", 10000)
    cycle = [stream, region, iter(region), stream.batch(), stream.series("s", 10000), region.append(b"x")]
    cycle.append(cycle)
    stream.itself = cycle
    del stream, region, cycle
    gc.collect()
    pmemstream.open(path).close()


def test_uses_racing_with_close_raise_value_error_at_worst(path):
    for turn in range(10):
        stream = pmemstream.create(f"{path}{turn}", 2 * MIB)
        region = stream.regions.create("words", MIB)

        def guarded(use):
            try:
                while True:
                    use()
            except (ValueError, pmemstream.CancelledError, pmemstream.FullError):
                pass

        def views():
            for entry in stream:
                with entry.data as view:
                    assert bytes(view) == b"x" * 10

        def batches():
            with stream.batch() as batch:
                batch.append(region, b"x" * 10)

        def close():
            while stream.committed < 50:
                time.sleep(0.0001)
            while not stream.closed:
                try:
                    stream.close()
                except BufferError:
                    pass

        in_threads(lambda: guarded(lambda: region.append(b"x" * 10)), lambda: guarded(views), lambda: guarded(batches),
                   lambda: guarded(lambda: texts(region)), lambda: guarded(lambda: stream.wait_newer(stream.committed)), close)


def test_threads_append_while_others_iterate(stream):
    region = stream.regions.create("shared", MIB)
    count, threads = 300, 4

    def append(number):
        for i in range(count):
            region.append(b"%d %d" % (number, i))

    def iterate():
        seen = []
        for entry in stream.follow():
            seen.append(tuple(map(int, bytes(entry).split())))
            if len(seen) == count * threads:
                break
        for number in range(threads):
            assert [i for n, i in seen if n == number] == list(range(count))

    shared = iter(region) # used by two threads at once

    def share():
        while stream.committed < count * threads:
            for entry in shared:
                assert b" " in bytes(entry)

    in_threads(*[lambda n=n: append(n) for n in range(threads)], iterate, iterate, share, share)
    statistics = stream.statistics()
    assert statistics.appended == count * threads and statistics.syncs <= statistics.appended + 20


def test_threads_share_an_iterator(stream, region):
    with stream.batch() as batch:
        for _ in range(500):
            batch.append(region, b"")
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for _ in range(20):
            entries, seen = iter(stream), []
            in_threads(*[lambda entries=entries, seen=seen: seen.extend(entries)] * 4)
            assert sorted(entry.timestamp for entry in seen) == list(range(1, 501))
    finally:
        sys.setswitchinterval(interval)


def test_a_time_limit_may_be_infinite(stream, region):
    in_threads(lambda: stream.wait_newer(0, timeout=float("inf")), lambda: (time.sleep(0.1), region.append(b"")))


def test_a_close_that_was_interrupted_can_be_repeated(stream, region):
    class Interrupted:
        def finish(self):
            del stream._hubs[0]
            raise KeyboardInterrupt

    stream._hubs[0] = Interrupted()
    with pytest.raises(KeyboardInterrupt):
        stream.close()
    assert not stream.closed and bytes(region.append(b"abc").data) == b"abc" and texts(region) == [b"abc"]
    stream.close()
    assert stream.closed


def test_a_child_of_fork_must_open_the_stream_itself(stream, region):
    entry, iterator, batch, view = region.append(b"x"), iter(stream), stream.batch(), region.append(b"view").data
    child = os.fork()
    if child == 0:
        status = 0
        try:
            for use in (lambda: stream.committed, lambda: region.append(b""), lambda: next(iterator), lambda: bytes(entry),
                        lambda: batch.append(region, b""), lambda: stream.wait_newer(0)):
                try:
                    use()
                    status = 1
                except ValueError:
                    pass
            status |= bytes(view) != b"view"
            view.release()
            stream.close()
            del stream, region, entry, iterator, batch
            gc.collect()
        except BaseException: # noqa: BLE001
            status = 2
        os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    view.release()
    region.append(b"y")
    assert len(list(stream)) == 3


def test_the_interpreter_ends_with_open_streams(path):
    output_of("""
        import asyncio, sys, threading, time
        from nvm import pmemstream
        stream = pmemstream.create(sys.argv[1], 1 << 20)
        region = stream.regions.create("words", 100000)
        region.append(b"kept")
        iterator, batch, series = iter(stream), stream.batch(), stream.series("s", 10000)
        other = pmemstream.create(sys.argv[1] + "2", 1 << 20)
        view = other.regions.create("words", 10000).append(b"seen").data
        def follow():
            for entry in stream.follow():
                pass
        for function in (follow, lambda: [time.sleep(100) for entry in stream]):
            threading.Thread(target=function, daemon=True).start()
        async def leave():
            asyncio.ensure_future(region.append_async(b"also"))
            asyncio.ensure_future(stream.follow().__anext__())
            await asyncio.sleep(0)
        asyncio.run(leave())
        time.sleep(0.1)
        """, path)
    with pmemstream.open(path) as stream:
        assert texts(stream)[0] == b"kept"
    pmemstream.open(path + "2").close()


def test_what_was_acknowledged_survives_kill_9(path):
    for turn in range(6):
        name = f"{path}{turn}"
        writer = subprocess.Popen([sys.executable, "-B", "-c", """if True:
            import asyncio, sys
            from nvm import pmemstream
            stream = pmemstream.create(sys.argv[1], 16 << 20)
            regions = [stream.regions.create(f"r{i}", 5 << 20) for i in range(2)]
            async def one(i):
                await regions[i % 2].append_async(b"%08d" % i)
                sys.stdout.buffer.raw.write(b"%08d" % i)
            async def main():
                for i in range(0, 100000, 10):
                    await asyncio.gather(*[one(j) for j in range(i, i + 10)])
            asyncio.run(main())
            """, name], stdout=subprocess.PIPE)
        acknowledged = writer.stdout.read(8 * (50 + 200 * turn))
        writer.send_signal(signal.SIGKILL)
        acknowledged += writer.stdout.read()
        writer.wait()
        writer.stdout.close()
        with pmemstream.open(name) as stream:
            there = [int(bytes(entry)) for entry in stream]
            assert there == list(range(len(there))) and len(there) >= len(acknowledged) // 8
        os.unlink(name)


def test_nothing_leaks_over_many_openings(path):
    def once():
        with pmemstream.create(path, MIB) as stream:
            region = stream.regions.create("words", 100000)
            for i in range(20):
                region.append(b"x" * i)
            texts(stream)
            with stream.batch() as batch:
                batch.append(region, b"x")
            stream.batch()
            iter(region)
            stream.series("s", 10000).append(b"x")
            next(iter(stream)).data[:].release()
            for error in (lambda: region.append(bytes(MIB)), lambda: stream.wait_newer(1000, 0)):
                try:
                    error()
                except OSError:
                    pass
        os.unlink(path)

    def state():
        gc.collect()
        return len(os.listdir("/proc/self/fd")), len(pathlib.Path("/proc/self/maps").read_text().splitlines())

    def resident():
        return int(pathlib.Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")

    for _ in range(10):
        once()
    tracemalloc.start()
    before, memory, traced = state(), resident(), tracemalloc.get_traced_memory()[0]
    for _ in range(60):
        once()
    gc.collect()
    grown = tracemalloc.get_traced_memory()[0] - traced
    tracemalloc.stop()
    after = state()
    assert grown < 50000, f"{grown} bytes of Python objects more"
    assert after[0] == before[0]
    if "libasan" not in os.environ.get("LD_PRELOAD", ""):
        assert after[1] <= before[1] + 4 and resident() - memory < 8 * MIB
