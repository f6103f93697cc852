"""agree.py ACTOR [SEED [ROUNDS]]: the library and the second decoder read the same out of the same files.

ACTOR (actor.c) makes streams in many states with the library: fresh, with regions freed and used again, with batches, with
series that roll, closed, killed, grown, opened again and again. Each file is read by stream_decode.py, then by the library,
then once more by stream_decode.py after the library has recovered and closed it: all three must tell the same. From the
states in between, files are made as a power cut or damage would leave them: words of a later state mixed into an earlier
one, bytes flipped, words zeroed, files cut short. Both readers must refuse the same ones, with the same errno, and read the
same from the others.
"""

import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import tempfile

import stream_decode

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import tap

ACTOR = os.path.abspath(sys.argv[1])


def shown(decoded):
    """What the public API can show of what the decoder read."""
    if decoded["status"] == "EMPTY":
        return {"status": "ok", "end": 0, "regions": []}
    if decoded["status"] != "ok":
        return {"status": decoded["status"]}
    return {"status": "ok", "end": decoded["end"], "regions": [
        {"offset": region["offset"], "bytes": region["bytes"], "free": region["free"], "entries": [
            {"offset": e["offset"], "damage": True} if "damage" in e else
            {key: e[key] for key in ("offset", "timestamp", "size", "crc")} for e in region["entries"]]}
        for region in decoded["regions"]]}


def difference(decoded, dumped, verb):
    """Empty if both tell the same; dumped is what the library says. Who only looks cannot know what is durable."""
    dumped = stream_decode.json.loads(dumped)
    persisted, alignment = dumped.pop("persisted", None), dumped.pop("alignment", None)
    expected = shown(decoded)
    if expected != dumped:
        return f"the decoder reads  {str(expected)[:1500]}\nthe library reads  {str(dumped)[:1500]}\n" \
               f"the decoder says   {decoded.get('message', '')}"
    if verb == "open" and dumped["status"] == "ok" and persisted != dumped["end"]:
        return f"persisted {persisted} is not committed {dumped['end']}"
    if decoded["status"] == "ok" and decoded["alignment"] != alignment:
        return f"alignment {decoded['alignment']}, the library says {alignment}"
    return ""


class Actor:
    """A running actor on one file; commands of one scenario, and what the file looked like on the way."""

    def __init__(self, granularity, image, block):
        self.path, self.block = "agree.stream", block
        pathlib.Path(self.path).write_bytes(image)
        self.environment = {**os.environ, "PMEM2_FORCE_GRANULARITY": granularity}
        self.states = []
        self.process = None
        self.start()

    def start(self):
        self.process = subprocess.Popen([ACTOR], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                        env=self.environment)

    def tell(self, *commands):
        self.process.stdin.write("".join(command + "\n" for command in commands))
        self.process.stdin.flush()

    def dump(self):
        self.tell("dump")
        return self.process.stdout.readline()

    def open(self, verb="open"):
        self.tell(f"{verb} {self.path} {self.block}")

    def snapshot(self):
        self.dump() # answered when all commands in front of it are done
        self.states.append(pathlib.Path(self.path).read_bytes())

    def kill(self):
        self.tell("kill")
        status = self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()
        if status != -signal.SIGKILL:
            raise RuntimeError(f"the actor ended with status {status}")

    def end(self):
        self.process.stdin.close()
        self.process.stdout.close()
        if self.process.wait():
            raise RuntimeError("a command of the actor failed")


def read_by_both(files, block, granularity, verb="open"):
    """For each file: what the decoder reads before, the library then, and the decoder after it closed the file."""
    before = [stream_decode.decode(pathlib.Path(name).read_bytes()) for name in files]
    commands = "".join(f"{verb} {name} {block}\ndump\nclose\n" for name in files)
    done = subprocess.run([ACTOR], input=commands, capture_output=True, text=True, check=False,
                          env={**os.environ, "PMEM2_FORCE_GRANULARITY": granularity})
    lines = done.stdout.splitlines()
    if done.returncode or len(lines) != len(files):
        name = files[min(len(lines), len(files) - 1)]
        shutil.copy(name, "failed.stream")
        return [f"the library's reader ended with status {done.returncode} at {name} (failed.stream): {done.stderr}"]
    problems = []
    for name, first, line in zip(files, before, lines):
        problem = difference(first, line, verb)
        if not problem and verb == "open" and first["status"] == "ok":
            after = stream_decode.decode(pathlib.Path(name).read_bytes())
            problem = difference(after, line, verb)
            if not problem and (not after["clean"] or after["epoch"] != first["epoch"] + 1):
                problem = f"after closing: clean {after['clean']}, epoch {first['epoch']} became {after['epoch']}"
        if problem:
            problems.append(f"{name}: {problem}")
    return problems


