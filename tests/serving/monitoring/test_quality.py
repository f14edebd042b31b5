"""The scores of the latest events, beside counts on the same events."""

import numpy as np
import pytest

from lob_jax.errors import InputError
from lob_jax.export.reference.features import columns_of
from lob_jax.feeds.synthetic import SyntheticFeed
from lob_jax.serving.monitoring.quality import CONTEXT, scores_of
from lob_jax.serving.requests import Scored
from tests.export.reference.references import reference_of_days

FEED = SyntheticFeed(days=2, events=2000)
DAYS = [FEED.read(day) for day in FEED.days()]
REFERENCE = reference_of_days(DAYS[:1])
EVENTS = DAYS[1].events
BASELINE = REFERENCE.baseline.log_prob(columns_of(EVENTS), tick=REFERENCE.tick, first=0)


def found(count, **columns):
    given = {name: tuple(columns.get(name, [0.25] * count)) for name in ("brier", "chance", "likelier")}
    given |= {name: tuple(columns.get(name, [0.5] * count)) for name in ("entropy_bits", "removed")}
    return Scored(tuple(columns.get("nats", [-15.0] * count)), tuple(columns.get("outside", [""] * count)), **given)


def scores(events, scored, before=None, seed=0):
    how = {"baseline": REFERENCE.baseline, "tick": REFERENCE.tick, "rng": np.random.default_rng(seed)}
    return scores_of(events, scored, before=before, **how)


def test_counts_predict_the_same_events_from_the_ones_before():
    got = scores(EVENTS[500:510], found(10), before=EVENTS[:500])
    np.testing.assert_allclose(got.baseline, BASELINE[500:510])
    near = scores(EVENTS[500:510], found(10), before=EVENTS[500 - CONTEXT : 500])
    np.testing.assert_allclose(near.baseline, BASELINE[500:510])


def test_without_events_before_the_first_ones_are_not_predicted():
    got = scores(EVENTS[500:600], found(100))
    assert np.isnan(got.baseline[:2]).all() and not np.isnan(got.baseline[30:]).any()
    np.testing.assert_array_equal(got.nats, -15.0)


def test_columns_are_those_of_the_scores():
    given = {"nats": [-1, -2], "outside": ["", "CROSSING"], "brier": [0.1, 0.2], "entropy_bits": [3, 4]}
    got = scores(EVENTS[500:502], found(2, **given, removed=[0.6, 0.7]), before=EVENTS[:500])
    assert got.nats.tolist() == [-1, -2] and got.outside.tolist() == [0, 1] and got.brier.tolist() == [0.1, 0.2]
    assert got.entropy_bits.tolist() == [3, 4] and got.removed.tolist() == [0.6, 0.7]


def test_transforms_lie_on_the_part_of_the_class_that_came_and_follow_from_the_seed():
    given = found(100, chance=[0.25] * 100, likelier=[0.5] * 100)
    got = scores(EVENTS[:100], given).transform
    assert got.min() >= 0.5 and got.max() < 0.75 and np.ptp(got) > 0.2
    np.testing.assert_array_equal(got, scores(EVENTS[:100], given).transform)
    assert not np.array_equal(got, scores(EVENTS[:100], given, seed=1).transform)


def test_an_event_has_one_score_of_each():
    for scored in (found(9), found(10, brier=[0.1] * 9), found(10, outside=[])):
        with pytest.raises(InputError, match="not those of the events") as caught:
            scores(EVENTS[:10], scored)
        assert caught.value.was["nats"] == len(scored.nats)
