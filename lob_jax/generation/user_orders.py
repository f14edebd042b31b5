"""The user's orders as text, as a configuration has them, and what became of them as plain JSON.

A text is `buy 500 @ 585.33 after 20`, which is a limit order in units of quantity and currency that is sent after 20
events, or `sell 100 @ market at 10:30:05`, a market order at a time of the venue's clock.
"""

import decimal
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

from lob_jax.errors import InputError
from lob_jax.events.instrument import NS_PER_SECOND, Instrument
from lob_jax.events.schema import ASK, BID
from lob_jax.generation.generated import Outcome
from lob_jax.generation.settings import Order

EXAMPLE = "buy 500 @ 585.33 after 20, or sell 100 @ market at 10:30:05"
MARKET = "market"
_NUMBER = r"\d+(?:\.\d+)?"
_ORDER = re.compile(
    rf"\s*(buy|sell)\s+({_NUMBER})\s*@\s*(-?{_NUMBER}|{MARKET})\s+"
    r"(?:after\s+(\d+)|at\s+(\d\d):(\d\d):(\d\d(?:\.\d{1,9})?))\s*"
)


class Request(NamedTuple):
    """An order before it is known which instrument it is for.

    Attributes:
      side: +1 to buy, -1 to sell.
      quantity: in units of quantity.
      price: limit in units of currency; None for a market order.
      after: events after which it is sent; None for an order at a time.
      since_ns: the time, ns after midnight; None for an order after events.
    """

    side: int
    quantity: decimal.Decimal
    price: decimal.Decimal | None
    after: int | None
    since_ns: int | None


def read_order(text: str) -> Request:
    """Read one order.

    Raises:
      InputError: it is not written as an order is.
    """
    found = _ORDER.fullmatch(text)
    if found is None:
        raise _unclear(text, f"orders such as {EXAMPLE}", "separate orders by commas")
    side, quantity, price, after, *clock = found.groups()
    hours, minutes, seconds = (decimal.Decimal(part or 0) for part in clock)
    if minutes >= 60 or seconds >= 60:
        raise _unclear(
            text, "a time such as 10:30:05", "write minutes and seconds below 60; 25:00:00 is 1 a.m. the next day"
        )
    return Request(
        side=BID if side == "buy" else ASK,
        quantity=decimal.Decimal(quantity),
        price=None if price == MARKET else decimal.Decimal(price),
        after=None if after is None else int(after),
        since_ns=None if after is not None else int((hours * 3600 + minutes * 60 + seconds) * NS_PER_SECOND),
    )


def orders_for(texts: Sequence[str], instrument: Instrument) -> tuple[Order, ...]:
    """Return the orders that texts describe, in the units of an instrument.

    Raises:
      InputError: an order is not written as one, or a price or size is between the units of the instrument.
    """
    orders = []
    for text in texts:
        asked = read_order(text)
        size, price = asked.quantity * instrument.lot_scale, (asked.price or 0) * instrument.price_scale
        if size % 1:
            raise _unclear(text, f"a multiple of 1/{instrument.lot_scale}", "send a quantity of whole lots")
        if price % instrument.tick:
            tick = decimal.Decimal(instrument.tick) / instrument.price_scale
            raise _unclear(text, f"a limit that is a multiple of {tick}, the tick", "send a limit on a tick")
        at_ns = None if asked.since_ns is None else instrument.midnight_ns() + asked.since_ns
        limit = None if asked.price is None else int(price)
        orders.append(Order(asked.side, int(size), limit, after_events=asked.after, at_ns=at_ns))
    return tuple(orders)


def _unclear(text: str, expected: str, remedy: str) -> InputError:
    return InputError(
        "this is not an order", where="config.generate.orders", expected=expected, was=text, remedy=remedy
    )


def outcomes_to_json(
    texts: Sequence[str], outcomes: Sequence[Sequence[Outcome]], instrument: Instrument
) -> dict[str, Any]:
    """Return what became of orders as plain JSON, in units of quantity and currency.

    Args:
      texts: the orders.
      outcomes: for each path, the outcome of each order.
      instrument: the instrument.
    """
    return {
        "orders": list(texts),
        "paths": [[_outcome_to_json(outcome, instrument) for outcome in path] for path in outcomes],
    }


def _outcome_to_json(outcome: Outcome, instrument: Instrument) -> dict[str, Any]:
    lots = ("filled", "rested", "dropped", "left", "unseen")
    return {
        "sent": outcome.sent,
        **{name: getattr(outcome, name) / instrument.lot_scale for name in lots},
        "why": outcome.why,
        "fills": [
            {
                "time_ns": fill.time_ns,
                "price": fill.price / instrument.price_scale,
                "size": fill.lots / instrument.lot_scale,
                "resting": fill.resting,
            }
            for fill in outcome.fills
        ],
    }
