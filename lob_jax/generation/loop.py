"""Prefill a prompt, then sample tokens in a compiled loop with a cache and, per path, a live book and a clock."""

import dataclasses
import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lob_jax.book.snapshot import BookSnapshot, Corrections
from lob_jax.events.instrument import NS_PER_SECOND, Instrument
from lob_jax.generation import sharding
from lob_jax.generation.context import layers_together, model_variables, opened, prompt_window, with_room
from lob_jax.generation.device import compact_paths, exact_paths, live_book
from lob_jax.generation.device.known import known_at
from lob_jax.generation.device.live_book import Reveal
from lob_jax.generation.device.orders import OrderTable, order_table, outcomes
from lob_jax.generation.device.packed import Packing
from lob_jax.generation.device.sampling import DRAWS, choose
from lob_jax.generation.device.state import Given, LoopShape, LoopState, PathState, Rest, Window
from lob_jax.generation.generated import Generated, Outcome, check_refused
from lob_jax.generation.paths import Row, corrections_of, fills_of, path_day, remembered_in, rows_of
from lob_jax.generation.prompt import ANY_SIZES, Prompt, as_prompts, check_one, longest_prompt
from lob_jax.generation.settings import Order, SamplingConfig
from lob_jax.generation.start import start_paths
from lob_jax.models.apply import apply
from lob_jax.models.attention.cache import KVCache
from lob_jax.models.config import ModelConfig
from lob_jax.models.transformer import LOBTransformer
from lob_jax.tokens.latest import with_token
from lob_jax.tokens.tokenizer import Ability, Tokenizer, require
from lob_jax.tokens.vocabulary import PAD

PIECE = 256  # tokens between two transfers to the host
MOST_BY_SLOT = 2**20  # numbers that are kept of a token: all


class Words(NamedTuple):
    """The functions that interpret a tokenizer's tokens on the device.

    Attributes:
      tables: copies the tokenizer's lookup tables, and the largest size of each kind, to the device.
      masks: (path, tables, shape) -> the tokens that the grammar and the book allow next, bool [V] each.
      move: (path, sampled token, given, shape) -> the path after the token, and the token that was written.
      behind: tokens after an event that are needed to show that it is complete.
    """

    tables: Callable[..., Any]
    masks: Callable[..., tuple[jax.Array, jax.Array]]
    move: Callable[..., tuple[PathState, jax.Array]]
    behind: int


WORDS = {
    "exact": Words(exact_paths.exact_tables, exact_paths.masks, exact_paths.move, behind=1),
    "compact": Words(compact_paths.compact_tables, compact_paths.masks, compact_paths.move, behind=0),
}


def numbers_of(paths: PathState) -> jax.Array:
    """Return the random numbers of each path for its next token, float32 [B, DRAWS]."""

    def one(key: jax.Array, fresh: jax.Array, within: jax.Array) -> jax.Array:
        return jax.random.uniform(jax.random.fold_in(jax.random.fold_in(key, fresh), within), (DRAWS,))

    at_B3 = jax.vmap(one)(paths.key, paths.fresh, paths.within)
    return jnp.where(paths.antithetic[:, None], 1 - at_B3, at_B3)


def masks_of(paths: PathState, tables: Any, shape: LoopShape) -> tuple[jax.Array, jax.Array]:
    """Return the tokens that the grammar and the book allow each path next, bool [B, V] each."""
    return jax.vmap(lambda path: WORDS[shape.tokenizer].masks(path, tables, shape))(paths)


def draw(paths: PathState, logits_BV: jax.Array, given: Given, *, shape: LoopShape) -> tuple[PathState, jax.Array]:
    """Sample each path's next token and advance the path; return both, tokens int32 [B]. Finished paths get PAD."""
    grammar_BV, book_BV = masks_of(paths, given.tables, shape)
    choice = choose(numbers_of(paths), logits_BV, grammar_BV, book_BV, **shape.sampling)
    moved, token_B = moved_by(paths, choice.token_B, given, shape)
    chosen_B = ~moved.own.writing
    fresh_B = chosen_B & (moved.spelling.events > paths.spelling.events)
    within_B = jnp.where(fresh_B, 1, paths.within + chosen_B)
    moved = moved._replace(
        fresh=paths.fresh + fresh_B,
        within=within_B,
        written=paths.written + 1,
        chosen=paths.chosen + chosen_B,
        grammar_mass=paths.grammar_mass + jnp.where(chosen_B, choice.grammar_mass_B, 0),
        book_mass=paths.book_mass + jnp.where(chosen_B, choice.book_mass_B, 0),
    )
    stays = functools.partial(where_paths, paths.done)
    return jax.tree.map(stays, paths, moved), jnp.where(paths.done, PAD, token_B)


