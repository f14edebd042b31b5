"""The queue at the price that tokens spell so far, against the reference book in plain Python."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lob_jax.book.queue import QUEUE_NUMBERS, QueueColumn, recent_sizes
from lob_jax.errors import InputError
from lob_jax.events.halts import OPEN
from lob_jax.events.schema import ASK, BID, Kind
from lob_jax.tokens import vocabulary as v
from lob_jax.tokens.exact import ExactTokenizer
from lob_jax.tokens.numbers import number_code
from lob_jax.tokens.sets.streams import exact_queues, exact_sets, rules_of
from tests.tokens.sets.made import TICK, book, day_of, days, drawn
from tests.tokens.sets.reference import FAR, LOTS, Reference, parsed

EXACT = ExactTokenizer()
LAST_OF = {
    QueueColumn.ADDED: (Kind.ADD,),
    QueueColumn.REMOVED: (Kind.CANCEL, Kind.DELETE),
    QueueColumn.TRADED: (Kind.EXECUTE, Kind.EXECUTE_HIDDEN),
}


def queue_by_hand(reference, earlier):
    """Return the numbers of the queue at the price so far, and the last sizes of some earlier (kind, side, size)."""
    numbers = np.zeros(QUEUE_NUMBERS, int)
    kind = reference.spelt[0] // v.CLASS_SIZE
    if reference.taken or kind == 0:
        return numbers
    side = (BID, ASK)[reference.spelt[0] % v.CLASS_SIZE // v.ASK_OFFSET]
    for column, kinds in LAST_OF.items():
        numbers[column] = next((size for k, s, size in earlier[::-1] if s == side and k in kinds), 0)
    numbers[QueueColumn.LAST] = earlier[-1][2] if earlier else 0
    if kind > Kind.EXECUTE:
        return numbers
    distance, _ = parsed([*reference.spelt, v.SIZE])  # a price that has no further digits
    orders = reference.book.sides[side].get(reference.book.reference(side) - side * distance * TICK, [])
    lots = [order.size for order in orders]
    numbers[[QueueColumn.ORDERS, QueueColumn.LOTS]] = len(lots), sum(lots)
    for k, size in enumerate(lots[::-1][:3]):
        numbers[QueueColumn.BACK_1 + k] = size
    for k, size in enumerate(lots[:2]):
        numbers[QueueColumn.FRONT_1 + k] = size
    numbers[QueueColumn.DIVISIBLE] = max((order.size for order in orders if order.anonymous), default=0)
    return numbers


@settings(max_examples=40)
@given(day=days(), seed=st.integers(0, 2**32 - 1), time_digits=st.sampled_from([None, 2, 5]), ranks=st.booleans())
def test_the_queues_are_those_of_the_reference_book(day, seed, time_digits, ranks):
    rules = rules_of(day, gap_digits=time_digits or 12, ranks=ranks)._replace(most_distance=FAR, most_lots=LOTS)
    how = {"closed": OPEN, "time_digits": time_digits}
    tokens, _ = drawn(day, rules, np.random.default_rng(seed), escapes=0.1, **how)
    inside = exact_sets(tokens, day, rules, closed=OPEN).outside == 0
    found, reference = exact_queues(tokens, day, rules), Reference(day, rules, **how)
    assert found.shape == (len(tokens), QUEUE_NUMBERS)
    earlier, was_taken = [], True
    for row, token in enumerate(tokens.tolist()):
        reference.read(token, inside=inside[row])
        if reference.taken and not was_taken and reference.spelt[0] >= v.CLASS_SIZE:
            kind, side, _, size = reference.event_so_far()
            earlier.append((kind, side, min(size, 2**31 - 1)))
        was_taken = reference.taken
        expected = [number_code(number) for number in queue_by_hand(reference, earlier).tolist()]
        assert found[row].tolist() == expected, tokens[: row + 1]
    whole = np.array(earlier, np.int64).reshape(-1, 3)
    last = recent_sizes(*whole.T)
    for s, side in enumerate((BID, ASK)):
        for k, kinds in enumerate(LAST_OF.values()):
            assert last[s, k] == next((size for kind, of, size in earlier[::-1] if of == side and kind in kinds), 0)
        assert last[s, -1] == (earlier[-1][2] if earlier else 0)


def test_a_price_with_digits_shows_the_level_that_it_spells_so_far():
    """Asks at distances 0, 120 and 123; the head says 12x, and the digits decide."""
    asks = [(ASK, 100, 7, 0), (ASK, 220, 5, 0), (ASK, 220, 30, 0), (ASK, 223, 9, 0)]
    day = day_of(book((BID, 50, 1, 0), *asks))
    head = 1_000 * Kind.DELETE + v.ASK_OFFSET + int(number_code(120))
    tokens = [head, v.CONTINUATION + 300, v.SIZE + 9, v.TIME + 5, head, v.SIZE + 5, v.TIME + 5]
    shown = EXACT.queues(np.array(tokens), day)
    column = QueueColumn
    two = {column.ORDERS: 2, column.LOTS: number_code(35), column.BACK_1: number_code(30), column.BACK_2: 5}
    two |= {column.FRONT_1: 5, column.FRONT_2: number_code(30)}
    one = {column.ORDERS: 1, column.LOTS: 9, column.BACK_1: 9, column.FRONT_1: 9}
    none: dict = {}
    later = {column.REMOVED: 9, column.LAST: 9}
    for row, expected in enumerate([two, one, one, none, two | later, two | later, none]):
        assert {at: code for at, code in enumerate(shown[row].tolist()) if code} == expected, row


def test_bos_shows_nothing_and_is_counted():
    day = day_of(book((BID, 100, 5, 0), (ASK, 103, 7, 0)))
    tokens = np.array([1_000 * Kind.EXECUTE, v.SIZE + 5, v.TIME])
    plain, framed = EXACT.queues(tokens, day), EXACT.queues(np.array([v.BOS, *tokens, v.EOS, v.PAD]), day)
    np.testing.assert_array_equal(framed[1:4], plain)
    assert plain[0, QueueColumn.LOTS] == 5 and not framed[[0, 3, 4, 5]].any()


def test_what_is_wrong_with_a_stream_is_said():
    day = day_of(book((BID, 100, 5, 0), (ASK, 103, 7, 0)))
    with pytest.raises(InputError, match="token 1"):
        EXACT.queues(np.array([v.BOS, v.SIZE]), day)
    far = [v.CONTINUATION + 999] * 4
    head = 1_000 * Kind.ADD + v.DEEPER_ESCAPE + 9
    tokens = np.array([v.BOS, head, *far, v.CONTINUATION + 990, v.SIZE + 1, v.TIME])
    wide = dataclasses.replace(day, instrument=dataclasses.replace(day.instrument, tick=2**50))
    with pytest.raises(InputError, match="a decoded price is out of range") as refused:
        EXACT.queues(tokens, wide)
    assert refused.value.where == "token 8"
    assert not EXACT.queues(tokens[:-1], wide)[2:].any()  # no level is that far
