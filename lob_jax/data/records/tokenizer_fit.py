"""Fit a tokenizer to training days, before anything is tokenized, and measure what validation events lose."""

import pathlib
import tempfile
from collections.abc import Sequence

import numpy as np

from lob_jax.book.day import MarketDay
from lob_jax.book.replay import reference_runs, snapshots_at
from lob_jax.data.records.jobs import lay_out, make_jobs
from lob_jax.data.records.records import RecordPlan
from lob_jax.data.records.split import Part, split_names
from lob_jax.feeds.feed import DaySource, Feed, Reading
from lob_jax.tokens.seen import Seen, joined, seen_in
from lob_jax.tokens.tokenizer import FittedTokenizer, Loss

RUN_EVENTS = 1 << 18  # that are in memory with their references at once
MOST_FITTED = 4_000_000  # events of all days together; of more, evenly many of each day
MOST_MEASURED = 50_000  # events of the first validation day


def fit_tokenizer(
    kind: type[FittedTokenizer],
    feed: Feed,
    days: Sequence[DaySource],
    *,
    plan: RecordPlan,
    reading: Reading,
    store: pathlib.Path,
) -> FittedTokenizer:
    """Return a tokenizer fitted to the events of the training parts of some days, and to no other.

    Args:
      kind: of the tokenizer.
      feed: what the days are read with.
      days: which, oldest first.
      plan: how days become splits.
      reading: how files are read.
      store: a folder for the events of a day while it is read.

    Raises:
      InputError: days that are out of order, or cannot be read or cut.
    """
    places = [place for place in lay_out(days) if "train" in split_names(place.trading_day, place.trading_days)]
    parts = []
    for job in make_jobs(feed, places, reading):
        with tempfile.TemporaryDirectory(dir=store) as folder:
            for place, day in job.read(pathlib.Path(folder)):
                (train,) = (part for part in place.parts(len(day.events), plan) if part.name == "train")
                parts.append(_seen_of(day, train, most=MOST_FITTED // len(places)))
    return kind.fit(parts)


def measure_loss(
    tokenizer: FittedTokenizer,
    feed: Feed,
    days: Sequence[DaySource],
    *,
    plan: RecordPlan,
    reading: Reading,
    store: pathlib.Path,
) -> Loss:
    """Return what the first validation events lose as tokens; arguments and errors as of `fit_tokenizer`."""
    places = [place for place in lay_out(days) if "validation" in split_names(place.trading_day, place.trading_days)]
    (job, *_) = make_jobs(feed, places[:1], reading)
    with tempfile.TemporaryDirectory(dir=store) as folder:
        ((place, day),) = job.read(pathlib.Path(folder))
        (part,) = (part for part in place.parts(len(day.events), plan) if part.name == "validation")
        first, last = part.first, min(part.last, part.first + MOST_MEASURED)
        (start,) = snapshots_at(day, np.array([first]))
        return tokenizer.loss(day.part(first, last, start=start))


def _seen_of(day: MarketDay, part: Part, *, most: int) -> Seen:
    """Return what the events of a part say, of more than `most` as many, evenly spread."""
    day, stride = day.part(0, part.last, start=day.start), -(-part.events // most)
    runs, clock = [], day.start.time_ns
    for rows, before in reference_runs(day, RUN_EVENTS):
        run, number = day.events[rows], np.arange(rows.start, rows.stop)
        wanted = (number >= part.first) & (number % stride == 0)
        runs.append(Seen(*(column[wanted] for column in seen_in(run, before, day.instrument, clock))))
        clock = int(run.time_ns[-1])
    return joined(runs)
