"""The heads of events that the book allows, and the digits that continue their prices, as ranges of tokens."""

from typing import NamedTuple

import numpy as np

from lob_jax.book.kernel import best_price, is_empty, rank, reference
from lob_jax.book.orders import END, FIRST, PRICE, Book
from lob_jax.events.halts import CLOSED, OPEN
from lob_jax.events.schema import Code
from lob_jax.jit import inner
from lob_jax.tokens import numbers
from lob_jax.tokens import vocabulary as v
from lob_jax.tokens.numbers import POWER
from lob_jax.tokens.sets import spelling as sp
from lob_jax.tokens.sets.limits import (
    ADD,
    CANCEL,
    CROSS,
    DELETE,
    EXECUTE,
    Rules,
    distance_of,
    distances,
    is_barred,
    is_cancellable,
    is_deletable,
    is_halted,
    next_barred,
    opens_levels,
)
from lob_jax.tokens.sets.ranges import (
    Ranges,
    group_of,
    put,
    put_far_better,
    put_far_deeper,
    put_groups,
    put_plain_better,
    put_plain_deeper,
)

_HALT, _RESUME_QUOTE, _RESUME_TRADE = int(Code.HALT), int(Code.RESUME_QUOTE), int(Code.RESUME_TRADE)
_SESSION_OPEN, _FEED_GAP = int(Code.SESSION_OPEN), int(Code.FEED_GAP)
_FEWEST_DEEPER = 10 ** (v.DEEPER_ESCAPE_DIGITS - 1)


class LevelCodes(NamedTuple):
    """The price codes of either side's levels, best first; kept from event to event while the side does not change.

    Attributes:
      code: int64 [2, C], ascending: the codes of levels.
      cancellable: bool [2, C], whether a level of the code allows a CANCEL.
      deletable: bool [2, C], whether one allows a DELETE.
      count: int64 [2], the number of codes.
      barred: int64 [2], the number of levels that have no room for another lot.
      stale: int64 [2], 1 if the side has changed since.
    """

    code: np.ndarray
    cancellable: np.ndarray
    deletable: np.ndarray
    count: np.ndarray
    barred: np.ndarray
    stale: np.ndarray


def new_level_codes() -> LevelCodes:
    """Return codes that have not been filled in."""
    flags = (np.zeros((2, v.PRICE_CODES), np.bool_) for _ in range(2))
    counts = (np.zeros(2, np.int64) for _ in range(2))
    return LevelCodes(np.zeros((2, v.PRICE_CODES), np.int64), *flags, *counts, np.ones(2, np.int64))


@inner
def refresh(book: Book, codes: LevelCodes, s: int, rules: Rules) -> None:
    """Fill in the codes of a side."""
    best = best_price(book, s)
    count, barred, end = 0, 0, np.int64(0)  # `end`: the quanta from the best price at which the next code begins
    for row in range(book.side[s, END] - 1, book.side[s, FIRST] - 1, -1):
        barred += is_barred(book, s, row, rules)
        # Deep books have many levels of the same code: only the first few of them say anything new.
        is_next = (1 - 2 * s) * (best - book.levels[s, row, PRICE]) >= end
        if not is_next and codes.cancellable[s, count - 1] and codes.deletable[s, count - 1]:
            continue
        distance = distance_of(book, s, row, rules)
        if distance > rules.most_distance:
            break
        if distance < 0:
            continue
        if is_next:
            code, last = _deeper_code(distance)
            end = (last + 1) * rules.tick
            codes.code[s, count] = code
            codes.cancellable[s, count] = codes.deletable[s, count] = False
            count += 1
        at = count - 1
        codes.cancellable[s, at] = codes.cancellable[s, at] or is_cancellable(book, s, row)
        codes.deletable[s, at] = codes.deletable[s, at] or is_deletable(book, s, row, rules)
    codes.count[s], codes.barred[s], codes.stale[s] = count, barred, 0


@inner
def _deeper_code(distance: int) -> tuple[int, int]:
    """Return the price code of a distance that is not better, and the largest distance of the code."""
    if distance < _FEWEST_DEEPER:
        code = numbers.number_code(distance)
        return code, numbers.code_range(code)[1]
    digits = numbers.digit_count(distance)
    return v.DEEPER_ESCAPE + digits - v.DEEPER_ESCAPE_DIGITS, POWER[digits] - 1


@inner
def put_heads(ranges: Ranges, book: Book, codes: LevelCodes, closed: int, rules: Rules) -> None:
    """Add what may follow a complete event: EOS, CONTROL codes, and the heads of events that the book allows."""
    for s in range(2):
        if codes.stale[s]:
            refresh(book, codes, s, rules)
    put(ranges, v.EOS, v.EOS)
    put_controls(ranges, v.CONTROL_BASE, closed)
    for kind in range(ADD, CROSS + 1):
        if not is_halted(kind, closed):
            for s in range(2):
                _put_kind(ranges, book, codes, kind, s, rules)


@inner
def _put_kind(ranges: Ranges, book: Book, codes: LevelCodes, kind: int, s: int, rules: Rules) -> None:
    """Add the heads of a kind on a side."""
    head = kind * v.CLASS_SIZE + s * v.ASK_OFFSET
    if kind == ADD:
        _put_add(ranges, head, book, codes, s, rules)
    elif kind in (CANCEL, DELETE):
        _put_levels(ranges, head, codes, kind, s)
    elif kind != EXECUTE:
        low, high = distances(book, kind, s, rules)
        _put_prices(ranges, head, low, high)
    elif not is_empty(book, s):
        put(ranges, head, head)


