"""The bins of compact tokens that contain an event which a book allows, as ranges of tokens."""

from typing import NamedTuple

import numpy as np

from lob_jax.book.kernel import is_empty
from lob_jax.book.orders import BEHIND, END, FIRST, FRONT, NOBODY, SIZE, Book
from lob_jax.jit import inner
from lob_jax.tokens import vocabulary as v
from lob_jax.tokens.bins import GAP_BINS, PRICE_BINS, SIZE_BINS, CompactBins
from lob_jax.tokens.sets.heads import put_controls
from lob_jax.tokens.sets.limits import (
    ADD,
    CANCEL,
    CROSS,
    DELETE,
    EXECUTE,
    Rules,
    distance_of,
    distances,
    is_divisible,
    is_halted,
    is_of_others,
    largest,
    sizes,
)
from lob_jax.tokens.sets.ranges import Ranges, put


class Bins(NamedTuple):
    """The edges of bins and the values that stand for them, the first row being that of ADD.

    Attributes:
      price: int64 [6, PRICE_BINS + 1].
      size: int64 [6, SIZE_BINS + 1].
      price_value: int64 [6, PRICE_BINS].
      size_value: int64 [6, SIZE_BINS].
      gap_value: int64 [7, GAP_BINS], ns.
    """

    price: np.ndarray
    size: np.ndarray
    price_value: np.ndarray
    size_value: np.ndarray
    gap_value: np.ndarray


class Scan(NamedTuple):
    """What the levels of either side allow, kept from event to event while the side does not change.

    Attributes:
      fits: bool [2, 2, PRICE_BINS, SIZE_BINS], of CANCEL and DELETE, by side: whether the bins contain an event.
      most_held: int64 [2], the lots of the largest level.
      stale: int64 [2], 1 if the side has changed since.
    """

    fits: np.ndarray
    most_held: np.ndarray
    stale: np.ndarray


def bins_of(bins: CompactBins) -> Bins:
    """Return the edges and values as arrays."""
    rows = (bins.price_edges, bins.size_edges, bins.price_values, bins.size_values, bins.gap_values)
    return Bins(*(np.array(row, np.int64) for row in rows))


def new_scan() -> Scan:
    """Return a scan that has not been filled."""
    return Scan(np.zeros((2, 2, PRICE_BINS, SIZE_BINS), np.bool_), np.zeros(2, np.int64), np.ones(2, np.int64))


@inner
def put_bins(ranges: Ranges, book: Book, scan: Scan, bins: Bins, closed: int, rules: Rules) -> None:
    """Add EOS, CONTROL codes, and the bins of all kinds that contain an event which the book allows."""
    for s in range(2):
        if scan.stale[s]:
            _refresh(book, scan, s, bins, rules)
    put(ranges, v.EOS, v.EOS)
    for gap in range(GAP_BINS):
        put_controls(ranges, v.CONTROL_BASE + v.CONTROL_GAP * gap, closed)
    for kind in range(ADD, CROSS + 1):
        if not is_halted(kind, closed):
            for s in range(2):
                _put_kind(ranges, book, scan, bins, kind, s, rules)


@inner
def _put_kind(ranges: Ranges, book: Book, scan: Scan, bins: Bins, kind: int, s: int, rules: Rules) -> None:
    edges, lots = bins.price[kind - 1], bins.size[kind - 1]
    # A size is at most the value of its bin, unless a DELETE removes a whole order.
    usual = np.searchsorted(bins.size_value[kind - 1], rules.largest[kind], side="right")
    listed = kind in (CANCEL, DELETE)
    low, high = 0, 0
    if kind != EXECUTE and not listed:
        low, high = distances(book, kind, s, rules)
    for price in range(PRICE_BINS):
        base = kind * v.CLASS_SIZE + (s * PRICE_BINS + price) * SIZE_BINS * GAP_BINS
        if listed:
            for size in range(SIZE_BINS):
                if scan.fits[kind - CANCEL, s, price, size] and (size < usual or kind == DELETE):
                    put(ranges, base + size * GAP_BINS, base + (size + 1) * GAP_BINS - 1)
            continue
        least, most = max(low, edges[price]), min(high, edges[price + 1] - 1)
        if least > most:
            continue
        room = rules.most_lots
        if kind == EXECUTE:
            room = 0 if is_empty(book, s) else book.orders[book.levels[s, book.side[s, END] - 1, FRONT], SIZE]
        elif kind == ADD and rules.most_orders > 0:
            _, room = sizes(book, ADD, s, min(max(bins.price_value[0, price], least), most), rules)
        elif kind == ADD and lots[SIZE_BINS - 1] > rules.most_lots - scan.most_held[s]:
            room = _room(book, s, least, most, rules)
        count = min(np.searchsorted(lots[:SIZE_BINS], room, side="right"), usual)
        put(ranges, base, base + count * GAP_BINS - 1)


@inner
def _room(book: Book, s: int, low: int, high: int, rules: Rules) -> int:
    """Return the size of the largest order that a price within low..high has room for."""
    levels, least_held = 0, rules.most_lots
    for row in range(book.side[s, FIRST], book.side[s, END]):
        if low <= distance_of(book, s, row, rules) <= high:
            levels += 1
            least_held = min(least_held, book.levels[s, row, SIZE])
    return rules.most_lots - (least_held if levels == high - low + 1 else 0)


@inner
def _refresh(book: Book, scan: Scan, s: int, bins: Bins, rules: Rules) -> None:
    """Fill the scan of a side."""
    scan.fits[:, s] = False
    scan.most_held[s], scan.stale[s] = 0, 0
    for row in range(book.side[s, FIRST], book.side[s, END]):
        scan.most_held[s] = max(scan.most_held[s], book.levels[s, row, SIZE])
        distance = distance_of(book, s, row, rules)
        if not 0 <= distance <= rules.most_distance:
            continue
        price = np.searchsorted(bins.price[CANCEL - 1], distance, side="right") - 1
        _fit_cancel(book, s, row, bins.size[CANCEL - 1], scan.fits[0, s, price], rules)
        price = np.searchsorted(bins.price[DELETE - 1], distance, side="right") - 1
        _fit_delete(book, s, row, bins.size[DELETE - 1], scan.fits[1, s, price], rules)


@inner
def _fit_cancel(book: Book, s: int, row: int, edges: np.ndarray, fits: np.ndarray, rules: Rules) -> None:
    """Mark the bins of the sizes that a CANCEL may have at a level."""
    _mark_upto(edges, min(largest(book, s, row, False) - 1, rules.most_lots), fits)


@inner
def _fit_delete(book: Book, s: int, row: int, edges: np.ndarray, fits: np.ndarray, rules: Rules) -> None:
    """Mark the bins of the sizes that a DELETE may have at a level."""
    most = 0
    slot = book.levels[s, row, FRONT]
    while slot != NOBODY:
        size = book.orders[slot, SIZE]
        if size <= rules.most_lots and is_of_others(book, slot):
            fits[np.searchsorted(edges, size, side="right") - 1] = True
        if is_divisible(book, slot):
            most = max(most, size)
        slot = book.orders[slot, BEHIND]
    _mark_upto(edges, min(most - 1, rules.most_lots), fits)


@inner
def _mark_upto(edges: np.ndarray, most: int, fits: np.ndarray) -> None:
    """Mark the bins of the sizes 1..most."""
    for size in range(SIZE_BINS):
        if edges[size] > most:
            return
        fits[size] = True
