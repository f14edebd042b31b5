"""The user's orders in a decoded path, followed in plain Python: an oracle of their fills."""

import dataclasses

from lob_jax.book.day import MarketDay
from lob_jax.book.oracle import OracleBook
from lob_jax.book.oracle import Order as Resting
from lob_jax.events.halts import CLOSES, OPEN
from lob_jax.events.schema import Flag, Kind
from lob_jax.generation.generated import Fill
from lob_jax.generation.settings import Order


@dataclasses.dataclass
class Followed:
    """What became of one order: lots not matched yet, executions, lots left in the book or at a level out of view."""

    order: Order
    unmatched: int
    fills: list[Fill] = dataclasses.field(default_factory=list)
    resting: Resting | None = None
    rested: int = 0
    left: int = 0
    unseen: int = 0

    def lots_in(self, book: OracleBook) -> int:
        """Return how many lots rest in a book."""
        queue = book.sides[self.order.side].get(self.order.price, [])
        return sum(order.size for order in queue if order is self.resting)


def follow(orders: list[Order], day: MarketDay) -> list[Followed]:
    """Replay a path, and return what became of each order; assert that no removal of others changes one of them.

    An event with `Flag.OWN` is matched to the first order that it can be of, of those that are due: the oracle knows
    neither tokens nor what the device says about them.

    Args:
      orders: the orders, all due after a number of events.
      day: the path, which begins while the market is open.
    """
    book, found, current, closed = OracleBook(day.start), [Followed(order, order.size) for order in orders], 0, OPEN
    events, cursor = day.events, 0
    columns = (events.time_ns, events.kind, events.code, events.side, events.price, events.size, events.flags)
    rows = zip(*(column.tolist() for column in columns), strict=True)
    for number, (time_ns, kind, code, side, price, size, flags) in enumerate(rows):
        own = bool(flags & Flag.OWN)
        before = [one.lots_in(book) for one in found]
        front = book.sides[side][price][0] if kind == Kind.EXECUTE else None
        if own:
            while not is_next(orders[current], found[current].unmatched, book, (kind, side, price, size)):
                current += 1
            found[current].unmatched -= size
        elif not closed:  # what is due has been sent, and what could not rest has been dropped
            current += sum(order.after_events <= number for order in orders[current:])
        closed = CLOSES.get(code, closed)
        for one in found:
            if front is not None and one.resting is front:
                one.fills.append(Fill(time_ns, price, size, resting=True))
        if own and kind == Kind.EXECUTE:
            found[current].fills.append(Fill(time_ns, price, size, resting=False))
        book.apply(kind, side, price, size, 0, own=own)
        if own and kind == Kind.ADD:
            found[current].resting, found[current].rested = book.sides[side][price][-1], size
        elif kind in (Kind.CANCEL, Kind.DELETE):
            assert [one.lots_in(book) for one in found] == before, "others have removed lots of the user"
        while cursor < len(day.corrections) and day.corrections.event[cursor] == number:
            row = (day.corrections.side, day.corrections.price, day.corrections.size)
            book.correct(*(int(column[cursor]) for column in row))
            cursor += 1
    for one in found:
        if one.resting is not None:
            one.left = one.lots_in(book)
            one.unseen = one.rested - one.left - sum(fill.lots for fill in one.fills if fill.resting)
    return found


def is_next(order: Order, unmatched: int, book: OracleBook, event: tuple[int, int, int, int]) -> bool:
    """Return whether an event is the next one of an order of which some lots are not matched yet."""
    best = book.best(-order.side)
    if best is not None and (order.price is None or order.side * order.price >= order.side * best):
        front = book.sides[-order.side][best][0].size
        return unmatched > 0 and event == (Kind.EXECUTE, -order.side, best, min(front, unmatched))
    return unmatched > 0 and event == (Kind.ADD, order.side, order.price, unmatched)
