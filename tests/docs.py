"""docs.py BUILD: every exported symbol has its man page, every page its sections, every link and reference its target.

What Meson would install from BUILD decides whether a page exists, so that a page that is written but not listed in
docs/man/meson.build is found, and so is a name that a page documents without being found under it.
"""

import json
import pathlib
import re
import subprocess
import sys
import tempfile

import tap

ROOT = pathlib.Path(__file__).resolve().parent.parent
SECTIONS = {
    "1": ["NAME", "SYNOPSIS", "DESCRIPTION", "EXIT STATUS", "SEE ALSO"],
    "3": ["NAME", "SYNOPSIS", "DESCRIPTION", "RETURN VALUE", "ERRORS", "CRASH CONSISTENCY", "THREAD SAFETY", "SEE ALSO"],
    "5": ["NAME", "DESCRIPTION", "SEE ALSO"],
    "7": ["NAME", "DESCRIPTION", "SEE ALSO"],
}
OURS = re.compile(r"\*{0,2}((?:lib)?(?:pmemstream|pmemlog|miniasync)\w*|(?:data_mover|runtime|vdm|future)_\w+)\*{0,2}\((\d)\)")
LOST = re.compile(r"\*\*_|[.;:)] \* [A-Z*]") # bold that pandoc leaves as it is; items of a list that were wrapped into one
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
CODE = re.compile(r"```.*?```|`[^`]*`", re.DOTALL)


def sections_of(text):
    """A page's top-level sections as {title: body}, in order."""
    parts = re.split(r"^# +(.+?) *#*$", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], (body.strip() for body in parts[2::2])))


def names_of(text):
    """The names that the NAME section lists before its dash."""
    listed = re.split(r"\s+(?:\\?-|--|—|–)\s+", sections_of(text).get("NAME", ""), maxsplit=1)
    return re.findall(r"[\w.]+", listed[0].replace("\\_", "_")) if len(listed) == 2 else []


def examine_page(path, found, declared):
    """What is wrong with one page; found is the set of installed pages, as name.section, declared the headers' text."""
    page, text, problems = path.stem, path.read_text(), []
    section = page.rsplit(".", 1)[-1]
    if section not in SECTIONS:
        return [f"section {section} of the manual has no rule in tests/docs.py"]
    present = sections_of(text)
    problems += [f"section {title} is missing" for title in SECTIONS[section] if title not in present]
    problems += [f"section {title} is empty" for title, body in present.items() if not body]
    order = [title for title in present if title in SECTIONS[section]]
    if order != [title for title in SECTIONS[section] if title in present]:
        problems.append(f"sections are not in the order {', '.join(SECTIONS[section])}")
    names = names_of(text)
    if page.rsplit(".", 1)[0] not in names:
        problems.append("section NAME does not read 'name, name - what they do' with the page's own name among them")
    problems += [f"documents {name} but is not found as {name}({section}): list it in docs/man/meson.build"
                 for name in names if f"{name}.{section}" not in found]
    if section == "3":
        synopsis = present.get("SYNOPSIS", "")
        for name in names:
            for text_of, where in ((synopsis, "SYNOPSIS"), (declared, "include/")):
                if not re.search(rf"\b{re.escape(name)}\b", text_of):
                    problems.append(f"{where} does not declare {name}")
    problems += [f"refers to {name}({number}), which is no page" for name, number in
                 sorted({m.groups() for m in OURS.finditer(text.replace("\\_", "_"))}) if f"{name}.{number}" not in found]
    problems += [f"'{lost}' does not come out as it is meant: write **\\_name**, and each item on a line of its own"
                 for lost in LOST.findall(CODE.sub("", text))]
    return problems


def broken_links(path):
    """The relative links of a Markdown file that lead nowhere."""
    for target in LINK.findall(CODE.sub("", path.read_text())):
        if not re.match(r"[a-z]+:|#", target) and not (path.parent / target.split("#")[0]).exists():
            yield f"{path.relative_to(ROOT) if ROOT in path.parents else path}: {target} does not exist"


