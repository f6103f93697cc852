"""commands.py TOOL [CLAIM...]: create, region, append, cat, tail and the command line itself."""

import base64
import json
import os
import pathlib
import random
import re
import struct
import subprocess
import time

from harness import TOOL, call, claim, entries, environment, equal, main, on_terminal, out, refusal, start, stream

COMMANDS = ["create", "region", "append", "cat", "tail", "info", "check", "repair", "dump", "bench", "log", "convert"]


@claim
def help_is_printed_for_the_tool_and_for_every_command():
    text = out("--help").decode()
    for command in COMMANDS:
        assert f"\n  {command} " in text, command
        for order in (["--help"], ["x", "--help", "y"], ["-h"]):
            assert out(command, *order).decode().startswith(f"usage: pmemstream {command}"), order
    equal(out("--version").decode().split()[0], "pmemstream")


@claim
def wrong_usage_is_one_line_and_status_2():
    for arguments in ([], ["frobnicate"], ["--frob"], ["cat"], ["cat", "a", "b"], ["cat", "--frob", "a"], ["cat", "-z", "a"],
                      ["cat", "a", "--since"], ["cat", "a", "--since=x"], ["cat", "a", "--since=-1"], ["cat", "a", "--count=1x"],
                      ["cat", "a", "--format=xml"], ["cat", "a", "--count=99999999999999999999"], ["create", "a"],
                      ["create", "--size=1M"], ["create", "a", "--size=1M", "--align=16"], ["create", "a", "--size=1M", "b"],
                      ["create", "a", "--size=1M", "--block-size=100"], ["region"], ["region", "mv", "a", "b"],
                      ["region", "add", "a", "b"], ["region", "add", "a", "--size=1M"], ["region", "rm", "a"],
                      ["region", "ls", "a", "--size=1M"], ["region", "rm", "a", "b", "--json"], ["region", "ls", "a", "b"],
                      ["region", "add", "a", "x" * 64, "--size=1M"], ["region", "add", "a", "", "--size=1M"],
                      ["append", "a"], ["append", "--region=x"], ["append", "a", "--region=x", "--delimiter=ab"],
                      ["append", "a", "--region=x", "--delimiter="], ["append", "a", "--region=x", "--delimiter=\\xgg"],
                      ["append", "a", "--region=x", "--whole", "--delimiter=x"], ["append", "a", "--region=x", "--whole=1"],
                      ["append", "a", "--region=x", "--durability=never"], ["append", "a", "--region=x", "--create=0"],
                      ["tail", "-n"], ["tail", "-n", "-3", "a"], ["tail", "a", "b"], ["tail", "--f"]):
        refusal(*arguments, status=2)
        equal(os.listdir("."), [])


@claim
def sizes_are_read_as_people_write_them():
    for text, size in {"65536": 65536, "64K": 65536, "64k": 65536, "64KiB": 65536, "65536B": 65536, "1M": 1 << 20, "1MiB": 1 << 20,
                       "100KB": 102400, "1MB": 1003520}.items(): # to whole pages
        out("create", text, "--size", text)
        equal(pathlib.Path(text).stat().st_size, size, text)
        os.remove(text)
    for text in ("", "K", "1X", "1Ki", "1KiBx", "1 K", " 1K", "-1", "+1", "0x10", "1.5G", "0", "0K", "16E", "99999999999999999999",
                 "18014398509481984K", "9007199254740992K", "KB"):
        refusal("create", "x", "--size", text, status=2)
        refusal("append", "x", "--region", "y", "--create", text, status=2)
        refusal("region", "add", "x", "y", "--size", text, status=2)
    equal(os.listdir("."), [])


@claim
def sizes_of_gibibytes_reach_the_library():
    # 8 TiB are refused by the file system or the disk, and nothing is left; 1G and 1GiB are the same.
    for text in ("1G", "1GiB"):
        call("create", "one", "--size", "4096P", status=1)
        equal(os.listdir("."), [])
        path = stream("s", "64K")
        equal(json.loads(out("region", "ls", path, "--json")), [])
        assert b"1 GiB" in call("region", "add", path, "x", "--size", text, status=1).stderr
        os.remove(path)


