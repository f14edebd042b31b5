"""Direction scores against a confusion matrix worked out by hand, the formulas of two classes, and degenerate cases."""

import json
import math

import numpy as np
import pytest

from lob_jax.errors import InputError
from lob_jax.evaluation.direction import scores as s
from lob_jax.evaluation.direction.moves import DOWN, FLAT, UP
from lob_jax.evaluation.direction.sums import block_sums

CONFUSION = np.array([[4.0, 1, 0], [2, 3, 1], [0, 0, 5]])  # rows are true classes, columns predicted classes
PRIOR = np.array([0.1, 0.8, 0.1])


def one_block(probability, label):
    return block_sums(np.array(probability, float), np.array(label), np.zeros(len(label), np.int64)).whole()


def plain(result):
    """Check that a result is JSON without NaN."""
    assert json.loads(json.dumps(result, allow_nan=False)) == result
    return result


def test_f1_by_hand():
    """Class 0: 2*4/(5+6); class 1: 2*3/(6+4); class 2: 2*5/(5+6); they occur 5, 6 and 5 times."""
    f1 = np.array([8 / 11, 6 / 10, 10 / 11])
    assert s.class_f1(CONFUSION) == pytest.approx(f1)
    assert s.macro_f1(CONFUSION) == pytest.approx(f1.mean())
    assert s.weighted_f1(CONFUSION) == pytest.approx((5 * f1[0] + 6 * f1[1] + 5 * f1[2]) / 16)
    assert s.balanced_accuracy(CONFUSION) == pytest.approx((4 / 5 + 3 / 6 + 5 / 5) / 3)


def test_means_are_over_the_classes_that_occur():
    never = np.array([[3.0, 0, 0], [1, 0, 0], [0, 0, 0]])  # class 2 neither occurs nor is predicted
    assert s.macro_f1(never) == pytest.approx((6 / 7 + 0) / 2)
    assert s.balanced_accuracy(never) == pytest.approx((1 + 0) / 2)
    predicted = np.array([[3.0, 0, 2], [0, 4, 0], [0, 0, 0]])  # class 2 is predicted but never comes
    assert s.macro_f1(predicted) == pytest.approx((6 / 8 + 1) / 2)


def test_mcc_by_hand():
    """c = 12 of s = 16; predicted 6, 4, 6 times; occurring 5, 6, 5 times."""
    above = 12 * 16 - (6 * 5 + 4 * 6 + 6 * 5)
    assert s.mcc(CONFUSION) == pytest.approx(above / math.sqrt((256 - 88) * (256 - 86)))


def test_kappa_by_hand():
    """Right 12 of 16; by chance (6*5 + 4*6 + 6*5) / 256."""
    chance = 84 / 256
    assert s.kappa(CONFUSION) == pytest.approx((12 / 16 - chance) / (1 - chance))


def test_mcc_and_kappa_of_two_classes_are_the_usual_ones():
    tp, fn, fp, tn = 7.0, 3.0, 2.0, 8.0
    confusion = np.array([[tp, 0, fn], [0, 0, 0], [fp, 0, tn]])
    usual = (tp * tn - fp * fn) / math.sqrt((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn))
    assert s.mcc(confusion) == pytest.approx(usual)
    kappa = 2 * (tp * tn - fn * fp) / ((tp + fp) * (fp + tn) + (tp + fn) * (fn + tn))
    assert s.kappa(confusion) == pytest.approx(kappa)


@pytest.mark.parametrize("score", [s.mcc, s.kappa])
def test_the_truth_a_constant_and_a_single_class(score):
    assert score(np.diag([3.0, 4.0, 5.0])) == pytest.approx(1)
    assert score(np.array([[5.0, 0, 0], [3, 0, 0], [2, 0, 0]])) == 0
    for single in ([[0.0, 0, 0], [3, 2, 1], [0, 0, 0]], [[4.0, 0, 0], [0, 0, 0], [0, 0, 0]]):
        assert np.isnan(score(np.array(single)))


def test_a_classifier_that_is_always_wrong_is_below_zero():
    turned = np.array([[0.0, 0, 5], [0, 0, 0], [5, 0, 0]])
    assert s.mcc(turned) == s.kappa(turned) == pytest.approx(-1)


