"""The compiled book without queues: price levels and their sizes only, updated in place.

Prices, sizes and references never depend on which order of a level is reduced, so this book agrees with that of
`lob_jax.book.kernel` on all of them, at a fraction of the cost.

Prices are sorted in rows; sizes are in a hash table by price, since nearly all changes are of levels that are there
already, and a search among thousands of rows takes several times as long. A level behind the best one that empties
keeps its row: in deep books the same prices appear again and again, and shifting thousands of rows each time would
dominate the run time. Where rows must be shifted, either the better or the worse ones move, whichever are fewer.
"""

import enum
from typing import NamedTuple

import numpy as np

from lob_jax.book.loops import CorrectionColumns, EventColumns
from lob_jax.book.snapshot import BookSnapshot
from lob_jax.events.schema import Code, Kind
from lob_jax.jit import in_place, inlined


class SideColumn(enum.IntEnum):
    """Columns of `Levels.side`."""

    FIRST = 0  # the first row in use
    END = 1  # the row after the last one in use
    VACANT = 2  # number of vacant rows among them; 0 with a window
    LAST_BEST = 3  # the last best price
    SEEN = 4  # 1 if there ever was a best price
    FOUND = 5  # the row that the last search found, where the next one begins: it may be out of range by then
    KNOWN = 6  # number of prices in the table


class LevelCounter(enum.IntEnum):
    """Indices of `Levels.counters`, named as in reports."""

    UNKNOWN_LEVEL = 0
    OVER_REMOVAL = 1
    CROSSED = 2
    LOCKED = 3


FIRST, END, VACANT, LAST_BEST, SEEN, _FOUND, _KNOWN = (int(column) for column in SideColumn)
LEVEL_COUNTERS = tuple(counter.name.lower() for counter in LevelCounter)
_UNKNOWN_LEVEL, _OVER_REMOVAL, _CROSSED, _LOCKED = (int(counter) for counter in LevelCounter)
_ONE = np.uint64(1)
_PRICE, _HELD = 0, 1  # columns of `Levels.table`
_FREE, _VACANT, _GONE = 0, -1, -2  # what a place of the table holds instead of a size, see `Levels.table`
_MIX, _MIXED_BITS = np.uint64(0x9E3779B97F4A7C15), np.uint64(32)
MOVED = len(LevelCounter)  # index after the others: levels moved to make room or close a gap, a measure of the work
_ADD, _EXECUTE, _CONTROL, _CLEAR = int(Kind.ADD), int(Kind.EXECUTE), int(Kind.CONTROL), int(Code.CLEAR)


class Levels(NamedTuple):
    """Price levels in memory; side index 0 is the bid, 1 the ask.

    Attributes:
      price: int64 [2, L]; rows first..end-1 are in use, from the worst to the best level; the last is never vacant.
      table: int64 [2, 2^k, 2], open-addressing hash table of prices: each with its size in lots, with _VACANT if it has
        only a row, or with _GONE if it has none; all 0 where there is no price. More than half of it is free.
      side: int64 [2, 7], by `SideColumn`.
      counters: int64, by `LevelCounter`, and MOVED.
      window: levels kept per side, 0 for all.
    """

    price: np.ndarray
    table: np.ndarray
    side: np.ndarray
    counters: np.ndarray
    window: int


def load_levels(snapshot: BookSnapshot) -> Levels:
    """Build the levels of a snapshot; `with_level_room` makes room for more."""
    capacity = 4 * snapshot.window or len(snapshot)  # a window moves within its array, see `kernel.load`
    levels = Levels(
        price=np.zeros((2, capacity), np.int64),
        table=np.zeros((2, _places_for(len(snapshot)), 2), np.int64),
        side=np.zeros((2, len(SideColumn)), np.int64),
        counters=np.zeros(MOVED + 1, np.int64),
        window=int(snapshot.window),
    )
    levels.side[:, LAST_BEST], levels.side[:, SEEN] = snapshot.last_best, snapshot.seen
    side, price, size = (np.asarray(column, np.int64) for column in (snapshot.side, snapshot.price, snapshot.size))
    _add_all(levels, side, price, size)
    return levels


def with_level_room(levels: Levels, more: int) -> Levels:
    """Return levels with room for `more` levels per side: the given ones, or a larger copy."""
    capacity = levels.price.shape[1]
    wanted = int((levels.side[:, END] - levels.side[:, FIRST]).max()) + more
    if not levels.window and wanted > capacity:
        levels = levels._replace(price=np.pad(levels.price, ((0, 0), (0, max(wanted, 2 * capacity) - capacity))))
    if 2 * (int(levels.side[:, _KNOWN].max()) + more) < levels.table.shape[1]:
        return levels
    table = np.zeros((2, _places_for(wanted), 2), np.int64)  # without the prices that have no row any more
    _enter_all(levels, table)
    return levels._replace(table=table)


