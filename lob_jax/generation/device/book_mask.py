"""Compute the book mask: the tokens that can still lead to an event that the live book accepts.

The book mask comes in addition to the grammar's. An ADD must not cross, must be in view if the side is full and the
book has a window, and its level must have room; the size of a CANCEL is less than that of a live order, that of a
DELETE equals it, or is less than that of an anonymous order, where the user's own orders do not count; that of an
EXECUTE, at the best price, is at most that of the order at the front, whoever owns it; a hidden execution is within the
quotes; prices are positive unless the instrument has signed prices; halted trading resumes only by the control event
for it; a book is never cleared, and time never runs backwards. Prices are within MOST_DISTANCE of the reference, and
the lots of a level within MOST_LOTS.

If the vocabulary has ranks, a removal that fits several orders has one of theirs, and no other event has one.

Within a number, the mask of the next digits is the union of all continuations that lead to an allowed number and, if
the number may end here, of the tokens that the next field allows. The mask is exact: every sequence that obeys it ends
in an acceptable event, and every such event can be reached.

Sizes can be limited in addition, to those that occur in training. That belongs to generation, not to the set of tokens
that a model is trained over.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lob_jax.events.halts import CLOSED, OPEN, QUOTING, TRADES
from lob_jax.events.schema import Code, Kind
from lob_jax.generation.device import spelled
from lob_jax.generation.device.assembler import Spelling, as_int32, price_so_far
from lob_jax.generation.device.live_book import FAR, NO_FLOOR, LiveBook, is_full, queue_at, reference
from lob_jax.generation.device.queues import NO_RANK, NOBODY, Queue
from lob_jax.generation.device.queues import ranks as ranks_of
from lob_jax.tokens import vocabulary as v
from lob_jax.tokens.bins import MOST_DISTANCE, MOST_LOTS

# The least rank that each rank token begins.
LEAST_RANK = np.r_[np.arange(v.RANKS), v.RANKS + v.CLASS_SIZE * np.arange(v.RANK_END - v.RANK_ESCAPE)].astype(np.int32)


def book_mask(
    book: LiveBook, spelling: Spelling, field: jax.Array, *, tick: int, largest_K: jax.Array, ranks: bool = False
) -> jax.Array:
    """Return which tokens the book allows next, bool [V]; the values of tokens that the grammar forbids are arbitrary.

    Args:
      book: one path's book, before the event that is being generated.
      spelling: the part of that event generated so far.
      field: the grammar's current field (`Grammar.state_field`); inside a number that may end here, its digits.
      tick: price quanta per tick.
      largest_K: the largest size of an event of each kind, int32 [8]; a DELETE may remove an order whatever its size.
      ranks: whether the vocabulary has ranks.
    """
    levels = [SideLevels(book, side, tick=tick) for side in (0, 1)]
    value, rest, kind = as_int32(spelling.number), spelling.number.rest, spelling.kind
    distance = price_so_far(spelling)
    queue, (least, most) = _sizes(book, spelling, distance)
    sizes = least, jnp.minimum(most, largest_K[kind])
    listed_Q = jnp.where(kind == Kind.DELETE, queue.others_Q, 0)
    found = _found(levels, spelling, listed_Q, value, rest)

    in_price, in_size = field == v.FIELD_HEAD_DIGITS, field == v.FIELD_SIZE_DIGITS
    price_groups_G = _price_groups(levels, spelling, found, value, rest)
    size_groups_G = found.size_groups_G | spelled.groups_of_range(*sizes, value, rest)
    digits_G = jnp.where(in_price, price_groups_G, jnp.where(in_size, size_groups_G, True))
    price_fine = ~in_price | _price_allowed(book, levels, spelling, distance)
    size_V = price_fine & (found.sizes_V | (spelled.meeting(spelled.NUMBER_LOW, spelled.NUMBER_HIGH, *sizes) > 0))
    time_fine = ~in_size | _size_allowed(listed_Q, sizes, value)
    rank_C = None
    if ranks:
        choices = jnp.sum(ranks_of(queue, kind, value) != NO_RANK)
        asked = time_fine & (choices > 1) & (in_size | (field == v.FIELD_RANK))
        rank_C = asked & (choices > LEAST_RANK)
        in_rank = field == v.FIELD_RANK_DIGITS
        digits_G = jnp.where(in_rank, spelling.rank + jnp.arange(spelled.GROUPS) < choices, digits_G)
        time_fine &= ~asked
    heads = [_heads(book, levels, found, kind) for kind in range(1, 7)]
    specials_C = _specials(book, rank_C, time_fine)
    return jnp.concatenate([specials_C, *heads, digits_G, size_V, jnp.broadcast_to(time_fine, v.CLASS_SIZE)])


class Found(NamedTuple):
    """What occurs in the lists of a book: levels of each side, and sizes of orders.

    Attributes:
      cancellable_2C, deletable_2C, room_2C: bool [2, 490], which price codes begin the price of such a level.
      barred_2C: int32 [2, 490], of how many levels that orders may not join.
      listed_G, room_G: bool [1000], which groups of digits continue the price so far to that of a level: one that may
        be cancelled or deleted, as the event's kind is, or one with room.
      barred_G: int32 [1000], to how many levels that orders may not join.
      sizes_V, size_groups_G: bool [1000], which codes begin, and which groups continue, the size of an order.
    """

    cancellable_2C: list[jax.Array]
    deletable_2C: list[jax.Array]
    room_2C: list[jax.Array]
    barred_2C: list[jax.Array]
    listed_G: jax.Array
    room_G: jax.Array
    barred_G: jax.Array
    sizes_V: jax.Array
    size_groups_G: jax.Array


def _found(
    levels: list["SideLevels"], spelling: Spelling, listed_Q: jax.Array, value: jax.Array, rest: jax.Array
) -> Found:
    """Return what occurs in the lists; all by one scatter."""
    lists = []
    for side in levels:
        code_P = spelled.price_code(side.distance_P)
        members = (side.cancellable_P, side.deletable_P, side.room_P, side.barred_P)
        lists += [spelled.Listed(code_P, member_P, v.PRICE_CODES) for member_P in members]
    distance_P = _pick(spelling, levels, "distance_P")
    group_P, goes_on_P = spelled.next_group(jnp.abs(distance_P), value, rest)
    goes_on_P &= (distance_P >= 0) == (spelling.deeper > 0)
    cancellable_P, deletable_P = (_pick(spelling, levels, name) for name in ("cancellable_P", "deletable_P"))
    listed_P = jnp.where(spelling.kind == Kind.CANCEL, cancellable_P, deletable_P) & (spelling.kind != Kind.EXECUTE)
    members = (listed_P, _pick(spelling, levels, "room_P"), _pick(spelling, levels, "barred_P"))
    lists += [spelled.Listed(group_P, goes_on_P & member_P, spelled.GROUPS) for member_P in members]
    group_Q, goes_on_Q = spelled.next_group(listed_Q, value, rest)
    lists += [spelled.Listed(spelled.number_code(listed_Q), listed_Q > 0, v.CLASS_SIZE)]
    lists += [spelled.Listed(group_Q, goes_on_Q & (listed_Q > 0), spelled.GROUPS)]
    counts = spelled.counts_in(lists)
    of_sides = list(zip(counts[:4], counts[4:8], strict=True))  # bid and ask of each
    occurring = [[counts_C > 0 for counts_C in both] for both in of_sides[:3]]
    return Found(
        cancellable_2C=occurring[0],
        deletable_2C=occurring[1],
        room_2C=occurring[2],
        barred_2C=list(of_sides[3]),
        listed_G=counts[8] > 0,
        room_G=counts[9] > 0,
        barred_G=counts[10],
        sizes_V=counts[11] > 0,
        size_groups_G=counts[12] > 0,
    )


class SideLevels:
    """The events that one side's levels [P] allow, and the price range of a new order."""

    def __init__(self, book: LiveBook, side: int, *, tick: int):
        sign = (-1, 1)[side]
        start = sign * reference(book, jnp.int32(side))
        key_P, opposite = book.key_2P[side], book.key_2P[1 - side, 0]
        self.queue_PQ, owner_PQ = (of[side][book.row_2P[side]] for of in (book.queue_2PQ, book.owner_2PQ))
        self.others_PQ = jnp.where(owner_PQ == NOBODY, self.queue_PQ, 0)  # the user's own orders left out
        self.occupied_P = key_P != FAR
        self.distance_P = jnp.where(self.occupied_P, key_P - start, 0)
        self.divisible_P = jnp.where(book.anonymous_2PQ[side][book.row_2P[side]], self.queue_PQ, 0).max(1)
        self.reached_P = self.occupied_P & (jnp.abs(self.distance_P) <= MOST_DISTANCE)
        self.total_P = book.total_2P[side][book.row_2P[side]]
        joins_P = book.pooled & (owner_PQ[:, -1] == NOBODY)
        self.full_P = (~joins_P & (self.queue_PQ[:, -1] > 0)) | (self.total_P >= MOST_LOTS)
        self.cancellable_P, self.deletable_P = (self.reached_P & (self.others_PQ.max(1) > least) for least in (1, 0))
        # On a full side, a new level replaces the last one, behind which nothing is in view.
        full, last = is_full(book, side), jnp.maximum(self.occupied_P.sum() - 1, 0)
        self.new_levels = ~self.occupied_P[-1] | full
        lowest = jnp.where(opposite == FAR, -MOST_DISTANCE, 1 - opposite - start)
        # A lowest price is a lower bound of an ask's key, and an upper bound of a bid's key, whose sign is reversed.
        if side == 0:
            self.low, high = jnp.maximum(lowest, -MOST_DISTANCE), -book.lowest - start
        else:
            self.low, high = jnp.maximum(lowest, book.lowest - start), MOST_DISTANCE
        high = jnp.where(full, jnp.minimum(high, self.distance_P[last]), high)
        self.low, self.high = jnp.maximum(self.low, -MOST_DISTANCE), jnp.minimum(high, MOST_DISTANCE)
        # In a crossed book, orders may not join some of the levels.
        joinable_P = self.occupied_P & (self.distance_P >= self.low) & (self.distance_P <= self.high)
        self.barred_P, self.room_P = joinable_P & self.full_P, joinable_P & ~self.full_P
        # The price of a hidden execution is relative to the best of its own side, in quanta.
        quoted = self.occupied_P[0] & (opposite != FAR)
        spread = jnp.where(quoted, opposite + key_P[0], 0)
        self.quoted, self.hidden_low = quoted, -_quanta(spread, tick)
        # A cross may have any price, or any positive one.
        far = jnp.where(book.lowest == NO_FLOOR, MOST_DISTANCE, _quanta(sign * start - book.zero, tick, less=1))
        ends = (-MOST_DISTANCE, far) if side == 0 else (-far, MOST_DISTANCE)
        self.cross_low, self.cross_high = (jnp.asarray(end, jnp.int32) for end in ends)


