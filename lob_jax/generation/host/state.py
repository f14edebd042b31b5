"""The state of paths on the host: arrays with a leading axis of paths, which a compiled loop changes in place."""

import enum
from typing import NamedTuple

import numpy as np

from lob_jax.book.flow import FlowState
from lob_jax.book.loops import CorrectionColumns
from lob_jax.book.orders import Book
from lob_jax.generation.host.draw import Sampler, Scratch
from lob_jax.generation.host.orders import Orders
from lob_jax.jit import inner
from lob_jax.tokens.sets.bins import Bins, Scan
from lob_jax.tokens.sets.heads import LevelCodes
from lob_jax.tokens.sets.limits import Rules
from lob_jax.tokens.sets.ranges import ROW_ROOM, Ranges


class Number(enum.IntEnum):
    """Columns of `Paths.number`."""

    CLOCK = 0  # the time of the previous event, UNIX ns
    GRAMMAR = 1  # state of the grammar's automaton
    GAP = 2  # ns since the previous event, as far as they are spelled
    EVENTS = 3  # number of events begun
    BEHIND = 4  # number of events in the prompt
    LAST = 5  # number of events to generate
    KEY_0 = 6  # the two words of the path's key
    KEY_1 = 7
    WITHIN = 8  # tokens that the model has sampled in the latest of its events; with FRESH, folded into the key of each
    FLIP = 9  # 1 if each random number is replaced by one minus it, else 0
    WRITTEN = 10  # number of tokens, including those of the user's orders
    UNREAD = 11  # tokens of the prompt that are read before the first one is sampled
    DONE = 12  # 1 if all events of the path are complete, else 0
    MIDDLE = 13  # best bid plus best ask after the last event of the flow, price quanta
    QUOTED = 14  # 1 if both sides were occupied then, else 0
    GAP_REST = 15  # digits of the gap that may still follow
    FRESH = 16  # number of events that the model has begun
    CHOSEN = 17  # number of tokens that the model has sampled
    SPREAD = 18  # ask less bid then, price quanta; 0 if that is negative or a side was empty
    BID_LOTS = 19  # lots at the best bid then, 0 if there was none
    ASK_LOTS = 20


class Shown(enum.IntEnum):
    """Columns of `Paths.shown`: the level that the newest token's event brought into view, and orders of the user's."""

    SIDE = 0  # +1 bid, -1 ask
    PRICE = 1  # price quanta
    LOTS = 2  # 0 if there is no such level
    REMEMBERED = 3  # 1 if it had been in view before, else 0
    WRITER = 4  # n + 1 if the token belongs to order n, else 0
    FILLED = 5  # n + 1 if its event executed order n, which rested, else 0


class Newest(enum.IntEnum):
    """Columns of `Paths.event`: what the newest event that the book has taken is, and the level that it brought."""

    KIND = 0
    CODE = 1
    SIDE = 2  # +1 bid, -1 ask, 0 for CONTROL
    PRICE = 3  # price quanta
    SIZE = 4  # lots
    SHOWN_SIDE = 5  # as in `Shown`, as are the next two
    SHOWN_PRICE = 6
    SHOWN_LOTS = 7


class Books(NamedTuple):
    """The books of paths, see `Book`; `settings` is int64 [B, 2], the window and whether the book is pooled."""

    levels: np.ndarray
    orders: np.ndarray
    names: np.ndarray
    side: np.ndarray
    free: np.ndarray
    counters: np.ndarray
    settings: np.ndarray


class Views(NamedTuple):
    """The levels behind the views of paths, from the best.

    Attributes:
      price: int64 [B, 2, M], price quanta.
      lots: int64 [B, 2, M], 0 behind the last level.
    """

    price: np.ndarray
    lots: np.ndarray


class Known(NamedTuple):
    """What a model reads at the newest token of each path.

    Attributes:
      price: int64 [B, 2, P], ticks, of the best levels; P is 0 if no model reads them, as are the other sizes.
      size: int64 [B, 2, P], lots, 0 for an empty level.
      flow: float32 [B, FLOW_FEATURES], the numbers of the flow before logarithms.
      queue: int16 [B, QUEUE_NUMBERS].
      price_memory: int16 [B, PRICE_MEMORIES].
      anchors: int16 [B, ANCHORS].
      latest: int16 [B, LATEST_TOKENS].
    """

    price: np.ndarray
    size: np.ndarray
    flow: np.ndarray
    queue: np.ndarray
    price_memory: np.ndarray
    anchors: np.ndarray
    latest: np.ndarray