def _places_for(prices: int) -> int:
    """Return the length of a table in which so many prices, and as many again, leave half of the places free."""
    return 4 << max(prices, 1).bit_length()


def occupied(levels: Levels, s: int) -> tuple[np.ndarray, np.ndarray]:
    """Return price and size, int64 [K] each, of the levels of a side (0 bid, 1 ask), best first."""
    price = levels.price[s, slice(*levels.side[s, FIRST : END + 1].tolist())][::-1]
    size = np.empty_like(price)
    _look_up(levels, s, price, size)
    return price[size > 0], size[size > 0]


@in_place
def change(levels: Levels, kind: int, side: int, price: int, size: int) -> None:
    """Apply one event to the levels, as `kernel.apply` does; kinds without effect on the book are ignored.

    Args:
      levels: changed in place.
      kind: a `Kind`.
      side: +1 bid, -1 ask.
      price: price quanta.
      size: lots.

    Raises:
      IndexError: there is no room for another level.
    """
    _change(levels, np.int64(kind), np.int64(side), np.int64(price), np.int64(size))


@in_place
def set_level(levels: Levels, side: int, price: int, size: int) -> None:
    """Set a level's size; 0 removes it.

    Args:
      levels: changed in place.
      side: +1 bid, -1 ask.
      price: price quanta.
      size: the new total size, lots.
    """
    _set_level(levels, np.int64(side), np.int64(price), np.int64(size))


@in_place
def clear_levels(levels: Levels) -> None:
    """Empty both sides; the last best prices are kept."""
    for s in range(2):
        for row in range(levels.side[s, FIRST], levels.side[s, END]):
            levels.table[s, _place(levels.table, s, levels.price[s, row]), _HELD] = _GONE
        levels.side[s, END], levels.side[s, VACANT] = levels.side[s, FIRST], 0


@in_place
def is_bare(levels: Levels, s: int) -> bool:
    """Return whether a side (0 bid, 1 ask) has no level."""
    return levels.side[s, END] == levels.side[s, FIRST]


@in_place
def is_two_sided(levels: Levels) -> bool:
    """Return whether there is a best bid and a best ask."""
    return not is_bare(levels, 0) and not is_bare(levels, 1)


@in_place
def best(levels: Levels, s: int) -> int:
    """Return the best price of a side (0 bid, 1 ask), 0 if it is empty."""
    return 0 if is_bare(levels, s) else levels.price[s, levels.side[s, END] - 1]


@in_place
def reference_of(levels: Levels, s: int) -> int:
    """Return the reference price of a side (0 bid, 1 ask), see `kernel.reference`."""
    return levels.side[s, LAST_BEST] if levels.side[s, SEEN] else best(levels, 1 - s)


@in_place
def size_at(levels: Levels, s: int, price: int) -> int:
    """Return the size at a price of a side (0 bid, 1 ask), 0 if there is no such level."""
    return max(levels.table[s, _place(levels.table, s, np.int64(price)), _HELD], 0)


@inlined
def step_levels(levels: Levels, events: EventColumns, i: int) -> None:
    """Apply event i, including CLEAR, without its corrections."""
    if events.kind[i] != _CONTROL:
        _change(levels, np.int64(events.kind[i]), np.int64(events.side[i]), events.price[i], events.size[i])
    elif events.code[i] == _CLEAR:
        clear_levels(levels)


@in_place
def amend_levels(levels: Levels, corrections: CorrectionColumns, cursor: int, i: int) -> int:
    """Apply the corrections of event i, the first of which is at `cursor`; return the cursor after them.

    Args:
      levels: changed in place.
      corrections: of all events, ordered by event.
      cursor: index of the first correction not yet applied.
      i: the event.
    """
    while cursor < len(corrections.event) and corrections.event[cursor] == i:
        set_level(levels, corrections.side[cursor], corrections.price[cursor], corrections.size[cursor])
        cursor += 1
    return cursor


@in_place
def follow(levels: Levels, events: EventColumns, corrections: CorrectionColumns, references: np.ndarray) -> None:
    """Advance the levels over E events and their corrections, counting crossed and locked states.

    Args:
      levels: changed in place.
      events: the events to apply.
      corrections: those of these events.
      references: int64 [E+1, 2], filled with the reference prices (bid, ask) before each event and after the last
        one; left alone if it has no rows.
    """
    cursor, count = 0, len(events.kind)
    for i in range(count):
        if len(references):
            references[i, 0], references[i, 1] = reference_of(levels, 0), reference_of(levels, 1)
        step_levels(levels, events, i)
        cursor = amend_levels(levels, corrections, cursor, i)
        if is_two_sided(levels):
            spread = best(levels, 1) - best(levels, 0)
            levels.counters[_CROSSED] += spread < 0
            levels.counters[_LOCKED] += spread == 0
    if len(references):
        references[count, 0], references[count, 1] = reference_of(levels, 0), reference_of(levels, 1)


