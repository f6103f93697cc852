"""bench.py [--seed=N] [STAGE...]: measures, all or the named stages, and reports. The Makefile calls it.

Each stage runs one or more of the programs of bench/ and keeps what they said in build/bench/STAGE.json. The report is
made of all stages that were measured at this commit: build/bench/report.md, plots beside it, and at the end the table
of the figures that are aimed at. With only "report" as stage nothing is measured.
"""

import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
BUILT = ROOT / "build" / "release" / "bench"
RESULTS = ROOT / "build" / "bench"
sys.path.insert(0, str(ROOT / "bench"))
import bench_plots  # noqa: E402
import bench_targets  # noqa: E402
import callgrind  # noqa: E402

# Each program runs so many times, with a share of the rounds each: where a process gets its memory makes a difference
# that no number of rounds inside of it evens out.
RUNS = 5

# Stage: programs with their options, run one after the other. Subjects and numbers of threads that are compared with
# each other run inside of one program, which takes them in turn. Where an append takes a tenth of a microsecond, peers
# that work on in threads of their own behind an append are left to a run in which they disturb nobody else.
STAGES = {
    "memory": [["append", "--subjects=floor,store,stream,libpmemlog", "--latencies", "--rounds=7"],
               ["append", "--subjects=stream,sqlite,lmdb,rocksdb", "--latencies", "--rounds=3"]],
    "disk": [["append", "--medium=disk", "--subjects=floor,store,stream,libpmemlog,sqlite,lmdb,rocksdb", "--latencies",
              "--rounds=5"]],
    "async": [["async", "--rounds=7"]],
    "threads": [["append", "--subjects=floor,stream,libpmemlog", "--threads=1,2", "--rounds=5"],
                ["append", "--subjects=floor,stream,libpmemlog", "--threads=1,2", "--rounds=5", "--own-regions"]],
    "groups": [["append", "--medium=disk", "--sizes=256", "--threads=1,2,4,8,16", "--rounds=3"]],
    "pools": [["append", "--subjects=libpmemlog,our_libpmemlog", "--threads=1,2,4", "--rounds=3"],
              ["append", "--subjects=libpmemlog,our_libpmemlog", "--threads=1,4", "--medium=disk", "--rounds=3"]],
    "parts": [["append", "--subjects=floor,floor_checks,floor_counted,floor_ordered,stream", "--threads=1,2", "--rounds=5"]],
    "iterate": [["iterate", "--rounds=5"]],
    "recover": [["recover"]],
    "idle": [["idle"]],
    "python": [["python", "--rounds=3"], ["python", "--medium=memory", "--rounds=3"]],
    "counters": [],
}


def output(*command):
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()


def machine():
    """Where figures come from."""
    model = next((line.split(":")[1].strip() for line in open("/proc/cpuinfo", encoding="utf-8")
                  if line.startswith("model name")), os.uname().machine)
    pages = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {"processor": f"{model}, {os.cpu_count()} of them", "memory": f"{pages / 2**30:.0f} GiB",
            "kernel": f"{os.uname().sysname} {os.uname().release}",
            "file system": f"{output('findmnt', '-no', 'FSTYPE', '-T', str(RESULTS))} (disk), "
                           f"{output('findmnt', '-no', 'FSTYPE', '-T', '/dev/shm').split()[0]} (memory)",
            "compiler": output("gcc", "--version").partition("\n")[0],
            "version": f"{(ROOT / 'VERSION').read_text().strip()}, {commit()}"}


def commit():
    return output("git", "-C", str(ROOT), "describe", "--always", "--dirty") or "no commit"


def merged(runs):
    """The results of several runs of one program as one: rounds one after the other, other numbers as means."""
    for results in zip(*runs):
        first = dict(results[0])
        for key, value in first.items():
            if isinstance(value, list):
                first[key] = [number for result in results for number in result[key]]
            elif isinstance(value, float) and value != int(value) or key in ("page_faults", "written_bytes"):
                first[key] = statistics.mean(result[key] for result in results)
            elif key.startswith("p") and key.endswith("_ns"):
                first[key] = statistics.median(result[key] for result in results)
        yield first


def run_program(name, options, seed):
    """One program's results; its files go to folders that vanish whatever becomes of it."""
    disk = "--medium=disk" in options or name == "recover" or name == "python" and "--medium=memory" not in options
    seeded = [] if name == "idle" else [f"--seed={seed}"]
    with tempfile.TemporaryDirectory(dir=RESULTS if disk else "/dev/shm") as folder:
        program = ["/usr/bin/python3", ROOT / "bench" / "python.py"] if name == "python" else [BUILT / f"bench_{name}"]
        done = subprocess.run([*program, "--json", f"--folder={folder}", *seeded, *options],
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, check=False,
                              env={**os.environ, "PYTHONPATH": str(BUILT.parent / "python")})
    if done.returncode:
        raise RuntimeError(f"bench_{name} {' '.join(options)} failed with status {done.returncode}")
    results = [json.loads(line) for line in done.stdout.splitlines()]
    for result in results:
        result["command"] = " ".join([f"bench_{name}", *options])
    return results


