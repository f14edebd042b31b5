"""The compiled book without its queues: price levels and their sizes, updated in place, for best quotes alone.

Prices, sizes and references never depend on which order of a level pays, so this book agrees with that of
`lob_jax.book.kernel` on all of them, at a fraction of its cost.

A level that empties behind the best one keeps its place, with size 0: in deep books the same prices come and go, and
moving thousands of levels up and down would take most of the time.
"""

from typing import NamedTuple

import numpy as np

from lob_jax.book.loops import CorrectionColumns, EventColumns
from lob_jax.book.snapshot import BookSnapshot
from lob_jax.events.schema import Code, Kind
from lob_jax.jit import in_place, njit

LEVEL_COUNTERS = ("unknown_level", "over_removal", "crossed", "locked")
_UNKNOWN_LEVEL, _OVER_REMOVAL, _CROSSED, _LOCKED = range(len(LEVEL_COUNTERS))
_ADD, _EXECUTE, _CONTROL, _CLEAR = int(Kind.ADD), int(Kind.EXECUTE), int(Kind.CONTROL), int(Code.CLEAR)


class Levels(NamedTuple):
    """Price levels in memory; side index 0 is the bid, 1 the ask.

    Attributes:
      price: int64 [2, L]; places 0..depth-1 in use, ever better, the best level last.
      size: int64 [2, L], lots; 0 for a vacant place, which the last one never is.
      depth: int64 [2], places in use.
      vacant: int64 [2], vacant places among them; none with a window.
      last_best: int64 [2], the last best price ever seen, 0 for none.
      counters: int64 [len(LEVEL_COUNTERS)].
      window: levels kept a side, 0 for all.
    """

    price: np.ndarray
    size: np.ndarray
    depth: np.ndarray
    vacant: np.ndarray
    last_best: np.ndarray
    counters: np.ndarray
    window: int


def load_levels(snapshot: BookSnapshot) -> Levels:
    """Return the levels of a snapshot; `with_level_room` makes room for more."""
    capacity = snapshot.window or len(snapshot)
    levels = Levels(
        price=np.zeros((2, capacity), np.int64),
        size=np.zeros((2, capacity), np.int64),
        depth=np.zeros(2, np.int64),
        vacant=np.zeros(2, np.int64),
        last_best=np.asarray(snapshot.last_best, np.int64).copy(),
        counters=np.zeros(len(LEVEL_COUNTERS), np.int64),
        window=int(snapshot.window),
    )
    side, price, size = (np.asarray(column, np.int64) for column in (snapshot.side, snapshot.price, snapshot.size))
    _add_all(levels, side, price, size)
    return levels


def with_level_room(levels: Levels, more: int) -> Levels:
    """Return levels of which `more` a side can be added: these, or a larger copy."""
    capacity = levels.price.shape[1]
    wanted = int(levels.depth.max()) + more
    if levels.window or wanted <= capacity:
        return levels
    wider = ((0, 0), (0, max(wanted, 2 * capacity) - capacity))
    return levels._replace(price=np.pad(levels.price, wider), size=np.pad(levels.size, wider))


def occupied(levels: Levels, s: int) -> tuple[np.ndarray, np.ndarray]:
    """Return price and size, int64 [K] each, of the levels of a side (0 bid, 1 ask), best first."""
    depth = levels.depth[s]
    price, size = levels.price[s, :depth][::-1], levels.size[s, :depth][::-1]
    return price[size > 0], size[size > 0]


@in_place
def change(levels: Levels, kind: int, side: int, price: int, size: int) -> None:
    """Change the levels by one event, as `kernel.apply` does; kinds that change no book do nothing.

    Raises:
      IndexError: there is no room for another level.
    """
    _change(levels, np.int64(kind), np.int64(side), np.int64(price), np.int64(size))


@in_place
def set_level(levels: Levels, side: int, price: int, size: int) -> None:
    """Set a level's size; 0 removes it."""
    _set_level(levels, np.int64(side), np.int64(price), np.int64(size))


