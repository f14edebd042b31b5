"""The error of an event that contradicts the market, and its messages."""

import functools
from typing import Any, NamedTuple

import numpy as np

from lob_jax.book.orders import END, FIRST, ID, NOBODY, PRICE, SIDE, SIZE, Book
from lob_jax.errors import InputError
from lob_jax.events.instrument import Instrument
from lob_jax.events.schema import Code, Events, Kind
from lob_jax.serving.market.faults import Fault
from lob_jax.tokens.compiled import MOST, MOST_DISTANCE, MOST_SIZE

_SIDES = {1: "bid", -1: "ask"}
_RESEND = "send the events in the order of the exchange, and each of them once; if some are lost, open a new session"
_IN_UNITS = "convert prices to price quanta and sizes to lots, see the instrument"


class EventError(InputError):
    """Raised for an event that contradicts the market; see `InputError`.

    Attributes:
      event: its index within the call.
    """

    def __init__(self, what: str, *, event: int, where: object, expected: object, was: object, remedy: str):
        super().__init__(what, where=where, expected=expected, was=was, remedy=remedy)
        self.event = event

    def __reduce__(self) -> tuple[Any, ...]:
        """Support pickling, see `InputError`."""
        names = ("event", "where", "expected", "was", "remedy")
        return functools.partial(EventError, **{name: getattr(self, name) for name in names}), (self.what,)


class Refused(NamedTuple):
    """An event that was refused, and the market before it.

    Attributes:
      event: its columns.
      book: the book before it.
      clock_ns: the time of the previous event.
      instrument: the instrument.
    """

    event: dict[str, int]
    book: Book
    clock_ns: int
    instrument: Instrument

    @property
    def s(self) -> int:
        """Return the side's index, 0 bid, 1 ask."""
        return 0 if self.event["side"] > 0 else 1

    def best(self, s: int) -> int | None:
        """Return the best price of a side, None if it is empty."""
        first, end = self.book.side[s, FIRST], self.book.side[s, END]
        return int(self.book.levels[s, end - 1, PRICE]) if end > first else None

    def on_level(self) -> int:
        """Return the lots at the event's price."""
        first, end = self.book.side[self.s, FIRST], self.book.side[self.s, END]
        levels = self.book.levels[self.s, first:end]
        return int(levels[levels[:, PRICE] == self.event["price"], SIZE].sum())

    def order(self) -> dict[str, Any] | None:
        """Return the order with the event's id, wherever it rests."""
        bits = np.uint64(self.event["order_id"]).astype(np.int64)
        places = np.flatnonzero(self.book.names[:, 0] == bits) if bits else ()
        for slot in self.book.names[places, 1].tolist() if len(places) else ():
            order = self.book.orders[slot]
            if slot != NOBODY and order[ID] == bits:
                return {"side": _SIDES[1 - 2 * int(order[SIDE])], "price": int(order[PRICE]), "size": int(order[SIZE])}
        return None


def event_error(
    fault: int, i: int, events: Events, book: Book, clock_ns: int, instrument: Instrument, *, first: int
) -> EventError:
    """Return the error of event i, which was refused.

    Args:
      fault: what is wrong, a `Fault`.
      i: the event.
      events: the events of the call.
      book: the book before it.
      clock_ns: the time of the event before it.
      instrument: the instrument.
      first: the number of the first event.
    """
    names = ("time_ns", "kind", "code", "side", "price", "size", "order_id")
    event = {name: int(getattr(events, name)[i]) for name in names}
    what, expected, was, remedy = _told(Fault(fault), Refused(event, book, clock_ns, instrument))
    kind = Kind(event["kind"]).name if event["kind"] in list(Kind) else "of no kind"
    side = _SIDES.get(event["side"], "")
    where = f"event {first + i}: {kind} {side}".rstrip()
    return EventError(what, event=first + i, where=where, expected=expected, was=was, remedy=remedy)


