"""Prefill a prompt, then draw tokens in one compiled loop with a cache, a live book and a clock a path."""

import dataclasses
import functools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lob_jax.book.snapshot import BookSnapshot
from lob_jax.errors import InputError
from lob_jax.events.instrument import NS_PER_SECOND, Instrument
from lob_jax.generation import sharding
from lob_jax.generation.context import longest_prompt, model_variables, opened, prompt_window, with_room
from lob_jax.generation.device import assembler, compact_paths, exact_paths, live_book
from lob_jax.generation.device.assembler import Clock
from lob_jax.generation.device.known import constants, known_at
from lob_jax.generation.device.orders import Order, OrderTable, nothing_own, order_table, outcomes
from lob_jax.generation.device.sampling import DRAWS, choose
from lob_jax.generation.device.state import (
    Generated,
    LoopShape,
    LoopState,
    PathState,
    Prompt,
    SamplingConfig,
    Window,
)
from lob_jax.models.apply import apply
from lob_jax.models.config import ModelConfig
from lob_jax.models.transformer import LOBTransformer
from lob_jax.tokens.tokenizer import Ability, Tokenizer, require
from lob_jax.tokens.vocabulary import PAD

FEWEST_PLACES, FEWEST_ORDERS = 64, 16  # levels a side, and orders a level, that a live book has room for
PIECE = 256  # tokens between two looks of the host


class Words(NamedTuple):
    """How a tokenizer's tokens read on the device.

    Attributes:
      tables: what of the tokenizer lies on the device.
      masks: (path, tables, shape) -> what the grammar and what the book allows next, bool [V] each.
      move: (path, token drawn, tables, orders, shape) -> the path behind the token, and the token that was written.
      behind: tokens behind an event's own that show it to be complete.
    """

    tables: Callable[[Any], Any]
    masks: Callable[..., tuple[jax.Array, jax.Array]]
    move: Callable[..., tuple[PathState, jax.Array]]
    behind: int


WORDS = {
    "exact": Words(exact_paths.exact_tables, exact_paths.masks, exact_paths.move, behind=1),
    "compact": Words(compact_paths.compact_tables, compact_paths.masks, compact_paths.move, behind=0),
}


def numbers_of(paths: PathState) -> jax.Array:
    """Return each path's random numbers of its next draw, float32 [B, DRAWS]."""

    def one(key: jax.Array, fresh: jax.Array, within: jax.Array) -> jax.Array:
        return jax.random.uniform(jax.random.fold_in(jax.random.fold_in(key, fresh), within), (DRAWS,))

    at_B3 = jax.vmap(one)(paths.key, paths.fresh, paths.within)
    return jnp.where(paths.antithetic[:, None], 1 - at_B3, at_B3)


def masks_of(paths: PathState, tables: Any, shape: LoopShape) -> tuple[jax.Array, jax.Array]:
    """Return what the grammar and what the book allows each path next, bool [B, V] each."""
    return jax.vmap(lambda path: WORDS[shape.tokenizer].masks(path, tables, shape))(paths)


def draw(
    paths: PathState, logits_BV: jax.Array, tables: Any, orders: OrderTable, *, shape: LoopShape
) -> tuple[PathState, jax.Array]:
    """Move each path over its next token; return these, int32 [B]; finished paths stay and give PAD."""
    words = WORDS[shape.tokenizer]
    grammar_BV, book_BV = masks_of(paths, tables, shape)
    how = {"temperature": shape.temperature, "truncation": shape.truncation}
    choice = choose(numbers_of(paths), logits_BV, grammar_BV, book_BV, **how)

    def move(path: PathState, token: jax.Array) -> tuple[PathState, jax.Array]:
        return words.move(path, token, tables, orders, shape)

    moved, token_B = jax.vmap(move)(paths, choice.token_B)
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


def where_paths(chosen_B: jax.Array, one: jax.Array, other: jax.Array) -> jax.Array:
    """Return one leaf for the paths chosen, the other leaf for the rest."""
    return jnp.where(chosen_B.reshape(-1, *[1] * (one.ndim - 1)), one, other)


