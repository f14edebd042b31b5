"""Measure how far features drift on normal days, and how soon drifted events are noticed.

`python -m lob_jax.bench.drift` simulates days: the first ones are training, the next ones are for choosing thresholds,
and the rest, which neither has seen, tell how often those of `drift.THRESHOLDS` are passed. Then events with a defect
follow normal ones. `--lobster MESSAGE` takes parts of a real day instead, every third of each use; with `--by-time`,
the first 70 % are training, the next 10 % are for thresholds, and the rest is the test. `--other MESSAGE` adds the day
of another instrument as a defect.
"""

import argparse
import dataclasses
import itertools
import json
import pathlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from lob_jax.bench.surroundings import surroundings, user_path
from lob_jax.book.day import MarketDay
from lob_jax.book.replay import snapshots_at
from lob_jax.events.schema import Kind
from lob_jax.export.reference.features import FEATURES, UNKNOWN, Before, binned, columns_of
from lob_jax.export.reference.half_hours import half_hours_of
from lob_jax.feeds.load import load_incremental_data
from lob_jax.feeds.synthetic import SyntheticFeed
from lob_jax.runs.reference import Part, bins_of, counts_of
from lob_jax.serving.monitoring.drift import THRESHOLDS, WINDOW, Shares, drift_of

STRIDE = 256  # events between two looks at the index
COUNTS = (1000, 2048, 4096, 8192)  # events of a window
CHUNK = 2048  # events of a short part of one real day
SPLIT = (0.7, 0.8)  # where training and the part that gives thresholds end, of one real day
_LOST = "half the deletions lost"


class Stream(NamedTuple):
    """Events one after another: bins by feature and half hours, int64 [E] each."""

    bins: dict[str, np.ndarray]
    halves: np.ndarray


@dataclasses.dataclass(frozen=True)
class Days:
    """Normal days, by what they are for."""

    train: list[MarketDay]
    thresholds: list[MarketDay]
    silent: list[MarketDay]


def simulated(*, days: int, events: int) -> Days:
    """Return simulated days: so many of each use."""
    feed = SyntheticFeed(days=3 * days, events=events)
    made = [feed.read(day) for day in feed.days()]
    return Days(made[:days], made[days : 2 * days], made[2 * days :])


def parts_of_day(day: MarketDay, *, by_time: bool) -> Days:
    """Return parts of one day: three long ones, one after another; or short ones, every third of each use."""
    count = len(day.events)
    cuts = [0, *(int(share * count) for share in SPLIT), count] if by_time else [*range(0, count, CHUNK), count]
    starts = snapshots_at(day, np.array(cuts[:-1]))
    parts = [day.part(*span, start=start) for span, start in zip(itertools.pairwise(cuts), starts, strict=True)]
    return Days(parts[0::3], parts[1::3], parts[2::3])


def stream_of(day: MarketDay, *, tick: int) -> Stream:
    """Return the events of a day."""
    return Stream(bins_of(day, tick=tick), half_hours_of(day.events.time_ns, day.instrument.time_zone))