def test_proper_scores_and_ece_by_hand():
    """Bins of width 1/15: .7 and .68 are in the eleventh; .4 is on the upper edge of the sixth, and in it."""
    probability = [[0.7, 0.2, 0.1], [0.16, 0.68, 0.16], [0.3, 0.3, 0.4], [0.35, 0.4, 0.25]]
    got = s.scores(one_block(probability, [0, 2, 2, 0]))
    assert got["ece"] == pytest.approx((abs(0.7 + 0.68 - 1) + abs(0.4 + 0.4 - 1)) / 4)
    assert got["log_loss"] == pytest.approx(-np.log([0.7, 0.16, 0.4, 0.35]).mean())
    squares = [0.09 + 0.04 + 0.01, 0.0256 + 0.4624 + 0.7056, 0.09 + 0.09 + 0.36, 0.4225 + 0.16 + 0.0625]
    assert got["brier"] == pytest.approx(np.mean(squares))
    assert got["accuracy"] == 0.5


def test_the_brier_score_runs_from_zero_to_two():
    assert s.scores(one_block([[0, 0, 1.0]], [UP]))["brier"] == 0
    assert s.scores(one_block([[1.0, 0, 0]], [UP]))["brier"] == 2
    assert s.scores(one_block([[1 / 3] * 3], [UP]))["brier"] == pytest.approx(2 / 3)


def test_direction_scores_by_hand():
    probability = np.array([[0.2, 0.7, 0.1], [0.1, 0.8, 0.1], [0.1, 0.6, 0.3], [0.0, 0.4, 0.6]])
    scores = plain(s.direction_scores(probability, np.array([DOWN, FLAT, UP, FLAT]), prior=PRIOR))
    assert scores["events"] == 4
    assert scores["shares"] == {"down": 0.25, "flat": 0.5, "up": 0.25}
    assert scores["balanced_floor"] == pytest.approx(1 / 3)
    assert scores["majority_accuracy"] == 0.5
    assert scores["log_loss"] == pytest.approx(-np.log([0.2, 0.8, 0.3, 0.4]).mean())
    assert scores["prior_log_loss"] == pytest.approx(-np.log([0.1, 0.8, 0.1, 0.8]).mean())
    assert scores["prior_brier"] == pytest.approx((1.46 + 0.06 + 1.46 + 0.06) / 4)
    # Argmax: flat, flat, flat, up. Over the prior: 2 down; a tie, which goes to down; 3 up; 6 up.
    assert scores["accuracy"] == 1 / 4
    assert scores["balanced_accuracy"] == pytest.approx((0 + 1 / 2 + 0) / 3)
    assert scores["corrected"]["accuracy"] == 2 / 4
    assert scores["corrected"]["balanced_accuracy"] == pytest.approx((1 + 0 + 1) / 3)
    assert scores["confusion"] == [[0, 1, 0], [0, 1, 1], [0, 1, 0]]
    assert scores["undefined"] == {} and "intervals" not in scores


def test_majority_decisions_are_the_balanced_floor():
    label = np.array([DOWN, FLAT, FLAT, UP, FLAT])
    scores = s.direction_scores(np.tile(PRIOR, (5, 1)), label, prior=PRIOR)
    assert scores["balanced_accuracy"] == pytest.approx(scores["balanced_floor"]) == pytest.approx(1 / 3)
    assert scores["accuracy"] == scores["majority_accuracy"] == 3 / 5
    assert scores["mcc"] == scores["kappa"] == 0
    two = s.direction_scores(np.tile(PRIOR, (2, 1)), np.array([FLAT, UP]))
    assert two["balanced_accuracy"] == two["balanced_floor"] == 1 / 2


def test_a_class_that_does_not_occur_has_no_f1_and_a_single_one_no_correlation():
    scores = plain(s.direction_scores(np.tile([0.2, 0.5, 0.3], (4, 1)), np.array([FLAT] * 4), prior=PRIOR))
    assert scores["mcc"] is None and scores["kappa"] is None
    assert scores["undefined"] == {"mcc": s.ONE_CLASS, "kappa": s.ONE_CLASS}
    assert scores["by_class"]["up"] == {
        "examples": 0,
        "precision": None,
        "recall": None,
        "f1": None,
        "undefined": s.ABSENT,
    }
    assert scores["by_class"]["flat"] == {"examples": 4, "precision": 1.0, "recall": 1.0, "f1": 1.0}
    assert scores["accuracy"] == scores["macro_f1"] == 1


