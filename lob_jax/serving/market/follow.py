"""What follows an event whatever the tokens: compiled functions that note it, and what a model reads after it."""

import numpy as np

from lob_jax.book.kernel import reference
from lob_jax.book.loops import write_levels
from lob_jax.book.orders import Book
from lob_jax.book.queue import MOST_RECENT, RECENT_OF_KIND, RECENT_SIZES
from lob_jax.events.halts import CLOSED as HALTED
from lob_jax.events.halts import OPEN
from lob_jax.events.schema import Code, Kind
from lob_jax.generation.host.known import note_token
from lob_jax.jit import inner
from lob_jax.serving.market.state import CLOCK, CLOSED, EVENTS, Rows, State
from lob_jax.tokens.sets.escape import Escape
from lob_jax.tokens.sets.limits import DELETE, NO_LEVEL, Rules, closed_after, has_order, is_halted, sizes, unit_of
from lob_jax.tokens.sets.price_memory import remember_event
from lob_jax.tokens.sets.reasons import control_reason, event_reason
from lob_jax.tokens.sets.walk import note_anchors, remember

_CONTROL, _CLEAR = int(Kind.CONTROL), int(Code.CLEAR)
_HALT, _RESUME_QUOTE, _RESUME_TRADE = int(Code.HALT), int(Code.RESUME_QUOTE), int(Code.RESUME_TRADE)
_INSIDE, _IN_A_HALT = int(Escape.INSIDE), int(Escape.IN_A_HALT)


@inner
def distance_of(book: Book, kind: int, side: int, price: int, rules: Rules) -> int:
    """Return the distance of a price from its reference, in the units of its kind, positive deeper."""
    return (reference(book, side) - price) * side // unit_of(kind, rules)


@inner
def escape_of(book: Book, kind: int, code: int, s: int, distance: int, size: int, closed: int, rules: Rules) -> int:
    """Return why the book before an event does not allow it, an `Escape`."""
    if kind == _CONTROL:
        return _INSIDE if _may_follow(code, closed) else control_reason(code)
    if is_halted(kind, closed):
        return _IN_A_HALT
    if size <= rules.most_lots:
        row, most = sizes(book, kind, s, distance, rules)
        if size <= most or (kind == DELETE and row != NO_LEVEL and has_order(book, s, row, size)):
            return _INSIDE
    return event_reason(book, kind, s, distance, size, rules)


@inner
def _may_follow(code: int, closed: int) -> bool:
    """Return whether a CONTROL code may come now, see `heads.put_controls`."""
    if code == _HALT:
        return closed < HALTED
    if code == _RESUME_QUOTE:
        return closed == HALTED
    return closed > OPEN if code == _RESUME_TRADE else code != _CLEAR


@inner
def note_event(state: State, kind: int, code: int, s: int, price: int, size: int, time_ns: int) -> None:
    """Carry on what an event changes besides the book; its size is the one that its tokens say."""
    number, recent = state.number, state.recent
    number[CLOCK] = time_ns
    number[EVENTS] += 1
    remember_event(state.past, kind, s, price, size)
    if kind == _CONTROL:
        number[CLOSED] = closed_after(code, number[CLOSED])
        return
    lots = min(size, MOST_RECENT)
    if RECENT_OF_KIND[kind] >= 0:
        recent[s, RECENT_OF_KIND[kind]] = lots
    recent[0, RECENT_SIZES - 1] = recent[1, RECENT_SIZES - 1] = lots
    remember(state.remembered[s], kind, price)


@inner
def note_market(state: State, rows: Rows, i: int) -> None:
    """Note the levels and the anchors before event i, or after the last."""
    write_levels(state.book, rows.price[i], rows.size[i])
    if len(rows.anchors) > 0:
        note_anchors(state.walk, state.remembered, rows.anchors[i])


@inner
def note_latest(state: State, rows: Rows, t: int) -> None:
    """Note the latest tokens after token t, if a model reads them."""
    if len(rows.latest) == 0:
        return
    note_token(state.latest, np.int64(rows.tokens[t]))
    for column in range(len(state.latest)):
        rows.latest[t, column] = state.latest[column]
