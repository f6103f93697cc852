"""bench_plots.py: results as SVG, by gnuplot. A plot whose results are not there is left out."""

import shutil
import statistics
import subprocess

# A subject looks the same in every plot.
LOOKS = {name: number for number, name in enumerate(
    ("stream", "floor", "libpmemlog", "sqlite", "lmdb", "rocksdb", "store", "our_libpmemlog", "floor_checks",
     "floor_ordered", "floor_counted"), 1)}

STYLE = """set terminal svg size 800,500 font "sans,13" background rgb "white"
set grid
set key outside right
set style data linespoints
"""


def medians(results, x, **wanted):
    """{subject: [(x, median ns)]} of the results that have what is wanted; of the same point measured twice the first."""
    found = {}
    for result in results:
        if "ns" in result and "subject" in result and all(result.get(key) == value for key, value in wanted.items()):
            points = found.setdefault(result["subject"], {})
            points.setdefault(result[x], statistics.median(result["ns"]))
    return {subject: sorted(points.items()) for subject, points in found.items()}


def percentiles(results, **wanted):
    """{subject: [(1 / share above, ns)]}."""
    found = {}
    for result in results:
        if "samples" in result and all(result.get(key) == value for key, value in wanted.items()):
            points = [(100 / (100 - float(key[1:-3])), ns) for key, ns in result.items()
                      if key.startswith("p") and key.endswith("_ns") and key != "p100_ns"]
            found.setdefault(result["subject"], sorted(points))
    return found


def plot(path, title, commands, curves):
    """Draws curves {name: [(x, y)]}; True if there was something to draw."""
    if not any(curves.values()):
        return False
    blocks = [f"$d{i} << EOD\n" + "\n".join(f"{x} {y}" for x, y in points) + "\nEOD"
              for i, points in enumerate(curves.values())]
    lines = ", ".join(f'$d{i} using 1:2 title "{name}" noenhanced linetype {LOOKS[name]}' for i, name in enumerate(curves))
    script = "\n".join([STYLE, f'set output "{path}"', f'set title "{title}"', commands, *blocks, f"plot {lines}", ""])
    subprocess.run(["gnuplot"], input=script, text=True, check=True)
    return True


def throughputs(points_by_subject):
    return {subject: [(x, 1e9 / ns) for x, ns in points] for subject, points in points_by_subject.items()}


def draw(results, folder):
    """Writes the plots; the names of those that were drawn."""
    if not shutil.which("gnuplot"):
        return []
    wanted = {}
    for medium in ("memory", "disk"):
        wanted[f"latency-{medium}.svg"] = (
            f"Durable append, one thread, {medium}", "set logscale xy; set xlabel 'bytes of an entry'; "
            "set ylabel 'ns'; set xrange [50:5000]; set xtics (64, 256, 1024, 4096)",
            medians(results, "bytes", work="append", medium=medium, threads=1))
        wanted[f"threads-{medium}.svg"] = (
            f"Durable appends of 256 bytes, {medium}, one region", "set logscale xy 2; set xlabel 'threads'; "
            "set ylabel 'entries a second'; set format y '%.1s %c'",
            {subject: points for subject, points in throughputs(
                medians(results, "threads", work="append", medium=medium, bytes=256, regions="same")).items()
             if len(points) > 1})
        wanted[f"percentiles-{medium}.svg"] = (
            f"Time of a durable append of 256 bytes, {medium}",
            "set logscale xy; set xlabel 'percentile'; set ylabel 'ns'; set xtics ('0' 1, '50' 2, '90' 10, '99' 100, "
            "'99.9' 1000, '99.99' 10000, '99.999' 100000)",
            percentiles(results, work="append", medium=medium, bytes=256, threads=1))
    recovered = sorted((r["data_bytes"], statistics.median(r["ns"]) / 1e6) for r in results if r["work"] == "recover")
    wanted["recovery.svg"] = ("Opening a stream whose writer was killed", "set logscale x 2; set yrange [0:]; "
                              "set format x '%.0b %BB'; set xlabel 'data covered by checkpoints'; set ylabel 'ms'",
                              {"stream": recovered})
    return [name for name, (title, commands, curves) in wanted.items()
            if plot(folder / name, title, commands, curves)]
