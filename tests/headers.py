"""Compiles each installed header alone, as C99, C11, C++11, C++17 and C++20, by gcc and by clang: none leans on what
another includes, and none warns in a program whose owner asks for many warnings.

Strict modes without _GNU_SOURCE, because a caller's program defines what it likes. Each header is included twice, which
finds a missing guard. The last cases plant headers that must fail.
"""

import pathlib
import subprocess
import tempfile

import tap

ROOT = pathlib.Path(__file__).resolve().parent.parent
COMPILERS = {"c": ["gcc", "clang"], "c++": ["g++", "clang++"]}
STANDARDS = {"c": ["c99", "c11"], "c++": ["c++11", "c++17", "c++20"]}
MODES = [(compiler, language, standard) for language in COMPILERS
         for standard in STANDARDS[language] for compiler in COMPILERS[language]]
WARNINGS = ["-Wpedantic", "-Wall", "-Wextra", "-Wconversion", "-Wsign-conversion", "-Wshadow", "-Wundef", "-Wcast-qual",
            "-Werror"]
# clang has no "strict": its plain warning looks at the types alone, as gcc's strict one does.
WARNINGS_OF = {
    "c": ["-Wstrict-prototypes", "-Wmissing-prototypes"],
    "c++": ["-Wold-style-cast"],
    "gcc": ["-Wcast-align=strict"], "g++": ["-Wcast-align=strict"],
    "clang": ["-Wcast-align"], "clang++": ["-Wcast-align"],
}


def compile_alone(include, header, compiler, language, standard):
    """What the compiler says of a source that consists of the header; empty if nothing."""
    source = f"#include <{header}>\n#include <{header}>\n"
    done = subprocess.run([compiler, "-x", language, f"-std={standard}", *WARNINGS, *WARNINGS_OF[language],
                           *WARNINGS_OF[compiler], "-fsyntax-only", "-I", include, "-"],
                          input=source, capture_output=True, text=True, check=False)
    return done.stderr or ("" if done.returncode == 0 else f"{compiler} failed")


def self_test():
    planted = {
        "a header that leans on another is found": "size_t f(void);\n",
        "a header without a guard is found": "struct twice { int member; };\n",
        "a header that is no strict C11 is found": "#ifndef H\n#define H\ntypedef typeof(1) number;\n#endif\n",
        "a header that is no C++ is found": "#ifndef H\n#define H\nint f(int class);\n#endif\n",
        "a header that casts in the style of C is found":
            "#ifndef H\n#define H\nstatic inline int f(double d) { return (int)d; }\n#endif\n",
        "a header that casts to a stricter alignment is found":
            "#if !defined(H) && !defined(__cplusplus)\n#define H\n"
            "static inline int *f(char *c) { return (int *)c; }\n#endif\n",
    }
    with tempfile.TemporaryDirectory() as folder:
        for claim, text in planted.items():
            (pathlib.Path(folder) / "planted.h").write_text(text)
            problems = [compile_alone(folder, "planted.h", *mode) for mode in MODES]
            tap.case(claim, "" if any(problems) else "not found")


def main():
    include = ROOT / "include"
    for path in sorted(include.rglob("*.h")):
        header = path.relative_to(include)
        for mode in MODES:
            tap.case(f"{header} compiles alone as {mode[2]} by {mode[0]}", compile_alone(include, header, *mode))
    strange = [str(p.relative_to(ROOT)) for p in include.rglob("*")
               if p.is_file() and p.suffix != ".h" and p != include / "meson.build"]
    tap.case("include/ holds headers only", strange)
    self_test()
    tap.done()


if __name__ == "__main__":
    main()
