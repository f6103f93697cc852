"""breaks.py BUILD [--only REGEX]

Takes the rules and the steps of crash recovery out of the engine, one by one, and expects test_crash_rules to miss each.

A break is a line of the source and what stands in its place. The file is compiled into an object of its own and linked
in front of the library: nothing in the tree or the build folder changes. A break whose line is not in the source any
more fails: move it along. REDUNDANT are those that no test can miss, with the reason.
"""

import argparse
import concurrent.futures
import json
import os
import pathlib
import re
import shlex
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import tap  # pylint: disable=wrong-import-position

SOURCE = pathlib.Path(__file__).resolve().parent.parent.parent / "src" / "stream"

BREAKS = [
    # What recovery reads, and believes.
    ("timestamps above K need the epoch E", "recover_scan.c",
     "chosen.timestamp > slot->kept && slot->epoch > epoch ? slot->epoch : epoch", "epoch"),
    ("the epoch never falls along the run", "recover_scan.c", "epoch = chosen.epoch;", ";"),
    ("a region slot's epoch binds the timestamps behind it", "recover_scan.c",
     "if (recovery->regions[r].slot.epoch > epoch)", "if (false)"),
    ("of one timestamp the higher epoch wins", "recover_scan.c",
     "return left->epoch > right->epoch ? -1 : 1;", "return left->epoch < right->epoch ? -1 : 1;"),
    ("the run is dense", "recover_scan.c", "candidates[i].timestamp == timestamp + 1", "true"),
    ("the run ends outside of a batch", "recover_scan.c", "if (!chosen.more)", ""),
    ("a run that ends before K is damage", "recover_scan.c", "recovery->kept < slot->kept", "false"),
    ("the digest of the kept run is compared", "recover_scan.c",
     "digest_of(recovery, slot->kept) != slot->digest", "false"),
    ("watermarks above the run are damage", "recover_scan.c", "recovery->watermark > recovery->kept", "false"),
    ("evidence is searched behind a bad header", "recover_scan.c", "off < limit_off && !recovery->live", "false"),
    ("the data of a candidate are checked", "recover_scan.c",
     "(entry->flags & (FORMAT_FILLER | FORMAT_LOST)) || format_data_crc(data, entry->size) == entry->data_crc", "true"),
    ("an epoch above the stream's is damage", "recover_scan.c",
     "if (entry->epoch <= recovery->slot.epoch)", "if (true)"),
    ("a bad slot that was needed is damage", "recover_scan.c", "if (!found->torn || ", "if (true || "),
    ("tails are set behind what was kept", "recover_scan.c", "region->tail_off = end_off;", ";"),
    ("slots of incomplete rounds are ignored", "recover_read.c",
     "slots[i].round <= recovery->slot.round && ", ""),
    ("the stream slot with the higher sequence counts", "recover_read.c",
     "slots[1].sequence > slots[0].sequence", "slots[1].sequence < slots[0].sequence"),
    ("the record counts only in its epoch", "recover_read.c",
     "recovery->record.epoch == recovery->slot.epoch", "true"),
    ("the record that counts is applied", "recover_read.c",
     "recovery->pending && i < recovery->record.count; i++)\n\t\tif (recovery",
     "false; i++)\n\t\tif (recovery"),
    ("CLEAN needs every slot", "recover_read.c", "(recovery->slot.flags & FORMAT_CLEAN) && !torn",
     "recovery->slot.flags & FORMAT_CLEAN"),
    # What recovery makes durable.
    ("header copies are made durable", "recover_write.c",
     "durable_add_read(durable, offs[i], sizeof(encoded));\n\t\t\tcontinue;", "continue;"),
    ("the stream slot is made durable", "recover_write.c",
     "durable_add_read(&durable, FORMAT_STREAM_SLOT_OFF + (uint64_t)stream->stream_slot * FORMAT_STREAM_SLOT_STRIDE,\n"
     "\t\t\t FORMAT_SLOT_BYTES);", ""),
    ("the record is made durable", "recover_write.c",
     "durable_add_read(&durable, FORMAT_RECORD_OFF, FORMAT_RECORD_BYTES);", ""),
    ("the allocator's numbers are made durable", "recover_write.c",
     "durable_add_read(&durable, FORMAT_APPLIED_OFF, 2 * sizeof(uint64_t));", ""),
    ("extent words are made durable", "recover_write.c",
     "durable_add_read(&durable, extents_get(&stream->extents, i).off, sizeof(uint64_t));", ""),
    ("region headers with slots and limits are made durable", "recover_write.c",
     "durable_add_read(&durable, found->region->off, FORMAT_REGION_HEADER_BYTES);", ""),
    ("kept entries are made durable", "recover_write.c",
     "durable_add_read(&durable, recovery->candidates[i].off, recovery->candidates[i].bytes);", ";"),
    ("limits are raised over kept entries", "recover_write.c", "if (tail_off > found->region->limit_off)",
     "if (false)"),
    ("a torn slot is written anew", "recover_write.c", "if (found->torn)", "if (false)"),
    ("all that was kept is durable before the next step", "recover_write.c", "return durable_end(&durable);",
     "return 0;"),
    ("a pending record is applied", "recover_write.c", "recovery->pending && allocator_apply", "false && allocator_apply"),
    ("the epoch rises", "recover_write.c", ".epoch = recovery->slot.epoch + 1", ".epoch = recovery->slot.epoch"),
    ("K is the end of the run", "recover_write.c", ".kept = recovery->kept", ".kept = recovery->slot.kept"),
    ("rounds are numbered above all seen", "recover_write.c", "stream->round = recovery->highest_round;",
     "stream->round = recovery->slot.round;"),
    # Rounds, allocation, creation.
    ("the stream slot is durable when it counts", "checkpoint.c",
     "if (durable_copy(stream, off, encoded, sizeof(encoded)))\n\t\treturn -1;",
     "medium_copy(&stream->medium, stream_at(stream, off), encoded, sizeof(encoded));"),
    ("region slots are durable before the stream slot", "checkpoint.c",
     "durable_end(&durable) || checkpoint_write_stream_slot", "checkpoint_write_stream_slot"),
    ("a round writes the slot that is not needed", "checkpoint.c", "unsigned other = 1 - stream->stream_slot;",
     "unsigned other = stream->stream_slot;"),
    ("a round writes the region slot that is not needed", "checkpoint.c",
     "FORMAT_REGION_SLOT_OFF + (1U - region->slot) * FORMAT_SLOT_BYTES",
     "FORMAT_REGION_SLOT_OFF + region->slot * FORMAT_SLOT_BYTES"),
    ("a round never points past persisted", "checkpoint.c", "if (place.off < place.region->round_off)", "if (false)"),
    ("freeing waits for the region's timestamps", "allocator.c", "persist_until(stream, last, UINT64_MAX) || ", ""),
    ("freeing completes a round first", "allocator.c", "|| checkpoint_round(stream, 0)", ""),
    ("the record is durable before its words", "allocator.c",
     "if (durable_copy(stream, FORMAT_RECORD_OFF, encoded, sizeof(encoded)))\n\t\treturn -1;",
     "medium_copy(&stream->medium, stream_at(stream, FORMAT_RECORD_OFF), encoded, sizeof(encoded));"),
    ("its words are durable before the number", "allocator.c",
     "if (durable_end(&durable))\n\t\treturn -1;\n\tuint64_t number", "uint64_t number"),
    ("the number is durable when the call returns", "allocator.c",
     "if (durable_copy(stream, FORMAT_APPLIED_OFF, &number, sizeof(number)))\n\t\treturn -1;",
     "medium_copy(&stream->medium, stream_at(stream, FORMAT_APPLIED_OFF), &number, sizeof(number));"),
    ("a region's header is durable before the record", "allocator.c",
     "return durable_copy(stream, off + FORMAT_REGION_LIMIT_OFF, header + FORMAT_REGION_LIMIT_OFF,\n"
     "\t\t\t    sizeof(header) - FORMAT_REGION_LIMIT_OFF);",
     "medium_copy(&stream->medium, stream_at(stream, off + FORMAT_REGION_LIMIT_OFF), header + "
     "FORMAT_REGION_LIMIT_OFF, sizeof(header) - FORMAT_REGION_LIMIT_OFF); return 0;"),
    ("the real magic is stored last", "create.c", "if (durable_end(&durable))\n\t\treturn -1;\n\treturn durable_copy",
     "return durable_copy"),
    ("a creation begins with its own magic", "create.c",
     "if (durable_copy(stream, 0, FORMAT_MAGIC_NEW, 8))\n\t\treturn -1;", ""),
    # Appending.
    ("a limit is raised", "window.c", "region->limit_off = limit_off;", "region->limit_off = limit_off;\n\treturn;"),
    ("a failed sync is latched", "group.c", "stream_latch_failure(stream);", ";"),
    ("persisted moves only over what is finished", "window.c",
     "if (!word || slot_state(word) == SLOT_TAKEN)\n\t\t\tbreak;", "if (!word)\n\t\t\tbreak;"),
    ("a fence covers what others copied in front", "persist.c", "window_scan(stream, first - 1, true, &scan);",
     "window_scan(stream, first - 1, false, &scan);"),
]

