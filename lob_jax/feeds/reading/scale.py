"""How many decimal places a feed's prices and sizes need, and the step between its prices."""

import dataclasses
import decimal
import math
from collections.abc import Callable, Sequence

import numpy as np

from lob_jax.book.day import MarketDay
from lob_jax.book.snapshot import BookSnapshot, Corrections
from lob_jax.errors import InputError
from lob_jax.events.schema import Events, Kind
from lob_jax.feeds.reading.csv_fields import MOST_PLACES, MOST_UNITS
from lob_jax.jit import njit

USUAL_PLACES = (9, 8)  # of prices and of sizes, which nearly every day fits
_ROWS_AT_ONCE = 1 << 20
IN_64_BITS = decimal.Context(Emax=17)  # what is above raises an overflow


class PlacesMisfit(Exception):
    """A number does not fit the decimal places that a reading began with, which were a guess."""


@njit
def common_divisor(values: np.ndarray, divisor: int) -> int:
    """Return the greatest common divisor of int64 [R] and `divisor`, 0 for no non-zero number at all."""
    for value in values:
        if divisor == 1:
            break
        a, b = divisor, abs(value)
        if a == 0:
            divisor = b
        elif b % a:
            while b:
                a, b = b, a % b
            divisor = a
    return divisor


def parse_step(text: str, *, where: str) -> tuple[int, int]:
    """Return a step such as "0.05" as (units, decimal places): (5, 2).

    Raises:
      InputError: no positive decimal number of at most 18 places.
    """
    try:
        step = decimal.Decimal(text).normalize(IN_64_BITS)
    except (decimal.InvalidOperation, decimal.Overflow):
        step = decimal.Decimal(0)
    places = max(-int(step.as_tuple().exponent), 0) if step.is_finite() else MOST_PLACES + 1
    if not (step.is_finite() and step > 0 and places <= MOST_PLACES):
        raise InputError(
            "a step that is no positive decimal number",
            where=where,
            expected="a number such as 0.01",
            was=text,
            remedy="write the smallest difference of two prices, or of two sizes, or leave it out to infer it",
        )
    return int(step * 10**places), places


def is_signed(start: BookSnapshot, events: Events, corrections: Corrections) -> bool:
    """Return whether an order of a day has a price of zero or less, which makes its instrument a signed one."""
    if (start.price <= 0).any() or (corrections.price <= 0).any():
        return True
    for first in range(0, len(events), _ROWS_AT_ONCE):  # the columns may be larger than the memory
        rows = slice(first, first + _ROWS_AT_ONCE)
        kind = events.kind[rows]
        if ((events.price[rows] <= 0) & (kind >= Kind.ADD) & (kind <= Kind.EXECUTE)).any():
            return True
    return False


@dataclasses.dataclass(frozen=True)
class Steps:
    """The price step and the unit of size that a user names, in a parser's units; 0 where none is named.

    Attributes:
      price: in 10**-price_decimals.
      size: in 10**-size_decimals.
      price_decimals: places that prices are parsed at.
      size_decimals: places that sizes are parsed at.
      guessed: whether decimals that no named step decides are a guess: a number that does not fit them is no fault
        yet, but a `PlacesMisfit`.
    """

    price: int
    size: int
    price_decimals: int
    size_decimals: int
    guessed: bool = False


@dataclasses.dataclass(frozen=True)
class Scale:
    """How parsed integers become those of an instrument; the first three are `Instrument`'s."""

    price_scale: int
    tick: int
    lot_scale: int
    divide_price: int
    divide_size: int


def steps_of(tick: str | None, lot: str | None, *, price_decimals: int, size_decimals: int) -> Steps:
    """Return the named steps in a parser's units.

    Raises:
      InputError: one is no positive decimal number, or finer than the parser; or a lot that is no 1, 0.1, 0.01, ...
    """
    price = _in_units(tick, price_decimals, where="tick")
    size = _in_units(lot, size_decimals, where="lot")
    if size and 10**size_decimals % size:
        raise InputError(
            "a lot that does not divide one",
            where="lot",
            expected="1, or a fraction such as 0.001",
            was=lot,
            remedy="count sizes in a unit that divides 1",
        )
    return Steps(price, size, price_decimals, size_decimals)


