"""Measure how much the scores of a run's events vary on normal ones, and what defects do to them.

`python -m lob_jax.bench.live_quality --run runs/goog` takes a trained run with a bundle, and scores its test split,
which neither training nor the reference has seen: the changes beside the validation split, in windows of as many events
as a monitor keeps, are what thresholds must not be passed by. Then it scores the same events with defects, which are
planted into the book and the events alike, and with broken networks. `--other MESSAGE` adds a LOBSTER day of another
instrument.
"""

import argparse
import dataclasses
import json
import pathlib
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from lob_jax.bench.surroundings import surroundings, user_path
from lob_jax.book.day import MarketDay
from lob_jax.book.replay import snapshots_at
from lob_jax.data.records.builder import open_records
from lob_jax.errors import InputError
from lob_jax.export.bundle import Bundle, open_bundle
from lob_jax.export.generate import forward_of, open_windows
from lob_jax.export.reference.reference import Reference
from lob_jax.export.score import Forward, score
from lob_jax.feeds.load import load_incremental_data
from lob_jax.runs.reference import Part, parts_of, reference_of
from lob_jax.serving.monitoring.monitor import Monitor, Report
from lob_jax.serving.monitoring.quality import WINDOW
from lob_jax.serving.predict.scored import scored

PIECE = 512  # events that are scored at once
CONTEXT = 128  # events before those of another instrument
DEFECTS = 8  # parts of the test split that get defects
COLUMNS = ("nats_change", "gain_change")
LIVE = ("nats", "baseline_nats", "gain_nats", "brier", "transform_error", "covered_90", "outside", "removed")


def larger(day: MarketDay) -> MarketDay:
    """Return a day on which everybody trades three times as much."""

    def of(columns: Any) -> Any:
        return dataclasses.replace(columns, size=columns.size * 3)

    return dataclasses.replace(day, start=of(day.start), events=of(day.events), corrections=of(day.corrections))


def dearer(day: MarketDay) -> MarketDay:
    """Return a day on which prices and their steps are five times as large."""

    def of(columns: Any) -> Any:
        return dataclasses.replace(columns, price=columns.price * 5)

    start = dataclasses.replace(of(day.start), last_best=day.start.last_best * 5)
    return dataclasses.replace(day, start=start, events=of(day.events), corrections=of(day.corrections))


def slower(day: MarketDay, *, by: float) -> MarketDay:
    """Return a day on which everything takes so many times as long."""
    origin = day.start.time_ns
    late = origin + np.rint((day.events.time_ns - origin) * by).astype(np.int64)
    return day.with_events(day.events.replace(time_ns=late))


PLANTED: dict[str, Callable[[MarketDay], MarketDay]] = {
    "none": lambda day: day,
    "sizes x 3": larger,
    "tick x 5": dearer,
    "gaps x 5": lambda day: slower(day, by=5),
    "gaps / 5": lambda day: slower(day, by=0.2),
}


def scaled(forward: Forward, *, by: float) -> Forward:
    """Return a network that is more certain than it should be, or less."""
    return lambda inputs: forward(inputs) * np.float32(by)


def blind(forward: Forward) -> Forward:
    """Return a network that reads tokens and nothing else: all other inputs are 0."""

    def read(inputs: dict[str, np.ndarray]) -> np.ndarray:
        return forward({name: one if name == "tokens" else np.zeros_like(one) for name, one in inputs.items()})

    return read


BROKEN: dict[str, Callable[[Forward], Forward]] = {
    "logits x 1.5": lambda forward: scaled(forward, by=1.5),
    "logits / 1.5": lambda forward: scaled(forward, by=1 / 1.5),
    "no book": blind,
}


def reference_in(bundle: Bundle, run: pathlib.Path, forward: Forward) -> Reference:
    """Return the reference of a bundle, or that of its run if an earlier version wrote the bundle."""
    reference = bundle.contents.reference or reference_of(run / "records", bundle.contents, forward)
    if reference is None or reference.quality is None:
        raise InputError(
            "there is nothing to compare scores with",
            where=run,
            expected="exact tokens, of which some are validation",
            was="no reference",
            remedy="pass a run of exact tokens",
        )
    return reference


class Model(NamedTuple):
    """A model under study: its bundle, its network and what it is compared with."""

    bundle: Bundle
    forward: Forward
    reference: Reference