def installed_pages(build):
    """The man pages that Meson would install, as name.section."""
    plan = subprocess.run(["meson", "introspect", "--installed", str(build)], check=True, capture_output=True, text=True)
    return {pathlib.Path(target).name for target in json.loads(plan.stdout).values() if "/man/man" in target}


PAGE = """# NAME
toy_open, toy_shut - open and shut a toy
# SYNOPSIS
    int toy_open(void); int toy_shut(void);
# DESCRIPTION
text
# RETURN VALUE
text
# ERRORS
text
# CRASH CONSISTENCY
text
# THREAD SAFETY
text
# SEE ALSO
**runtime_wait**(3), **libpmem2**(7)
"""
HEADERS = "int toy_open(void);\nint toy_shut(void);\n"
PAGES = {"toy_open.3", "toy_shut.3", "runtime_wait.3"}
PLANTED = [
    ("a page without ERRORS is found", PAGE.replace("# ERRORS\ntext\n", ""), PAGES, "section ERRORS is missing"),
    ("an empty section is found", PAGE.replace("# ERRORS\ntext\n", "# ERRORS\n"), PAGES, "section ERRORS is empty"),
    ("sections in a strange order are found", PAGE.replace("SYNOPSIS", "X").replace("ERRORS", "SYNOPSIS").replace("# X", "# ERRORS"),
     PAGES, "not in the order"),
    ("a page without its own name is found", PAGE.replace("toy_open, ", ""), PAGES, "own name among them"),
    ("a name without a page is found", PAGE, PAGES - {"toy_shut.3"}, "not found as toy_shut(3)"),
    ("a function that SYNOPSIS lacks is found", PAGE.replace("int toy_shut(void);", ""), PAGES, "does not declare toy_shut"),
    ("a function that no header has is found", PAGE.replace("toy_shut", "toy_lost"), PAGES, "include/ does not declare toy_lost"),
    ("bold that is lost is found", PAGE + "**_next** goes on\n", PAGES, "does not come out"),
    ("a list that was wrapped is found", PAGE + "* One. * Two.\n", PAGES, "does not come out"),
    ("a reference to no page is found", PAGE, PAGES - {"runtime_wait.3"}, "refers to runtime_wait(3)"),
]


def self_test():
    with tempfile.TemporaryDirectory() as folder:
        page = pathlib.Path(folder) / "toy_open.3.md"
        page.write_text(PAGE)
        tap.case("a sound page has no fault", examine_page(page, PAGES, HEADERS))
        for claim, text, pages, expected in PLANTED:
            page.write_text(text)
            faults = examine_page(page, pages, HEADERS)
            tap.case(claim, "" if any(expected in line for line in faults) else f"expected '{expected}', found {faults}")
        page.write_text("[a](gone.md) `[b](code.md)` [c](https://example.org/) [d](#here)")
        tap.case("a broken link is found, and only that", "" if len(list(broken_links(page))) == 1 else "not found")


def main():
    found = installed_pages(ROOT / sys.argv[1])
    declared = "\n".join(path.read_text() for path in (ROOT / "include").rglob("*.h"))
    for path in sorted((ROOT / "docs" / "man").glob("*.md")):
        tap.case(f"{path.stem} is whole", examine_page(path, found, declared))
    for path in sorted((ROOT / "tests" / "abi").glob("*.symbols")):
        symbols = re.findall(r"^(\w+)@", path.read_text(), re.MULTILINE)
        tap.case(f"each of the {len(symbols)} symbols of {path.stem} has its man page",
                 [f"{symbol}(3) is missing" for symbol in symbols if f"{symbol}.3" not in found])
    texts = [p for p in sorted(ROOT.rglob("*.md")) if "build" not in p.relative_to(ROOT).parts]
    tap.case(f"every link in {len(texts)} Markdown files leads somewhere",
             [line for path in texts for line in broken_links(path)])
    index = ROOT / "docs" / "README.md"
    tap.case("docs/README.md names every document", [f"{p.relative_to(ROOT)} is not linked" for p in texts
             if p.parent.name in ("design", "format") and f"({p.relative_to(ROOT / 'docs')})" not in index.read_text()])
    self_test()
    tap.done()


if __name__ == "__main__":
    main()
