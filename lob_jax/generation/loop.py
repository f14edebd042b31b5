"""Prefill a prompt, then draw tokens in one compiled loop with a cache, a live book and a clock a path."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import flax
import jax
import jax.numpy as jnp
import numpy as np

from lob_jax.book.snapshot import BookSnapshot
from lob_jax.errors import InputError
from lob_jax.events.instrument import NS_PER_SECOND, Instrument
from lob_jax.events.schema import Code
from lob_jax.generation import assembler, live_book
from lob_jax.generation.assembler import Clock, Spelling
from lob_jax.generation.live_book import LiveBook
from lob_jax.generation.sampling import choose
from lob_jax.models.config import ModelConfig
from lob_jax.models.transformer import Conditioning, KVCache, LOBTransformer, empty_cache
from lob_jax.tokens import vocabulary as vocab
from lob_jax.tokens.grammar import Grammar

SECONDS_PER_DAY = 86_400
HALTS = (Code.HALT, Code.RESUME_QUOTE, Code.RESUME_TRADE)
PLACES = 256  # levels a side of a live book


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
      book: the book after the last event.
      clock_ns: the time of the last event, UNIX ns.
    """

    tokens_T: np.ndarray
    time_of_day_T: np.ndarray
    day_of_week_T: np.ndarray
    book_TF: np.ndarray
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
      done: whether all the path's events are spelt.
    """

    grammar: jax.Array
    spelling: Spelling
    clock: Clock
    book: LiveBook
    key: jax.Array
    drawn: jax.Array
    masked_mass: jax.Array
    done: jax.Array


class Window(NamedTuple):
    """The inputs of the current context: tokens and conditioning, filled up to the cache's length."""

    tokens_BT: jax.Array
    time_of_day_BT: jax.Array
    day_of_week_BT: jax.Array
    book_BTF: jax.Array

    def conditioning(self) -> Conditioning:
        """Return what the model reads beside the tokens."""
        return Conditioning(self.time_of_day_BT, self.day_of_week_BT, self.book_BTF)

    def cut(self, first: int, last: int) -> "Window":
        """Return positions first..last-1."""
        return Window(*(leaf[:, first:last] for leaf in self))


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


def _step_path(state: PathState, token: jax.Array, next_grammar: jax.Array, shape: LoopShape) -> PathState:
    """Move one path over a token that it drew: clock at a head, book at the first token of time."""
    begins = assembler.is_head(token)
    clock = jax.tree.map(
        functools.partial(jnp.where, begins), assembler.advance(state.clock, state.spelling), state.clock
    )
    spelling, complete = assembler.read(state.spelling, token)
    taken = live_book.apply(
        state.book,
        kind=spelling.kind,
        code=spelling.code,
        side=spelling.side,
        deeper=spelling.price,
        size=spelling.size,
    )
    book = jax.tree.map(functools.partial(jnp.where, complete), taken, state.book)
    moved = state._replace(
        grammar=next_grammar,
        spelling=spelling,
        clock=clock,
        book=book,
        drawn=state.drawn + 1,
        done=spelling.events > shape.events,
    )
    return jax.tree.map(functools.partial(jnp.where, state.done), state, moved)


def _draw(state: LoopState, tables: Tables, shape: LoopShape) -> tuple[PathState, jax.Array]:
    """Draw one token a path; finished paths give PAD."""
    paths = state.paths
    next_BV = tables.transition_SV[paths.grammar]
    allowed_BV = (next_BV >= 0) & tables.drawable_V
    keys_B = jax.vmap(jax.random.fold_in)(paths.key, paths.drawn)
    choice = choose(keys_B, state.logits_BV, allowed_BV, temperature=shape.temperature, top_k=shape.top_k)
    next_B = jnp.take_along_axis(next_BV, choice.token_B[:, None], 1)[:, 0].astype(jnp.int32)
    moved = jax.vmap(functools.partial(_step_path, shape=shape))(paths, choice.token_B, next_B)
    mass_B = jnp.where(paths.done, 0.0, choice.masked_mass_B)
    token_B = jnp.where(paths.done, vocab.PAD, choice.token_B)
    return moved._replace(masked_mass=paths.masked_mass + mass_B), token_B


def _inputs(paths: PathState, token_B: jax.Array, shape: LoopShape) -> Window:
    """Return the model's inputs at the newest token of each path, length 1."""
    seconds_B = jnp.clip(paths.clock.seconds, 0, SECONDS_PER_DAY - 1)
    bucket_B = seconds_B * shape.model.time_buckets // SECONDS_PER_DAY
    book_BF = jax.vmap(functools.partial(live_book.features, levels=shape.book_levels))(paths.book)
    return Window(token_B[:, None], bucket_B[:, None], jnp.zeros_like(bucket_B)[:, None], book_BF[:, None])


@functools.partial(jax.jit, static_argnames="shape")
def prefill(params: Any, window: Window, *, shape: LoopShape) -> tuple[jax.Array, KVCache]:
    """Run the context through the model: logits after its last token [B, V], and the filled cache."""
    batch = window.tokens_BT.shape[0]
    cache = empty_cache(shape.model, batch, shape.model.max_seq_length)
    logits_BTV, cache = LOBTransformer(shape.model).apply(
        {"params": params}, window.tokens_BT, window.conditioning(), cache=cache
    )
    return logits_BTV[:, -1], cache


