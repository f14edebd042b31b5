"""The compiled walks over exact tokens on the decoder's book: the sets in their places, the queues at their prices."""

from typing import NamedTuple

import numpy as np

from lob_jax.book import orders as o
from lob_jax.book.anchors import AHEADS, LEVELS, MEMORY_OF_KIND, NO_PRICE, REMEMBERED, SIDE_ANCHORS, AnchorColumn
from lob_jax.book.kernel import apply, best_price, clear, is_empty, level_of, queue_length, reference
from lob_jax.book.loops import CorrectionColumns, amend
from lob_jax.book.orders import AHEAD, BACK, BEHIND, FRONT, NOBODY, SIZE, Book
from lob_jax.book.queue import BACKS, FRONTS, MOST_RECENT, RECENT_OF_KIND, RECENT_SIZES, QueueColumn
from lob_jax.events.schema import Code
from lob_jax.jit import in_place, inner
from lob_jax.tokens import vocabulary as v
from lob_jax.tokens.compiled import MOST
from lob_jax.tokens.numbers import POWER, number_code, price_code
from lob_jax.tokens.ranks import FIRST_ID, taken_id
from lob_jax.tokens.sets import spelling as sp
from lob_jax.tokens.sets.amounts import is_size, put_rank_groups, put_ranks, put_size_groups, put_sizes, rank_choices
from lob_jax.tokens.sets.escape import Escape
from lob_jax.tokens.sets.heads import LevelCodes, new_level_codes, put_heads, put_price_groups
from lob_jax.tokens.sets.limits import ADD, EXECUTE, Rules, closed_after, largest, unit_of
from lob_jax.tokens.sets.ranges import BEGIN, END, ROW_ROOM, Ranges, Stop, put, put_again, put_groups
from lob_jax.tokens.sets.reasons import reason
from lob_jax.tokens.sets.token_sets import is_in

_CLEAR, _INSIDE = int(Code.CLEAR), int(Escape.INSIDE)
_DONE, _FULL, _OUT_OF_RANGE = (int(stop) for stop in Stop)
_ORDERS, _LOTS, _BACK, _FRONT = (int(QueueColumn[name]) for name in ("ORDERS", "LOTS", "BACK_1", "FRONT_1"))
_DIVISIBLE, _RECENT = int(QueueColumn.DIVISIBLE), int(QueueColumn.ADDED)
_LEVEL, _AHEAD, _ADDED = (int(AnchorColumn[name]) for name in ("LEVEL", "AHEAD", "ADDED"))
_AT_TRADE, _MIDDLE = int(AnchorColumn.AT_TRADE), int(AnchorColumn.MIDDLE)
_LEVEL_ORDERS, _LEVEL_LOTS = int(AnchorColumn.ORDERS), int(AnchorColumn.LOTS)
_LAST_TRADED, _LAST_HIDDEN = int(MEMORY_OF_KIND[EXECUTE, 0]), int(MEMORY_OF_KIND[EXECUTE + 1, 0])


class Walk(NamedTuple):
    """A walk in progress.

    Attributes:
      book: the decoder's book, before the event that is being spelled or after it, see `spelling.Part.TAKEN`.
      corrections: those of the day.
      rules: the constants of the day.
      spelling: int64 [P], by `spelling.Part`.
      codes: see `LevelCodes`.
      heads: int64 [2], the ranges of the heads that the book allows now, first and end; -1 until they are known.
    """

    book: Book
    corrections: CorrectionColumns
    rules: Rules
    spelling: np.ndarray
    codes: LevelCodes
    heads: np.ndarray


def new_walk(book: Book, corrections: CorrectionColumns, rules: Rules, *, closed: int) -> Walk:
    """Return a walk before its first token."""
    return Walk(book, corrections, rules, sp.new_spelling(closed, rules.ranks), new_level_codes(), np.full(2, -1))


