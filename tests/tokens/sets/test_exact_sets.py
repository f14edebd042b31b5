"""The sets of exact tokens against brute force; causality; the reason of each escape; errors."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lob_jax.errors import InputError
from lob_jax.events.halts import CLOSED, OPEN, QUOTING
from lob_jax.events.schema import ASK, BID, Code, Events, Kind
from lob_jax.feeds.lobster.feed import LobsterFeed
from lob_jax.tokens import vocabulary as v
from lob_jax.tokens.bins import MOST_DISTANCE, MOST_LOTS
from lob_jax.tokens.exact import ExactTokenizer
from lob_jax.tokens.sets.escape import Escape
from lob_jax.tokens.sets.planes import unpack
from lob_jax.tokens.sets.streams import exact_sets, rules_of
from tests.tokens.sets.made import TICK, book, day_of, days, drawn
from tests.tokens.sets.reference import FAR, LOTS

EXACT = ExactTokenizer()
ADD, CANCEL, DELETE, EXECUTE, HIDDEN, CROSS = (kind for kind in Kind if kind < Kind.CONTROL)
# Bids 5 and 3 at 100, 8 unknown ones at 98; asks 7 at 103, 9 at 104.
ORDERS = [(BID, 100, 5, 0), (BID, 100, 3, 0), (BID, 98, 8, 1), (ASK, 103, 7, 0), (ASK, 104, 9, 0)]
INSIDE = Escape.INSIDE


def unpacked(sets):
    return unpack(sets.packed(np.arange(sets.rows)))


@settings(max_examples=40)
@given(
    day=days(),
    seed=st.integers(0, 2**32 - 1),
    closed=st.sampled_from([OPEN, QUOTING, CLOSED]),
    time_digits=st.sampled_from([None, 2, 5]),
    escapes=st.sampled_from([0.0, 0.1]),
    ranks=st.booleans(),
)
def test_the_sets_are_those_of_brute_force(day, seed, closed, time_digits, escapes, ranks):
    rules = rules_of(day, gap_digits=time_digits or 12, ranks=ranks)._replace(most_distance=FAR, most_lots=LOTS)
    how = {"closed": closed, "time_digits": time_digits, "escapes": escapes}
    tokens, expected = drawn(day, rules, np.random.default_rng(seed), **how)
    sets = exact_sets(tokens, day, rules, closed=closed)
    found = unpacked(sets)
    for row in range(len(tokens)):
        assert np.flatnonzero(found[row] != expected[row]).tolist() == [], tokens[: row + 1]
    np.testing.assert_array_equal(sets.outside == 0, expected[np.arange(len(tokens)), tokens])
    gaps = sets.first[1:].astype(int) - sets.last[:-1]
    gaps[sets.offset[1:-1] - 1] = 2  # between two rows
    assert (sets.first <= sets.last).all() and (gaps > 1).all()


@settings(max_examples=30)
@given(
    day=days(),
    seed=st.integers(0, 2**32 - 1),
    closed=st.sampled_from([OPEN, QUOTING, CLOSED]),
    escapes=st.sampled_from([0.0, 0.2]),
    ranks=st.booleans(),
    framed=st.booleans(),
)
def test_the_sets_of_some_tokens_are_those_among_all(day, seed, closed, escapes, ranks, framed):
    """From any token on: within events, behind escapes, halts and corrections, and on what frames a stream."""
    rng, rules = np.random.default_rng(seed), rules_of(day, gap_digits=12, ranks=ranks)
    rules = rules._replace(most_distance=FAR, most_lots=LOTS)
    tokens, _ = drawn(day, rules, rng, closed=closed, time_digits=None, escapes=escapes)
    if framed:
        tokens = np.concatenate([[v.BOS], tokens, [v.PAD]])
    whole = exact_sets(tokens, day, rules, closed=closed)
    for first in range(len(tokens) + 1):
        stop = int(rng.integers(first, len(tokens) + 1))
        some = exact_sets(tokens, day, rules, closed=closed, rows=(first, stop))
        for name, found, expected in zip(some._fields, some, whole.between(first, stop), strict=True):
            np.testing.assert_array_equal(found, expected, f"{name} of {first}..{stop}")
            assert found.dtype == expected.dtype


@settings(max_examples=15)
@given(day=days(), seed=st.integers(0, 2**32 - 1))
def test_a_set_depends_on_nothing_from_its_place_on(day, seed):
    """Cut the stream before any token, and put another one into its place: the sets up to there stay as they are."""
    rng, rules = np.random.default_rng(seed), rules_of(day, gap_digits=12)._replace(most_distance=FAR, most_lots=LOTS)
    tokens, _ = drawn(day, rules, rng, closed=OPEN, time_digits=None, escapes=0.1)
    whole = unpacked(exact_sets(tokens, day, rules, closed=OPEN))
    cut = int(rng.integers(len(tokens)))
    state = EXACT.grammar.walk(tokens[:cut].tolist())
    other = np.append(tokens[:cut], rng.choice(np.flatnonzero(EXACT.grammar.allowed[state])))
    known = dataclasses.replace(day, corrections=day.corrections.between(0, v.event_index(other)[-1] + 1))
    np.testing.assert_array_equal(unpacked(exact_sets(other, known, rules, closed=OPEN)), whole[: cut + 1])


def outcome(start, kind, side, ticks, size, *, closed=OPEN, signed=False):
    """Return why an event escapes from its set, as the first token outside says."""
    event = {"kind": kind, "side": side, "price": TICK * ticks, "size": size}
    day = day_of(start, signed=signed).with_events(Events.from_columns(**{n: np.array([x]) for n, x in event.items()}))
    return first_escape(day, closed=closed)


def first_escape(day, *, closed=OPEN):
    outside = EXACT.sets(EXACT.encode(day), day, closed=closed).outside
    return Escape(outside[np.argmax(outside > 0)])


@pytest.mark.parametrize(
    ("kind", "side", "ticks", "size", "reason"),
    [
        (EXECUTE, BID, 100, 5, INSIDE),
        (EXECUTE, BID, 100, 6, Escape.BEHIND_THE_FRONT),
        (EXECUTE, BID, 98, 1, Escape.BEHIND_THE_BEST),
        (EXECUTE, ASK, 104, 1, Escape.BEHIND_THE_BEST),
        (HIDDEN, BID, 103, 4, INSIDE),
        (HIDDEN, ASK, 101, 4, INSIDE),
        (HIDDEN, BID, 99, 4, Escape.OFF_THE_QUOTES),
        (HIDDEN, ASK, 104, 4, Escape.OFF_THE_QUOTES),
        (ADD, BID, 102, 4, INSIDE),
        (ADD, BID, 103, 4, Escape.CROSSING),
        (ADD, ASK, 100, 4, Escape.CROSSING),
        (ADD, BID, 1, 4, INSIDE),
        (ADD, BID, 0, 4, Escape.BELOW_THE_LOWEST_PRICE),
        (ADD, ASK, 103 + MOST_DISTANCE, 4, INSIDE),
        (ADD, ASK, 104 + MOST_DISTANCE, 4, Escape.TOO_FAR),
        (ADD, BID, 99, MOST_LOTS, INSIDE),
        (ADD, BID, 100, MOST_LOTS - 8, INSIDE),
        (ADD, BID, 100, MOST_LOTS - 7, Escape.TOO_MANY_LOTS),
        (CANCEL, BID, 100, 4, INSIDE),
        (CANCEL, BID, 100, 5, Escape.NOT_A_PART),
        (CANCEL, BID, 99, 1, Escape.NO_LEVEL),
        (DELETE, BID, 100, 3, INSIDE),
        (DELETE, BID, 100, 5, INSIDE),
        (DELETE, BID, 100, 4, Escape.NO_SUCH_ORDER),
        (DELETE, BID, 98, 7, INSIDE),
        (DELETE, BID, 98, 8, INSIDE),
        (DELETE, BID, 98, 9, Escape.NO_SUCH_ORDER),
        (DELETE, ASK, 150, 9, Escape.NO_LEVEL),
        (CROSS, ASK, 1, MOST_LOTS, INSIDE),
        (CROSS, ASK, 1, MOST_LOTS + 1, Escape.TOO_MANY_LOTS),
        (CROSS, BID, 0, 1, Escape.BELOW_THE_LOWEST_PRICE),
        (CROSS, BID, 100, 0, Escape.NO_SIZE),
    ],
)
def test_the_reason_of_an_escape(kind, side, ticks, size, reason):
    assert outcome(book(*ORDERS), kind, side, ticks, size) == reason


def test_an_order_behind_a_full_window_is_out_of_view():
    start = book(*ORDERS, window=2)
    assert outcome(start, ADD, BID, 97, 4) == Escape.OUT_OF_VIEW
    assert outcome(start, ADD, BID, 98, 4) == outcome(start, ADD, BID, 99, 4) == INSIDE
    assert outcome(book(*ORDERS, window=3), ADD, BID, 97, 4) == INSIDE


def test_a_pooled_level_is_one_order():
    start = book(*ORDERS[:1], (BID, 98, 8, 1), *ORDERS[3:], pooled=True)
    assert outcome(start, DELETE, BID, 98, 8) == outcome(start, CANCEL, BID, 98, 7) == INSIDE
    assert outcome(start, DELETE, BID, 98, 7) == Escape.NO_SUCH_ORDER


def test_signed_prices_may_be_zero_and_below():
    for kind, side, ticks in [(ADD, BID, 0), (ADD, BID, -3), (CROSS, BID, -3), (CROSS, ASK, 0)]:
        assert outcome(book(*ORDERS), kind, side, ticks, 1, signed=True) == INSIDE


def test_on_an_empty_side():
    start = book(*ORDERS[3:])
    assert outcome(start, EXECUTE, BID, 100, 1) == Escape.NO_LEVEL
    assert outcome(start, HIDDEN, ASK, 103, 1) == Escape.OFF_THE_QUOTES
    assert outcome(start, ADD, BID, 50, 1) == outcome(start, CROSS, BID, 50, 1) == INSIDE


@pytest.mark.parametrize(
    ("kind", "excluded"),
    [(ADD, [CLOSED]), (CANCEL, [CLOSED]), (DELETE, [CLOSED])]
    + [(kind, [QUOTING, CLOSED]) for kind in (EXECUTE, HIDDEN, CROSS)],
)
def test_a_halt_excludes_trades_and_then_orders(kind, excluded):
    size = {CANCEL: 4, ADD: 1, CROSS: 1}.get(kind, 5)
    found = {closed: outcome(book(*ORDERS), kind, BID, 100, size, closed=closed) for closed in (OPEN, QUOTING, CLOSED)}
    assert found == {closed: Escape.IN_A_HALT if closed in excluded else INSIDE for closed in found}


def control_day(*codes, gaps=None):
    """Return a day of CONTROL events."""
    columns = {"kind": np.full(len(codes), Kind.CONTROL), "code": np.array(codes)}
    time_ns = np.cumsum(np.ones(len(codes), int) if gaps is None else gaps)
    return day_of(book(*ORDERS)).with_events(Events.from_columns(time_ns=time_ns, **columns))


def test_halts_follow_each_other_and_the_session_does_as_it_likes():
    open_, quote, halt, trade = Code.SESSION_OPEN, Code.RESUME_QUOTE, Code.HALT, Code.RESUME_TRADE
    assert first_escape(control_day(open_, halt, quote, trade, halt, trade, Code.FEED_GAP)) == INSIDE
    assert first_escape(control_day(quote, halt, trade)) == Escape.NOT_THE_NEXT_HALT
    for closed, code in [(OPEN, quote), (OPEN, trade), (QUOTING, quote), (CLOSED, halt)]:
        assert first_escape(control_day(code), closed=closed) == Escape.NOT_THE_NEXT_HALT
    assert first_escape(control_day(Code.CLEAR)) == Escape.CLEARED


def test_time_never_runs_backwards():
    day = control_day(Code.FEED_GAP, Code.FEED_GAP, gaps=[5, -3])
    tokens = EXACT.encode(day)
    sets = EXACT.sets(tokens, day)
    assert sets.outside.tolist() == [Escape.TIME_BACK if token == v.TIME_BACK else 0 for token in tokens]


def test_behind_an_escape_the_grammar_decides_until_the_book_has_the_event():
    day = day_of(book(*ORDERS))
    far = v.ASK_OFFSET + 1000 * EXECUTE + 25  # an execution of 25 ticks behind the best
    tokens = np.array([far, v.SIZE + 0, v.TIME + 125, v.CONTINUATION + 100])
    EXACT.grammar.walk(tokens)
    sets, allowed = EXACT.sets(tokens, day), EXACT.grammar.allowed
    rows, start = unpacked(sets), EXACT.grammar.start
    assert sets.outside.tolist() == [Escape.BEHIND_THE_BEST, 0, 0, 0]
    for row in (1, 2):
        np.testing.assert_array_equal(rows[row], allowed[EXACT.grammar.walk(tokens[:row].tolist())])
    np.testing.assert_array_equal(rows[3][: v.CONTINUATION], rows[0][: v.CONTINUATION])
    np.testing.assert_array_equal(rows[0][v.CONTINUATION :], allowed[start][v.CONTINUATION :])
    assert rows[3][v.CONTINUATION + 100] and not rows[3][v.CONTINUATION]


def test_framing_tokens_have_sets_too():
    day = control_day(Code.HALT)
    tokens = EXACT.encode(day)
    framed = np.concatenate([[v.BOS], tokens, [v.EOS, v.PAD, v.PAD]])
    rows, inner = unpacked(EXACT.sets(framed, day)), unpacked(EXACT.sets(tokens, day))
    assert np.flatnonzero(rows[0]).tolist() == [v.BOS] and np.flatnonzero(rows[-1]).tolist() == [v.PAD]
    np.testing.assert_array_equal(rows[1 : 1 + len(tokens)], inner)
    assert rows[-3][v.EOS] and not rows[-3][v.PAD] and not EXACT.sets(framed, day).outside.any()
    assert EXACT.sets(tokens[:0], day).rows == 0


def test_what_is_wrong_with_a_stream_is_said():
    day = day_of(book(*ORDERS))
    with pytest.raises(InputError, match="token 1"):
        EXACT.sets(np.array([v.BOS, v.SIZE]), day)
    with pytest.raises(InputError, match="corrections do not follow"):
        EXACT.sets(np.zeros(0, int), day_of(book(*ORDERS), [(0, BID, 99, 5)]))
    far = [v.CONTINUATION + 999] * 4
    tokens = np.array([1000 * ADD + v.DEEPER_ESCAPE + 9, *far, v.CONTINUATION + 990, v.SIZE + 1, v.TIME])
    wide = dataclasses.replace(day, instrument=dataclasses.replace(day.instrument, tick=2**50))
    with pytest.raises(InputError, match="a decoded price is out of range") as refused:
        EXACT.sets(tokens, wide)
    assert refused.value.where == "token 7"
    event = np.array([1000 * ADD, v.SIZE + 1, v.TIME])
    for rows in ((1, 11), (10, 11)):  # the price in question is found among them, and before them
        with pytest.raises(InputError, match="a decoded price is out of range") as refused:
            EXACT.sets(np.concatenate([tokens, event]), wide, rows=rows)
        assert refused.value.where == "token 7"


@pytest.mark.slow
@pytest.mark.parametrize("levels", [1, 10])
def test_few_events_of_a_real_day_escape(market_data, levels):
    day = LobsterFeed().read(market_data(f"lobster/GOOG_2012-06-21_34200000_57600000_message_{levels}.csv.gz"))
    tokens = EXACT.encode(day)
    sets = EXACT.sets(tokens, day)
    outside = np.unique(v.event_index(tokens)[sets.outside > 0])
    assert len(outside) < 0.05 * len(day.events)
    rows = np.random.default_rng(0).integers(0, len(tokens), 2_000)
    np.testing.assert_array_equal(sets.contains(rows, tokens[rows]), sets.outside[rows] == 0)