@functools.partial(jax.jit, static_argnames="shape", donate_argnames="state")
def extend(params: Any, state: LoopState, tables: Tables, *, shape: LoopShape) -> LoopState:
    """Draw tokens until every path has its events or the context is full.

    Args:
      params: the model's parameters.
      state: a filled cache, the logits after its last token, and a window of max_seq_length positions.
      tables: the grammar.
      shape: what to compile for.
    """
    model = LOBTransformer(shape.model)

    def unfinished(carry: LoopState) -> jax.Array:
        return ~carry.paths.done.all() & (carry.cache.length < shape.model.max_seq_length)

    def one_token(carry: LoopState) -> LoopState:
        paths, token_B = _draw(carry, tables, shape)
        at = carry.cache.length
        new = _inputs(paths, token_B, shape)
        new = new._replace(day_of_week_BT=carry.window.day_of_week_BT[:, :1])
        window = jax.tree.map(
            lambda whole, one: jax.lax.dynamic_update_slice_in_dim(whole, one.astype(whole.dtype), at, 1),
            carry.window,
            new,
        )
        logits_B1V, cache = model.apply(
            {"params": params}, new.tokens_BT, new.conditioning(), cache=carry.cache
        )
        return LoopState(paths, window, cache, logits_B1V[:, 0])

    return jax.lax.while_loop(unfinished, one_token, state)


def _start_paths(
    prompt: Prompt, grammar: Grammar, instrument: Instrument, sampling: SamplingConfig
) -> PathState:
    """Return every path's state at the end of the prompt."""
    book, _ = live_book.from_snapshot(prompt.book, tick=instrument.tick, places=PLACES)
    seconds, ns = divmod(prompt.clock_ns - instrument.midnight_ns(), NS_PER_SECOND)
    zero = jnp.int32(0)
    one = PathState(
        grammar=jnp.int32(grammar.start),
        spelling=assembler.blank(),
        clock=Clock(jnp.int32(seconds), jnp.int32(ns)),
        book=book,
        key=zero,
        drawn=zero,
        masked_mass=jnp.float32(0),
        done=jnp.bool_(False),
    )
    paths = jax.tree.map(lambda leaf: jnp.repeat(leaf[None], sampling.paths, 0), one)
    root = jax.random.key(sampling.seed)
    return paths._replace(key=jax.vmap(lambda i: jax.random.fold_in(root, i))(jnp.arange(sampling.paths)))


def _prompt_window(prompt: Prompt, paths: int, longest: int) -> Window:
    """Return the end of the prompt, at most `longest` tokens, once a path."""
    leaves = (prompt.tokens_T, prompt.time_of_day_T, prompt.day_of_week_T, prompt.book_TF)
    return Window(*(jnp.repeat(jnp.asarray(leaf[-longest:])[None], paths, 0) for leaf in leaves))


def _padded(window: Window, length: int) -> Window:
    """Make room for the tokens to come."""
    return Window(*(
        jnp.pad(leaf, ((0, 0), (0, length - leaf.shape[1])) + ((0, 0),) * (leaf.ndim - 2)) for leaf in window
    ))


def generate(
    params: Any,
    prompt: Prompt,
    *,
    model: ModelConfig,
    grammar: Grammar,
    instrument: Instrument,
    sampling: SamplingConfig,
    on_progress: Callable[[int], None] | None = None,
) -> Generated:
    """Continue a prompt by whole events, `sampling.paths` times.

    A path that outgrows the context goes on from its newest half, prefilled again.

    Args:
      params: the model's parameters.
      prompt: real events and the market they end in.
      model: the model's shape.
      grammar: what may follow what; EOS and the other framing specials are never drawn.
      instrument: whose tick and clock to use.
      sampling: how to draw.
      on_progress: called with the fewest events that any path has, whenever the context fills.

    Raises:
      InputError: the prompt is empty.
    """
    if len(prompt.tokens_T) == 0:
        raise InputError(
            "the prompt is empty",
            where="generate",
            expected="at least one event",
            was="no tokens",
            remedy="set generate.prompt_events to 1 or more",
        )
    levels = prompt.book_TF.shape[-1] // 4
    shape = LoopShape(model, sampling.events, sampling.temperature, sampling.top_k, levels)
    length, tables = model.max_seq_length, Tables.of(grammar)
    paths = _start_paths(prompt, grammar, instrument, sampling)
    context = _prompt_window(prompt, sampling.paths, length // 2)
    pieces = []
    while not bool(paths.done.all()):
        kept = context.tokens_BT.shape[1]
        logits_BV, cache = prefill(params, context, shape=shape)
        state = extend(params, LoopState(paths, _padded(context, length), cache, logits_BV), tables, shape=shape)
        paths, window, end = state.paths, state.window, int(state.cache.length)
        pieces.append(np.asarray(window.tokens_BT[:, kept:end]))
        context = window.cut(end - length // 2, end) if end >= length // 2 else window.cut(0, end)
        if on_progress:
            on_progress(min(sampling.events, int(paths.spelling.events.min())))
    return _collect(np.concatenate(pieces, 1), paths, instrument)


def _collect(tokens_BT: np.ndarray, paths: PathState, instrument: Instrument) -> Generated:
    """Cut each path before the head that showed it to be complete."""
    drawn_B = np.asarray(paths.drawn)
    clocks = zip(np.asarray(paths.clock.seconds), np.asarray(paths.clock.ns), strict=True)
    midnight = instrument.midnight_ns()
    impossible = np.asarray(paths.book.impossible).sum(0)
    return Generated(
        tokens=[row[: count - 1] for row, count in zip(tokens_BT, drawn_B, strict=True)],
        masked_mass=np.asarray(paths.masked_mass) / drawn_B,
        impossible={reason: int(n) for reason, n in zip(live_book.REASONS, impossible, strict=True)},
        forgotten=int(np.asarray(paths.book.forgotten).sum()),
        clock_ns=[midnight + int(s) * NS_PER_SECOND + int(n) for s, n in clocks],
    )
