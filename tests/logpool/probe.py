"""probe.py LIBRARY FOLDER [CASE...]: what one libpmemlog does in each case of the behaviour tables, as one line of JSON.

Each case runs in a process of its own, in a folder of its own, so that one that dies or hangs is a result like any
other. behaviour.py runs this for two libraries and compares. A result is made of values, errno names and "signal N".
"""

import ctypes
import errno
import fcntl
import json
import os
import shutil
import signal
import struct
import subprocess
import sys
import time

MIB = 1 << 20
HANG_SECONDS = 60
HANGS_BY_DESIGN_SECONDS = 3 # cases in which PMDK's library hangs
CASES = {}
NOBODY = 65534
CLONE_NEWNS = 0x20000


class Vector(ctypes.Structure):
    _fields_ = [("base", ctypes.c_void_p), ("bytes", ctypes.c_size_t)]


CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p)


class Library:
    """The functions of a libpmemlog with their types; calls give (value, errno name)."""

    def __init__(self, path):
        self.lib = ctypes.CDLL(path, use_errno=True)
        void_p, size, text = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p
        for name, result, arguments in [
                ("create", void_p, [text, size, ctypes.c_uint]), ("open", void_p, [text]), ("close", None, [void_p]),
                ("check", ctypes.c_int, [text]), ("nbyte", size, [void_p]), ("append", ctypes.c_int, [void_p, void_p, size]),
                ("appendv", ctypes.c_int, [void_p, void_p, ctypes.c_int]), ("tell", ctypes.c_longlong, [void_p]),
                ("rewind", None, [void_p]), ("walk", None, [void_p, size, CALLBACK, void_p]),
                ("check_version", text, [ctypes.c_uint, ctypes.c_uint]), ("errormsg", text, []),
                ("ctl_get", ctypes.c_int, [void_p, text, void_p]), ("ctl_set", ctypes.c_int, [void_p, text, void_p]),
                ("ctl_exec", ctypes.c_int, [void_p, text, void_p]), ("set_funcs", None, [void_p] * 4)]:
            function = getattr(self.lib, "pmemlog_" + name)
            function.restype, function.argtypes = result, arguments
            setattr(self, name, function)

    def call(self, function, *arguments):
        ctypes.set_errno(0)
        value = function(*arguments)
        return value, name_of(ctypes.get_errno())

    def make(self, path, size=2 * MIB, mode=0o600):
        """"ok", or the errno of a create; the pool is closed again."""
        return self.end(*self.call(self.create, path and os.fsencode(path), size, mode))

    def look(self, path):
        """The same for open, with what a pool says of itself."""
        return self.end(*self.call(self.open, path and os.fsencode(path)))

    def end(self, pool, error):
        if not pool:
            return error
        result = f"ok nbyte {self.nbyte(pool)} tell {self.tell(pool)}"
        self.close(pool)
        return result

    def judge(self, path):
        """check's value, with errno if it is not 1."""
        value, error = self.call(self.check, path and os.fsencode(path))
        return str(value) if value == 1 else f"{value} {error}"

    def both(self, path):
        return [self.look(path), self.judge(path)]

    def content(self, pool, chunk=0, stop_after=None):
        """The chunks that a walk shows."""
        seen = []

        def take(data, size, _):
            seen.append(ctypes.string_at(data, size).decode("latin1") if size < 100 else size)
            return 0 if stop_after == len(seen) else 1

        self.walk(pool, chunk, CALLBACK(take), None)
        return seen

    def appendv_of(self, pool, *pieces, count=None):
        keep = [ctypes.create_string_buffer(p, len(p)) if p else None for p, _ in pieces]
        vectors = (Vector * max(1, len(pieces)))()
        for vector, (piece, size), buffer in zip(vectors, pieces, keep):
            vector.base = ctypes.addressof(buffer) if buffer else None
            vector.bytes = len(piece) if size is None else size
        return self.call(self.appendv, pool, vectors, len(pieces) if count is None else count)


def name_of(number):
    return errno.errorcode.get(number, str(number)) if number else "errno 0"


def case(function):
    CASES[function.__name__] = function
    return function


def open_pool(lib, path):
    pool = lib.open(os.fsencode(path))
    if not pool:
        raise RuntimeError(lib.errormsg().decode())
    return pool


def fresh(lib, name="pool", size=2 * MIB, content=b"hello"):
    pool = lib.create(name.encode(), size, 0o600)
    if not pool:
        raise RuntimeError(lib.errormsg().decode())
    if content:
        lib.append(pool, content, len(content))
    lib.close(pool)
    return name


# ---- files, byte by byte ----

def fletcher(data, checksum_at, zero_from):
    low = high = 0
    for off in range(0, len(data), 4):
        if off < zero_from and not checksum_at <= off < checksum_at + 8:
            low = low + struct.unpack_from("<I", data, off)[0] & 0xffffffff
        high = high + low & 0xffffffff
    return high << 32 | low


def patch(path, off, data, fix=True):
    """Overwrites bytes of a file and, with fix, makes the header's checksum right again."""
    with open(path, "r+b") as file:
        file.seek(off)
        file.write(data)
        if fix:
            file.seek(0)
            page = bytearray(file.read(4096))
            half = struct.unpack_from("<I", page, 16)[0] & 2
            struct.pack_into("<Q", page, 4088, fletcher(page, 4088, 2048 if half else 4096))
            file.seek(0)
            file.write(page)


def shutdown_state(usc, uuid, dirty):
    state = bytearray(struct.pack("<QQB", usc, uuid, dirty) + bytes(47))
    struct.pack_into("<Q", state, 56, fletcher(state, 56, 64))
    return bytes(state)


def patched(off, data, fix=True):
    def run(lib):
        patch(fresh(lib), off, data, fix)
        return lib.both("pool")
    return run


def u32(value):
    return struct.pack("<I", value)


def u64(value):
    return struct.pack("<Q", value)


