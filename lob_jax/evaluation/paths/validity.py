"""Check that events are valid, by replaying them in a plain Python book that is independent of the generator."""

import dataclasses
from collections import Counter
from collections.abc import Iterator
from typing import Any

from lob_jax.book.oracle import OracleBook, Order
from lob_jax.book.snapshot import BookSnapshot, Corrections
from lob_jax.events.halts import CLOSED, CLOSES, OPEN, QUOTING, TRADES
from lob_jax.events.schema import ANONYMOUS_ID, ASK, BID, Code, Events, Flag, Kind

Levels = list[list[tuple[int, list[int]]]]


@dataclasses.dataclass(frozen=True)
class Validity:
    """The result of a replay.

    Attributes:
      events: number of events.
      faults: number of invalid events, and of levels that cannot have come into view, by reason; they do not change the
        book.
      emptied: whether a side lost its last level, and no other came into view.
      levels: the book at the end: for each level (price in quanta, lots of its orders from the front), best first, bids
        before asks.
    """

    events: int
    faults: dict[str, int]
    emptied: bool
    levels: Levels


def check_events(
    events: Events,
    *,
    start: BookSnapshot,
    tick: int,
    corrections: Corrections | None = None,
    closed: int = OPEN,
    signed: bool = False,
) -> Validity:
    """Replay events in plain Python, one after the other, and count the invalid ones.

    Orders that events with `Flag.OWN` add are the user's own, which no CANCEL or DELETE may apply to.

    Args:
      events: in the order in which they happen.
      start: the book before them; its time is that of the preceding event.
      tick: price quanta per tick; visible orders are at multiples of it.
      corrections: the levels that come into view of a book with a window; each must follow an event after which
        its side has room for it, behind the levels in view.
      closed: what is closed at the start, see `lob_jax.events.halts`.
      signed: whether prices may be zero or negative, see `Instrument`.
    """
    book, faults, clock = OracleBook(start), Counter(), start.time_ns
    rules: dict[str, Any] = {"tick": tick, "signed": signed}
    shown, emptied = _by_event(corrections), False
    columns = (events.time_ns, events.kind, events.code, events.side, events.price, events.size)
    rows = zip(*(column.tolist() for column in (*columns, events.order_id, events.flags)), strict=True)
    for number, (time_ns, kind, code, side, price, size, order_id, flags) in enumerate(rows):
        fault = "clock runs backwards" if time_ns < clock else None
        clock, before = time_ns, {side for side in (BID, ASK) if book.sides[side]}
        if kind == Kind.CONTROL:
            closed = CLOSES.get(code, closed)
            if code == Code.CLEAR:
                book.clear()
        else:
            fault = fault or _fault(book, kind, side, price, size, order_id, closed=closed, **rules)
        if fault:
            faults[fault] += 1
        elif kind != Kind.CONTROL:
            book.apply(kind, side, price, size, order_id, own=bool(flags & Flag.OWN))
        faults.update(_revealed(book, shown.get(number, []), **rules))
        emptied |= any(not book.sides[side] for side in before)
    return Validity(len(events), dict(faults), emptied, _levels(book))


def _by_event(corrections: Corrections | None) -> dict[int, list[tuple[int, int, int]]]:
    """Return (side, price, size) of the corrections, by event."""
    shown: dict[int, list[tuple[int, int, int]]] = {}
    if corrections is not None:
        columns = (corrections.event, corrections.side, corrections.price, corrections.size)
        for event, *level in zip(*(column.tolist() for column in columns), strict=True):
            shown.setdefault(event, []).append(tuple(level))
    return shown


def _revealed(book: OracleBook, shown: list[tuple[int, int, int]], *, tick: int, signed: bool) -> Iterator[str]:
    """Let levels come into view; yield what is wrong with those that cannot."""
    for side, price, size in shown:
        prices = book.sides[side]
        if not len(prices) < book.window:
            yield "a level comes into view where there is no room"
        elif any(side * price >= side * other for other in prices):
            yield "a level comes into view in front of others"
        elif size <= 0 or price % tick or (price <= 0 and not signed):
            yield "a level comes into view with no size or no price"
        else:
            book.correct(side, price, size)


def _fault(
    book: OracleBook,
    kind: int,
    side: int,
    price: int,
    size: int,
    order_id: int,
    *,
    tick: int,
    closed: int,
    signed: bool,
) -> str | None:
    """Return why an event is invalid; None if it is valid."""
    if size <= 0 or (price <= 0 and not signed):
        return "no size or no price"
    if closed >= (QUOTING if kind in TRADES else CLOSED):
        return "market closed"
    if kind in (Kind.CROSS, Kind.EXECUTE_HIDDEN):
        outside = kind == Kind.EXECUTE_HIDDEN and not _within_quotes(book, price)
        return "hidden execution outside the quotes" if outside else None
    if price % tick:
        return "price between ticks"
    if kind == Kind.ADD:
        crosses = "crosses the book" if _crosses(book, side, price) else None
        return crosses or ("out of view" if _out_of_view(book, side, price) else None)
    queue = book.sides[side].get(price, [])
    if not queue:
        return "nothing at the price"
    others = [order for order in _meant(queue, order_id) if not order.own]
    if kind == Kind.CANCEL:
        return None if any(order.size > size for order in others) else "no order is larger than the cancel"
    if kind == Kind.DELETE:
        fits = any(order.size == size or (order.anonymous and order.size > size) for order in others)
        return None if fits else "no order has the size of the delete"
    if price != book.best(side):
        return "execution behind the best price"
    if order_id not in (0, ANONYMOUS_ID) and queue[0].order_id != order_id:
        return "execution of an order behind the front"
    return None if size <= queue[0].size else "execution of more than the front order"


def _meant(queue: list[Order], order_id: int) -> list[Order]:
    """Return the orders of a queue that a removal with an id, or with 0 for none, may take from."""
    if order_id == ANONYMOUS_ID:
        return [order for order in queue if order.anonymous]
    return [order for order in queue if order_id in (0, order.order_id)]


def _crosses(book: OracleBook, side: int, price: int) -> bool:
    opposite = book.best(-side)
    return opposite is not None and side * price >= side * opposite


def _out_of_view(book: OracleBook, side: int, price: int) -> bool:
    """Return whether a price is behind the last level of a side that has as many levels as the book's window."""
    prices = book.sides[side]
    return 0 < book.window <= len(prices) and all(side * price < side * other for other in prices)


def _within_quotes(book: OracleBook, price: int) -> bool:
    bid, ask = book.best(BID), book.best(ASK)
    return bid is not None and ask is not None and bid <= price <= ask


def _levels(book: OracleBook) -> Levels:
    return [[(price, book.sizes(side, price)) for price, _ in book.levels(side)] for side in (BID, ASK)]


def merged(parts: list[Validity]) -> dict[str, int]:
    """Return the total number of faults of several replays, by reason."""
    return dict(sum((Counter(part.faults) for part in parts), Counter()))
