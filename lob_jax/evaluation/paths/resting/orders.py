"""The orders that rest in a book: how far they are from the best price, and what is in front of them."""

import dataclasses

import numpy as np

from lob_jax.book.day import MarketDay
from lob_jax.book.snapshot import BookSnapshot
from lob_jax.events.schema import ANONYMOUS_ID, ASK, BID

BUCKETS = ("at best", "1 to 5 ticks", "deeper")
FIRST_TICK = (1, 6)  # at which the second and the third bucket begin


@dataclasses.dataclass(frozen=True, eq=False)
class Resting:
    """O resting orders of one or several books.

    Attributes:
      row_O: int64, row of the order in its `BookSnapshot`.
      distance_O: int64, ticks from the best price of its side, 0 at the best.
      ahead_O: int64, lots in front of it at its price.
      barrier_O: float64, ticks from the mid to its price; NaN if the other side is empty.
    """

    row_O: np.ndarray
    distance_O: np.ndarray
    ahead_O: np.ndarray
    barrier_O: np.ndarray

    def __len__(self) -> int:
        return len(self.row_O)

    def bucket(self) -> np.ndarray:
        """Return the index in BUCKETS of each order, int64 [O]."""
        return np.digitize(self.distance_O, FIRST_TICK)


def resting_orders(book: BookSnapshot, *, levels: int, tick: int) -> Resting:
    """Return the orders with an id on the best levels of a book.

    Anonymous orders are in front of others, but have no id by which they could be followed.

    Args:
      book: the book.
      levels: occupied levels per side.
      tick: price quanta per tick.
    """
    parts = [_side(book, side, levels, tick) for side in (BID, ASK)]
    return joined(parts)


def _side(book: BookSnapshot, side: int, levels: int, tick: int) -> Resting:
    rows, others = np.flatnonzero(book.side == side), book.price[book.side == -side]
    price, size = book.price[rows], book.size[rows]
    key = -side * price  # ascending from the best
    depth = np.unique(key, return_inverse=True)[1] if len(key) else key
    # Within a level orders are listed from the front, and levels are listed one after the other.
    in_front = np.cumsum(size) - size
    opens = np.ones(len(rows), bool)
    opens[1:] = price[1:] != price[:-1]
    ahead = in_front - np.maximum.accumulate(np.where(opens, in_front, 0)) if len(rows) else in_front
    best, other = key.min(initial=np.iinfo(np.int64).max), (side * others).min(initial=np.iinfo(np.int64).max)
    barrier = (key - best) / tick + (other + best) / (2 * tick) if len(others) and len(rows) else np.nan * key
    kept = (depth < levels) & (book.order_id[rows] != 0) & ~book.anonymous[rows]
    return Resting(rows[kept], (key[kept] - best) // tick, ahead[kept], barrier[kept])


def joined(parts: list[Resting]) -> Resting:
    """Return the orders of several books, one after the other."""
    fields = [field.name for field in dataclasses.fields(Resting)]
    return Resting(*(np.concatenate([getattr(part, name) for part in parts]) for name in fields))


def same_queues(book: BookSnapshot, other: BookSnapshot) -> np.ndarray:
    """Return for each order of a book whether its level holds orders of the same sizes in the other book, bool [O]."""
    theirs = _queues(other)
    ours = _queues(book)
    levels = zip(book.side.tolist(), book.price.tolist(), strict=True)
    return np.array([ours[level] == theirs.get(level) for level in levels], bool)


def with_ids_of(path: MarketDay, book: BookSnapshot) -> MarketDay:
    """Return a path that begins with a book which has the same levels, so that its events name orders of that book.

    A generator that says which order it removes gives ids of its own. An order of its book is the one at the same place
    of the same queue. Where queues differ, its id is dropped, so that the rule of the book decides; orders that the
    path adds get ids that no other order has.

    Args:
      path: a generated path.
      book: the real book where it begins.
    """
    given = path.events.order_id
    keeps = np.isin(given, np.array([0, ANONYMOUS_ID], np.uint64))
    if keeps.all():
        return dataclasses.replace(path, start=book)
    names, inverse = np.unique(given, return_inverse=True)
    new = 2**62 + np.arange(len(names), dtype=np.uint64)  # of orders that the path adds
    new[np.isin(names, path.start.order_id)] = 0
    theirs, ours = (
        start.order_id[same_queues(start, other)] for start, other in ((path.start, book), (book, path.start))
    )
    known = np.isin(theirs, names)
    new[np.searchsorted(names, theirs[known])] = ours[known]
    ids = np.where(keeps, given, new[inverse])
    return dataclasses.replace(path, start=book, events=path.events.replace(order_id=ids))


def _queues(book: BookSnapshot) -> dict[tuple[int, int], list[int]]:
    """Return the sizes of the orders of each level, by side and price."""
    queues: dict[tuple[int, int], list[int]] = {}
    for side, price, size in zip(book.side.tolist(), book.price.tolist(), book.size.tolist(), strict=True):
        queues.setdefault((side, price), []).append(size)
    return queues
