"""Advance paths by tokens of the exact tokenizer: masks of the next token, and the state after it."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lob_jax.events.halts import HALTS
from lob_jax.generation.device import anchors, assembler, live_book, live_flow, out_of_view, price_memory
from lob_jax.generation.device.assembler import Clock
from lob_jax.generation.device.book_mask import book_mask
from lob_jax.generation.device.live_flow import LiveFlow
from lob_jax.generation.device.orders import begin, spell
from lob_jax.generation.device.queues import NOBODY, with_size
from lob_jax.generation.device.state import Given, LoopShape, PathState
from lob_jax.generation.prompt import ANY_SIZES
from lob_jax.tokens import vocabulary as v
from lob_jax.tokens.tokenizer import Tokenizer


class ExactTables(NamedTuple):
    """The grammar's lookup tables on the device.

    Attributes:
      transition_SV: int16, the state after a token, -1 where it is forbidden.
      field_S: int32, the field that a state fills (`Grammar.state_field`).
      drawable_V: bool, tokens that may be sampled: no framing tokens, no clocks running backwards, and only those
        CONTROL codes that are halts, since the others describe the feed or the session; ranks as the grammar has them.
      largest_K: int32 [8], by kind, the largest size that may be sampled, see `book_mask`.
    """

    transition_SV: jax.Array
    field_S: jax.Array
    drawable_V: jax.Array
    largest_K: jax.Array


def exact_tables(tokenizer: Tokenizer, largest: np.ndarray = ANY_SIZES) -> ExactTables:
    """Copy the tokenizer's grammar, and the largest size of each kind, to the device."""
    grammar = tokenizer.grammar
    drawable = np.arange(v.VOCAB_SIZE) >= v.CLASS_SIZE
    drawable[[v.TIME_SKIP, *(v.CONTROL_BASE + code for code in HALTS)]] = True
    drawable[v.RANK_BASE : v.RANK_END] = True
    fields = jnp.asarray(grammar.state_field, jnp.int32)
    return ExactTables(jnp.asarray(grammar.transition), fields, jnp.asarray(drawable), jnp.asarray(largest))


def masks(path: PathState, tables: ExactTables, shape: LoopShape) -> tuple[jax.Array, jax.Array]:
    """Return the tokens that the grammar and the book allow next, bool [V] each."""
    grammar_V = (tables.transition_SV[path.grammar] >= 0) & tables.drawable_V
    field, largest_K = tables.field_S[path.grammar], tables.largest_K
    rules = {"tick": shape.tick, "ranks": shape.ranks}
    return grammar_V, book_mask(path.book, path.spelling, field, largest_K=largest_K, **rules)


def move(path: PathState, drawn: jax.Array, given: Given, shape: LoopShape) -> tuple[PathState, jax.Array]:
    """Advance a path by a token, the sampled one or one of an injected order; return the path and the token.

    The clock advances when the next event begins; an event is applied to the book at the first token of its time. A
    path is done when the head after its last event is sampled, which shows that the event is complete.
    """
    tables: ExactTables = given.tables
    begins = assembler.is_head(drawn)  # the grammar allows a head only after a complete event
    clock = assembler.advance(path.clock, path.spelling)
    clock = jax.tree.map(functools.partial(jnp.where, begins), clock, path.clock)
    flow = _with_last_event(path, clock)
    flow = jax.tree.map(functools.partial(jnp.where, begins), flow, path.flow)
    begun = begin(path.own, given.orders, path.book, events=path.spelling.events, last=path.last, clock=clock)
    own = jax.tree.map(functools.partial(jnp.where, begins), begun, path.own)
    spelt = spell(own, path.spelling, tables.field_S[path.grammar], begins=begins)
    token = jnp.where(own.writing, spelt, drawn)
    spelling, complete = assembler.read(path.spelling, token)
    event = {name: getattr(spelling, name) for name in ("kind", "code", "side", "size")}
    own_tokens = jnp.where(own.writing, path.written - path.chosen, 0)
    side, flip = spelling.side, path.antithetic
    unseen = out_of_view.drawn(given.reveals, path.key, path.fresh, own_tokens, side=side, flip=flip)
    recent_2R = with_size(path.recent_2R, kind=spelling.kind, side=side, size=spelling.size)
    event |= {"rank": spelling.rank} if shape.ranks else {}
    taken = live_book.apply(path.book, deeper=spelling.price, owner=own.writer, unseen=unseen, **event)
    where = {"kind": spelling.kind, "side": side, "deeper": spelling.price}
    remembered = anchors.with_event(path.remembered, path.book, **where, tick=shape.tick)
    past = path.past if path.past is None else price_memory.with_event(path.past, path.book, spelling)
    stays = path.book._replace(revealed=live_book.no_reveal(), filled=jnp.int32(NOBODY))
    moved = path._replace(
        flow=flow,
        recent_2R=jnp.where(complete, recent_2R, path.recent_2R),
        remembered=jax.tree.map(functools.partial(jnp.where, complete), remembered, path.remembered),
        past=jax.tree.map(functools.partial(jnp.where, complete), past, path.past),
        grammar=tables.transition_SV[path.grammar, token].astype(jnp.int32),
        spelling=spelling,
        clock=clock,
        book=jax.tree.map(functools.partial(jnp.where, complete), taken, stays),
        own=own,
        done=spelling.events > path.last,
    )
    return moved, token


def _with_last_event(path: PathState, clock: Clock) -> LiveFlow | None:
    """Return the flow after the event that the path has spelled, which is complete; unchanged before the first."""
    if path.flow is None:
        return None
    event = {name: getattr(path.spelling, name) for name in ("kind", "side", "size")}
    after = live_flow.advance(path.flow, gap=assembler.gap(path.spelling), clock=clock, book=path.book, **event)
    return jax.tree.map(functools.partial(jnp.where, path.spelling.events > 0), after, path.flow)
