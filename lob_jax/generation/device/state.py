"""The inputs, state and outputs of generation, as plain dataclasses and named tuples."""

import dataclasses
from typing import Any, NamedTuple

import jax

from lob_jax.generation.device.anchors import Remembered
from lob_jax.generation.device.assembler import Clock, Spelling
from lob_jax.generation.device.live_book import LiveBook, Reveal
from lob_jax.generation.device.live_flow import LiveFlow
from lob_jax.generation.device.orders import OrderTable, Own
from lob_jax.generation.device.price_memory import Past
from lob_jax.generation.prompt import RevealDistribution
from lob_jax.generation.settings import Truncation
from lob_jax.models.attention.cache import KVCache
from lob_jax.models.config import ModelConfig
from lob_jax.models.inputs import Conditioning


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
      past: the past events that the book has taken, see `lob_jax.book.price_memory`; None if the model does not read
        them.
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
    past: Past | None
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
