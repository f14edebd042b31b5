"""What the networks read, by hand."""

import numpy as np

from lob_jax.evaluation.fidelity.networks.inputs import in_steps, sequence_inputs
from tests.made_flow import made_flow


def test_inputs_by_hand():
    books = [([(99, 5), (98, 5)], [(101, 5)]), ([(98, 5)], [(101, 5)]), ([(98, 5)], [(101, 5)])]
    flow = made_flow([(0, 1, 1, 98, 5, 1), (0, 3, 1, 99, 5, 2)], [(0, 1, -1, 150, 3, 3)], books=books)
    inputs = sequence_inputs(flow, steps=3)
    assert inputs.shape == (2, 3, 3) and not inputs[0, 2].any() and not inputs[1, 1:].any()
    np.testing.assert_allclose(inputs[0, 0], [0, 2, np.log(6)], rtol=1e-6)  # second level, 5 added
    np.testing.assert_allclose(inputs[0, 1], [-np.log(1.5), 1, -np.log(6)], rtol=1e-6)  # the best is gone
    np.testing.assert_allclose(inputs[1, 0], [0, 0, np.log(4)], rtol=1e-6)  # beyond what the book shows


def test_columns_stand_at_their_sequence_and_place():
    flow = made_flow([(0, 1, 1, 99, 1, 1)] * 3, [], [(0, 1, 1, 99, 1, 1)])
    found = in_steps(flow, np.arange(4.0)[:, None], steps=2, fill=-1)
    assert found[:, :, 0].tolist() == [[0, 1], [-1, -1], [3, -1]]
