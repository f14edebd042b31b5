"""Conditional scores: groups, volatility, and a slow reference of the distances inside groups."""

import dataclasses

import numpy as np
import pytest

from lob_jax.evaluation.fidelity.conditional import CONDITIONALS, by_deciles, by_distinct, by_hours, volatility
from lob_jax.evaluation.fidelity.samples import between, joint, measure
from lob_jax.statistics.distances import DECILES, Binning, thresholds
from tests.evaluation.fidelity import reference

RULES = {rule.name: dataclasses.replace(rule, lag=min(rule.lag, 30)) for rule in CONDITIONALS}
SECOND = 10**9


def quotes(mid, spread=2):
    return [(mid - spread // 2, 3)], [(mid + spread // 2, 1)]


def test_volatility_by_hand(tiny_flow):
    """Of the last mid in each interval of 0.1 s; intervals without messages and sequences break the returns."""
    mids = [(0.00, 100), (0.05, 104), (0.11, 106), (0.20, 110), (0.25, 108), (0.55, 200), (0.61, 202)]
    rows = [{"time_ns": int(at * SECOND), "book": quotes(mid)} for at, mid in mids]
    rows += [{"time_ns": int(0.7 * SECOND), "book": quotes(205)}, {"time_ns": int(0.7 * SECOND)}]
    flow = tiny_flow(rows, edges=[0, 7, 9])
    expected = np.std([np.log(106 / 104), np.log(108 / 106), np.log(202 / 200)], ddof=1)
    np.testing.assert_allclose(volatility(flow), [expected] * 7 + [0, 0], rtol=1e-12)


def test_groups():
    condition, weight = np.array([5.0, 1, 5, 3]), np.ones(4, np.int64)
    assert by_distinct(condition, weight).tolist() == [2, 0, 2, 1]
    assert by_hours(np.array([0.0, 3599, 3600, 86_399]) * 1e9, weight).tolist() == [0, 0, 1, 23]
    condition = np.random.default_rng(0).permutation(np.arange(100.0))
    assert np.bincount(by_deciles(condition, np.ones(100, np.int64))).tolist() == [10] * 10
    heavy = np.where(condition < 10, 1000, 1)
    assert by_deciles(condition, heavy)[condition == 50] == by_deciles(condition, heavy)[condition == 99]


def slow_distances(rule, first, second):
    """Return the distances inside groups, from lists, averaged by group size."""
    value = np.concatenate([first.value, second.value])
    condition = np.concatenate([first.condition, second.condition])
    is_first = np.arange(len(value)) < len(first.value)
    if rule.grouping is by_distinct:
        group = condition
    elif rule.grouping is by_hours:
        group = condition // (3600 * SECOND)
    else:
        group = np.searchsorted(thresholds(np.quantile(condition, DECILES)), condition, side="right")
    total = np.zeros(3)
    for one in np.unique(group):
        real, generated = value[(group == one) & is_first].tolist(), value[(group == one) & ~is_first].tolist()
        if rule.binning is Binning.DECILES:
            edges = thresholds(np.quantile([*real, *generated], DECILES))
            ids = [np.searchsorted(edges, side, side="right").tolist() for side in (real, generated)]
        else:
            ids = real, generated
        l1 = reference.distances(*ids, discrete=True)[0]
        _, w1, ks = reference.distances(real, generated, discrete=True) if len({*real, *generated}) > 1 else (0, 0, 0)
        ks = 1 if not real or not generated else ks
        total += np.nan_to_num([l1, w1, ks]) * (len(real) + len(generated)) / len(value)
    return total


def test_a_lagged_condition_is_of_the_same_sequence(tiny_flow):
    rows = [{"book": ([(100, size)], [(110 + size, size)])} for size in (1, 2, 3, 4, 5)]
    rule = dataclasses.replace(RULES["ask_volume_given_spread_before"], lag=2)
    sample = measure(rule, tiny_flow(rows, edges=[0, 1, 5]))
    assert (sample.value.tolist(), sample.condition.tolist()) == ([4, 5], [12, 13])


@pytest.mark.parametrize("name", RULES)
def test_against_the_reference(flow, name):
    rule = RULES[name]
    first, second = measure(rule, flow.select([0, 1, 2])), measure(rule, flow.select([3, 5, 6]))
    is_first = np.array([1, 1, 1, 0, 0, 0])
    found = between(joint(rule, first, second), is_first, 1 - is_first)
    np.testing.assert_allclose(found, slow_distances(rule, first, second), atol=1e-9)


@pytest.mark.parametrize("name", RULES)
def test_identical_flows_have_distance_zero(flow, name):
    sample = measure(RULES[name], flow)
    is_first = (np.arange(2 * len(flow)) < len(flow)).astype(np.int64)
    assert between(joint(RULES[name], sample, sample), is_first, 1 - is_first) == (0, 0, 0)
