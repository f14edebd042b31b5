"""What a bundle says of its run's training and validation events, with which live ones are compared."""

import pathlib
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np

from lob_jax.book.day import MarketDay
from lob_jax.book.replay import replay
from lob_jax.data.records.builder import open_records
from lob_jax.data.records.records import RecordSource, evenly_spaced, read_record, record_instrument
from lob_jax.evaluation.likelihood.event_scores import EventScores
from lob_jax.events.halts import OPEN
from lob_jax.export.contents import Contents
from lob_jax.export.reference.event_counts import EventCounts
from lob_jax.export.reference.features import BINS, UNKNOWN, Before, binned, columns_of, spread_bins
from lob_jax.export.reference.half_hours import HALF_HOURS, half_hours_of
from lob_jax.export.reference.quality import Quality, Scores, quality_of, transform_of
from lob_jax.export.reference.reference import Reference
from lob_jax.export.score import Forward, score
from lob_jax.tokens.numbers import ALL_DIGITS
from lob_jax.tokens.registry import tokenizer_for
from lob_jax.tokens.tokenizer import Ability, Tokenizer

MOST_RECORDS = 1000  # of training that are counted, evenly spaced
PARTS, PART_EVENTS = 8, 512  # of the validation split that the model scores, evenly spaced


class Part(NamedTuple):
    """A part of a day.

    Attributes:
      day: its events, with their starting book.
      first: the first event that counts; those before it are context.
      closed: what is closed before it, see `lob_jax.events.halts`.
    """

    day: MarketDay
    first: int = 0
    closed: int = OPEN


def reference_of(folder: pathlib.Path, contents: Contents, forward: Forward | None) -> Reference | None:
    """Return what live events of a bundle's instrument are compared with.

    Args:
      folder: the folder of the run's records.
      contents: the model, and what generation needs.
      forward: the network, see `lob_jax.export.score.score`; None leaves out how well it predicts.

    Returns:
      The reference; None if the tokens do not give their events back, or no record of training is of the instrument.
    """
    tokenizer = tokenizer_for(contents.vocabulary)
    if Ability.EVENTS in tokenizer.lacks:
        return None
    symbol = contents.instrument.symbol
    features, baseline = counts_of(
        parts_of(open_records(folder, "train"), tokenizer, symbol=symbol, most=MOST_RECORDS),
        digits=contents.vocabulary.time_digits or ALL_DIGITS,
    )
    if not features["class"].any():
        return None
    held_out = parts_of(open_records(folder, "validation"), tokenizer, symbol=symbol, most=PARTS)
    return Reference(
        time_zone=contents.instrument.time_zone,
        tick=contents.instrument.tick,
        comparable=not contents.vocabulary.has_ranks,
        features=features,
        baseline=baseline,
        quality=None if forward is None else validation_quality(held_out, contents, forward, baseline=baseline),
    )


def parts_of(source: RecordSource, tokenizer: Tokenizer, *, symbol: str, most: int) -> Iterator[Part]:
    """Yield the events of at most so many records of an instrument, evenly spaced among the records."""
    for index in evenly_spaced(len(source), min(len(source), most)):
        record = source[index]
        if record_instrument(record).symbol == symbol:
            yield Part(read_record(record, tokenizer), int(record["lead_events"]), int(record["closed"]))


def counts_of(parts: Iterable[Part], *, digits: int) -> tuple[dict[str, np.ndarray], EventCounts]:
    """Count the events of some parts of days.

    Args:
      parts: the parts.
      digits: significant digits that gaps are rounded to.

    Returns:
      int64 [HALF_HOURS, bins] by feature, see `Reference`; and counts that predict events.
    """
    features = {name: np.zeros((HALF_HOURS, bins), np.int64) for name, bins in BINS.items()}
    baseline = EventCounts.nothing(digits=digits)
    for day, first, _ in parts:
        tick, zone = day.instrument.tick, day.instrument.time_zone
        bins, halves = bins_of(day, tick=tick), half_hours_of(day.events.time_ns, zone)
        for name, bin_E in bins.items():
            known = (bin_E != UNKNOWN) & (np.arange(len(bin_E)) >= first)
            np.add.at(features[name], (halves[known], bin_E[known]), 1)
        baseline.add(columns_of(day.events), tick=tick, first=first)
    return features, baseline


def bins_of(day: MarketDay, *, tick: int) -> dict[str, np.ndarray]:
    """Return the bins of all features of a day's events, int64 [E] each.

    Args:
      day: the day.
      tick: price quanta in a tick.
    """
    bins, _ = binned(columns_of(day.events), before=Before(), tick=tick)
    states = replay(day, 1).after()
    spread = (states.price[:, 1, 0] - states.price[:, 0, 0]) // tick
    return {**bins, "spread": spread_bins(np.where(states.two_sided(), spread, np.nan))}


def validation_quality(
    parts: Iterable[Part], contents: Contents, forward: Forward, *, baseline: EventCounts
) -> Quality | None:
    """Return how well a model predicts some parts of days, of each of which PART_EVENTS are scored.

    It is None for a model without a likelihood of the events of one day, and if there are none.

    The run has chosen its checkpoint on this split, which makes the model look a little better than on other days.

    Args:
      parts: the parts.
      contents: the model, and what generation needs.
      forward: the network.
      baseline: what the model is compared with.
    """
    if not contents.model.causal or contents.model.attention.cross_asset:
        return None
    found, rng = [], np.random.default_rng(0)
    for day, first, closed in parts:
        short = day.part(0, first + PART_EVENTS, start=day.start)
        if len(short.events) > first:
            scores = score(contents, short, forward, closed=closed, first=first)
            log_prob = baseline.log_prob(columns_of(short.events), tick=day.instrument.tick, first=first)
            found.append(_columns(scores, log_prob, rng))
    if not found:
        return None
    return quality_of(Scores(*(np.concatenate(column) for column in zip(*found, strict=True))))


def _columns(scores: EventScores, baseline: np.ndarray, rng: np.random.Generator) -> Scores:
    """Return the scores of events in columns."""
    kinds = scores.kinds
    assert kinds is not None, "a model that scores events scores their kinds"
    outside = np.bincount(scores.token_event, weights=scores.outside > 0, minlength=len(baseline))
    return Scores(
        nats=scores.log_likelihood,
        baseline=baseline,
        brier=kinds.brier,
        transform=transform_of(kinds.likelier, kinds.chance, rng),
        entropy_bits=kinds.entropy_bits,
        removed=kinds.removed,
        outside=np.minimum(outside, 1.0),
    )
