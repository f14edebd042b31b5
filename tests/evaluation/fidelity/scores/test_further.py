"""Further scores by hand: sizes, moves, gaps by kind, and ranks in the queue."""

import dataclasses

import numpy as np
import pytest

from lob_jax.evaluation.fidelity.score import all_scores
from lob_jax.evaluation.fidelity.scores.sizes import rounded
from lob_jax.events.schema import Kind
from lob_jax.statistics.flow_series import moves
from tests.made_flow import made_flow, random_flow

ADD, CANCEL, DELETE, EXECUTE = Kind.ADD, Kind.CANCEL, Kind.DELETE, Kind.EXECUTE
SCORES = {score.name: score for score in all_scores("further")}


def values(name, flow):
    return SCORES[name].values(flow)


def test_the_grid_keeps_small_numbers_and_errs_by_an_eighth_at_most():
    assert rounded(np.arange(-8, 9)).tolist() == list(range(-8, 9)) and rounded(np.array([100])) == [96]
    value = np.random.default_rng(0).lognormal(3, 3, 1000)
    np.testing.assert_allclose(rounded(value), value, rtol=1 / 8)
    assert np.isnan(rounded(np.array([np.nan]))).all()
    assert len(np.unique(rounded(np.arange(64, 128)))) == 5  # four steps and the end


def test_sizes_by_kind():
    flow = made_flow([(0, ADD, 1, 99, 3, 1), (0, DELETE, 1, 99, 3, 1)], [(0, ADD, 1, 99, 200, 2)])
    found = values("size_add", flow)
    assert found.value.tolist() == [3, 192] and found.sequence.tolist() == [0, 1]
    assert len(values("size_execute", flow).value) == 0


def test_the_share_of_a_level_that_is_taken():
    books = [([(98, 10)], [(101, 1)]), ([(99, 15)], [(101, 1)]), ([(99, 99)], [(101, 1)])]
    flow = made_flow(
        [(0, kind, 1, 99, size, 1) for kind, size in ((DELETE, 5), (EXECUTE, 5), (CANCEL, 1))], books=books
    )
    assert values("taken_share", flow).value.tolist() == [1.0, 0.3, 0.1]


@pytest.mark.parametrize("horizon", [1, 10, 100])
def test_moves_by_horizon(horizon):
    flow = random_flow(0, sequences=4, length=150)
    move, row = moves(flow, horizon)
    found = values(f"mid_move_{horizon}", flow)
    np.testing.assert_allclose(found.value, move, rtol=1 / 8)
    np.testing.assert_array_equal(found.sequence, flow.sequence()[row])


def test_gaps_before_trades():
    messages = [(0, ADD, 1, 99, 1, 1), (2_000_000, EXECUTE, 1, 99, 1, 1), (2_000_000, EXECUTE, 1, 99, 1, 1)]
    np.testing.assert_allclose(values("log_gap_trade", made_flow(messages)).value, [np.log(2), np.log(1e-9)])


def test_ranks_need_ids_and_a_placement():
    queue = [(0, ADD, 1, 99, 5, order_id) for order_id in (1, 2, 3)]
    removals = [(0, EXECUTE, 1, 99, 5, 1), (0, DELETE, 1, 99, 5, 3), (0, DELETE, 1, 99, 5, 77)]
    flow = made_flow([*queue, *removals])
    assert values("queue_rank_execute", flow).value.tolist() == [2]
    assert values("queue_rank_removal", flow).value.tolist() == [0]
    assert len(values("queue_rank_execute", dataclasses.replace(flow, order_id=0 * flow.order_id)).value) == 0


@pytest.mark.parametrize("name", SCORES)
def test_values_are_finite_and_in_order_of_sequences(name):
    for flow in (random_flow(1, sequences=3), random_flow(2, length=2), made_flow([], [(0, ADD, 1, 99, 5, 1)])):
        found = values(name, flow)
        assert np.isfinite(found.value).all() and (np.diff(found.sequence) >= 0).all()
        assert len(found.value) == len(found.sequence)
