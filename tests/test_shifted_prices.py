"""Prices are places on a line: a day that straddles zero is, but for the shift, the same day a million ticks higher."""

import dataclasses
from fractions import Fraction

import numpy as np
import pytest

from lob_jax.book.day import MarketDay
from lob_jax.book.features import book_features
from lob_jax.book.replay import count_states, replay, snapshots_at
from lob_jax.data.labels.moves import log_volatility, smoothed_move
from lob_jax.data.labels.regimes import measures
from lob_jax.data.records.records import direction, make_records, mids, two_sided
from lob_jax.data.records.split import Part
from lob_jax.data.windows.tape import event_flow, record_rows
from lob_jax.evaluation.paths.validity import check_events
from lob_jax.events.schema import ASK, BID, Kind
from lob_jax.feeds.databento.feed import DatabentoFeed
from lob_jax.feeds.levels.changes import LevelChanges
from lob_jax.feeds.levels.loops import LevelRows, What
from lob_jax.feeds.reading.scale import Steps
from lob_jax.feeds.reading.store import EventStore
from lob_jax.feeds.synthetic import SyntheticFeed
from lob_jax.figures.day import depth_figure, trades_figure
from lob_jax.generation.device import live_book
from lob_jax.generation.loop import generate
from lob_jax.statistics.book_measures import book
from lob_jax.tokens.bins import fit_bins
from lob_jax.tokens.compact import CompactTokenizer, distortion
from lob_jax.tokens.exact import ExactTokenizer
from lob_jax.tokens.seen import seen_in
from tests.feeds import sample_databento
from tests.generation.market import COMPACT, KINDS, SAMPLING, TOKENIZER, lively
from tests.generation.market import INSTRUMENT as MARKET
from tests.generation.market import prompt as market_prompt

UP = 1_000_000  # ticks
LEVELS = 3


def shifted(day, quanta):
    """Return a day of which every price is so much higher."""
    visible = day.events.kind != Kind.CONTROL
    return MarketDay(
        dataclasses.replace(day.instrument, signed=True),
        shifted_book(day.start, quanta),
        day.events.replace(price=day.events.price + quanta * visible),
        dataclasses.replace(day.corrections, price=day.corrections.price + quanta),
        day.report,
    )


def shifted_book(start, quanta):
    return dataclasses.replace(start, price=start.price + quanta, last_best=start.last_best + quanta * start.seen)


def made_of_orders():
    """Return a simulated day and its instrument's tick."""
    return SyntheticFeed(days=1, events=600, seed=4).read("2024-01-02")


def rows_of_levels(shift=0):
    """Return random messages, trades, a gap and snapshots of levels within 20 ticks of zero, moved by `shift`."""
    rng, rows = np.random.default_rng(5), []
    price_of = {(side, away): 1 - away if side == BID else away for side in (BID, ASK) for away in range(1, 21)}
    ladder = [(side, price, int(rng.integers(1, 9))) for (side, _), price in price_of.items()]
    for group in range(300):
        what = {0: What.SNAPSHOT, 150: What.GAP, 160: What.SNAPSHOT}.get(
            group, What.TRADE if group % 7 == 3 else What.LEVEL
        )
        drawn = [(int(rng.choice([BID, ASK])), int(rng.integers(1, 21)), int(rng.integers(0, 9))) for _ in range(3)]
        levels = ladder if what == What.SNAPSHOT else [(side, price_of[side, away], size) for side, away, size in drawn]
        levels = [(0, -shift, 0)] if what == What.GAP else levels[: 1 if what == What.TRADE else None]
        for side, price, size in levels:
            rows.append((what, group, 10 * group, 10 * group, side, price + shift, max(size, what == What.TRADE)))
    return LevelRows(*np.array(rows, np.int64).T)


def read_levels(shift=0):
    changes = LevelChanges(EventStore(None))
    changes.push(rows_of_levels(shift))
    return changes.finish(Steps(1, 1, 0, 0))


def made_of_levels():
    made = read_levels()
    instrument = dataclasses.replace(made_of_orders().instrument, price_scale=1, tick=1)
    return MarketDay(instrument, made.start, made.events, made.corrections, {})


