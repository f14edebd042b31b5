"""What generation takes, carries and gives: plain dataclasses and named tuples."""

import dataclasses
from typing import NamedTuple

import jax
import numpy as np

from lob_jax.book.snapshot import BookSnapshot
from lob_jax.generation.device.assembler import Clock, Spelling
from lob_jax.generation.device.live_book import LiveBook
from lob_jax.generation.device.orders import Order, Outcome, Own
from lob_jax.generation.device.sampling import EVERYTHING, Truncation, check_temperature, require_whole
from lob_jax.models.attention.cache import KVCache
from lob_jax.models.config import ModelConfig
from lob_jax.models.inputs import Conditioning

MOST_EVENTS = 2**30  # of a path, and paths: the device counts in int32


@dataclasses.dataclass(frozen=True)
class SamplingConfig:
    """How tokens are drawn.

    Attributes:
      paths: continuations of the same prompt, B.
      events: events a path, those of `inject` included.
      temperature: divides the logits; 0 takes the most likely allowed token.
      truncation: what of a token's class may be drawn.
      seed: path i of a seed draws with the same random numbers in any batch, event by event: they are common to runs
        with and without `inject`.
      antithetic: draw with one minus each random number.
      inject: a user's own orders, put into every path.
      named: what stands in front of these names in errors, such as "config.generate.".

    Raises:
      InputError: a number outside its range.
    """

    paths: int
    events: int
    seed: int
    temperature: float = 1.0
    truncation: Truncation = EVERYTHING
    antithetic: bool = False
    inject: tuple[Order, ...] = ()
    named: dataclasses.InitVar[str] = ""

    def __post_init__(self, named: str) -> None:
        require_whole(f"{named}paths", self.paths, least=1, most=MOST_EVENTS, remedy="ask for at least one path")
        require_whole(f"{named}events", self.events, least=1, most=MOST_EVENTS, remedy="ask for at least one event")
        require_whole(f"{named}seed", self.seed, least=0, most=2**32 - 1, remedy="any number of 32 bits will do")
        check_temperature(self.temperature, named=named)


@dataclasses.dataclass(frozen=True, eq=False)
class Prompt:
    """Real events in front of a path, ending at an event boundary, and the market they end in.

    Attributes:
      tokens_T: int32 [T], at least one.
      known_T: inputs beside each token, [T, ...], by name, as in a training window; "event" and "book" among them.
      book: the book after the last event.
      clock_ns: the time of the last event, UNIX ns.
      closed: what a halt among the events has closed, see `LiveBook`.
    """

    tokens_T: np.ndarray
    known_T: dict[str, np.ndarray]
    book: BookSnapshot
    clock_ns: int
    closed: int = 0

    @property
    def start(self) -> BookSnapshot:
        """Return the book and the clock that paths are decoded from."""
        return dataclasses.replace(self.book, time_ns=self.clock_ns)


@dataclasses.dataclass(frozen=True)
class Generated:
    """What a run of the loop gives.

    Attributes:
      tokens: for each path, int32 [T], whole events, the prompt not included.
      own: for each path, bool [T], the tokens of the user's own orders.
      grammar_mass: float32 [B], mean probability a drawn token that the grammar took from the model.
      book_mass: float32 [B], of the rest, the mean share that the book took.
      clock_ns: each path's clock after its last event, UNIX ns.
      levels: each path's book after its last event, see `live_book.to_levels`.
      orders: for each path, what became of each of the user's own orders.
    """

    tokens: list[np.ndarray]
    own: list[np.ndarray]
    grammar_mass: np.ndarray
    book_mass: np.ndarray
    clock_ns: list[int]
    levels: list[list[list[tuple[int, list[int]]]]]
    orders: list[list[Outcome]]


class PathState(NamedTuple):
    """What one path knows beside the cache; every leaf gets a leading B.

    Attributes:
      grammar: state of the automaton.
      spelling: the event being spelt.
      clock: the time of the event before.
      book: levels.
      own: the user's orders.
      key: PRNG key of the path.
      fresh: events that the model has begun, and tokens of the last of them that it has drawn: they number its draws.
      within: see `fresh`.
      written: tokens in all.
      chosen: tokens that the model drew.
      grammar_mass: sum over these of the probability that the grammar took away; likewise the book.
      book_mass: see `grammar_mass`.
      constant: inputs that stay as the prompt ended in them, by name.
      last: events that the path shall have.
      behind: events of the prompt.
      antithetic: whether draws are made with one minus each random number.
      done: whether all the path's events are spelt.
    """

    grammar: jax.Array
    spelling: Spelling
    clock: Clock
    book: LiveBook
    own: Own
    key: jax.Array
    fresh: jax.Array
    within: jax.Array
    written: jax.Array
    chosen: jax.Array
    grammar_mass: jax.Array
    book_mass: jax.Array
    constant: dict[str, jax.Array]
    last: jax.Array
    behind: jax.Array
    antithetic: jax.Array
    done: jax.Array


class Window(NamedTuple):
    """The inputs of the tokens in the cache, slot by slot: what a model is applied to.

    Attributes:
      tokens_BT: int32.
      known: what is known beside them, by name.
    """

    tokens_BT: jax.Array
    known: Conditioning

    def cut(self, first: int, last: int) -> "Window":
        """Return slots first..last-1."""
        return jax.tree.map(lambda leaf: leaf[:, first:last], self)


class LoopState(NamedTuple):
    """The carry of the compiled loop.

    Attributes:
      paths: what each path knows.
      window: inputs by slot of the cache.
      own_BT: bool, slots whose token belongs to an order of the user's.
      cache: keys and values.
      logits_BV: of the next token.
    """

    paths: PathState
    window: Window
    own_BT: jax.Array
    cache: KVCache
    logits_BV: jax.Array


@dataclasses.dataclass(frozen=True)
class LoopShape:
    """What the compiled loop is specialised to.

    Attributes:
      model: the model's shape.
      tokenizer: its name.
      tick: price quanta in a tick.
      temperature: see `SamplingConfig`.
      truncation: see `SamplingConfig`.
      book_levels: levels a side in the book features.
    """

    model: ModelConfig
    tokenizer: str
    tick: int
    temperature: float
    truncation: Truncation
    book_levels: int
