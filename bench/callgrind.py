"""callgrind.py: instructions that a function takes, counted by valgrind's callgrind: the same on every run of a build."""

import json
import pathlib
import re
import shutil
import subprocess
import tempfile


def available():
    return shutil.which("valgrind") is not None


def counted(command, function):
    """Runs a program once under callgrind: (instructions in all calls of function, the program's JSON results)."""
    with tempfile.TemporaryDirectory() as folder:
        out = pathlib.Path(folder) / "out"
        done = subprocess.run(["valgrind", "--quiet", "--tool=callgrind", f"--callgrind-out-file={out}",
                               f"--toggle-collect={function}", *command, "--json"],
                              capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
        if done.returncode:
            raise RuntimeError(f"{command[0]} under callgrind: {done.stderr.strip()}")
        total = re.search(r"^(?:summary|totals): (\d+)", out.read_text(), re.MULTILINE)
    if not total or not int(total.group(1)):
        raise RuntimeError(f"callgrind saw no call of {function} in {command[0]}")
    return int(total.group(1)), [json.loads(line) for line in done.stdout.splitlines()]


def per_append(program, bytes_, *options, function="pmemstream_append", subject="stream", count=1000):
    """Instructions of one append, with its share of raising limits. The round that warms up counts too."""
    instructions, _ = counted([program, f"--subjects={subject}", f"--sizes={bytes_}", f"--count={count}", "--rounds=1",
                               *options], function)
    return instructions / (2 * count)


def per_async_append(program, count=2000):
    """Instructions of one of 1,000 appends of 64 bytes that are started, with its share of one wait for them."""
    instructions, _ = counted([program, "--subjects=stream_async", f"--count={count}", "--rounds=1"], "append_batches")
    return instructions / (2 * count)


# Over all entries of a region: five calls for each, or one for 16; their data are checked, or were, and are read.
WALKS = ("walk_checking", "walk_reading", "walk_views_checking", "walk_views_reading")


def per_entry(program, walk, *options):
    """Instructions of one step of an iterator over 64-byte entries: walk is one of WALKS."""
    instructions, results = counted([program, "--bytes=512K", "--rounds=1", *options], walk)
    return instructions / (2 * results[0]["entries"])