@pytest.fixture(scope="module", params=[made_of_orders, made_of_levels], ids=["orders", "levels"])
def days(request):
    """Return a day around zero, the same one high above it, and how far that is, in quanta."""
    day = request.param()
    tick = day.instrument.tick
    middle = int(np.median(day.start.price)) // tick * tick
    low = shifted(day, -middle)
    shown = low.events.price[low.events.kind <= Kind.EXECUTE]
    assert (shown < 0).any() and (shown > 0).any() and (shown == 0).any()
    return low, shifted(low, UP * tick), UP * tick


def test_levels_are_read_alike():
    low, high = read_levels(), read_levels(UP)
    for name in ("time_ns", "kind", "code", "side", "size", "flags"):
        np.testing.assert_array_equal(getattr(low.events, name), getattr(high.events, name), err_msg=name)
    np.testing.assert_array_equal(low.events.price + UP * (low.events.kind != Kind.CONTROL), high.events.price)
    np.testing.assert_array_equal(low.corrections.price + UP, high.corrections.price)
    np.testing.assert_array_equal(low.start.price + UP, high.start.price)
    assert low.counts == high.counts and low.dropped == high.dropped and low.counts["trades_explained"] > 0
    assert (low.signed, high.signed) == (True, False)
    assert {Kind.EXECUTE, Kind.EXECUTE_HIDDEN} <= set(low.events.kind)


def databento_day(path, shift):
    """Return the sample day of Databento with its prices, around 100, moved."""
    rows = [
        row if isinstance(row, int) or isinstance(row[2], int) else (*row[:2], Fraction(row[2]) + shift, *row[3:])
        for row in sample_databento.ROWS
    ]
    path.write_bytes(sample_databento.metadata() + sample_databento.timed(rows))
    return DatabentoFeed().read(path)


def test_orders_are_read_alike(tmp_path):
    low, high = (databento_day(tmp_path / "xy.mbo.dbn", shift) for shift in (-100, 0))
    assert (low.instrument.signed, high.instrument.signed) == (True, False)
    assert dataclasses.replace(low.instrument, signed=False) == high.instrument and low.instrument.price_scale == 100
    for name in ("time_ns", "kind", "code", "side", "size", "order_id", "flags"):
        np.testing.assert_array_equal(getattr(low.events, name), getattr(high.events, name), err_msg=name)
    np.testing.assert_array_equal(low.events.price + 10_000 * (low.events.kind != Kind.CONTROL), high.events.price)
    np.testing.assert_array_equal(low.corrections.price + 10_000, high.corrections.price)
    np.testing.assert_array_equal(low.start.price + 10_000, high.start.price)
    assert {name: value for name, value in low.report.items() if name != "inputs"} == {
        name: value for name, value in high.report.items() if name != "inputs"
    }


def test_books_replay_alike(days):
    low, high, up = days
    one, other = (replay(day, levels=LEVELS) for day in (low, high))
    np.testing.assert_array_equal(one.size, other.size)
    np.testing.assert_array_equal(np.where(one.size > 0, one.price + up, 0), other.price)
    np.testing.assert_array_equal(one.reference + up, other.reference)
    assert one.counts == other.counts
    assert count_states(low) == count_states(high)
    at = [0, 100, len(low.events)]
    for ours, theirs in zip(*(snapshots_at(day, at) for day in (low, high)), strict=True):
        ours = shifted_book(ours, up)
        for field in dataclasses.fields(ours):
            np.testing.assert_array_equal(getattr(ours, field.name), getattr(theirs, field.name), err_msg=field.name)
    features = (book_features(states.price, states.size, tick=low.instrument.tick) for states in (one, other))
    np.testing.assert_array_equal(*features)
    gap = np.diff(low.events.time_ns, prepend=low.start.time_ns)
    np.testing.assert_array_equal(event_flow(low.events, one, gap), event_flow(high.events, other, gap))


def test_exact_tokens_are_the_same_and_come_back(days):
    low, high, _ = days
    tokens = ExactTokenizer().encode(low)
    np.testing.assert_array_equal(tokens, ExactTokenizer().encode(high))
    decoded = ExactTokenizer().decode(tokens, low)
    np.testing.assert_array_equal(decoded.price, low.events.price)