@in_place
def clear_levels(levels: Levels) -> None:
    """Empty both sides; the last best prices stay known."""
    levels.depth[0], levels.depth[1] = 0, 0
    levels.vacant[0], levels.vacant[1] = 0, 0


@in_place
def best(levels: Levels, s: int) -> int:
    """Return the best price of a side (0 bid, 1 ask), 0 if it is empty."""
    depth = levels.depth[s]
    return levels.price[s, depth - 1] if depth > 0 else 0


@in_place
def reference_of(levels: Levels, s: int) -> int:
    """Return what prices of a side (0 bid, 1 ask) count from, see `kernel.reference`."""
    depth = levels.depth[s]
    if depth > 0:
        return levels.price[s, depth - 1]
    return levels.last_best[s] if levels.last_best[s] != 0 else best(levels, 1 - s)


@in_place
def size_at(levels: Levels, s: int, price: int) -> int:
    """Return the size of a side's level at a price, 0 if there is none."""
    row = _rank(levels, s, price)
    return levels.size[s, row] if row < levels.depth[s] and levels.price[s, row] == price else 0


@in_place
def step_levels(levels: Levels, events: EventColumns, i: int) -> None:
    """Change the levels by event i, CLEAR included, without its corrections."""
    if events.kind[i] != _CONTROL:
        change(levels, events.kind[i], events.side[i], events.price[i], events.size[i])
    elif events.code[i] == _CLEAR:
        clear_levels(levels)


@in_place
def amend_levels(levels: Levels, corrections: CorrectionColumns, cursor: int, i: int) -> int:
    """Apply the corrections of event i, the first of them at `cursor`; return the cursor behind them."""
    while cursor < len(corrections.event) and corrections.event[cursor] == i:
        set_level(levels, corrections.side[cursor], corrections.price[cursor], corrections.size[cursor])
        cursor += 1
    return cursor


@njit
def follow(levels: Levels, events: EventColumns, corrections: CorrectionColumns, references: np.ndarray) -> None:
    """Advance the levels over E events and their corrections, counting crossed and locked states.

    Writes what the prices of a bid and an ask count from before each event, and after the last one, into
    `references` int64 [E+1, 2], unless it has no rows.
    """
    cursor, count = 0, len(events.kind)
    for i in range(count):
        if len(references):
            references[i, 0], references[i, 1] = reference_of(levels, 0), reference_of(levels, 1)
        step_levels(levels, events, i)
        cursor = amend_levels(levels, corrections, cursor, i)
        if levels.depth[0] > 0 and levels.depth[1] > 0:
            spread = levels.price[1, levels.depth[1] - 1] - levels.price[0, levels.depth[0] - 1]
            levels.counters[_CROSSED] += spread < 0
            levels.counters[_LOCKED] += spread == 0
    if len(references):
        references[count, 0], references[count, 1] = reference_of(levels, 0), reference_of(levels, 1)


@in_place
def _change(levels: Levels, kind: int, side: int, price: int, size: int) -> None:
    """Change the levels by one event, all arguments int64."""
    if size <= 0 or kind < _ADD or kind > _EXECUTE:
        return
    s = 0 if side > 0 else 1
    row = _rank(levels, s, price)
    placed = row < levels.depth[s] and levels.price[s, row] == price
    held = levels.size[s, row] if placed else 0
    if kind == _ADD:
        if placed:
            levels.vacant[s] -= held == 0
            levels.size[s, row] = held + size
        else:
            _open(levels, s, row, price, size)
    elif held == 0:
        levels.counters[_UNKNOWN_LEVEL] += 1
    elif size < held:
        levels.size[s, row] = held - size
    else:
        levels.counters[_OVER_REMOVAL] += size > held
        _close(levels, s, row)
    _note_best(levels, s)


