"""Sequences cut to a length, and blocks of them."""

import numpy as np

from lob_jax.evaluation.fidelity.distances.parts import block, common_length, cropped, with_levels
from lob_jax.statistics.flow import joined


def test_parts_are_slices(flow):
    mixed = joined([flow.select([0, 1]), cropped(flow.select([2]), 70)])
    assert np.diff(mixed.edges).tolist() == [150, 150, 70]
    assert np.diff(cropped(mixed, 80).edges).tolist() == [80, 80, 70]
    second = block(mixed, 1, 40)
    assert np.diff(second.edges).tolist() == [40, 40, 0]
    for s in (0, 1):
        np.testing.assert_array_equal(second.select([s]).price, flow.select([s]).price[40:80])
        np.testing.assert_array_equal(second.select([s]).book_price, flow.select([s]).book_price[40:80])


def test_the_common_length(flow):
    assert common_length(flow, cropped(flow, 30)) == 30
    assert common_length(flow, flow.select([])) == 0


def test_fewer_levels(flow):
    assert with_levels(flow, 3).levels == 3 and with_levels(flow, 99).levels == flow.levels