@inlined
def _change(levels: Levels, kind: int, side: int, price: int, size: int) -> None:
    """Apply one event, all arguments int64."""
    if size <= 0 or kind < _ADD or kind > _EXECUTE:
        return
    s = 0 if side > 0 else 1
    place = _place(levels.table, s, price)
    held = levels.table[s, place, _HELD]
    if kind == _ADD:
        _put(levels, s, place, price, max(held, 0) + size)
    elif held <= 0:
        levels.counters[_UNKNOWN_LEVEL] += 1
    elif size < held:
        levels.table[s, place, _HELD] = held - size
    else:
        levels.counters[_OVER_REMOVAL] += size > held
        _close(levels, s, place)
    _note_best(levels, s)


@in_place
def _set_level(levels: Levels, side: int, price: int, size: int) -> None:
    """Set a level's size, all arguments int64."""
    s = 0 if side > 0 else 1
    place = _place(levels.table, s, price)
    if size > 0:
        _put(levels, s, place, price, size)
    elif levels.table[s, place, _HELD] > 0:
        _close(levels, s, place)
    _note_best(levels, s)


@in_place
def _add_all(levels: Levels, side: np.ndarray, price: np.ndarray, size: np.ndarray) -> None:
    """Add orders in sequence."""
    for i in range(len(side)):
        _change(levels, _ADD, side[i], price[i], size[i])


@inlined
def _note_best(levels: Levels, s: int) -> None:
    """Remember a side's best price, if it has one."""
    if not is_bare(levels, s):
        levels.side[s, LAST_BEST], levels.side[s, SEEN] = levels.price[s, levels.side[s, END] - 1], 1


@inlined
def _place(table: np.ndarray, s: int, price: int) -> int:
    """Return the place of a price in the table, or else the free one where it belongs."""
    places = table[s]
    mask = np.uint64(len(places) - 1)
    place = ((np.uint64(price) * _MIX) >> _MIXED_BITS) & mask
    while places[place, _PRICE] != price and places[place, _HELD] != _FREE:
        place = (place + _ONE) & mask
    return place


@in_place
def _look_up(levels: Levels, s: int, price: np.ndarray, size: np.ndarray) -> None:
    """Fill in the size of each price; less than 1 for one without an order."""
    for k in range(len(price)):
        size[k] = levels.table[s, _place(levels.table, s, price[k]), _HELD]


@in_place
def _enter_all(levels: Levels, table: np.ndarray) -> None:
    """Enter the prices of all rows into another table, which is empty."""
    for s in range(2):
        for row in range(levels.side[s, FIRST], levels.side[s, END]):
            price = levels.price[s, row]
            entry = table[s, _place(table, s, price)]
            entry[_PRICE], entry[_HELD] = price, levels.table[s, _place(levels.table, s, price), _HELD]
        levels.side[s, _KNOWN] = levels.side[s, END] - levels.side[s, FIRST]


@inlined
def _rank(levels: Levels, s: int, price: int) -> int:
    """Return the row just after the levels that are worse than a price, by galloping search as in `kernel.rank`.

    It begins at the row found last rather than at the best one: rows of a message name levels one after the other.
    """
    prices, first, end = levels.price[s], levels.side[s, FIRST], levels.side[s, END]
    flip = -s  # the bits of asks are inverted, which inverts their order
    key = price ^ flip
    begin = max(min(levels.side[s, _FOUND], end), first)
    high, low, stride = begin, begin - 1, 1
    while low >= first and (prices[low] ^ flip) >= key:
        high = low
        stride *= 2
        low -= stride
    low = max(low + 1, first)
    if high == begin:
        stride = 1
        while high < end and (prices[high] ^ flip) < key:
            low = high + 1
            high += stride
            stride *= 2
        high = min(high, end)
    while low < high:
        middle = (low + high) // 2
        if (prices[middle] ^ flip) < key:
            low = middle + 1
        else:
            high = middle
    levels.side[s, _FOUND] = low
    return low


@inlined
def _put(levels: Levels, s: int, place: int, price: int, size: int) -> None:
    """Set the size of the level at a place of the table, or add it."""
    held = levels.table[s, place, _HELD]
    if held > 0 or held == _VACANT:
        levels.table[s, place, _HELD] = size
        levels.side[s, VACANT] -= held == _VACANT
    else:
        _open(levels, s, place, price, size)


