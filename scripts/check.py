"""check.py [STAGE...]: runs the stages of `make check` in order, or only those named. The Makefile calls it.

Every stage goes on after a failed one, as far as it can. A case is one line of TAP: a cmocka test, a line of one of the
checks in tests/*.py, or a whole command where there is nothing smaller. The last line sums the cases of all stages:
N passed, N failed[, N skipped]. The exit status is 0 if none failed and at least one passed.
"""

import json
import os
import pathlib
import re
import shlex
import shutil
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
CLANG_FORMAT = "clang-format-14"
TAP_LINE = re.compile(r"^(not )?ok\b[^#\n]*(#\s*SKIP)?", re.IGNORECASE | re.MULTILINE)


class Tally:
    """Cases that passed, failed and were skipped."""

    def __init__(self, passed=0, failed=0, skipped=0):
        self.passed, self.failed, self.skipped = passed, failed, skipped

    def add(self, other):
        self.passed += other.passed
        self.failed += other.failed
        self.skipped += other.skipped

    def __str__(self):
        return f"{self.passed} passed, {self.failed} failed" + (f", {self.skipped} skipped" if self.skipped else "")


def run(command, quiet=False):
    """Runs a command in the root folder; returns (worked, output). Output is shown at once unless quiet."""
    done = subprocess.run(command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE if quiet else None,
                          stderr=subprocess.STDOUT if quiet else None, text=True, errors="replace", check=False)
    return done.returncode == 0, done.stdout or ""


def command_case(claim, command):
    """A command as one case; its output is shown if it fails."""
    worked, output = run(command, quiet=True)
    print(f"{'ok' if worked else 'not ok'} - {claim}")
    if not worked:
        print(output.rstrip())
    return Tally(passed=1) if worked else Tally(failed=1)


def count_tap(text, worked):
    """The cases in a text of TAP. What failed, or said nothing, without a failed case counts as one."""
    tally = Tally()
    for line in TAP_LINE.finditer(text):
        if line.group(2):
            tally.skipped += 1
        elif line.group(1):
            tally.failed += 1
        else:
            tally.passed += 1
    if not tally.failed and (not worked or not tally.passed + tally.skipped):
        tally.failed = 1
    return tally


def count_result(result, status, output):
    """The cases of one test program, by what Meson made of it."""
    fine = result in ("OK", "EXPECTEDFAIL", "SKIP")
    if re.search(r"^1\.\.\d", output, re.MULTILINE):
        return count_tap(output, fine)
    if result == "SKIP" and status == 77:
        return Tally(skipped=1)
    # Without TAP the program is the case. Meson calls one that promised TAP and said nothing skipped: it failed.
    return Tally(passed=1) if fine and result != "SKIP" else Tally(failed=1)


def script(name, *arguments, folders=()):
    """A check of tests/ that prints TAP, after compiling the folders it looks at; only what failed is shown."""
    for folder in folders:
        if not run(["scripts/build.sh", folder], quiet=True)[0]:
            print(f"not ok - build/{folder} does not compile, so there is nothing to check")
            return Tally(failed=1)
    worked, output = run([sys.executable, f"tests/{name}", *arguments], quiet=True)
    tally = count_tap(output, worked)
    if tally.failed:
        print("\n".join(line for line in output.splitlines() if not re.match(r"ok |1\.\.", line)))
    return tally


def build(folder):
    """Compiles one of the build folders; one case."""
    return command_case(f"build/{folder} compiles without a warning", ["scripts/build.sh", folder])


def tests(folder, *options, wrapper=()):
    """Compiles a build folder and runs its tests; the cases are those that the tests report."""
    tally = build(folder)
    if tally.failed:
        return tally
    logs = ROOT / "build" / folder / "meson-logs"
    for old in logs.glob("testlog*"):
        old.unlink()
    shutil.rmtree(ROOT / "build" / folder / "tests" / "tmp", ignore_errors=True)
    (ROOT / "build" / folder / "tests" / "tmp").mkdir(parents=True, exist_ok=True)
    worked, output = run([*wrapper, "meson", "test", "-C", f"build/{folder}", "--no-rebuild", "--print-errorlogs", *options],
                         quiet=True)
    counted = Tally()
    for log in logs.glob("testlog*.json"):
        for line in log.read_text().splitlines():
            result = json.loads(line)
            counted.add(count_result(result["result"], result["returncode"], result["stdout"]))
    if not worked and not counted.failed:
        counted.failed = 1
    if counted.failed:
        print(output.rstrip())
    tally.add(counted)
    return tally