@in_place
def advance(
    walk: Walk, ranges: Ranges, tokens: np.ndarray, at: int, offset: np.ndarray, outside: np.ndarray
) -> tuple[int, int]:
    """Walk from the token `at` on, as far as possible.

    Args:
      walk: changed in place.
      ranges: those of the tokens before; the new ones are added.
      tokens: int64 [T], which the grammar allows, without BOS.
      at: the next token.
      offset: int64 [T+1], filled from `at` on.
      outside: uint8 [T], filled from `at` on.

    Returns:
      The next token, and a `Stop`.
    """
    book, spelling, rules = walk.book, walk.spelling, walk.rules
    while at < len(tokens):
        begin = ranges.at[END]
        if len(ranges.first) - begin < ROW_ROOM:
            return at, _FULL
        offset[at], ranges.at[BEGIN] = begin, begin
        token = tokens[at]
        put_row(walk, ranges)
        escapes = not is_in(ranges.first, ranges.last, begin, ranges.at[END], token)
        sp.read(spelling, token, rules.gap_digits)
        outside[at] = reason(book, spelling, token, rules) if escapes else _INSIDE
        if escapes:
            spelling[sp.FREE] = 1
        at += 1
        if sp.is_time(token) and not spelling[sp.TAKEN] and not take(walk, 0):
            return at - 1, _OUT_OF_RANGE
    offset[at] = ranges.at[END]
    return at, _DONE


@in_place
def pass_over(walk: Walk, tokens: np.ndarray) -> int:
    """Walk over the tokens of complete events without their sets.

    No set of an earlier event has a part in those of a later one: once they are not asked for, only the book is
    followed.

    Args:
      walk: changed in place.
      tokens: int64 [T], which the grammar allows, without BOS.

    Returns:
      How many tokens were read: fewer than T if the price of the next event is out of range.
    """
    for at in range(len(tokens)):
        sp.read(walk.spelling, tokens[at], walk.rules.gap_digits)
        if sp.is_time(tokens[at]) and not walk.spelling[sp.TAKEN] and not take(walk, 0):
            return at
    return len(tokens)


@in_place
def follow_queues(walk: Walk, tokens: np.ndarray, recent: np.ndarray, codes_TQ: np.ndarray) -> int:
    """Walk over all tokens, and note after each the queue at the price that is spelled, and the last sizes of its side.

    Until the event is applied to the book, at the first token of its time, the queue is that before the event at the
    price that it has if it has no further digits; otherwise, and for kinds that take from no queue, it is empty. The
    sizes are those of earlier events; between events there are none.

    Args:
      walk: changed in place.
      tokens: int64 [T], which the grammar allows, without BOS.
      recent: int64 [2, RECENT_SIZES], see `recent_sizes`; changed in place.
      codes_TQ: int16 [T, QUEUE_NUMBERS], filled by `QueueColumn`.

    Returns:
      How many tokens were read: fewer than T if the price of the next event is out of range.
    """
    for at in range(len(tokens)):
        sp.read(walk.spelling, tokens[at], walk.rules.gap_digits)
        if sp.is_time(tokens[at]) and not walk.spelling[sp.TAKEN]:
            if not take(walk, 0):
                return at
            note_size(walk.spelling, recent)
        note_queue(walk, recent, codes_TQ[at])
    return len(tokens)


@in_place
def follow_anchors(walk: Walk, tokens: np.ndarray, remembered: np.ndarray, codes_EA: np.ndarray) -> int:
    """Walk over all tokens, and note the anchors before each event and after the last, see `Tokenizer.anchors`.

    Args:
      walk: changed in place.
      tokens: int64 [T], which the grammar allows, without BOS.
      remembered: int64 [2, REMEMBERED], prices, NO_PRICE where there is none yet; changed in place.
      codes_EA: int16 [E + 1, ANCHORS], filled.

    Returns:
      How many tokens were read: fewer than T if the price of the next event is out of range.
    """
    event = 0
    note_anchors(walk, remembered, codes_EA[0])
    for at in range(len(tokens)):
        sp.read(walk.spelling, tokens[at], walk.rules.gap_digits)
        if sp.is_time(tokens[at]) and not walk.spelling[sp.TAKEN]:
            kind, s, distance = walk.spelling[sp.KIND], walk.spelling[sp.SIDE], walk.spelling[sp.DISTANCE]
            side = 1 - 2 * s
            price = reference(walk.book, side) - side * distance * unit_of(kind, walk.rules)
            if not take(walk, 0):
                return at
            remember(remembered[s], kind, price)
            event += 1
            note_anchors(walk, remembered, codes_EA[event])
    return len(tokens)


@inner
def remember(remembered_R: np.ndarray, kind: int, price: int) -> None:
    """Put the price of an event before those of earlier ones."""
    first, end = MEMORY_OF_KIND[kind]
    for column in range(end - 1, first, -1):
        remembered_R[column] = remembered_R[column - 1]
    if end > first:
        remembered_R[first] = price


