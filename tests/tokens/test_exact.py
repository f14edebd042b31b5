"""`ExactTokenizer` against hand-made tokens, adversarial streams, and real days."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lob_jax.book.replay import replay
from lob_jax.book.snapshot import BookSnapshot, Corrections
from lob_jax.errors import InputError
from lob_jax.events.instrument import Instrument
from lob_jax.events.schema import ASK, BID, Code, Events, Flag, Kind
from lob_jax.feeds.lobster.feed import LobsterFeed
from lob_jax.tokens import exact
from lob_jax.tokens import vocabulary as v
from lob_jax.tokens.compiled import Refusal
from lob_jax.tokens.exact import ExactTokenizer
from lob_jax.tokens.numbers import SKIP_NS
from tests.market_day import market_day

PENNY = Instrument("X", "TEST", "2024-03-04", tick=100)
CONTENT = ("time_ns", "kind", "code", "side", "price", "size")
CLOCK = 1_340_285_400_000_000_000

# Bids 1000 x 5 and 997 x 8 ticks, asks 1002 x 7 and 1004 x 9.
START = BookSnapshot(
    time_ns=CLOCK,
    side=np.array([1, 1, -1, -1], np.int8),
    price=np.array([100_000, 99_700, 100_200, 100_400]),
    size=np.array([5, 8, 7, 9]),
    order_id=np.zeros(4, np.uint64),
    anonymous=np.zeros(4, bool),
    last_best=np.array([100_000, 100_200]),
)


def events_of(*rows, clock=CLOCK):
    """Build events from rows (gap, kind, side, price, size), or (gap, code) for CONTROL."""
    full = [row if len(row) == 5 else (row[0], Kind.CONTROL, 0, 0, 0) for row in rows]
    code = [row[1] if len(row) == 2 else 0 for row in rows]
    columns = np.array(full, np.int64).reshape(-1, 5).T
    return Events.from_columns(
        time_ns=clock + np.cumsum(columns[0]), kind=columns[1], code=np.array(code, np.int64), side=columns[2],
        price=columns[3], size=columns[4],
    )  # fmt: skip


def corrections_of(*rows):
    columns = np.array(rows, np.int64).reshape(-1, 4).T
    return Corrections(columns[0].copy(), columns[1].astype(np.int8), columns[2].copy(), columns[3].copy())


def encode(events, *, digits=None, start=START, corrections=None, instrument=PENNY):
    day = market_day(events, start=start, corrections=corrections, instrument=instrument)
    return ExactTokenizer(digits).encode(day)


def decode(tokens, *, digits=None, start=START, corrections=None, instrument=PENNY):
    day = market_day(Events.from_columns(), start=start, corrections=corrections, instrument=instrument)
    return ExactTokenizer(digits).decode(tokens, day)


def assert_same(got, expected, columns=CONTENT):
    for name in columns:
        np.testing.assert_array_equal(getattr(got, name), getattr(expected, name), err_msg=name)


GOLDEN = [
    ((7, Kind.ADD, BID, 100_100, 100), [1280, 8100, 9007]),  # one tick better; the best bid is 1001 from here on
    ((0, Kind.ADD, BID, 100_000, 105), [1001, 8100, 7500, 9000]),
    ((120_000, Kind.EXECUTE, BID, 100_100, 100), [4000, 8100, 9372]),  # 1001 goes: the best is 1000 again
    ((1, Kind.DELETE, BID, 99_700, 8), [3003, 8008, 9001]),
    ((1, Kind.EXECUTE_HIDDEN, ASK, 100_150, 1), [5500 + 280 + 49, 8001, 9001]),  # 50 quanta better than 1002 ticks
    ((1, Kind.ADD, ASK, 100_100_200, 10**11), [1971, 7100, 8910, 9001]),  # a stub quote a million ticks away
    ((-5, Kind.CANCEL, ASK, 100_400, 4), [2502, 8004, 7, 9005]),
    ((3 * SKIP_NS, Code.HALT), [11, 6, 6, 6, 9000]),
    ((0, Code.CLEAR), [14, 9000]),
    ((1, Kind.ADD, ASK, 100_300, 2), [1501, 8002, 9001]),  # an empty side counts from its last best
    ((0, Kind.ADD, ASK, 100_400, 1), [1501, 8001, 9000]),  # and now from 1003: the ask at 1002 went with CLEAR
]


def test_hand_made_events_have_hand_made_tokens():
    events = events_of(*(row for row, _ in GOLDEN))
    tokens = encode(events)
    assert tokens.tolist() == [token for _, part in GOLDEN for token in part]
    assert tokens.dtype == np.uint16
    decoded = decode(tokens)
    assert_same(decoded, events)
    assert decoded.flags.tolist() == [int(Flag.BAD_TIME) if row[0] < 0 else 0 for row, _ in GOLDEN]
    assert decoded.sequence.tolist() == list(range(len(GOLDEN)))


def test_prices_count_from_the_other_side_or_from_zero_where_a_side_has_no_history():
    empty = BookSnapshot.empty(CLOCK)
    events = events_of((0, Kind.ADD, ASK, 700, 1), (0, Kind.ADD, BID, 500, 1))
    tokens = encode(events, start=empty)
    assert tokens.tolist() == [1507, 8001, 9000, 1002, 8001, 9000]
    assert_same(decode(tokens, start=empty), events)


def test_a_correction_takes_effect_after_its_event_and_is_no_token():
    events = events_of((1, Kind.ADD, BID, 100_000, 1), (1, Kind.ADD, BID, 100_000, 1))
    corrections = corrections_of((0, BID, 100_100, 3))
    tokens = encode(events, corrections=corrections)
    assert tokens.tolist() == [1000, 8001, 9001, 1001, 8001, 9001]
    assert_same(decode(tokens, corrections=corrections), events)
    assert decode(tokens).price.tolist() == [100_000, 99_900]


def test_order_ids_change_no_token():
    rows = [(1, Kind.ADD, BID, 100_100, 4), (1, Kind.ADD, BID, 100_100, 4), (1, Kind.DELETE, BID, 100_100, 4)]
    named = events_of(*rows, (1, Kind.EXECUTE, BID, 100_100, 4)).replace(order_id=np.array([1, 2, 1, 2], np.uint64))
    anonymous = named.replace(order_id=np.zeros(4, np.uint64))
    assert encode(named).tolist() == encode(anonymous).tolist()


def test_tokenize_events_from_book_states_gives_the_tokens_of_encode():
    events = events_of(*(row for row, _ in GOLDEN))
    day = market_day(events, start=START, instrument=PENNY)
    states = replay(day, levels=2)
    tokens = ExactTokenizer().tokenize_events(day, states)
    assert tokens.tolist() == encode(events).tolist()
    with pytest.raises(InputError, match="do not match the events"):
        ExactTokenizer().tokenize_events(day.with_events(events[:-1]), states)


def test_rounded_time_by_hand():
    gaps = [123_456, 0, 123_458, 1_234_560, 3]
    events = events_of(*((gap, Kind.ADD, BID, 100_000, 1) for gap in gaps))
    tokens = encode(events, digits=5)
    # 123460, carrying -4; 0 stays; 123454 rounds to 123450, carrying 4; 1234564 rounds to 1234600, carrying -36, which
    # is too much for a gap of 3.
    coded = [123_460, 0, 123_450, 1_234_600, 3]
    assert np.diff(decode(tokens, digits=5).time_ns, prepend=CLOCK).tolist() == coded
    widths = np.log2([10, 1, 10, 100, 1])
    np.testing.assert_allclose(ExactTokenizer(5).cell_log2_widths(tokens), widths)
    assert ExactTokenizer(5).cell_log2_width(tokens) == pytest.approx(widths.mean())
    assert ExactTokenizer().cell_log2_width(encode(events)) == 0
    assert ExactTokenizer(5).cell_log2_width(np.zeros(0, np.uint16)) == 0


def test_no_events_have_no_tokens():
    assert len(encode(events_of())) == 0
    for tokens in ([], [v.BOS], [v.EOS, v.PAD]):
        assert len(decode(np.array(tokens, np.int64))) == 0


# Streams that try everything at once: prices in ticks around 1000, some a million or 10^9 away, sizes, gaps and
# corrections of every magnitude, bursts of up to 50 events at one time.
SIDES = st.sampled_from([BID, ASK])
prices = st.one_of(
    st.integers(990, 1010), st.integers(-(10**6), 10**6), st.sampled_from([1000 - 10**9, 1000 + 10**9])
).map(lambda ticks: 100 * ticks)
sizes = st.one_of(st.integers(0, 9), st.integers(0, 11).map(lambda e: 10**e), st.integers(0, 10**12 - 1))
gaps = st.one_of(
    st.sampled_from([0, 1, SKIP_NS - 1, SKIP_NS, -SKIP_NS]),
    st.integers(0, 10**6),
    st.integers(0, 9 * 86_400 * 10**9),
    st.integers(-(10**13), -1),
)
orders = st.tuples(gaps, st.integers(1, 4), SIDES, prices, sizes)
trades = st.tuples(gaps, st.integers(5, 6), SIDES, st.integers(98_000, 102_000), sizes)
controls = st.tuples(gaps, st.integers(1, 7))
touch = st.integers(998, 1004).map(lambda ticks: 100 * ticks)
bursts = st.lists(st.tuples(st.just(0), st.integers(1, 4), SIDES, touch, st.integers(1, 9)), min_size=1, max_size=50)
parts = st.one_of(st.one_of(orders, trades, controls).map(lambda row: [row]), bursts)
streams = st.lists(parts, max_size=12).map(lambda found: events_of(*(row for part in found for row in part)))
starts = st.sampled_from([dataclasses.replace(START, window=window) for window in (0, 1, 2)])


@st.composite
def corrected_streams(draw):
    """Events and corrections to them."""
    events = draw(streams)
    change = st.tuples(st.integers(0, max(len(events) - 1, 0)), SIDES, prices, st.integers(0, 20))
    return events, corrections_of(*sorted(draw(st.lists(change, max_size=6 if len(events) else 0))))


@settings(max_examples=120)
@given(corrected_streams(), starts, st.sampled_from([None, 2, 5, 8]))
def test_any_stream_comes_back(stream, start, digits):
    events, corrections = stream
    state = {"digits": digits, "start": start, "corrections": corrections}
    tokens = encode(events, **state)
    ExactTokenizer(digits).grammar.check(tokens)
    decoded = decode([v.BOS, *tokens.tolist(), v.EOS, v.PAD], **state)
    assert_same(decoded, events, CONTENT if digits is None else CONTENT[1:])
    assert encode(decoded, **state).tolist() == tokens.tolist()
    at_once = np.diff(events.time_ns, prepend=CLOCK) == 0
    assert not np.diff(decoded.time_ns, prepend=CLOCK)[at_once].any()
    assert len(ExactTokenizer(digits).cell_log2_widths(tokens)) == len(events)


@settings(max_examples=100)
@given(streams.filter(len), starts, st.sampled_from([None, 5]), st.data())
def test_a_changed_token_is_refused_or_spells_other_events_as_they_must_be(events, start, digits, data):
    tokens = encode(events, digits=digits, start=start).tolist()
    grammar = ExactTokenizer(digits).grammar
    for _ in range(20):
        place = data.draw(st.integers(0, len(tokens) - 1))
        near = st.integers(-9, 9).map(lambda step, token=tokens[place]: max(token + step, 0))
        changed = [*tokens[:place], data.draw(st.one_of(st.integers(0, 9999), near)), *tokens[place + 1 :]]
        try:
            grammar.check(changed)
        except InputError as refusal:
            with pytest.raises(InputError) as caught:
                decode(changed, digits=digits, start=start)
            assert str(caught.value) == str(refusal)
            continue
        again = encode(decode(changed, digits=digits, start=start), digits=digits, start=start).tolist()
        assert again == (changed[:-1] if changed[-1] == v.EOS else changed)


@pytest.mark.parametrize("digits", [None, 2, 5, 8])
def test_walks_through_the_grammar_are_spellings(digits):
    grammar = ExactTokenizer(digits).grammar
    rng = np.random.default_rng(3)
    for _ in range(30):
        state, tokens = grammar.start, []
        while len(tokens) < 150 or not grammar.at_boundary[state]:
            allowed = np.flatnonzero(grammar.allowed[state])
            allowed = allowed[allowed != v.EOS]
            classes = allowed // v.CLASS_SIZE  # classes alike, so that specials and digits come as often as heads
            tokens.append(int(rng.choice(allowed[classes == rng.choice(np.unique(classes))])))
            state = grammar.walk(tokens[-1:], state=state)
        again = encode(decode(tokens, digits=digits), digits=digits)
        assert again.tolist() == tokens


@pytest.mark.parametrize(
    ("tokens", "where", "expected"),
    [
        ([1000, 8001], "token 2", "a gap"),
        ([1000], "token 1", "a size"),
        ([v.BOS, 1000, 8001, 9000, 1000, 8001, 9370, 7000], "token 8", "digits 100..900"),
        ([1000, 8001, 9000, v.PAD], "token 3", "EOS"),
        ([1000, 8001, 9000, v.EOS, v.EOS], "token 4", "PAD"),
        ([1000, 8001, 70_000], "token 2", "a gap"),
        ([1000, 8001, -3], "token 2", "a gap"),
        ([0.5], "decode", "integers"),
        ([[1000, 8001, 9000]], "decode", "one-dimensional array"),
    ],
)
def test_ill_formed_streams_are_refused_at_the_token(tokens, where, expected):
    with pytest.raises(InputError) as caught:
        decode(np.array(tokens))
    assert caught.value.where == where
    assert expected in caught.value.expected


def test_a_stream_that_leaves_the_range_of_prices_is_refused_at_the_event():
    far = [1978, 7999, 7999, 7999, 7999, 7990, 8001, 9000]  # an ask 10^14 - 1 units above its reference
    wide = dataclasses.replace(PENNY, tick=10**6)
    with pytest.raises(InputError) as caught:
        decode([11, 9000, *far], instrument=wide)
    assert caught.value.where == "token 2 (event 1)"


ADD_BID = (1, Kind.ADD, BID, 100_000, 1)


@pytest.mark.parametrize(
    ("row", "what", "expected", "was", "remedy"),
    [
        ((1, Kind.ADD, BID, 100_050, 1), "between ticks", "100", "100050", "tick of 50"),
        ((1, Kind.EXECUTE, ASK, 100_201, 1), "between ticks", "100", "100201", "tick of 1 "),
        ((1, Kind.ADD, BID, 100_000, 10**12), "too many digits", "999999999999", "1000000000000", "lots of 500000000"),
        ((1, Kind.ADD, BID, 100_000, 10**12 + 1), "too many digits", "999999999999", "1000000000001", "lots of 10,"),
        ((1, Kind.ADD, BID, 100_000, -1), "negative", "0 or more", "-1", "adds or removes"),
        ((1, Kind.ADD, 0, 100_000, 1), "no side", "+1 (bid)", "0", "resting order"),
        ((1, Kind.CROSS, 2, 100_000, 1), "no side", "+1 (bid)", "2", "resting order"),
        ((1, 0, BID, 100_000, 1), "unknown event kind", "1 ADD", "0", "map"),
        ((1, 8, BID, 100_000, 1), "unknown event kind", "7 CONTROL", "8", "map"),
        ((1, Kind.CONTROL, BID, 0, 0), "code does not fit", "1 HALT", "0", "CONTROL"),
        ((1, 8), "code does not fit", "7 FEED_GAP", "8", "CONTROL"),
        ((1, Kind.EXECUTE_HIDDEN, BID, -(10**14), 1), "too far", "99999999999999 quanta", "100000000100000", "quantum"),
        ((1, Kind.ADD, BID, 2**62, 1), "out of range", "within", str(2**62), "quantum"),
        ((2**62, Kind.ADD, BID, 100_000, 1), "time is out of range", "within", "59", "unit"),
    ],
)
def test_an_event_without_tokens_is_refused_by_name(row, what, expected, was, remedy):
    other = (1, Kind.ADD, BID, 100_000, 5 * 10**8)
    with pytest.raises(InputError, match=what) as caught:
        encode(events_of(other, row))
    assert caught.value.where == "event 1"
    assert expected in str(caught.value.expected)
    assert was in str(caught.value.was)
    assert remedy in caught.value.remedy


def test_every_refusal_has_words_of_its_own():
    events, before = events_of(ADD_BID), np.zeros((1, 2), np.int64)
    row = {name: int(getattr(events, name)[0]) for name in CONTENT}
    told = [exact._reason(refusal, row, events, before, 1, 0)[0] for refusal in Refusal if refusal != Refusal.FINE]
    assert len(set(told)) == len(told) == len(Refusal) - 1


def test_a_control_event_with_content_and_another_with_a_code_are_refused():
    halt = events_of((1, Code.HALT))
    with pytest.raises(InputError, match="more than its code"):
        encode(halt.replace(price=np.array([5])))
    with pytest.raises(InputError, match="code does not fit"):
        encode(events_of(ADD_BID).replace(code=np.array([1])))


def test_a_reference_between_ticks_is_refused_too():
    start = dataclasses.replace(START, price=START.price + np.array([25, 0, 0, 0]))
    with pytest.raises(InputError, match="between ticks") as caught:
        encode(events_of(ADD_BID), start=start)
    assert "tick of 25 " in caught.value.remedy


def test_the_tick_that_is_named_divides_the_present_one():
    with pytest.raises(InputError, match="between ticks") as caught:
        encode(events_of((0, Kind.ADD, BID, 130, 1)), start=BookSnapshot.empty(CLOCK))
    assert "tick of 10 " in caught.value.remedy


def test_an_impossible_tick_or_clock_is_refused():
    with pytest.raises(InputError, match="tick"):
        encode(events_of(ADD_BID), instrument=dataclasses.replace(PENNY, tick=0))
    with pytest.raises(InputError, match="clock"):
        encode(events_of(ADD_BID), start=dataclasses.replace(START, time_ns=2**62))


@pytest.mark.parametrize(
    ("name", "fewest", "most"),
    [
        ("GOOG_2012-06-21_34200000_57600000_message_10.csv.gz", 4.7, 5.0),
        ("AAPL_2012-06-21_34200000_57600000_message_1.csv.gz", 4.7, 5.0),
    ],
)
def test_a_real_day_comes_back(market_data, name, fewest, most):
    path = market_data(f"lobster/{name}")
    market_data(f"lobster/{name.replace('message', 'orderbook')}")
    day = LobsterFeed().read(path)
    shortest = {None: fewest, 5: 3.9, 2: 2.95}
    longest = {None: most, 5: 4.0, 2: 3.1}
    for digits in shortest:
        tokenizer = ExactTokenizer(digits)
        tokens = tokenizer.encode(day)
        assert shortest[digits] <= len(tokens) / len(day.events) <= longest[digits]
        decoded = tokenizer.decode(tokens, day)
        assert_same(decoded, day.events, CONTENT if digits is None else CONTENT[1:])
        together = np.diff(day.events.time_ns) == 0
        np.testing.assert_array_equal(np.diff(decoded.time_ns) == 0, together)
        if digits == 5:
            assert np.abs(decoded.time_ns - day.events.time_ns).max() < 500_000


@pytest.mark.parametrize("digits", [None, 2])
@pytest.mark.parametrize("run_events", [1, 4, 1000])
def test_runs_of_events_have_the_tokens_of_the_whole(run_events, digits):
    """Books, clock, corrections and the carry of rounded gaps go on from run to run."""
    rng = np.random.default_rng(0)
    gaps = rng.integers(0, 10**6, 60)
    rows = [(int(gap), Kind.ADD, BID if i % 2 else ASK, 99_900 + 300 * (i % 2 == 0), 3) for i, gap in enumerate(gaps)]
    events, corrections = (
        events_of(*rows),
        corrections_of((3, BID, 99_800, 4), (4, BID, 100_000, 0), (58, BID, 1000, 1)),
    )
    day = market_day(events, start=START, corrections=corrections, instrument=PENNY)
    runs = list(ExactTokenizer(digits).encode_runs(day, run_events=run_events))
    assert len(runs) == -(-60 // run_events)
    assert np.concatenate(runs).tolist() == encode(events, digits=digits, corrections=corrections).tolist()
    assert np.concatenate(runs).tolist() == ExactTokenizer(digits).tokenize_events(day, replay(day, levels=1)).tolist()


def test_a_refused_event_is_named_by_its_place_in_the_day():
    rows = [(1, Kind.ADD, BID, 99_900, 3)] * 5 + [(1, Kind.ADD, BID, 99_950, 3)]
    day = market_day(events_of(*rows), start=START, instrument=PENNY)
    runs = ExactTokenizer().encode_runs(day, run_events=2)
    with pytest.raises(InputError, match="event 5"):
        list(runs)
