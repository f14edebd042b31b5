"""The inputs, state and outputs of generation, as plain dataclasses and named tuples."""

import dataclasses
from typing import Any, NamedTuple

import jax
import numpy as np

from lob_jax.book.anchors import NO_PRICE, REMEMBERED
from lob_jax.book.flow import FlowState
from lob_jax.book.queue import RECENT_SIZES
from lob_jax.book.snapshot import BookSnapshot, Corrections
from lob_jax.book.view import NOTHING_BEHIND, OutOfView
from lob_jax.events.schema import Kind
from lob_jax.generation.device.anchors import Remembered
from lob_jax.generation.device.assembler import Clock, Spelling
from lob_jax.generation.device.live_book import LiveBook, Reveal
from lob_jax.generation.device.live_flow import LiveFlow
from lob_jax.generation.device.orders import Order, OrderTable, Outcome, Own
from lob_jax.generation.device.out_of_view import NO_REVEALS, RevealDistribution
from lob_jax.generation.device.sampling import EVERYTHING, Truncation, check_temperature, require_whole
from lob_jax.models.attention.cache import KVCache
from lob_jax.models.config import ModelConfig
from lob_jax.models.inputs import Conditioning
from lob_jax.tokens.bins import MOST_LOTS

ANY_SIZES = np.full(len(Kind) + 1, MOST_LOTS, np.int32)  # by kind: no limit but that of a level
MOST_EVENTS = 2**30  # maximum of events per path, and of paths: the device counts in int32


@dataclasses.dataclass(frozen=True)
class SamplingConfig:
    """Sampling settings.

    Attributes:
      paths: number of continuations of each prompt.
      events: events per path, including those of `inject`.
      seed: random seed; path i of prompt n has the same random numbers in any batch. They are numbered by event, so
        that runs with and without `inject` share them.
      temperature: divisor of the logits; 0 chooses the most likely allowed token.
      truncation: which tokens of a class may be sampled.
      antithetic: whether to replace each random number by one minus it.
      limit_sizes: whether the sizes that the model writes are limited to those that occur in training, see
        `Prompt.largest`.
      inject: a user's orders to inject into every path; their sizes are not limited.
      named: prefix of these names in errors, such as "config.generate.".

    Raises:
      InputError: a number is out of range.
    """

    paths: int
    events: int
    seed: int
    temperature: float = 1.0
    truncation: Truncation = EVERYTHING
    antithetic: bool = False
    limit_sizes: bool = True
    inject: tuple[Order, ...] = ()
    named: dataclasses.InitVar[str] = ""

    def __post_init__(self, named: str) -> None:
        require_whole(f"{named}paths", self.paths, least=1, most=MOST_EVENTS, remedy="ask for at least one path")
        require_whole(f"{named}events", self.events, least=1, most=MOST_EVENTS, remedy="ask for at least one event")
        require_whole(f"{named}seed", self.seed, least=0, most=2**32 - 1, remedy="any number of 32 bits will do")
        check_temperature(self.temperature, named=named)


@dataclasses.dataclass(frozen=True, eq=False)
class Prompt:
    """Real events that paths continue, ending at an event boundary, and the state of the market after them.

    Attributes:
      tokens_T: int32 [T], at least one.
      known_T: the other inputs at each token by name, [T, ...], as in a training window; includes "event" and "book".
      book: the book after the last event.
      clock_ns: the time of the last event, UNIX ns.
      closed: what the last halt among the events has closed, see `LiveBook`.
      number: its number among the prompts of a batch; with the number of a path, it determines the random numbers.
      behind: if the book has a window, the levels behind its view after the last event.
      reveals: if the book has a window, what comes into view where no level is remembered.
      largest: int32 [8], by kind: the largest size of events in training. A DELETE may always remove a whole order.
      flow: the state of the flow after the last event, for a model that reads it.
      recent: int32 [2, RECENT_SIZES], the last sizes after the last event, for a model that reads queues.
      remembered: int64 [2, REMEMBERED], the prices of the last events, for a model with a pointer.
    """

    tokens_T: np.ndarray
    known_T: dict[str, np.ndarray]
    book: BookSnapshot
    clock_ns: int
    closed: int = 0
    number: int = 0
    behind: OutOfView = NOTHING_BEHIND
    reveals: RevealDistribution = NO_REVEALS
    largest: np.ndarray = dataclasses.field(default_factory=lambda: ANY_SIZES)
    flow: FlowState | None = None
    recent: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros((2, RECENT_SIZES), np.int32))
    remembered: np.ndarray = dataclasses.field(default_factory=lambda: np.full((2, REMEMBERED), NO_PRICE))

    @property
    def start(self) -> BookSnapshot:
        """Return the book at the prompt's last time, which decoding of the paths starts from."""
        return dataclasses.replace(self.book, time_ns=self.clock_ns)


