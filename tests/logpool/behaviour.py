"""behaviour.py OURS: the behaviour tables of libpmemlog, asked of our library and of PMDK's, which must agree.

Where they differ is printed. A difference is allowed only where DIFFERENCES names the case, with the reason and with what
ours must say; a case there in which they agree fails as well. probe.py has the cases.
"""

import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import tap  # noqa: E402

PROBE = pathlib.Path(__file__).resolve().parent / "probe.py"

CRASH = "the original crashes on it"
SHORT = "a part that is too short is no part in use: the original locks itself out"
ENVIRONMENT = "a malformed setting is a warning, not an abort"
DIFFERENCES = {
    "open_empty_file": ("no SIGBUS on an empty file", "EINVAL"),
    "check_empty_file": ("no SIGBUS on an empty file", "0 EINVAL"),
    "addresses_left_in_the_file": ("no process addresses are left in the file", False),
    "appendv_wrapping_lengths": ("overflowing lengths are ENOSPC", [[-1, "ENOSPC"], 0]),
    "walk_huge_chunk": ("a huge chunk behaves like the total", [1, 10]),
    "append_inside_walk": ("EDEADLK instead of hanging", [[-1, "EDEADLOCK"], 10]),
    "rewind_inside_walk": ("EDEADLK instead of hanging", ["EDEADLOCK", 10]),
    "message_before_and_after": ("the message is empty after success", ["", True, "", ""]),
    "message_of_a_failed_appendv": ("a failing appendv leaves a message", True),
    "errno_after_success": ("errno does not leak on success", ["errno 0", "errno 0"]),
    "ctl_on_a_pool_with_garbage_in_scratch": ("nothing on media is trusted as a pointer", [-1, "EINVAL"]),
    "ctl_name_prefault.at_create.x": (CRASH, [[-1, "EINVAL"]] * 3),
    "wrong_list_nohdrs_option": (CRASH, ["ok nbyte 7323648 tell 0", "EINVAL", "0 EINVAL"]),
    "conf_6_prefault.at_open": (ENVIRONMENT, [0, ["0", "1", "0"]]),
    "conf_7_=": (ENVIRONMENT, [0, ["0", "1", "0"]]),
    "conf_8_sds.at_create=0;;x": (ENVIRONMENT, [0, ["0", "0", "0"]]),
    "conf_9_prefault.at_open=1=1": (ENVIRONMENT, [0, ["0", "1", "0"]]),
    "conf_file_missing": (ENVIRONMENT, [0, ["0", "1", "0"]]),
    "set_first_part_of_0_bytes": (SHORT, ["EINVAL", "0 EINVAL"]),
    "set_first_part_of_40_bytes": (SHORT, ["EINVAL", "0 EINVAL"]),
    "set_first_part_of_4096_bytes": (SHORT, ["EINVAL", "0 EINVAL"]),
    "set_auto_existing": ("no errno 0 on AUTO", ["EINVAL", [], "EINVAL", "0 EINVAL"]),
}


def original():
    """PMDK's library as Debian installs it."""
    triplet = subprocess.run(["gcc", "-print-multiarch"], check=True, capture_output=True, text=True).stdout.strip()
    return f"/usr/lib/{triplet}/libpmemlog.so.1"


def start(library, folder):
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PMEM", "LD_"))}
    return subprocess.Popen([sys.executable, str(PROBE), library, folder], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                            text=True, env=environment)


def without_check_promise(result):
    """A copy in which check's 0 for what is no pool reads as the original's -1."""
    return json.loads(json.dumps(result).replace('"0 EINVAL"', '"-1 EINVAL"'))


def compare(name, ours, theirs):
    """What is wrong with a case, and the difference to be printed."""
    if name in DIFFERENCES:
        reason, expected = DIFFERENCES[name]
        if ours != expected:
            return f"ours says {ours}, expected is {expected}", ""
        if ours == theirs:
            return "both agree: take it off the list of differences", ""
        return "", f"{reason}: ours {ours}, original {theirs}"
    if without_check_promise(ours) != theirs:
        return f"ours:     {ours}\noriginal: {theirs}", ""
    return "", "" if ours == theirs else "check is 0 for what is no pool, original -1"


def main():
    ours_path = os.path.realpath(sys.argv[1])
    # Reached by nobody, too, who tries in some cases what he may not.
    folder = tempfile.mkdtemp(prefix="logpool-", dir="/tmp")
    os.chmod(folder, 0o755)
    results = []
    processes = []
    for library in (ours_path, original()):
        place = os.path.join(folder, str(len(processes)))
        os.mkdir(place, 0o755)
        processes.append(start(library, place))
    for process in processes:
        results.append(dict(json.loads(line) for line in process.communicate()[0].splitlines()))
    shutil.rmtree(folder, ignore_errors=True)
    ours, theirs = results
    loaded = [result.pop("loaded", []) for result in results]
    tap.case("each process loaded the library it was to test, and no other",
             "" if loaded == [[ours_path], [os.path.realpath(original())]] else f"loaded: {loaded}")
    tap.case("both were asked the same", "" if list(ours) == list(theirs) and len(ours) > 200 else
             [f"{len(ours)} and {len(theirs)} results"] + sorted(set(ours) ^ set(theirs)))
    for name in ours:
        problem, difference = compare(name, ours[name], theirs.get(name))
        tap.case(f"{name}{': ' + difference if difference else ''}".replace("#", "no."), problem)
    tap.case("every listed difference was looked for", sorted(set(DIFFERENCES) - set(ours)))
    tap.done()


if __name__ == "__main__":
    main()
