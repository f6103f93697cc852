"""nvm.pmemstream in event loops: appends that share syncs, following without threads, cancelling, closing."""

import asyncio
import os
import threading
import time

import pytest

from nvm import pmemstream

MIB = 1 << 20


@pytest.fixture
def stream(path):
    with pmemstream.create(path, 8 * MIB) as opened:
        opened.regions.create("words", 2 * MIB)
        yield opened


def run(coroutine):
    # The interpreter's development mode makes loops trace every step, which takes longer than what is tested here.
    return asyncio.run(coroutine, debug=False)


def threads():
    return len(os.listdir("/proc/self/task"))


def test_many_outstanding_appends_share_one_sync(stream):
    async def main():
        region = stream.regions["words"]
        await region.append_async(b"first") # starts the thread
        before = stream.statistics()
        entries = await asyncio.gather(*[region.append_async(b"%d" % i) for i in range(400)])
        after = stream.statistics()
        assert [bytes(entry) for entry in entries] == [b"%d" % i for i in range(400)]
        assert [entry.timestamp for entry in entries] == list(range(2, 402))
        assert stream.persisted >= 401
        assert (after.appended - before.appended, after.syncs - before.syncs) == (400, 1)

    run(main())


def test_one_after_the_other_each_is_durable_when_awaited(stream):
    async def main():
        for i in range(1, 20):
            entry = await stream.regions["words"].append_async(b"x")
            assert stream.persisted >= entry.timestamp == i

    run(main())


def test_more_than_a_window_waits_for_room_and_starts_no_thread_each(stream):
    async def main():
        region = stream.regions["words"]
        await region.append_async(b"first")
        before, syncs = threads(), stream.statistics().syncs
        results = asyncio.gather(*[region.append_async(bytes([i % 256]) * 10) for i in range(5000)])
        await asyncio.sleep(0)
        assert threads() == before
        entries = await results
        assert [entry.timestamp for entry in entries] == list(range(2, 5002)) and threads() == before
        assert stream.statistics().syncs - syncs < 100

    run(main())


def test_the_loop_goes_on_while_a_sync_runs(stream):
    async def main():
        region, ticks = stream.regions["words"], 0
        append = asyncio.ensure_future(region.append_async(bytes(MIB)))
        while not append.done():
            ticks += 1
            await asyncio.sleep(0)
        assert ticks >= 2

    run(main())


def test_failures_are_raised_where_it_is_awaited(stream):
    async def main():
        region = stream.allocate(5000)
        results = await asyncio.gather(region.append_async(b"x"), region.append_async(bytes(9000)), region.append_async("text"),
                                       region.append_async(b"y"), return_exceptions=True)
        assert isinstance(results[1], pmemstream.FullError) and isinstance(results[2], TypeError)
        assert [bytes(results[0]), bytes(results[3])] == [b"x", b"y"]
        region.free()
        with pytest.raises(pmemstream.StaleError):
            await region.append_async(b"")
        with pytest.raises(pmemstream.InvalidError):
            await stream.wait_persisted_async(10**6)

    run(main())


def test_waiting_for_what_was_appended_otherwise(stream):
    async def main():
        entry = stream.regions["words"].append(b"x")
        await stream.wait_persisted_async(entry.timestamp)
        await asyncio.gather(*[stream.wait_persisted_async(1) for _ in range(10)])

    run(main())


def test_cancelling_gives_up_the_wait_and_not_the_room(stream):
    async def main():
        region = stream.regions["words"]
        for _ in range(5):
            tasks = [asyncio.ensure_future(region.append_async(b"x")) for _ in range(2000)]
            await asyncio.sleep(0)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        assert bytes(await region.append_async(b"still")) == b"still"

    run(main())


def test_following_without_a_thread_each(stream):
    async def follow(number, since):
        seen = []
        async for entry in stream.follow(since):
            seen.append(int(bytes(entry)))
            if seen[-1] == 499:
                return seen

    async def main():
        region = stream.regions["words"]
        followers = [asyncio.ensure_future(follow(n, n * 10)) for n in range(20)]
        await asyncio.sleep(0)
        before = threads()
        appender = threading.Thread(target=lambda: [region.append(b"%d" % i) for i in range(500)])
        appender.start()
        for number, seen in enumerate(await asyncio.gather(*followers)):
            assert seen == list(range(max(number * 10 - 1, 0), 500))
        appender.join()
        # A thread that was joined is still one of the process for a moment.
        end = time.monotonic() + 10
        while threads() > before and time.monotonic() < end:
            await asyncio.sleep(0.001)
        assert threads() <= before

    run(main())


def test_following_ends_in_time_or_when_cancelled_or_closed(path):
    async def collect(stream, **how):
        return [bytes(entry) async for entry in stream.follow(**how)]

    async def main():
        stream = pmemstream.create(path, MIB)
        stream.regions.create("words", 10000).append(b"x")
        begin = time.monotonic()
        assert await collect(stream, timeout=0.05) == [b"x"] and time.monotonic() - begin >= 0.05
        waiting = asyncio.ensure_future(collect(stream))
        await asyncio.sleep(0.01)
        stream.cancel_waits()
        assert await waiting == [b"x"]
        waiting = asyncio.ensure_future(collect(stream))
        await asyncio.sleep(0.01)
        stream.close()
        assert await waiting == [b"x"]
        assert stream.closed

    run(main())


def test_closing_tells_those_who_wait(path):
    async def main(in_thread, number=0):
        stream = pmemstream.create(f"{path}{in_thread}{number}", 4 * MIB)
        region = stream.regions.create("words", 2 * MIB)
        appends = [asyncio.ensure_future(region.append_async(bytes(100))) for _ in range(1000)]
        await asyncio.sleep(0)
        if in_thread:
            await asyncio.get_running_loop().run_in_executor(None, stream.close)
        else:
            stream.close()
        results = await asyncio.gather(*appends, return_exceptions=True)
        kept = [result for result in results if not isinstance(result, BaseException)]
        # Refused, or begun while it was closing.
        told = (ValueError, pmemstream.CancelledError)
        assert len(kept) >= 1 and all(isinstance(result, told) for result in results if result not in kept)
        with pmemstream.open(f"{path}{in_thread}{number}") as stream:
            assert len(list(stream)) >= len(kept)

    run(main(False))
    for number in range(20): # what the loop begins meanwhile differs
        run(main(True, number))


def test_several_loops_use_one_stream(stream):
    region, seen = stream.regions["words"], []

    async def work(number):
        following = asyncio.ensure_future(follow())
        for i in range(50):
            await region.append_async(b"%d" % number)
        return await following

    async def follow():
        count = 0
        async for _ in stream.follow():
            count += 1
            if count == 150:
                return count

    workers = [threading.Thread(target=lambda n=n: seen.append(run(work(n)))) for n in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert seen == [150] * 3


def test_loop_after_loop_leaves_no_descriptor(stream):
    async def main():
        await stream.regions["words"].append_async(b"x")
        async for _ in stream.follow():
            break

    for turn in range(30):
        run(main())
        if turn == 5:
            before = len(os.listdir("/proc/self/fd"))
    assert len(os.listdir("/proc/self/fd")) <= before


def test_a_loop_is_needed(stream):
    coroutine = stream.regions["words"].append_async(b"")
    with pytest.raises(RuntimeError):
        coroutine.send(None)
