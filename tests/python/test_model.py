"""A stream and a model of it, side by side, through whatever Hypothesis thinks of."""

import itertools
import os
import tempfile

from hypothesis import settings, strategies
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, precondition, rule

from nvm import pmemstream

data = strategies.one_of(strategies.binary(max_size=100), strategies.integers(0, 5000).map(bytes))


class Side(RuntimeError):
    pass


class StreamAndModel(RuleBasedStateMachine):
    """The model: label -> list of (timestamp, bytes), and what was given out last."""

    labels = Bundle("labels")

    def __init__(self):
        super().__init__()
        self.path = tempfile.mktemp(dir=".")
        self.stream = pmemstream.create(self.path, 1 << 20)
        self.regions, self.last, self.number = {}, 0, itertools.count()
        self.iterator, self.shown = iter(self.stream), 0

    def teardown(self):
        self.stream.close()
        os.unlink(self.path)

    def note(self, label, content, entry=None):
        self.last += 1
        self.regions[label].append((self.last, content))
        if entry is not None:
            assert (entry.timestamp, bytes(entry), entry.size) == (self.last, content, len(content))

    @rule(target=labels, size=strategies.integers(1000, 60000))
    def create(self, size):
        label = f"region {next(self.number)}"
        try:
            assert self.stream.regions.create(label, size).size >= size
        except pmemstream.FullError:
            assert self.stream.statistics().largest_free_bytes < size + 256
            return "none"
        self.regions[label] = []
        return label

    @rule(label=labels, content=data, how=strategies.sampled_from(["append", "appendv", "async", "view"]))
    def append(self, label, content, how):
        if label not in self.regions:
            return
        region = self.stream.regions[label]
        fits = self.stream.entry_space(len(content)) <= region.free_bytes
        try:
            if how == "appendv":
                entry = region.appendv([content[:7], content[7:]])
            elif how == "async":
                import asyncio
                entry = asyncio.run(region.append_async(content))
            else:
                entry = region.append(memoryview(content) if how == "view" else content)
        except pmemstream.FullError:
            assert not fits
            return
        assert fits
        self.note(label, content, entry)

    @rule(wanted=strategies.lists(strategies.tuples(labels, data), max_size=8), fails=strategies.booleans())
    def batch(self, wanted, fails):
        wanted = [(label, content) for label, content in wanted if label in self.regions]
        try:
            with self.stream.batch() as batch:
                for label, content in wanted:
                    batch.append(self.stream.regions[label], content)
                if fails:
                    raise Side
        except (Side, pmemstream.FullError):
            return
        for entry, (label, content) in zip(batch.entries, wanted):
            self.note(label, content, entry)

    @rule(label=consumes(labels))
    def free(self, label):
        if label in self.regions:
            self.stream.regions[label].free()
            del self.regions[label]

    @rule()
    def reopen(self):
        self.stream.close()
        self.stream = pmemstream.open(self.path)
        self.iterator, self.shown = iter(self.stream), 0

    @rule()
    @precondition(lambda self: self.stream.statistics().size < 3 << 20)
    def grow(self):
        self.stream.resize(self.stream.statistics().size + 65536)

    @rule(since=strategies.integers(0, 60), length=strategies.integers(0, 40))
    def look_at_a_part(self, since, length):
        expected = [item for item in self.everything() if since <= item[0] < since + length]
        assert [(e.timestamp, bytes(e.data)) for e in self.stream.entries(since, since + length)] == expected

    @rule()
    def go_on(self):
        """The same iterator goes on where it was, over what was committed and freed since."""
        for entry in self.iterator:
            assert entry.timestamp > self.shown
            self.shown = entry.timestamp

    def everything(self):
        return sorted(item for region in self.regions.values() for item in region)

    @invariant()
    def agrees(self):
        assert list(self.stream.regions) == list(self.regions)
        assert [(e.timestamp, bytes(e)) for e in self.stream] == self.everything()
        assert list(self.stream.entries().values()) == [content for _, content in self.everything()]
        assert self.stream.committed == self.stream.persisted == self.last
        for label, items in self.regions.items():
            assert [(e.timestamp, bytes(e)) for e in self.stream.regions[label]] == items


StreamAndModel.TestCase.settings = settings(max_examples=int(os.environ.get("NVM_EXAMPLES", "40")), stateful_step_count=30,
                                            deadline=None, derandomize=True, database=None)
test_stream_and_model_agree = StreamAndModel.TestCase
