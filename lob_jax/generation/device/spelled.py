"""Numbers and their tokens on the device: the next tokens that can lead to an allowed number.

Allowed numbers are given as a range or a list. Each number has a unique spelling. A list allows the next token of each
of its numbers that starts with the tokens so far; a range allows every token with a continuation inside the range.
Numbers are int32. The tokens so far are represented as (value, rest): the number if it ended here, and how many digits
may still follow.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from lob_jax.tokens import vocabulary as v

GROUPS = v.CLASS_SIZE
_POWER = np.array([10**k for k in range(10)], np.int32)
_LARGEST = 2**31 - 1


def _intervals() -> tuple[np.ndarray, np.ndarray]:
    """Return the least and the greatest number of each number code, int32 [1000], within int32."""
    low, high = np.zeros(v.CLASS_SIZE, np.int64), np.zeros(v.CLASS_SIZE, np.int64)
    for code in range(v.CLASS_SIZE):
        lead, more = v.split_number_code(code)
        low[code], high[code] = lead * 10**more, lead * 10**more + 10**more - 1
    return np.minimum(low, _LARGEST).astype(np.int32), np.minimum(high, _LARGEST).astype(np.int32)


NUMBER_LOW, NUMBER_HIGH = _intervals()


def _price_intervals() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the least and greatest distance of each price code, int32 [490] without its sign, and the sign."""
    low, high, sign = (np.zeros(v.PRICE_CODES, np.int64) for _ in range(3))
    plain, better = slice(v.BETTER_CODE), slice(v.BETTER_CODE, v.DEEPER_ESCAPE)
    low[plain], high[plain], sign[plain] = NUMBER_LOW[: v.BETTER_CODE], NUMBER_HIGH[: v.BETTER_CODE], 1
    count = v.DEEPER_ESCAPE - v.BETTER_CODE
    low[better], high[better], sign[better] = NUMBER_LOW[1 : 1 + count], NUMBER_HIGH[1 : 1 + count], -1
    escapes = ((v.DEEPER_ESCAPE, v.BETTER_ESCAPE, v.DEEPER_ESCAPE_DIGITS, 1),)
    escapes += ((v.BETTER_ESCAPE, v.PRICE_CODES, v.BETTER_ESCAPE_DIGITS, -1),)
    for first, end, fewest, side in escapes:
        for code in range(first, end):
            digits = code - first + fewest
            low[code], high[code], sign[code] = 10 ** (digits - 1), 10**digits - 1, side
    low, high = np.minimum(low, _LARGEST), np.minimum(high, _LARGEST)
    return low.astype(np.int32), high.astype(np.int32), sign.astype(np.int32)


PRICE_LOW, PRICE_HIGH, PRICE_SIGN = _price_intervals()


def digit_count(number: jax.Array) -> jax.Array:
    """Return how many decimal digits a number >= 0 has; 0 has one."""
    return 1 + (number[..., None] >= jnp.asarray(_POWER[1:])).sum(-1)


def number_code(number: jax.Array) -> jax.Array:
    """Return the code that a number >= 0 begins with, see `lob_jax.tokens.numbers.write_number`."""
    more = jnp.maximum(digit_count(number) - 2, 0)
    lead = number // jnp.asarray(_POWER)[more]
    return jnp.where(number < 10, number, 90 * more + lead)


def price_code(distance: jax.Array) -> jax.Array:
    """Return the code that a signed distance begins with, see `lob_jax.tokens.numbers.write_price`."""
    far = jnp.abs(distance)
    digits, plain = digit_count(far), number_code(far)
    deeper = jnp.where(digits < v.DEEPER_ESCAPE_DIGITS, plain, v.DEEPER_ESCAPE + digits - v.DEEPER_ESCAPE_DIGITS)
    better = jnp.where(
        digits < v.BETTER_ESCAPE_DIGITS, v.BETTER_CODE - 1 + plain, v.BETTER_ESCAPE + digits - v.BETTER_ESCAPE_DIGITS
    )
    return jnp.where(distance >= 0, deeper, better)


class Listed(NamedTuple):
    """Codes in a list.

    Attributes:
      code_K: int32.
      member_K: bool; only these entries count.
      size: codes are 0..size-1, and others do not count.
    """

    code_K: jax.Array
    member_K: jax.Array
    size: int


def counts_in(lists: Sequence[Listed]) -> list[jax.Array]:
    """Return how often each code occurs in each of several lists, int32 [size] each; all by one scatter."""
    total, first, places = sum(one.size for one in lists), 0, []
    for one in lists:
        inside_K = one.member_K & (one.code_K >= 0) & (one.code_K < one.size)
        places.append(jnp.where(inside_K, first + one.code_K, total))
        first += one.size
    counts = jnp.zeros(total, jnp.int32).at[jnp.concatenate(places)].add(1, mode="drop")
    ends = np.cumsum([one.size for one in lists])
    return [counts[end - one.size : end] for one, end in zip(lists, ends, strict=True)]


def meeting(low: ArrayLike, high: ArrayLike, least: ArrayLike, greatest: ArrayLike) -> jax.Array:
    """Return how many numbers are both in low..high and in least..greatest."""
    first, last = jnp.maximum(low, least), jnp.minimum(high, greatest)
    return jnp.where(first <= last, last - first + 1, 0)  # compared first: their difference may overflow an int32


def next_group(number: jax.Array, value: jax.Array, rest: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return the next group 0..999 of a number, and whether the number starts with the tokens so far and continues."""
    more = number - value
    below = (rest > 9) | (more < jnp.asarray(_POWER)[jnp.clip(rest, 0, 9)])
    unit, step = _unit_and_step(rest)
    return jnp.where(rest > 3, more // unit, more * step), (rest > 0) & (more > 0) & below


def groups_of_range(
    low: jax.Array, high: jax.Array, value: jax.Array, rest: jax.Array, *, barred_G: jax.Array | None = None
) -> jax.Array:
    """Return which groups can continue to a number in low..high, bool [1000].

    Args:
      low: least number allowed.
      high: greatest number allowed, below 2^30 if any are barred.
      value: the number so far.
      rest: digits that may follow.
      barred_G: int32 [1000], how many numbers within the range that each group leads to are excluded.
    """
    unit, step = _unit_and_step(rest)
    least, most = jnp.maximum(low - value, 1), high - value  # a number that ends here has no further group
    group_G = jnp.arange(GROUPS)
    first, last = least // unit, most // unit
    small = (jnp.minimum(least, GROUPS) * step, jnp.minimum(most, GROUPS - 1) * step)
    within_G = jnp.where(
        rest > 3, (group_G >= first) & (group_G <= last), (group_G >= small[0]) & (group_G <= small[1])
    )
    within_G &= (most >= least) & (rest > 0)
    if barred_G is None:
        return within_G
    wide_G = meeting(group_G * unit, (group_G + 1) * unit - 1, least, most)
    return within_G & (jnp.where(rest > 3, wide_G, 1) > barred_G)


def _unit_and_step(rest: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return the value of a group's last digit, and the distance of consecutive groups of fewer than three digits."""
    power = jnp.asarray(_POWER)
    return power[jnp.clip(rest - 3, 0, 9)], power[jnp.clip(3 - rest, 0, 3)]
