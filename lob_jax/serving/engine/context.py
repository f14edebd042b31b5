"""What a network has read of a market, whatever the division of its events into calls.

Tokens are read in blocks of BLOCK, and the rest, from two tokens to BLOCK + 1, at once and on trial: when more is
known, it is taken back and read again with what follows. So what the network computes depends on the tokens alone.
"""

import copy
from collections.abc import Iterator, Sequence

import numpy as np

from lob_jax.export.cache import BLOCK
from lob_jax.generation.host.context import Inputs, named
from lob_jax.generation.prompt import slides
from lob_jax.models.config import ModelConfig
from lob_jax.serving.engine.network import Network

MOST_TOKENS = 16  # of a continuation on trial: more than an event has
FARTHEST = 1 << 20  # the last position of a context that slides; angles of rotary positions are exact enough before it


class MarketContext:
    """The context of a market's next token.

    Attributes:
      model: the model's configuration.
      cache: a cache of one row.
      length: number of tokens in the context.
      logits_V: the logits of the next token; None while there is something to read.
    """

    def __init__(self, network: Network, model: ModelConfig) -> None:
        """Begin an empty context."""
        self._network, self.model = network, model
        self._limit, self._kept = limits_of(model)
        self.cache, self.length, self._committed, self._on_trial = network.new_cache(1), 0, 0, 0
        self._newest: Inputs = {}  # the last tokens: those that a new context begins with, and all that are not read
        self.logits_V: np.ndarray | None = None

    @property
    def next_logits_V(self) -> np.ndarray:
        """Return the logits of the next token; there is nothing left to read."""
        assert self.logits_V is not None
        return self.logits_V

    def extend(self, inputs: Inputs) -> None:
        """Append tokens, [T, ...] each; a context that is full begins anew with its newest tokens."""
        count, done = len(inputs["tokens"]), 0
        while done < count:
            part = min(count - done, self._limit - self.length)
            self._append({name: leaf[done : done + part] for name, leaf in inputs.items()})
            done += part
            if self.length == self._limit:
                self._begin_anew()

    def correct(self, count: int, inputs: Inputs) -> None:
        """Let the last tokens have other inputs, [1, ...] each, where what is known at them was corrected later.

        Args:
          count: how many; those that no more than one block has before the rest.
          inputs: the inputs that are others, by name.
        """
        self._forget_trial()
        if self.length - self._committed < count and self._committed > 0:
            self.cache.take_back(0, BLOCK)
            self._committed -= BLOCK
        changed = min(count, self.length - self._committed)
        if changed == 0:
            return
        last = {name: leaf[-changed:] for name, leaf in self._newest.items()}
        last |= {name: np.repeat(leaf, changed, 0) for name, leaf in inputs.items()}
        if changed == self.length:
            last = _opened(last, self.model)
        self._newest = {name: np.concatenate([leaf[:-changed], last[name]]) for name, leaf in self._newest.items()}

    def read(self) -> Iterator[None]:
        """Let the network read what is new, a block with each step; then there are logits."""
        yield from self.read_blocks()
        if self.logits_V is None and self.length > 0:
            self._on_trial = self.length - self._committed
            self.logits_V = self._read_next(self._on_trial)
            yield

    def read_blocks(self) -> Iterator[None]:
        """Let the network read what need not be read on trial, a block with each step."""
        while self.logits_V is None and self.length - self._committed > BLOCK + 1:
            self._read_next(BLOCK)
            self._committed += BLOCK
            yield

    def read_all(self) -> None:
        """Let the network read all that is new."""
        for _ in self.read():
            pass

    def copy(self) -> "MarketContext":
        """Return an independent copy."""
        twin = copy.copy(self)
        twin.cache = self._network.new_cache(1)
        twin.cache.copy_row(0, self.cache, 0)
        return twin

    def has_room(self, count: int) -> bool:
        """Return whether the context has places for so many tokens."""
        return self.length + count <= self._limit

    def with_room(self, count: int) -> "MarketContext":
        """Return a context with places for so many tokens: this one, or a new one of its newest tokens; all is read."""
        context = self if self.has_room(count) else self.anew(self.newest(self._kept))
        context.read_all()
        return context

    def anew(self, inputs: Inputs) -> "MarketContext":
        """Return another context of the same network, which begins with some tokens; nothing of it is read yet."""
        context = MarketContext(self._network, self.model)
        context.extend(inputs)
        return context

    def look(self, inputs: Inputs) -> np.ndarray:
        """Return the logits after continuations, [B, T, ...] each, which are not kept; all has been read."""
        return self._network.look(self.cache, inputs)

    def newest(self, count: int) -> Inputs:
        """Return the last tokens of the context, at most `count`, [T, ...] each."""
        return {name: leaf[-count:] for name, leaf in self._newest.items()}

    def _append(self, inputs: Inputs) -> None:
        if self.length == 0:
            inputs = _opened(inputs, self.model)
        self.length += len(inputs["tokens"])
        self._forget_trial()
        needed = max(self._kept, self.length - self._committed)
        together = {
            name: np.concatenate([self._newest[name], leaf])[-needed:] if self._newest else leaf[-needed:].copy()
            for name, leaf in inputs.items()
        }
        self._newest = together

    def _forget_trial(self) -> None:
        self.cache.take_back(0, self._on_trial)
        self._on_trial, self.logits_V = 0, None

    def _begin_anew(self) -> None:
        kept = self.newest(self._kept)
        self.cache.clear(0)
        self.length = self._committed = self._on_trial = 0
        self._newest = {}
        self._append(kept)

    def _read_next(self, count: int) -> np.ndarray:
        unread = self.length - self._committed
        first = len(self._newest["tokens"]) - unread
        block = {name: leaf[None, first : first + count] for name, leaf in self._newest.items()}
        return self._network.read(self.cache, block)[0]


