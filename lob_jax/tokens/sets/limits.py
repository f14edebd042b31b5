"""What the book before an event allows: compiled functions from a kind and a side to prices, and from a price to sizes.

Distances are measured from the side's reference, positive deeper: in ticks, or in price quanta for hidden executions
and crosses. The functions assume events that the grammar can spell.
"""

from typing import NamedTuple

import numpy as np

from lob_jax.book.kernel import best_price, is_empty, level_of, queue_length, reference
from lob_jax.book.orders import AHEAD, ANONYMOUS, BACK, BEHIND, END, FIRST, FRONT, MARK, NOBODY, OWN, PRICE, SIZE, Book
from lob_jax.events.halts import CLOSED, OPEN, QUOTING
from lob_jax.events.schema import Code, Kind
from lob_jax.jit import inner

ADD, CANCEL, DELETE, EXECUTE, EXECUTE_HIDDEN, CROSS, _ = (int(kind) for kind in Kind)
NO_LEVEL = -1
_HALT, _RESUME_QUOTE, _RESUME_TRADE = int(Code.HALT), int(Code.RESUME_QUOTE), int(Code.RESUME_TRADE)


class Rules(NamedTuple):
    """The constants of a day that sets depend on.

    Attributes:
      tick: price quanta per tick.
      signed: 1 if prices may be zero or negative, else 0.
      most_distance: the largest distance of a price from its reference.
      most_lots: the largest size of an event, and of a level that an order joins.
      gap_digits: significant digits of a gap.
      ranks: 1 if the vocabulary has ranks, else 0.
      largest: int64 [8], by kind, the largest size of an event; a DELETE may have the size of any order as well.
      most_orders: orders that a level may have, 0 for any number; a pooled one, where an ADD joins the last, is free.
      most_levels: levels that a side may have, 0 for any number; a side with a window has its window instead.
    """

    tick: int
    signed: int
    most_distance: int
    most_lots: int
    gap_digits: int
    ranks: int
    largest: np.ndarray
    most_orders: int = 0
    most_levels: int = 0


@inner
def closed_after(code: int, closed: int) -> int:
    """Return what is closed after a CONTROL event."""
    if code == _HALT:
        return CLOSED
    if code == _RESUME_QUOTE:
        return QUOTING
    return OPEN if code == _RESUME_TRADE else closed


@inner
def is_halted(kind: int, closed: int) -> bool:
    """Return whether a halt excludes a kind."""
    return closed >= (QUOTING if kind >= EXECUTE else CLOSED)


@inner
def unit_of(kind: int, rules: Rules) -> int:
    """Return the unit of a kind's distances, in price quanta."""
    return rules.tick if kind <= EXECUTE else 1


@inner
def distances(book: Book, kind: int, s: int, rules: Rules) -> tuple[int, int]:
    """Return the smallest and the largest distance of an ADD, a hidden execution or a cross on a side (0 bid, 1 ask).

    An ADD may have any distance between them, except that of a level without room for a lot.
    """
    if kind == ADD:
        return _add_distances(book, s, rules)
    if kind == CROSS:
        return _cross_distances(book, s, rules)
    if is_empty(book, 0) or is_empty(book, 1):
        return 1, 0
    return max(min(best_price(book, 0) - best_price(book, 1), 0), -rules.most_distance), 0


@inner
def crossing_distance(book: Book, s: int, rules: Rules) -> int:
    """Return the smallest distance at which an order of a side does not reach the opposite best price."""
    if is_empty(book, 1 - s):
        return -rules.most_distance
    sign = 1 - 2 * s
    return sign * (reference(book, sign) - best_price(book, 1 - s)) // rules.tick + 1


@inner
def view_distance(book: Book, s: int, rules: Rules) -> int:
    """Return the largest distance at which an order of a side is in view."""
    side = book.side[s]
    if book.window == 0 or side[END] - side[FIRST] < book.window:
        return rules.most_distance
    sign = 1 - 2 * s
    return sign * (reference(book, sign) - book.levels[s, side[FIRST], PRICE]) // rules.tick


@inner
def _add_distances(book: Book, s: int, rules: Rules) -> tuple[int, int]:
    low = max(crossing_distance(book, s, rules), -rules.most_distance)
    high = min(view_distance(book, s, rules), rules.most_distance)
    if not rules.signed:  # the price is at least a tick
        ticks = reference(book, 1 - 2 * s) // rules.tick
        if s == 0:
            high = min(high, ticks - 1)
        else:
            low = max(low, 1 - ticks)
    return low, high


@inner
def _cross_distances(book: Book, s: int, rules: Rules) -> tuple[int, int]:
    low, high = -rules.most_distance, rules.most_distance
    if not rules.signed:  # the price is at least a quantum
        if s == 0:
            high = min(high, reference(book, 1) - 1)
        else:
            low = max(low, 1 - reference(book, -1))
    return low, high


