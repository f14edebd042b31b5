"""Score a record's tokens, one after the other, with what is known before each."""

import enum
from typing import NamedTuple

import numpy as np

from lob_jax.book.kernel import reference
from lob_jax.book.loops import CorrectionColumns
from lob_jax.book.orders import Book
from lob_jax.counts.fields import (
    advance,
    chain_digits,
    expect_gap,
    expect_price,
    expect_size,
    note_group,
    note_lead,
    write_actions,
    write_digits,
    write_gap_codes,
    write_lead,
)
from lob_jax.counts.in_book import Limits, restrict
from lob_jax.counts.mixture import COUNT, GAP_CODES, MOST_CHAINS, N_ACTIONS, Mixture, Model, Room, new_room, suggest
from lob_jax.counts.observe import Steps, take
from lob_jax.counts.watch import (
    N_ITEMS,
    PLACE_NOW,
    Past,
    action_items,
    distance_of,
    price_items,
    size_items,
    state_items,
    unit_of,
)
from lob_jax.jit import in_place, inner
from lob_jax.tokens import numbers
from lob_jax.tokens import vocabulary as v


class Stage(enum.IntEnum):
    """The field of an event that comes next."""

    HEAD_NEXT = 0
    SIZE_NEXT = 1
    GAP_NEXT = 2


HEAD_NEXT, SIZE_NEXT, GAP_NEXT = (int(one) for one in Stage)


class Workspace(NamedTuple):
    """Memory for the distributions of one position.

    Attributes:
      out, inside: float64 [V], of tokens.
      p_action: float64 [N_ACTIONS].
      gap: float64 [GAP_CODES].
      items, ahead: int64 [N_ITEMS], of this event and of the next one.
      number, other: of the number that is spelled, and of the next one.
    """

    out: np.ndarray
    inside: np.ndarray
    p_action: np.ndarray
    gap: np.ndarray
    items: np.ndarray
    ahead: np.ndarray
    number: Room
    other: Room


def new_workspace() -> Workspace:
    """Return memory."""
    return Workspace(
        out=np.zeros(v.VOCAB_SIZE),
        inside=np.zeros(v.VOCAB_SIZE),
        p_action=np.zeros(N_ACTIONS),
        gap=np.zeros(GAP_CODES),
        items=np.zeros(N_ITEMS, np.int64),
        ahead=np.zeros(N_ITEMS, np.int64),
        number=new_room(),
        other=new_room(),
    )


class Measured(NamedTuple):
    """What `measure` returns.

    Attributes:
      chain: float64 [5, E, MOST_CHAINS], the probability of each event's action, price code, size code, gap class, and
        gap code given its class, by chain.
      digits: float64 [2, E], that of the further digits of price and size by the chains.
      view: float64 [2, E, 2 + W, 2], what each way to suggest values gives to the price and to the size, and what it
        leaves to the chains; -1 for CONTROL events.
    """

    chain: np.ndarray
    digits: np.ndarray
    view: np.ndarray