for name, off, data, fix in [
        ("open_bad_magic", 0, b"PMEMBLK\0", True), ("open_lower_magic", 0, b"pmemlog\0", True),
        ("open_major_0", 8, u32(0), True), ("open_major_2", 8, u32(2), True), ("open_bad_checksum", 4088, u64(1), False),
        ("open_zero_header", 0, bytes(4096), False), ("open_bad_alignment", 128, u64(0), True),
        ("open_bad_class", 136, b"\1", True), ("open_bad_encoding", 137, b"\2", True),
        ("open_bad_reserved", 138, b"\1", True), ("open_bad_machine", 142, b"\xb7\0", True),
        ("open_own_uuid", 40, b"x" * 16, True), ("open_previous_part", 56, b"x" * 16, True),
        ("open_next_part", 72, b"x" * 16, True), ("open_previous_replica", 88, b"x" * 16, True),
        ("open_next_replica", 104, b"x" * 16, True), ("open_set_uuid", 24, b"x" * 16, True),
        ("open_crtime", 120, u64(0), True), ("open_unknown_compat", 12, u32(0x81), True), ("open_no_compat", 12, u32(0), True),
        ("open_unknown_incompat", 16, u32(0xe), True), ("open_singlehdr_plain", 16, u32(7), True),
        ("open_incompat_0", 16, u32(0), True), ("open_incompat_2", 16, u32(2), True), ("open_incompat_4", 16, u32(4), True),
        ("open_unknown_ro_compat", 20, u32(1), True), ("open_unused", 144, b"x" * 8, True),
        ("open_unused2", 2048, b"x" * 8, True), ("open_unused_unfixed", 144, b"x" * 8, False),
        ("open_unused2_unfixed", 2048, b"x" * 8, False), ("open_sds_garbage", 4024, b"g" * 64, False),
        ("open_sds_dirty_same", 4024, shutdown_state(0, 0, 1), False),
        ("open_sds_clean_other", 4024, shutdown_state(7, 9, 0), False),
        ("open_sds_dirty_other_usc", 4024, shutdown_state(7, 0, 1), False),
        ("open_sds_dirty_other_uuid", 4024, shutdown_state(0, 9, 1), False),
        ("open_start_8191", 4096, u64(8191), False), ("open_start_4096", 4096, u64(4096), False),
        ("open_end_low", 4104, u64(2 * MIB - 4096), False), ("open_end_high", 4104, u64(2 * MIB + 4096), False),
        ("open_write_low", 4112, u64(8191), False), ("open_write_high", 4112, u64(2 * MIB + 1), False),
        ("open_write_huge", 4112, u64(2 ** 64 - 1), False), ("open_full", 4112, u64(2 * MIB), False),
        ("open_scratch_garbage", 4120, b"A" * 56, False)]:
    CASES[name] = patched(off, data, fix)


@case
def sds_ignored_without_feature(lib):
    patch(fresh(lib), 16, u32(2))
    patch("pool", 4024, shutdown_state(7, 9, 1), False)
    return lib.both("pool")


def sized(change):
    def run(lib):
        fresh(lib)
        os.truncate("pool", 2 * MIB + change)
        return lib.both("pool")
    return run


for change in (4096, -4096, 1, 4095, -1, 8192):
    CASES[f"open_size_changed_{change}"] = sized(change)


@case
def open_file_of_1_mib(lib):
    with open("pool", "wb") as file:
        file.write(bytes(MIB))
    return lib.both("pool")


@case
def open_consistent_1_mib_pool(lib):
    fresh(lib)
    os.truncate("pool", MIB)
    patch("pool", 4104, u64(MIB), False)
    return lib.both("pool")


@case
def open_empty_file(lib):
    open("pool", "wb").close()
    return lib.look("pool")


@case
def check_empty_file(lib):
    open("pool", "wb").close()
    return lib.judge("pool")


@case
def open_truncated_to_4096(lib):
    fresh(lib)
    os.truncate("pool", 4096)
    return lib.look("pool")


@case
def open_places(lib):
    fresh(lib)
    os.mkdir("folder")
    os.mkfifo("fifo")
    os.symlink("pool", "link")
    os.symlink("nothing", "dangling")
    return {p: lib.both(p) for p in ("missing", "", "dangling", "link", "folder", "fifo", "/dev/null", "pool/below", "./pool",
                                     "x" * 300)}


@case
def open_null(lib):
    return lib.both(None)


@case
def open_other_pool_type(lib):
    subprocess.run(["pmempool", "create", "blk", "512", "pool"], check=True)
    return lib.both("pool")


# ---- create ----

@case
def create_sizes(lib):
    result = {}
    for size in (1, MIB, 0x1fffff, 2 * MIB, 2097153, 0x201fff, 3 * MIB, 1 << 63, (1 << 64) - 1):
        result[size] = [lib.make(f"p{size}", size), os.path.exists(f"p{size}") and os.path.getsize(f"p{size}")]
    return result


@case
def create_size_1_over_existing(lib):
    fresh(lib)
    return lib.make("pool", 1)


@case
def create_over_existing(lib):
    fresh(lib)
    os.mkdir("folder")
    os.symlink("nothing", "dangling")
    return {p: lib.make(p) for p in ("pool", "folder", "dangling", "/dev/null", "missing/below", "")}


