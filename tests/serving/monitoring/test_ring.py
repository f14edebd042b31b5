"""The latest of many columns."""

import numpy as np
import pytest

from lob_jax.export.reference.quality import Scores, quality_of
from lob_jax.serving.monitoring.ring import Ring


@pytest.mark.parametrize("sizes", [(3, 4, 5), (1,) * 12, (12,), (25, 3)])
def test_the_latest_scores_are_held_in_order(sizes):
    latest, at = Ring(len(Scores._fields), 5, np.float64), 0
    for size in sizes:
        column = np.arange(at, at + size, dtype=float)
        latest.add(np.stack(Scores(*([column] * len(Scores._fields)))))
        at += size
    assert latest.added == at
    quality = quality_of(Scores(*latest.latest()))
    assert quality.nats == at - 3 and quality.events == 5
    assert latest.latest()[0].tolist() == list(range(at - 5, at))


def test_at_first_there_are_fewer_than_the_window_holds():
    latest = Ring(2, 5, np.int8)
    assert latest.latest().shape == (2, 0)
    latest.add(np.array([[1, 2], [3, 4]]))
    assert latest.latest().tolist() == [[1, 2], [3, 4]]
