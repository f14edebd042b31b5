"""Times, prices and sizes as text and as integers, without rounding in either direction."""

import dataclasses
import datetime
import decimal
import functools
import re

from lob_jax.errors import InputError
from lob_jax.events.instrument import NS_PER_SECOND, Instrument

LAST_NS = 2**63 - 1  # the last time that an int64 holds, in the year 2262
MOST = 2**62  # of price quanta and lots
DIGITS = 40  # of a number as it is written; more than any price or size has
KEPT = 1 << 16  # numbers and seconds whose conversion is remembered: prices and sizes repeat
TIME_FORMAT = "ISO 8601 with a zone and up to 9 decimals, such as 2012-06-21T13:30:00.123456789Z, or integer UNIX ns"
NUMBER_FORMAT = 'a number, or a decimal number as text, such as "585.33"'

_TIME = re.compile(r"(\d{4}-\d\d-\d\d)T(\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d)", re.ASCII)
_NUMBER = re.compile(rf"-?\d{{1,{DIGITS}}}(?:\.\d{{1,{DIGITS}}})?", re.ASCII)
_EPOCH = datetime.date(1970, 1, 1).toordinal()


class Unreadable(ValueError):
    """Raised for a value that is not what it should be.

    Attributes:
      expected: what it should have been.
    """

    def __init__(self, expected: str):
        self.expected = expected
        super().__init__(expected)


def read_time(value: object) -> int:
    """Return a time in UNIX ns.

    Args:
      value: ISO 8601 text with a zone, or UNIX ns.

    Raises:
      Unreadable: it is neither, or outside 1970 to 2262.
    """
    if type(value) is int:
        time_ns = value
    elif isinstance(value, str):
        time_ns = _time_of(value)
    else:
        raise Unreadable(TIME_FORMAT)
    if not 0 <= time_ns <= LAST_NS:
        raise Unreadable("a time from 1970 to 2262")
    return time_ns


def _time_of(text: str) -> int:
    found = _TIME.fullmatch(text)
    if found is None:
        raise Unreadable(TIME_FORMAT)
    day, hour, minute, second, fraction, zone = found.groups()
    if hour > "23" or minute > "59" or second > "59":
        raise Unreadable("hours up to 23, minutes and seconds up to 59")
    seconds = _day_s(day) + 3600 * int(hour) + 60 * int(minute) + int(second)
    if zone != "Z":
        if zone[1:3] > "23" or zone[4:6] > "59":
            raise Unreadable("a zone of up to 23 hours and 59 minutes")
        offset = 3600 * int(zone[1:3]) + 60 * int(zone[4:6])
        seconds += offset if zone[0] == "-" else -offset
    return seconds * NS_PER_SECOND + (int(fraction.ljust(9, "0")) if fraction else 0)


@functools.lru_cache(maxsize=64)
def _day_s(day: str) -> int:
    """Return the UNIX seconds of midnight UTC of an ISO date."""
    try:
        return (datetime.date.fromisoformat(day).toordinal() - _EPOCH) * 86_400
    except ValueError as error:
        raise Unreadable("a date that is in the calendar") from error


def time_text(time_ns: int) -> str:
    """Return a time as ISO 8601 in UTC with 9 decimals."""
    seconds, rest = divmod(int(time_ns), NS_PER_SECOND)
    return f"{_second_text(seconds)}.{rest:09d}Z"


@functools.lru_cache(maxsize=KEPT)
def _second_text(seconds: int) -> str:
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S")


@functools.lru_cache(maxsize=KEPT, typed=True)  # typed: True is not 1
def scaled(value: object, scale: int) -> int:
    """Return a number times a scale, which has to be an integer.

    Args:
      value: an int, a Decimal, a float (taken as its shortest decimal form) or decimal text.
      scale: the multiplier.

    Raises:
      Unreadable: it is no such number, or the product is not an integer, or out of range.
    """
    if type(value) is int:
        found, rest = value * scale, 0
    else:
        sign, digits, exponent = _decimal(value).as_tuple()
        if not isinstance(exponent, int) or len(digits) > DIGITS or abs(exponent) > DIGITS:
            raise Unreadable(f"a finite number of at most {DIGITS} digits")
        number = int("".join(map(str, digits))) * scale
        found, rest = (number * 10**exponent, 0) if exponent >= 0 else divmod(number, 10**-exponent)
        found = -found if sign else found
    if rest:
        raise Unreadable(f"a multiple of 1/{scale}")
    if not -MOST < found < MOST:
        raise Unreadable(f"less than 2^62 units of 1/{scale}")
    return found


def _decimal(value: object) -> decimal.Decimal:
    if isinstance(value, decimal.Decimal):
        return value
    if isinstance(value, float):
        return decimal.Decimal(repr(value))
    if isinstance(value, str) and len(value) <= 2 * DIGITS and _NUMBER.fullmatch(value):
        return decimal.Decimal(value)
    raise Unreadable(NUMBER_FORMAT)


@functools.lru_cache(maxsize=KEPT)
def unscaled(number: int, scale: int) -> str:
    """Return an integer divided by a scale, as the exact decimal number without zeros at its end."""
    places = decimal_places(scale)
    whole, rest = divmod(abs(number) * 10**places // scale, 10**places)
    text = f"{whole}.{rest:0{places}d}".rstrip("0").rstrip(".") if places else str(whole)
    return f"-{text}" if number < 0 else text


@functools.lru_cache(maxsize=64)
def decimal_places(scale: int) -> int:
    """Return how many decimals a multiple of 1/scale has at most.

    Raises:
      InputError: it has infinitely many.
    """
    places = next((places for places in range(64) if 10**places % scale == 0), None)
    if places is None:
        raise InputError(
            "prices or sizes of this instrument are no decimal numbers",
            where="the instrument's price_scale or lot_scale",
            expected="a number without prime factors other than 2 and 5",
            was=scale,
            remedy="it cannot be served: exchange values as integers, in Python",
        )
    return places


@dataclasses.dataclass(frozen=True)
class Units:
    """The units of an instrument.

    Attributes:
      price_scale: price quanta in one unit of currency.
      lot_scale: lots in one unit of quantity.
      signed: whether prices may be zero or negative.
    """

    price_scale: int
    lot_scale: int
    signed: bool

    @classmethod
    def of(cls, instrument: Instrument) -> "Units":
        """Return those of an instrument.

        Raises:
          InputError: its prices or sizes are no decimal numbers.
        """
        for scale in (instrument.price_scale, instrument.lot_scale):
            decimal_places(scale)
        return cls(instrument.price_scale, instrument.lot_scale, instrument.signed)

    def read_price(self, value: object) -> int:
        """Return a price in price quanta; raise Unreadable if it is none."""
        price = scaled(value, self.price_scale)
        if price <= 0 and not self.signed:
            raise Unreadable("a price above 0")
        return price

    def read_size(self, value: object, *, least: int = 1) -> int:
        """Return a size in lots; raise Unreadable if it is none, or less than `least`."""
        size = scaled(value, self.lot_scale)
        if size < least:
            raise Unreadable("a size above 0" if least else "a size of 0 or more")
        return size

    def price_text(self, price: int) -> str:
        """Return price quanta as a decimal number."""
        return unscaled(int(price), self.price_scale)

    def size_text(self, size: int) -> str:
        """Return lots as a decimal number."""
        return unscaled(int(size), self.lot_scale)
