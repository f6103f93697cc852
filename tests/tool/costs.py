"""costs.py TOOL [CLAIM...]: bench; that it measures what it says, and leaves nothing behind."""

import json
import os
import pathlib
import shutil
import signal
import subprocess

from harness import call, claim, equal, main, out, refusal, start

SHORT = ["--seconds", "0.2", "--space", "1M"]


@claim
def wrong_usage_is_one_line_and_status_2():
    for arguments in (["bench"], ["bench", "a", "b"], ["bench", "a", "--size=x"], ["bench", "a", "--size=64,,1K"], ["bench", "a", "--size=1G"],
                      ["bench", "a", "--threads=0"], ["bench", "a", "--threads=65"], ["bench", "a", "--durability=close"],
                      ["bench", "a", "--seconds=0"], ["bench", "a", "--seconds=4000"], ["bench", "a", "--seconds=-1"], ["bench", "a", "--seconds=nan"], ["bench", "a", "--seconds=1e3"],
                      ["bench", "a", "--seconds="], ["bench", "a", "--seconds=."], ["bench", "a", "--json", "--histogram"],
                      ["bench", "a", "--size=" + ",".join(["64"] * 17)]):
        refusal(*arguments, status=2)
    pathlib.Path("mine").write_text("precious")
    refusal("bench", "mine", *SHORT, says="exists")
    equal(pathlib.Path("mine").read_text(), "precious")
    pathlib.Path("a.floor").write_text("precious")
    refusal("bench", "a", *SHORT, says="a.floor")
    equal(sorted(os.listdir(".")), ["a.floor", "mine"])


@claim
def orders_for_each_append_are_those_that_the_library_promises():
    for granularity, order, none in (("PAGE", "syncs", "fences"), ("CACHE_LINE", "fences", "syncs")):
        rows = json.loads(out("bench", "b", "-s", "64", "--threads=1,3", "--json", *SHORT, PMEM2_FORCE_GRANULARITY=granularity))
        equal([(row["what"], row["threads"]) for row in rows], [("floor", 1), ("each", 1), ("each", 3), ("batch", 1), ("batch", 3)])
        for row in rows:
            cost = row[f"{order}_per_append"]
            limits = {("floor", 1): (1, 1), ("each", 1): (1, 1.01), ("each", 3): (0.2, 1.01)}.get((row["what"], row["threads"]), (0.001, 0.04))
            assert limits[0] <= cost <= limits[1], (granularity, row)
            # On media with lines a reservation and a checkpoint are fences, not syncs; none of the other kind.
            assert row[f"{none}_per_append"] == 0, (granularity, row)
            assert 0 < row["p50_ns"] <= row["p90_ns"] <= row["p99_ns"] <= row["p999_ns"] <= row["max_ns"], row
            assert row["samples"] * row["entries_per_sample"] <= row["appends"] < (row["samples"] + row["threads"]) * row["entries_per_sample"] + 1, row
        equal(os.listdir("."), [])


@claim
def the_table_fits_a_terminal_and_a_histogram_adds_up():
    text = out("bench", "b", "-s", "100,1K", "-t1", "--durability=each", "--histogram", *SHORT).decode()
    table, *histograms = text.split("\n\n")[1:]
    equal([line[:18].strip() for line in table.splitlines()[1:]], ["100 B floor", "100 B each x1", "1 KiB floor", "1 KiB each x1"])
    assert all(len(line) <= 80 for line in text.splitlines()), text
    equal(len(histograms), 4)
    for histogram in histograms:
        parts = [float(line.split()[-1].rstrip("%")) for line in histogram.splitlines()[1:]]
        assert abs(sum(parts) - 100) < 1, histogram


@claim
def what_did_not_fit_once_is_not_called_fast():
    done = call("bench", "b", "-s", "64", "-t1", "--durability=batch", "--seconds", "0.1", "--space", "1", status=1)
    assert b"--space is too small" in done.stderr, done
    equal(os.listdir("."), [])


@claim
def an_interrupt_leaves_nothing_behind():
    child = start("bench", "b", "--seconds", "60", "--space", "8M", stdout=subprocess.PIPE)
    child.stdout.readline() # it has begun to measure
    child.send_signal(signal.SIGINT)
    equal(child.wait(), -signal.SIGINT)
    child.stdout.close()
    equal(os.listdir("."), [])


@claim
def a_plot_is_drawn_into_a_file_of_any_name():
    name = "a 'plot' \"of\" `mine` $x.svg"
    done = call("bench", "b", "-s64", "-t1", "--durability=each", "--svg", name, *SHORT, status=0 if shutil.which("gnuplot") else 1)
    if not shutil.which("gnuplot"):
        assert b"gnuplot" in done.stderr and done.stderr.count(b"\n") == 1, done
        return
    assert pathlib.Path(name).read_text().startswith("<?xml"), os.listdir(".")
    equal(os.listdir("."), [name])
    done = call("bench", "b", "-s64", "-t1", "--durability=each", "--svg", "no/such/folder", *SHORT, status=1)
    assert b"no/such/folder" in done.stderr and done.stderr.count(b"\n") == 1 and b"<svg" not in done.stdout, done


if __name__ == "__main__":
    main()
