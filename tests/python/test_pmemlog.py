"""nvm.pmemlog: what its documentation promises, what was wrong with its predecessor, what it adds."""

import array
import errno
import gc
import os
import pathlib
import signal
import subprocess
import sys
import threading
import tracemalloc

import pytest
from hypothesis import given, strategies

from conftest import in_threads, output_of, run_script
from nvm import pmemlog

MIB = 1 << 20


def content(pool):
    return b"".join(pool)


# What the documentation says.

def test_create_open_check_have_the_documented_defaults(path):
    pool = pmemlog.create(filename=path)
    assert pool.nbyte() == len(pool) == pmemlog.PMEMLOG_MIN_POOL - 8192
    assert os.stat(path).st_mode & 0o7777 == 0o666
    assert pool.tell() == 0
    assert pool.append(b"ab") == 0 and pool.tell() == 2
    pool.close()
    assert pmemlog.check(filename=path) is True
    pool = pmemlog.open(filename=path)
    assert content(pool) == b"ab"
    pool.rewind()
    assert pool.tell() == 0 and content(pool) == b""
    pool.close()


def test_size_and_mode_are_taken_literally(path):
    pmemlog.create(path, 3 * MIB, 0o604).close()
    assert os.stat(path).st_size == 3 * MIB and os.stat(path).st_mode & 0o7777 == 0o604


def test_a_walk_gives_bytes_in_chunks_until_zero(path):
    seen = []
    with pmemlog.create(path) as pool:
        pool.append(b"0123456789")
        pool.walk(lambda chunk: seen.append(chunk) or 1, 4)
        assert seen == [b"0123", b"4567", b"89"]
        seen.clear()
        pool.walk(lambda chunk: seen.append(chunk) or len(seen) < 2, chunk_size=4)
        assert seen == [b"0123", b"4567"]
        seen.clear()
        pool.walk(func=lambda chunk: seen.append(chunk) or 0)
        assert seen == [b"0123456789"]


def test_an_empty_log_is_one_empty_chunk_or_none(path):
    seen = []
    with pmemlog.create(path) as pool:
        pool.walk(seen.append)
        pool.walk(seen.append, 8)
    assert seen == [b""]


def test_check_version_is_true_or_raises_a_text():
    assert pmemlog.check_version(pmemlog.PMEMLOG_MAJOR_VERSION, pmemlog.PMEMLOG_MINOR_VERSION) is True
    for version in ((0, 0), (1, 99), (2, 0)):
        with pytest.raises(RuntimeError) as caught:
            pmemlog.check_version(*version)
        assert "version mismatch" in str(caught.value)


def test_the_c_handle_makes_another_logpool_of_the_same_pool(path):
    pool = pmemlog.create(path)
    again = pmemlog.LogPool(pool.log_pool)
    again.append(b"x")
    assert pool.tell() == 1
    again.close()
    with pytest.raises(ValueError):
        pool.tell()
    pool.close()


def test_a_strange_handle_is_refused(path):
    with pmemlog.create(path) as pool:
        handle = pool.log_pool
    for strange, error in ((handle, ValueError), (pmemlog.ffi.NULL, ValueError), (7, TypeError), (None, TypeError),
                           (pmemlog.ffi.new("int *"), ValueError)):
        with pytest.raises(error):
            pmemlog.LogPool(strange)


# Failures.

def test_failures_of_opening_have_their_kinds(path, folder):
    with pytest.raises(FileNotFoundError) as caught:
        pmemlog.open(path)
    assert caught.value.filename == path and isinstance(caught.value.strerror, str)
    assert (pmemlog.get_errno(), bool(pmemlog.errormsg())) == (errno.ENOENT, True)
    with pytest.raises(ValueError) as caught:
        pmemlog.create(path, 5)
    assert isinstance(caught.value, OSError) and caught.value.errno == errno.EINVAL
    assert not os.path.exists(path)
    with pytest.raises(ValueError):
        pmemlog.open(folder)
    with pmemlog.create(path):
        with pytest.raises(FileExistsError):
            pmemlog.create(path)
        with pytest.raises(BlockingIOError):
            pmemlog.open(path)
        assert pmemlog.check(path) is False and pmemlog.get_errno() == errno.EAGAIN
    with pytest.raises(OSError):
        pmemlog.create(path + "2", 1 << 60)
    for wrong in ("a\0b", b"\0"):
        with pytest.raises(ValueError):
            pmemlog.open(wrong)
    for wrong in (None, 3.5, object()):
        with pytest.raises(TypeError):
            pmemlog.create(wrong)
    with pytest.raises((OverflowError, TypeError)):
        pmemlog.create(path + "3", -1)


