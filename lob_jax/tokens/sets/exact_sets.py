"""The sets of a stream of exact tokens."""

import numpy as np

from lob_jax.book.day import MarketDay
from lob_jax.book.kernel import load
from lob_jax.book.loops import correction_columns
from lob_jax.errors import InputError
from lob_jax.tokens import vocabulary as v
from lob_jax.tokens.bins import MOST_DISTANCE, MOST_LOTS
from lob_jax.tokens.compiled import MOST
from lob_jax.tokens.sets.limits import Rules
from lob_jax.tokens.sets.ranges import ROW_ROOM, Ranges, grown, new_ranges
from lob_jax.tokens.sets.token_sets import TokenSets
from lob_jax.tokens.sets.walk import Stop, Walk, advance, new_walk

_RANGES_A_TOKEN = 8  # to begin with


def rules_of(day: MarketDay, *, gap_digits: int) -> Rules:
    """Return the rules of a day, for gaps of so many significant digits."""
    return Rules(int(day.instrument.tick), int(day.instrument.signed), MOST_DISTANCE, MOST_LOTS, gap_digits)


def exact_sets(tokens: np.ndarray, day: MarketDay, rules: Rules, *, closed: int) -> TokenSets:
    """Return the sets in the places of tokens that the grammar accepts.

    Args:
      tokens: int64 [T], possibly incomplete at the end; BOS in front, and EOS and PAD behind are optional.
      day: its starting book and corrections; its events are not read.
      rules: see `rules_of`.
      closed: what is closed before the first event: 0 nothing, 1 trading, 2 trading and quoting.

    Raises:
      InputError: a price is out of range.
    """
    if len(tokens) and tokens[0] == v.BOS:
        return _behind_bos(exact_sets(tokens[1:], day, rules, closed=closed))
    is_head = (tokens >= v.CLASS_SIZE) & (tokens < v.CONTINUATION)
    events = int(np.count_nonzero(is_head | ((tokens >= v.FIRST_CONTROL) & (tokens <= v.LAST_CONTROL))))
    adds = int(np.count_nonzero(is_head & (tokens < 2 * v.CLASS_SIZE)))
    book = load(day.start, adds + len(day.corrections))
    walk = new_walk(book, correction_columns(day.corrections, events), rules, closed=closed)
    return _walked(walk, np.ascontiguousarray(tokens, np.int64))


def _walked(walk: Walk, tokens: np.ndarray) -> TokenSets:
    ranges = new_ranges(_RANGES_A_TOKEN * len(tokens) + 2 * ROW_ROOM)
    offset, outside = np.zeros(len(tokens) + 1, np.int64), np.zeros(len(tokens), np.uint8)
    at, stop = 0, Stop.FULL
    while stop == Stop.FULL:
        at, stop = advance(walk, ranges, tokens, at, offset, outside)
        if stop == Stop.FULL:
            ranges = grown(ranges, 2 * len(ranges.first))
    if stop == Stop.OUT_OF_RANGE:
        raise _out_of_range(at)
    return TokenSets(offset, *_used(ranges, int(offset[-1])), outside)


def _used(ranges: Ranges, count: int) -> tuple[np.ndarray, np.ndarray]:
    return ranges.first[:count].copy(), ranges.last[:count].copy()


def _behind_bos(sets: TokenSets) -> TokenSets:
    """Return the sets with those of BOS in front, which allow BOS alone."""
    bos = np.array([v.BOS], np.uint16)
    return TokenSets(
        offset=np.concatenate([[0], sets.offset + 1]),
        first=np.concatenate([bos, sets.first]),
        last=np.concatenate([bos, sets.last]),
        outside=np.concatenate([np.zeros(1, np.uint8), sets.outside]),
    )


def _out_of_range(position: int) -> InputError:
    return InputError(
        "a decoded price is out of range",
        where=f"token {position}",
        expected=f"prices within ±{MOST}",
        was="a distance that leads beyond them",
        remedy="pass the starting book that the tokens were encoded with",
    )
