"""Collect what the loop has drawn: the tokens of each path, its book, and what became of the user's orders."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from lob_jax.book.orders import MARK, OVER_REMOVAL, PRICE, SIDE, SIZE, UNKNOWN_LEVEL, Book, live_orders
from lob_jax.book.snapshot import Corrections
from lob_jax.generation.generated import Generated, Outcome, Sent, check_refused, outcomes_of
from lob_jax.generation.host.orders import OWNER_BITS, Own
from lob_jax.generation.host.state import Number, Paths, Shown
from lob_jax.generation.paths import Row, fills_of, path_day
from lob_jax.generation.settings import Order
from lob_jax.tokens.sets.spelling import Part
from lob_jax.tokens.vocabulary import PAD, event_index


class Drawn(NamedTuple):
    """What is kept of a token of every path: the tokens [B], and what came with them, [B, 6], see `Shown`."""

    token: np.ndarray
    shown: np.ndarray


def collect(
    drawn: Sequence[Drawn], paths: Paths, *, behind: int, orders: Sequence[Order] = (), **how: Any
) -> Generated:
    """Join the tokens, cut each path's to those of its events, and account for the user's orders.

    Args:
      drawn: all tokens of the paths.
      paths: the paths at their end.
      behind: tokens after an event that are needed to show that it is complete.
      orders: the user's orders.
      how: the starting book, the tokenizer and the instrument, see `path_day`.
    """
    counters = paths.books.counters
    check_refused(int(counters[:, [UNKNOWN_LEVEL, OVER_REMOVAL]].sum()))
    token_TB, shown_TBS = (np.stack(leaves) for leaves in zip(*drawn, strict=True))
    number, tokens, shown = paths.number, [], []
    for path, count in enumerate((number[:, Number.WRITTEN] - behind).tolist()):
        mine = np.flatnonzero(token_TB[:, path] != PAD)[:count]
        tokens.append(token_TB[mine, path].astype(np.int32))
        shown.append(shown_TBS[mine, path])
    corrections = [_corrections(*one) for one in zip(tokens, shown, strict=True)]
    mass_B2 = (paths.mass / number[:, Number.CHOSEN, None]).astype(np.float32)
    each = zip(tokens, shown, corrections, strict=True)
    return Generated(
        tokens=tokens,
        own=[one[:, Shown.WRITER] > 0 for one in shown],
        grammar_mass=mass_B2[:, 0],
        book_mass=mass_B2[:, 1],
        clock_ns=number[:, Number.CLOCK].tolist(),
        levels=[_levels(_live(paths, path)) for path in range(len(number))],
        orders=[_outcomes(orders, *one, paths, path, **how) for path, one in enumerate(each)],
        corrections=corrections,
        remembered=np.array([one[one[:, Shown.LOTS] > 0, Shown.REMEMBERED].sum() for one in shown]),
    )


def _corrections(tokens_T: np.ndarray, shown_TS: np.ndarray) -> Corrections:
    """Return the levels that the events of a path brought into view, as corrections after these events."""
    at = np.flatnonzero(shown_TS[:, Shown.LOTS])
    side, price, lots = shown_TS[at][:, [Shown.SIDE, Shown.PRICE, Shown.LOTS]].T
    return Corrections(event_index(tokens_T)[at].astype(np.int64), side.astype(np.int8), price.copy(), lots.copy())


def _live(paths: Paths, path: int) -> np.ndarray:
    """Return the orders in a path's book, see `live_orders`."""
    books = paths.books
    return live_orders(Book(*(leaf[path] for leaf in books[:-1]), *books.settings[path].tolist()))


def _levels(rows: np.ndarray) -> list[list[tuple[int, list[int]]]]:
    """Return price and lots of the orders from the front of each level, best first, bids then asks."""
    sides: list[dict[int, list[int]]] = [{}, {}]
    for side, price, size in rows[:, [SIDE, PRICE, SIZE]].tolist():
        sides[side].setdefault(price, []).append(size)
    return [list(levels.items()) for levels in sides]


def _outcomes(
    orders: Sequence[Order],
    tokens: np.ndarray,
    shown: np.ndarray,
    corrections: Corrections,
    paths: Paths,
    path: int,
    **how: Any,
) -> list[Outcome]:
    """Return the outcome of each of the user's orders in a path; times and prices are those of the decoded events."""
    if not orders:
        return []
    row = Row(tokens, shown[:, Shown.WRITER], shown[:, Shown.FILLED], None)
    events = path_day(tokens, corrections, row.own, **how).events
    rows = _live(paths, path)
    resting = [int(rows[rows[:, MARK] >> OWNER_BITS == number + 1, SIZE].sum()) for number in range(len(orders))]
    own = paths.own[path].tolist()
    lots = [(filled, rested, dropped) for filled, rested, dropped in paths.lots[path, :, :-1].T.tolist()]
    closed = int(paths.spelling[path, Part.HALT])
    sent = Sent(own[Own.ORDER], own[Own.LEFT], lots, closed=closed, resting=resting)
    return outcomes_of(orders, sent, fills=fills_of(row, events, orders=len(orders)))
