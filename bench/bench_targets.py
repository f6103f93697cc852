"""bench_targets.py: the figures that are aimed at, and what was measured of them. A ratio is the median over the rounds
of the ratio within each round; behind it stands between which figures the middle half of the rounds lies."""

import statistics


class Found:
    """Results by what they measured."""

    def __init__(self, results):
        self.results = [result for result in results if result["work"] != "configuration"]

    def first(self, work, **wanted):
        """The first result that has all that is wanted; of several the one that was measured first."""
        for result in self.results:
            if result["work"] == work and all(result.get(key) == value for key, value in wanted.items()):
                return result
        return None

    def pair(self, work, first, second, **common):
        """Two results of one run of one program, by what differs between them."""
        for one in self.results:
            other = {**common, **second, "command": one.get("command")}
            if one["work"] == work and all(one.get(key) == value for key, value in {**common, **first}.items()):
                found = self.first(work, **other)
                if found:
                    return one, found
        return None


def ratio(pair):
    """How many times the first one's time the second one takes."""
    return statistics.median(b / a for a, b in zip(pair[0]["ns"], pair[1]["ns"])) if pair else None


def spread(pair):
    """Between which figures the middle half of the rounds lies."""
    if not pair or len(pair[0]["ns"]) < 4:
        return ""
    low, _, high = statistics.quantiles((b / a for a, b in zip(pair[0]["ns"], pair[1]["ns"])), n=4)
    return f" ({low:.2f} to {high:.2f})"


