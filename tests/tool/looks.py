"""looks.py TOOL [CLAIM...]: info, check, repair and dump; what a person or a program sees of a stream, sound or not."""

import glob
import json
import os
import pathlib
import pty
import re
import shutil
import subprocess

from harness import TOOL, call, claim, entries, environment, equal, main, on_terminal, out, refusal, start, stream

GOLDEN = pathlib.Path(os.environ.get("TESTS_SOURCE", pathlib.Path(__file__).resolve().parent.parent)) / "golden" / "stream"


def filled():
    """A stream with regions of three sizes, one full, and a gap."""
    path = stream(size="4M", small="64K", gap="256K", large="1M", full="8K")
    out("append", path, "-r", "large", data="".join(f"line {i}\n" for i in range(10000)))
    call("append", path, "-r", "full", data="x\n" * 1000, status=1)
    out("region", "rm", path, "gap")
    return path


def damaged(name, entry=5):
    """A stream of ten entries, closed, with a byte of one's data changed; path, offset of that byte."""
    path = stream(name, x="64K")
    out("append", path, "-r", "x", data="".join(f"entry number {i}\n" for i in range(1, 11)))
    raw = bytearray(pathlib.Path(path).read_bytes())
    offset = raw.index(f"entry number {entry}".encode()) + 3
    raw[offset] ^= 1
    pathlib.Path(path).write_bytes(raw)
    return path, offset


@claim
def wrong_usage_is_one_line_and_status_2():
    for arguments in (["info"], ["info", "a", "b"], ["info", "a", "--frob"], ["check"], ["check", "a", "--deep=1"], ["repair"],
                      ["repair", "a", "--yes", "--dry-run"], ["repair", "a", "b"], ["dump", "a"], ["dump", "--offset=1"],
                      ["dump", "a", "--offset=x"], ["dump", "a", "--offset=0x"], ["dump", "a", "--offset=-1"],
                      ["dump", "a", "--offset=0x10000000000000000"]):
        refusal(*arguments, status=2)
    for command in ("info", "check", "repair", "dump"):
        assert out(command, "--help").decode().startswith(f"usage: pmemstream {command}")
        for path in ("none", "/", "/dev/null"):
            refusal(command, path, *(["--offset=0"] if command == "dump" else []))


@claim
def info_tells_what_there_is():
    path = filled()
    told = json.loads(out("info", "--json", path))
    equal([region["label"] for region in told["regions"]], ["small", "large", "full"])
    equal(told["regions"], json.loads(out("region", "ls", path, "--json")))
    equal((told["size"], told["block_size"], told["alignment"]), (4 << 20, 4096, 8))
    assert told["committed"] == told["persisted"] == len(entries(path)), told
    place = told["extents"][0]["offset"]
    for extent in told["extents"]: # they fill the arena without gaps
        equal(extent["offset"], place)
        place += extent["bytes"]
    equal([extent["region"] for extent in told["extents"]], [True, False, True, True, False])
    assert (4 << 20) - 8192 < place <= 4 << 20
    text = out("info", path).decode()
    for part in (told["uuid"], "epoch      " + str(told["epoch"]), "small", "large", "full", "(free)"):
        assert part in text, (part, text)


@claim
def the_picture_fits_the_terminal_and_is_plain_elsewhere():
    path = filled()
    out("region", "add", path, "\u00e9" * 31, "--size=4K")
    for columns in (40, 60, 80, 120, 200):
        for arguments in ([], ["--ascii"]):
            shown = re.sub(r"\033\[[0-9]*m", "", on_terminal("info", path, *arguments, columns=columns).decode())
            lines = [line for line in shown.split("\n\n")[1].splitlines() if line]
            equal(len(lines), 6)
            assert all(len(line) <= columns for line in lines), (columns, lines)
            assert columns < 60 or max(map(len, lines)) > columns - 3, (columns, lines)
    plain = out("info", path, "--ascii")
    assert b"#" in plain and b"\xe2" not in plain, plain
    assert b"\xe2\x96\x88" in out("info", path) and b"\033" not in out("info", path)
    assert b"\xe2" not in out("info", path, LC_ALL="C")
    assert b"\033[31m" in on_terminal("info", path) # the full one is red
    for more in ({"NO_COLOR": "1"}, {"TERM": "dumb"}):
        assert b"\033" not in on_terminal("info", path, **more)
    assert b"\033" not in on_terminal("info", path, "--ascii")