@claim
def create_refuses_what_exists_and_leaves_it():
    pathlib.Path("a").write_bytes(b"precious")
    refusal("create", "a", "--size", "1M", says="exists")
    equal(pathlib.Path("a").read_bytes(), b"precious")
    os.mkdir("d")
    refusal("create", "d", "--size", "1M")
    refusal("create", "no/such/folder", "--size", "1M", says="No such file")
    refusal("create", "b", "--size", "1", says="too few")
    assert not os.path.exists("b")


@claim
def create_obeys_block_size_and_alignment():
    out("create", "a", "--align", "64", "--block-size=64K", "--size=1M")
    out("region", "add", "a", "x", "--size=100")
    region = json.loads(out("region", "ls", "a", "--json"))[0]
    equal(region["offset"] % 65536, 0)
    out("append", "a", "--region=x", data="1\n2\n")
    equal(json.loads(out("region", "ls", "a", "--json"))[0]["used"], 128)
    out("create", "b", "--align=8", "--block-size=64", "--size=64K")
    out("append", "b", "--region=x", "--create=1K", data="1\n2\n")
    equal(json.loads(out("region", "ls", "b", "--json"))[0]["used"], 80)


@claim
def regions_are_added_listed_and_removed():
    path = stream()
    equal(out("region", "ls", path), b"no regions\n")
    equal(json.loads(out("region", "ls", "--json", path)), [])
    out("region", "add", path, "web", "--size", "64K")
    out("region", "--size=10K", "add", path, "a b\"c\\")
    refusal("region", "add", path, "web", "--size=4K", says="taken")
    refusal("region", "add", path, "huge", "--size=2M", says=["no room", "largest"])
    listed = json.loads(out("region", "ls", path, "--json"))
    equal([region["label"] for region in listed], ["web", "a b\"c\\"])
    assert listed[0]["size"] >= 65536 and listed[0]["used"] == 0 and listed[0]["free"] == listed[0]["size"]
    assert set(listed[0]) >= {"offset", "generation", "allocated_ns", "checkpoint_ns", "checkpoint_timestamp"}
    assert b"web" in out("region", "ls", path)
    out("region", "rm", path, "web")
    refusal("region", "rm", path, "web", says=["web", "region ls"])
    equal([region["label"] for region in json.loads(out("region", "ls", path, "--json"))], ["a b\"c\\"])
    out("region", "rm", path, f"@{listed[1]['offset']}")
    equal(json.loads(out("region", "ls", path, "--json")), [])


@claim
def options_and_operands_come_in_any_order():
    path = stream(x="64K")
    pathlib.Path("in").write_text("a\nb\n")
    for arguments in (["append", path, "--region", "x", "in"], ["append", "--region", "x", path, "in"],
                      ["append", path, "in", "-r", "x"], ["append", path, "in", "-rx", "--durability", "each"],
                      ["append", "--", path, "in"]):
        call(*arguments, status=2 if arguments[1] == "--" else 0)
    equal(out("cat", "--count", "1", path), out("cat", path, "--count=1"))
    equal(out("tail", path, "-n1"), out("tail", "-n", "1", path))
    equal(len(entries(path)), 8)


@claim
def a_last_record_without_its_delimiter_counts():
    path = stream(x="64K")
    out("append", path, "-r", "x", data="a\n\nb")
    out("append", path, "-r", "x", "-d", ",", data="c,d,")
    out("append", path, "-r", "x", "-d", "\\0", data=b"e\0f\n\0")
    out("append", path, "-r", "x", "-d", "\\x41", data=b"gAh")
    out("append", path, "-r", "x", data=b"")
    equal([entry["data"] for entry in entries(path)], ["a", "", "b", "c", "d", "e", "f\n", "g", "h"])
    equal(out("cat", path, "--format", "raw"), b"abcdef\ngh")


