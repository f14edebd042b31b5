"""A compiled hash table from a feed's order references to the state of each order.

Open addressing with linear probing. Removal shifts later entries back instead of leaving tombstones, so the table does
not slow down when orders enter and leave all day. `home_of` is also the hash of the book's table of ids.
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
ABSENT = -1  # instead of a row: the key is not in the table
_FREE, _TAKEN = 0, 1
_SMALLEST = 16


class OrderTable(NamedTuple):
    """A table of H rows, H a power of two; row numbers are valid until the next `remove`.

    Attributes:
      keys: int64 [H], order references as the bits of a uint64; every value, including 0, is a valid key.
      state: uint8 [H], 1 where a row is in use.
      values: int64 [H, 4], by `Held`.
      used: int64 [1], number of rows in use.
    """

    keys: np.ndarray
    state: np.ndarray
    values: np.ndarray
    used: np.ndarray


def new_table(capacity: int) -> OrderTable:
    """Return an empty table large enough that `capacity` orders fill at most half of it."""
    rows = max(_SMALLEST, 1 << (2 * max(capacity, 1) - 1).bit_length())
    return OrderTable(
        keys=np.zeros(rows, np.int64),
        state=np.zeros(rows, np.uint8),
        values=np.zeros((rows, len(Held)), np.int64),
        used=np.zeros(1, np.int64),
    )


def room_for(table: OrderTable, more: int) -> OrderTable:
    """Return the table, or a larger copy if `more` insertions would fill more than half of it."""
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
    """Return the row of a key, inserting it with undefined values if it is absent; there must be room."""
    row = _place_of(table, key)
    if table.state[row] == _FREE:
        table.state[row] = _TAKEN
        table.keys[row] = key
        table.used[0] += 1
    return row


@inner
def remove(table: OrderTable, row: int) -> None:
    """Free a row in use, shifting back the entries whose search passes it."""
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
    """Return the row of a key, or the free row into which it would go."""
    last = len(table.keys) - 1
    row = home_of(table.keys, key)
    while table.state[row] != _FREE and table.keys[row] != key:
        row = (row + 1) & last
    return row


@njit
def _copy_all(table: OrderTable, larger: OrderTable) -> None:
    """Insert every order of one table into another."""
    for row in range(len(table.keys)):
        if table.state[row] != _FREE:
            larger.values[insert(larger, table.keys[row])] = table.values[row]
