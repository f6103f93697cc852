"""Installs below build/check by `make install`, and uses what lies there as a stranger would.

The headers, libraries and pkg-config files are what include/ and tests/abi/ say; the CMake package is found; every example is built by the command
that its own top comment names ("Build: ...") and run by the lines that begin with "Run:"; the Python package loads the
libraries beside it, installed by make and by pip; uninstalling leaves nothing.
"""

import os
import pathlib
import re
import shutil
import subprocess

import tap

ROOT = pathlib.Path(__file__).resolve().parent.parent
CHECK = ROOT / "build" / "check"
VERSION = (ROOT / "VERSION").read_text().strip()
RUN_SECONDS = 120
PYTHON = "/usr/bin/python3"


def run(command, folder=ROOT, **environment):
    """What went wrong with a command, with its output; empty if nothing."""
    try:
        done = subprocess.run(command, shell=isinstance(command, str), cwd=folder, stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, errors="replace", timeout=RUN_SECONDS, check=False,
                              env={**os.environ, **environment})
    except subprocess.TimeoutExpired:
        return f"{command}: not done after {RUN_SECONDS} s"
    return f"{command}: status {done.returncode}\n{done.stdout}{done.stderr}" if done.returncode else ""


def make(target, root, prefix, *more):
    """Like a call by hand: what the make around this check was told must not reach it."""
    clean = ["env", "-u", "MAKEFLAGS", "-u", "MAKEOVERRIDES", "-u", "LIBDIR", "-u", "PMEMLOG"]
    return run([*clean, "make", "--no-print-directory", target, f"DESTDIR={root}", f"PREFIX={prefix}", *more])


def files_below(folder):
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file() or p.is_symlink())


def differences(found, expected):
    return [f"missing: {name}" for name in sorted(set(expected) - set(found))] + \
           [f"too many: {name}" for name in sorted(set(found) - set(expected))]


def check_library(promise, libraries):
    """One library: its files, its link names, no path of the build in it."""
    name = promise.stem
    soname = re.search(r"^soname (\S+)", promise.read_text(), re.MULTILINE).group(1)
    problems = [f"{link} is missing" for link in (f"{name}.so", soname) if not (libraries / link).exists()]
    if not problems:
        dynamic = subprocess.run(["readelf", "--dynamic", "--wide", libraries / soname], check=True, capture_output=True,
                                 text=True).stdout
        problems += [f"{soname} has a {word}" for word in ("RUNPATH", "RPATH") if f"({word})" in dynamic]
    return problems


def check_example(source, environment):
    """Builds and runs one example by the commands in its comment."""
    text = source.read_text()
    builds = re.findall(r"^ \* +Build: +(.+)$", text, re.MULTILINE)
    runs = re.findall(r"^ \* +Run: +(.+)$", text, re.MULTILINE)
    if len(builds) != 1 or not runs:
        return "its top comment needs one line ' * Build: COMMAND' and one or more ' * Run: COMMAND'"
    folder = CHECK / "examples" / source.stem
    folder.mkdir(parents=True)
    shutil.copy(source, folder)
    for command in builds + runs:
        problem = run(command, folder, **environment)
        if problem:
            return problem
    return ""


def check_script(source, package):
    """Runs a Python example by the commands in its docstring, with the installed package."""
    commands = re.findall(r"^Run: +python3 (.+)$", source.read_text(), re.MULTILINE)
    if not commands:
        return "its docstring needs one or more lines 'Run: python3 ...'"
    folder = CHECK / "examples" / source.name
    folder.mkdir(parents=True)
    shutil.copy(source, folder)
    for command in commands:
        problem = run(f"{PYTHON} {command}", folder, PYTHONPATH=str(package), LD_LIBRARY_PATH="")
        if problem:
            return problem
    return ""


def check_debian_layout():
    """PREFIX=/usr is Debian's layout: libraries in the folder of the architecture."""
    root = CHECK / "usr"
    tap.case("make install PREFIX=/usr works", make("install", root, "/usr"))
    triplet = subprocess.run(["gcc", "-print-multiarch"], check=True, capture_output=True, text=True).stdout.strip()
    libraries = root / "usr" / "lib" / triplet
    problems = []
    for name in (path.stem for path in sorted((ROOT / "tests" / "abi").glob("*.symbols")) if path.stem != "libpmemlog"):
        pc = libraries / "pkgconfig" / f"{name}.pc"
        if not (libraries / f"{name}.so").exists() or not pc.exists() or "prefix=/usr\n" not in pc.read_text():
            problems.append(f"{name} or its pkg-config file is not in {libraries}, or not for /usr")
    tap.case("PREFIX=/usr puts the libraries where Debian has them", problems)
    tap.case("PREFIX=/usr: the tool finds its libraries, a private libpmemlog among them", check_tool(root / "usr", "lib/pmemstream"))
    package = root / "usr" / "lib" / "python3" / "dist-packages"
    tap.case("PREFIX=/usr: the Python package is where Debian's is, and loads our private libpmemlog",
             check_python(package, root / "usr" / "lib", PYTHONPATH=str(package)))
    tap.case("make uninstall PREFIX=/usr leaves no file", make("uninstall", root, "/usr") or files_below(root))


