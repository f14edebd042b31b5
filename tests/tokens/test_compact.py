"""Compact tokens: bins by hand, what each token stands for on a book, and what is lost."""

import dataclasses
import json

import numpy as np
import pytest

from lob_jax.book.day import MarketDay
from lob_jax.book.oracle import OracleBook
from lob_jax.book.replay import replay
from lob_jax.book.snapshot import BookSnapshot
from lob_jax.errors import InputError
from lob_jax.evaluation.paths.validity import check_events
from lob_jax.events.instrument import Instrument
from lob_jax.events.schema import ASK, BID, Code, Events, Kind
from lob_jax.feeds.feed import Reading
from lob_jax.feeds.synthetic import SyntheticFeed
from lob_jax.tokens import vocabulary as v
from lob_jax.tokens.bins import CompactBins, fit_bins
from lob_jax.tokens.compact import CompactTokenizer, distortion, read_words, resolve
from lob_jax.tokens.exact import ExactTokenizer
from lob_jax.tokens.registry import tokenizer_for
from lob_jax.tokens.seen import Seen, seen_in
from lob_jax.tokens.tokenizer import Ability, require

MOST = 2**30
PRICES = (-MOST + 1, -3, -1, 0, 1, 2, 4, 8, 16, 50, MOST), (-5, -2, -1, 0, 1, 3, 5, 10, 20, 60)
SIZES = (1, 2, 5, 10, 50, 100, 101, 500, 1_000, 10_000, 2**31 - 1), (1, 3, 5, 10, 50, 100, 200, 500, 2_000, 20_000)
BINS = CompactBins(
    price_edges=(PRICES[0],) * 6,
    price_values=(PRICES[1],) * 6,
    size_edges=(SIZES[0],) * 6,
    size_values=(SIZES[1],) * 6,
    gap_edges=(0, 1, 1_000, 10**6, 10**9, 10**15),
    gap_values=tuple((0, 400 + kind, 10**5, 10**8, 2 * 10**9) for kind in range(7)),
)
TOKENIZER = CompactTokenizer(BINS)
INSTRUMENT = Instrument("SYN", "SIM", "2024-01-02", "America/New_York", tick=100)
START = BookSnapshot(
    time_ns=1_000_000,
    side=np.array([1, 1, 1, 1, -1, -1], np.int8),
    price=np.array([9_900, 9_900, 9_900, 9_800, 10_200, 10_300]),
    size=np.array([7, 120, 60, 9, 30, 4]),
    order_id=np.zeros(6, np.uint64),
    anonymous=np.zeros(6, bool),
    last_best=np.zeros(2, np.int64),
)
OPENING = MarketDay.opening(INSTRUMENT, START)


def token(kind, side, price, size, gap=0):
    """Return the token of the bins that a distance, a size and a gap lie in."""
    price, size, gap = (
        np.searchsorted(edges, value, side="right") - 1
        for edges, value in ((PRICES[0], price), (SIZES[0], size), (BINS.gap_edges, gap))
    )
    return int(kind * 1000 + (((0 if side == BID else 1) * 10 + price) * 10 + size) * 5 + gap)


@pytest.mark.parametrize(
    ("kind", "side", "price", "size", "expected"),
    [
        (Kind.ADD, BID, 0, 3, (9_900, 3)),
        (Kind.ADD, BID, 2, 7, (9_600, 5)),
        (Kind.ADD, BID, -1, 3, (10_000, 3)),
        (Kind.ADD, BID, -2, 3, (10_100, 3)),  # up to a tick in front of the ask
        (Kind.ADD, BID, -9, 3, None),  # all of the bin crosses
        (Kind.ADD, ASK, -2, 3, (10_000, 3)),
        (Kind.ADD, BID, 900, 3, (9_900 - 6_000, 3)),
        (Kind.ADD, ASK, 900, 3, (10_200 + 6_000, 3)),
        (Kind.CANCEL, BID, 0, 4, (9_900, 3)),
        (Kind.CANCEL, BID, 0, 100, (9_900, 100)),
        (Kind.CANCEL, BID, 0, 150, (9_900, 119)),  # what stands for the bin is more than the order has
        (Kind.CANCEL, BID, 0, 500, None),
        (Kind.CANCEL, BID, 1, 2, (9_800, 3)),
        (Kind.CANCEL, BID, 5, 2, None),
        (Kind.DELETE, BID, 0, 60, (9_900, 60)),
        (Kind.DELETE, BID, 0, 101, (9_900, 120)),
        (Kind.DELETE, BID, 0, 6, (9_900, 7)),
        (Kind.DELETE, BID, 0, 30, None),
        (Kind.DELETE, ASK, 0, 12, (10_200, 30)),
        (Kind.EXECUTE, BID, 0, 3, (9_900, 3)),
        (Kind.EXECUTE, BID, 0, 9, (9_900, 5)),
        (Kind.EXECUTE, BID, 0, 10, None),  # the front order has seven
        (Kind.EXECUTE, BID, 1, 3, None),
        (Kind.EXECUTE_HIDDEN, BID, 0, 500, (9_900, 500)),
        (Kind.EXECUTE_HIDDEN, BID, -1, 500, (9_901, 500)),
        (Kind.EXECUTE_HIDDEN, ASK, -400, 500, (10_195, 500)),
        (Kind.EXECUTE_HIDDEN, BID, 1, 500, None),
        (Kind.CROSS, BID, 1, 500, (9_899, 500)),
    ],
)
def test_what_a_token_stands_for(kind, side, price, size, expected):
    at = token(kind, side, price, size)
    words = read_words(np.array([at]))
    bins = (int(words.price[0]), int(words.size[0]))
    assert resolve(OracleBook(START), BINS, kind, side, *bins, tick=100) == expected
    if expected is None:
        with pytest.raises(InputError, match="no event in the bins"):
            TOKENIZER.decode(np.array([at]), OPENING)
    else:
        events = TOKENIZER.decode(np.array([at]), OPENING)
        row = (events.kind[0], events.side[0], events.price[0], events.size[0])
        assert tuple(map(int, row)) == (kind, side, *expected)


