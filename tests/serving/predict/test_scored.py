"""Scores as an engine answers them: an event is outside for the reason of its first token that is."""

import numpy as np

from lob_jax.evaluation.likelihood.event_scores import event_scores
from lob_jax.serving.predict.scored import scored
from lob_jax.serving.requests import Scored
from lob_jax.tokens.sets.escape import Escape


def test_an_event_has_its_sum_and_its_first_reason():
    tokens = np.array([1000, 8005, 9100, 3000, 8005, 9100, 4000, 8001, 9100], np.uint16)
    outside = np.zeros(9, np.uint8)
    outside[4], outside[5], outside[6] = Escape.NO_SUCH_ORDER, Escape.TIME_BACK, Escape.BEHIND_THE_BEST
    found = scored(event_scores(tokens, -np.arange(9.0), outside, events=3))
    assert found == Scored((-3.0, -12.0, -21.0), ("", "NO_SUCH_ORDER", "BEHIND_THE_BEST"))