def test_no_memory_is_a_memory_error_and_an_os_error():
    assert issubclass(pmemlog.NoMemoryError, MemoryError) and issubclass(pmemlog.NoMemoryError, OSError)
    assert pmemlog.NoMemoryError(errno.ENOMEM, "text", "name").errno == errno.ENOMEM


def test_an_append_that_fails_returns_minus_one_and_says_why(path):
    with pmemlog.create(path) as pool:
        pool.append(b"there")
        assert pool.append(bytes(3 * MIB)) == -1
        assert pmemlog.get_errno() == errno.ENOSPC and "free" in pmemlog.errormsg()
        assert pool.appendv([bytes(3 * MIB)]) == -1
        assert content(pool) == b"there"
        seen = []
        in_threads(lambda: seen.append((pmemlog.get_errno(), pmemlog.errormsg())))
        assert seen == [(0, "")], "another thread has failed nowhere"


def test_a_strict_pool_raises_instead(path):
    with pmemlog.create(path, strict=True) as pool:
        for append in (lambda: pool.append(bytes(3 * MIB)), lambda: pool.appendv([bytes(3 * MIB)])):
            with pytest.raises(OSError) as caught:
                append()
            assert (caught.value.errno, caught.value.filename) == (errno.ENOSPC, path)
    with pmemlog.open(path, strict=True) as pool:
        with pytest.raises(OSError):
            pool.append(bytes(3 * MIB))


def test_wrong_arguments_raise(path):
    with pmemlog.create(path) as pool:
        for wrong in (None, 5, 1.5, ["a"]):
            with pytest.raises(TypeError):
                pool.append(wrong)
        with pytest.raises((TypeError, BufferError, ValueError)):
            pool.append(memoryview(b"abcdef")[::2])
        for func, chunk_size, error in ((None, 0, TypeError), (print, -1, OverflowError), (print, 1 << 64, OverflowError),
                                        (print, "4", TypeError), (print, 1.5, TypeError)):
            with pytest.raises(error):
                pool.walk(func, chunk_size)
        with pytest.raises(ValueError):
            pool.chunks(-1)
        assert pool.tell() == 0


# What was wrong with the predecessor.

def test_zero_bytes_survive_a_walk(path):
    seen = []
    with pmemlog.create(path) as pool:
        pool.append(b"ab\0cd\0\0ef")
        pool.walk(seen.append)
        pool.walk(seen.append, 3)
    assert seen == [b"ab\0cd\0\0ef", b"ab\0", b"cd\0", b"\0ef"]


def test_any_buffer_can_be_appended(path):
    numbers = array.array("I", [1, 2, 3])
    with pmemlog.create(path) as pool:
        for buffer in (b"bytes", bytearray(b"array"), memoryview(b"xviewx")[1:5], numbers, "t\u00e9xt", b""):
            assert pool.append(buffer) == 0
        assert pool.appendv([b"1", bytearray(b"2"), b"", memoryview(b"3")]) == 0
        assert pool.appendv([]) == 0
        assert content(pool) == b"bytesarrayview" + numbers.tobytes() + "t\u00e9xt".encode() + b"123"


def test_file_names_of_every_kind_work(folder):
    names = ["text-\u00e9", os.fsencode(folder / "bytes"), folder / "path"]
    for name in names:
        name = folder / name if isinstance(name, str) else name
        pmemlog.create(name).close()
        assert pmemlog.check(name)
        pmemlog.open(name).close()


def test_closing_twice_is_harmless_and_any_use_raises(path):
    pool = pmemlog.create(path)
    pool.append(b"abc")
    chunks = pool.chunks(1)
    next(chunks)
    pool.close()
    pool.close()
    assert pool.closed and "closed" in repr(pool)
    for use in (pool.tell, pool.nbyte, pool.__len__, pool.rewind, pool.view, pool.__enter__, lambda: pool.append(b""),
                lambda: pool.appendv([]), lambda: pool.walk(print), lambda: list(pool), lambda: pool.log_pool,
                lambda: next(chunks)):
        with pytest.raises(ValueError):
            use()