@dataclasses.dataclass(frozen=True)
class Generated:
    """The generated paths; those of one prompt are adjacent.

    Attributes:
      tokens: for each path, int32 [T], the tokens of complete events, without the prompt.
      own: for each path, bool [T], whether a token belongs to one of the user's orders.
      grammar_mass: float32 [B], probability that the grammar masked, on average per sampled token.
      book_mass: float32 [B], share of the remaining probability that the book masked, on average per sampled token.
      clock_ns: each path's clock after its last event, UNIX ns.
      levels: each path's book after its last event, see `live_book.to_levels`.
      orders: for each path, the outcome of each of the user's orders.
      corrections: for each path, the levels that came into view, at the event of the path that another one went with.
      remembered: int64 [B], how many of them had been in view before; the others were drawn.
    """

    tokens: list[np.ndarray]
    own: list[np.ndarray]
    grammar_mass: np.ndarray
    book_mass: np.ndarray
    clock_ns: list[int]
    levels: list[list[list[tuple[int, list[int]]]]]
    orders: list[list[Outcome]]
    corrections: list[Corrections]
    remembered: np.ndarray


class PathState(NamedTuple):
    """The state of one path, apart from the cache; in the loop, every leaf has a leading axis B.

    Attributes:
      grammar: state of the grammar's automaton.
      spelling: the part generated so far of the current event.
      clock: the time of the previous event.
      book: the live book.
      own: the state of the user's orders.
      key: PRNG key of the path.
      fresh: number of events that the model has begun; with `within`, it is folded into the key of each sample.
      within: number of tokens that the model has sampled in the latest of these events.
      written: number of tokens, including those of the user's orders.
      chosen: number of tokens that the model sampled.
      grammar_mass: sum over the sampled tokens of the probability that the grammar masked.
      book_mass: sum over the sampled tokens of the share of the rest that the book masked.
      constant: inputs that keep their values at the end of the prompt, by name.
      last: number of events to generate.
      behind: number of events in the prompt.
      antithetic: whether each random number is replaced by one minus it.
      done: whether all events of the path are complete.
      flow: the flow after the event before the newest head, or with tokens that are events after the newest one; None
        if the model does not read it.
      recent_2R: the last sizes after the last event in the book, see `lob_jax.book.queue`.
      remembered: the prices of the last events in the book, see `lob_jax.book.anchors`.
      latest_L: the latest tokens, see `lob_jax.tokens.latest`; None if the model does not read them.
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
    flow: LiveFlow | None
    recent_2R: jax.Array
    remembered: Remembered
    latest_L: jax.Array | None


class Given(NamedTuple):
    """What the loop reads and does not change; the same for all paths.

    Attributes:
      tables: the tokenizer's lookup tables, and the limits of sizes.
      orders: the user's injected orders.
      reveals: what comes into view of a book with a window.
    """

    tables: Any
    orders: OrderTable
    reveals: RevealDistribution


class Window(NamedTuple):
    """The model's inputs for the tokens in the cache, by slot.

    Attributes:
      tokens_BT: int32 token ids.
      known: the other inputs, by name.
    """

    tokens_BT: jax.Array
    known: Conditioning

    def cut(self, first: int, last: int) -> "Window":
        """Return slots first..last-1."""
        return jax.tree.map(lambda leaf: leaf[:, first:last], self)


class Rest(NamedTuple):
    """The ends of prompts of unequal lengths, which the loop reads token by token before it samples.

    Attributes:
      window: the model's inputs, [B, R, ...]; padded behind a shorter rest.
      count_B: int32, number of tokens in the rest of each path's prompt.
      read_B: int32, number of steps so far; the same on all paths.
    """

    window: Window
    count_B: jax.Array
    read_B: jax.Array


class LoopState(NamedTuple):
    """The carry of the compiled loop.

    Attributes:
      paths: the state of each path.
      window: the model's inputs by slot of the cache.
      writer_BT: int32, n + 1 if the token in a slot belongs to the user's order n, 0 if the model chose it.
      filled_BT: int32, the owner of the resting order that the token's event executed, see `LiveBook.filled`.
      cache: keys and values.
      logits_BV: logits of the next token.
      revealed: the level that each token's event brought into view, by slot; None for books without a window.
      rest: what is left to read of the prompts; None if they have equally many tokens.
    """

    paths: PathState
    window: Window
    writer_BT: jax.Array
    filled_BT: jax.Array
    cache: KVCache
    logits_BV: jax.Array
    revealed: Reveal | None = None
    rest: Rest | None = None


@dataclasses.dataclass(frozen=True)
class LoopShape:
    """The static settings that the loop is compiled for.

    Attributes:
      model: the model's configuration.
      tokenizer: the tokenizer's name.
      tick: price quanta per tick.
      temperature: see `SamplingConfig`.
      truncation: see `SamplingConfig`.
      book_levels: levels per side in the book features.
      ranks: whether the vocabulary has ranks.
    """

    model: ModelConfig
    tokenizer: str
    tick: int
    temperature: float
    truncation: Truncation
    book_levels: int
    ranks: bool = False

    @property
    def sampling(self) -> dict[str, Any]:
        """The arguments of `sampling.choose` and `sampling.probabilities`.

        The kind of an event is sampled before the book mask applies, unless the model was trained with the book mask.
        """
        kinds_first = self.model.mask != "book"
        return {"temperature": self.temperature, "truncation": self.truncation, "kinds_first": kinds_first}
