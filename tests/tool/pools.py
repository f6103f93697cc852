"""pools.py TOOL [CLAIM...]: log and convert, with pools of libpmemlog."""

import fcntl
import json
import os
import pathlib
import random
import shutil
import struct
import subprocess

from harness import call, claim, entries, equal, main, out, refusal, stream

CAPACITY = 2088960 # of a pool of 2 MiB: docs/format/logpool.md


def pool(name="a.pool", data=b""):
    out("log", "create", name, "--size", "2M")
    if data:
        out("log", "append", name, data=data)
    return name


@claim
def wrong_usage_is_one_line_and_status_2():
    for arguments in (["log"], ["log", "mv", "p"], ["log", "create", "p"], ["log", "cat"], ["log", "cat", "p", "q"], ["log", "info", "p", "--size=2M"],
                      ["log", "cat", "p", "--json"], ["log", "--frob"], ["convert"], ["convert", "p"], ["convert", "p", "s", "t"],
                      ["convert", "p", "s", "--whole", "--delimiter=x"], ["convert", "p", "s", "--delimiter=xy"],
                      ["convert", "p", "s", "--region="], ["convert", "p", "s", "--region", "x" * 64]):
        refusal(*arguments, status=2)
    for command in ("log", "convert"):
        assert out(command, "--help").decode().startswith(f"usage: pmemstream {command}")
    equal(os.listdir("."), [])


@claim
def a_pool_holds_bytes_and_is_emptied():
    path = pool()
    equal(json.loads(out("log", "info", "--json", path)), {"size": CAPACITY, "used": 0, "free": CAPACITY})
    equal(out("log", "cat", path), b"")
    data = random.randbytes(100000)
    pathlib.Path("in").write_bytes(data)
    out("log", "append", path, "in", "-", "in", data=b"\0middle\n")
    equal(out("log", "cat", path), data + b"\0middle\n" + data)
    equal(json.loads(out("log", "info", path, "--json"))["used"], 2 * len(data) + 8)
    equal(out("log", "check", path), b"valid\n")
    out("log", "rewind", path)
    equal(out("log", "cat", path), b"")


@claim
def a_full_pool_says_how_much_was_written():
    path = pool(data=bytes(CAPACITY - 100))
    done = call("log", "append", path, data=bytes(101), status=1)
    assert b"is full" in done.stderr and b"100 are free; 0 bytes were written" in done.stderr, done
    out("log", "append", path, data=bytes(100))
    equal(len(out("log", "cat", path)), CAPACITY)


@claim
def what_is_no_pool_or_in_use_is_told():
    path = pool()
    refusal("log", "create", path, "--size", "2M", says="exists")
    refusal("log", "create", "small", "--size", "2K", says="at least")
    refusal("log", "cat", "none", says="log create")
    pathlib.Path("text").write_bytes(b"no pool" * 400000)
    for command in ("cat", "info", "append", "rewind"):
        refusal("log", command, "text", says="no log pool")
    refusal("log", "check", "text", status=3, says="no log pool")
    refusal("log", "check", stream("s", "4M"), status=3)
    refusal("log", "check", "none")
    with open(path, "rb") as holder:
        fcntl.flock(holder, fcntl.LOCK_EX) # as who has it open
        refusal("log", "cat", path, says="in use")
        refusal("convert", path, "s2", says="in use")
        assert not os.path.exists("s2")
    equal(out("log", "cat", path), b"")


@claim
def a_pool_is_one_for_pmdk_too():
    if not shutil.which("pmempool"):
        return
    path = pool(data=b"for everybody\n")
    done = subprocess.run(["pmempool", "check", path], capture_output=True, text=True, check=False,
                          env={name: value for name, value in os.environ.items() if name != "LD_LIBRARY_PATH"}) # Debian's own
    assert done.returncode == 0, done


@claim
def convert_makes_a_stream_that_is_just_large_enough():
    lines = [random.randbytes(random.randrange(300)).replace(b"\n", b"") for _ in range(5000)]
    path = pool(data=b"\n".join(lines))
    before = pathlib.Path(path).read_bytes()
    out("convert", path, "new.stream")
    equal(out("cat", "new.stream"), b"\n".join(lines) + b"\n")
    equal(out("log", "cat", path), b"\n".join(lines))
    equal(len(pathlib.Path(path).read_bytes()), len(before))
    refusal("convert", path, "new.stream", says="taken")
    equal(out("cat", "new.stream"), b"\n".join(lines) + b"\n")


@claim
def convert_cuts_by_delimiter_length_or_not_at_all():
    records = [b"", b"\0", random.randbytes(70000), b"last"]
    path = pool(data=b"".join(struct.pack("<Q", len(record)) + record for record in records))
    target = stream("s", "4M")
    out("convert", path, target, "-r", "prefixed", "--length-prefixed")
    equal(out("cat", target, "--format", "length-prefixed"), out("log", "cat", path))
    out("convert", path, target, "-r", "whole", "--whole")
    equal(out("cat", target, "-r", "whole", "--format", "raw"), out("log", "cat", path))
    other = pool("b.pool", b"a:b::c")
    out("convert", other, target, "-r", "colons", "--delimiter", ":")
    equal([entry["data"] for entry in entries(target, "-r", "colons")], ["a", "b", "", "c"])


@claim
def a_conversion_that_fails_leaves_nothing():
    path = pool(data=struct.pack("<Q", 3) + b"abc" + struct.pack("<Q", 100) + b"short")
    refusal("convert", path, "new.stream", "--length-prefixed", says=["record 2", "cut off"])
    assert not os.path.exists("new.stream")
    target = stream("s", "64K")
    big = pool("b.pool", b"x" * 70000)
    refusal("convert", big, target, says="no room")
    equal(json.loads(out("region", "ls", target, "--json")), [])
    refusal("convert", big, "no/such/folder")
    refusal("convert", "none", "new.stream")
    empty = pool("c.pool")
    out("convert", empty, "empty.stream")
    equal(entries("empty.stream"), [])


if __name__ == "__main__":
    main()
