"""What is compared, and by which rho: known before an experiment begins."""

import numpy as np
import pytest

from lob_jax.serving.experiments.statistics.compared import Differences, differences, interval, limit, rho
from tests.serving.experiments.made import experiment


def test_the_rho_depends_on_the_experiment_alone():
    assert rho(experiment("paired"), 1, score="nats") == pytest.approx(0.07**4 / 0.02**2)
    even, odd = experiment("split"), experiment("split", 3, [9.0, 1.0, 9.0])
    assert rho(even, 1, score="nats") == pytest.approx((4 * 0.15**2) ** 2 / 0.02**2)
    assert rho(odd, 2, score="nats") == pytest.approx(rho(even, 1, score="nats"))
    assert rho(odd, 1, score="nats") == pytest.approx(rho(even, 1, score="nats") * (10 + 10 / 9) ** 2 / 16)
    assert rho(even, 1, score="brier") == pytest.approx(rho(even, 1, score="nats") / 16)


def test_limits():
    assert limit(experiment("paired", clip_nats=3.0), score="nats") == 3.0
    assert limit(experiment("split", clip_nats=3.0), score="nats") == 6.0  # two arms, each clipped
    assert limit(experiment("split"), score="brier") == limit(experiment("paired"), score="brier") == 2.0


def test_units_of_other_arms_do_not_count():
    scores = np.full((5, 3), np.nan)
    arm = [0, 2, 1, 2, 0]
    scores[np.arange(5), arm] = [5.0, 6.0, 99.0, 7.0, 4.0]
    split = experiment("split", 3, [1.0, 5.0, 3.0])
    # Of units with a or c, c has 3 of 4. The centres: 5; the median of 5 and 6; the same.
    found = differences(split, scores, np.arange(10, 15), 2, clip=None)
    assert found.x == pytest.approx([1 / 0.75, 1.5 / 0.75, 1.5 / 0.25])
    assert (found.unit.tolist(), found.block.tolist()) == ([11, 13, 14], [1, 3, 4])


def test_without_observations_the_interval_is_everything():
    nothing = Differences(np.zeros(0), np.zeros(0, np.int64), np.zeros(0, np.int64))
    found = interval(experiment(), nothing, 1, score="nats")
    assert np.isnan(found.mean) and (found.low, found.high) == (-np.inf, np.inf)
