"""Messages relative to the book before them, so that they can happen in another book."""

import dataclasses
from typing import NamedTuple

import numpy as np

from lob_jax.evaluation.fidelity.generators.live_book import LiveBook
from lob_jax.events.schema import BID, Kind
from lob_jax.statistics.flow import Flow

_MOVING = (Kind.ADD, Kind.CANCEL, Kind.DELETE, Kind.EXECUTE, Kind.EXECUTE_HIDDEN)


class Move(NamedTuple):
    """A message: kind, side, distance behind the side's best price in quanta, lots, and time since the one before."""

    kind: int
    side: int
    distance: int
    size: int
    gap_ns: int


@dataclasses.dataclass(frozen=True, eq=False)
class Moves:
    """N messages in columns as of `Move`, int64 [N], and the sequence of each, ascending; auctions are left out.

    A distance is negative for a price that improves on the best one.
    """

    kind: np.ndarray
    side: np.ndarray
    distance: np.ndarray
    size: np.ndarray
    gap_ns: np.ndarray
    sequence: np.ndarray

    def __len__(self) -> int:
        """Return the number of messages."""
        return len(self.kind)

    def row(self, place: int) -> Move:
        """Return one message."""
        return Move(*(int(getattr(self, name)[place]) for name in Move._fields))


def moves_of(flow: Flow) -> Moves:
    """Return the messages of a flow that have a message, and an order on their side, before them."""
    rows, sequence = np.arange(1, len(flow.kind)), flow.sequence()
    rows = rows[sequence[rows] == sequence[rows - 1]]
    index = np.where(flow.side[rows] == BID, 0, 1)
    best, held = flow.book_price[rows - 1, index, 0], flow.book_size[rows - 1, index, 0] > 0
    kept = held & np.isin(flow.kind[rows], _MOVING) & (flow.size[rows] > 0)
    rows, best = rows[kept], best[kept]
    side = flow.side[rows].astype(np.int64)
    gap = np.maximum(flow.time_ns[rows] - flow.time_ns[rows - 1], 0)
    return Moves(
        flow.kind[rows].astype(np.int64), side, side * (best - flow.price[rows]), flow.size[rows], gap, sequence[rows]
    )


def act(book: LiveBook, move: Move, time_ns: int, *, exact: bool) -> int:
    """Let a message happen in a book; return its lots, 0 if it cannot happen.

    Args:
      book: changed in place.
      move: the message.
      time_ns: its time.
      exact: whether a withdrawal needs an order at exactly its distance; otherwise it takes the nearest level.
    """
    kind, side, size = move.kind, move.side, move.size
    if kind == Kind.EXECUTE:
        return book.execute(time_ns, side, size)
    best = book.best(side)
    if best is None and kind != Kind.ADD:
        return 0
    price = (book.reference(side) if best is None else best) - side * move.distance
    if kind == Kind.ADD:
        return book.add(time_ns, side, price, size)
    if kind == Kind.EXECUTE_HIDDEN:
        return book.execute_hidden(time_ns, side, price, size)
    if not exact:
        price = min(book.levels(side), key=lambda level: (abs(level - price), level))
    withdraw = book.cancel if kind == Kind.CANCEL else book.delete
    return withdraw(time_ns, side, price, size)