def limits_of(model: ModelConfig) -> tuple[int, int]:
    """Return after how many tokens a context begins anew, and with how many; see `lob_jax.generation.host.context`."""
    most = model.max_seq_length
    return (FARTHEST, most) if slides(model) else (most, most // 2)


def _opened(inputs: Inputs, model: ModelConfig) -> Inputs:
    """Return the beginning of a context, [T, ...] each, with the token of its regime if the model has one."""
    return {name: leaf[0] for name, leaf in named({name: leaf[None] for name, leaf in inputs.items()}, model).items()}


class Trials:
    """Continuations of a context, which it does not keep: they are read together, from the context on."""

    def __init__(self, context: MarketContext) -> None:
        """Begin with a context, of which all has been read; nothing may be added to it meanwhile."""
        self._context = context.with_room(MOST_TOKENS)
        self._tokens: Inputs | None = None

    def read(self, inputs: Inputs) -> np.ndarray:
        """Append a token to each continuation, [B, 1, ...]; return the logits after them, float32 [B, V]."""
        before = self._tokens
        if before is not None:
            inputs = {name: np.concatenate([before[name], leaf], axis=1) for name, leaf in inputs.items()}
        self._tokens = inputs
        return self._context.look(inputs)


class PathContexts:
    """What is read again when the contexts of paths are full: the newest tokens of each.

    Attributes:
      length: number of tokens in each context.
    """

    def __init__(self, market: MarketContext, *, paths: int) -> None:
        """Begin with the context of a market, for so many paths."""
        self._market, (self._limit, self._kept) = market, limits_of(market.model)
        self.length = market.length
        self._before = [market.newest(self._kept)] * paths
        self._steps: list[Inputs] = []

    @property
    def full(self) -> bool:
        """Return whether the contexts are to begin anew."""
        return self.length == self._limit

    def note(self, inputs: Inputs) -> None:
        """Note a token of each path that the network has read, [B, 1, ...] each."""
        self.length += 1
        if not slides(self._market.model):
            self._steps.append(inputs)

    def begin_anew(self) -> Sequence[MarketContext]:
        """Return contexts that begin with the newest tokens of each path; nothing of them is read yet."""
        contexts = []
        for path, before in enumerate(self._before):
            parts = [before, *({name: leaf[path] for name, leaf in step.items()} for step in self._steps)]
            joined = {name: np.concatenate([part[name] for part in parts])[-self._kept :] for name in before}
            contexts.append(self._market.anew(joined))
        self.length, self._steps = contexts[0].length, []
        self._before = [context.newest(self._kept) for context in contexts]
        return contexts
