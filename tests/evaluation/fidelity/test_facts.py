"""Stylised facts: figures against SciPy, NumPy and closed forms; verdicts on series that have them or do not."""

import io
import json

import numpy as np
import pytest
import scipy.stats
from rich.console import Console

from lob_jax.evaluation.fidelity import facts
from lob_jax.evaluation.fidelity.facts import FACTS, FAILS, HOLDS, UNDECIDED, Returns, compare_facts, facts_table
from lob_jax.events.schema import Kind
from tests.made_flow import made_flow, random_flow

BY_NAME = {fact.name: fact for fact in FACTS}
BLOCKS, LENGTH = 60, 50


def returns_made(value, volume=None):
    block = np.repeat(np.arange(BLOCKS), LENGTH)
    return Returns(value, np.ones_like(value) if volume is None else volume, block, BLOCKS)


def clustered(seed=0):
    """Return returns whose log volatility is an autoregression, with heavy tails, each block by itself."""
    rng = np.random.default_rng(seed)
    volatility = np.zeros((BLOCKS, LENGTH))
    for at in range(LENGTH):
        before = volatility[:, at - 1] if at else rng.normal(size=BLOCKS) / np.sqrt(1 - 0.95**2) * 0.35
        volatility[:, at] = 0.95 * before + 0.35 * rng.normal(size=BLOCKS)
    value = np.exp(volatility) * rng.standard_t(5, (BLOCKS, LENGTH))
    return returns_made(value.ravel(), np.exp(volatility).ravel())


@pytest.fixture(scope="module")
def normal():
    return returns_made(np.random.default_rng(1).normal(size=BLOCKS * LENGTH))


def measured(name, returns, draws=400):
    times = np.random.default_rng(0).multinomial(BLOCKS, np.full(BLOCKS, 1 / BLOCKS), size=draws)
    return facts._measured(BY_NAME[name], returns, times)


def test_there_are_eleven():
    assert len(FACTS) == len(BY_NAME) == 11


def test_tails_and_asymmetry_are_scipys():
    value = np.random.default_rng(0).lognormal(0, 1, BLOCKS * LENGTH)
    returns = returns_made(value)
    assert measured("heavy_tails", returns)["value"] == pytest.approx(scipy.stats.kurtosis(value))
    assert measured("asymmetry", returns)["value"] == pytest.approx(scipy.stats.skew(value))
    coarse = value.reshape(-1, 5).sum(axis=1)
    fall = scipy.stats.kurtosis(value) - scipy.stats.kurtosis(coarse)
    assert measured("aggregation", returns)["value"] == pytest.approx(fall)


def test_correlations_are_numpys():
    returns = clustered()
    value = returns.value.reshape(BLOCKS, LENGTH)

    def mean(x, y):
        return np.mean([np.corrcoef(x[:, :-lag].ravel(), y[:, lag:].ravel())[0, 1] for lag in range(1, 11)])

    assert measured("autocorrelation", returns)["value"] == pytest.approx(mean(value, value))
    assert measured("clustering", returns)["value"] == pytest.approx(mean(np.abs(value), np.abs(value)))
    assert measured("leverage", returns)["value"] == pytest.approx(mean(value, value**2))
    of_volume = np.corrcoef(returns.volume, np.abs(returns.value))[0, 1]
    assert measured("volume", returns)["value"] == pytest.approx(of_volume)


def test_coarse_and_fine_volatility_against_numpy():
    windows = clustered().value.reshape(BLOCKS, -1, 5)
    coarse, fine = np.abs(windows.sum(axis=2)), np.abs(windows).sum(axis=2)
    foretold = np.corrcoef(coarse[:, :-1].ravel(), fine[:, 1:].ravel())[0, 1]
    reverse = np.corrcoef(fine[:, :-1].ravel(), coarse[:, 1:].ravel())[0, 1]
    assert measured("coarse_fine", clustered())["value"] == pytest.approx(foretold - reverse)


