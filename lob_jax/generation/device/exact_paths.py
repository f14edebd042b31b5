"""A path in the words of the exact tokenizer: what its next token may be, and where a token leads it."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lob_jax.events.schema import Code
from lob_jax.generation.device import assembler, live_book
from lob_jax.generation.device.book_mask import book_mask
from lob_jax.generation.device.orders import OrderTable, begin, spell
from lob_jax.generation.device.state import LoopShape, PathState
from lob_jax.tokens import vocabulary as v
from lob_jax.tokens.tokenizer import Tokenizer

HALTS = (Code.HALT, Code.RESUME_QUOTE, Code.RESUME_TRADE)


class ExactTables(NamedTuple):
    """The grammar on the device.

    Attributes:
      transition_SV: int16, the state after a token, -1 where it is forbidden.
      field_S: int32, the field that a state fills (`Grammar.state_field`).
      drawable_V: bool, tokens that a market can give: no framing, no clock running back, and of the CONTROL codes those
        of halts alone, since the others tell of a feed or a session.
    """

    transition_SV: jax.Array
    field_S: jax.Array
    drawable_V: jax.Array


def exact_tables(tokenizer: Tokenizer) -> ExactTables:
    """Copy the tokenizer's grammar to the device."""
    grammar = tokenizer.grammar
    drawable = np.arange(v.VOCAB_SIZE) >= v.CLASS_SIZE
    drawable[[v.TIME_SKIP, *(v.CONTROL_BASE + code for code in HALTS)]] = True
    fields = jnp.asarray(grammar.state_field, jnp.int32)
    return ExactTables(jnp.asarray(grammar.transition), fields, jnp.asarray(drawable))


def masks(path: PathState, tables: ExactTables, shape: LoopShape) -> tuple[jax.Array, jax.Array]:
    """Return what the grammar and what the book allows next, bool [V] each."""
    grammar_V = (tables.transition_SV[path.grammar] >= 0) & tables.drawable_V
    return grammar_V, book_mask(path.book, path.spelling, tables.field_S[path.grammar], tick=shape.tick)


def move(
    path: PathState, drawn: jax.Array, tables: ExactTables, orders: OrderTable, shape: LoopShape
) -> tuple[PathState, jax.Array]:
    """Move a path over a token: the one drawn, or one of an order's; return it, too.

    The clock advances where an event begins; the book takes the event at its first token of time. A path is done when
    the head behind its last event is drawn, which shows that event to be complete.
    """
    begins = assembler.is_head(drawn)  # only where what is spelt so far may be a whole event
    clock = assembler.advance(path.clock, path.spelling)
    clock = jax.tree.map(functools.partial(jnp.where, begins), clock, path.clock)
    begun = begin(path.own, orders, path.book, events=path.spelling.events, last=path.last, clock=clock)
    own = jax.tree.map(functools.partial(jnp.where, begins), begun, path.own)
    spelt = spell(own, path.spelling, tables.field_S[path.grammar], begins=begins)
    token = jnp.where(own.writing, spelt, drawn)
    spelling, complete = assembler.read(path.spelling, token)
    event = {name: getattr(spelling, name) for name in ("kind", "code", "side", "size")}
    taken = live_book.apply(path.book, deeper=spelling.price, **event)
    moved = path._replace(
        grammar=tables.transition_SV[path.grammar, token].astype(jnp.int32),
        spelling=spelling,
        clock=clock,
        book=jax.tree.map(functools.partial(jnp.where, complete), taken, path.book),
        own=own,
        done=spelling.events > path.last,
    )
    return moved, token
