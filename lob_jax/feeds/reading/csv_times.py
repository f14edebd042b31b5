"""Parse ISO 8601 times in CSV files: the compiled part."""

import numpy as np

from lob_jax.jit import in_place

_DASH, _COLON, _DOT, _PLUS, _T, _SPACE, _Z, _ZERO = 45, 58, 46, 43, 84, 32, 90, 48
_SHORTEST = 20  # bytes: a time without a fraction, and the byte after it
_DAYS_BEFORE = np.cumsum([0, 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31])
_FIRST_YEAR, _LAST_YEAR = 1970, 2261  # ns since 1970 fit into an int64
_NS_PER_SECOND = 10**9


@in_place
def iso_time(data: np.ndarray, at: int) -> tuple[int, int, bool]:
    """Read a UTC time such as 2024-01-02T03:04:05.123456789Z.

    Date and time may be separated by a space; the fraction is optional and has up to nine digits; the time ends in Z,
    in +00:00 or without a zone. The line must end within `data`.

    Returns:
      ns since 1970, the position after the time, and whether there is a time.
    """
    if at + _SHORTEST > len(data) or data[at + 4] != _DASH or data[at + 7] != _DASH:
        return np.int64(0), at, False
    if (data[at + 10] != _T and data[at + 10] != _SPACE) or data[at + 13] != _COLON or data[at + 16] != _COLON:
        return np.int64(0), at, False
    year = _two(data, at) * 100 + _two(data, at + 2)
    month, day = _two(data, at + 5), _two(data, at + 8)
    hour, minute, second = _two(data, at + 11), _two(data, at + 14), _two(data, at + 17)
    leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    if not (_FIRST_YEAR <= year <= _LAST_YEAR and 1 <= month <= 12 and 0 <= hour < 24):
        return np.int64(0), at, False
    days = _DAYS_BEFORE[month] - _DAYS_BEFORE[month - 1] + (leap and month == 2)
    if not (1 <= day <= days and 0 <= minute < 60 and 0 <= second < 60):
        return np.int64(0), at, False
    before = year - 1
    number = 365 * (year - _FIRST_YEAR) + (before // 4 - before // 100 + before // 400) - 477  # leap days before 1970
    number += _DAYS_BEFORE[month - 1] + (leap and month > 2) + day - 1
    value = ((number * 24 + hour) * 60 + minute) * 60 + second
    fraction, end = _fraction(data, at + _SHORTEST - 1)
    return value * _NS_PER_SECOND + fraction, _zone_end(data, end), fraction >= 0


@in_place
def _two(data: np.ndarray, at: int) -> int:
    """Return the number formed by two digits, a negative one if they are not digits."""
    tens, ones = np.int64(data[at]) - _ZERO, np.int64(data[at + 1]) - _ZERO
    return tens * 10 + ones if 0 <= tens <= 9 and 0 <= ones <= 9 else -(10**6)


@in_place
def _fraction(data: np.ndarray, at: int) -> tuple[int, int]:
    """Return the fraction of a second in ns, -1 if it has no digits, and the position after it."""
    if data[at] != _DOT:
        return np.int64(0), at
    value, digits = np.int64(0), 0
    at += 1
    while digits < 9 and _ZERO <= data[at] <= _ZERO + 9:
        value = value * 10 + (data[at] - _ZERO)
        digits += 1
        at += 1
    for _ in range(9 - digits):
        value *= 10
    return value if digits > 0 else np.int64(-1), at


@in_place
def _zone_end(data: np.ndarray, at: int) -> int:
    """Return the position after Z or +00:00, or `at` if neither is there."""
    if data[at] == _Z:
        return at + 1
    if at + 6 < len(data) and data[at] == _PLUS and data[at + 3] == _COLON:
        return at + 6 if _two(data, at + 1) == 0 and _two(data, at + 4) == 0 else at
    return at
