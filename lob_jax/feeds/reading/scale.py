"""Determine the decimal places that a feed's prices and sizes need, and its tick."""

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
from lob_jax.jit import in_place, njit

USUAL_PLACES = (9, 8)  # decimal places of prices and of sizes; enough for nearly every day
_ROWS_AT_ONCE = 1 << 20
IN_64_BITS = decimal.Context(Emax=17)  # larger numbers raise decimal.Overflow


class PlacesMisfit(Exception):
    """Raised if a number does not fit the decimal places that a reading has guessed."""


@in_place
def divisor_with(divisor: int, value: int) -> int:
    """Return the greatest common divisor of a divisor and a number of any sign; 0 if both are 0."""
    a, b = divisor, abs(value)
    if a == 1 or b == 0 or b == a:
        return a
    if a == 0:
        return b
    if b % a == 0:
        return a
    while b:
        a, b = b, a % b
    return a


@njit
def common_divisor(values: np.ndarray, divisor: int) -> int:
    """Return the greatest common divisor of int64 [R] and `divisor`, 0 if all of them are 0."""
    for value in values:
        if divisor == 1:
            break
        divisor = divisor_with(divisor, value)
    return divisor


def parse_step(text: str, *, where: str) -> tuple[int, int]:
    """Parse a step such as "0.05" to (units, decimal places), here (5, 2).

    Raises:
      InputError: the text is not a positive decimal number of at most 18 places.
    """
    try:
        step = decimal.Decimal(text).normalize(IN_64_BITS)
    except (decimal.InvalidOperation, decimal.Overflow):
        step = decimal.Decimal(0)
    places = max(-int(step.as_tuple().exponent), 0) if step.is_finite() else MOST_PLACES + 1
    if not (step.is_finite() and step > 0 and places <= MOST_PLACES):
        raise InputError(
            "a step that is not a positive decimal number",
            where=where,
            expected="a number such as 0.01",
            was=text,
            remedy="pass the smallest difference between two prices or two sizes, or leave it out to infer it",
        )
    return int(step * 10**places), places


def is_signed(start: BookSnapshot, events: Events, corrections: Corrections) -> bool:
    """Return whether an order of a day has a price of zero or less, in which case its instrument is signed."""
    if (start.price <= 0).any() or (corrections.price <= 0).any():
        return True
    for first in range(0, len(events), _ROWS_AT_ONCE):  # the columns may be larger than memory
        rows = slice(first, first + _ROWS_AT_ONCE)
        kind = events.kind[rows]
        if ((events.price[rows] <= 0) & (kind >= Kind.ADD) & (kind <= Kind.EXECUTE)).any():
            return True
    return False


@dataclasses.dataclass(frozen=True)
class Steps:
    """The tick and the lot that a user has named, in a parser's units; 0 if not named.

    Attributes:
      price: in units of 10**-price_decimals.
      size: in units of 10**-size_decimals.
      price_decimals: decimal places with which prices are parsed.
      size_decimals: decimal places with which sizes are parsed.
      guessed: whether decimal places not given by a named step are a guess; a number that does not fit them then
        raises `PlacesMisfit` instead of being a fault.
    """

    price: int
    size: int
    price_decimals: int
    size_decimals: int
    guessed: bool = False


@dataclasses.dataclass(frozen=True)
class Scale:
    """How to convert parsed integers to an instrument's integers.

    Attributes:
      price_scale, tick, lot_scale: as in `Instrument`.
      divide_price, divide_size: divisors of the parsed integers.
    """

    price_scale: int
    tick: int
    lot_scale: int
    divide_price: int
    divide_size: int


def steps_of(tick: str | None, lot: str | None, *, price_decimals: int, size_decimals: int) -> Steps:
    """Return the named steps in a parser's units.

    Args:
      tick: the smallest price step, None if not named.
      lot: the unit of size, None if not named.
      price_decimals: decimal places with which prices are parsed.
      size_decimals: decimal places with which sizes are parsed.

    Raises:
      InputError: a step is not a positive decimal number, or finer than the parser; or the lot does not divide 1.
    """
    price = _in_units(tick, price_decimals, where="tick")
    size = _in_units(lot, size_decimals, where="lot")
    if size and 10**size_decimals % size:
        raise InputError(
            "a lot that does not divide one",
            where="lot",
            expected="1, or a fraction such as 0.001",
            was=lot,
            remedy="use a lot of which 1 is a multiple",
        )
    return Steps(price, size, price_decimals, size_decimals)


def read_at_fitting_places(
    read: Callable[[Steps], MarketDay],
    *,
    tick: str | None,
    lot: str | None,
    count: Callable[[], np.ndarray],
) -> MarketDay:
    """Read a day with the decimal places that its numbers need.

    The usual places are tried first; if a number does not fit them, the day is read again with the places that fit most
    numbers. A named step decides the places of its own quantity.

    Args:
      read: reads the day from its beginning; raises `PlacesMisfit` if steps are guessed and a number does not fit.
      tick: the price step that the user has named, if any.
      lot: the unit of size that the user has named, if any.
      count: reads the day's numbers; returns what `csv_fields.count_places` counts for prices and sizes, int64
        [2, 2, P].

    Raises:
      InputError: a step is invalid, or `read` refuses the day.
    """
    try:
        return read(dataclasses.replace(_steps_at(tick, lot, USUAL_PLACES), guessed=True))
    except PlacesMisfit:
        pass  # read again outside this block: the traceback keeps the first reading's arrays alive within it
    return read(_steps_at(tick, lot, [fitting_places(counts) for counts in count()]))


def _steps_at(tick: str | None, lot: str | None, places: Sequence[int]) -> Steps:
    """Return the steps, a named one with the decimal places as written, the others with the given places."""
    price, size = (
        number if text is None else parse_step(text, where=where)[1]
        for text, number, where in zip((tick, lot), places, ("tick", "lot"), strict=True)
    )
    return steps_of(tick, lot, price_decimals=price, size_decimals=size)


def fitting_places(counts: np.ndarray) -> int:
    """Return the smallest number of decimal places that fits most numbers, from `csv_fields.count_places`."""
    begun, ended = np.cumsum(counts, axis=1)
    return int(np.argmax(begun - np.append(0, ended[:-1])))


def step_of(number: str) -> str | None:
    """Return the coarsest step among 1, 0.1, 0.01, ... that divides a decimal number; None if there is none."""
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
            remedy="set a coarser step",
        )
    return units * 10 ** (decimals - places)


def scale_of(steps: Steps, *, price_divisor: int, quantum_divisor: int, size_divisor: int) -> Scale:
    """Return the coarsest decimal units that represent every price and size, and the tick.

    Args:
      steps: named by the user; they take precedence over the divisors.
      price_divisor: a common divisor of the prices of visible orders, in the parser's units; 0 for none.
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
    """Return the number of last decimal places that are 0 in every multiple of `divisor`; all of them for 0."""
    spare = 0
    while spare < decimals and divisor % 10 ** (spare + 1) == 0:
        spare += 1
    return spare
