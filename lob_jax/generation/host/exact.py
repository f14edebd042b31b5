"""Advance paths by tokens of the exact tokenizer, as `lob_jax.generation.device.exact_paths` does: all in one call."""

import numpy as np

from lob_jax.book.kernel import level_of
from lob_jax.book.orders import END, FIRST, OWN
from lob_jax.generation.host.draw import Scores
from lob_jax.generation.host.known import note_flow, note_levels, note_token
from lob_jax.generation.host.orders import AT, COUNT, OWNER_BITS, WRITER, begin_order, owner_at_front
from lob_jax.generation.host.state import Given, Number, Paths, Shown, begin_row, book_of, codes_of, ranges_of
from lob_jax.generation.host.step import (
    CHOSEN,
    CLOCK,
    DONE,
    EVENTS,
    FRESH,
    GRAMMAR,
    WITHIN,
    WRITTEN,
    count_token,
    follow_flow,
    next_token,
    note_event,
    note_shown,
)
from lob_jax.generation.host.view import price_at, remember_hidden, reveal
from lob_jax.jit import in_place, inner
from lob_jax.tokens import vocabulary as v
from lob_jax.tokens.numbers import POWER, SKIP_NS, code_range
from lob_jax.tokens.sets import spelling as sp
from lob_jax.tokens.sets.limits import ADD, CROSS, EXECUTE
from lob_jax.tokens.sets.price_memory import note_price_memory, remember_event
from lob_jax.tokens.sets.walk import Walk, note_anchors, note_queue, note_size, put_row, remember, take

_GAP, _REST, _LAST, _FILLED = int(Number.GAP), int(Number.GAP_REST), int(Number.LAST), int(Shown.FILLED)


@in_place
def begin(paths: Paths, given: Given) -> None:
    """Find the tokens that may come first on each path."""
    for path in range(len(paths.token)):
        _look(paths, path, _walk(paths, given, path))


@in_place
def advance(paths: Paths, given: Given, logit_BV: np.ndarray, weight_BV: np.ndarray, share_BV: np.ndarray) -> None:
    """Sample the next token of each path, advance the path by it, and find what a model reads and may come then.

    An event is applied to the book at the first token of its time; the clock advances when the next one begins. A path
    is done when the head after its last event is sampled, which shows that the event is complete.

    Args:
      paths: changed in place.
      given: what is the same for all paths.
      logit_BV: see `Scores`, as are the next two.
      weight_BV: float32 [B, V].
      share_BV: float32 [B, V].
    """
    for path in range(len(paths.token)):
        own, scores = paths.own[path], Scores(logit_BV[path], weight_BV[path], share_BV[path])
        if own[AT] < own[COUNT]:  # an event of an order
            paths.shown[path], token = 0, paths.spelled[path, own[AT]]
        else:
            token = next_token(paths, given, path, scores)
        if token != v.PAD:
            walk = _walk(paths, given, path)
            _move(paths, given, path, walk, token)
            _look(paths, path, walk)


@in_place
def follow(paths: Paths, given: Given, token_B: np.ndarray) -> None:
    """Advance each path by a given token, which may come next, and find what a model reads and may come then.

    Args:
      paths: changed in place; without orders of the user.
      given: what is the same for all paths.
      token_B: int64 [B], PAD for a path that stays as it is.
    """
    for path in range(len(token_B)):
        paths.shown[path], paths.token[path] = 0, v.PAD
        if token_B[path] != v.PAD:
            walk = _walk(paths, given, path)
            _move(paths, given, path, walk, token_B[path])
            _look(paths, path, walk)


@inner
def _walk(paths: Paths, given: Given, path: int) -> Walk:
    book, codes = book_of(paths.books, path), codes_of(paths.codes, path)
    return Walk(book, given.corrections, given.rules, paths.spelling[path], codes, paths.heads[path])


@inner
def _look(paths: Paths, path: int, walk: Walk) -> None:
    """Find the tokens that may come next on a path, and what a model reads that depends on its book."""
    ranges, known = ranges_of(paths.ranges, path), paths.known
    begin_row(ranges, walk.heads)
    put_row(walk, ranges)
    note_levels(walk.book, walk.rules.tick, known.price[path], known.size[path])
    if known.queue.shape[1] > 0:
        note_queue(walk, paths.recent[path], known.queue[path])
    if known.price_memory.shape[1] > 0:
        note_price_memory(walk, paths.past[path], known.price_memory[path])
    if known.anchors.shape[1] > 0 and (walk.spelling[sp.TAKEN] or walk.spelling[sp.EVENT] < 1):
        note_anchors(walk, paths.remembered[path], known.anchors[path])


