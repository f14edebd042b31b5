"""Manipulations: the book takes them, each does what its name says, and nothing of them is left."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from lob_jax.configs.base import get_config

from lob_jax.book.replay import replay, snapshots_at
from lob_jax.data.windows.augment.altered import ADDED, altered
from lob_jax.data.windows.augment.manipulation.draw import PATTERNS, Manipulation, Throughout
from lob_jax.data.windows.augment.manipulation.stretch import Action, Stretch, spliced
from lob_jax.data.windows.augment.settings import AugmentConfig
from lob_jax.evaluation.paths.validity import check_events
from lob_jax.events.halts import OPEN
from lob_jax.events.schema import ASK, BID, Events, Kind
from lob_jax.tokens.exact import ExactTokenizer
from lob_jax.tokens.sets.fitting import fits
from tests.market_day import clean_day, market_day

ADD, CANCEL, DELETE, EXECUTE = Kind.ADD, Kind.CANCEL, Kind.DELETE, Kind.EXECUTE
DEPTH = 6
# A market of six levels a side, 10 lots each, in which trades at the best ask, and the orders behind it, come and go.
BOOK = [(ADD, side, 100 - side * (1 + k), 10) for side in (BID, ASK) for k in range(DEPTH)]
TRADES = [row for _ in range(30) for row in ((ADD, ASK, 101, 3), (EXECUTE, ASK, 101, 3))]


def events_of(rows, *, gap_ns=1_000_000):
    names = ("kind", "side", "price", "size")
    columns = dict(zip(names, (np.array(column) for column in zip(*rows, strict=True)), strict=True))
    return Events.from_columns(time_ns=gap_ns * np.arange(1, len(rows) + 1), **columns)


def market(*further):
    return market_day(events_of([*BOOK, *further]))


def acted(pattern, day, seed):
    stretch = Stretch.of(day, len(BOOK), len(day.events))
    return PATTERNS[pattern](stretch, np.random.default_rng(seed))


def in_order(actions):
    return sorted(actions, key=lambda action: (action.before, action.time_ns))


def end_of(day, price=98, *, side=BID, size=50, rank=1):
    """Return the event before which an order is withdrawn, counted from the one that it is entered before."""
    stretch, first = Stretch.of(day, len(BOOK), len(day.events)), len(BOOK)
    return stretch.end_of(first, side, price, size=size, rank=rank) - first


QUIET = (ADD, ASK, 101, 3)


@pytest.mark.parametrize(
    ("row", "end"),
    [
        (QUIET, 3),
        ((CANCEL, BID, 98, 1), 1),
        ((DELETE, BID, 98, 10), 1),
        ((DELETE, BID, 97, 10), 3),
        ((CANCEL, ASK, 102, 1), 3),
        ((ADD, BID, 98, 50), 1),
        ((ADD, BID, 98, 49), 3),
        ((DELETE, BID, 99, 10), 1),
        ((Kind.CONTROL, 0, 0, 0), 1),
    ],
)
def test_an_order_is_withdrawn_before_the_first_event_that_could_touch_it(row, end):
    assert end_of(market(QUIET, row, QUIET)) == end


def test_an_order_that_may_be_at_the_best_is_withdrawn_before_a_trade_there():
    assert end_of(market(QUIET, (DELETE, BID, 99, 10), (EXECUTE, BID, 98, 1)), rank=0) == 2


def test_an_order_is_withdrawn_before_its_level_is_corrected():
    day = market(QUIET, QUIET, QUIET)
    columns = {"event": [len(BOOK), len(BOOK) + 1], "side": [1, 1], "price": [97, 98], "size": [5, 5]}
    columns = {name: np.array(values, getattr(day.corrections, name).dtype) for name, values in columns.items()}
    day = dataclasses.replace(day, corrections=dataclasses.replace(day.corrections, **columns))
    assert (end_of(day), end_of(day, 96)) == (1, 3)


def test_nobody_joins_a_level_that_has_no_room():
    assert end_of(market(QUIET, QUIET), size=2**31 - 2 - 10) == 2
    assert end_of(market(QUIET, QUIET), size=2**31 - 2 - 9) == 0


@pytest.mark.parametrize("seed", range(20))
def test_a_spoofer_enters_large_orders_behind_the_best_and_withdraws_each(seed):
    day = market(*TRADES)
    actions = acted("spoofing", day, seed)
    assert [action.kind for action in actions] == [ADD, DELETE] * (len(actions) // 2) and 2 <= len(actions) <= 6
    assert len({action.side for action in actions}) == 1 and actions == in_order(actions)
    for entered, withdrawn in zip(actions[::2], actions[1::2], strict=True):
        assert (entered.price, entered.size) == (withdrawn.price, withdrawn.size)
        assert 2 * 10 <= entered.size <= 5 * 10  # the largest recent order has 10 lots
        assert 1 <= abs(entered.price - (100 - entered.side)) <= 4  # levels are a tick apart
        assert 5 <= withdrawn.before - entered.before <= 30 or withdrawn.before == len(day.events)


def test_only_recent_orders_say_what_is_large():
    old = market((ADD, BID, 99, 1_000), *TRADES[:2], *TRADES)
    stretch = Stretch.of(old, 1, len(old.events))
    assert stretch.largest(len(BOOK) + 1) == 1_000
    assert stretch.largest(len(old.events)) == 1_000  # the 32nd last ADD
    longer = market((ADD, BID, 99, 1_000), *TRADES, *TRADES)
    assert Stretch.of(longer, 1, len(longer.events)).largest(len(longer.events)) == 3
    assert stretch.largest(0) == 1


@pytest.mark.parametrize("seed", range(20))
def test_layers_are_at_successive_levels_and_follow_the_best(seed):
    """The best bid and the best ask go away, and come back: all orders of a side move with it, each time."""
    away, back = [(DELETE, side, 100 - side, 10) for side in (BID, ASK)], [*BOOK[:1], *BOOK[DEPTH : DEPTH + 1]]
    day = market(*TRADES[:10], *([*away, *TRADES[20:26], *back, *TRADES[10:20]] * 3))
    day = clean_day(day)
    actions, states = acted("layering", day, seed), replay(day, DEPTH)
    (side,), (size,) = {action.side for action in actions}, {action.size for action in actions}
    held = set()
    assert 5 <= size <= 15 and actions == in_order(actions)
    for before in range(min(action.before for action in actions), max(action.before for action in actions)):
        for action in (action for action in actions if action.before == before):
            assert (action.price in held) == (action.kind == DELETE)
            (held.remove if action.kind == DELETE else held.add)(action.price)
        s = 0 if side == BID else 1
        prices = states.price[before, s, states.size[before, s] > 0].tolist()
        kept = prices[1 : 1 + len(held)]
        goes = day.events.kind[before] == DELETE and day.events.side[before] == side  # the next level becomes the best
        assert held == set(kept) and 3 <= len(held) <= 5 or goes and held == set(prices[2 : 2 + len(held)])
    assert sum(action.kind == ADD for action in actions) == sum(action.kind == DELETE for action in actions)


@pytest.mark.parametrize("seed", range(20))
def test_stuffing_is_a_burst_of_orders_that_live_for_microseconds(seed):
    day = market(*TRADES)
    actions = acted("stuffing", day, seed)
    assert [action.kind for action in actions] == [ADD, DELETE] * (len(actions) // 2)
    assert 1 <= len(actions) // 2 <= min(40, len(TRADES) // 4) and actions == in_order(actions)
    (_,), (size,) = {action.side for action in actions}, {action.size for action in actions}
    times = np.array([action.time_ns for action in actions])
    assert 1 <= size <= 10 and np.all(np.diff(times) >= 0) and np.median(np.diff(times)) < 100_000
    for entered, withdrawn in zip(actions[::2], actions[1::2], strict=True):
        assert entered.price == withdrawn.price and 0 <= abs(entered.price - (100 - entered.side)) <= 2


def test_a_burst_goes_on_while_the_market_does():
    """Real events come every 50 microseconds, between the events of the burst, in the order of time."""
    day = market_day(events_of([*BOOK, *TRADES], gap_ns=50_000))
    actions = acted("stuffing", day, 3)
    assert len({action.before for action in actions}) > 5
    proposal = spliced(day, actions)
    assert np.all(np.diff(proposal.events.time_ns) >= 0)


def test_actions_come_before_their_events_in_the_order_of_time():
    day = market(*TRADES[:4])
    rows = [(14, 14_500_000, DELETE), (13, 13_900_000, DELETE), (13, 13_100_000, ADD), (16, 16_500_000, ADD)]
    proposal = spliced(day, [Action(before, at, kind, BID, 98, 5) for before, at, kind in rows])
    assert proposal.origin.tolist() == [*range(13), ADDED, ADDED, 13, ADDED, 14, 15, ADDED]
    assert proposal.events.time_ns[13:15].tolist() == [13_100_000, 13_900_000]
    assert proposal.events.kind[proposal.origin == ADDED].tolist() == [ADD, DELETE, DELETE, ADD]


def test_a_share_of_the_windows_is_manipulated_by_any_of_the_patterns():
    day, found = market(*TRADES), []
    for seed in range(200):
        proposal = Manipulation(0.5, ("spoofing", "stuffing"))(day, len(BOOK), np.random.default_rng(seed))
        added = np.flatnonzero(proposal.origin == ADDED)
        assert not len(added) or added[0] <= len(BOOK) + len(TRADES) // 4 + 1  # half of the half that is shown
        found.append(len(added))
    found = np.array(found)
    assert 70 <= np.count_nonzero(found) <= 130
    assert np.count_nonzero(found > 6) >= 20 and np.count_nonzero((found > 0) & (found <= 6)) >= 20
    assert not len(Manipulation(0.0, ("layering",))(day, len(BOOK), np.random.default_rng(0)).events) > len(day.events)


def test_a_configuration_alters_windows_by_its_patterns():
    augment = dict(get_config().data.augment)
    assert Manipulation not in map(type, AugmentConfig(**augment).alterations())
    found = AugmentConfig(**{**augment, "manipulation": 0.25, "patterns": ("layering",)}).alterations()
    assert Manipulation(0.25, ("layering",)) in found


def test_a_stream_is_manipulated_once_in_each_part():
    day = market(*TRADES)
    proposal = Throughout("stuffing", 20)(day, len(BOOK), np.random.default_rng(0))
    behind = np.maximum.accumulate(proposal.origin)[proposal.origin == ADDED] + 1 - len(BOOK)
    assert np.unique(behind // 20).tolist() == [0, 1, 2] and np.all(behind % 20 <= 10)


def book_at_the_end(day):
    """Return the orders of each level at the end of a day, in their queues."""
    (book,) = snapshots_at(day, np.array([len(day.events)]))
    return [column.tolist() for column in (book.side, book.price, book.size, book.last_best)]


@given(
    seed=st.integers(0, 2**32 - 1),
    first=st.integers(1, 100),
    pattern=st.sampled_from(sorted(PATTERNS)),
    ranks=st.booleans(),
    window=st.sampled_from([0, 4]),
    clean=st.booleans(),
)
def test_a_manipulated_day_decodes_and_replays_and_nothing_of_it_is_left(
    make_day, seed, first, pattern, ranks, window, clean
):
    tokenizer = ExactTokenizer(references="rank" if ranks else "newest")
    whole = make_day(300, seed=seed % 7)
    whole = dataclasses.replace(whole, start=dataclasses.replace(whole.start, window=window))
    whole = whole.with_events(tokenizer.decode(tokenizer.encode(whole), whole))
    whole = clean_day(whole) if clean else whole
    how = {"first": first, "closed": OPEN}
    found = altered(whole, (Throughout(pattern, 60),), **how, random=np.random.default_rng(seed))
    assert found.left_out == 0 and (found.refused == 0 or not clean)  # he may not enter orders in a halt
    added = found.origin == ADDED
    kinds = found.day.events.kind[added]
    assert np.count_nonzero(kinds == ADD) == np.count_nonzero(kinds == DELETE) == len(kinds) / 2
    decoded = found.day.with_events(tokenizer.decode(tokenizer.encode(found.day), found.day))
    for name in ("time_ns", "kind", "side", "price", "size"):
        np.testing.assert_array_equal(getattr(decoded.events, name), getattr(found.day.events, name))
    np.testing.assert_array_equal(fits(decoded, closed=OPEN)[~added], fits(whole, closed=OPEN))
    assert book_at_the_end(decoded) == book_at_the_end(whole)
    for name in ("price", "reference"):  # an order joins a level, so levels are those of the market all the time
        of_market = getattr(replay(whole, 5), name)[:-1]
        np.testing.assert_array_equal(getattr(replay(decoded, 5), name)[:-1][~added], of_market)
    if clean:
        assert not check_events(decoded.events, start=whole.start, tick=whole.instrument.tick).faults
    again = altered(whole, (Throughout(pattern, 60),), **how, random=np.random.default_rng(seed))
    np.testing.assert_array_equal(again.day.events.price, found.day.events.price)
    np.testing.assert_array_equal(again.origin, found.origin)


def test_the_days_of_these_tests_are_manipulated(make_day):
    """Without this, the test above could hold because nothing is ever spliced in."""
    day = clean_day(make_day(300, seed=1))
    for pattern in PATTERNS:
        found = [
            altered(day, (Throughout(pattern, 60),), first=20, closed=OPEN, random=np.random.default_rng(seed))
            for seed in range(5)
        ]
        assert min(np.count_nonzero(one.origin == ADDED) for one in found) >= 8