def score(
    model: Model,
    book: Book,
    past: Past,
    corrections: CorrectionColumns,
    steps: Steps,
    tokens: np.ndarray,
    tick: int,
    start: int,
    dense: bool,
    rows: np.ndarray,
    limits: Limits,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the log probability of each token, and the likeliest one, given those before it.

    Args:
      model: what was fitted.
      book, past: at the start; changed in place.
      corrections, steps: of the record.
      tokens: int64 [T], complete events.
      tick: price quanta per tick.
      start: the state of the grammar between events.
      dense: whether the likeliest tokens, and distributions, are wanted.
      rows: int64 [R], ascending, the positions whose distributions are wanted.
      limits: the sets that all of these distributions are restricted to, which needs `dense`; NO_LIMITS for none.

    Returns:
      float64 [T], nats; int64 [T], 0 without `dense`; float64 [R, V].
    """
    log_p, likeliest = np.zeros(len(tokens)), np.zeros(len(tokens), np.int64)
    kept = np.zeros((len(rows), v.VOCAB_SIZE))
    out = log_p, likeliest, kept
    _score(model, book, past, corrections, steps, tokens, tick, start, dense, rows, limits, new_workspace(), *out)
    return out


@in_place
def _score(
    model: Model,
    book: Book,
    past: Past,
    corrections: CorrectionColumns,
    steps: Steps,
    tokens: np.ndarray,
    tick: int,
    start: int,
    dense: bool,
    rows: np.ndarray,
    limits: Limits,
    work: Workspace,
    log_p: np.ndarray,
    likeliest: np.ndarray,
    kept: np.ndarray,
) -> None:
    """Fill what `score` returns."""
    out, inside, p_action, gap = work.out, work.inside, work.p_action, work.gap
    items, ahead, number, other = work.items, work.ahead, work.number, work.other
    state, stage, i, row, cursor = start, HEAD_NEXT, 0, 0, 0
    action, price, lead = 0, np.int64(0), 0
    for t in range(len(tokens)):
        token = tokens[t]
        goes_on = v.CONTINUATION <= token < v.SIZE
        out[:] = 0
        ended = 1.0
        if model.choices[state, 0] > 0:
            ended = write_digits(model, state, items, number, out)
        if model.choices[state, 1] > 0 and (dense or not goes_on):
            if stage == HEAD_NEXT:
                if i > 0:
                    past.time_ns[i] = past.time_ns[i - 1] + numbers.read_gap(tokens[lead:t], 0)[0]
                state_items(book, past, tick, ahead)
                _write_heads(model, book, past, tick, i, token, dense, ended, ahead, other, p_action, out)
            elif stage == SIZE_NEXT:
                side, unit = 1 - 2 * (action % 2), unit_of(1 + action // 2, tick)
                far = numbers.read_price(tokens[lead:t], 1, tokens[lead] % v.ASK_OFFSET)[0]
                price = reference(book, side) - side * far * unit
                expect_size(model, book, past, tick, i, action, price, tokens[lead], items, other)
                write_lead(other, v.SIZE, v.CLASS_SIZE, ended, out)
            else:
                if action < 12 and tokens[t - 1] >= v.CONTINUATION:  # the size has just ended
                    size = numbers.read_number(tokens[lead:t], 1, tokens[lead] - v.SIZE)[0]
                    size_items(book, past, i, action, price, size, items)
                expect_gap(model, action, state, items, other, gap)
                write_gap_codes(gap, ended, out)
        if len(limits.escape_TC) > 0:
            restrict(out, limits, t, inside)
        log_p[t] = np.log(out[token])
        if dense:
            likeliest[t] = np.argmax(out)
        if row < len(rows) and rows[row] == t:
            _copy(out, kept[row])
            row += 1
        if goes_on:
            advance(number, number.plain[token - v.CONTINUATION], token)
            note_group(items, token)
        elif stage == HEAD_NEXT:
            action = steps.action[i]
            items, ahead = ahead, items
            if token < v.CLASS_SIZE:
                action_items(book, past, tick, action, items)
                price_items(book, past, action, 0, token, items)
                size_items(book, past, i, action, 0, 0, items)
                stage = GAP_NEXT
            else:
                number, other = other, number
                advance(number, number.plain[token % v.ASK_OFFSET], token)
                note_lead(items, token)
                stage = SIZE_NEXT
            lead = t
        elif stage == SIZE_NEXT:
            number, other = other, number
            advance(number, number.plain[token - v.SIZE], token)
            note_lead(items, token)
            stage, lead = GAP_NEXT, t
        else:
            if tokens[t - 1] not in (v.TIME_SKIP, v.TIME_BACK):
                lead = t
            if token >= v.TIME:
                number.state[COUNT], number.rest[0] = 0, 1.0
                note_lead(items, token)
                cursor = take(book, past, corrections, cursor, i, steps, items[PLACE_NOW])
                stage = HEAD_NEXT
                i += 1
        state = np.int64(model.transition[state, token])


@inner
def _copy(values: np.ndarray, out: np.ndarray) -> None:
    """Copy an array; Numba's assignment to a row counts references."""
    for k in range(len(values)):
        out[k] = values[k]


@inner
def _write_heads(
    model: Model,
    book: Book,
    past: Past,
    tick: int,
    i: int,
    token: int,
    dense: bool,
    ended: float,
    items: np.ndarray,
    room: Room,
    p_action: np.ndarray,
    out: np.ndarray,
) -> None:
    """Write the probabilities of heads into `out`, all or only those of one kind and side, and prepare the price."""
    write_actions(model, items, room, p_action)
    came = 2 * (token // v.CLASS_SIZE - 1) + (token % v.CLASS_SIZE >= v.ASK_OFFSET)
    for turn in range(13):  # what came is last, so that items and room are those of its price
        action = came if turn == 12 else turn
        if 0 <= action < 12 and (turn == 12 or (dense and turn != came)):
            expect_price(model, book, past, tick, i, action, items, room)
            first = v.CLASS_SIZE * (1 + action // 2) + v.ASK_OFFSET * (action % 2)
            write_lead(room, first, v.ASK_OFFSET, ended * p_action[action], out)
    for code in range(v.FIRST_CONTROL, v.LAST_CONTROL + 1):
        out[code] = ended * p_action[12 + code - v.FIRST_CONTROL]
    out[v.EOS] = ended * p_action[N_ACTIONS - 1]


def measure(
    model: Model,
    book: Book,
    past: Past,
    corrections: CorrectionColumns,
    steps: Steps,
    tokens: np.ndarray,
    states: np.ndarray,
    tick: int,
) -> Measured:
    """Return the probability of what came by each chain and view, to fit their shares to.

    Args:
      model: its shares are changed in place.
      book, past: at the start; changed in place.
      corrections, steps: of the record.
      tokens: int64 [T].
      states: int64 [T], of the grammar, before each token.
      tick: price quanta per tick.
    """
    count, views = len(steps.action), max(len(model.price.views), len(model.size.views))
    chain, digits = np.ones((5, count, MOST_CHAINS)), np.ones((2, count))
    measured = Measured(chain, digits, np.full((2, count, 2 + views, 2), -1.0))
    _measure(model, book, past, corrections, steps, tokens, states, tick, new_workspace(), measured)
    return measured


@in_place
def _measure(
    model: Model,
    book: Book,
    past: Past,
    corrections: CorrectionColumns,
    steps: Steps,
    tokens: np.ndarray,
    states: np.ndarray,
    tick: int,
    work: Workspace,
    measured: Measured,
) -> None:
    """Fill what `measure` returns."""
    chain, digits, view = measured
    items, p_action, gap, room, cursor = work.items, work.p_action, work.gap, work.number, 0
    for i in range(len(steps.action)):
        action, price, begin = steps.action[i], steps.price[i], steps.begin[i]
        state_items(book, past, tick, items)
        write_actions(model, items, room, p_action)
        _copy(room.each[:, action], chain[0, i])
        action_items(book, past, tick, action, items)
        price_items(book, past, action, 0, tokens[begin], items)
        at = begin + 1
        if action < 12:
            unit = unit_of(1 + action // 2, tick)
            far = distance_of(reference(book, 1 - 2 * (action % 2)), action % 2, price, unit)
            expect_price(model, book, past, tick, i, action, items, room)
            _copy(room.each[:, tokens[begin] % v.ASK_OFFSET], chain[1, i])
            _measure_views(model, model.price, book, past, tick, i, action, price, far, items, room, view[0, i])
            digits[0, i], at = _digits_by_chains(model, tokens, states, begin, items, room)
            expect_size(model, book, past, tick, i, action, price, tokens[begin], items, room)
            _copy(room.each[:, tokens[at] - v.SIZE], chain[2, i])
            _measure_views(
                model, model.size, book, past, tick, i, action, price, steps.size[i], items, room, view[1, i]
            )
            digits[1, i], at = _digits_by_chains(model, tokens, states, at, items, room)
        size_items(book, past, i, action, price, steps.size[i], items)
        while tokens[at] < v.TIME:
            at += 1
        for j in range(MOST_CHAINS):
            for mixture in (model.gap, model.fine):
                mixture.share[action] = 0
                mixture.share[action, min(j, len(mixture.chain) - 1)] = 1
            expect_gap(model, action, states[at], items, room, gap)
            total = 0.0
            for code in range(len(gap)):
                if model.code_class[code] == model.code_class[steps.gap[i]]:
                    total += gap[code]
            chain[3, i, j], chain[4, i, j] = total, gap[steps.gap[i]] / total
        cursor = take(book, past, corrections, cursor, i, steps, items[PLACE_NOW])


@inner
def _digits_by_chains(
    model: Model, tokens: np.ndarray, states: np.ndarray, first: int, items: np.ndarray, room: Room
) -> tuple[float, int]:
    """Return the probability by the chains alone of a number's tokens after its first, and the position after it."""
    note_lead(items, tokens[first])
    p, t = 1.0, first + 1
    while v.CONTINUATION <= tokens[t] < v.SIZE:
        chain_digits(model, states[t], items, room)
        p *= room.plain[tokens[t] - v.CONTINUATION]
        note_group(items, tokens[t])
        t += 1
    if model.choices[states[t], 0] > 0:
        chain_digits(model, states[t], items, room)
        p *= room.plain[v.CLASS_SIZE]
    return p, t


@inner
def _measure_views(
    model: Model,
    mixture: Mixture,
    book: Book,
    past: Past,
    tick: int,
    i: int,
    action: int,
    price: int,
    value: int,
    items: np.ndarray,
    room: Room,
    out: np.ndarray,
) -> None:
    """Set `out` [W, 2] to the probability that each view gives to a value, and to the one that it leaves to others."""
    for w in range(2 + len(mixture.views)):
        for k in range(2 + len(mixture.views)):
            mixture.use[action, k] = k == w
        suggest(model, mixture, book, past, tick, i, action, price, items, room)
        out[w, 0], out[w, 1] = 0, room.rest[0]
        for c in range(room.state[COUNT]):
            if room.value[c] == value:
                out[w, 0] += room.mass[c]