@inner
def put_controls(ranges: Ranges, base: int, closed: int) -> None:
    """Add `base` + each CONTROL code that may follow; a book is never cleared."""
    if closed < CLOSED:
        put(ranges, base + _HALT, base + _HALT)
    if closed == CLOSED:
        put(ranges, base + _RESUME_QUOTE, base + _RESUME_QUOTE)
    if closed > OPEN:
        put(ranges, base + _RESUME_TRADE, base + _RESUME_TRADE)
    put(ranges, base + _SESSION_OPEN, base + _FEED_GAP)


@inner
def _put_prices(ranges: Ranges, head: int, low: int, high: int) -> None:
    """Add the codes of distances low..high to a head."""
    put_plain_deeper(ranges, head, low, high)
    put_plain_better(ranges, head, low, high)
    put_far_deeper(ranges, head, low, high)
    put_far_better(ranges, head, low, high)


@inner
def _put_add(ranges: Ranges, head: int, book: Book, codes: LevelCodes, s: int, rules: Rules) -> None:
    """Add the heads of ADDs on a side; the distances of levels without room, all of them deeper, are left out."""
    low, high = distances(book, ADD, s, rules)
    if not opens_levels(book, s, rules):
        _put_joinable(ranges, head, book, s, low, high, rules)
        return
    if codes.barred[s] == 0:
        _put_prices(ranges, head, low, high)
        return
    for far in (False, True):
        begin = low
        while begin <= high:
            end = min(high, next_barred(book, s, begin, rules) - 1)
            if far:
                put_far_deeper(ranges, head, begin, end)
            else:
                put_plain_deeper(ranges, head, begin, end)
            begin = end + 2
        if far:
            put_far_better(ranges, head, low, high)
        else:
            put_plain_better(ranges, head, low, high)


@inner
def _put_joinable(ranges: Ranges, head: int, book: Book, s: int, low: int, high: int, rules: Rules) -> None:
    """Add the heads of ADDs that join a level within low..high: the side has no room for another."""
    for row in range(book.side[s, END] - 1, book.side[s, FIRST] - 1, -1):
        distance = distance_of(book, s, row, rules)
        if low <= distance <= high and not is_barred(book, s, row, rules):
            code, _ = _deeper_code(distance)
            put(ranges, head + code, head + code)


@inner
def _put_levels(ranges: Ranges, head: int, codes: LevelCodes, kind: int, s: int) -> None:
    """Add the heads of CANCELs or DELETEs on a side."""
    allowed = codes.cancellable[s] if kind == CANCEL else codes.deletable[s]
    for at in range(codes.count[s]):
        if allowed[at]:
            put(ranges, head + codes.code[s, at], head + codes.code[s, at])


@inner
def put_price_groups(ranges: Ranges, book: Book, codes: LevelCodes, spelling: np.ndarray, rules: Rules) -> None:
    """Add the groups of digits that continue a price to one that the book allows."""
    kind, s, sign = spelling[sp.KIND], spelling[sp.SIDE], spelling[sp.SIGN]
    value, rest = spelling[sp.VALUE], spelling[sp.REST]
    least, most = sp.span(spelling)
    if spelling[sp.FREE]:
        put_groups(ranges, least, most, value, rest)
    elif kind in (CANCEL, DELETE):
        if sign > 0:
            _put_level_groups(ranges, book, kind, s, max(least, value + 1), most, value, rest, rules)
    elif kind == ADD and not opens_levels(book, s, rules):
        if sign > 0:
            low, high = distances(book, ADD, s, rules)
            low, high = max(least, value + 1, low), min(most, high)
            _put_level_groups(ranges, book, kind, s, low, high, value, rest, rules)
    elif kind != EXECUTE:
        low, high = distances(book, kind, s, rules)
        low, high = (max(low, least), high) if sign > 0 else (max(-high, least), -low)
        if kind == ADD and sign > 0 and codes.barred[s] > 0:
            while low <= high:
                end = min(high, next_barred(book, s, low, rules) - 1)
                put_groups(ranges, low, end, value, rest)
                low = end + 2
        else:
            put_groups(ranges, low, high, value, rest)


@inner
def _put_level_groups(
    ranges: Ranges, book: Book, kind: int, s: int, low: int, high: int, value: int, rest: int, rules: Rules
) -> None:
    """Add the next groups of the distances of levels within low..high that allow a CANCEL, a DELETE, or an ADD."""
    sign = 1 - 2 * s
    worse = rank(book, s, reference(book, sign) - sign * low * rules.tick + sign)
    for row in range(worse - 1, book.side[s, FIRST] - 1, -1):
        distance = distance_of(book, s, row, rules)
        if distance > min(high, rules.most_distance):
            return
        if distance < low:
            continue
        if _allows(book, s, row, kind, rules):
            token = v.CONTINUATION + group_of(distance - value, rest)
            put(ranges, token, token)


@inner
def _allows(book: Book, s: int, row: int, kind: int, rules: Rules) -> bool:
    """Return whether a level allows a CANCEL, a DELETE, or an ADD that joins it."""
    if kind == CANCEL:
        return is_cancellable(book, s, row)
    return is_deletable(book, s, row, rules) if kind == DELETE else not is_barred(book, s, row, rules)
