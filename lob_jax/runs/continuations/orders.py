"""Score paths by what becomes of the orders that rest in the book at the end of each prompt."""

import dataclasses
import pathlib
import tempfile
from typing import Any

import numpy as np

from lob_jax.book.day import MarketDay
from lob_jax.data.records.builder import open_records
from lob_jax.data.records.records import RecordSource, record_instrument
from lob_jax.errors import InputError
from lob_jax.evaluation.leakage import digest
from lob_jax.evaluation.paths.moves import Horizons, moves_in
from lob_jax.evaluation.paths.resting.benchmarks import fit_climatology
from lob_jax.evaluation.paths.resting.outcomes import UNITS, Known, check_same_events, known_orders, watched_orders
from lob_jax.evaluation.paths.resting.scores import Benchmarks, score_orders
from lob_jax.events.instrument import Instrument
from lob_jax.runs.continuations.forecasts import MOMENTS, SHARE
from lob_jax.runs.continuations.generate import Continuations
from lob_jax.runs.continuations.prompts import Continued, surveyed
from lob_jax.runs.load import Run
from lob_jax.runs.records import find_days, reading_of

MOST_MOMENTS = 400  # of the training split whose orders the climatology counts


def forecast_orders(run: Run, paths: Continuations, *, seed: int = 0) -> dict[str, Any]:
    """Score paths by what becomes of the orders that rest in the book at the end of each prompt.

    Records have no order ids, so the days are read again from the feed. The orders of a prompt are those of its real
    book with an id, on the levels that the model sees; their fate is that of the events with their ids.

    Args:
      run: the run that the paths are of.
      paths: the paths of at least three prompts, at least two of each.
      seed: seed of the bootstrap and of the PIT.

    Returns:
      What `score_orders` returns, and training: moments and orders of the training split that the climatology counts,
      and their digest.

    Raises:
      InputError: the feed has no order ids, its files are not there any more or have changed, or training is too short.
    """
    (one, *_), train = paths.real, open_records(run.workdir / "records", "train")
    following, levels = len(one.day.events) - one.events, run.config.data.book_levels
    history = training_orders(run, train, paths.instrument, following=following)
    with tempfile.TemporaryDirectory() as store:
        day = feed_day(run, paths.instrument, pathlib.Path(store))
        for each in paths.real:
            check_same_events(day, each.day, each.first_event)
        known = known_orders(day, [_end(each) for each in paths.real], following=following, levels=levels)
    if not len(known.orders):
        raise InputError(
            "no order that rests in the book at the end of a prompt has an id",
            where="config.generate.prompts",
            expected="at least one order on the levels that the model sees",
            was=f"{known.without_id:,} orders without an id",
            remedy="generate from more prompts, or from later ones",
        )
    watched = watched_orders(known, paths.days)
    horizons = {unit: _horizons(unit, watched.reach[unit]) for unit in UNITS}
    scale = {unit: _scale(train, unit, horizons[unit], paths.instrument.symbol) for unit in UNITS}
    found = score_orders(watched, Benchmarks(fit_climatology(history), scale), horizons, seed=seed)
    about = {"moments": len(history.books), "orders": len(history.orders), "digest": digest_of_history(history)}
    return {**found, "training": about}


def _end(one: Continued) -> int:
    """Return the index in the day of the first event after a prompt."""
    return one.first_event + one.events


def training_orders(run: Run, train: RecordSource, instrument: Instrument, *, following: int) -> Known:
    """Return resting orders at moments of the last training day of an instrument, and what became of them.

    No event after the training part of the day is read: moments are at least as far from its end as orders are
    followed.

    Args:
      run: the run.
      train: the records of its training split.
      instrument: the instrument.
      following: events for which orders are followed.

    Raises:
      InputError: as `forecast_orders`.
    """
    numbers = reversed(range(len(train)))
    last = next((k for k in numbers if record_instrument(train[k]).symbol == instrument.symbol), None)
    places = [] if last is None else surveyed(train, train[last]["instrument"])
    count = places[-1].last - following - places[0].first + 1 if places else 0
    if last is None or count < 1:
        raise InputError(
            "training is too short for frequencies of fills",
            where="the training split",
            expected=f"at least {following:,} events of {instrument.symbol} on its last day",
            was=f"{places[-1].last - places[0].first:,}" if places else "none",
            remedy="generate fewer events (--config.generate.events=)",
        )
    at = places[0].first + np.unique(np.linspace(0, count - 1, min(count, MOST_MOMENTS)).astype(int))
    with tempfile.TemporaryDirectory() as store:
        day = feed_day(run, record_instrument(train[last]), pathlib.Path(store))
        return known_orders(day, at.tolist(), following=following, levels=run.config.data.book_levels)


def digest_of_history(history: Known) -> str:
    """Return a digest of the orders that a climatology counts."""
    orders = history.orders
    return digest([orders.distance_O, orders.ahead_O, history.truth["events"]])


def feed_day(run: Run, instrument: Instrument, store: pathlib.Path) -> MarketDay:
    """Read the day of an instrument again from a run's feed.

    Args:
      run: the run.
      instrument: the instrument and its day.
      store: folder for files with the events; it must exist as long as they are used.

    Raises:
      InputError: the files are not there, or hold no such day.
    """
    feed, sources = find_days(run.config)
    wanted = (instrument.symbol, instrument.trading_day)
    source = next((one for one in sources if (one.symbol, one.trading_day) == wanted), None)
    if source is None:
        raise InputError(
            "the feed does not have the day of the records any more",
            where="config.data.path",
            expected=" ".join(wanted),
            was=[f"{one.symbol} {one.trading_day}" for one in sources[:10]],
            remedy="name the files that the records were made from",
        )
    return feed.read(source, dataclasses.replace(reading_of(run.config, run.workdir), store=store))


def _horizons(unit: str, reach_N: np.ndarray) -> tuple[int, ...]:
    """Return the horizons that nearly all prompts reach."""
    return tuple(moment for moment in MOMENTS[unit] if (reach_N >= moment).mean() >= SHARE)


def _scale(train: RecordSource, unit: str, horizons: tuple[int, ...], symbol: str) -> dict[float, float]:
    """Return the root mean square move of the mid in training at each horizon, ticks."""
    if not horizons:
        return {}
    moves_MH = moves_in(train, Horizons(unit, horizons), symbol=symbol)
    scale_H = np.sqrt(np.square(moves_MH).mean(0)) if len(moves_MH) else np.zeros(len(horizons))
    return dict(zip(horizons, scale_H.tolist(), strict=True))