def test_an_exception_in_a_callback_ends_the_walk_and_propagates(path):
    class Own(BaseException):
        pass

    seen = []

    def raise_at_second(chunk):
        seen.append(chunk)
        if len(seen) == 2:
            raise Own("here")

    with pmemlog.create(path) as pool:
        pool.append(b"abcdef")
        with pytest.raises(Own) as caught:
            pool.walk(raise_at_second, 1)
        assert seen == [b"a", b"b"] and "raise_at_second" in str(caught.traceback[-1])
        with pytest.raises(Own):
            pool.walk(lambda chunk: pool.walk(raise_at_second, 1) if seen.clear() is None else 0)
        pool.walk(seen.append) # a later walk knows nothing of it
    assert seen == [b"a", b"b", b"abcdef"]


def test_a_callback_that_returns_none_goes_on(path):
    seen = []
    with pmemlog.create(path) as pool:
        pool.append(b"abc")
        pool.walk(lambda chunk: seen.append(chunk), 1)
        pool.walk(lambda chunk: seen.append(chunk) or False, 1)
    assert seen == [b"a", b"b", b"c", b"a"]


def test_a_walk_cannot_change_or_close_its_pool(path):
    with pmemlog.create(path) as pool, pmemlog.create(path + "2") as other:
        pool.append(b"ab")
        again = pmemlog.LogPool(pool.log_pool)
        for change in (lambda: pool.append(b"x"), pool.rewind, pool.close, lambda: pool.appendv([b"x"]), again.close):
            with pytest.raises(RuntimeError):
                pool.walk(lambda chunk: change())
        pool.walk(lambda chunk: other.append(chunk))
        inner = []
        pool.walk(lambda chunk: pool.walk(inner.append) or pool.tell() == 2, 1)
        assert content(pool) == content(other) == b"ab" and inner == [b"ab", b"ab"]


def test_tell_is_right_beyond_two_gibibytes(path):
    """The file is sparse: the pool is copied header by header, and its write offset moved by hand."""
    size, used = (3 << 30) + 8192, (2 << 30) + 5
    pmemlog.create(path).close()
    with open(path, "r+b") as file:
        file.truncate(size)
        file.seek(4096 + 8)
        file.write(size.to_bytes(8, "little") + (8192 + used).to_bytes(8, "little"))
    with pmemlog.open(path) as pool:
        assert pool.tell() == used and pool.nbyte() == 3 << 30
        pool.append(b"end")
        with pool.view() as view:
            assert len(view) == used + 3 and bytes(view[-3:]) == b"end"


def test_a_pool_that_nobody_has_is_closed(path):
    pmemlog.create(path).append(b"x")
    gc.collect()
    with pmemlog.open(path) as pool:
        assert content(pool) == b"x"


def test_a_pool_in_a_cycle_is_closed(path):
    pool = pmemlog.create(path)
    cycle = [pool]
    cycle.append(cycle)
    del pool, cycle
    gc.collect()
    pmemlog.open(path).close()


# Additions.

def test_a_with_block_closes_whatever_happens(path):
    with pytest.raises(ZeroDivisionError):
        with pmemlog.create(path) as pool:
            1 / 0
    assert pool.closed
    pmemlog.open(path).close()


def test_iteration_gives_the_bytes_in_pieces(path):
    data = bytes(range(256)) * 1000
    with pmemlog.create(path) as pool:
        assert list(pool) == list(pool.chunks(5)) == []
        pool.append(data)
        assert b"".join(pool) == data and [len(piece) for piece in pool.chunks(100000)] == [100000, 100000, 56000]
        assert list(pool.chunks()) == [data]
        steps = pool.chunks(128000)
        next(steps)
        pool.append(b"later")
        assert len(next(steps)) == 128000 and list(steps) == [], "what came later is not shown"
        steps = pool.chunks(10)
        next(steps)
        pool.rewind()
        with pytest.raises(RuntimeError):
            next(steps)


def test_a_view_is_read_only_and_keeps_the_pool_open(path):
    pool = pmemlog.create(path)
    pool.append(b"abcdef")
    view = pool.view()
    assert view.readonly and bytes(view) == b"abcdef"
    with pytest.raises(TypeError):
        view[0] = 1
    with pytest.raises((TypeError, ValueError)):
        memoryview(view.obj)[0] = 1
    part = view[2:4]
    view.release()
    for change in (pool.close, pool.rewind):
        with pytest.raises(BufferError):
            change()
    pool.append(b"ghi") # does not touch what is there
    assert bytes(part) == b"cd"
    del part
    pool.rewind()
    pool.close()


def test_a_view_outlives_every_name_of_its_pool(path):
    pool = pmemlog.create(path)
    pool.append(b"abcdef")
    view = pool.view()[1:3]
    del pool
    gc.collect()
    assert bytes(view) == b"bc"
    with pytest.raises(BlockingIOError):
        pmemlog.open(path)
    del view
    pmemlog.open(path).close()


