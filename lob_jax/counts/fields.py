"""The distributions of a field's tokens: kind and side, price, size, gap, and the further digits of a number."""

import numpy as np

from lob_jax.book.orders import Book
from lob_jax.counts.mixture import (
    COUNT,
    DONE,
    FIELD,
    N_ACTIONS,
    N_CLASSES,
    PRICE_FIELD,
    SIZE_FIELD,
    Model,
    Room,
    mix_chains,
    suggest,
)
from lob_jax.counts.schemes import ACTION, CLASS, END, FINE, GROUP, PRICE, SIZE
from lob_jax.counts.tables import spread
from lob_jax.counts.watch import ACTION_1, DIGITS_1, DIGITS_2, LEAD, NONE, Past, action_items, price_items
from lob_jax.jit import inner
from lob_jax.tokens import vocabulary as v


@inner
def expect_price(
    model: Model, book: Book, past: Past, tick: int, i: int, action: int, items: np.ndarray, room: Room
) -> None:
    """Prepare the price of an event of an action."""
    action_items(book, past, tick, action, items)
    for code in range(v.ASK_OFFSET):
        room.base[code] = 1 / v.PRICE_CODES if code < v.PRICE_CODES else 0.0
    mix_chains(model.tables, model.price, action, PRICE, items, room, v.ASK_OFFSET)
    room.state[FIELD] = PRICE_FIELD
    suggest(model, model.price, book, past, tick, i, action, 0, items, room)


@inner
def expect_size(
    model: Model,
    book: Book,
    past: Past,
    tick: int,
    i: int,
    action: int,
    price: int,
    head: int,
    items: np.ndarray,
    room: Room,
) -> None:
    """Prepare the size of an event of an action at a price."""
    price_items(book, past, action, price, head, items)
    for code in range(v.CLASS_SIZE):
        room.base[code] = 1 / v.CLASS_SIZE
    mix_chains(model.tables, model.size, action, SIZE, items, room, v.CLASS_SIZE)
    room.state[FIELD] = SIZE_FIELD
    suggest(model, model.size, book, past, tick, i, action, price, items, room)


@inner
def expect_gap(model: Model, action: int, state: int, items: np.ndarray, room: Room, out: np.ndarray) -> None:
    """Set `out` [1002] to the probabilities of the gap's codes, of TIME_SKIP and of TIME_BACK."""
    n, allowed = len(out), 0
    for c in range(N_CLASSES):
        room.base[c] = 0
    for code in range(n):
        out[code] = model.transition[state, _gap_token(code)] >= 0
        room.base[model.code_class[code]] += out[code]
        allowed += out[code] > 0
    for c in range(N_CLASSES):
        room.base[c] /= allowed
    mix_chains(model.tables, model.gap, action, CLASS + 64 * state, items, room, N_CLASSES)
    first = 0
    while first < n:
        c, last, fit = model.code_class[first], first, 0
        while last < n and model.code_class[last] == c:
            fit += out[last] > 0
            last += 1
        p = room.plain[c]
        if last - first == 1:
            out[first] *= p
        else:
            _fine_codes(model, action, c, first, last, items, room, out)
            for code in range(first, last):
                out[code] *= p
        first = last


@inner
def _fine_codes(
    model: Model, action: int, c: int, first: int, last: int, items: np.ndarray, room: Room, out: np.ndarray
) -> None:
    """Set `out[first:last]` to the probabilities of the codes of a class."""
    p = room.each[0, : last - first]
    for code in range(first, last):
        out[code] = 0
    for j in range(len(model.fine.chain)):
        for k in range(last - first):
            p[k] = 1 / (last - first)
        spread(model.tables, model.fine.chain[j], FINE + 64 * c, items, p)
        for k in range(last - first):
            out[first + k] += model.fine.share[action, j] * p[k]


@inner
def write_gap_codes(gap: np.ndarray, factor: float, out: np.ndarray) -> None:
    """Set the probabilities of all gap tokens in `out` [V] to those of `expect_gap`, times a factor."""
    for code in range(len(gap)):
        out[_gap_token(code)] = factor * gap[code]


@inner
def _gap_token(code: int) -> int:
    return v.TIME + code if code < v.CLASS_SIZE else v.TIME_SKIP if code == v.CLASS_SIZE else v.TIME_BACK


@inner
def chain_digits(model: Model, state: int, items: np.ndarray, room: Room) -> None:
    """Set `room.plain` to the probabilities of the 1,000 groups of digits, and of the end of the number."""
    p, end = room.plain[: v.CLASS_SIZE], room.each[0, :2]
    end[0] = end[1] = 0.5
    if model.choices[state, 1] > 0:
        spread(model.tables, model.end, END + 64 * state, items, end)
    else:
        end[0], end[1] = 0.0, 1.0
    for group in range(v.CLASS_SIZE):
        p[group] = (model.transition[state, v.CONTINUATION + group] >= 0) / model.choices[state, 0]
    spread(model.tables, model.group, GROUP + 64 * state, items, p)
    for group in range(v.CLASS_SIZE):
        p[group] *= end[1]
    room.plain[v.CLASS_SIZE] = end[0]


@inner
def write_digits(model: Model, state: int, items: np.ndarray, room: Room, out: np.ndarray) -> float:
    """Set the digit groups of `out` [V] to their probabilities; return the probability that the number ends here."""
    chain_digits(model, state, items, room)
    ended = room.rest[0] * room.plain[v.CLASS_SIZE]
    for group in range(v.CLASS_SIZE):
        out[v.CONTINUATION + group] = room.rest[0] * room.plain[group]
    for c in range(room.state[COUNT]):
        token = room.spelled[c, room.state[DONE]] if room.mass[c] > 0 else 0
        if token < 0:
            ended += room.mass[c]
        elif token > 0:
            out[token] += room.mass[c]
    return ended


@inner
def write_lead(room: Room, first: int, n: int, factor: float, out: np.ndarray) -> None:
    """Add the probabilities of a number's first tokens, `first` to `first + n - 1`, times a factor."""
    for code in range(n):
        out[first + code] += factor * room.rest[0] * room.plain[code]
    for c in range(room.state[COUNT]):
        out[room.spelled[c, 0]] += factor * room.mass[c]


@inner
def advance(room: Room, plain: float, token: int) -> None:
    """Condition a number on its next token, whose probability by the chains alone is `plain`."""
    total = room.rest[0] * plain
    for c in range(room.state[COUNT]):
        if room.mass[c] > 0 and room.spelled[c, room.state[DONE]] != token:
            room.mass[c] = 0
        total += room.mass[c]
    room.rest[0] *= plain / total
    for c in range(room.state[COUNT]):
        room.mass[c] /= total
    room.state[DONE] += 1


@inner
def note_lead(items: np.ndarray, token: int) -> None:
    """Set the items inside a number at its first token."""
    items[LEAD], items[DIGITS_1], items[DIGITS_2] = token, NONE, NONE


@inner
def note_group(items: np.ndarray, token: int) -> None:
    """Set the items inside a number at another group of digits."""
    items[DIGITS_2], items[DIGITS_1] = items[DIGITS_1], token


@inner
def write_actions(model: Model, items: np.ndarray, room: Room, p: np.ndarray) -> None:
    """Set `p` [N_ACTIONS] to the probabilities of kinds and sides, CONTROL codes, and the end of the stream."""
    for a in range(N_ACTIONS):
        room.base[a] = 1 / N_ACTIONS
    mix_chains(model.tables, model.action, items[ACTION_1] + 1, ACTION, items, room, N_ACTIONS)
    for a in range(N_ACTIONS):
        p[a] = room.plain[a]