def inputs_of(paths: PathState, token_B: jax.Array, window: Window, shape: LoopShape) -> Window:
    """Return the model's inputs at the newest token of each path, length 1: those that the window so far holds."""
    return Window(token_B[:, None], known_at(paths, window.known, shape))


@functools.partial(jax.jit, static_argnames="shape", donate_argnames="state")
def extend(
    variables: dict[str, Any], state: LoopState, tables: Any, orders: OrderTable, stop: jax.Array, *, shape: LoopShape
) -> LoopState:
    """Draw tokens until the cache has taken `stop` tokens since it was empty; each device does so for its own paths.

    A device all of whose paths have their events is done before: the tokens that it does not draw are PAD.

    Args:
      variables: the model's, see `context.model_variables`.
      state: a cache with the logits after its last token; a cache that is full forgets its oldest token for each.
      tables: of the tokenizer's words.
      orders: the user's own.
      stop: int32.
      shape: what to compile for.
    """
    one_device = functools.partial(_extend, shape=shape)
    return sharding.by_device(len(state.own_BT), one_device, state, variables, tables, orders, stop)


def _extend(
    state: LoopState, variables: dict[str, Any], tables: Any, orders: OrderTable, stop: jax.Array, *, shape: LoopShape
) -> LoopState:
    """Draw the tokens of one device, see `extend`."""
    model, slots = LOBTransformer(shape.model), state.own_BT.shape[1]

    def unfinished(carry: LoopState) -> jax.Array:
        return ~carry.paths.done.all() & (carry.cache.length < stop)

    def one_token(carry: LoopState) -> LoopState:
        paths, token_B = draw(carry.paths, carry.logits_BV, tables, orders, shape=shape)
        slot = carry.cache.next_slot
        new = inputs_of(paths, token_B, carry.window, shape)

        def put(whole: jax.Array, one: jax.Array) -> jax.Array:
            return jax.lax.dynamic_update_slice_in_dim(whole, one.astype(whole.dtype), slot, 1)

        window, own_BT = jax.tree.map(put, carry.window, new), put(carry.own_BT, paths.own.writing[:, None])
        logits_B1V, cache = apply(model, variables, *new, cache=carry.cache)
        return LoopState(paths, window, own_BT, cache, logits_B1V[:, 0])

    end = jax.lax.while_loop(unfinished, one_token, state)
    length = end.cache.length
    left_out_S = (jnp.arange(slots) - length) % slots < stop - length
    window = end.window._replace(tokens_BT=jnp.where(left_out_S, PAD, end.window.tokens_BT))
    return end._replace(window=window, cache=dataclasses.replace(end.cache, length=jnp.asarray(stop, jnp.int32)))


def start_paths(
    prompt: Prompt, tokenizer: Tokenizer, instrument: Instrument, sampling: SamplingConfig
) -> tuple[PathState, int]:
    """Return every path's state at the end of the prompt, and the origin of their books' prices.

    Raises:
      InputError: the tokenizer's tokens are not generated.
    """
    require(tokenizer, Ability.GENERATION, what="generation", where="the tokenizer")
    room = book_room(prompt.book)
    rules = {"tick": instrument.tick, "signed": instrument.signed, "closed": prompt.closed}
    book, origin = live_book.from_snapshot(prompt.book, **rules, **room)
    seconds, ns = divmod(prompt.clock_ns - instrument.midnight_ns(), NS_PER_SECOND)
    zero, nothing = jnp.int32(0), jnp.float32(0)
    one = PathState(
        grammar=jnp.int32(tokenizer.grammar.start),
        spelling=assembler.blank(),
        clock=Clock(jnp.int32(seconds), jnp.int32(ns)),
        book=book,
        own=nothing_own(len(sampling.inject)),
        key=zero,
        fresh=zero,
        within=zero,
        written=zero,
        chosen=zero,
        grammar_mass=nothing,
        book_mass=nothing,
        constant=constants(prompt.known_T),
        last=jnp.int32(sampling.events),
        behind=jnp.int32(prompt.known_T["event"][-1] + 1),
        antithetic=jnp.bool_(sampling.antithetic),
        done=jnp.bool_(False),
    )
    return _repeated(one, jax.random.key(sampling.seed), paths=sampling.paths), origin


