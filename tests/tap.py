"""What the checks in this folder share: each prints its cases as TAP lines, and fails if one of them failed."""

import sys

_failed = 0
_count = 0


def case(claim, problems):
    """Prints one case; problems is a string or a list of strings, empty if the claim holds."""
    global _failed, _count
    if isinstance(problems, str):
        problems = [problems] if problems else []
    _count += 1
    print(f"{'not ' if problems else ''}ok {_count} - {claim}")
    for problem in problems:
        for line in problem.rstrip().splitlines():
            print(f"# {line}")
    if problems:
        _failed += 1
    sys.stdout.flush()


def done():
    print(f"1..{_count}")
    sys.exit(1 if _failed else 0)
