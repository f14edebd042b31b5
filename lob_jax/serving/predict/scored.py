"""The scores of events as an engine answers them."""

import numpy as np

from lob_jax.evaluation.likelihood.event_scores import EventScores
from lob_jax.serving.requests import Scored
from lob_jax.tokens.sets.escape import Escape

_NAMES = ["", *(reason.name for reason in Escape if reason != Escape.INSIDE)]


def scored(scores: EventScores) -> Scored:
    """Return the log-likelihood of each event, why the first of its tokens outside the book's set is there, and what
    the model said of its kind and side.
    """
    reason_E = np.zeros(len(scores.log_likelihood), np.int64)
    (at,) = np.nonzero(scores.outside)
    reason_E[scores.token_event[at[::-1]]] = scores.outside[at[::-1]]  # of several, the first one is written last
    kinds = scores.kinds
    assert kinds is not None, "an engine scores kinds, too"
    names = tuple(_NAMES[reason] for reason in reason_E.tolist())
    found = (kinds.brier, kinds.chance, kinds.likelier, kinds.entropy_bits, kinds.removed)
    return Scored(tuple(scores.log_likelihood.tolist()), names, *(tuple(column.tolist()) for column in found))
