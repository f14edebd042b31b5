"""The compiled loop over the events of a live market whose model reads exact tokens."""

import numpy as np

from lob_jax.book.kernel import apply, clear, level_of
from lob_jax.book.loops import CorrectionColumns, EventColumns, amend, mark_of, step
from lob_jax.events.schema import BID, Code, Kind
from lob_jax.jit import in_place, inner
from lob_jax.serving.market.behind import note_view
from lob_jax.serving.market.faults import FINE, Limits, fault_of
from lob_jax.serving.market.follow import distance_of, escape_of, note_event, note_latest, note_market
from lob_jax.serving.market.state import CARRY, CLOCK, CLOSED, EVENTS, Rows, State
from lob_jax.tokens import numbers
from lob_jax.tokens import vocabulary as v
from lob_jax.tokens.ranks import FIRST_ID, NO_RANK, event_rank, taken_id
from lob_jax.tokens.sets import spelling as sp
from lob_jax.tokens.sets.price_memory import note_price_memory
from lob_jax.tokens.sets.walk import note_queue

_ADD, _EXECUTE, _CONTROL = int(Kind.ADD), int(Kind.EXECUTE), int(Kind.CONTROL)
_CLEAR = int(Code.CLEAR)


@in_place
def follow_exact(
    state: State,
    events: EventColumns,
    time_ns: np.ndarray,
    corrections: CorrectionColumns,
    limits: Limits,
    rows: Rows,
) -> tuple[int, int, int]:
    """Take events one after another, up to the first one that cannot be taken.

    Args:
      state: changed in place: by the corrections before the first event, and by the events that are taken.
      events: E events.
      time_ns: int64 [E], their times.
      corrections: those of these events; those of event -1 take effect before the first.
      limits: what events are compared with.
      rows: filled.

    Returns:
      How many events were taken, how many tokens they have, and the `Fault` of the next event, FINE if there is none.
    """
    cursor = _amend(state, corrections, np.int64(0), np.int64(-1))
    note_market(state, rows, np.int64(0))
    at = np.int64(0)
    for i in range(len(time_ns)):
        fault = fault_of(state.book, events, i, time_ns[i], state.number[CLOCK], state.number[CLOSED], limits)
        if fault != FINE:
            return i, at, fault
        at = _take(state, events, i, time_ns[i], rows, at)
        cursor = _amend(state, corrections, cursor, i)
        note_market(state, rows, i + 1)
    return len(time_ns), at, FINE


@inner
def _amend(state: State, corrections: CorrectionColumns, cursor: int, i: int) -> int:
    """Apply the corrections of event i to both books; return the cursor after them."""
    amend(state.book, corrections, cursor, i)
    return amend(state.walk.book, corrections, cursor, i)


@inner
def _take(state: State, events: EventColumns, i: int, time_ns: int, rows: Rows, at: int) -> int:
    """Take a valid event without its corrections, and write its tokens from position `at` on; return the one after."""
    book, rules = state.walk.book, state.walk.rules
    kind, code, side = np.int64(events.kind[i]), np.int64(events.code[i]), np.int64(events.side[i])
    price, size, s = events.price[i], events.size[i], 0 if side == BID else 1
    distance, row = 0, -1
    if kind != _CONTROL:
        distance = distance_of(book, kind, side, price, rules)
    if _ADD < kind <= _EXECUTE:
        row = level_of(book, s, price)
    rank = event_rank(book, s, row, kind, size, np.int64(events.order_id[i])) if rules.ranks and row >= 0 else NO_RANK
    rows.outside[i] = escape_of(book, kind, code, s, distance, size, state.number[CLOSED], rules)
    gap_at, end = _spell(state, rows, i, at, (kind, code, s, distance, size, rank), time_ns)
    _note_tokens(state, rows, i, at, gap_at, end)
    note_view(state.book, state.behind)
    step(state.book, events, i)
    if kind == _CONTROL:
        if code == _CLEAR:
            clear(book)
    elif kind <= _EXECUTE:
        apply(book, kind, side, price, size, *_named(state, events, i, s, row, rank))
    rows.spelled_size[i] = size
    note_event(state, kind, code, s, price, size, time_ns)
    return end


@inner
def _named(state: State, events: EventColumns, i: int, s: int, row: int, rank: int) -> tuple[int, int]:
    """Return the id of the order that the tokens of an event add or take from, as int64 bits, and the order's MARK."""
    if not state.walk.rules.ranks:
        return np.int64(0), np.int64(0)
    kind, order_id = np.int64(events.kind[i]), np.int64(events.order_id[i])
    if kind != _ADD:
        return taken_id(state.walk.book, s, row, kind, events.size[i], rank), np.int64(0)
    return order_id if order_id != 0 else FIRST_ID - state.number[EVENTS], np.int64(mark_of(events, i))


@inner
def _spell(
    state: State, rows: Rows, i: int, at: int, event: tuple[int, int, int, int, int, int], time_ns: int
) -> tuple[int, int]:
    """Write the tokens of an event; return the position of its gap, and the one after it."""
    kind, code, s, distance, size, rank = event
    tokens, number = rows.tokens, state.number
    gap = time_ns - number[CLOCK]
    rows.gap_ns[i] = numbers.coded_gap(gap, number[CARRY], state.walk.rules.gap_digits)
    number[CARRY] += gap - rows.gap_ns[i]
    if kind == _CONTROL:
        tokens[at] = v.CONTROL_BASE + code
        at += 1
    else:
        at = numbers.write_price(tokens, at, kind * v.CLASS_SIZE + s * v.ASK_OFFSET, distance)
        at = numbers.write_number(tokens, at, v.SIZE, size)
        if rank != NO_RANK:
            at = numbers.write_rank(tokens, at, rank)
    return at, numbers.write_gap(tokens, at, rows.gap_ns[i])


@inner
def _note_tokens(state: State, rows: Rows, i: int, begin: int, gap_at: int, end: int) -> None:
    """Note what is known at each token of event i, before the books take it."""
    walk, tokens = state.walk, rows.tokens
    for t in range(begin, end):
        rows.clock_row[t], rows.book_row[t] = i, i + (t >= gap_at)
        if t < gap_at and len(rows.queue) + len(rows.price_memory) > 0:
            sp.read(walk.spelling, np.int64(tokens[t]), walk.rules.gap_digits)
        if len(rows.queue) > 0:
            rows.queue[t] = 0
            if t < gap_at:
                note_queue(walk, state.recent, rows.queue[t])
        if len(rows.price_memory) > 0:
            rows.price_memory[t] = 0
            if t < gap_at:
                note_price_memory(walk, state.past, rows.price_memory[t])
        note_latest(state, rows, t)
