"""Prompts: the events that paths continue and the state of the market after them, and the room that paths need."""

import dataclasses
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from lob_jax.book.anchors import NO_PRICE, REMEMBERED
from lob_jax.book.flow import FlowState
from lob_jax.book.price_memory import no_past
from lob_jax.book.queue import RECENT_SIZES
from lob_jax.book.snapshot import BookSnapshot
from lob_jax.book.view import MOST_REMEMBERED, NOTHING_BEHIND, OutOfView
from lob_jax.errors import InputError
from lob_jax.events.schema import Kind
from lob_jax.models.config import ModelConfig
from lob_jax.tokens.bins import MOST_LOTS

if TYPE_CHECKING:  # generation on the host needs no JAX
    import jax

ANY_SIZES = np.full(len(Kind) + 1, MOST_LOTS, np.int32)  # by kind: no limit but that of a level
# by kind: no limit but that of a level
FEWEST_PLACES, FEWEST_ORDERS = 64, 16  # minimum capacity of a live book: levels per side, orders per level
# minimum capacity of a live book: levels per side, orders per level
FIRST_NUMBER = np.uint32(2**31)  # keys of prompts are numbered from here, those of paths from 0
# keys of prompts are numbered from here, those of paths from 0


class RevealDistribution(NamedTuple):
    """What comes into view where no level is remembered: pairs of a side, of which each is equally likely.

    Attributes:
      ticks_2K: int32 [2, K], ticks behind the level before it, ascending; 0 behind the last pair.
      lots_2K: int32 [2, K], lots at the level.
      count_2: int32 [2], number of pairs of bids and of asks.
    """

    ticks_2K: "np.ndarray | jax.Array"
    lots_2K: "np.ndarray | jax.Array"
    count_2: "np.ndarray | jax.Array"


NO_REVEALS = RevealDistribution(np.zeros((2, 0), np.int32), np.zeros((2, 0), np.int32), np.zeros(2, np.int32))


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
      past: int64 [3, PAST_EVENTS], the past events, for a model that reads what last happened at a price.
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
    past: np.ndarray = dataclasses.field(default_factory=no_past)

    @property
    def start(self) -> BookSnapshot:
        """Return the book at the prompt's last time, which decoding of the paths starts from."""
        return dataclasses.replace(self.book, time_ns=self.clock_ns)


def as_prompts(prompt: Prompt | Sequence[Prompt]) -> Sequence[Prompt]:
    """Return one prompt or several as a sequence of prompts."""
    return [prompt] if isinstance(prompt, Prompt) else prompt


def check_prompts(prompts: Sequence[Prompt]) -> None:
    """Check that every prompt has tokens to predict from, and random numbers of its own."""
    if not prompts or not all(len(prompt.tokens_T) for prompt in prompts):
        raise InputError(
            "the prompt is empty" if prompts else "there is no prompt",
            where="generate",
            expected="at least one event",
            was="no tokens",
            remedy="set generate.prompt_events to 1 or more",
        )
    numbers = [prompt.number for prompt in prompts]
    if len(set(numbers)) < len(numbers) or not 0 <= min(numbers) <= max(numbers) < FIRST_NUMBER:
        raise InputError(
            "prompts without a number of their own would share their random numbers",
            where="Prompt.number",
            expected=f"a different one for each prompt, from 0 to {FIRST_NUMBER - 1}",
            was=numbers[:10],
            remedy="number the prompts, for example with dataclasses.replace(prompt, number=n)",
        )


def check_one(prompts: Sequence[Prompt]) -> None:
    """Check that there is one prompt: a limit is a price on its live book."""
    if len(prompts) > 1:
        raise InputError(
            "orders of your own are sent to the paths of one prompt",
            where="generate(inject=...)",
            expected="one prompt",
            was=f"{len(prompts)} prompts",
            remedy="generate from each prompt by itself, with orders for its book",
        )


def origin_of(book: BookSnapshot, tick: int) -> int:
    """Return the origin of the prices of a live book that starts as `book`, in price quanta: a best price of it."""
    best = [book.price[book.side == side] for side in (1, -1)]
    known = [int(prices[0]) for prices in best if len(prices)] or book.last_best[book.seen].tolist()
    return known[0] // tick * tick if known else 0


def book_room(start: BookSnapshot, *, inject: int = 0) -> dict[str, int]:
    """Return the capacity of a live book: levels per side and orders per level, twice those of the starting book.

    A book with a window has no more levels than it keeps in view, and remembers those that leave it. A level of a
    pooled book is one order, and two more for each of the `inject` orders of the user that may join it: that order, and
    the lots behind it.
    """
    orders = [np.unique(start.price[start.side == side], return_counts=True)[1] for side in (1, -1)]
    levels, longest = max(map(len, orders)), max(int(counts.max(initial=0)) for counts in orders)
    return {
        "places": _power(start.window) if start.window else max(FEWEST_PLACES, _power(2 * levels)),
        "orders": _power(max(longest, 1) + 2 * inject) if start.pooled else max(FEWEST_ORDERS, _power(2 * longest)),
        "remembers": MOST_REMEMBERED if start.window else 0,
    }


def _power(number: int) -> int:
    """Return the smallest power of two >= number; with fewer distinct shapes, the loop is compiled less often."""
    return 1 << max(0, math.ceil(math.log2(max(1, number))))


def slides(model: ModelConfig) -> bool:
    """Return whether the context can slide by single tokens: if only differences of positions matter."""
    return model.positions in ("rotary", "rotary_time") and model.regime != "prefix"


def longest_prompt(model: ModelConfig) -> int:
    """Return the maximum number of prompt tokens; a model that cannot slide reads half a context, to leave room."""
    return model.max_seq_length if slides(model) else model.max_seq_length // 2