def _quanta(ticks: jax.Array, tick: int, *, less: int = 0) -> jax.Array:
    """Return ticks in quanta, less a few, between -`less` and MOST_DISTANCE."""
    most = (MOST_DISTANCE + less) // tick
    return jnp.where(ticks > most, MOST_DISTANCE, jnp.clip(ticks, 0, most) * tick - less)


def _specials(book: LiveBook, rank_C: jax.Array | None, time_fine: jax.Array) -> jax.Array:
    """Return the mask of class 0, bool [1000]: which halts and resumptions are allowed depends on what is closed.

    Args:
      book: the book.
      rank_C: which ranks are allowed; None without ranks.
      time_fine: whether the time may begin.
    """
    token_C, closed = jnp.arange(v.CLASS_SIZE), book.closed
    by_token = {
        v.CONTROL_BASE + Code.CLEAR: False,
        v.CONTROL_BASE + Code.HALT: closed < CLOSED,
        v.CONTROL_BASE + Code.RESUME_QUOTE: closed == CLOSED,
        v.CONTROL_BASE + Code.RESUME_TRADE: closed > OPEN,
        v.TIME_SKIP: time_fine,
        v.TIME_BACK: False,
    }
    allowed_C = jnp.ones(v.CLASS_SIZE, bool)
    if rank_C is not None:
        allowed_C = jnp.concatenate([allowed_C[: v.RANK_BASE], rank_C, allowed_C[v.RANK_END :]])
    for token, allowed in by_token.items():
        allowed_C = jnp.where(token_C == token, allowed, allowed_C)
    return allowed_C


