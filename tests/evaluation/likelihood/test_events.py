"""Figures by event, against `LOBMetrics`, and against each event's own sums."""

import math

import numpy as np
import pytest

from lob_jax.errors import InputError
from lob_jax.evaluation.likelihood.bootstrap import Blocks
from lob_jax.evaluation.likelihood.events import (
    count_events,
    differences,
    draw_blocks,
    figures,
    intervals,
    leaves,
    resampled_figures,
)
from lob_jax.evaluation.likelihood.metrics import LOBMetrics
from lob_jax.evaluation.metric import Scored
from lob_jax.tokens import vocabulary as v

EVENT = [[1000, 8100, 7500, 9192, 7340], [3969, 7123, 7450, 8007, 9000], [12, 9001]]


def scored(rng, events):
    """Events of three shapes in any order, with random losses and predictions that are right in half of the cases."""
    chosen = rng.integers(3, size=events)
    target = np.concatenate([np.zeros(0, np.int64), *(EVENT[index] for index in chosen)])
    predicted = np.where(rng.random(len(target)) < 0.5, target, rng.permutation(target))
    return Scored(predicted, target, rng.gamma(2, size=len(target)), v.field_of(target).astype(np.int64), 5)


@pytest.fixture
def parts():
    rng = np.random.default_rng(0)
    return [scored(rng, events) for events in (30, 0, 25)]


@pytest.fixture
def parts_of_another(parts):
    """The same events under a model that needs a tenth less for every token."""
    return [Scored(part.predicted, part.target, 0.9 * part.nll, part.field, part.time_digits) for part in parts]


def test_figures_are_those_of_lob_metrics(parts):
    metrics = LOBMetrics(time_digits=5)
    for part in parts:
        metrics.update(part.predicted, part.target, nll=part.nll, field=part.field)
    found = figures(count_events(parts))
    assert leaves(found) == pytest.approx(leaves(metrics.compute()))
    assert (found["events"], found["tokens"]) == (55, sum(len(part.target) for part in parts))


def test_an_event_has_the_nats_of_its_own_tokens(parts):
    nll, target = (np.concatenate([getattr(part, name) for part in parts]) for name in ("nll", "target"))
    expected = np.bincount(v.event_index(target), weights=nll)
    np.testing.assert_allclose(count_events(parts).nats(), expected)


def test_a_resample_has_the_figures_of_the_events_in_it(parts):
    counts = count_events(parts)
    resampled = resampled_figures(counts, Blocks(length=2, starts=np.array([[3, 54]]), observations=55))
    bits = counts.nats()[[3, 4, 54, 0]] / math.log(2)
    assert resampled["bits_per_event"] == pytest.approx([bits.mean()])
    tokens = counts.values[[3, 4, 54, 0], -1].sum()
    assert resampled["loss"] == pytest.approx([counts.nats()[[3, 4, 54, 0]].sum() / tokens])


def test_a_difference_is_paired(parts, parts_of_another):
    """The difference is a tenth of the figure in every resample, so its interval is a tenth as wide."""
    counts, others = count_events(parts), count_events(parts_of_another)
    blocks = draw_blocks([counts, others], resamples=200, seed=0)
    one, another = resampled_figures(counts, blocks), resampled_figures(others, blocks)
    low, high = intervals(one)["bits_per_event"]
    found = differences(figures(counts), figures(others), one, another)
    expected = [0.1 * figures(counts)["bits_per_event"], 0.1 * low, 0.1 * high]
    assert found["bits_per_event"] == pytest.approx(expected)
    assert found["token_accuracy"] == [0, 0, 0]


def test_a_figure_that_overflows_has_no_interval(parts):
    huge = [Scored(part.predicted, part.target, part.nll + 1000, part.field, 5) for part in parts]
    counts = count_events(huge)
    resampled = resampled_figures(counts, draw_blocks([counts], resamples=20, seed=0))
    assert "perplexity" not in intervals(resampled) and "loss" in intervals(resampled)
    assert "perplexity" not in differences(figures(counts), figures(counts), resampled, resampled)


def test_nothing_to_score_is_refused(parts):
    with pytest.raises(InputError, match="no event was scored"):
        count_events([parts[1]])
