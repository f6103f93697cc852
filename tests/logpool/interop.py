"""interop.py OURS: pools go back and forth between our library, PMDK's, and PMDK's tool; each runs in its own process.

For plain files, pool sets and sets with one header: one library creates and appends, the other opens, reads, appends and
checks, and the first reads on. Then pmempool looks at our pools, and runs on our library itself.
"""

import json
import os
import pathlib
import re
import shutil
import struct
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
sys.path.insert(0, str(HERE))
import behaviour  # noqa: E402
import probe  # noqa: E402
import tap  # noqa: E402

SETS = {
    "plain": None,
    "set": "PMEMPOOLSET\n2M @/a\n3M @/b\n2M @/c\n",
    "single": "PMEMPOOLSET\nOPTION SINGLEHDR\n2M @/a\n2100000 @/b\n",
    "directory": "PMEMPOOLSET\nOPTION SINGLEHDR\n4M @/d\n",
}
BIG = bytes(range(251)) * 9000


def clean(**more):
    return {**{k: v for k, v in os.environ.items() if not k.startswith(("PMEM", "LD_"))}, **more}


def use(library, *steps, **environment):
    """Runs steps on a library in a process of its own; their results, and the libpmemlog that was mapped."""
    done = subprocess.run([sys.executable, __file__, "--steps", library, json.dumps(steps)], capture_output=True, text=True,
                          env=clean(**environment), check=False)
    if done.returncode:
        return [f"status {done.returncode}: {done.stderr}"], []
    return json.loads(done.stdout)


def run_steps(library, steps):
    lib, pool, results = probe.Library(library), None, []
    for verb, *arguments in steps:
        if verb == "create":
            pool = lib.create(arguments[0].encode(), arguments[1], 0o600)
            results.append(bool(pool) or lib.errormsg().decode())
        elif verb == "open":
            pool = lib.open(arguments[0].encode())
            results.append(bool(pool) or lib.errormsg().decode())
        elif verb == "append":
            data = BIG if arguments[0] == "BIG" else arguments[0].encode()
            results.append(lib.append(pool, data, len(data)))
        elif verb == "appendv":
            results.append(lib.appendv_of(pool, *[(piece.encode(), None) for piece in arguments[0]])[0])
        elif verb == "content":
            whole = []
            take = probe.CALLBACK(lambda data, size, _: whole.append(probe.ctypes.string_at(data, size)) or 1)
            lib.walk(pool, 0, take, None)
            results.append(whole[0].decode("latin1").replace(BIG.decode("latin1"), "BIG"))
        elif verb == "rewind":
            lib.rewind(pool)
        elif verb == "close":
            lib.close(pool)
        elif verb == "check":
            results.append(lib.check(arguments[0].encode()))
        elif verb == "die":
            print(json.dumps([results, []]))
            sys.stdout.flush()
            os._exit(0)
    with open("/proc/self/maps") as maps:
        print(json.dumps([results, sorted({line.split()[-1] for line in maps if "libpmemlog" in line})]))


def prepare(kind, folder):
    """The path by which a pool of a kind is created and opened, and the size to create it with."""
    os.makedirs(folder)
    if SETS[kind] is None:
        return f"{folder}/pool", 3 << 20
    if kind == "directory":
        os.mkdir(f"{folder}/d")
    with open(f"{folder}/pool", "w") as file:
        file.write(SETS[kind].replace("@", folder))
    return f"{folder}/pool", 0


def parts_of(kind, folder):
    return [f"{folder}/{name}" for name in {"plain": ["pool"], "directory": ["d/000000.pmem"], "set": ["a", "b", "c"],
                                            "single": ["a", "b"]}[kind]]


def exchange(kind, folder, first, second, **environment):
    """What goes wrong when a pool is made by the first library, used by the second, then by the first again."""
    path, size = prepare(kind, folder)
    big = "BIG" if kind == "set" else "small"
    expected = [
        (first, [("create", path, size), ("append", "one,"), ("appendv", ["two", "", ","]), ("append", big), ("close",),
                 ("check", path)], [True, 0, 0, 0, 1]),
        (second, [("check", path), ("open", path), ("content",), ("append", ",three"), ("content",), ("close",), ("check", path)],
         [1, True, f"one,two,{big}", 0, f"one,two,{big},three", 1]),
        (first, [("open", path), ("content",), ("rewind",), ("append", "four"), ("close",)], [True, f"one,two,{big},three", 0]),
        (second, [("open", path), ("content",), ("append", ",five"), ("die",)], [True, "four", 0]),
        (first, [("check", path), ("open", path), ("content",), ("append", ",six"), ("die",)], [1, True, "four,five", 0]),
        (second, [("check", path), ("open", path), ("content",), ("close",)], [1, True, "four,five,six"]),
    ]
    for number, (library, steps, results) in enumerate(expected):
        found, loaded = use(library, *steps, **environment)
        if found != results:
            return f"step {number}, {library}: {found}, expected {results}"
        if steps[-1][0] != "die" and loaded != [os.path.realpath(library)]:
            return f"step {number}: {library} was to be loaded, mapped is {loaded}"
    return ""


def header_fields(path, has_header, with_descriptor):
    """A part's first bytes as fields; UUIDs as 'which of those seen before', times and the checksum as 'right or wrong'."""
    with open(path, "rb") as file:
        data = file.read(8192)
    if not has_header:
        return {}
    page = data[:4096]
    fields = {"start": page[:24].hex(), "time": struct.unpack_from("<Q", page, 120)[0] > 0, "arch": page[128:144].hex(),
              "rest": page[144:4088].hex(), "checksum": struct.unpack_from("<Q", page, 4088)[0] == probe.fletcher(page, 4088, 2048),
              "uuid version": page[47] >> 4, "uuid variant": page[48] >> 6}
    if with_descriptor:
        fields["descriptor"] = data[4096:4120].hex()
        fields["zero"] = data[4176:].hex()
    return fields


