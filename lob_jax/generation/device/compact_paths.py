"""Advance paths by tokens of the compact tokenizer: masks of the next token, and its event on the live book.

A token is resolved to an event as in `lob_jax.tokens.compact.resolve`, here on the device.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lob_jax.events.halts import CLOSED, HALTS, OPEN, QUOTING, TRADES
from lob_jax.events.instrument import NS_PER_SECOND
from lob_jax.events.schema import Code, Kind
from lob_jax.generation.device import live_book, live_flow, out_of_view
from lob_jax.generation.device.assembler import Clock
from lob_jax.generation.device.book_mask import SideLevels
from lob_jax.generation.device.live_book import LiveBook
from lob_jax.generation.device.state import Given, LoopShape, PathState
from lob_jax.generation.prompt import ANY_SIZES
from lob_jax.tokens import vocabulary as v
from lob_jax.tokens.bins import GAP_BINS, MOST_LOTS, PRICE_BINS, SIZE_BINS
from lob_jax.tokens.tokenizer import Tokenizer


class Bin(NamedTuple):
    """Bins of one variable: least and greatest number, and the number that represents the bin; int32, same shape."""

    low: jax.Array
    high: jax.Array
    value: jax.Array


class CompactTables(NamedTuple):
    """The tokenizer's bins on the device.

    Attributes:
      price: [6, PRICE_BINS].
      size: [6, SIZE_BINS].
      gap: seconds and nanoseconds that represent a bin of gaps, [7, GAP_BINS].
      drawable_V: bool, tokens that may be sampled, see `ExactTables`.
      largest_K: int32 [8], by kind, the largest size that may stand for a bin, except for a DELETE.
    """

    price: Bin
    size: Bin
    gap: Clock
    drawable_V: jax.Array
    largest_K: jax.Array


def compact_tables(tokenizer: Tokenizer, largest: np.ndarray = ANY_SIZES) -> CompactTables:
    """Copy the tokenizer's bins, and the largest size of each kind, to the device."""
    bins = tokenizer.vocabulary.bins
    drawable = tokenizer.grammar.allowed[tokenizer.grammar.start].copy()
    drawable[: v.CLASS_SIZE] = False
    drawable[[v.CONTROL_BASE + code + v.CONTROL_GAP * gap for code in HALTS for gap in range(GAP_BINS)]] = True
    gaps = np.asarray(bins.gap_values, np.int64)
    return CompactTables(
        price=_bin(bins.price_edges, bins.price_values),
        size=_bin(bins.size_edges, bins.size_values),
        gap=Clock(*(jnp.asarray(part, jnp.int32) for part in np.divmod(gaps, NS_PER_SECOND))),
        drawable_V=jnp.asarray(drawable),
        largest_K=jnp.asarray(largest),
    )


def _bin(edges: tuple, values: tuple) -> Bin:
    edge_KJ = np.asarray(edges, np.int64)
    parts = (edge_KJ[:, :-1], edge_KJ[:, 1:] - 1, np.asarray(values))
    return Bin(*(jnp.asarray(part, jnp.int32) for part in parts))


def masks(path: PathState, tables: CompactTables, shape: LoopShape) -> tuple[jax.Array, jax.Array]:
    """Return the tokens that the grammar and the book allow next, bool [V] each."""
    book = path.book
    levels = [SideLevels(book, side, tick=shape.tick) for side in (0, 1)]
    by_kind = []
    for kind in range(1, Kind.CROSS + 1):
        price, size = (Bin(*(part[kind - 1] for part in bins)) for bins in (tables.price, tables.size))
        open_enough = book.closed < (QUOTING if kind in TRADES else CLOSED)
        # A size is at most the value of its bin, unless a DELETE removes a whole order.
        usual_S = (size.value <= tables.largest_K[kind]) | (kind == Kind.DELETE)
        by_kind.append(jnp.stack([_possible(kind, side, price, size) for side in levels]) & open_enough & usual_S)
    heads_V = jnp.repeat(jnp.stack(by_kind).reshape(-1), GAP_BINS)
    rest = jnp.zeros(v.VOCAB_SIZE - v.CONTINUATION, bool)
    return tables.drawable_V, jnp.concatenate([_controls(book), heads_V, rest])


