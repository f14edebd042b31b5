"""Measurements of a day's book, in chunks of events: compiled, over price levels without queues."""

import enum
from typing import Any, NamedTuple

import numpy as np

from lob_jax.book.day import MarketDay
from lob_jax.book.levels import (
    END,
    FIRST,
    Levels,
    amend_levels,
    best,
    is_bare,
    is_two_sided,
    load_levels,
    size_at,
    step_levels,
    with_level_room,
)
from lob_jax.book.loops import CorrectionColumns, EventColumns, correction_columns, cut, event_columns, most_added
from lob_jax.events.instrument import NS_PER_SECOND
from lob_jax.jit import in_place
from lob_jax.statistics.histograms import Histogram, new_histogram, note, summarize

_RUN_EVENTS = 1 << 16


class _State(enum.IntEnum):
    """Which state the book is in, named as in reports."""

    SOUND = -1
    CROSSED = 0
    LOCKED = 1
    ONE_SIDED = 2
    EMPTY = 3


STATES = tuple(state.name.lower() for state in _State if state >= 0)


class _Histograms(NamedTuple):
    """Distributions over the book's states, in price quanta and lots; a move is a change of best bid + best ask."""

    spread: Histogram
    spread_by_time: Histogram
    bid_best: Histogram
    ask_best: Histogram
    bid_depth: Histogram
    ask_depth: Histogram
    move: Histogram


class _Tally(NamedTuple):
    """Counts and extremes that are updated from event to event.

    Attributes:
      states: int64 [4], how many events left the book in each of `STATES`.
      lasted_ns: int64 [4], how long the book was in each of them.
      mid2: int64 [4], best bid + best ask: first, lowest, highest, last.
      has_mid: bool [1], whether both have existed at any time.
      clock: int64 [1], the latest time so far.
    """

    states: np.ndarray
    lasted_ns: np.ndarray
    mid2: np.ndarray
    has_mid: np.ndarray
    clock: np.ndarray


def book(day: MarketDay, levels: int) -> dict[str, Any]:
    """Return the distributions of spread and depth, the path of the mid, and the counts of irregular states.

    Each state is weighted once per event ("spread_ticks") or by its duration; depth is weighted by duration.

    Args:
      day: the day to measure.
      levels: occupied levels per side over which depth is summed.
    """
    instrument, kept, histograms, tally = day.instrument, load_levels(day.start), _new_histograms(), _new_tally(day)
    columns, corrected = event_columns(day.events), correction_columns(day.corrections, len(day.events))
    _note_mid(tally, kept)
    for first in range(0, len(day.events), _RUN_EVENTS):
        stop = min(first + _RUN_EVENTS, len(day.events))
        run, own = cut(columns, corrected, first, stop)
        kept = with_level_room(kept, most_added(run, own))
        _measure(kept, histograms, tally, np.ascontiguousarray(day.events.time_ns[first:stop]), run, own, levels)
    unknown_level, over_removal = kept.counters[:2].tolist()
    mids = [mid2 / 2 / instrument.price_scale for mid2 in tally.mid2.tolist()] if tally.has_mid[0] else [None] * 4
    return {
        "levels": levels,
        "spread_ticks": summarize(histograms.spread, instrument.tick),
        "spread_ticks_by_time": summarize(histograms.spread_by_time, instrument.tick),
        "bid_best_size": summarize(histograms.bid_best, instrument.lot_scale),
        "ask_best_size": summarize(histograms.ask_best, instrument.lot_scale),
        "bid_depth": summarize(histograms.bid_depth, instrument.lot_scale),
        "ask_depth": summarize(histograms.ask_depth, instrument.lot_scale),
        "mid": dict(zip(("first", "low", "high", "last"), mids, strict=True)),
        "mid_moves": int(histograms.move.weight.sum()),
        "mid_move_ticks": summarize(histograms.move, 2 * instrument.tick),
        "states": dict(zip(STATES, tally.states.tolist(), strict=True)),
        "states_s": dict(zip(STATES, (tally.lasted_ns / NS_PER_SECOND).tolist(), strict=True)),
        "unknown_level": unknown_level,
        "over_removal": over_removal,
    }


