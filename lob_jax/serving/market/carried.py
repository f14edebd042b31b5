"""What inputs depend on besides the book, carried from event to event: the flow, recent moves of the mid, the clock."""

from typing import NamedTuple

import numpy as np

from lob_jax.book.flow import DECAY_H, FLOW_FEATURES, FlowState, blank_flow
from lob_jax.book.flow_loop import take_event, write_numbers
from lob_jax.book.loops import EventColumns
from lob_jax.events.instrument import NS_PER_DAY, NS_PER_SECOND
from lob_jax.export.contents import RegimeEdges
from lob_jax.jit import in_place, inner
from lob_jax.serving.market.state import Rows
from lob_jax.statistics.recent import LOOK_BACK


class Carried(NamedTuple):
    """What is carried.

    Attributes:
      flow: the state of the flow.
      clock_ns: int64 [1], the time that the gaps of all tokens lead to, UNIX ns, from which the flow counts.
      sums: float64 [LOOK_BACK + 1], sums of the squared moves of the mid up to the last events: that up to the n-th, at
        n modulo the length.
      moves: int64 [1], n.
      spread: float64 [1], the last known spread, ticks; 0 before one is known.
    """

    flow: FlowState
    clock_ns: np.ndarray
    sums: np.ndarray
    moves: np.ndarray
    spread: np.ndarray


class Units(NamedTuple):
    """The constants of a day that inputs depend on.

    Attributes:
      midnight_ns: of the trading day, UNIX ns.
      time_buckets: time-of-day buckets per day.
      tick: price quanta per tick.
      volatility_edges: float64, ascending, ticks per event, see `lob_jax.data.labels.regimes.Regimes`.
      spread_edges: float64, ascending, ticks.
    """

    midnight_ns: int
    time_buckets: int
    tick: int
    volatility_edges: np.ndarray
    spread_edges: np.ndarray


class Reading(NamedTuple):
    """What a model reads of them, at each of T tokens, or before each of E events and after the last; else no rows.

    Attributes:
      time_of_day: int32 [T].
      clock: int32 [T, 2].
      flow: float32 [E+1, FLOW_FEATURES], see `write_numbers`.
      regime: int32 [E+1].
    """

    time_of_day: np.ndarray
    clock: np.ndarray
    flow: np.ndarray
    regime: np.ndarray


def nothing_carried(time_ns: int) -> Carried:
    """Return what is carried at an opening."""
    return Carried(blank_flow(), np.array([time_ns]), np.zeros(LOOK_BACK + 1), np.zeros(1, np.int64), np.zeros(1))


def units_of(midnight_ns: int, tick: int, *, time_buckets: int, regimes: RegimeEdges | None) -> Units:
    """Return the constants of a day; without thresholds, there is one regime."""
    edges = (regimes.volatility_edges, regimes.spread_edges) if regimes else ((), ())
    return Units(midnight_ns, time_buckets, tick, *(np.array(each, np.float64) for each in edges))


def new_reading(events: int, tokens: int, *, clock: bool, flow: bool, regime: bool) -> Reading:
    """Return memory for what a model reads of E events and T tokens."""
    return Reading(
        np.empty(tokens, np.int32),
        np.empty((tokens if clock else 0, 2), np.int32),
        np.empty((events + 1 if flow else 0, FLOW_FEATURES), np.float32),
        np.empty(events + 1 if regime else 0, np.int32),
    )


