"""Measure ingestion from raw file to tokens on one core: rows and events per second by feed, and memory.

`python -m lob_jax.bench.ingest --lobster MESSAGE --tardis DEPTH ...` repeats each given file until it has `--events`
rows, reads it with its events memory-mapped, and tokenizes them chunk by chunk. The ITCH file is a simulated day
written by `write_itch`. Every feed is measured in a separate process: once on a short file to compile, then `--repeat`
times on all cores and as often pinned to one; the results are medians. All columns but one are of one core; `all` is
rows per second to tokens on all cores, where threads read ahead. Two columns are rates per second of the processor,
which other work on the machine disturbs less: `cpu`, rows to tokens, and `book`, rows to best quotes without tokens. If
hftbacktest is installed, its converter reads the Tardis files too, afterwards in a process of its own. It produces its
own events, whose rate is shown, and no tokens; the last figure is its CPU time for the files over ours to tokens.
"""

import argparse
import contextlib
import json
import os
import pathlib
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from lob_jax.bench import tiling
from lob_jax.bench.processes import MIB, AnonymousMemory, alone
from lob_jax.bench.surroundings import surroundings, user_path
from lob_jax.bench.tokenize import measure as median_seconds
from lob_jax.book.day import MarketDay
from lob_jax.book.replay import references, replay
from lob_jax.feeds.feed import Reading
from lob_jax.feeds.format import FEEDS
from lob_jax.tokens.exact import ExactTokenizer

THEIRS = "hftbacktest converter, same files"
REPLAY_EVENTS = 500_000  # events that replay alone is measured on
REPLAYS = 4
SHORT = 5_000  # rows of the short file that triggers compilation


class Run(NamedTuple):
    """One reading of a file.

    Attributes:
      day: what was read.
      tokens: number of tokens.
      read: seconds of reading.
      encode: seconds of tokenizing.
      cpu: processor seconds of both.
    """

    day: MarketDay
    tokens: int
    read: float
    encode: float
    cpu: float


def to_tokens(feed: str, path: pathlib.Path, store: pathlib.Path) -> Run:
    """Read a file and tokenize it."""
    begin, cpu = time.perf_counter(), time.process_time()
    day = FEEDS[feed].feed().read(path, Reading(store=store))
    read = time.perf_counter()
    tokens = sum(len(run) for run in ExactTokenizer().encode_runs(day))
    return Run(day, tokens, read - begin, time.perf_counter() - read, time.process_time() - cpu)


def to_quotes(feed: str, path: pathlib.Path, store: pathlib.Path) -> float:
    """Read a file and replay its best quotes; return the processor seconds."""
    begin = time.process_time()
    references(FEEDS[feed].feed().read(path, Reading(store=store)))
    return time.process_time() - begin


def replay_rates(day: MarketDay) -> dict[str, float]:
    """Return events a second of replays of a day's beginning: with every order's queue, and of best quotes alone."""
    day = day.part(0, REPLAY_EVENTS, start=day.start)
    runs = {"queues": lambda: replay(day, levels=1), "best quotes": lambda: references(day)}
    return {name: len(day.events) / median_seconds(run, REPLAYS)[2] for name, run in runs.items()}


def measure(feed: str, short: pathlib.Path, path: pathlib.Path, repeat: int) -> dict[str, Any]:
    """Measure one feed in this process: on all cores, where threads read ahead, then pinned to one.

    Args:
      feed: name of the feed.
      short: a short file, read once to compile.
      path: the file to measure.
      repeat: timed runs.
    """
    cores = os.sched_getaffinity(0)
    with tempfile.TemporaryDirectory() as folder:
        store = pathlib.Path(folder)
        to_tokens(feed, short, store)
        freely = [to_tokens(feed, path, store) for _ in range(repeat)]
        os.sched_setaffinity(0, {min(cores)})
        with AnonymousMemory() as memory:
            runs = [to_tokens(feed, path, store) for _ in range(repeat)]
        day, tokens = runs[0].day, runs[0].tokens
        total = statistics.median(run.read + run.encode for run in runs)
        read = statistics.median(run.read for run in runs)
        rows = day.report["rows_read"]
        return {
            "rows": rows,
            "events": len(day.events),
            "corrections": len(day.corrections),
            "tokens": tokens,
            "file_mib": sum(file.stat().st_size for file in path.parent.iterdir()) / MIB,
            "rows_per_s": rows / total,
            "cpu_s": (cpu_s := statistics.median(run.cpu for run in runs)),
            "rows_per_cpu_s": rows / cpu_s,
            "cores": len(cores),
            "rows_per_s_all_cores": rows / statistics.median(run.read + run.encode for run in freely),
            "rows_per_cpu_s_all_cores": rows / statistics.median(run.cpu for run in freely),
            "rows_to_quotes_per_cpu_s": rows / statistics.median(to_quotes(feed, path, store) for _ in range(repeat)),
            "events_per_s": len(day.events) / total,
            "read_rows_per_s": rows / read,
            "encode_events_per_s": len(day.events) / (total - read),
            "peak_anonymous_mib": memory.peak / MIB,
            "replay_events_per_s": replay_rates(day),
        }


