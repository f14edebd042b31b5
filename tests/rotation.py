"""Which variants of the slow tests a commit runs: a part of them, chosen by its hash, so that commits take turns.

A slow test of three or more parameter sets is a group of variants, and so are the slow tests of all benchmarks. With
LOB_JAX_FULL=1 all of them run.
"""

import collections
import os
import pathlib
import subprocess
from collections.abc import Iterable

PARTS = 3
FEWEST = 3  # variants that are worth taking turns
BENCHMARKS = "tests/bench/"


def commit() -> str:
    """Return the hash of the commit that is checked out, zeros where there is none."""
    root = pathlib.Path(__file__).resolve().parents[1]
    found = subprocess.run(["git", "rev-parse", "HEAD"], cwd=root, capture_output=True, text=True)
    return found.stdout.strip() if found.returncode == 0 else "0" * 40


def part_of(name: str) -> int | None:
    """Return which part of the variants the commit of a name runs, from 0; None for all of them."""
    return None if os.environ.get("LOB_JAX_FULL") == "1" else int(name, 16) % PARTS


def left_out(slow_tests: Iterable[str], part: int | None) -> set[str]:
    """Return which of the slow tests, by their node ids, another part runs."""
    groups = collections.defaultdict(list)
    for test in slow_tests:
        groups[BENCHMARKS if test.startswith(BENCHMARKS) else test.partition("[")[0]].append(test)
    return {
        test
        for group in groups.values()
        for position, test in enumerate(group)
        if part is not None and len(group) >= FEWEST and position % PARTS != part
    }