def watched(parts: Sequence[Part], model: Model, *, every: bool) -> list[Report]:
    """Score parts of days piece by piece, and return what a monitor finds with a full window.

    Args:
      parts: the parts.
      model: what scores them.
      every: whether after every piece; else once, after all of them.
    """
    monitor, reports = Monitor(model.reference), []
    for day, first, closed in parts:
        short = day.part(0, first + PIECE, start=day.start)
        found = scored(score(model.bundle.contents, short, model.forward, closed=closed, first=first))
        monitor.scored(short.events[first:], found, before=short.events[:first])
        report = monitor.report()
        if every and report.scored >= WINDOW:
            reports.append(report)
    return reports or [monitor.report()]


def pieces_of(parts: Sequence[Part]) -> list[Part]:
    """Divide parts into pieces of PIECE events, each with the events before it in its part as context."""
    return [
        Part(part.day, first, part.closed) for part in parts for first in range(part.first, len(part.day.events), PIECE)
    ]


def places_in(day: MarketDay, count: int) -> list[Part]:
    """Return evenly spaced parts of a day."""
    at = np.linspace(0, max(0, len(day.events) - PIECE - CONTEXT), count, dtype=np.int64)
    return [
        Part(day.part(int(first), int(first) + PIECE + CONTEXT, start=start), CONTEXT)
        for first, start in zip(at, snapshots_at(day, at), strict=True)
    ]


def run(chosen: argparse.Namespace) -> dict[str, Any]:
    """Score the test split, defects and other instruments."""
    bundle = open_bundle(chosen.run / chosen.bundle)
    forward = forward_of(open_windows(bundle, precision="float32", threads=chosen.threads))
    reference = reference_in(bundle, chosen.run, forward)
    model = Model(bundle, forward, reference)
    source = open_records(chosen.run / "records", "test")
    parts = list(parts_of(source, bundle.tokenizer, symbol=bundle.instrument.symbol, most=chosen.records))
    normal = watched(pieces_of(parts), model, every=True)
    few = parts[:: max(1, len(parts) // DEFECTS)]
    planted = {
        name: watched([part._replace(day=plant(part.day)) for part in few], model, every=False)[-1]
        for name, plant in PLANTED.items()
    }
    for name, broken in BROKEN.items():
        planted[name] = watched(few, model._replace(forward=broken(forward)), every=False)[-1]
    for path in chosen.other:
        day = load_incremental_data(path)
        planted[day.instrument.symbol] = watched(places_in(day, DEFECTS), model, every=False)[-1]
    return {
        "validation": dataclasses.asdict(reference.quality) if reference.quality else {},
        "normal": {column: quantiles(normal, column) for column in (*COLUMNS, *LIVE)},
        "planted": {
            name: {column: value(report, column) for column in (*COLUMNS, *LIVE)} for name, report in planted.items()
        },
    }


def value(report: Report, column: str) -> float | None:
    """Return a number of a report, or of its quality."""
    return getattr(report if column in COLUMNS else report.quality, column)


def quantiles(reports: Sequence[Report], column: str) -> tuple[float, float, float]:
    """Return the least, the median and the largest value of a column in some reports."""
    values = np.array([value(report, column) for report in reports], np.float64)
    return float(values.min()), float(np.median(values)), float(values.max())


def table(found: dict[str, Any]) -> list[str]:
    """Return the results as lines of text."""
    lines = [f"{'':<16}{'validation':>12}{'least':>10}{'median':>10}{'most':>10}" +
             "".join(f"{name:>13}" for name in found["planted"])]  # fmt: skip
    for column, row in found["normal"].items():
        expected = found["validation"].get(column)
        cells = [" " * 12 if expected is None else f"{expected:>12.3f}", *(f"{one:>10.3f}" for one in row)]
        cells += [f"{float('nan') if one[column] is None else one[column]:>13.3f}" for one in found["planted"].values()]
        lines.append(f"{column:<16}{''.join(cells)}")
    return lines


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a table, then one JSON object."""
    parser = argparse.ArgumentParser(prog="python -m lob_jax.bench.live_quality", description=__doc__)
    parser.add_argument("--run", type=user_path, required=True, help="the folder of a trained run with a bundle")
    parser.add_argument("--bundle", default="bundle", help="the name of the bundle's folder in it")
    parser.add_argument("--records", type=int, default=40, help="test records that are scored, evenly spaced")
    parser.add_argument("--other", type=user_path, nargs="*", default=[], help="LOBSTER days of other instruments")
    parser.add_argument("--threads", type=int, default=2, help="of the network")
    chosen = parser.parse_args(arguments)
    results = run(chosen)
    print("\n".join(table(results)))
    print(json.dumps({"benchmark": "live_quality", **results, **surroundings("live_quality")}))


if __name__ == "__main__":
    main()
