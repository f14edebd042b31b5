"""The part of an event that the tokens so far spell: compiled functions that read one token after the other."""

import enum

import numpy as np

from lob_jax.jit import inner
from lob_jax.tokens import numbers
from lob_jax.tokens import vocabulary as v
from lob_jax.tokens.grammar import Group
from lob_jax.tokens.numbers import POWER


class Part(enum.IntEnum):
    """Indices of a spelling, int64 [len(Part)]."""

    FIELD = 0  # of the next token, as `Grammar.state_field`
    CONDITION = 1  # a `Group`, on the next group of digits
    REST = 2  # how many digits may still follow
    VALUE = 3  # the number so far, further digits being 0
    KIND = 4  # 0 for CONTROL
    CODE = 5
    SIDE = 6  # 0 bid, 1 ask
    SIGN = 7  # +1 if the price is deeper than its reference, -1 if it is better
    DISTANCE = 8  # of the price so far, positive deeper
    SIZE = 9  # so far
    FREE = 10  # 1 if a token of the event was outside its set: the set is the grammar's until the next event
    TAKEN = 11  # 1 once the book has taken the event, at the first token of its time
    GAP = 12  # tokens of the gap so far: 0 none, 1 TIME_BACK, 2 TIME_SKIP last
    EVENT = 13  # the event's index
    CURSOR = 14  # the first correction not yet applied
    HALT = 15  # what halts have closed: OPEN, QUOTING or CLOSED of `lob_jax.events.halts`
    RANK = 16  # so far, NO_RANK without one
    RANKS = 17  # 1 if the vocabulary has ranks


(
    FIELD, CONDITION, REST, VALUE, KIND, CODE, SIDE, SIGN, DISTANCE, SIZE, FREE, TAKEN, GAP, EVENT, CURSOR, HALT,
    RANK, RANKS,
) = (int(part) for part in Part)  # fmt: skip
FIRST, MAY_END, MUST_GO_ON = (int(group) for group in Group)
NO_GAP, BACKWARD, SKIPPED = 0, 1, 2
NO_RANK = -1
_NEXT = np.array([0, v.FIELD_SIZE, v.FIELD_SIZE, v.FIELD_GAP, v.FIELD_GAP, v.FIELD_HEAD, v.FIELD_HEAD])


def new_spelling(closed: int, ranks: int) -> np.ndarray:
    """Return the spelling before the first event."""
    spelling = np.zeros(len(Part), np.int64)
    spelling[FIELD], spelling[EVENT], spelling[HALT] = v.FIELD_HEAD, -1, closed
    spelling[RANK], spelling[RANKS] = NO_RANK, ranks
    return spelling


@inner
def read(spelling: np.ndarray, token: int, gap_digits: int) -> None:
    """Read a token that the grammar allows."""
    if token == v.EOS or token == v.PAD:
        spelling[FIELD] = v.FIELD_SPECIAL
    elif token == v.TIME_SKIP or token == v.TIME_BACK:
        spelling[FIELD], spelling[GAP] = v.FIELD_GAP, SKIPPED if token == v.TIME_SKIP else BACKWARD
    elif v.RANK_BASE <= token < v.RANK_END:
        _read_rank(spelling, token)
    elif token < v.CONTINUATION:
        _read_head(spelling, token)
    elif token < v.SIZE and spelling[FIELD] == v.FIELD_RANK_DIGITS:
        spelling[RANK] += token - v.CONTINUATION
        spelling[FIELD] = v.FIELD_GAP
    elif token < v.SIZE:
        _read_group(spelling, token - v.CONTINUATION)
    elif token < v.TIME:
        low, _, more = numbers.code_range(token - v.SIZE)
        _begin(spelling, v.FIELD_SIZE, low, more, MAY_END)
        spelling[SIZE] = low
    else:
        low, _, more = numbers.code_range(token - v.TIME)
        _begin(spelling, v.FIELD_GAP, low, min(more, gap_digits - 2), MAY_END)