@functools.partial(jax.jit, static_argnames="paths")
def _repeated(one: PathState, root: jax.Array, *, paths: int) -> PathState:
    """Return so many paths that begin alike, each with a key of its own."""
    keys_B = jax.vmap(lambda path: jax.random.fold_in(root, path))(jnp.arange(paths))
    return jax.tree.map(lambda leaf: jnp.repeat(leaf[None], paths, 0), one)._replace(key=keys_B)


def book_room(start: BookSnapshot) -> dict[str, int]:
    """Return how many levels a side, and orders a level, a live book of this start gets: twice what is there."""
    _, orders = np.unique(np.stack([start.side, start.price]), axis=1, return_counts=True)
    levels = max((len(np.unique(start.price[start.side == side])) for side in (1, -1)), default=0)
    longest = int(orders.max(initial=0))
    return {
        "places": max(FEWEST_PLACES, _power(2 * levels)),
        "orders": 1 if start.pooled else max(FEWEST_ORDERS, _power(2 * longest)),
    }


def _power(number: int) -> int:
    """Return the least power of two that is no less; shapes that vary less are compiled less often."""
    return 1 << max(0, math.ceil(math.log2(max(1, number))))


class Piece(NamedTuple):
    """Tokens that the loop has drawn since the host looked last.

    Attributes:
      tokens_BT: int32; PAD behind the end of a path.
      own_BT: bool, of the user's orders.
      paths: where the paths stand behind them; given away when the next piece is asked for.
    """

    tokens_BT: np.ndarray
    own_BT: np.ndarray
    paths: PathState


def run(
    params: Any, paths: PathState, prompt: Prompt, tables: Any, orders: OrderTable, *, shape: LoopShape
) -> Iterator[Piece]:
    """Yield what the loop draws, at most PIECE tokens at a time, until every path is done."""
    B = len(paths.done)
    start = prompt_window(prompt, B, longest_prompt(shape.model))
    (params, tables, orders), (paths, start) = sharding.placed(B, (params, tables, orders), (paths, start))
    variables, state = model_variables(params, shape.model, rows=B), opened(params, paths, start, shape)
    while True:
        state = with_room(params, state, shape)
        first, slots = int(state.cache.length), state.own_BT.shape[1]
        stop = first + min(PIECE, slots - first if first < slots else slots)
        state = extend(variables, state, tables, orders, jnp.int32(stop), shape=shape)
        at = np.arange(first, stop) % slots
        yield Piece(np.asarray(state.window.tokens_BT)[:, at], np.asarray(state.own_BT)[:, at], state.paths)
        if bool(state.paths.done.all()):
            return


class Flow(NamedTuple):
    """A run of the loop, to be read piece by piece.

    Attributes:
      pieces: yields what is drawn.
      origin: of the live books' prices, in price quanta.
    """

    pieces: Iterator[Piece]
    origin: int


def flow(
    params: Any,
    prompt: Prompt,
    *,
    model: ModelConfig,
    tokenizer: Tokenizer,
    instrument: Instrument,
    sampling: SamplingConfig,
) -> Flow:
    """Begin to continue a prompt; arguments and errors are those of `generate`."""
    check_prompt(prompt)
    if sampling.inject:
        require(tokenizer, Ability.ORDERS, what="an order of your own", where="generate(inject=...)")
    paths, origin = start_paths(prompt, tokenizer, instrument, sampling)
    orders = order_table(sampling.inject, instrument=instrument, origin=origin, events=sampling.events)
    shape = loop_shape(model, tokenizer, prompt, instrument, sampling)
    tables = WORDS[shape.tokenizer].tables(tokenizer)
    return Flow(run(params, paths, prompt, tables, orders, shape=shape), origin)


