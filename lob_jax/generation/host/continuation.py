"""The paths that continue some prompts, token by token, whatever computes the logits."""

import copy
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Self

import numpy as np

from lob_jax.events.instrument import Instrument
from lob_jax.generation.host import compact, exact
from lob_jax.generation.host.context import Inputs
from lob_jax.generation.host.given import given_of
from lob_jax.generation.host.known import Day, check_flow, constants, known_at
from lob_jax.generation.host.start import start_paths, with_room
from lob_jax.generation.host.state import Given, Number, Paths
from lob_jax.generation.prompt import Prompt, book_room, check_one, check_prompts, origin_of
from lob_jax.generation.settings import SamplingConfig, check_orders
from lob_jax.models.config import ModelConfig
from lob_jax.tokens.tokenizer import Ability, Tokenizer, require


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


class Continuation:
    """Paths, and what they are sampled by.

    Attributes:
      paths: their state.
      given: what the compiled loops read and do not change.
      behind: see `Words`.
    """

    paths: Paths
    given: Given
    behind: int

    def __init__(
        self,
        prompts: Sequence[Prompt],
        *,
        model: ModelConfig,
        tokenizer: Tokenizer,
        instrument: Instrument,
        sampling: SamplingConfig,
    ) -> None:
        """Begin `sampling.paths` paths at the end of each prompt, those of a prompt adjacent.

        Raises:
          InputError: a prompt is empty, an order is invalid, see `check_orders`, or there are orders and several
            prompts.
        """
        _check(prompts, tokenizer, instrument, sampling)
        rooms = [book_room(each.book, inject=len(sampling.inject)) for each in prompts]
        room = {name: max(each[name] for each in rooms) for name in rooms[0]}
        words = WORDS[tokenizer.vocabulary.tokenizer]
        self.behind, self._advance, self._temperature = words.behind, words.advance, sampling.temperature
        self.given = given_of(prompts[0], tokenizer, instrument, sampling, model, room=room)
        self.paths = start_paths(prompts, tokenizer, sampling, levels=room["places"] + 2)
        words.begin(self.paths, self.given)
        each = [constants(prompt) for prompt in prompts]
        self._constant = {name: np.repeat(np.stack([one[name] for one in each]), sampling.paths, 0) for name in each[0]}
        self._names = {name: np.asarray(leaf).dtype for name, leaf in prompts[0].known_T.items()}
        self._day = Day(instrument.midnight_ns(), model.time_buckets)

    @property
    def done(self) -> bool:
        """Return whether all paths have all their events."""
        return bool(self.paths.number[:, Number.DONE].all())

    @property
    def complete(self) -> np.ndarray:
        """Return how many events of each path are complete, int64 [B]."""
        number = self.paths.number
        return np.clip(number[:, Number.EVENTS] - self.behind, 0, number[:, Number.LAST])

    def part(self, first: int, last: int) -> Self:
        """Return the paths first..last-1 by themselves."""
        mine = copy.copy(self)
        mine.paths = _rows(self.paths, slice(first, last))
        mine._constant = {name: array[first:last] for name, array in self._constant.items()}
        return mine

    def sample(self, logits_BV: np.ndarray) -> Paths:
        """Sample the next token of each path and advance the paths by it; return their state."""
        self.paths = with_room(self.paths)
        self._advance(self.paths, self.given, *scores_of(logits_BV, self._temperature))
        return self.paths

    def inputs(self) -> Inputs:
        """Return the model's inputs at the newest token of each path, [B, 1, ...]; none is a view."""
        tokens_B1 = self.paths.token[:, None].astype(np.int32)
        return {"tokens": tokens_B1, **known_at(self.paths, self._constant, self._names, self._day)}


def _rows(state: Any, rows: slice) -> Any:
    """Return some rows of all arrays of a tuple of arrays and such tuples, as views."""
    return state[rows] if isinstance(state, np.ndarray) else type(state)(*(_rows(leaf, rows) for leaf in state))


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
