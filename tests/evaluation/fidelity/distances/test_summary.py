"""Intervals of a distance, and summaries over scores."""

import numpy as np
import pytest

from lob_jax.evaluation.fidelity.distances.comparison import (
    Compared,
    against_floor,
    interval,
    percentiles,
    with_intervals,
)
from lob_jax.evaluation.fidelity.distances.summary import interquartile_mean, summarize


def test_the_interval_has_the_value_in_its_middle_and_the_width_of_the_resamples():
    resampled = np.arange(101) / 100 + 5
    low, high = interval(2.0, resampled)
    assert (low, high) == pytest.approx((2 - 0.495, 2 + 0.495))
    assert interval(0.1, resampled)[0] == 0


def test_lob_benchs_interval_is_of_the_value_and_its_resamples():
    resampled = np.random.default_rng(0).random(100)
    assert percentiles(7.0, resampled) == pytest.approx(tuple(np.percentile([*resampled, 7.0], [0.5, 99.5])))


def test_an_interval_needs_half_of_the_resamples():
    resampled = np.array([1.0, 2, np.nan, np.nan])
    assert np.isfinite(interval(1.0, resampled)).all()
    resampled[1] = np.nan
    assert np.isnan(interval(1.0, resampled)).all() and np.isnan(percentiles(1.0, resampled)).all()
    assert with_intervals(1.0, resampled[:0], resampled[:0])["low"] is None


def test_ratio_and_ranges():
    found = against_floor(np.array([2.0, 4, np.nan]), np.array([1.0, 1, 2.5]))
    assert (found["half"], found["floor"], found["ratio"]) == (3, 1.5, 2)
    assert found["floor_high"] == pytest.approx(np.percentile([1, 1, 2.5], 97.5))
    assert against_floor(np.array([1.0]), np.array([0.0]))["ratio"] is None
    assert against_floor(np.zeros(0), np.zeros(0))["half"] is None


def test_the_interquartile_mean_by_hand():
    assert interquartile_mean(np.array([0.0, 1, 2, 3, 100])) == 2
    np.testing.assert_allclose(interquartile_mean(np.array([[0.0, 1, 2, 3, 4], [5, 5, 5, 5, 9]])), [2, 5])


def scores(count, resamples, rng):
    for _ in range(count):
        value = rng.random(3)
        yield Compared(value, value + rng.random((resamples, 3)), value + rng.random((resamples, 3)), 9, 9, None)


def test_a_summary_is_of_the_scores_that_are_defined():
    rng = np.random.default_rng(0)
    found = list(scores(5, 40, rng))
    found[2].value[1] = np.nan
    halves, floors = rng.random((2, 5, 7, 3))
    summary = summarize(found, list(halves), list(floors), seed=0)
    assert [summary[metric]["scores"] for metric in ("l1", "w1", "ks")] == [5, 4, 5]
    kept = [0, 1, 3, 4]
    w1 = np.array([found[i].value[1] for i in kept])
    assert summary["w1"]["mean"]["value"] == pytest.approx(w1.mean())
    assert summary["w1"]["median"]["value"] == pytest.approx(np.median(w1))
    assert summary["w1"]["ratio"] == pytest.approx(halves[kept, :, 1].mean() / floors[kept, :, 1].mean())
    together = np.mean([found[i].by_sequence[:, 1] for i in kept], axis=0)
    assert summary["w1"]["mean"]["high"] == pytest.approx(interval(w1.mean(), together)[1])
    assert summary == summarize(found, list(halves), list(floors), seed=0)


def test_scores_drawn_alone_vary_less_in_their_mean():
    """The interval by values draws a resample of each score independently, as LOB-Bench does."""
    rng = np.random.default_rng(1)
    shared = rng.normal(0, 1, (60, 3))
    found = [Compared(np.ones(3) * 9, 9 + shared, 9 + shared, 9, 9, None) for _ in range(12)]
    mean = summarize(found, [np.zeros((0, 3))] * 12, [np.zeros((0, 3))] * 12, seed=0)["l1"]["mean"]
    assert mean["high"] - mean["low"] > 2 * (mean["high_values"] - mean["low_values"])


def test_no_score_that_is_defined():
    nothing = Compared(np.full(3, np.nan), np.zeros((0, 3)), np.zeros((0, 3)), 0, 0, "reason")
    assert summarize([nothing], [np.zeros((2, 3))], [np.zeros((2, 3))], seed=0)["l1"] == {"scores": 0}
