"""make_golden.py ACTOR FOLDER: how the files of tests/golden/stream were made, once, by the first version of the format.

They are not made again: that a later library still reads them as it says beside them is what they are for. A file for a
new case is added by its name here; a file that exists is left alone. ACTOR is actor.c's program, which makes the sound
streams; defects that need a right checksum over a wrong value are written here, from docs/format/stream.md.
"""

import json
import pathlib
import signal
import struct
import subprocess
import sys
import tempfile

import stream_decode
from stream_decode import crc32c, data_check, u64


def made(script, size=8192, block=64, granularity="PAGE"):
    """A file made by commands of the actor; 'kill' may stand at the end of a life, each of which opens by itself."""
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "made"
        path.write_bytes(bytes(size))
        for life in script:
            commands = f"open {path} {block}\n" + "\n".join(life.replace("FILE", str(path)).split(", ")) + "\n"
            done = subprocess.run([ACTOR], input=commands, text=True, env={"PMEM2_FORCE_GRANULARITY": granularity},
                                  check=False)
            if done.returncode not in (0, -signal.SIGKILL):
                sys.exit(f"the actor failed at: {life}")
        return bytearray(path.read_bytes())


class Image:
    """A file with tools to change a field and the checksum over it."""

    def __init__(self, data):
        self.data = data
        self.stream = stream_decode.Stream(bytes(data))
        self.regions = self.stream.regions
        self.salt = u64(self.stream.salt)

    def put(self, offset, layout, *values):
        struct.pack_into("<" + layout, self.data, offset, *values)
        return self

    def sum(self, place, seed, *parts):
        return self.put(place, "I", crc32c(seed + b"".join(bytes(self.data[a:b]) for a, b in parts)))

    def word(self, offset, value, seed=None):
        check = crc32c(self.salt + u64(offset if seed is None else seed, value)) & 0xFFFFFF
        return self.put(offset, "Q", value | check << 40)

    def header(self, field, layout, value):
        for copy in (0, 3584):
            self.put(copy + field, layout, value).sum(copy + 508, b"", (copy, copy + 508))
        return self

    def region_header(self, region):
        at = region.offset
        return self.sum(at + 60, self.salt + u64(at), (at + 16, at + 60), (at + 64, at + 128))

    def entry(self, region, number, field, layout, value):
        at = list(self.stream.entries(region))[number]["offset"]
        return self.put(at + field, layout, value) \
            .sum(at + 28, self.salt + u64(region.generation, at), (at, at + 28))

    def record(self, words):
        number = self.stream.checked_word(bytes(self.data[2048:2056]), 2048) + 1
        self.put(1536, "QII", number, self.stream.epoch, len(words))
        for index, (place, value) in enumerate(words):
            self.word(place_of := 1552 + 16 * index + 8, value, place).put(place_of - 8, "Q", place)
        return self.sum(1660, self.salt, (1536, 1660))

    def newer_slot(self):
        """The place of the stream slot in use, from its sequences."""
        return max((512, 1024), key=lambda at: struct.unpack_from("<Q", self.data, at)[0])


LIFE = "allocate 1000, append 0 100 3, append 0 0"
TWO = "allocate 600, allocate 900, append 0 40 2, append 1 70 2, append 0 8"


def dropped():
    """Killed with three asynchronous entries, a cut then took the second from the medium; opened and appended, killed."""
    data = made([LIFE, "async 0 40 3, kill"])
    image = Image(data)
    second = list(image.stream.entries(image.regions[0]))[5]["offset"]
    image.put(second, "4Q", 0, 0, 0, 0)
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "made"
        path.write_bytes(image.data)
        subprocess.run([ACTOR], input=f"open {path} 64\nasync 0 8 1\nkill\n", text=True, check=False,
                       env={"PMEM2_FORCE_GRANULARITY": "PAGE"})
        return bytearray(path.read_bytes())


def kept_entry_replaced():
    """Of timestamp 1 and region 0, region 1 still has the entry of an older epoch: it must not stand in for it."""
    image = Image(made(["allocate 300, allocate 300, kill", "append 0 8, kill", "kill"]))
    first, second = image.regions
    at = second.offset + 256
    image.put(at, "QQIIII", 8, 1, 2, 0xFFFFFFFF, data_check(bytes(8)), 0)
    image.sum(at + 28, image.salt + u64(second.generation, at), (at, at + 28))
    return image.put(first.offset + 256, "Q", 1).data


