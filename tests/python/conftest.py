"""Makes pytest speak TAP, and gives each test a folder that is gone afterwards.

Meson runs it with the package of the build folder in PYTHONPATH. By hand:
PYTHONPATH=build/release/python /usr/bin/python3 -m pytest tests/python.
"""

import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import textwrap
import threading

import hypothesis
import pytest

# The same examples each time; what fails prints how to repeat it.
hypothesis.settings.register_profile("here", derandomize=True, database=None, deadline=None, print_blob=True)
hypothesis.settings.load_profile("here")

SECONDS = 120 # after which a test that hangs fails


class Tap:
    """One line for each test: ok or not ok, and what its name claims."""

    def __init__(self):
        self.count = 0

    def line(self, worked, claim, text=""):
        self.count += 1
        print(f"{'' if worked else 'not '}ok {self.count} - {claim}", flush=True)
        for line in text.splitlines():
            print(f"# {line}", flush=True)

    def pytest_runtest_logreport(self, report):
        if report.failed or report.when == "call":
            claim = report.nodeid.rsplit("::", 1)[-1].removeprefix("test_")
            output = "\n".join(body for _, body in report.sections) if report.failed else ""
            self.line(report.passed, claim, f"{report.longreprtext}\n{output}".strip() if report.failed else "")

    def pytest_collectreport(self, report):
        if report.failed:
            self.line(False, f"{report.nodeid} can be imported", str(report.longrepr))

    def pytest_sessionfinish(self):
        print(f"1..{self.count}", flush=True)


@pytest.hookimpl(trylast=True)
def pytest_configure(config):
    if "TESTS_SOURCE" in os.environ: # Meson runs us, and wants TAP alone
        config.pluginmanager.unregister(config.pluginmanager.getplugin("terminalreporter"))
        config.pluginmanager.register(Tap())


@pytest.fixture
def folder():
    with tempfile.TemporaryDirectory(dir=".") as name:
        yield pathlib.Path(name).resolve()


@pytest.fixture
def path(folder):
    return str(folder / "file")


@pytest.fixture(autouse=True)
def no_test_hangs():
    def give_up(number, frame):
        raise TimeoutError(f"not done after {SECONDS} s")

    signal.signal(signal.SIGALRM, give_up)
    signal.alarm(SECONDS)
    yield
    signal.alarm(0)


def run_script(text, *arguments, folder=None, **environment):
    """Runs a Python program of its own; returns the finished process."""
    # Meson names the build's libraries in LD_LIBRARY_PATH; a program is to find them without. In development mode event loops
    # complain of a slow machine; what else that mode does is asked for by name.
    inherited = {name: value for name, value in os.environ.items() if name not in ("LD_LIBRARY_PATH", "PYTHONDEVMODE")}
    inherited = {"PYTHONMALLOC": "debug", "PYTHONWARNINGS": "default", "PYTHONFAULTHANDLER": "1", **inherited}
    return subprocess.run([sys.executable, "-B", "-c", textwrap.dedent(text), *map(str, arguments)], cwd=folder,
                          capture_output=True, text=True, timeout=SECONDS, check=False, env={**inherited, **environment})


def output_of(text, *arguments, **how):
    """What a program prints; it must say nothing on stderr."""
    done = run_script(text, *arguments, **how)
    assert (done.returncode, done.stderr) == (0, ""), f"status {done.returncode}\n{done.stderr}"
    return done.stdout


def in_threads(*functions):
    """Runs functions at the same time; raises what the first of them raised."""
    errors = []

    def guarded(function):
        try:
            function()
        except BaseException as error: # noqa: BLE001
            errors.append(error)

    threads = [threading.Thread(target=guarded, args=(function,)) for function in functions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
