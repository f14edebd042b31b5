"""Prefill a prompt, then draw tokens in one compiled loop with a cache, a live book and a clock a path."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lob_jax.errors import InputError
from lob_jax.events.instrument import NS_PER_SECOND, Instrument
from lob_jax.generation import assembler, live_book
from lob_jax.generation.assembler import Clock
from lob_jax.generation.sampling import choose
from lob_jax.generation.state import (
    Generated,
    LoopShape,
    LoopState,
    PathState,
    Prompt,
    SamplingConfig,
    Tables,
    Window,
)
from lob_jax.models.config import ModelConfig
from lob_jax.models.transformer import KVCache, LOBTransformer, empty_cache
from lob_jax.tokens.grammar import Grammar
from lob_jax.tokens.vocabulary import PAD, REGIME_BASE

SECONDS_PER_DAY = 86_400
PLACES = 256  # levels a side of a live book


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
    token_B = jnp.where(paths.done, PAD, choice.token_B)
    return moved._replace(masked_mass=paths.masked_mass + mass_B), token_B


def _inputs(paths: PathState, token_B: jax.Array, window: Window, shape: LoopShape) -> Window:
    """Return the model's inputs at the newest token of each path, length 1.

    Of the window so far day, regime and instrument are kept: the regime is the one that the prompt ended in.
    """
    seconds_B = jnp.clip(paths.clock.seconds, 0, SECONDS_PER_DAY - 1)
    bucket_B = seconds_B * shape.model.time_buckets // SECONDS_PER_DAY
    book_BF = jax.vmap(functools.partial(live_book.features, levels=shape.book_levels))(paths.book)
    known = {
        "event": shape.prompt_events - 1 + paths.spelling.events[:, None],
        "clock": jnp.stack([paths.clock.seconds, paths.clock.ns], -1)[:, None],
        "regime": paths.regime[:, None],
        "instrument": window.beside["instrument"][:, :1] if "instrument" in window.beside else None,
    }
    beside = {name: known[name] for name in window.beside}
    return Window(token_B[:, None], bucket_B[:, None], window.day_of_week_BT[:, :1], book_BF[:, None], beside)


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
        new = _inputs(paths, token_B, carry.window, shape)
        window = jax.tree.map(
            lambda whole, one: jax.lax.dynamic_update_slice_in_dim(whole, one.astype(whole.dtype), at, 1),
            carry.window,
            new,
        )
        logits_B1V, cache = model.apply({"params": params}, new.tokens_BT, new.conditioning(), cache=carry.cache)
        return LoopState(paths, window, cache, logits_B1V[:, 0])

    return jax.lax.while_loop(unfinished, one_token, state)


def _start_paths(prompt: Prompt, grammar: Grammar, instrument: Instrument, sampling: SamplingConfig) -> PathState:
    """Return every path's state at the end of the prompt."""
    book, _ = live_book.from_snapshot(prompt.book, tick=instrument.tick, places=PLACES)
    seconds, ns = divmod(prompt.clock_ns - instrument.midnight_ns(), NS_PER_SECOND)
    zero = jnp.int32(0)
    regime = prompt.beside_T["regime"][-1] if "regime" in prompt.beside_T else 0
    one = PathState(
        grammar=jnp.int32(grammar.start),
        spelling=assembler.blank(),
        clock=Clock(jnp.int32(seconds), jnp.int32(ns)),
        book=book,
        key=zero,
        drawn=zero,
        masked_mass=jnp.float32(0),
        regime=jnp.int32(regime),
        done=jnp.bool_(False),
    )
    paths = jax.tree.map(lambda leaf: jnp.repeat(leaf[None], sampling.paths, 0), one)
    root = jax.random.key(sampling.seed)
    return paths._replace(key=jax.vmap(lambda i: jax.random.fold_in(root, i))(jnp.arange(sampling.paths)))


def _prompt_window(prompt: Prompt, paths: int, longest: int) -> Window:
    """Return the end of the prompt, at most `longest` tokens, once a path."""
    whole = Window(prompt.tokens_T, prompt.time_of_day_T, prompt.day_of_week_T, prompt.book_TF, prompt.beside_T)
    return jax.tree.map(lambda leaf: jnp.repeat(jnp.asarray(leaf[-longest:])[None], paths, 0), whole)


def _padded(window: Window, length: int) -> Window:
    """Make room for the tokens to come."""

    def longer(leaf: jax.Array) -> jax.Array:
        return jnp.pad(leaf, ((0, 0), (0, length - leaf.shape[1])) + ((0, 0),) * (leaf.ndim - 2))

    return jax.tree.map(longer, window)


def _named(window: Window, model: ModelConfig) -> Window:
    """Put the token of the regime in the place of a context's oldest one, if the model has learned to find it there."""
    if model.regime != "prefix":
        return window
    prefix_B1 = REGIME_BASE + window.beside["regime"][:, :1]
    return window._replace(tokens_BT=jnp.concatenate([prefix_B1, window.tokens_BT[:, 1:]], axis=1))


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
    events = int(prompt.beside_T["event"][-1]) + 1
    shape = LoopShape(model, sampling.events, sampling.temperature, sampling.top_k, levels, prompt_events=events)
    length, tables = model.max_seq_length, Tables.of(grammar)
    paths = _start_paths(prompt, grammar, instrument, sampling)
    context = _prompt_window(prompt, sampling.paths, length // 2)
    pieces = []
    while not bool(paths.done.all()):
        kept = context.tokens_BT.shape[1]
        context = _named(context, model)
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
