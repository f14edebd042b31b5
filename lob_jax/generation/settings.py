"""The settings of generation: how many paths and events, how tokens are sampled, and a user's orders."""

import dataclasses
import numbers
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from lob_jax.errors import InputError
from lob_jax.events.instrument import NS_PER_SECOND, Instrument
from lob_jax.events.schema import ASK, BID
from lob_jax.tokens.bins import MOST_DISTANCE, MOST_LOTS

LAST_SECOND = 2**31 - 2  # the last second after midnight that the device's clock can represent
MOST_EVENTS = 2**30  # maximum of events per path, and of paths: the device counts in int32
# At 1e-38, float32 logits divided by the temperature overflow, and sums over infinities would sample masked tokens.
# These limits are far inside: 1e-6 is indistinguishable from 0, and 1e6 from a uniform distribution.
LEAST_TEMPERATURE, GREATEST_TEMPERATURE = 1e-6, 1e6


def require(name: str, value: Any, holds: Callable[[float], bool], *, expected: str, remedy: str) -> None:
    """Check that a setting is a real number that satisfies `holds`.

    Raises:
      InputError: it does not.
    """
    is_number = isinstance(value, numbers.Real) and not isinstance(value, bool)
    if not (is_number and holds(value)):
        raise InputError(
            "the sampling setting is invalid",
            where=name,
            expected=expected if is_number else f"a number: {expected}",
            was=repr(value),
            remedy=remedy,
        )


def require_whole(name: str, value: Any, *, least: int, most: int, remedy: str) -> None:
    """Check that a setting is an integer from `least` to `most`.

    Raises:
      InputError: it is not.
    """
    whole = isinstance(value, numbers.Integral)
    expected = f"a whole number from {least} to {most:,}"
    require(name, value, lambda number: whole and least <= number <= most, expected=expected, remedy=remedy)


@dataclasses.dataclass(frozen=True)
class Truncation:
    """Which tokens of a class may be sampled; Python numbers, not arrays, so that disabled rules are not compiled.

    Attributes:
      top_k: number of most likely tokens to keep; 0 keeps all.
      top_p: keep the most likely tokens that together reach this share of their class; 1 keeps all.
      min_p: keep tokens at least this times as likely as the most likely one; 0 keeps all.
      named: prefix of these names in errors, such as "config.generate.".

    Raises:
      InputError: a number is out of range; with top_p = 0, for example, no token would remain.
    """

    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    named: dataclasses.InitVar[str] = ""

    def __post_init__(self, named: str) -> None:
        zero, one = "0 draws from all tokens", "1 draws from all tokens"
        require_whole(f"{named}top_k", self.top_k, least=0, most=2**31 - 1, remedy=zero)
        require(f"{named}top_p", self.top_p, lambda p: 0 < p <= 1, expected="above 0, at most 1", remedy=one)
        require(f"{named}min_p", self.min_p, lambda p: 0 <= p < 1, expected="0 or more, below 1", remedy=zero)


EVERYTHING = Truncation()


def check_temperature(temperature: float, *, named: str = "") -> None:
    """Check that float32 logits can be divided by a temperature.

    Args:
      temperature: the temperature.
      named: prefix of its name in errors.

    Raises:
      InputError: it is neither 0 nor a number from LEAST_TEMPERATURE to GREATEST_TEMPERATURE.
    """
    require(
        f"{named}temperature",
        temperature,
        lambda number: number == 0 or LEAST_TEMPERATURE <= number <= GREATEST_TEMPERATURE,
        expected=f"0, or {LEAST_TEMPERATURE:g} to {GREATEST_TEMPERATURE:g}",
        remedy="1 draws from the model as it is, 0 takes the most likely token",
    )


