"""Convert the times of LOBSTER messages to nanoseconds, including those that passed through a double."""

from lob_jax.events.instrument import NS_PER_SECOND
from lob_jax.jit import in_place, inner

PLACES = 13  # decimal places with which times are parsed; times of up to ten days then fit into an int64
_UNITS = 10**PLACES  # in one second
UNITS_PER_NS = _UNITS // NS_PER_SECOND
_DIGITS = 17  # the most significant digits with which a double is printed
_MANTISSA = 2**52  # the smallest mantissa of a normalised double
NO_TIME = -1


@in_place
def nanoseconds(time: int) -> int:
    """Convert a time >= 0 from 10^-13 s to ns; return NO_TIME for a fraction of a ns that no double explains.

    A time with a fraction of a nanosecond is accepted as a printed double if it has at most 17 significant digits,
    apart from trailing zeros, if these are the digits of a double rounded to as many places, and if that double is less
    than its own spacing away from the nearest nanosecond, that is, one of the two neighbours of a whole nanosecond.
    Times are rounded to the nearest nanosecond, which preserves their order.
    """
    whole, rest = time // _UNITS, time % _UNITS
    nearest = (rest + UNITS_PER_NS // 2) // UNITS_PER_NS
    if rest % UNITS_PER_NS == 0 or _is_printed(whole, rest, nearest):
        return whole * NS_PER_SECOND + nearest
    return NO_TIME


@inner
def _is_printed(whole: int, rest: int, nearest: int) -> bool:
    """Return whether `whole` seconds and a rest in 10^-13 s are a printed double close to `nearest` ns."""
    unit, digits, power = _UNITS, PLACES, 1
    while rest % 10 == 0:
        rest, unit, digits = rest // 10, unit // 10, digits - 1
    while power <= whole:
        power, digits = 10 * power, digits + 1
    if digits > _DIGITS:
        return False
    # Binary long division, exact in integers: the next double below is mantissa / 2^places, and the remainder of the
    # number is left / unit / 2^places; likewise for the nanosecond.
    mantissa, left, places = whole, rest, 0
    floor_ns, left_ns = whole + nearest // NS_PER_SECOND, nearest % NS_PER_SECOND
    while mantissa < _MANTISSA:
        left, left_ns, places = 2 * left, 2 * left_ns, places + 1
        mantissa, left = 2 * mantissa + left // unit, left % unit
        floor_ns, left_ns = 2 * floor_ns + left_ns // NS_PER_SECOND, left_ns % NS_PER_SECOND
    if 2 * left > unit or (2 * left == unit and mantissa % 2 == 1):
        mantissa, left = mantissa + 1, unit - left
    if places < 62 and 2 * left > 1 << places:  # further than half a unit of the last digit from the double
        return False
    return mantissa == floor_ns or (mantissa == floor_ns + 1 and left_ns > 0)
