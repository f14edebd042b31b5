"""Feed a server simulated events, and then drifted ones: `python -m lob_jax.serving.monitoring.show_drift --help`.

It shows alerts at work, with a model of the simulator such as the demo's. Drifted events have sizes three times as
large, and gaps five times as long.
"""

import argparse
import dataclasses
import os
import pathlib
import sys
from collections.abc import Sequence
from typing import Any

import httpx

from lob_jax.book.day import MarketDay
from lob_jax.console import console
from lob_jax.feeds.synthetic import simulate_day
from lob_jax.serving.client import Client, Problem
from lob_jax.serving.days import opening_of, records_of
from lob_jax.simulation.flow_parameters import FlowParameters

LARGER, SLOWER = 3, 5  # of sizes and gaps
SEED = 1_000_003  # of a day that no model has been trained on
AT_ONCE = 100  # events of an addition
EXIT_FAILED = 1


def drifted(day: MarketDay) -> MarketDay:
    """Return a day whose sizes are LARGER times as large, and whose gaps are SLOWER times as long."""
    events, start = day.events, day.start
    times = start.time_ns + SLOWER * (events.time_ns - start.time_ns)
    larger = dataclasses.replace(start, size=LARGER * start.size)
    return dataclasses.replace(day, start=larger, events=events.replace(size=LARGER * events.size, time_ns=times))


def feed(client: Client, day: MarketDay, *, events: int) -> int:
    """Let a session follow the first events of a day; return how many it has followed."""
    with client.session(opening_of(day)) as session:
        state: dict[str, Any] = {"events": 0}
        for first in range(0, min(events, len(day.events)), AT_ONCE):
            last = min(first + AT_ONCE, events)
            part = dataclasses.replace(
                day, events=day.events[first:last], corrections=day.corrections.between(first, last)
            )
            state = session.feed(records_of(part))
        return state["events"]


def _arguments(argv: Sequence[str] | None) -> Any:
    parser = argparse.ArgumentParser(prog="python -m lob_jax.serving.monitoring.show_drift", description=__doc__)
    parser.add_argument("--url", default="http://127.0.0.1:8000", help="the server")
    parser.add_argument("--keyfile", type=pathlib.Path, help="a file that holds a key; the variable KEY otherwise")
    parser.add_argument("--events", type=int, default=10_000, help="events that are fed, of each of the two days")
    parser.add_argument("--a-day", type=int, default=40_000, help="events of a simulated day, as in training")
    parser.add_argument("--normal", action="store_true", help="feed normal events alone")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return the exit status."""
    given = _arguments(argv)
    key = given.keyfile.read_text().strip() if given.keyfile else os.environ.get("KEY", "")
    day = simulate_day(FlowParameters(), seed=SEED, events=given.a_day, trading_day="2024-03-11")
    try:
        with Client(given.url, key) as client:
            console.print(f"{feed(client, day, events=given.events):,} normal events fed")
            if not given.normal:
                console.print(f"{feed(client, drifted(day), events=given.events):,} drifted events fed")
    except (Problem, httpx.HTTPError) as error:
        sys.stderr.write(f"error: {given.url}: {error}\n")
        return EXIT_FAILED
    return 0


if __name__ == "__main__":
    sys.exit(main())