@in_place
def carry_on(
    carried: Carried,
    events: EventColumns,
    time_ns: np.ndarray,
    clock_ns: int,
    rows: Rows,
    spread_E: np.ndarray,
    units: Units,
    reading: Reading,
) -> None:
    """Follow events that a market has taken, and note what a model reads of them.

    Args:
      carried: after the event before them; changed in place.
      events: E events.
      time_ns: int64 [E], their times.
      clock_ns: the time of the event before them.
      rows: what was noted of them.
      spread_E: float64 [E+1], spreads before each event and after the last, as the book features have them, ticks.
      units: the constants of the day.
      reading: filled.
    """
    for t in range(len(reading.time_of_day)):
        row = rows.clock_row[t]
        _note_time(reading, t, (clock_ns if row == 0 else time_ns[row - 1]) - units.midnight_ns, units.time_buckets)
    for i in range(len(time_ns) + 1):
        if len(reading.flow) > 0:
            if i > 0:
                _follow_flow(carried, events, rows, i - 1, spread_E, units.tick)
            write_numbers(carried.flow, carried.clock_ns[0], reading.flow[i])
        if len(reading.regime) > 0:
            if i > 0:
                _follow_mid(carried, rows, i - 1, units.tick)
            reading.regime[i] = _regime(carried, rows, i, spread_E[i], units)


@inner
def _note_time(reading: Reading, t: int, since_ns: int, time_buckets: int) -> None:
    within = min(max(since_ns, 0), NS_PER_DAY - 1)
    reading.time_of_day[t] = within * time_buckets // NS_PER_DAY
    if len(reading.clock) > 0:
        reading.clock[t, 0], reading.clock[t, 1] = since_ns // NS_PER_SECOND, since_ns % NS_PER_SECOND


@inner
def _is_two_sided(rows: Rows, i: int) -> bool:
    return rows.size[i, 0, 0] > 0 and rows.size[i, 1, 0] > 0


@inner
def _follow_flow(carried: Carried, events: EventColumns, rows: Rows, i: int, spread_E: np.ndarray, tick: int) -> None:
    """Advance the flow by event i; see `lob_jax.book.flow_loop.flow_events`."""
    price, kind, side = rows.price, np.int64(events.kind[i]), np.int64(events.side[i])
    before, after = np.int64(np.rint(spread_E[i])), np.int64(np.rint(spread_E[i + 1]))
    move2, inward, grew = np.int64(0), np.int64(0), np.int64(0)
    if _is_two_sided(rows, i) and _is_two_sided(rows, i + 1):
        move2 = price[i + 1, 0, 0] + price[i + 1, 1, 0] - price[i, 0, 0] - price[i, 1, 0]
        if side != 0:
            s = 0 if side > 0 else 1
            inward = side * move2 - tick * (after - before)
            grew = np.int64(rows.size[i + 1, s, 0] > rows.size[i, s, 0])
    carried.clock_ns[0] += rows.gap_ns[i]
    spelled = kind, side, rows.spelled_size[i], rows.gap_ns[i]
    quotes = move2, after, inward, grew
    take_event(carried.flow, *spelled, *quotes, carried.clock_ns[0], tick, DECAY_H)


@inner
def _follow_mid(carried: Carried, rows: Rows, i: int, tick: int) -> None:
    """Add the squared move of the mid at event i, in the order in which a day's are added: roundings are the same."""
    sums, moves, move = carried.sums, carried.moves, 0.0
    if _is_two_sided(rows, i) and _is_two_sided(rows, i + 1):
        move = _mid(rows, i + 1, tick) - _mid(rows, i, tick)
    moves[0] += 1
    sums[moves[0] % len(sums)] = sums[(moves[0] - 1) % len(sums)] + move * move


@inner
def _mid(rows: Rows, i: int, tick: int) -> float:
    return (rows.price[i, 0, 0] + rows.price[i, 1, 0]) / 2 / tick


@inner
def _regime(carried: Carried, rows: Rows, i: int, spread: float, units: Units) -> int:
    """Return the regime of state i, see `lob_jax.data.labels.regimes.Regimes.of`."""
    sums, last, count = carried.sums, carried.moves[0], min(carried.moves[0], LOOK_BACK)
    if _is_two_sided(rows, i):
        carried.spread[0] = spread
    moved = sums[last % len(sums)] - sums[(last - count) % len(sums)]
    volatility = np.sqrt(max(moved, 0.0) / max(count, 1))
    by_volatility = np.searchsorted(units.volatility_edges, volatility, side="right")
    by_spread = np.searchsorted(units.spread_edges, carried.spread[0], side="right")
    return by_volatility * (len(units.spread_edges) + 1) + by_spread
