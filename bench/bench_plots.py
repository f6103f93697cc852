"""bench_plots.py: results as SVG, by gnuplot. A plot whose results are not there is left out."""

import shutil
import statistics
import subprocess

# A subject looks the same in every plot: colour, form of its points.
LOOKS = {
    "stream": ("#1f4e9c", 7), "floor": ("#000000", 1), "libpmemlog": ("#c0392b", 5), "sqlite": ("#1e8449", 9),
    "lmdb": ("#b9770e", 11), "rocksdb": ("#7d3c98", 13), "store": ("#7f8c8d", 2), "our_libpmemlog": ("#e67e22", 4),
    "floor_checks": ("#566573", 8), "floor_counted": ("#85929e", 10), "floor_ordered": ("#16a085", 6),
}

STYLE = """set terminal svg size 800,500 font "sans,13" background rgb "white"
set grid
set key outside right
set style data linespoints
"""


def medians(results, x, **wanted):
    """{subject: [(x, median ns)]} of the results that have what is wanted, which are of one stage; the stream, which runs
    beside all peers, is measured several times there: the first counts."""
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
    lines = ", ".join(f'$d{i} using 1:2 title "{name}" noenhanced linecolor rgb "{LOOKS[name][0]}" '
                      f'pointtype {LOOKS[name][1]} linewidth {2 if name == "stream" else 1}' for i, name in enumerate(curves))
    script = "\n".join([STYLE, f'set output "{path}"', f'set title "{title}"', commands, *blocks, f"plot {lines}", ""])
    subprocess.run(["gnuplot"], input=script, text=True, check=True)
    return True


def microseconds(points_by_subject):
    return {subject: [(x, ns / 1000) for x, ns in points] for subject, points in points_by_subject.items()}


def throughputs(points_by_subject):
    return {subject: [(x, 1e9 / ns) for x, ns in points] for subject, points in points_by_subject.items()}


def draw(results, folder):
    """Writes the plots; the names of those that were drawn."""
    if not shutil.which("gnuplot"):
        return []
    wanted = {}
    for medium, threaded in (("memory", "threads"), ("disk", "groups")):
        wanted[f"latency-{medium}.svg"] = (
            f"Durable append, one thread, {medium}", "set logscale xy; set xlabel 'bytes of an entry'; "
            "set ylabel 'us'; set format y '%g'; set xrange [50:5000]; set xtics (64, 256, 1024, 4096)",
            microseconds(medians(results, "bytes", work="append", stage=medium, threads=1)))
        wanted[f"threads-{medium}.svg"] = (
            f"Durable appends of 256 bytes, {medium}, one region", "set logscale x 2; set xlabel 'threads'; "
            "set yrange [0:]; set ylabel 'entries a second'; set format y '%.0s %c'",
            {subject: points for subject, points in throughputs(
                medians(results, "threads", work="append", stage=threaded, bytes=256, regions="same")).items()
             if len(points) > 1})
        wanted[f"percentiles-{medium}.svg"] = (
            f"Time of a durable append of 256 bytes, {medium}",
            "set logscale xy; set xlabel 'percentile'; set ylabel 'us'; set format y '%g'; "
            "set xtics ('0' 1, '50' 2, '90' 10, '99' 100, '99.9' 1000, '99.99' 10000, '99.999' 100000)",
            microseconds(percentiles(results, work="append", stage=medium, bytes=256, threads=1)))
    recovered = sorted((r["data_bytes"], statistics.median(r["ns"]) / 1e6) for r in results if r["work"] == "recover")
    wanted["recovery.svg"] = ("Opening a stream whose writer was killed", "set logscale x 2; set yrange [0:]; "
                              "set format x '%.0b %BB'; set xlabel 'data covered by checkpoints'; set ylabel 'ms'",
                              {"stream": recovered})
    return [name for name, (title, commands, curves) in wanted.items()
            if plot(folder / name, title, commands, curves)]
