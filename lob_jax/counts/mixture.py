"""How the chains of a decision are mixed with the values that the book suggests."""

import enum
from typing import NamedTuple

import numpy as np

from lob_jax.book.kernel import reference
from lob_jax.book.orders import Book
from lob_jax.counts.candidates import ABSENT, MOST_ORDERS, MOST_SLOTS, N_SLOTS, fill_slots, weigh_orders
from lob_jax.counts.schemes import VIEW
from lob_jax.counts.tables import Tables, spread
from lob_jax.counts.watch import CANCEL, DELETE, Past, distance_of, unit_of
from lob_jax.jit import inner
from lob_jax.tokens import numbers
from lob_jax.tokens import vocabulary as v

N_ACTIONS = 20  # kinds and sides, CONTROL codes, and the end of the stream
N_CLASSES = 56  # of gaps: those of the codes, TIME_SKIP, TIME_BACK
GAP_CODES = v.CLASS_SIZE + 2
MOST_CHAINS = 10
MOST_VALUES = 7 * MOST_SLOTS + MOST_ORDERS
SPELLED = 7  # tokens of the longest number, and an end
PRICE_FIELD, SIZE_FIELD = 0, 1


class Mixture(NamedTuple):
    """The chains of one decision, and their shares.

    Attributes:
      chain: int64 [J].
      share: float64 [B, J], by action.
      views: int64 [W, 2], each a `View` and the chain of its slots; rows only for prices and sizes.
      use: float64 [B, 2 + W], shares of the chains above, of the orders' weights, and of the views.
    """

    chain: np.ndarray
    share: np.ndarray
    views: np.ndarray
    use: np.ndarray


class Model(NamedTuple):
    """Everything that was fitted, and the grammar.

    Attributes:
      tables: the counts.
      action, price, size, gap, fine: how their chains are mixed.
      end, group: the chains of further digits.
      rates: float64 [2, N_WEIGHTS], see `weigh_orders`.
      transition: int16 [S, V], of the grammar.
      choices: int64 [S, 2], how many digit groups and how many other tokens a state allows.
      code_class: int64 [1002], the class of a gap's code, of TIME_SKIP and of TIME_BACK.
    """

    tables: Tables
    action: Mixture
    price: Mixture
    size: Mixture
    gap: Mixture
    fine: Mixture
    end: int
    group: int
    rates: np.ndarray
    transition: np.ndarray
    choices: np.ndarray
    code_class: np.ndarray


class Room(NamedTuple):
    """Memory of the functions below.

    Attributes:
      each: float64 [MOST_CHAINS, 1002], the distribution of each chain.
      plain: float64 [1002], their mixture.
      base: float64 [1002], the distribution without counts.
      slots, slot_p: [MOST_SLOTS] and [MOST_SLOTS + 1], a view's values and their probabilities.
      found, weight: see `weigh_orders`.
      value: int64 [C], suggested values; spelled: int64 [C, SPELLED], their tokens; mass: float64 [C].
      state: int64 [3]: number of suggested values, the field, tokens of the number so far.
      rest: float64 [1], the probability of all values by the chains alone, given the tokens so far.
    """

    each: np.ndarray
    plain: np.ndarray
    base: np.ndarray
    slots: np.ndarray
    slot_p: np.ndarray
    found: np.ndarray
    weight: np.ndarray
    value: np.ndarray
    spelled: np.ndarray
    mass: np.ndarray
    state: np.ndarray
    rest: np.ndarray


class State(enum.IntEnum):
    """The columns of `Room.state`."""

    COUNT = 0
    FIELD = 1
    DONE = 2


COUNT, FIELD, DONE = (int(one) for one in State)


def new_room() -> Room:
    """Return memory."""
    return Room(
        each=np.zeros((MOST_CHAINS, 1002)),
        plain=np.zeros(1002),
        base=np.zeros(1002),
        slots=np.zeros(MOST_SLOTS, np.int64),
        slot_p=np.zeros(MOST_SLOTS + 1),
        found=np.zeros((MOST_ORDERS, 3), np.int64),
        weight=np.zeros(MOST_ORDERS),
        value=np.zeros(MOST_VALUES, np.int64),
        spelled=np.zeros((MOST_VALUES, SPELLED), np.int64),
        mass=np.zeros(MOST_VALUES),
        state=np.zeros(3, np.int64),
        rest=np.zeros(1),
    )


