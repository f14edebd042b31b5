"""The compiled loop that follows the flow of a day's events, see `lob_jax.book.flow`."""

import math
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from lob_jax.book.features import best_sizes, spread_ticks
from lob_jax.book.flow import (
    CLASSES,
    DECAY_H,
    EVERY,
    FLOW_FEATURES,
    HALF_LIVES,
    LEAST_ADDS,
    MEAN_HALF_LIVES,
    MOST_EVENTS,
    MOST_SECONDS,
    MOVE,
    RUN,
    Column,
    FlowState,
    Touch,
    flow_features,
)
from lob_jax.book.loops import as_column
from lob_jax.events.schema import Kind
from lob_jax.jit import in_place

_CONTROL, _EXECUTE, _HIDDEN = int(Kind.CONTROL), int(Kind.EXECUTE), int(Kind.EXECUTE_HIDDEN)
_ADD, _SPREADS, _ADD_SIZES, _TOUCHES = int(Kind.ADD), int(Column.SPREADS), int(Column.ADD_SIZES), int(Column.TOUCHES)
_JOINED, _IMPROVED, _CLEARED, _TOUCH_KINDS = int(Touch.JOINED), int(Touch.IMPROVED), int(Touch.CLEARED), len(Touch)
_SECONDS, _EVENTS, _SHARES, _GAPS = int(Column.SECONDS), int(Column.EVENTS), int(Column.SHARES), int(Column.GAPS)
_RUN, _MOVE, _LIVES, _MEANS = int(Column.RUN_SIGN), int(Column.MOVE_SIGN), len(HALF_LIVES), len(MEAN_HALF_LIVES)
_NO_ROWS = np.empty((0, FLOW_FEATURES), np.float32)
_NS, _NS_PER_US = 1e9, 1e3


class FlowEvents(NamedTuple):
    """What the flow of E events is, int64 [E] each.

    Attributes:
      kind: a `Kind`.
      side: +1 bid, -1 ask, of the resting order; 0 for CONTROL.
      size: lots.
      gap_ns: since the previous event.
      move2: change of the best bid plus the best ask, price quanta; 0 if a side is empty before or after the event.
      spread: after the event, ticks; 0 if a side is empty.
      inward: move of the best price of its side towards the other side, half price quanta; 0 if a side is empty before
        or after the event, and for CONTROL. Both best prices of a crossed book are taken to be its mid price.
      grew: 1 if both sides are occupied before and after the event, and the lots at the best price of its side have
        grown, else 0.
    """

    kind: np.ndarray
    side: np.ndarray
    size: np.ndarray
    gap_ns: np.ndarray
    move2: np.ndarray
    spread: np.ndarray
    inward: np.ndarray
    grew: np.ndarray


def mid_moves(mid2: np.ndarray, two_sided: np.ndarray) -> np.ndarray:
    """Return `FlowEvents.move2` of E events from the E + 1 states of the book around them."""
    return np.where(two_sided[:-1] & two_sided[1:], np.diff(mid2), 0)


def flow_events(
    spelled: Iterable[np.ndarray], *, mid2: np.ndarray, two_sided: np.ndarray, features_EF: np.ndarray, tick: int
) -> FlowEvents:
    """Return the flow of E events.

    Args:
      spelled: kind, side, size and gap of each, see `Tokenizer.spelled`.
      mid2, two_sided: of the E + 1 states of the book around them, see `BookStates`.
      features_EF: features of these states, see `book_features`.
      tick: price quanta per tick.
    """
    kind, side, size, gap_ns = spelled
    move2, spread, sizes_2E = mid_moves(mid2, two_sided), spread_ticks(features_EF), best_sizes(features_EF)
    both = two_sided[:-1] & two_sided[1:] & (side != 0)
    inward = np.where(both, side * move2 - tick * np.diff(spread), 0)
    grew = both & (np.diff(sizes_2E) > 0)[(side < 0).astype(np.intp), np.arange(len(kind))]
    return FlowEvents(kind, side, size, gap_ns, move2, spread[1:], inward, grew)


def flow_along(state: FlowState, events: FlowEvents, *, start_ns: int, tick: int) -> np.ndarray:
    """Return the flow features before each of E events, and after the last, float32 [E+1, FLOW_FEATURES].

    Args:
      state: the state before the first event.
      events: the events.
      start_ns: the clock before the first event.
      tick: price quanta per tick.
    """
    numbers_EF = np.empty((len(events.kind) + 1, FLOW_FEATURES), np.float32)
    _follow(_copied(state), _columns(events), start_ns, tick, DECAY_H, numbers_EF)
    return flow_features(numbers_EF)


def flow_after(state: FlowState, events: FlowEvents, *, start_ns: int, tick: int) -> FlowState:
    """Return the state after some events; arguments as for `flow_along`."""
    after = _copied(state)
    _follow(after, _columns(events), start_ns, tick, DECAY_H, _NO_ROWS)
    return after


def _copied(state: FlowState) -> FlowState:
    return FlowState(*(np.array(column) for column in state))


def _columns(events: FlowEvents) -> FlowEvents:
    return FlowEvents(*(as_column(column, np.int64) for column in events))


