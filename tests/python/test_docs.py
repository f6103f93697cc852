"""The code in the documents is run as it stands there."""

import doctest
import importlib
import os
import pathlib
import re

import pytest

from conftest import output_of

ROOT = pathlib.Path(os.environ["TESTS_SOURCE"]).parent


def code_of(document):
    blocks = re.findall(r"^```python\n(.*?)^```", (ROOT / document).read_text(), re.MULTILINE | re.DOTALL)
    assert blocks
    return "\n".join(blocks)


def test_the_tutorial_runs_from_top_to_bottom(folder):
    said = output_of(code_of("docs/python.md"), folder=folder)
    assert said.splitlines()[0] == "b'one,two'" and "bytes" in said.splitlines()[1]


def test_the_readme_runs_and_runs_again(folder):
    first = output_of(code_of("README.md"), folder=folder).splitlines()
    again = output_of(code_of("README.md"), folder=folder).splitlines()
    assert len(first) == 103 and first[0] == "1 orders b'two apples'" and first[2] == "3 stock b'pears -3'"
    assert again[:103] == first and len(again) == 206


@pytest.mark.parametrize("name", ["nvm.pmemlog", "nvm.pmemstream"])
def test_docstrings_tell_the_truth(name, path):
    module = importlib.import_module(name)
    results = doctest.testmod(module, extraglobs={"path": path}, verbose=False)
    assert results.attempted and not results.failed
