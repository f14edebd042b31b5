"""Resolve the bins of compact tokens to the events on a path's book, see `lob_jax.tokens.compact.resolve`."""

from typing import NamedTuple

import numpy as np

from lob_jax.book.orders import AHEAD, BACK, END, FIRST, FRONT, NOBODY, SIZE, Book
from lob_jax.jit import inner
from lob_jax.tokens.sets.bins import Bins
from lob_jax.tokens.sets.limits import (
    ADD,
    CANCEL,
    EXECUTE,
    EXECUTE_HIDDEN,
    NO_LEVEL,
    Rules,
    distance_of,
    distances,
    is_of_others,
    largest,
    sizes,
)

_FAR = 2**62


class Bin(NamedTuple):
    """The least and the greatest number of a bin, and the number that stands for it."""

    low: int
    high: int
    value: int


@inner
def resolve(book: Book, bins: Bins, kind: int, s: int, price_bin: int, size_bin: int, rules: Rules) -> tuple[int, int]:
    """Return the distance and the size of the event of a token that the book allows."""
    price = _bin(bins.price[kind - 1], bins.price_value[kind - 1], price_bin)
    size = _bin(bins.size[kind - 1], bins.size_value[kind - 1], size_bin)
    if kind == EXECUTE:
        front = book.orders[book.levels[s, book.side[s, END] - 1, FRONT], SIZE]
        return np.int64(0), _upto(size, front)
    if kind == ADD or kind >= EXECUTE_HIDDEN:
        low, high = distances(book, kind, s, rules)
        distance = min(max(price.value, price.low, low), min(price.high, high))
        if kind != ADD:
            return distance, size.value
        row, _ = sizes(book, ADD, s, distance, rules)
        return distance, _upto(size, rules.most_lots - (book.levels[s, row, SIZE] if row >= 0 else 0))
    row = _nearest(book, kind, s, price, size, rules)
    distance = distance_of(book, s, row, rules)
    if kind == CANCEL:
        return distance, _upto(size, largest(book, s, row, False) - 1)
    whole = _newest(book, s, row, size)
    return distance, whole if whole > 0 else _upto(size, largest(book, s, row, True) - 1)


@inner
def _bin(edges: np.ndarray, values: np.ndarray, at: int) -> Bin:
    return Bin(edges[at], edges[at + 1] - 1, values[at])


@inner
def _upto(size: Bin, most: int) -> int:
    """Return the size of a bin, up to `most`, that is nearest to its value."""
    return min(max(size.value, size.low), size.high, most)


@inner
def _nearest(book: Book, kind: int, s: int, price: Bin, size: Bin, rules: Rules) -> int:
    """Return the row of the level in a bin, with an order of a size in a bin, that is nearest to the bin's value."""
    found, least = NO_LEVEL, _FAR
    for row in range(book.side[s, END] - 1, book.side[s, FIRST] - 1, -1):
        distance = distance_of(book, s, row, rules)
        if not price.low <= distance <= min(price.high, rules.most_distance) or abs(distance - price.value) >= least:
            continue
        if kind == CANCEL:
            fits = largest(book, s, row, False) - 1 >= size.low
        else:
            fits = _newest(book, s, row, size) > 0 or largest(book, s, row, True) - 1 >= size.low
        if fits:
            found, least = row, abs(distance - price.value)
    return found


@inner
def _newest(book: Book, s: int, row: int, size: Bin) -> int:
    """Return the size of the newest order of a level whose size is in a bin, 0 if there is none."""
    slot = book.levels[s, row, BACK]
    while slot != NOBODY:
        if size.low <= book.orders[slot, SIZE] <= size.high and is_of_others(book, slot):
            return book.orders[slot, SIZE]
        slot = book.orders[slot, AHEAD]
    return 0