def dropped_entry_whole_again():
    """Timestamp 1 of epoch 2, which the recovery that began epoch 3 did not keep, is whole all the same."""
    image = Image(made(["allocate 300, kill", "kill"]))
    region = image.regions[0]
    at = region.offset + 256
    image.put(at, "QQIIII", 8, 1, 2, 0xFFFFFFFF, data_check(bytes(8)), 0)
    return image.sum(at + 28, image.salt + u64(region.generation, at), (at, at + 28))\
        .word(region.offset + 8, region.end_of_extent // 64 - region.offset // 64, region.generation).data


def slots_of_region(image, both):
    region = image.regions[0]
    newer = max((128, 192), key=lambda at: struct.unpack_from("<Q", image.data, region.offset + at)[0])
    image.data[region.offset + newer] ^= 1
    if both:
        image.data[region.offset + 320 - newer] ^= 1
    return image.data


def slot_of_next_round(image, persisted):
    region = image.regions[0]
    at = region.offset + 128
    image.put(at, "QQQ", image.stream.round + 1, 256, persisted)
    return image.sum(at + 60, image.salt + u64(region.generation, at), (at, at + 60)).data


def batch(flags_of):
    """The last entries say that the batch goes on."""
    image = Image(made([LIFE, "async 0 8 4, kill"]))
    for number, flags in flags_of:
        image.entry(image.regions[0], number, 6, "H", flags)
    return image.data


def flip(offset, mask=1, script=(TWO,)):
    data = made(script)
    data[offset(Image(data)) if callable(offset) else offset] ^= mask
    return data


def twice_the_generation():
    image = Image(made([TWO]))
    second = image.regions[1]
    image.put(second.offset + 16, "Q", 1).region_header(second).word(second.offset + 8, 4, 1)
    for slot in (128, 192):
        at = second.offset + slot
        image.sum(at + 60, image.salt + u64(1, at), (at, at + 60))
    return image.data


def entry_at(region, number):
    return lambda image: list(image.stream.entries(image.regions[region]))[number]["offset"]


FILES = {
    # name: (what it shows, how it was made)
    "fresh": ("a stream without a region, closed", lambda: made([""])),
    "closed": ("two regions, entries of several sizes and of none, closed", lambda: made([TWO + ", append 1 0"])),
    "killed": ("entries appended, published and asynchronous, then killed",
               lambda: made([LIFE + ", publish 0 60 20, async 0 17 4, kill"])),
    "killed_thrice": ("killed, and opened again, three times", lambda: made([LIFE + ", kill", "append 0 9 2, kill", "async 0 9 2, kill"])),
    "open_reservation": ("killed with an open reservation, which leaves no trace", lambda: made([LIFE + ", reserve 0 50, kill"])),
    "entry_aligned_to_64": ("entries aligned to 64 bytes", lambda: made([TWO + ", kill"], block=256, granularity="CACHE_LINE")),
    "blocks_of_4096": ("the second header copy at 4096", lambda: made([TWO], size=24576, block=4096)),
    "region_freed_and_place_reused": ("the first of three regions freed, its place used for a smaller one",
                        lambda: made([TWO + ", allocate 300, free 0, allocate 200, append 2 11 2, append 0 5, kill"])),
    "filler": ("a data mover failed, so its timestamp is a filler", lambda: made([LIFE + ", fail 0 30, append 0 4, kill"])),
    "dropped_entry": ("a cut took one of three entries; what lay behind was dropped, its place partly used again", dropped),
    "first_header_copy_lost": ("the second header copy alone is valid", lambda: flip(24)),
    "second_header_copy_lost": ("the first header copy alone is valid", lambda: flip(3584 + 24)),
    "older_stream_slot_torn": ("the stream slot not in use does not check", lambda: flip(lambda i: 1536 - i.newer_slot())),
    "region_slot_torn": ("a region slot does not check, and nothing needs it",
                         lambda: flip(lambda i: i.regions[1].offset + 128, script=[TWO + ", kill"])),
    "record_pending": ("a cut between the redo record and its words: the first region is free",
                       lambda: (lambda i: i.record([(i.regions[0].offset, 14)]).data)(Image(made([TWO, "append 1 8, kill"])))),
    "record_of_older_epoch": ("the same record of an older epoch does not count",
                              lambda: (lambda i: i.record([(i.regions[0].offset, 14)]).put(1544, "I", 1)
                                       .sum(1660, i.salt, (1536, 1660)).data)(Image(made([TWO, "append 1 8, kill"])))),
    "dropped_entry_whole_again": ("an entry above K of an older epoch does not count, though it checks",
                                  dropped_entry_whole_again),
    "slot_of_incomplete_round": ("a region slot of a round that never completed does not count",
                                 lambda: slot_of_next_round(Image(made([LIFE + ", kill"])), 4)),
    "batch_cut": ("the last two entries belong to a batch that is not whole", lambda: batch([(6, 1), (7, 1)])),
    "batch_whole": ("three entries are a batch that is whole", lambda: batch([(5, 1), (6, 1)])),
    "batch_of_two_regions": ("a batch of entries in two regions, then killed", lambda: made([TWO + ", batch 0 20 4, kill"])),
    "series_that_rolled": ("a series whose first regions were freed, then killed", lambda: made(["series s 200 14, kill"])),
    "grown": ("a stream that grew by a page, with a region in what was added",
              lambda: made([TWO + ", grow FILE 12288", "allocate 3000, append 2 50 2, kill"])),
    "growth_cut_between_header_copies": ("a cut after the first header copy got the new size: it counts",
                                         lambda: Image(made([TWO + ", grow FILE 12288"])).put(3584 + 48, "Q", 8192)
                                         .sum(3584 + 508, b"", (3584, 3584 + 508)).data),
    "growth_cut_before_header_copies": ("a cut after the file grew: the stream did not yet",
                                        lambda: made([TWO]) + bytes(4096)),
    "lost_stretch": ("a repair gave up an entry", lambda: (lambda i: i.entry(i.regions[0], 1, 6, "H", 4).data)(Image(made([LIFE])))),
    "label": ("a region with a label", lambda: (lambda i: i.put(i.regions[0].offset + 64, "7s", b"journal")
                                                .region_header(i.regions[0]).data)(Image(made([LIFE])))),
    "creation_cut": ("a power cut while the stream was created: it counts as empty",
                     lambda: Image(made([""])).put(0, "8s", b"pmstrnew").data),
    "unknown_compatible_feature": ("a compatible feature that nobody knows is ignored",
                                   lambda: Image(made([LIFE])).header(12, "I", 1 << 31).data),
    "damaged_data": ("the data of an entry were damaged: it is reported, the rest is read", lambda: flip(lambda i: entry_at(0, 1)(i) + 32)),
    "damaged_entry_header": ("the header of an entry was damaged: it is reported, the rest is found",
                             lambda: flip(lambda i: entry_at(0, 0)(i) + 28)),

    "fails_truncated": ("the file lost its last 4096 bytes", lambda: made([TWO])[:4096]),
    "fails_both_header_copies": ("no header copy checks", lambda: bytearray(flip(24)[:3584] + bytes(4608))),
    "fails_later_version": ("format version 2", lambda: Image(made([LIFE])).header(8, "I", 2).data),
    "fails_unknown_incompatible_feature": ("an incompatible feature that nobody knows",
                                           lambda: Image(made([LIFE])).header(20, "I", 2).data),
    "fails_layout_of_0_2": ("the signature of libpmemstream 0.2", lambda: bytearray(b"PMEMSTREAM".ljust(4096, b"\0") + b"\1" * 4096)),
    "fails_no_stream": ("some other file", lambda: bytearray(b"#!/bin/sh\n" * 820)[:8192]),
    "fails_both_stream_slots": ("no stream slot checks", lambda: bytearray(flip(512)[:1024] + bytes(64) + flip(512)[1088:])),
    "fails_applied_number": ("the allocator's applied number does not check", lambda: flip(2048)),
    "fails_next_generation": ("the next generation does not check", lambda: flip(2056)),
    "fails_extent_word": ("an extent word does not check", lambda: flip(4096)),
    "fails_extent_word_zero": ("the word of a region's extent is zero", lambda: (lambda i: i.put(i.regions[1].offset, "Q", 0).data)(Image(made([TWO])))),
    "fails_extent_of_no_blocks": ("a checked extent word of length 0", lambda: Image(made([TWO])).word(4096, 0).data),
    "fails_extent_too_long": ("an extent reaches behind the arena", lambda: Image(made([""])).word(4096, 65).data),
    "fails_region_of_one_block": ("a region at the end of the file is too short for its header",
                                  lambda: Image(made([""])).word(4096, 63).word(8128, 1 << 39 | 1).data),
    "fails_region_header": ("a region's header does not check", lambda: flip(lambda i: i.regions[1].offset + 32)),
    "fails_region_label_not_ended": ("a label of 64 bytes", lambda: (lambda i: i.put(i.regions[0].offset + 64, "64s", b"x" * 64)
                                     .region_header(i.regions[0]).data)(Image(made([LIFE])))),
    "fails_generation_not_given_out": ("the next generation is that of a region", lambda: Image(made([TWO])).word(2056, 2).data),
    "fails_generation_twice": ("two regions of one generation", twice_the_generation),
    "fails_limit": ("a region's limit does not check", lambda: flip(lambda i: i.regions[0].offset + 8)),
    "fails_limit_out_of_region": ("a region's limit lies behind its end",
                                  lambda: (lambda i: i.word(i.regions[0].offset + 8, 1000, 1).data)(Image(made([LIFE])))),
    "fails_both_region_slots": ("no slot of a region checks", lambda: slots_of_region(Image(made([TWO])), True)),
    "fails_needed_region_slot": ("a region's newer slot does not check, and an entry shows that it was needed",
                                 lambda: slots_of_region(Image(made([TWO])), False)),
    "fails_slot_of_incomplete_round_with_later_P": ("a region slot of a round that never completed knows of more than is left",
                                                    lambda: slot_of_next_round(Image(made([LIFE + ", kill"])), 5)),
    "fails_record_word_elsewhere": ("a redo record that counts has a word for a slot",
                                    lambda: Image(made([TWO + ", kill"])).record([(512, 1)]).data),
    "fails_record_word_unchecked": ("a redo record that counts has a word that does not check",
                                    lambda: (lambda i: i.record([(i.regions[0].offset, 14)]).put(1560, "Q", 99)
                                             .sum(1660, i.salt, (1536, 1660)).data)(Image(made([TWO + ", kill"])))),
    "fails_kept_entry_missing": ("an entry that the last recovery kept is gone, the last of the log",
                                 lambda: flip(entry_at(0, 3), script=[LIFE + ", kill", "kill"])),
    "fails_kept_entry_replaced": ("an older entry stands in place of one that the last recovery kept", kept_entry_replaced),
    "fails_entry_with_later_watermark": ("an entry is gone, and one behind it knows that it was durable",
                                         lambda: flip(entry_at(0, 1), script=[LIFE + ", append 0 8 3, kill"])),
    "fails_entry_of_later_epoch": ("an entry of an epoch that the stream has not reached",
                                   lambda: (lambda i: i.entry(i.regions[0], 2, 16, "I", 9).data)(Image(made([LIFE + ", kill"])))),
}


def readable(expected):
    """JSON with a line for each region and entry."""
    text = json.dumps(expected)
    for start in ('{"offset"', '"regions"'):
        text = text.replace(start, "\n" + start)
    return text


def main(folder):
    for name, (about, how) in FILES.items():
        path = folder / f"{name}.stream"
        if path.exists():
            continue
        data = bytes(how())
        decoded = stream_decode.decode(data)
        if (decoded["status"] not in ("ok", "EMPTY")) != name.startswith("fails_"):
            sys.exit(f"{name}: {decoded}")
        path.write_bytes(data)
        block = decoded.get("block_size", 64)
        (folder / f"{name}.txt").write_text(f"{about}\n\n{readable({'block_size': block, **decoded})}\n")


if __name__ == "__main__":
    ACTOR = sys.argv[1]
    main(pathlib.Path(sys.argv[2]))