def size(count):
    for unit, name in ((2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB")):
        if count >= unit:
            return f"{count / unit:g} {name}"
    return f"{count:g} B"


class Table:
    def __init__(self):
        self.lines = ["| work | against | to reach | measured | reached |", "|---|---|---|---|---|"]
        self.unmeasured = 0

    def row(self, work, against, most, measured, least=None, unit=" x", note=""):
        """One aim: measured is at most most, or at least least; None: not measured."""
        aim = f"at most {most:,.10g}{unit}" if most is not None else f"at least {least:g}{unit}"
        if measured is None:
            self.unmeasured += 1
            return
        reached = measured <= most if most is not None else measured >= least
        figure = f"{measured:.2f}" if unit == " x" else f"{measured:,.0f}"
        self.lines.append(f"| {work} | {against} | {aim} | {figure}{unit}{note} | {'yes' if reached else '**no**'} |")

    def ratio(self, work, against, pair, most=None, least=None, note=""):
        """An aim for how many times the first one's time the second one takes, with the middle half of the rounds."""
        self.row(work, against, most, ratio(pair), least=least, note=spread(pair) + note)


def appends(table, found):
    for bytes_, most in ((64, 1.25), (256, 1.25), (1024, 1.5), (4096, 1.5)):
        pair = found.pair("append", {"subject": "floor"}, {"subject": "stream"}, medium="memory", bytes=bytes_, threads=1)
        table.ratio(f"durable append, cache lines, {size(bytes_)}", "floor", pair, most=most)
    for bytes_ in (64, 256, 1024, 4096):
        pair = found.pair("append", {"subject": "stream"}, {"subject": "libpmemlog"}, medium="memory", bytes=bytes_,
                          threads=1)
        table.ratio(f"durable append, cache lines, {size(bytes_)}: faster than", "libpmemlog", pair, least=2)
    found_async = [found.pair("async", {"subject": one}, {"subject": other}, bytes=64)
                   for one, other in (("floor", "stream_async"), ("stream_async", "libpmemlog"))]
    table.ratio("async append of 64 B, 1,000 and one wait", "floor, a fence for 64", found_async[0], most=2.5)
    table.ratio("async append of 64 B: faster than", "libpmemlog", found_async[1], least=8)


# Between processors that share a cache a line takes some 30 ns, between others some 160.
FAR_NS = 80


def by_distance(pair, rounds_at_least=3):
    """The same ratio, apart for rounds in which the processors were near each other and far from each other."""
    if not pair or "handover_ns" not in pair[0]:
        return ""
    rounds = list(zip(pair[0]["handover_ns"], (b / a for a, b in zip(pair[0]["ns"], pair[1]["ns"]))))
    parts = []
    for name, chosen in (("near", [way <= FAR_NS for way, _ in rounds]), ("far", [way > FAR_NS for way, _ in rounds])):
        ratios = [ratio_ for (_, ratio_), wanted in zip(rounds, chosen) if wanted]
        if len(ratios) >= rounds_at_least:
            parts.append(f"{statistics.median(ratios):.2f} in {len(ratios)} {name}")
    return f" ({', '.join(parts)})" if parts else ""


def threads(table, found):
    for regions in ("same", "different"):
        for bytes_, least in ((64, 1), (256, 1.3), (1024, 1.5), (4096, 1.5)):
            pair = found.pair("append", {"threads": 2}, {"threads": 1}, subject="stream", medium="memory", bytes=bytes_,
                              regions=regions)
            bounds = {subject: ratio(found.pair("append", {"threads": 2}, {"threads": 1}, subject=subject, medium="memory",
                                                bytes=bytes_, regions=where))
                      for subject, where in (("floor", regions), ("floor_ordered", "same"))}
            told = ", ".join(f"{subject} {bound:.2f} x" for subject, bound in bounds.items() if bound)
            table.ratio(f"throughput of two threads, {regions} region{'s' if regions != 'same' else ''}, {size(bytes_)}",
                        f"one thread{f' ({told})' if told else ''}", pair, least=least, note=by_distance(pair))


def disk(table, found):
    where = {"medium": "disk", "bytes": 256, "threads": 1}
    table.ratio("durable append, disk, 256 B", "pwrite + fdatasync",
                found.pair("append", {"subject": "floor"}, {"subject": "stream"}, **where), most=1.15)
    for peer in ("libpmemlog", "sqlite", "lmdb", "rocksdb"):
        table.ratio("durable append, disk, 256 B: faster than", peer,
                    found.pair("append", {"subject": "stream"}, {"subject": peer}, **where), least=1)
    table.ratio("throughput of 16 threads in one region, disk, 256 B", "one thread",
                found.pair("append", {"threads": 16}, {"threads": 1}, subject="stream", medium="disk", bytes=256), least=6)


def reading(table, found):
    for data, name, against in (("verified", "verified", "loop with the same check"),
                                ("read", "already verified", "loop that reads")):
        for subject, how in (("stream_views", ""), ("stream", ", one call after the other")):
            table.ratio(f"iterate 64 B entries, data {name}{how}", against,
                        found.pair("iterate", {"subject": "floor"}, {"subject": subject}, data=data, bytes=64), most=2)
    sizes = sorted(result["data_bytes"] for result in found.results if result["work"] == "recover")
    small, large = (found.first("recover", data_bytes=sizes[0]), found.first("recover", data_bytes=sizes[-1])) \
        if sizes else (None, None)
    table.ratio(f"open after a crash, {size(sizes[-1]) if sizes else 'much'} of covered data",
                size(sizes[0]) if sizes else "little", (small, large) if sizes else None, most=1.3)
    bound = large["rest_bytes"] + 65536 * large["regions"] if large else 0
    table.row("the same: bytes read", "un-checkpointed bytes + one limit step a region", bound,
              max(small["read_bytes"], large["read_bytes"]) if large else None, unit=" B")


def memory(table, found):
    idle = [result for result in found.results if result["work"] == "idle" and result["end"] == "killed"]
    by_data = sorted((r["data_bytes"], r["anonymous_bytes"]) for r in idle if r["data_bytes"])
    by_regions = sorted((r["regions"], r["anonymous_bytes"]) for r in idle if not r["data_bytes"])
    # Less than a page for a MiB of data is no growth, only where the heap happens to end.
    table.row("anonymous memory of an open stream", f"more than with {size(by_data[0][0]) if by_data else 'less data'}",
              65536, by_data[-1][1] - by_data[0][1] if by_data else None, unit=" B")
    table.row("anonymous memory for one region", "", 256,
              (by_regions[-1][1] - by_regions[0][1]) / (by_regions[-1][0] - by_regions[0][0])
              if len(by_regions) > 1 else None, unit=" B")


def table(results):
    """The lines of a Markdown table."""
    found, made = Found(results), Table()
    for part in (appends, threads, disk, reading, memory):
        part(made, found)
    return made.lines + (["", f"{made.unmeasured} more aims belong to stages or peers that were not measured at this commit."]
                         if made.unmeasured else [])
