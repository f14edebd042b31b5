"""The settings of generation: how many paths and events, how tokens are sampled, and a user's orders."""

import dataclasses
import numbers
from collections.abc import Callable
from typing import Any

from lob_jax.errors import InputError

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
