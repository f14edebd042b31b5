"""One token of one path, whatever the tokenizer: sample it from the ranges, and account for it."""

import numpy as np

from lob_jax.book.flow import DECAY_H
from lob_jax.book.flow_loop import take_event
from lob_jax.book.kernel import best_price, best_size, is_empty
from lob_jax.book.orders import Book
from lob_jax.events.schema import Kind
from lob_jax.generation.host.draw import Masked, Scores, Scratch, class_sums, sample
from lob_jax.generation.host.random import fold_in, uniform
from lob_jax.generation.host.state import Given, Newest, Number, Paths, Shown, flow_of
from lob_jax.jit import inner
from lob_jax.tokens import vocabulary as v

GRAMMAR, EVENTS, WITHIN, FLIP = (int(Number[name]) for name in ("GRAMMAR", "EVENTS", "WITHIN", "FLIP"))
WRITTEN, UNREAD, DONE, FRESH = (int(Number[name]) for name in ("WRITTEN", "UNREAD", "DONE", "FRESH"))
MIDDLE, QUOTED, CLOCK = (int(Number[name]) for name in ("MIDDLE", "QUOTED", "CLOCK"))
CHOSEN, _WRITER = int(Number.CHOSEN), int(Shown.WRITER)
_SPREAD, _BID_LOTS, _ASK_LOTS = int(Number.SPREAD), int(Number.BID_LOTS), int(Number.ASK_LOTS)
_KEY_0, _KEY_1 = int(Number.KEY_0), int(Number.KEY_1)
_KIND, _CODE, _SIDE, _PRICE, _SIZE, _SHOWN_SIDE, _, _ = (int(column) for column in Newest)
_CONTROL = int(Kind.CONTROL)


@inner
def next_token(paths: Paths, given: Given, path: int, scores: Scores) -> int:
    """Sample the next token of a path; PAD if it is done or still reads its prompt, and stays as it is."""
    number = paths.number[path]
    paths.shown[path], paths.token[path] = 0, v.PAD
    if number[UNREAD] > 0:
        number[UNREAD] -= 1
        return v.PAD
    if number[DONE]:
        return v.PAD
    grammar, book = masks_of(paths, given, path)
    _find_masses(given.scratch, scores.share, grammar, book)
    key0, key1 = fold_in(number[_KEY_0], number[_KEY_1], number[FRESH])
    key0, key1 = fold_in(key0, key1, number[WITHIN])
    at0, at1, at2 = uniform(key0, key1, 0), uniform(key0, key1, 1), uniform(key0, key1, 2)
    if number[FLIP]:
        at0, at1, at2 = 1 - at0, 1 - at1, 1 - at2
    return sample(given.scratch, given.sampler, scores, grammar, book, (at0, at1, at2))


@inner
def note_event(event: np.ndarray, kind: int, code: int, s: int, price: int, size: int) -> None:
    """Note the event that a book takes; of a kind 0, for CONTROL, the code alone."""
    event[_KIND], event[_CODE] = (kind, 0) if kind > 0 else (_CONTROL, code)
    event[_SIDE], event[_PRICE], event[_SIZE] = (1 - 2 * s, price, size) if kind > 0 else (0, 0, 0)
    event[_SHOWN_SIDE : _SHOWN_SIDE + 3] = 0


@inner
def note_shown(event: np.ndarray, shown: np.ndarray) -> None:
    """Note the level that the event has brought into view."""
    for k in range(3):
        event[_SHOWN_SIDE + k] = shown[k]


@inner
def masks_of(paths: Paths, given: Given, path: int) -> tuple[Masked, Masked]:
    """Return the tokens that the grammar allows next on a path, and those that the book allows as well; both drawable.

    Those of the book are in scratch memory.
    """
    state, (begin, end) = paths.number[path, GRAMMAR], paths.ranges.at[path]
    grammar = Masked(given.first, given.last, given.offset[state], given.offset[state + 1])
    book = Masked(paths.ranges.first[path], paths.ranges.last[path], begin, end)
    return grammar, _drawable(given.scratch, book, given.drawable)