def _controls(book: LiveBook) -> jax.Array:
    """Return which CONTROL tokens the book allows, bool [1000]: halts and resumptions depend on what is closed."""
    states = (book.closed < CLOSED, book.closed == CLOSED, book.closed > OPEN)
    allowed_C = jnp.ones(v.CLASS_SIZE, bool)
    for code, allowed in ((Code.CLEAR, False), *zip(HALTS, states, strict=True)):
        at = v.CONTROL_BASE + int(code) + v.CONTROL_GAP * np.arange(GAP_BINS)
        allowed_C = allowed_C.at[at].set(allowed)
    return allowed_C


def _possible(kind: int, side: SideLevels, price: Bin, size: Bin) -> jax.Array:
    """Return which bins of price and size have an event on the book, bool [PRICE_BINS, SIZE_BINS]."""
    within_JP = (side.distance_P >= price.low[:, None]) & (side.distance_P <= price.high[:, None]) & side.reached_P
    if kind == Kind.ADD:
        _, room_J, most_J = jax.vmap(lambda *one: _add(side, Bin(*one)))(*price)
        return room_J[:, None] & (most_J[:, None] >= size.low)
    if kind == Kind.CANCEL:
        largest_J = jnp.where(within_JP, side.others_PQ.max(1), 0).max(1)
        return largest_J[:, None] - 1 >= size.low
    if kind == Kind.DELETE:
        fits_PQS = (side.others_PQ[..., None] >= size.low) & (side.others_PQ[..., None] <= size.high)
        fits_PS = fits_PQS.any(1) | (side.divisible_P[:, None] - 1 >= size.low)
        return jnp.einsum("JP,PS->JS", within_JP.astype(jnp.float32), fits_PS.astype(jnp.float32)) > 0
    if kind == Kind.EXECUTE:
        at_best_J = (price.low <= 0) & (price.high >= 0) & side.occupied_P[0]
        return at_best_J[:, None] & (side.queue_PQ[0, 0] >= size.low)
    least, most = _quanta_range(kind, side)
    return jnp.broadcast_to(
        (jnp.maximum(price.low, least) <= jnp.minimum(price.high, most))[:, None], (PRICE_BINS, SIZE_BINS)
    )


def _quanta_range(kind: int, side: SideLevels) -> tuple[jax.Array, jax.Array]:
    """Return the distances, in quanta, that a hidden execution or a cross may have."""
    if kind == Kind.CROSS:
        return side.cross_low, side.cross_high
    return jnp.where(side.quoted, side.hidden_low, 1), jnp.int32(0)