def moved_by(paths: PathState, token_B: jax.Array, given: Given, shape: LoopShape) -> tuple[PathState, jax.Array]:
    """Advance each path by a token; return the paths, and the tokens written, which may be those of an order."""
    move = functools.partial(WORDS[shape.tokenizer].move, given=given, shape=shape)
    moved, token_B = jax.vmap(lambda path, token: move(path, token))(paths, token_B)
    if paths.latest_L is not None:
        latest_BL = jax.vmap(functools.partial(with_token, xp=jnp))(paths.latest_L, token_B)
        moved = moved._replace(latest_L=latest_BL)
    return moved, token_B


def where_paths(chosen_B: jax.Array, one: jax.Array, other: jax.Array) -> jax.Array:
    """Return the leaf `one` for the chosen paths, and `other` for the rest."""
    return jnp.where(chosen_B.reshape(-1, *[1] * (one.ndim - 1)), one, other)


def inputs_of(paths: PathState, token_B: jax.Array, window: Window, shape: LoopShape) -> Window:
    """Return the model's inputs at the newest token of each path, length 1: the same inputs as in the window."""
    return Window(token_B[:, None], known_at(paths, window.known, shape))


def reading(rest: Rest, paths: tuple[PathState, PathState], new: Window) -> tuple[PathState, Window, Rest]:
    """Replace a sampled token by the next one of the prompt, on each path that has not read all of its prompt.

    Args:
      rest: what is left of the prompts.
      paths: the state of the paths before and after the sampled token.
      new: the model's inputs at the sampled token, length 1.
    """
    unread_B = rest.read_B < rest.count_B
    at_B = jnp.minimum(rest.read_B, rest.window.tokens_BT.shape[1] - 1)

    def given(leaf_BR: jax.Array, sampled_B1: jax.Array) -> jax.Array:
        next_B1 = jax.vmap(lambda leaf_R, at: jax.lax.dynamic_slice_in_dim(leaf_R, at, 1))(leaf_BR, at_B)
        return where_paths(unread_B, next_B1.astype(sampled_B1.dtype), sampled_B1)

    stays = functools.partial(where_paths, unread_B)
    return (
        jax.tree.map(stays, *paths),
        jax.tree.map(given, rest.window, new),
        rest._replace(read_B=rest.read_B + 1),
    )


class BySlot(NamedTuple):
    """What is kept of the token in each slot, [B, T, ...], see `LoopState`."""

    window: Window
    writer_BT: jax.Array
    filled_BT: jax.Array
    revealed: Reveal | None


def _by_slot(state: LoopState) -> BySlot:
    return BySlot(state.window, state.writer_BT, state.filled_BT, state.revealed)


class Carry(NamedTuple):
    """The state of the loop as it is carried from token to token, see `LoopState`.

    Attributes:
      paths: the state of each path, packed.
      slots_BTK: int32, what is kept of the token in each slot, packed.
      cache, logits_BV, rest: see `LoopState`.
    """

    paths: tuple[jax.Array, list[jax.Array]]
    slots_BTK: jax.Array
    cache: KVCache
    logits_BV: jax.Array
    rest: Rest | None


@functools.partial(jax.jit, static_argnames="shape", donate_argnames="state")
def extend(
    variables: dict[str, Any], state: LoopState, given: Given, stop: jax.Array, *, shape: LoopShape
) -> LoopState:
    """Sample tokens until the cache has seen `stop` tokens in all; each device does so for its own paths.

    A device stops early if all of its paths are done; the tokens that it does not sample are PAD.

    Args:
      variables: the model's variables, see `context.model_variables`.
      state: the state of the loop, with the logits after the last token; a full cache overwrites its oldest tokens.
      given: tables, orders and reveals.
      stop: int32, length of the cache at which to stop.
      shape: static settings of the loop.
    """
    one_device = functools.partial(_extend, shape=shape)
    return sharding.by_device(len(state.writer_BT), one_device, state, variables, given, stop)