@inner
def count_token(paths: Paths, given: Given, path: int, token: int, writer: int) -> None:
    """Account for a token that the model has sampled or, with a `writer` above 0, that belongs to a user's order."""
    number = paths.number[path]
    paths.token[path], paths.shown[path, _WRITER] = token, writer
    number[WRITTEN] += 1
    if writer == 0:
        number[CHOSEN] += 1
        for k in range(2):
            paths.mass[path, k] += given.scratch.mass[k]


@inner
def _drawable(scratch: Scratch, ranges: Masked, drawable: np.ndarray) -> Masked:
    """Return ranges without the tokens of class 0 that are never drawn, in scratch memory."""
    count = 0
    for at in range(ranges.begin, ranges.end):
        first, last = np.int64(ranges.first[at]), np.int64(ranges.last[at])
        for token in range(first, min(last + 1, v.CLASS_SIZE)):
            if drawable[token]:
                scratch.first[count] = scratch.last[count] = token
                count += 1
        if last >= v.CLASS_SIZE:
            scratch.first[count], scratch.last[count] = max(first, v.CLASS_SIZE), last
            count += 1
    return Masked(scratch.first, scratch.last, 0, count)


@inner
def _find_masses(scratch: Scratch, share_V: np.ndarray, grammar: Masked, book: Masked) -> None:
    """Write the probability that the grammar forbids, and the share of the rest that the book forbids."""
    whole = 0.0
    for token in range(len(share_V)):
        whole += share_V[token]
    spelt = class_sums(grammar, share_V, scratch.spelt, scratch.any_left)
    left = class_sums(book, share_V, scratch.left, scratch.any_left)
    scratch.mass[0] = 1 - spelt / whole
    scratch.mass[1] = 1 - left / spelt if spelt > 0 else 1


@inner
def follow_flow(paths: Paths, path: int, book: Book, kind: int, side: int, size: int, gap_ns: int, tick: int) -> None:
    """Advance the flow of a path by an event that the book has taken, at the time of its clock.

    Args:
      paths: changed in place.
      path: which path.
      book: its book after the event.
      kind: a `Kind`.
      side: +1 bid, -1 ask, 0 for CONTROL.
      size: lots, 0 for CONTROL.
      gap_ns: since the previous event.
      tick: price quanta per tick.
    """
    number = paths.number[path]
    middle, quoted, spread = number[MIDDLE], number[QUOTED], number[_SPREAD]
    bid_lots, ask_lots = number[_BID_LOTS], number[_ASK_LOTS]
    note_quotes(number, book)
    move2, inward, grew = np.int64(0), np.int64(0), np.int64(0)
    if quoted and number[QUOTED]:
        move2 = number[MIDDLE] - middle
        if side != 0:
            inward = side * move2 - (number[_SPREAD] - spread)
            grew = np.int64(number[_BID_LOTS] > bid_lots if side > 0 else number[_ASK_LOTS] > ask_lots)
    quotes = move2, number[_SPREAD] // tick, inward, grew
    take_event(flow_of(paths.flow, path), kind, side, size, gap_ns, *quotes, number[CLOCK], tick, DECAY_H)


@inner
def note_quotes(number: np.ndarray, book: Book) -> None:
    """Write what the flow compares the book after the next event with."""
    bid, ask, quoted = best_price(book, 0), best_price(book, 1), not is_empty(book, 0) and not is_empty(book, 1)
    number[QUOTED] = quoted
    number[MIDDLE], number[_SPREAD] = (bid + ask, max(ask - bid, 0)) if quoted else (0, 0)
    number[_BID_LOTS], number[_ASK_LOTS] = best_size(book, 0), best_size(book, 1)
