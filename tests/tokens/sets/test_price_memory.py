"""What last happened at the price that tokens spell so far, against the reference book in plain Python."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lob_jax.book.price_memory import PAST_EVENTS, PRICE_MEMORIES, PastColumn, PriceMemoryColumn, past_events
from lob_jax.errors import InputError
from lob_jax.events.halts import OPEN
from lob_jax.events.schema import ASK, BID, Kind
from lob_jax.tokens import vocabulary as v
from lob_jax.tokens.exact import ExactTokenizer
from lob_jax.tokens.numbers import number_code
from lob_jax.tokens.sets.streams import exact_price_memory, exact_sets, rules_of
from tests.tokens.sets.made import TICK, book, day_of, days, drawn
from tests.tokens.sets.reference import FAR, LOTS, Reference, parsed

EXACT = ExactTokenizer()


def memory_by_hand(reference, earlier):
    """Return what some earlier (kind, side, price, size) say of the price so far, by column."""
    numbers = np.zeros(PRICE_MEMORIES, int)
    kind = reference.spelt[0] // v.CLASS_SIZE
    if reference.taken or not Kind.ADD <= kind <= Kind.EXECUTE:
        return numbers
    side = (BID, ASK)[reference.spelt[0] % v.CLASS_SIZE // v.ASK_OFFSET]
    distance, _ = parsed([*reference.spelt, v.SIZE])  # a price that has no further digits
    price = reference.book.reference(side) - side * distance * TICK
    newest = earlier[::-1][:PAST_EVENTS]
    here = [(k, size, back) for back, (k, s, at, size) in enumerate(newest, 1) if (s, at) == (side, price) and k <= 4]
    numbers[PriceMemoryColumn.ADDED] = next((size for k, size, _ in here if k == Kind.ADD), 0)
    numbers[PriceMemoryColumn.REMOVED] = next((size for k, size, _ in here if k != Kind.ADD), 0)
    if here:
        numbers[PriceMemoryColumn.KIND], numbers[PriceMemoryColumn.SINCE] = here[0][0], here[0][2]
    return numbers


@settings(max_examples=40)
@given(day=days(), seed=st.integers(0, 2**32 - 1), time_digits=st.sampled_from([None, 2, 5]), ranks=st.booleans())
def test_the_memory_is_that_of_the_events_before(day, seed, time_digits, ranks):
    rules = rules_of(day, gap_digits=time_digits or 12, ranks=ranks)._replace(most_distance=FAR, most_lots=LOTS)
    how = {"closed": OPEN, "time_digits": time_digits}
    tokens, _ = drawn(day, rules, np.random.default_rng(seed), escapes=0.1, **how)
    inside = exact_sets(tokens, day, rules, closed=OPEN).outside == 0
    found, reference = exact_price_memory(tokens, day, rules), Reference(day, rules, **how)
    assert found.shape == (len(tokens), PRICE_MEMORIES)
    earlier, was_taken = [], True
    for row, token in enumerate(tokens.tolist()):
        before = {side: reference.book.reference(side) for side in (BID, ASK)}
        reference.read(token, inside=inside[row])
        if reference.taken and not was_taken:
            is_event = reference.spelt[0] >= v.CLASS_SIZE
            kind, side, price, size = reference.event_so_far() if is_event else (Kind.CONTROL, BID, 0, 0)
            price += before[side] - reference.book.reference(side)  # it was told by the reference after the event
            earlier.append((kind, side, price, min(size, 2**31 - 1)))
        was_taken = reference.taken
        expected = [number_code(number) for number in memory_by_hand(reference, earlier).tolist()]
        assert found[row].tolist() == expected, tokens[: row + 1]


def test_a_price_with_digits_shows_what_happened_at_what_it_spells_so_far():
    """Asks from 100 on; heads say 12x, and the digits decide on 120 or 123."""
    day = day_of(book((BID, 50, 1, 0), (ASK, 100, 7, 0)))
    of_adds, of_deletes = (1_000 * kind + v.ASK_OFFSET + int(number_code(120)) for kind in (Kind.ADD, Kind.DELETE))
    digits, gap = v.CONTINUATION + 300, v.TIME + 5
    none: dict = {}
    added = {"ADDED": 9, "KIND": Kind.ADD, "SINCE": 1}
    removed = {"ADDED": 9, "REMOVED": 9, "KIND": Kind.DELETE, "SINCE": 3}
    shorter = {"ADDED": 8, "KIND": Kind.ADD, "SINCE": 1}
    events = [
        ([of_adds, digits, v.SIZE + 9, gap], [none] * 4),
        ([of_deletes, digits, v.SIZE + 9, gap], [none, added, added, none]),
        ([1_000 * Kind.ADD + 1, v.SIZE + 4, gap], [none] * 3),
        ([of_adds, v.SIZE + 8, gap], [none] * 3),
        ([of_adds, digits, v.SIZE + 7, gap], [shorter, removed, removed, none]),
    ]
    found = EXACT.price_memory(np.array([token for spelt, _ in events for token in spelt]), day)
    for row, told in enumerate(told for _, rows in events for told in rows):
        expected = {int(PriceMemoryColumn[name]): int(code) for name, code in told.items()}
        assert {at: code for at, code in enumerate(found[row].tolist()) if code} == expected, row


@pytest.mark.parametrize(("between", "remembers"), [(PAST_EVENTS - 1, True), (PAST_EVENTS, False)])
def test_an_event_is_forgotten_after_so_many_others(between, remembers):
    day = day_of(book((BID, 100, 5, 0), (ASK, 103, 7, 0)))
    there, elsewhere = ([1_000 * Kind.ADD + far, v.SIZE + 3, v.TIME + 1] for far in (5, 4))
    tokens = np.array([*there, *elsewhere * between, *there])
    shown = EXACT.price_memory(tokens, day)[-3]
    since = int(number_code(PAST_EVENTS))
    assert shown.tolist() == ([3, 0, Kind.ADD, since] if remembers else [0] * PRICE_MEMORIES)


def test_each_side_has_a_memory_of_its_own():
    """A bid at the price of the best ask, then an ask there, and another."""
    day = day_of(book((BID, 100, 5, 0), (ASK, 103, 7, 0)))
    bid, ask = 1_000 * Kind.ADD + v.BETTER_CODE + 2, 1_000 * Kind.ADD + v.ASK_OFFSET
    tokens = np.array([bid, v.SIZE + 3, v.TIME, ask, v.SIZE + 4, v.TIME, ask, v.SIZE + 5, v.TIME])
    shown = EXACT.price_memory(tokens, day)[[0, 3, 6]]
    assert shown.tolist() == [[0] * 4, [0] * 4, [4, 0, Kind.ADD, 1]]


def test_no_token_changes_what_stands_before_it():
    """A stream that is cut after any token shows the same up to there."""
    day = day_of(book((BID, 100, 5, 0), (BID, 98, 4, 0), (ASK, 103, 7, 0)))
    rules = rules_of(day, gap_digits=12)._replace(most_distance=FAR, most_lots=LOTS)
    tokens, _ = drawn(day, rules, np.random.default_rng(5), closed=OPEN, time_digits=None, escapes=0, most=120)
    whole = exact_price_memory(tokens, day, rules)
    assert whole.any(0).all()
    for cut in range(len(tokens)):
        np.testing.assert_array_equal(exact_price_memory(tokens[:cut], day, rules), whole[:cut])


def test_bos_shows_nothing_and_is_counted():
    day = day_of(book((BID, 100, 5, 0), (ASK, 103, 7, 0)))
    tokens = np.array([1_000 * Kind.EXECUTE, v.SIZE + 2, v.TIME] * 2)
    plain, framed = EXACT.price_memory(tokens, day), EXACT.price_memory(np.array([v.BOS, *tokens, v.EOS, v.PAD]), day)
    np.testing.assert_array_equal(framed[1:7], plain)
    assert plain[3].tolist() == [0, 2, Kind.EXECUTE, 1] and not framed[[0, 6, 7, 8]].any()


def test_what_is_wrong_with_a_stream_is_said():
    day = day_of(book((BID, 100, 5, 0), (ASK, 103, 7, 0)))
    with pytest.raises(InputError, match="token 1"):
        EXACT.price_memory(np.array([v.BOS, v.SIZE]), day)
    head, far = 1_000 * Kind.ADD + v.DEEPER_ESCAPE + 9, [v.CONTINUATION + 999] * 4
    tokens = np.array([v.BOS, head, *far, v.CONTINUATION + 990, v.SIZE + 1, v.TIME])
    wide = dataclasses.replace(day, instrument=dataclasses.replace(day.instrument, tick=2**50))
    with pytest.raises(InputError, match="a decoded price is out of range") as refused:
        EXACT.price_memory(tokens, wide)
    assert refused.value.where == "token 8"


def test_the_past_is_of_the_last_events_newest_first():
    kind = np.array([Kind.ADD, Kind.EXECUTE_HIDDEN, Kind.CONTROL, Kind.EXECUTE])
    columns = {
        "side": np.array([BID, ASK, 0, ASK]),
        "price": np.array([5, 6, 0, -7]),
        "size": np.array([9, 8, 0, 2**40]),
    }
    past = past_events(kind, **columns)
    assert past[:, :5].T.tolist() == [
        [2 * Kind.EXECUTE + 1, -7, 2**31 - 1],
        *[[0] * 3] * 2,
        [2 * Kind.ADD, 5, 9],
        [0] * 3,
    ]
    many = past_events(np.full(900, Kind.ADD), np.full(900, BID), np.arange(900), np.full(900, 1))
    np.testing.assert_array_equal(many[PastColumn.PRICE], 899 - np.arange(PAST_EVENTS))
