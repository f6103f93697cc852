"""deaths.py TOOL [CLAIM...]: append is killed again and again, and the disk is full."""

import json
import os
import pathlib
import random
import resource
import select
import subprocess
import threading
import time

from harness import TOOL, call, claim, entries, environment, equal, main, out, start, stream

KILLS = 50


def feed(process, first, stop):
    """Writes numbered lines to an appender until it is gone."""
    number = first
    try:
        while not stop.is_set():
            lines = "".join(f"{number + i} {'x' * ((number + i) * 7919 % 40)}\n" for i in range(random.randrange(1, 40)))
            process.stdin.write(lines.encode())
            process.stdin.flush()
            number += lines.count("\n")
    except BrokenPipeError:
        pass


def run_until_killed(path, region, durability, first):
    """Lets an appender work for a random time; the number of records that it acknowledged before it was killed."""
    process = start("append", path, "-r", region, "-a", "--durability", durability, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    stop = threading.Event()
    feeder = threading.Thread(target=feed, args=(process, first, stop))
    feeder.start()
    said, end = b"", time.monotonic() + random.random() ** 2 * 0.15
    while (left := end - time.monotonic()) > 0:
        if select.select([process.stdout], [], [], left)[0]:
            said += os.read(process.stdout.fileno(), 65536)
    process.kill()
    process.wait()
    said += process.stdout.read() # what it had told when it died is a promise, too
    stop.set()
    feeder.join()
    process.stdout.close()
    try:
        process.stdin.close()
    except BrokenPipeError:
        pass
    whole = said[:said.rfind(b"\n") + 1].decode().splitlines()
    counts = [int(line.split()[0]) for line in whole]
    assert counts == sorted(counts), "acknowledgements that fall"
    return counts[-1] if counts else 0


def check_lines(lines, first):
    """Each is the line of its number, from one on."""
    for i, line in enumerate(lines):
        number = first + i
        expected = f"{number} {'x' * (number * 7919 % 40)}"
        equal(line, expected, f"record {number}")


@claim
def an_appender_that_is_killed_fifty_times_loses_nothing_that_it_acknowledged():
    path = stream(size="64M", x="56M")
    there, acknowledged_in_all = 0, 0
    for kill in range(KILLS):
        acknowledged = run_until_killed(path, "x", ("batch", "each", "close")[kill % 3], there)
        lines = out("cat", path, "--since", there + 1).decode().splitlines()
        assert len(lines) >= acknowledged, f"kill {kill}: {acknowledged} were acknowledged, {len(lines)} are there"
        check_lines(lines, there)
        there += len(lines)
        acknowledged_in_all += acknowledged
        if kill % 10 == 0:
            out("check", path, "--deep")
    check_lines(out("cat", path).decode().splitlines(), 0)
    equal([entry["timestamp"] for entry in entries(path, "--format=json")], list(range(1, there + 1)))
    assert acknowledged_in_all > KILLS * 10, f"only {acknowledged_in_all} acknowledgements: nothing was tested"


@claim
def a_follower_never_shows_what_a_killed_writer_takes_back():
    path = stream(size="64M", x="56M")
    follower = start("tail", "-f", "-n0", path, stdout=subprocess.PIPE)
    time.sleep(0.05)
    shown = bytearray()
    reader = threading.Thread(target=lambda: [shown.extend(piece) for piece in iter(lambda: os.read(follower.stdout.fileno(), 65536), b"")])
    reader.start()
    there = 0
    for _ in range(10):
        run_until_killed(path, "x", "batch", there)
        there = len(out("cat", path).splitlines())
    expected = out("cat", path)
    end = time.monotonic() + 30
    while len(shown) < len(expected) and time.monotonic() < end:
        time.sleep(0.02)
    follower.kill()
    follower.wait()
    reader.join()
    follower.stdout.close()
    equal(bytes(shown), expected)


@claim
def a_full_disk_is_told_and_leaves_no_file():
    script = f"""set -eu
        mkdir small; mount -t tmpfs -o size=2m tmpfs small; cd small
        {TOOL} create a --size 1M >&2; {TOOL} region add a x --size 512K >&2
        head -c 2M /dev/zero >rest 2>/dev/null || true
        set +e
        {TOOL} create b --size 1M; echo $? >&2
        ls b 2>/dev/null
        {TOOL} log create p --size 2M; echo $? >&2
        ls p 2>/dev/null
        seq 1 1000 | {TOOL} append a -r x >&2; echo $? >&2
        {TOOL} check a --deep >&2; echo $? >&2"""
    done = subprocess.run(["unshare", "--map-root-user", "--mount", "sh", "-c", script], capture_output=True, text=True, timeout=60,
                          check=False, env=environment())
    if "mount: " in done.stderr or "unshare: " in done.stderr:
        print("# no private mounts here: only the limit of a file's size is tested")
        return
    equal(done.stdout, "")
    statuses = [line for line in done.stderr.splitlines() if line.isdigit()]
    equal(statuses, ["1", "1", "0", "0"], done.stderr)
    assert done.stderr.count("No space left on device") == 2, done.stderr


@claim
def a_limit_of_the_size_of_files_is_an_error_with_a_message():
    done = subprocess.run([TOOL, "create", "a", "--size", "1M"], capture_output=True, text=True, timeout=60, check=False, env=environment(),
                          preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (65536, 65536)))
    assert done.returncode == 1 and done.stderr.count("\n") == 1 and "ulimit -f" in done.stderr, done
    equal(os.listdir("."), [])


@claim
def a_repair_whose_backup_finds_no_room_changes_and_leaves_nothing():
    if b"libtsan" in pathlib.Path(TOOL).read_bytes():
        print("# not under ThreadSanitizer, which writes a file of its own in front of main")
        return
    path = stream("a", x="64K")
    out("append", path, "-r", "x", data="".join(f"entry number {i}\n" for i in range(1, 11)))
    raw = bytearray(pathlib.Path(path).read_bytes())
    raw[raw.index(b"entry number 5")] ^= 1
    pathlib.Path(path).write_bytes(raw)
    done = subprocess.run([TOOL, "repair", "--yes", path], capture_output=True, text=True, timeout=60, check=False, env=environment(),
                          preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0)))
    assert done.returncode == 1 and done.stderr.count("\n") == 1 and "not changed" in done.stderr, done
    equal((pathlib.Path(path).read_bytes(), os.listdir(".")), (bytes(raw), [path]))
    out("repair", "--yes", path)
    call("cat", path, status=3)


@claim
def a_stream_is_created_whole_or_not_at_all():
    for _ in range(20):
        creator = start("create", "a", "--size", "32M", stdout=subprocess.DEVNULL)
        time.sleep(random.random() * 0.03)
        creator.kill()
        creator.wait()
        if os.path.exists("a"):
            done = call("region", "ls", "a", status=None)
            assert done.returncode == 0 or done.stderr.count(b"\n") == 1, done
            refused = call("create", "a", "--size", "32M", status=1)
            assert b"exists" in refused.stderr, refused
            os.remove("a")
    told = json.loads(out("info", "--json", stream("a", "32M")))
    equal(told["size"], 32 << 20)


if __name__ == "__main__":
    main()