REDUNDANT = {
    "a run that ends before K is damage": "the digest of a shorter run differs; this one names the place",
    "the epoch never falls along the run": "up to K the digest names the epochs, and above K there is E alone",
    "a region slot's epoch binds the timestamps behind it":
        "up to K the digest names the epochs, and above K there is E alone",
    "extent words are made durable":
        "words in front of the applied number were fenced before it, and those of a record that counts are stored anew",
    "rounds are numbered above all seen":
        "a slot with a higher number covers entries that were durable, so its region has grown and is written anew",
}

PASSES = "every test passes without it"


def commands(build, source):
    """(how to compile a file of the engine to OBJECT, how to link the test to PROGRAM)"""
    database = json.loads((build / "compile_commands.json").read_text())
    entry = next(e for e in database
                 if os.path.realpath(os.path.join(e["directory"], e["file"])) == str(SOURCE / source)
                 and "libstream_internal" in e["output"])
    words = shlex.split(entry["command"])
    compiling = []
    while words:
        word = words.pop(0)
        if word in ("-MF", "-MQ", "-o", "-c"):
            words.pop(0)
        elif word != "-MD":
            compiling.append(word)
    shown = subprocess.run(["ninja", "-C", build, "-t", "commands", "tests/crash/test_crash_rules"],
                           capture_output=True, text=True, check=True).stdout
    linking = shlex.split(shown.strip().splitlines()[-1])
    return compiling + ["-w", "-c"], linking