def test_no_example_leaves_every_score_undefined():
    none = np.zeros(0, np.int64)
    scores = plain(s.direction_scores(np.zeros((0, 3)), none, prior=PRIOR, block=none))
    assert scores["events"] == scores["blocks"] == 0
    assert {scores[name] for name in s.SCORES} == {scores["balanced_floor"], scores["prior_log_loss"]} == {None}
    assert scores["undefined"] == dict.fromkeys((*s.SCORES, "intervals"), s.NO_EXAMPLE)
    assert scores["shares"] == {"down": None, "flat": None, "up": None}


def test_an_impossible_event_costs_a_bounded_loss():
    scores = s.direction_scores(np.array([[0.0, 1.0, 0.0]]), np.array([UP]))
    assert scores["log_loss"] == pytest.approx(math.log(1e9))


def test_reliability_counts_each_class_in_the_bins_of_its_own_probability():
    probability = np.array([[0.05, 0.05, 0.9], [0.05, 0.06, 0.89], [0.5, 0.3, 0.2]])
    curves = s.direction_scores(probability, np.array([UP, DOWN, DOWN]))["reliability"]
    assert [one["examples"] for one in curves["up"]] == [1, 2]
    assert curves["up"][1] == pytest.approx(
        {"low": 13 / 15, "high": 14 / 15, "examples": 2, "probability": 0.895, "share": 0.5}
    )
    assert curves["down"][0]["share"] == 0.5 and curves["down"][1]["share"] == 1
    assert sum(one["examples"] for one in curves["flat"]) == 3
    ece = sum(abs(one["probability"] - one["share"]) * one["examples"] for one in curves["predicted"]) / 3
    assert s.scores(one_block(probability, [UP, DOWN, DOWN]))["ece"] == pytest.approx(ece)


def test_intervals_hold_the_score_and_are_reproducible():
    random = np.random.default_rng(0)
    label, probability = random.integers(0, 3, 300), random.dirichlet(np.ones(3), 300)
    one, again = (s.direction_scores(probability, label, block=np.arange(300) // 10, draws=200) for _ in range(2))
    assert plain(one) == again and one["blocks"] == 30
    for name in ("accuracy", "macro_f1", "mcc", "kappa", "log_loss", "brier"):
        low, high = one["intervals"][name]
        assert low < one[name] < high
    alone = plain(s.direction_scores(probability, label, block=np.zeros(300, np.int64)))
    assert set(alone["intervals"].values()) == {None} and alone["undefined"] == {"intervals": s.ONE_BLOCK}


def test_the_interval_of_the_accuracy_is_that_of_a_binomial_share():
    """With blocks of a single example it is the normal interval, within the noise of 4,000 draws."""
    random = np.random.default_rng(1)
    label = random.integers(0, 2, 2000)
    got = s.direction_scores(np.tile([0.6, 0.4, 0.0], (2000, 1)), label, block=np.arange(2000), draws=4000)
    low, high = got["intervals"]["accuracy"]
    share = (label == 0).mean()
    assert high - low == pytest.approx(2 * 1.96 * math.sqrt(share * (1 - share) / 2000), rel=0.05)
    assert (low + high) / 2 == pytest.approx(share, abs=0.002)


@pytest.mark.parametrize(
    ("probability", "label"),
    [
        ([[0.5, 0.5, 0.0]], [3]),
        ([[0.5, 0.5, 0.0]], [-1]),
        ([[2.0, -1.0, 0.0]], [0]),
        ([[1.5, 0.2, 0.1]], [0]),
        ([[float("nan"), 0.5, 0.5]], [0]),
        ([[0.5, 0.5, 0.0]], [0, 1]),
    ],
)
def test_what_is_no_probability_or_class_is_refused(probability, label):
    with pytest.raises(InputError, match="cannot be scored"):
        s.direction_scores(np.array(probability), np.array(label))


def test_decisions_by_hand():
    label = np.array([DOWN, DOWN, FLAT, FLAT, FLAT, FLAT, UP, UP])
    decided = np.array([DOWN, FLAT, FLAT, FLAT, UP, UP, UP, DOWN])
    scores = s.decision_scores(decided, label)
    assert scores["accuracy"] == 4 / 8
    assert scores["balanced_accuracy"] == pytest.approx((1 / 2 + 2 / 4 + 1 / 2) / 3)
    assert scores["macro_f1"] == pytest.approx((2 / (2 + 2) + 4 / (4 + 3) + 2 / (2 + 3)) / 3)
