"""A program that records outcomes, one after another, and tells each one that is acknowledged.

`python -m tests.serving.experiments.store.writer URL FIRST LAST` records those of these numbers. While the database
does not answer, it tries again.
"""

import contextlib
import functools
import sys
import time

from lob_jax.serving.experiments.store.errors import Unavailable
from lob_jax.serving.experiments.store.store import Store
from tests.serving.experiments.store.made import EXPERIMENT, outcome

UNITS = 3


def sent(number):
    """Return the outcome of a number."""
    return outcome(f"{number}", unit=f"{number % UNITS}", events=1 + number * 7 % 19)


def begin(store):
    """Create the experiment, and assign its units in their order."""
    store.create(EXPERIMENT)
    for number in range(UNITS):
        store.assign(EXPERIMENT, f"{number}", at_s=2_000.0)


def until_answered(ask):
    """Ask until the database answers."""
    while True:
        with contextlib.suppress(Unavailable):
            return ask()
        time.sleep(0.02)


def main(url, first, last):
    """Record the outcomes of numbers, and print each number when it is acknowledged."""
    store = Store(url)
    until_answered(functools.partial(begin, store))
    for number in range(first, last + 1):
        until_answered(functools.partial(store.record, EXPERIMENT, sent(number), at_s=float(number)))
        print(number, flush=True)
    store.close()


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
