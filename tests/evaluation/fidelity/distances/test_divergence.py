"""Divergence by horizon: blocks against all of real, and a floor at the size of a block."""

import numpy as np
import pytest

from lob_jax.evaluation.fidelity.distances.divergence import divergence
from lob_jax.evaluation.fidelity.distances.draws import halves
from lob_jax.evaluation.fidelity.distances.parts import block
from lob_jax.evaluation.fidelity.score import all_scores
from lob_jax.statistics.distances import distances
from lob_jax.statistics.flow import joined

SPREAD = tuple(score for score in all_scores() if score.name == "spread")


def test_a_block_against_all_of_real(flow):
    real, generated = flow.select([0, 1, 2, 3]), flow.select([4, 5, 6, 7])
    draws = halves(4, 4, splits=3, seed=0)
    found = divergence(SPREAD, real, generated, messages=50, draws=draws)
    assert found["first_message"] == [0, 50, 100] and found["scores"] == 1
    values = SPREAD[0].values
    for j in range(3):
        late = block(generated, j, 50)
        slow = distances(values(real).value, values(late).value, discrete=True).l1
        assert found["value"][j] == pytest.approx(slow)
        own = block(real, j, 50)
        floor = [
            distances(values(real.select(a)).value, values(own.select(b)).value, discrete=True).l1
            for a, b in zip(draws.first, draws.second, strict=True)
        ]
        assert found["floor"][j] == pytest.approx(np.mean(floor))
        assert found["floor_high"][j] == pytest.approx(np.percentile(floor, 99))
        assert found["ratio"][j] == pytest.approx(found["half"][j] / found["floor"][j])
    assert found["by_score"]["spread"]["value"] == found["value"]


def test_a_copy_has_ratio_one_in_every_block(flow):
    found = divergence(SPREAD, flow, flow, messages=30, draws=halves(8, 8, splits=3, seed=0))
    assert found["ratio"] == [1.0] * 5


def test_scores_without_values_in_so_short_a_block_are_left_out(flow):
    scores = all_scores("lob_bench")
    found = divergence(scores, flow, flow, messages=100, draws=halves(8, 8, splits=2, seed=0))
    assert found["first_message"] == [0] and found["by_score"]["ofi"]["value"] == [None]
    assert 10 <= found["scores"] <= 17


def test_flows_that_are_shorter_than_a_block_have_none(flow):
    found = divergence(SPREAD, flow, joined([flow]), messages=500, draws=halves(8, 8, splits=2, seed=0))
    assert found["first_message"] == [] and found["value"] == [] and found["scores"] == 0
