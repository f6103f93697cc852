"""What the tests of pmemstream(1) share: claims as functions, each in a folder of its own, and calls of the tool.

A test program ends with harness.main(). Its arguments are TOOL [CLAIM...]: the tool's file, and parts of the names of the
claims that are wanted. SEED in the environment repeats a run of those that draw numbers.
"""

import json
import os
import pathlib
import random
import subprocess
import sys
import tempfile
import traceback

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import tap

TOOL = os.path.abspath(sys.argv[1])
SEED = int(os.environ.get("SEED", "20240229"))
SECONDS = 60
_claims = []


def claim(function):
    """A test: its name is the claim; an exception is the proof of the contrary."""
    _claims.append(function)
    return function


def environment(**more):
    base = {name: value for name, value in os.environ.items()
            if name not in ("LC_ALL", "LANG", "COLUMNS", "NO_COLOR", "TERM", "TZ")}
    return {**base, "LC_ALL": "C.UTF-8", "TZ": "UTC", **more}


def call(*arguments, data=b"", status=0, **more):
    """Runs the tool. Bytes in, bytes out; status None: any will do."""
    done = subprocess.run([TOOL, *map(str, arguments)], input=data.encode() if isinstance(data, str) else data,
                          capture_output=True, timeout=SECONDS, check=False, env=environment(**more))
    shown = f"pmemstream {' '.join(map(str, arguments))}: status {done.returncode}\n" \
            f"{done.stdout[-2000:].decode(errors='replace')}{done.stderr[-2000:].decode(errors='replace')}"
    assert status is None or done.returncode == status, f"expected status {status}: {shown}"
    assert done.returncode in (0, 1, 2, 3), shown
    return done


def out(*arguments, **more):
    """Standard output of a call that succeeds in silence."""
    done = call(*arguments, **more)
    assert not done.stderr, done.stderr.decode(errors="replace")
    return done.stdout


def refusal(*arguments, status=1, says="", **more):
    """The one line on standard error of a call that fails."""
    done = call(*arguments, status=status, **more)
    text = done.stderr.decode(errors="replace")
    assert text.count("\n") == 1 and text.startswith("pmemstream: "), f"not one line: {text!r}"
    for part in [says] if isinstance(says, str) else says:
        assert part in text, f"{part!r} is not in {text!r}"
    return text


def start(*arguments, **more):
    """The tool as a process beside us."""
    return subprocess.Popen([TOOL, *map(str, arguments)], env=environment(), **more)


def stream(name="a.stream", size="1M", **regions):
    """A new stream with regions of the sizes given; its path."""
    out("create", name, "--size", size)
    for label, bytes_ in regions.items():
        out("region", "add", name, label, "--size", bytes_)
    return name


def entries(path, *arguments):
    """What cat shows, as objects."""
    return [json.loads(line) for line in out("cat", path, "--format", "json", *arguments).decode().splitlines()]


def equal(found, expected, what=""):
    assert found == expected, f"{what or 'found'}: {str(found)[:1000]!r} is not {str(expected)[:1000]!r}"


def on_terminal(*arguments, columns=80, **more):
    """What a terminal would be sent."""
    command = " ".join(f"'{argument}'" for argument in [TOOL, *arguments])
    done = subprocess.run(["script", "-qec", f"stty cols {columns} -opost; {command}", "/dev/null"], capture_output=True,
                          stdin=subprocess.DEVNULL, timeout=60, check=False, env=environment(**{"TERM": "xterm", **more}))
    return done.stdout


def main():
    wanted = sys.argv[2:]
    where = os.getcwd()
    for function in _claims:
        if wanted and not any(part in function.__name__ for part in wanted):
            continue
        problem = ""
        random.seed(SEED)
        with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR", where)) as folder:
            os.chdir(folder)
            try:
                function()
            except Exception: # whatever went wrong is the finding
                problem = f"{traceback.format_exc()}\nrepeat: SEED={SEED} python3 {sys.argv[0]} TOOL {function.__name__}"
            os.chdir(where)
        tap.case(function.__name__.replace("_", " "), problem)
    tap.done()