def defects(day: MarketDay, *, tick: int) -> dict[str, Stream]:
    """Return the events of a normal day with defects, by name; the book and so the spread are those of the day."""
    events, rng = day.events, np.random.default_rng(0)
    slow = events[: len(events) // 5]
    origin = events.time_ns[0] if len(events) else 0
    kept = (events.kind != Kind.DELETE) | (rng.random(len(events)) < 0.5)
    made = {
        "sizes x 3": events.replace(size=3 * events.size),
        "gaps x 5": slow.replace(time_ns=origin + 5 * (slow.time_ns - origin)),
        "gaps / 5": events.replace(time_ns=origin + (events.time_ns - origin) // 5),
        _LOST: events[kept],
    }
    zone = day.instrument.time_zone
    spread, found = bins_of(day, tick=tick)["spread"], {"tick / 5": stream_of(day, tick=max(1, tick // 5))}
    for name, changed in made.items():
        bins, _ = binned(columns_of(changed), before=Before(), tick=tick)
        here = spread[kept] if name == _LOST else spread[: len(changed)]
        found[name] = Stream({**bins, "spread": here}, half_hours_of(changed.time_ns, zone))
    return found


def joined(streams: Sequence[Stream]) -> Stream:
    """Return streams one after another, as a monitor meets days."""
    bins = {name: np.concatenate([one.bins[name] for one in streams]) for name in FEATURES}
    return Stream(bins, np.concatenate([one.halves for one in streams]))


def _excesses(shares: Shares, stream: Stream, feature: str, *, window: int) -> np.ndarray:
    """Return the excess of the latest events each STRIDE events, from the first full window on, float64."""
    latest = np.stack([stream.bins[feature], stream.halves])[:, stream.bins[feature] != UNKNOWN]
    found = (drift_of(shares, latest[:, end - window : end]) for end in range(window, latest.shape[1] + 1, STRIDE))
    return np.array([one.excess for one in found], np.float64)


def followed(normal: Stream, defect: Stream) -> Stream:
    """Return the last WINDOW normal events, and those with a defect."""
    last = Stream({name: bins[-WINDOW:] for name, bins in normal.bins.items()}, normal.halves[-WINDOW:])
    return joined([last, defect])


def study(days: Days, others: dict[str, MarketDay]) -> dict[str, Any]:
    """Return what is found for each feature."""
    tick = days.train[0].instrument.tick
    counts, _ = counts_of((Part(day) for day in days.train), digits=5)
    shares = {name: Shares(counts[name]) for name in FEATURES}
    given, silent = (joined([stream_of(day, tick=tick) for day in some]) for some in (days.thresholds, days.silent))
    each = [defects(day, tick=tick) for day in days.silent]
    broken = {name: joined([one[name] for one in each]) for name in each[0]}
    broken |= {name: stream_of(day, tick=tick) for name, day in others.items()}
    return {name: _of_feature(shares[name], given, silent, broken, name) for name in FEATURES}


def _of_feature(shares: Shares, given: Stream, silent: Stream, broken: dict[str, Stream], name: str) -> dict[str, Any]:
    """Return the distribution of the index on normal days by window, and when each defect is noticed."""
    threshold, windows, noticed = THRESHOLDS[name], {}, {}
    for window in COUNTS:
        normal, unseen = (_excesses(shares, stream, name, window=window) for stream in (given, silent))
        windows[window] = {
            "chance": (shares.bins - 1) / window,
            "median": float(np.median(normal)),
            "most": float(normal.max(initial=0.0)),
            "silent_median": float(np.median(unseen)),
            "silent_most": float(unseen.max(initial=0.0)),
            "silent_above": float((unseen > threshold).mean()),
        }
    for defect, stream in broken.items():
        found = _excesses(shares, followed(silent, stream), name, window=WINDOW)
        above = np.flatnonzero(found > threshold)
        noticed[defect] = {"most": float(found.max()), "after": int(above[0]) * STRIDE if len(above) else None}
    return {"bins": shares.bins, "threshold": threshold, "windows": windows, "noticed": noticed}


def table(found: dict[str, Any]) -> list[str]:
    """Return the results as lines of text: the excess on normal days, then where defects pass the thresholds."""
    columns = list(next(iter(found.values()))["windows"][WINDOW])
    lines = [f"{'feature':<9}{'n':>6}" + "".join(f"{column:>15}" for column in columns)]
    for name, one in found.items():
        for window, row in one["windows"].items():
            lines.append(f"{name:<9}{window:>6}" + "".join(f"{row[column]:>15.4f}" for column in columns))
    headings = [f"{name} > {one['threshold']}" for name, one in found.items()]
    lines.append(f"{'defect':<26}" + "".join(f"{heading:>20}" for heading in headings))
    for defect in next(iter(found.values()))["noticed"]:
        cells = [one["noticed"][defect] for one in found.values()]
        texts = [f"{cell['most']:.2f}, {'never' if cell['after'] is None else cell['after']}" for cell in cells]
        lines.append(f"{defect:<26}" + "".join(f"{text:>20}" for text in texts))
    return lines


def run(chosen: argparse.Namespace) -> dict[str, Any]:
    """Study simulated days, or a real one."""
    others: dict[str, pathlib.Path] = {path.name.split("_")[0]: path for path in chosen.other}
    if chosen.lobster is None:
        days = simulated(days=chosen.days, events=chosen.events)
    else:
        days = parts_of_day(load_incremental_data(chosen.lobster), by_time=chosen.by_time)
    return study(days, {name: load_incremental_data(path) for name, path in others.items()})


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a table, then one JSON object."""
    parser = argparse.ArgumentParser(prog="python -m lob_jax.bench.drift", description=__doc__)
    parser.add_argument("--lobster", type=user_path, help="the message file of a real day; simulated days without it")
    parser.add_argument("--by-time", action="store_true", help="take long parts of it, one after another")
    parser.add_argument("--other", type=user_path, nargs="*", default=[], help="those of other instruments")
    parser.add_argument("--days", type=int, default=4, help="simulated days of each of the three uses")
    parser.add_argument("--events", type=int, default=30_000, help="of a simulated day")
    chosen = parser.parse_args(arguments)
    results = run(chosen)
    print("\n".join(table(results)))
    print(json.dumps({"benchmark": "drift", "features": results, **surroundings("drift")}))


if __name__ == "__main__":
    main()