def _add(side: SideLevels, price: Bin) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Return the distance of an ADD in a price bin, whether there is room for it, and its maximum size in lots."""
    low, high = jnp.maximum(price.low, side.low), jnp.minimum(price.high, side.high)
    distance = jnp.clip(price.value, low, high)
    here_P = side.occupied_P & (side.distance_P == distance)
    room = jnp.where(here_P.any(), ~(here_P & side.full_P).any(), side.new_levels)
    return distance, room & (low <= high), MOST_LOTS - jnp.where(here_P, side.total_P, 0).sum()


def move(path: PathState, drawn: jax.Array, given: Given, shape: LoopShape) -> tuple[PathState, jax.Array]:
    """Advance a path by a token, which is a complete event for clock and book; return the path and the token.

    There are no orders of the user: compact tokens cannot represent their exact price and size.
    """
    tables: CompactTables = given.tables
    control, low = drawn < v.CLASS_SIZE, drawn % v.CLASS_SIZE
    kind = jnp.where(control, int(Kind.CONTROL), drawn // v.CLASS_SIZE).astype(jnp.int32)
    side, gap = low // (PRICE_BINS * SIZE_BINS * GAP_BINS), low % GAP_BINS
    gap = jnp.where(control, (drawn - v.CONTROL_BASE) // v.CONTROL_GAP, gap)
    row = jnp.clip(kind, 1, int(Kind.CROSS)) - 1
    price = Bin(*(part[row, low // (SIZE_BINS * GAP_BINS) % PRICE_BINS] for part in tables.price))
    size = Bin(*(part[row, low // GAP_BINS % SIZE_BINS] for part in tables.size))
    both = [_resolved(kind, SideLevels(path.book, s, tick=shape.tick), price, size) for s in (0, 1)]
    distance, lots = (jnp.where(side == 0, bid, ask) for bid, ask in zip(*both, strict=True))
    code = jnp.where(control, (drawn - v.CONTROL_BASE) % v.CONTROL_GAP, 0)
    event: dict[str, Any] = {"kind": kind, "code": code, "side": jnp.where(control, 0, side), "size": lots}
    spelling = path.spelling._replace(**event, price=distance, events=path.spelling.events + 1)
    step = Clock(tables.gap.seconds[kind - 1, gap], tables.gap.ns[kind - 1, gap])
    ns = path.clock.ns + step.ns
    clock = Clock(path.clock.seconds + step.seconds + ns // NS_PER_SECOND, ns % NS_PER_SECOND)
    draw = {"side": spelling.side, "flip": path.antithetic}
    unseen = out_of_view.drawn(given.reveals, path.key, path.fresh, jnp.int32(0), **draw)
    book, flow = live_book.apply(path.book, deeper=distance, unseen=unseen, **event), path.flow
    if flow is not None:  # as tokens spell it: a size is the value of its bin, whatever the book makes of it
        spelled = {"kind": kind, "side": event["side"], "size": jnp.where(control, 0, size.value)}
        flow = live_flow.advance(flow, gap=step, clock=clock, book=book, **spelled)
    moved = path._replace(
        spelling=spelling,
        clock=clock,
        book=book,
        flow=flow,
        done=spelling.events >= path.last,
    )
    return moved, drawn


def _resolved(kind: jax.Array, side: SideLevels, price: Bin, size: Bin) -> tuple[jax.Array, jax.Array]:
    """Return the distance and size of an event on one side, see `lob_jax.tokens.compact.resolve`."""
    within_P = side.reached_P & (side.distance_P >= price.low) & (side.distance_P <= price.high)
    off_P = jnp.abs(side.distance_P - price.value)
    largest_P = side.others_PQ.max(1)
    fits_PQ = (side.others_PQ >= size.low) & (side.others_PQ <= size.high)
    chosen = {}
    deletable_P = fits_PQ.any(1) | (side.divisible_P - 1 >= size.low)
    for of, eligible_P in ((Kind.CANCEL, largest_P - 1 >= size.low), (Kind.DELETE, deletable_P)):
        chosen[of] = jnp.argmin(jnp.where(within_P & eligible_P, off_P, jnp.iinfo(jnp.int32).max))
    add, _, most = _add(side, price)
    at = chosen[Kind.DELETE]
    newest = side.others_PQ.shape[1] - 1 - jnp.argmax(fits_PQ[at][::-1])
    delete = jnp.where(fits_PQ[at].any(), side.others_PQ[at, newest], _upto(size, side.divisible_P[at] - 1))
    cancel = largest_P[chosen[Kind.CANCEL]] - 1
    by_kind = {
        Kind.ADD: (add, _upto(size, most)),
        Kind.CANCEL: (side.distance_P[chosen[Kind.CANCEL]], _upto(size, cancel)),
        Kind.DELETE: (side.distance_P[at], delete),
        Kind.EXECUTE: (jnp.int32(0), _upto(size, side.queue_PQ[0, 0])),
    }
    for of in (Kind.EXECUTE_HIDDEN, Kind.CROSS):
        least, greatest = _quanta_range(of, side)
        low, high = jnp.maximum(price.low, least), jnp.minimum(price.high, greatest)
        by_kind[of] = (jnp.clip(price.value, low, high), size.value)
    zero = jnp.int32(0)
    of_kind = [kind == of for of in by_kind]
    distances, lots = ([jnp.int32(found[k]) for found in by_kind.values()] for k in (0, 1))
    return jnp.select(of_kind, distances, zero), jnp.select(of_kind, lots, zero)


def _upto(size: Bin, most: jax.Array) -> jax.Array:
    return jnp.minimum(jnp.clip(size.value, size.low, size.high), most)
