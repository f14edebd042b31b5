import math

import numpy as np
import pytest

from lob_jax.errors import InputError
from lob_jax.evaluation.direction.moves import DOWN, FLAT, UP, Moves
from lob_jax.evaluation.direction.scores import (
    decision_scores,
    direction_scores,
    fit_state_table,
    labels_of,
    table_probability,
)

PRIOR = np.array([0.1, 0.8, 0.1])


def test_decisions_by_hand():
    label = np.array([DOWN, DOWN, FLAT, FLAT, FLAT, FLAT, UP, UP])
    decided = np.array([DOWN, FLAT, FLAT, FLAT, UP, UP, UP, DOWN])
    scores = decision_scores(decided, label)
    assert scores["accuracy"] == 4 / 8
    assert scores["balanced_accuracy"] == pytest.approx((1 / 2 + 2 / 4 + 1 / 2) / 3)
    assert scores["macro_f1"] == pytest.approx((2 / (2 + 2) + 4 / (4 + 3) + 2 / (2 + 3)) / 3)


def test_scores_by_hand():
    probability = np.array([[0.2, 0.7, 0.1], [0.1, 0.8, 0.1], [0.1, 0.6, 0.3], [0.0, 0.4, 0.6]])
    scores = direction_scores(probability, np.array([DOWN, FLAT, UP, FLAT]), prior=PRIOR)
    assert scores["events"] == 4
    assert scores["shares"] == {"down": 0.25, "flat": 0.5, "up": 0.25}
    assert scores["balanced_floor"] == pytest.approx(1 / 3)
    assert scores["majority_accuracy"] == 0.5
    assert scores["log_loss"] == pytest.approx(-np.log([0.2, 0.8, 0.3, 0.4]).mean())
    assert scores["prior_log_loss"] == pytest.approx(-np.log([0.1, 0.8, 0.1, 0.8]).mean())
    # Argmax: flat, flat, flat, up. Over the prior: 2 down; a tie, which goes to down; 3 up; 6 up.
    assert scores["accuracy"] == 1 / 4
    assert scores["balanced_accuracy"] == pytest.approx((0 + 1 / 2 + 0) / 3)
    assert scores["corrected"]["accuracy"] == 2 / 4
    assert scores["corrected"]["balanced_accuracy"] == pytest.approx((1 + 0 + 1) / 3)


def test_majority_decisions_are_the_balanced_floor():
    label = np.array([DOWN, FLAT, FLAT, UP, FLAT])
    scores = direction_scores(np.tile(PRIOR, (5, 1)), label, prior=PRIOR)
    assert scores["balanced_accuracy"] == pytest.approx(scores["balanced_floor"]) == pytest.approx(1 / 3)
    assert scores["accuracy"] == scores["majority_accuracy"] == 3 / 5
    two = direction_scores(np.tile(PRIOR, (2, 1)), np.array([FLAT, UP]), prior=PRIOR)
    assert two["balanced_accuracy"] == two["balanced_floor"] == 1 / 2


def test_an_impossible_event_costs_a_bounded_loss_and_none_at_all_is_refused():
    scores = direction_scores(np.array([[0.0, 1.0, 0.0]]), np.array([UP]), prior=PRIOR)
    assert scores["log_loss"] == pytest.approx(math.log(1e9))
    with pytest.raises(InputError, match="no event has a direction"):
        direction_scores(np.zeros((0, 3)), np.zeros(0, int), prior=PRIOR)


def hand_moves(label, size, action, *, lead=0, unknown=()):
    count = len(label)
    return Moves(
        label=np.array(label),
        known=~np.isin(np.arange(count), unknown),
        own=np.arange(count) >= lead,
        best_size=np.array(size),
        action=np.array(action),
    )


def test_the_table_counts_by_size_buckets_and_last_action():
    # 100 and 127 lots share a bucket, 128 is in the next one. A lead and an event without direction do not count.
    train = hand_moves(
        [UP, DOWN, UP, FLAT, FLAT, DOWN],
        [[100, 5], [100, 5], [127, 4], [128, 5], [128, 5], [100, 5]],
        [2, 2, 2, 2, 2, 2],
        lead=1,
        unknown=(5,),
    )
    table = fit_state_table([train])
    assert table.prior == pytest.approx([2 / 7, 3 / 7, 2 / 7])  # one down, two flat, one up, and one more each
    test = hand_moves([UP, FLAT, UP], [[64, 7], [200, 6], [100, 5]], [2, 2, 3])
    p = table_probability(table, [train, test], np.array([1, 1, 1]), np.array([0, 1, 2]))
    assert p[0] == pytest.approx((np.array([1, 0, 1]) + 3 * table.prior) / 5)
    assert p[1] == pytest.approx((np.array([0, 2, 0]) + 3 * table.prior) / 5)
    assert p[2] == pytest.approx(table.prior)
    assert labels_of([train, test], np.array([1, 0, 1]), np.array([1, 1, 2])).tolist() == [FLAT, DOWN, UP]
