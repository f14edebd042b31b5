"""Regimes against hand-computed measures, and thresholds fitted on the training split only."""

import numpy as np
import pytest

from lob_jax.data.labels.regimes import Regimes, fit_regimes, measures
from lob_jax.errors import InputError
from lob_jax.statistics.recent import LOOK_BACK


@pytest.fixture
def record_of(hand_record):
    """Return a function that makes a record with given mids and spreads, in ticks; a NaN mid is unknown."""

    def of(mids, spreads=None):
        record = hand_record([[1000, 8001, 9010]] * (len(mids) - 1))
        spreads = np.ones(len(mids)) if spreads is None else np.asarray(spreads, float)
        features = np.zeros((len(mids), 8), np.float32)
        features[:, -2] = np.log1p(spreads)
        features[:, 0], features[:, 2] = 1.0, np.isfinite(mids)
        return {**record, "mid2": np.round(np.nan_to_num(mids) * 200).astype(np.int64), "features": features}

    return of


def test_volatility_is_the_root_mean_square_of_the_last_moves(record_of):
    volatility, _ = measures(record_of([100, 101, 101, 98, 98.5]))
    expected = [0, 1, np.sqrt(1 / 2), np.sqrt(10 / 3), np.sqrt(10.25 / 4)]
    np.testing.assert_allclose(volatility, expected, atol=1e-9)
    mids = 100 + np.concatenate([[0, 7], np.full(2 * LOOK_BACK, 7)])
    volatility, _ = measures(record_of(mids))
    assert volatility[LOOK_BACK] == pytest.approx(7 / LOOK_BACK**0.5)
    assert volatility[LOOK_BACK + 1] == 0  # the only move is outside the window


def test_an_empty_side_moves_nothing_and_keeps_the_last_spread(record_of):
    volatility, spread = measures(record_of([np.nan, 100, np.nan, 105, 106], [9, 2, 9, 4, 1]))
    np.testing.assert_allclose(volatility, [0, 0, 0, 0, 0.5])
    np.testing.assert_allclose(spread, [0, 2, 2, 4, 1], rtol=1e-6)


def test_a_regime_is_a_bin_of_volatility_and_one_of_spread(record_of):
    regimes = Regimes(volatility_edges=(0.5, 1.0), spread_edges=(2.0,))
    assert regimes.count == 6
    found = regimes.of(record_of([100, 101, 101, 99, 99], [1, 1, 3, 1, 5]))
    # Volatilities 0, 1, .71, 1.29, 1.12; a value on an edge belongs to the upper bin.
    np.testing.assert_array_equal(found, [0, 4, 3, 4, 5])


def test_thresholds_are_quantiles_of_the_records_given(record_of):
    random = np.random.default_rng(0)
    records = [record_of(100 + random.integers(-2, 3, 400).cumsum() / 2, random.integers(1, 30, 400)) for _ in range(4)]
    regimes = fit_regimes(records, volatility_bins=3, spread_bins=2)
    counts = sum(np.bincount(regimes.of(record), minlength=6) for record in records)
    shares = counts / counts.sum()
    assert regimes.count == 6
    np.testing.assert_allclose(shares.reshape(3, 2).sum(1), 1 / 3, atol=0.03)  # so are twice the mids
    np.testing.assert_allclose(shares.reshape(3, 2).sum(0), 1 / 2, atol=0.03)  # spreads are whole ticks
    assert fit_regimes(records[:2], volatility_bins=3, spread_bins=2) != regimes


def test_nothing_to_fit_is_refused():
    with pytest.raises(InputError, match="no records to fit regimes on"):
        fit_regimes([], volatility_bins=2, spread_bins=2)
