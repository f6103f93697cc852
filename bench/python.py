"""python.py: appends and iterates from Python, with nvm.pmemstream, nvm.pmemlog and sqlite3 in turn; nanoseconds an entry.

Each round takes all subjects in an order of its own. Every append is durable when it returns: sqlite3 commits each (WAL,
synchronous=FULL), a batch is one transaction. Iterating makes a bytes object of each entry;
a reader has the stream open beside the writer.

--medium=disk|memory  where an append is a sync, or (files in /dev/shm, taken for persistent memory) a fence
--folder=FOLDER       where to put files (default: here, or /dev/shm)
--rounds=N, --seed=N  how many, and in which order
--json                one JSON object a line
"""

import argparse
import asyncio
import json
import os
import pathlib
import random
import sqlite3
import statistics
import tempfile
import time

BYTES, BATCH, OUTSTANDING, KEPT = 256, 100, 100, 20000
COUNTS = {"append": (100, 5000), "append in batches": (5000, 20000), "append awaited": (5000, 20000), "iterate": (KEPT, KEPT),
          "iterate over entries": (KEPT, KEPT), "iterate in a reader": (KEPT, KEPT)}


class Stream:
    """One region, or one of each round, since regions do not grow."""

    subject = "nvm.pmemstream"
    works = tuple(COUNTS)

    def __init__(self, folder):
        from nvm import pmemstream
        self.stream = pmemstream.create(folder / "stream", 256 << 20)
        self.kept = self.stream.regions.create("kept", KEPT * 400)
        with_batches(KEPT, lambda count: self.batch(self.kept, count))
        self.kept_read = pmemstream.open(folder / "stream", read_only=True).regions["kept"]

    def prepare(self):
        self.region = self.stream.allocate(16 << 20)

    def finish(self):
        self.region.free()

    def batch(self, region, count):
        with self.stream.batch() as batch:
            for _ in range(count):
                batch.append(region, DATA)

    def append(self, count):
        append = self.region.append
        for _ in range(count):
            append(DATA)

    def append_in_batches(self, count):
        with_batches(count, lambda some: self.batch(self.region, some))

    def append_awaited(self, count):
        async def work():
            for _ in range(count // OUTSTANDING):
                await asyncio.gather(*[self.region.append_async(DATA) for _ in range(OUTSTANDING)])

        asyncio.run(work())

    def iterate(self, count):
        return sum(len(data) for data in self.kept.entries().values())

    def iterate_over_entries(self, count):
        return sum(len(bytes(entry)) for entry in self.kept)

    def iterate_in_a_reader(self, count):
        return sum(len(data) for data in self.kept_read.entries().values())


class Log:
    """The log is one string of bytes, so iterating is in pieces of one size."""

    subject = "nvm.pmemlog"
    works = ("append", "iterate")

    def __init__(self, folder):
        from nvm import pmemlog
        self.pool = pmemlog.create(folder / "pool", 64 << 20)
        self.kept = pmemlog.create(folder / "kept", KEPT * BYTES + (2 << 20))
        self.kept.append(DATA * KEPT)

    def prepare(self):
        self.pool.rewind()

    def finish(self):
        pass

    def append(self, count):
        append = self.pool.append
        for _ in range(count):
            append(DATA)

    def iterate(self, count):
        return sum(len(chunk) for chunk in self.kept.chunks(BYTES))


class Sqlite:
    subject = "sqlite3"
    works = ("append", "append in batches", "iterate")

    def __init__(self, folder):
        self.database = sqlite3.connect(folder / "database", isolation_level=None)
        for statement in ("PRAGMA journal_mode=WAL", "PRAGMA synchronous=FULL",
                          "CREATE TABLE kept (number INTEGER PRIMARY KEY, data BLOB)"):
            self.database.execute(statement)
        self.insert("kept", KEPT)

    def insert(self, table, count):
        self.database.execute("BEGIN")
        self.database.executemany(f"INSERT INTO {table} (data) VALUES (?)", ((DATA,) for _ in range(count)))
        self.database.execute("COMMIT")

    def prepare(self):
        self.database.execute("CREATE TABLE entries (number INTEGER PRIMARY KEY, data BLOB)")

    def finish(self):
        self.database.execute("DROP TABLE entries")

    def append(self, count):
        execute = self.database.execute
        for _ in range(count):
            execute("INSERT INTO entries (data) VALUES (?)", (DATA,))

    def append_in_batches(self, count):
        with_batches(count, lambda some: self.insert("entries", some))

    def iterate(self, count):
        return sum(len(data) for data, in self.database.execute("SELECT data FROM kept ORDER BY number"))


def with_batches(count, function):
    for _ in range(count // BATCH):
        function(BATCH)


def measure(subject, work, count):
    """Nanoseconds an entry."""
    subject.prepare()
    began = time.perf_counter_ns()
    result = getattr(subject, work.replace(" ", "_"))(count)
    took = time.perf_counter_ns() - began
    subject.finish()
    if "iterate" in work and result != KEPT * BYTES:
        raise SystemExit(f"{subject.subject} shows {result} bytes, not {KEPT * BYTES}")
    return took / count


def main():
    global DATA
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--medium", choices=("disk", "memory"), default="disk")
    parser.add_argument("--folder")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    in_memory = options.medium == "memory"
    if in_memory: # before the libraries look
        os.environ.update(PMEM2_FORCE_GRANULARITY="CACHE_LINE", PMEM_IS_PMEM_FORCE="1")
    order = random.Random(options.seed)
    DATA = order.randbytes(BYTES)
    times = {}
    with tempfile.TemporaryDirectory(dir=options.folder or ("/dev/shm" if in_memory else ".")) as folder:
        subjects = [kind(pathlib.Path(folder)) for kind in (Stream, Log, Sqlite)]
        turns = [(subject, work) for subject in subjects for work in subject.works]
        for number in range(options.rounds + 1): # the first one warms up
            order.shuffle(turns)
            for subject, work in turns:
                took = measure(subject, work, COUNTS[work][in_memory])
                if number:
                    times.setdefault((work, subject.subject), []).append(took)
    for (work, subject), rounds in sorted(times.items()):
        if options.json:
            print(json.dumps({"work": f"{work} from Python", "subject": subject, "medium": options.medium, "bytes": BYTES, "ns": rounds}))
        else:
            median = statistics.median(rounds)
            print(f"{work} from Python, {subject}, {options.medium}: {1e9 / median:,.0f} a second "
                  f"({median:,.0f} ns, {min(rounds):,.0f} to {max(rounds):,.0f})")


DATA = b""

if __name__ == "__main__":
    main()
