import numpy as np
import pytest

from lob_jax.evaluation.direction.moves import DOWN, FLAT, UP, Moves
from lob_jax.evaluation.direction.state_table import fit_state_table, labels_of, table_probability


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
