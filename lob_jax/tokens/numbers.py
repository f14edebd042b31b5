"""Compiled functions that write, read and round numbers as tokens: sizes, price distances, gaps in time, and ranks.

Codes 0..9 are these numbers. Code 10 + 90 e + (mm - 10) is a number whose first two digits are mm and that has e more,
which follow in continuations of three digits from the left. The last continuation is padded with zeros on the right;
trailing continuations of zeros only are omitted.
"""

import numpy as np

from lob_jax.jit import in_place
from lob_jax.tokens import vocabulary as v

SKIP_NS = 10**v.MAX_NUMBER_DIGITS  # the value of one TIME_SKIP
ALL_DIGITS = v.MAX_NUMBER_DIGITS  # `kept_digits` of a gap that is not rounded
POWER = 10 ** np.arange(19)  # int64, which holds powers up to 10^18


@in_place
def digit_count(number: int) -> int:
    """Return the number of decimal digits of a number >= 0; 0 has one."""
    digits = 1
    while digits < 19 and number >= POWER[digits]:
        digits += 1
    return digits


@in_place
def write_groups(tokens: np.ndarray, at: int, rest: int, digits: int) -> int:
    """Write `rest`, padded with leading zeros to `digits` digits, as continuations; return the position after them."""
    while rest > 0:
        if digits <= 3:
            group = rest * POWER[3 - digits]
            rest = 0
        else:
            digits -= 3
            group = rest // POWER[digits]
            rest -= group * POWER[digits]
        tokens[at] = v.CONTINUATION + group
        at += 1
    return at


@in_place
def number_code(number: int) -> int:
    """Return the code 0..999 of a number 0..10^12-1."""
    if number < 10:
        return number
    more = digit_count(number) - 2
    return 90 * more + number // POWER[more]


@in_place
def price_code(distance: int) -> int:
    """Return the code 0..489 that a distance of up to 14 digits (positive deeper) begins with, see `write_price`."""
    far = abs(distance)
    digits = digit_count(far)
    if distance >= 0:
        escape = digits - v.DEEPER_ESCAPE_DIGITS
        return number_code(far) if escape < 0 else v.DEEPER_ESCAPE + escape
    escape = digits - v.BETTER_ESCAPE_DIGITS
    return v.BETTER_CODE - 1 + number_code(far) if escape < 0 else v.BETTER_ESCAPE + escape


@in_place
def code_range(code: int) -> tuple[int, int, int]:
    """Return the smallest and the largest number of a code 0..999, and how many digits may follow the code."""
    if code < 10:
        return code, code, 0
    more = (code - 10) // 90
    low = (code - 90 * more) * POWER[more]
    return low, low + POWER[more] - 1, more


@in_place
def write_number(tokens: np.ndarray, at: int, base: int, number: int) -> int:
    """Write a number 0..10^12-1 in the class that starts at `base`; return the position after it."""
    code = number_code(number)
    tokens[at] = base + code
    low, _, more = code_range(code)
    return write_groups(tokens, at + 1, number - low, more)


@in_place
def write_price(tokens: np.ndarray, at: int, head: int, distance: int) -> int:
    """Write a distance of up to 14 digits (positive deeper) into the head that starts at `head`."""
    far = abs(distance)
    digits = digit_count(far)
    if distance >= 0:
        if digits < v.DEEPER_ESCAPE_DIGITS:
            return write_number(tokens, at, head, far)
        tokens[at] = head + v.DEEPER_ESCAPE + digits - v.DEEPER_ESCAPE_DIGITS
    else:
        if digits < v.BETTER_ESCAPE_DIGITS:
            return write_number(tokens, at, head + v.BETTER_CODE - 1, far)
        tokens[at] = head + v.BETTER_ESCAPE + digits - v.BETTER_ESCAPE_DIGITS
    return write_groups(tokens, at + 1, far, digits)


@in_place
def write_gap(tokens: np.ndarray, at: int, gap: int) -> int:
    """Write a gap of either sign, in ns; return the position after it."""
    if gap < 0:
        tokens[at] = v.TIME_BACK
        at += 1
        gap = -gap
    while gap >= SKIP_NS:
        tokens[at] = v.TIME_SKIP
        at += 1
        gap -= SKIP_NS
    return write_number(tokens, at, v.TIME, gap)


@in_place
def write_rank(tokens: np.ndarray, at: int, rank: int) -> int:
    """Write a rank 0..MOST_RANKS-1; return the position after it."""
    if rank < v.RANKS:
        tokens[at] = v.RANK_BASE + rank
        return at + 1
    tokens[at] = v.RANK_ESCAPE + (rank - v.RANKS) // v.CLASS_SIZE
    tokens[at + 1] = v.CONTINUATION + (rank - v.RANKS) % v.CLASS_SIZE
    return at + 2