def count_instructions():
    """What callgrind counts, as results."""
    if not callgrind.available():
        raise RuntimeError("valgrind is not installed")
    results = []
    for subject, function in (("stream", "pmemstream_append"), ("floor", "append_floor")):
        for bytes_ in (64, 256, 1024, 4096):
            results.append({"work": "instructions", "what": f"append to {subject}", "bytes": bytes_, "instructions":
                            callgrind.per_append(BUILT / "bench_append", bytes_, function=function, subject=subject)})
    results.append({"work": "instructions", "what": "append to stream on disk", "bytes": 256, "instructions":
                    callgrind.per_append(BUILT / "bench_append", 256, "--medium=disk", f"--folder={RESULTS}", count=50)})
    results.append({"work": "instructions", "what": "asynchronous append to stream", "bytes": 64, "instructions":
                    callgrind.per_async_append(BUILT / "bench_async")})
    for walk in callgrind.WALKS:
        for options, whose in (([], ""), (["--reader"], " of a reader")):
            results.append({"work": "instructions", "what": f"{walk}{whose}", "bytes": 64, "instructions":
                            callgrind.per_entry(BUILT / "bench_iterate", walk, *options)})
    return results


SHOWN_PERCENTILES = ("p50_ns", "p99_ns", "p99.9_ns")


def cell(value):
    if isinstance(value, float):
        return f"{value:,.0f}" if value >= 1000 else f"{value:.4g}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def tables(results):
    """The results of each program as a Markdown table: all that it told, a column for each thing."""
    lines = []
    for command in dict.fromkeys(result.get("command", "callgrind") for result in results):
        rows = []
        for result in results:
            if result.get("command", "callgrind") != command or result["work"] == "configuration":
                continue
            row = {key: value for key, value in result.items() if key not in ("work", "command", "stage", "ns", "samples") and
                   (not key.endswith("_ns") or key in SHOWN_PERCENTILES)}
            if "ns" in result:
                row.update({"median ns": float(statistics.median(result["ns"])), "fastest": float(min(result["ns"])),
                            "slowest": float(max(result["ns"]))})
            rows.append(row)
        columns = list(dict.fromkeys(key for row in rows for key in row))
        lines += [f"### {command}", "", f"| {' | '.join(columns)} |", f"|{'---|' * len(columns)}"]
        lines += [f"| {' | '.join(cell(row.get(key, '')) for key in columns)} |" for row in rows] + [""]
    return lines


def show(result):
    """A result as one line."""
    if result["work"] == "configuration":
        return f"  {result['subject']} ({result['medium']}): {result.get('configuration') or result['missing']}"
    words = [f"{key} {value:g}" if isinstance(value, (int, float)) else f"{key} {value}" for key, value in result.items()
             if key not in ("work", "ns", "command", "stage", "samples") and (not key.endswith("_ns") or key in SHOWN_PERCENTILES)]
    if "ns" in result:
        words.insert(0, f"{statistics.median(result['ns']):,.1f} ns ({min(result['ns']):,.1f} to {max(result['ns']):,.1f})")
    return f"  {result['work']}: {', '.join(words)}"


def measure(stage, seed):
    began = time.monotonic()
    print(f"== {stage}", flush=True)
    results = count_instructions() if stage == "counters" else []
    for name, *options in STAGES[stage]:
        once = name in ("idle", "recover") # processes of their own anyway
        results += merged([run_program(name, options, seed + i) for i in range(1 if once else RUNS)])
    for result in results:
        result["stage"] = stage
        print(show(result))
    print(f"   {time.monotonic() - began:.0f} s", flush=True)
    (RESULTS / f"{stage}.json").write_text(json.dumps(
        {"stage": stage, "seed": seed, "machine": machine(), "results": results}, indent=1))


def gathered():
    """(results, machines and seeds by stage) of all stages that were measured at this commit."""
    results, origins = [], {}
    for stage in STAGES:
        path = RESULTS / f"{stage}.json"
        kept = json.loads(path.read_text()) if path.exists() else None
        if kept and kept["machine"] == machine():
            results += kept["results"]
            origins[stage] = kept["seed"]
        elif kept:
            print(f"{path.relative_to(ROOT)} is left out: it was measured elsewhere or at another commit")
    return results, origins


def report():
    results, origins = gathered()
    if not results:
        sys.exit("bench.py: nothing was measured at this commit")
    plots = bench_plots.draw(results, RESULTS)
    targets = bench_targets.table(results)
    lines = ["# Measured", ""]
    lines += [f"- {key}: {value}" for key, value in machine().items()]
    seeds = ", ".join(f"{stage} {seed}" for stage, seed in origins.items())
    lines += [f"- seeds: {seeds}", "", "## Aims", "", *targets, "", "## Configurations", ""]
    lines += sorted({f"-{show(result)[1:]}" for result in results if result["work"] == "configuration"})
    lines += ["", "## Results", "", "Times are in nanoseconds: the median over the rounds, the fastest and the slowest round. "
              "Of appends and of walks, times and counts are for one entry.", "", *tables(results)]
    lines += ["## Plots", ""] + [f"![{name}]({name})" for name in plots]
    (RESULTS / "report.md").write_text("\n".join(lines) + "\n")
    print(f"== {(RESULTS / 'report.md').relative_to(ROOT)}, {len(plots)} plots beside it")
    print("\n".join(f"{key}: {value}" for key, value in machine().items()))
    print(f"seeds: {seeds}")
    print("\n".join(targets))


def main():
    arguments = sys.argv[1:]
    seed = int(time.time())
    if arguments and arguments[0].startswith("--seed="):
        given = arguments.pop(0).partition("=")[2]
        seed = int(given) if given.isdigit() else 0
    unknown = [name for name in arguments if name not in STAGES and name != "report"]
    if unknown or not seed:
        sys.exit(f"bench.py: there are the stages {', '.join(STAGES)}, and report; the seed is a number from 1")
    RESULTS.mkdir(parents=True, exist_ok=True)
    status = 0
    for stage in arguments or STAGES:
        try:
            if stage != "report":
                measure(stage, seed)
        except RuntimeError as problem:
            print(f"{stage}: {problem}")
            status = 1
    report()
    return status


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
