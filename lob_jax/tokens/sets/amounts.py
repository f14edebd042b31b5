"""The sizes that the book allows an event, and the ranks of its order, as ranges of tokens."""

import numpy as np

from lob_jax.book.orders import AHEAD, BACK, NOBODY, SIZE, Book
from lob_jax.jit import inner
from lob_jax.tokens import numbers
from lob_jax.tokens import vocabulary as v
from lob_jax.tokens.numbers import POWER
from lob_jax.tokens.ranks import choices
from lob_jax.tokens.sets import spelling as sp
from lob_jax.tokens.sets.limits import ADD, DELETE, EXECUTE, NO_LEVEL, Rules, has_order, is_of_others, sizes
from lob_jax.tokens.sets.ranges import GROUPS, Ranges, group_of, put, put_codes, put_groups, put_marked

_MOST_SIZE = 10**v.MAX_NUMBER_DIGITS - 1


@inner
def put_sizes(ranges: Ranges, book: Book, spelling: np.ndarray, rules: Rules) -> None:
    """Add the codes that begin a size which the book allows, at the price so far."""
    if spelling[sp.FREE]:
        put_codes(ranges, v.SIZE, 0, _MOST_SIZE)
        return
    kind, s = spelling[sp.KIND], spelling[sp.SIDE]
    row, most = sizes(book, kind, s, spelling[sp.DISTANCE], rules)
    put_codes(ranges, v.SIZE, 1, most)
    if kind != DELETE or row == NO_LEVEL:
        return
    low, high = GROUPS, -1
    slot = book.levels[s, row, BACK]
    while slot != NOBODY:
        size = book.orders[slot, SIZE]
        if most < size <= rules.most_lots and is_of_others(book, slot):
            code = numbers.number_code(size)
            ranges.marked[code] = True
            low, high = min(low, code), max(high, code)
        slot = book.orders[slot, AHEAD]
    put_marked(ranges, v.SIZE, low, high)


@inner
def put_size_groups(ranges: Ranges, book: Book, spelling: np.ndarray, rules: Rules) -> None:
    """Add the groups of digits that continue a size to one that the book allows."""
    value, rest = spelling[sp.VALUE], spelling[sp.REST]
    if spelling[sp.FREE]:
        put_groups(ranges, 0, _MOST_SIZE, value, rest)
        return
    kind, s = spelling[sp.KIND], spelling[sp.SIDE]
    row, most = sizes(book, kind, s, spelling[sp.DISTANCE], rules)
    put_groups(ranges, 1, most, value, rest)
    if kind != DELETE or row == NO_LEVEL:
        return
    low, high = GROUPS, -1
    slot = book.levels[s, row, BACK]
    while slot != NOBODY:
        size = book.orders[slot, SIZE]
        if max(most, value) < size <= rules.most_lots and size - value < POWER[rest] and is_of_others(book, slot):
            group = group_of(size - value, rest)
            ranges.marked[group] = True
            low, high = min(low, group), max(high, group)
        slot = book.orders[slot, AHEAD]
    put_marked(ranges, v.CONTINUATION, low, high)


@inner
def is_size(book: Book, spelling: np.ndarray, rules: Rules) -> bool:
    """Return whether the book allows the event with the size so far."""
    size = spelling[sp.SIZE]
    if spelling[sp.FREE]:
        return True
    if size < 1 or size > rules.most_lots:
        return False
    row, most = sizes(book, spelling[sp.KIND], spelling[sp.SIDE], spelling[sp.DISTANCE], rules)
    if size <= most:
        return True
    return spelling[sp.KIND] == DELETE and row != NO_LEVEL and has_order(book, spelling[sp.SIDE], row, size)


@inner
def rank_choices(book: Book, spelling: np.ndarray, rules: Rules) -> int:
    """Return how many ranks the event with the size so far may have, 0 if it has none."""
    kind = spelling[sp.KIND]
    if not rules.ranks or kind <= ADD or kind >= EXECUTE:
        return 0
    row, _ = sizes(book, kind, spelling[sp.SIDE], spelling[sp.DISTANCE], rules)
    return choices(book, spelling[sp.SIDE], row, kind, spelling[sp.SIZE])


@inner
def put_ranks(ranges: Ranges, count: int) -> None:
    """Add the tokens that begin the ranks 0..count-1."""
    put(ranges, v.RANK_BASE, v.RANK_BASE + min(count, v.RANKS) - 1)
    if count > v.RANKS:
        put(ranges, v.RANK_ESCAPE, v.RANK_ESCAPE + (count - 1 - v.RANKS) // v.CLASS_SIZE)


@inner
def put_rank_groups(ranges: Ranges, count: int, rank: int) -> None:
    """Add the groups of digits that complete a rank of which `rank` is the least to one in 0..count-1."""
    put(ranges, v.CONTINUATION, v.CONTINUATION + min(count - 1 - rank, v.CLASS_SIZE - 1))