def generate(
    params: Any,
    prompt: Prompt,
    *,
    model: ModelConfig,
    tokenizer: Tokenizer,
    instrument: Instrument,
    sampling: SamplingConfig,
    on_progress: Callable[[int], None] | None = None,
) -> Generated:
    """Continue a prompt by whole events, `sampling.paths` times.

    A path that outgrows the context slides over it where the model turns by rotary positions; else it goes on from its
    newest half, prefilled again. EOS, the other framing specials and clocks that run backwards are never drawn.

    Args:
      params: the model's parameters.
      prompt: real events and the market they end in.
      model: the model's shape.
      tokenizer: what the model's tokens stand for.
      instrument: whose tick and clock to use.
      sampling: how to draw.
      on_progress: called with the fewest events that any path has, whenever the host looks.

    Raises:
      InputError: the prompt is empty, or an order is none, see `order_table`.
    """
    begun = flow(params, prompt, model=model, tokenizer=tokenizer, instrument=instrument, sampling=sampling)
    pieces = []
    for piece in begun.pieces:
        pieces.append(piece)
        if on_progress:
            on_progress(min(sampling.events, int(piece.paths.spelling.events.min())))
    words = WORDS[tokenizer.vocabulary.tokenizer]
    return collect(pieces, words, instrument, begun.origin, orders=sampling.inject)


def check_prompt(prompt: Prompt) -> None:
    """Refuse a prompt without tokens: there would be nothing to predict from."""
    if len(prompt.tokens_T) == 0:
        raise InputError(
            "the prompt is empty",
            where="generate",
            expected="at least one event",
            was="no tokens",
            remedy="set generate.prompt_events to 1 or more",
        )


def loop_shape(
    model: ModelConfig,
    tokenizer: Tokenizer,
    prompt: Prompt,
    instrument: Instrument,
    sampling: SamplingConfig,
) -> LoopShape:
    """Return what the loop is compiled for."""
    return LoopShape(
        model=model,
        tokenizer=tokenizer.vocabulary.tokenizer,
        tick=instrument.tick,
        temperature=sampling.temperature,
        truncation=sampling.truncation,
        book_levels=prompt.known_T["book"].shape[-1] // 4,
    )


def collect(
    pieces: list[Piece], words: Words, instrument: Instrument, origin: int, *, orders: Sequence[Order] = ()
) -> Generated:
    """Cut each path behind its last event, and account for the user's orders."""
    paths = jax.tree.map(np.asarray, pieces[-1].paths._replace(key=jax.random.key_data(pieces[-1].paths.key)))
    check_refused(int(paths.book.refused.sum()))
    counts, midnight = paths.written - words.behind, instrument.midnight_ns()
    tokens_BT, own_BT = (np.concatenate([getattr(p, name) for p in pieces], 1) for name in ("tokens_BT", "own_BT"))
    books = [jax.tree.map(lambda leaf, at=path: leaf[at], paths.book) for path in range(len(counts))]
    clocks = zip(paths.clock.seconds, paths.clock.ns, strict=True)
    return Generated(
        tokens=[row[:count] for row, count in zip(tokens_BT, counts, strict=True)],
        own=[row[:count] for row, count in zip(own_BT, counts, strict=True)],
        grammar_mass=paths.grammar_mass / paths.chosen,
        book_mass=paths.book_mass / paths.chosen,
        clock_ns=[midnight + int(s) * NS_PER_SECOND + int(n) for s, n in clocks],
        levels=[live_book.to_levels(book, origin, tick=instrument.tick) for book in books],
        orders=[
            outcomes(
                orders, jax.tree.map(lambda leaf, at=path: leaf[at], paths.own), closed=int(paths.book.closed[path])
            )
            for path in range(len(counts))
        ],
    )


def check_refused(refused: int) -> None:
    """Refuse a run in which the live book could not take an event: masks and orders are made so that it always can."""
    if refused:
        raise InputError(
            "the live book could not take an event",
            where="generation",
            expected="events that the masks allow, which it takes",
            was=f"{refused} refused",
            remedy="this is a fault of lob_jax: please report it with the command and its seed",
        )