def measure_hftbacktest(short: pathlib.Path, path: pathlib.Path, repeat: int) -> dict[str, Any] | None:
    """Measure hftbacktest's converter on Tardis files; return None if it is not installed."""
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    try:
        from hftbacktest.data.utils import tardis
    except ImportError:
        return None
    seconds, cpu_seconds, rows = [], [], 0
    for depth in (short, *[path] * repeat):
        trades = depth.with_name(depth.name.replace("incremental_book_L2", "trades"))
        with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
            begin, cpu = time.perf_counter(), time.process_time()
            rows = len(tardis.convert([str(trades), str(depth)], buffer_size=40_000_000))
            seconds.append(time.perf_counter() - begin)
            cpu_seconds.append(time.process_time() - cpu)
    total, cpu_s = (statistics.median(taken[1:]) for taken in (seconds, cpu_seconds))
    return {"its_rows": rows, "its_rows_per_s": rows / total, "its_cpu_s": cpu_s, "its_rows_per_cpu_s": rows / cpu_s}


def run(files: dict[str, Callable[[pathlib.Path, int], pathlib.Path]], *, events: int, repeat: int) -> dict[str, Any]:
    """Measure every case.

    Args:
      files: by case name (the feed, then a remark), a function that writes the file of a given number of rows.
      events: rows of the files to measure.
      repeat: timed runs per case.
    """
    results: dict[str, Any] = {}
    for name, write in files.items():
        with tempfile.TemporaryDirectory() as folder:
            paths = []
            for part, rows in (("short", SHORT), ("long", events)):
                (pathlib.Path(folder) / part).mkdir()
                paths.append(write(pathlib.Path(folder) / part, rows))
            feed = name.split(",")[0]
            results[name] = alone(measure, feed, *paths, repeat)
            if feed == "tardis":
                results[name]["hftbacktest"] = alone(measure_hftbacktest, *paths, repeat)
    return results


def cases(chosen: argparse.Namespace) -> dict[str, Callable[[pathlib.Path, int], pathlib.Path]]:
    """Return the function that writes the file of each case requested on the command line."""
    found: dict[str, Callable[[pathlib.Path, int], pathlib.Path]] = {}
    for path in chosen.lobster:
        found[f"lobster, {path.name}"] = lambda folder, n, path=path: tiling.tile_lobster(path, folder, events=n)
        if chosen.gz:
            found[f"lobster, {path.name}, gz"] = lambda folder, n, path=path: tiling.gzipped(
                tiling.tile_lobster(path, folder, events=n)
            )
    for path in chosen.tardis:
        found[f"tardis, {path.name}"] = lambda folder, n, path=path: tiling.tile_tardis(path, folder, events=n)
    for path in chosen.binance:
        found[f"binance, {path.name}"] = lambda folder, n, path=path: tiling.tile_binance(path, folder, rows=n)
    for path in chosen.databento:
        found[f"databento, {path.name}"] = lambda folder, n, path=path: tiling.tile_databento(path, folder, records=n)
    found["itch, simulated"] = lambda folder, n: tiling.write_itch_day(folder, events=n)
    return found


def table(results: dict[str, Any]) -> list[str]:
    """Return the results as lines of text."""
    wide = max(map(len, (THEIRS, *results)))
    titles = ("rows", "cpu", "all", "book", "events", "read", "encode", "queues", "quotes")
    lines = [f"{'M/s':<{wide}}{''.join(f'{title:>8}' for title in titles)}{'MiB':>7}"]
    for name, case in results.items():
        figures = [case["rows_per_s"], case["rows_per_cpu_s"], case["rows_per_s_all_cores"]]
        figures += [case["rows_to_quotes_per_cpu_s"], case["events_per_s"]]
        figures += [case["read_rows_per_s"], case["encode_events_per_s"]]
        figures += case["replay_events_per_s"].values()
        shown = "".join(f"{figure / 1e6:>8.2f}" for figure in figures)
        lines.append(f"{name:<{wide}}{shown}{case['peak_anonymous_mib']:>7.0f}")
        if "hftbacktest" in case:
            lines.append(f"{THEIRS:<{wide}}" + _its(case["hftbacktest"], case["cpu_s"]))
    return lines


def _its(figures: dict[str, Any] | None, cpu_s: float) -> str:
    if figures is None:
        return "not installed"
    rates = "".join(f"{figures[name] / 1e6:>8.2f}" for name in ("its_rows_per_s", "its_rows_per_cpu_s"))
    return f"{rates}   of its own; {figures['its_cpu_s'] / cpu_s:.2f} times our CPU time"


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a table, then one JSON object."""
    parser = argparse.ArgumentParser(prog="python -m lob_jax.bench.ingest", description=__doc__)
    for feed in ("lobster", "tardis", "binance", "databento"):
        parser.add_argument(f"--{feed}", type=user_path, nargs="*", default=[], help=f"files of the {feed} feed")
    parser.add_argument("--gz", action="store_true", help="also measure LOBSTER files compressed with gzip")
    parser.add_argument("--events", type=int, default=5_000_000, help="repeat each file until it has this many rows")
    parser.add_argument("--repeat", type=int, default=3, help="timed runs per case")
    chosen = parser.parse_args(arguments)
    results = run(cases(chosen), events=chosen.events, repeat=chosen.repeat)
    print("\n".join(table(results)))
    print(json.dumps({"benchmark": "ingest", "repeat": chosen.repeat, "cases": results, **surroundings("ingest")}))


if __name__ == "__main__":
    main()