@inner
def is_time(token: int) -> bool:
    """Return whether a token belongs to a gap and is not a group of digits."""
    return token >= v.TIME or token == v.TIME_SKIP or token == v.TIME_BACK


@inner
def span(spelling: np.ndarray) -> tuple[int, int]:
    """Return the smallest and the largest number that the number so far can become."""
    rest = spelling[REST]
    if rest > 0 and spelling[CONDITION] == FIRST:
        return POWER[rest - 1], POWER[rest] - 1
    return spelling[VALUE], spelling[VALUE] + POWER[rest] - 1


@inner
def _begin(spelling: np.ndarray, field: int, value: int, rest: int, condition: int) -> None:
    """Begin a number in a field, or complete it if it has no further digits."""
    spelling[VALUE], spelling[REST], spelling[CONDITION] = value, rest, condition
    spelling[FIELD] = field + 1 if rest > 0 else _behind(spelling, field)  # the digits of a field follow it in `Field`


@inner
def _behind(spelling: np.ndarray, field: int) -> int:
    """Return the field behind a complete number."""
    following = _NEXT[field]
    return v.FIELD_RANK if following == v.FIELD_GAP and spelling[RANKS] else following


@inner
def _read_rank(spelling: np.ndarray, token: int) -> None:
    if token < v.RANK_ESCAPE:
        spelling[RANK], spelling[FIELD] = token - v.RANK_BASE, v.FIELD_GAP
    else:
        spelling[RANK] = v.RANKS + v.CLASS_SIZE * (token - v.RANK_ESCAPE)
        spelling[FIELD] = v.FIELD_RANK_DIGITS


@inner
def _read_head(spelling: np.ndarray, token: int) -> None:
    spelling[FREE], spelling[TAKEN], spelling[GAP], spelling[RANK] = 0, 0, NO_GAP, NO_RANK
    spelling[EVENT] += 1
    if token < v.CLASS_SIZE:
        spelling[KIND], spelling[CODE], spelling[FIELD] = 0, token - v.CONTROL_BASE, v.FIELD_GAP
        return
    low = token % v.CLASS_SIZE
    spelling[KIND], spelling[CODE] = token // v.CLASS_SIZE, 0
    spelling[SIDE] = low // v.ASK_OFFSET
    _read_price(spelling, low % v.ASK_OFFSET)


@inner
def _read_price(spelling: np.ndarray, code: int) -> None:
    better = v.BETTER_CODE <= code < v.DEEPER_ESCAPE or code >= v.BETTER_ESCAPE
    spelling[SIGN] = -1 if better else 1
    if code < v.DEEPER_ESCAPE:
        low, _, more = numbers.code_range(code - v.BETTER_CODE + 1 if better else code)
        _begin(spelling, v.FIELD_HEAD, low, more, MAY_END)
    elif better:
        _begin(spelling, v.FIELD_HEAD, 0, code - v.BETTER_ESCAPE + v.BETTER_ESCAPE_DIGITS, FIRST)
    else:
        _begin(spelling, v.FIELD_HEAD, 0, code - v.DEEPER_ESCAPE + v.DEEPER_ESCAPE_DIGITS, FIRST)
    spelling[DISTANCE] = spelling[SIGN] * spelling[VALUE]


@inner
def _read_group(spelling: np.ndarray, group: int) -> None:
    field, rest = spelling[FIELD], spelling[REST]
    if rest > 3:
        rest -= 3
        spelling[VALUE] += group * POWER[rest]
    else:
        spelling[VALUE] += group // POWER[3 - rest]
        rest = 0
    spelling[REST], spelling[CONDITION] = rest, MAY_END if group > 0 else MUST_GO_ON
    if field == v.FIELD_HEAD_DIGITS:
        spelling[DISTANCE] = spelling[SIGN] * spelling[VALUE]
    elif field == v.FIELD_SIZE_DIGITS:
        spelling[SIZE] = spelling[VALUE]
    if rest == 0:
        spelling[FIELD] = _behind(spelling, field)
