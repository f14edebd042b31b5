"""Paths as forecasts: right ones look right, better ones win, and only what was reached counts."""

import dataclasses

import numpy as np
import pytest

from lob_jax.evaluation.paths.ensembles import crps
from lob_jax.evaluation.paths.forecasts import HISTORY, PATHS, PROMPT_WALK, WALK, Outcomes, score_forecasts, walks
from lob_jax.evaluation.paths.moves import Horizons

HORIZONS = Horizons("events", (10, 40, 160))
SCALE_H = 0.5 * np.sqrt(HORIZONS.moments)


def drawn(rng, *shape):
    """Return random walks at the horizons, float64 [*shape, H]."""
    steps = np.sqrt(np.diff(np.square(SCALE_H), prepend=0))
    return np.cumsum(rng.standard_normal((*shape, 3)) * steps, axis=-1)


@pytest.fixture(scope="module")
def outcomes():
    rng = np.random.default_rng(0)
    return Outcomes(HORIZONS, drawn(rng, 200), drawn(rng, 200, 20), np.full(200, 0.5), drawn(rng, 5_000))


@pytest.fixture(scope="module")
def of_the_true_distribution(outcomes):
    return score_forecasts(outcomes)


def test_paths_of_the_true_distribution_are_calibrated_and_no_better_than_the_walk(of_the_true_distribution):
    found = of_the_true_distribution
    assert (found["prompts"], found["paths"], found["training_moves"]) == ([200] * 3, 20, 5_000)
    assert set(found["forecasts"]) == {PATHS, WALK, PROMPT_WALK, HISTORY}
    for scored in found["forecasts"].values():
        assert all(p > 0.001 for p in scored["pit_p"]) and np.abs(scored["skill"]).max() < 0.06
        for band in ("0.5", "0.8"):
            assert all(one["low"] - 0.03 < float(band) < one["high"] + 0.03 for one in scored["coverage"][band])
    assert found["forecasts"][PATHS]["coverage"]["0.95"] == [None] * 3  # of 20 paths
    assert found["forecasts"][WALK]["coverage"]["0.95"][0]["share"] == pytest.approx(0.95, abs=0.03)
    assert found["forecasts"][WALK]["skill"] == [0, 0, 0]
    assert all(one["p"] > 0.001 for name in (WALK, HISTORY) for one in found["against"][name]["crps"])


def test_the_walks_crps_is_that_of_a_normal(of_the_true_distribution):
    found = of_the_true_distribution["forecasts"][WALK]["crps"]
    np.testing.assert_allclose(found, SCALE_H / np.sqrt(np.pi), rtol=0.15)  # its mean over a normal truth


def test_paths_that_know_more_are_better_by_the_test_too(outcomes):
    knowing = outcomes.truth_NH[:, None] + 0.3 * outcomes.paths_NPH
    found = score_forecasts(dataclasses.replace(outcomes, paths_NPH=knowing))
    for scores in found["against"].values():
        for one in (*scores["crps"], scores["energy"]):
            assert one["difference"] < 0 and one["high"] < 0 and one["p"] < 1e-6
    assert min(found["forecasts"][PATHS]["skill"]) > 0.5
    assert found["forecasts"][PATHS]["energy"] < 0.5 * found["forecasts"][WALK]["energy"]
    biased = score_forecasts(dataclasses.replace(outcomes, paths_NPH=outcomes.paths_NPH + SCALE_H))
    assert max(biased["forecasts"][PATHS]["pit_p"]) < 1e-6 and max(biased["forecasts"][PATHS]["skill"]) < -0.1


def test_only_what_the_truth_and_every_path_reach_counts(outcomes):
    truth_NH, paths_NPH = outcomes.truth_NH[:50].copy(), outcomes.paths_NPH[:50].copy()
    truth_NH[3, 2] = paths_NPH[7, 5, 1:] = np.nan
    part = dataclasses.replace(outcomes, truth_NH=truth_NH, paths_NPH=paths_NPH, volatility_N=np.full(50, 0.5))
    found = score_forecasts(part)
    assert found["prompts"] == [50, 49, 48]
    kept = np.delete(np.arange(50), [3, 7])
    expected = crps(paths_NPH[kept, :, 2], truth_NH[kept, 2]).mean()
    assert found["forecasts"][PATHS]["crps"][2] == pytest.approx(expected)
    assert np.isfinite(found["forecasts"][PATHS]["energy"])


def test_without_training_moves_there_is_the_prompts_walk_alone(outcomes):
    few = Outcomes(HORIZONS, np.full((2, 3), np.nan), np.zeros((2, 4, 3)), np.zeros(2), np.zeros((0, 3)))
    found = score_forecasts(few)
    assert set(found["forecasts"]) == {PATHS, PROMPT_WALK}
    assert found["forecasts"][PATHS]["crps"] == [None] * 3 and found["against"][PROMPT_WALK]["energy"] is None


def test_walks_have_the_variances_that_they_are_given():
    found = walks(np.array([[1.0, 2.0, 2.0], [0.0, 0.0, 3.0]]), np.random.default_rng(1))
    np.testing.assert_allclose(found.std(1), [[1, 2, 2], [0, 0, 3]], rtol=0.08)
    np.testing.assert_array_equal(found[0, :, 1], found[0, :, 2])
    assert np.corrcoef(found[0, :, 0], found[0, :, 1])[0, 1] == pytest.approx(0.5, abs=0.08)
