"""Paths against direct heads: the Brier score and the squared error, by hand and on average."""

import numpy as np
import pytest

from lob_jax.data.labels.moves import DOWN, FLAT, NO_LABEL, UP
from lob_jax.evaluation.direction.sums import brier
from lob_jax.evaluation.paths.outlooks import Labelled, brier_of_draws, score_outlooks, squared_error_of_draws


def test_brier_scores_by_hand():
    np.testing.assert_allclose(brier(np.array([[0.2, 0.3, 0.5], [1.0, 0.0, 0.0]]), np.array([UP, UP])), [0.38, 2.0])
    draws = np.array([[UP, UP, DOWN, FLAT]])
    assert brier_of_draws(draws, np.array([UP])) == pytest.approx(0.375 - (0.25 + 2 * 3 / 16) / 3)


def test_few_draws_have_the_scores_of_their_distribution_on_average():
    rng, chances = np.random.default_rng(0), np.array([0.5, 0.2, 0.3])
    draws, truth = rng.choice(3, p=chances, size=(60_000, 4)), np.full(60_000, UP)
    found = brier_of_draws(draws, truth)
    assert abs(found.mean() - brier(chances[None], truth[:1])[0]) < 4 * found.std() / np.sqrt(len(found))
    found = squared_error_of_draws(rng.normal(1, 2, (60_000, 3)), np.full(60_000, 1.5))
    assert abs(found.mean() - 0.25) < 4 * found.std() / np.sqrt(len(found))


def test_only_prompts_with_all_labels_count_and_the_better_is_named():
    N, P = 20, 5
    truth_NK = np.tile([DOWN, UP], (N, 1))
    paths_NPK = np.repeat(truth_NK[:, None], P, 1)
    paths_NPK[:, 0] = FLAT
    truth_NK[0, 1] = paths_NPK[3, 2, 1] = NO_LABEL
    logs = np.random.default_rng(1).standard_normal((N, 2))
    paths_log = logs[:, None] + np.linspace(-1, 1, P)[:, None]
    third = np.full((N, 2, 3), 1 / 3)
    found = score_outlooks(Labelled((10, 20), truth_NK, paths_NPK, logs, paths_log, third, logs + 2.0))
    assert found["prompts"] == [20, 18] and found["horizons"] == [10, 20]
    np.testing.assert_allclose(found["brier"]["heads"], [2 / 3, 2 / 3])
    np.testing.assert_allclose(found["brier"]["paths"], [0.08 - 0.32 / 4] * 2, atol=1e-12)
    assert found["accuracy"] == {"paths": [1, 1], "heads": [1, 0]}  # of equal probabilities the first, down
    np.testing.assert_allclose(found["squared_error"]["heads"], [4, 4])
    np.testing.assert_allclose(found["squared_error"]["paths"], [-0.625 / 5] * 2)
    assert all(one["difference"] < 0 for one in found["brier_difference"] + found["squared_error_difference"])
    none = score_outlooks(Labelled((10, 20), truth_NK * 0 - 1, paths_NPK, logs, paths_log, third, logs))
    assert (
        none["prompts"] == [0, 0] and none["brier"]["paths"] == [None, None] and none["brier_difference"] == [None] * 2
    )