@case
def create_in_existing(lib):
    result = {}
    for name, size, start in [("zero", 2 * MIB, b""), ("large", 3 * MIB + 5, b""), ("small", 2 * MIB - 1, b""),
                              ("empty", 0, b""), ("garbage", 2 * MIB, b"x"), ("garbage_late", 2 * MIB, bytes(4095) + b"x"),
                              ("garbage_behind", 2 * MIB, bytes(4096) + b"x" * 100)]:
        with open(name, "wb") as file:
            file.write(start)
            file.truncate(size)
        os.chmod(name, 0o640)
        result[name] = [lib.make(name, 0, 0o777), oct(os.stat(name).st_mode), os.path.getsize(name),
                        os.stat(name).st_blocks * 512 >= size // 4096 * 4096]
    os.mkdir("folder")
    fresh(lib)
    for name in ("missing", "folder", "/dev/null", "pool", ""):
        result[name] = lib.make(name, 0)
    return result


@case
def create_null(lib):
    return [lib.make(None), lib.make(None, 0)]


@case
def create_modes(lib):
    os.umask(0o077)
    result = {}
    for mode in (0o666, 0, 0o444, 0o7777, 0o100644):
        result[oct(mode)] = [lib.make(f"m{mode}", 2 * MIB, mode), oct(os.stat(f"m{mode}").st_mode)]
    return result


@case
def create_allocates(lib):
    fresh(lib)
    return os.stat("pool").st_blocks * 512 >= 2 * MIB


@case
def create_locked_by_flock(lib):
    with open("pool", "wb") as file:
        file.truncate(2 * MIB)
        fcntl.flock(file, fcntl.LOCK_EX)
        return lib.make("pool", 0)


@case
def header_fields(lib):
    before = int(time.time())
    fresh(lib)
    with open("pool", "rb") as file:
        page = file.read(8192)
    uuid = page[40:56]
    return {"start": page[:24].hex(), "links": [page[off:off + 16] == uuid for off in (56, 72, 88, 104)],
            "set differs": page[24:40] != uuid, "version": uuid[7] >> 4, "variant": uuid[8] >> 6,
            "crtime": before - 1 <= struct.unpack_from("<Q", page, 120)[0] <= time.time() + 1, "rest": page[128:4088].hex(),
            "checksum": struct.unpack_from("<Q", page, 4088)[0] == fletcher(page[:4096], 4088, 2048),
            "descriptor": page[4096:4120].hex(), "zero": page[4176:] == bytes(8192 - 4176)}


@case
def state_while_open(lib):
    pool = lib.create(b"pool", 2 * MIB, 0o600)
    with open("pool", "rb") as file:
        file.seek(4024)
        opened = file.read(64).hex()
        lib.close(pool)
        file.seek(4024)
        return [opened, file.read(64).hex()]


@case
def addresses_left_in_the_file(lib):
    fresh(lib)
    with open("pool", "rb") as file:
        file.seek(4120)
        return file.read(56) != bytes(56)


# ---- permissions and room ----

def as_nobody(action):
    def run(lib):
        if os.geteuid():
            return "needs root"
        os.chmod(".", 0o777)
        fresh(lib)
        os.chown("pool", NOBODY, NOBODY)
        for parent in list_of_parents():
            if not os.stat(parent).st_mode & 1:
                return "a folder above cannot be entered"
        return action(lib)
    return run


def list_of_parents():
    path = os.getcwd()
    while path != "/":
        yield path
        path = os.path.dirname(path)


def become_nobody():
    os.setgroups([])
    os.setresgid(NOBODY, NOBODY, NOBODY)
    os.setresuid(NOBODY, NOBODY, NOBODY)


def mode_case(mode):
    def action(lib):
        os.chmod("pool", mode)
        become_nobody()
        return lib.both("pool")
    return as_nobody(action)


for mode in (0o600, 0o400, 0o200, 0):
    CASES[f"open_as_nobody_mode_{mode:o}"] = mode_case(mode)


@case
def create_in_unwritable_folder(lib):
    def action(inner):
        os.chmod(".", 0o755)
        become_nobody()
        return inner.make("new")
    return as_nobody(action)(lib)


def mounted(lib, options, action):
    libc = ctypes.CDLL(None, use_errno=True)
    if os.geteuid() or libc.unshare(CLONE_NEWNS):
        return "needs root"
    os.mkdir("mount")
    for command in (["mount", "--make-rprivate", "/"], ["mount", "-t", "tmpfs", "-o", "size=8M", "none", "mount"]):
        if subprocess.run(command, capture_output=True, check=False).returncode:
            return "no mounts here"
    fresh(lib, "mount/pool")
    if options:
        subprocess.run(["mount", "-o", f"remount,{options}", "mount"], check=True)
    return action()


@case
def read_only_file_system(lib):
    return mounted(lib, "ro", lambda: [lib.both("mount/pool"), lib.make("mount/new")])


@case
def full_file_system(lib):
    def action():
        result = [lib.make("mount/large", 64 * MIB), os.path.exists("mount/large")]
        with open("set", "w") as file:
            file.write(f"PMEMPOOLSET\n2M {os.getcwd()}/mount/one\n64M {os.getcwd()}/mount/two\n")
        return result + [lib.make("set", 0), sorted(os.listdir("mount"))]
    return mounted(lib, "", action)


# ---- locks ----

@case
def open_twice(lib):
    pool = open_pool(lib, fresh(lib))
    result = [lib.both("pool")]
    child = os.fork()
    if not child:
        os._exit(0 if lib.both("pool")[0] == "EAGAIN" else 1)
    result.append(os.waitpid(child, 0)[1])
    lib.close(pool)
    return result + [lib.both("pool")]


@case
def open_while_flocked(lib):
    fresh(lib)
    with open("pool", "rb") as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        return lib.both("pool")


@case
def no_descriptor_is_kept(lib):
    before = len(os.listdir("/proc/self/fd"))
    pool = open_pool(lib, fresh(lib))
    count = len(os.listdir("/proc/self/fd")) - before
    lib.close(pool)
    return count


@case
def fork_shares_the_log_and_keeps_the_lock(lib):
    pool = open_pool(lib, fresh(lib))
    read_end, write_end = os.pipe()
    child = os.fork()
    if not child:
        lib.append(pool, b"child", 5)
        os.read(read_end, 1)
        os._exit(0)
    while lib.tell(pool) < 10:
        time.sleep(0.001)
    seen = lib.content(pool)
    lib.append(pool, b"parent", 6)
    seen += lib.content(pool)
    lib.close(pool)
    locked = lib.look("pool")
    os.write(write_end, b"x")
    os.waitpid(child, 0)
    return [seen, locked, lib.look("pool")]


@case
def killed_process(lib):
    fresh(lib)
    child = os.fork()
    if not child:
        pool = open_pool(lib, "pool")
        lib.append(pool, b"world", 5)
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    with open("pool", "rb") as file:
        file.seek(4040)
        dirty = file.read(1)[0]
    result = [dirty, lib.judge("pool")]
    with open("pool", "rb") as file:
        file.seek(4040)
        result.append(file.read(1)[0])
    return result + [lib.look("pool")]


# ---- append, walk, tell, rewind ----

def on_pool(action, size=2 * MIB, content=b""):
    def run(lib):
        pool = open_pool(lib, fresh(lib, size=size, content=content))
        result = action(lib, pool)
        lib.close(pool)
        return result
    return run


def pool_case(function):
    CASES[function.__name__] = on_pool(function)
    return function


@pool_case
def append_results(lib, pool):
    room = lib.nbyte(pool)
    data = b"x" * room
    result = [lib.call(lib.append, pool, data, 100), lib.tell(pool), lib.call(lib.append, pool, data, room - 99),
              lib.call(lib.append, pool, data, 2 ** 64 - 1), lib.call(lib.append, pool, None, 0), lib.tell(pool)]
    result += [lib.call(lib.append, pool, data, room - 100), lib.tell(pool), lib.call(lib.append, pool, None, 0),
               lib.call(lib.append, pool, data, 1), lib.appendv_of(pool), lib.appendv_of(pool, (b"", None))]
    lib.rewind(pool)
    return result + [lib.tell(pool), lib.call(lib.append, pool, data, 1), lib.tell(pool)]


@pool_case
def appendv_results(lib, pool):
    result = [lib.call(lib.appendv, pool, None, 0), lib.call(lib.appendv, pool, None, -1), lib.appendv_of(pool, (b"ab", None)),
              lib.appendv_of(pool, (b"cd", None), (b"", None), (b"e", None)), lib.appendv_of(pool, (b"", None), (b"", None)),
              lib.appendv_of(pool, (b"x" * 2000000, None), (b"y" * 100000, None)), lib.content(pool)]
    return result + [lib.appendv_of(pool, *[(bytes([65 + i % 26]), None) for i in range(1000)]), lib.tell(pool)]


@pool_case
def appendv_wrapping_lengths(lib, pool):
    return [lib.appendv_of(pool, (b"12345", None), (b"x", 2 ** 64 - 2)), lib.tell(pool)]


@pool_case
def append_null_1(lib, pool):
    return lib.call(lib.append, pool, None, 1)


@pool_case
def appendv_null_1(lib, pool):
    return lib.call(lib.appendv, pool, None, 1)


@pool_case
def walk_empty(lib, pool):
    return [lib.content(pool, chunk) for chunk in (0, 1, 2 ** 63 - 1)]


@pool_case
def walk_chunks(lib, pool):
    lib.append(pool, b"0123456789", 10)
    return [lib.content(pool, chunk) for chunk in (0, 1, 3, 5, 10, 11, 2 ** 63 - 1)] + \
           [lib.content(pool, 3, stop_after=2), lib.content(pool, 0, stop_after=1)]


@pool_case
def walk_negative_result_continues(lib, pool):
    lib.append(pool, b"0123456789", 10)
    sizes = []

    def take(_data, size, _):
        sizes.append(size)
        return -1

    lib.walk(pool, 4, CALLBACK(take), None)
    return sizes


@pool_case
def walk_huge_chunk(lib, pool):
    lib.append(pool, b"0123456789", 10)
    calls = 0
    total = 0

    def take(_data, size, _):
        nonlocal calls, total
        calls += 1
        total += min(size, 1 << 30)
        return calls < 100000

    lib.walk(pool, 2 ** 64 - 1, CALLBACK(take), None)
    return [calls, total]


def inside_walk(action):
    def run(lib, pool):
        lib.append(pool, b"0123456789", 10)
        result = []

        def take(_data, _size, _):
            result.append(action(lib, pool))
            return 0

        lib.walk(pool, 1, CALLBACK(take), None)
        return result + [lib.tell(pool)]
    return on_pool(run)


def rewind_result(lib, pool):
    ctypes.set_errno(0)
    lib.rewind(pool)
    return name_of(ctypes.get_errno())


CASES["append_inside_walk"] = inside_walk(lambda lib, pool: lib.call(lib.append, pool, b"x", 1))
CASES["rewind_inside_walk"] = inside_walk(rewind_result)
CASES["tell_inside_walk"] = inside_walk(lambda lib, pool: [lib.tell(pool), lib.nbyte(pool), lib.content(pool)])


@case
def read_only_handle(lib):
    patch(fresh(lib), 20, u32(1))
    pool = open_pool(lib, "pool")
    result = [lib.call(lib.append, pool, b"x", 1), lib.call(lib.append, pool, None, 0), lib.appendv_of(pool, (b"x", None)),
              lib.call(lib.appendv, pool, None, -1), rewind_result(lib, pool), lib.tell(pool), lib.content(pool)]
    lib.close(pool)
    return result


@case
def rewound_bytes_stay(lib):
    pool = open_pool(lib, fresh(lib))
    lib.rewind(pool)
    lib.close(pool)
    with open("pool", "rb") as file:
        file.seek(8192)
        return file.read(5).decode()


@case
def handle_is_the_address_of_the_mapping(lib):
    pool = open_pool(lib, fresh(lib))
    with open("/proc/self/maps") as maps:
        starts = [int(line.split("-")[0], 16) for line in maps if line.rstrip().endswith("/pool")]
    head = ctypes.string_at(pool, 8).decode("latin1")
    lib.close(pool)
    return [pool in starts, head]


# ---- version, message, functions, settings ----

@case
def check_version_results(lib):
    ctypes.set_errno(5)
    result = [lib.check_version(*v) for v in ((1, 0), (1, 1), (1, 2), (0, 1), (2, 0))]
    return [r and r.decode() for r in result] + [ctypes.get_errno()]


@case
def message_before_and_after(lib):
    result = [lib.errormsg().decode()]
    lib.open(b"missing")
    result.append("missing" in lib.errormsg().decode())
    fresh(lib)
    result.append(lib.errormsg().decode())
    pool = open_pool(lib, "pool")
    result.append(lib.errormsg().decode())
    lib.close(pool)
    return result


@case
def message_of_a_failed_appendv(lib):
    pool = open_pool(lib, fresh(lib))
    lib.appendv_of(pool, (b"x", 2 ** 40))
    result = lib.errormsg().decode() not in ("", "Unsafe shutdown count is not supported for this source")
    lib.close(pool)
    return result


@case
def errno_after_success(lib):
    value = ctypes.c_int(0)
    lib.ctl_set(None, b"sds.at_create", ctypes.byref(value))
    pool, error = lib.call(lib.create, b"pool", 2 * MIB, 0o600)
    lib.close(pool)
    pool, error_of_open = lib.call(lib.open, b"pool")
    lib.close(pool)
    return [error, error_of_open]


@case
def set_funcs_are_called(lib):
    libc = ctypes.CDLL(None)
    libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
    calls = {"malloc": 0, "free": 0}

    def allocate(size):
        calls["malloc"] += 1
        return libc.malloc(size)

    def release(memory):
        calls["free"] += 1
        libc.free(ctypes.c_void_p(memory))

    allocate_fn = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_size_t)(allocate)
    free_fn = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(release)
    lib.set_funcs(ctypes.cast(allocate_fn, ctypes.c_void_p), ctypes.cast(free_fn, ctypes.c_void_p), None, None)
    pool = lib.create(b"pool", 2 * MIB, 0o600)
    used = calls["malloc"] > 0
    before = dict(calls)
    lib.append(pool, b"x", 1)
    none = calls == before
    lib.close(pool)
    lib.set_funcs(None, None, None, None)
    before = dict(calls)
    fresh(lib, "other")
    return [used, calls["free"] > 0, none, calls == before]