@in_place
def _set_level(levels: Levels, side: int, price: int, size: int) -> None:
    """Set a level's size, all arguments int64."""
    s = 0 if side > 0 else 1
    row = _rank(levels, s, price)
    placed = row < levels.depth[s] and levels.price[s, row] == price
    held = levels.size[s, row] if placed else 0
    if placed and size > 0:
        levels.vacant[s] -= held == 0
        levels.size[s, row] = size
    elif held > 0:
        _close(levels, s, row)
    elif size > 0:
        _open(levels, s, row, price, size)
    _note_best(levels, s)


@in_place
def _add_all(levels: Levels, side: np.ndarray, price: np.ndarray, size: np.ndarray) -> None:
    """Add orders in turn."""
    for i in range(len(side)):
        _change(levels, _ADD, side[i], price[i], size[i])


@in_place
def _note_best(levels: Levels, s: int) -> None:
    """Remember a side's best price, if it has one."""
    depth = levels.depth[s]
    if depth > 0:
        levels.last_best[s] = levels.price[s, depth - 1]


@in_place
def _rank(levels: Levels, s: int, price: int) -> int:
    """Return how many levels of a side are worse than a price: strides double from the best one, then halve."""
    prices, depth = levels.price[s], levels.depth[s]
    sign = 1 - 2 * s
    key = sign * price
    high, low, stride = depth, depth - 1, 1
    while low >= 0 and sign * prices[low] >= key:
        high = low
        stride *= 2
        low -= stride
    low = max(low + 1, 0)
    while low < high:
        middle = (low + high) // 2
        if sign * prices[middle] < key:
            low = middle + 1
        else:
            high = middle
    return low


@in_place
def _open(levels: Levels, s: int, row: int, price: int, size: int) -> None:
    """Make a level above `row` worse ones, unless it lies outside a full window; a vacant place beside it will do."""
    depth = levels.depth[s]
    prices, sizes = levels.price[s], levels.size[s]
    for place in (row, row - 1):
        if 0 <= place < depth and sizes[place] == 0:
            prices[place], sizes[place] = price, size
            levels.vacant[s] -= 1
            return
    if levels.window > 0 and depth >= levels.window:
        if row == 0:
            return
        _shift_down(prices, sizes, 0, depth - 1)
        row -= 1
        depth -= 1
    if depth == len(prices):
        raise IndexError("there is no room for another level: see with_level_room")
    worse, bigger = prices[row : depth + 1], sizes[row : depth + 1]  # slices: the loops over them run twice as fast
    for k in range(depth - row, 0, -1):
        worse[k] = worse[k - 1]
    for k in range(depth - row, 0, -1):
        bigger[k] = bigger[k - 1]
    prices[row], sizes[row] = price, size
    levels.depth[s] = depth + 1


@in_place
def _close(levels: Levels, s: int, row: int) -> None:
    """Forget a level: the best one leaves with the vacant places behind it, another one leaves its place vacant."""
    prices, sizes = levels.price[s], levels.size[s]
    depth = levels.depth[s]
    if row == depth - 1:
        depth -= 1
        while depth > 0 and sizes[depth - 1] == 0:
            depth -= 1
            levels.vacant[s] -= 1
    elif levels.window > 0:
        _shift_down(prices, sizes, row, depth - 1)
        depth -= 1
    else:
        sizes[row] = 0
        levels.vacant[s] += 1
        if levels.vacant[s] > 32 + depth // 2:
            depth = _compacted(prices, sizes, depth)
            levels.vacant[s] = 0
    levels.depth[s] = depth


@in_place
def _shift_down(prices: np.ndarray, sizes: np.ndarray, row: int, last: int) -> None:
    """Close the place `row` by those up to `last`."""
    for k in range(row, last):
        prices[k], sizes[k] = prices[k + 1], sizes[k + 1]


@in_place
def _compacted(prices: np.ndarray, sizes: np.ndarray, depth: int) -> int:
    """Close all vacant places; return how many remain in use."""
    kept = 0
    for k in range(depth):
        if sizes[k] > 0:
            prices[kept], sizes[kept] = prices[k], sizes[k]
            kept += 1
    return kept