def pmemlog_below(prefix):
    """"public" or "private": how libpmemlog is installed; a text that is neither if it is half of each."""
    names = [name for name in files_below(prefix) if "pmemlog" in name and "/nvm/" not in name]
    private = [name for name in names if name.startswith("lib/pmemstream/libpmemlog.so")]
    if names and len(names) == len(private):
        return "private"
    wanted = ("include/libpmemlog.h", "/libpmemlog.pc", "/libpmemlog.so.1", "/libpmemlog.7", "/pmemlog_append.3")
    if not private and all(any(name.endswith(end) for name in names) for end in wanted):
        return "public"
    return f"half of it: {names}"


def check_pmemlog():
    """Debian has a libpmemlog of its own below /usr; everywhere else ours is for everybody, unless told otherwise."""
    for prefix, setting, expected in (("/usr", "auto", "private"), ("/usr", "yes", "public"), ("/usr/local", "no", "private"),
                                      ("/usr/local", "auto", "public")):
        root = CHECK / f"pmemlog-{expected}-{setting}"
        problem = make("install", root, prefix, f"PMEMLOG={setting}")
        found = problem or pmemlog_below(root / prefix[1:])
        tap.case(f"PREFIX={prefix} PMEMLOG={setting} installs libpmemlog as {expected}", "" if found == expected else found)
        tap.case(f"make uninstall PREFIX={prefix} PMEMLOG={setting} leaves no file",
                 make("uninstall", root, prefix, f"PMEMLOG={setting}") or files_below(root))


PYTHON_USE = """
import pathlib, re, sys
from nvm import pmemlog, pmemstream
path = pathlib.Path(sys.argv[1])
path.unlink(missing_ok=True)
with pmemlog.create(path) as pool:
    pool.append(b"kept")
with pmemlog.open(path) as pool:
    assert b"".join(pool) == b"kept"
path.unlink()
with pmemstream.create(path, 1 << 20) as stream:
    stream.regions.create("words", 4096).append(b"kept")
    assert [bytes(entry) for entry in stream] == [b"kept"]
loaded = {m.group() for m in re.finditer(r"/.*/lib(pmemlog|pmemstream|miniasync)[.]so.*", pathlib.Path("/proc/self/maps").read_text())}
assert pmemlog.__file__.startswith(sys.argv[2]), pmemlog.__file__
assert len(loaded) == 3 and all(name.startswith(sys.argv[3]) for name in loaded), loaded
"""


def check_python(package, libraries, interpreter=PYTHON, **environment):
    """Uses the package in a folder; it must load our libraries from theirs, without a hint by the environment."""
    environment = {"PYTHONDONTWRITEBYTECODE": "", "LD_LIBRARY_PATH": "", **environment}
    return run([interpreter, "-c", PYTHON_USE, CHECK / "python.pool", package, libraries], CHECK, **environment)


def check_pip():
    """pip installs the package into a virtual environment, against libraries that pkg-config finds."""
    prefix, folder = CHECK / "prefix", CHECK / "venv"
    tap.case("make install works with any PREFIX", make("install", "/", prefix))
    tap.case("below another PREFIX the Python package is in site-packages",
             check_python(prefix / "lib", prefix / "lib", PYTHONPATH=str(next(prefix.glob("lib/python3*/site-packages"), ""))))
    problem = run([PYTHON, "-m", "venv", "--system-site-packages", folder]) or \
        run([folder / "bin" / "pip", "install", "--quiet", "--no-index", "--no-build-isolation", "./python"],
            PKG_CONFIG_PATH=str(prefix / "lib" / "pkgconfig"))
    tap.case("pip installs the Python package into a virtual environment", problem)
    tap.case("the package of the virtual environment finds the libraries",
             check_python(folder, prefix / "lib", folder / "bin" / "python"))
    tap.case("pip leaves nothing in the source tree",
             [str(p) for p in (ROOT / "python").rglob("*") if re.search("egg-info|__pycache__|[.]so$|^build$|^dist$", p.name)])
    tap.case("make uninstall with that PREFIX leaves no file", make("uninstall", "/", prefix) or files_below(prefix))


def check_tool(prefix, libpmemlog):
    """The installed tool finds the libraries it was installed with, and only those, without being told where they are."""
    tool = prefix / "bin" / "pmemstream"
    environment = {name: value for name, value in os.environ.items() if name != "LD_LIBRARY_PATH"}
    try:
        done = subprocess.run([tool, "--version"], capture_output=True, text=True, check=False, env=environment)
        linked = subprocess.run(["ldd", tool], capture_output=True, text=True, check=False, env=environment).stdout
    except OSError as error:
        return str(error)
    problems = [] if done.stdout == f"pmemstream {VERSION}\n" else [f"--version: {done}"]
    for name, folder in (("libpmemstream.so.0", ""), ("libminiasync.so.0", ""), ("libpmemlog.so.1", libpmemlog)):
        found = re.search(rf"{re.escape(name)} => (\S+)", linked)
        where = pathlib.Path(os.path.normpath(found.group(1))) if found else pathlib.Path("nowhere")
        if prefix not in where.parents or (folder and where.parent != prefix / folder):
            problems.append(f"{name} is taken from {where}")
    return problems


