"""Calibrated forecasts pass, others do not, and standard errors and missing numbers are what they should be."""

import dataclasses
import math

import numpy as np
import pytest

from lob_jax.export.reference.quality import (
    BLOCK,
    FEWEST_BLOCKS,
    FLOOR,
    PARTS,
    Quality,
    Scores,
    block_error,
    quality_of,
    transform_of,
    uniformity,
)

EVENTS = 20_000


def forecasts(*, power=1.0, seed=0):
    """Return likelier and chance of what came, where it comes with probabilities proportional to p ** power."""
    rng = np.random.default_rng(seed)
    p = -np.sort(-rng.dirichlet(np.full(13, 0.3), EVENTS))
    true = p**power / (p**power).sum(1, keepdims=True)
    came = (true.cumsum(1) < rng.random(EVENTS)[:, None]).sum(1).clip(0, 12)
    chance = p[np.arange(EVENTS), came]
    return np.where(p > chance[:, None], p, 0).sum(1), chance


def scores(**columns):
    count = len(next(iter(columns.values())))
    return Scores(**{name: columns.get(name, np.full(count, np.nan)) for name in Scores._fields})


def quality(power):
    likelier, chance = forecasts(power=power)
    return quality_of(scores(transform=transform_of(likelier, chance, np.random.default_rng(1))))


def test_the_mean_of_likelier_and_half_the_chance_is_one_half_if_calibrated():
    p = np.array([0.4, 0.3, 0.15, 0.1, 0.05])
    likelier = np.append(0, p.cumsum()[:-1])
    assert (p * (likelier + p / 2)).sum() == pytest.approx(0.5)


def test_a_calibrated_forecast_has_uniform_transforms_and_covers_as_it_says():
    found = quality(1.0)
    assert found.transform_mean == pytest.approx(0.5, abs=4 * math.sqrt(1 / 12 / EVENTS))
    assert found.transform_error < 2 * found.transform_error_by_chance
    assert found.covered_50 == pytest.approx(0.5, abs=0.012) and found.covered_90 == pytest.approx(0.9, abs=0.009)
    assert sum(found.histogram) == pytest.approx(1) and len(found.histogram) == PARTS


def test_what_is_less_likely_than_said_raises_the_mean_and_lowers_coverage():
    found = quality(0.5)
    assert found.transform_mean > 0.55 and found.covered_50 < 0.45 and found.covered_90 < 0.87
    assert found.transform_error > 5 * found.transform_error_by_chance


def test_what_is_likelier_than_said_does_the_opposite():
    found = quality(2.0)
    assert found.transform_mean < 0.45 and found.covered_50 > 0.55 and found.covered_90 > 0.91


def test_the_distance_by_chance_is_that_of_uniform_draws():
    rng = np.random.default_rng(0)
    found = [uniformity(rng.random(500))[1] for _ in range(400)]
    assert np.mean(found) == pytest.approx(uniformity(rng.random(500))[2], rel=0.05)
    assert uniformity(np.zeros(10))[1] == pytest.approx(1 - 1 / PARTS)
    assert uniformity(np.array([1.0, 0.999])) [0][-1] == 1  # fmt: skip


def test_the_standard_error_of_independent_values_is_the_usual_one():
    values = np.random.default_rng(0).normal(size=BLOCK * 400)
    assert block_error(values) == pytest.approx(1 / math.sqrt(len(values)), rel=0.1)


def test_the_standard_error_of_values_in_runs_is_larger():
    values = np.repeat(np.random.default_rng(0).normal(size=BLOCK * 50), 8)
    assert block_error(values) == pytest.approx(math.sqrt(8 / len(values)), rel=0.1)


def test_few_blocks_have_no_standard_error_and_unknown_values_do_not_count():
    values = np.arange(BLOCK * FEWEST_BLOCKS, dtype=float)
    assert block_error(values[1:]) is None and block_error(values) > 0
    assert block_error(np.append(values[1:], np.nan)) is None
    spread = np.insert(values, range(0, len(values), 2), np.nan)
    assert block_error(spread) == block_error(values)


def test_the_gain_is_of_the_events_that_both_have_predicted():
    found = quality_of(scores(nats=np.array([-1.0, -2, -3]), baseline=np.array([np.nan, -5, -8])))
    assert (found.events, found.paired) == (3, 2)
    assert found.nats == -2 and found.baseline_nats == -6.5 and found.gain_nats == 4


def test_an_impossible_event_counts_as_the_floor():
    found = quality_of(scores(nats=np.array([-np.inf, 0]), baseline=np.array([-2.0, -np.inf])))
    assert (found.nats, found.baseline_nats, found.gain_nats) == (FLOOR / 2, (FLOOR - 2) / 2, 1.0)


def test_means_are_of_what_is_known():
    known = np.array([0.5, np.nan, 1.5])
    found = quality_of(scores(brier=known, entropy_bits=2 * known, removed=3 * known, outside=np.array([0, 1, 1.0])))
    assert (found.brier, found.entropy_bits, found.removed, found.outside) == (1, 2, 3, 2 / 3)


def test_nothing_has_no_quality():
    found = dataclasses.asdict(quality_of(scores(nats=np.zeros(0))))
    counts = {"events": 0, "paired": 0, "classes": 0, "histogram": ()}
    assert found == {field.name: counts.get(field.name) for field in dataclasses.fields(Quality)}