@pytest.mark.parametrize(
    ("kind", "side", "distance", "floored", "free"),
    [
        (Kind.ADD, BID, 50, None, -3_900),  # where the bin stands, 60 ticks deeper: all of it lies below zero
        (Kind.ADD, BID, 20, 100, 100),
        (Kind.CROSS, BID, 1_000, 2_040, 2_040),  # 60 quanta deeper
        (Kind.ADD, ASK, 50, 8_500, 8_500),
    ],
)
def test_only_prices_without_a_sign_end_at_a_tick(kind, side, distance, floored, free):
    prices = np.array([2_100, 2_100, 2_100, 2_000, 2_500, 2_600])
    book, bins = OracleBook(dataclasses.replace(START, price=prices)), _bins(distance, 3)
    for signed, price in ((False, floored), (True, free)):
        assert resolve(book, BINS, kind, side, *bins, tick=100, signed=signed) == (price and (price, 3))


@pytest.mark.parametrize("signed", [False, True])
def test_a_cross_of_what_lies_below_zero_needs_a_sign(signed):
    prices = np.array([30, 30, 30, 20, 50, 60])
    book, bins = OracleBook(dataclasses.replace(START, price=prices)), _bins(1_000, 3)
    assert resolve(book, BINS, Kind.CROSS, BID, *bins, tick=10, signed=signed) == ((-30, 3) if signed else None)


def test_a_deletion_takes_a_part_of_an_anonymous_order_if_no_order_fits():
    start = dataclasses.replace(START, anonymous=np.array([False, True, False, True, False, False]))
    for size, expected in ((60, (9_900, 60)), (30, (9_900, 10)), (3, (9_900, 3)), (150, (9_900, 120)), (600, None)):
        assert resolve(OracleBook(start), BINS, Kind.DELETE, BID, *_bins(0, size), tick=100) == expected


def test_a_new_order_is_in_view():
    for window, expected in ((0, (9_600, 3)), (2, None), (3, (9_600, 3))):
        book = OracleBook(dataclasses.replace(START, window=window))
        assert resolve(book, BINS, Kind.ADD, BID, *_bins(2, 3), tick=100) == expected


def test_of_two_levels_as_near_the_better_one_pays():
    sides = np.array([1, 1, 1], np.int8)
    start = dataclasses.replace(
        START,
        side=sides,
        price=np.array([9_900, 9_700, 9_500]),
        size=np.array([60, 60, 60]),
        order_id=np.zeros(3),
        anonymous=np.zeros(3, bool),
    )
    # the bin 2..3 stands for 3, and holds the level two ticks deeper alone; 4..7 stands for 5 and holds that at 4
    for distance, price in ((2, 9_700), (4, 9_500)):
        assert resolve(OracleBook(start), BINS, Kind.DELETE, BID, *_bins(distance, 60), tick=100) == (price, 60)
    bins = dataclasses.replace(
        BINS,
        price_edges=(PRICES[0][:4] + (1, 10, 11, 12, 13, 50, MOST),) * 6,
        price_values=((-5, -2, -1, 0, 3, 10, 11, 12, 20, 60),) * 6,
    )
    assert resolve(OracleBook(start), bins, Kind.DELETE, BID, 4, 4, tick=100) == (9_700, 60)


