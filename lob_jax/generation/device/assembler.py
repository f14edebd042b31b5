"""Decode tokens incrementally on the device: the current event and the clock.

Numbers have up to twelve digits and the device computes in int32, so a number is stored as two halves of six digits
each, and the clock as seconds and nanoseconds.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lob_jax.events.schema import Kind
from lob_jax.tokens import vocabulary as vocab

HALF = 1_000_000
TOO_LARGE = np.int32(2**31 - 1)  # replaces numbers that int32 cannot hold
NS = 1_000_000_000
NS_PER_SKIP_S = 1000  # one TIME_SKIP is 10^12 ns
_CONTROL = int(Kind.CONTROL)


class Number(NamedTuple):
    """A number of which some digits may still follow: high * 10^6 + low so far, and `rest` digits to come."""

    high: jax.Array
    low: jax.Array
    rest: jax.Array


class Spelling(NamedTuple):
    """The part decoded so far of the current event of one path; int32 scalars, or arrays under vmap.

    Attributes:
      kind: kind of the event.
      code: code of a CONTROL event.
      side: 0 bid, 1 ask.
      deeper: +1 or -1, the sign of the price.
      price: ticks deeper than the reference (quanta for kinds 5 and 6); valid from the first token of the size.
      size: lots; valid from the first token of the time.
      rank: among the orders that a removal fits, 0 without one; valid from the first token of the time.
      in_rank: whether the digits of the rank come next.
      number: the number being decoded.
      in_size: whether the tokens of the size have begun.
      in_time: whether the tokens of the time have begun.
      skips: number of TIME_SKIP tokens so far.
      back: +1, or -1 after TIME_BACK.
      events: number of events begun.
    """

    kind: jax.Array
    code: jax.Array
    side: jax.Array
    deeper: jax.Array
    price: jax.Array
    size: jax.Array
    rank: jax.Array
    in_rank: jax.Array
    in_size: jax.Array
    number: Number
    in_time: jax.Array
    skips: jax.Array
    back: jax.Array
    events: jax.Array


class Clock(NamedTuple):
    """Time since local midnight as seconds and nanoseconds within the second, both int32."""

    seconds: jax.Array
    ns: jax.Array


def blank() -> Spelling:
    """Return the spelling at an event boundary, before the first token."""
    zero = jnp.int32(0)
    return Spelling(
        kind=zero,
        code=zero,
        side=zero,
        deeper=jnp.int32(1),
        price=zero,
        size=zero,
        rank=zero,
        in_rank=jnp.bool_(False),
        in_size=jnp.bool_(False),
        number=Number(zero, zero, zero),
        in_time=zero,
        skips=zero,
        back=jnp.int32(1),
        events=zero,
    )


def _scaled(digits: jax.Array, power: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return digits * 10^power as halves, for digits <= 999 and -3 < power <= 9, rounded down."""
    small = 10 ** jnp.clip(power, 0, 5)
    big = 10 ** jnp.clip(power - 6, 0, 5)
    shrunk = digits // 10 ** jnp.clip(-power, 0, 3) * small
    return jnp.where(power >= 6, digits * big, shrunk // HALF), jnp.where(power >= 6, 0, shrunk % HALF)


def _lead(code: jax.Array) -> Number:
    """Start a number from its code: 0..9 are the numbers themselves; larger codes are two digits and an exponent."""
    exponent = jnp.where(code < 10, 0, (code - 10) // 90)
    digits = jnp.where(code < 10, code, 10 + (code - 10) % 90)
    high, low = _scaled(digits, exponent)
    return Number(high, low, exponent)


def _continued(number: Number, group: jax.Array) -> Number:
    """Append a group of three digits."""
    high, low = _scaled(group, number.rest - 3)
    return Number(number.high + high, number.low + low, jnp.maximum(number.rest - 3, 0))


def _price_lead(code: jax.Array) -> tuple[jax.Array, Number]:
    """Return the sign (+1 is deeper) and the start of the number for a head's price code."""
    better = (code >= vocab.BETTER_CODE) & (code < vocab.DEEPER_ESCAPE) | (code >= vocab.BETTER_ESCAPE)
    plain = _lead(jnp.where(code < vocab.BETTER_CODE, code, code - vocab.BETTER_CODE + 1))
    digits = jnp.where(
        code >= vocab.BETTER_ESCAPE,
        code - vocab.BETTER_ESCAPE + vocab.BETTER_ESCAPE_DIGITS,
        code - vocab.DEEPER_ESCAPE + vocab.DEEPER_ESCAPE_DIGITS,
    )
    zero = jnp.zeros_like(code)
    escape = code >= vocab.DEEPER_ESCAPE
    number = jax.tree.map(lambda a, b: jnp.where(escape, a, b), Number(zero, zero, digits), plain)
    return jnp.where(better, -1, 1), number


def _rank_lead(token: jax.Array) -> jax.Array:
    """Return the least rank that a token begins."""
    thousands = token - vocab.RANK_ESCAPE
    return jnp.where(thousands < 0, token - vocab.RANK_BASE, vocab.RANKS + vocab.CLASS_SIZE * thousands)


def as_int32(number: Number) -> jax.Array:
    """Return the number, or TOO_LARGE where int32 or the halves cannot hold it."""
    return jnp.where(number.high >= 2147, TOO_LARGE, number.high * HALF + number.low)


def is_head(token: jax.Array) -> jax.Array:
    """Return whether a token begins an event."""
    control = (token >= vocab.FIRST_CONTROL) & (token <= vocab.LAST_CONTROL)
    return (token >= vocab.CLASS_SIZE) & (token < vocab.CONTINUATION) | control


def is_time(token: jax.Array) -> jax.Array:
    """Return whether a token may be the first of an event's time."""
    return (token >= vocab.TIME) | (token == vocab.TIME_SKIP) | (token == vocab.TIME_BACK)


def _head(token: jax.Array, events: jax.Array) -> Spelling:
    low = token % vocab.CLASS_SIZE
    control = token < vocab.CLASS_SIZE
    deeper, number = _price_lead(low % vocab.ASK_OFFSET)
    fresh = blank()
    number = jax.tree.map(lambda a, b: jnp.where(control, a, b), fresh.number, number)
    return fresh._replace(
        kind=jnp.where(control, _CONTROL, token // vocab.CLASS_SIZE),
        code=jnp.where(control, token - vocab.CONTROL_BASE, 0),
        side=jnp.where(control, 0, (low >= vocab.ASK_OFFSET).astype(jnp.int32)),
        deeper=jnp.where(control, 1, deeper),
        number=number,
        events=events + 1,
    )


def price_so_far(spelling: Spelling) -> jax.Array:
    """Return the price of the current event as `Spelling.price` has it, if it has no further digits."""
    return jnp.where(spelling.in_size, spelling.price, spelling.deeper * as_int32(spelling.number))


def gap(spelling: Spelling) -> Clock:
    """Return the time gap that the event's tokens encode so far; both parts have the sign of the gap."""
    number = spelling.number
    seconds = number.high // 1000 + NS_PER_SKIP_S * spelling.skips
    ns = number.high % 1000 * HALF + number.low
    return Clock(spelling.back * seconds, spelling.back * ns)


def advance(clock: Clock, spelling: Spelling) -> Clock:
    """Advance the clock by the gap of a complete event, if there is one."""
    step = gap(spelling)
    ns = clock.ns + jnp.where(spelling.in_time > 0, step.ns, 0)
    seconds = clock.seconds + jnp.where(spelling.in_time > 0, step.seconds, 0)
    return Clock(seconds + ns // NS, ns % NS)


def read(spelling: Spelling, token: jax.Array) -> tuple[Spelling, jax.Array]:
    """Decode one token of a well-formed stream.

    Returns:
      The spelling after the token, and whether the token is the first of the event's time: the event is then complete
      except for its time, and is applied to the book.
    """
    low = token % vocab.CLASS_SIZE
    is_rank = (token >= vocab.RANK_BASE) & (token < vocab.RANK_END)
    digits = (token >= vocab.CONTINUATION) & (token < vocab.SIZE) & ~spelling.in_rank
    complete = is_time(token) & (spelling.in_time == 0)
    value = as_int32(spelling.number)
    zero = jnp.zeros_like(value)
    clean = Number(zero, zero, zero)
    size_token = (token >= vocab.SIZE) & (token < vocab.TIME)
    lead = _lead(low)

    number = spelling.number
    number = jax.tree.map(lambda a, b: jnp.where(digits, a, b), _continued(number, low), number)
    number = jax.tree.map(lambda a, b: jnp.where(complete, a, b), clean, number)
    starts = size_token | (token >= vocab.TIME)
    number = jax.tree.map(lambda a, b: jnp.where(starts, a, b), lead, number)
    going_on = spelling._replace(
        price=jnp.where(size_token, jnp.where(value == TOO_LARGE, TOO_LARGE, spelling.deeper * value), spelling.price),
        size=jnp.where(complete & (spelling.kind != _CONTROL), value, spelling.size),
        rank=jnp.where(is_rank, _rank_lead(token), spelling.rank + jnp.where(spelling.in_rank, low, 0)),
        in_rank=is_rank & (token >= vocab.RANK_ESCAPE),
        in_size=spelling.in_size | size_token,
        number=number,
        in_time=spelling.in_time | is_time(token),
        skips=spelling.skips + (token == vocab.TIME_SKIP),
        back=jnp.where(token == vocab.TIME_BACK, -1, spelling.back),
    )
    head = _head(token, spelling.events)
    return jax.tree.map(lambda a, b: jnp.where(is_head(token), a, b), head, going_on), complete