def test_compact_tokens_are_the_same_and_stand_for_the_same(days):
    low, high, up = days
    first, second = (dataclasses.replace(day, events=day.events[:200]) for day in (low, high))
    first, second = (dataclasses.replace(d, corrections=d.corrections.between(0, 200)) for d in (first, second))
    before = replay(low, levels=1).reference[:-1]
    tokenizer = CompactTokenizer(fit_bins(seen_in(low.events, before, low.instrument, low.start.time_ns)))
    tokens = tokenizer.encode(first)
    np.testing.assert_array_equal(tokens, tokenizer.encode(second))
    lost = [distortion(tokenizer, day) for day in (first, second)]
    assert lost[0] == lost[1] and lost[0].lost < 0.5


def test_what_is_learned_and_measured_is_the_same(days):
    low, high, up = days
    part = Part("train", 0, len(low.events), 0)
    records = [
        next(make_records(day, [part], ExactTokenizer(), record_events=10_000, context=64, book_levels=LEVELS))[1]
        for day in (low, high)
    ]
    np.testing.assert_array_equal(two_sided(records[0]), two_sided(records[1]))
    np.testing.assert_array_equal(mids(records[0]) + up, mids(records[1]))
    assert (mids(records[0]) == 0).any()
    for of in (direction, lambda record: measures(record)[0], lambda record: measures(record)[1]):
        np.testing.assert_allclose(of(records[0]), of(records[1]), atol=1e-9)
    volatility = (log_volatility(mids(record), 5, low.instrument.tick) for record in records)
    np.testing.assert_allclose(*volatility, atol=1e-9)
    one, other = (smoothed_move(mids(record), 5) for record in records)
    # The move is relative to a mid that differs, but it never points the other way.
    np.testing.assert_array_equal(np.sign(one), np.sign(other))
    assert np.isfinite(one[np.isfinite(other)]).all()
    rows, above = (record_rows(record, ExactTokenizer(), levels=LEVELS) for record in records)
    np.testing.assert_array_equal(rows["flow"], above["flow"])
    measured, higher = (book(day, LEVELS) for day in (low, high))
    mid, middle = (np.array(list(found.pop("mid").values())) for found in (measured, higher))
    assert measured == higher and measured["mid_moves"] > 0
    np.testing.assert_allclose(mid * low.instrument.price_scale + up, middle * low.instrument.price_scale)


def test_a_day_around_zero_is_drawn(days):
    low = days[0]
    assert len(depth_figure(low, levels=LEVELS).axes) >= 2 and len(trades_figure(low).axes) == 3


MIDDLE = 10_000  # of the small market to generate from, quanta
SIGNED = dataclasses.replace(MARKET, signed=True)


def market(quanta):
    """Return a prompt of the small market with its middle at some price."""
    prompt = market_prompt(KINDS["learned"])
    return dataclasses.replace(prompt, book=shifted_book(prompt.book, quanta - MIDDLE))


def test_the_live_book_is_the_same():
    room = {"tick": 100, "places": 8, "orders": 4}
    books = (live_book.from_snapshot(market(quanta).book, signed=True, **room) for quanta in (0, UP * 100))
    (low, origin), (high, higher) = books
    assert higher - origin == UP * 100
    for name in low._fields:
        if name != "zero":
            np.testing.assert_array_equal(getattr(low, name), getattr(high, name), err_msg=name)


@pytest.mark.slow
@pytest.mark.parametrize("tokenizer", [TOKENIZER, COMPACT])
def test_generation_is_the_same_and_every_event_can_happen(tokenizer):
    params = lively(KINDS["learned"])
    sampling = dataclasses.replace(SAMPLING, paths=2, events=40)
    how = {"model": KINDS["learned"], "tokenizer": tokenizer, "instrument": SIGNED, "sampling": sampling}
    low, high = (generate(params, market(quanta), **how) for quanta in (0, UP * 100))
    prices = []
    for tokens, others, levels in zip(low.tokens, high.tokens, low.levels, strict=True):
        np.testing.assert_array_equal(tokens, others)
        start = market(0).start
        events = tokenizer.decode(tokens, MarketDay.opening(SIGNED, start))
        checked = check_events(events, start=start, tick=100, signed=True)
        assert (checked.events, checked.faults, checked.levels) == (40, {}, levels)
        prices += events.price[events.kind <= Kind.EXECUTE].tolist()
    assert min(prices) < 0 < max(prices)
