"""Generate on the host, without JAX: a decoder reads the tokens that compiled loops sample, as on the device.

The events are those of `lob_jax.generation.loop`, given the same logits, up to the rounding of sums that
`lob_jax.generation.host.draw` describes.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from lob_jax.events.instrument import Instrument
from lob_jax.generation.generated import Generated
from lob_jax.generation.host import compact, exact
from lob_jax.generation.host.collect import Drawn, collect
from lob_jax.generation.host.context import Context, Decoder, Inputs, prompt_inputs, slots_of
from lob_jax.generation.host.given import given_of
from lob_jax.generation.host.known import Day, check_flow, constants, known_at
from lob_jax.generation.host.start import start_paths, with_room
from lob_jax.generation.host.state import Number, Paths
from lob_jax.generation.prompt import Prompt, as_prompts, book_room, check_one, check_prompts, origin_of, slides
from lob_jax.generation.settings import SamplingConfig, check_orders
from lob_jax.models.config import ModelConfig
from lob_jax.tokens.tokenizer import Ability, Tokenizer, require

REPORTED = 256  # tokens between two reports of progress


class Words(NamedTuple):
    """The compiled loops of a tokenizer.

    Attributes:
      begin: finds the tokens that may come first.
      advance: samples a token of each path, and advances the paths.
      behind: tokens after an event that are needed to show that it is complete.
    """

    begin: Callable[..., None]
    advance: Callable[..., None]
    behind: int


WORDS = {
    "exact": Words(exact.begin, exact.advance, behind=1),
    "compact": Words(compact.begin, compact.advance, behind=0),
}


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
    _check(prompts, tokenizer, instrument, sampling)
    rooms = [book_room(each.book, inject=len(sampling.inject)) for each in prompts]
    room = {name: max(each[name] for each in rooms) for name in rooms[0]}
    given = given_of(prompts[0], tokenizer, instrument, sampling, model, room=room)
    paths = start_paths(prompts, tokenizer, sampling, levels=room["places"] + 2)
    words = WORDS[tokenizer.vocabulary.tokenizer]
    words.begin(paths, given)
    slots = slots_of(decoder, model)
    start, rest, unread_B = prompt_inputs(prompts, sampling.paths, slots if slides(model) else slots // 2)
    paths.number[:, Number.UNREAD] = unread_B
    context = Context(decoder, model, start)
    inputs = PathInputs(prompts, sampling, Day(instrument.midnight_ns(), model.time_buckets), rest, unread_B)
    while True:
        paths = with_room(paths)
        words.advance(paths, given, *scores_of(context.logits_BV, sampling.temperature))
        yield paths
        if paths.number[:, Number.DONE].all():
            return
        context.extend(inputs.next(paths))


def _check(prompts: Sequence[Prompt], tokenizer: Tokenizer, instrument: Instrument, sampling: SamplingConfig) -> None:
    """Check that there are prompts, and that the user's orders can be sent."""
    check_prompts(prompts)
    require(tokenizer, Ability.GENERATION, what="generation", where="the tokenizer")
    check_flow(prompts[0])
    if sampling.inject:
        require(tokenizer, Ability.ORDERS, what="an order of your own", where="generate(inject=...)")
        check_one(prompts)
    origin = origin_of(prompts[0].book, instrument.tick)
    check_orders(sampling.inject, instrument, origin=origin, events=sampling.events)


def scores_of(logits_BV: np.ndarray, temperature: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return logits divided by the temperature, their weights, and those at temperature 1, see `Scores`."""
    logits_BV = np.ascontiguousarray(logits_BV, np.float32)
    share_BV = np.exp(logits_BV - logits_BV.max(1, keepdims=True))
    if temperature in (0, 1):
        return logits_BV, share_BV, share_BV
    scaled_BV = logits_BV / np.float32(temperature)
    return scaled_BV, np.exp(scaled_BV - scaled_BV.max(1, keepdims=True)), share_BV


class PathInputs:
    """The model's inputs, token by token: the rests of prompts first, then what is sampled."""

    def __init__(
        self, prompts: Sequence[Prompt], sampling: SamplingConfig, day: Day, rest: Inputs, unread_B: np.ndarray
    ):
        """Begin behind the prompts, or with the `rest` of the longer ones, `unread_B` tokens of each path."""
        each = [constants(prompt) for prompt in prompts]
        self._constant = {name: np.repeat(np.stack([one[name] for one in each]), sampling.paths, 0) for name in each[0]}
        self._names = {name: np.asarray(leaf).dtype for name, leaf in prompts[0].known_T.items()}
        self._day, self._rest, self._unread_B, self._read = day, rest, unread_B, 0

    def next(self, paths: Paths) -> Inputs:
        """Return the inputs at the newest token of each path, [B, 1, ...]."""
        token_B1 = paths.token[:, None].astype(np.int32)
        inputs = {"tokens": token_B1, **known_at(paths, self._constant, self._names, self._day)}
        reads_B = self._read < self._unread_B
        if reads_B.any():
            at = slice(self._read, self._read + 1)
            for name, leaf in inputs.items():
                leaf[reads_B] = self._rest[name][reads_B, at]
        self._read += 1
        return inputs
