"""Baseline generators: valid events from a real book, and what each takes from its training flow."""

import dataclasses

import numpy as np
import pytest

from lob_jax.errors import InputError
from lob_jax.evaluation.fidelity.generators.baselines import FITTED, NAMES, baseline_flows
from lob_jax.evaluation.fidelity.generators.live_book import LiveBook, start_books
from lob_jax.evaluation.fidelity.generators.moves import Move, act, moves_of
from lob_jax.evaluation.fidelity.generators.poisson import Rates, fit_rates, simulate
from lob_jax.evaluation.fidelity.generators.resampled import copied_windows
from lob_jax.evaluation.paths.validity import check_events
from lob_jax.events.schema import ASK, BID, Kind
from lob_jax.feeds.load import load_incremental_data
from lob_jax.statistics.flow import disjoint_spans, flow_of_spans


@pytest.fixture(scope="module")
def flows():
    flow = flow_of_spans(load_incremental_data(events=1500, seed=3), disjoint_spans(1000, length=100), levels=4)
    return flow.select(range(7)), flow.select(range(7, 10))


@pytest.mark.parametrize("name", FITTED)
def test_events_are_valid_and_continue_the_book(name, flows):
    training, real = flows
    start = start_books(real)[1]
    day = FITTED[name](training)(start, 300, np.random.default_rng(0))
    checked = check_events(day.events, start=start, tick=real.instrument.tick)
    assert checked.faults == {} and checked.events == 300
    assert day.events.time_ns[0] >= start.time_ns and (np.diff(day.events.time_ns) >= 0).all()
    again = FITTED[name](training)(start, 300, np.random.default_rng(0))
    np.testing.assert_array_equal(day.events.price, again.events.price)
    assert {Kind.ADD, Kind.DELETE, Kind.EXECUTE} <= {Kind(kind) for kind in day.events.kind}


def test_flows_are_as_many_and_as_long_as_the_real_ones(flows):
    training, real = flows
    told = []
    found = baseline_flows(NAMES, training, real, seed=1, on_progress=lambda *of: told.append(of))
    assert list(found) == list(NAMES) and told[-1] == ("cont_stoikov_talreja", 3, 3)
    for name, flow in found.items():
        np.testing.assert_array_equal(np.diff(flow.edges), 100, err_msg=name)
        assert flow.levels == 4 and flow.instrument.tick == real.instrument.tick
    with pytest.raises(InputError, match="no such baseline generator"):
        baseline_flows(["copied"], training, real)
    for name in NAMES:
        with pytest.raises(InputError, match="training flow"):
            baseline_flows([name], training.select([]), real)


def test_windows_are_copied_once_before_any_is_repeated(flows):
    training, _ = flows
    copied = copied_windows(training, sequences=9, rng=np.random.default_rng(0))
    found = [
        next(t for t in range(7) if np.array_equal(training.select([t]).time_ns, copied.select([s]).time_ns))
        for s in range(9)
    ]
    assert sorted(found[:7]) == list(range(7)) and len(set(found[7:])) == 2


def test_first_and_last_books_are_starts(flows):
    real = flows[1]
    for at_end, row in ((False, real.edges[1]), (True, real.edges[2] - 1)):
        start = start_books(real, at_end=at_end)[1]
        held = real.book_size[row] > 0
        assert start.time_ns - real.instrument.midnight_ns() == real.time_ns[row]
        assert start.price.tolist() == real.book_price[row][held].tolist()
        assert start.size.tolist() == real.book_size[row][held].tolist()
        assert start.side.tolist() == [BID] * held[0].sum() + [ASK] * held[1].sum()


def test_moves_are_relative_to_the_best_price_before_them(flows):
    training = flows[0]
    moves = moves_of(training)
    own = np.where(training.side == BID, 0, 1)
    for number in (0, 50):
        row = np.flatnonzero(training.sequence() == moves.sequence[number])[number % 99 + 1]
        best = training.book_price[row - 1, own[row], 0]
        assert moves.row(number) == Move(
            int(training.kind[row]),
            int(training.side[row]),
            int(training.side[row] * (best - training.price[row])),
            int(training.size[row]),
            int(training.time_ns[row] - training.time_ns[row - 1]),
        )


@pytest.fixture
def book(flows):
    start = dataclasses.replace(
        start_books(flows[1])[0],
        side=np.array([BID, BID, ASK], np.int8),
        price=np.array([1000, 900, 1200]),
        size=np.array([10, 1, 30]),
        order_id=np.zeros(3, np.uint64),
        anonymous=np.zeros(3, bool),
    )
    return LiveBook(start, tick=100)


def rows(book):
    events = book.day(None).events
    return list(
        zip(events.kind.tolist(), events.side.tolist(), events.price.tolist(), events.size.tolist(), strict=True)
    )


def test_orders_neither_cross_nor_leave_the_tick(book):
    assert book.add(0, BID, 1500, 5) == 5 and book.add(0, ASK, 1130, 5) == 5 and book.add(0, BID, -50, 5) == 5
    assert rows(book) == [(1, BID, 1100, 5), (1, ASK, 1200, 5), (1, BID, 100, 5)]


def test_withdrawals_take_what_is_there(book):
    assert book.cancel(0, BID, 1000, 50) == 9 and book.cancel(0, BID, 900, 5) == 1
    assert book.delete(0, BID, 950, 5) == 0 and book.delete(0, ASK, 1200, 5) == 30
    assert rows(book) == [(2, BID, 1000, 9), (3, BID, 900, 1), (3, ASK, 1200, 30)]
    assert book.execute(0, ASK, 1) == 0 and book.execute_hidden(0, BID, 1000, 1) == 0


def test_moves_need_their_level_only_if_exact(book):
    delete = Move(Kind.DELETE, BID, 60, 1, 0)
    assert act(book, delete, 0, exact=True) == 0 and act(book, delete, 0, exact=False) == 1
    assert act(book, Move(Kind.EXECUTE_HIDDEN, ASK, -500, 7, 0), 0, exact=True) == 7
    assert act(book, Move(Kind.EXECUTE, ASK, 0, 70, 0), 0, exact=True) == 30
    assert act(book, Move(Kind.CANCEL, ASK, 0, 1, 0), 0, exact=False) == 0
    assert rows(book) == [(3, BID, 900, 1), (5, ASK, 1000, 7), (4, ASK, 1200, 30)]


def test_poisson_rates_are_found_again(flows):
    """Flow of known rates, from its own simulation: the estimates come close."""
    rates = Rates(np.array([2.0, 1.0, 0.5, 0.5]), np.array([0.3, 0.2, 0.2, 0.2]), 0.4, 10)
    real = flows[1]
    day = simulate(rates, start_books(real)[0], real.instrument, events=6000, rng=np.random.default_rng(0))
    flow = flow_of_spans(day, np.array([[1000, 6000]]), levels=50)
    found = fit_rates(flow)
    assert found.size == 10 and found.market == pytest.approx(0.4, rel=0.25)
    np.testing.assert_allclose(found.limit[:3], rates.limit[:3], rtol=0.2)
    np.testing.assert_allclose(found.cancel[:2], rates.cancel[:2], rtol=0.35)