@inner
def note_anchors(walk: Walk, remembered: np.ndarray, codes_A: np.ndarray) -> None:
    """Note the anchors of both sides, see `AnchorColumn`."""
    book, rules = walk.book, walk.rules
    for column in range(len(codes_A)):
        codes_A[column] = 0
    for s in range(2):
        side, first = 1 - 2 * s, SIDE_ANCHORS * s
        origin, rows = reference(book, side), book.side[s]
        for k in range(min(rows[o.END] - rows[o.FIRST], LEVELS)):
            row = rows[o.END] - 1 - k
            far = side * (origin - book.levels[s, row, o.PRICE]) // rules.tick
            codes_A[first + _LEVEL + k] = _anchor(far, rules)
            codes_A[first + _LEVEL_ORDERS + k] = number_code(queue_length(book, s, row, MOST))
            codes_A[first + _LEVEL_LOTS + k] = number_code(book.levels[s, row, SIZE])
            if 0 < k <= AHEADS:
                codes_A[first + _AHEAD + k - 1] = _anchor(far - 1, rules)
        for column in range(REMEMBERED):
            if remembered[s, column] != NO_PRICE:
                unit = rules.tick if column < _LAST_HIDDEN else 1
                codes_A[first + _ADDED + column] = _anchor(side * (origin - remembered[s, column]) // unit, rules)
        if remembered[s, _LAST_TRADED] != NO_PRICE:
            codes_A[first + _AT_TRADE] = _anchor(side * (origin - remembered[s, _LAST_TRADED]), rules)
        if not is_empty(book, 0) and not is_empty(book, 1):
            codes_A[first + _MIDDLE] = _anchor(-((best_price(book, 1) - best_price(book, 0)) // 2), rules)


@inner
def _anchor(distance: int, rules: Rules) -> int:
    return price_code(distance) + 1 if abs(distance) <= rules.most_distance else 0


@inner
def note_size(spelling: np.ndarray, recent: np.ndarray) -> None:
    """Remember the size of an event that is complete."""
    kind, size = spelling[sp.KIND], min(spelling[sp.SIZE], MOST_RECENT)
    if kind == 0:
        return
    if RECENT_OF_KIND[kind] >= 0:
        recent[spelling[sp.SIDE], RECENT_OF_KIND[kind]] = size
    recent[0, RECENT_SIZES - 1] = recent[1, RECENT_SIZES - 1] = size


@inner
def note_queue(walk: Walk, recent: np.ndarray, codes_Q: np.ndarray) -> None:
    book, spelling, rules = walk.book, walk.spelling, walk.rules
    kind, s, distance = spelling[sp.KIND], spelling[sp.SIDE], spelling[sp.DISTANCE]
    for column in range(len(codes_Q)):
        codes_Q[column] = 0
    if spelling[sp.TAKEN] or kind == 0:
        return
    for column in range(RECENT_SIZES):
        codes_Q[_RECENT + column] = number_code(recent[s, column])
    if kind > EXECUTE or abs(distance) > rules.most_distance:
        return
    side = 1 - 2 * s
    row = level_of(book, s, reference(book, side) - side * distance * rules.tick)
    if row < 0:
        return
    count, slot = 0, book.levels[s, row, BACK]
    while slot != NOBODY:
        if count < BACKS:
            codes_Q[_BACK + count] = number_code(book.orders[slot, SIZE])
        count += 1
        slot = book.orders[slot, AHEAD]
    slot = book.levels[s, row, FRONT]
    for ahead in range(min(count, FRONTS)):
        codes_Q[_FRONT + ahead] = number_code(book.orders[slot, SIZE])
        slot = book.orders[slot, BEHIND]
    codes_Q[_ORDERS], codes_Q[_LOTS] = number_code(count), number_code(book.levels[s, row, SIZE])
    codes_Q[_DIVISIBLE] = number_code(largest(book, s, row, divisible=True))


@inner
def put_row(walk: Walk, ranges: Ranges) -> None:
    """Add the set of the next token."""
    book, spelling, rules = walk.book, walk.spelling, walk.rules
    field = spelling[sp.FIELD]
    may_end = spelling[sp.CONDITION] == sp.MAY_END
    if field == v.FIELD_HEAD:
        _put_heads(walk, ranges)
    elif field == v.FIELD_HEAD_DIGITS:
        put_price_groups(ranges, book, walk.codes, spelling, rules)
        if may_end:
            put_sizes(ranges, book, spelling, rules)
    elif field == v.FIELD_SIZE:
        put_sizes(ranges, book, spelling, rules)
    elif field == v.FIELD_SIZE_DIGITS:
        if may_end and is_size(book, spelling, rules):
            _put_behind_size(walk, ranges, True)
        else:
            put_size_groups(ranges, book, spelling, rules)
    elif field == v.FIELD_RANK:
        _put_behind_size(walk, ranges, False)
    elif field == v.FIELD_RANK_DIGITS:
        count = v.MOST_RANKS if spelling[sp.FREE] else rank_choices(book, spelling, rules)
        put_rank_groups(ranges, count, spelling[sp.RANK])
    elif field == v.FIELD_GAP:
        _put_time_specials(ranges, spelling)
        put(ranges, v.TIME + (spelling[sp.GAP] == sp.BACKWARD), v.VOCAB_SIZE - 1)  # 0 has no direction
    elif field == v.FIELD_GAP_DIGITS:
        if may_end:
            _put_heads(walk, ranges)
        put_groups(ranges, 0, POWER[spelling[sp.REST]], 0, spelling[sp.REST])
    else:
        put(ranges, v.PAD, v.PAD)


@inner
def _put_behind_size(walk: Walk, ranges: Ranges, goes_on: bool) -> None:
    """Add what may follow a size that the book allows: a rank or a gap, and further digits if the size may go on."""
    book, spelling, rules = walk.book, walk.spelling, walk.rules
    count = rank_choices(book, spelling, rules)
    if spelling[sp.FREE]:
        count = v.MOST_RANKS if rules.ranks else 0
    is_timed = count == 0 or spelling[sp.FREE]
    if is_timed:
        _put_time_specials(ranges, spelling)
    if count > 0:
        put_ranks(ranges, count)
    if goes_on:
        put_size_groups(ranges, book, spelling, rules)
    if is_timed:
        put(ranges, v.TIME, v.VOCAB_SIZE - 1)


@inner
def _put_time_specials(ranges: Ranges, spelling: np.ndarray) -> None:
    put(ranges, v.TIME_SKIP, v.TIME_SKIP)
    if spelling[sp.FREE] and spelling[sp.GAP] == sp.NO_GAP:
        put(ranges, v.TIME_BACK, v.TIME_BACK)


@inner
def _put_heads(walk: Walk, ranges: Ranges) -> None:
    """Add the heads that the book allows: between two events, they are found once and then copied."""
    begin = ranges.at[END]
    if walk.heads[0] >= 0:
        put_again(ranges, walk.heads[0], walk.heads[1])
    else:
        put_heads(ranges, walk.book, walk.codes, walk.spelling[sp.HALT], walk.rules)
    walk.heads[0], walk.heads[1] = begin, ranges.at[END]


@inner
def take(walk: Walk, mark: int) -> bool:
    """Apply the event and its corrections to the book, an added order with a mark; return whether its price fits."""
    book, spelling, stale = walk.book, walk.spelling, walk.codes.stale
    kind, s = spelling[sp.KIND], spelling[sp.SIDE]
    spelling[sp.TAKEN] = 1
    walk.heads[0] = walk.heads[1] = -1
    if kind == 0:
        spelling[sp.HALT] = closed_after(spelling[sp.CODE], spelling[sp.HALT])
        if spelling[sp.CODE] == _CLEAR:
            clear(book)
            stale[0] = stale[1] = 1
    else:
        side, unit = 1 - 2 * s, unit_of(kind, walk.rules)
        origin = reference(book, side)
        if abs(origin) >= MOST or abs(spelling[sp.DISTANCE]) > (MOST - 1 - abs(origin)) // unit:
            return False
        price = origin - side * spelling[sp.DISTANCE] * unit
        apply(book, kind, side, price, spelling[sp.SIZE], _order_id(walk, price), mark)
        if kind <= EXECUTE:
            stale[s] = 1
    cursor = amend(book, walk.corrections, spelling[sp.CURSOR], spelling[sp.EVENT])
    if cursor > spelling[sp.CURSOR]:
        stale[0] = stale[1] = 1
    spelling[sp.CURSOR] = cursor
    return True


@inner
def _order_id(walk: Walk, price: int) -> int:
    """Return the id of the order that the event adds or takes from, as int64 bits; 0 if the vocabulary has no ranks."""
    spelling, kind = walk.spelling, walk.spelling[sp.KIND]
    if not walk.rules.ranks or kind > EXECUTE:
        return 0
    if kind == ADD:
        return FIRST_ID - spelling[sp.EVENT]
    row = level_of(walk.book, spelling[sp.SIDE], price)
    return taken_id(walk.book, spelling[sp.SIDE], row, kind, spelling[sp.SIZE], spelling[sp.RANK])