NAMES = [b"prefault.at_create", b"prefault.at_open", b"sds.at_create", b"fallocate.at_create", b"copy_on_write.at_open"]


@case
def ctl_results(lib):
    result = []
    for name in NAMES:
        value = ctypes.c_int(77)
        result.append([name.decode(), lib.call(lib.ctl_get, None, name, ctypes.byref(value)), value.value])
        for new in (1, 0, 5, -1):
            value = ctypes.c_int(new)
            result.append(lib.call(lib.ctl_set, None, name, ctypes.byref(value)))
            value = ctypes.c_int(77)
            lib.ctl_get(None, name, ctypes.byref(value))
            result.append(value.value)
        result.append(lib.call(lib.ctl_exec, None, name, ctypes.byref(value)))
    return result


def unknown_name(name):
    def run(lib):
        value = ctypes.c_int(1)
        return [lib.call(function, None, name.encode(), ctypes.byref(value))
                for function in (lib.ctl_get, lib.ctl_set, lib.ctl_exec)]
    return run


for name in ("nonsense", "prefault", "prefault.", "prefault.at_create.x", "", ".", "nonsense.at_create"):
    CASES[f"ctl_name_{name}"] = unknown_name(name)


@case
def ctl_null_name(lib):
    value = ctypes.c_int(1)
    return [lib.call(function, None, None, ctypes.byref(value)) for function in (lib.ctl_get, lib.ctl_set, lib.ctl_exec)]