def _new_histograms() -> _Histograms:
    return _Histograms(*(new_histogram() for _ in _Histograms._fields))


def _new_tally(day: MarketDay) -> _Tally:
    first = int(day.events.time_ns[0]) if len(day.events) else day.start.time_ns
    begin = min(day.start.time_ns, first) if day.start.time_ns > 0 else first
    return _Tally(*(np.zeros(4, np.int64) for _ in range(3)), np.zeros(1, np.bool_), np.array([begin]))


@in_place
def _measure(
    levels: Levels,
    histograms: _Histograms,
    tally: _Tally,
    time_ns: np.ndarray,
    events: EventColumns,
    corrections: CorrectionColumns,
    wanted: int,
) -> None:
    """Advance the levels over events and their corrections, recording the state before and after each event."""
    cursor = 0
    for i in range(len(time_ns)):
        # Times may run backwards: such an event lasts 0 ns and does not set the clock back.
        lasted = max(time_ns[i] - tally.clock[0], 0)
        tally.clock[0] += lasted
        was_two_sided, before = is_two_sided(levels), _mid2(levels)
        _note_state(levels, histograms, tally, lasted, wanted)
        step_levels(levels, events, i)
        cursor = amend_levels(levels, corrections, cursor, i)
        state = _state(levels)
        if state != _State.SOUND:
            tally.states[state] += 1
        after = _mid2(levels)
        if was_two_sided and is_two_sided(levels) and before != after:
            note(histograms.move, abs(after - before), 1)
        _note_mid(tally, levels)


@in_place
def _state(levels: Levels) -> int:
    """Return which state the book is in."""
    if not is_two_sided(levels):
        return _State.EMPTY if is_bare(levels, 0) and is_bare(levels, 1) else _State.ONE_SIDED
    spread = best(levels, 1) - best(levels, 0)
    return _State.SOUND if spread > 0 else (_State.CROSSED if spread < 0 else _State.LOCKED)


@in_place
def _mid2(levels: Levels) -> int:
    """Return best bid + best ask, 0 if a side is empty."""
    return best(levels, 0) + best(levels, 1) if is_two_sided(levels) else 0


@in_place
def _note_mid(tally: _Tally, levels: Levels) -> None:
    if is_two_sided(levels):
        mid2 = _mid2(levels)
        if not tally.has_mid[0]:
            tally.has_mid[0], tally.mid2[:] = True, mid2
        tally.mid2[1], tally.mid2[2] = min(tally.mid2[1], mid2), max(tally.mid2[2], mid2)
        tally.mid2[3] = mid2


@in_place
def _note_state(levels: Levels, histograms: _Histograms, tally: _Tally, lasted: int, wanted: int) -> None:
    """Record a state that lasted `lasted` ns."""
    state = _state(levels)
    if state != _State.SOUND:
        tally.lasted_ns[state] += lasted
    if state < _State.ONE_SIDED:
        spread = best(levels, 1) - best(levels, 0)
        note(histograms.spread, spread, 1)
        note(histograms.spread_by_time, spread, lasted)
    if lasted > 0:
        _note_depth(levels, 0, histograms.bid_best, histograms.bid_depth, lasted, wanted)
        _note_depth(levels, 1, histograms.ask_best, histograms.ask_depth, lasted, wanted)


@in_place
def _note_depth(levels: Levels, s: int, at_best: Histogram, depth: Histogram, lasted: int, wanted: int) -> None:
    """Record the size of a side's best level, and the total size of its `wanted` best levels."""
    found, total = 0, 0
    row = levels.side[s, END] - 1
    if row >= levels.side[s, FIRST]:
        note(at_best, size_at(levels, s, levels.price[s, row]), lasted)
    while row >= levels.side[s, FIRST] and found < wanted:
        size = size_at(levels, s, levels.price[s, row])
        total += size
        found += size > 0
        row -= 1
    note(depth, total, lasted)