def _heads(book: LiveBook, levels: list[SideLevels], found: Found, kind: int) -> jax.Array:
    """Return the mask of the head tokens of a kind, bool [1000]."""
    unused = jnp.zeros(v.ASK_OFFSET - v.PRICE_CODES, bool)
    open_enough = book.closed < (QUOTING if kind in TRADES else CLOSED)
    sides = [jnp.concatenate([_price_codes(levels[side], found, side, kind), unused]) for side in (0, 1)]
    return jnp.concatenate(sides) & open_enough


def _price_codes(levels: SideLevels, found: Found, side: int, kind: int) -> jax.Array:
    """Return the price codes that lead to an allowed price of a kind, bool [490]."""
    if kind == Kind.CANCEL:
        return found.cancellable_2C[side]
    if kind == Kind.DELETE:
        return found.deletable_2C[side]
    if kind == Kind.EXECUTE:
        return (jnp.arange(v.PRICE_CODES) == 0) & levels.occupied_P[0]
    if kind == Kind.CROSS:
        return _codes_meeting(levels.cross_low, levels.cross_high) > 0
    if kind == Kind.EXECUTE_HIDDEN:
        return levels.quoted & (_codes_meeting(levels.hidden_low, 0) > 0)
    anywhere = _codes_meeting(levels.low, levels.high) > found.barred_2C[side]
    return jnp.where(levels.new_levels, anywhere, found.room_2C[side])


def _codes_meeting(low: jax.Array, high: jax.Array | int) -> jax.Array:
    """Return how many distances in low..high each price code can lead to, int32 [490]."""
    deeper = spelled.meeting(spelled.PRICE_LOW, spelled.PRICE_HIGH, jnp.maximum(low, 0), high)
    better = spelled.meeting(spelled.PRICE_LOW, spelled.PRICE_HIGH, jnp.maximum(-high, 1), -low)
    return jnp.where(spelled.PRICE_SIGN > 0, deeper, better)


