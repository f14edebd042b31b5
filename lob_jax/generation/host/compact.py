"""Advance paths by tokens of the compact tokenizer, as `lob_jax.generation.device.compact_paths` does: in one call."""

from typing import NamedTuple

import numpy as np

from lob_jax.book.kernel import apply, level_of
from lob_jax.book.orders import AHEAD, BACK, END, FIRST, FRONT, NOBODY, SIZE, Book
from lob_jax.events.schema import Kind
from lob_jax.generation.host.draw import Scores
from lob_jax.generation.host.known import note_flow, note_levels, note_token
from lob_jax.generation.host.state import Given, Number, Paths, begin_row, book_of, ranges_of, scan_of
from lob_jax.generation.host.step import (
    CLOCK,
    DONE,
    EVENTS,
    FRESH,
    GRAMMAR,
    WITHIN,
    count_token,
    follow_flow,
    next_token,
    note_event,
    note_shown,
)
from lob_jax.generation.host.view import price_at, remember_hidden, reveal
from lob_jax.jit import in_place, inner
from lob_jax.tokens import vocabulary as v
from lob_jax.tokens.bins import GAP_BINS, PRICE_BINS, SIZE_BINS
from lob_jax.tokens.sets import spelling as sp
from lob_jax.tokens.sets.bins import Bins, put_bins
from lob_jax.tokens.sets.limits import (
    ADD,
    CANCEL,
    EXECUTE,
    EXECUTE_HIDDEN,
    NO_LEVEL,
    Rules,
    closed_after,
    distance_of,
    distances,
    is_of_others,
    largest,
    sizes,
)

_LAST, _CONTROL = int(Number.LAST), int(Kind.CONTROL)
_FAR = 2**62


@in_place
def begin(paths: Paths, given: Given) -> None:
    """Find the tokens that may come first on each path."""
    for path in range(len(paths.token)):
        _look(paths, given, path, book_of(paths.books, path))


@in_place
def advance(paths: Paths, given: Given, logit_BV: np.ndarray, weight_BV: np.ndarray, share_BV: np.ndarray) -> None:
    """Sample the next token of each path, and apply its event to clock and book, see `exact.advance`.

    A path is done with its last event: the token is the whole of it.

    Args:
      paths: changed in place.
      given: what is the same for all paths.
      logit_BV: see `Scores`, as are the next two.
      weight_BV: float32 [B, V].
      share_BV: float32 [B, V].
    """
    for path in range(len(paths.token)):
        token = next_token(paths, given, path, Scores(logit_BV[path], weight_BV[path], share_BV[path]))
        if token != v.PAD:
            book = book_of(paths.books, path)
            _move(paths, given, path, book, token)
            _look(paths, given, path, book)


@inner
def _look(paths: Paths, given: Given, path: int, book: Book) -> None:
    """Find the tokens that may come next on a path, and what a model reads of its book."""
    ranges = ranges_of(paths.ranges, path)
    begin_row(ranges, paths.heads[path])
    put_bins(ranges, book, scan_of(paths.scan, path), given.bins, paths.spelling[path, sp.HALT], given.rules)
    note_levels(book, given.rules.tick, paths.known.price[path], paths.known.size[path])


@inner
def _move(paths: Paths, given: Given, path: int, book: Book, token: int) -> None:
    """Advance a path by a token, which is a complete event."""
    number, low = paths.number[path], token % v.CLASS_SIZE
    kind, side, size, gap = _CONTROL, 0, 0, (token - v.CONTROL_BASE) // v.CONTROL_GAP
    event = paths.event[path]
    if token >= v.CLASS_SIZE:
        kind, gap = token // v.CLASS_SIZE, low % GAP_BINS
        s, size_bin = low // (PRICE_BINS * SIZE_BINS * GAP_BINS), low // GAP_BINS % SIZE_BINS
        price_bin = low // (SIZE_BINS * GAP_BINS) % PRICE_BINS
        distance, lots = resolve(book, given.bins, kind, s, price_bin, size_bin, given.rules)
        # As tokens spell it: a size is the value of its bin, whatever the book makes of it.
        side, size = 1 - 2 * s, given.bins.size_value[kind - 1, size_bin]
        note_event(event, kind, 0, s, price_at(book, kind, s, distance, given.rules), lots)
        _take(paths, given, path, book, kind, s, distance, lots)
    else:
        code = (token - v.CONTROL_BASE) % v.CONTROL_GAP
        paths.spelling[path, sp.HALT] = closed_after(code, paths.spelling[path, sp.HALT])
        note_event(event, 0, code, 0, 0, 0)
    gap_ns = given.bins.gap_value[kind - 1, gap]
    number[CLOCK] += gap_ns
    number[EVENTS] += 1
    number[FRESH] += 1
    number[WITHIN], number[GRAMMAR] = 1, given.transition[number[GRAMMAR], token]
    number[DONE] = number[EVENTS] >= number[_LAST]
    if paths.known.flow.shape[1] > 0:
        follow_flow(paths, path, book, kind, side, size, gap_ns, given.rules.tick)
        note_flow(paths, path, number[CLOCK])
    note_token(paths.known.latest[path], token)
    count_token(paths, given, path, token, 0)


@inner
def _take(paths: Paths, given: Given, path: int, book: Book, kind: int, s: int, distance: int, lots: int) -> None:
    """Apply an event to the book, and bring a level into view if one goes."""
    if kind > EXECUTE:
        return
    price, levels = price_at(book, kind, s, distance, given.rules), book.side[s, END] - book.side[s, FIRST]
    goes, behind = level_of(book, s, price) >= 0, paths.behind
    stale = paths.scan.stale[path]
    stale[s] = 1
    if book.window > 0:
        remember_hidden(book, behind.price[path, s], behind.lots[path, s], kind, s, price)
    apply(book, kind, 1 - 2 * s, price, lots, 0, 0)
    if book.window > 0 and goes and level_of(book, s, price) < 0:
        where = behind.price[path, s], behind.lots[path, s]
        shown = paths.shown[path]
        if reveal(book, *where, given.reveals, given.rules, paths.number[path], shown, s, price, levels, 0):
            note_shown(paths.event[path], shown)


class Bin(NamedTuple):
    """The least and the greatest number of a bin, and the number that stands for it."""

    low: int
    high: int
    value: int


@inner
def resolve(book: Book, bins: Bins, kind: int, s: int, price_bin: int, size_bin: int, rules: Rules) -> tuple[int, int]:
    """Return the distance and the size of a token's event on the book, see `lob_jax.tokens.compact.resolve`."""
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