def _bins(price, size):
    words = read_words(np.array([token(Kind.DELETE, BID, price, size)]))
    return int(words.price[0]), int(words.size[0])


def test_control_events_keep_their_code_and_a_gap():
    events = Events.from_columns(
        time_ns=np.array([START.time_ns, START.time_ns + 10**6, START.time_ns + 10**6 + 5]),
        kind=np.full(3, int(Kind.CONTROL)),
        side=np.zeros(3),
        price=np.zeros(3),
        size=np.zeros(3),
        code=np.array([Code.HALT, Code.RESUME_TRADE, Code.CLEAR]),
    )
    tokens = TOKENIZER.encode(OPENING.with_events(events))
    assert tokens.tolist() == [10 + Code.HALT, 40 + Code.RESUME_TRADE, 20 + Code.CLEAR]
    assert (v.field_of(tokens) == v.FIELD_HEAD).all() and v.event_index(tokens).tolist() == [0, 1, 2]
    back = TOKENIZER.decode(tokens, OPENING)
    assert back.code.tolist() == events.code.tolist()
    assert np.diff(back.time_ns, prepend=START.time_ns).tolist() == [0, 10**8, 406]
    with pytest.raises(InputError):
        TOKENIZER.decode(np.append(tokens, token(Kind.DELETE, BID, 0, 60)), OPENING)  # the book was cleared


@pytest.fixture(scope="module")
def day():
    feed = SyntheticFeed(1, 4_000, 3)
    return feed.read(feed.days()[0], Reading())


@pytest.fixture(scope="module")
def fitted(day):
    before = replay(day, levels=1).reference[:-1]
    return CompactTokenizer(fit_bins(seen_in(day.events, before, day.instrument, day.start.time_ns)))


def test_every_event_lies_in_the_bins_of_its_token(day, fitted):
    tokens = fitted.encode(day)
    assert tokens.dtype == np.uint16 and len(tokens) == len(day.events)
    fitted.grammar.check(np.concatenate([[v.BOS], tokens, [v.EOS, v.PAD]]))
    states = replay(day, levels=1)
    np.testing.assert_array_equal(fitted.tokenize_events(day, states), tokens)
    runs = list(fitted.encode_runs(day, run_events=123))
    np.testing.assert_array_equal(np.concatenate(runs), tokens)
    words, gap = read_words(tokens), np.diff(day.events.time_ns, prepend=day.start.time_ns)
    np.testing.assert_array_equal(words.kind, day.events.kind)
    np.testing.assert_array_equal(words.side, day.events.side)
    for i in range(len(tokens)):
        kind, side = int(words.kind[i]), int(words.side[i])
        if kind == Kind.CONTROL:
            continue
        unit = 1 if kind >= Kind.EXECUTE_HIDDEN else day.instrument.tick
        away = side * (int(states.reference[i, 0 if side == BID else 1]) - int(day.events.price[i])) / unit
        edges = (fitted.bins.price_edges[kind - 1], fitted.bins.size_edges[kind - 1], fitted.bins.gap_edges)
        values, at = (away, int(day.events.size[i]), int(gap[i])), (words.price[i], words.size[i], words.gap[i])
        for edge, value, bin_ in zip(edges, values, at, strict=True):
            assert edge[bin_] <= value < edge[bin_ + 1]


def test_what_is_decoded_can_have_happened(day, fitted):
    """Tokens drawn at random, of those that stand for something on the decoder's own book."""
    random, book, chosen = np.random.default_rng(0), OracleBook(day.start), []
    while len(chosen) < 400:
        kind, side = int(random.integers(1, 7)), int(random.choice([1, -1]))
        bins = tuple(int(number) for number in random.integers(0, 10, 2))
        found = resolve(book, fitted.bins, kind, side, *bins, tick=day.instrument.tick)
        if found is not None:
            book.apply(kind, side, *found, 0)
            chosen.append(kind * 1000 + (((side < 0) * 10 + bins[0]) * 10 + bins[1]) * 5 + int(random.integers(5)))
    events = fitted.decode(np.array(chosen), day)
    found = check_events(events, start=day.start, tick=day.instrument.tick)
    assert (found.events, found.faults) == (400, {})
    assert set(events.kind) == set(range(1, 7))


