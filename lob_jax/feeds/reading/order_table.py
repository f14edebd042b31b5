"""A compiled hash table from a feed's order references to what is known of each order.

Open addressing with linear probing; removal moves later entries up, so there are no tombstones and a table that
orders enter and leave all day never slows down. `home_of` is the hash of the book's own table of names.
"""

import enum
from typing import NamedTuple

import numpy as np

from lob_jax.book.orders import home_of
from lob_jax.jit import in_place, inner, njit


class Held(enum.IntEnum):
    """Columns of `OrderTable.values`, what is known of an order."""

    SIDE = 0
    PRICE = 1
    SIZE = 2
    EXTRA = 3  # whatever a feed likes


SIDE, PRICE, SIZE, EXTRA = (int(column) for column in Held)
ABSENT = -1  # in place of a row
_FREE, _TAKEN = 0, 1
_SMALLEST = 16


class OrderTable(NamedTuple):
    """A table of H rows, a power of two; row numbers hold until the next `remove`.

    Attributes:
      keys: int64 [H], order references: the bits of a uint64, each of which may be a key, 0 too.
      state: uint8 [H], 1 where a row is in use.
      values: int64 [H, 4], by `Held`.
      used: int64 [1], rows in use.
    """

    keys: np.ndarray
    state: np.ndarray
    values: np.ndarray
    used: np.ndarray


def new_table(capacity: int) -> OrderTable:
    """Return an empty table that `capacity` orders fill at most half."""
    rows = max(_SMALLEST, 1 << (2 * max(capacity, 1) - 1).bit_length())
    return OrderTable(
        keys=np.zeros(rows, np.int64),
        state=np.zeros(rows, np.uint8),
        values=np.zeros((rows, len(Held)), np.int64),
        used=np.zeros(1, np.int64),
    )


def room_for(table: OrderTable, more: int) -> OrderTable:
    """Return the table, or a larger copy of it if `more` insertions would fill it beyond a half."""
    wanted = int(table.used[0]) + more
    if 2 * wanted <= len(table.keys):
        return table
    larger = new_table(wanted)
    _copy_all(table, larger)
    return larger


@inner
def find(table: OrderTable, key: int) -> int:
    """Return the row of a key, ABSENT if it is not in the table."""
    row = _place_of(table, key)
    return row if table.state[row] != _FREE else ABSENT


@inner
def insert(table: OrderTable, key: int) -> int:
    """Return the row of a key, a new one with undefined values if it is not in the table; there must be room."""
    row = _place_of(table, key)
    if table.state[row] == _FREE:
        table.state[row] = _TAKEN
        table.keys[row] = key
        table.used[0] += 1
    return row


@inner
def remove(table: OrderTable, row: int) -> None:
    """Free a row in use, moving up the entries whose search passes it."""
    last = len(table.keys) - 1
    hole = row
    place = (hole + 1) & last
    while table.state[place] != _FREE:
        travelled = (place - home_of(table.keys, table.keys[place])) & last
        if travelled >= ((place - hole) & last):
            table.keys[hole] = table.keys[place]
            for column in range(4):
                table.values[hole, column] = table.values[place, column]
            hole = place
        place = (place + 1) & last
    table.state[hole] = _FREE
    table.used[0] -= 1


@in_place
def _place_of(table: OrderTable, key: int) -> int:
    """Return the row of a key, or the free row where it would go."""
    last = len(table.keys) - 1
    row = home_of(table.keys, key)
    while table.state[row] != _FREE and table.keys[row] != key:
        row = (row + 1) & last
    return row


@njit
def _copy_all(table: OrderTable, larger: OrderTable) -> None:
    """Enter every order of one table into another."""
    for row in range(len(table.keys)):
        if table.state[row] != _FREE:
            larger.values[insert(larger, table.keys[row])] = table.values[row]