def _extend(
    state: LoopState, variables: dict[str, Any], given: Given, stop: jax.Array, *, shape: LoopShape
) -> LoopState:
    """Sample the tokens of one device, see `extend`."""
    model, slots = LOBTransformer(shape.model), state.writer_BT.shape[1]
    by_path, by_slot = Packing(state.paths, axes=1), Packing(_by_slot(state), axes=2, most=MOST_BY_SLOT)

    def unfinished(carry: Carry) -> jax.Array:
        return ~by_path.unpacked(*carry.paths).done.all() & (carry.cache.length < stop)

    def one_token(carry: Carry) -> Carry:
        before = by_path.unpacked(*carry.paths)
        paths, token_B = draw(before, carry.logits_BV, given, shape=shape)
        new, rest = inputs_of(paths, token_B, state.window, shape), carry.rest
        if rest is not None:
            paths, new, rest = reading(rest, (before, paths), new)
        about = (paths.own.writer, paths.book.filled, None if state.revealed is None else paths.book.revealed)
        slot = BySlot(new, *jax.tree.map(lambda leaf_B: leaf_B[:, None], about))
        one_B1K, _ = by_slot.packed(jax.tree.map(lambda one, whole: one.astype(whole.dtype), slot, _by_slot(state)))
        slots_BTK = jax.lax.dynamic_update_slice_in_dim(carry.slots_BTK, one_B1K, carry.cache.next_slot, 1)
        logits_B1V, cache = apply(model, variables, *new, cache=carry.cache)
        return Carry(by_path.packed(paths), slots_BTK, cache, logits_B1V[:, 0], rest)

    slots_BTK, _ = by_slot.packed(_by_slot(state))
    together = layers_together(shape.model)
    cache = state.cache.stacked() if together else state.cache
    start = Carry(by_path.packed(state.paths), slots_BTK, cache, state.logits_BV, state.rest)
    last = jax.lax.while_loop(unfinished, one_token, start)
    paths, kept = by_path.unpacked(*last.paths), by_slot.unpacked(last.slots_BTK, [])
    cache = last.cache.unstacked() if together else last.cache
    end = LoopState(paths, *kept[:3], cache, last.logits_BV, kept.revealed, last.rest)
    length = end.cache.length
    # Devices stop at different lengths, but scalars must be equal on all of them, see `sharding.by_device`.
    left_out_S = (jnp.arange(slots) - length) % slots < stop - length
    window = end.window._replace(tokens_BT=jnp.where(left_out_S, PAD, end.window.tokens_BT))
    return end._replace(window=window, cache=dataclasses.replace(end.cache, length=jnp.asarray(stop, jnp.int32)))


class Piece(NamedTuple):
    """The tokens sampled since the previous transfer to the host.

    Attributes:
      rows: the tokens, PAD after the end of a path, and while a path still reads its prompt; and for each token, who
        wrote it, whose resting order its event executed, and the level that the event brought into view, see
        `LoopState`. [B, T] each.
      paths: the state of the paths after these tokens; its buffers are donated when the next piece is requested.
    """

    rows: Row
    paths: PathState


class Begun(NamedTuple):
    """Paths at their start.

    Attributes:
      prompts: what they continue.
      paths: their state, on the host.
      origins: origin of the prices of each path's live book, in price quanta.
      given: what the loop reads and does not change.
      shape: static settings of the loop.
    """

    prompts: Sequence[Prompt]
    paths: PathState
    origins: list[int]
    given: Given
    shape: LoopShape


def begin(
    prompt: Prompt | Sequence[Prompt],
    *,
    model: ModelConfig,
    tokenizer: Tokenizer,
    instrument: Instrument,
    sampling: SamplingConfig,
) -> Begun:
    """Return the paths that continue a prompt, at its end; arguments and errors are those of `generate`."""
    prompts = as_prompts(prompt)
    if sampling.inject:
        require(tokenizer, Ability.ORDERS, what="an order of your own", where="generate(inject=...)")
        check_one(prompts)
    paths, origins = start_paths(prompts, tokenizer, instrument, sampling)
    orders = order_table(sampling.inject, instrument=instrument, origin=origins[0], events=sampling.events)
    given = given_of(prompts[0], tokenizer, sampling, orders)
    return Begun(prompts, paths, origins, given, loop_shape(model, tokenizer, prompts[0], instrument, sampling))