def test_distortion_is_counted_event_by_event():
    rows = [
        (Kind.ADD, BID, 9_900, 3, 0),  # exact
        (Kind.ADD, BID, 9_700, 4, 0),  # 2 ticks deeper reads 3, 4 lots read 3
        (Kind.DELETE, BID, 9_900, 3, 500),  # the newest of 2..4 lots; a gap of 402
        (Kind.CANCEL, BID, 9_900, 119, 0),  # 101..499 stands for 200, but the order has 120
        (Kind.EXECUTE, BID, 9_900, 7, 0),  # 5..9 stands for 5
        (Kind.EXECUTE, BID, 9_900, 1, 0),  # exact
    ]
    kind, side, price, size, gap = (np.array(column) for column in zip(*rows, strict=True))
    columns = {"kind": kind, "side": side, "price": price, "size": size}
    events = Events.from_columns(time_ns=START.time_ns + np.cumsum(gap), **columns)
    found = distortion(TOKENIZER, OPENING.with_events(events))
    assert (found.events, found.lost) == (6, 0)
    np.testing.assert_allclose(
        [found.exact, found.exact_price, found.exact_size, found.exact_gap], [3 / 6, 5 / 6, 4 / 6, 5 / 6]
    )
    np.testing.assert_allclose([found.price_error, found.size_error, found.gap_error], [1, 1.5, 98])


def test_what_stands_for_nothing_on_the_true_book_is_lost():
    events = Events.from_columns(
        time_ns=np.array([START.time_ns]), kind=[Kind.DELETE], side=[BID], price=[9_900], size=[30]
    )
    assert distortion(TOKENIZER, OPENING.with_events(events)).lost == 1


def test_frequent_numbers_get_bins_of_their_own():
    size = np.repeat([100, 200, 500, 7], [500, 300, 100, 50])
    size = np.concatenate([size, np.arange(1_000, 1_400)])
    E = len(size)
    zero = np.zeros(E, np.int64)
    bins = fit_bins(Seen(np.ones(E, np.int64), zero, size, zero))
    for common in (100, 200, 500, 7):
        at = np.searchsorted(bins.size_edges[0], common, side="right") - 1
        assert bins.size_values[0][at] == common
        assert bins.size_edges[0][at] > 1 or common == 7
    assert sum(1_000 <= edge < 1_400 for edge in bins.size_edges[0]) >= 3  # the rest goes to where the rest is


def test_gaps_keep_the_clock_in_the_mean():
    gap = np.random.default_rng(1).lognormal(12, 4, 5_000).astype(np.int64)
    zero = np.zeros(len(gap), np.int64)
    bins = fit_bins(Seen(np.ones(len(gap), np.int64), zero, zero + 1, gap))
    at = np.searchsorted(bins.gap_edges, gap, side="right") - 1
    assert np.array(bins.gap_values[0])[at].sum() == pytest.approx(gap.sum(), rel=1e-6)


@pytest.mark.parametrize(
    "change",
    [
        {"gap_edges": (0, 1, 1, 10**6, 10**9, 10**15)},
        {"gap_values": ((0, 400, 10**5, 10**8, 999),) * 7},
        {"price_edges": (PRICES[0],) * 5},
        {"size_values": (SIZES[1][:9],) * 6},
    ],
)
def test_what_are_no_bins_is_refused(change):
    with pytest.raises(InputError, match="invalid bins"):
        dataclasses.replace(BINS, **change)


def test_the_vocabulary_file_brings_the_bins_back(tmp_path):
    path = tmp_path / "vocabulary.json"
    TOKENIZER.vocabulary.save(path)
    loaded = v.Vocabulary.load(path)
    assert loaded == TOKENIZER.vocabulary and loaded.hash == TOKENIZER.vocabulary.hash
    assert isinstance(tokenizer_for(loaded), CompactTokenizer)
    with pytest.raises(InputError, match="a forecast needs exact tokens"):
        require(tokenizer_for(loaded), Ability.EVENTS, what="a forecast", where="the vocabulary of the records")
    content = json.loads(path.read_text())
    content["bins"]["gap_values"][0][1] += 1
    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match="does not match this version"):
        v.Vocabulary.load(path)


def test_exact_tokens_are_what_they_were():
    assert ExactTokenizer().vocabulary.hash == "7fac5d01b892af3e7607a0ec27ccb72c61539e5616a6a9993a603453c0dc1fba"
    assert isinstance(tokenizer_for(ExactTokenizer(5).vocabulary), ExactTokenizer)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (token(Kind.ADD, BID, 2, 100), "ADD bid 2..3 ticks deeper, size 100, gap 0 ns"),
        (token(Kind.CROSS, ASK, 0, 3, 5), "CROSS ask 0 quanta deeper, size 2..4, gap 1..999 ns"),
        (10 + Code.HALT + 20, "HALT, gap 1000..999999 ns"),
        (v.PAD, "PAD"),
        (v.EOS, "EOS"),
        (59, "unused 59"),
    ],
)
def test_tokens_in_words(given, told):
    assert TOKENIZER.describe(given) == told


def test_a_token_of_another_vocabulary_is_refused():
    with pytest.raises(InputError, match="is not allowed here"):
        TOKENIZER.decode(np.array([v.SIZE + 5]), OPENING)
