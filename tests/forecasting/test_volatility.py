"""Realised volatility of examples by hand, and model-free forecasts that are fitted on training examples alone."""

import types

import numpy as np
import pytest

from lob_jax.forecasting.volatility import NAMES, realised_volatility, volatility_report


class Made:
    """Examples of one segment of a mid with a tick of 100 quanta."""

    def __init__(self, mid2, rows, horizons):
        self.tape = types.SimpleNamespace(mid2=np.array(mid2), tick=np.array([100]), run=np.zeros(len(mid2), int))
        self.rows, self.layout = np.array(rows), types.SimpleNamespace(horizons=horizons)

    def __len__(self):
        return len(self.rows)

    def blocks(self, events):
        return (self.rows - self.rows[0]) // events


def clustered(seed, count=4000):
    """Return examples whose moves come in quiet and in wild stretches of 200 events."""
    random = np.random.default_rng(seed)
    scale = np.repeat(random.choice([1, 8], count // 200), 200)
    moves = np.round(random.normal(size=count) * scale).astype(int)
    return Made(20_000_000 + 200 * np.cumsum(moves), np.arange(100, count - 100, 5), (10, 50))


def test_volatility_by_hand():
    """Moves of 1, -2, 3 and 1 ticks, and .1 added in squares; the anchor is between the second and the third."""
    examples = Made([0, 200, -200, 400, 600], [2], (1, 2))
    np.testing.assert_allclose(realised_volatility(examples, past=True), np.sqrt([[4.01, 5.01]]))
    np.testing.assert_allclose(realised_volatility(examples, past=False), np.sqrt([[9.01, 10.01]]))


def test_past_volatility_forecasts_what_comes_in_clusters():
    found = volatility_report(clustered(0), clustered(1), block_events=200)
    assert set(found["scores"]) == set(NAMES) and len(found["training_mean"]) == 2
    for k in range(2):
        mean, last, har = (found["scores"][name][k] for name in ("training_mean", "last", "har"))
        assert mean["r2_training_mean"] == 0 and mean["correlation"] is None
        assert last["r2_last"] == 0
        assert har["intervals"]["r2_training_mean"][0] > 0.5 and har["r2_last"] > 0
        assert har["qlike"] < mean["qlike"]


def test_the_forecasts_are_fitted_on_training_alone():
    train, test = clustered(0), clustered(1)
    found = volatility_report(train, test, block_events=200)
    assert found["training_mean"] == pytest.approx(realised_volatility(train, past=False).mean(0).tolist())
    few = clustered(1)
    few.rows = few.rows[:200]
    part = volatility_report(train, few, block_events=200)
    assert part["training_mean"] == found["training_mean"]