def c_files():
    """Every C file of the tree, as git knows it or, in a release without git, as the folders hold it."""
    found, names = run(["git", "ls-files", "-co", "--exclude-standard", "*.c", "*.h"], quiet=True)
    files = [name for name in names.split("\n") if name and (ROOT / name).exists()] if found else []
    if not files: # not a git tree, as in a release tarball
        files = sorted(str(p.relative_to(ROOT)) for top in ("src", "include", "tests", "examples", "bench", "python")
                       for p in (ROOT / top).rglob("*.[ch]"))
    return files


def format_stage():
    files = c_files()
    tally = command_case(f"{len(files)} C files are formatted (make fmt mends them)",
                         [CLANG_FORMAT, "--dry-run", "-Werror", "--", *files])
    scripts = [str(p.relative_to(ROOT)) for p in sorted((ROOT / "scripts").glob("*.sh"))] + [".ci/run"]
    tally.add(command_case("shell scripts pass shellcheck", ["shellcheck", *scripts]))
    tally.add(command_case("the completion for bash passes shellcheck", [
        "shellcheck", "--shell=bash", "--exclude=SC2207", "src/tool/completion/pmemstream.bash"])) # words, as bash wants them
    return tally


def reformat_stage():
    return command_case("C files are formatted in place", [CLANG_FORMAT, "-i", "--", *c_files()])


def tsan_stage():
    # ThreadSanitizer's shadow memory collides with addresses that kernels with 32 random bits hand out.
    fixed, _ = run(["setarch", "-R", "true"], quiet=True)
    return tests("tsan", "--timeout-multiplier=4", wrapper=["setarch", "-R"] if fixed else [])


def valgrind_stage():
    suppressions = shlex.quote(str(ROOT / "tests" / "valgrind.supp"))
    memcheck = f"valgrind --quiet --error-exitcode=99 --leak-check=full --suppressions={suppressions}"
    # The tests of the Python package run valgrind themselves, on what they call; the interpreter is not ours to mend.
    return tests("release", "--timeout-multiplier=20", "--no-suite=python", f"--wrapper={memcheck}")


STAGES = {
    "format": format_stage,
    "layers": lambda: script("layers.py"),
    "gcc": lambda: tests("release"),
    "clang": lambda: build("clang"),
    "asan": lambda: tests("asan", "--timeout-multiplier=4"),
    "tsan": tsan_stage,
    "headers": lambda: script("headers.py"),
    "symbols": lambda: script("symbols.py", "build/release", "build/clang", folders=["release", "clang"]),
    "install": lambda: script("installed.py", folders=["release"]),
    "docs": lambda: script("docs.py", "build/release", folders=["release"]),
}
ON_REQUEST = {"valgrind": valgrind_stage, "reformat": reformat_stage}


def busy():
    """Seconds that processors have worked for the commands run so far; on a busy machine less than they took."""
    used = os.times()
    return used.children_user + used.children_system


def main(names):
    stages = {**STAGES, **ON_REQUEST}
    unknown = [name for name in names if name not in stages]
    if unknown:
        sys.exit(f"check.py: no stage is called {unknown[0]}; there are {', '.join(stages)}")
    for name in ("LD_LIBRARY_PATH", "LD_PRELOAD", "PMEM2_FORCE_GRANULARITY"): # tests are to see what was built, as it is
        os.environ.pop(name, None)
    total, begin = Tally(), time.monotonic()
    for name in names or STAGES:
        print(f"== {name}", flush=True)
        stage_begin, busy_begin = time.monotonic(), busy()
        tally = stages[name]()
        print(f"== {name}: {tally} in {time.monotonic() - stage_begin:.1f} s"
              f" ({busy() - busy_begin:.1f} s of processors)", flush=True)
        total.add(tally)
    print(f"== all stages in {time.monotonic() - begin:.1f} s")
    print(total)
    return 1 if total.failed or not total.passed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