@claim
def bars_tell_size_and_fill():
    path = stream(size="4M", half="512K", whole="1M")
    data = "x" * 968 + "\n" # 1000 bytes with its header
    for label, records in (("half", 262), ("whole", 1048)):
        out("append", path, "-r", label, data=data * records)
    bars = {line.split()[0]: line for line in out("info", path, "--ascii", COLUMNS="120").decode().splitlines() if "%" in line}
    used, unused = bars["half"].count("#"), bars["half"].count("-")
    assert abs(used - unused) <= 1, bars
    assert abs(bars["whole"].count("#") - 2 * (used + unused)) <= 2 and bars["whole"].count("-") <= 1, bars
    assert " 49%" in bars["half"] and " 99%" in bars["whole"], bars


@claim
def a_sound_stream_is_told_to_be_so_and_not_written_to():
    path = filled()
    before = pathlib.Path(path).read_bytes()
    assert b"sound" in out("check", path)
    assert b"every entry" in out("check", path, "--deep")
    equal(json.loads(out("check", path, "--json", "--deep")), {"problems": [], "damage": False, "complete": True})
    assert b"nothing to repair" in out("repair", path)
    equal(pathlib.Path(path).read_bytes(), before)
    equal(os.listdir("."), [path])


@claim
def damage_is_told_with_its_place_and_status_3():
    path, offset = damaged("a")
    before = pathlib.Path(path).read_bytes()
    done = call("check", path, "--deep", status=3)
    assert not done.stderr and b"damage: entry data at " in done.stdout and b"timestamp 5" in done.stdout, done
    told = json.loads(call("check", path, "--deep", "--json", status=3).stdout)
    problem, = told["problems"]
    equal((problem["kind"], problem["severity"], problem["repairable"], problem["timestamp"]), ("entry_data", "damage", True, 5))
    assert problem["offset"] <= offset < problem["offset"] + problem["bytes"] and problem["cause"] and problem["consequence"], problem
    assert told["damage"] and told["complete"]
    equal(pathlib.Path(path).read_bytes(), before)


@claim
def readers_report_damage_and_go_on():
    path, _ = damaged("a")
    for arguments, expected in ((["cat", path], [1, 2, 3, 4, 6, 7, 8, 9, 10]), (["cat", path, "-r", "x", "--since=4"], [4, 6, 7, 8, 9, 10]),
                                (["tail", path, "-n7"], [4, 6, 7, 8, 9, 10])):
        done = call(*arguments, status=3)
        shown = [int(line.split()[-1]) for line in done.stdout.splitlines()]
        assert shown[-6:] == expected[-6:], (arguments, shown)
        assert done.stderr.count(b"\n") == 1 and done.stderr.startswith(b"pmemstream: "), done
    equal(out("cat", path, "--until=4").count(b"\n"), 4)


@claim
def repair_shows_asks_and_keeps_what_it_changes():
    path, _ = damaged("a")
    before = pathlib.Path(path).read_bytes()
    shown = out("repair", path, "--dry-run")
    assert b"damage: entry data" in shown and b"change 1: " in shown, shown
    done = call("repair", path, status=1)
    assert b"--yes" in done.stderr and done.stdout == shown, done
    equal((pathlib.Path(path).read_bytes(), os.listdir(".")), (before, [path]))
    done = out("repair", path, "--yes")
    assert b"a.before-repair-1" in done, done
    after = pathlib.Path(path).read_bytes()
    assert after != before
    equal(call("cat", path, status=3).stdout.count(b"\n"), 9)
    known = json.loads(out("check", path, "--deep", "--json"))
    equal([problem["severity"] for problem in known["problems"]], ["known"])
    restored = bytearray(after)
    patch(restored, "a.before-repair-1")
    equal(bytes(restored), before)
    if shutil.which("xxd"):
        subprocess.run(["xxd", "-r", "a.before-repair-1", path], check=True)
        equal(pathlib.Path(path).read_bytes(), before)
    assert os.stat("a.before-repair-1").st_mode & 0o077 == 0, "it holds data that were private"