def check_tool_tests(prefix):
    """The tests of the tool, with the installed one."""
    (CHECK / "tool").mkdir()
    return run(["env", "-u", "LD_LIBRARY_PATH", "python3", ROOT / "tests" / "tool" / "commands.py", prefix / "bin" / "pmemstream"],
               CHECK / "tool", TESTS_SOURCE=str(ROOT / "tests"), TMPDIR=str(CHECK / "tool"))


CMAKE_LISTS = """cmake_minimum_required(VERSION 3.18)
project(stranger C)
find_package(libminiasync 0.2 REQUIRED)
add_executable(by_target chained_copies.c)
target_link_libraries(by_target libminiasync::libminiasync)
add_executable(by_variables chained_copies.c)
target_include_directories(by_variables PRIVATE ${LIBMINIASYNC_INCLUDE_DIRS})
target_link_libraries(by_variables ${LIBMINIASYNC_LIBRARIES})
"""


def check_cmake_package(prefix):
    """A CMake project that knows the prefix alone builds an example, in both ways that CMake projects use."""
    folder = CHECK / "cmake"
    folder.mkdir()
    shutil.copy(ROOT / "examples" / "chained_copies.c", folder)
    (folder / "CMakeLists.txt").write_text(CMAKE_LISTS)
    for command in (["cmake", f"-DCMAKE_PREFIX_PATH={prefix}", "-B", "build"], ["cmake", "--build", "build"],
                    ["build/by_target"], ["build/by_variables"]):
        problem = run(command, folder)
        if problem:
            return problem
    return ""


def main():
    shutil.rmtree(CHECK, ignore_errors=True)
    CHECK.mkdir(parents=True)
    check_debian_layout()
    check_pmemlog()
    check_pip()
    root, prefix = CHECK / "root", CHECK / "root" / "usr" / "local"
    tap.case("make install DESTDIR= works", make("install", root, "/usr/local"))
    headers = [name for name in files_below(ROOT / "include") if name != "meson.build"]
    (prefix / "include").mkdir(parents=True, exist_ok=True)
    tap.case("the headers of include/ are installed, no others", differences(files_below(prefix / "include"), headers))
    # Relative to the folder of an example, so that a blank in the path of the tree does not end a compiler's flag.
    environment = {"PKG_CONFIG_PATH": "../../root/usr/local/lib/pkgconfig", "PKG_CONFIG_SYSROOT_DIR": "../../root",
                   "LD_LIBRARY_PATH": str(prefix / "lib")}
    examples = CHECK / "examples" / "any"
    examples.mkdir(parents=True)
    for promise in sorted((ROOT / "tests" / "abi").glob("*.symbols")):
        name = promise.stem
        tap.case(f"{name} is installed under its names", check_library(promise, prefix / "lib"))
        tap.case(f"pkg-config knows {name} {VERSION}", run(["pkg-config", "--print-errors", f"{name} = {VERSION}"], examples, **environment))
    package = next(prefix.glob("lib/python3.*/dist-packages"), prefix / "missing")
    tap.case("the Python package is in dist-packages of /usr/local and loads our libraries beside Debian's",
             check_python(package, prefix / "lib", PYTHONPATH=str(package)))
    for source in sorted((ROOT / "examples").glob("*.py")):
        tap.case(f"example {source.name} runs on the installed package", check_script(source, package))
    tap.case("the tool finds its libraries wherever it is installed", check_tool(prefix, "lib"))
    tap.case("the tests of the tool pass with the installed one", check_tool_tests(prefix))
    wanted = ["share/man/man1/pmemstream.1", "share/bash-completion/completions/pmemstream", "share/zsh/site-functions/_pmemstream"]
    tap.case("the tool's manual page and completions are installed", [f"{name} is missing" for name in wanted if not (prefix / name).exists()])
    tap.case("CMake's find_package finds libminiasync", check_cmake_package(prefix))
    for source in sorted((ROOT / "examples").glob("*.c")):
        tap.case(f"example {source.stem} builds and runs on the installed libraries", check_example(source, environment))
    tap.case("make uninstall leaves no file", make("uninstall", root, "/usr/local") or files_below(root))
    ours = [str(p) for p in root.rglob("*") if re.search("miniasync|pmemstream|pmemlog|nvm", p.name)]
    tap.case("make uninstall leaves no folder of ours", ours)
    tap.done()


if __name__ == "__main__":
    main()
