"""Which of the slow tests a commit runs: a part of them, chosen by its hash, so that commits take turns.

Neighbours, such as the variants of a test, are in different parts. With LOB_JAX_FULL=1 all of them run.
`python -m tests.rotation` prints the part of the commit that is checked out, from 0, or "all".
"""

import os
import pathlib
import subprocess
from collections.abc import Iterable

PARTS = 12
# What a newcomer does first, what goes through several runs, what a server on an open port has to stand, and what must
# not be lost when it is killed.
ALWAYS = (
    "tests/test_install.py",
    "tests/runs/test_own_flow.py",
    "tests/runs/test_source.py",
    "tests/runs/test_exported.py",
    "tests/serving/load/",
    "tests/serving/fuzz/",
    "tests/serving/http/trials/test_crashes.py",
    "tests/serving/experiments/store/test_killed.py",
)


def commit() -> str:
    """Return the hash of the commit that is checked out, zeros where there is none."""
    root = pathlib.Path(__file__).resolve().parents[1]
    found = subprocess.run(["git", "rev-parse", "HEAD"], cwd=root, capture_output=True, text=True)
    return found.stdout.strip() if found.returncode == 0 else "0" * 40


def part_of(name: str) -> int | None:
    """Return which part of the slow tests the commit of a name runs, from 0; None for all of them."""
    return None if os.environ.get("LOB_JAX_FULL") == "1" else int(name, 16) % PARTS


def left_out(slow_tests: Iterable[str], part: int | None) -> set[str]:
    """Return which of the slow tests, by their node ids in the order of the suite, another part runs."""
    if part is None:
        return set()
    in_turns = [test for test in slow_tests if not test.startswith(ALWAYS)]
    return {test for position, test in enumerate(in_turns) if position % PARTS != part}


if __name__ == "__main__":
    chosen = part_of(commit())
    print("all" if chosen is None else chosen)
