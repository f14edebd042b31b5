"""The parts of a token: what it shares with other tokens, as rows of a table that its embedding is the sum of.

An id is a class, a side and a number at once. With a row of its own alone, what is learned of an ADD 37 ticks away says
nothing about 38 ticks, of a DELETE of bids nothing about asks, and a rare number hardly learns anything. Each token has
three parts:

* of a head its kind and side; its price code, which the kinds with prices in the same unit share; its kind and the cell
  of its price;
* of a size or a gap its class; the two leading digits; the cell;
* of further digits their class; the first digit; the other two.

A cell is all numbers with the same count of digits and the same first digit; prices that are deeper and better than the
reference have cells of their own.
"""

import functools

import numpy as np

from lob_jax.events.schema import Kind
from lob_jax.tokens import vocabulary as v

_CELLS = 10 + 9 * v.MAX_NUMBER_DIGITS  # of numbers below 10, and of the others


def _cell(code: int) -> int:
    """Return the cell of a number, by its leading code."""
    lead, more = v.split_number_code(code)
    return code if code < 10 else 10 + 9 * more + lead // 10 - 1


def _price_cell(code: int) -> int:
    """Return the cell of a price, by its code; an escape, which gives the digits alone, has the first one of them."""
    if code < v.BETTER_CODE:
        return _cell(code)
    if code < v.DEEPER_ESCAPE:
        return _CELLS + _cell(code - v.BETTER_CODE + 1)
    if code < v.BETTER_ESCAPE:
        return 10 + 9 * (code - v.DEEPER_ESCAPE + v.DEEPER_ESCAPE_DIGITS - 2)
    return _CELLS + 10 + 9 * (code - v.BETTER_ESCAPE + v.BETTER_ESCAPE_DIGITS - 2)


def _names(token: int) -> tuple[tuple, ...]:
    """Return the parts of a token."""
    of_class, low = divmod(token, v.CLASS_SIZE)
    side, code = divmod(low, v.ASK_OFFSET)
    if of_class == 0:
        return (("special",),) * 3
    if token < v.CONTINUATION:
        unit = "ticks" if of_class <= Kind.EXECUTE else "quanta"
        return (of_class, side), (unit, code), (of_class, "cell", _price_cell(code))
    if token < v.SIZE:
        return (of_class,), (of_class, "first", low // 100), (of_class, "rest", low % 100)
    lead, _ = v.split_number_code(low)
    return (of_class,), (of_class, "lead", lead), (of_class, "cell", _cell(low))


@functools.cache
def parts_of_tokens() -> np.ndarray:
    """Return the rows of each token's parts, int32 [V, 3], below PARTS."""
    rows: dict[tuple, int] = {}
    numbers = [[rows.setdefault(name, len(rows)) for name in _names(token)] for token in range(v.VOCAB_SIZE)]
    return np.array(numbers, np.int32)


PARTS = int(parts_of_tokens().max()) + 1