@case
def ctl_on_a_pool_with_garbage_in_scratch(lib):
    patch(fresh(lib), 4120, b"A" * 56, False)
    pool = open_pool(lib, "pool")
    value = ctypes.c_int(1)
    return lib.call(lib.ctl_get, pool, b"nonsense.name", ctypes.byref(value))


def setting(name, value, action):
    def run(lib):
        number = ctypes.c_int(value)
        lib.ctl_set(None, name, ctypes.byref(number))
        return action(lib)
    return run


def features(lib):
    fresh(lib)
    with open("pool", "rb") as file:
        return [file.read(24).hex(), file.seek(4024) and file.read(64).hex()]


def vanishing(lib):
    number = ctypes.c_int(0)
    lib.ctl_set(None, NAMES[4], ctypes.byref(number))
    fresh(lib)
    number = ctypes.c_int(1)
    lib.ctl_set(None, NAMES[4], ctypes.byref(number))
    pool = open_pool(lib, "pool")
    result = [lib.call(lib.append, pool, b"gone", 4), lib.tell(pool), lib.content(pool)]
    lib.close(pool)
    return result + [lib.look("pool")]


def sparse(lib):
    with open("pool", "wb") as file:
        file.truncate(2 * MIB)
    lib.make("pool", 0)
    return os.stat("pool").st_blocks * 512 >= 2 * MIB


CASES["sds_off_at_create"] = setting(NAMES[2], 0, features)
CASES["copy_on_write"] = setting(NAMES[4], 1, vanishing)
CASES["fallocate_on"] = setting(NAMES[3], 1, sparse)
CASES["fallocate_off"] = setting(NAMES[3], 0, sparse)
CASES["prefault_at_create"] = setting(NAMES[0], 1, lambda lib: lib.both(fresh(lib)))
CASES["prefault_at_open"] = setting(NAMES[1], 1, lambda lib: lib.both(fresh(lib)))


def with_environment(**environment):
    """Settings that are read when a library is loaded: asked for in a new process."""
    def run(lib):
        if "PMEMLOG_CONF_FILE" in environment and environment["PMEMLOG_CONF_FILE"] == "conf":
            with open("conf", "w") as file:
                file.write("# all of it\nprefault.at_open = 1 ; # one\n sds.at_create=\n0;")
        if environment.get("PMEMLOG_CONF_FILE") == "long_conf":
            with open("long_conf", "w") as file:
                file.write("#" * 100000 + "\nprefault.at_open=1;\n")
        code = ("import ctypes,sys\nl=ctypes.CDLL(sys.argv[1])\nv=ctypes.c_int(7)\n"
                "for n in ('prefault.at_open','sds.at_create','prefault.at_create'):\n"
                " l.pmemlog_ctl_get(None,n.encode(),ctypes.byref(v));print(v.value)")
        done = subprocess.run([sys.executable, "-c", code, sys.argv[1]], env={**os.environ, **environment},
                              capture_output=True, text=True, check=False)
        return [done.returncode if done.returncode >= 0 else f"signal {-done.returncode}", done.stdout.split()]
    return run


