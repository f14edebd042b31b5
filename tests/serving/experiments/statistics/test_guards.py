"""Guards: e-values against shares that are tolerated."""

import numpy as np
import pytest
from scipy.stats import beta

from lob_jax.serving.experiments.statistics.guards import REQUESTS, guard, share_evidence


def test_without_requests_nothing_is_known():
    found = guard(0, 0, tolerated=0.01, alpha=0.001)
    assert np.isnan(found.share) and found.evidence == pytest.approx(1.0) and not found.tripped


@pytest.mark.parametrize(("count", "total", "tolerated"), [(0, 5, 0.05), (5, 5, 0.05), (3, 40, 0.01), (30, 40, 0.9)])
def test_it_is_the_mixture_over_shares_above_the_tolerated_one(count, total, tolerated):
    p = tolerated + (1 - tolerated) * (np.arange(400_000) + 0.5) / 400_000
    density = beta.pdf(p, REQUESTS * tolerated, REQUESTS)
    ratio = (p / tolerated) ** count * ((1 - p) / (1 - tolerated)) ** (total - count)
    assert share_evidence(count, total, tolerated=tolerated) == pytest.approx(
        np.sum(ratio * density) / np.sum(density), rel=1e-3
    )


@pytest.mark.parametrize("share", [0.01, 0.03, 0.05])
def test_at_and_below_the_tolerated_share_it_does_not_grow_on_average(share):
    """Exactly, over all results of the next request; and so at any time."""
    for count, total in ((0, 0), (0, 50), (3, 20), (8, 100), (900, 1_000)):
        now = share_evidence(count, total, tolerated=0.05)
        after = [share_evidence(count + more, total + 1, tolerated=0.05) for more in (0, 1)]
        mean = (1 - share) * after[0] + share * after[1]
        assert mean <= now * (1 + 1e-9)
        if share == 0.05:
            assert mean == pytest.approx(now)


@pytest.mark.parametrize(("share", "most"), [(0.05, 0.05), (0.02, 0.005)])
def test_whoever_does_no_more_than_is_tolerated_seldom_trips_however_often_one_looks(share, most):
    counts = np.cumsum(np.random.default_rng(0).random((400, 2_000)) < share, axis=1)
    largest = np.zeros(400)
    for total in range(1, 2_001, 7):
        evidence = [share_evidence(int(count), total, tolerated=0.05) for count in counts[:, total - 1]]
        largest = np.maximum(largest, evidence)
    assert (largest >= 20).mean() <= most + 3 * (most / 400) ** 0.5  # of the level .05
    assert (largest >= 1_000).sum() <= 2


@pytest.mark.parametrize(("share", "within"), [(1.0, 8), (0.25, 120), (0.1, 1_200)])
def test_whoever_does_more_trips_soon(share, within):
    counts = np.cumsum(np.random.default_rng(1).random((40, within)) < share, axis=1)
    tripped = [
        any(guard(int(row[n]), n + 1, tolerated=0.05, alpha=0.001).tripped for n in range(within)) for row in counts
    ]
    assert np.mean(tripped) > 0.9


def test_tripped_is_where_the_evidence_reaches_the_level():
    found = [guard(count, 40, tolerated=0.05, alpha=0.001) for count in range(41)]
    assert [one.tripped for one in found] == [one.evidence >= 1_000 for one in found]
    assert found[0].share == 0 and found[40].share == 1 and not found[2].tripped and found[40].tripped
    assert found[20].tolerated == 0.05


@pytest.mark.parametrize("tolerated", [1e-9, 0.01, 0.999])
def test_huge_counts(tolerated):
    for count in (0, 1, 10**9):
        evidence = share_evidence(count, 10**9, tolerated=tolerated)
        assert 0 <= evidence < np.inf
    assert share_evidence(10**9, 10**9, tolerated=tolerated) > 1e3