@in_place
def _open(levels: Levels, s: int, place: int, price: int, size: int) -> None:
    """Insert a level above the worse ones, reusing a vacant row; skip it if it is outside a full window."""
    prices, side, row = levels.price[s], levels.side[s], _rank(levels, s, price)
    for near in (row, row - 1):
        if side[FIRST] <= near < side[END]:
            other = _place(levels.table, s, prices[near])
            if levels.table[s, other, _HELD] == _VACANT:
                levels.table[s, other, _HELD] = _GONE
                prices[near] = price
                side[VACANT] -= 1
                _enter(levels, s, place, price, size)
                return
    if levels.window > 0 and side[END] - side[FIRST] >= levels.window:
        if row == side[FIRST]:
            return
        levels.table[s, _place(levels.table, s, prices[side[FIRST]]), _HELD] = _GONE
        side[FIRST] += 1
    worse_move = row - side[FIRST] < side[END] - row
    if side[FIRST] == 0 if worse_move else side[END] == len(prices):
        row += _centre(levels, s, worse_move)
    if worse_move:
        row -= 1
        if side[FIRST] <= row:
            _move(levels, s, side[FIRST], row + 1, -1)
        side[FIRST] -= 1
    else:
        if row < side[END]:
            _move(levels, s, row, side[END], 1)
        side[END] += 1
    prices[row] = price
    _enter(levels, s, place, price, size)


@inlined
def _enter(levels: Levels, s: int, place: int, price: int, size: int) -> None:
    """Enter a level into the table, at the place of its price."""
    entry = levels.table[s, place]
    if entry[_HELD] == _FREE:
        if 2 * levels.side[s, _KNOWN] >= len(levels.table[s]):
            raise IndexError("there is no room for another price: see with_level_room")
        levels.side[s, _KNOWN] += 1
    entry[_PRICE], entry[_HELD] = price, size


@in_place
def _close(levels: Levels, s: int, place: int) -> None:
    """Remove a level: the best one together with the vacant rows behind it; any other one leaves a vacant row."""
    table, prices, side = levels.table[s], levels.price[s], levels.side[s]
    price = table[place, _PRICE]
    if price == prices[side[END] - 1]:
        table[place, _HELD] = _GONE
        side[END] -= 1
        while side[END] > side[FIRST]:
            behind = _place(levels.table, s, prices[side[END] - 1])
            if table[behind, _HELD] != _VACANT:
                break
            table[behind, _HELD] = _GONE
            side[END] -= 1
            side[VACANT] -= 1
    elif levels.window == 0:
        table[place, _HELD] = _VACANT
        side[VACANT] += 1
        if side[VACANT] > 32 + (side[END] - side[FIRST]) // 2:
            _compact(levels, s)
    else:
        table[place, _HELD] = _GONE
        row = _rank(levels, s, price)
        if row - side[FIRST] < side[END] - 1 - row:
            _move(levels, s, side[FIRST], row, 1)
            side[FIRST] += 1
        else:
            _move(levels, s, row + 1, side[END], -1)
            side[END] -= 1


@in_place
def _centre(levels: Levels, s: int, worse: bool) -> int:
    """Move the levels of a side to the middle of their array and return by how many rows.

    If only one row is free, `worse` says whether it must be at the worse end.
    """
    first, end = levels.side[s, FIRST], levels.side[s, END]
    free = len(levels.price[s]) - (end - first)
    if free == 0:
        raise IndexError("there is no room for another level: see with_level_room")
    by = (free + worse) // 2 - first
    _move(levels, s, first, end, by)
    levels.side[s, FIRST] += by
    levels.side[s, END] += by
    return by


@in_place
def _move(levels: Levels, s: int, first: int, end: int, by: int) -> None:
    """Move the prices in rows first..end-1 by `by` rows."""
    levels.counters[MOVED] += end - first
    # Loops over slices run twice as fast as loops over offsets. The slices overlap, hence the two directions.
    was, now = levels.price[s, first:end], levels.price[s, first + by : end + by]
    if by > 0:
        for k in range(len(was) - 1, -1, -1):
            now[k] = was[k]
    else:
        for k in range(len(was)):
            now[k] = was[k]


@in_place
def _compact(levels: Levels, s: int) -> None:
    """Remove all vacant rows."""
    prices, kept = levels.price[s], levels.side[s, FIRST]
    for k in range(levels.side[s, FIRST], levels.side[s, END]):
        place = _place(levels.table, s, prices[k])
        if levels.table[s, place, _HELD] > 0:
            prices[kept] = prices[k]
            kept += 1
        else:
            levels.table[s, place, _HELD] = _GONE
    levels.counters[MOVED] += kept - levels.side[s, FIRST]
    levels.side[s, END], levels.side[s, VACANT] = kept, 0
