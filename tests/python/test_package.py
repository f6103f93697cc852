"""The package as a whole: types, docstrings, what it exports."""

import importlib
import inspect
import os
import pathlib
import subprocess
import sys

import pytest

MODULES = ["nvm.pmemlog", "nvm.pmemstream"]
PACKAGE = pathlib.Path(importlib.import_module("nvm").__file__).parent


def test_the_version_is_that_of_the_project():
    expected = (pathlib.Path(os.environ["TESTS_SOURCE"]).parent / "VERSION").read_text().strip()
    assert importlib.import_module("nvm").__version__ == expected


def test_mypy_has_no_complaint(folder):
    done = subprocess.run(["mypy", "--strict", "--cache-dir", folder, "-p", "nvm"], capture_output=True, text=True, check=False,
                          cwd=PACKAGE.parent, env={**os.environ, "MYPYPATH": str(PACKAGE.parent), "LD_PRELOAD": ""})
    assert done.returncode == 0, done.stdout + done.stderr


def test_mypy_sees_the_types_and_a_fault(folder):
    """The same call finds a wrong use, so its silence means something."""
    wrong = folder / "wrong.py"
    wrong.write_text("from nvm import pmemlog\npmemlog.create('x').append(b'').lower()\npmemlog.open(5)\n")
    done = subprocess.run(["mypy", "--strict", "--cache-dir", folder, wrong], capture_output=True, text=True, check=False,
                          cwd=folder, env={**os.environ, "MYPYPATH": str(PACKAGE.parent), "LD_PRELOAD": ""})
    assert "[attr-defined]" in done.stdout and "[arg-type]" in done.stdout, done.stdout + done.stderr
    assert (PACKAGE / "py.typed").exists()


def public(module):
    for name in module.__all__:
        item = getattr(module, name)
        yield name, item
        if inspect.isclass(item):
            for inner, member in vars(item).items():
                if not inner.startswith("_") and (inspect.isfunction(member) or isinstance(member, (property, classmethod))):
                    yield f"{name}.{inner}", member


@pytest.mark.parametrize("name", MODULES)
def test_everything_public_is_documented(name):
    module = importlib.import_module(name)
    assert module.__doc__
    missing = [f"{name}.{item}" for item, value in public(module)
               if (callable(value) or isinstance(value, property)) and not inspect.getdoc(value)]
    assert not missing


@pytest.mark.parametrize("name", MODULES)
def test_nothing_public_is_unlisted(name):
    module = importlib.import_module(name)
    own = {item for item, value in vars(module).items()
           if not item.startswith("_") and getattr(value, "__module__", None) == name}
    callbacks = {"logpool_chunk", "report_event", "report_field"} # that C calls
    assert own - callbacks <= set(module.__all__)


def test_the_extensions_need_no_library_path():
    for module in MODULES:
        done = subprocess.run([sys.executable, "-c", f"import {module}"], capture_output=True, text=True, check=False,
                              env={name: value for name, value in os.environ.items() if name != "LD_LIBRARY_PATH"})
        assert done.returncode == 0, done.stderr
