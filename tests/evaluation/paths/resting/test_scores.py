"""Paths as forecasts of fills: right ones look right, wrong ones do not, and only what was reached counts."""

import dataclasses

import numpy as np
import pytest

from lob_jax.evaluation.likelihood.bootstrap import Blocks
from lob_jax.evaluation.paths.resting.benchmarks import fit_climatology, touch_probability
from lob_jax.evaluation.paths.resting.fates import CANCELLED, FIRST_FILL, FULL_FILL
from lob_jax.evaluation.paths.resting.orders import BUCKETS, Resting
from lob_jax.evaluation.paths.resting.scores import (
    ALL,
    CELLS,
    EDGES,
    OVERALL,
    PATHS,
    WALK,
    Forecast,
    brier_losses,
    forecast,
    log_losses,
    reliability,
    score_orders,
)
from lob_jax.evaluation.paths.resting.table import order_tables
from tests.evaluation.paths.resting.made import HORIZONS, REACH, known_of, made


@pytest.fixture(scope="module")
def right():
    watched, benchmarks = made(0)
    return watched, benchmarks, score_orders(watched, benchmarks, HORIZONS)


def test_paths_of_the_true_distribution_are_calibrated_and_beat_the_overall_rate(right):
    _, _, found = right
    assert (found["prompts"], found["orders"], found["paths"], found["without_id"]) == (60, 1800, 20, 7)
    assert found["lost"] == {"paths": 0.0, "real": 0.0} and found["same_queue"] == 1.0
    for bucket, outcomes in found["time"].items():
        for name, one in outcomes.items():
            assert one["p"] > 0.01 and sum(one["counts"]) == one["orders"] > 100, (bucket, name)
    for name, one in found["events"]["buckets"][ALL].items():
        assert one["skill"][CELLS][1]["high"] > 0, name
        assert one["forecasts"][PATHS]["mean"][1] == pytest.approx(one["happened"][1], abs=0.05)
    filled = found["events"]["buckets"][ALL]["first fill"]
    assert filled["skill"][OVERALL][1]["low"] > 0 and set(filled["forecasts"]) == {PATHS, CELLS, OVERALL, WALK}
    assert set(found["events"]["buckets"][ALL]["cancel"]["forecasts"]) == {PATHS, CELLS, OVERALL}
    for one in found["events"]["reliability"]["first fill"]:
        off = np.abs(np.array(one["frequency"]) - np.array(one["calibrated"], float))
        assert (off < 0.12)[np.array(one["orders"]) > 50].all()


def test_paths_that_fill_too_fast_are_found_out(right):
    watched, benchmarks = made(0, faster=4.0)
    found, other = score_orders(watched, benchmarks, HORIZONS), right[2]
    assert found["time"][ALL]["first fill"]["p"] < 0.01 and found["time"][ALL]["first fill, if it comes"]["p"] < 0.01
    for unit, h in (("events", 1), ("seconds", 0)):
        biased, fair = (one[unit]["buckets"][ALL]["first fill"] for one in (found, other))
        assert biased["skill"][CELLS][h]["high"] < fair["skill"][CELLS][h]["value"]
        assert biased["forecasts"][PATHS]["log"][h] > fair["forecasts"][PATHS]["log"][h]
        assert biased["forecasts"][CELLS] == fair["forecasts"][CELLS]


def test_only_prompts_count_whose_paths_all_reach_the_horizon(right):
    watched, benchmarks, _ = right
    shorter = watched.reach["events"].copy()
    shorter[[3, 8]] = 99
    part = dataclasses.replace(watched, reach={**watched.reach, "events": shorter})
    found = score_orders(part, benchmarks, HORIZONS | {"seconds": ()})
    assert found["events"]["prompts"] == [60, 58] and found["events"]["orders"] == [1800, 1740]
    assert found["seconds"] is None
    kept = ~np.isin(watched.known.moment_O, [3, 8])
    expected = (watched.known.truth["events"][kept, FIRST_FILL] <= 100).mean()
    assert found["events"]["buckets"][ALL]["first fill"]["happened"][1] == pytest.approx(expected)


def test_buckets_are_by_distance(right):
    watched, _, found = right
    for at, distance in enumerate((0, 3, 9)):
        here = watched.known.orders.distance_O == distance
        expected = (watched.known.truth["events"][here, CANCELLED] <= 10).mean()
        assert found["events"]["buckets"][BUCKETS[at]]["cancel"]["happened"][0] == pytest.approx(expected)


def test_the_brier_score_of_few_paths_is_that_of_their_probability():
    rng = np.random.default_rng(1)
    p = rng.uniform(0, 0.6, 60_000)
    came, hits = rng.random(60_000) < p, rng.binomial(3, p)
    one = Forecast(came, hits, 3, {PATHS: hits / 3, CELLS: p})
    expected = np.square(p - came).mean()
    assert brier_losses(one, CELLS).mean() == pytest.approx(expected)
    assert brier_losses(one, PATHS).mean() == pytest.approx(expected, abs=0.004)
    assert np.square(hits / 3 - came).mean() > expected + 0.04


