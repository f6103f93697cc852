"""stream_decode.py FILE: reads a stream file and prints what is in it as JSON.

A second reader of the format, written from docs/format/stream.md alone, so that a test can hold the library against
something that does not share its code. It changes nothing: of a stream that was not closed it prints what recovery
keeps. Errors that refuse the whole stream are named as the library names them: EBADMSG, EINVAL, ENOTSUP.
"""

import json
import struct
import sys

TABLE = []
for number in range(256):
    for _ in range(8):
        number = number >> 1 ^ (0x82F63B78 if number & 1 else 0)
    TABLE.append(number)

TABLE64 = []
for number in range(256):
    number <<= 56
    for _ in range(8):
        number = (number << 1 ^ (0xAD93D23594C935A9 if number >> 63 else 0)) & (1 << 64) - 1
    TABLE64.append(number)

MORE, FILLER, LOST = 1, 2, 4
ENTRY_HEADER, REGION_HEADER = 32, 256


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ TABLE[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF


def data_check(data):
    crc = (1 << 64) - 1
    for byte in data:
        crc = (crc << 8 & (1 << 64) - 1) ^ TABLE64[crc >> 56 ^ byte]
    crc ^= (1 << 64) - 1
    return crc >> 32 ^ crc & 0xFFFFFFFF


def u64(*values):
    return struct.pack(f"<{len(values)}Q", *values)


class Refused(Exception):
    """The stream cannot be opened: an errno name, and what is wrong where."""


def damaged(text):
    raise Refused("EBADMSG", text)


class Entry:
    def __init__(self, stream, region, offset):
        self.offset, self.trusted, self.valid = offset, False, False
        raw = stream.data[offset:offset + ENTRY_HEADER]
        if offset + ENTRY_HEADER > region.end_of_extent:
            return
        self.size, self.flags = int.from_bytes(raw[0:6], "little"), int.from_bytes(raw[6:8], "little")
        self.timestamp, self.epoch, lag, self.crc, header_crc = struct.unpack_from("<QIIII", raw, 8)
        self.next = offset + -(-(ENTRY_HEADER + self.size) // stream.alignment) * stream.alignment
        if not self.timestamp or not self.epoch or self.flags & ~7 or self.next > region.end_of_extent:
            return
        self.trusted = header_crc == crc32c(u64(stream.salt, region.generation, offset) + raw[:28])
        if not self.trusted:
            return
        data = stream.data[offset + ENTRY_HEADER:offset + ENTRY_HEADER + self.size]
        self.valid = bool(self.flags & (FILLER | LOST)) or data_check(data) == self.crc
        self.watermark = 0 if lag == 0xFFFFFFFF else max(0, self.timestamp - lag)

    def scanned(self, stream):
        """Itself, for recovery."""
        if self.trusted and self.epoch > stream.epoch:
            damaged(f"entry at {self.offset}: epoch {self.epoch} is above the stream's")
        return self


def slot_fields(stream, offset, generation, layout):
    """The fields of a slot, None where its checksum fails; a stream slot has no generation."""
    raw = stream.data[offset:offset + 64]
    seed = u64(stream.salt, offset) if generation is None else u64(stream.salt, generation, offset)
    return struct.unpack_from(layout, raw) if crc32c(seed + raw[:60]) == int.from_bytes(raw[60:], "little") else None


class Region:
    def __init__(self, stream, offset, length):
        self.offset, self.end_of_extent = offset, offset + length
        raw = stream.data[offset:offset + REGION_HEADER]
        if length < REGION_HEADER:
            damaged(f"region at {offset}: too short")
        self.generation, extent = struct.unpack_from("<QQ", raw, 16)
        if crc32c(u64(stream.salt, offset) + raw[16:60] + raw[64:128]) != int.from_bytes(raw[60:64], "little"):
            damaged(f"region at {offset}: header")
        if extent != length or not 0 < self.generation < stream.next_generation or raw[127]:
            damaged(f"region at {offset}: length or generation")
        self.label = raw[64:128].rstrip(b"\0").decode(errors="surrogateescape")
        limit = stream.checked_word(raw[8:16], self.generation)
        if limit is None or not REGION_HEADER <= limit * 64 <= length:
            damaged(f"region at {offset}: limit")
        self.limit = offset + limit * 64
        slots = [slot_fields(stream, offset + at, self.generation, "<QQQI") for at in (128, 192)]
        slots = [slot for slot in slots if slot and REGION_HEADER <= slot[1] <= length
                 and not slot[1] % stream.alignment]
        if any(slot[0] > 1 << 60 for slot in slots):
            damaged(f"region at {offset}: a slot counted too far")
        self.torn = len(slots) < 2
        self.vouched = max((slot[2] for slot in slots), default=0)
        self.highest_epoch = max((slot[3] for slot in slots), default=0)
        slots = [slot for slot in slots if slot[0] <= stream.round]
        if not slots:
            damaged(f"region at {offset}: no slot")
        _, slot_offset, self.slot_p, self.slot_epoch = max(slots, key=lambda slot: slot[0])
        self.slot = self.end = offset + slot_offset


class Stream:
    def __init__(self, data):
        self.data = data
        self.read_header()
        self.read_slots()
        self.regions = self.read_regions()
        self.clean = bool(self.flags & 1) and not self.torn and not any(region.torn for region in self.regions) and \
            max([self.record_p] + [region.vouched for region in self.regions]) <= self.p and \
            max([self.record_epoch] + [region.highest_epoch for region in self.regions]) <= self.epoch
        self.end = self.p if self.clean else self.recover()

    def read_header(self):
        copies = [self.header_copy(0), self.header_copy(3584), self.header_copy(4096)]
        copies = [copy for copy in copies if copy]
        if not copies or self.data[:8] == b"pmstrnew":
            self.refuse_unknown()
        copies = [copy for copy in copies if copy["uuid"] == copies[0]["uuid"]]
        best = max(copies, key=lambda copy: copy["size"])
        if best["incompatible"]:
            raise Refused("ENOTSUP", "features of a later version")
        if best["size"] > len(self.data):
            damaged("the file is shorter than the stream")
        self.__dict__.update(best)

    def header_copy(self, offset):
        raw = self.data[offset:offset + 512]
        if len(raw) < 512 or raw[:8] != b"pmstream" or crc32c(raw[:508]) != int.from_bytes(raw[508:], "little"):
            return None
        version, _, _, incompatible = struct.unpack_from("<IIII", raw, 8)
        salt, size, block, alignment = struct.unpack_from("<QQQI", raw, 40)
        if version != 1 or not 64 <= block <= 1 << 40 or block & block - 1 or alignment not in (8, 64):
            return None
        if offset and offset != (4096 if block >= 4096 else 3584):
            return None
        arena = 4096 if block < 4096 else -(-4608 // block) * block
        if not 0 < size // block * block - arena < 1 << 45:
            return None
        return {"uuid": raw[24:40].hex(), "salt": salt, "size": size, "block_size": block, "alignment": alignment,
                "arena": arena, "arena_end": size // block * block, "incompatible": incompatible}

    def refuse_unknown(self):
        data = self.data
        if data[:8] == b"pmstrnew" or not any(data[:128 << 10]) and not any(data[-(64 << 10):]):
            raise Refused("EMPTY", "no stream was made yet")
        if data[:64] == b"PMEMSTREAM".ljust(64, b"\0"):
            raise Refused("ENOTSUP", "layout of libpmemstream 0.2")
        if data[:8] == b"pmstream" and int.from_bytes(data[8:12], "little") > 1:
            raise Refused("ENOTSUP", "a later version of the format")
        if data[:8] == b"pmstream":
            damaged("no header copy is valid")
        raise Refused("EINVAL", "no stream")

    def checked_word(self, raw, seed):
        word = int.from_bytes(raw, "little")
        value = word & (1 << 40) - 1
        return value if crc32c(u64(self.salt, seed, value)) & 0xFFFFFF == word >> 40 else None

    def read_slots(self):
        slots = [slot_fields(self, offset, None, "<QQQQIII") for offset in (512, 1024)]
        slots = [slot for slot in slots if slot and slot[0] and slot[4]]
        if not slots:
            damaged("no stream slot is valid")
        self.torn = len(slots) < 2
        best = max(slots, key=lambda slot: slot[0])
        self.sequence, self.round, self.p, self.k, self.epoch, self.flags, self.digest = best
        if max(self.sequence, self.p, self.k, *(slot[1] for slot in slots)) > 1 << 60:
            damaged("a stream slot counted too far")

    def read_regions(self):
        record, words = self.data[1536:1664], {}
        applied = self.checked_word(self.data[2048:2056], 2048)
        if applied is None:
            damaged("allocator: applied number")
        number, epoch, count = struct.unpack_from("<QII", record)
        checks = crc32c(u64(self.salt) + record[:124]) == int.from_bytes(record[124:], "little") and 1 <= count <= 4
        self.record_p, self.record_epoch = (struct.unpack_from("<Q", record, 80)[0], epoch) if checks else (0, 0)
        if checks and (number, epoch) == (applied + 1, self.epoch):
            for at in range(16, 16 + 16 * count, 16):
                place, word = struct.unpack_from("<Q", record, at)[0], record[at + 8:at + 16]
                in_arena = self.arena <= place < self.arena_end and place % self.block_size == 0
                if not (in_arena or place == 2056) or self.checked_word(word, place) is None:
                    damaged("allocator: a word of its record")
                words[place] = word
        self.next_generation = self.checked_word(words.get(2056, self.data[2056:2064]), 2056)
        if self.next_generation is None:
            damaged("allocator: next generation")
        regions, offset, starts = [], self.arena, {2056}
        while offset < self.arena_end:
            word = self.checked_word(words.get(offset, self.data[offset:offset + 8]), offset) or 0
            length = (word & (1 << 39) - 1) * self.block_size
            if not length or offset + length > self.arena_end:
                damaged(f"extent at {offset}")
            starts.add(offset)
            if word >> 39:
                regions.append(Region(self, offset, length))
            offset += length
        if not starts.issuperset(words):
            damaged("allocator: a word of its record where no extent begins")
        if len({region.generation for region in regions}) < len(regions):
            damaged("two regions of one generation")
        return sorted(regions, key=lambda region: region.generation)

    def recover(self):
        candidates = {}
        scans = []
        for region in self.regions:
            entry = Entry(self, region, region.slot).scanned(self)
            if region.torn and entry.valid and entry.timestamp <= self.p:
                damaged(f"region at {region.offset}: its newer slot")
            while entry.trusted:
                if entry.valid and entry.timestamp > self.p:
                    candidates.setdefault(entry.timestamp, []).append((entry.epoch, entry, region))
                entry = Entry(self, region, entry.next).scanned(self)
            scans.append((region, entry.offset))
        taken = []
        while True:
            t = self.p + len(taken) + 1
            least = max([taken[-1][0] if taken else 0, self.epoch if t > self.k else 0]
                        + [region.slot_epoch for region in self.regions if region.slot_p < t])
            found = [c for c in candidates.get(t, []) if c[0] >= least]
            if not found:
                break
            taken.append(max(found, key=lambda c: c[0]))
        while taken and taken[-1][1].flags & MORE:
            taken.pop()
        end = self.p + len(taken)
        self.check_damage(end, taken, [c[1] for several in candidates.values() for c in several], scans)
        for _, entry, region in taken:
            region.end = max(region.end, entry.next)
        return end

    def check_damage(self, end, taken, candidates, scans):
        if end < self.k:
            damaged(f"entry of timestamp {end + 1} is missing")
        runs = []
        for epoch, entry, _ in taken[:max(0, self.k - self.p)]:
            if runs and runs[-1][2] == epoch:
                runs[-1][1] = entry.timestamp
            else:
                runs.append([entry.timestamp, entry.timestamp, epoch])
        if self.digest != (crc32c(b"".join(u64(*run) for run in runs)) if runs else 0):
            damaged("the digest of what the last recovery kept")
        for region, offset in scans:
            for behind in range(offset, region.limit, self.alignment):
                entry = Entry(self, region, behind).scanned(self)
                if entry.valid:
                    candidates.append(entry)
        if self.record_p > end:
            damaged(f"the allocator's record knows of timestamp {self.record_p}, but {end} is the last")
        for known in [self.record_epoch] + [region.highest_epoch for region in self.regions]:
            if known > self.epoch:
                damaged(f"a slot or the record is of epoch {known}, the stream of {self.epoch}")
        for region in self.regions:
            if region.vouched > end:
                damaged(f"region at {region.offset}: a slot knows of timestamp {region.vouched}, but {end} is the last")
        for entry in candidates:
            if entry.watermark > end:
                damaged(f"entry at {entry.offset} knows of timestamp {entry.watermark}, but {end} is the last")

    def entries(self, region):
        """What a reader sees: entries, and places that are damaged."""
        offset, last = region.offset + REGION_HEADER, 0
        while offset < region.end:
            entry = Entry(self, region, offset)
            if not entry.trusted or entry.epoch > self.epoch:
                yield {"offset": offset, "damage": "header"}
                offset = self.search(region, offset + self.alignment, last)
                continue
            if not entry.valid or entry.flags & LOST:
                yield {"offset": offset, "damage": "data"}
            elif not entry.flags & FILLER:
                yield {"offset": offset, "timestamp": entry.timestamp, "epoch": entry.epoch, "size": entry.size,
                       "flags": entry.flags, "crc": entry.crc}
            offset, last = entry.next, entry.timestamp

    def search(self, region, offset, last):
        while offset < region.end:
            entry = Entry(self, region, offset)
            if entry.valid and entry.timestamp > last and entry.epoch <= self.epoch and entry.next <= region.end:
                break
            offset += self.alignment
        return offset

    def dump(self):
        return {"status": "ok", "uuid": self.uuid, "block_size": self.block_size, "alignment": self.alignment,
                "size": self.size, "clean": self.clean, "epoch": self.epoch, "P": self.p, "K": self.k, "end": self.end,
                "regions": [{"offset": region.offset, "bytes": region.end_of_extent - region.offset - REGION_HEADER,
                             "free": region.end_of_extent - region.end, "generation": region.generation,
                             "label": region.label, "entries": list(self.entries(region))}
                            for region in self.regions]}


def decode(data):
    """What a stream file holds, as a dictionary; status tells whether it can be opened."""
    try:
        return Stream(data).dump()
    except Refused as refused:
        return {"status": refused.args[0], "message": refused.args[1]}


if __name__ == "__main__":
    with open(sys.argv[1], "rb") as file:
        print(json.dumps(decode(file.read()), indent=1))