def read_at_fitting_places(
    read: Callable[[Steps], MarketDay],
    *,
    tick: str | None,
    lot: str | None,
    count: Callable[[], np.ndarray],
) -> MarketDay:
    """Read a day with the decimal places that its numbers need: the usual ones, or, where a number does not fit them,
    those that most numbers fit. A named step decides its own.

    Args:
      read: reads the day from its beginning; it raises `PlacesMisfit` where steps are guessed and a number is misfit.
      tick: the price step that the user names, if any.
      lot: the unit of size that the user names, if any.
      count: goes through the day's numbers; returns int64 [2, 2, P], what `csv_fields.count_places` counts of prices
        and of sizes.

    Raises:
      InputError: a step that is none, or whatever `read` refuses.
    """
    try:
        return read(dataclasses.replace(_steps_at(tick, lot, USUAL_PLACES), guessed=True))
    except PlacesMisfit:
        pass  # what it holds in memory is gone before the next reading begins
    return read(_steps_at(tick, lot, [fitting_places(counts) for counts in count()]))


def _steps_at(tick: str | None, lot: str | None, places: Sequence[int]) -> Steps:
    """Return named steps, each at the places that it is written with, else at those given."""
    price, size = (
        number if text is None else parse_step(text, where=where)[1]
        for text, number, where in zip((tick, lot), places, ("tick", "lot"), strict=True)
    )
    return steps_of(tick, lot, price_decimals=price, size_decimals=size)


def fitting_places(counts: np.ndarray) -> int:
    """Return the decimal places that most numbers fit, the fewest such, from what `csv_fields.count_places` counts."""
    begun, ended = np.cumsum(counts, axis=1)
    return int(np.argmax(begun - np.append(0, ended[:-1])))


def step_of(number: str) -> str | None:
    """Return the coarsest step, 1 or a tenth of it and so on, that a decimal number is a multiple of; None for none."""
    try:
        value = decimal.Decimal(number)
    except decimal.InvalidOperation:
        return None
    places = max(-int(value.normalize().as_tuple().exponent), 0)
    if places > MOST_PLACES or value.adjusted() > MOST_PLACES or abs(value) * 10**places > MOST_UNITS:
        return None
    return format(decimal.Decimal(1).scaleb(-places), "f")


def _in_units(text: str | None, decimals: int, *, where: str) -> int:
    if text is None:
        return 0
    units, places = parse_step(text, where=where)
    if places > decimals:
        raise InputError(
            "a step with too many decimal places",
            where=where,
            expected=f"at most {decimals} places",
            was=text,
            remedy="name a coarser step",
        )
    return units * 10 ** (decimals - places)


def scale_of(steps: Steps, *, price_divisor: int, quantum_divisor: int, size_divisor: int) -> Scale:
    """Return the coarsest decimal units that hold every price and size, and the tick.

    Args:
      steps: what the user named; it wins over what the numbers show.
      price_divisor: a common divisor of the prices of visible orders, in parser's units; 0 for none.
      quantum_divisor: of all prices; 0 for none.
      size_divisor: of all sizes; 0 for none.
    """
    step = steps.price or price_divisor
    spare = _spare_places(math.gcd(step, quantum_divisor), steps.price_decimals)
    spare_size = _spare_places(steps.size or size_divisor, steps.size_decimals)
    unit = steps.size or 10**spare_size
    return Scale(
        price_scale=10 ** (steps.price_decimals - spare),
        tick=max(step // 10**spare, 1),
        lot_scale=10**steps.size_decimals // unit,
        divide_price=10**spare,
        divide_size=unit,
    )


def _spare_places(divisor: int, decimals: int) -> int:
    """Return how many of the last decimal places are 0 in every multiple of a divisor; all of them for 0."""
    spare = 0
    while spare < decimals and divisor % 10 ** (spare + 1) == 0:
        spare += 1
    return spare
