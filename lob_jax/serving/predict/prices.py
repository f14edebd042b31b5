"""The prices that a head may stand for on the live book."""

from typing import NamedTuple

import numpy as np

from lob_jax.book.kernel import reference
from lob_jax.book.orders import END, FIRST, Book
from lob_jax.generation.host.state import Given, Paths, book_of
from lob_jax.jit import in_place, inner
from lob_jax.tokens.sets.limits import (
    ADD,
    CANCEL,
    CROSS,
    DELETE,
    EXECUTE,
    Rules,
    distance_of,
    distances,
    is_cancellable,
    is_deletable,
    unit_of,
)


class Spans(NamedTuple):
    """Kinds with sides and distances, int64 [N] each.

    Attributes:
      kind: a `Kind`; those of CONTROL have no price.
      s: 0 bid, 1 ask.
      low: the smallest distance from the reference, positive deeper.
      high: the largest distance.
    """

    kind: np.ndarray
    s: np.ndarray
    low: np.ndarray
    high: np.ndarray


@in_place
def write_prices(paths: Paths, given: Given, spans: Spans, price_N2: np.ndarray) -> None:
    """Write the lowest and the highest price that the book of the first path allows within each span.

    Args:
      paths: the paths, between two events.
      given: what is the same for all paths.
      spans: the spans; each contains a valid distance.
      price_N2: int64 [N, 2], filled with price quanta; 0 for CONTROL.
    """
    book, rules = book_of(paths.books, 0), given.rules
    for n in range(len(spans.kind)):
        kind, s = spans.kind[n], spans.s[n]
        price_N2[n] = 0
        if kind <= CROSS:
            low, high = _valid(book, kind, s, spans.low[n], spans.high[n], rules)
            side, unit = 1 - 2 * s, unit_of(kind, rules)
            origin = reference(book, side)
            near, far = origin - side * low * unit, origin - side * high * unit
            price_N2[n, 0], price_N2[n, 1] = min(near, far), max(near, far)


@inner
def _valid(book: Book, kind: int, s: int, low: int, high: int, rules: Rules) -> tuple[int, int]:
    """Return the smallest and the largest distance within low..high that the book allows an event of a kind."""
    if kind == EXECUTE:
        return np.int64(0), np.int64(0)
    if kind == ADD or kind > EXECUTE:
        least, most = distances(book, kind, s, rules)
        return max(low, least), min(high, most)
    nearest, farthest = np.int64(-1), np.int64(-1)
    for row in range(book.side[s, END] - 1, book.side[s, FIRST] - 1, -1):
        distance = distance_of(book, s, row, rules)
        if distance > high:
            break
        if max(low, 0) <= distance and _withdraws(book, s, row, kind, rules):
            nearest, farthest = nearest if nearest >= 0 else distance, distance
    return (nearest, farthest) if nearest >= 0 else (low, high)


@inner
def _withdraws(book: Book, s: int, row: int, kind: int, rules: Rules) -> bool:
    """Return whether a level allows a CANCEL or a DELETE."""
    if kind == CANCEL:
        return is_cancellable(book, s, row)
    return kind == DELETE and is_deletable(book, s, row, rules)