@inner
def _move(paths: Paths, given: Given, path: int, walk: Walk, token: int) -> None:
    """Advance a path by a token."""
    number, spelling, own = paths.number[path], walk.spelling, paths.own[path]
    begins = v.FIRST_CONTROL <= token <= v.LAST_CONTROL or v.CLASS_SIZE <= token < v.CONTINUATION
    if begins and own[AT] == own[COUNT]:
        _end_event(paths, path, walk)
        when = number[EVENTS], number[_LAST], number[CLOCK], spelling[sp.HALT]
        begin_order(own, paths.lots[path], paths.spelled[path], given.orders, walk.book, walk.rules, when)
        number[EVENTS] += 1
        number[_GAP] = 0
        note_flow(paths, path, number[CLOCK])
        if own[WRITER] == 0:
            number[FRESH] += 1
            number[WITHIN] = 0
    if own[WRITER] > 0:
        token = paths.spelled[path, own[AT]]
        own[AT] += 1
    else:
        number[WITHIN] += 1
    _read_gap(number, spelling[sp.FIELD], token)
    sp.read(spelling, token, walk.rules.gap_digits)
    number[GRAMMAR] = given.transition[number[GRAMMAR], token]
    if sp.is_time(token) and not spelling[sp.TAKEN]:
        _take(paths, given, path, walk)
    number[DONE] = number[EVENTS] > number[_LAST]
    note_token(paths.known.latest[path], token)
    count_token(paths, given, path, token, own[WRITER])


@inner
def _read_gap(number: np.ndarray, field: int, token: int) -> None:
    """Add what a token in a field says of the gap; unlike in `spelling`, of which only the kept digits count."""
    if token == v.TIME_SKIP:
        number[_GAP] += SKIP_NS
    elif token >= v.TIME:
        low, _, more = code_range(token - v.TIME)
        number[_GAP] += low
        number[_REST] = more
    elif field == v.FIELD_GAP_DIGITS and v.CONTINUATION <= token < v.SIZE:
        rest = number[_REST]
        number[_GAP] += (token - v.CONTINUATION) * POWER[rest] // POWER[3]
        number[_REST] = max(rest - 3, 0)


@inner
def _end_event(paths: Paths, path: int, walk: Walk) -> None:
    """Advance the clock and the flow by the event that is complete, if there is one."""
    number, spelling = paths.number[path], walk.spelling
    if number[EVENTS] == 0:
        return
    gap = number[_GAP]
    number[CLOCK] += gap
    if paths.known.flow.shape[1] == 0:
        return
    kind = spelling[sp.KIND]
    side, size = (1 - 2 * spelling[sp.SIDE], spelling[sp.SIZE]) if kind > 0 else (0, 0)
    follow_flow(paths, path, walk.book, kind if kind > 0 else CROSS + 1, side, size, gap, walk.rules.tick)


@inner
def _take(paths: Paths, given: Given, path: int, walk: Walk) -> None:
    """Apply the event that is spelled to the book, bring a level into view, and remember its size and its price."""
    book, spelling = walk.book, walk.spelling
    kind, s = spelling[sp.KIND], spelling[sp.SIDE]
    price = price_at(book, kind, s, spelling[sp.DISTANCE], walk.rules)
    shows = book.window > 0 and ADD <= kind <= EXECUTE
    levels, goes = book.side[s, END] - book.side[s, FIRST], False
    if shows:
        goes = level_of(book, s, price) >= 0
        remember_hidden(book, paths.behind.price[path, s], paths.behind.lots[path, s], kind, s, price)
    writer, event = paths.own[path, WRITER], paths.event[path]
    note_event(event, kind, spelling[sp.CODE], s, price, spelling[sp.SIZE])
    if kind == EXECUTE:
        paths.shown[path, _FILLED] = owner_at_front(book, s, price)
    take(walk, OWN | writer << OWNER_BITS if writer > 0 else 0)
    if shows and goes and level_of(book, s, price) < 0:
        behind, number = paths.behind, paths.number[path]
        own_tokens = number[WRITTEN] - number[CHOSEN] if writer > 0 else 0
        where = behind.price[path, s], behind.lots[path, s]
        if reveal(book, *where, given.reveals, walk.rules, number, paths.shown[path], s, price, levels, own_tokens):
            walk.codes.stale[s] = 1
            note_shown(event, paths.shown[path])
    note_size(spelling, paths.recent[path])
    remember_event(paths.past[path], kind, s, price, spelling[sp.SIZE])
    if kind > 0:
        remember(paths.remembered[path, s], kind, price)
