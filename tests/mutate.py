"""mutate.py [--only REGEX] [--redundant KIND:FUNCTION]... [--timeout SECONDS] PROGRAM [ARGUMENT...]

The mutation check of crash tests: for each place in the source that asks the medium for a flush, a fence, a sync or a
redirty, runs PROGRAM once more as if that place were missing, and expects it to fail. PROGRAM is a test on simulated
media (tests/cut), which ignores the places that CUT_MUTE names. What PROGRAM never reaches is not checked: look at the
number of places.

A place is a line of the source outside of medium.h, with all the addresses that the compiler made of it. --only keeps
places whose source file matches. --redundant names a place that may be missing, because something else makes good for
it; that is an exception to be argued where it is given, and it fails when the place turns out to be needed.
"""

import argparse
import concurrent.futures
import os
import pathlib
import re
import subprocess
import sys
import tempfile

import tap


def run(command, timeout, **environment):
    """Whether the command succeeded, and what it printed. One that hangs has failed."""
    try:
        done = subprocess.run(command, env={**os.environ, **environment}, stdin=subprocess.DEVNULL, timeout=timeout,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", check=False)
    except subprocess.TimeoutExpired:
        return False, "ran out of time"
    return done.returncode == 0, done.stdout


def caller(module, offset):
    """(function, source file, line) of a return address: the innermost level that is not one of medium.h."""
    # The call itself; where the compiler lost track of what was inlined into what, the instruction behind it.
    for address in (offset - 1, offset):
        done = subprocess.run(["addr2line", "-fie", module, hex(address)], capture_output=True, text=True, check=False)
        lines = done.stdout.split("\n")
        for function, place in zip(lines[::2], lines[1::2]):
            path, _, line = place.split(" ")[0].rpartition(":")
            if path and not path.startswith("?") and pathlib.Path(path).name != "medium.h":
                return function, os.path.normpath(path), line
    return "?", module, hex(offset)


def read_places(listing):
    """{(kind, function, file, line): set of KIND@MODULE+0xOFFSET}"""
    places = {}
    for line in sorted(set(re.sub(r" \d+$", "", line) for line in listing.splitlines())):
        kind, name, path = line.split(" ", 2)
        place = (kind, *caller(path, int(name.rpartition("+")[2], 16)))
        places.setdefault(place, set()).add(f"{kind}@{name}")
    return places


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("--only", default="")
    parser.add_argument("--redundant", action="append", default=[])
    parser.add_argument("--timeout", type=float, default=300)
    parser.add_argument("command", nargs=argparse.REMAINDER)
    arguments = parser.parse_args()

    with tempfile.TemporaryDirectory() as folder:
        listing = pathlib.Path(folder) / "sites"
        worked, output = run(arguments.command, arguments.timeout, CUT_SITES_OUT=str(listing), CUT_MUTE="")
        tap.case("the program passes with every place in it", "" if worked else output[-4000:])
        places = read_places(listing.read_text()) if listing.exists() else {}
    places = {place: names for place, names in places.items() if re.search(arguments.only, place[2])}
    tap.case(f"it reaches {len(places)} places that ask for an ordering", "" if places else "none")

    def missing(names):
        return run(arguments.command, arguments.timeout, CUT_MUTE=",".join(sorted(names)), CUT_SITES_OUT="")

    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        results = list(pool.map(missing, places.values())) if worked else []
    used = set()
    for (kind, function, path, line), (passed, _) in zip(places, results):
        name = f"{kind}:{function}"
        where = f"the {kind} in {function} ({pathlib.Path(path).name}:{line})"
        if name in arguments.redundant:
            used.add(name)
            tap.case(f"{where} may be missing", "" if passed else "it is needed: name it redundant no more")
        else:
            tap.case(f"{where} is needed", "the program passes without it" if passed else "")
    for name in sorted(set(arguments.redundant) - used):
        tap.case(f"{name} is a place", "no such place was reached")
    tap.done()


if __name__ == "__main__":
    sys.exit(main())