def prefilled(params: Any, begun: Begun) -> tuple[dict[str, Any], LoopState, Given]:
    """Return the arguments of `extend` before the first token: the prompts are read, and all is on its devices."""
    shape, B = begun.shape, len(begun.paths.done)
    start, rest = prompt_window(begun.prompts, B // len(begun.prompts), longest_prompt(shape.model))
    placed = sharding.placed(B, (params, begun.given), (begun.paths, start, rest))
    (params, given), (paths, start, rest) = placed
    return model_variables(params, shape.model, rows=B), opened(params, paths, start, shape, rest=rest), given


def run(params: Any, begun: Begun) -> Iterator[Piece]:
    """Yield the sampled tokens, at most PIECE at a time, until every path is done."""
    shape, (variables, state, given) = begun.shape, prefilled(params, begun)
    unread_B = np.zeros(len(begun.paths.done), int) if state.rest is None else np.asarray(state.rest.count_B)
    while True:
        state = with_room(variables["params"], state, shape)
        first, slots = int(state.cache.length), state.writer_BT.shape[1]
        stop = first + min(PIECE, slots - first if first < slots else slots)
        state = extend(variables, state, given, jnp.int32(stop), shape=shape)
        at = np.arange(first, stop) % slots
        given_BT = np.arange(stop - first) < unread_B[:, None]
        tokens_BT = np.where(given_BT, PAD, np.asarray(state.window.tokens_BT)[:, at])
        unread_B = np.maximum(unread_B - len(at), 0)
        about = (state.writer_BT, state.filled_BT, state.revealed)
        about = jax.tree.map(lambda leaf_BT, at=at: np.asarray(leaf_BT)[:, at], about)
        yield Piece(Row(tokens_BT, *about), state.paths)
        if bool(state.paths.done.all()):
            return


class Flow(NamedTuple):
    """Generated tokens as an iterator of pieces.

    Attributes:
      pieces: yields the sampled tokens.
      origins: origin of the prices of each path's live book, in price quanta.
    """

    pieces: Iterator[Piece]
    origins: list[int]


def flow(
    params: Any,
    prompt: Prompt | Sequence[Prompt],
    *,
    model: ModelConfig,
    tokenizer: Tokenizer,
    instrument: Instrument,
    sampling: SamplingConfig,
) -> Flow:
    """Start generating after a prompt; arguments and errors are those of `generate`."""
    begun = begin(prompt, model=model, tokenizer=tokenizer, instrument=instrument, sampling=sampling)
    return Flow(run(params, begun), begun.origins)


def given_of(prompt: Prompt, tokenizer: Tokenizer, sampling: SamplingConfig, orders: OrderTable) -> Given:
    """Return what the loop reads and does not change."""
    largest = prompt.largest if sampling.limit_sizes else ANY_SIZES
    return Given(WORDS[tokenizer.vocabulary.tokenizer].tables(tokenizer, largest), orders, prompt.reveals)


def generate(
    params: Any,
    prompt: Prompt | Sequence[Prompt],
    *,
    model: ModelConfig,
    tokenizer: Tokenizer,
    instrument: Instrument,
    sampling: SamplingConfig,
    on_progress: Callable[[int], None] | None = None,
) -> Generated:
    """Continue each of one or several prompts by complete events, `sampling.paths` times.

    All paths are generated in one batch, and those of one prompt are adjacent in the result. Prompts may have different
    numbers of tokens: as many as the shortest one has are prefilled, the others are read before a path samples its
    first token. The book of a path has the capacity of the largest in the batch; otherwise a path does not depend on
    the other paths and prompts.

    If a path outgrows the context, the context slides in models with rotary positions; in others, its newer half is
    prefilled again. EOS, the other framing tokens and clocks that run backwards are never sampled.

    Args:
      params: the model's parameters.
      prompt: real events and the state of the market after them; or several of them, from one day of the instrument.
      model: the model's configuration.
      tokenizer: the tokenizer of the model's tokens.
      instrument: the instrument, for its tick and clock.
      sampling: sampling settings.
      on_progress: called after each piece with the smallest number of events in any path.

    Raises:
      InputError: a prompt is empty, an order is invalid, see `order_table`, or there are orders and several prompts.
    """
    begun = flow(params, prompt, model=model, tokenizer=tokenizer, instrument=instrument, sampling=sampling)
    pieces = []
    for piece in begun.pieces:
        pieces.append(piece)
        if on_progress:
            on_progress(min(sampling.events, int(piece.paths.spelling.events.min())))
    how: dict[str, Any] = {"start": as_prompts(prompt)[0].start, "tokenizer": tokenizer, "instrument": instrument}
    return collect(pieces, begun.origins, orders=sampling.inject, **how)


def loop_shape(
    model: ModelConfig,
    tokenizer: Tokenizer,
    prompt: Prompt,
    instrument: Instrument,
    sampling: SamplingConfig,
) -> LoopShape:
    """Return the static settings of the loop, for which it is compiled."""
    return LoopShape(
        model=model,
        tokenizer=tokenizer.vocabulary.tokenizer,
        tick=instrument.tick,
        temperature=sampling.temperature,
        truncation=sampling.truncation,
        book_levels=prompt.known_T["book"].shape[-1] // 4,
        ranks=tokenizer.vocabulary.has_ranks,
    )


def collect(
    pieces: list[Piece],
    origins: Sequence[int],
    *,
    start: BookSnapshot,
    tokenizer: Tokenizer,
    instrument: Instrument,
    orders: Sequence[Order] = (),
) -> Generated:
    """Join the pieces, cut each path's tokens to those of its events, and account for the user's orders.

    Args:
      pieces: all tokens of the paths.
      origins: origin of the prices of each path's live book, in price quanta.
      start: the book at the start of all paths that the orders were injected into.
      tokenizer: the tokenizer of the tokens.
      instrument: the instrument.
      orders: the user's orders.
    """
    paths = jax.tree.map(np.asarray, pieces[-1].paths._replace(key=jax.random.key_data(pieces[-1].paths.key)))
    check_refused(int(paths.book.refused.sum()))
    counts = paths.written - WORDS[tokenizer.vocabulary.tokenizer].behind
    together = jax.tree.map(lambda *leaves: np.concatenate(leaves, 1), *(piece.rows for piece in pieces))
    cut = zip(rows_of(together), counts, strict=True)
    rows = [jax.tree.map(lambda leaf, end=end: leaf[:end], row) for row, end in cut]
    each = [jax.tree.map(lambda leaf, at=path: leaf[at], paths) for path in range(len(counts))]
    tick, midnight = instrument.tick, instrument.midnight_ns()
    clocks = zip(paths.clock.seconds, paths.clock.ns, strict=True)
    shown = zip(rows, origins, strict=True)
    corrections = [corrections_of(row.tokens, row.revealed, origin=at, tick=tick) for row, at in shown]
    how: dict[str, Any] = {"start": start, "tokenizer": tokenizer, "instrument": instrument}
    return Generated(
        tokens=[row.tokens for row in rows],
        own=[row.own for row in rows],
        grammar_mass=paths.grammar_mass / paths.chosen,
        book_mass=paths.book_mass / paths.chosen,
        clock_ns=[midnight + int(s) * NS_PER_SECOND + int(n) for s, n in clocks],
        levels=[live_book.to_levels(one.book, at, tick=tick) for one, at in zip(each, origins, strict=True)],
        orders=[_accounts(orders, *path, **how) for path in zip(rows, corrections, each, strict=True)],
        corrections=corrections,
        remembered=np.array([remembered_in(row.revealed) for row in rows]),
    )


def _accounts(orders: Sequence[Order], row: Row, corrections: Corrections, end: PathState, **how: Any) -> list[Outcome]:
    """Return the outcome of each of the user's orders in a path; times and prices are those of the decoded events."""
    if not orders:
        return []
    events = path_day(row.tokens, corrections, row.own, **how).events
    return outcomes(orders, end.own, end.book, fills=fills_of(row, events, orders=len(orders)))
