"""Ranges of tokens under construction: compiled functions that add the codes and the digits of numbers to a set."""

import enum
from typing import NamedTuple

import numpy as np

from lob_jax.jit import inner
from lob_jax.tokens import numbers
from lob_jax.tokens import vocabulary as v
from lob_jax.tokens.numbers import POWER


class Mark(enum.IntEnum):
    """Indices of `Ranges.at`."""

    BEGIN = 0  # the first range of the current row
    END = 1  # the one after the last


class Stop(enum.IntEnum):
    """Why a walk over tokens has stopped."""

    DONE = 0  # behind the last token
    FULL = 1  # for want of room for ranges
    OUT_OF_RANGE = 2  # at an event whose price cannot be represented


BEGIN, END = (int(mark) for mark in Mark)
ROW_ROOM = 4096  # more ranges than a row can have
GROUPS = 1000
_PLAIN_DEEPER = 10 ** (v.DEEPER_ESCAPE_DIGITS - 1) - 1  # the largest distance that is not written as an escape
_PLAIN_BETTER = 10 ** (v.BETTER_ESCAPE_DIGITS - 1) - 1


class Ranges(NamedTuple):
    """The ranges of all rows so far; those of the current row ascend, with a gap between any two.

    Attributes:
      first: uint16 [R], the first token of each range.
      last: uint16 [R], the last token of each range.
      at: int64 [2], by `Mark`.
      marked: bool [1000], scratch space of `put_marked`; False between calls.
    """

    first: np.ndarray
    last: np.ndarray
    at: np.ndarray
    marked: np.ndarray


def new_ranges(capacity: int) -> Ranges:
    """Return an empty buffer with room for some ranges."""
    first, last = np.empty(capacity, np.uint16), np.empty(capacity, np.uint16)
    return Ranges(first, last, np.zeros(2, np.int64), np.zeros(GROUPS, np.bool_))


def grown(ranges: Ranges, capacity: int) -> Ranges:
    """Return a larger copy."""
    larger, used = new_ranges(capacity), int(ranges.at[END])
    larger.first[:used], larger.last[:used] = ranges.first[:used], ranges.last[:used]
    larger.at[:] = ranges.at
    return larger


@inner
def put(ranges: Ranges, first: int, last: int) -> None:
    """Add tokens first..last to the current row; `first` is not below the first token of its last range."""
    if first > last:
        return
    end = ranges.at[END]
    if end > ranges.at[BEGIN] and first <= np.int64(ranges.last[end - 1]) + 1:
        if last > np.int64(ranges.last[end - 1]):
            ranges.last[end - 1] = last
        return
    ranges.first[end], ranges.last[end] = first, last
    ranges.at[END] = end + 1


@inner
def put_again(ranges: Ranges, begin: int, end: int) -> None:
    """Begin the current row with the ranges begin..end-1 of an earlier one."""
    ahead = ranges.at[END] - begin
    for at in range(begin, end):
        ranges.first[at + ahead], ranges.last[at + ahead] = ranges.first[at], ranges.last[at]
    ranges.at[END] = end + ahead


@inner
def put_codes(ranges: Ranges, base: int, low: int, high: int) -> None:
    """Add the codes that begin the numbers low..high, 0 <= low, in the class that starts at `base`."""
    if low <= high:
        put(ranges, base + numbers.number_code(low), base + numbers.number_code(high))


@inner
def put_escapes(ranges: Ranges, base: int, low: int, high: int) -> None:
    """Add the codes of the numbers of digits of low..high, counted from `base`."""
    if low <= high:
        put(ranges, base + numbers.digit_count(low), base + numbers.digit_count(high))


@inner
def put_plain_deeper(ranges: Ranges, head: int, low: int, high: int) -> None:
    """Add the codes of distances low..high that are deeper and not escapes; `head` is code 0."""
    put_codes(ranges, head, max(low, 0), min(high, _PLAIN_DEEPER))


@inner
def put_plain_better(ranges: Ranges, head: int, low: int, high: int) -> None:
    """Add the codes of distances low..high that are better and not escapes."""
    put_codes(ranges, head + v.BETTER_CODE - 1, max(-high, 1), min(-low, _PLAIN_BETTER))


@inner
def put_far_deeper(ranges: Ranges, head: int, low: int, high: int) -> None:
    """Add the escapes of distances low..high that are deeper."""
    put_escapes(ranges, head + v.DEEPER_ESCAPE - v.DEEPER_ESCAPE_DIGITS, max(low, _PLAIN_DEEPER + 1), high)


@inner
def put_far_better(ranges: Ranges, head: int, low: int, high: int) -> None:
    """Add the escapes of distances low..high that are better."""
    put_escapes(ranges, head + v.BETTER_ESCAPE - v.BETTER_ESCAPE_DIGITS, max(-high, _PLAIN_BETTER + 1), -low)


@inner
def put_groups(ranges: Ranges, low: int, high: int, value: int, rest: int) -> None:
    """Add the groups that continue `value`, of which `rest` digits remain, to a larger number in low..high."""
    least, most = max(low - value, 1), min(high - value, POWER[rest] - 1)
    if least > most:
        return
    if rest >= 3:
        unit = POWER[rest - 3]
        put(ranges, v.CONTINUATION + least // unit, v.CONTINUATION + most // unit)
        return
    for number in range(least, most + 1):
        token = v.CONTINUATION + number * POWER[3 - rest]
        put(ranges, token, token)


@inner
def group_of(remainder: int, rest: int) -> int:
    """Return the next group 0..999 of a remainder of `rest` digits."""
    return remainder // POWER[rest - 3] if rest >= 3 else remainder * POWER[3 - rest]


@inner
def put_marked(ranges: Ranges, base: int, low: int, high: int) -> None:
    """Add `base` + k for every k in low..high that is marked, and remove the marks."""
    for k in range(low, high + 1):
        if ranges.marked[k]:
            put(ranges, base + k, base + k)
            ranges.marked[k] = False
