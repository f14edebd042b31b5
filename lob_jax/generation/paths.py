"""Generated paths on the host: levels that came into view as corrections, fills of orders, each path as a day."""

import dataclasses
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from lob_jax.book.day import MarketDay
from lob_jax.book.snapshot import BookSnapshot, Corrections
from lob_jax.events.instrument import Instrument
from lob_jax.events.schema import Events, Kind
from lob_jax.generation.generated import Fill
from lob_jax.tokens.tokenizer import Tokenizer
from lob_jax.tokens.vocabulary import PAD, event_index

if TYPE_CHECKING:  # generation on the host needs no JAX
    from lob_jax.generation.device.live_book import Reveal


class Row(NamedTuple):
    """The tokens of one path, without padding; the attributes are those of `loop.Piece`, [T] each."""

    tokens: np.ndarray
    writer: np.ndarray
    filled: np.ndarray
    revealed: "Reveal | None"

    @property
    def own(self) -> np.ndarray:
        """Return whether each token belongs to one of the user's orders, bool [T]."""
        return self.writer > 0

    def at(self, where: Any) -> "Row":
        """Return the row of some tokens, by any index of arrays."""
        revealed = self.revealed
        if revealed is not None:
            revealed = revealed._make(leaf[where] for leaf in revealed)
        return Row(self.tokens[where], self.writer[where], self.filled[where], revealed)


def rows_of(together: Row) -> list[Row]:
    """Return the tokens of each path of a batch, given those of all paths, [B, T] each, with padding."""
    sampled_BT = together.tokens != PAD
    return [together.at((path, sampled_BT[path])) for path in range(len(sampled_BT))]


def remembered_in(revealed: "Reveal | None") -> int:
    """Return how many of the levels that came into view were remembered."""
    return 0 if revealed is None else int((revealed.remembered & (revealed.lots > 0)).sum())


def corrections_of(tokens_T: np.ndarray, revealed: "Reveal | None", *, origin: int, tick: int) -> Corrections:
    """Return the levels that the events of a path brought into view, as corrections after these events.

    Args:
      tokens_T: tokens of the path, from the head of an event on.
      revealed: what each of them brought into view, [T] each; None for a book without a window.
      origin: origin of the prices of the live book, in price quanta.
      tick: price quanta per tick.
    """
    if revealed is None:
        return Corrections.none()
    at = np.flatnonzero(revealed.lots)
    side, key, lots = (np.asarray(leaf)[at].astype(np.int64) for leaf in (revealed.side, revealed.key, revealed.lots))
    sign = 1 - 2 * side
    event = event_index(tokens_T)[at].astype(np.int64)
    return Corrections(event, sign.astype(np.int8), origin - sign * key * tick, lots)


def fills_of(row: Row, events: Events, *, orders: int) -> list[list[Fill]]:
    """Return the executions of each of the user's orders in a path, in order of time.

    Args:
      row: tokens of complete events.
      events: the events.
      orders: number of orders.
    """
    at = event_index(row.tokens)
    writer_E, filled_E = np.zeros((2, len(events)), np.int64)
    writer_E[at] = row.writer
    np.maximum.at(filled_E, at, row.filled)
    found: list[list[Fill]] = [[] for _ in range(orders)]
    for i in np.flatnonzero((events.kind == Kind.EXECUTE) & ((writer_E > 0) | (filled_E > 0))).tolist():
        what = int(events.time_ns[i]), int(events.price[i]), int(events.size[i])
        for owner, resting in ((int(filled_E[i]), True), (int(writer_E[i]), False)):
            if owner > 0:
                found[owner - 1].append(Fill(*what, resting))
    return found


def path_day(
    tokens: np.ndarray,
    corrections: Corrections,
    own: np.ndarray | None = None,
    *,
    start: BookSnapshot,
    tokenizer: Tokenizer,
    instrument: Instrument,
) -> MarketDay:
    """Return the events of a path as a day.

    Args:
      tokens: tokens of complete events.
      corrections: the levels that they brought into view.
      own: whether each token belongs to one of the user's orders; None if there are no orders.
      start: the book before them.
      tokenizer: the tokenizer of the tokens.
      instrument: the instrument.
    """
    start = start.identified() if tokenizer.vocabulary.has_ranks else start
    opening = dataclasses.replace(MarketDay.opening(instrument, start), corrections=corrections)
    return opening.with_events(tokenizer.decode(tokens, opening, own=own))
