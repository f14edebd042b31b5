"""Measure how fast token sets are found on one core, and what real days put outside them.

`python -m lob_jax.bench.sets --lobster MESSAGE --tardis DEPTH ...` reads the first `--events` events of each file;
`--synthetic` adds a simulated day. Every day is measured in a separate process pinned to one core: once to compile,
then `--repeat` times; the results are medians. The table counts the events that escape from their sets, by reason and
kind.
"""

import argparse
import functools
import json
import os
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from lob_jax.bench.processes import MIB, alone
from lob_jax.bench.surroundings import surroundings, user_path
from lob_jax.bench.tokenize import measure as median_seconds
from lob_jax.book.day import MarketDay
from lob_jax.book.replay import reference_runs
from lob_jax.data.records.stored_sets import read_sets, stored, stores_sets
from lob_jax.errors import InputError
from lob_jax.events.schema import Kind
from lob_jax.feeds.feed import STRICT
from lob_jax.feeds.format import FEEDS
from lob_jax.feeds.synthetic import SyntheticFeed
from lob_jax.tokens import vocabulary as v
from lob_jax.tokens.compact import CompactTokenizer
from lob_jax.tokens.exact import ExactTokenizer
from lob_jax.tokens.seen import seen_in
from lob_jax.tokens.sets.escape import Escape
from lob_jax.tokens.sets.token_sets import TokenSets
from lob_jax.tokens.tokenizer import Tokenizer

FILE_FEEDS = ("lobster", "itch", "tardis", "binance", "databento")
PACKED_ROWS = 2_000  # rows whose bits are timed


def day_of(feed: str, path: pathlib.Path | None, events: int) -> MarketDay:
    """Return the first events of a day; without a path, of a simulated one."""
    if path is None:
        simulated = SyntheticFeed(1, events, 0)
        day = simulated.read(simulated.days()[0], STRICT)
    else:
        day = FEEDS[feed].feed().read(path, STRICT)
    if not len(day.events):
        raise InputError(
            "a day without events has no sets to measure",
            where=path,
            expected="at least one event",
            was=0,
            remedy="leave the file out",
        )
    return day.part(0, min(events, len(day.events)), start=day.start)


def escapes(day: MarketDay, tokens: np.ndarray, sets: TokenSets) -> dict[str, dict[str, int]]:
    """Return the number of events that escape, by reason and kind."""
    at = np.flatnonzero(sets.outside)
    event, first = np.unique(v.event_index(tokens)[at], return_index=True)
    table: dict[str, dict[str, int]] = {}
    for kind, reason in zip(day.events.kind[event].tolist(), sets.outside[at[first]].tolist(), strict=True):
        row = table.setdefault(Escape(reason).told(), {})
        row[Kind(kind).name] = row.get(Kind(kind).name, 0) + 1
    return dict(sorted(table.items(), key=lambda item: -sum(item[1].values())))


def fitted(name: str, day: MarketDay) -> Tokenizer:
    """Return a tokenizer by its name; the bins of compact tokens are fitted to the day itself."""
    if name == ExactTokenizer.name:
        return ExactTokenizer()
    before = np.concatenate([before for _, before in reference_runs(day, len(day.events))])
    return CompactTokenizer.fit([seen_in(day.events, before, day.instrument, day.start.time_ns)])


def in_records(sets: TokenSets, repeat: int) -> dict[str, float]:
    """Measure how many bytes sets take in records, before compression, and how fast they are read from there."""
    columns = stored(sets)
    reading = median_seconds(functools.partial(read_sets, columns), repeat)[2]
    size = sum(column.nbytes for column in columns.values())
    return {"stored_bytes_per_token": size / sets.rows, "read_tokens_per_s": sets.rows / reading}


def measure(feed: str, path: pathlib.Path | None, tokenizer: str, events: int, repeat: int) -> dict[str, Any]:
    """Measure one day in this process, after pinning it to one core."""
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    day = day_of(feed, path, events)
    made = fitted(tokenizer, day)
    tokens = made.encode(day)
    sets, first, seconds = median_seconds(functools.partial(made.sets, tokens, day), repeat)
    rows = np.arange(min(PACKED_ROWS, len(tokens)))
    packing = median_seconds(functools.partial(sets.packed, rows), repeat)[2]
    found = escapes(day, tokens, sets)
    return {
        **(in_records(sets, repeat) if stores_sets(made) else {}),
        "events": len(day.events),
        "tokens": len(tokens),
        "tokens_per_s": len(tokens) / seconds,
        "packed_rows_per_s": len(rows) / packing,
        "first_call_s": first,
        "ranges_per_token": len(sets.first) / len(tokens),
        "mib": sum(array.nbytes for array in sets) / MIB,
        "escape_share": sum(sum(row.values()) for row in found.values()) / len(day.events),
        "escapes": found,
    }


def run(chosen: argparse.Namespace) -> dict[str, Any]:
    """Measure every requested day with every requested tokenizer."""
    days = [(feed, path) for feed in FILE_FEEDS for path in getattr(chosen, feed)]
    days += [("synthetic", None)] if chosen.synthetic or not days else []
    return {
        f"{feed}, {path.name if path else 'simulated'}, {tokenizer}": alone(
            measure, feed, path, tokenizer, chosen.events, chosen.repeat
        )
        for feed, path in days
        for tokenizer in chosen.tokenizers
    }


def table(results: dict[str, Any]) -> list[str]:
    """Return the results as lines of text: rates, then the escapes of each day."""
    lines = [f"{'':<78}{'events':>9}{'k tokens/s':>12}{'k rows/s':>10}{'ranges':>8}{'MiB':>7}{'escapes':>9}"]
    for name, case in results.items():
        rates = f"{case['tokens_per_s'] / 1e3:>12.0f}{case['packed_rows_per_s'] / 1e3:>10.0f}"
        size = f"{case['ranges_per_token']:>8.1f}{case['mib']:>7.0f}"
        lines.append(f"{name:<78}{case['events']:>9}{rates}{size}{case['escape_share']:>9.3%}")
        if "stored_bytes_per_token" in case:
            rate = f"read from there at {case['read_tokens_per_s'] / 1e3:.0f} k tokens/s"
            lines.append(f"  in records {case['stored_bytes_per_token']:.1f} bytes a token, {rate}")
        for told, kinds in case["escapes"].items():
            share = sum(kinds.values()) / case["events"]
            counts = ", ".join(f"{kind} {count}" for kind, count in kinds.items())
            lines.append(f"  {told:<75} {share:>9.3%}   {counts}")
    return lines


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a table, then one JSON object."""
    parser = argparse.ArgumentParser(prog="python -m lob_jax.bench.sets", description=__doc__)
    for feed in FILE_FEEDS:
        parser.add_argument(f"--{feed}", type=user_path, nargs="*", default=[], help=f"files of the {feed} feed")
    parser.add_argument("--synthetic", action="store_true", help="also measure a simulated day")
    parser.add_argument("--tokenizers", nargs="*", default=["exact"], choices=["exact", "compact"])
    parser.add_argument("--events", type=int, default=200_000, help="events of each day, from its start")
    parser.add_argument("--repeat", type=int, default=3, help="timed runs per day")
    chosen = parser.parse_args(arguments)
    results = run(chosen)
    print("\n".join(table(results)))
    print(json.dumps({"benchmark": "sets", "repeat": chosen.repeat, "cases": results, **surroundings("sets")}))


if __name__ == "__main__":
    main()
