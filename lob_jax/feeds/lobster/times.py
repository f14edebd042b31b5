"""Times of LOBSTER messages in whole nanoseconds, also those that went through a double on their way into the file."""

from lob_jax.events.instrument import NS_PER_SECOND
from lob_jax.jit import in_place, inner

PLACES = 13  # decimals that a time is read with; up to ten days an int64 holds them
_UNITS = 10**PLACES  # in one second
UNITS_PER_NS = _UNITS // NS_PER_SECOND
_DIGITS = 17  # significant ones of a double's printing, at most
_MANTISSA = 2**52  # the least of a double's
NO_TIME = -1


@in_place
def nanoseconds(time: int) -> int:
    """Return the nanoseconds of a time >= 0 in 10^-13 s; NO_TIME where it has a fraction that no double explains.

    A fraction of a nanosecond is a double's printing if the digits, trailing zeros aside, are at most 17 and those of
    a double rounded to as many places, and if that double lies less than its own spacing from the nearest nanosecond:
    it is one of the two neighbours of a whole nanosecond. Rounding is to the nearest, so that it keeps the order.
    """
    whole, rest = time // _UNITS, time % _UNITS
    nearest = (rest + UNITS_PER_NS // 2) // UNITS_PER_NS
    if rest % UNITS_PER_NS == 0 or _is_printed(whole, rest, nearest):
        return whole * NS_PER_SECOND + nearest
    return NO_TIME


@inner
def _is_printed(whole: int, rest: int, nearest: int) -> bool:
    """Return whether whole seconds and a rest in 10^-13 s are a double's printing, `nearest` ns being meant."""
    unit, digits, power = _UNITS, PLACES, 1
    while rest % 10 == 0:
        rest, unit, digits = rest // 10, unit // 10, digits - 1
    while power <= whole:
        power, digits = 10 * power, digits + 1
    if digits > _DIGITS:
        return False
    # Long division by powers of two, exact in integers: the double below is mantissa / 2^places, what is left of the
    # number is left / unit / 2^places; and so for the nanosecond.
    mantissa, left, places = whole, rest, 0
    floor_ns, left_ns = whole + nearest // NS_PER_SECOND, nearest % NS_PER_SECOND
    while mantissa < _MANTISSA:
        left, left_ns, places = 2 * left, 2 * left_ns, places + 1
        mantissa, left = 2 * mantissa + left // unit, left % unit
        floor_ns, left_ns = 2 * floor_ns + left_ns // NS_PER_SECOND, left_ns % NS_PER_SECOND
    if 2 * left > unit or (2 * left == unit and mantissa % 2 == 1):
        mantissa, left = mantissa + 1, unit - left
    if places < 62 and 2 * left > 1 << places:  # more than half a unit of the last digit from the double
        return False
    return mantissa == floor_ns or (mantissa == floor_ns + 1 and left_ns > 0)
