"""The next n events that a model holds most likely, one after the other."""

from typing import Any

from lob_jax.book.day import MarketDay
from lob_jax.events.instrument import Instrument
from lob_jax.events.schema import Events
from lob_jax.generation.device.state import Prompt, SamplingConfig
from lob_jax.generation.loop import generate
from lob_jax.models.config import ModelConfig
from lob_jax.tokens.tokenizer import Tokenizer


def most_likely_events(
    params: Any, prompt: Prompt, *, events: int, model: ModelConfig, tokenizer: Tokenizer, instrument: Instrument
) -> Events:
    """Return the next events, each token the most likely one that grammar and book allow: greedy, no search.

    The likeliest event is not the typical one: a list of them is calmer than any market. `fan` tells what to expect.

    Args:
      params: the model's parameters.
      prompt: real events and the market they end in.
      events: how many.
      model: the model's shape.
      tokenizer: what its tokens stand for.
      instrument: whose tick and clock to use.

    Raises:
      InputError: as `loop.generate`.
    """
    sampling = SamplingConfig(paths=1, events=events, seed=0, temperature=0.0)
    how = {"model": model, "tokenizer": tokenizer, "instrument": instrument}
    (tokens,) = generate(params, prompt, sampling=sampling, **how).tokens
    return tokenizer.decode(tokens, MarketDay.opening(instrument, prompt.start))