@inner
def mix_chains(
    tables: Tables, mixture: Mixture, bucket: int, start: int, items: np.ndarray, room: Room, n: int
) -> None:
    """Set `room.plain[:n]` to the mixture of the chains, each from `room.base[:n]`."""
    for s in range(n):
        room.plain[s] = 0
    for j in range(len(mixture.chain)):
        p = room.each[j, :n]
        for s in range(n):
            p[s] = room.base[s]
        spread(tables, mixture.chain[j], start, items, p)
        share = mixture.share[bucket, j]
        for s in range(n):
            room.plain[s] += share * p[s]


@inner
def view_slots(
    model: Model,
    book: Book,
    past: Past,
    tick: int,
    view: int,
    chain: int,
    action: int,
    price: int,
    items: np.ndarray,
    room: Room,
) -> int:
    """Set `room.slots` and `room.slot_p` to a view's values and their probabilities; return the number of slots.

    The probability after the last slot's is that of all other values.
    """
    n = N_SLOTS[view]
    slots, p = room.slots[:n], room.slot_p[: n + 1]
    filled = fill_slots(book, past, tick, view, action, price, slots)
    for k in range(n + 1):
        p[k] = 1 / (filled + 1) if k == n or slots[k] != ABSENT else 0.0
    spread(model.tables, chain, VIEW + view, items, p)
    total = 0.0
    for k in range(n + 1):
        if k < n and slots[k] == ABSENT:
            p[k] = 0
        total += p[k]
    for k in range(n + 1):
        p[k] /= total
    return n


@inner
def spell(field: int, value: int, head: int, tokens: np.ndarray) -> None:
    """Write the tokens of a price's distance or of a size, followed by -1."""
    if field == PRICE_FIELD:
        at = numbers.write_price(tokens, 0, head, value)
    else:
        at = numbers.write_number(tokens, 0, v.SIZE, value)
    tokens[at] = -1


@inner
def suggest(
    model: Model,
    mixture: Mixture,
    book: Book,
    past: Past,
    tick: int,
    i: int,
    action: int,
    price: int,
    items: np.ndarray,
    room: Room,
) -> None:
    """Collect the values that the views suggest, with their probabilities, and that of the chains."""
    use = mixture.use[action]
    size = room.state[FIELD] == SIZE_FIELD
    s, kind = action % 2, 1 + action // 2
    origin, unit = reference(book, 1 - 2 * s), unit_of(kind, tick)
    count, rest = 0, use[0]
    if use[1] > 0 and ((kind == CANCEL and not size) or kind == DELETE):
        n = weigh_orders(book, past, i, s, model.rates[kind - CANCEL], room.found, room.weight)
        here = 0.0
        for j in range(n):
            if not size or room.found[j, 0] == price:
                here += room.weight[j]
        for j in range(n):
            if here > 0 and (not size or room.found[j, 0] == price):
                room.value[count] = room.found[j, 1] if size else distance_of(origin, s, room.found[j, 0], unit)
                room.mass[count] = use[1] * room.weight[j] / here
                count += 1
        if here == 0:
            rest += use[1]
    else:
        rest += use[1]
    for w in range(len(mixture.views)):
        if use[2 + w] == 0:
            continue
        n = view_slots(model, book, past, tick, mixture.views[w, 0], mixture.views[w, 1], action, price, items, room)
        rest += use[2 + w] * room.slot_p[n]
        for k in range(n):
            if room.slot_p[k] > 0:
                room.value[count], room.mass[count] = room.slots[k], use[2 + w] * room.slot_p[k]
                count += 1
    head = v.CLASS_SIZE * kind + v.ASK_OFFSET * s
    for c in range(count):
        spell(room.state[FIELD], room.value[c], head, room.spelled[c])
    room.state[COUNT], room.state[DONE], room.rest[0] = count, 0, rest
