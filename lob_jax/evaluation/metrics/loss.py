"""The loss of next-token predictions, and its perplexity."""

import math
from typing import Any

import numpy as np

from lob_jax.evaluation.metric import Metric, Row, Scored
from lob_jax.tokens import vocabulary as v

N_FIELDS = len(v.FIELDS)


def nll_by_field(scored: Scored) -> np.ndarray:
    """Return the loss of each token in nats in the column of its field, float64 [n, N_FIELDS]."""
    return np.where(scored.field[:, None] == np.arange(N_FIELDS), scored.nll[:, None], 0.0)


def _figures(sums: np.ndarray, events: int, tokens: int) -> dict[str, Any]:
    loss = float(sums.sum()) / tokens
    return {"loss": loss, "perplexity": math.exp(loss) if loss < 700 else math.inf}  # exp overflows above 709


METRIC = Metric(
    count=nll_by_field,
    figures=_figures,
    rows=(
        Row(
            "perplexity",
            "perplexity",
            ".2f",
            "exp(loss): the number of equally likely tokens that would be as hard to predict",
        ),
        Row("loss", "loss, nats per token", ".4f", "minus the log probability of the token that came, on average"),
    ),
)