def test_the_fano_factor_by_hand():
    value = np.full(BLOCKS * LENGTH, 0.1)
    value.reshape(-1, 10)[::20] = 1.0  # all ten returns of every twentieth window are extreme
    counts = np.tile([10, *[0] * 19], BLOCKS * LENGTH // 200)
    assert measured("intermittency", returns_made(value))["value"] == pytest.approx(counts.var() / counts.mean())


def test_the_exponent_of_a_power_law():
    lags = np.arange(1, 21)
    n, rho = 1000.0, lags**-0.4
    sums = np.stack([np.full(20, n), 0 * rho, 0 * rho, np.full(20, n), np.full(20, n), n * rho], axis=1)
    assert facts._decay_exponent(sums.reshape(1, -1)) == pytest.approx(0.4)
    sums[6:, 5] *= -1
    assert np.isnan(facts._decay_exponent(sums.reshape(1, -1)))


def test_normal_returns_have_none_of_the_facts(normal):
    verdicts = {name: measured(name, normal)["verdict"] for name in BY_NAME}
    assert verdicts["autocorrelation"] == HOLDS
    for name in ("heavy_tails", "clustering", "volume"):
        assert verdicts[name] in (FAILS, UNDECIDED) and verdicts[name] != HOLDS
    assert verdicts["heavy_tails"] == verdicts["clustering"] == FAILS
    assert verdicts["slow_decay"] == verdicts["aggregation"] == UNDECIDED
    tails = measured("conditional_tails", normal)
    assert tails["low"] < 0 < tails["high"]  # its closed form for normal returns


def test_clustered_returns_have_them():
    verdicts = {name: measured(name, clustered())["verdict"] for name in BY_NAME}
    for name in (
        "heavy_tails",
        "aggregation",
        "intermittency",
        "clustering",
        "conditional_tails",
        "volume",
        "slow_decay",
    ):
        assert verdicts[name] == HOLDS, name


def test_verdicts_by_interval():
    fact = BY_NAME["autocorrelation"]  # holds from -.05 to .05
    bounds = {(-0.01, 0.02): HOLDS, (0.06, 0.1): FAILS, (-0.2, -0.1): FAILS, (0.0, 0.1): UNDECIDED}
    assert {interval: facts.verdict(*interval, fact) for interval in bounds} == bounds


def test_returns_are_cut_within_sequences():
    books = [([(bid, 1)], [(bid + 2, 1)]) for bid in (10, 11, 13, 16, 20, 10, 12)]
    messages = [(0, Kind.EXECUTE if i % 2 else Kind.ADD, 1, 9, i + 1, 1) for i in range(7)]
    flow = made_flow(messages[:5], messages[5:], books=books)
    returns = facts.returns_of(flow, step=2)
    assert returns.value.tolist() == [3, 7] and returns.volume.tolist() == [2, 4] and returns.count == 1
    returns = facts.returns_of(flow, step=1)
    assert returns.value.tolist() == [1, 2, 3, 4, 2] and returns.block.tolist() == [0, 0, 0, 0, 1]


def test_long_sequences_are_resampled_in_blocks():
    returns = facts.returns_of(random_flow(0, sequences=1, length=1200), step=2)
    assert returns.count == -(-len(returns.value) // facts.BLOCK) > 1


FLOWS = {
    "short": random_flow(0, length=12),
    "one sequence": random_flow(1, sequences=1),
    "no messages": made_flow([]),
    "no trades": random_flow(2, trades=False),
}


@pytest.mark.parametrize("name", FLOWS)
def test_every_flow_has_verdicts(name):
    result = compare_facts(random_flow(3, sequences=20), {"g": FLOWS[name]}, draws=20)
    json.dumps(result, allow_nan=False)
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(facts_table(result, "g"))
    assert "n/a" in console.export_text()


def test_the_seed_decides():
    flow = random_flow(4, sequences=20)
    results = [facts.measure_facts(flow, draws=20, seed=seed) for seed in (0, 0, 1)]
    assert results[0] == results[1] != results[2]
    assert compare_facts(flow, {"g": flow}, draws=20)["agree"] == {"g": 11}
