"""Labels against explicit sums, and thresholds that make a third of the training moves flat."""

import numpy as np
import pytest

from lob_jax.data.labels.moves import (
    DOWN,
    FLAT,
    FLOOR,
    NO_LABEL,
    UP,
    Outlooks,
    fit_outlooks,
    log_volatility,
    smoothed_move,
)
from lob_jax.errors import InputError


@pytest.fixture
def record_of(hand_record):
    def of(mids):
        record = hand_record([[1000, 8001, 9010]] * (len(mids) - 1))
        two_sided = {"features": np.ones((len(mids), 4), np.float32)}
        return {**record, **two_sided, "mid2": np.round(np.asarray(mids, float) * 200).astype(np.int64)}

    return of


def test_a_move_compares_the_next_mids_with_the_last():
    mids = np.array([100, 102, 104, 101, 107, 110.0])
    found = smoothed_move(mids, 2)
    expected = [np.nan, 102.5 / 101 - 1, 104 / 103 - 1, 108.5 / 102.5 - 1, np.nan, np.nan]
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    assert np.isnan(smoothed_move(np.array([100.0, 100, 100]), 2)).all()


def test_a_move_of_a_mid_around_zero_has_a_size_and_its_way():
    found = smoothed_move(np.array([-4.0, -2, 0, 1, 0, -3]), 1)
    np.testing.assert_allclose(found, [0.5, 1, 1, -1, -3, np.nan])  # relative to at least one quantum


def test_an_unknown_mid_leaves_all_that_it_touches_unknown():
    mid = np.full(12, 100.0)
    mid[6] = np.nan
    np.testing.assert_array_equal(np.isfinite(smoothed_move(mid, 2)), [0, 1, 1, 1, 0, 0, 0, 0, 1, 1, 0, 0])
    np.testing.assert_array_equal(np.isfinite(log_volatility(mid, 2, 100)), [1] * 4 + [0] * 3 + [1] * 3 + [0] * 2)


def test_volatility_sums_the_next_squares_in_ticks():
    mids = np.array([100, 102, 101, 101, 104.0])
    found = log_volatility(100 * mids, 2, 100)
    expected = 0.5 * np.log(np.array([5, 1, 9]) + FLOOR**2)
    np.testing.assert_allclose(found[:3], expected, rtol=1e-9)
    assert np.isnan(found[3:]).all()


def test_directions_by_threshold(record_of):
    outlooks = Outlooks(horizons=(1, 2), flat=(0.005, 0.0))
    direction, volatility = outlooks.of(record_of([100, 101, 101.2, 100, 100, 100]))
    np.testing.assert_array_equal(direction[:, 0], [UP, FLAT, DOWN, FLAT, FLAT, NO_LABEL])
    np.testing.assert_array_equal(direction[:, 1], [NO_LABEL, UP, DOWN, DOWN, NO_LABEL, NO_LABEL])
    assert direction.dtype == np.int32 and volatility.dtype == np.float32
    np.testing.assert_array_equal(volatility[direction == NO_LABEL], 0)


def test_a_third_of_the_training_moves_is_flat(record_of):
    random = np.random.default_rng(0)
    records = [record_of(1000 + random.normal(size=600).cumsum()) for _ in range(3)]
    outlooks = fit_outlooks(records, (5, 20))
    for column in range(2):
        labels = np.concatenate([outlooks.of(record)[0][:, column] for record in records])
        assert np.mean(labels[labels != NO_LABEL] == FLAT) == pytest.approx(1 / 3, abs=0.01)
    assert outlooks.flat[0] < outlooks.flat[1]
    still = [record_of(np.full(50, 100.0))]
    assert fit_outlooks(still, (3,)).flat == (0.0,)


def test_a_horizon_beyond_every_record_is_refused(record_of):
    with pytest.raises(InputError, match="no record is long enough"):
        fit_outlooks([record_of(np.full(30, 100.0))], (20,))
    assert fit_outlooks([], ()).horizons == ()