@dataclasses.dataclass(frozen=True)
class Order:
    """An order to inject into every path; exactly one of `after_events` and `at_ns` must be given.

    Attributes:
      side: +1 to buy, -1 to sell.
      size: lots.
      price: limit in price quanta; None for a market order.
      after_events: the order is due once the path has this many events.
      at_ns: the order is due at the first event boundary at or after this time, UNIX ns.
    """

    side: int
    size: int
    price: int | None = None
    after_events: int | None = None
    at_ns: int | None = None


@dataclasses.dataclass(frozen=True)
class SamplingConfig:
    """Sampling settings.

    Attributes:
      paths: number of continuations of each prompt.
      events: events per path, including those of `inject`.
      seed: random seed; path i of prompt n has the same random numbers in any batch. They are numbered by event, so
        that runs with and without `inject` share them.
      temperature: divisor of the logits; 0 chooses the most likely allowed token.
      truncation: which tokens of a class may be sampled.
      antithetic: whether to replace each random number by one minus it.
      limit_sizes: whether the sizes that the model writes are limited to those that occur in training, see
        `Prompt.largest`.
      inject: a user's orders to inject into every path; their sizes are not limited.
      named: prefix of these names in errors, such as "config.generate.".

    Raises:
      InputError: a number is out of range.
    """

    paths: int
    events: int
    seed: int
    temperature: float = 1.0
    truncation: Truncation = EVERYTHING
    antithetic: bool = False
    limit_sizes: bool = True
    inject: tuple[Order, ...] = ()
    named: dataclasses.InitVar[str] = ""

    def __post_init__(self, named: str) -> None:
        require_whole(f"{named}paths", self.paths, least=1, most=MOST_EVENTS, remedy="ask for at least one path")
        require_whole(f"{named}events", self.events, least=1, most=MOST_EVENTS, remedy="ask for at least one event")
        require_whole(f"{named}seed", self.seed, least=0, most=2**32 - 1, remedy="any number of 32 bits will do")
        check_temperature(self.temperature, named=named)


def check_orders(orders: Sequence[Order], instrument: Instrument, *, origin: int, events: int) -> None:
    """Check the user's orders.

    Args:
      orders: the orders in the sequence in which they are sent.
      instrument: the instrument, for its tick and day.
      origin: origin of the live book's prices, in quanta.
      events: number of events in a path.

    Raises:
      InputError: an order is invalid, is due only after the end of every path, or cannot be represented on the device.
    """
    for number, order in enumerate(orders):
        for holds, name, expected, was in _rules(order, instrument, origin=origin, events=events):
            if not holds:
                raise _no_order(f"inject[{number}].{name}", expected, was)


def _rules(
    order: Order, instrument: Instrument, *, origin: int, events: int
) -> Iterator[tuple[bool, str, object, object]]:
    """Yield the conditions for a valid order: (holds, field, expected, was)."""
    tick, price, after, at_ns = instrument.tick, order.price, order.after_events, order.at_ns
    yield order.side in (BID, ASK), "side", "+1 or -1", order.side
    yield 0 < order.size <= MOST_LOTS, "size", f"1 to {MOST_LOTS} lots", order.size
    if price is not None:
        yield (price > 0 or instrument.signed) and price % tick == 0, "price", f"a multiple of {tick}", price
        low, high = (origin + sign * MOST_DISTANCE * tick for sign in (-1, 1))
        yield low <= price <= high, "price", f"at most {high} price quanta", price
    yield (after is None) != (at_ns is None), "after_events, at_ns", "one of the two", (after, at_ns)
    if after is not None:
        yield 0 <= after < events, "after_events", f"0 to {events - 1}: a path has {events} events", after
    elif at_ns is not None:
        last = instrument.midnight_ns() + LAST_SECOND * NS_PER_SECOND
        yield at_ns <= last, "at_ns", f"UNIX ns, at most {last}, {LAST_SECOND:,} seconds after the day began", at_ns


def _no_order(where: str, expected: object, was: object) -> InputError:
    return InputError(
        "the order is invalid",
        where=where,
        expected=expected,
        was=was,
        remedy="give a side, a size in lots, a limit in price quanta or None, and a time within the path",
    )