def patch(image, backup):
    """What xxd -r does."""
    for line in pathlib.Path(backup).read_text().splitlines():
        offset, rest = line.split(": ", 1)
        data = bytes.fromhex(rest.split("  ", 1)[0].replace(" ", ""))
        image[int(offset, 16):int(offset, 16) + len(data)] = data


@claim
def repair_asks_on_a_terminal_and_takes_no_for_an_answer():
    path, _ = damaged("a")
    before = pathlib.Path(path).read_bytes()
    for answer, status in ((b"n\n", 1), (b"\n", 1), (b"nay\n", 1), (b"y\n", 0)):
        master, slave = pty.openpty()
        child = subprocess.Popen([TOOL, "repair", path], stdin=slave, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment())
        os.write(master, answer)
        text, _ = child.communicate(timeout=60)
        os.close(master)
        os.close(slave)
        equal(child.returncode, status, answer)
        assert b"[y/N]" in text, text
        equal(pathlib.Path(path).read_bytes() == before, status == 1)


@claim
def every_golden_file_is_checked_and_repaired_or_left_alone():
    names = sorted(GOLDEN.glob("*.stream"))
    assert len(names) > 40
    repaired = 0
    for golden in names:
        shutil.copy(golden, "g")
        before = golden.read_bytes()
        found = call("check", "--deep", "--json", "g", status=None)
        equal(pathlib.Path("g").read_bytes(), before, golden.name)
        told = json.loads(found.stdout)
        assert (found.returncode == 3) == told["damage"] and (found.returncode == 1) != told["complete"], (golden.name, found)
        done = call("repair", "--yes", "g", status=None)
        backups = glob.glob("g.before-repair-*")
        if done.returncode == 0 and backups:
            repaired += 1
            restored = bytearray(pathlib.Path("g").read_bytes())
            for backup in backups:
                patch(restored, backup)
                os.remove(backup)
            equal(bytes(restored), before, golden.name)
            call("check", "--deep", "g")
            assert call("cat", "g", status=None).returncode in (0, 3), golden.name
            out("region", "ls", "g")
        elif done.returncode:
            equal((pathlib.Path("g").read_bytes(), backups), (before, []), golden.name)
            assert done.stderr.count(b"\n") == 1, done
        for offset in (0, 512, 2048, len(before) - 1):
            call("dump", "g", "--offset", offset, status=None)
        os.chmod("g", 0o600)
        os.remove("g")
    assert repaired > 10, repaired


@claim
def check_and_repair_refuse_a_stream_that_is_being_written():
    path = stream(x="64K")
    writer = start("append", path, "-r", "x", "-a", stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    writer.stdin.write(b"1\n")
    writer.stdin.flush()
    writer.stdout.readline()
    for command in (["check", path], ["repair", path, "--yes"]):
        refusal(*command, says="open for writing")
    equal(json.loads(call("check", path, "--json", status=1).stdout)["complete"], False)
    assert b"1 region" in out("info", path)
    assert b"entry at" in out("dump", path, "--offset", "8448")
    writer.stdin.close()
    writer.wait()
    writer.stdout.close()


@claim
def dump_decodes_what_is_there():
    path = stream(x="64K")
    out("append", path, "-r", "x", data="hello\n")
    offset = pathlib.Path(path).read_bytes().index(b"hello")
    for text in (str(offset), hex(offset)):
        shown = out("dump", path, "--offset", text).decode()
        entry = shown[shown.index("\nentry at"):]
        assert re.search(r"\n  timestamp +1\n", entry) and re.search(r"\n  size +5\n", entry) and re.search(r"label +x\n", shown), shown
    told = json.loads(out("dump", path, "-o", str(offset), "--json"))
    entry = told[-1]
    equal((entry["structure"], entry["fields"]["timestamp"], entry["fields"]["checksum"]), ("entry", "1", "valid"))
    equal(json.loads(out("dump", path, "--offset=0", "--json"))[0]["structure"], "stream header")
    refusal("dump", path, "--offset", str(1 << 40))


@claim
def labels_are_put_in_front_of_entries():
    path = stream(a="64K", b="64K")
    out("append", path, "-r", "a", data="one\n")
    out("append", path, "-r", "b", data="two\n")
    equal(out("cat", path, "--labels"), b"1 a: one\n2 b: two\n")
    equal(out("tail", path, "-l", "-n1"), b"2 b: two\n")


if __name__ == "__main__":
    main()
