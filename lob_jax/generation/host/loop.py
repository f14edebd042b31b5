"""Generate on the host, without JAX: a decoder reads the tokens that compiled loops sample, as on the device.

The events are those of `lob_jax.generation.loop`, given the same logits, up to the rounding of sums that
`lob_jax.generation.host.draw` describes.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from lob_jax.events.instrument import Instrument
from lob_jax.generation.generated import Generated
from lob_jax.generation.host.collect import Drawn, collect
from lob_jax.generation.host.context import Context, Decoder, Inputs, prompt_inputs, slots_of
from lob_jax.generation.host.continuation import WORDS, Continuation
from lob_jax.generation.host.state import Number, Paths
from lob_jax.generation.prompt import Prompt, as_prompts, slides
from lob_jax.generation.settings import SamplingConfig
from lob_jax.models.config import ModelConfig
from lob_jax.tokens.tokenizer import Tokenizer

REPORTED = 256  # tokens between two reports of progress


def generate(
    decoder: Decoder,
    prompt: Prompt | Sequence[Prompt],
    *,
    model: ModelConfig,
    tokenizer: Tokenizer,
    instrument: Instrument,
    sampling: SamplingConfig,
    on_progress: Callable[[int], None] | None = None,
) -> Generated:
    """Continue each of one or several prompts by complete events, `sampling.paths` times, see `generation.loop`.

    Args:
      decoder: the network.
      prompt: real events and the state of the market after them; or several of them, from one day of the instrument.
      model: the model's configuration.
      tokenizer: the tokenizer of the model's tokens.
      instrument: the instrument, for its tick and clock.
      sampling: sampling settings.
      on_progress: called from time to time with the smallest number of events in any path.

    Raises:
      InputError: a prompt is empty, an order is invalid, see `check_orders`, or there are orders and several prompts.
    """
    prompts, drawn = as_prompts(prompt), []
    shape: dict[str, Any] = {"model": model, "tokenizer": tokenizer, "instrument": instrument, "sampling": sampling}
    for paths in sampled(decoder, prompts, **shape):
        drawn.append(Drawn(paths.token.copy(), paths.shown.copy()))
        if on_progress and len(drawn) % REPORTED == 0:
            on_progress(min(sampling.events, int(paths.number[:, Number.EVENTS].min())))
    if on_progress:
        on_progress(sampling.events)
    how: dict[str, Any] = {"start": prompts[0].start, "tokenizer": tokenizer, "instrument": instrument}
    behind = WORDS[tokenizer.vocabulary.tokenizer].behind
    return collect(drawn, paths, behind=behind, orders=sampling.inject, **how)


def sampled(
    decoder: Decoder,
    prompts: Sequence[Prompt],
    *,
    model: ModelConfig,
    tokenizer: Tokenizer,
    instrument: Instrument,
    sampling: SamplingConfig,
) -> Iterator[Paths]:
    """Yield the paths after each token, until all are done; arguments and errors are those of `generate`."""
    how: dict[str, Any] = {"model": model, "tokenizer": tokenizer, "instrument": instrument, "sampling": sampling}
    continuation, slots = Continuation(prompts, **how), slots_of(decoder, model)
    start, rest, unread_B = prompt_inputs(prompts, sampling.paths, slots if slides(model) else slots // 2)
    continuation.paths.number[:, Number.UNREAD] = unread_B
    context, read = Context(decoder, model, start), 0
    while True:
        yield continuation.sample(context.logits_BV)
        if continuation.done:
            return
        inputs = continuation.inputs()
        _put_rest(inputs, rest, read, unread_B)
        context.extend(inputs)
        read += 1


def _put_rest(inputs: Inputs, rest: Inputs, read: int, unread_B: np.ndarray) -> None:
    """Put the next token of the rest of each prompt that has one in place of what its paths have sampled."""
    reads_B = read < unread_B
    if reads_B.any():
        for name, leaf in inputs.items():
            leaf[reads_B] = rest[name][reads_B, read : read + 1]