def missed(build, folder, number, source, old, new):
    """None, or why the break was not found."""
    text = (SOURCE / source).read_text()
    if text.count(old) < 1:
        return f"{source} has no such line: {old}"
    changed = folder / f"{number}_{source}"
    changed.write_text(text.replace(old, new, 1))
    compiling, linking = commands(build, source)
    broken, program = str(changed) + ".o", str(folder / f"test_{number}")
    done = subprocess.run([*compiling, str(changed), "-o", broken], cwd=build, capture_output=True, text=True, check=False)
    if done.returncode:
        return done.stderr
    at = linking.index("-o")
    linking[at + 1:at + 2] = [program, broken]
    done = subprocess.run(linking, cwd=build, capture_output=True, text=True, check=False)
    if done.returncode:
        return done.stderr
    try:
        ran = subprocess.run([program], cwd=folder, capture_output=True, text=True, timeout=300, check=False,
                             errors="replace", env={**os.environ, "CMOCKA_MESSAGE_OUTPUT": "TAP",
                             "LD_LIBRARY_PATH": str(build / "src" / "miniasync")})
    except subprocess.TimeoutExpired:
        return None
    finally:
        pathlib.Path(program).unlink()
    found = re.findall(r"^not ok \d+ - (\w+)", ran.stdout, re.M)
    if not ran.returncode:
        return PASSES
    print(f"# {', '.join(found) or f'status {ran.returncode}'}")
    return None


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("--only", default="")
    parser.add_argument("build", type=pathlib.Path)
    arguments = parser.parse_args()
    build = arguments.build.resolve()
    chosen = [b for b in BREAKS if re.search(arguments.only, b[0])]

    with tempfile.TemporaryDirectory() as folder, concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        control = missed(build, pathlib.Path(folder), "control", "format.c", "/*", "/*")
        tap.case("the engine as it is passes", "" if control == PASSES else control or "a test fails")
        results = pool.map(lambda item: missed(build, pathlib.Path(folder), item[0], *item[1][1:]), enumerate(chosen))
        for (claim, *_), why in zip(chosen, results):
            if claim in REDUNDANT:
                tap.case(f"{claim}: not needed, since {REDUNDANT[claim]}", "" if why else "a test fails without it")
            else:
                tap.case(f"{claim}: missed", why or "")
    tap.done()


if __name__ == "__main__":
    sys.exit(main())
