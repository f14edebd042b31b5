"""`predicted`: the probabilities of the next event, exactly those with which generation draws it."""

import dataclasses
from collections.abc import Generator

import numpy as np

from lob_jax.events.instrument import Instrument
from lob_jax.events.schema import Kind
from lob_jax.generation.host.context import Inputs
from lob_jax.generation.host.continuation import Continuation, scores_of
from lob_jax.generation.host.state import Given, Paths
from lob_jax.generation.prompt import Prompt
from lob_jax.generation.settings import SamplingConfig
from lob_jax.models.config import ModelConfig
from lob_jax.serving.predict.chances import write_chances
from lob_jax.serving.predict.compact import compact_prediction
from lob_jax.serving.predict.heads import by_kind, entropy_bits, exact_heads, listed
from lob_jax.serving.predict.numbers import likeliest
from lob_jax.serving.predict.rows import Numbers, number_rows
from lob_jax.serving.requests import Prediction
from lob_jax.tokens import vocabulary as v
from lob_jax.tokens.tokenizer import Tokenizer


def predicted(
    prompt: Prompt,
    logits_V: np.ndarray,
    *,
    model: ModelConfig,
    tokenizer: Tokenizer,
    instrument: Instrument,
    heads: int,
    most: int,
) -> Generator[Inputs, np.ndarray, Prediction]:
    """Predict the event after a prompt; a coroutine, which leaves the network to its caller.

    It yields inputs for `heads` rows, [heads, 1, ...] each, that continue the prompt by one token more every time, and
    is sent the logits after them, float32 [heads, V]. Rows that need no more tokens are given PAD. With compact tokens,
    or without heads, it yields nothing.

    Sizes and times are those of leading codes: for a far price, and for a size, the likeliest further digits are taken
    before what follows is predicted.

    Args:
      prompt: real events and the state of the market after them.
      logits_V: float32 [V], the logits of the token after the prompt.
      model: the model's configuration.
      tokenizer: the tokenizer of the model's tokens.
      instrument: the instrument, for its tick and clock.
      heads: for how many of the likeliest heads sizes and times are predicted as well.
      most: how many of the likeliest heads are listed.

    Raises:
      InputError: the prompt is empty or lacks what the model reads, or nothing can be generated from such tokens.
    """
    sampling = SamplingConfig(paths=max(heads, 1), events=1, seed=0)
    how = {"model": model, "tokenizer": tokenizer, "instrument": instrument, "sampling": sampling}
    continuation = Continuation([prompt], **how)
    paths, given = continuation.paths, continuation.given
    chance_V = _first_chances(paths, given, logits_V)
    if tokenizer.vocabulary.bins is not None:
        return compact_prediction(paths, given, tokenizer.vocabulary.bins, chance_V, heads=heads, most=most)
    table, chance_N = exact_heads(), chance_V[: v.CONTINUATION]
    best = likeliest(chance_N, most)
    found = listed(paths, given, table, best, chance_N)
    asked = [int(token) for token in best[:heads] if table.spans.kind[token] != Kind.CONTROL]
    numbers: dict[int, Numbers] = {}
    if asked:
        numbers = yield from number_rows(continuation, asked)
    for at, token in enumerate(best.tolist()):
        if token in numbers:
            found[at] = dataclasses.replace(found[at], **numbers[token]._asdict())
    return Prediction(tuple(found), by_kind(table, chance_N), entropy_bits(chance_N))


def _first_chances(paths: Paths, given: Given, logits_V: np.ndarray) -> np.ndarray:
    """Return the probability of each token after the prompt, float64 [V]."""
    logit_1V, share_1V, _ = scores_of(np.asarray(logits_V)[None], 1.0)
    chance_1V = np.zeros(logit_1V.shape)
    write_chances(paths, given, np.array([v.BOS]), logit_1V, share_1V, chance_1V)
    return chance_1V[0]
