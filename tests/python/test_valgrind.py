"""The C calls of the package under valgrind's memcheck: every kind of call, every kind of end."""

import os
import subprocess
import sys

PROGRAM = """
import asyncio, gc, os, sys, threading
from nvm import pmemlog, pmemstream

path = sys.argv[1]

def swallowed(function):
    try:
        function()
    except (OSError, ValueError, RuntimeError, ZeroDivisionError, BufferError):
        return
    sys.exit("no exception")

pool = pmemlog.create(path + ".pool")
for _ in range(3):
    pool.append(b"record\\0"); pool.appendv([b"a", bytearray(b"b")])
pool.append(bytes(3 << 20))
pool.walk(len, 3)
swallowed(lambda: pool.walk(lambda chunk: 1 / 0))
swallowed(lambda: pool.walk(lambda chunk: pool.close()))
assert b"".join(pool) == bytes(pool.view())
view = pool.view(); swallowed(pool.close); view.release()
pool.rewind(); pool.close(); pool.close(); swallowed(pool.tell)
assert pmemlog.check(path + ".pool") and not pmemlog.check(path + ".none")
swallowed(lambda: pmemlog.open(path + ".none"))

stream = pmemstream.create(path, 2 << 20)
region = stream.regions.create("words", 200000)
entry = region.append(b"first"); region.appendv([b"a", b"b"])
with stream.batch() as batch:
    batch.append(region, b"x"); batch.append(region, b"y")
swallowed(lambda: region.append(bytes(300000)))
async def loop():
    await asyncio.gather(*[region.append_async(b"%d" % i) for i in range(50)])
    async for one in stream.follow():
        if one.timestamp == 50:
            break
asyncio.run(loop())
assert [bytes(e) for e in stream] == list(stream.entries().values()) == [bytes(e.data) for e in region]
series = stream.series("s", 8000, keep_bytes=16000)
for _ in range(100):
    series.append(b"z" * 300)
iterator, kept = iter(stream), stream.batch()
next(iterator)
waiter = threading.Thread(target=lambda: swallowed(lambda: stream.wait_newer(10**9)))
waiter.start()
view = entry.data; swallowed(stream.close); swallowed(region.free); view.release()
stream.resize(4 << 20); stream.extents(); stream.statistics(); region.info(); region.free()
swallowed(lambda: bytes(entry))
child = os.fork()
if child == 0:
    swallowed(lambda: stream.committed)
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
stream.close(); waiter.join()
for use in (lambda: next(iterator), lambda: kept.append(region, b""), lambda: series.append(b"")):
    swallowed(use)
del iterator, kept, series, stream, region, entry, batch
gc.collect()
assert pmemstream.check(path, deep=True).sound and pmemstream.repair(path, dry_run=True).sound and pmemstream.describe(path, 8192)
left = pmemstream.open(path) # for the interpreter's end
print("done")
"""


def test_valgrind_has_no_complaint(folder):
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONDEVMODE", "LD_LIBRARY_PATH")}
    done = subprocess.run(["valgrind", "--quiet", "--error-exitcode=99", sys.executable, "-B", "-c", PROGRAM, str(folder / "file")],
                          capture_output=True, text=True, check=False, env={**environment, "PYTHONMALLOC": "malloc"})
    assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr[-6000:]
