"""The population stability index: by hand, by chance, and beside the training of the same time of day."""

import math

import numpy as np
import pytest

from lob_jax.export.reference.features import BINS, FEATURES, UNKNOWN
from lob_jax.export.reference.half_hours import HALF_HOURS
from lob_jax.serving.monitoring.drift import (
    FEWEST,
    THRESHOLDS,
    Latest,
    Shares,
    drift_of,
    drifts,
    stability_index,
)

P, Q = np.array([0.5, 0.3, 0.2]), np.array([0.2, 0.2, 0.6])


def training(**of_half_hours):
    """Return counts of half hours, whose numbers follow an h."""
    counts = np.zeros((HALF_HOURS, 3), np.int64)
    for name, row in of_half_hours.items():
        counts[int(name[1:])] = row
    return Shares(counts)


def events(shares, half_hour, count=100_000):
    """Return so many events with given shares of the bins."""
    bins = np.repeat(np.arange(len(shares)), np.round(np.array(shares) * count).astype(int))
    return np.stack([bins, np.full(len(bins), half_hour)]).astype(np.int8)


def test_the_index_is_that_of_the_definition():
    live = np.array([50_000, 30_000, 20_000])
    expected = 0.3 * math.log(5 / 2) + 0.1 * math.log(3 / 2) + 0.4 * math.log(3)
    assert stability_index(live, Q) == pytest.approx(expected, rel=1e-4)
    assert stability_index(np.array([200, 200, 600]), Q) == pytest.approx(0, abs=1e-6)


def test_half_a_count_is_added_to_each_live_bin():
    share = np.array([0.5, 9.5, 0.5]) / 10.5
    expected = ((share - Q) * np.log(share / Q)).sum()
    assert stability_index(np.array([0, 9, 0]), Q) == pytest.approx(expected)


def test_by_chance_the_index_has_the_mean_and_the_variance_of_yurdakul_and_naranjo():
    """For an m of training that is not far greater than n, so that both matter."""
    rng, bins, n, m = np.random.default_rng(0), 8, 2000, 3000
    p = rng.dirichlet(np.full(bins, 5.0))
    found, expected = [], []
    for _ in range(600):
        counts = np.zeros((HALF_HOURS, bins), np.int64)
        counts[20] = rng.multinomial(m, p)
        live = np.repeat(np.arange(bins), rng.multinomial(n, p))
        drift = drift_of(Shares(counts), np.stack([live, np.full(n, 20)]).astype(np.int8))
        found.append(drift.psi)
        expected.append(drift.expected)
    scale = 1 / n + 1 / m
    assert np.mean(expected) == pytest.approx((bins - 1) * scale, rel=0.07)  # m counts as PRIOR events more
    assert np.mean(found) == pytest.approx((bins - 1) * scale, rel=0.05)
    assert np.var(found) == pytest.approx(2 * (bins - 1) * scale**2, rel=0.2)


def test_a_time_of_day_that_differs_from_others_does_not_drift():
    shares = training(h19=P * 100_000, h25=Q * 100_000)
    for half_hour, own, other in ((19, P, Q), (25, Q, P)):
        assert drift_of(shares, events(own, half_hour)).excess < 1e-3
        assert drift_of(shares, events(other, half_hour)).excess > 0.5


def test_events_of_several_half_hours_are_beside_a_mixture_of_them():
    shares = training(h19=P * 100_000, h25=Q * 100_000)
    both = np.concatenate([events(P, 19, count=30_000), events(Q, 25, count=10_000)], axis=1)
    found = drift_of(shares, both)
    assert found.excess == 0 and found.psi < 1e-3
    assert found.expected == pytest.approx(2 * (1 / 40_000 + (0.75**2 + 0.25**2) / 100_500))


def test_a_half_hour_without_training_is_beside_the_whole_of_it():
    shares = training(h19=P * 50_000, h25=Q * 50_000)
    assert drift_of(shares, events((P + Q) / 2, 30)).psi < 1e-4
    assert drift_of(shares, events(P, 30)).psi > 0.1


def test_a_half_hour_with_few_events_is_near_the_whole():
    shares = training(h19=P * 50_000, h30=Q * 20)
    assert drift_of(shares, events(P, 30)).psi < 0.01


def test_a_bin_that_training_did_not_have_drifts_and_stays_finite():
    shares = training(h19=[50_000, 50_000, 0])
    found = drift_of(shares, events([0.4, 0.4, 0.2], 19))
    assert 1 < found.psi < 10 and shares.bins == 2
    assert found.expected == pytest.approx(1 / 100_000 + 1 / 100_500)


def test_few_events_have_no_index():
    shares, live = training(h19=P * 50_000), events(P, 19, count=FEWEST)
    assert drift_of(shares, live).psi is not None
    few = drift_of(shares, live[:, 1:])
    assert (few.events, few.psi, few.expected, few.excess) == (FEWEST - 1, None, None, None)


@pytest.mark.parametrize("sizes", [(3, 4, 5), (1,) * 12, (12,), (25, 3)])
def test_only_the_latest_events_are_held(sizes):
    latest, at = Latest(window=5), 0
    for size in sizes:
        bins = np.arange(at, at + size)
        latest.add("gap", bins, 100 - bins)
        at += size
    held = latest.of("gap")
    assert sorted(held[0].tolist()) == list(range(at - 5, at)) and (held.sum(0) == 100).all()
    assert latest.of("size").shape == (2, 0)


def test_what_is_not_known_is_left_out():
    latest = Latest(window=5)
    latest.add("gap", np.array([1, UNKNOWN, 2]), np.array([7, 8, 9]))
    assert latest.of("gap").tolist() == [[1, 2], [7, 9]]


def test_every_feature_has_a_threshold_and_a_drift():
    counts = {name: Shares(np.ones((HALF_HOURS, bins), np.int64)) for name, bins in BINS.items()}
    assert tuple(drifts(counts, Latest())) == tuple(THRESHOLDS) == FEATURES
