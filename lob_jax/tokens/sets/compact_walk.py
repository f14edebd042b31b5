"""The compiled walk over compact tokens: the set in the place of each, on the true book before its event."""

from typing import NamedTuple

import numpy as np

from lob_jax.book.kernel import reference
from lob_jax.book.loops import CorrectionColumns, EventColumns, amend, step
from lob_jax.book.orders import Book
from lob_jax.events.schema import BID, Code, Kind
from lob_jax.jit import in_place, inner
from lob_jax.tokens import vocabulary as v
from lob_jax.tokens.sets.bins import Bins, Scan, new_scan, put_bins
from lob_jax.tokens.sets.escape import Escape
from lob_jax.tokens.sets.limits import EXECUTE, Rules, closed_after, is_halted, unit_of
from lob_jax.tokens.sets.ranges import BEGIN, END, ROW_ROOM, Ranges, Stop, put
from lob_jax.tokens.sets.reasons import control_reason, event_reason
from lob_jax.tokens.sets.token_sets import is_in

_CONTROL, _CLEAR = int(Kind.CONTROL), int(Code.CLEAR)
_INSIDE, _IN_A_HALT = int(Escape.INSIDE), int(Escape.IN_A_HALT)
_DONE, _FULL = int(Stop.DONE), int(Stop.FULL)


class CompactWalk(NamedTuple):
    """A walk in progress.

    Attributes:
      book: the true book, before the next event.
      events: those of the day; kind, code and side as int64.
      corrections: those of the day.
      rules: the constants of the day.
      bins: the edges of the bins.
      scan: see `Scan`.
      closed: int64 [1], what halts have closed.
      cursor: int64 [1], the first correction not yet applied.
    """

    book: Book
    events: EventColumns
    corrections: CorrectionColumns
    rules: Rules
    bins: Bins
    scan: Scan
    closed: np.ndarray
    cursor: np.ndarray


def new_compact_walk(
    book: Book, events: EventColumns, corrections: CorrectionColumns, rules: Rules, bins: Bins, *, closed: int
) -> CompactWalk:
    """Return a walk before its first token."""
    return CompactWalk(book, events, corrections, rules, bins, new_scan(), np.array([closed]), np.zeros(1, np.int64))


@in_place
def advance(
    walk: CompactWalk, ranges: Ranges, tokens: np.ndarray, at: int, offset: np.ndarray, outside: np.ndarray
) -> tuple[int, int]:
    """Walk from the token `at` on, as far as there is room, see `walk.advance`."""
    while at < len(tokens):
        begin, token = ranges.at[END], tokens[at]
        if len(ranges.first) - begin < ROW_ROOM:
            return at, _FULL
        offset[at], ranges.at[BEGIN] = begin, begin
        if token == v.PAD:
            put(ranges, v.PAD, v.PAD)
        else:
            put_bins(ranges, walk.book, walk.scan, walk.bins, walk.closed[0], walk.rules)
        escapes = not is_in(ranges.first, ranges.last, begin, ranges.at[END], token)
        outside[at] = _reason(walk, at) if escapes else _INSIDE
        if token != v.EOS and token != v.PAD:
            _take(walk, at)
        at += 1
    offset[at] = ranges.at[END]
    return at, _DONE


@inner
def _reason(walk: CompactWalk, event: int) -> int:
    """Return why the bins of an event contain none that the book allows: why it does not allow this one."""
    events, rules = walk.events, walk.rules
    kind, side = events.kind[event], events.side[event]
    if kind == _CONTROL:
        return control_reason(events.code[event])
    if is_halted(kind, walk.closed[0]):
        return _IN_A_HALT
    distance = side * (reference(walk.book, side) - events.price[event]) // unit_of(kind, rules)
    return event_reason(walk.book, kind, 0 if side == BID else 1, distance, events.size[event], rules)


@inner
def _take(walk: CompactWalk, event: int) -> None:
    """Apply an event and its corrections to the book."""
    events, stale = walk.events, walk.scan.stale
    step(walk.book, events, event)
    if events.kind[event] == _CONTROL:
        walk.closed[0] = closed_after(events.code[event], walk.closed[0])
        if events.code[event] == _CLEAR:
            stale[:] = 1
    elif events.kind[event] <= EXECUTE:
        stale[0 if events.side[event] == BID else 1] = 1
    cursor = amend(walk.book, walk.corrections, walk.cursor[0], event)
    if cursor > walk.cursor[0]:
        stale[:] = 1
    walk.cursor[0] = cursor
