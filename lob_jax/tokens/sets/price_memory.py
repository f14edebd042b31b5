"""The compiled walk over exact tokens that notes what last happened at the price that is spelled."""

import numpy as np

from lob_jax.book.kernel import reference
from lob_jax.book.price_memory import LAST_KIND, PAST_EVENTS, PastColumn, PriceMemoryColumn
from lob_jax.book.queue import MOST_RECENT
from lob_jax.jit import in_place, inner
from lob_jax.tokens.numbers import number_code
from lob_jax.tokens.sets import spelling as sp
from lob_jax.tokens.sets.limits import ADD
from lob_jax.tokens.sets.walk import Walk, take

_ACTION, _PRICE, _SIZE = (int(column) for column in PastColumn)
_ADDED, _REMOVED, _KIND, _SINCE = (int(column) for column in PriceMemoryColumn)


@in_place
def follow_price_memory(walk: Walk, tokens: np.ndarray, past: np.ndarray, codes_TN: np.ndarray) -> int:
    """Walk over all tokens, and note after each what last happened at the price that is spelled.

    Until the event is applied to the book, at the first token of its time, that is what earlier events did at the price
    that it has if it has no further digits. Otherwise, and for kinds that change no level, there is nothing.

    Args:
      walk: changed in place.
      tokens: int64 [T], which the grammar allows, without BOS.
      past: int64 [3, PAST_EVENTS], see `past_events`; changed in place.
      codes_TN: int16 [T, PRICE_MEMORIES], filled by `PriceMemoryColumn`.

    Returns:
      How many tokens were read: fewer than T if the price of the next event is out of range.
    """
    for at in range(len(tokens)):
        spelling = walk.spelling
        sp.read(spelling, tokens[at], walk.rules.gap_digits)
        if sp.is_time(tokens[at]) and not spelling[sp.TAKEN]:
            kind, s, size, price = spelling[sp.KIND], spelling[sp.SIDE], spelling[sp.SIZE], _price(walk)
            if not take(walk, 0):
                return at
            remember_event(past, kind, s, price, size)
        note_price_memory(walk, past, codes_TN[at])
    return len(tokens)


@inner
def _price(walk: Walk) -> int:
    """Return the price that is spelled, of an event of a kind that changes a level; 0 where it is too far."""
    distance, side = walk.spelling[sp.DISTANCE], 1 - 2 * walk.spelling[sp.SIDE]
    if abs(distance) > walk.rules.most_distance:
        return 0
    return reference(walk.book, side) - side * distance * walk.rules.tick


@inner
def remember_event(past: np.ndarray, kind: int, s: int, price: int, size: int) -> None:
    """Put an event before those of the past, if a model reads them; one that changes no level leaves an empty place."""
    if past.shape[1] == 0:
        return
    for column in range(len(past)):
        for back in range(PAST_EVENTS - 1, 0, -1):
            past[column, back] = past[column, back - 1]
        past[column, 0] = 0
    if ADD <= kind <= LAST_KIND:
        past[_ACTION, 0], past[_PRICE, 0], past[_SIZE, 0] = 2 * kind + s, price, min(size, MOST_RECENT)


@inner
def note_price_memory(walk: Walk, past: np.ndarray, codes_N: np.ndarray) -> None:
    """Note what last happened at the price that is spelled, see `follow_price_memory`."""
    spelling = walk.spelling
    for column in range(len(codes_N)):
        codes_N[column] = 0
    kind, s = spelling[sp.KIND], spelling[sp.SIDE]
    if spelling[sp.TAKEN] or kind < ADD or kind > LAST_KIND or abs(spelling[sp.DISTANCE]) > walk.rules.most_distance:
        return
    price, added, removed = _price(walk), False, False
    for back in range(PAST_EVENTS):
        action = past[_ACTION, back]
        if past[_PRICE, back] != price or action == 0 or action % 2 != s:
            continue
        if not added and not removed:
            codes_N[_KIND], codes_N[_SINCE] = action // 2, number_code(back + 1)
        if action // 2 == ADD and not added:
            codes_N[_ADDED], added = number_code(past[_SIZE, back]), True
        elif action // 2 != ADD and not removed:
            codes_N[_REMOVED], removed = number_code(past[_SIZE, back]), True
        if added and removed:
            return