@claim
def each_input_is_read_in_its_turn():
    path = stream(x="64K")
    pathlib.Path("1").write_bytes(b"one\n")
    pathlib.Path("2").write_bytes(b"two")
    out("append", path, "1", "-", "2", "-r", "x", data="stdin\n")
    equal([entry["data"] for entry in entries(path)], ["one", "stdin", "two"])
    os.mkdir("d")
    refusal("append", path, "1", "d", "-r", "x", says="directory")
    refusal("append", path, "1", "none", "-r", "x", says="none: No such file")
    equal(len(entries(path)), 5)
    pathlib.Path("empty").write_bytes(b"")
    out("append", path, "1", "2", "empty", "-r", "x", "--whole")
    equal([entry["data"] for entry in entries(path)][5:], ["one\n", "two", ""])


def random_records(count, most):
    sizes = [0, 1, 7, 8, 9, 4095, 4096, 65536] + [random.randrange(most) for _ in range(count)]
    return [random.randbytes(size) for size in sizes]


def prefixed(records):
    return b"".join(struct.pack("<Q", len(record)) + record for record in records)


@claim
def any_bytes_come_back_as_they_were():
    path = stream(size="8M", lp="2M", whole="2M", nl="2M")
    records = random_records(200, 5000)
    out("append", path, "-r", "lp", "--length-prefixed", data=prefixed(records))
    equal(out("cat", path, "-r", "lp", "--format", "length-prefixed"), prefixed(records))
    equal(out("cat", path, "-r", "lp", "--format", "raw"), b"".join(records))
    equal([base64.b64decode(entry["base64"]) if "base64" in entry else entry["data"].encode() for entry in entries(path)], records)
    blob = random.randbytes(300000)
    out("append", path, "-r", "whole", "--whole", data=blob)
    equal(out("cat", path, "-r", "whole", "--format", "raw"), blob)
    lines = [record.replace(b"\n", b"?") for record in records]
    out("append", path, "-r", "nl", data=b"\n".join(lines) + b"\n")
    equal(out("cat", path, "-r", "nl"), b"\n".join(lines) + b"\n")
    copy = stream("copy", "8M", x="2M")
    out("append", copy, "-r", "x", "--length-prefixed", data=out("cat", path, "-r", "lp", "--format", "length-prefixed"))
    equal([entry["size"] for entry in entries(copy)], [len(record) for record in records])


