"""The scores of events as an engine answers them."""

import numpy as np

from lob_jax.evaluation.likelihood.event_scores import EventScores
from lob_jax.serving.requests import Scored
from lob_jax.tokens.sets.escape import Escape

_NAMES = ["", *(reason.name for reason in Escape if reason != Escape.INSIDE)]


def scored(scores: EventScores) -> Scored:
    """Return the log-likelihood of each event, and why the first of its tokens outside the book's set is there."""
    reason_E = np.zeros(len(scores.log_likelihood), np.int64)
    (at,) = np.nonzero(scores.outside)
    reason_E[scores.token_event[at[::-1]]] = scores.outside[at[::-1]]  # of several, the first one is written last
    return Scored(tuple(scores.log_likelihood.tolist()), tuple(_NAMES[reason] for reason in reason_E.tolist()))
