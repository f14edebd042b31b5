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

RUN_EVENTS = 1 << 18  # events per block: bounds the events and reference prices in memory at once
MOST_FITTED = 4_000_000  # maximum number of events of all days together, the same number of each day
MOST_MEASURED = 50_000  # maximum number of events of the first validation day


def fit_tokenizer(
    kind: type[FittedTokenizer],
    feed: Feed,
    days: Sequence[DaySource],
    *,
    plan: RecordPlan,
    reading: Reading,
    store: pathlib.Path,
) -> FittedTokenizer:
    """Fit a tokenizer to the events in the training parts of some days.

    Args:
      kind: class of the tokenizer.
      feed: the feed of the days.
      days: the days, oldest first; validation and test parts are not used.
      plan: how days are divided into splits.
      reading: how files are read.
      store: folder for temporary files with the events of a day.

    Raises:
      InputError: days are out of order, or cannot be read or divided.
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
    """Measure what the first validation events lose as tokens; arguments and errors as in `fit_tokenizer`."""
    places = [place for place in lay_out(days) if "validation" in split_names(place.trading_day, place.trading_days)]
    (job, *_) = make_jobs(feed, places[:1], reading)
    with tempfile.TemporaryDirectory(dir=store) as folder:
        ((place, day),) = job.read(pathlib.Path(folder))
        (part,) = (part for part in place.parts(len(day.events), plan) if part.name == "validation")
        first, last = part.first, min(part.last, part.first + MOST_MEASURED)
        (start,) = snapshots_at(day, np.array([first]))
        return tokenizer.loss(day.part(first, last, start=start))


def _seen_of(day: MarketDay, part: Part, *, most: int) -> Seen:
    """Return the quantities of at most `most` events of a part, evenly spaced."""
    day, stride = day.part(0, part.last, start=day.start), -(-part.events // most)
    runs, clock = [], day.start.time_ns
    for rows, before in reference_runs(day, RUN_EVENTS):
        run, number = day.events[rows], np.arange(rows.start, rows.stop)
        wanted = (number >= part.first) & (number % stride == 0)
        runs.append(Seen(*(column[wanted] for column in seen_in(run, before, day.instrument, clock))))
        clock = int(run.time_ns[-1])
    return joined(runs)
