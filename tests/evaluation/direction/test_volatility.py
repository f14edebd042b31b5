"""Volatility scores by hand, against SciPy and NumPy, and where they are undefined."""

import json
import math

import numpy as np
import pytest
import scipy.stats

from lob_jax.errors import InputError
from lob_jax.evaluation.direction import volatility as v


def scored(forecast, realised, *, training_mean=1.0, last=None, **how):
    realised = np.array(realised, float)
    last = np.ones_like(realised) if last is None else np.array(last, float)
    found = v.volatility_scores(np.array(forecast, float), realised, training_mean=training_mean, last=last, **how)
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    return found


def test_scores_by_hand():
    """Variances 4 against 1, and 1 against 4; errors 1 and -1 against 2 and 0 of the training mean 0, 1 and 0 last."""
    got = scored([1.0, 2.0], [2.0, 1.0], training_mean=1.0, last=[1.0, 3.0])
    assert got["qlike"] == pytest.approx(((4 - math.log(4) - 1) + (0.25 - math.log(0.25) - 1)) / 2)
    assert got["mae"] == 1
    assert got["r2_training_mean"] == pytest.approx(1 - 2 / 1)
    assert got["r2_last"] == pytest.approx(1 - 2 / (1 + 4))
    assert got["correlation"] == pytest.approx(-1)
    assert got["examples"] == 2 and got["undefined"] == {}


def test_a_perfect_forecast_and_the_references_themselves():
    realised = np.array([1.0, 2.0, 4.0, 3.0])
    perfect = scored(realised, realised)
    assert perfect["qlike"] == pytest.approx(0) and perfect["mae"] == 0
    assert perfect["r2_training_mean"] == perfect["r2_last"] == 1
    assert perfect["correlation"] == pytest.approx(1)
    assert scored(np.full(4, 2.5), realised, training_mean=2.5)["r2_training_mean"] == 0
    assert scored([2, 1, 2, 4], realised, last=[2, 1, 2, 4])["r2_last"] == 0


def test_qlike_is_least_in_expectation_at_the_variance_whatever_the_noise():
    """Realised variance is the true one, 4, times chi-squared noise of mean 1: QLIKE still prefers 4."""
    noise = np.random.default_rng(0).chisquare(5, 20_000) / 5
    realised = np.sqrt(4 * noise)
    costs = {at: scored(np.full(20_000, math.sqrt(at)), realised)["qlike"] for at in (3.6, 4.0, 4.4)}
    assert min(costs, key=costs.__getitem__) == 4.0


def test_correlation_is_scipys():
    random = np.random.default_rng(3)
    realised = random.lognormal(size=200)
    forecast = realised * random.lognormal(size=200)
    expected = scipy.stats.pearsonr(forecast, realised).statistic
    assert scored(forecast, realised)["correlation"] == pytest.approx(expected)


def test_undefined_scores_have_a_reason():
    zero = scored([1.0, 2.0], [0.0, 1.0])
    assert zero["qlike"] is None and zero["undefined"] == {"qlike": v.ZERO}
    constant = scored([1.3, 1.3, 1.3], [0.1, 2.0, 3.0])
    assert constant["undefined"] == {"correlation": v.CONSTANT}
    still = scored([1.0, 2.0], [1.5, 1.5], training_mean=1.5, last=[1.5, 1.5])
    assert set(still["undefined"]) == {"r2_training_mean", "r2_last", "correlation"}
    none = scored([], [], block=np.zeros(0, np.int64))
    assert none["examples"] == none["blocks"] == 0
    assert {none[name] for name in v.TITLES} == {None} and none["undefined"]["mae"] == v.NO_EXAMPLE


def test_intervals_are_by_block():
    random = np.random.default_rng(0)
    realised = random.lognormal(size=400)
    forecast, block = realised * random.lognormal(size=400), np.arange(400) // 20
    got = scored(forecast, realised, block=block, draws=300)
    for name in v.TITLES:
        low, high = got["intervals"][name]
        assert low < got[name] < high
    # The mean absolute error is a mean of the blocks' means, which NumPy resamples as well.
    means = np.abs(forecast - realised).reshape(20, 20).mean(1)
    drawn = means[np.random.default_rng(1).integers(0, 20, (4000, 20))].mean(1)
    np.testing.assert_allclose(got["intervals"]["mae"], np.quantile(drawn, [0.025, 0.975]), rtol=0.08)
    single = scored(forecast, realised, block=np.zeros(400, np.int64))
    assert set(single["intervals"].values()) == {None} and "intervals" in single["undefined"]


@pytest.mark.parametrize(("forecast", "realised"), [([1.0], [1.0, 2.0]), ([-1.0], [1.0]), ([1.0], [float("nan")])])
def test_what_is_no_volatility_is_refused(forecast, realised):
    with pytest.raises(InputError, match="cannot be scored"):
        scored(forecast, realised)


def test_scores_of_logarithms_against_their_definitions():
    rng = np.random.default_rng(0)
    realised = rng.normal(size=50)
    forecast = 0.5 * realised + rng.normal(size=50)
    found = v.log_volatility_scores(forecast, realised, mean=0.3)
    assert found.pop("undefined") == {}
    ratio = np.exp(2 * realised) / np.exp(2 * forecast)
    expected = {
        "count": 50,
        "mae": np.abs(forecast - realised).mean(),
        "r2": 1 - ((forecast - realised) ** 2).sum() / ((realised - 0.3) ** 2).sum(),
        "correlation": scipy.stats.pearsonr(forecast, realised).statistic,
        "qlike": (ratio - np.log(ratio) - 1).mean(),
    }
    assert found == pytest.approx(expected)


def test_perfect_and_constant_forecasts_of_logarithms():
    realised = np.array([0.0, 1.0, 2.0])
    found = v.log_volatility_scores(realised, realised, mean=1.0)
    assert [found[name] for name in ("count", "mae", "r2", "qlike")] == [3, 0, 1, 0]
    assert found["correlation"] == pytest.approx(1)
    constant = v.log_volatility_scores(np.full(3, 1.0), realised, mean=1.0)
    assert constant["r2"] == 0 and constant["undefined"] == {"correlation": v.CONSTANT}
    one = v.log_volatility_scores(realised[:1], realised[:1], mean=0.0)
    assert one["r2"] is None and one["undefined"]["r2"] == v.NO_ERROR
    assert v.log_volatility_scores(realised[:0], realised[:0], mean=0.0)["undefined"]["mae"] == v.NO_EXAMPLE


def test_intervals_of_logarithms_resample_whole_blocks():
    """With every error of a block alike, the error of a draw is the mean of the blocks that are drawn."""
    rng = np.random.default_rng(0)
    realised, error = rng.normal(size=40), np.repeat([0.0, 1.0, 3.0, 4.0], 10)
    found = v.log_volatility_scores(realised + error, realised, mean=0.0, block=np.arange(40) // 10, draws=2000)
    drawn = np.array([0, 1, 3, 4])[rng.integers(0, 4, (20_000, 4))].mean(1)
    assert found["intervals"]["mae"] == pytest.approx(np.quantile(drawn, [0.025, 0.975]), abs=0.26)
    assert found["blocks"] == 4 and set(found["intervals"]) == {"mae", "r2", "correlation", "qlike"}
    one = v.log_volatility_scores(realised, realised, mean=0.0, block=np.zeros(40, np.int64))
    assert set(one["intervals"].values()) == {None} and one["undefined"]["intervals"] == v.ONE_BLOCK
