"""Facts, impact and the discriminator of many selections at once are those of the flows themselves."""

import dataclasses

import numpy as np
import pytest

from lob_jax.evaluation.fidelity.discriminator import discriminate
from lob_jax.evaluation.fidelity.facts import FACTS, returns_of
from lob_jax.evaluation.fidelity.faults import tested
from lob_jax.evaluation.fidelity.faults.matrix import FALSE_ALARMS, Draws, _limit
from lob_jax.evaluation.fidelity.impact import compare_impact
from tests.made_flow import made_flow, random_flow

ALL = np.ones((1, 20), np.int64)


@pytest.fixture(scope="module")
def flows():
    real, planted = random_flow(0, sequences=20), random_flow(1, sequences=20, calm=0.5)
    return real, dataclasses.replace(planted, size=np.where(planted.kind == 1, 2 * planted.size, planted.size))


def test_facts_have_their_sums_by_sequence():
    """Of these sequences one is too short for a return."""
    flow = random_flow(2, sequences=5, length=300)
    flow = dataclasses.replace(flow, edges=np.sort(np.append(flow.edges, flow.edges[1] + 4)))
    for fact in FACTS:
        by_sequence = fact.sums(tested._returns(flow))
        assert len(by_sequence) == 6 and not by_sequence[1].any(), fact.name
        np.testing.assert_allclose(by_sequence.sum(axis=0), fact.sums(returns_of(flow)).sum(axis=0), err_msg=fact.name)
        if fact.name != "intermittency":  # what is extreme depends on the whole flow
            np.testing.assert_allclose(by_sequence[3], fact.sums(returns_of(flow.select([3]))).sum(axis=0))


def of_sums(real, planted, estimate=lambda total: total[:, 0]):
    """Return the statistic of a fact whose sums by sequence are given."""
    given = iter((real, planted))
    fact = dataclasses.replace(FACTS[0], sums=lambda returns: next(given), estimate=estimate)
    return tested.of_fact(fact, random_flow(0, sequences=1), random_flow(0, sequences=1))["outside"]


def test_a_figure_is_compared_with_its_range_in_real_selections():
    real, planted = np.arange(101.0)[:, None], np.array([[-7.0], [50.0], [99.5]])
    outside = of_sums(real, planted)
    one = np.eye(101)
    np.testing.assert_allclose(outside(one, np.eye(3), True), [9.5, 0, 2])  # the range of 0 to 100 is 2.5 to 97.5
    np.testing.assert_allclose(outside(one, one, False)[[0, 1, 50, 100]], [2.5, 1.5, 0, 2.5])


def test_a_figure_without_a_value_is_infinitely_far_unless_real_flow_has_none():
    def estimate(total):
        return np.where(total[:, 0] > 0, total[:, 0], np.nan)

    outside = of_sums(np.arange(101.0)[:, None], np.zeros((1, 1)), estimate)
    assert outside(np.eye(101), np.ones((1, 1)), True).tolist() == [np.inf]
    outside = of_sums(np.zeros((4, 1)), np.ones((1, 1)), estimate)
    assert np.isnan(outside(np.eye(4), np.ones((4, 1)), True)).all()


@pytest.mark.parametrize(("share", "alarms"), [(0.1, 0.0), (0.02, 1.0)])
def test_what_real_flow_often_lacks_is_no_alarm(share, alarms):
    """The null has no value in some draws: more than the false alarms, or fewer."""

    def statistic(one, other, faulty):
        return np.where(np.arange(len(one)) < share * len(one), np.inf, 0.0)

    draws = np.zeros((200, 1))
    limit = _limit(statistic, Draws(draws, draws, draws, draws))
    assert limit.share(np.full(9, np.inf)) == alarms and limit.alarms <= FALSE_ALARMS


def test_impact_is_that_of_the_flows(flows):
    real, planted = flows
    expected = compare_impact(real, {"g": planted}, splits=2, resamples=2)["models"]["g"]
    for statistic, value in (
        (tested.of_impact, expected["scores"]["mean"]["value"]),
        (tested.of_macro_impact, expected["macro"]["score"]),
    ):
        l1 = statistic(real, planted)["l1"]
        np.testing.assert_allclose(l1(ALL, ALL, True), value)
        assert value > 0 and l1(ALL, ALL, False).tolist() == [0]
    books = made_flow([], [])
    assert np.isnan(tested.of_macro_impact(books, books)["l1"](ALL, ALL, False)).all()


def test_the_discriminator_is_that_of_the_flows(flows):
    real, planted = flows
    area = tested.of_discriminator(real, planted)["auc"]
    expected = discriminate(real, {"g": planted}, permutations=1, draws=2)["models"]["g"]["auc"]
    assert area(ALL, ALL, True)[0] == pytest.approx(expected) and expected > 0.9
    one, other = (np.arange(20) < 10)[None], (np.arange(20) >= 10)[None]
    assert 0 < area(one, other, False)[0] < 0.9
    assert np.isnan(area((np.arange(20) < 9)[None], other, True)).all()  # fewer than it needs
