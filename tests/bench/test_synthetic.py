"""The fidelity benchmark: distances against hand-computed values, the window on the book, and the calibration."""

import dataclasses
import json

import numpy as np
import pytest

from lob_jax.bench.synthetic import compare, distributions, main, seen, total_variation, wasserstein
from lob_jax.book.day import MarketDay
from lob_jax.book.replay import replay
from lob_jax.book.snapshot import BookSnapshot, Corrections
from lob_jax.events.instrument import Instrument
from lob_jax.events.schema import Events, Kind
from lob_jax.feeds.lobster.feed import LobsterFeed
from lob_jax.feeds.synthetic import simulate_day
from lob_jax.simulation.flow_parameters import FlowParameters

GOOG = "lobster/GOOG_2012-06-21_34200000_57600000_message_10.csv.gz"


def hand_made_day():
    """Return a day on a book of bids 1000, 900 and asks 1200, 1300; ticks of 100."""
    rows = [
        # time, kind, side, price, size
        (0, Kind.ADD, 1, 1100, 5),  # one tick better
        (0, Kind.ADD, 1, 700, 7),  # outside the window of two levels
        (1000, Kind.EXECUTE, 1, 1100, 5),
        (2000, Kind.EXECUTE_HIDDEN, -1, 1150, 2),
        (12_000, Kind.DELETE, -1, 1300, 4),  # one tick behind the best
        (22_000, Kind.DELETE, 1, 700, 7),  # outside the window
    ]
    time_ns, kind, side, price, size = (np.array(column) for column in zip(*rows, strict=True))
    start = BookSnapshot(
        time_ns=0,
        side=np.array([1, 1, -1, -1], np.int8),
        price=np.array([1000, 900, 1200, 1300]),
        size=np.array([3, 3, 4, 4]),
        order_id=np.zeros(4, np.uint64),
        anonymous=np.zeros(4, bool),
        last_best=np.array([1000, 1200]),
    )
    events = Events.from_columns(time_ns=time_ns, kind=kind, side=side, price=price, size=size)
    return MarketDay(Instrument("X", "Y", "2024-01-02"), start, events, Corrections.none(), {})


@pytest.mark.slow
def test_events_out_of_the_window_do_not_count():
    day = hand_made_day()
    states = replay(day, levels=2)
    assert seen(day, states).tolist() == [True, False, True, True, True, False]


@pytest.mark.slow
def test_distributions_of_a_hand_made_day():
    samples, mix, figures = distributions(hand_made_day(), levels=2)
    np.testing.assert_array_equal(samples["spread"], [2, 1, 2, 2])
    np.testing.assert_array_equal(samples["depth of adds"], [-1])
    np.testing.assert_array_equal(samples["depth of cancels"], [1])
    np.testing.assert_array_equal(samples["depth"], [-1, 1])
    np.testing.assert_array_equal(samples["size"], [5, 5, 2, 4])
    np.testing.assert_array_equal(samples["size of executions"], [5])
    np.testing.assert_allclose(samples["gap"], [3, 3, 4])
    assert mix["DELETE"] == mix["ADD"] == 0.25
    assert figures["share that moves the mid"] == 0.5
    assert figures["share of zero gaps"] == 0


def test_distances_worked_out_by_hand():
    assert wasserstein(np.array([0, 0]), np.array([3, 3])) == (3.0, pytest.approx(3 / np.sqrt(3)))
    assert wasserstein(np.array([0, 1, 2]), np.array([2, 0, 1]))[0] == 0
    assert wasserstein(np.array([0, 4]), np.array([1, 1, 1, 5]))[0] == pytest.approx(1.5)
    assert wasserstein(np.array([1]), np.array([1])) == (0.0, 0.0)
    assert total_variation({"a": 0.5, "b": 0.5, "c": 0.0}, {"a": 0.25, "b": 0.25, "c": 0.5}) == 0.5


@pytest.mark.slow
def test_a_day_has_no_distance_from_itself_and_some_from_a_shifted_one():
    sample = distributions(hand_made_day(), levels=2)
    assert all(distribution["wasserstein"] == 0 for distribution in compare(sample, sample)["distributions"].values())
    moved = ({name: values + 1 for name, values in sample[0].items()}, *sample[1:])
    assert compare(sample, moved)["distributions"]["spread"]["wasserstein"] == pytest.approx(1)


@pytest.mark.slow
def test_the_bench_writes_a_day_that_it_can_compare_itself_with(tmp_path, capsys):
    main(["--events", "3000", "--write", str(tmp_path)])
    alone = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert "reference" not in alone["figures"]
    main(["--events", "3000", "--reference", alone["written"][0]])
    *lines, last = capsys.readouterr().out.splitlines()
    result = json.loads(last)
    assert {distribution["wasserstein"] for distribution in result["distributions"].values()} == {0.0}
    assert result["kind_mix"]["total_variation"] == 0
    assert lines[0].startswith("distribution") and len(lines) == 1 + 2 * len(result["distributions"]) + 5


@pytest.mark.slow
def test_the_simulated_day_is_close_to_a_real_one(market_data):
    parameters = dataclasses.replace(FlowParameters(), halts_a_day=0.0)
    day = simulate_day(parameters, seed=11, events=150_000, trading_day="2024-01-02")
    reference = distributions(LobsterFeed().read(market_data(GOOG)), levels=10)
    result = compare(distributions(day, levels=10), reference)
    for name in ("spread", "gap", "size", "size of adds", "depth", "depth of adds", "depth of cancels"):
        assert result["distributions"][name]["wasserstein_normalised"] < 0.15, name
    assert result["kind_mix"]["total_variation"] < 0.03
    simulated, real = result["figures"]["simulated"], result["figures"]["reference"]
    assert abs(simulated["share of zero gaps"] - real["share of zero gaps"]) < 0.015
    assert abs(simulated["share that moves the mid"] - real["share that moves the mid"]) < 0.05
    assert abs(simulated["events a second"] / real["events a second"] - 1) < 0.15
