"""The user's orders in a decoded path, followed in plain Python: an oracle of their fills."""

import dataclasses

from lob_jax.book.day import MarketDay
from lob_jax.book.oracle import OracleBook
from lob_jax.book.oracle import Order as Resting
from lob_jax.events.schema import Flag, Kind
from lob_jax.generation.device.orders import Fill, Order


@dataclasses.dataclass
class Followed:
    """What became of one order: lots not matched yet, executions, lots left in the book or at a level out of view."""

    unmatched: int
    fills: list[Fill] = dataclasses.field(default_factory=list)
    resting: Resting | None = None
    left: int = 0
    unseen: int = 0


def follow(orders: list[Order], day: MarketDay) -> list[Followed]:
    """Replay a path, and return what became of each order; assert that no removal of others changes one of them.

    An event with `Flag.OWN` is matched to the first order that it can be of: the oracle knows neither tokens nor what
    the device says about them.
    """
    book, found, current = OracleBook(day.start), [Followed(order.size) for order in orders], 0
    events, cursor = day.events, 0
    columns = (events.time_ns, events.kind, events.side, events.price, events.size, events.flags)
    for number, (time_ns, kind, side, price, size, flags) in enumerate(
        zip(*(c.tolist() for c in columns), strict=True)
    ):
        own = bool(flags & Flag.OWN)
        before = sizes(found)
        front = book.sides[side][price][0] if kind == Kind.EXECUTE else None
        if own:
            while not is_next(orders[current], found[current].unmatched, book, (kind, side, price, size)):
                current += 1
            found[current].unmatched -= size
        for one in found:
            if front is not None and one.resting is front:
                one.fills.append(Fill(time_ns, price, size, resting=True))
        if own and kind == Kind.EXECUTE:
            found[current].fills.append(Fill(time_ns, price, size, resting=False))
        book.apply(kind, side, price, size, 0, own=own)
        if own and kind == Kind.ADD:
            found[current].resting = book.sides[side][price][-1]
        elif kind in (Kind.CANCEL, Kind.DELETE):
            assert sizes(found) == before, "a removal of others has changed an order of the user"
        while cursor < len(day.corrections) and day.corrections.event[cursor] == number:
            row = (day.corrections.side, day.corrections.price, day.corrections.size)
            book.correct(*(int(column[cursor]) for column in row))
            cursor += 1
    for one in found:
        if one.resting is not None:
            there = any(
                order is one.resting for side in book.sides.values() for queue in side.values() for order in queue
            )
            one.left, one.unseen = (one.resting.size, 0) if there else (0, one.resting.size)
    return found


def sizes(found: list[Followed]) -> list[int]:
    return [one.resting.size if one.resting else 0 for one in found]


def is_next(order: Order, unmatched: int, book: OracleBook, event: tuple[int, int, int, int]) -> bool:
    """Return whether an event is the next one of an order of which some lots are not matched yet."""
    best = book.best(-order.side)
    if best is not None and (order.price is None or order.side * order.price >= order.side * best):
        front = book.sides[-order.side][best][0].size
        return unmatched > 0 and event == (Kind.EXECUTE, -order.side, best, min(front, unmatched))
    return unmatched > 0 and event == (Kind.ADD, order.side, order.price, unmatched)
