"""Reads the #include lines of src/ and include/ and fails on an arrow that the table in src/README.md does not allow.

The table is the rule: a folder may include itself, the folders that its row names, and public headers if the row says
so. A row may name only rows above it, so that no circle can be allowed. A public header includes public headers only.
Stores to media have one seam: what writes back, flushes or fences is called in medium/ alone (miniasync/, which stands
on public headers only, carries a mover's flush of its own).

The last cases plant violations in a copy of the smallest possible tree and expect to find each.
"""

import os
import pathlib
import re
import tempfile

import tap

ROOT = pathlib.Path(__file__).resolve().parent.parent
ROW = re.compile(r"^\|\s*`(\w+)/`\s*\|[^|]*\|([^|]*)\|\s*$")
INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]', re.MULTILINE)
SEAM = re.compile(r"\b(msync|pmem2_get_\w+_fn|_mm_[sm]fence|_mm_clwb|_mm_clflush\w*|_mm\d*_stream_\w+)\s*\(")
SEAM_FOLDERS = {"medium", "miniasync"}
COMMENT = re.compile(r"/\*.*?\*/|//[^\n]*", re.DOTALL)


def read_table(readme):
    """The rules as {folder: set of what it may include}; problems as a list."""
    rules, problems = {}, []
    for line in readme.read_text().splitlines():
        row = ROW.match(line)
        if not row:
            continue
        folder, allowed = row.group(1), row.group(2)
        names = set(re.findall(r"`(\w+)/`", allowed))
        for name in sorted(names - set(rules)):
            problems.append(f"{readme}: {folder}/ may include {name}/, which is no row above it")
        rules[folder] = names | ({"public"} if "public headers" in allowed else set())
    if not rules:
        problems.append(f"{readme}: no table of folders found")
    return rules, problems


def owner(root, source, quote, name):
    """Which part of the project an included name belongs to: a folder of src/, "public", or None for the system."""
    places = [source.parent] if quote == '"' else []
    for place in places + [root / "include", root / "src"]:
        path = pathlib.Path(os.path.normpath(place / name))
        if not path.is_file():
            continue
        if root / "include" in path.parents:
            return "public"
        if root / "src" in path.parents:
            return path.relative_to(root / "src").parts[0]
    return "nowhere" if quote == '"' else None


def examine(root):
    """All violations below root, as strings."""
    rules, problems = read_table(root / "src" / "README.md")
    sources = sorted(p for top in ("src", "include") for p in (root / top).rglob("*.[ch]"))
    for source in sources:
        where = source.relative_to(root)
        folder = "public" if where.parts[0] == "include" else where.parts[1]
        if folder != "public" and folder not in rules:
            problems.append(f"{where}: src/README.md has no row for {folder}/")
            continue
        text = source.read_text()
        allowed = {"public"} if folder == "public" else rules[folder] | {folder}
        for quote, name in INCLUDE.findall(text):
            target = owner(root, source, quote, name)
            if ".." in pathlib.PurePath(name).parts:
                problems.append(f"{where}: includes {name}: write it from src/, not by ..")
            elif target == "nowhere":
                problems.append(f"{where}: includes {name}, which is neither in src/ nor in include/")
            elif target is not None and target not in allowed:
                problems.append(f"{where}: includes {name}: {folder} may not use {target}")
        if folder not in SEAM_FOLDERS:
            for call in sorted({m.group(1) for m in SEAM.finditer(COMMENT.sub("", text))}):
                problems.append(f"{where}: calls {call}; only src/medium may")
    return problems


PLANTED = [
    # claim, {file: text}, what the one violation must say
    ("an upward include is found", {"src/low/low.c": '#include "high/high.h"\n'}, "low may not use high"),
    ("an upward include in angle brackets is found", {"src/low/low.c": "#include <high/high.h>\n"}, "low may not use high"),
    ("an upward include behind blanks is found", {"src/low/low.c": '  #  include "high/high.h"\n'}, "low may not use high"),
    ("a way around by .. is found", {"src/low/low.c": '#include "../high/high.h"\n'}, "not by .."),
    ("a public header used where none may be is found", {"src/low/low.c": "#include <door.h>\n"}, "low may not use public"),
    ("an internal header in a public one is found", {"include/door.h": '#include "low/low.h"\n'}, "public may not use low"),
    ("a folder without a row is found", {"src/new/new.c": "\n"}, "no row for new/"),
    ("an include of nothing is found", {"src/high/high.c": '#include "gone.h"\n'}, "neither in src/ nor"),
    ("a store past the seam is found", {"src/high/high.c": "int f(void) { return msync(0, 0, 0); }\n"}, "calls msync"),
    ("a table with an upward arrow is found",
     {"src/README.md": "| `low/` | x | `high/` |\n| `high/` | x | `low/`, public headers |\n"}, "no row above it"),
    ("a table that cannot be read is found", {"src/README.md": "no table\n"}, "no table of folders"),
]
SOUND = {
    "src/README.md": "| folder | one sentence | may include |\n|---|---|---|\n"
                     "| `low/` | x | nothing of ours |\n| `high/` | x | `low/`, public headers |\n",
    "src/low/low.h": "/* msync( in a comment is none */\n",
    "src/low/low.c": '#include "low/low.h"\n#include <stdio.h>\n',
    "src/high/high.h": "\n",
    "src/high/high.c": '#include "high.h"\n#include "low/low.h"\n#include <door.h>\n',
    "include/door.h": "#include <stddef.h>\n",
}


def plant(files):
    """The violations of the sound tree with some files laid over it."""
    with tempfile.TemporaryDirectory() as folder:
        root = pathlib.Path(folder).resolve()
        for name, text in {**SOUND, **files}.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return examine(root)


def main():
    tap.case("every include of src/ and include/ points the way that src/README.md allows", examine(ROOT))
    tap.case("a sound tree has no violation", plant({}))
    for claim, files, expected in PLANTED:
        found = plant(files)
        tap.case(claim, "" if any(expected in line for line in found) else f"expected '{expected}', found {found}")
    tap.done()


if __name__ == "__main__":
    main()