for number, text in enumerate(["", "prefault.at_open=1", "prefault.at_open=y;sds.at_create=n", "prefault.at_open=1;",
                               "nonsense.name=1", "prefault.at_open=maybe", "prefault.at_open", "=", "sds.at_create=0;;x",
                               "prefault.at_open=1=1", "prefault.at_open=yes;sds.at_create=no", "prefault.at_open=Y;sds.at_create=N",
                               "prefault.at_open=1x", "prefault.at_open=1,0", "prefault.at_open=01", "prefault.at_open= 1"]):
    CASES[f"conf_{number}_{text}"] = with_environment(PMEMLOG_CONF=text)
CASES["conf_file"] = with_environment(PMEMLOG_CONF_FILE="conf")
CASES["conf_file_long"] = with_environment(PMEMLOG_CONF_FILE="long_conf")
CASES["conf_file_overrides"] = with_environment(PMEMLOG_CONF_FILE="conf", PMEMLOG_CONF="prefault.at_open=0;prefault.at_create=1")
CASES["conf_file_empty_name"] = with_environment(PMEMLOG_CONF_FILE="")
CASES["conf_file_missing"] = with_environment(PMEMLOG_CONF_FILE="/nonexistent/conf")


# ---- pool sets ----

def poolset(text, name="set", folder=None):
    with open(name, "w", newline="") as file:
        file.write(text.replace("@", folder or os.getcwd()))
    return name


def set_case(text):
    """Create, then open, then check by one set; which files are there."""
    def run(lib):
        poolset(text)
        result = [lib.make("set", 0), sorted(n for n in os.listdir(".") if n != "set")]
        return result + lib.both("set")
    return run


SETS = {
    "one": "PMEMPOOLSET\n2M @/a\n", "two": "PMEMPOOLSET\n2M @/a\n2M @/b\n", "three": "PMEMPOOLSET\n2M @/a\n2M @/b\n3M @/c\n",
    "odd_sizes": "PMEMPOOLSET\n2100000 @/a\n2200001B @/b\n", "single": "PMEMPOOLSET\nOPTION SINGLEHDR\n2M @/a\n2M @/b\n",
    "option_last": "PMEMPOOLSET\n2M @/a\n2M @/b\nOPTION SINGLEHDR", "option_twice": "PMEMPOOLSET\nOPTION SINGLEHDR SINGLEHDR\n2M @/a\n",
    "option_glued": "PMEMPOOLSET\nOPTIONSINGLEHDR\n2M @/a\n2M @/b\n", "option_none": "PMEMPOOLSET\nOPTION\n2M @/a\n",
    "option_unknown": "PMEMPOOLSET\nOPTION FOO\n2M @/a\n", "option_blanks": "PMEMPOOLSET\nOPTION \t SINGLEHDR \n2M @/a\n",
    "option_indented": "PMEMPOOLSET\n OPTION SINGLEHDR\n2M @/a\n2M @/b\n",
    "nohdrs": "PMEMPOOLSET\nOPTION NOHDRS\n2M @/a\n", "nohdrs_single": "PMEMPOOLSET\nOPTION SINGLEHDR NOHDRS\n2M @/a\n",
    "no_newline": "PMEMPOOLSET\n2M @/a", "crlf": "PMEMPOOLSET\r\n2M @/a\r\n\r\n# x\r\n", "comments": "PMEMPOOLSET\n#x\n\n2M @/a # tail\n",
    "blank_line": "PMEMPOOLSET\n2M @/a\n   \n", "indented_comment": "PMEMPOOLSET\n  # x\n2M @/a\n", "tabs": "PMEMPOOLSET\n\t2M\t\t@/a\t\n",
    "first_line_blank": "PMEMPOOLSET \n2M @/a\n", "first_line_only": "PMEMPOOLSET", "no_parts": "PMEMPOOLSET\n",
    "lower_case": "pmempoolset\n2M @/a\n", "leading_blank": " PMEMPOOLSET\n2M @/a\n", "longer_word": "PMEMPOOLSETS\n2M @/a\n",
    "size_lower": "PMEMPOOLSET\n2m @/a\n", "size_apart": "PMEMPOOLSET\n2 M @/a\n", "size_fraction": "PMEMPOOLSET\n2.5M @/a\n",
    "size_zero": "PMEMPOOLSET\n0 @/a\n", "size_hex": "PMEMPOOLSET\n0x200000 @/a\n", "size_plus": "PMEMPOOLSET\n+2M @/a\n",
    "size_minus": "PMEMPOOLSET\n-5 @/a\n", "size_saturates": "PMEMPOOLSET\n99999999999999999999 @/a\n",
    "size_small": "PMEMPOOLSET\n2M @/a\n1M @/b\n", "size_kb": "PMEMPOOLSET\n2100kB @/a\n", "size_kib": "PMEMPOOLSET\n2048KiB @/a\n",
    "size_mb": "PMEMPOOLSET\n3MB @/a\n", "size_k": "PMEMPOOLSET\n2048K @/a\n", "size_kb_wrong": "PMEMPOOLSET\n2048KB @/a\n",
    "size_mib": "PMEMPOOLSET\n2MiB @/a\n", "size_word": "PMEMPOOLSET\nM @/a\n", "size_p": "PMEMPOOLSET\n99999P @/a\n",
    "path_relative": "PMEMPOOLSET\n2M a\n", "path_none": "PMEMPOOLSET\n2M\n", "path_extra": "PMEMPOOLSET\n2M @/a x\n",
    "path_dots": "PMEMPOOLSET\n2M @/../case/a\n", "path_missing_folder": "PMEMPOOLSET\n2M @/no/a\n",
    "auto_missing": "PMEMPOOLSET\nAUTO @/a\n", "auto_existing": "PMEMPOOLSET\nAUTO @/set\n", "same_twice": "PMEMPOOLSET\n2M @/a\n2M @/a\n",
    "replica": "PMEMPOOLSET\n2M @/a\nREPLICA\n2M @/b\n", "replica_first": "PMEMPOOLSET\nREPLICA\n2M @/a\n",
    "replica_empty": "PMEMPOOLSET\n2M @/a\nREPLICA\n", "replica_two_empty": "PMEMPOOLSET\n2M @/a\nREPLICA\nREPLICA\n2M @/b\n",
    "replica_one_word": "PMEMPOOLSET\n2M @/a\nREPLICA host\n", "replica_remote": "PMEMPOOLSET\n2M @/a\nREPLICA host desc\n",
    "replica_glued": "PMEMPOOLSET\n2M @/a\nREPLICAX\n2M @/b\n", "nul": "PMEMPOOLSET\n2M @/a\0x\n",
    "last_line_comment": "PMEMPOOLSET\n2M @/a\n#", "cr_alone": "PMEMPOOLSET\n2M @/a\n\r\n", "cr_in_line": "PMEMPOOLSET\n2M\r @/a\n",
    "part_is_file_of_set": "PMEMPOOLSET\n2M @/set\n",
}
for set_name, text in SETS.items():
    CASES["set_" + set_name] = set_case(text)