@inner
def distance_of(book: Book, s: int, row: int, rules: Rules) -> int:
    """Return the distance of a level, in ticks; -1 if it lies between ticks."""
    side = book.side[s]
    quanta = (1 - 2 * s) * (book.levels[s, side[END] - 1, PRICE] - book.levels[s, row, PRICE])
    ticks = quanta // rules.tick
    return ticks if ticks * rules.tick == quanta else -1


@inner
def is_cancellable(book: Book, s: int, row: int) -> bool:
    """Return whether a part of an order at a level can be withdrawn: whether one has more than a lot."""
    slot = book.levels[s, row, FRONT]
    while slot != NOBODY:
        if book.orders[slot, SIZE] > 1 and is_of_others(book, slot):
            return True
        slot = book.orders[slot, BEHIND]
    return False


@inner
def is_deletable(book: Book, s: int, row: int, rules: Rules) -> bool:
    """Return whether a DELETE of at most the largest size is possible at a level."""
    slot = book.levels[s, row, FRONT]
    while slot != NOBODY:
        if is_of_others(book, slot) and (book.orders[slot, SIZE] <= rules.most_lots or is_divisible(book, slot)):
            return True
        slot = book.orders[slot, BEHIND]
    return False


@inner
def is_of_others(book: Book, slot: int) -> bool:
    """Return whether an order is not the user's own, which no event of others withdraws."""
    return book.orders[slot, MARK] & OWN == 0


@inner
def is_divisible(book: Book, slot: int) -> bool:
    """Return whether a part of an order can be deleted, because it stands for several."""
    return book.orders[slot, MARK] & ANONYMOUS > 0


@inner
def is_barred(book: Book, s: int, row: int, rules: Rules) -> bool:
    """Return whether a level has no room for another lot, or for another order."""
    if book.levels[s, row, SIZE] >= rules.most_lots:
        return True
    if rules.most_orders == 0 or (book.pooled and not book.orders[book.levels[s, row, BACK], MARK] & OWN):
        return False
    return queue_length(book, s, row, rules.most_orders) >= rules.most_orders


@inner
def opens_levels(book: Book, s: int, rules: Rules) -> bool:
    """Return whether a side has room for a level at another price."""
    side = book.side[s]
    return rules.most_levels == 0 or book.window > 0 or side[END] - side[FIRST] < rules.most_levels


@inner
def next_barred(book: Book, s: int, distance: int, rules: Rules) -> int:
    """Return the distance of the next barred level from `distance` on; beyond the largest one if there is none."""
    for row in range(book.side[s, END] - 1, book.side[s, FIRST] - 1, -1):
        if is_barred(book, s, row, rules):
            at = distance_of(book, s, row, rules)
            if at >= distance:
                return at
    return rules.most_distance + 1


@inner
def sizes(book: Book, kind: int, s: int, distance: int, rules: Rules) -> tuple[int, int]:
    """Return the row of the level at a distance, NO_LEVEL if there is none, and the largest size of a range from 1.

    A DELETE may have the size of any order of the level as well.
    """
    row, most = NO_LEVEL, 0
    if abs(distance) > rules.most_distance:
        return row, most
    if kind <= EXECUTE:
        sign = 1 - 2 * s
        row = level_of(book, s, reference(book, sign) - sign * distance * rules.tick)
        if kind != ADD and row < 0:
            return row, most
    if kind == ADD or kind > EXECUTE:
        low, high = distances(book, kind, s, rules)
        held = book.levels[s, row, SIZE] if row >= 0 else 0
        most = rules.most_lots - held if low <= distance <= high else 0
        if kind == ADD and (is_barred(book, s, row, rules) if row >= 0 else not opens_levels(book, s, rules)):
            most = 0
    elif kind == EXECUTE:
        most = book.orders[book.levels[s, row, FRONT], SIZE] if row == book.side[s, END] - 1 else 0
    else:
        most = largest(book, s, row, divisible=kind == DELETE) - 1
    return row, min(max(most, 0), rules.most_lots, rules.largest[kind])


@inner
def largest(book: Book, s: int, row: int, divisible: bool) -> int:
    """Return the size of the largest order of others at a level, or of the largest divisible one; 0 for none."""
    most = 0
    slot = book.levels[s, row, BACK]
    while slot != NOBODY:
        fits = is_divisible(book, slot) if divisible else is_of_others(book, slot)
        if fits and book.orders[slot, SIZE] > most:
            most = book.orders[slot, SIZE]
        slot = book.orders[slot, AHEAD]
    return most


@inner
def has_order(book: Book, s: int, row: int, size: int) -> bool:
    """Return whether an order of others at a level has exactly a size."""
    slot = book.levels[s, row, BACK]
    while slot != NOBODY:
        if book.orders[slot, SIZE] == size and is_of_others(book, slot):
            return True
        slot = book.orders[slot, AHEAD]
    return False