def uuid_pattern(paths):
    """The links of all headers, each UUID replaced by the number of its first appearance."""
    seen, pattern = [], []
    for path in paths:
        with open(path, "rb") as file:
            page = file.read(4096)
        for off in (24, 40, 56, 72, 88, 104):
            uuid = page[off:off + 16]
            if uuid not in seen:
                seen.append(uuid)
            pattern.append(seen.index(uuid))
    return pattern


def compare_headers(kind, folder, ours, theirs):
    problems = []
    dumps = []
    for name, library in (("ours", ours), ("theirs", theirs)):
        place = f"{folder}/{name}"
        path, size = prepare(kind, place)
        use(library, ("create", path, size), ("append", "hello"), ("close",))
        parts = parts_of(kind, place)
        headers = len(parts) if kind == "set" else 1
        dumps.append([header_fields(p, i < headers, i == 0) for i, p in enumerate(parts)] + [uuid_pattern(parts[:headers])])
    for index, (mine, other) in enumerate(zip(*dumps)):
        if isinstance(mine, list):
            problems += [] if mine == other else [f"links are {mine}, original {other}"]
            continue
        problems += [f"part {index}, {field}: {mine[field][:80] if isinstance(mine[field], str) else mine[field]}, original {other[field]}"
                     for field in mine if mine[field] != other[field]]
    return problems


def tool(*arguments, **environment):
    done = subprocess.run(["pmempool", *arguments], capture_output=True, text=True, errors="replace", env=clean(**environment),
                          check=False)
    return done.returncode, done.stdout, done.stderr


def tool_on_ours(kind, folder, ours):
    """pmempool, on PMDK's library, looks at our pools."""
    path, size = prepare(kind, folder)
    use(ours, ("create", path, size), ("append", "hello"), ("close",))
    problems = []
    for arguments, pattern in ((("info", "-s", "-d", path), r"Used +: 5 .*68 65 6c 6c 6f"), (("check", "-v", path), r"consistent"),
                               (("dump", path), r"68 65 6c 6c 6f")):
        status, output, errors = tool(*arguments)
        if status or not re.search(pattern, output, re.DOTALL) or "not consistent" in output:
            problems.append(f"pmempool {' '.join(arguments)}: status {status}\n{output}{errors}")
        if "[wrong" in output.lower() or "error" in output.lower():
            problems.append(f"pmempool {' '.join(arguments)}: {output}")
    return problems


def tool_by_ours(folder, ours):
    """pmempool runs on our library: what it creates, dumps and checks."""
    os.makedirs(folder)
    libraries = f"{folder}/lib"
    os.mkdir(libraries)
    os.symlink(os.path.realpath(ours), f"{libraries}/libpmemlog.so.1")
    path, environment = f"{folder}/pool", {"LD_LIBRARY_PATH": libraries}
    problems = []
    debug = tool("create", "log", path, LD_DEBUG="libs", **environment)[2]
    loaded = set(re.findall(r"calling init: (\S*libpmemlog\S*)", debug))
    if loaded != {f"{libraries}/libpmemlog.so.1"}:
        problems.append(f"pmempool was to load ours, and loaded {loaded}")
    if oct(os.stat(path).st_mode & 0o7777) != "0o664" or os.path.getsize(path) != 2 << 20:
        problems.append(f"created with mode {os.stat(path).st_mode:o} and {os.path.getsize(path)} bytes")
    use(behaviour.original(), ("open", path), ("append", "hello"), ("close",))
    for arguments, pattern in ((("dump", path), r"68 65 6c 6c 6f"), (("dump", "-b", "-c", "2", path), r"^hell$"),
                               (("info", "-s", "-d", path), r"Used +: 5 "), (("check", "-v", path), r"consistent")):
        status, output, errors = tool(*arguments, **environment)
        if status or not re.search(pattern, output):
            problems.append(f"pmempool {' '.join(arguments)}: status {status}\n{output}{errors}")
    status, _, errors = tool("create", "log", path, **environment)
    if status != 1:
        problems.append(f"creating over an existing pool: status {status}\n{errors}")
    return problems


def main():
    ours, theirs = os.path.realpath(sys.argv[1]), behaviour.original()
    top = tempfile.mkdtemp(prefix="interop-")
    for kind in SETS:
        tap.case(f"{kind}: PMDK's library reads, appends to and checks what ours made",
                 exchange(kind, f"{top}/{kind}-1", ours, theirs))
        tap.case(f"{kind}: ours reads, appends to and checks what PMDK's library made",
                 exchange(kind, f"{top}/{kind}-2", theirs, ours))
        tap.case(f"{kind}: both take the file for persistent memory and still understand each other",
                 exchange(kind, f"{top}/{kind}-3", ours, theirs, PMEM_IS_PMEM_FORCE="1"))
        tap.case(f"{kind}: headers are equal field by field", compare_headers(kind, f"{top}/{kind}-4", ours, theirs))
        tap.case(f"{kind}: pmempool info, check and dump accept ours", tool_on_ours(kind, f"{top}/{kind}-5", ours))
    tap.case("pmempool works on our library", tool_by_ours(f"{top}/tool", ours))
    shutil.rmtree(top, ignore_errors=True)
    tap.done()


if __name__ == "__main__":
    if sys.argv[1] == "--steps":
        run_steps(sys.argv[2], json.loads(sys.argv[3]))
    else:
        main()
