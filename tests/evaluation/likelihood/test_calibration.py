import math

import numpy as np
import pytest

from lob_jax.evaluation.likelihood.calibration import calibration, reliability
from lob_jax.evaluation.likelihood.scores import InGrammar, TokenScores
from lob_jax.tokens import vocabulary as v


def test_two_bins_by_hand():
    probability = np.array([0.9, 0.1, 0.3, 0.7])
    came = np.array([True, False, True, True])
    found = reliability(probability, came, bins=2)
    assert found["probability"] == pytest.approx([0.2, 0.8])
    assert found["frequency"] == [0.5, 1]
    assert found["counts"] == [2, 2] and found["count"] == 4
    assert found["ece"] == pytest.approx((0.3 + 0.2) / 2)
    chance = [math.sqrt(2 / math.pi * p / 2) for p in ((0.09 + 0.21) / 2, (0.09 + 0.21) / 2)]
    assert found["ece_by_chance"] == pytest.approx(np.mean(chance))
    assert found["rms_debiased"] == 0  # the variance of a frequency of .5 in two cases, .25, exceeds both errors


def test_bins_have_equal_counts_and_are_fewer_for_few_cases():
    assert reliability(np.linspace(0, 1, 100), np.ones(100, bool), bins=15)["counts"] == [7] * 10 + [6] * 5
    assert reliability(np.array([0.5, 0.5]), np.array([True, False]), bins=15)["counts"] == [1, 1]


def test_calibrated_predictions_differ_by_chance_alone():
    rng = np.random.default_rng(0)
    found = []
    for _ in range(40):
        probability = rng.beta(2, 2, 3000)
        found.append(reliability(probability, rng.random(3000) < probability))
    ece, by_chance = (np.mean([one[name] for one in found]) for name in ("ece", "ece_by_chance"))
    assert ece == pytest.approx(by_chance, rel=0.06)
    assert np.mean([one["rms_debiased"] for one in found]) < 0.5 * by_chance


def test_a_bias_is_found_by_both_errors():
    rng = np.random.default_rng(1)
    probability = rng.uniform(0.3, 0.7, 200_000)
    found = reliability(probability + 0.2, rng.random(200_000) < probability)
    assert found["ece"] == pytest.approx(0.2, abs=0.005)
    assert found["rms_debiased"] == pytest.approx(0.2, abs=0.005)


@pytest.fixture
def scores():
    """Eight tokens: heads of two kinds, a size, and places where a number may end."""
    kind = np.zeros((4, 10), np.float32)
    kind[:, 1], kind[:, 3] = [0.75, 0.25, 0.75, 0.25], [0.25, 0.75, 0.25, 0.75]
    grammar = InGrammar(
        nll=np.zeros(8),
        predicted=np.zeros(8, np.int64),
        outside=np.zeros(8),
        field=np.array([1, 3, 4, 4, 1, 1, 6, 1], np.int8),
        head=np.array([0, 4, 5, 7]),
        head_probability=kind,
    )
    predicted = np.array([1000, 8001, 7100, 9000, 3000, 1000, 1000, 3500])
    return TokenScores(*np.zeros((2, 8)), np.zeros(8), predicted, np.full(8, 0.75), grammar)


TARGET = np.array([1000, 8001, 9005, 9000, 3000, 1500, 7001, 1000])


def test_fields_are_those_known_before_the_token(scores):
    found = calibration(scores, TARGET)
    counts = {name: one["count"] for name, one in found.items() if name != "kinds"}
    assert counts == {"all": 8, "head": 4, "size": 1, "size digits": 2, "gap digits": 1}
    assert np.mean(found["size digits"]["frequency"]) == 0.5  # one number ended as predicted, one against it
    assert set(counts) - {"all"} <= set(v.FIELDS)


def test_kinds_are_compared_with_the_class_that_came(scores):
    found = calibration(scores, TARGET)["kinds"]
    assert set(found["by_kind"]) == {"add", "delete"}
    add = found["by_kind"]["add"]
    assert add["probability"] == [0.25, 0.25, 0.75, 0.75] and add["frequency"] == [0, 1, 1, 1]
    assert found["ece"] == pytest.approx((add["ece"] + found["by_kind"]["delete"]["ece"]) / 2)
