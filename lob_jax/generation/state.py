"""What generation takes, carries and gives: plain dataclasses and named tuples."""

import dataclasses
from typing import NamedTuple

import flax
import jax
import jax.numpy as jnp
import numpy as np

from lob_jax.book.snapshot import BookSnapshot
from lob_jax.events.schema import Code
from lob_jax.generation.assembler import Clock, Spelling
from lob_jax.generation.live_book import LiveBook
from lob_jax.models.config import ModelConfig
from lob_jax.models.transformer import Conditioning, KVCache
from lob_jax.tokens import vocabulary as vocab
from lob_jax.tokens.grammar import Grammar

HALTS = (Code.HALT, Code.RESUME_QUOTE, Code.RESUME_TRADE)


@dataclasses.dataclass(frozen=True)
class SamplingConfig:
    """How tokens are drawn.

    Attributes:
      paths: continuations of the same prompt, B.
      events: events a path.
      temperature: divides the logits; 0 takes the most likely allowed token.
      top_k: tokens to choose from; 0 for all.
      seed: path i of a seed is the same in any batch.
    """

    paths: int
    events: int
    temperature: float
    top_k: int
    seed: int


@dataclasses.dataclass(frozen=True, eq=False)
class Prompt:
    """Real events in front of a path, ending at an event boundary, and the market they end in.

    Attributes:
      tokens_T: int32 [T], at least one.
      time_of_day_T: int32 [T], conditioning of each token as in a training batch; likewise the next two.
      day_of_week_T: int32 [T].
      book_TF: float32 [T, F].
      beside_T: what else the model reads at each token, see `Window`; the event that each belongs to is there always.
      book: the book after the last event.
      clock_ns: the time of the last event, UNIX ns.
    """

    tokens_T: np.ndarray
    time_of_day_T: np.ndarray
    day_of_week_T: np.ndarray
    book_TF: np.ndarray
    beside_T: dict[str, np.ndarray]
    book: BookSnapshot
    clock_ns: int


@dataclasses.dataclass(frozen=True)
class Generated:
    """What a run of the loop gives.

    Attributes:
      tokens: for each path, int32 [T], whole events, the prompt not included.
      masked_mass: float32 [B], mean probability a token that the grammar took from the model.
      impossible: for each reason of `live_book.REASONS`, events that the live books could not take.
      forgotten: levels that the live books had no place for.
      clock_ns: each path's clock after its last event, UNIX ns.
    """

    tokens: list[np.ndarray]
    masked_mass: np.ndarray
    impossible: dict[str, int]
    forgotten: int
    clock_ns: list[int]


class PathState(NamedTuple):
    """What one path knows beside the cache; every leaf gets a leading B.

    Attributes:
      grammar: state of the automaton.
      spelling: the event being spelt.
      clock: the time of the event before.
      book: levels.
      key: PRNG key of the path.
      drawn: tokens drawn so far.
      masked_mass: sum over tokens of the probability that the grammar took away.
      regime: of the market, as the prompt ended in it.
      done: whether all the path's events are spelt.
    """

    grammar: jax.Array
    spelling: Spelling
    clock: Clock
    book: LiveBook
    key: jax.Array
    drawn: jax.Array
    masked_mass: jax.Array
    regime: jax.Array
    done: jax.Array


class Window(NamedTuple):
    """The inputs of the current context: tokens and conditioning, filled up to the cache's length.

    What stands in `beside` is named as in `data.dataset.Beside`: event, clock, regime and instrument.
    """

    tokens_BT: jax.Array
    time_of_day_BT: jax.Array
    day_of_week_BT: jax.Array
    book_BTF: jax.Array
    beside: dict[str, jax.Array]

    def conditioning(self) -> Conditioning:
        """Return what the model reads beside the tokens."""
        return Conditioning(
            time_of_day_BT=self.time_of_day_BT,
            day_of_week_BT=self.day_of_week_BT,
            book_BTF=self.book_BTF,
            regime_BT=self.beside.get("regime"),
            instrument_BT=self.beside.get("instrument"),
            event_BT=self.beside.get("event"),
            clock_BT2=self.beside.get("clock"),
        )

    def cut(self, first: int, last: int) -> "Window":
        """Return positions first..last-1."""
        return jax.tree.map(lambda leaf: leaf[:, first:last], self)


class LoopState(NamedTuple):
    """The carry of the compiled loop."""

    paths: PathState
    window: Window
    cache: KVCache
    logits_BV: jax.Array


@flax.struct.dataclass
class Tables:
    """The grammar on the device.

    Attributes:
      transition_SV: int16, the state after a token, -1 where it is forbidden.
      drawable_V: bool, tokens that a market can give: no framing, no clock running back, and of the CONTROL
        codes those of halts alone, since the others tell of a feed or a session.
    """

    transition_SV: jax.Array
    drawable_V: jax.Array

    @classmethod
    def of(cls, grammar: Grammar) -> "Tables":
        """Copy the transition table to the device."""
        drawable = np.arange(vocab.VOCAB_SIZE) >= vocab.CLASS_SIZE
        drawable[[vocab.TIME_SKIP, *(vocab.CONTROL_BASE + code for code in HALTS)]] = True
        return cls(jnp.asarray(grammar.transition), jnp.asarray(drawable))


@dataclasses.dataclass(frozen=True)
class LoopShape:
    """What the compiled loop is specialised to."""

    model: ModelConfig
    events: int
    temperature: float
    top_k: int
    book_levels: int
    prompt_events: int