@in_place
def _follow(
    state: FlowState, events: FlowEvents, start_ns: int, tick: int, decay_H: np.ndarray, numbers_EF: np.ndarray
) -> None:
    """Advance the state over all events, and write the numbers before each and after the last, if there are rows."""
    clock = start_ns
    for i in range(len(events.kind) + 1):
        if i > 0:
            clock += events.gap_ns[i - 1]
            spelled = events.kind[i - 1], events.side[i - 1], events.size[i - 1], events.gap_ns[i - 1]
            quotes = events.move2[i - 1], events.spread[i - 1], events.inward[i - 1], events.grew[i - 1]
            take_event(state, *spelled, *quotes, clock, tick, decay_H)
        if len(numbers_EF) > 0:
            write_numbers(state, clock, numbers_EF[i])


@in_place
def take_event(
    state: FlowState,
    kind: int,
    side: int,
    size: int,
    gap_ns: int,
    move2: int,
    spread: int,
    inward: int,
    grew: int,
    clock: int,
    tick: int,
    decay_H: np.ndarray,
) -> None:
    """Advance the state by an event, see `FlowEvents`, after which the clock is `clock`; all numbers are int64."""
    for row in range(CLASSES + 1):
        state.events[row] = min(state.events[row] + 1, MOST_EVENTS)
        for h in range(_LIVES):
            state.sums[row, h] *= decay_H[h]
    log_gap = np.float32(math.log1p(max(gap_ns, 0) / _NS_PER_US))
    log_spread = np.float32(math.log1p(spread))
    for h in range(_MEANS):
        state.gaps[h] = state.gaps[h] * decay_H[h] + log_gap
        state.spreads[h] = state.spreads[h] * decay_H[h] + log_spread
        state.add_sizes[h] *= decay_H[h]
        for touch in range(_TOUCH_KINDS):
            state.touches[touch, h] *= decay_H[h]
    for h in range(_LIVES):
        state.sums[EVERY, h] += np.float32(1)
    if kind == _ADD:
        log_size = np.float32(math.log1p(size))
        for h in range(_MEANS):
            state.add_sizes[h] += log_size
    touch = _touch(kind, inward, grew)
    if touch >= 0:
        for h in range(_MEANS):
            state.touches[touch, h] += np.float32(1)
    if kind != _CONTROL:
        row = 2 * (kind - 1) + (0 if side > 0 else 1)
        state.time_ns[row], state.events[row] = clock, 0
        for h in range(_LIVES):
            state.sums[row, h] += np.float32(1)
    if kind in (_EXECUTE, _HIDDEN):
        if state.run[0] != -side:
            state.run[0], state.run[1], state.run[2] = -side, 0, 0
            state.time_ns[RUN] = clock
        state.run[1] += np.float32(1)
        state.run[2] += np.float32(size)
    if move2 != 0:
        state.move[0], state.move[1] = 1 if move2 > 0 else -1, abs(move2) / (2 * tick)
        state.time_ns[MOVE], state.events[CLASSES] = clock, 0


@in_place
def _touch(kind: int, inward: int, grew: int) -> int:
    """Return what an event did to the best price of its side, a `Touch`, or -1 if nothing."""
    if kind == _ADD:
        if inward > 0:
            return _IMPROVED
        return _JOINED if inward == 0 and grew else -1
    return _CLEARED if inward < 0 and kind <= _EXECUTE else -1


@in_place
def write_numbers(state: FlowState, clock: int, numbers_F: np.ndarray) -> None:
    """Write the numbers that `flow_features` describes, at a time."""
    for c in range(CLASSES):
        numbers_F[_SECONDS + c] = _seconds(clock, state.time_ns[c])
        numbers_F[_EVENTS + c] = state.events[c]
        for h in range(_LIVES):
            every = max(state.sums[EVERY, h], np.float32(1))
            numbers_F[_SHARES + h * CLASSES + c] = state.sums[c, h] / every
    for k in range(3):
        numbers_F[_RUN + k] = state.run[k]
    numbers_F[_RUN + 3] = _seconds(clock, state.time_ns[RUN])
    numbers_F[_MOVE], numbers_F[_MOVE + 1] = state.move[0], state.move[1]
    for h in range(_MEANS):
        every = max(state.sums[EVERY, h], np.float32(1))
        adds = max(state.sums[0, h] + state.sums[1, h], np.float32(LEAST_ADDS))
        numbers_F[_GAPS + h] = state.gaps[h] / every
        numbers_F[_SPREADS + h] = state.spreads[h] / every
        numbers_F[_ADD_SIZES + h] = state.add_sizes[h] / adds
        numbers_F[_TOUCHES + _JOINED * _MEANS + h] = state.touches[_JOINED, h] / adds
        numbers_F[_TOUCHES + _IMPROVED * _MEANS + h] = state.touches[_IMPROVED, h] / adds
        numbers_F[_TOUCHES + _CLEARED * _MEANS + h] = state.touches[_CLEARED, h] / every
    numbers_F[_MOVE + 2], numbers_F[_MOVE + 3] = _seconds(clock, state.time_ns[MOVE]), state.events[CLASSES]


@in_place
def _seconds(clock: int, since: int) -> float:
    """Return the seconds from a time to the clock, within 0..MOST_SECONDS."""
    return min(max((clock - since) / _NS, 0.0), MOST_SECONDS)