class Paths(NamedTuple):
    """The state of all paths.

    Attributes:
      books: the book of each.
      spelling: int64 [B, P], see `lob_jax.tokens.sets.spelling.Part`.
      ranges: the tokens that the book allows next, [B, ...] each; those of the current row count.
      codes: see `LevelCodes`, [B, ...] each.
      scan: see `Scan`, [B, ...] each, for tokens that are events.
      heads: int64 [B, 2], see `lob_jax.tokens.sets.walk.Walk`.
      number: int64 [B, N], see `Number`.
      behind: what is behind the view of each.
      recent: int64 [B, 2, RECENT_SIZES], see `lob_jax.book.queue`.
      remembered: int64 [B, 2, REMEMBERED], see `lob_jax.book.anchors`.
      past: int64 [B, 3, PAST_EVENTS], see `lob_jax.book.price_memory`; no events if no model reads them.
      flow: [B, ...] each.
      known: what a model reads at the newest token.
      mass: float64 [B, 2], sums of the probability that the grammar masked, and of the share of the rest that the book
        masked.
      shown: int64 [B, 6], see `Shown`.
      event: int64 [B, N], see `Newest`.
      token: int64 [B], the newest token; PAD after the end of a path.
      own: int64 [B, N], the state of the user's orders, see `Own`.
      lots: int64 [B, 3, I + 1], lots of each order, by `Fate`.
      spelled: int64 [B, MOST_TOKENS], the tokens of the current event of an order.
    """

    books: Books
    spelling: np.ndarray
    ranges: Ranges
    codes: LevelCodes
    scan: Scan
    heads: np.ndarray
    number: np.ndarray
    behind: Views
    recent: np.ndarray
    remembered: np.ndarray
    past: np.ndarray
    flow: FlowState
    known: Known
    mass: np.ndarray
    shown: np.ndarray
    event: np.ndarray
    token: np.ndarray
    own: np.ndarray
    lots: np.ndarray
    spelled: np.ndarray


class Reveals(NamedTuple):
    """What comes into view where no level is remembered, see `RevealDistribution`; int64."""

    ticks: np.ndarray
    lots: np.ndarray
    count: np.ndarray


class Given(NamedTuple):
    """What the loop reads and does not change.

    Attributes:
      rules: see `Rules`.
      bins: see `Bins`, for tokens that are events; else empty.
      corrections: none.
      sampler: the settings of the sampler.
      scratch: memory for one sample.
      reveals: what comes into view.
      orders: the user's orders.
      transition: int16 [S, V], see `Automaton`.
      first: int64, the first tokens of the ranges that the grammar allows and that may be drawn, state by state.
      last: int64, the last tokens of these ranges.
      offset: int64 [S+1], the ranges of state s are offset[s] .. offset[s + 1] - 1.
      drawable: bool [1000], which tokens of class 0 may be drawn.
    """

    rules: Rules
    bins: Bins
    corrections: CorrectionColumns
    sampler: Sampler
    scratch: Scratch
    reveals: Reveals
    orders: Orders
    transition: np.ndarray
    first: np.ndarray
    last: np.ndarray
    offset: np.ndarray
    drawable: np.ndarray


@inner
def book_of(books: Books, path: int) -> Book:
    """Return the book of a path."""
    return Book(
        books.levels[path],
        books.orders[path],
        books.names[path],
        books.side[path],
        books.free[path],
        books.counters[path],
        books.settings[path, 0],
        books.settings[path, 1],
    )


@inner
def ranges_of(ranges: Ranges, path: int) -> Ranges:
    """Return the ranges of a path."""
    return Ranges(ranges.first[path], ranges.last[path], ranges.at[path], ranges.marked[path])


@inner
def codes_of(codes: LevelCodes, path: int) -> LevelCodes:
    """Return the codes of a path's levels."""
    return LevelCodes(
        codes.code[path],
        codes.cancellable[path],
        codes.deletable[path],
        codes.count[path],
        codes.barred[path],
        codes.stale[path],
    )


@inner
def scan_of(scan: Scan, path: int) -> Scan:
    """Return the scan of a path's levels."""
    return Scan(scan.fits[path], scan.most_held[path], scan.stale[path])


@inner
def flow_of(flow: FlowState, path: int) -> FlowState:
    """Return the flow of a path."""
    return FlowState(
        flow.time_ns[path],
        flow.events[path],
        flow.sums[path],
        flow.gaps[path],
        flow.run[path],
        flow.move[path],
        flow.spreads[path],
        flow.add_sizes[path],
        flow.touches[path],
    )


@inner
def begin_row(ranges: Ranges, heads: np.ndarray) -> None:
    """Begin a row of ranges where it leaves those of the heads alone, which it may repeat."""
    begin = ROW_ROOM if 0 <= heads[0] < ROW_ROOM else 0
    ranges.at[0], ranges.at[1] = begin, begin
