"""The prices that the next event may well name, against the reference book in plain Python."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lob_jax.book.anchors import AHEADS, ANCHORS, LEVELS, NO_PRICE, SIDE_ANCHORS, AnchorColumn, remembered_prices
from lob_jax.errors import InputError
from lob_jax.events.halts import OPEN
from lob_jax.events.schema import ASK, BID, Kind
from lob_jax.tokens import vocabulary as v
from lob_jax.tokens.exact import ExactTokenizer
from lob_jax.tokens.numbers import number_code, price_code, write_price
from lob_jax.tokens.sets.streams import exact_anchors, exact_sets, rules_of
from tests.tokens.sets.made import TICK, book, day_of, days, drawn
from tests.tokens.sets.reference import FAR, LOTS, Reference

EXACT = ExactTokenizer()
LAST_OF = {
    AnchorColumn.ADDED: (Kind.ADD,),
    AnchorColumn.REMOVED: (Kind.CANCEL, Kind.DELETE),
    AnchorColumn.TRADED: (Kind.EXECUTE,),
    AnchorColumn.HIDDEN: (Kind.EXECUTE_HIDDEN,),
}


ENDS = [AnchorColumn.REMOVED, AnchorColumn.TRADED, AnchorColumn.HIDDEN, AnchorColumn.AT_TRADE]


def last_prices(earlier, side, kinds):
    """Return the prices of some (kind, side, price), the last one first."""
    return [price for kind, of, price in earlier[::-1] if of == side and kind in kinds]


def anchors_by_hand(reference, earlier):
    """Return all columns."""
    codes = np.zeros(ANCHORS, int)

    def put(column, distance):
        if abs(distance) <= FAR:
            codes[column] = price_code(int(distance)) + 1

    sides = reference.book.sides
    for s, side in enumerate((BID, ASK)):
        first, origin = s * SIDE_ANCHORS, reference.book.reference(side)
        far = sorted(side * (origin - price) // TICK for price in sides[side])
        for k, distance in enumerate(far[:LEVELS]):
            put(first + AnchorColumn.LEVEL + k, distance)
            orders = [order.size for order in sides[side][origin - side * distance * TICK]]
            codes[first + AnchorColumn.ORDERS + k] = number_code(len(orders))
            codes[first + AnchorColumn.LOTS + k] = number_code(sum(orders))
        for k, distance in enumerate(far[1 : 1 + AHEADS]):
            put(first + AnchorColumn.AHEAD + k, distance - 1)
        for (column, kinds), end in zip(LAST_OF.items(), ENDS, strict=True):
            unit = 1 if column == AnchorColumn.HIDDEN else TICK
            for k, price in enumerate(last_prices(earlier, side, kinds)[: end - column]):
                put(first + column + k, side * (origin - price) // unit)
        for price in last_prices(earlier, side, (Kind.EXECUTE,))[:1]:
            put(first + AnchorColumn.AT_TRADE, side * (origin - price))
        if sides[BID] and sides[ASK]:
            put(first + AnchorColumn.MIDDLE, -((min(sides[ASK]) - max(sides[BID])) // 2))
    return codes


@settings(max_examples=40)
@given(day=days(), seed=st.integers(0, 2**32 - 1), time_digits=st.sampled_from([None, 2, 5]), ranks=st.booleans())
def test_the_anchors_are_those_of_the_reference_book(day, seed, time_digits, ranks):
    rules = rules_of(day, gap_digits=time_digits or 12, ranks=ranks)._replace(most_distance=FAR, most_lots=LOTS)
    how = {"closed": OPEN, "time_digits": time_digits}
    tokens, _ = drawn(day, rules, np.random.default_rng(seed), escapes=0.1, **how)
    inside = exact_sets(tokens, day, rules, closed=OPEN).outside == 0
    found, reference = exact_anchors(tokens, day, rules), Reference(day, rules, **how)
    earlier, rows, was_taken = [], [anchors_by_hand(reference, [])], True
    for row, token in enumerate(tokens.tolist()):
        before = {side: reference.book.reference(side) for side in (BID, ASK)}
        reference.read(token, inside=inside[row])
        if reference.taken and not was_taken:
            if reference.spelt[0] >= v.CLASS_SIZE:
                kind, side, price, _ = reference.event_so_far()  # with the reference price after the event
                earlier.append((kind, side, before[side] + price - reference.book.reference(side)))
            rows.append(anchors_by_hand(reference, earlier))
        was_taken = reference.taken
    events = (v.field_of(tokens) == v.FIELD_HEAD).sum()
    assert found.shape == (events + 1, ANCHORS)
    assert len(rows) in (events, events + 1)  # the last one may be incomplete
    np.testing.assert_array_equal(found[: len(rows)], rows)
    columns = np.array(earlier, np.int64).reshape(-1, 3).T
    for s, side in enumerate((BID, ASK)):
        for (column, kinds), end in zip(LAST_OF.items(), ENDS, strict=True):
            found = remembered_prices(*columns)[s, column - AnchorColumn.ADDED : end - AnchorColumn.ADDED]
            prices = last_prices(earlier, side, kinds)[: end - column]
            assert found.tolist() == prices + [NO_PRICE] * (end - column - len(prices))


def test_each_column_of_a_small_market():
    """In ticks: bids 50, 49 and 46, asks 53 and 59. Then an ADD, an EXECUTE of the best ask, and a hidden one."""
    quotes = [(BID, 50, 5), (BID, 49, 5), (BID, 46, 5), (ASK, 53, 7), (ASK, 59, 7)]
    day = day_of(book(*[(*quote, 0) for quote in quotes]))
    assert TICK == 5
    add = [1_000 * Kind.ADD + 2, v.SIZE + 9, v.TIME + 5]  # bid, two ticks deeper: 48
    trade = [1_000 * Kind.EXECUTE + v.ASK_OFFSET, v.SIZE + 7, v.TIME + 5]  # the whole best ask: 53
    better, between = v.BETTER_CODE - 1, v.BETTER_CODE - 1 + price_code(23)
    hidden = [1_000 * Kind.EXECUTE_HIDDEN + v.ASK_OFFSET + between, v.SIZE + 7, v.TIME + 5]  # ask, 4.6 ticks better
    column = AnchorColumn

    def shown(row):
        sides = EXACT.anchors(np.array([*add, *trade, *hidden]), day)[row].reshape(2, -1)
        prices = [{at: code - 1 for at, code in enumerate(side.tolist()[: column.ORDERS]) if code} for side in sides]
        return [prices, sides[:, column.ORDERS : column.ORDERS + 4].tolist(), sides[:, column.LOTS :][:, :4].tolist()]

    bids = {0: 0, 1: 1, 2: 4, column.AHEAD: 0, column.AHEAD + 1: 3, column.MIDDLE: better + 7}
    asks = {0: 0, 1: 6, column.AHEAD: 5, column.MIDDLE: better + 7}
    assert shown(0) == [[bids, asks], [[1, 1, 1, 0], [1, 1, 0, 0]], [[5, 5, 5, 0], [7, 7, 0, 0]]]
    bids |= {2: 2, 3: 4, column.AHEAD + 1: 1, column.AHEAD + 2: 3, column.ADDED: 2}
    assert shown(1) == [[bids, asks], [[1, 1, 1, 1], [1, 1, 0, 0]], [[5, 5, 9, 5], [7, 7, 0, 0]]]
    bids |= {column.MIDDLE: better + price_code(22)}
    asks = {0: 0, column.TRADED: better + 6, column.AT_TRADE: better + price_code(30)}
    asks |= {column.MIDDLE: better + price_code(22)}
    rests = [[[1, 1, 1, 1], [1, 0, 0, 0]], [[5, 5, 9, 5], [7, 0, 0, 0]]]
    assert shown(2) == [[bids, asks], *rests]
    assert shown(3) == [[bids, asks | {column.HIDDEN: between}], *rests]


@pytest.mark.parametrize("distance", [0, 7, 10, 99, 123, 4_567, 10**6, -1, -10, -999, -(10**5), 10**12, -(10**13)])
def test_a_price_code_is_the_one_that_is_written(distance):
    tokens = np.zeros(10, np.int64)
    write_price(tokens, 0, 0, distance)
    assert price_code(distance) == tokens[0]


def test_framing_tokens_are_no_events():
    day = day_of(book((BID, 100, 5, 0), (ASK, 103, 7, 0)))
    tokens = np.array([1_000 * Kind.EXECUTE, v.SIZE + 5, v.TIME])
    plain, framed = EXACT.anchors(tokens, day), EXACT.anchors(np.array([v.BOS, *tokens, v.EOS, v.PAD]), day)
    np.testing.assert_array_equal(framed, plain)
    assert plain.shape == (2, ANCHORS) and plain[0].any()


def test_what_is_wrong_with_a_stream_is_said():
    day = day_of(book((BID, 100, 5, 0), (ASK, 103, 7, 0)))
    with pytest.raises(InputError, match="token 1"):
        EXACT.anchors(np.array([v.BOS, v.SIZE]), day)
    far = [v.CONTINUATION + 999] * 4
    head = 1_000 * Kind.ADD + v.DEEPER_ESCAPE + 9
    tokens = np.array([v.BOS, head, *far, v.CONTINUATION + 990, v.SIZE + 1, v.TIME])
    wide = dataclasses.replace(day, instrument=dataclasses.replace(day.instrument, tick=2**50))
    with pytest.raises(InputError, match="a decoded price is out of range") as refused:
        EXACT.anchors(tokens, wide)
    assert refused.value.where == "token 8"