def _pick(spelling: Spelling, levels: list[SideLevels], name: str) -> jax.Array:
    """Return an attribute of `SideLevels` for the side of the event being generated."""
    return jnp.where(spelling.side == 0, getattr(levels[0], name), getattr(levels[1], name))


def _price_groups(
    levels: list[SideLevels], spelling: Spelling, found: Found, value: jax.Array, rest: jax.Array
) -> jax.Array:
    """Return the digit groups that can continue a price to an allowed one, bool [1000]."""
    kind, sign = spelling.kind, spelling.deeper
    ends = _magnitudes(_pick(spelling, levels, "low"), _pick(spelling, levels, "high"), sign)
    anywhere_G = spelled.groups_of_range(*ends, value, rest, barred_G=found.barred_G)
    add_G = jnp.where(_pick(spelling, levels, "new_levels"), anywhere_G, found.room_G)
    hidden = _magnitudes(_pick(spelling, levels, "hidden_low"), jnp.int32(0), sign)
    hidden_G = spelled.groups_of_range(*hidden, value, rest) & _pick(spelling, levels, "quoted")
    cross = _magnitudes(_pick(spelling, levels, "cross_low"), _pick(spelling, levels, "cross_high"), sign)
    crossed = spelled.groups_of_range(*cross, value, rest)
    by_kind = [(Kind.ADD, add_G), (Kind.EXECUTE_HIDDEN, hidden_G), (Kind.CROSS, crossed)]
    return _of_kind(kind, by_kind, found.listed_G)


def _magnitudes(low: jax.Array, high: jax.Array, sign: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return the absolute values of the distances with one sign in low..high; zero counts as deeper."""
    return jnp.where(sign > 0, jnp.maximum(low, 0), jnp.maximum(-high, 1)), jnp.where(sign > 0, high, -low)


def _of_kind(kind: jax.Array, by_kind: list[tuple[Kind, jax.Array]], otherwise: jax.Array) -> jax.Array:
    for of, mask in by_kind:
        otherwise = jnp.where(kind == of, mask, otherwise)
    return otherwise


def _price_allowed(book: LiveBook, levels: list[SideLevels], spelling: Spelling, distance: jax.Array) -> jax.Array:
    """Return whether an event of this kind may have this price."""
    here_P = _pick(spelling, levels, "distance_P") == distance

    def at(name: str) -> jax.Array:
        return (here_P & _pick(spelling, levels, name)).any()

    inside = (distance >= _pick(spelling, levels, "low")) & (distance <= _pick(spelling, levels, "high"))
    add = jnp.where(_pick(spelling, levels, "new_levels"), inside & ~at("barred_P"), at("room_P"))
    quoted = _pick(spelling, levels, "quoted")
    hidden = quoted & (distance <= 0) & (distance >= _pick(spelling, levels, "hidden_low"))
    best = (distance == 0) & _pick(spelling, levels, "occupied_P")[0]
    cross = (distance >= _pick(spelling, levels, "cross_low")) & (distance <= _pick(spelling, levels, "cross_high"))
    cancel = at("cancellable_P")
    of = [(Kind.ADD, add), (Kind.CANCEL, cancel), (Kind.EXECUTE, best), (Kind.EXECUTE_HIDDEN, hidden)]
    return _of_kind(spelling.kind, [*of, (Kind.CROSS, cross)], at("deletable_P"))


def _sizes(book: LiveBook, spelling: Spelling, distance: jax.Array) -> tuple[Queue, tuple[jax.Array, jax.Array]]:
    """Return the queue at an event's price, and the range of sizes allowed for its kind there.

    A DELETE may also have the size of an order of the queue that is not the user's own.
    """
    sign = jnp.where(spelling.side == 0, -1, 1)
    key = sign * reference(book, spelling.side) + distance
    _, queue = queue_at(book, spelling.side, key)
    lots_Q, divisible_Q = queue.lots_Q, jnp.where(queue.anonymous_Q, queue.lots_Q, 0)
    of = [(Kind.ADD, MOST_LOTS - lots_Q.sum()), (Kind.CANCEL, queue.others_Q.max() - 1), (Kind.EXECUTE, lots_Q[0])]
    of += [(Kind.DELETE, divisible_Q.max() - 1)]
    return queue, (jnp.int32(1), _of_kind(spelling.kind, of, jnp.int32(MOST_LOTS)))


def _size_allowed(listed_Q: jax.Array, sizes: tuple[jax.Array, jax.Array], value: jax.Array) -> jax.Array:
    """Return whether a size is within a range or in a list."""
    return (value >= sizes[0]) & ((value <= sizes[1]) | (listed_Q == value).any())