def test_no_path_says_that_an_outcome_is_impossible():
    came = np.array([True, False, True])
    one = Forecast(came, np.array([0, 4, 1]), 4, {PATHS: np.array([0, 1, 0.25]), CELLS: np.array([0.0, 0.5, 1.0])})
    np.testing.assert_allclose(log_losses(one, PATHS), -np.log([0.1, 0.1, 0.3]))
    np.testing.assert_allclose(log_losses(one, CELLS), -np.log([0.1, 0.5, 0.9]))


def test_reliability_counts_and_what_calibrated_paths_show():
    rng = np.random.default_rng(2)
    P, hits = 5, rng.integers(0, 6, 300)
    came, moment_O = rng.random(300) < 0.4, np.repeat(np.arange(10), 30)
    counts_O = moment_O != 4
    blocks = Blocks.draw(10, 2, resamples=200, rng=rng)
    found = reliability(Forecast(came, hits, P, {PATHS: hits / P}), counts_O, moment_O, blocks)
    share, comes = (hits / P)[counts_O], came[counts_O]
    np.testing.assert_allclose(found["probability"], np.unique(share))
    assert found["orders"] == [int((share == one).sum()) for one in np.unique(share)]
    np.testing.assert_allclose(found["frequency"], [comes[share == one].mean() for one in np.unique(share)])
    for low, value, high in zip(found["low"], found["frequency"], found["high"], strict=True):
        assert low < value < high
    pairs = []  # each path as if it were real, and the share of the others
    for count in hits[counts_O]:
        on = np.arange(P) < count
        pairs += [((count - real) / (P - 1), real) for real in on]
    others, real = np.array(pairs).T
    for share_of_bin, calibrated in zip(np.unique(share), found["calibrated"], strict=True):
        here = np.digitize(others, EDGES) == np.digitize(share_of_bin, EDGES)
        assert calibrated == (pytest.approx(real[here].mean()) if here.any() else None)


def test_climatology_is_the_frequency_in_training_shrunk_to_coarser_cells():
    orders = Resting(np.arange(6), np.array([0, 0, 0, 0, 30, 30]), np.array([0, 0, 10, 50, 0, 0]), np.ones(6))
    times = np.full((6, 4), np.inf)
    times[[0, 2, 4], FULL_FILL] = (5, 5, 50)
    history = known_of(orders, np.array([0, 0, 0, 0, 1, 1]), times, 2)
    climatology = fit_climatology(history)
    assert climatology.median == 30
    overall = 2.5 / 7
    best, deep = (2 + 20 * overall) / 24, 20 * overall / 22
    expected = [(1 + 20 * best) / 22, (1 + 20 * best) / 21, 20 * best / 21, 20 * deep / 22, deep]
    asked = Resting(np.arange(5), np.array([0, 0, 0, 30, 30]), np.array([0, 30, 31, 0, 10]), np.ones(5))
    np.testing.assert_allclose(climatology.probability(asked, "events", FULL_FILL, 10), expected)
    assert climatology.overall("events", FULL_FILL, 10) == pytest.approx(overall)
    assert climatology.overall("events", FULL_FILL, REACH) == pytest.approx(3.5 / 7)
    shorter = dataclasses.replace(history, reach={"events": np.array([200.0, 9.0]), "seconds": np.ones(2)})
    assert fit_climatology(shorter).overall("events", FULL_FILL, 10) == pytest.approx(2.5 / 5)


def test_a_random_walk_touches_by_the_reflection_principle():
    found = touch_probability(np.array([0.0, 2.0, 4.0, np.nan]), 2.0)
    np.testing.assert_allclose(found, [1, 0.3173, 0.0455, 0.5], atol=1e-4)
    np.testing.assert_array_equal(touch_probability(np.array([0.0, 1.0]), 0.0), [1, 0])
    rng = np.random.default_rng(3)
    walks = np.cumsum(rng.standard_normal((4_000, 400)) * 2 / 20, axis=1)
    assert (walks.max(1) >= 2.0).mean() == pytest.approx(0.3173, abs=0.04)


def test_forecasts_are_of_the_outcome_within_the_horizon(right):
    watched, benchmarks, _ = right
    one = forecast(watched, benchmarks, "seconds", FIRST_FILL, 5)
    np.testing.assert_array_equal(one.came_O, watched.known.truth["events"][:, FIRST_FILL] <= 10)
    np.testing.assert_array_equal(one.hits_O, (watched.paths["events"][..., FIRST_FILL] <= 10).sum(1))
    assert one.paths == 20 and one.probability[OVERALL].std() == 0


def test_tables_have_a_row_for_each_horizon_and_distance(right):
    tables = order_tables(right[2])
    assert [one.row_count for one in tables] == [6, 3, 12, 4]