@case
def set_file_locked(lib):
    poolset(SETS["one"])
    with open("set", "rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        return [lib.make("set", 0)] + lib.both("set")


@case
def dir_option_missing_at_open(lib):
    os.mkdir("d1")
    poolset("PMEMPOOLSET\nOPTION SINGLEHDR\n8M @/d1\n")
    result = [lib.make("set", 0)]
    return result + lib.both(poolset("PMEMPOOLSET\n8M @/d1\n")) + lib.both(poolset("PMEMPOOLSET\nOPTION SINGLEHDR\n1M @/d1\n"))


@case
def create_small_in_missing_folder(lib):
    return [lib.make("no/pool", 1), lib.make("", 1), lib.make(None, 1)]


@case
def set_with_size(lib):
    poolset(SETS["one"])
    return [lib.make("set", 2 * MIB), sorted(os.listdir("."))]


@case
def set_create_twice(lib):
    poolset(SETS["two"])
    return [lib.make("set", 0), lib.make("set", 0), lib.look("set")]


@case
def set_modes(lib):
    os.umask(0o077)
    poolset(SETS["two"])
    return [lib.make("set", 0, 0o644), oct(os.stat("a").st_mode), oct(os.stat("b").st_mode)]


@case
def set_existing_parts(lib):
    poolset(SETS["two"])
    result = []
    for size, start in ((2 * MIB, b""), (2 * MIB + 4096, b""), (2 * MIB, b"x")):
        with open("b", "wb") as file:
            file.write(start)
            file.truncate(size)
        os.chmod("b", 0o640)
        result.append([lib.make("set", 0), sorted(os.listdir(".")), oct(os.stat("b").st_mode)])
        for name in ("a", "b"):
            if os.path.exists(name):
                os.remove(name)
    return result


@case
def set_parts_by_their_own_paths(lib):
    result = {}
    for name in ("one", "two", "single"):
        poolset(SETS[name])
        result[name] = [lib.make("set", 0)] + [lib.both(part) for part in ("a", "b") if os.path.exists(part)]
        for part in ("a", "b"):
            if os.path.exists(part):
                os.remove(part)
    return result


def wrong_list(text):
    def run(lib):
        poolset(SETS["three"])
        return [lib.make("set", 0)] + lib.both(poolset(text))
    return run


def short_first_part(size):
    def run(lib):
        poolset(SETS["one"])
        put("a", size)()
        return lib.both("set")
    return run


for size in (0, 40, 4096):
    CASES[f"set_first_part_of_{size}_bytes"] = short_first_part(size)


@case
def links_in_a_circle(lib):
    os.symlink("a", "b")
    os.symlink("b", "a")
    poolset(SETS["one"])
    return [lib.both("a"), lib.make("a"), lib.make("a", 0), lib.both("set"), lib.make("set", 0)]


for set_name, text in [
        ("swapped", "PMEMPOOLSET\n2M @/b\n2M @/a\n3M @/c\n"), ("last_missing", "PMEMPOOLSET\n2M @/a\n2M @/b\n"),
        ("sizes_swapped", "PMEMPOOLSET\n2M @/a\n3M @/c\n2M @/b\n"), ("first_twice", "PMEMPOOLSET\n2M @/a\n2M @/a\n3M @/c\n"),
        ("wrong_size", "PMEMPOOLSET\n2M @/a\n2M @/b\n2M @/c\n"), ("no_such_file", "PMEMPOOLSET\n2M @/a\n2M @/b\n3M @/d\n"),
        ("single_option", "PMEMPOOLSET\nOPTION SINGLEHDR\n2M @/a\n2M @/b\n3M @/c\n"), ("first_only", "PMEMPOOLSET\n2M @/a\n"),
        ("second_only", "PMEMPOOLSET\n2M @/b\n"), ("nohdrs_option", "PMEMPOOLSET\nOPTION NOHDRS\n2M @/a\n2M @/b\n3M @/c\n")]:
    CASES["wrong_list_" + set_name] = wrong_list(text)


def broken_header(part, off, data):
    def run(lib):
        poolset(SETS["two"])
        lib.make("set", 0)
        patch(part, off, data, fix=off != 4088)
        return lib.both("set")
    return run


for part in ("a", "b"):
    for set_name, off, data in [("magic", 0, b"X"), ("major", 8, u32(2)), ("set_uuid", 24, b"x" * 16), ("own_uuid", 40, b"x" * 16),
                                ("previous", 56, b"x" * 16), ("next", 72, b"x" * 16), ("previous_replica", 88, b"x" * 16),
                                ("next_replica", 104, b"x" * 16), ("singlehdr", 16, u32(7)), ("no_sds", 16, u32(2)),
                                ("no_cksum_2k", 16, u32(4)), ("no_compat", 12, u32(0)), ("ro_compat", 20, u32(1)),
                                ("checksum", 4088, u64(1)), ("unknown_incompat", 16, u32(0xe)), ("machine", 142, b"\xb7\0"),
                                ("shutdown_state", 4024, shutdown_state(7, 9, 1)), ("crtime", 120, u64(5))]:
        CASES[f"broken_header_{part}_{set_name}"] = broken_header(part, off, data)


@case
def set_copied_parts(lib):
    poolset(SETS["two"])
    lib.make("set", 0)
    pool = open_pool(lib, "set")
    lib.append(pool, b"kept", 4)
    lib.close(pool)
    os.mkdir("copies")
    shutil.copy("a", "copies/a")
    shutil.copy("b", "copies/b")
    poolset(SETS["two"], "copies/set", os.getcwd() + "/copies")
    pool = open_pool(lib, "copies/set")
    result = lib.content(pool)
    lib.close(pool)
    return result


@case
def set_data_placement(lib):
    result = []
    for name in ("two", "single"):
        poolset(SETS[name])
        pool = lib.create(b"set", 0, 0o600)
        room = lib.nbyte(pool)
        data = (bytes(range(251)) * (room // 251 + 1))[:room]
        result.append(lib.call(lib.append, pool, data, room))
        lib.close(pool)
        with open("a", "rb") as first, open("b", "rb") as second:
            second.seek(0 if name == "single" else 4096)
            result.append(first.read()[8192:] + second.read() == data)
        os.remove("a")
        os.remove("b")
    return result


@case
def set_replicas_that_exist(lib):
    poolset(SETS["two"])
    lib.make("set", 0)
    poolset("PMEMPOOLSET\n2M @/a\nREPLICA\n2M @/b\n")
    a, b = (open(n, "rb").read(4096)[40:56] for n in ("a", "b"))
    for part, own, other in (("a", a, b), ("b", b, a)):
        patch(part, 56, own + own + other + other)
    shutil.copy("a", "b.keep")
    with open("a", "rb") as first:
        descriptor = first.read(8192)[4096:4120]
    patch("a", 4104, u64(2 * MIB), False)
    with open("b", "r+b") as second:
        second.seek(4096)
        second.write(descriptor)
    return lib.both("set")


def directories(text, prepare=lambda: None):
    def run(lib):
        os.mkdir("d1")
        os.mkdir("d2")
        prepare()
        poolset(text)
        result = [lib.make("set", 0), sorted(os.listdir("d1")), sorted(os.listdir("d2"))]
        return result + lib.both("set") + [lib.make("set", 0)]
    return run


def put(path, size=2 * MIB):
    def run():
        with open(path, "wb") as file:
            file.truncate(size)
    return run


for set_name, text, prepare in [
        ("one", "PMEMPOOLSET\nOPTION SINGLEHDR\n8M @/d1\n", None), ("without_option", "PMEMPOOLSET\n8M @/d1\n", None),
        ("two", "PMEMPOOLSET\nOPTION SINGLEHDR\n8M @/d1\n8M @/d2\n", None),
        ("small", "PMEMPOOLSET\nOPTION SINGLEHDR\n1M @/d1\n", None),
        ("small_together", "PMEMPOOLSET\nOPTION SINGLEHDR\n1M @/d1\n1M @/d2\n", None),
        ("mixed", "PMEMPOOLSET\nOPTION SINGLEHDR\n8M @/d1\n2M @/file\n", None),
        ("mixed_other", "PMEMPOOLSET\nOPTION SINGLEHDR\n2M @/file\n8M @/d1\n", None),
        ("twice", "PMEMPOOLSET\nOPTION SINGLEHDR\n8M @/d1\n8M @/d1\n", None),
        ("zero_file", "PMEMPOOLSET\nOPTION SINGLEHDR\n8M @/d1\n", put("d1/000000.pmem")),
        ("foreign_file", "PMEMPOOLSET\nOPTION SINGLEHDR\n8M @/d1\n", put("d1/foreign")),
        ("second_file", "PMEMPOOLSET\nOPTION SINGLEHDR\n8M @/d1\n", put("d1/000001.pmem"))]:
    CASES["dir_" + set_name] = directories(text, prepare or (lambda: None))


@case
def dir_nothing_there(lib):
    os.mkdir("d1")
    poolset("PMEMPOOLSET\nOPTION SINGLEHDR\n8M @/d1\n")
    return lib.both("set")


@case
def dir_extra_file_after_create(lib):
    os.mkdir("d1")
    poolset("PMEMPOOLSET\nOPTION SINGLEHDR\n8M @/d1\n")
    result = [lib.make("set", 0)]
    put("d1/000001.pmem")()
    return result + lib.both("set")


# ---- running ----

def run_case(lib, folder, name):
    """The result of one case, from a process of its own."""
    place = os.path.join(folder, "case")
    shutil.rmtree(place, ignore_errors=True)
    os.mkdir(place)
    read_end, write_end = os.pipe()
    child = os.fork()
    if not child:
        os.close(read_end)
        os.chdir(place)
        signal.alarm(HANGS_BY_DESIGN_SECONDS if name.endswith("_inside_walk") else HANG_SECONDS)
        try:
            result = CASES[name](lib)
        except Exception as error:  # a case that breaks is a result that differs
            result = f"{type(error).__name__}: {error}"
        with os.fdopen(write_end, "w") as pipe:
            json.dump(result, pipe)
        os._exit(0)
    os.close(write_end)
    with os.fdopen(read_end) as pipe:
        text = pipe.read()
    status = os.waitpid(child, 0)[1]
    if os.WIFSIGNALED(status):
        return f"signal {os.WTERMSIG(status)}"
    return json.loads(text)


def main():
    path, folder, wanted = sys.argv[1], os.path.abspath(sys.argv[2]), sys.argv[3:]
    lib = Library(path)
    with open("/proc/self/maps") as maps:
        loaded = sorted({line.split()[-1] for line in maps if "libpmemlog" in line})
    print(json.dumps(["loaded", loaded]))
    for name in wanted or CASES:
        print(json.dumps([name, run_case(lib, folder, name)]))
        sys.stdout.flush()


if __name__ == "__main__":
    main()
