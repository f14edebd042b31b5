"""Measure events per second for reading, replaying, encoding and decoding a day on one core.

`python -m lob_jax.bench.tokenize --path MESSAGE_FILE` uses a LOBSTER day, whose order-book file is found next to the
message file; without a path it uses a synthetic day. Each stage runs once to compile, then `--repeat` times; the
results are medians.
"""

import argparse
import functools
import json
import pathlib
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

from lob_jax.bench.surroundings import surroundings, user_path
from lob_jax.book.day import MarketDay
from lob_jax.book.replay import references, replay
from lob_jax.feeds.lobster.feed import LobsterFeed
from lob_jax.feeds.synthetic import SyntheticFeed
from lob_jax.tokens.exact import ExactTokenizer


def measure(run: Callable[[], Any], repeat: int) -> tuple[Any, float, float]:
    """Run once to warm up, then `repeat` times; return the result, the seconds of the first call and the median."""
    seconds = []
    for _ in range(repeat + 1):
        begin = time.perf_counter()
        result = run()
        seconds.append(time.perf_counter() - begin)
    return result, seconds[0], statistics.median(seconds[1:])


def reader(path: pathlib.Path | None, events: int) -> Callable[[], MarketDay]:
    """Return a function that reads a LOBSTER day and finds its corrections, or simulates about `events` events."""
    if path is not None:
        return functools.partial(LobsterFeed().read, path)
    feed = SyntheticFeed(1, events, 0)
    return functools.partial(feed.read, feed.days()[0])


def stages(day: MarketDay, tokenizer: ExactTokenizer) -> dict[str, Callable[[], Any]]:
    """Return the stages measured on a day in memory, by name.

    `replay` tracks only the best quotes, which is all that encoding needs; `queues` also keeps every order in its
    queue; `replay+encode` is the complete path from events to tokens.
    """
    states = replay(day, levels=1)
    encode = functools.partial(tokenizer.encode, day)
    return {
        "replay": functools.partial(references, day),
        "queues": functools.partial(replay, day, levels=1),
        "encode": functools.partial(tokenizer.tokenize_events, day, states),
        "replay+encode": encode,
        "decode": functools.partial(tokenizer.decode, encode(), day),
    }


def run(path: pathlib.Path | None, *, events: int, repeat: int, time_digits: int | None) -> dict[str, Any]:
    """Measure every stage; return the results as JSON-serialisable values.

    Args:
      path: a LOBSTER message file; None for a synthetic day.
      events: approximate number of events of the synthetic day.
      repeat: timed runs per stage.
      time_digits: significant digits of a gap that are encoded; None for all.
    """
    tokenizer = ExactTokenizer(time_digits)
    day, first, median = measure(reader(path, events), repeat)
    seconds, first_call = {"read": median}, {"read": first}
    for name, stage in stages(day, tokenizer).items():
        result, first_call[name], seconds[name] = measure(stage, repeat)
        if name == "replay+encode":
            tokens = result
    return {
        "benchmark": "tokenize",
        "day": str(path.name if path else f"synthetic, seed 0, {day.instrument.trading_day}"),
        "events": len(day.events),
        "corrections": len(day.corrections),
        "time_digits": time_digits,
        "tokens_per_event": len(tokens) / len(day.events),
        "events_per_s": {name: len(day.events) / median for name, median in seconds.items()},
        "median_s": seconds,
        "first_call_s": first_call,
        "repeat": repeat,
        **surroundings("tokenize"),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a table, then one JSON object."""
    parser = argparse.ArgumentParser(prog="python -m lob_jax.bench.tokenize", description=__doc__)
    parser.add_argument("--path", type=user_path, help="a LOBSTER message file; a synthetic day if absent")
    parser.add_argument("--events", type=int, default=150_000, help="approximate number of events of the synthetic day")
    parser.add_argument("--repeat", type=int, default=7, help="timed runs per stage")
    parser.add_argument("--time-digits", type=int, help="2, 5 or 8 significant digits of a gap; all if absent")
    chosen = parser.parse_args(arguments)
    if chosen.repeat < 1:
        parser.error("--repeat must be at least 1")
    figures = run(chosen.path, events=chosen.events, repeat=chosen.repeat, time_digits=chosen.time_digits)
    print(f"{figures['day']}: {figures['events']} events, {figures['tokens_per_event']:.3f} tokens per event")
    for name, rate in figures["events_per_s"].items():
        first = figures["first_call_s"][name]
        print(f"  {name:14s} {rate / 1e6:8.3f} M events/s   (first call {first:.2f} s)")
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