def append_somewhere(actor, numbers, verb, size):
    """Entries for a region with room; False if there is none."""
    count = numbers.randrange(1, 5)
    places = [index for index, free in enumerate(free_bytes(actor)) if free > count * 384]
    if places:
        final = numbers.choice([size, size // 2]) if verb == "publish" else count
        actor.tell(f"{verb} {numbers.choice(places)} {size} {final}")
    return bool(places)


def scenario(actor, numbers, lives):
    """Random commands; keeps what the file looked like between them."""
    usual = numbers.choice([0, 8, 40])
    actor.open()
    for _ in range(lives):
        for _ in range(numbers.randrange(1, 9)):
            verb = numbers.choice(["allocate", "append", "append", "append", "async", "async", "wait", "publish", "fail", "free",
                                   "batch", "batch", "series"])
            regions = len(free_bytes(actor))
            size = numbers.choice([usual] * 8 + [0, 1, 8, 31, 32, 33, 64, 100, 250])
            if not regions or verb == "allocate" and regions < 4:
                actor.tell(f"allocate {numbers.choice([64, 700, 1500, 2500])}")
            elif verb == "free" and regions > 2:
                actor.tell("wait", f"free {numbers.randrange(regions)}")
            elif verb == "batch":
                actor.tell(f"batch {numbers.randrange(regions)} {size} {numbers.randrange(1, 6)}")
            elif verb == "series":
                actor.tell(f"series s {size} {numbers.randrange(1, 12)}")
            elif verb not in ("append", "async", "fail", "publish") or not append_somewhere(actor, numbers, verb, size):
                actor.tell("wait")
            actor.snapshot()
        if numbers.random() < 0.2:
            actor.tell("close")
        elif numbers.random() < 0.2:
            actor.tell(f"grow {actor.path} {len(actor.states[-1]) + 4096 * numbers.randrange(1, 3)}")
            actor.kill()
            actor.start()
        else:
            if numbers.random() < 0.2 and free_bytes(actor)[0] >= 200:
                actor.tell("reserve 0 100")
            actor.kill()
            actor.start()
        actor.states.append(pathlib.Path(actor.path).read_bytes())
        actor.open()
    actor.kill()


def free_bytes(actor):
    return [region["free"] for region in stream_decode.json.loads(actor.dump())["regions"]]


def mixed(earlier, later, numbers):
    """Some words of a later state in an earlier one, as a power cut between them leaves it."""
    # A file is as large as it is to become before anything else is written.
    earlier = earlier + bytes(len(later) - len(earlier))
    words = [at for at in range(0, len(later), 8) if earlier[at:at + 8] != later[at:at + 8]]
    image, share = bytearray(earlier), numbers.choice([0.5, 0.9, 0.98])
    for at in words:
        if numbers.random() < share:
            image[at:at + 8] = later[at:at + 8]
    return image


def spoiled(state, numbers):
    """A state with a defect."""
    image = bytearray(state)
    used = [at for at in range(0, len(state), 8) if any(state[at:at + 8])]
    for _ in range(numbers.choice([1, 1, 1, 2, 3])):
        at = numbers.choice(used)
        what = numbers.choice(["bit", "zero", "random", "cut"])
        if what == "bit":
            image[at + numbers.randrange(8)] ^= 1 << numbers.randrange(8)
        elif what == "zero":
            image[at:at + 8] = bytes(8)
        elif what == "random":
            image[at:at + 8] = numbers.randbytes(8)
        else:
            end = numbers.randrange(64, len(image))
            image[end:] = bytes(len(image) - end)
    return image


def agreement(granularity, size, block, numbers):
    """A stream's lives, with power cuts between some; returns what disagrees, and how many files were read and refused."""
    states, images = [bytes(size)], []
    for lives in (4, 1, 1, 1, 1):
        actor = Actor(granularity, states[-1], block)
        scenario(actor, numbers, lives)
        states, older = actor.states, states
        cuts = [mixed(*numbers.choice(list(zip((older[-1:] + states), states))), numbers) for _ in range(20)]
        images += [*states, *cuts, *(spoiled(numbers.choice(states + cuts), numbers) for _ in range(15))]
        # The next life begins where a cut left it.
        states.append(next((cut for cut in cuts if stream_decode.decode(cut)["status"] == "ok"), states[-1]))
    cut_short = numbers.choice(images)
    images.append(cut_short[:numbers.randrange(1, len(cut_short) // 4096) * 4096])
    files = []
    for number, image in enumerate(images):
        files.append(f"image{number}.stream")
        pathlib.Path(files[-1]).write_bytes(image)
    undamaged = [name for name, image in zip(files, images) if stream_decode.decode(image)["status"] in ("ok", "EINVAL")]
    # What is read does not depend on the granularity, and syncs take their time.
    problems = read_by_both(undamaged, block, "BYTE", "look") + read_by_both(files, block, "BYTE")
    return problems, len(images), len(images) - len(undamaged)


def main(seed=1, rounds=12):
    os.chdir(tempfile.mkdtemp(dir=os.environ.get("TMPDIR")))
    here = os.getcwd()
    shapes = [("CACHE_LINE", 64), ("CACHE_LINE", 256), ("BYTE", 4096), ("CACHE_LINE", 1024), ("PAGE", 64), ("PAGE", 512)]
    read = refused = 0
    failed = False
    for number in range(rounds):
        granularity, block = shapes[number % len(shapes)]
        size = 4096 * random.Random(seed * 1000 + number).randrange(4, 8) + (block < 4096 and 512 * (number % 3))
        problems, files, bad = agreement(granularity, size if block < 4096 else size + 16384, block,
                                         random.Random(seed * 1000 + number))
        read, refused = read + files, refused + bad
        if problems:
            failed = True
            problems = problems[:3] + [f"again: agree.py ACTOR {seed} {number + 1}, in {here}"]
        tap.case(f"library_and_decoder_agree_on_{granularity.lower()}_media_with_blocks_of_{block}_(round_{number})", problems)
    tap.case("many_files_were_read_and_many_refused", [] if read - refused > 20 * rounds and refused > 5 * rounds else
             f"{read} files, of which {refused} were refused: the test tries too little")
    print(f"# seed {seed}: {read} files, {refused} of them refused by both")
    if not failed:
        os.chdir("/")
        shutil.rmtree(here)
    tap.done()


if __name__ == "__main__":
    main(*map(int, sys.argv[2:]))