@claim
def json_holds_text_as_text_and_everything_else_as_base64():
    path = stream(x="64K")
    records = ["", "plain", "\"quoted\\\"", "tab\tnl\ncr\r", "\0\x01\x1b[31m\x7f", "\u00e9\u20ac\U0001f600", "\u2028\u202e\ufeff"]
    out("append", path, "-r", "x", "--length-prefixed", data=prefixed([record.encode() for record in records]))
    equal([entry["data"] for entry in entries(path)], records)
    for bad in (b"\xff", b"\xc0\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"ok\xc3", b"\xe2\x82", b"a\x80"):
        out("append", path, "-r", "x", "--whole", data=bad)
        entry = entries(path)[-1]
        equal(base64.b64decode(entry["base64"], validate=True), bad)
        assert "data" not in entry and entry["size"] == len(bad)
    assert b"\x1b" not in out("cat", path, "--format", "json")


@claim
def length_prefixes_that_lie_are_refused_and_what_came_before_stays():
    path = stream(x="64K")
    refusal("append", path, "-r", "x", "--length-prefixed", data=prefixed([b"good"]) + struct.pack("<Q", 1 << 63) + b"x", says="record 2")
    refusal("append", path, "-r", "x", "--length-prefixed", data=prefixed([b"fine"]) + struct.pack("<Q", 10) + b"short", says="cut off")
    refusal("append", path, "-r", "x", "--length-prefixed", data=prefixed([b"too"]) + b"abc", says="cut off")
    equal([entry["data"] for entry in entries(path)], ["good", "fine", "too"])


@claim
def a_delimiter_that_never_comes_ends_with_a_message_in_bounded_memory():
    path = stream(x="64K")
    command = f"ulimit -v 400000; head -c 1G /dev/zero | {TOOL} append {path} -r x"
    if "san.so" in subprocess.run(["ldd", TOOL], capture_output=True, text=True, check=False).stdout:
        command = command.split("; ")[1] # its shadow does not fit
    done = subprocess.run(command, shell=True, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1 and "without a delimiter" in done.stderr and done.stderr.count("\n") == 1, done
    refusal("append", path, "-r", "x", "--whole", data=bytes(2 << 20), says="at least")
    equal(entries(path), [])


@claim
def a_full_region_stops_with_the_number_of_records_and_status_1():
    for durability in ("each", "batch", "close"):
        path = stream(durability, x="8K")
        done = call("append", path, "-r", "x", "--durability", durability, data="".join(f"{i}\n" for i in range(10000)), status=1)
        there = [entry["data"] for entry in entries(path)]
        equal(there, [str(i) for i in range(len(there))])
        text = done.stderr.decode()
        assert text.count("\n") == 1 and "is full" in text and f"{len(there)} records were written" in text, text
        assert len(there) > 100 and f"timestamps 1 to {len(there)}" in done.stdout.decode(), done
        summary = json.loads(call("append", path, "-r", "x", "--json", data="more than fits\n", status=1).stdout)
        equal((summary["records"], summary["complete"]), (0, False))


@claim
def a_record_that_does_not_fit_leaves_room_for_the_next_call():
    path = stream(x="8K")
    room = json.loads(out("region", "ls", path, "--json"))[0]["size"]
    call("append", path, "-r", "x", "--whole", data=bytes(2 << 20), status=1)
    text = call("append", path, "-r", "x", "--whole", data=bytes(room - 31), status=1).stderr.decode()
    assert "is full" in text and "0 records were written" in text and text.count("\n") == 1, text
    out("append", path, "-r", "x", "--whole", data=bytes(room - 32))
    equal([entry["size"] for entry in entries(path)], [room - 32])


@claim
def a_folder_is_no_input():
    path = stream(x="64K")
    refusal("append", path, "-r", "x", ".", says=". is a directory")
    done = subprocess.run(f"{TOOL} append {path} -r x < .", shell=True, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1 and "standard input is a directory" in done.stderr, done


@claim
def append_makes_the_region_only_when_told():
    path = stream()
    refusal("append", path, "-r", "x", data="1\n", says=["\"x\"", "region add"])
    out("append", path, "-r", "x", "--create", "8K", data="1\n")
    out("append", path, "-r", "x", "--create", "8K", data="2\n")
    for command in (["append", path, "-r", "y", "--create", "1G"], ["region", "add", path, "y", "--size", "1G"]):
        told = refusal(*command, data="1\n", says=["largest free extent", "smaller size"])
        assert "pmemstream_" not in told, "that helps in C only"
    for label in ("", "y" * 64):
        refusal("cat", path, "-r", label, says="region ls")
    equal(len(json.loads(out("region", "ls", path, "--json"))), 1)
    equal([entry["data"] for entry in entries(path)], ["1", "2"])


@claim
def acknowledgements_count_up_to_everything():
    path = stream(x="64K")
    for durability, lines in (("each", 20), ("batch", 1), ("close", 1)):
        done = out("append", path, "-r", "x", "-a", "--durability", durability, data="".join(f"{i}\n" for i in range(20)))
        told = [tuple(map(int, line.split())) for line in done.decode().splitlines()]
        equal(len(told), lines, durability)
        equal(told[-1], (20, len(entries(path))))
        objects = out("append", path, "-r", "x", "-a", "--json", "--durability", durability, data="a\nb\n").decode().splitlines()
        objects = [json.loads(line) for line in objects]
        equal(objects[-2], {"acknowledged": 2, "timestamp": len(entries(path))})
        equal((objects[-1]["records"], objects[-1]["durable"], objects[-1]["complete"]), (2, 2, True))


@claim
def each_syncs_for_each_record_and_batch_for_what_is_waiting():
    path = stream(size="4M", x="1M")
    data = "".join(f"line {i}\n" for i in range(200))

    def orders(durability):
        summary = json.loads(out("append", path, "-r", "x", "--json", "--durability", durability, data=data))
        return summary["fences"] + summary["syncs"]

    base = json.loads(out("append", path, "-r", "x", "--json", data=""))
    base = base["fences"] + base["syncs"]
    each, batch, close = orders("each"), orders("batch"), orders("close")
    assert base + 200 <= each <= base + 210, (base, each)
    assert base + 1 <= batch <= base + 6, (base, batch)
    assert base + 1 <= close <= base + 3, (base, close)


@claim
def a_record_is_durable_before_the_tool_waits_for_the_next():
    path = stream(x="64K")
    for durability in ("each", "batch"):
        writer = start("append", path, "-r", "x", "-a", "--durability", durability, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        for i in range(1, 6):
            writer.stdin.write(b"line\n")
            writer.stdin.flush()
            equal(writer.stdout.readline().split()[0], str(i).encode())
            # Another process sees what is durable, and only that.
            equal(out("tail", path, "-n1", "--format=raw"), b"line")
        writer.stdin.close()
        equal(writer.wait(), 0)
        writer.stdout.close()


@claim
def cat_merges_regions_in_order_and_chooses():
    path = stream(a="64K", b="64K", c="64K")
    for i in range(30):
        out("append", path, "-r", "abc"[i % 3], data=f"{i + 1}\n")
    numbers = lambda *arguments: [int(line) for line in out("cat", path, *arguments).split()]
    equal(numbers(), list(range(1, 31)))
    equal([entry["timestamp"] for entry in entries(path)], list(range(1, 31)))
    equal(numbers("-r", "b"), list(range(2, 31, 3)))
    equal(numbers("-r", "c", "--region=a"), [i for i in range(1, 31) if i % 3 != 2])
    equal(numbers("--since", "5", "--until", "8"), [5, 6, 7, 8])
    equal(numbers("--since=5", "--until=8", "-r", "a"), [7])
    equal(numbers("--since=5", "--count=3"), [5, 6, 7])
    equal(numbers("--count=0"), [])
    equal(numbers("--since=31"), [])
    equal(numbers("--until=0"), [])
    equal(numbers("--since=8", "--until=5"), [])
    equal(numbers("--since=18446744073709551615"), [])
    out("region", "rm", path, "b")
    equal(numbers("--since", "4", "--until", "9"), [4, 6, 7, 9])
    equal([int(line) for line in out("tail", path, "-n", "5").split()], [24, 25, 27, 28, 30])


@claim
def tail_shows_the_last_ones():
    path = stream(size="4M", a="1M", b="64K")
    equal(out("tail", path), b"")
    out("append", path, "-r", "b", data="first\n")
    out("append", path, "-r", "a", data="".join(f"{i}\n" for i in range(5000)))
    equal(out("tail", path), "".join(f"{i}\n" for i in range(4990, 5000)).encode())
    equal(out("tail", path, "-n0"), b"")
    equal(out("tail", path, "-n3", "-rb"), b"first\n")
    equal(out("tail", path, "-n", "5001").splitlines()[0], b"first")
    equal(len(out("tail", path, "-n", "18446744073709551615").splitlines()), 5001)
    equal(out("tail", path, "-n1", "-rb", "--format=length-prefixed"), prefixed([b"first"]))


@claim
def a_reader_who_leaves_ends_cat_and_tail_quietly():
    path = stream(size="16M", x="8M")
    out("append", path, "-r", "x", data="".join(f"line {i}\n" for i in range(100000)))
    for arguments in (["cat", path], ["cat", path, "--format=json"], ["tail", "-n", "90000", path], ["tail", "-f", "-n", "90000", path]):
        reader = start(*arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        reader.stdout.readline()
        reader.stdout.close()
        equal((reader.wait(timeout=60), reader.stderr.read()), (0, b""), arguments)
        reader.stderr.close()


@claim
def a_follower_whose_reader_leaves_ends_though_nothing_comes():
    path = stream(x="64K")
    out("append", path, "-r", "x", data="1\n")
    follower = start("tail", "-f", path, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    equal(follower.stdout.readline(), b"1\n")
    follower.stdout.close()
    equal((follower.wait(timeout=60), follower.stderr.read()), (0, b""))
    follower.stderr.close()


@claim
def a_closed_or_full_output_is_told():
    path = stream(x="64K")
    before = pathlib.Path(path).read_bytes()
    for command in (f"cat {path}", f"region ls {path}", "--help", f"tail {path}"):
        if command.startswith(("cat", "tail")):
            out("append", path, "-r", "x", data="1\n")
        for where in (">&-", ">/dev/full"):
            done = subprocess.run(f"{TOOL} {command} {where}", shell=True, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                                  timeout=60, check=False)
            assert done.returncode == 1 and done.stderr.count("\n") == 1 and "standard output" in done.stderr, (command, where, done)
    done = subprocess.run(f"echo kept | {TOOL} append {path} -r x >&-", shell=True, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1 and "1 records are appended and durable" in done.stderr, done
    equal(out("tail", path, "-n1"), b"kept\n")
    done = subprocess.run(f"echo more | {TOOL} append {path} -r x >/dev/full", shell=True, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1 and done.stderr.count("\n") == 1 and "No space left" in done.stderr, done
    equal(pathlib.Path(path).read_bytes()[:64], before[:64], "the header is where the output was not written to")


@claim
def tail_follows_another_process_and_sleeps():
    path = stream(size="4M", x="1M")
    out("append", path, "-r", "x", data="before\n")
    follower = start("tail", "-f", "-n1", path, stdout=subprocess.PIPE)
    equal(follower.stdout.readline(), b"before\n")
    for life in range(3): # writers come and go
        writer = start("append", path, "-r", "x", "-a", stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        for i in range(20):
            writer.stdin.write(f"{life} {i}\n".encode())
            writer.stdin.flush()
            equal(follower.stdout.readline(), f"{life} {i}\n".encode())
        writer.stdin.close()
        writer.wait()
        writer.stdout.close()
    times = pathlib.Path(f"/proc/{follower.pid}/stat").read_text().split()
    switches = lambda: sum(int(line.split()[1]) for task in pathlib.Path(f"/proc/{follower.pid}/task").iterdir()
                           for line in (task / "status").read_text().splitlines() if "ctxt_switches" in line)
    first, begin = switches(), time.monotonic()
    while time.monotonic() - begin < 1: # idle: what it does in a second is counted
        time.sleep(0.1)
    assert switches() - first < 200, f"{switches() - first} wake-ups in a second"
    used = [int(b) - int(a) for a, b in zip(times[13:15], pathlib.Path(f"/proc/{follower.pid}/stat").read_text().split()[13:15])]
    assert sum(used) < 20, f"{used} ticks of a processor in an idle second"
    assert follower.poll() is None
    follower.kill()
    follower.wait()
    follower.stdout.close()


@claim
def tail_follows_some_regions_in_a_format():
    path = stream(a="64K", b="64K")
    follower = start("tail", "-f", "-r", "b", "--format=json", path, stdout=subprocess.PIPE)
    out("append", path, "-r", "a", data="1\n")
    out("append", path, "-r", "b", data="2\n")
    equal(json.loads(follower.stdout.readline()), {"region": "b", "timestamp": 2, "size": 1, "data": "2"})
    follower.kill()
    follower.wait()
    follower.stdout.close()


@claim
def a_follower_is_told_that_its_region_is_gone():
    path = stream(a="64K")
    out("append", path, "-r", "a", data="1\n")
    follower = start("tail", "-f", "-r", "a", path, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    equal(follower.stdout.readline(), b"1\n")
    out("region", "rm", path, "a")
    equal(follower.wait(timeout=60), 1)
    assert b"removed" in follower.stderr.read()
    follower.stdout.close()
    follower.stderr.close()


@claim
def a_second_writer_is_refused_and_readers_are_not():
    path = stream(x="64K")
    writer = start("append", path, "-r", "x", "-a", stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    writer.stdin.write(b"1\n")
    writer.stdin.flush()
    writer.stdout.readline()
    refusal("append", path, "-r", "x", data="2\n", says=["open for writing elsewhere", "only one process"])
    refusal("region", "add", path, "y", "--size=4K", says="open for writing elsewhere")
    equal(out("cat", path), b"1\n")
    writer.stdin.close()
    writer.wait()
    writer.stdout.close()
    equal([entry["data"] for entry in entries(path)], ["1"])


@claim
def what_is_no_stream_is_refused_in_one_line_by_every_command():
    os.mkdir("folder")
    pathlib.Path("empty").write_bytes(b"")
    pathlib.Path("text").write_bytes(b"this is no stream\n" * 10000)
    pathlib.Path("zeros").write_bytes(bytes(1 << 20))
    pathlib.Path("old").write_bytes(b"PMEMSTREAM".ljust(64, b"\0") + struct.pack("<QQ", 1 << 20, 4096) + bytes((1 << 20) - 80))
    for path in ("none", "folder", "empty", "text", "zeros", "old", "/dev/null", "/dev/zero"):
        before = pathlib.Path(path).read_bytes() if os.path.isfile(path) else b""
        for command in (["cat", path], ["tail", path], ["tail", "-f", path], ["region", "ls", path], ["region", "rm", path, "x"],
                        ["region", "add", path, "x", "--size=4K"], ["append", path, "-r", "x"]):
            told = refusal(*command, says="'pmemstream create" if path in ("none", "empty", "zeros") else "0.2" if path == "old" else "")
            assert "PMEMSTREAM_" not in told, "that helps in C only"
        equal(pathlib.Path(path).read_bytes() if os.path.isfile(path) else b"", before)


@claim
def permissions_are_named():
    path = stream(x="64K")
    out("append", path, "-r", "x", data="1\n")
    os.chmod(path, 0o444)
    if os.geteuid() == 0:
        # Root may do anything, unless the file system is asked: an unprivileged user has a name on every system.
        os.chmod(".", 0o755)
        unprivileged = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    else:
        unprivileged = []
    command = [*unprivileged, TOOL]
    if subprocess.run([*unprivileged, "test", "-r", path], check=False, capture_output=True).returncode:
        os.chmod(path, 0o444) # a folder above is closed to others: nothing can be told here but by ourselves
        return
    done = subprocess.run([*command, "append", path, "-r", "x"], input="2\n", capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "Permission denied" in done.stderr and done.stderr.count("\n") == 1, done
    done = subprocess.run([*command, "cat", path], capture_output=True, text=True, check=False)
    equal((done.returncode, done.stdout, done.stderr), (0, "1\n", ""))
    os.chmod(path, 0)
    done = subprocess.run([*command, "cat", path], capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "Permission denied" in done.stderr, done


@claim
def a_file_that_is_truncated_while_it_is_followed_ends_in_a_message():
    path = stream(size="4M", x="3M")
    out("append", path, "-r", "x", data="1\n")
    follower = start("tail", "-f", path, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    equal(follower.stdout.readline(), b"1\n")
    os.truncate(path, 0)
    equal(follower.wait(timeout=60), 1)
    text = follower.stderr.read().decode()
    assert text.startswith("pmemstream: ") and text.count("\n") == 1 and "truncated" in text, text
    follower.stdout.close()
    follower.stderr.close()


@claim
def a_terminal_gets_no_control_characters_from_the_data():
    path = stream(x="64K")
    hostile = b"\x1b]0;owned\x07 \x1b[2J \x9b31m \r\b \xc2\x9b \xe2\x80\xae \xff ok \xc3\xa9\ttab\nline\0"
    out("append", path, "-r", "x", "--whole", data=hostile)
    shown = on_terminal("cat", path)
    for byte in (b"\x1b", b"\x07", b"\r", b"\b", b"\0", b"\xc2\x9b", b"\xe2\x80\xae", b"\xff", b"\x9b"):
        assert byte not in shown, (byte, shown)
    assert b"\\e[2J" in shown and b"\\u{202e}" in shown and b"\xc3\xa9\ttab\nline\\x00\n" in shown, shown
    assert b"\xc3" not in on_terminal("cat", path, LC_ALL="C")
    equal(out("cat", path), hostile + b"\n")
    equal(on_terminal("cat", path, "--format", "raw"), hostile)


@claim
def a_hostile_label_is_shown_escaped_everywhere():
    path = stream()
    label = "\x1b[31mred\nline\u202e"
    out("region", "add", path, label, "--size=8K")
    for text in (out("region", "ls", path), out("append", path, "-r", label, data="x\n"), out("region", "ls", path, "--json"),
                 call("append", path, "-r", label, data=bytes(90000), status=1).stderr,
                 call("append", path, "-r", label + "x", data="", status=1).stderr, out("cat", path, "--format=json")):
        assert b"\x1b" not in text and b"\xe2\x80\xae" not in text and text.count(b"red\n") == 0, text
    equal(json.loads(out("region", "ls", path, "--json"))[0]["label"], label)
    equal(entries(path)[0]["region"], label)
    out("region", "rm", path, label)


@claim
def the_examples_of_the_manual_page_work():
    page = (pathlib.Path(os.environ["TESTS_SOURCE"]).parent / "docs" / "man" / "pmemstream.1.md").read_text()
    blocks = re.findall(r"^```sh\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    assert len(blocks) >= 3, blocks
    printed = []
    for block in blocks:
        done = subprocess.run(["bash", "-euo", "pipefail", "-c", block], capture_output=True, text=True, timeout=60, check=False,
                              env=environment(PATH=f"{os.path.dirname(TOOL)}:{os.environ['PATH']}"))
        assert done.returncode == 0 and not done.stderr, (block, done)
        printed.append(done.stdout)
    assert printed[0].endswith("user 7 logged in\nfan has stopped\n"), printed[0]


@claim
def the_screen_of_shell_in_the_readme_is_what_one_sees():
    readme = (pathlib.Path(os.environ["TESTS_SOURCE"]).parent / "README.md").read_text()
    expected, = re.findall(r"^```console\n(.*?)^```", readme, re.MULTILINE | re.DOTALL)
    found = ""
    for line in expected.splitlines():
        if line.startswith("$ "):
            done = subprocess.run(["bash", "-c", line[2:]], capture_output=True, text=True, timeout=60, check=False,
                                  env=environment(PATH=f"{os.path.dirname(TOOL)}:{os.environ['PATH']}"))
            found += f"{line}\n{done.stdout}{done.stderr}"
    equal(found, expected)


COMPLETION = pathlib.Path(__file__).resolve().parent.parent.parent / "src" / "tool" / "completion"


def completed(*words):
    """What bash would offer for the last of the words."""
    script = f"""source '{COMPLETION / "pmemstream.bash"}'; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _pmemstream
        for each in "${{COMPREPLY[@]}}"; do echo "$each"; done"""
    done = subprocess.run(["bash", "-c", script, "bash", "pmemstream", *words], capture_output=True, text=True, timeout=60, check=True,
                          env=environment(PATH=f"{os.path.dirname(TOOL)}:{os.environ['PATH']}"))
    assert not done.stderr, done.stderr
    return done.stdout.splitlines()


@claim
def completion_offers_what_the_help_tells():
    zsh = (COMPLETION / "_pmemstream").read_text()
    equal(completed(""), COMMANDS[:9] + ["bench", "log", "convert", "--help", "--version"])
    for command in COMMANDS:
        told = set(re.findall(r"(?:^|\s|\[)(--[a-z][a-z-]+)", out(command, "--help").decode())) | {"--help"}
        equal(set(completed(command, "--")), told, command)
        line = zsh[zsh.index(f"\n  {command}) _arguments"):].split(" ;;")[0]
        for name in ("region", "format", "framing", "json", "help"):
            line = line.replace(f"${name} ", zsh[zsh.index(f"\n  {name}=("):].split("\n  ", 3 if name in ("format", "framing") else 2)[1] + " ") \
                if name not in ("format", "framing") else \
                line.replace(f"${name} ", re.search(rf"\n  {name}=\((.*?)\)\n  \w", zsh, re.DOTALL).group(1) + " ")
        equal({option for option in re.findall(r"--[a-z][a-z-]+", line)}, told, f"{command} in zsh")


@claim
def completion_knows_words_files_and_labels():
    path = stream("my.stream", web="8K")
    out("region", "add", path, "a b", "--size=8K")
    equal(completed("cat", "--format", "r"), ["raw"])
    equal(completed("cat", "--format", "="), ["text", "json", "raw", "length-prefixed"])
    equal(completed("append", "x", "--durability", "=", "b"), ["batch"])
    equal(completed("region", ""), ["add", "rm", "ls"])
    equal(completed("log", "c"), ["create", "cat", "check"])
    equal(completed("cat", "my"), ["my.stream"])
    equal(completed("cat", "my.stream", "--region", ""), ["web", "a b"])
    equal(completed("cat", "my.stream", "-r", "w"), ["web"])
    equal(completed("tail", "-n", ""), [])
    equal(completed("re"), ["region", "repair"])


if __name__ == "__main__":
    main()