@in_place
def read_groups(tokens: np.ndarray, at: int, number: int, digits: int) -> tuple[int, int]:
    """Add continuations to a number of which `digits` digits remain; return it and the position after them."""
    while digits > 0 and at < len(tokens) and v.CONTINUATION <= tokens[at] < v.SIZE:
        group = np.int64(tokens[at]) - v.CONTINUATION
        at += 1
        if digits <= 3:
            return number + group // POWER[3 - digits], at
        digits -= 3
        number += group * POWER[digits]
    return number, at


@in_place
def read_number(tokens: np.ndarray, at: int, code: int) -> tuple[int, int]:
    """Return the number of a code whose continuations begin at `at`, and the position after them."""
    low, _, more = code_range(code)
    return read_groups(tokens, at, low, more)


@in_place
def read_price(tokens: np.ndarray, at: int, code: int) -> tuple[int, int]:
    """Return the signed distance of a price code 0..489 whose continuations begin at `at`, and the position after."""
    if code < v.BETTER_CODE:
        return read_number(tokens, at, code)
    if code < v.DEEPER_ESCAPE:
        number, at = read_number(tokens, at, code - v.BETTER_CODE + 1)
        return -number, at
    if code < v.BETTER_ESCAPE:
        return read_groups(tokens, at, 0, code - v.DEEPER_ESCAPE + v.DEEPER_ESCAPE_DIGITS)
    number, at = read_groups(tokens, at, 0, code - v.BETTER_ESCAPE + v.BETTER_ESCAPE_DIGITS)
    return -number, at


@in_place
def read_rank(tokens: np.ndarray, at: int) -> tuple[int, int]:
    """Return the rank at a position, -1 if there is none, and the position after it."""
    token = np.int64(tokens[at])
    if token < v.RANK_BASE or token >= v.RANK_END:
        return -1, at
    if token < v.RANK_ESCAPE:
        return token - v.RANK_BASE, at + 1
    rank = v.RANKS + v.CLASS_SIZE * (token - v.RANK_ESCAPE)
    return rank + np.int64(tokens[at + 1]) - v.CONTINUATION, at + 2


@in_place
def read_gap(tokens: np.ndarray, at: int) -> tuple[int, int]:
    """Return the signed gap in ns that begins at `at`, and the position after it."""
    back = tokens[at] == v.TIME_BACK
    at += back
    skipped = 0
    while tokens[at] == v.TIME_SKIP:
        skipped += SKIP_NS
        at += 1
    number, at = read_number(tokens, at + 1, np.int64(tokens[at]) - v.TIME)
    return (-skipped - number if back else skipped + number), at


@in_place
def gap_unit(gap: int, kept_digits: int) -> int:
    """Return the unit, in ns, of the last kept digit of a gap >= 0, not counting its TIME_SKIPs."""
    return POWER[max(0, digit_count(gap % SKIP_NS) - kept_digits)]


@in_place
def round_gap(gap: int, kept_digits: int) -> int:
    """Round a gap >= 0 to its kept digits, rounding halves up."""
    unit = gap_unit(gap, kept_digits)
    return (gap + unit // 2) // unit * unit


@in_place
def coded_gap(gap: int, carry: int, kept_digits: int) -> int:
    """Return the gap to write for a gap, given the accumulated rounding error, in ns.

    The accumulated error is added if it is at most five units of the gap's last kept digit, so that the clock does not
    drift. A gap of 0 stays 0, so that simultaneous events stay simultaneous.
    """
    if kept_digits >= ALL_DIGITS:
        return gap
    if gap > 0 and gap + carry >= 0 and abs(carry) <= 5 * gap_unit(gap, kept_digits):
        return round_gap(gap + carry, kept_digits)
    return round_gap(gap, kept_digits) if gap >= 0 else -round_gap(-gap, kept_digits)


def gap_cell_log2_width(coded_ns: np.ndarray, kept_digits: int) -> np.ndarray:
    """Return log2 of the number of gaps (ns) that round to each coded gap, float64, same shape; 0 if it is exact.

    These are the bits that the exact gap needs beyond the coded one, if gaps are uniform within the interval. Only the
    remainder after TIME_SKIPs is considered; a gap of TIME_SKIPs only counts as exact.
    """
    coded = np.abs(np.asarray(coded_ns, np.int64)) % SKIP_NS
    digits = np.searchsorted(POWER[1:], coded, side="right") + 1
    unit = POWER[np.maximum(0, digits - kept_digits)]
    unit_below = POWER[np.maximum(0, digits - 1 - kept_digits)]
    at_decade = coded == POWER[digits - 1]  # numbers just below have one digit less, hence a finer unit
    width = unit // 2 + np.where(at_decade, unit_below, unit) // 2
    return np.log2(np.maximum(width, 1))
