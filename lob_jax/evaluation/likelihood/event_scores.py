"""`EventScores`: how likely the events of a day were; also where there is no JAX."""

import dataclasses

import numpy as np

from lob_jax.book.day import MarketDay
from lob_jax.errors import InputError
from lob_jax.evaluation.likelihood.kinds import KindScores
from lob_jax.models.config import ModelConfig
from lob_jax.tokens.vocabulary import event_index


@dataclasses.dataclass(frozen=True, eq=False)
class EventScores:
    """Log-likelihoods of the events of a day under a model, each given the events before it.

    Attributes:
      log_likelihood: float64 [E], nats: the sum over the tokens of each event.
      tokens: uint16 [T], the scored tokens.
      token_log_likelihood: float64 [T], nats.
      token_event: int64 [T], index of the event that each token belongs to.
      outside: uint8 [T], 0 if the book allows the token, else why it does not, see `lob_jax.tokens.sets.escape.Escape`.
      kinds: what the model said of the kind and side of each event; None where it was not asked for.
    """

    log_likelihood: np.ndarray
    tokens: np.ndarray
    token_log_likelihood: np.ndarray
    token_event: np.ndarray
    outside: np.ndarray
    kinds: KindScores | None = None


def event_scores(
    tokens: np.ndarray,
    token_log_likelihood: np.ndarray,
    outside: np.ndarray,
    *,
    events: int,
    kinds: KindScores | None = None,
) -> EventScores:
    """Return the scores of so many events, given those of their tokens."""
    event = event_index(tokens).astype(np.int64)
    total = np.bincount(event, weights=token_log_likelihood, minlength=events)
    return EventScores(total, tokens, token_log_likelihood, event, outside, kinds)


def check_scores(model: ModelConfig, day: MarketDay, *, first: int = 0) -> None:
    """Check that a model has a likelihood of the events of one day, and that there are some from the first one on.

    Raises:
      InputError: it does not, or there are none.
    """
    if not model.causal or model.attention.cross_asset:
        hidden = "a model of masked tokens" if not model.causal else "a model that attends to another instrument"
        raise InputError(
            "this model does not score the events of one day",
            where="score",
            expected="a causal model of one instrument at a time",
            was=hidden,
            remedy="use evaluate(run), which tests every model on the run's own records",
        )
    if not 0 <= first < len(day.events):
        raise InputError(
            "there is nothing to score",
            where="score",
            expected="at least one event" if first == 0 else f"a first event within 0..{len(day.events) - 1}",
            was="a day without events" if first == 0 else first,
            remedy="pass a day with events, of which the first to be scored is one",
        )
