"""A book that a baseline generator acts on: every action is made valid before it happens, and is recorded."""

from collections.abc import Callable

import numpy as np

from lob_jax.book.day import MarketDay
from lob_jax.book.oracle import OracleBook
from lob_jax.book.snapshot import BookSnapshot, Corrections
from lob_jax.events.instrument import Instrument
from lob_jax.events.schema import ASK, BID, Events, Kind
from lob_jax.statistics.flow import Flow

# (book, messages to generate, source of the draws) -> the messages, fewer if the book comes to a standstill
Continue = Callable[[BookSnapshot, int, np.random.Generator], MarketDay]

_COLUMNS = ("time_ns", "kind", "side", "price", "size", "order_id")


def start_books(flow: Flow, *, at_end: bool = False) -> list[BookSnapshot]:
    """Return the first book of each sequence, or the last one; each level is a single anonymous order.

    Sequences without messages have none.
    """
    lengths = np.diff(flow.edges)
    rows = flow.edges[1:][lengths > 0] - 1 if at_end else flow.edges[:-1][lengths > 0]
    return [_snapshot(flow, int(row)) for row in rows]


def _snapshot(flow: Flow, row: int) -> BookSnapshot:
    price, size = flow.book_price[row], flow.book_size[row]
    held = size > 0
    side = np.broadcast_to(np.array([[BID], [ASK]], np.int8), size.shape)
    return BookSnapshot(
        time_ns=int(flow.time_ns[row]) + flow.instrument.midnight_ns(),
        side=side[held],
        price=price[held],
        size=size[held],
        order_id=np.zeros(int(held.sum()), np.uint64),
        anonymous=np.ones(int(held.sum()), bool),
        last_best=price[:, 0],
        seen=held[:, 0],
    )


class LiveBook:
    """The orders of a book, and what has been done to it.

    Of several orders that an action may mean, it takes the one that the book's rule names, see `kernel.apply`.
    """

    def __init__(self, start: BookSnapshot, *, tick: int):
        """Begin with a book; `tick` is the price step in price quanta."""
        self._start, self._book, self._tick = start, OracleBook(start), tick
        self._rows: list[tuple[int, ...]] = []
        self._orders = 0

    def __len__(self) -> int:
        """Return the number of actions so far."""
        return len(self._rows)

    def best(self, side: int) -> int | None:
        """Return the best price of a side, None if it is empty."""
        return self._book.best(side)

    def reference(self, side: int) -> int:
        """Return the best price of a side, else its last one, else that of the other side."""
        return self._book.reference(side)

    def levels(self, side: int) -> dict[int, int]:
        """Return the lots at each price of a side."""
        return dict(self._book.levels(side))

    def add(self, time_ns: int, side: int, price: int, size: int) -> int:
        """Place an order at the nearest price that neither trades nor is below one tick; return its lots."""
        price -= price % self._tick
        opposite = self.best(-side)
        if opposite is not None and side * price >= side * opposite:
            price = opposite - side * self._tick
        price = max(price, self._tick)
        if opposite is not None and side * price >= side * opposite:  # no price is left below the best ask
            return 0
        self._orders += 1
        return self._act(time_ns, Kind.ADD, side, price, size, self._orders)

    def delete(self, time_ns: int, side: int, price: int, size: int) -> int:
        """Withdraw an order of a level, of this size or the nearest; return the lots, 0 if there is no such level."""
        queue = self._book.sides[side].get(price)
        if not queue:
            return 0
        size = min((order.size for order in queue), key=lambda lots: abs(lots - size))
        named = next(order.order_id for order in reversed(queue) if order.size == size)
        return self._act(time_ns, Kind.DELETE, side, price, size, named)

    def cancel(self, time_ns: int, side: int, price: int, size: int) -> int:
        """Withdraw part of an order, at most all but one lot; all of it if there is no larger order than one lot."""
        queue = self._book.sides[side].get(price)
        if not queue:
            return 0
        size = min(size, max(order.size for order in queue) - 1)
        if size == 0:
            return self.delete(time_ns, side, price, 1)
        named = next(order.order_id for order in reversed(queue) if order.size > size)
        return self._act(time_ns, Kind.CANCEL, side, price, size, named)

    def withdraw(self, time_ns: int, side: int, price: int, size: int) -> int:
        """Withdraw lots of a level: part of an order that is larger, else all of the order nearest in size."""
        larger = max(self._book.sizes(side, price), default=0) > size
        return (self.cancel if larger else self.delete)(time_ns, side, price, size)

    def execute(self, time_ns: int, side: int, size: int) -> int:
        """Trade with the order at the front of a side's best level, at most all of it; return the lots."""
        best = self.best(side)
        if best is None:
            return 0
        front = self._book.sides[side][best][0]
        return self._act(time_ns, Kind.EXECUTE, side, best, min(size, front.size), front.order_id)

    def execute_hidden(self, time_ns: int, side: int, price: int, size: int) -> int:
        """Trade with a hidden order at a price within the quotes; return the lots, 0 if a side is empty."""
        bid, ask = self.best(BID), self.best(ASK)
        if bid is None or ask is None:
            return 0
        return self._act(time_ns, Kind.EXECUTE_HIDDEN, side, min(max(price, bid), ask), size, 0)

    def _act(self, time_ns: int, kind: int, side: int, price: int, size: int, order_id: int) -> int:
        self._rows.append((time_ns, int(kind), side, price, size, order_id))
        self._book.apply(kind, side, price, size, order_id)
        return size

    def day(self, instrument: Instrument) -> MarketDay:
        """Return the start and the actions as a day."""
        columns = np.array(self._rows, np.int64).reshape(-1, len(_COLUMNS))
        events = Events.from_columns(**{name: columns[:, place] for place, name in enumerate(_COLUMNS)})
        return MarketDay(instrument, self._start, events, Corrections.none(), {})
