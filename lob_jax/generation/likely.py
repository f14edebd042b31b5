"""Generate the events that a model considers most likely, greedily."""

from typing import Any

from lob_jax.events.instrument import Instrument
from lob_jax.events.schema import Events
from lob_jax.generation.loop import generate
from lob_jax.generation.paths import path_day
from lob_jax.generation.prompt import Prompt
from lob_jax.generation.settings import SamplingConfig
from lob_jax.models.config import ModelConfig
from lob_jax.tokens.tokenizer import Tokenizer


def most_likely_events(
    params: Any, prompt: Prompt, *, events: int, model: ModelConfig, tokenizer: Tokenizer, instrument: Instrument
) -> Events:
    """Return the next events, choosing in each step the most likely token that grammar and book allow.

    This is greedy decoding without search. The most likely event is not a typical one, and a sequence of them is calmer
    than any market; use `fan` for a forecast.

    Args:
      params: the model's parameters.
      prompt: real events and the state of the market after them.
      events: number of events.
      model: the model's configuration.
      tokenizer: the tokenizer of the model's tokens.
      instrument: the instrument, for its tick and clock.

    Raises:
      InputError: as in `loop.generate`.
    """
    sampling = SamplingConfig(paths=1, events=events, seed=0, temperature=0.0)
    how: dict[str, Any] = {"model": model, "tokenizer": tokenizer, "instrument": instrument}
    drawn = generate(params, prompt, sampling=sampling, **how)
    how = {"tokenizer": tokenizer, "instrument": instrument}
    return path_day(drawn.tokens[0], drawn.corrections[0], start=prompt.start, **how).events
