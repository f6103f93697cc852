"""event_loop.py: a server's log in an event loop; requests at the same time share a sync.

A hundred requests are acknowledged when their entries are durable. A follower sees each as it is committed. No request has a
thread of its own, and the loop goes on while the medium works.

Run:   python3 event_loop.py
"""

import asyncio
import os
import tempfile

from nvm import pmemstream

REQUESTS = 100


async def request(region, number):
    entry = await region.append_async(b"request %d" % number)
    return entry.timestamp


async def follow(stream):
    seen = 0
    async for entry in stream.follow():
        seen += entry.data.tobytes().startswith(b"request")
        if seen == REQUESTS:
            return seen


async def main(path):
    with pmemstream.create(path, 4 << 20) as stream:
        region = stream.regions.create("requests", 1 << 20)
        follower = asyncio.create_task(follow(stream))
        syncs = stream.statistics().syncs
        timestamps = await asyncio.gather(*[request(region, number) for number in range(REQUESTS)])
        assert timestamps == list(range(1, REQUESTS + 1)) and await follower == REQUESTS
        print(f"{REQUESTS} durable entries, {stream.statistics().syncs - syncs} syncs")


with tempfile.TemporaryDirectory(dir=".") as folder:
    asyncio.run(main(os.path.join(folder, "requests.stream")))
