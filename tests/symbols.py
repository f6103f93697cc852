"""symbols.py BUILD...: holds each built shared library to its list in tests/abi/.

A list (tests/abi/libX.symbols) names the soname and every exported symbol with its version node, and is the promise to
programs that are linked already; '#' begins a comment:

    soname libX.so.0
    x_open@@LIBX_1.0

What is exported must be exactly that: nothing missing, nothing more, no node without symbols. A program that runs already can load it. A library without a list
fails, and so does a list without a library. The last cases build a tiny library and expect to find each planted fault.
"""

import pathlib
import re
import subprocess
import sys
import tempfile

import tap

ROOT = pathlib.Path(__file__).resolve().parent.parent


def output(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def read_list(text):
    """The promised soname and the set of symbol@@node; raises ValueError."""
    soname, symbols = None, set()
    for line in text.splitlines():
        words = line.split("#")[0].split()
        if len(words) == 2 and words[0] == "soname":
            soname = words[1]
        elif len(words) == 1 and "@" in words[0]:
            symbols.add(words[0])
        elif words:
            raise ValueError(f"'{line}' is neither 'soname NAME' nor 'symbol@@NODE'")
    return soname, symbols


def read_library(path):
    """The soname, the exported symbol@@node, and the version nodes that a library defines."""
    soname = re.search(r"\(SONAME\).*\[(.*)\]", output("readelf", "--dynamic", "--wide", path))
    symbols, nodes = set(), set()
    for line in output("nm", "--dynamic", "--defined-only", "--with-symbol-versions", path).splitlines():
        kind, name = line.split()[-2:]
        if kind == "A":
            nodes.add(name.split("@")[0])
        else:
            symbols.add(name)
    return soname.group(1) if soname else None, symbols, nodes


def compare(text, library):
    """All differences between the text of a list and a library."""
    try:
        soname, symbols = read_list(text)
    except ValueError as error:
        return [str(error)]
    found_soname, found_symbols, nodes = read_library(library)
    problems = [] if soname == found_soname else [f"soname is {found_soname}, promised is {soname}"]
    problems += [f"missing: {name}" for name in sorted(symbols - found_symbols)]
    problems += [f"not promised: {name}" for name in sorted(found_symbols - symbols)]
    promised_nodes = {name.split("@")[-1] for name in symbols}
    problems += [f"node {name} has no symbol" for name in sorted(nodes - promised_nodes)]
    return problems


def loads_late(library):
    """Whether a running program can load a library, as Python does: the room for initial-exec thread-local variables is a
    few hundred bytes for all of its libraries together, and the variables of one library move in as a whole."""
    return ["it has thread-local variables of the initial-exec model (STATIC_TLS)"] \
        if "STATIC_TLS" in output("readelf", "--dynamic", "--wide", library) else []


def examine(lists, build):
    """(name, problems) for each library that is built or promised."""
    promised = {path.stem: path for path in lists.glob("*.symbols")}
    libraries = {p.name[:-len(".so")]: p for p in build.rglob("lib*.so")}
    for name in sorted(set(promised) | set(libraries)):
        if name not in libraries:
            yield name, [f"{promised[name]} promises a library that is not in {build}"]
        elif name not in promised:
            yield name, [f"{libraries[name]} is held to nothing: write tests/abi/{name}.symbols"]
        else:
            yield name, compare(promised[name].read_text(), libraries[name]) + loads_late(libraries[name])


SOUND = "# a comment\nsoname libtoy.so.0\ntoy_open@@LIBTOY_1.0\ntoy_shut@@LIBTOY_1.1\n"
PLANTED = [
    ("an export too many is found", SOUND.replace("toy_open@@LIBTOY_1.0\n", ""), "not promised: toy_open@@LIBTOY_1.0"),
    ("a missing export is found", SOUND + "toy_gone@@LIBTOY_1.0\n", "missing: toy_gone"),
    ("an export in another node is found", SOUND.replace("shut@@LIBTOY_1.1", "shut@@LIBTOY_1.0"), "missing: toy_shut"),
    ("a node too many is found", SOUND.replace("toy_shut@@LIBTOY_1.1\n", ""), "node LIBTOY_1.1 has no symbol"),
    ("another soname is found", SOUND.replace(".so.0", ".so.1"), "soname is libtoy.so.0"),
    ("a line that cannot be read is found", SOUND + "toy_open\n", "neither"),
]


def write(path, text):
    path.write_text(text)
    return path


def self_test():
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        (folder / "toy.c").write_text("int toy_open(void);int toy_open(void){return 1;}int toy_shut(void);"
                                      "int toy_shut(void){return 1;}int toy_hidden(void);int toy_hidden(void){return 1;}\n")
        (folder / "toy.map").write_text("LIBTOY_1.0 { global: toy_open; local: *; };\n"
                                        "LIBTOY_1.1 { global: toy_shut; } LIBTOY_1.0;\n")
        library = folder / "libtoy.so"
        output("gcc", "-shared", "-fPIC", "-o", library, folder / "toy.c", "-Wl,-soname,libtoy.so.0",
               f"-Wl,--version-script={folder}/toy.map")
        tap.case("a library that is as promised has no fault", compare(SOUND, library))
        for claim, text, expected in PLANTED:
            found = compare(text, library)
            tap.case(claim, "" if any(expected in line for line in found) else f"expected '{expected}', found {found}")
        output("gcc", "-shared", "-fPIC", "-ftls-model=initial-exec", "-o", library, "-x", "c", write(folder / "late.c",
               "_Thread_local int toy; int *toy_open(void);int *toy_open(void){return &toy;}"))
        tap.case("a library that cannot be loaded late is found", "" if loads_late(library) else "not found")
        (folder / "libgone.symbols").write_text("soname libgone.so.0\n")
        found = dict(examine(folder, folder))
        tap.case("a library without a list is found", "" if found["libtoy"] else "not found")
        tap.case("a list without a library is found", "" if found["libgone"] else "not found")


def main():
    for build in sys.argv[1:]:
        for name, problems in examine(ROOT / "tests" / "abi", ROOT / build / "src"):
            tap.case(f"{name} in {build} exports exactly what tests/abi promises", problems)
    self_test()
    tap.done()


if __name__ == "__main__":
    main()
