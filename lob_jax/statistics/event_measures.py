"""Measurements of events without their book, in chunks: the columns may be larger than memory."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from lob_jax.events.instrument import NS_PER_SECOND, Instrument
from lob_jax.events.schema import ASK, Code, Events, Flag, Kind
from lob_jax.jit import njit
from lob_jax.statistics.histograms import new_histogram, note_all, summarize

WINDOWS_NS = {"1 s": NS_PER_SECOND, "100 ms": NS_PER_SECOND // 10, "1 ms": NS_PER_SECOND // 1000}
SHOWN = 10  # entries in the lists of longest silences, largest trades and first CONTROL events
_RUN_EVENTS = 1 << 16
_TRADES = (Kind.EXECUTE, Kind.EXECUTE_HIDDEN, Kind.CROSS)


def _runs(events: Events) -> Iterator[Events]:
    for first in range(0, len(events), _RUN_EVENTS):
        yield events[first : first + _RUN_EVENTS]


def kinds(events: Events, instrument: Instrument) -> dict[str, dict[str, float]]:
    """Return for each kind the number of events, how many of them are on the ask side, and their quantity."""
    counts, asks, lots = (np.zeros(len(Kind) + 1, np.int64) for _ in range(3))
    for run in _runs(events):
        counts += np.bincount(run.kind, minlength=len(counts))
        asks += np.bincount(run.kind[run.side == ASK], minlength=len(counts))
        np.add.at(lots, run.kind, run.size)
    return {
        kind.name: {
            "events": int(counts[kind]),
            "share": int(counts[kind]) / max(len(events), 1),
            "asks": int(asks[kind]),
            "quantity": int(lots[kind]) / instrument.lot_scale,
        }
        for kind in Kind
    }


def control(events: Events) -> dict[str, Any]:
    """Return the number of CONTROL events by name, and the first ones as (time, name)."""
    counts = np.zeros(len(Code), np.int64)
    first: list[tuple[int, str]] = []
    for run in _runs(events):
        rows = np.flatnonzero(run.kind == Kind.CONTROL)
        counts += np.bincount(run.code[rows], minlength=len(Code))
        first += [(int(run.time_ns[row]), Code(run.code[row]).name) for row in rows[: SHOWN - len(first)]]
    return {"counts": {code.name: int(counts[code]) for code in Code if counts[code]}, "first": first}


def rates(events: Events) -> dict[str, float]:
    """Return the average events per second, and the most events within any window of each length."""
    if len(events) < 2:
        return {"mean_a_second": 0.0, **dict.fromkeys(WINDOWS_NS, len(events))}
    seconds = (int(events.time_ns[-1]) - int(events.time_ns[0])) / NS_PER_SECOND
    most = {name: int(_busiest(np.asarray(events.time_ns), window)) for name, window in WINDOWS_NS.items()}
    return {"mean_a_second": len(events) / seconds if seconds > 0 else 0.0, **most}


@njit
def _busiest(time_ns: np.ndarray, window_ns: int) -> int:
    """Return the most events in any window [t, t + window), with times replaced by their running maximum."""
    most, first = 0, 0
    latest = first_latest = time_ns[0]
    for i in range(len(time_ns)):
        latest = max(latest, time_ns[i])
        while first_latest <= latest - window_ns:
            first += 1
            first_latest = max(first_latest, time_ns[first])
        most = max(most, i - first + 1)
    return most


def gaps(events: Events) -> dict[str, Any]:
    """Return the distribution of the time between events, and the longest silences as (begin, length)."""
    longest: list[tuple[int, ...]] = []
    histogram = new_histogram()
    zeros = backwards = 0
    for first in range(0, len(events) - 1, _RUN_EVENTS):
        # One more row than a chunk, for the gap between this chunk and the next one.
        time_ns = np.asarray(events.time_ns[first : first + _RUN_EVENTS + 1])
        gap = np.diff(time_ns)
        zeros += int(np.count_nonzero(gap == 0))
        backwards += int(np.count_nonzero(gap < 0))
        note_all(histogram, gap)
        longest = _most(longest, gap, time_ns[:-1])
    return {
        "quantiles_ns": summarize(histogram),
        "zero_share": zeros / max(len(events) - 1, 1),
        "backwards": backwards,
        "longest": [(begin, length) for length, begin in longest],
    }


def _most(so_far: list[tuple[int, ...]], values: np.ndarray, *beside: np.ndarray) -> list[tuple[int, ...]]:
    """Merge new values, each with its entries in the `beside` columns, into the largest so far; ties keep the order."""
    # Both sorts are stable, so that among equal values the earliest wins whatever the chunk size.
    top = np.argsort(-values, kind="stable")[:SHOWN]
    new = zip(*(column[top].tolist() for column in (values, *beside)), strict=True)
    return sorted([*so_far, *new], key=lambda entry: -entry[0])[:SHOWN]


def latency(events: Events) -> dict[str, float]:
    """Return the distribution of capture time minus exchange time, ns, over the events that have both."""
    histogram = new_histogram()
    for run in _runs(events):
        known = run.receive_ns > 0
        note_all(histogram, np.asarray(run.receive_ns[known] - run.time_ns[known]))
    return summarize(histogram)


def sizes(events: Events, instrument: Instrument) -> dict[str, float]:
    """Return the distribution of the quantities of all events except CONTROL."""
    histogram = new_histogram()
    for run in _runs(events):
        note_all(histogram, np.asarray(run.size[run.kind != Kind.CONTROL]))
    return summarize(histogram, instrument.lot_scale)


def trades(events: Events, instrument: Instrument) -> dict[str, Any]:
    """Return statistics of trades: quantities by aggressor, prices, the largest as (time, price, size, kind)."""
    histogram = new_histogram()
    largest: list[tuple[int, ...]] = []
    lots = dict.fromkeys(("volume", "bought", "sold", "unknown_aggressor", "hidden"), 0)
    bounds: list[int] = []
    count, paid = 0, 0.0
    for run in _runs(events):
        run = run[np.isin(run.kind, _TRADES)]
        if not len(run):
            continue
        price, size = np.asarray(run.price), np.asarray(run.size)
        for name, part in zip(lots, _parts(run), strict=True):
            lots[name] += int(size[part].sum())
        count += len(run)
        paid += float((price / instrument.price_scale * size).sum())
        bounds += [int(price.min()), int(price.max())]
        note_all(histogram, size)
        largest = _most(largest, size, run.time_ns, price, run.kind)
    return {
        "count": count,
        **{name: amount / instrument.lot_scale for name, amount in lots.items()},
        "vwap": paid / lots["volume"] if lots["volume"] else None,
        "low": min(bounds) / instrument.price_scale if bounds else None,
        "high": max(bounds) / instrument.price_scale if bounds else None,
        "sizes": summarize(histogram, instrument.lot_scale),
        "largest": [
            (time_ns, price / instrument.price_scale, size / instrument.lot_scale, Kind(kind).name)
            for size, time_ns, price, kind in largest
        ],
    }


def _parts(run: Events) -> tuple[np.ndarray, ...]:
    """Return masks of trades, bool [E] each: all, bought, sold, of unknown aggressor, hidden."""
    known, bought = (run.flags & Flag.AGGRESSOR_KNOWN) > 0, run.side == ASK
    return np.full(len(run), True), known & bought, known & ~bought, ~known, run.kind == Kind.EXECUTE_HIDDEN