def test_a_view_in_a_traceback_hides_no_exception(path):
    def look(pool):
        view = pool.view()
        raise KeyError(len(view))

    with pytest.raises(KeyError):
        with pmemlog.create(path) as pool:
            look(pool)


def test_repr_names_the_file_and_how_full_it_is(path):
    with pmemlog.create(path) as pool:
        pool.append(b"abc")
        assert path in repr(pool) and " 3 of 2088960 bytes" in repr(pool)


# Threads, processes, the end.

def test_threads_append_while_others_read(path):
    with pmemlog.create(path, 4 * MIB) as pool:
        def append(number):
            for i in range(500):
                assert pool.append(b"%02d%06d" % (number, i)) == 0

        def read():
            while pool.tell() < 4 * 500 * 8:
                for chunk in pool.chunks(8):
                    assert chunk.isdigit()
                pool.walk(lambda chunk: chunk.isdigit(), 8)
                with pool.view() as view:
                    assert bytes(view[:8]).isdigit() or not view

        in_threads(*[lambda n=n: append(n) for n in range(4)], read, read)
        seen = list(pool.chunks(8))
    for number in range(4):
        assert [s for s in seen if s.startswith(b"%02d" % number)] == [b"%02d%06d" % (number, i) for i in range(500)]


def test_close_waits_for_the_calls_of_other_threads(path):
    pool = pmemlog.create(path)
    pool.append(b"abcd")
    inside, go_on, order = threading.Event(), threading.Event(), []

    def callback(chunk):
        inside.set()
        go_on.wait()
        order.append(chunk)

    def close():
        inside.wait()
        threading.Timer(0.05, go_on.set).start()
        pool.close()
        order.append("closed")

    in_threads(lambda: pool.walk(callback, 1), close)
    assert order == [b"a", b"b", b"c", b"d", "closed"]


def test_uses_racing_with_close_raise_value_error_at_worst(path):
    for turn in range(20):
        pool = pmemlog.create(f"{path}{turn}")

        def use():
            try:
                while True:
                    pool.append(b"x")
                    try:
                        with pool.view() as view:
                            assert set(bytes(view)) <= {ord("x")}
                    except BufferError:
                        pass # at the very moment that the other one tries to close
                    pool.walk(len)
            except ValueError:
                pass

        def close():
            while not pool.closed:
                try:
                    pool.close()
                except BufferError:
                    pass

        in_threads(use, use, close)


def test_a_child_of_fork_shares_the_pool(path):
    with pmemlog.create(path) as pool:
        child = os.fork()
        if child == 0:
            pool.append(b"child")
            pool.close()
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        assert content(pool) == b"child"


def test_a_fork_inside_a_walk_closes_neither(path):
    with pmemlog.create(path) as pool:
        pool.append(b"ab")

        def callback(chunk):
            child = os.fork()
            if child == 0:
                try:
                    pool.close()
                    os._exit(1)
                except RuntimeError:
                    os._exit(pool.tell())
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 2

        pool.walk(callback, 1)


def test_the_interpreter_ends_with_open_pools(path):
    output_of("""
        import sys, threading, time
        from nvm import pmemlog
        pool = pmemlog.create(sys.argv[1])
        pool.append(b"kept")
        view = pmemlog.create(sys.argv[1] + "2").view()
        other = pmemlog.create(sys.argv[1] + "3")
        def work():
            try:
                while True:
                    other.append(b"")
            except ValueError:
                time.sleep(100)
        threading.Thread(target=work, daemon=True).start()
        stuck = pmemlog.create(sys.argv[1] + "4")
        threading.Thread(target=stuck.walk, args=(lambda chunk: time.sleep(100),), daemon=True).start()
        time.sleep(0.1)
        """, path)
    with pmemlog.open(path) as pool:
        assert content(pool) == b"kept"


def test_what_was_acknowledged_survives_kill_9(path):
    for turn in range(8):
        name = f"{path}{turn}"
        writer = subprocess.Popen([sys.executable, "-B", "-c", """if True:
            import sys
            from nvm import pmemlog
            pool = pmemlog.create(sys.argv[1])
            for i in range(100000):
                pool.append(b"%08d" % i)
                sys.stdout.buffer.raw.write(b"%08d" % i)
            """, name], stdout=subprocess.PIPE)
        acknowledged = writer.stdout.read(8 * (50 + 300 * turn))
        writer.send_signal(signal.SIGKILL)
        acknowledged += writer.stdout.read()
        writer.wait()
        writer.stdout.close()
        with pmemlog.open(name) as pool:
            there = content(pool)
            assert there.startswith(acknowledged) and len(there) - len(acknowledged) in (0, 8)
        os.unlink(name)