def _told(fault: Fault, refused: Refused) -> tuple[str, Any, Any, str]:
    """Return (what, expected, was, remedy) of a fault."""
    event = refused.event
    match fault:
        case Fault.TIME_BACK:
            return "time runs backwards", f"at least {refused.clock_ns}", event["time_ns"], _RESEND
        case Fault.OTHER_DAY:
            day = f"a time on {refused.instrument.trading_day}, {refused.instrument.time_zone}, or on the day after it"
            return "an event of another day", day, event["time_ns"], "open a new session for another day"
        case Fault.BAD_KIND:
            kinds = [f"{kind.value} {kind.name}" for kind in Kind]
            return "unknown event kind", kinds, event["kind"], "map it to one of these"
        case Fault.BAD_CODE:
            codes = [f"{code.value} {code.name}" for code in Code if code] if event["kind"] == Kind.CONTROL else 0
            return "the code does not fit the kind", codes, event["code"], "give CONTROL, and only CONTROL, a code"
        case Fault.BAD_CONTROL:
            content = {name: event[name] for name in ("side", "price", "size")}
            return "a CONTROL event carries more than its code", "side, price and size 0", content, "set them to 0"
        case Fault.BAD_SIDE:
            return "an event has no side", "+1 (bid) or -1 (ask)", event["side"], "give the side of the resting order"
        case Fault.NO_SIZE | Fault.BIG_SIZE:
            return "a size is out of range", f"1 to {MOST_SIZE} lots", event["size"], _IN_UNITS
        case _:
            return _told_of_price(fault, refused) or _told_of_order(fault, refused)


def _told_of_price(fault: Fault, refused: Refused) -> tuple[str, Any, Any, str] | None:
    price, tick = refused.event["price"], refused.instrument.tick
    match fault:
        case Fault.BAD_PRICE:
            return "a price is out of range", f"within ±{MOST}", price, _IN_UNITS
        case Fault.LOW_PRICE:
            least = tick if refused.event["kind"] <= Kind.EXECUTE else 1
            return "a price is below the lowest valid one", f"at least {least}", price, _IN_UNITS
        case Fault.OFF_TICK:
            return "a price lies between ticks", f"multiples of {tick}", price, _IN_UNITS
        case Fault.FAR_PRICE:
            unit = "ticks" if refused.event["kind"] <= Kind.EXECUTE else "quanta"
            far = f"up to {MOST_DISTANCE} {unit} from the best price"
            return "a price is too far from its reference", far, price, _IN_UNITS
        case Fault.CROSSING:
            side = "below the best ask" if refused.s == 0 else "above the best bid"
            expected = f"a price {side}, {refused.best(1 - refused.s)}"
            remedy = "send the executions of what an order takes first; then, if something remains, an ADD of the rest"
            return "an order is added that would trade at once", expected, price, remedy
    return None


def _told_of_order(fault: Fault, refused: Refused) -> tuple[str, Any, Any, str]:
    event, order, level = refused.event, refused.order(), refused.on_level()
    at = f"{level} lots at {event['price']}"
    match fault:
        case Fault.BAD_ID:
            return "an order has a reserved id", "an id below 2^64 - 2^32", event["order_id"], "send 0 for no id"
        case Fault.KNOWN_ORDER:
            return "an order is added whose id rests already", "a new id", {event["order_id"]: order}, _RESEND
        case Fault.NO_LEVEL:
            best = refused.best(refused.s)
            expected = f"a level of this side, the best of which is at {best}" if best is not None else "no removal"
            return "a removal at a price without orders", expected, event["price"], _lost(refused)
        case Fault.UNKNOWN_ORDER:
            elsewhere = f"it rests elsewhere: {order}" if order else "no such order"
            expected = f"the id of an order at {event['price']}"
            return (
                "a removal names an order that is not there",
                expected,
                {event["order_id"]: elsewhere},
                _lost(refused),
            )
        case Fault.BEYOND_ORDER:
            return "more is removed than the order holds", order, f"{event['size']} lots", _lost(refused)
        case Fault.BEYOND_LEVEL:
            return "more is removed than the level holds", at, f"{event['size']} lots", _lost(refused)
        case Fault.WHOLE_CANCEL:
            expected = f"less than {order['size'] if order else level} lots"
            return (
                "a CANCEL of all that rests",
                expected,
                event["size"],
                "send a DELETE, or an EXECUTE if it was filled",
            )
        case Fault.PART_DELETE:
            return "a DELETE of a part of an order", order, f"{event['size']} lots", "send a CANCEL for a part"
    raise AssertionError(fault)


def _lost(refused: Refused) -> str:
    """Return the remedy for an event that a complete book would have allowed."""
    if refused.book.window:
        return "send a correction when a level comes into the view of the feed; " + _RESEND
    return _RESEND
