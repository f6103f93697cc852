"""bench.py [NAME...]: runs the programs of bench/, or those named, and keeps each table in build/bench/NAME.tsv.

Every table begins with what it was measured on, so that a figure can be judged and repeated.
"""

import json
import os
import pathlib
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent


def output(*command):
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()


def machine(folder):
    """Lines that say where a figure comes from."""
    model = next((line.split(":")[1].strip() for line in open("/proc/cpuinfo", encoding="utf-8")
                  if line.startswith("model name")), os.uname().machine)
    return [f"# {model}, {os.cpu_count()} processors, {os.uname().sysname} {os.uname().release}",
            f"# file system: {output('stat', '--file-system', '--format=%T', folder)}",
            f"# version {(ROOT / 'VERSION').read_text().strip()}, commit {output('git', '-C', str(ROOT), 'describe', '--always', '--dirty') or 'unknown'}",
            "# repeat: make bench"]


def main():
    benches = {bench["name"]: bench["cmd"] for bench in
               json.loads(output("meson", "introspect", "--benchmarks", str(ROOT / "build" / "release")))}
    results = ROOT / "build" / "bench"
    results.mkdir(parents=True, exist_ok=True)
    status = 0
    for name in sys.argv[1:] or sorted(benches):
        if name not in benches:
            sys.exit(f"bench.py: no benchmark is called {name}; there are {', '.join(sorted(benches))}")
        print(f"== {name}", flush=True)
        with tempfile.TemporaryDirectory(dir=results) as folder:
            header = "\n".join(machine(folder))
            done = subprocess.run(benches[name], cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
                                  check=False)
        print(header, done.stdout, sep="\n", end="")
        if done.returncode:
            print(f"{name} failed with status {done.returncode}")
            status = 1
        else:
            (results / f"{name}.tsv").write_text(f"{header}\n{done.stdout}")
    print(f"== tables are in {results.relative_to(ROOT)}/")
    return status


if __name__ == "__main__":
    sys.exit(main())
