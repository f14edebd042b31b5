"""Whether the books of a flow belong to its messages: row k must be the book after message k, not before it."""

import numpy as np

from lob_jax.errors import InputError
from lob_jax.events.schema import BID
from lob_jax.statistics.flow import Flow

_FEW, _MOST = 0.5, 0.9  # shares of messages that the books confirm, as given and one row later
_ENOUGH = 20  # messages that have to be seen in the books, else nothing is decided
_SIGN = np.array([0, 1, -1, -1, -1, 0, 0, 0], np.int64)  # of the change of a level, by kind


def explained(flow: Flow, *, later: int = 0) -> tuple[int, int]:
    """Count the messages about visible orders that change the size at their price as the books do.

    Args:
      flow: the flow.
      later: rows by which the book after a message comes later than it should.

    Returns:
      The number of these messages, and of all whose price is in view both before and after them.
    """
    rows = np.flatnonzero(_SIGN[flow.kind])
    sequence = flow.sequence()
    rows = rows[(rows + later >= 1) & (rows + later < len(sequence))]
    rows = rows[sequence[rows + later] == sequence[rows + later - 1]]
    (before, seen_before), (after, seen_after) = (_size_at(flow, rows, rows + later - back) for back in (1, 0))
    seen = seen_before & seen_after
    fits = after - before == _SIGN[flow.kind[rows]] * flow.size[rows]
    return int(np.count_nonzero(fits & seen)), int(np.count_nonzero(seen))


def _size_at(flow: Flow, rows: np.ndarray, books: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the size at each message's price in a row of the book, and whether the book shows that price."""
    side = np.where(flow.side[rows] == BID, 0, 1)
    price, size = flow.book_price[books, side], flow.book_size[books, side]
    wanted, outward = flow.price[rows], np.where(side == 0, -1, 1)
    in_view = (size[:, -1] > 0) & (outward * wanted <= outward * price[:, -1])
    return np.where(price == wanted[:, None], size, 0).sum(axis=1), in_view


def check_aligned(flow: Flow, *, where: object) -> float | None:
    """Return the share of messages that the books confirm, None if too few are in view.

    Raises:
      InputError: hardly any is confirmed as the rows are, and nearly all with the books one row earlier or later.
    """
    count, seen = explained(flow)
    if seen < _ENOUGH:
        return None
    if count < _FEW * seen:
        for later, told in ((1, "the books are one row late"), (-1, "the books are one row early")):
            fitting, in_view = explained(flow, later=later)
            if in_view >= _ENOUGH and fitting > _MOST * in_view:
                raise InputError(
                    "messages and books that are shifted against each other",
                    where=where,
                    expected="in row k of an order-book file the book after message k",
                    was=f"{told}: {count / seen:.0%} of the messages explain their row, {fitting / in_view:.0%} so",
                    remedy="write the book after each message, without the one before the first message",
                )
    return count / seen
