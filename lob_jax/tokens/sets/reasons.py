"""Why a token is outside its set: compiled functions from the event as far as it is spelt to an `Escape`."""

import numpy as np

from lob_jax.book.kernel import is_empty, reference
from lob_jax.book.orders import END, FIRST, Book
from lob_jax.events.schema import Code
from lob_jax.jit import inner
from lob_jax.tokens import vocabulary as v
from lob_jax.tokens.sets import spelling as sp
from lob_jax.tokens.sets.amounts import is_size, rank_choices
from lob_jax.tokens.sets.escape import Escape
from lob_jax.tokens.sets.limits import (
    ADD,
    CANCEL,
    CROSS,
    DELETE,
    EXECUTE,
    EXECUTE_HIDDEN,
    Rules,
    crossing_distance,
    distance_of,
    is_halted,
    sizes,
    view_distance,
)

_CLEAR = int(Code.CLEAR)
# As plain integers: Numba would compile functions again for arguments that are members of an enum.
_INSIDE = int(Escape.INSIDE)
_BEHIND_THE_FRONT, _BEHIND_THE_BEST = int(Escape.BEHIND_THE_FRONT), int(Escape.BEHIND_THE_BEST)
_OFF_THE_QUOTES, _CROSSING, _OUT_OF_VIEW = int(Escape.OFF_THE_QUOTES), int(Escape.CROSSING), int(Escape.OUT_OF_VIEW)
_NO_LEVEL, _NO_SUCH_ORDER, _NOT_A_PART = int(Escape.NO_LEVEL), int(Escape.NO_SUCH_ORDER), int(Escape.NOT_A_PART)
_TOO_MANY_LOTS, _TOO_FAR, _NO_SIZE = int(Escape.TOO_MANY_LOTS), int(Escape.TOO_FAR), int(Escape.NO_SIZE)
_BELOW_THE_LOWEST_PRICE, _TIME_BACK = int(Escape.BELOW_THE_LOWEST_PRICE), int(Escape.TIME_BACK)
_WRONG_RANK = int(Escape.WRONG_RANK)
_IN_A_HALT, _NOT_THE_NEXT_HALT, _CLEARED = int(Escape.IN_A_HALT), int(Escape.NOT_THE_NEXT_HALT), int(Escape.CLEARED)


@inner
def reason(book: Book, spelling: np.ndarray, token: int, rules: Rules) -> int:
    """Return why a token that has just been read is outside its set.

    Args:
      book: the book before the event.
      spelling: the event, the token included.
      token: the token.
      rules: the constants of the day.
    """
    kind, distance = spelling[sp.KIND], spelling[sp.DISTANCE]
    is_rank = v.RANK_BASE <= token < v.RANK_END
    if sp.is_time(token) or is_rank:
        if kind > 0 and not is_size(book, spelling, rules):
            return _size_reason(kind, spelling[sp.SIZE], spelling[sp.SIZE], rules)
        lacks_rank = spelling[sp.RANK] == sp.NO_RANK and rank_choices(book, spelling, rules) > 0
        return _WRONG_RANK if is_rank or lacks_rank else _TIME_BACK
    if spelling[sp.RANK] >= v.RANKS:  # the digits of a rank are the only token that may be outside behind one
        return _WRONG_RANK
    if token < v.CLASS_SIZE:
        return control_reason(spelling[sp.CODE])
    low, high = sp.span(spelling)
    if token < v.CONTINUATION and is_halted(kind, spelling[sp.HALT]):
        return _IN_A_HALT
    if token < v.CONTINUATION or (token < v.SIZE and _in_price(spelling)):
        ends = (low, high) if spelling[sp.SIGN] > 0 else (-high, -low)
        return _price_reason(book, kind, spelling[sp.SIDE], ends[0], ends[1], rules)
    if token >= v.SIZE and not fits_price(book, kind, spelling[sp.SIDE], distance, rules):
        return _price_reason(book, kind, spelling[sp.SIDE], distance, distance, rules)
    return _size_reason(kind, low, high, rules)


@inner
def _in_price(spelling: np.ndarray) -> bool:
    """Return whether the group of digits that has just been read belongs to a price."""
    field = spelling[sp.FIELD]
    return field == v.FIELD_HEAD_DIGITS or field == v.FIELD_SIZE


@inner
def event_reason(book: Book, kind: int, s: int, distance: int, size: int, rules: Rules) -> int:
    """Return why the book does not allow an event of a kind that is not halted."""
    if not fits_price(book, kind, s, distance, rules):
        return _price_reason(book, kind, s, distance, distance, rules)
    return _size_reason(kind, size, size, rules)


@inner
def control_reason(code: int) -> int:
    """Return why a CONTROL code is outside its set."""
    return _CLEARED if code == _CLEAR else _NOT_THE_NEXT_HALT


@inner
def fits_price(book: Book, kind: int, s: int, distance: int, rules: Rules) -> bool:
    """Return whether the book allows an event of a kind at a distance."""
    row, most = sizes(book, kind, s, distance, rules)
    return most > 0 or (kind == DELETE and row >= 0)


@inner
def _price_reason(book: Book, kind: int, s: int, low: int, high: int, rules: Rules) -> int:
    """Return why no distance within low..high is allowed."""
    if low > rules.most_distance or high < -rules.most_distance:
        return _TOO_FAR
    if kind == EXECUTE:
        return _NO_LEVEL if is_empty(book, s) else _BEHIND_THE_BEST
    if kind == EXECUTE_HIDDEN:
        return _OFF_THE_QUOTES
    if kind == CROSS:
        return _BELOW_THE_LOWEST_PRICE
    if kind == ADD:
        return _add_reason(book, s, low, high, rules)
    if not _has_level(book, s, low, high, rules):
        return _NO_LEVEL
    return _NOT_A_PART if kind == CANCEL else _TOO_MANY_LOTS


@inner
def _add_reason(book: Book, s: int, low: int, high: int, rules: Rules) -> int:
    if high < crossing_distance(book, s, rules):
        return _CROSSING
    if not rules.signed:
        ticks = reference(book, 1 - 2 * s) // rules.tick
        if low > ticks - 1 if s == 0 else high < 1 - ticks:
            return _BELOW_THE_LOWEST_PRICE
    return _OUT_OF_VIEW if low > view_distance(book, s, rules) else _TOO_MANY_LOTS


@inner
def _has_level(book: Book, s: int, low: int, high: int, rules: Rules) -> bool:
    row = book.side[s, FIRST]
    while row < book.side[s, END] and not low <= distance_of(book, s, row, rules) <= high:
        row += 1
    return row < book.side[s, END]


@inner
def _size_reason(kind: int, low: int, high: int, rules: Rules) -> int:
    """Return why no size within low..high is allowed at the event's price."""
    if high == 0:
        return _NO_SIZE
    if low > rules.most_lots or kind == ADD or kind > EXECUTE:
        return _TOO_MANY_LOTS
    if kind == CANCEL:
        return _NOT_A_PART
    return _NO_SUCH_ORDER if kind == DELETE else _BEHIND_THE_FRONT