def test_nothing_leaks_over_many_openings(path):
    def once():
        with pmemlog.create(path, strict=True) as pool:
            pool.append(b"x" * 1000)
            pool.walk(len)
            with pool.view() as view:
                view[3:].release()
            for error in (lambda: pool.append(bytes(3 * MIB)), lambda: pool.walk(lambda chunk: 1 / 0)):
                try:
                    error()
                except (OSError, ZeroDivisionError):
                    pass
        os.unlink(path)

    def state():
        gc.collect()
        return len(os.listdir("/proc/self/fd")), len(pathlib.Path("/proc/self/maps").read_text().splitlines())

    def resident():
        return int(pathlib.Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")

    for _ in range(20):
        once()
    tracemalloc.start()
    before, memory, traced = state(), resident(), tracemalloc.get_traced_memory()[0]
    for _ in range(200):
        once()
    grown = tracemalloc.get_traced_memory()[0] - traced
    tracemalloc.stop()
    after = state()
    assert grown < 50000, f"{grown} bytes of Python objects more"
    assert after[0] == before[0]
    if "libasan" not in os.environ.get("LD_PRELOAD", ""): # which keeps what was freed for a while
        assert after[1] <= before[1] + 4 and resident() - memory < 8 * MIB


# Beside PMDK's library.

PMDK = f"/usr/lib/{subprocess.run(['gcc', '-print-multiarch'], capture_output=True, text=True, check=True).stdout.strip()}"
WHICH = """
    import re, sys
    from nvm import pmemlog
    def library():
        with open("/proc/self/maps") as maps:
            return {m.group() for m in re.finditer(r"/\\S*libpmemlog\\.so\\S*", maps.read())}
    """


def test_the_library_of_the_project_is_loaded_beside_debians():
    loaded = output_of(WHICH + "\n    print(*library())")
    assert len(loaded.split()) == 1 and not loaded.startswith(PMDK), loaded


def test_pools_go_back_and_forth_with_debians_library(path):
    script = WHICH + """
    verb, path, text = sys.argv[1:]
    with getattr(pmemlog, verb)(path) as pool:
        assert pool.append(text) == 0
        pool.walk(lambda content: print(content.decode()))
    print(*library())
    """
    expected = ""
    for turn, (verb, theirs) in enumerate((("create", True), ("open", False), ("open", True))):
        seen = output_of(script, verb, path, f"turn {turn};", **({"LD_LIBRARY_PATH": PMDK} if theirs else {}))
        expected += f"turn {turn};"
        assert seen.splitlines()[0] == expected and seen.splitlines()[1].startswith(PMDK) == theirs, seen
    info = subprocess.run(["pmempool", "info", "-d", path], capture_output=True, text=True, check=True).stdout
    assert "turn 0;" in info and "[OK]" in info


def test_a_misused_pool_of_debians_library_raises_too(path):
    output_of(WHICH + """
    pool = pmemlog.create(sys.argv[1])
    for misuse in (lambda chunk: pool.append(b"x"), lambda chunk: pool.close()):
        try:
            pool.walk(misuse)
            sys.exit("no exception")
        except RuntimeError:
            pass
    pool.close()
    pool.close()
    """, path, LD_LIBRARY_PATH=PMDK)


@given(strategies.lists(strategies.binary(max_size=200), max_size=30), strategies.integers(0, 300))
def test_what_is_appended_is_read_whatever_it_is(tmp_path_factory, records, chunk_size):
    name = tmp_path_factory.mktemp("given") / "pool"
    with pmemlog.create(name) as pool:
        for record in records:
            assert pool.append(record) == 0
        everything, seen = b"".join(records), []
        pool.walk(seen.append, chunk_size)
        assert b"".join(seen) == everything == b"".join(pool.chunks(chunk_size)) == bytes(pool.view())
        assert all(len(chunk) == chunk_size for chunk in seen[:-1] if chunk_size)
    os.unlink(name)


def test_threads_rewind_at_the_same_time(path):
    with pmemlog.create(path) as pool:
        def use():
            for _ in range(50):
                pool.append(b"abc")
                pool.rewind()

        in_threads(*[use] * 4)
        assert pool.tell() == 0 and pool.view() == b""
