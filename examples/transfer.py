"""transfer.py: two accounts in two regions, which change together or not at all; killed in the middle, again and again.

A child process moves money in atomic batches until it is killed. Whatever the moment, the sums that are read afterwards
are right: no batch is there by half.

Run:   python3 transfer.py
"""

import os
import signal
import sys
import tempfile
import time

from nvm import pmemstream


def balance(region):
    return sum(int(bytes(entry)) for entry in region)


def move_until_killed(path, ready):
    with pmemstream.open(path) as stream:
        checking, savings = stream.regions["checking"], stream.regions["savings"]
        os.write(ready, b"!")
        while True:
            with stream.batch() as batch:
                batch.append(checking, b"-5")
                batch.append(savings, b"+5")


with tempfile.TemporaryDirectory(dir=".") as folder:
    path = os.path.join(folder, "accounts.stream")
    with pmemstream.create(path, 16 << 20) as stream:
        stream.regions.create("checking", 4 << 20).append(b"1000")
        stream.regions.create("savings", 4 << 20)
    for turn in range(5):
        opened, ready = os.pipe()
        child = os.fork()
        if child == 0:
            move_until_killed(path, ready)
        os.close(ready)
        os.read(opened, 1)
        os.close(opened)
        time.sleep(0.02)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        with pmemstream.open(path) as stream:
            checking, savings = balance(stream.regions["checking"]), balance(stream.regions["savings"])
            print(f"killed {turn + 1} times: {checking} and {savings}")
            if checking + savings != 1000:
                sys.exit("money was lost or made")
