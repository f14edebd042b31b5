"""Time warping: gaps change smoothly, and nothing else does."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lob_jax.data.windows.augment.altered import altered
from lob_jax.data.windows.augment.warp import Warp, smooth_noise, warped
from lob_jax.evaluation.paths.validity import check_events
from lob_jax.events.halts import OPEN
from lob_jax.tokens.exact import ExactTokenizer
from tests.market_day import clean_day


def test_gaps_are_multiplied_from_the_first_event_on():
    found = warped(np.array([10, 20, 40, 40, 41, 39, 100]), 2, np.array([2.0, 5.0, 0.1, 7.0, 0.5]))
    assert found.tolist() == [10, 20, 60, 60, 61, 59, 89]  # 61 - 2 = 59, and half of 61 is 30.5, rounded to even


@pytest.mark.parametrize("width", [1, 7, 50])
def test_the_curve_is_of_variance_one_and_as_smooth_as_it_says(width):
    random = np.random.default_rng(0)
    curves = np.stack([smooth_noise(3 * width + 1, width, random) for _ in range(4000)])
    assert curves.shape == (4000, 3 * width + 1)
    assert np.all(np.abs(curves.mean(0)) < 5 / np.sqrt(4000))
    assert np.all(np.abs(curves.var(0) - 1) < 5 * np.sqrt(2 / 4000))
    for distance in (1, width, 2 * width):
        measured = np.mean(curves[:, 0] * curves[:, distance])
        assert abs(measured - np.exp(-(distance**2) / (4 * width**2))) < 5 / np.sqrt(4000) + 0.01


@given(seed=st.integers(0, 2**32 - 1), first=st.integers(1, 60), deviation=st.floats(0, 1), width=st.integers(1, 60))
def test_a_warped_day_decodes_and_replays(make_day, seed, first, deviation, width):
    tokenizer = ExactTokenizer()
    whole = clean_day(make_day(120, seed=seed % 7))
    whole = whole.with_events(tokenizer.decode(tokenizer.encode(whole), whole))
    how = (Warp(deviation, width),)
    one, other = (altered(whole, how, first=first, closed=OPEN, random=np.random.default_rng(seed)) for _ in range(2))
    assert (one.left_out, one.refused) == (0, 0) and np.array_equal(one.origin, np.arange(len(whole.events)))
    decoded = tokenizer.decode(tokenizer.encode(one.day), one.day)
    for name in ("time_ns", "kind", "side", "price", "size"):
        np.testing.assert_array_equal(getattr(decoded, name), getattr(one.day.events, name))
        np.testing.assert_array_equal(getattr(other.day.events, name), getattr(one.day.events, name))
        if name != "time_ns":
            np.testing.assert_array_equal(getattr(decoded, name), getattr(whole.events, name))
    assert not check_events(decoded, start=one.day.start, tick=one.day.instrument.tick).faults
    np.testing.assert_array_equal(one.day.events.time_ns[:first], whole.events.time_ns[:first])
    was, now = np.diff(whole.events.time_ns), np.diff(one.day.events.time_ns)
    np.testing.assert_array_equal(np.sign(now), np.sign(was))
    if deviation == 0:
        np.testing.assert_array_equal(now, was)
